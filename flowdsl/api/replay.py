"""`replay`: what flows would have delivered over an event log, with the graph as it was at each event."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Mapping

from flowdsl.api.result import Result
from flowdsl.engine.state import State
from flowdsl.flow.inputs import FlowLike
from flowdsl.frames import FrameLike
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.log.source import LogLike
from flowdsl.progress import Progress
from flowdsl.results.dispatch import opened_sinks
from flowdsl.results.engine import Engine, EngineName
from flowdsl.results.options import options_of
from flowdsl.results.run import engine_of, run
from flowdsl.results.store import FolderStore, MemoryStore, Store
from flowdsl.rules import AsOf, Target, WindowsAtEnd
from flowdsl.sinks.base import SinkLike


def replay(  # noqa: PLR0913 -- all of them by name
    flows: FlowLike,
    log: LogLike,
    graph: EntityGraph | None = None,
    *,
    start: int | dt.datetime | str | None = None,
    stop: int | dt.datetime | str | None = None,
    target: Target | None = None,
    sinks: Mapping[str, SinkLike] | None = None,
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

    `engine` says what runs the flows: `"local"`, in this process, or an object with the one method of
    `flowdsl.results.engine.Engine`. The result is the same, whatever the engine; `explain`, `why` and `as_test` always run locally.

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
    chosen = engine_of(engine)
    store: Store = MemoryStore() if out is None else FolderStore.create(out)
    return Result.of(run(options, store, trace=trace, progress=progress, dispatch=dispatched, engine=chosen))
