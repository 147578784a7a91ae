"""The engine of one machine, as replays use it: it runs a plan chunk by chunk and writes the tables of the
result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

from flowdsl.engine.executor import OutcomeSink
from flowdsl.engine.extension import fit_state
from flowdsl.engine.local import LocalExecutor
from flowdsl.engine.state import State, lost_text
from flowdsl.errors import ReplayError
from flowdsl.events import EVENT_COLUMNS
from flowdsl.flow.plan import Plan
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.log import EventSource
from flowdsl.log.scan_cache import ScanCache
from flowdsl.progress import ProgressReporter, Tick, run_in_background, track
from flowdsl.results.dispatch import Dispatching
from flowdsl.results.engine import RunRequest, RunTotals
from flowdsl.results.options import Options
from flowdsl.results.store import FolderStore, Store
from flowdsl.results.table_writer import TableRecorder
from flowdsl.text import type_text

# the share of the progress bar for gathering the final graph
_GATHERING: Final = 0.3


# by the cache of the log, whose scans belong to it
_empty_graphs: WeakKeyDictionary[ScanCache, EntityGraph] = WeakKeyDictionary()


class LocalEngine:
    """Runs a plan in this process, on at most two threads, plus one that writes to a folder."""

    def run(self, plan: Plan, options: Options, store: Store, request: RunRequest) -> RunTotals:
        """Run a plan, write the tables of its result to a store, and return its totals."""
        source, in_folder = options.source, isinstance(store, FolderStore)
        # in a folder failures are written with their whole events as they come, not looked up again later
        recorder = TableRecorder(store, trace=request.trace, source=None if in_folder else source)
        columns = frozenset(EVENT_COLUMNS) if in_folder else request.columns
        with track(request.progress, source.count()) as follower:
            local = _begin(plan, options, recorder, request.outcomes)
            _leave_out(local.position, follower)
            dispatching = None
            if request.dispatch:
                dispatching = Dispatching(plan, local, recorder, request.dispatch, source, _earlier(options))
                source, columns = (
                    dispatching.source,
                    columns or plan.event_columns | {*recorder.event_columns},
                )
            tick = _prepare_graph(local, options, follower)
            ticked = tick if dispatching is None else _both(dispatching.hand_over, tick)
            local.run(source, options.span, chunk_size=options.chunk_size, progress=ticked, columns=columns)
            state = _state_to_continue(local, options)
            if options.open_windows == "flush" and local.stopped is None:
                local.flush()
            if dispatching is not None:
                dispatching.hand_over()
        return RunTotals(
            events=local.events,
            position=local.position,
            span=None if local.began is None else (local.began, local.clock),
            steps=local.totals(),
            delivered=recorder.delivered_count,
            late=recorder.late_count,
            ahead=recorder.ahead_count,
            unmatched=recorder.unmatched_count,
            undelivered=recorder.undelivered_count,
            stopped=local.stopped,
            state=state,
            recorder=recorder,
        )


def _leave_out(position: int, follower: ProgressReporter) -> None:
    """Expect only the events after a position, or any number if the log has lost its oldest ones."""
    if position and follower.total is not None:
        follower.total = follower.total - position if position <= follower.total else None


def _state_to_continue(local: LocalExecutor, options: Options) -> State:
    """Return the state of a run, with what a continued replay needs of its options."""
    state = local.state()
    state.base = options.graph if options.state is None else options.state.base
    state.sources = _sources(options)
    return state


def _earlier(options: Options) -> tuple[EventSource, ...]:
    """Return the logs that the replay continues from."""
    return () if options.state is None else options.state.sources


def _sources(options: Options) -> tuple[EventSource, ...]:
    """Return the logs that a continued replay has to read for the identities of held events; none if the log
    has an identity.
    """
    if getattr(options.source, "identity", None) is not None:
        return ()
    earlier = _earlier(options)
    return earlier if earlier and earlier[-1] is options.source else (*earlier, options.source)


def _prepare_graph(local: LocalExecutor, options: Options, follower: ProgressReporter) -> Tick:
    """Gather the final graph if it is wanted; return the progress callback for the run itself."""
    if options.as_of != "end":
        return follower
    local.gather_final_graph(options.source, options.span, follower.part(_GATHERING))
    return follower.part(1 - _GATHERING)


def _both(hand_over: Callable[[], None], tick: Tick) -> Tick:
    def tick_after(events: int) -> None:
        hand_over()
        tick(events)

    return tick_after


def _graph_of(options: Options) -> EntityGraph:
    """Return the graph before the first event; without one, the same empty one for each replay of a log."""
    cache: ScanCache | None = getattr(options.source, "scan_cache", None)
    if options.graph is not None or cache is None:
        return options.graph or EntityGraph()
    return _empty_graphs.setdefault(cache, EntityGraph())


def _begin(
    plan: Plan, options: Options, recorder: TableRecorder, outcomes: OutcomeSink | None
) -> LocalExecutor:
    state = options.state
    if state is None:
        graph = run_in_background(lambda: _graph_of(options).start(plan.needs, plan.rules))
        return LocalExecutor(plan, graph, recorder, outcomes, gates=options.gates)
    if not isinstance(state, State):
        raise ReplayError(f"state is {type_text(state)}", allowed="result.state of an earlier replay")
    if options.graph is not None:
        raise ReplayError(
            "graph and state were both given", hint="the state holds the graph already; leave graph out"
        )
    lost = state.lost_with(plan)
    if lost:
        raise ReplayError(
            f"the state belongs to other flows: {lost_text(lost, state.clock)}",
            hint="replay flows in which these steps, and all before them, are as they were; "
            "or leave state out, and replay the log from its beginning",
        )
    state = state.fork()
    if state.stopped is not None and not state.belongs_to(plan):
        raise ReplayError(
            f"no other flows go on from this state: {state.stopped}", hint="replay the log from its beginning"
        )
    if not state.belongs_to(plan):
        state = fit_state(state, plan, state.base, options.source, plan.event_columns)
    local = LocalExecutor(plan, state.graph, recorder, outcomes, state.steps, gates=options.gates)
    local.clock, local.position, local.stopped = state.clock, state.position, state.stopped
    return local
