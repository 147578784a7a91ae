"""The trace of a run: outcomes of contexts at each step, as rows.

`explain`, `why`, `as_test`, `compare`, the designer and the findings that need a log all read it: a run
writes a trace of the rows that they ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.batches.buffer import branch_texts
from flowdsl.batches.context_batch import ContextBatch
from flowdsl.flow.plan import CompiledStep
from flowdsl.kernels.outcome import Absorbed, Deliveries, EventRefs, Failed, StepOutcome
from flowdsl.values.json_types import Index

Seqs = npt.NDArray[np.int64]
ENTERED, PASSED, DROPPED, FAILED, ABSORBED, DELIVERED = OUTCOMES = (
    "entered",
    "passed",
    "dropped",
    "failed",
    "absorbed",
    "delivered",
)
Reading = Callable[[CompiledStep, ContextBatch, StepOutcome], None]
"""Takes values out of the contexts that entered a step, and of its outcome, while they are there."""
SCHEMA: Final[dict[str, Any]] = {
    "flow": pl.Int64,
    "seq_no": pl.Int64,
    "branch": pl.String,
    "step": pl.Int64,
    "operator": pl.String,
    "outcome": pl.Enum(OUTCOMES),
    "reason": pl.String,
    "into": pl.Int64,
    "into_branch": pl.String,
}


@dataclass(frozen=True)
class TraceRows:
    """Contexts with the same outcome at a step: event and branch of each, and why.

    `outcome` is `entered`, `passed`, `dropped`, `failed`, `absorbed` or `delivered`; a context that does not
    reach one of its sinks is `dropped` with the reason `preference` or `capped` as well. `into` are the event
    and branch that a batch goes on with; one of its members goes on, and is in its rows too.
    """

    step: CompiledStep
    outcome: str
    seq: Seqs
    branches: tuple[npt.NDArray[np.int32], ...]
    reason: str | pl.Series | None = None
    into: tuple[Seqs, list[str | None]] | None = None

    def frame(self) -> pl.DataFrame:
        """Return the rows as a frame, once for each flow that has the step."""
        step, reason = self.step, self.reason
        seqs, branches = self.into or (None, None)
        one = pl.DataFrame(
            {
                "seq_no": self.seq,
                "branch": pl.Series(branch_texts(self.branches, len(self.seq)), dtype=pl.String),
            }
        ).with_columns(
            pl.lit(step.number, pl.Int64).alias("step"),
            pl.lit(step.method).alias("operator"),
            pl.lit(self.outcome, SCHEMA["outcome"]).alias("outcome"),
            (pl.lit(reason, pl.String) if not isinstance(reason, pl.Series) else reason).alias("reason"),
            pl.Series("into", seqs, pl.Int64) if seqs is not None else pl.lit(None, pl.Int64).alias("into"),
            pl.Series("into_branch", branches, pl.String)
            if branches is not None
            else pl.lit(None, pl.String).alias("into_branch"),
        )
        flows = [
            one.with_columns(pl.lit(flow, pl.Int64).alias("flow")).select(list(SCHEMA)) for flow in step.flows
        ]
        return pl.concat(flows)


class Trace:
    """Records the outcomes of contexts at each step of a run.

    Parameters
    ----------
    keeps
        Which outcomes of a step have rows; None for no rows at all.
    seqs
        The events that have rows; None for all. With those of a batch come those of the event that it goes on
        with.
    readings
        What takes values out of contexts at each step.
    """

    def __init__(
        self,
        keeps: Callable[[CompiledStep, str], bool] | None = None,
        *,
        seqs: Seqs | None = None,
        readings: Sequence[Reading] = (),
    ) -> None:
        self.rows: list[TraceRows] = []
        self._keeps = keeps
        self._seqs = seqs
        self._readings = readings

    def frame(self) -> pl.DataFrame:
        """Return all rows in the order in which they came, with the columns of `SCHEMA`."""
        return pl.concat([pl.DataFrame(schema=SCHEMA), *(rows.frame() for rows in self.rows)])

    def write(self, step: CompiledStep, entered: ContextBatch, outcome: StepOutcome) -> None:
        """Write down the outcome of a step."""
        if self._keeps is not None:
            self.rows += [rows for rows in self._rows_of(step, entered, outcome) if len(rows.seq)]
        for reading in self._readings:
            reading(step, entered, outcome)

    def _rows_of(
        self, step: CompiledStep, entered: ContextBatch, outcome: StepOutcome
    ) -> Iterator[TraceRows]:
        assert self._keeps is not None
        kept = {name for name in OUTCOMES if self._keeps(step, name)}
        if ENTERED in kept:
            yield self._rows(step, ENTERED, entered)
        if FAILED in kept:
            yield from (self._record_failed(step, failed) for failed in outcome.failed)
        for dropped in outcome.dropped if DROPPED in kept else ():
            yield self._rows(step, DROPPED, dropped.contexts, dropped.rows, dropped.reason)
        if outcome.absorbed is not None and ABSORBED in kept:
            yield self._record_absorbed(step, outcome.absorbed)
        handed = outcome.delivered
        if handed is not None and DELIVERED in kept:
            yield self._rows(step, DELIVERED, handed.contexts)
        if handed is not None and DROPPED in kept:
            yield from self._kept_back(step, handed)
        if PASSED in kept:
            yield self._rows(step, PASSED, outcome.passed)

    def _kept_back(self, step: CompiledStep, delivered: Deliveries) -> Iterator[TraceRows]:
        """Yield the deliveries that preferences and caps keep from sinks."""
        for reason, masks in delivered.kept_by.items() if delivered.refused else ():
            some = np.flatnonzero(np.logical_or.reduce(list(masks.values())))
            yield self._rows(step, DROPPED, delivered.contexts, some, reason)

    def _record_failed(self, step: CompiledStep, failed: Failed) -> TraceRows:
        codes = failed.failures.codes
        messages = pl.Series([None, *failed.failures.messages], dtype=pl.String).gather(codes)
        return self._rows(step, FAILED, failed.contexts, failed.rows, messages)

    def _record_absorbed(self, step: CompiledStep, absorbed: Absorbed) -> TraceRows:
        members, which = absorbed.members()
        rows = self._watch(members.seq)
        into = absorbed.batches.take(which if rows is None else which[rows])
        if self._seqs is not None:
            # the outcome of the batch is that of its members
            self._seqs = np.union1d(self._seqs, into.seq)
        found = self._rows(step, ABSORBED, members, rows, watched=False)
        texts = branch_texts(into.branches, len(into))
        return TraceRows(step, ABSORBED, found.seq, found.branches, None, (into.seq, texts))

    def _watch(self, seq: Seqs) -> Index | None:
        return None if self._seqs is None else np.flatnonzero(np.isin(seq, self._seqs))

    def _rows(
        self,
        step: CompiledStep,
        outcome: str,
        contexts: ContextBatch | EventRefs,
        rows: Index | None = None,
        reason: str | pl.Series | None = None,
        *,
        watched: bool = True,
    ) -> TraceRows:
        """Return those of some rows (None: all) that are watched; reasons are those of all contexts."""
        seq = contexts.seq
        if watched and self._seqs is not None:
            own = self._watch(seq if rows is None else seq[rows])
            assert own is not None
            rows = own if rows is None else rows[own]
        if rows is None:
            return TraceRows(step, outcome, seq, contexts.branches, reason)
        if isinstance(reason, pl.Series):
            reason = reason.gather(rows)
        return TraceRows(step, outcome, seq[rows], tuple(b[rows] for b in contexts.branches), reason)
