"""Tells an observer of single outcomes what a trace is given as a whole."""

from __future__ import annotations

from typing import Any

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.flow.plan import CompiledStep
from flowdsl.kernels.outcome import StepOutcome

Observer = Any


class ObserverSink:
    """Hands each part of an outcome to an observer."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def write(self, step: CompiledStep, entered: ContextBatch, outcome: StepOutcome) -> None:
        """Tell the observer what became of the contexts that entered a step."""
        to = self._observer
        for failed in outcome.failed:
            to.failed(step, failed.contexts, failed.failures)
        for dropped in outcome.dropped:
            if dropped.rows is None:
                to.dropped_earlier(step, dropped.contexts, dropped.reason)
            else:
                to.dropped(step, dropped.contexts, dropped.rows, dropped.reason)
        if outcome.absorbed is not None:
            members, which = outcome.absorbed.members()
            to.gathered(step, members, outcome.absorbed.batches, which)
        if outcome.delivered is not None:
            one = outcome.delivered
            to.delivered(step, one.contexts, one.payload, one.recipient)
            if one.refused:
                to.refused(step, one.contexts, one.refused)
        to.step(step, entered, outcome.passed)
