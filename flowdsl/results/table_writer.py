"""Write the outcomes of a run as parts of tables: deliveries, failures, drops and late events.

Deliveries become columns at once. Failures are kept as contexts; they become rows with all variables on
request, or when very many are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.batches.chunk import Chunk
from flowdsl.batches.context_batch import CLOSED_NAMES, ContextBatch
from flowdsl.batches.payload import Payload
from flowdsl.batches.variables import Versions
from flowdsl.expressions.row_source import Failures
from flowdsl.flow.plan import CompiledStep
from flowdsl.kernels.batch_variable import opening_of
from flowdsl.kernels.outcome import Deliveries, Failed, StepOutcome
from flowdsl.log import EventSource
from flowdsl.log.event_rows import EventRows
from flowdsl.log.numbered_events import read_events_at
from flowdsl.progress import ProgressReporter, heartbeat
from flowdsl.results.store import FIELD, MemoryStore, Store, TablePart
from flowdsl.sinks.frame import CLOSED, MOMENT
from flowdsl.values.columns import Column
from flowdsl.values.json_texts import only
from flowdsl.values.json_types import Index, Tag
from flowdsl.values.orders import distinct

BRANCH = "branch_{}"
# column of the event that opened the window of a delivery, which stays the same in runs that close the
# window at another event
OPENED_BY = "opened_by"
# columns of the origin of each delivery (see `Origins`), which only exist if deliveries are handed over
ORIGIN = {"origin.seq": pl.Int64(), "origin.moment": pl.Int64(), "origin.branch": pl.String()}
VARIABLE = "variable.{}"
EVENT = "event.{}"
# mask of the rows that the recipient preferences of a sink refused
REFUSED = "refused.{}"
# columns that identify the link or entity of a deletion
LINK_COLUMNS = ("link_type", "link_id", "source_id", "target_id")
ENTITY_COLUMNS = ("entity_type", "entity_id")
# most failures that are kept as contexts
PENDING = 1 << 22
Seqs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Origins:
    """Origins of contexts: the event with its time (µs), or the event that opened the window with the time
    of opening, and the branch.
    """

    seq: Seqs
    moments: Seqs
    branches: pl.Series

    @classmethod
    def of(cls, contexts: ContextBatch, batch_names: Sequence[str]) -> Origins:
        """Return the origins of contexts at their delivery."""
        window = opening_of(contexts, batch_names)
        if window is None:
            times = contexts.chunk.column(("event", "timestamp_us"), contexts.rows).ints
            assert times is not None
            return cls(contexts.seq, times, branch_texts(contexts.branches, len(contexts)))
        levels = (*window.branches, *contexts.branches[len(window.branches) :])
        return cls(window.seq, window.moments, branch_texts(levels, len(contexts)))


class TableRecorder:
    """Writes a run's tables into a store."""

    def __init__(self, store: Store, *, trace: bool = False, source: EventSource | None = None) -> None:
        self.store = store
        self.delivered_count: Counter[tuple[int, str]] = Counter()
        self.late_count = 0
        self.unmatched_count = 0
        self.ahead_count = 0
        self.undelivered_count = 0
        self.trace = trace
        # columns of the event that are written with its deliveries, for sinks
        self.event_columns: tuple[str, ...] = ()
        self._source = source
        self._pending: list[tuple[CompiledStep, ContextBatch, Failures]] = []
        self._pending_size = 0
        self._settles = True

    def write(self, step: CompiledStep, entered: ContextBatch, outcome: StepOutcome) -> None:
        """Write deliveries and failures; with `trace`, also drops."""
        for failed in outcome.failed:
            self._fail(step, failed)
        for dropped in outcome.dropped if self.trace else ():
            refs = dropped.refs
            frame = pl.DataFrame({"seq_no": refs.seq, "branch": branch_texts(refs.branches, len(dropped))})
            self.store.add("dropped", TablePart(frame, {**step_meta(step), "reason": dropped.reason}))
        if outcome.delivered is not None:
            self._write_deliveries(step, outcome.delivered)

    def _write_deliveries(self, step: CompiledStep, delivered: Deliveries) -> None:
        part = _delivery_part(step, delivered, self.event_columns)
        self.store.add(deliveries_table(step.number, step.flows), part)
        refused = delivered.refused
        for sink in step.sinks:
            lost = int(np.count_nonzero(refused[sink])) if sink in refused else 0
            for flow in step.flows:
                self.delivered_count[flow, sink] += len(delivered.contexts) - lost

    def _fail(self, step: CompiledStep, one: Failed) -> None:
        rows, contexts, failures = one.rows, one.contexts, one.failures
        failed, why = contexts.take(rows), Failures(failures.codes[rows], failures.messages)
        if self._source is None:
            events = failed.chunk.frame(failed.rows)
            self.store.add("errors", with_events(error_part(step, failed, why), events))
            return
        # of the event only the number is kept; the rest is read again on request
        numbers = EventRows(pl.DataFrame([pl.Series("seq_no", failed.seq)]), contexts.chunk.interner)
        self._pending.append((step, failed.detach(numbers), why))
        self._pending_size += len(rows)
        self._settle_some()

    def note_late(self, chunk: Chunk, rows: Index) -> None:
        """Write events that are older than the clock."""
        late = _with_clock(chunk, rows)
        lateness = (pl.col("clock") - pl.col("timestamp")).alias("lateness")
        self.store.add("late", TablePart(late.with_columns(lateness)))
        self.late_count += len(rows)

    def note_ahead(self, chunk: Chunk, rows: Index) -> None:
        """Write events dated so far in the future that they do not move the clock."""
        ahead = (pl.col("timestamp") - pl.col("clock")).alias("ahead")
        self.store.add("ahead", TablePart(_with_clock(chunk, rows).with_columns(ahead)))
        self.ahead_count += len(rows)

    def note_unmatched(self, chunk: Chunk, rows: Index) -> None:
        """Write deletions of links and entities that did not exist."""
        frame = chunk.events.frame[rows]
        columns = [
            pl.col(name).cast(pl.String) if name == "kind" else pl.col(name)
            for name in ("seq_no", "event_id", "timestamp", "kind", *LINK_COLUMNS, *ENTITY_COLUMNS)
            if name in frame.columns
        ]
        self.store.add("unmatched", TablePart(frame.select(columns).rename({"timestamp": "event_time"})))
        self.unmatched_count += len(rows)

    def branch(self) -> TableRecorder:
        """Return a recorder for one task, whose records `join` takes over in order."""
        branch = type(self)(MemoryStore(), trace=self.trace, source=self._source)
        branch._settles = False
        branch.event_columns = self.event_columns
        return branch

    def join(self, branch: TableRecorder) -> None:
        """Take over the records of a task."""
        for table in branch.store.tables():
            for part in branch.store.parts(table):
                self.store.add(table, part.whole())
        self.delivered_count += branch.delivered_count
        self._pending += branch._pending
        self._pending_size += branch._pending_size
        self._settle_some()

    def _settle_some(self) -> None:
        if self._settles and self._pending_size > PENDING:
            self.settle()

    def settle(self, follower: ProgressReporter | None = None) -> None:
        """Write the rows of the failures kept so far; `follower` reports the events that this reads."""
        if not self._pending:
            return
        parts = list(failure_rows(self, self._pending, follower))
        self._pending, self._pending_size = [], 0
        for part in parts:
            self.store.add("errors", part)

    @property
    def pending(self) -> Sequence[tuple[CompiledStep, ContextBatch, Failures]]:
        """The failures that are kept as contexts, which only have the numbers of their events."""
        return self._pending

    @property
    def source(self) -> EventSource:
        """The log from which the events of failures are read again."""
        assert self._source is not None
        return self._source

    def held_versions(self) -> Iterable[Versions]:
        """Yield the entity versions that the kept failures refer to."""
        for _, contexts, _ in self._pending:
            yield from contexts.held_versions()

    def held_codes(self) -> Iterator[Any]:
        """Raise an error: only live runs forget ids, and they use another recorder."""
        raise NotImplementedError("a replay does not forget ids")

    def renumber(self, mapping: Versions) -> None:
        """Replace the entity versions in kept failures by their new numbers."""
        self._pending = [(step, contexts.renumbered(mapping), why) for step, contexts, why in self._pending]


def failure_rows(
    recorder: TableRecorder,
    failed: Sequence[tuple[CompiledStep, ContextBatch, Failures]],
    follower: ProgressReporter | None = None,
) -> Iterator[TablePart]:
    """Yield kept failures as rows of the table of errors, after reading their events again."""
    if not failed:
        return
    seqs = distinct(np.concatenate([contexts.seq for _, contexts, _ in failed]))
    follower = follower or ProgressReporter()
    events = read_events_at(recorder.source, seqs, tick=follower.part(0.5))
    for step, contexts, failures in failed:
        rows = events[np.searchsorted(seqs, contexts.seq)]
        again = contexts.detach(EventRows(rows, contexts.chunk.interner))
        yield with_events(error_part(step, again, failures), rows)
        heartbeat()


def _with_clock(chunk: Chunk, rows: Index) -> pl.DataFrame:
    """Return some events with the clock at which they were processed."""
    frame = chunk.events.frame
    columns = [c for c in ("seq_no", "event_id", "timestamp", "kind") if c in frame.columns]
    clock = pl.Series("clock", chunk.clock[rows]).cast(MOMENT)
    # column by column: gathering a frame would wait for Polars' threads, which process the next events
    few = pl.DataFrame([frame.get_column(name)[rows] for name in columns])
    return few.with_columns(clock, pl.col("kind").cast(pl.String))


def deliveries_table(step: int, flows: list[int]) -> str:
    """Return the name of the table of one deliver step; flows that share the step share the table."""
    return f"deliveries/{flows[0]}-{step}"


def step_meta(step: CompiledStep) -> dict[str, Any]:
    """Return the metadata of parts of tables that identifies their step."""
    return {"flows": step.flows, "step": step.number, "operator": step.method}


def _delivery_part(step: CompiledStep, delivered: Deliveries, event_columns: Iterable[str]) -> TablePart:
    contexts, payload, refused = delivered.contexts, delivered.payload, delivered.refused
    time = contexts.chunk.column(("event", "timestamp_us"), contexts.rows)
    columns: list[pl.Series] = [
        pl.Series("seq_no", contexts.seq),
        _optional_text("event_id", contexts),
        pl.Series("event_time", time.ints).cast(MOMENT),
        pl.Series("delivered_at", contexts.moment).cast(MOMENT),
        closed_texts(contexts),
        delivered.recipient.to_series()[0].alias("recipient_id"),
    ]
    window = opening_of(contexts, step.rules.batch_names)
    if window is not None:
        columns.append(pl.Series(OPENED_BY, window.seq))
    if event_columns:
        columns += _origin_columns(contexts, step)
    masks = dict(zip(refused, _number_columns(REFUSED, refused.values()), strict=True))
    columns += _number_columns(BRANCH, contexts.branches)
    columns += [_text_variable(name, contexts).alias(EVENT.format(name)) for name in event_columns]
    columns += masks.values()
    fields = {name: field_series(value) for name, value in payload.fields()}
    columns += [series.alias(FIELD.format(name)) for name, (series, _) in fields.items()]
    meta = {
        **step_meta(step),
        "fields": list(fields),
        "json": [name for name, (_, as_json) in fields.items() if as_json],
        "whole": not isinstance(payload.node, dict),
    }
    if masks:
        meta["refused"] = {sink: mask.name for sink, mask in masks.items()}
    return TablePart(pl.DataFrame(columns), meta)


def _number_columns(name: str, parts: Iterable[npt.NDArray[Any]]) -> list[pl.Series]:
    return [pl.Series(name.format(number), part) for number, part in enumerate(parts)]


def _origin_columns(contexts: ContextBatch, step: CompiledStep) -> list[pl.Series]:
    origins = Origins.of(contexts, step.rules.batch_names)
    parts: tuple[Any, ...] = (origins.seq, origins.moments, origins.branches)
    return [pl.Series(name, values) for name, values in zip(ORIGIN, parts, strict=True)]


def field_series(value: Column | Payload) -> tuple[pl.Series, bool]:
    """Return a payload field in its plainest type, and whether that is JSON text: structs for objects,
    lists where one type fits.
    """
    if isinstance(value, Column):
        return value.to_series()
    plain = None
    if value.node:
        plain = _struct_series(value) if isinstance(value.node, dict) else _list_series(value)
    return (value.json(), True) if plain is None else (plain, False)


def _struct_series(value: Payload) -> pl.Series | None:
    parts = {name: field_series(part) for name, part in value.fields()}
    if any(as_json for _, as_json in parts.values()):
        return None
    return pl.DataFrame({name: series for name, (series, _) in parts.items()}).to_struct("field")


def _list_series(value: Payload) -> pl.Series | None:
    nodes = (node if isinstance(node, Column) else Payload(node, value.size) for node in value.node)
    items = [field_series(node) for node in nodes]
    first = items[0][0].dtype
    # lists of lists as JSON text: concatenated they would become one list
    if first == pl.List or any(as_json or series.dtype != first for series, as_json in items):
        return None
    frame = pl.DataFrame({str(number): series for number, (series, _) in enumerate(items)})
    return frame.select(pl.concat_list(pl.all())).to_series()


def _text_variable(name: str, contexts: ContextBatch) -> pl.Series:
    """Return a variable as a column of texts, null in rows where it is not text."""
    column = contexts.column((name,))
    return only(column.text_series(), column.is_(Tag.TEXT))


def _optional_text(name: str, contexts: ContextBatch) -> pl.Series:
    column = contexts.chunk.column(("event", "id"), contexts.rows)
    if column.all_(Tag.MISSING, Tag.NULL):
        return pl.Series(name, [None], dtype=pl.String).new_from_index(0, len(contexts))
    return column.to_series()[0].alias(name)


_CLOSED_TEXTS = CLOSED.categories.to_list()
# by code, the index of its text; codes that close nothing get the index after the last
_CLOSED_PLACES = np.array(
    [[*_CLOSED_TEXTS, None].index(CLOSED_NAMES.get(code)) for code in range(max(CLOSED_NAMES) + 1)], np.uint8
)


def closed_texts(contexts: ContextBatch) -> pl.Series:
    """Return what closed the window of each context: `timer`, `count`, `quiet`, `end`, or null."""
    if contexts.closed is None:
        return pl.Series("closed_by", [None], dtype=CLOSED).new_from_index(0, len(contexts))
    return pl.Series("closed_by", _CLOSED_PLACES.take(contexts.closed)).cat.to(CLOSED, strict=False)


def branch_texts(branches: Any, size: int) -> pl.Series:
    """Return branches as text: the positions at each fan-out joined by dots; null before the first."""
    if not len(branches):
        return pl.Series("branch", [None], dtype=pl.String).new_from_index(0, size)
    levels = [pl.Series(f"b{i}", b) for i, b in enumerate(branches)]
    return pl.select(
        pl.concat_str([level.cast(pl.String) for level in levels], separator=".").alias("branch")
    ).to_series()


def error_part(step: CompiledStep, contexts: ContextBatch, failures: Failures) -> TablePart:
    """Return failed contexts without their events: branches, errors, and the variables of steps as JSON.

    Variables of the event are in its own columns: they become JSON only when somebody reads the table.
    """
    roots = contexts.roots()
    own = (name for name in roots if name not in contexts.event_roots or contexts.variable(name) is not None)
    columns = [
        pl.Series("seq_no", contexts.seq),
        branch_texts(contexts.branches, len(contexts)),
        pl.Series("error", [None, *failures.messages], dtype=pl.String)[failures.codes],
        *(contexts.column((name,)).to_json().alias(VARIABLE.format(name)) for name in own),
    ]
    return TablePart(pl.DataFrame(columns), {**step_meta(step), "variables": list(roots)})


def with_events(part: TablePart, events: pl.DataFrame) -> TablePart:
    """Return failed contexts with their whole events, as rows of the table of errors."""
    columns = [pl.col("kind").cast(pl.String), *part.frame.get_columns()]
    return TablePart(events.with_columns(columns), part.meta)
