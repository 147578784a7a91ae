"""What a replay gives: deliveries by sink, failures, drops, counts of every step, late events, open windows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from flowdsl.errors import ReplayError, did_you_mean
from flowdsl.operators.base import Operator
from flowdsl.operators.deliver import Deliver
from flowdsl.operators.map import Map
from flowdsl.recorder import MOMENT, TableRecorder, deliveries_table
from flowdsl.store import FolderStore, Part, Store
from flowdsl.tables import all_deliveries, sink_table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from flowdsl.engines.local import LocalRun, State
    from flowdsl.explain import Explanation
    from flowdsl.plan import Plan
    from flowdsl.replaying import Options
    from flowdsl.testing.cases import FlowTest

REASONS = (
    "filtered",
    "no links",
    "duplicate",
    "rate limited",
    "batch below min_count",
    "preference",
    "in no batch",
)
"""Why contexts are dropped. `in no batch` is only met where windows have no timer: it is an event that finds its window over
and too small, and goes with it."""
STEP_SCHEMA: dict[str, Any] = {
    "flow": pl.String, "step": pl.Int64, "operator": pl.String, "held_before": pl.Int64, "entered": pl.Int64,
    "extra_branches": pl.Int64, "passed": pl.Int64, "dropped": pl.Int64, "failed": pl.Int64, "absorbed": pl.Int64,
    "held": pl.Int64, "seconds": pl.Float64,
}  # fmt: skip
OPEN_SCHEMA = {
    "flow": pl.String, "step": pl.Int32, "operator": pl.String, "held": pl.Int64, "opened_at": MOMENT, "due_at": MOMENT,
    "last_seq_no": pl.Int64,
}  # fmt: skip
LATE_SCHEMA = {
    "seq_no": pl.Int64, "event_id": pl.String, "timestamp": MOMENT, "kind": pl.String, "clock": MOMENT,
    "lateness": pl.Duration("us"),
}  # fmt: skip


@dataclass
class Result:
    """What flows would have delivered, and what became of everything else.

    `result["in-app"]` is the frame of one sink, `result.deliveries` of all; `.errors .dropped .steps .late .open` say
    what became of the rest, `.state` is what a next replay goes on from, `.explain(seq_no)` shows what happened to
    one event. Frames are pandas; `.arrow(sink)` and `.polars(sink)` give them without a copy.
    """

    store: Store
    manifest: dict[str, Any]
    state: State | None = None
    options: Options | None = None
    recorder: TableRecorder | None = None
    _cache: dict[str, pd.DataFrame] = field(default_factory=dict)

    # -- deliveries ------------------------------------------------------------------------------------

    @property
    def sinks(self) -> tuple[str, ...]:
        """The sinks that the flows name, in the order of the flows."""
        return tuple(dict.fromkeys(sink for step in self._steps for sink in step["sinks"]))

    @property
    def flows(self) -> tuple[str, ...]:
        """The names of the flows, in their order."""
        return tuple(self.manifest["flows"])

    def __getitem__(self, sink: str) -> pd.DataFrame:
        """What one sink received, a row a delivery, in the order of delivery."""
        key = f"sink {sink}"
        if key not in self._cache:
            self._cache[key] = to_pandas(self.polars(sink))
        return self._cache[key]

    def polars(self, sink: str | None = None, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The deliveries of one sink, or of all, as a Polars frame; with `columns` only those."""
        if sink is None:
            deliveries = all_deliveries(self.store, self.flows, self._steps)
            return deliveries if columns is None else deliveries.select(known_columns(deliveries, columns))
        if sink not in self.sinks:
            raise ReplayError(
                f"no flow delivers to {sink!r}",
                allowed=", ".join(self.sinks),
                hint=did_you_mean(str(sink), self.sinks),
            )
        return sink_table(self.store, self.flows, sink, self._steps, columns)

    def arrow(self, sink: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """The deliveries of one sink, or of all, as an Arrow table, without a copy; with `columns` only those."""
        return self.polars(sink, columns).to_arrow()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """All deliveries as an Arrow stream."""
        return self.polars().__arrow_c_stream__(requested_schema)

    @property
    def deliveries(self) -> pd.DataFrame:
        """What all sinks received: the fixed columns, `sink`, and `payload` as JSON text."""
        return self._cached("deliveries", lambda: self.polars())

    def __len__(self) -> int:
        """How many deliveries there are."""
        return sum(d["count"] for d in self.manifest["delivered"])

    # -- everything else -------------------------------------------------------------------------------

    @property
    def errors(self) -> pd.DataFrame:
        """The contexts that failed: their whole event, then `flow, step, operator, branch, error, variables`."""
        return self._cached("errors", self._errors)

    @property
    def dropped(self) -> pd.DataFrame:
        """How many contexts were dropped, by `flow, step, operator, reason`; with `trace=True` each of them."""
        return self._cached("dropped", self._dropped)

    @property
    def steps(self) -> pd.DataFrame:
        """What became of the contexts that entered each step, and how many seconds it took."""
        rows = [{name: row[name] for name in STEP_SCHEMA} for row in self.manifest["steps"]]
        return self._cached(
            "steps",
            lambda: pl.DataFrame(rows, schema=STEP_SCHEMA),
        )

    @property
    def late(self) -> pd.DataFrame:
        """Events older than the log clock when they were processed, with the clock and how late they were."""
        return self._cached("late", lambda: _joined(self.store, "late", LATE_SCHEMA))

    @property
    def open(self) -> pd.DataFrame:
        """Windows and queues that were left open at the end (`open_windows="keep"`), in the order of the steps."""
        return self._cached("open", lambda: _joined(self.store, "open", OPEN_SCHEMA))

    def explain(self, seq_no: int, flow: str | None = None) -> Explanation:
        """What happened to one event, step by step: outcomes, operands of conditions, renderings, variables."""
        from flowdsl.explain import explain

        if self.options is None:
            raise ReplayError(
                "a result that was read back cannot explain: it has no log and no flows", hint="replay again"
            )
        return explain(self.options, seq_no, flow)

    def as_test(self, seq_no: int, name: str | None = None) -> FlowTest:
        """A test of what came of one event, with just the events and the part of the graph that it takes.

        Earlier events are in it where they share a window or a limit with it, or change what is looked up. It expects
        what came, and `.to_yaml()` is to be pasted below `tests:`. Raises `ReplayError` where no flow ran on the event,
        or no part of the log that is small enough tells the same.
        """
        from flowdsl.testing.from_event import as_test

        if self.options is None:
            raise ReplayError(
                "a result that was read back has no log and no flows to make a test of", hint="replay again"
            )
        return as_test(self.options, seq_no, name)

    def to_parquet(self, folder: str | os.PathLike[str]) -> None:
        """Write the result's tables into a new folder, from which `read_result` reads them back."""
        target = FolderStore.create(folder)
        self._settle()
        for table in self.store.tables():
            for part in self.store.parts(table):
                target.add(table, part)
        target.write_manifest(self.manifest)

    # -- shown -----------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        from flowdsl.summary import summary

        return summary(self.manifest)

    # -- inside ----------------------------------------------------------------------------------------

    @property
    def _steps(self) -> list[dict[str, Any]]:
        steps: list[dict[str, Any]] = self.manifest["delivers"]
        return steps

    def _settle(self) -> None:
        if self.recorder is not None:
            self.recorder.settle()

    def _errors(self) -> pl.DataFrame:
        from flowdsl.failures import error_table

        self._settle()
        return error_table(self.store, self.flows)

    def _dropped(self) -> pl.DataFrame:
        if not self.manifest["trace"]:
            rows = [
                {
                    "flow": s["flow"],
                    "step": s["step"],
                    "operator": s["operator"],
                    "reason": reason,
                    "count": count,
                }
                for s in self.manifest["steps"]
                for reason, count in s["reasons"].items()
            ]
            schema = {
                "flow": pl.String,
                "step": pl.Int32,
                "operator": pl.String,
                "reason": pl.String,
                "count": pl.Int64,
            }
            return pl.DataFrame(rows, schema=schema)
        from flowdsl.failures import dropped_table

        return dropped_table(self.store, self.flows)

    def _cached(self, name: str, make: Any) -> pd.DataFrame:
        if name not in self._cache:
            self._cache[name] = to_pandas(make())
        return self._cache[name]


def finished(
    plan: Plan, options: Options, store: Store, recorder: TableRecorder, local: LocalRun, state: State
) -> Result:
    """The result of a run that is over."""
    manifest = _manifest(plan, recorder, local)
    _record_open(plan, store, local)
    result = Result(store, manifest, state, options, recorder)
    if isinstance(store, FolderStore):
        store.write_manifest(manifest)
    check_sums(manifest)
    return result


def read_result(folder: str | os.PathLike[str]) -> Result:
    """The result that `replay(…, out=folder)` or `result.to_parquet(folder)` wrote, its tables read when asked for.

    It has everything but `.state` and `.explain`. Raises `DataError` where the folder holds no result.
    """
    store = FolderStore.open(folder)
    return Result(store, store.read_manifest())


def known_columns(frame: pl.DataFrame, columns: Sequence[str]) -> list[str]:
    """These columns of the frame; a `ReplayError` names one that it has not."""
    for name in columns:
        if name not in frame.columns:
            raise ReplayError(
                f"deliveries have no column {name!r}",
                allowed=", ".join(frame.columns),
                hint=did_you_mean(str(name), frame.columns),
            )
    return list(columns)


def check_sums(manifest: dict[str, Any]) -> None:
    """Hold every step to it that nothing is lost (rule 18)."""
    for s in manifest["steps"]:
        came = s["held_before"] + s["entered"] + s["extra_branches"]
        went = s["passed"] + s["dropped"] + s["failed"] + s["absorbed"] + s["held"]
        if came != went:
            raise ReplayError(
                f"{came} contexts came and {went} went: this is a fault in flowdsl",
                flow=s["flow"],
                step=f"{s['step']} ({s['operator']})",
            )


def to_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    """A pandas frame on the same Arrow memory."""
    import pandas as pd

    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    converted: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return converted


def _manifest(plan: Plan, recorder: TableRecorder, local: LocalRun) -> dict[str, Any]:
    steps: list[dict[str, Any]] = []
    delivers: list[dict[str, Any]] = []
    for stage in local.stages():
        tally, step = stage.tally, stage.stage.step
        for flow in stage.stage.flows:
            steps.append(
                {
                    "number": flow,
                    "flow": plan.flows[flow].name,
                    "step": stage.stage.number,
                    "operator": step.method,
                    "text": step.text,
                    "held_before": tally.held_before,
                    "entered": tally.entered,
                    "extra_branches": tally.extra_branches,
                    "passed": tally.passed,
                    "dropped": sum(tally.dropped.values()),
                    "failed": tally.failed,
                    "absorbed": tally.absorbed,
                    "held": stage.kernel.held,
                    "seconds": round(tally.seconds, 6),
                    "reasons": dict(tally.dropped),
                }
            )
        if isinstance(step, Deliver):
            before = plan.flows[stage.stage.flows[0]].steps[: stage.stage.number]
            delivers.append(
                {
                    "table": deliveries_table(stage.stage.number, stage.stage.flows),
                    "flows": stage.stage.flows,
                    "sinks": list(step.sinks),
                    "timed": any(s.times for s in before),
                    "fields": _payload_fields(before),
                }
            )
    steps.sort(key=lambda s: (s["number"], s["step"]))
    delivers.sort(key=lambda d: d["flows"][0])
    counts = [
        {"flow": plan.flows[f].name, "sink": sink, "count": n}
        for (f, sink), n in sorted(recorder.delivered_count.items())
    ]
    return {
        "flows": [flow.name for flow in plan.flows],
        "text": [str(flow) for flow in plan.flows],
        "triggers": [flow.trigger.text for flow in plan.flows],
        "events": local.events,
        "position": local.position,
        "late": recorder.late_count,
        "trace": recorder.trace,
        "steps": steps,
        "delivers": delivers,
        "delivered": counts,
    }


def _payload_fields(before: Sequence[Operator]) -> list[str]:
    """The fields of the payload that these steps make; without a map, which only production lets in, there is none."""
    return next((list(step.fields) for step in reversed(before) if isinstance(step, Map)), [])


def _record_open(plan: Plan, store: Store, local: LocalRun) -> None:
    for stage in local.stages():
        rows = stage.kernel.open()
        if not rows:
            continue
        frame = pl.DataFrame(rows).with_columns(
            pl.col("opened_at", "due_at").cast(MOMENT),
            pl.lit(stage.stage.number, pl.Int32).alias("step"),
            pl.lit(stage.stage.step.method).alias("operator"),
        )
        for flow in stage.stage.flows:
            store.add(
                "open",
                Part(
                    frame.with_columns(pl.lit(plan.flows[flow].name).alias("flow")).select(list(OPEN_SCHEMA))
                ),
            )


def _joined(store: Store, table: str, schema: dict[str, Any]) -> pl.DataFrame:
    frames = [part.frame for part in store.parts(table)]
    empty = pl.DataFrame(schema=schema)
    return pl.concat([empty, *frames], how="diagonal_relaxed").select(list(schema)) if frames else empty
