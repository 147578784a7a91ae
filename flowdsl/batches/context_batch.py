"""A batch of contexts as columns: what a flow carries from step to step.

Production keeps a hash map for each event. Here a batch is a few integer columns: which event, which entity
version a variable refers to, which branch. Texts are gathered only where something reads them. After a fan-out
the batch keeps its parent and an index into it: whatever no branch changes is read, and rendered, once there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flowdsl.batches.chunk import Chunk, Micros
from flowdsl.batches.id_codes import id_codes, uuid_codes
from flowdsl.batches.payload import Payload
from flowdsl.batches.variables import Variable, Versions
from flowdsl.log.event_rows import EventRows
from flowdsl.values.columns import Column
from flowdsl.values.interner import Codes
from flowdsl.values.json_types import MISSING, Index, Tag
from flowdsl.values.paths import Path

# what released a context last: nothing, a window's timer, the end of the log, or a queue
NOT_CLOSED, CLOSED_BY_TIMER, CLOSED_AT_END, RELEASED = 0, 1, 2, 3


class ContextBatch:
    """Contexts of one flow, in order. Immutable: steps make new ones.

    `rows` are event rows of the chunk; `moment` the clock at which each is processed; `seen` the last event of the
    chunk whose effect it sees; `branches` the position at each fan-out; `closed` what released it.
    """

    def __init__(
        self,
        chunk: Chunk,
        rows: Index,
        *,
        roots: frozenset[str],
        moment: Micros | None = None,
        seen: npt.NDArray[np.int32] | None = None,
        branches: tuple[npt.NDArray[np.int32], ...] = (),
        variables: Mapping[str, Variable] | None = None,
        payload: Payload | None = None,
        closed: npt.NDArray[np.uint8] | None = None,
        origin: tuple[ContextBatch, Index] | None = None,
    ) -> None:
        self.chunk = chunk
        self.rows = rows
        self.event_roots = roots
        self._moment = moment
        self._seen = seen
        self.branches = branches
        self._variables = dict(variables or {})
        self._payload = payload
        self.closed = closed
        self._origin = origin

    @property
    def size(self) -> int:
        return len(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def moment(self) -> Micros:
        """The log clock, in µs, at which each context is processed."""
        if self._moment is None:
            self._moment = self.chunk.clock.take(self.rows)
        return self._moment

    @property
    def seen(self) -> npt.NDArray[np.int32]:
        """The last event of the chunk that each context sees the effect of."""
        if self._seen is None:
            self._seen = self.rows.astype(np.int32, copy=False)
        return self._seen

    @property
    def seq(self) -> npt.NDArray[np.int64]:
        """The sequence number of each context's event."""
        if len(self.rows) and int(self.rows.max()) < self.chunk.fresh:
            return self.chunk.seq.take(self.rows)
        column = self.chunk.column(("event", "seq_no"), self.rows)
        return column.ints if column.ints is not None else np.zeros(self.size, np.int64)

    @property
    def payload(self) -> Payload | None:
        """What the last `map` made."""
        if self._payload is None and self._origin is not None:
            parent, index = self._origin
            above = parent.payload
            self._payload = None if above is None else above.take(index)
        return self._payload

    def names(self) -> tuple[str, ...]:
        """The variables that steps have set."""
        above = self._origin[0].names() if self._origin else ()
        return tuple(dict.fromkeys([*above, *self._variables]))

    def roots(self) -> tuple[str, ...]:
        """Every variable a context can hold, those of its event first."""
        payload = ("_payload",) if self.payload is not None else ()
        return tuple(dict.fromkeys([*sorted(self.event_roots), *self.names(), *payload]))

    def variable(self, name: str) -> Variable | None:
        """What a step has set under this name."""
        if name in self._variables:
            return self._variables[name]
        if self._origin is None:
            return None
        parent, index = self._origin
        above = parent.variable(name)
        return None if above is None else above.take(index)

    def column(self, path: Path) -> Column:
        """The values of a path in each context."""
        root = path[0]
        if root in self._variables:
            return self._variables[root].column(path[1:], self.chunk)
        if root == "_payload" and self._payload is not None:
            return self._payload.column(path[1:])
        if self._origin is not None:
            parent, index = self._origin
            return parent.column(path).take(index)
        if root in self.event_roots:
            return self.chunk.column(path, self.rows)
        return Column(self.size, Tag.MISSING)

    def id_codes(self, path: Path, *, uuids: bool = False) -> Codes:
        """Ids as codes of the interner, integers as their decimal text; 0 where the value is no id.

        Where ids are `uuids`, integers are none, and all spellings of one have its code.
        """
        root = path[0]
        if root not in self._own_names() and self._origin is not None:
            parent, index = self._origin
            return parent.id_codes(path, uuids=uuids).take(index)
        if (
            root not in self._variables
            and len(path) == 1
            and root in self.event_roots
            and root not in ("data", "metadata", "event")
        ):
            return self.chunk.codes(root, self.rows)
        return (uuid_codes if uuids else id_codes)(self.column(path), self.chunk)

    def lift(self, paths: Iterable[Path]) -> tuple[ContextBatch, Index | None]:
        """The contexts furthest up, before fan-outs, that say all of `paths`, and how to get back from there."""
        roots = {p[0] for p in paths}
        at, back = self, None
        while at._origin is not None and roots.isdisjoint(at._own_names()) and at._origin[0].size <= at.size:
            at, index = at._origin
            back = index if back is None else index.take(back)
        return at, back

    def take(self, index: Index) -> ContextBatch:
        """The contexts at `index`, in that order."""
        if len(index) == self.size and (
            not len(index) or (index[0] == 0 and index[-1] == len(index) - 1 and (np.diff(index) == 1).all())
        ):
            return self
        return ContextBatch(
            self.chunk,
            self.rows.take(index),
            roots=self.event_roots,
            moment=None if self._moment is None else self._moment.take(index),
            seen=None if self._seen is None else self._seen.take(index),
            branches=tuple(b.take(index) for b in self.branches),
            variables={name: v.take(index) for name, v in self._variables.items()},
            payload=None if self._payload is None else self._payload.take(index),
            closed=None if self.closed is None else self.closed.take(index),
            origin=None if self._origin is None else (self._origin[0], self._origin[1].take(index)),
        )

    def slice(self, start: int, stop: int) -> ContextBatch:
        """The contexts from `start` to before `stop`."""
        if start == 0 and stop >= len(self):
            return self
        return self.take(np.arange(start, min(stop, len(self))))

    def having(
        self, variables: Mapping[str, Variable] | None = None, payload: Payload | None = None
    ) -> ContextBatch:
        """These contexts with variables set, or another payload."""
        own = {**self._variables, **(variables or {})}
        if payload is None and "_payload" in own:
            # an entity may be given the name of the payload, and is it then
            payload = Payload(own["_payload"].column((), self.chunk), self.size)
        own.pop("_payload", None)
        return ContextBatch(
            self.chunk,
            self.rows,
            roots=self.event_roots,
            moment=self._moment,
            seen=self._seen,
            branches=self.branches,
            variables=own,
            payload=payload if payload is not None else self._payload,
            closed=self.closed,
            origin=self._origin,
        )

    def fanned(
        self, index: Index, position: npt.NDArray[np.int32], variables: dict[str, Variable]
    ) -> ContextBatch:
        """One context for each entry of `index`, which says whose branch it is; `position` counts them."""
        branches = ContextBatch(
            self.chunk,
            self.rows.take(index),
            roots=self.event_roots,
            moment=None if self._moment is None else self._moment.take(index),
            seen=None if self._seen is None else self._seen.take(index),
            branches=(*(b.take(index) for b in self.branches), position),
            closed=None if self.closed is None else self.closed.take(index),
            origin=(self, index),
        )
        return branches.having(variables)

    def _own_names(self) -> set[str]:
        return {*self._variables, "_payload"} if self._payload is not None else set(self._variables)

    def placed(
        self, moment: Micros, seen: npt.NDArray[np.int32], closed: npt.NDArray[np.uint8]
    ) -> ContextBatch:
        """These contexts at the moment at which a timer releases them, and with what they see then."""
        held = {name: self.variable(name) for name in self.names()}
        return ContextBatch(
            self.chunk,
            self.rows,
            roots=self.event_roots,
            moment=moment,
            seen=seen,
            branches=self.branches,
            variables={name: v for name, v in held.items() if v is not None},
            payload=self.payload,
            closed=closed,
        )

    def detached(self, events: EventRows) -> ContextBatch:
        """The same contexts over these rows, in a chunk of their own that keeps nothing else of this one alive."""
        alone = Chunk(events, np.zeros(len(self), np.int64), self.chunk.graph, self.chunk.interner)
        held = {name: self.variable(name) for name in self.names()}
        return ContextBatch(
            alone,
            np.arange(len(self)),
            roots=self.event_roots,
            moment=self.moment,
            seen=np.zeros(len(self), np.int32),
            branches=self.branches,
            variables={name: v for name, v in held.items() if v is not None},
            payload=self.payload,
            closed=self.closed,
        )

    def held_versions(self) -> Iterable[Versions]:
        """The entity versions that variables refer to."""
        for variable in self._variables.values():
            yield from variable.held_versions()

    def renumbered(self, mapping: Versions) -> ContextBatch:
        """The same after entity versions got new numbers; for contexts without a parent."""
        return self.having({name: v.renumbered(mapping) for name, v in self._variables.items()})

    @classmethod
    def concat(cls, parts: Sequence[ContextBatch]) -> ContextBatch:
        """Contexts of one chunk, one part after the other; what is said of moments is lost."""
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        names = dict.fromkeys(name for part in parts for name in part.names())
        variables: dict[str, Variable] = {}
        for name in names:
            held = [v for v in (p.variable(name) for p in parts) if v is not None]
            variables[name] = held[0].joined(held)
        payloads = [p.payload for p in parts]
        closed = [np.zeros(p.size, np.uint8) if p.closed is None else p.closed for p in parts]
        return cls(
            first.chunk,
            np.concatenate([p.rows for p in parts]),
            roots=first.event_roots,
            branches=tuple(np.concatenate(level) for level in zip(*(p.branches for p in parts), strict=True)),
            variables=variables,
            payload=Payload.concat([p for p in payloads if p is not None])
            if all(p is not None for p in payloads)
            else None,
            closed=np.concatenate(closed) if any(p.closed is not None for p in parts) else None,
        )

    def values(self, row: int) -> dict[str, Any]:
        """One context's variables in Python, those that are missing left out."""
        one = self.take(np.array([row]))
        found = {name: one.column((name,)).values()[0] for name in one.roots()}
        return {name: value for name, value in found.items() if value is not MISSING}
