"""Trace of one event for one recipient: the branches that lead to them, and the other contexts involved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.engine.event_reading import FOLLOWED, EventReading
from flowdsl.explanation.window_peers import WindowPeers
from flowdsl.flow.plan import CompiledStep
from flowdsl.flow.spec import FlowSpec
from flowdsl.rules import Rules
from flowdsl.values.json_types import Index

# other branches to follow, besides the recipient's, if there are too many
_OTHERS: Final = 50


class RecipientTrace:
    """Trace of one event, and of the others that came to the steps with state.

    Of a fan-out with very many branches those with the recipient's id are followed, and a few others to
    compare with.
    """

    def __init__(self, seq_no: int, recipient: str, flows: Sequence[FlowSpec], rules: Rules) -> None:
        self.steps = EventReading(seq_no, self._choose)
        self.peers = WindowPeers(seq_no, rules)
        self._recipient, self._flows = recipient, flows

    def _choose(self, step: CompiledStep, contexts: ContextBatch, rows: Index) -> list[int]:
        chosen: dict[int, None] = {}
        for operator in self._flows[step.flows[0]].steps[: step.number + 1]:
            if operator.branch_variable is not None:
                ids = contexts.take(rows).column((operator.branch_variable,)).values()
                chosen.update(dict.fromkeys(i for i, one in enumerate(ids) if one == self._recipient))
        chosen.update(dict.fromkeys(range(_OTHERS if chosen else FOLLOWED)))
        return sorted(chosen)[:FOLLOWED]
