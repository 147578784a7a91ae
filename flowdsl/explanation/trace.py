"""The paths of an event through flows, and on through the batches that absorbed it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.engine.event_reading import FOLLOWED, Branch, EventReading, StepTrace
from flowdsl.explanation.explain import describe_id, names_at, trace_event
from flowdsl.explanation.paths import ExplainedStep
from flowdsl.explanation.recipients import branch_of, recipient_of
from flowdsl.explanation.window_peers import WindowPeers
from flowdsl.flow.plan import CompiledStep
from flowdsl.flow.spec import FlowSpec
from flowdsl.graph.names import EntityNames
from flowdsl.progress import Progress
from flowdsl.results.options import Options
from flowdsl.rules import Rules
from flowdsl.values.json_types import Index

GONE_ON: Final = ("passed", "delivered")
Parts = list[list[StepTrace]]
"""A way: what was seen of the event at each step, then of those that it went on as, a list for each event."""
# other branches to follow, besides the recipient's, if there are too many
_OTHERS: Final = 50


class EventTrace:
    """The replay of one event, and of the events as which its batches continued."""

    def __init__(
        self,
        options: Options,
        seq_no: int,
        recipient: str,
        flows: Sequence[FlowSpec],
        progress: Progress = None,
    ) -> None:
        self._progress = progress
        self.options, self.recipient, self.seq_no = options, recipient, seq_no
        # all flows must run if they share a state or caps; otherwise only those that match the event
        running = options.flows if options.together else [flow for flow in flows if flow.steps]
        self.running = list(running)
        self._seekers: dict[int, RecipientTrace] = {}

    def seeker(self, seq_no: int) -> RecipientTrace:
        """Return the trace of an event."""
        if seq_no not in self._seekers:
            seeker = RecipientTrace(seq_no, self.recipient, self.running, self.options.flows[0].rules)
            if self.running:
                trace_event(
                    dataclasses.replace(self.options, flows=tuple(self.running)),
                    seeker.steps,
                    [seeker.peers],
                    self._progress,
                )
            self._seekers[seq_no] = seeker
        return self._seekers[seq_no]

    def number(self, flow: FlowSpec) -> int:
        """Return the index of a flow among those that ran."""
        return self.running.index(flow)

    def called(self, one: str) -> str:
        """Return an id with its name and type, if they are known."""
        return describe_id(self.seeker(self.seq_no).steps, one)

    def names(self, event: Mapping[str, Any], steps: Iterable[ExplainedStep]) -> EntityNames:
        """Return the names of the entities of the event, and of recipients, as far as they are known."""
        return names_at(self.seeker(self.seq_no).steps, event, steps)

    def triggered(self, flow: FlowSpec) -> Mapping[str, Any]:
        """Return the variables that the event gave a flow; empty if the flow did not run on it."""
        return self.seeker(self.seq_no).steps.triggered.get(self.number(flow), {})

    def ways(self, flow: FlowSpec) -> list[Parts]:
        """Return the paths of all branches of the event through a flow, each down to its end."""
        seen = self.seeker(self.seq_no).steps.of_flow(self.number(flow))
        ways = [self._to(seen, end.branch, end.stage.number) for end in _ends(flow, seen)]
        return [self.whole(flow, way) for way in ways]

    def on(self, flow: FlowSpec, into: tuple[int, Branch], step: int) -> list[list[StepTrace]]:
        """Return the paths of the batch that absorbed a context at a step: later steps of the event as which
        the batch continued.
        """
        seq_no, branch = into
        seen = self.seeker(seq_no).steps.of_flow(self.number(flow))
        after = [one for one in seen if one.is_after(step, branch)]
        return [self._to(after, end.branch, end.stage.number) for end in _ends(flow, after)]

    def whole(self, flow: FlowSpec, way: list[StepTrace]) -> Parts:
        """Return a path and its continuation in batches: a list for each event, the event itself first.

        If a batch has several branches, one that reached the recipient is chosen, or else one that may be
        theirs.
        """
        end = way[-1]
        # a batch is followed only if it may be theirs: each is a replay of its own
        if end.into is None or recipient_of(flow, end) not in (None, self.recipient):
            return [way]
        went_on = [self.whole(flow, path) for path in self.on(flow, end.into, end.stage.number)]
        return [way, *min(went_on, key=lambda parts: self._strangeness(flow, parts), default=[])]

    def _strangeness(self, flow: FlowSpec, parts: Parts) -> int:
        """Return how little a path has to do with the recipient."""
        if delivered_at(parts, self.recipient) is not None:
            return 0
        return 1 if self.recipient in persons(flow, parts) else 2

    @staticmethod
    def _to(seen: list[StepTrace], branch: Branch, step: int) -> list[StepTrace]:
        return [one for one in seen if one.stage.number <= step and branch[: len(one.branch)] == one.branch]


def persons(flow: FlowSpec, way: Parts) -> set[str]:
    """Return the recipients of a path: those that got a delivery, and the one inferred at its end."""
    delivered = {seen.recipient_id for part in way for seen in part if seen.recipient_id is not None}
    end = way[-1][-1]
    coming = recipient_of(flow, end) or (None if delivered else branch_of(flow, end))
    return delivered | ({coming} if coming is not None else set())


def delivered_at(way: Parts, recipient: str) -> StepTrace | None:
    """Return the step at which a path reached the recipient, and no preference refused it; None otherwise."""
    for part in way:
        for seen in part:
            if seen.sinks and seen.recipient_id == recipient:
                return seen
    return None


def _ends(flow: FlowSpec, seen: Sequence[StepTrace]) -> list[StepTrace]:
    last = len(flow.steps) - 1
    return [one for one in seen if one.outcome not in GONE_ON or one.stage.number == last]


class RecipientTrace:
    """Trace of one event, and of the other events that entered the steps with state.

    If a fan-out has very many branches, only those with the recipient's id are followed, and a few others
    for comparison.
    """

    def __init__(self, seq_no: int, recipient: str, flows: Sequence[FlowSpec], rules: Rules) -> None:
        self.steps = EventReading(seq_no, self._choose)
        self.peers = WindowPeers(seq_no, rules)
        self._recipient, self._flows = recipient, flows

    def _choose(self, step: CompiledStep, contexts: ContextBatch, rows: Index) -> list[int]:
        chosen: dict[int, None] = {}
        for operator in self._flows[step.flows[0]].steps[: step.number + 1]:
            if operator.branch_variable is not None:
                ids = contexts.take(rows).column((operator.branch_variable,)).values()
                chosen.update(dict.fromkeys(i for i, one in enumerate(ids) if one == self._recipient))
        chosen.update(dict.fromkeys(range(_OTHERS if chosen else FOLLOWED)))
        return sorted(chosen)[:FOLLOWED]
