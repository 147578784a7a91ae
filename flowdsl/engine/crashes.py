"""Early ends of a run, because production's engine crashes: found in the order in which production processes.

Production runs flow after flow for each event, and in a flow branch after branch. A crash at one context ends
all: the contexts before it in that order are through, those after it are never begun. Here a step takes the
contexts of a whole chunk at once, so a chunk is run on copies first; where it has a crash, it is run again
with what comes before it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.expressions.row_source import Failures
from flowdsl.flow.plan import CompiledStep
from flowdsl.kernels.outcome import StepOutcome, dropped_rows, failed_where
from flowdsl.values.json_types import Mask

STOPPED: Final = "stopped"
"""Reason of contexts that production was processing, or had not reached, when it stopped."""


@dataclass(frozen=True, order=True)
class Crash:
    """A context at which production crashes; of several the least is the one that it comes to first."""

    seq_no: int
    flow: int
    branch: tuple[int, ...]
    step: int
    reason: str

    @classmethod
    def first(cls, contexts: ContextBatch, failures: Failures, crashed: Mask, flow: int, step: int) -> Crash:
        """Return the crash at the first crashed context; contexts come in order."""
        row = int(crashed.argmax())
        one = contexts.slice(row, row + 1)
        branch = tuple(int(level[0]) for level in one.branches)
        return cls(int(one.seq[0]), flow, branch, step, str(failures.message(row)))

    @classmethod
    def among(cls, step: CompiledStep, outcome: StepOutcome) -> Crash | None:
        """Return the first crash of production at a step, or None."""
        crashes = [
            cls.first(one.contexts, one.failures, crashed, step.flows[0], step.number)
            for one in outcome.failed
            if (crashed := one.failures.crashed) is not None
        ]
        return min(crashes, default=None)

    def cut(self, step: CompiledStep, outcome: StepOutcome) -> StepOutcome:
        """Return an outcome in which the contexts that production no longer reaches are dropped."""
        failed, dropped = [], [*outcome.dropped]
        for one in outcome.failed:
            crashed = one.failures.crashed if self.step == step.number else None
            if crashed is None:
                failed.append(one)
                continue
            here = crashed & self.at(one.contexts)
            dropped += dropped_rows(one.contexts, np.flatnonzero(here), STOPPED)
            failed += failed_where(one.contexts, one.failures.only(~here))
        behind = self.behind(outcome.passed)
        dropped += dropped_rows(outcome.passed, np.flatnonzero(behind), STOPPED)
        passed = outcome.passed.take(np.flatnonzero(~behind)) if behind.any() else outcome.passed
        return replace(outcome, passed=passed, failed=tuple(failed), dropped=tuple(dropped))

    def behind(self, contexts: ContextBatch) -> Mask:
        """Return a mask of the contexts of its flow that production would reach only after it."""
        of_event = contexts.seq == self.seq_no
        later, level_with = np.zeros(len(contexts), np.bool_), of_event
        for mine, level in zip(self.branch, contexts.branches, strict=False):
            later |= level_with & (level > mine)
            level_with = level_with & (level == mine)
        return later

    def at(self, contexts: ContextBatch) -> Mask:
        """Return a mask of the context of its step at which it happens."""
        same: Mask = contexts.seq == self.seq_no
        for mine, level in zip(self.branch, contexts.branches, strict=True):
            same = same & (level == mine)
        return same


@dataclass(frozen=True)
class Stopped:
    """Place at which production stops for good: the event, the flow and the step at which its engine crashes,
    and why.

    That event is never acknowledged, and no later one is processed, by any flow.
    """

    seq_no: int
    flow: str
    step: int
    operator: str
    branch: str | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"production stops at event {self.seq_no}, at step {self.step} ({self.operator}) of {self.flow}: "
            f"{self.reason}"
        )
