"""fan_out: one branch for each link."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.variables import EntityVariable, ValueVariable
from flowdsl.expressions.row_source import Failures
from flowdsl.expressions.var import Var
from flowdsl.graph.entities import AMBIGUOUS, NONE
from flowdsl.kernels.branch_limit import BranchLimit, Places, positions
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
from flowdsl.operators.scope import ANY, TEXT, Scope
from flowdsl.rules import Rules
from flowdsl.values.columns import Column
from flowdsl.values.interner import Codes
from flowdsl.values.json_types import Index
from flowdsl.values.paths import Path, path_text


@dataclass(frozen=True)
class FanOut(Operator):
    """Go on once for each link of an id."""

    name: ClassVar[str] = "fan_out"
    method: ClassVar[str] = "fan_out"
    summary: ClassVar[str] = "go on once for each link of an id, with the entity at its other end"
    example: ClassVar[str] = 'fan_out("data.author_id", via="follows", direction="reverse", as_="follower")'
    synonyms: ClassVar[tuple[str, ...]] = ("fanout", "broadcast", "followers", "topic", "spread")
    portable: ClassVar[bool] = True
    without: ClassVar[Mapping[str, str]] = {
        "type": "an id that several types have stands for the first of them"
    }
    text_order: ClassVar[tuple[str, ...]] = ("from_", "via", "direction", "as_")

    from_: Path = option(PATH, "the path that holds the id to start from", key=True)
    via: str = option(LINK_TYPE, "the link type to follow", synonyms=("link_type", "link", "over", "edge"))
    as_: str = option(
        NAME, "the variable that each linked entity becomes; `<as>_id` is its id", synonyms=("into", "name")
    )
    direction: str = option(
        DIRECTION, "`forward`: the id is the link's source; `reverse`: its target", default="forward"
    )
    type: str | None = option(
        ENTITY_TYPE,
        "the entity type to look in; any by default",
        portable=False,
        default=None,
        synonyms=("entity_type",),
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
        >>> flow = on("entity.created").fan_out(
        ...     "data.author_id", via="follows", direction="reverse", as_="follower"
        ... )
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
    def link_path(self) -> Path | None:
        return self.from_

    @property
    def entity_variable(self) -> str:
        return self.as_

    @property
    def variables(self) -> tuple[str, ...]:
        return self.as_, f"{self.as_}_id"

    @property
    def branch_variable(self) -> str:
        return f"{self.as_}_id"

    @property
    def caption(self) -> str:
        found = f"{self.as_} ({self.type})" if self.type else self.as_
        return link_caption(self.from_, self.via, self.direction, f"each {found}")

    def check(self, scope: Scope) -> Scope:
        return super().check(scope).having(**{self.as_: ANY, f"{self.as_}_id": TEXT})

    def kernel(self, rules: Rules) -> Kernel:
        if self.direction not in DIRECTIONS:
            return NoDirectionKernel(self.direction)
        return FanOutKernel(self, rules)


class Branches(NamedTuple):
    """Branches of contexts: the context, the id at the other end and the position of each; and how many each
    context has.
    """

    row: Index
    others: Codes
    place: Places
    counts: Index

    def take(self, index: Index) -> Branches:
        """Return the branches at `index`; the counts remain those of all branches."""
        return Branches(self.row.take(index), self.others.take(index), self.place.take(index), self.counts)


class FanOutKernel(Kernel):
    """Repeats contexts over the links alive at each one's moment; what no branch changes stays with the
    parent.
    """

    def __init__(self, options: FanOut, rules: Rules, limit: BranchLimit | None = None) -> None:
        self._options, self._rules = options, rules
        self._limit = limit or BranchLimit()
        self._looked_up: tuple[ContextBatch, Codes] | None = None
        # if other branches go on elsewhere: the places among all branches of those that go on here
        self.share: Callable[[ContextBatch, Branches], Branches] | None = None

    def fork(self) -> FanOutKernel:
        return FanOutKernel(self._options, self._rules, self._limit.fork())

    def most_branches(self, contexts: ContextBatch) -> Index | None:
        ids = contexts.id_codes(self._options.from_, uuids=self._rules.uuids)
        # mostly these contexts run next
        self._looked_up = contexts, ids
        return contexts.chunk.graph.most_links(self._options.via, self._options.direction, ids)

    def _ids(self, contexts: ContextBatch) -> Codes:
        known, self._looked_up = self._looked_up, None
        if known is not None and known[0] is contexts:
            return known[1]
        return contexts.id_codes(self._options.from_, uuids=self._rules.uuids)

    def run(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        options, chunk = self._options, contexts.chunk
        ids = self._ids(contexts)
        seqs = chunk.seq_seen(contexts.seen)
        row, others = chunk.graph.expand(options.via, options.direction, ids, seqs)
        counts: Index = np.bincount(row, minlength=len(contexts))
        refused = self._limit.refusals(contexts, counts)
        failed = failed_where(contexts, refused)
        if refused is not None:
            within = np.flatnonzero(~refused.mask)
            keep = ~refused.mask[row]
            ids, contexts, counts = ids[within], contexts.take(within), counts[within]
            row, others = np.repeat(np.arange(len(within)), counts), others[keep]
        if self._rules.uuids:
            ids = _keep_known(contexts, ids, counts)
        place = positions(row, counts)
        if self.share is not None:
            row, others, place, counts = self.share(contexts, Branches(row, others, place, counts))
        no_id = Failures.where(ids <= 0, f"{path_text(options.from_)!r} holds no id")
        failed += failed_where(contexts, no_id)
        dropped = dropped_rows(contexts, np.flatnonzero((counts == 0) & (ids > 0)), "no links")
        seen = contexts.seen.take(row) if chunk.graph.changing else contexts.seen
        versions = chunk.graph.find(others, seen, options.type)
        branches = contexts.fanned(
            row,
            place,
            {
                options.as_: EntityVariable(np.maximum(versions, NONE), others),
                f"{options.as_}_id": ValueVariable(Column.from_codes(others, chunk.interner)),
            },
        )
        ambiguous = Failures.where(
            versions == AMBIGUOUS, f"{options.as_}_id names entities of several types; say which with type="
        )
        failed += failed_where(branches, ambiguous)
        passed = branches if ambiguous is None else branches.take(np.flatnonzero(~ambiguous.mask))
        return StepOutcome(passed, failed, dropped, branched=Branched(contexts, counts))


def _keep_known(contexts: ContextBatch, ids: Codes, counts: Index) -> Codes:
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
