"""Start of a live run: from a checkpoint, or from a position of the log with graph and clock as of there."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from flowdsl.engine.extension import fit_state
from flowdsl.engine.local import LocalExecutor
from flowdsl.engine.range import BEGINNING, ReplayRange
from flowdsl.engine.state import State, StepState, flows_of, lost_text
from flowdsl.errors import LiveError, warn
from flowdsl.events import EVENT_COLUMNS
from flowdsl.flow.plan import Plan
from flowdsl.graph.link_keys import LinkKeyTables
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.graph.state import GraphState
from flowdsl.live.checkpoints import Checkpoint, Checkpoints, Earlier
from flowdsl.live.collector import LiveRecorder
from flowdsl.live.consumer_store import ConsumerStore
from flowdsl.live.future_events import AheadOfClock
from flowdsl.live.given_up import GivenUp, given_up
from flowdsl.live.log_cursor import LogPosition, marks_after
from flowdsl.live.worker import new_run
from flowdsl.log.base import EventLog
from flowdsl.log.position import Position, first_after
from flowdsl.pluralize import count_text
from flowdsl.progress import ProgressReporter
from flowdsl.results.delivery_keys import DeliveryKeys
from flowdsl.values.interner import Interner

KEEP, DISCARD = "keep", "discard"
_LOG = logging.getLogger("flowdsl.live")
Named = Sequence[tuple[str, str]]
_IN_DOUBT = (
    'bring back files of one time; or state="keep" (flowdsl run --keep-state) goes on from the last '
    "checkpoint, where sinks that are not durable may get again what they had; "
    'state="discard" (--discard-state) goes on behind it, without what windows, queues and limits hold'
)


@dataclass(frozen=True)
class Bootstrap:
    """Finds or makes the checkpoint that a run starts from."""

    log: EventLog
    plan: Plan
    graph: EntityGraph | None
    consumer: ConsumerStore
    checkpoints: Checkpoints
    # where a new consumer starts by default
    first: Position
    follower: ProgressReporter
    # wall clock in µs
    now: Callable[[], int]
    ahead: AheadOfClock

    def at(self, position: Position | str | int | None, state: State | str | None) -> Checkpoint:
        """Return the checkpoint for a position; if there is none it is made, and is on disk when this
        returns.
        """
        doubt = self.consumer.doubt(self.log) or self.checkpoints.doubt()
        if doubt and not isinstance(state, State):
            return self._in_doubt(doubt, position, state)
        # also looked at where it is not gone on from: a run of other flows is not to be taken for this one
        found = self._find(discard=state == DISCARD)
        if isinstance(state, State):
            if found is not None or position is not None:
                raise LiveError(
                    "a state was given for a consumer that has one"
                    if found
                    else "a state and a position were both given",
                    hint=(
                        "a state says where to begin: leave the position out, or give a consumer_name that "
                        "is new"
                    ),
                )
            return self._new(self._from_state(state))
        return self._resume(found, position, discard=state == DISCARD)

    def _resume(
        self, found: Checkpoint | None, position: Position | str | int | None, *, discard: bool
    ) -> Checkpoint:
        """Return the last checkpoint, or one made for a position that it or another program has set."""
        acknowledged = self.log.position(self.consumer.name)
        moved = acknowledged not in self._own_positions(acknowledged)
        last = isinstance(position, str) and position == Position.LAST_ACKNOWLEDGED
        if (position is None or last) and found is not None and not moved:
            self.consumer.backlog.forget_after(found.run or found.earlier[0].run, found.place.number)
            return found if found.run else self._begin(replace(found, run=new_run()))
        if discard and not moved:
            acknowledged = max(acknowledged, self.checkpoints.last_seq_no())
        if position is None:
            position = Position.LAST_ACKNOWLEDGED if acknowledged or moved else self.first
        after = first_after(position, acknowledged, self.log.last_seq_no())
        if found is not None:
            self._leave_behind(found.state, after)
        return self._new(self._feed(after, found))

    def _in_doubt(self, doubt: str, position: Position | str | int | None, state: str | None) -> Checkpoint:
        """Return the checkpoint where files are of different times: of a run that nothing is known of.

        What it hands over is not compared with what was handed over before.
        """
        name, given = self.consumer.name, None if position == Position.LAST_ACKNOWLEDGED else position
        what = f"the files of the consumer {name!r} and its log are of different times: {doubt}"
        if given is None and state not in (KEEP, DISCARD):
            raise LiveError(
                what,
                place=None if self.consumer.folder is None else str(self.consumer.folder),
                allowed="files of one time",
                hint=_IN_DOUBT,
            )
        warn(what)
        found = self._find(discard=state == DISCARD, any_time=True)
        end = self.log.last_seq_no()
        if state == KEEP and given is None:
            found = self._within(found, end)
            self.consumer.forget_checkpoints()
            return self._begin(replace(found, run=new_run(), earlier=()))
        known = [self.log.position(name), self.checkpoints.last_seq_no(), *self.consumer.reached()]
        after = min(max(known), end) if given is None else first_after(given, 0, end)
        self.consumer.forget_checkpoints()
        if found is not None:
            self._leave_behind(found.state, after)
        self.consumer.bury_all("whether the sink has it is not known: files of different times", self.now())
        return self._new(self._feed(after, None))

    def _within(self, found: Checkpoint | None, end: int) -> Checkpoint:
        """Return a checkpoint that is not beyond `end`, the last event of the log."""
        if found is not None and found.place.seq_no <= end:
            return found
        at = None if found is None else found.place.seq_no
        lacks = "there is no checkpoint" if at is None else f"the checkpoint is one of event {at}"
        raise LiveError(
            f"the log ends at event {end}, and {lacks}",
            hint='bring back files of one time, or give up windows, queues and limits with state="discard"',
        )

    def _find(self, *, discard: bool, any_time: bool = False) -> Checkpoint | None:
        """Return the last checkpoint; state that only other flows have must be discarded by name."""
        try:
            found = self.checkpoints.load(any_time=any_time)
        except LiveError as error:
            if not discard:
                raise
            warn(f"{error.what}: what windows, queues and limits remembered is lost")
            return None
        if found is None:
            return None
        self._check_merging(found.state)
        lost = found.state.lost_with(self.plan)
        if lost and discard:
            self._give_up(found.state, lost)
        elif lost:
            raise LiveError(
                f"the consumer {self.consumer.name!r} has the state of other flows: "
                f"{lost_text(lost, found.state.clock)}",
                allowed="flows in which these steps, and all before them, are as they were",
                hint='state="discard" (flowdsl run --discard-state) gives this up; '
                "another consumer_name starts afresh",
            )
        if found.state.belongs_to(self.plan):
            return found
        # a run of its own, which is yet to be named: that of the other flows may have handed over more than
        # the checkpoint has, and what flows that it did not have hand over must not be taken for that
        carried = _match_flows(found.state.flows, flows_of(self.plan))
        earlier = [Earlier(found.run, frozenset(carried))]
        earlier += [
            Earlier(one.run, frozenset(new for new, old in carried.items() if old in one.flows))
            for one in found.earlier
        ]
        return Checkpoint("", found.place, self._fit(found.state, self.graph), tuple(earlier))

    def _check_merging(self, state: State) -> None:
        """Refuse a graph that merges updates differently from the saved one."""
        if self.graph is None or self.graph.merge == state.graph.merge:
            return
        before, now = (
            ", ".join(sorted(names)) or "nothing" for names in (state.graph.merge, self.graph.merge)
        )
        raise LiveError(
            f"the consumer {self.consumer.name!r} has a state in which updates merge {before}, and the graph "
            f"merges {now}",
            hint="give the graph with the merge of before; another consumer_name starts afresh",
        )

    def _give_up(self, state: State, lost: list[StepState]) -> None:
        rows = given_up(state, lost, self.now())
        self.consumer.give_up(rows)
        self._report_given_up(rows, f"that other flows held: {lost_text(lost, state.clock)}")

    def _leave_behind(self, state: State, after: int) -> None:
        """List what windows and queues hold of events that a run starting after `after` will not see
        again.
        """
        holding = [step for step in state.steps if step.kernel.held]
        rows = given_up(state, holding, self.now(), after)
        if rows:
            self.consumer.give_up(rows)
            self._report_given_up(rows, f"of events up to {after}, for the run begins after them")

    def _report_given_up(self, rows: list[GivenUp], which: str) -> None:
        contexts = sum(row.seq_no is not None for row in rows)
        _LOG.warning("%r gives up %s %s", self.consumer.name, count_text(contexts, "context"), which)

    def _fit(self, state: State, base: EntityGraph | None) -> State:
        return fit_state(state, self.plan, base, self.log, EVENT_COLUMNS, self.follower)

    def _own_positions(self, acknowledged: int) -> list[int]:
        """Return the positions this consumer may have set itself; any other was set by another program."""
        stored = self.consumer.fact("acknowledged")
        return [acknowledged] if stored is None else list(json.loads(stored))

    def _new(self, made: tuple[LogPosition, State]) -> Checkpoint:
        self.consumer.backlog.forget_events_after(made[0].seq_no)
        return self._begin(Checkpoint(new_run(), *made))

    def _begin(self, checkpoint: Checkpoint) -> Checkpoint:
        self.checkpoints.save(checkpoint)
        self.consumer.begin(checkpoint.run, [one.run for one in checkpoint.earlier])
        position = self.log.position(self.consumer.name)
        self.consumer.acknowledge(self.log, position, position)
        return checkpoint

    def _from_state(self, state: State) -> tuple[LogPosition, State]:
        lost = state.lost_with(self.plan)
        if lost:
            raise LiveError(
                f"the state belongs to other flows: {lost_text(lost, state.clock)}",
                hint="run flows in which these steps, and all before them, are as they were; "
                "or leave state out, and begin anew",
            )
        if self.graph is not None:
            raise LiveError(
                "graph and state were both given", hint="the state holds the graph already; leave graph out"
            )
        here = marks_after(self.log.clock_marks(state.position), state.position)
        fitted = self._fit(state.fork(), state.base)
        return LogPosition(state.position, 0, here), self.checkpoints.copy(fitted)

    def _feed(self, after: int, found: Checkpoint | None) -> tuple[LogPosition, State]:
        """Return the state of flows that have seen nothing, with graph and clock after the event `after`."""
        here = marks_after(self.log.clock_marks(after), after)
        graph, clock, position = self._graph(after, found)
        local = LocalExecutor(self.plan, graph, LiveRecorder(DeliveryKeys((), self.log)))
        local.clock, local.position = clock, position
        if after > position:
            # the events before make up the graph and the clock
            self.follower.total = after - position
            local.run(
                self.log,
                ReplayRange(start=after + 1, stop=after + 1),
                progress=self.follower,
                judge=self.ahead,
            )
        local.position = after
        return LogPosition(after, 0, here), local.state()

    def _graph(self, after: int, found: Checkpoint | None) -> tuple[GraphState, int, int]:
        """Return the graph to start with: that of a checkpoint, unless the checkpoint is beyond the log's
        end.
        """
        if found is not None and found.state.position <= after:
            return found.state.graph, found.state.clock, found.state.position
        # ids in codes of its own: what the run does not refer to it may forget
        own = Interner()
        own.private = True
        graph = (self.graph or EntityGraph()).over(own, LinkKeyTables())
        return graph.start(self.plan.needs, self.plan.rules), BEGINNING, 0


def _match_flows(before: Named, now: Named) -> dict[str, str]:
    """Match the flows of now, each with its name and fingerprint, with those of before.

    One that was edited has its name, one that was renamed its fingerprint.
    """
    old, names = dict(before), {name for name, _ in now}
    carried = {name: name for name, _ in now if name in old}
    for name, fingerprint in now:
        if name not in carried:
            renamed = (other for other, its in before if its == fingerprint and other not in names)
            if (other := next(renamed, None)) is not None:
                carried[name] = other
    return carried
