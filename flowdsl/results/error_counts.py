"""Counts of failures by cause, each with its first example, without writing all failures out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.diagrams.results import Causes
from flowdsl.expressions.row_source import Failures
from flowdsl.flow.plan import CompiledStep
from flowdsl.results.failures import spell_out
from flowdsl.results.store import Store, StoredPart, TablePart
from flowdsl.results.table_writer import TableRecorder, failure_rows
from flowdsl.values.orders import distinct

Key = tuple[int, int, str]


@dataclass(frozen=True)
class Cause:
    """Reason for which contexts failed at one step: their number, and the first one as a row of
    `result.errors`.
    """

    flow: str
    step: int
    operator: str
    error: str
    count: int
    example: dict[str, Any]


@dataclass
class _Found:
    """Count of a cause so far, and the place of its first example: in a written part or in contexts."""

    operator: str
    count: int
    seq_no: int
    row: int
    piece: TablePart | StoredPart | tuple[CompiledStep, ContextBatch, Failures]

    def add(self, later: _Found) -> None:
        """Add a count found later; the first example has the smallest `seq_no`."""
        self.count += later.count
        if later.seq_no < self.seq_no:
            self.seq_no, self.row, self.piece = later.seq_no, later.row, later.piece


def error_causes(store: Store, names: Sequence[str], recorder: TableRecorder | None) -> list[Cause]:
    """Return the causes of all failures, most frequent first."""
    found = _count_all(store, recorder)
    ordered = sorted(found.items(), key=lambda item: (-item[1].count, item[0]))
    examples = _examples([one for _, one in ordered], recorder)
    return [
        Cause(names[flow], step, one.operator, error, one.count, example)
        for ((flow, step, error), one), example in zip(ordered, examples, strict=True)
    ]


def cause_counts(store: Store, recorder: TableRecorder | None) -> Causes:
    """Count each error by the position of the flow and the number of the step."""
    return _count_by_step(_count_all(store, recorder))


def counts_of(causes: Iterable[Cause], names: Sequence[str]) -> Causes:
    """Return the counts of known causes, as `cause_counts` does."""
    return _count_by_step({(names.index(one.flow), one.step, one.error): one for one in causes})


def _count_by_step(found: Mapping[Key, _Found | Cause]) -> Causes:
    counts: dict[tuple[int, int], Counter[str]] = {}
    for (flow, step, error), one in found.items():
        counts.setdefault((flow, step), Counter())[error] = one.count
    return counts


def _count_all(store: Store, recorder: TableRecorder | None) -> dict[Key, _Found]:
    found: dict[Key, _Found] = {}
    for key, one in [*_count_written(store), *_count_pending(recorder)]:
        if key in found:
            found[key].add(one)
        else:
            found[key] = one
    return found


def _count_written(store: Store) -> Iterable[tuple[Key, _Found]]:
    for piece in store.parts("errors"):
        rows = piece.read({"seq_no", "error"}.__contains__).with_row_index("row")
        first = pl.col("row").get(pl.col("seq_no").arg_min())
        for error, count, seq_no, row in (
            rows.group_by("error").agg(pl.len(), pl.col("seq_no").min(), first).iter_rows()
        ):
            for flow in piece.meta["flows"]:
                yield (
                    (flow, piece.meta["step"], error),
                    _Found(piece.meta["operator"], count, seq_no, row, piece),
                )


def _count_pending(recorder: TableRecorder | None) -> Iterable[tuple[Key, _Found]]:
    for stage, contexts, failures in recorder.pending if recorder is not None else ():
        seq = contexts.seq
        for code in distinct(failures.codes).tolist():
            rows = np.flatnonzero(failures.codes == code)
            row = int(rows[seq[rows].argmin()])
            for flow in stage.flows:
                found = _Found(
                    stage.operator.method, len(rows), int(seq[row]), row, (stage, contexts, failures)
                )
                yield (flow, stage.number, failures.messages[code - 1]), found


def _examples(found: Sequence[_Found], recorder: TableRecorder | None) -> list[dict[str, Any]]:
    waiting: list[tuple[CompiledStep, ContextBatch, Failures]] = []
    for one in found:
        if isinstance(one.piece, tuple):
            stage, contexts, failures = one.piece
            at = np.array([one.row])
            waiting.append((stage, contexts.take(at), Failures(failures.codes[at], failures.messages)))
    spelled = iter(failure_rows(recorder, waiting)) if recorder is not None else iter(())
    parts = [next(spelled) if isinstance(one.piece, tuple) else one.piece.row(one.row) for one in found]
    return [spell_out(part).row(0, named=True) for part in parts]
