"""Where a live run begins: at a checkpoint, or anew at a place of the log with the graph and the clock as of there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from flowdsl.engines.local import LocalRun, Span, State
from flowdsl.errors import LiveError
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.graph.state import GraphState
from flowdsl.live.checkpoints import Checkpoint, Checkpoints
from flowdsl.live.consumer import Consumer
from flowdsl.live.following import new_run
from flowdsl.live.recording import LiveRecorder
from flowdsl.live.story import Place, marks_after
from flowdsl.log.base import EventLog
from flowdsl.log.position import Position, first_after
from flowdsl.plan import Plan
from flowdsl.progress import Follower
from flowdsl.results.keys import DeliveryKeys

DISCARD = "discard"


@dataclass(frozen=True)
class Beginning:
    """Finds or makes the checkpoint that a run goes on from."""

    log: EventLog
    plan: Plan
    graph: EntityGraph | None
    consumer: Consumer
    checkpoints: Checkpoints
    fingerprint: str
    # where a consumer begins that has never run, if nobody says where
    first: Position
    follower: Follower

    def at(self, position: Position | str | int | None, state: State | str | None) -> Checkpoint:
        """The checkpoint for a position; where none is there yet it is made, and on disk when this returns."""
        # also looked at where it is not gone on from: a run of other flows is not to be taken for this one
        found = None if state == DISCARD else self.checkpoints.load()
        acknowledged = self.log.position(self.consumer.name)
        if isinstance(state, State):
            if found is not None or position is not None:
                raise LiveError(
                    "a state was given for a consumer that has one"
                    if found
                    else "a state and a position were both given",
                    hint="a state says where to begin: leave the position out, or give a consumer_name that is new",
                )
            return self._new(self._given(state))
        moved = acknowledged not in self._own_positions(acknowledged)
        if position in (None, Position.LAST_ACKNOWLEDGED) and found is not None and not moved:
            return found
        if state == DISCARD and not moved:
            acknowledged = max(acknowledged, self.checkpoints.last_seq_no())
        if position is None:
            position = Position.LAST_ACKNOWLEDGED if acknowledged or moved else self.first
        after = first_after(position, acknowledged, self.log.last_seq_no())
        return self._new(self._fed(after, found))

    def _own_positions(self, acknowledged: int) -> list[int]:
        """The positions that this consumer may have told the log itself; any other was set by somebody."""
        said = self.consumer.fact("acknowledged")
        return [acknowledged] if said is None else list(json.loads(said))

    def _new(self, made: tuple[Place, State]) -> Checkpoint:
        checkpoint = Checkpoint(new_run(), *made)
        self.checkpoints.save(checkpoint)
        self.consumer.begin(checkpoint.run)
        position = self.log.position(self.consumer.name)
        self.consumer.keep_fact("acknowledged", json.dumps([position, position]))
        return checkpoint

    def _given(self, state: State) -> tuple[Place, State]:
        if state.fingerprint != self.fingerprint:
            raise LiveError("the state belongs to other flows", hint="run the same flows, in the same order")
        if self.graph is not None:
            raise LiveError(
                "graph and state were both given", hint="the state holds the graph already; leave graph out"
            )
        kernels = [kernel.fork() for kernel in state.kernels]
        copy = State(state.graph.fork(), state.clock, state.position, kernels, state.fingerprint)
        return Place(
            state.position, 0, marks_after(self.log.clock_marks(state.position), state.position)
        ), copy

    def _fed(self, after: int, found: Checkpoint | None) -> tuple[Place, State]:
        """The state of flows that have seen nothing, with the graph and the clock after the event `after`."""
        here = marks_after(self.log.clock_marks(after), after)
        graph, clock, position = self._graph(after, found)
        local = LocalRun(self.plan, graph, LiveRecorder(DeliveryKeys((), self.log)))
        local.clock, local.position = clock, position
        if after > position:
            # the events before make up the graph and the clock
            self.follower.total = after - position
            local.run(self.log, Span(start=after + 1, stop=after + 1), progress=self.follower)
        local.position = after
        return Place(after, 0, here), local.state(self.fingerprint)

    def _graph(self, after: int, found: Checkpoint | None) -> tuple[GraphState, int, int]:
        """The graph to begin with: that of a checkpoint where it is not beyond, for the log may have lost what was before."""
        if found is not None and found.state.position <= after:
            return found.state.graph, found.state.clock, found.state.position
        nothing: Any = LocalRun(
            self.plan,
            EntityGraph().start(self.plan.needs, self.plan.rules),
            LiveRecorder(DeliveryKeys((), self.log)),
        ).clock
        return (self.graph or EntityGraph()).start(self.plan.needs, self.plan.rules), nothing, 0
