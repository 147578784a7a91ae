"""Which earlier events have a part in what became of one event: those that share a window or a limit with it.

A replay is watched once. For every step that remembers (deduplicate, batch, rate_limit) the contexts that
came to it are noted; from those of one key it follows which of them matter to which, and so, step after step
back, which events do.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

from flowdsl.explanation.window_peers import WindowPeers, takers, windows
from flowdsl.operators.base import Operator
from flowdsl.operators.batch import Batch
from flowdsl.operators.deduplicate import Deduplicate
from flowdsl.operators.rate_limit import RateLimit

_LAST: Final = 1 << 30


class SliceExtent(Enum):
    """How many others are taken along."""

    FEW = "those that must come to the step at which they matter"
    MORE = "those that matter to these at later steps too"
    ALL = "all that share a key"


class CausalTracer(WindowPeers):
    """Watches one event as `explain` does, and finds which others matter to it."""

    def needed(self, reach: SliceExtent) -> set[int]:
        """The event and those that matter to it, as sequence numbers."""
        for arrivals in self._arrivals.values():
            arrivals.settle()
        found: dict[int, int] = {self.seq_no: _LAST}
        waiting = [self.seq_no]
        while waiting:
            seq_no = waiting.pop()
            for arrivals in self._arrivals.values():
                if arrivals.number >= found[seq_no]:
                    continue
                upto = arrivals.number if reach is SliceExtent.FEW else _LAST
                for seqs, moments, own in arrivals.beside(seq_no):
                    rows = (
                        range(len(seqs))
                        if reach is SliceExtent.ALL
                        else self._rows(arrivals.step, moments, own)
                    )
                    for other in {seqs[row] for row in rows}:
                        if found.get(other, -1) < upto:
                            found[other] = upto
                            waiting.append(other)
        return set(found)

    def _rows(self, step: Operator, moments: list[int], own: list[int]) -> Iterable[int]:
        if isinstance(step, Deduplicate):
            starts = windows(moments, step.window.microseconds)
            return {starts[row] for row in own}
        if isinstance(step, Batch) and self._rules.timers:
            starts = windows(moments, step.window.microseconds)
            mine = {starts[row] for row in own}
            return [row for row, start in enumerate(starts) if start in mine]
        if isinstance(step, RateLimit):
            return {before for row in own for before in takers(step, moments, row, queue=self._queues(step))}
        return range(len(moments))

    def _queues(self, step: RateLimit) -> bool:
        return step.strategy == "queue" and self._rules.timers
