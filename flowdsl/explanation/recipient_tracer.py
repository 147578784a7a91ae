"""Trace of one event for one recipient: the branches that lead to them, and the other contexts involved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.engine.tracer import FOLLOWED, Branch, StepTrace
from flowdsl.explanation.window_peers import WindowPeers
from flowdsl.flow.plan import CompiledStep
from flowdsl.flow.spec import FlowSpec
from flowdsl.operators.fan_out import FanOut
from flowdsl.rules import Rules
from flowdsl.values.json_types import Index

# other branches to follow, besides the recipient's, if there are too many
_OTHERS: Final = 50


class RecipientTracer(WindowPeers):
    """Tracer that follows, of a fan-out with very many branches, those with the recipient's id."""

    def __init__(self, seq_no: int, recipient: str, flows: Sequence[FlowSpec], rules: Rules) -> None:
        super().__init__(seq_no, rules)
        self.recipient = recipient
        self._flows = flows

    def choose(self, stage: CompiledStep, contexts: ContextBatch, rows: Index) -> list[int]:
        """Choose the branches with the recipient's id, and a few others to compare with."""
        steps = self._flows[stage.flows[0]].steps[: stage.number + 1]
        chosen: dict[int, None] = {}
        for step in steps:
            if isinstance(step, FanOut):
                ids = contexts.take(rows).column((f"{step.as_}_id",)).values()
                chosen.update(dict.fromkeys(i for i, one in enumerate(ids) if one == self.recipient))
        chosen.update(dict.fromkeys(range(_OTHERS if chosen else FOLLOWED)))
        return sorted(chosen)[:FOLLOWED]

    def of_flow(self, number: int) -> list[StepTrace]:
        """Return the whole trace of the event in one flow, branch by branch."""
        seen = [one for stage in self.stages.values() for one in stage.values() if number in one.stage.flows]
        return sorted(seen, key=lambda one: (one.branch, one.stage.number))

    def beside(self, stage: CompiledStep, branch: Branch) -> tuple[list[int], list[int], int] | None:
        """Return the events and times of the contexts that shared a key with a branch at a step, and its
        index among them.
        """
        arrivals = self._arrivals.get(id(stage))
        if arrivals is None:
            return None
        arrivals.settle()
        return arrivals.beside_branch(branch)
