"""Manifest of a run, next to its tables: its flows, the outcomes of contexts at every step, and delivery
counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import polars as pl

from flowdsl.errors import ReplayError
from flowdsl.results.hints import field_hints
from flowdsl.results.manifest_schema import DeliveredRow, DeliverRow, FanOutRow, Manifest, StepRow, StoppedRow
from flowdsl.results.store import Store, TablePart
from flowdsl.results.table_writer import deliveries_table
from flowdsl.sinks.frame import MOMENT
from flowdsl.values.zones import TZDATA_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowdsl.engine.counts import StepTotals
    from flowdsl.flow.plan import Plan
    from flowdsl.results.engine import RunTotals

OPEN_SCHEMA = {
    "flow": pl.String,
    "step": pl.Int32,
    "operator": pl.String,
    "held": pl.Int64,
    "opened_at": MOMENT,
    "due_at": MOMENT,
    "last_seq_no": pl.Int64,
}


def manifest_of(plan: Plan, totals: RunTotals, *, trace: bool, log: str | None) -> Manifest:
    """Build the manifest of a run: all facts that are not in its tables."""
    return {
        "flows": [flow.name for flow in plan.flows],
        "text": [*map(str, plan.flows)],
        "triggers": [flow.trigger.text for flow in plan.flows],
        "captions": [flow.trigger.caption for flow in plan.flows],
        "descriptions": [flow.description for flow in plan.flows],
        "events": totals.events,
        "span": None if totals.span is None else [*totals.span],
        "position": totals.position,
        "late": totals.late,
        "ahead": totals.ahead,
        "unmatched": totals.unmatched,
        "trace": trace,
        "steps": step_rows(plan, totals.steps),
        "delivers": delivers_of(plan),
        "fan_outs": _fan_outs(totals),
        "delivered": _count_deliveries(plan, totals),
        "undelivered": totals.undelivered,
        "stopped": None if totals.stopped is None else cast("StoppedRow", totals.stopped.to_dict()),
        "log": log,
        "beginning": [],
        "tzdata": TZDATA_VERSION,
    }


def _fan_outs(totals: RunTotals) -> list[FanOutRow]:
    found = [_fan_out(flow, one) for one in totals.steps if one.step.fans_out for flow in one.step.flows]
    return sorted(found, key=lambda row: (row["number"], row["step"]))


def _count_deliveries(plan: Plan, totals: RunTotals) -> list[DeliveredRow]:
    return [
        {"flow": plan.flows[number].name, "sink": sink, "count": count}
        for (number, sink), count in sorted(totals.delivered.items())
    ]


def delivers_of(plan: Plan) -> list[DeliverRow]:
    """Return a row for each deliver step: the table of its deliveries, its flows, its sinks, and the kinds of
    its fields.
    """
    delivers: list[DeliverRow] = []
    for step in plan.steps:
        if step.sinks:
            before = plan.flows[step.flows[0]].steps[: step.number]
            delivers.append(
                {
                    "table": deliveries_table(step.number, step.flows),
                    "flows": step.flows,
                    "sinks": list(step.sinks),
                    "timed": any(s.times for s in before),
                    "fields": field_hints(before, plan.flows[step.flows[0]].scopes()),
                }
            )
    return sorted(delivers, key=lambda d: d["flows"][0])


def step_rows(plan: Plan, steps: Sequence[StepTotals]) -> list[StepRow]:
    """Return the outcomes of contexts at every step, with a row for each flow that has the step."""
    rows: list[StepRow] = []
    for one in steps:
        tally, step = one.counts, one.step
        for flow in step.flows:
            rows.append(
                {
                    "number": flow,
                    "flow": plan.flows[flow].name,
                    "step": step.number,
                    "operator": step.method,
                    "text": step.operator.text,
                    "caption": step.operator.caption,
                    "sinks": list(step.sinks),
                    "held_before": tally.held_before,
                    "entered": tally.entered,
                    "extra_branches": tally.extra_branches,
                    "passed": tally.passed,
                    "dropped": sum(tally.dropped.values()),
                    "failed": tally.failed,
                    "absorbed": tally.absorbed,
                    "held": one.held,
                    "seconds": round(tally.seconds, 6),
                    "reasons": dict(tally.dropped),
                    "refused": dict(tally.refused),
                    "capped": dict(tally.capped),
                }
            )
    return sorted(rows, key=lambda s: (s["number"], s["step"]))


def _fan_out(flow: int, one: StepTotals) -> FanOutRow:
    sizes = one.counts.sizes
    return {
        "number": flow,
        "step": one.step.number,
        "sizes": [*map(list, sizes.counts())],
        "largest": sizes.largest,
        "seq_no": sizes.seq_no,
    }


def record_open(plan: Plan, store: Store, steps: Sequence[StepTotals]) -> None:
    """Write the windows and queues that are open to the table `open`."""
    for one in steps:
        rows = one.open
        if not rows:
            continue
        frame = pl.DataFrame(rows).with_columns(
            pl.col("opened_at", "due_at").cast(MOMENT),
            pl.lit(one.step.number, pl.Int32).alias("step"),
            pl.lit(one.step.method).alias("operator"),
        )
        for flow in one.step.flows:
            store.add(
                "open",
                TablePart(
                    frame.with_columns(pl.lit(plan.flows[flow].name).alias("flow")).select(list(OPEN_SCHEMA))
                ),
            )


def check_sums(manifest: Manifest) -> None:
    """Check that no step has lost a context (rule 18); raise `ReplayError` otherwise."""
    for s in manifest["steps"]:
        came = s["held_before"] + s["entered"] + s["extra_branches"]
        went = s["passed"] + s["dropped"] + s["failed"] + s["absorbed"] + s["held"]
        if came != went:
            raise ReplayError(
                f"{came} contexts came and {went} went: this is a fault in flowdsl",
                flow=s["flow"],
                step=f"{s['step']} ({s['operator']})",
            )
