"""A result and an outcome brought into one form, so that they can be compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl
from polars import selectors

from flowdsl import Flow
from flowdsl.api.result import Result
from oracle.interpreter import Delivery, Outcome
from oracle.values import canonical

Table = list[tuple[Any, ...]]


def said_by_engine(result: Result, flows: Sequence[Flow]) -> dict[str, Any]:
    """What a replay gave: deliveries, errors, counts, late events and open windows, as plain values."""
    columns = ["delivered_at", "seq_no", "flow", "branch", "step", "sink", "event_time", "event_id",
               "closed_by", "recipient_id", "payload"]  # fmt: skip
    return {
        "deliveries": [
            (*row[:-1], canonical(json.loads(row[-1]))) for row in _rows(result, "deliveries", columns)
        ],
        "errors": [
            (*row[:-1], canonical(json.loads(row[-1])))
            for row in _rows(result, "errors", ["seq_no", "flow", "step", "branch", "variables"])
        ],
        "dropped": sorted(_rows(result, "dropped", ["flow", "step", "reason", "count"])),
        "steps": _rows(
            result,
            "steps",
            ["flow", "step", "operator", "entered", "extra_branches", "passed", "dropped", "failed", "absorbed", "held"],
        ),
        "late": _rows(result, "late", ["seq_no"]),
        "unmatched": _rows(result, "unmatched", ["seq_no"]),
        "open": _open(
            _rows(result, "open", ["flow", "step", "held", "opened_at", "due_at", "last_seq_no"]), flows
        ),
    }  # fmt: skip


def said_by_oracle(outcome: Outcome, flows: Sequence[Flow]) -> dict[str, Any]:
    """The same of the interpreter's outcome."""
    names = [flow.name for flow in flows]
    return {
        "deliveries": [_delivery(delivery, names) for delivery in outcome.deliveries],
        "errors": [
            (e.seq_no, names[e.flow], e.step, branch_text(e.branch), canonical(e.variables)) for e in outcome.errors
        ],
        "dropped": sorted(
            (names[flow], step, reason, count)
            for (flow, step), tally in outcome.tallies.items()
            for reason, count in tally.dropped.items()
        ),
        "steps": [
            (names[flow], step, flows[flow].steps[step].method, tally.entered, tally.extra_branches, tally.passed,
             tally.dropped.total(), tally.failed, tally.absorbed, tally.held)
            for (flow, step), tally in sorted(outcome.tallies.items())
        ],
        "late": [(seq_no,) for seq_no in outcome.late],
        "unmatched": [(seq_no,) for seq_no in outcome.unmatched],
        "open": _open(
            [
                (names[row["flow"]], row["step"], row["held"], row["opened_at"], row["due_at"], row["last_seq_no"])
                for row in outcome.open
            ],
            flows,
        ),
    }  # fmt: skip


def bytes_of(result: Result) -> dict[str, Any]:
    """Everything that rule 20 says is the same at every run, as text: all but the timings and the state."""
    tables = {f"sink {sink}": result.to_polars(sink) for sink in result.sinks}
    names = ("deliveries", "errors", "dropped", "late", "unmatched", "open", "steps")
    tables |= {name: result.to_polars(table=name) for name in names}
    tables["steps"] = tables["steps"].drop("seconds")
    return {name: (dict(table.schema), repr(table.rows())) for name, table in tables.items()}


def _delivery(d: Delivery, names: Sequence[str]) -> tuple[Any, ...]:
    return (d.delivered_at, d.seq_no, names[d.flow], branch_text(d.branch), d.step, d.sink_name, d.event_time,
            d.event_id, d.closed_by, d.recipient_id, canonical(d.payload))  # fmt: skip


def branch_text(positions: tuple[int, ...]) -> str | None:
    return ".".join(map(str, positions)) if positions else None


def _open(rows: Table, flows: Sequence[Flow]) -> Table:
    """By flow and step; within a step in the order given."""
    places = {flow.name: number for number, flow in enumerate(flows)}
    return sorted(rows, key=lambda row: (places[row[0]], row[1]))


def _rows(result: Result, table: str, columns: Sequence[str]) -> Table:
    # with Polars: of thousands of small frames those of pandas would cost more than the replays
    frame = result.to_polars(table=table).select(columns)
    # moments as microseconds
    return frame.with_columns(selectors.datetime().cast(pl.Int64)).rows()
