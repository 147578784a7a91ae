"""State that a run leaves for the next one: the graph, the clock, and what each step remembers, found again
by the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flowdsl.engine.crashes import Stopped
from flowdsl.flow.plan import Plan, fingerprints
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.graph.state import GraphState
from flowdsl.kernels.kernel import Kernel
from flowdsl.log.source import EventSource
from flowdsl.pluralize import count_text
from flowdsl.sinks.base import flow_labels

# up to so many losses are listed one by one
_TOLD = 20


@dataclass(frozen=True)
class StepState:
    """State of one step, and which step that is.

    `fingerprint` says all that it depends on: the trigger, the rules, the steps up to it. `flows` have the
    step, under `number`; `text` is how it is written. The cap of a sink is a step of no flow, whose text is
    the sink.
    """

    fingerprint: str
    flows: tuple[str, ...]
    number: int
    operator: str
    text: str
    kernel: Kernel
    # in words, of a kernel that was read without its step
    memory: str | None = None

    def remembers(self, clock: int) -> str:
        """Describe what would be lost with it at a clock (µs); empty if nothing."""
        return self.kernel.remembers(clock) if self.memory is None else self.memory


@dataclass
class State:
    """State that a later replay or a live run goes on from, as it was before anything was flushed at the end.

    It holds the graph, the log clock (µs), the sequence number of the last event, and what windows, queues
    and limits remember, each with the fingerprint of its step; `flows` are the names and fingerprints of the
    flows that ran.
    """

    graph: GraphState
    clock: int
    position: int
    steps: tuple[StepState, ...] = ()
    flows: tuple[tuple[str, str], ...] = ()
    # the graph before the first event, where it is known: other flows may read other parts of it
    base: EntityGraph | None = None
    # where production stopped, after which nothing goes on
    stopped: Stopped | None = None
    # the positions of the events so far, of files and frames: what later ones are known by depends on
    # them
    sources: tuple[EventSource, ...] = ()

    def fork(self) -> State:
        """Return an independent copy."""
        steps = tuple(replace(step, kernel=step.kernel.fork()) for step in self.steps)
        return replace(self, graph=self.graph.fork(), steps=steps)

    def belongs_to(self, plan: Plan) -> bool:
        """Return True if it is of a plan's own flows, whatever their order."""
        return sorted(self.flows) == sorted(flows_of(plan))

    def lost_with(self, plan: Plan) -> list[StepState]:
        """Return the steps that remember something, and are not among those of a plan."""
        there = plan.fingerprints
        return [s for s in self.steps if s.fingerprint not in there and s.remembers(self.clock)]

    def __repr__(self) -> str:
        held = sum(step.kernel.held for step in self.steps)
        return (
            f"<State after event {self.position}: {count_text(held, 'context')} held, "
            f"{count_text(len(self.steps), 'step')} with a memory>"
        )


def flows_of(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Return the flows of a plan, each by its name and the fingerprint of all of it."""
    labels = flow_labels(flow.name for flow in plan.flows)
    return tuple((label, fingerprints(flow)[-1]) for label, flow in zip(labels, plan.flows, strict=True))


def lost_text(lost: Sequence[StepState], clock: int) -> str:
    """Describe what would be lost, step by step."""
    described = [f"{_where(step)}: {step.remembers(clock)}" for step in lost[:_TOLD]]
    if len(lost) > _TOLD:
        described.append(f"and {count_text(len(lost) - _TOLD, 'step')} more")
    return "; ".join(described)


def _where(step: StepState) -> str:
    if not step.flows:
        return f"{step.text} ({step.operator})"
    return f"flow {', '.join(map(repr, step.flows))}, step {step.number} ({step.operator})"
