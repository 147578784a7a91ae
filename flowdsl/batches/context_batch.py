"""Batch of contexts as columns, passed from step to step.

Production keeps a hash map for each event. Here a batch is a few integer columns: the event, the entity
version of each variable, the branch. Texts are gathered only if something reads them. After a fan-out, the
batch keeps its parent and an index into it: whatever is the same for all branches is read and rendered once,
in the parent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from flowdsl.batches.chunk import Chunk, Micros
from flowdsl.batches.id_codes import id_codes, uuid_codes
from flowdsl.batches.later import Later
from flowdsl.batches.payload import Payload
from flowdsl.batches.variables import Variable, Versions
from flowdsl.log.event_rows import EventRows
from flowdsl.values.columns import Column, gather_values
from flowdsl.values.interner import Codes
from flowdsl.values.json_types import MISSING, Index, Ints, Mask, Tag
from flowdsl.values.orders import is_everything
from flowdsl.values.paths import Path

Seen = npt.NDArray[np.int32]
# causes of the release of a context: none, a window's timer, end of log, a queue, a full window, or a pause
NOT_CLOSED, CLOSED_BY_TIMER, CLOSED_AT_END, RELEASED, CLOSED_BY_COUNT, CLOSED_BY_QUIET = range(6)
CLOSED_NAMES: Final = {
    CLOSED_BY_TIMER: "timer",
    CLOSED_AT_END: "end",
    CLOSED_BY_COUNT: "count",
    CLOSED_BY_QUIET: "quiet",
}
"""What closed a window, as users read it."""


class _Contexts(Protocol):
    """Contexts with their branches, and what released them."""

    @property
    def branches(self) -> tuple[npt.NDArray[np.int32], ...]: ...

    @property
    def closed(self) -> npt.NDArray[np.uint8] | None: ...

    def __len__(self) -> int: ...


def join_branches(parts: Sequence[_Contexts]) -> tuple[npt.NDArray[np.int32], ...]:
    """Concatenate the positions at each fan-out."""
    levels = zip(*(part.branches for part in parts), strict=True)
    return tuple(map(np.concatenate, levels))


def join_closed(parts: Sequence[_Contexts]) -> npt.NDArray[np.uint8] | None:
    """Concatenate the causes of release; None if no context was released."""
    if all(part.closed is None for part in parts):
        return None
    return np.concatenate(
        [np.zeros(len(part), np.uint8) if part.closed is None else part.closed for part in parts]
    )


class ContextBatch:
    """Immutable, ordered batch of contexts of one flow.

    `rows` are event rows of the chunk, `moment` is the clock at which each is processed, `seen` the last
    event of the chunk whose effect it sees, `branches` the position at each fan-out, `closed` what released
    it.
    """

    def __init__(
        self,
        chunk: Chunk,
        rows: Index,
        *,
        roots: frozenset[str],
        moment: Micros | None = None,
        seen: Seen | Later[Seen] | None = None,
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
        """Log clock, in µs, at which each context is processed."""
        if self._moment is None:
            self._moment = self.chunk.clock.take(self.rows)
        return self._moment

    @property
    def seen(self) -> Seen:
        """Last event of the chunk whose effect each context sees."""
        if self._seen is None:
            self._seen = self.rows.astype(np.int32, copy=False)
        return self._seen.made() if isinstance(self._seen, Later) else self._seen

    @property
    def seq(self) -> Ints:
        """Sequence number of each context's event."""
        return self.chunk.numbers(self.rows)

    @property
    def payload(self) -> Payload | None:
        """Payload made by the last `map`"""
        if self._payload is None and self._origin is not None:
            parent, index = self._origin
            above = parent.payload
            self._payload = gather_values(above, index)
        return self._payload

    def names(self) -> tuple[str, ...]:
        """Return the variables set by steps."""
        above = self._origin[0].names() if self._origin else ()
        return tuple(dict.fromkeys([*above, *self._variables]))

    def roots(self) -> tuple[str, ...]:
        """Return the names of all variables of the contexts, those of the event first."""
        payload = ("_payload",) if self.payload is not None else ()
        return tuple(dict.fromkeys([*sorted(self.event_roots), *self.names(), *payload]))

    def variables(self) -> dict[str, Variable]:
        """Return the variables set by steps, by their name."""
        own = self._variables
        if self._origin is None:
            return dict(own)
        parent, index = self._origin
        above = parent.variables().items()
        return {**{name: own[name] if name in own else v.take(index) for name, v in above}, **own}

    def variable(self, name: str) -> Variable | None:
        """Return the variable that a step has set under this name, or None."""
        if name in self._variables:
            return self._variables[name]
        if self._origin is None:
            return None
        parent, index = self._origin
        above = parent.variable(name)
        return None if above is None else above.take(index)

    def column(self, path: Path) -> Column:
        """Return the values of a path in each context."""
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
        """Return ids as codes of the interner, integers as their decimal text; 0 for values that are not ids.

        With `uuids`, integers are not ids, and all spellings of a UUID have one code.
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

    @property
    def links(self) -> ContextLinks:
        """The graph's links as of each context's moment."""
        return ContextLinks(self)

    def lift(self, paths: Iterable[Path]) -> tuple[ContextBatch, Index | None]:
        """Return the topmost ancestor that determines all of `paths`, and an index into it."""
        roots = {p[0] for p in paths}
        at, back = self, None
        while at._origin is not None and roots.isdisjoint(at._own_names()) and at._origin[0].size <= at.size:
            at, index = at._origin
            back = index if back is None else index.take(back)
        return at, back

    def take(self, index: Index) -> ContextBatch:
        """Return the contexts at `index`, in that order."""
        if is_everything(index, self.size):
            return self
        return ContextBatch(
            self.chunk,
            self.rows.take(index),
            roots=self.event_roots,
            moment=gather_values(self._moment, index),
            seen=gather_values(self._seen, index),
            branches=tuple(b.take(index) for b in self.branches),
            variables={name: v.take(index) for name, v in self._variables.items()},
            payload=gather_values(self._payload, index),
            closed=gather_values(self.closed, index),
            origin=None if self._origin is None else (self._origin[0], self._origin[1].take(index)),
        )

    def slice(self, start: int, stop: int) -> ContextBatch:
        """Return the contexts from `start` up to, not including, `stop`"""
        if start == 0 and stop >= len(self):
            return self
        return self.take(np.arange(start, min(stop, len(self))))

    def having(
        self, variables: Mapping[str, Variable] | None = None, payload: Payload | None = None
    ) -> ContextBatch:
        """Return these contexts with variables set, or with another payload."""
        own = {**self._variables, **(variables or {})}
        if payload is None and "_payload" in own:
            # an entity stored under the payload's name becomes the payload
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
        """Return one context for each entry of `index`, which names its parent; `position` numbers the
        branches.
        """
        branches = ContextBatch(
            self.chunk,
            self.rows.take(index),
            roots=self.event_roots,
            moment=gather_values(self._moment, index),
            seen=gather_values(self._seen, index),
            branches=(*(b.take(index) for b in self.branches), position),
            closed=gather_values(self.closed, index),
            origin=(self, index),
        )
        return branches.having(variables)

    def _own_names(self) -> set[str]:
        return {*self._variables, "_payload"} if self._payload is not None else set(self._variables)

    def place(self, moment: Micros, seen: Seen | Later[Seen], closed: npt.NDArray[np.uint8]) -> ContextBatch:
        """Return these contexts at the moment when a timer releases them, seeing the graph as of then."""
        return ContextBatch(
            self.chunk,
            self.rows,
            roots=self.event_roots,
            moment=moment,
            seen=seen,
            branches=self.branches,
            variables=self.variables(),
            payload=self.payload,
            closed=closed,
        )

    def detach(self, events: EventRows) -> ContextBatch:
        """Copy the contexts into a chunk of their own, which keeps nothing of this one alive."""
        alone = Chunk(events, np.zeros(len(self), np.int64), self.chunk.graph)
        variables = self.variables()
        for variable in variables.values():
            variable.settle()
        return ContextBatch(
            alone,
            np.arange(len(self)),
            roots=self.event_roots,
            moment=self.moment,
            seen=np.zeros(len(self), np.int32),
            branches=self.branches,
            variables=variables,
            payload=self.payload,
            closed=self.closed,
        )

    def held_versions(self) -> Iterable[Versions]:
        """Yield the entity versions that variables refer to."""
        for variable in self._variables.values():
            yield from variable.held_versions()

    def renumbered(self, mapping: Versions) -> ContextBatch:
        """Return the contexts with new numbers of entity versions; not for contexts with a parent."""
        return self.having({name: v.renumbered(mapping) for name, v in self._variables.items()})

    @classmethod
    def concat(cls, parts: Sequence[ContextBatch]) -> ContextBatch:
        """Concatenate contexts of one chunk; their moments are reset."""
        # a part without contexts may lack variables and branches that the others have
        parts = [part for part in parts if len(part)] or parts[:1]
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        payloads = [part.payload for part in parts if part.payload is not None]
        return cls(
            first.chunk,
            np.concatenate([part.rows for part in parts]),
            roots=first.event_roots,
            branches=join_branches(parts),
            variables=_join_variables(parts),
            payload=Payload.concat(payloads) if len(payloads) == len(parts) else None,
            closed=join_closed(parts),
        )

    def values(self, row: int) -> dict[str, Any]:
        """Return the variables of one context as Python values, without missing ones."""
        one = self.take(np.array([row]))
        found = {name: one.column((name,)).values()[0] for name in one.roots()}
        return {name: value for name, value in found.items() if value is not MISSING}


def _join_variables(parts: Sequence[ContextBatch]) -> dict[str, Variable]:
    held: dict[str, list[Variable]] = {}
    for part in parts:
        for name, variable in part.variables().items():
            held.setdefault(name, []).append(variable)
    return {name: variables[0].concat(variables) for name, variables in held.items()}


class ContextLinks:
    """Links of the graph for each context, as of the last event whose effect it sees."""

    def __init__(self, contexts: ContextBatch) -> None:
        self._contexts = contexts
        self._graph = contexts.chunk.graph
        self._seqs = contexts.chunk.seq_seen(contexts.seen)

    def codes_at(self, path: Path) -> Codes:
        """Return the values at a path as codes of ids."""
        return self._contexts.id_codes(path)

    def codes_of(self, values: Column) -> Codes:
        """Return values as codes of ids."""
        return id_codes(values, self._contexts.chunk)

    def linked(self, kind: str, sources: Codes, targets: Codes) -> Mask:
        """Mark the contexts whose first id has a link of a type to the second."""
        return self._graph.linked(kind, sources, targets, self._seqs)

    def count_links(self, kind: str, direction: str, ids: Codes) -> Ints:
        """Return how many links of a type each id has."""
        return self._graph.count_links(kind, direction, ids, self._seqs)

    def first_metadata(self, kind: str, direction: str, ids: Codes, below: Path) -> Column:
        """Return what is at a path of the metadata of each id's first link of a type."""
        return self._graph.first_metadata(kind, direction, ids, self._seqs, below)
