"""Failures of tasks: what a task knows of a failed context, and the rest, which the whole event says.

The events in a stream have only the columns that the flows read. A failure has the whole event, and all its
variables: those that steps have set come from the task, those of the event are added here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from flowdsl.batches.chunk import Chunk
from flowdsl.batches.context_batch import ContextBatch
from flowdsl.events import EVENT_COLUMNS
from flowdsl.expressions.row_source import Failures
from flowdsl.flow.plan import CompiledStep
from flowdsl.graph.requirements import GraphRequirements
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.graph.state import GraphState
from flowdsl.kernels.outcome import Failed
from flowdsl.log.columns import SCHEMA
from flowdsl.log.event_rows import EventRows
from flowdsl.results.store import TablePart
from flowdsl.results.table_writer import (
    TableRecorder,
    branch_texts,
    error_part,
    error_texts,
    step_meta,
    variable_text,
)
from flowdsl.spark.events import RunEvents
from flowdsl.values.json_texts import joined_json

_OWN = "variable.{}"


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
        roots = contexts.roots()
        own = [
            name for name in roots if name not in contexts.event_roots or contexts.variable(name) is not None
        ]
        columns = [variable_text(name, contexts).alias(_OWN.format(name)) for name in own]
        branches = branch_texts(contexts.branches, len(contexts))
        frame = pl.DataFrame([pl.Series("seq_no", contexts.seq), branches, error_texts(why), *columns])
        self.store.add("errors", TablePart(frame, {**step_meta(step), "roots": list(roots)}))


def spell_out(failed: Sequence[TablePart], events: RunEvents) -> Iterator[TablePart]:
    """Yield failures of tasks as rows of the table of errors."""
    if not failed:
        return
    numbers = pl.concat([part.frame["seq_no"] for part in failed]).unique().sort()
    whole = events.at(numbers)
    graph = EntityGraph().start(GraphRequirements())
    for part in failed:
        frame, meta = part.frame, dict(part.meta)
        found = whole[np.searchsorted(whole["seq_no"].to_numpy(), frame["seq_no"].to_numpy())]
        roots = meta.pop("roots")
        alone = _of_events(found, graph, roots)
        texts = {
            name: frame[_OWN.format(name)]
            if _OWN.format(name) in frame.columns
            else variable_text(name, alone)
            for name in roots
        }
        variables = joined_json(frame.height, texts).alias("variables")
        columns = [pl.col("kind").cast(pl.String), frame["branch"], frame["error"], variables]
        yield TablePart(found.with_columns(columns), meta)


def _of_events(found: pl.DataFrame, graph: GraphState, roots: Sequence[str]) -> ContextBatch:
    events = EventRows(found, graph.interner)
    chunk = Chunk(events, np.zeros(found.height, np.int64), graph, graph.interner)
    return ContextBatch(chunk, np.arange(found.height), roots=frozenset(roots))
