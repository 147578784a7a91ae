"""Earlier events that have a part in the outcome of one event: those that share a window or a limit with it.

A replay is traced once, and the contexts that entered each stateful step (deduplicate, batch, rate_limit) are
recorded. From those of one key follows which contexts influence which others and so, going back step by step,
which events do.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

import numpy as np

from flowdsl.explanation.window_peers import Beside, WindowPeers, takers, windows
from flowdsl.operators.base import Operator
from flowdsl.operators.deduplicate import Deduplicate
from flowdsl.operators.rate_limit import RateLimit

_LAST: Final = 1 << 30


class SliceExtent(Enum):
    """Number of others that are taken along."""

    FEW = "those that must come to the step at which they matter"
    MORE = "those that matter to these at later steps too"
    ALL = "all that share a key"


def needed(peers: WindowPeers, reach: SliceExtent) -> set[int]:
    """Return the event and those that influence it, as sequence numbers."""
    found: dict[int, int] = {peers.seq_no: _LAST}
    waiting = [peers.seq_no]
    steps = peers.arrivals()
    while waiting:
        seq_no = waiting.pop()
        for arrivals in steps:
            if arrivals.number >= found[seq_no]:
                continue
            upto = arrivals.number if reach is SliceExtent.FEW else _LAST
            for beside in arrivals.beside(seq_no):
                rows: Iterable[int] = range(len(beside.seqs))
                if reach is not SliceExtent.ALL:
                    rows = _rows(arrivals.step, beside, timers=peers.rules.timers)
                for other in {beside.seqs[row] for row in rows}:
                    if found.get(other, -1) < upto:
                        found[other] = upto
                        waiting.append(other)
    return set(found)


def _rows(step: Operator, beside: Beside, *, timers: bool) -> Iterable[int]:
    moments, own = beside.moments, beside.own
    if isinstance(step, Deduplicate):
        starts = windows(moments, step.window.microseconds)
        return {starts[row] for row in own}
    if beside.openers:
        return np.flatnonzero(np.isin(beside.openers, np.take(beside.openers, own))).tolist()
    if isinstance(step, RateLimit):
        queue = step.strategy == "queue" and timers
        return {before for row in own for before in takers(step, moments, row, queue=queue)}
    return range(len(moments))
