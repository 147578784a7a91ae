"""Lookups in the graph, recorded for each context that enters a step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.expressions.conditions.condition import list_values
from flowdsl.expressions.conditions.graph_calls import GraphCall
from flowdsl.flow.plan import CompiledStep
from flowdsl.flow_tests.graph_history import Link, LinkKey
from flowdsl.kernels.outcome import StepOutcome
from flowdsl.operators.fan_out import FanOut
from flowdsl.operators.resolve import Resolve
from flowdsl.rules import Rules


@dataclass(frozen=True)
class GraphRead:
    """Lookup of the links of an id, or of the entity itself if `via` is None, as of event `seen`.

    With `all`, all of the links matter, otherwise only the first; with `other`, only those between the two
    ids. With `entities`, the entities at their other ends are read too.
    """

    via: str | None
    direction: str
    id: str
    seen: int
    all: bool
    other: str | None = None
    entities: bool = True

    def among(self, links: Iterable[Link]) -> tuple[Link, ...]:
        """Return the links that the lookup finds among those that ever existed."""
        living = (link for link in links if link.lives(self.seen))
        found = tuple(link for link in living if self.other in (None, link.other_end(self.direction)))
        return found if self.all else found[:1]

    def ends(self, links: Iterable[Link]) -> list[tuple[str, int]]:
        """Return the entities that are read at the other ends of links, each with the event of the lookup."""
        return [(link.other_end(self.direction), self.seen) for link in links] if self.entities else []

    @property
    def key(self) -> LinkKey:
        """Link type, direction and id."""
        return str(self.via), self.direction, self.id

    @property
    def asked(self) -> tuple[Any, ...]:
        """The lookup without the event as of which it is made."""
        return *self.key, self.other, self.all


class GraphReads:
    """Trace reader that collects the lookups in the graph of all events."""

    def __init__(self, rules: Rules) -> None:
        self.found: dict[GraphRead, None] = {}
        self._rules = rules

    def __call__(self, step: CompiledStep, entered: ContextBatch, outcome: StepOutcome) -> None:
        """Record the lookups of the contexts that entered a step."""
        operator = step.operator
        if step.number == 0 and "before" in entered.names():
            ids = entered.column(("entity_id",)).values()
            for one, seq_no in zip(ids, entered.seq.tolist(), strict=True):
                self.found[GraphRead(None, "", one, seq_no - 1, all=False)] = None
        if not len(entered):
            return
        seen = entered.chunk.seq_seen(entered.seen).tolist()
        for call in operator.graph_calls:
            self._record_call(call, entered, seen)
        if isinstance(operator, (Resolve, FanOut)):
            codes = entered.id_codes(operator.from_, uuids=self._rules.uuids)
            ids = entered.chunk.interner.texts(codes).to_list()
            for one, code, at in zip(ids, codes.tolist(), seen, strict=True):
                if code > 0:
                    self.found[GraphRead(operator.via, operator.direction, one, at, step.fans_out)] = None

    def _record_call(self, call: GraphCall, entered: ContextBatch, seen: Sequence[int]) -> None:
        """Record the links that a function looks up for each context."""
        counts = call.function == "count_links"
        for ids, at in zip(
            zip(*(list_values(one, entered) for one in call.ids), strict=True), seen, strict=True
        ):
            # a value that is not an id has no links, or fails
            texts = [str(one) for one in ids if isinstance(one, (str, int)) and not isinstance(one, bool)]
            if len(texts) == len(ids):
                one, other = texts[0], texts[1] if len(texts) > 1 else None
                read = GraphRead(call.link_type, call.direction, one, at, counts, other, entities=False)
                self.found[read] = None
