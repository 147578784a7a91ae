"""`replay`: what flows would have delivered over an event log, with the graph as it was at each event."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

from flowdsl.api.result import Result
from flowdsl.arguments import flag_of
from flowdsl.calls import answered
from flowdsl.engine.state import State
from flowdsl.errors import ReplayError, did_you_mean
from flowdsl.findings.slips import warn_of_likely_slips
from flowdsl.flow.inputs import FlowLike
from flowdsl.flow.sink_cap import Cap
from flowdsl.frames import FrameLike
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.log.source import LogLike
from flowdsl.progress import Progress
from flowdsl.results.dispatch import opened_sinks
from flowdsl.results.engine import Engine, EngineName
from flowdsl.results.local_engine import LocalEngine
from flowdsl.results.options import options_of
from flowdsl.results.run import run
from flowdsl.results.store import FolderStore, MemoryStore, Store
from flowdsl.rules import AsOf, Target, WindowsAtEnd
from flowdsl.sinks.base import SinkLike
from flowdsl.spark.engine import Spark
from flowdsl.spark.sources import SparkEvents, is_spark_frame
from flowdsl.text import short_repr

ENGINES: Final[Mapping[str, Engine]] = {"local": LocalEngine(), "spark": Spark()}
"""The engines that are known by name."""


@answered
def replay(  # noqa: PLR0913 -- all of them by name
    flows: FlowLike,
    log: LogLike,
    graph: EntityGraph | None = None,
    *,
    start: int | dt.datetime | str | None = None,
    stop: int | dt.datetime | str | None = None,
    target: Target | None = None,
    sinks: Mapping[str, SinkLike] | None = None,
    caps: Mapping[str, Cap] | None = None,
    open_windows: WindowsAtEnd = "flush",
    state: State | None = None,
    only: FrameLike | Iterable[int] | None = None,
    as_of: AsOf = "event",
    out: str | os.PathLike[str] | None = None,
    dispatch: bool = False,
    trace: bool = False,
    progress: Progress = None,
    chunk_size: int | None = None,
    max_ahead_of_next: str | dt.timedelta | None = None,
    engine: EngineName | Engine = "local",
) -> Result:
    """Run flows over an event log and collect what every sink would have received.

    Nothing leaves the machine unless `dispatch=True`.

    Parameters
    ----------
    flows
        A flow, a list of flows, or a project.
    log
        An event log, a path or glob of Parquet files, a frame (of Spark, too), or a list of events.
    graph
        The entities and links before the first event; without it, state comes from the log alone.
    start, stop
        The first event (included) and the last one (not included), as sequence numbers or timestamps. Events
        before `start` only change the graph and the clock.
    target
        `"this-rs"` replays what that production runtime would do, with what it gets wrong and what it loses.
        Flows built with `on` are first translated to its language.
    sinks
        A mapping from names to sinks. A sink that it lacks is refused, and preferences of recipients are
        honoured where a sink keeps them (drops with the reason `preference`, `result.refused`).
    caps
        A mapping from names of sinks to `Cap(…)`: at most so many deliveries to each recipient, counted over
        all flows together in the order of deliveries. Others do not reach the sink (`capped`), and the
        context goes on. A project's own caps hold where this has none.
    open_windows
        `"flush"` closes windows and queues at the end as if time went on; `"keep"` leaves them open
        (`result.open`).
    state
        The `.state` of an earlier result, to go on from.
    only
        A frame with `seq_no`, such as `result.errors`, or sequence numbers: only these events are run.
        A batch that failed is there under its last member: `result.members` has those to run along.
    as_of
        `"event"` looks things up as they were at each event, `"end"` in the final graph.
    out
        A folder to which the tables are written as they come, so that memory does not grow with them.
    dispatch
        Whether every delivery is also handed to its sink, in the total order. `result.undelivered` has what
        could not be delivered; sinks stay open.
    trace
        Whether `result.dropped` has a row for every dropped context.
    progress
        True, False, None (in a terminal or notebook, from half a second on), or a function of (events done,
        events in all).
    chunk_size
        The number of events that are processed at a time; chosen by flowdsl by default. It changes no result.
    max_ahead_of_next
        For logs in which some clocks are wrong, such as `"1h"`: an event dated further ahead than that of at
        least half of the next ten events, and of all good ones before it, does not move the log clock
        (`result.ahead`). Events that a live run has marked so never do.
    engine
        `"local"`, `"spark"` or `Spark(…)`, or an object with the method of `flowdsl.results.engine.Engine`.
        The result is the same; `explain`, `why` and `as_test` always run locally.

    Returns
    -------
    Result
        Deliveries by sink, errors, drops, and counts of every step.

    Raises
    ------
    ReplayError
        If an option is wrong, or `state` does not fit the flows.
    DataError
        If the log or the graph cannot be read.
    BuildError
        If there is no flow, or two have the same name.
    ExportError
        If `target` cannot say what a flow does.
    SinkError
        If a sink cannot be opened with `dispatch=True`.

    Examples
    --------
    >>> from flowdsl import MemoryEventLog, link_created, on, replay
    >>> log = MemoryEventLog()
    >>> log.append(link_created("follows", "ann", "bob"), timestamp="2026-01-01T00:00:00Z")
    1
    >>> flow = on("link.created").map(title="{{ source_id }} follows you").deliver("in-app")
    >>> replay(flow, log)["in-app"][["recipient_id", "title"]].values.tolist()
    [['bob', 'ann follows you']]
    """
    options = options_of(
        flows,
        log_of(log),
        graph,
        start=start,
        stop=stop,
        target=target,
        sinks=sinks,
        caps=caps,
        open_windows=open_windows,
        state=state,
        only=only,
        as_of=as_of,
        chunk_size=chunk_size,
        max_ahead_of_next=max_ahead_of_next,
    )
    dispatch = flag_of(dispatch, "dispatch", error=ReplayError)
    trace = flag_of(trace, "trace", error=ReplayError)
    dispatched = opened_sinks(options.flows, sinks) if dispatch else {}
    chosen = engine_of(engine)
    store: Store = MemoryStore() if out is None else FolderStore.create(out)
    data = run(options, store, trace=trace, progress=progress, dispatch=dispatched, engine=chosen)
    warn_of_likely_slips(options, data)
    return Result.of(data)


def engine_of(engine: EngineName | Engine) -> Engine:
    """Return the engine with a name, or the engine that is given; raise `ReplayError` for anything else."""
    if isinstance(engine, str):
        if engine in ENGINES:
            return ENGINES[engine]
        hint = did_you_mean(engine, ENGINES)
    elif isinstance(engine, Engine) and not isinstance(engine, type):
        return engine
    else:
        hint = "an object with a method run(plan, options, store, request) is one: see flowdsl.results.engine"
    raise ReplayError(
        f"engine={short_repr(engine)} is not known",
        allowed=f"{' or '.join(map(repr, ENGINES))}, or an engine",
        hint=hint,
    )


def log_of(log: Any) -> Any:
    """Return a log that `open_log` accepts; a Spark DataFrame is converted to a log."""
    return SparkEvents(log) if is_spark_frame(log) else log
