"""Delays between the events of a run and their deliveries.

The delivery of a batch counts for all members of the window, any other for its own event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import polars as pl

from flowdsl.comparison.inputs import FlowResult
from flowdsl.comparison.measures import Effect
from flowdsl.engine.trace import ABSORBED, Trace, TraceRows
from flowdsl.flow.plan import CompiledStep
from flowdsl.log import EventSource
from flowdsl.log.numbered_events import read_events_at
from flowdsl.progress import Tick, noop
from flowdsl.results.table_writer import branch_texts
from flowdsl.sinks.frame import MOMENT
from flowdsl.values.json_types import Ints
from flowdsl.values.orders import distinct

# the columns of a delivery that identify its events
DELIVERED: Final = ("seq_no", "event_time", "delivered_at", "step", "branch", "recipient_id")
_DELIVERED_TYPES: Final[Mapping[str, Any]] = dict(
    zip(DELIVERED, (pl.Int64, MOMENT, MOMENT, pl.Int64, pl.String, pl.String), strict=True)
)
_GROUP: Final = ("seq_no", "prefix", "delivered_at", "step")


def member_trace() -> Trace:
    """Return a trace that a run fills with the members of its windows."""
    return Trace(lambda step, outcome: outcome == ABSORBED)


def effect_of(
    side: FlowResult, delays: Callable[[], Delays], sink: str | None = None, tick: Tick = noop
) -> Effect:
    """Collect the deliveries of a flow to all its sinks, or to one, for measuring."""
    sinks = side.sinks if sink is None else (sink,)
    frames = [side.columns(name, DELIVERED, tick) for name in sinks]
    deliveries = pl.concat(frames) if frames else pl.DataFrame(schema=_DELIVERED_TYPES)
    return Effect(deliveries, lambda: delays().of(side, deliveries))


class Delays:
    """The members of all windows of a run with their event times; flows may share steps."""

    def __init__(self, trace: Trace, source: EventSource) -> None:
        parts: dict[int, list[TraceRows]] = {}
        self._steps: dict[int, CompiledStep] = {}
        for rows in trace.rows:
            parts.setdefault(id(rows.step), []).append(rows)
            self._steps[id(rows.step)] = rows.step
        times = _times([rows.seq for rows in trace.rows], source)
        self._members = {step: _members(found, times) for step, found in parts.items()}

    def of(self, side: FlowResult, deliveries: pl.DataFrame) -> pl.DataFrame:
        """Return the delays between events and these deliveries of a flow, which have columns `DELIVERED`.

        `delay` is in microseconds, and `events` the number of events that were delivered after it; an event
        counts once for each of its deliveries.
        """
        left = deliveries.group_by("seq_no", "branch", "event_time", "delivered_at", "step").agg(
            pl.len().cast(pl.Int64).alias("events")
        )
        for step in self._windows_of(side):
            left = _open_windows(left, self._members[id(step)], step)
        delay = (pl.col("delivered_at") - pl.col("event_time")).dt.total_microseconds().alias("delay")
        return left.group_by(delay).agg(pl.col("events").sum()).sort("delay")

    def _windows_of(self, side: FlowResult) -> Iterable[CompiledStep]:
        """Return the steps of a flow that have windows, the last one first."""
        mine = [step for step in self._steps.values() if side.number in step.flows]
        return sorted(mine, key=lambda step: -step.number)


def _open_windows(left: pl.DataFrame, members: pl.DataFrame, step: CompiledStep) -> pl.DataFrame:
    """Replace each batch that a step's windows released by the members of the window."""
    behind = pl.col("step") > step.number
    levels = int(members["levels"][0])
    # a later fan-out extends the branch of its window
    prefix = (
        pl.lit(None, pl.String)
        if not levels
        else pl.col("branch").str.split(".").list.head(levels).list.join(".")
    )
    out = (
        left.filter(behind).with_columns(prefix.alias("prefix")).group_by(_GROUP).agg(pl.col("events").sum())
    )
    inside = out.join(
        members, left_on=["seq_no", "prefix"], right_on=["into", "into_branch"], nulls_equal=True
    ).select(pl.col("member").alias("seq_no"), "branch", "event_time", "delivered_at", "step", "events")
    return pl.concat([left.filter(~behind), inside])


def _members(parts: list[TraceRows], times: pl.DataFrame) -> pl.DataFrame:
    frame = pl.concat(list(_rows(parts)))
    return frame.join(times, left_on="member", right_on="seq_no")


def _rows(parts: list[TraceRows]) -> Iterator[pl.DataFrame]:
    for rows in parts:
        assert rows.into is not None
        seqs, branches = rows.into
        yield pl.DataFrame(
            {
                "member": rows.seq,
                "branch": pl.Series(branch_texts(rows.branches, len(rows.seq)), dtype=pl.String),
                "into": seqs,
                "into_branch": pl.Series(branches, dtype=pl.String),
                "levels": pl.Series([len(rows.branches)], dtype=pl.Int32).new_from_index(0, len(rows.seq)),
            }
        )


def _times(seqs: list[Ints], source: EventSource) -> pl.DataFrame:
    if not seqs:
        return pl.DataFrame(schema={"seq_no": pl.Int64, "event_time": MOMENT})
    events = read_events_at(source, distinct(np.concatenate(seqs)), ("seq_no", "timestamp"))
    return events.select(
        pl.col("seq_no").cast(pl.Int64), pl.col("timestamp").cast(MOMENT).alias("event_time")
    )
