"""The loop: the clock goes on, timers fire, the graph changes, flows run (rules 2, 3, 6, 18, 19 and 20)."""

from __future__ import annotations

import copy
import heapq
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowdsl import Flow
from flowdsl.flow.sink_cap import Cap, by_recipient
from flowdsl.operators.batch import Batch
from flowdsl.operators.cap import KeyCap
from flowdsl.operators.wait import Wait
from flowdsl.values.json_types import MISSING
from oracle.batch_step import BatchStep
from oracle.caps import CapStep, Counts
from oracle.events import Event, PlainGraph
from oracle.steps import STEPS, Context, Step
from oracle.values import FailedError
from oracle.waiting import WaitStep

FOREVER = 1 << 62
OPERATORS = {**STEPS, Batch: BatchStep, KeyCap: CapStep, Wait: WaitStep}
BEGINNING = -(1 << 62)


@dataclass(frozen=True)
class Delivery:
    """What one sink received; `flow`, `step` and `sink` are positions."""

    delivered_at: int
    seq_no: int
    flow: int
    branch: tuple[int, ...]
    step: int
    sink: int
    sink_name: str
    event_time: int
    event_id: str | None
    closed_by: str | None
    recipient_id: str | None
    payload: Any
    origin: tuple[Event, tuple[int, ...]] | None = None
    handed: int = 0

    @property
    def order(self) -> tuple[Any, ...]:
        """The total order of rule 20; a branch comes after what its parent delivered."""
        return (self.delivered_at, self.seq_no, self.flow, self.branch, self.step, self.sink)

    @property
    def counted(self) -> tuple[Any, ...]:
        """The order in which caps count: a window of 0s closes after all else of its event."""
        return (*self.order[:2], self.closed_by in ("timer", "quiet", "end"), *self.order[2:])


@dataclass(frozen=True)
class Failure:
    """A context that failed, with its variables."""

    seq_no: int
    flow: int
    step: int
    branch: tuple[int, ...]
    variables: dict[str, Any]

    @property
    def order(self) -> tuple[Any, ...]:
        return (self.seq_no, self.flow, self.step, self.branch)


@dataclass
class Tally:
    """What became of the contexts that entered a step."""

    entered: int = 0
    extra_branches: int = 0
    passed: int = 0
    failed: int = 0
    absorbed: int = 0
    held: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


@dataclass
class Outcome:
    """Everything that came of a replay."""

    deliveries: list[Delivery] = field(default_factory=list)
    errors: list[Failure] = field(default_factory=list)
    tallies: dict[tuple[int, int], Tally] = field(default_factory=dict)
    late: list[int] = field(default_factory=list)
    unmatched: list[int] = field(default_factory=list)
    open: list[dict[str, int]] = field(default_factory=list)
    # flow, step, event and branch of each member of a batch, and the event and branch that it went on with
    members: list[tuple[Any, ...]] = field(default_factory=list)


class _Place:
    """One step of one flow, the step that comes after it, and what it is told."""

    def __init__(self, world: _World, flow: int, step: int, after: Step | None) -> None:
        self._world, self._flow, self._step, self._after = world, flow, step, after
        self._tally = world.outcome.tallies[flow, step] = Tally()

    @property
    def now(self) -> int:
        return self._world.now

    @property
    def graph(self) -> PlainGraph:
        return self._world.graph

    @property
    def ending(self) -> bool:
        return self._world.ending

    def enter(self, step: Step, context: Context) -> None:
        self._tally.entered += 1
        try:
            step.take(context)
        except FailedError:
            self.fail(context)

    def go_on(self, context: Context) -> None:
        self._tally.passed += 1
        if self._after is not None:
            self._after.place.enter(self._after, context)  # type: ignore[attr-defined]

    def drop(self, contexts: Sequence[Context], reason: str) -> None:
        self._tally.dropped[reason] += len(contexts)

    def fail(self, context: Context) -> None:
        self._tally.failed += 1
        self._world.outcome.errors.append(
            Failure(context.event.seq_no, self._flow, self._step, context.branch, context.variables)
        )

    def absorb(self, members: Sequence[Context]) -> None:
        self._tally.absorbed += len(members) - 1
        *_, last = members
        into = (last.event.seq_no, last.branch)
        self._world.outcome.members += [
            (self._flow, self._step, member.event.seq_no, member.branch, *into) for member in members
        ]

    def branch_off(self, extra: int) -> None:
        self._tally.extra_branches += extra

    def deliver(self, context: Context, payload: Any, recipient: str | None) -> None:
        sinks = self._world.flows[self._flow].steps[self._step].sinks  # type: ignore[attr-defined]
        handed = self.number()
        for sink, name in enumerate(sinks):
            self._world.outcome.deliveries.append(
                Delivery(
                    delivered_at=self.now,
                    seq_no=context.event.seq_no,
                    flow=self._flow,
                    branch=context.branch,
                    step=self._step,
                    sink=sink,
                    sink_name=name,
                    event_time=context.event.timestamp,
                    event_id=context.event.event_id,
                    closed_by=context.closed_by,
                    recipient_id=recipient,
                    payload=payload,
                    origin=context.origin,
                    handed=handed,
                )
            )

    def number(self) -> int:
        self._world.count += 1
        return self._world.count

    def at(self, due: int, number: Any, action: Callable[[], None]) -> None:
        heapq.heappush(self._world.timers, (due, self._flow, self._step, number, action))


class _World:
    """The clock, the graph, the timers and the flows."""

    def __init__(self, flows: Sequence[Flow], graph: PlainGraph) -> None:
        self.flows = flows
        self.graph = graph
        self.now = self.clock = BEGINNING
        self.ending = False
        self.count = 0
        # due, flow, step, and the order in which timers were set or contexts queued
        self.timers: list[tuple[int, int, int, Any, Callable[[], None]]] = []
        self.outcome = Outcome()
        self.steps = [self._steps(number, flow) for number, flow in enumerate(flows)]

    def _steps(self, flow_number: int, flow: Flow) -> list[Step]:
        steps: list[Step] = []
        after: Step | None = None
        for number in reversed(range(len(flow.steps))):
            options = flow.steps[number]
            after = OPERATORS[type(options)](_Place(self, flow_number, number, after), options)
            steps.insert(0, after)
        return steps

    def advance(self, clock: int) -> None:
        """The clock goes on: every timer due by then fires before anything else happens."""
        while self.timers and self.timers[0][0] <= clock:
            due, _, _, _, action = heapq.heappop(self.timers)
            # a window of 0s closes after the event that opened it, at the same moment
            self.now = max(self.now, due)
            action()
        if clock != FOREVER:
            self.clock = self.now = max(self.clock, clock)

    def change(self, event: Event) -> None:
        """What an event does to the graph; a deletion that meets nothing of what flows look up is listed (rule 34)."""
        if event.kind == "link.deleted" and "link_id" not in event.fields and not self._looks_up(event):
            # of types that nobody looks up only the ids are followed, since one may be taken over by a link of another type
            return
        if not self.graph.apply(event) and self._looks_up(event):
            self.outcome.unmatched.append(event.seq_no)

    def _looks_up(self, event: Event) -> bool:
        every = [step for flow in self.flows for step in flow.steps]
        steps = [step for step in every if step.method in ("resolve", "fan_out")]
        if event.kind == "entity.deleted":
            return bool(steps) or any(map(_reads_before, self.flows))
        kinds = {step.via for step in steps} - {None}  # type: ignore[attr-defined]
        kinds |= {call.link_type for step in every for call in step.graph_calls}
        return bool(kinds) and event.fields.get("link_type") in {*kinds, None}

    def run(self, event: Event, before: Any) -> None:
        """Take one event through all flows that it triggers; those that ask for it get the entity before it (rule 29)."""
        for flow, steps in zip(self.flows, self.steps, strict=True):
            if steps and event.triggers(flow.trigger):
                own = {"before": before} if before is not MISSING and _reads_before(flow) else {}
                steps[0].place.enter(steps[0], Context(event, {**event.variables(), **own}))  # type: ignore[attr-defined]


def interpret(
    flows: Sequence[Flow],
    events: Sequence[Mapping[str, Any]],
    entities: Mapping[str, Mapping[Any, Any]] | None = None,
    links: Sequence[Mapping[str, Any]] = (),
    *,
    merge: Collection[str] = (),
    start: int | None = None,
    stop: int | None = None,
    only: Collection[int] | None = None,
    keep: bool = False,
    as_of: str = "event",
    marks: Sequence[tuple[int, int]] = (),
    ahead: Mapping[int, int] | None = None,
    caps: Mapping[str, Cap] | None = None,
) -> Outcome:
    """What flows make of a log of envelopes; `keep` leaves windows and queues open at the end.

    `marks` are clock marks: (the `seq_no` after which, the clock in µs). `ahead` are the events that do not move the clock,
    and what it is at them if not later (rule 35).
    """
    log = [Event.of(event) for event in events]
    log = [event for event in log if stop is None or event.seq_no < stop]
    world = _World(flows, PlainGraph(entities or {}, links, merge))
    if as_of == "end":
        for event in log:
            world.change(event)
        world.graph.apply = lambda event: True  # type: ignore[method-assign]
    left = list(marks)
    for event in log:
        while left and left[0][0] < event.seq_no:
            world.advance(left.pop(0)[1])
        world.advance(max(world.clock, (ahead or {}).get(event.seq_no, event.timestamp)))
        if event.timestamp < world.clock:
            world.outcome.late.append(event.seq_no)
        before = copy.deepcopy(world.graph.entity_of(event))
        world.change(copy.deepcopy(event))
        if (start is None or event.seq_no >= start) and (only is None or event.seq_no in only):
            world.run(event, before)
    for seq_no, clock in left:
        if stop is None or seq_no < stop:
            world.advance(clock)
    if not keep:
        world.ending = True
        world.advance(FOREVER)
    return _finished(world, caps or {})


def _reads_before(flow: Flow) -> bool:
    """Whether a flow says `before`; a Python function may read anything."""
    if not flow.trigger.kind.startswith("entity."):
        return False
    return any(step.paths is None or any(p[0] == "before" for p in step.paths) for step in flow.steps)


def _finished(world: _World, caps: Mapping[str, Cap]) -> Outcome:
    outcome = world.outcome
    outcome.deliveries.sort(key=lambda delivery: delivery.order)
    _stop_capped(outcome, world.flows, caps)
    outcome.errors.sort(key=lambda failure: failure.order)
    for flow, steps in enumerate(world.steps):
        for number, step in enumerate(steps):
            outcome.tallies[flow, number].held = step.held()
            outcome.open += [{"flow": flow, "step": number, **row} for row in step.open()]
    return outcome


def _stop_capped(outcome: Outcome, flows: Sequence[Flow], caps: Mapping[str, Cap]) -> None:
    """Take away what caps of sinks stop; where no sink takes a context, and none follows, it ends there (rule 26)."""
    counts = {sink: Counts(by_recipient(cap)) for sink, cap in caps.items()}
    reached, taken = [], set()
    for delivery in sorted(outcome.deliveries, key=lambda delivery: delivery.counted):
        counted = counts.get(delivery.sink_name)
        if (
            delivery.recipient_id is None
            or counted is None
            or counted.goes_on(delivery.recipient_id, delivery.delivered_at, str(counted.options.tz or "UTC"))
        ):
            reached.append(delivery)
            taken.add(delivery.handed)
    for delivery in {d.handed: d for d in outcome.deliveries if d.handed not in taken}.values():
        last = max(n for n, step in enumerate(flows[delivery.flow].steps) if step.method == "deliver")
        if delivery.step == last:
            tally = outcome.tallies[delivery.flow, last]
            tally.passed -= 1
            tally.dropped["capped"] += 1
    outcome.deliveries = sorted(reached, key=lambda delivery: delivery.order)
