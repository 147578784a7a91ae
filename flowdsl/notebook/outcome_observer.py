"""How the contexts of events end at the steps of a flow, overheard during a replay as columns of sequence numbers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from flowdsl.batches.context_batch import ContextBatch
    from flowdsl.batches.payload import Payload
    from flowdsl.expressions.row_source import Failures
    from flowdsl.flow.plan import CompiledStep
    from flowdsl.kernels.outcome import EventRefs, Refused
    from flowdsl.values.columns import Column
    from flowdsl.values.json_types import Index

Seqs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OutcomeKind:
    """A way in which contexts end at a step: `delivered`, `dropped`, `failed` or `absorbed`, with the reason of a drop."""

    step: int
    operator: str
    outcome: str
    reason: str | None = None

    def __str__(self) -> str:
        text = f"{self.outcome} at {self.step} {self.operator}"
        return f"{text}: {self.reason}" if self.reason else text


class EndingObserver:
    """An observer of a replay that takes down which events came in, and how each ended at which step."""

    def __init__(self) -> None:
        self._entered: list[Seqs] = []
        self._endings: dict[OutcomeKind, list[Seqs]] = defaultdict(list)

    @property
    def entered(self) -> Seqs:
        """The events that the trigger took, ascending."""
        return sorted_seqs(self._entered)

    def endings(self) -> dict[OutcomeKind, Seqs]:
        """The events that ended in each way, ascending, in the order of the steps."""
        order = sorted(self._endings, key=lambda e: (e.step, e.outcome, e.reason or ""))
        return {ending: sorted_seqs(self._endings[ending]) for ending in order}

    def step(self, stage: CompiledStep, entered: ContextBatch, passed: ContextBatch) -> None:
        """Only the first step tells which events the trigger took."""
        if stage.number == 0 and len(entered):
            self._entered.append(entered.seq)

    def dropped(self, stage: CompiledStep, contexts: ContextBatch, rows: Index, reason: str) -> None:
        """Contexts that a step dropped."""
        self._note(stage, "dropped", reason, contexts.seq[rows])

    def dropped_earlier(self, stage: CompiledStep, members: EventRefs, reason: str) -> None:
        """Contexts held since earlier that a step dropped."""
        self._note(stage, "dropped", reason, members.seq)

    def failed(self, stage: CompiledStep, contexts: ContextBatch, failures: Failures) -> None:
        """Contexts that failed at a step."""
        self._note(stage, "failed", None, contexts.seq[np.flatnonzero(failures.codes)])

    def gathered(self, stage: CompiledStep, members: EventRefs, batches: ContextBatch, which: Index) -> None:
        """Contexts that went into batches which go on as another event."""
        self._note(stage, "absorbed", None, members.seq[members.seq != batches.seq[which]])

    def delivered(
        self, stage: CompiledStep, contexts: ContextBatch, payload: Payload, recipient: Column
    ) -> None:
        """Contexts that reached sinks."""
        self._note(stage, "delivered", None, contexts.seq)

    def refused(self, stage: CompiledStep, contexts: ContextBatch, refused: Refused) -> None:
        """Contexts that did not reach a sink, as their recipients want it."""
        for mask in refused.values():
            self._note(stage, "dropped", "preference", contexts.seq[mask])

    def _note(self, stage: CompiledStep, outcome: str, reason: str | None, seqs: Seqs) -> None:
        if len(seqs):
            self._endings[OutcomeKind(stage.number, stage.operator.method, outcome, reason)].append(seqs)


def sorted_seqs(parts: list[Seqs]) -> Seqs:
    """Sequence numbers as one column, ascending, each once."""
    return np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)


def holds(seqs: Seqs, seq_no: int) -> bool:
    """Whether a number is among those, which ascend."""
    at = int(np.searchsorted(seqs, seq_no))
    return at < len(seqs) and int(seqs[at]) == seq_no
