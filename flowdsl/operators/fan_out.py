"""fan_out: one branch for each link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.variables import EntityVariable, ValueVariable
from flowdsl.expressions.row_source import Failures
from flowdsl.expressions.var import Var
from flowdsl.graph.entities import AMBIGUOUS, NONE
from flowdsl.kernels.kernel import Kernel, NoDirectionKernel
from flowdsl.kernels.outcome import Branched, StepOutcome, Until, dropped_rows, failed_where
from flowdsl.log.uuids import ID_COLUMNS, are_uuids
from flowdsl.operators.base import Kind, Operator, link_caption
from flowdsl.operators.options import (
    DIRECTION,
    DIRECTIONS,
    ENTITY_TYPE,
    LINK_TYPE,
    NAME,
    PATH,
    Direction,
    option,
)
from flowdsl.rules import Rules
from flowdsl.scope import ANY, TEXT, Scope
from flowdsl.values.columns import Column
from flowdsl.values.interner import Codes
from flowdsl.values.json_types import Index, Mask
from flowdsl.values.paths import Path, path_text

MAX_BRANCHES: Final = 1 << 25
"""The branches that one event may go into at a step."""
_TOO_MANY: Final = f"its event goes into more than {MAX_BRANCHES:,} branches here"


@dataclass(frozen=True)
class FanOut(Operator):
    """Go on once for each link of an id."""

    name: ClassVar[str] = "fan_out"
    method: ClassVar[str] = "fan_out"
    summary: ClassVar[str] = "go on once for each link of an id, with the entity at its other end"
    example: ClassVar[str] = 'fan_out("data.author_id", via="follows", direction="reverse", as_="follower")'
    portable: ClassVar[bool] = True
    text_order: ClassVar[tuple[str, ...]] = ("from_", "via", "direction", "as_")

    from_: Path = option(PATH, "the path that holds the id to start from", key=True)
    via: str = option(LINK_TYPE, "the link type to follow")
    as_: str = option(NAME, "the variable that each linked entity becomes; `<as>_id` is its id")
    direction: str = option(
        DIRECTION, "`forward`: the id is the link's source; `reverse`: its target", default="forward"
    )
    type: str | None = option(
        ENTITY_TYPE, "the entity type to look in; any by default", portable=False, default=None
    )

    @classmethod
    def build(
        cls,
        from_: str | Var,
        *,
        via: str,
        as_: str,
        direction: Direction = "forward",
        type: str | None = None,
    ) -> FanOut:
        """Continue once for each link of an id, in the order in which the links were created.

        Each branch has the entity at the other end as the variable `as_` (or its id if there is no such
        entity), and its id as `<as_>_id`. An event without links is dropped as `no links`.

        Parameters
        ----------
        from_
            The path of the id.
        via
            The link type.
        as_
            The name of the variable.
        direction
            `"forward"` if the id is the source of the links, `"reverse"` if it is their target.
        type
            The entity type, for ids that exist in several types.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        BuildError
            If a path cannot exist at this step, or an option is not valid.

        Examples
        --------
        >>> from flowdsl import on
        >>> flow = on("entity.created").fan_out("data.author_id", via="follows", direction="reverse", as_="follower")
        >>> flow.steps[0].text
        "fan_out('data.author_id', via='follows', direction='reverse', as_='follower')"
        """
        return cls.read(from_=from_, via=via, as_=as_, direction=direction, type=type)

    @property
    def kind(self) -> Kind:
        return Kind.PER_EVENT

    @property
    def links(self) -> frozenset[tuple[str, str]]:
        return frozenset({(self.via, self.direction)} if self.direction in DIRECTIONS else ())

    @property
    def branches(self) -> bool:
        return True

    @property
    def entity_variable(self) -> str:
        return self.as_

    @property
    def caption(self) -> str:
        found = f"{self.as_} ({self.type})" if self.type else self.as_
        return link_caption(self.from_, self.via, self.direction, f"each {found}")

    def check(self, scope: Scope) -> Scope:
        scope.check({self.from_}, "fan_out")
        return scope.having(**{self.as_: ANY, f"{self.as_}_id": TEXT})

    def kernel(self, rules: Rules) -> Kernel:
        if self.direction not in DIRECTIONS:
            return NoDirectionKernel(self.direction)
        return FanOutKernel(self, rules)


class FanOutKernel(Kernel):
    """Repeats contexts over the links alive at each one's moment; what no branch changes stays with the
    parent.

    It counts the branches of the last event that it saw: an event may come in several batches, and has a
    limit.
    """

    def __init__(self, options: FanOut, rules: Rules, last: tuple[int, int] = (-1, 0)) -> None:
        self._options, self._rules = options, rules
        self._last = last

    def fork(self) -> FanOutKernel:
        return FanOutKernel(self._options, self._rules, self._last)

    def most_branches(self, contexts: ContextBatch) -> Index | None:
        ids = contexts.id_codes(self._options.from_, uuids=self._rules.uuids)
        return contexts.chunk.graph.most_links(self._options.via, self._options.direction, ids)

    def run(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        options, chunk = self._options, contexts.chunk
        ids = contexts.id_codes(options.from_, uuids=self._rules.uuids)
        seqs = chunk.seq_seen(contexts.seen)
        row, others = chunk.graph.expand(options.via, options.direction, ids, seqs)
        counts = np.bincount(row, minlength=len(contexts))
        over = self._too_many(contexts, counts)
        failed = () if over is None else failed_where(contexts, Failures.where(over, _TOO_MANY))
        if over is not None:
            within = np.flatnonzero(~over)
            ids, contexts, counts = ids[within], contexts.take(within), counts[within]
            keep = ~over[row]
            row, others = np.repeat(np.arange(len(within)), counts), others[keep]
        if self._rules.uuids:
            ids = _known(contexts, ids, counts)
        no_id = Failures.where(ids <= 0, f"{path_text(options.from_)!r} holds no id")
        failed += failed_where(contexts, no_id)
        dropped = dropped_rows(contexts, np.flatnonzero((counts == 0) & (ids > 0)), "no links")
        seen = contexts.seen.take(row) if chunk.graph.changing else contexts.seen
        versions = chunk.graph.find(others, seen, options.type)
        branches = contexts.fanned(
            row,
            _positions(row, counts),
            {
                options.as_: EntityVariable(np.maximum(versions, NONE), others),
                f"{options.as_}_id": ValueVariable(Column.coded(others, chunk.interner)),
            },
        )
        ambiguous = Failures.where(
            versions == AMBIGUOUS, f"{options.as_}_id names entities of several types; say which with type="
        )
        failed += failed_where(branches, ambiguous)
        passed = branches if ambiguous is None else branches.take(np.flatnonzero(~ambiguous.mask))
        return StepOutcome(passed, failed, dropped, branched=Branched(contexts, counts))

    def _too_many(self, contexts: ContextBatch, branches: Index) -> Mask | None:
        """Return which contexts would give their event too many branches, with those made before; None
        where none does.
        """
        if not len(contexts):
            return None
        seq = contexts.seq
        event, made = self._last
        begins = np.flatnonzero(np.diff(seq, prepend=seq[0] - 1))
        total = np.cumsum(branches)
        # of each context, what its event has up to and with it
        before = np.where(begins > 0, total[begins - 1], 0)
        before[0] -= made if seq[0] == event else 0
        so_far = total - np.repeat(before, np.diff(begins, append=len(seq)))
        self._last = int(seq[-1]), int(so_far[-1])
        over: Mask = so_far > MAX_BRANCHES
        return over if over.any() else None


def _known(contexts: ContextBatch, ids: Codes, counts: Index) -> Codes:
    """Ids without those that are neither a UUID nor an id of an entity, a link or the event itself."""
    chunk = contexts.chunk
    rows = np.flatnonzero((counts == 0) & (ids > 0))
    if not len(rows):
        return ids
    asked = ids[rows]
    known = are_uuids(chunk.interner.texts(asked)) | (chunk.graph.find(asked, contexts.seen[rows]) != NONE)
    for name in ID_COLUMNS:
        known |= chunk.codes(name, contexts.rows[rows]) == asked
    ids = ids.copy()
    ids[rows[~known]] = 0
    return ids


def _positions(row: Index, counts: Index) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """0, 1, 2 … within each context's branches."""
    starts = np.cumsum(counts) - counts
    return (np.arange(len(row)) - starts.take(row)).astype(np.int32)
