"""A replay: flows run over an event log, and what they deliver goes into tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from flowdsl.engine.extension import fitted
from flowdsl.engine.local import LocalExecutor
from flowdsl.engine.observers import Observer, ObserverSink
from flowdsl.engine.state import State, lost_text
from flowdsl.errors import ReplayError
from flowdsl.events import EVENT_COLUMNS, warn
from flowdsl.flow.inputs import FlowLike
from flowdsl.flow.plan import Plan
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.log import EventSource
from flowdsl.log.source import LogLike
from flowdsl.progress import Progress, ProgressReporter, Tick, run_in_background, track
from flowdsl.results.dispatch import Dispatching
from flowdsl.results.options import Options, options_of
from flowdsl.results.result_data import ResultData, finished
from flowdsl.results.store import FolderStore, MemoryStore, Store
from flowdsl.results.table_writer import TableRecorder
from flowdsl.sinks.base import Sink

# which part of a replay with the final graph is the gathering of that graph
_GATHERING: Final = 0.3


def run(
    options: Options, store: Store, *, trace: bool = False, progress: Progress = None, observer: Observer | None = None,
    columns: frozenset[str] | None = None, dispatch: Mapping[str, Sink] | None = None,
) -> ResultData:  # fmt: skip
    """A replay with these options into a store, its deliveries handed to the sinks of `dispatch`."""
    plan = Plan.of(options.flows)
    recorder = TableRecorder(
        store, trace=trace, source=None if isinstance(store, FolderStore) else options.source
    )
    if isinstance(store, FolderStore):
        # failures are written with their whole events as they come, not looked up again later
        columns = frozenset(EVENT_COLUMNS)
    with track(progress, options.source.count()) as follower:
        local = _begin(plan, options, recorder, observer)
        if local.position and follower.total is not None:
            # of a log that has lost its oldest events it is not known how many are behind a number
            follower.total = follower.total - local.position if local.position <= follower.total else None
        source = options.source
        hand_over = None
        if dispatch:
            earlier = () if options.state is None else options.state.sources
            dispatching = Dispatching(plan, local, recorder, dispatch, source, earlier)
            source, hand_over = dispatching.source, dispatching.hand_over
            columns = columns or plan.event_columns | {*recorder.event_columns}
        tick = _gathered(local, options, follower)
        ticked = tick if hand_over is None else _both(hand_over, tick)
        local.run(source, options.span, chunk_size=options.chunk_size, progress=ticked, columns=columns)
        state = local.state()
        state.base = options.graph if options.state is None else options.state.base
        state.sources = _sources(options)
        if options.open_windows == "flush" and local.stopped is None:
            local.flush()
        if hand_over is not None:
            hand_over()
        broken = options.source.broken
        if broken:
            warn(
                f"{broken} rows of the log are no events, or hold text that is no JSON, and were left out so far; see log.problems"
            )
        return run_in_background(lambda: finished(plan, options, store, recorder, local, state))


def _sources(options: Options) -> tuple[EventSource, ...]:
    """What a next replay has to read to know what events are known by; of a log with an identity that is nothing."""
    if getattr(options.source, "identity", None) is not None:
        return ()
    earlier = () if options.state is None else options.state.sources
    return earlier if earlier and earlier[-1] is options.source else (*earlier, options.source)


def _gathered(local: LocalExecutor, options: Options, follower: ProgressReporter) -> Tick:
    """What to tell of the events that are run, once the final graph is there where it is wanted."""
    if options.as_of != "end":
        return follower
    local.gather_final_graph(options.source, options.span, follower.part(_GATHERING))
    return follower.part(1 - _GATHERING)


def _both(hand_over: Callable[[], None], tick: Tick) -> Tick:
    def ticked(events: int) -> None:
        hand_over()
        tick(events)

    return ticked


def _begin(plan: Plan, options: Options, recorder: TableRecorder, observer: Observer | None) -> LocalExecutor:
    state, trace = options.state, None if observer is None else ObserverSink(observer)
    if state is None:
        graph = run_in_background(lambda: (options.graph or EntityGraph()).start(plan.needs, plan.rules))
        return LocalExecutor(plan, graph, recorder, trace, gates=options.gates)
    if not isinstance(state, State):
        raise ReplayError(f"state is a {type(state).__name__}", allowed="result.state of an earlier replay")
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
        state = fitted(state, plan, state.base, options.source, plan.event_columns)
    local = LocalExecutor(plan, state.graph, recorder, trace, state.steps, gates=options.gates)
    local.clock, local.position, local.stopped = state.clock, state.position, state.stopped
    return local


def replayed(
    flows: FlowLike,
    log: LogLike,
    graph: EntityGraph | None = None,
    *,
    progress: Progress = None,
    **options: Any,
) -> ResultData:
    """Run flows over a log with `options` as `options_of` takes them, and keep the tables in memory."""
    return run(options_of(flows, log, graph, **options), MemoryStore(), progress=progress)
