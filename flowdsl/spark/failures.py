"""Failures of tasks, which are completed with the whole events after the job.

Events in a stream have only the columns that flows read; the table of errors shows whole events.
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
from flowdsl.results.table_writer import TableRecorder, error_part, with_events
from flowdsl.spark.events import RunEvents


class PartRecorder(TableRecorder):
    """Writes the tables of a task; failures lack their events unless the task has `whole` events."""

    whole = False

    def _fail(self, step: CompiledStep, one: Failed) -> None:
        rows = one.rows
        contexts = one.contexts.take(rows)
        why = Failures(one.failures.codes[rows], one.failures.messages)
        part = error_part(step, contexts, why)
        if self.whole:
            events = contexts.chunk.frame(contexts.rows)
            absent = [pl.lit(None, SCHEMA[n]).alias(n) for n in EVENT_COLUMNS if n not in events.columns]
            part = with_events(part, events.with_columns(absent).select(EVENT_COLUMNS))
        self.store.add("errors", part)


def add_events(failed: Sequence[TablePart], events: RunEvents) -> Iterator[TablePart]:
    """Yield failures of tasks with the whole events, as rows of the table of errors."""
    if not failed:
        return
    numbers = pl.concat([part.frame["seq_no"] for part in failed]).unique().sort()
    whole = events.at(numbers)
    for part in failed:
        found = np.searchsorted(whole["seq_no"].to_numpy(), part.frame["seq_no"].to_numpy())
        yield with_events(part, whole[found])
