"""Outcomes of contexts at the steps of a flow, from a trace, as columns of sequence numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.engine.trace import ENTERED, PASSED, Trace, TraceRows
from flowdsl.flow.plan import CompiledStep
from flowdsl.results.table_writer import branch_texts
from flowdsl.values.orders import distinct

Seqs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OutcomeKind:
    """Outcome at a step: `delivered`, `dropped`, `failed` or `absorbed`, with the reason of a drop."""

    step: int
    operator: str
    outcome: str
    reason: str | None = None

    def __str__(self) -> str:
        text = f"{self.outcome} at {self.step} {self.operator}"
        return f"{text}: {self.reason}" if self.reason else text


def keeps_endings(step: CompiledStep, outcome: str) -> bool:
    """Return True for rows of a trace that the functions below read: matches of the trigger, and endings."""
    return step.number == 0 if outcome == ENTERED else outcome != PASSED


def entered_events(trace: Trace) -> Seqs:
    """Return the events that the trigger matched, ascending."""
    return sorted_seqs([rows.seq for rows in trace.rows if rows.outcome == ENTERED])


def endings_of(trace: Trace) -> dict[OutcomeKind, Seqs]:
    """Return the events by outcome, ascending, in the order of the steps."""
    found: dict[OutcomeKind, list[Seqs]] = defaultdict(list)
    for rows in trace.rows:
        seqs = rows.seq if rows.into is None else _absorbed(rows, *rows.into)
        if rows.outcome != ENTERED and len(seqs):
            reason = rows.reason if isinstance(rows.reason, str) else None
            found[OutcomeKind(rows.step.number, rows.step.method, rows.outcome, reason)].append(seqs)
    order = sorted(found, key=lambda e: (e.step, e.outcome, e.reason or ""))
    return {ending: sorted_seqs(found[ending]) for ending in order}


def _absorbed(rows: TraceRows, into: Seqs, branches: Sequence[str | None]) -> Seqs:
    """Return the events of the members of batches, without the member as which each batch continues."""
    same = rows.seq == into
    own = branch_texts(rows.branches, len(same)).eq_missing(pl.Series(branches, dtype=pl.String))
    members: Seqs = rows.seq[~(same & own.to_numpy())]
    return members


def sorted_seqs(parts: list[Seqs]) -> Seqs:
    """Return distinct sequence numbers as one ascending column."""
    return distinct(np.concatenate(parts)) if parts else np.zeros(0, np.int64)


def holds(seqs: Seqs, seq_no: int) -> bool:
    """Return True if an ascending column contains a number."""
    at = int(np.searchsorted(seqs, seq_no))
    return at < len(seqs) and int(seqs[at]) == seq_no
