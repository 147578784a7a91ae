"""Failures of tasks: what a task knows of a failed context, and the rest, which the whole event says.

The events in a stream have only the columns that the flows read. A failure has the whole event, which is added
here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from flowdsl.events import EVENT_COLUMNS
from flowdsl.expressions.row_source import Failures
from flowdsl.flow.plan import CompiledStep
from flowdsl.kernels.outcome import Failed
from flowdsl.log.columns import SCHEMA
from flowdsl.results.store import TablePart
from flowdsl.results.table_writer import TableRecorder, error_part, failure_columns, failure_meta
from flowdsl.spark.events import RunEvents


class PartRecorder(TableRecorder):
    """Writes the tables of a task; failures without their events, unless a task has the `whole` of them."""

    whole = False

    def _fail(self, step: CompiledStep, one: Failed) -> None:
        rows = one.rows
        contexts = one.contexts.take(rows)
        why = Failures(one.failures.codes[rows], one.failures.messages)
        if self.whole:
            events = contexts.chunk.frame(contexts.rows)
            absent = [pl.lit(None, SCHEMA[n]).alias(n) for n in EVENT_COLUMNS if n not in events.columns]
            events = events.with_columns(absent).select(EVENT_COLUMNS)
            self.store.add("errors", error_part(step, contexts, why, events))
            return
        numbers = pl.Series("seq_no", contexts.seq)
        frame = pl.DataFrame([numbers, *failure_columns(contexts, why)])
        self.store.add("errors", TablePart(frame, failure_meta(step, contexts)))


def add_events(failed: Sequence[TablePart], events: RunEvents) -> Iterator[TablePart]:
    """Yield failures of tasks with the whole events, as rows of the table of errors."""
    if not failed:
        return
    numbers = pl.concat([part.frame["seq_no"] for part in failed]).unique().sort()
    whole = events.at(numbers).with_columns(pl.col("kind").cast(pl.String))
    for part in failed:
        found = np.searchsorted(whole["seq_no"].to_numpy(), part.frame["seq_no"].to_numpy())
        yield TablePart(whole[found].with_columns(part.frame.get_columns()), part.meta)
