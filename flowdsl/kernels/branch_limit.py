"""Limit of the branches that one event may go into where branches branch again.

What an event itself branches into is there already: links of the graph, or a list of the event.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.expressions.row_source import Failures
from flowdsl.values.json_types import Index, Mask

MAX_BRANCHES: Final = 1 << 25
"""The branches that one event may go into at a step behind another that branches."""

Places = npt.NDArray[np.int32]


class BranchLimit:
    """Count of the branches of the last event that was seen: an event may come in several batches."""

    def __init__(self, event: int = -1, made: int = 0) -> None:
        self._event, self._made = event, made

    def fork(self) -> BranchLimit:
        """Return a copy."""
        return BranchLimit(self._event, self._made)

    def refusals(self, contexts: ContextBatch, branches: Index) -> Failures | None:
        """Return which contexts would give their event too many branches, with those made before; None where
        none does.
        """
        over = self._over(contexts, branches) if contexts.branches else None
        if over is None:
            return None
        return Failures.where(over, f"its event goes into more than {MAX_BRANCHES:,} branches here")

    def _over(self, contexts: ContextBatch, branches: Index) -> Mask | None:
        if not len(contexts):
            return None
        seq = contexts.seq
        if self._made + int(branches.sum()) <= MAX_BRANCHES:
            # no event has too many: only the count of the last one is needed
            others = np.flatnonzero(seq != seq[-1])
            begin = int(others[-1]) + 1 if len(others) else 0
            made = self._made if not begin and seq[-1] == self._event else 0
            self._event, self._made = int(seq[-1]), made + int(branches[begin:].sum())
            return None
        begins = np.flatnonzero(np.diff(seq, prepend=seq[0] - 1))
        total = np.cumsum(branches)
        # of each context, what its event has up to and with it
        before = np.where(begins > 0, total[begins - 1], 0)
        before[0] -= self._made if seq[0] == self._event else 0
        so_far = total - np.repeat(before, np.diff(begins, append=len(seq)))
        self._event, self._made = int(seq[-1]), int(so_far[-1])
        over: Mask = so_far > MAX_BRANCHES
        return over if over.any() else None


def positions(row: Index, counts: Index) -> Places:
    """Return 0, 1, 2 … within each context's branches; `row` is the context of each branch."""
    starts = (np.cumsum(counts) - counts).astype(np.int32)
    return np.arange(len(row), dtype=np.int32) - np.repeat(starts, counts)
