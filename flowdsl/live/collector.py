"""Collector of what a batch of a live run produces: deliveries for each sink in total order, and failed
contexts.

Deliveries become rows at once, for sinks take rows. Failures are kept as contexts, and spelled out with all
their variables when there is time: that costs several times what a batch costs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import compress
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.batches.buffer import BufferedContexts
from flowdsl.batches.chunk import Chunk
from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.payload import Payload
from flowdsl.batches.variables import Versions
from flowdsl.expressions.row_source import Failures
from flowdsl.flow.plan import CompiledStep
from flowdsl.kernels.outcome import Deliveries, StepOutcome
from flowdsl.log.event_ids import EventName
from flowdsl.moments import to_moment
from flowdsl.results.delivery_keys import DeliveryKeys
from flowdsl.results.store import MemoryStore, TablePart
from flowdsl.results.table_writer import Origins, closed_texts, error_part, with_events
from flowdsl.sinks.base import Delivery
from flowdsl.values.columns import Column
from flowdsl.values.json_types import MISSING, Index

Order = tuple[int, int, int, tuple[int, ...], int, int]


@dataclass
class _Failed:
    """Contexts that failed at one step."""

    step: CompiledStep
    held: list[BufferedContexts] = field(default_factory=list)
    codes: list[npt.NDArray[np.int32]] = field(default_factory=list)
    messages: dict[str, int] = field(default_factory=dict)

    def put(self, contexts: ContextBatch, failures: Failures) -> None:
        numbers = [self.messages.setdefault(m, len(self.messages) + 1) for m in failures.messages]
        begin = self.held[-1].refs[-1] + 1 if self.held else 0
        self.held.append(BufferedContexts(contexts, np.arange(begin, begin + len(contexts))))
        self.codes.append(np.array([0, *numbers], np.int32)[failures.codes])

    def part(self, chunk: Chunk) -> TablePart:
        """Return the failures as rows of the table of errors."""
        whole = BufferedContexts.concat(self.held)
        contexts = whole.release(np.arange(len(whole)), chunk)
        why = Failures(np.concatenate(self.codes), tuple(self.messages))
        return with_events(error_part(self.step, contexts, why), chunk.frame(contexts.rows))


@dataclass(frozen=True)
class FailedContexts:
    """Failures put aside, to be written out later on any thread."""

    failed: list[_Failed]

    def table(self, chunk: Chunk, flows: list[str]) -> pl.DataFrame:
        """Return the table that `result.errors` has; `chunk` is an empty one over the entity versions of that
        time.
        """
        from flowdsl.results.failures import error_table

        store = MemoryStore()
        for one in self.failed:
            store.add("errors", one.part(chunk))
        return error_table(store, flows)


class LiveRecorder:
    """Collects what batches produce until it is taken."""

    def __init__(self, keys: DeliveryKeys) -> None:
        self._keys = keys
        self.delivered_rows: dict[str, list[tuple[Order, Delivery]]] = {}
        self.late_count = 0
        self.unmatched_count = 0
        self.ahead_count = 0
        self.unspelled = 0
        self._failed: dict[tuple[Any, ...], _Failed] = {}
        self._parts: list[tuple[CompiledStep, ContextBatch, Failures]] = []

    def note(self, events: pl.DataFrame) -> None:
        """Take the next events of the log, before they are run."""
        self._keys.names.note(events)

    def leave(self, position: int, *, keep: bool) -> None:
        """Release events up to a number; with `keep` windows may still hold them."""
        self._keys.names.leave(position, keep=keep)

    def write(self, step: CompiledStep, entered: ContextBatch, outcome: StepOutcome) -> None:
        """Collect deliveries and failures; steps count drops themselves."""
        for one in outcome.failed:
            rows = one.rows
            if len(rows):
                why = Failures(one.failures.codes[rows], one.failures.messages)
                self._parts.append((step, one.contexts.take(rows), why))
        if outcome.delivered is not None:
            self._deliver(step, outcome.delivered)

    def _deliver(self, step: CompiledStep, delivered: Deliveries) -> None:
        contexts = delivered.contexts
        origins = Origins.of(contexts, step.rules.batch_names)
        events = self._keys.names.of(origins.seq, origins.moments)
        places = zip(events, origins.branches.to_list(), strict=True)
        fields_of = _rows(contexts, delivered.payload, delivered.recipient)
        rows = list(zip(fields_of, _branches(contexts), places, strict=True))
        for place, sink in enumerate(step.sinks):
            held_back = delivered.refused.get(sink)
            let_through = rows if held_back is None else list(compress(rows, ~held_back))
            collected = self.delivered_rows.setdefault(sink, [])
            for flow in step.flows:
                for (moment, *fields), (branch, text), origin in let_through:
                    delivery = self._delivery(flow, step.number, sink, text, fields, origin)
                    collected.append(((moment, delivery.seq_no, flow, branch, step.number, place), delivery))

    def note_late(self, chunk: Chunk, rows: Index) -> None:
        """Count events older than the clock."""
        self.late_count += len(rows)

    def note_ahead(self, chunk: Chunk, rows: Index) -> None:
        """Count events dated in the future."""
        self.ahead_count += len(rows)

    def note_unmatched(self, chunk: Chunk, rows: Index) -> None:
        """Count deletions of what does not exist."""
        self.unmatched_count += len(rows)

    def branch(self) -> LiveRecorder:
        """Return a recorder for one task, whose records `join` takes over in order."""
        return LiveRecorder(self._keys)

    def join(self, branch: LiveRecorder) -> None:
        """Take over the records of a task."""
        for sink, rows in branch.delivered_rows.items():
            self.delivered_rows.setdefault(sink, []).extend(rows)
        self._parts += branch._parts

    def held_versions(self) -> Iterable[Versions]:
        """Yield the entity versions that pending failures refer to."""
        for failed in self._failed.values():
            for held in failed.held:
                yield from held.versions()

    def held_codes(self) -> Iterator[Any]:
        """Yield the codes of ids that pending failures refer to."""
        for failed in self._failed.values():
            for held in failed.held:
                yield from held.held_codes()

    def renumber(self, mapping: Versions) -> None:
        """Apply new numbers of entity versions."""
        for failed in self._failed.values():
            for held in failed.held:
                held.renumber(mapping)

    def take_deliveries(self) -> dict[str, list[tuple[int, Delivery]]]:
        """Take the collected deliveries by sink, in total order, each with its moment in µs."""
        collected, self.delivered_rows = self.delivered_rows, {}
        for rows in collected.values():
            rows.sort(key=itemgetter(0))
        return {sink: [(order[0], delivery) for order, delivery in rows] for sink, rows in collected.items()}

    def keep_failures(self) -> int:
        """Put the failures of the batch aside, so that the batch can be released; return their number."""
        count = 0
        for step, contexts, failures in self._parts:
            # at a fan-out what fails is the context, or one of its branches
            shape = (id(step), len(contexts.branches), contexts.names(), contexts.payload is None)
            self._failed.setdefault(shape, _Failed(step)).put(contexts, failures)
            count += len(contexts)
        self._parts = []
        self.unspelled += count
        return count

    def take_failures(self) -> FailedContexts:
        """Take the failures put aside."""
        failed, self._failed, self.unspelled = self._failed, {}, 0
        return FailedContexts(list(failed.values()))

    def _delivery(
        self,
        flow: int,
        step: int,
        sink: str,
        branch: str | None,
        fields: list[Any],
        origin: tuple[EventName, str | None],
    ) -> Delivery:
        seq_no, event_id, event_time, at, closed_by, recipient, payload, entity_type, entity_id = fields
        name = self._keys.labels[flow]
        key = self._keys.key(origin[0], flow, origin[1], step, sink, closed_by, event_id)
        return Delivery(
            payload,
            recipient,
            key,
            sink,
            name,
            step,
            branch,
            seq_no,
            event_id,
            event_time,
            at,
            closed_by,
            entity_type,
            entity_id,
        )


def _rows(contexts: ContextBatch, payload: Payload, recipient: Column) -> list[tuple[Any, ...]]:
    """Return what all flows and sinks of a step share: the moment in µs, then the fields of a delivery."""
    chunk, rows = contexts.chunk, contexts.rows
    event_times = chunk.column(("event", "timestamp_us"), rows).ints
    assert event_times is not None
    moments = contexts.moment
    delivered_at = list(map(to_moment, moments.tolist()))
    # an event that is not late is processed at its own time
    same = np.array_equal(event_times, moments)
    event_time = delivered_at if same else list(map(to_moment, event_times.tolist()))
    return list(
        zip(
            moments.tolist(),
            contexts.seq.tolist(),
            _or_none(chunk.column(("event", "id"), rows)),
            event_time,
            delivered_at,
            closed_texts(contexts).to_list(),
            _or_none(recipient),
            _values(payload.node, payload.size),
            _or_none(chunk.column(("entity_type",), rows)),
            _or_none(chunk.column(("entity_id",), rows)),
            strict=True,
        )
    )


def _or_none(column: Column) -> list[Any]:
    return [None if value is MISSING else value for value in column.values()]


def _values(node: Any, size: int) -> list[Any]:
    """Return payloads as JSON values, equal to what `Payload.json` returns as text."""
    if isinstance(node, Column):
        values = _or_none(node)
        if node.floats is not None and not np.isfinite(node.floats).all():
            values = [None if isinstance(v, float) and not np.isfinite(v) else v for v in values]
        return values
    if isinstance(node, Mapping):
        return [dict(zip(node, row, strict=True)) for row in _in_rows(node.values(), size)]
    return [*map(list, _in_rows(node, size))]


def _in_rows(columns: Collection[Any], size: int) -> Iterable[tuple[Any, ...]]:
    """Return the values of several columns row by row."""
    return zip(*(_values(below, size) for below in columns), strict=True) if columns else [()] * size


def _branches(contexts: ContextBatch) -> list[tuple[tuple[int, ...], str | None]]:
    if not contexts.branches:
        return [((), None)] * len(contexts)
    numbers = zip(*(level.tolist() for level in contexts.branches), strict=True)
    return [(branch, ".".join(map(str, branch))) for branch in numbers]
