"""Run a replay: an engine runs flows over an event log, and their deliveries go into tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flowdsl.engine.executor import OutcomeSink
from flowdsl.errors import warn
from flowdsl.flow.inputs import FlowLike
from flowdsl.flow.plan import Plan
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.log.source import LogLike
from flowdsl.progress import Progress, run_in_background
from flowdsl.results.engine import Engine, RunRequest
from flowdsl.results.local_engine import LocalEngine
from flowdsl.results.options import Options, options_of
from flowdsl.results.result_data import ResultData, finish_result
from flowdsl.results.store import MemoryStore, Store
from flowdsl.sinks.base import Sink

_LOCAL: Final = LocalEngine()


def run(
    options: Options,
    store: Store,
    *,
    trace: bool = False,
    progress: Progress = None,
    outcomes: OutcomeSink | None = None,
    columns: frozenset[str] | None = None,
    dispatch: Mapping[str, Sink] | None = None,
    engine: Engine = _LOCAL,
) -> ResultData:
    """Run a replay with these options into a store; deliveries are handed to the sinks of `dispatch`."""
    plan = Plan.of(options.flows, options.caps)
    totals = engine.run(plan, options, store, RunRequest(trace, columns, dispatch or {}, progress, outcomes))
    broken = options.source.broken
    if broken:
        what = (
            "1 row of the log is not an event"
            if broken == 1
            else f"{broken:,} rows of the log are not events"
        )
        warn(f"{what}, or not JSON where it should be; left out so far, see log.problems")
    return run_in_background(lambda: finish_result(plan, options, store, totals, trace=trace))


def replay_with(
    flows: FlowLike,
    log: LogLike,
    graph: EntityGraph | None = None,
    *,
    progress: Progress = None,
    **options: Any,
) -> ResultData:
    """Run flows over a log with the options of `options_of`, and keep the tables in memory."""
    return run(options_of(flows, log, graph, **options), MemoryStore(), progress=progress)
