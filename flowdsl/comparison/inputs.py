"""The two results of a comparison, flow by flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from flowdsl.flow.spec import FlowSpec
from flowdsl.progress import Tick, noop
from flowdsl.results.manifest_schema import DeliverRow, StepRow
from flowdsl.results.result_data import ResultData
from flowdsl.results.tables import deliveries_with_origin, sink_table


@dataclass(frozen=True)
class FlowResult:
    """One flow of a result."""

    result: ResultData
    number: int

    @property
    def name(self) -> str:
        """The name of the flow."""
        return self.result.flows[self.number]

    @property
    def sinks(self) -> tuple[str, ...]:
        """The sinks that the flow delivers to."""
        return tuple(dict.fromkeys(sink for step in self._delivers for sink in step["sinks"]))

    @property
    def timed(self) -> bool:
        """True if windows or queues come before its deliveries."""
        return any(step["timed"] for step in self._delivers)

    @property
    def steps(self) -> list[StepRow]:
        """The counts of contexts at each of its steps."""
        return [step for step in self.result.manifest["steps"] if step["number"] == self.number]

    @property
    def trigger(self) -> tuple[str, str]:
        """The caption of its trigger, and its text."""
        manifest = self.result.manifest
        return manifest["captions"][self.number], manifest["triggers"][self.number]

    def count(self, sink: str) -> int:
        """Count its deliveries to a sink."""
        manifest = self.result.manifest
        mine = [d for d in manifest["delivered"] if (d["flow"], d["sink"]) == (self.name, sink)]
        return sum(d["count"] for d in mine)

    def deliveries(self, sink: str, tick: Tick = noop) -> pl.DataFrame:
        """Return its deliveries to a sink, with `origin` and `place`; `tick` gets the number of rows made."""
        manifest = self.result.manifest
        return deliveries_with_origin(
            self.result.store, self.result.flows, manifest["delivers"], self.number, sink, tick
        )

    def columns(self, sink: str, columns: Sequence[str], tick: Tick = noop) -> pl.DataFrame:
        """Return some columns of its deliveries to a sink; `tick` gets the number of rows made."""
        manifest = self.result.manifest
        mine: list[DeliverRow] = [{**step, "flows": [self.number]} for step in self._delivers]
        return sink_table(self.result.store, manifest["flows"], sink, mine, columns, tick)

    @property
    def _delivers(self) -> list[DeliverRow]:
        return [step for step in self.result.manifest["delivers"] if self.number in step["flows"]]


@dataclass(frozen=True)
class FlowPair:
    """A flow in both results, or in one of them."""

    before: FlowResult | None
    after: FlowResult | None

    @property
    def name(self) -> str:
        """The flow's name; both names if it was renamed."""
        names = dict.fromkeys(side.name for side in (self.before, self.after) if side is not None)
        return " → ".join(names)

    @property
    def sides(self) -> tuple[FlowResult, ...]:
        """The sides that exist."""
        return tuple(side for side in (self.before, self.after) if side is not None)

    @property
    def flows(self) -> list[FlowSpec]:
        """The flows of both sides, without those of results that were read back from files."""
        return [
            side.result.options.flows[side.number] for side in self.sides if side.result.options is not None
        ]

    @property
    def sinks(self) -> tuple[str, ...]:
        """The sinks of either side."""
        return tuple(dict.fromkeys(sink for side in self.sides for sink in side.sinks))

    @property
    def timed(self) -> bool:
        """True if windows or queues may have moved deliveries from one side to the other."""
        return len(self.sides) == 2 and any(side.timed for side in self.sides)


def pairs_of(before: ResultData, after: ResultData) -> list[FlowPair]:
    """Pair flows with the same name, in order; a last unpaired flow on each side counts as renamed."""
    left = [FlowResult(before, number) for number in range(len(before.flows))]
    right = [FlowResult(after, number) for number in range(len(after.flows))]
    pairs: list[FlowPair] = []
    for side in left:
        other = next((candidate for candidate in right if candidate.name == side.name), None)
        if other is not None:
            right.remove(other)
        pairs.append(FlowPair(side, other))
    _pair_renamed(pairs, right)
    return [*pairs, *(FlowPair(None, side) for side in right)]


def _pair_renamed(pairs: list[FlowPair], right: list[FlowResult]) -> None:
    """Pair the only flow left before with the only one left after."""
    alone = [number for number, pair in enumerate(pairs) if pair.after is None]
    if len(alone) == 1 and len(right) == 1:
        pairs[alone[0]] = FlowPair(pairs[alone[0]].before, right.pop())
