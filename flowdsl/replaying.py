"""replay: what flows would have delivered over an event log, with the graph as it was at each event.

No module of the package may have the name of one of its functions: importing `flowdsl.replay` would put the module
where `flowdsl.replay(…)` is meant to be.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from flowdsl.engine.crashes import Stopped
from flowdsl.engine.executor import Observer
from flowdsl.engine.extension import fitted
from flowdsl.engine.local import LocalExecutor, ReplayRange
from flowdsl.engine.recipient_filter import RecipientFilter
from flowdsl.engine.state import State, lost_text
from flowdsl.errors import BuildError, ReplayError, did_you_mean
from flowdsl.events import EVENT_COLUMNS, warn
from flowdsl.expressions.durations import parse_duration
from flowdsl.flow.inputs import as_flows
from flowdsl.flow.plan import Plan
from flowdsl.flow.spec import FlowSpec
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.log import EventSource, open_log
from flowdsl.log.future_events import AheadOfNext
from flowdsl.log.uuids import NormalizedUuids
from flowdsl.production.targets import by_rules
from flowdsl.progress import Progress, ProgressReporter, Tick, beside, following
from flowdsl.results.dispatch import Dispatching, opened_sinks
from flowdsl.results.store import FolderStore, MemoryStore, Store
from flowdsl.results.table_writer import TableRecorder
from flowdsl.rules import AsOf, Target, WindowsAtEnd, rules_of
from flowdsl.sinks.base import Sink

if TYPE_CHECKING:
    from flowdsl.results.result import Result

# which part of a replay with the final graph is the gathering of that graph
_GATHERING: Final = 0.3


@dataclass(frozen=True)
class Options:
    """What a replay was asked for, so that a part of it can be run again."""

    flows: tuple[FlowSpec, ...]
    source: EventSource
    graph: EntityGraph | None
    span: ReplayRange
    state: State | None
    open_windows: WindowsAtEnd
    as_of: AsOf
    chunk_size: int | None
    gates: Mapping[str, RecipientFilter] = field(default_factory=dict)
    stopped: Stopped | None = None
    """Where production stopped in it, once that is known."""


def replay(
    flows: Any,
    log: Any,
    graph: EntityGraph | None = None,
    *,
    start: int | dt.datetime | str | None = None,
    stop: int | dt.datetime | str | None = None,
    target: Target | None = None,
    sinks: Mapping[str, Any] | None = None,
    open_windows: WindowsAtEnd = "flush",
    state: State | None = None,
    only: Any = None,
    as_of: AsOf = "event",
    out: str | os.PathLike[str] | None = None,
    dispatch: bool = False,
    trace: bool = False,
    progress: Progress = None,
    chunk_size: int | None = None,
    max_ahead_of_next: str | dt.timedelta | None = None,
) -> Result:
    """Run flows over an event log and collect what every sink would have received.

    `flows` is a flow, a list of them or a project; `log` an event log, a path or glob of Parquet files, a frame or
    a list of events; `graph` the entities and links before the first event. Nothing leaves the machine
    unless `dispatch=True` says so.

    `start` (included) and `stop` (not included) are sequence numbers or timestamps: events before `start` only
    change the graph and the clock. `state` goes on from an earlier result's `.state`; `only` runs just the events
    of a frame with `seq_no` (such as `result.errors`). `open_windows="keep"` leaves windows and queues open at
    the end (`result.open`) where `"flush"` closes them as if time went on. `as_of="end"` looks everything up in the
    final graph, on purpose. `target="this-rs"` replays what that production runtime would do, with what it gets wrong
    and what it loses; flows built with `on` are first said in its language (`ExportError` where that cannot be).

    `sinks` is a registry, a mapping from names to sinks: a sink that it lacks is refused, and what recipients want is
    honoured where a sink keeps it (drops with the reason `preference`, `result.refused`). With `dispatch=True` every
    delivery is handed to its sink too, in the total order; `result.undelivered` has what could not be delivered, and
    sinks stay open.

    `max_ahead_of_next="1h"` is for a log in which some clocks cannot be right: an event dated more than an hour later than
    at least half of the next ten events, and than all before it that are not so, does not move the log clock
    (`result.ahead`). What live runs marked so in a log never does.

    `out` names a folder that the tables are written to as they come, so that memory does not grow with them.
    `trace=True` writes down every dropped context. `progress` is True, False, None (where there is a terminal or a
    notebook that takes longer than half a second) or a function of (events done, events in all), in the end of all of them. Raises `ReplayError`, `DataError`, `BuildError` and
    `SinkError`.

    >>> from flowdsl import MemoryEventLog, link_created, on, replay
    >>> log = MemoryEventLog()
    >>> log.append(link_created("follows", "ann", "bob"), timestamp="2026-01-01T00:00:00Z")
    1
    >>> flow = on("link.created").map(title="{{ source_id }} follows you").deliver("in-app")
    >>> replay(flow, log)["in-app"][["recipient_id", "title"]].values.tolist()
    [['bob', 'ann follows you']]
    """
    options = options_of(
        flows, log, graph, start=start, stop=stop, target=target, sinks=sinks, open_windows=open_windows,
        state=state, only=only, as_of=as_of, chunk_size=chunk_size, max_ahead_of_next=max_ahead_of_next,
    )  # fmt: skip
    dispatched = opened_sinks(options.flows, sinks) if dispatch else {}
    store: Store = MemoryStore() if out is None else FolderStore.create(out)
    return run(options, store, trace=trace, progress=progress, dispatch=dispatched)


def options_of(
    flows: Any,
    log: Any,
    graph: EntityGraph | None = None,
    *,
    start: int | dt.datetime | str | None = None,
    stop: int | dt.datetime | str | None = None,
    target: Target | None = None,
    sinks: Mapping[str, Any] | None = None,
    open_windows: WindowsAtEnd = "flush",
    state: State | None = None,
    only: Any = None,
    as_of: AsOf = "event",
    chunk_size: int | None = None,
    max_ahead_of_next: str | dt.timedelta | None = None,
) -> Options:
    """What `replay` was asked for, checked."""
    _check_choice("open_windows", open_windows, ("flush", "keep"))
    _check_choice("as_of", as_of, ("event", "end"))
    _check_graph(graph)
    _check_chunk_size(chunk_size)
    rules = rules_of(target)
    chosen = by_rules(as_flows(flows), rules)
    _check_sinks(chosen, sinks)
    source = opened(log, max_ahead_of_next)
    return Options(
        chosen,
        NormalizedUuids(source) if rules.uuids else source,
        graph,
        _span(start, stop, only),
        state,
        open_windows,
        as_of,
        chunk_size,
        {
            name: sink
            for name, sink in (sinks or {}).items()
            if isinstance(sink, Sink) and sink.keeps_preferences
        },
    )


def opened(log: Any, max_ahead_of_next: str | dt.timedelta | None = None) -> EventSource:
    """A log as it is replayed, with `max_ahead_of_next` as `replay` takes it."""
    source = open_log(log)
    if max_ahead_of_next is None:
        return source
    return AheadOfNext(source, _duration("max_ahead_of_next", max_ahead_of_next))


def whole_log(flow: FlowSpec, log: Any, graph: EntityGraph | None = None) -> Options:
    """The options of a replay of one flow over all of a log, as `replay` has them when nothing else is said."""
    _check_graph(graph)
    return Options(
        by_rules((flow,), rules_of(None)), open_log(log), graph, ReplayRange(), None, "flush", "event", None
    )


def run(
    options: Options, store: Store, *, trace: bool = False, progress: Progress = None, observer: Observer | None = None,
    columns: frozenset[str] | None = None, dispatch: Mapping[str, Sink] | None = None,
) -> Result:  # fmt: skip
    """A replay with these options into a store, its deliveries handed to the sinks of `dispatch`."""
    from flowdsl.results.result import finished

    plan = Plan.of(options.flows)
    recorder = TableRecorder(
        store, trace=trace, source=None if isinstance(store, FolderStore) else options.source
    )
    if isinstance(store, FolderStore):
        # failures are written with their whole events as they come, not looked up again later
        columns = frozenset(EVENT_COLUMNS)
    with following(progress, options.source.count()) as follower:
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
        return beside(lambda: finished(plan, options, store, recorder, local, state))


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
    state = options.state
    if state is None:
        graph = beside(lambda: (options.graph or EntityGraph()).start(plan.needs, plan.rules))
        return LocalExecutor(plan, graph, recorder, observer, gates=options.gates)
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
    local = LocalExecutor(plan, state.graph, recorder, observer, state.steps, gates=options.gates)
    local.clock, local.position, local.stopped = state.clock, state.position, state.stopped
    return local


def _span(start: Any, stop: Any, only: Any) -> ReplayRange:
    first, first_time = _position("start", start)
    last, last_time = _position("stop", stop)
    return ReplayRange(first, last, first_time, last_time, None if only is None else _only(only))


def _position(name: str, value: Any) -> tuple[int | None, int | None]:
    if value is None:
        return None, None
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value), None
    moment = value
    if isinstance(value, str):
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            moment = None
    if isinstance(moment, dt.datetime) and moment == moment:
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
        return None, (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    raise ReplayError(
        f"{name}={value!r} is no place in a log",
        allowed="a sequence number, a datetime, or text such as '2026-01-31T12:00:00Z'",
    )


def _only(only: Any) -> Any:
    from flowdsl.frames import column_values, is_frame, to_polars

    allowed = "a frame with seq_no, or a list of sequence numbers"
    alone = column_values(only)
    if alone is not None:
        only = alone
    elif is_frame(only):
        frame = to_polars(only, "only")
        if "seq_no" not in frame.columns:
            raise ReplayError("only has no column 'seq_no'", allowed=allowed)
        only = frame["seq_no"].drop_nulls().to_list()
    if not isinstance(only, Iterable) or isinstance(only, (str, bytes, Mapping)):
        raise ReplayError(f"only is a {type(only).__name__}", allowed=allowed)
    numbers = list(only)
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
            raise ReplayError(f"only names {number!r}, which is no sequence number", allowed=allowed)
    return np.unique(np.array([n for n in numbers if abs(n) < 1 << 63], np.int64))


def _duration(name: str, value: object) -> int:
    """A duration in microseconds."""
    try:
        return parse_duration(value).microseconds
    except BuildError as error:
        raise ReplayError(
            f"{name} is {value!r:.60}", allowed="a duration like '1h', or None", hint=error.hint
        ) from error


def _check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ReplayError(
            f"{name}={value!r} is not known",
            allowed=" or ".join(map(repr, allowed)),
            hint=did_you_mean(str(value), allowed),
        )


def _check_graph(graph: object) -> None:
    if graph is not None and not isinstance(graph, EntityGraph):
        raise ReplayError(f"graph is a {type(graph).__name__}", allowed="an EntityGraph, or None")


def _check_chunk_size(size: object) -> None:
    if size is None or (isinstance(size, int) and not isinstance(size, bool) and size > 0):
        return
    raise ReplayError(f"chunk_size is {size!r}", allowed="a whole number of at least 1, or None")


def _check_sinks(flows: Sequence[FlowSpec], sinks: Mapping[str, Any] | None) -> None:
    if sinks is None:
        return
    if not isinstance(sinks, Mapping):
        raise ReplayError(f"sinks are a {type(sinks).__name__}", allowed="a mapping from names to sinks")
    for flow in flows:
        for sink in flow.sinks:
            if sink not in sinks:
                raise ReplayError(
                    f"there is no sink {sink!r}",
                    flow=flow.name,
                    allowed=", ".join(sinks),
                    hint=did_you_mean(sink, sinks),
                )
