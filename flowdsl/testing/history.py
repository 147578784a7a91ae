"""Which earlier events have a part in what became of one event: those that share a window or a limit with it.

A replay is watched once. For every step that remembers (deduplicate, batch, rate_limit) the contexts that came to it are
noted; from those of one key it follows which of them matter to which, and so, step after step back, which events do.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flowdsl.contexts.contexts import Contexts
from flowdsl.engines.watcher import Watcher
from flowdsl.kernels.keys import KeySpace
from flowdsl.operators.base import Kind, Operator
from flowdsl.operators.batch import Batch
from flowdsl.operators.deduplicate import Deduplicate
from flowdsl.operators.rate_limit import RateLimit
from flowdsl.plan import Stage
from flowdsl.rules import Rules

Ints = npt.NDArray[np.int64]
_LAST: Final = 1 << 30


class Reach(Enum):
    """How many others are taken along."""

    FEW = "those that must come to the step at which they matter"
    MORE = "those that matter to these at later steps too"
    ALL = "all that share a key"


@dataclass
class Arrivals:
    """The contexts that came to a step, in order: event, key and log clock (µs) of each."""

    number: int
    step: Operator
    space: KeySpace | None
    parts: list[tuple[Ints, Ints, Ints]] = field(default_factory=list)

    def add(self, contexts: Contexts) -> None:
        """Note contexts; those without a key fail, and are nobody's business."""
        seq, moments = contexts.seq.copy(), contexts.moment.copy()
        keys = np.zeros(len(seq), np.int64)
        if self.space is not None and len(seq):
            keys, failures = self.space.keys(contexts)
            if failures is not None:
                good = np.flatnonzero(~failures.mask)
                seq, keys, moments = seq[good], keys[good], moments[good]
        self.parts.append((seq, keys, moments))

    def settle(self) -> None:
        """Put the parts together."""
        columns: list[Ints] = [np.concatenate(c) for c in zip(*self.parts, strict=True)] if self.parts else []
        self.seq, self.keys, self.moments = columns or [np.zeros(0, np.int64)] * 3

    def beside(self, seq_no: int) -> Iterable[tuple[list[int], list[int], list[int]]]:
        """For each key of an event: the events and moments of all contexts of that key, and which are the event's."""
        for key in np.unique(self.keys[self.seq == seq_no]):
            rows = np.flatnonzero(self.keys == key)
            rows = rows[np.argsort(self.moments[rows], kind="stable")]
            seq = self.seq[rows]
            yield seq.tolist(), self.moments[rows].tolist(), np.flatnonzero(seq == seq_no).tolist()


class Historian(Watcher):
    """Watches one event as `explain` does, and notes who else came to the steps that remember."""

    def __init__(self, seq_no: int, rules: Rules) -> None:
        super().__init__(seq_no)
        self._rules = rules
        self._arrivals: dict[int, Arrivals] = {}

    def step(self, stage: Stage, entered: Contexts, passed: Contexts) -> None:
        """A step let some contexts go on."""
        super().step(stage, entered, passed)
        if stage.step.kind in (Kind.PER_KEY, Kind.WHOLE) and len(entered):
            if id(stage) not in self._arrivals:
                paths = sorted(stage.step.key_paths)
                space = KeySpace(paths, typed=self._rules.typed_keys) if paths else None
                self._arrivals[id(stage)] = Arrivals(stage.number, stage.step, space)
            self._arrivals[id(stage)].add(entered)

    def needed(self, reach: Reach) -> set[int]:
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
                upto = arrivals.number if reach is Reach.FEW else _LAST
                for seqs, moments, own in arrivals.beside(seq_no):
                    rows = range(len(seqs)) if reach is Reach.ALL else self._rows(arrivals.step, moments, own)
                    for other in {seqs[row] for row in rows}:
                        if found.get(other, -1) < upto:
                            found[other] = upto
                            waiting.append(other)
        return set(found)

    def _rows(self, step: Operator, moments: list[int], own: list[int]) -> Iterable[int]:
        if isinstance(step, Deduplicate):
            starts = _windows(moments, step.window.microseconds)
            return {starts[row] for row in own}
        if isinstance(step, Batch) and self._rules.timers:
            starts = _windows(moments, step.window.microseconds)
            mine = {starts[row] for row in own}
            return [row for row, start in enumerate(starts) if start in mine]
        if isinstance(step, RateLimit):
            return {before for row in own for before in _takers(step, moments, row, queue=self._queues(step))}
        return range(len(moments))

    def _queues(self, step: RateLimit) -> bool:
        return step.strategy == "queue" and self._rules.timers


def _windows(moments: list[int], length: int) -> list[int]:
    """For each moment the row that opened its window."""
    starts: list[int] = []
    opener = -1
    for row, moment in enumerate(moments):
        if opener < 0 or moment >= moments[opener] + length:
            opener = row
        starts.append(opener)
    return starts


def _takers(step: RateLimit, moments: list[int], row: int, *, queue: bool) -> list[int]:
    """The fewest contexts before one that had to take tokens for it to find what it found."""
    went = _released(step, moments[: row + 1], queue=queue)
    takers = [before for before in range(row) if went[before] is not None]

    def same(count: int) -> bool:
        last = takers[len(takers) - count :]
        return bool(_released(step, [moments[r] for r in (*last, row)], queue=queue)[-1] == went[row])

    # the more took tokens before, the later it gets its own
    fewest = bisect.bisect_left(range(len(takers)), True, key=same)
    return takers[len(takers) - fewest :]


def _released(step: RateLimit, moments: list[int], *, queue: bool) -> list[Any]:
    """When each context gets its token from a bucket that is full at first; None where it gets none."""
    per, most = step.per.microseconds, step.max
    tokens, at = Fraction(most), moments[0] if moments else 0
    found: list[Any] = []
    for moment in moments:
        if per == 0:
            found.append(moment)
            continue
        now = max(moment, at) if queue else moment
        tokens = min(Fraction(most), tokens + Fraction((now - at) * most, per))
        at = now
        if tokens < 1 and queue:
            at += -(-(1 - tokens) * per // most)
            tokens = min(Fraction(most), tokens + Fraction((at - now) * most, per))
        if tokens >= 1:
            tokens -= 1
            found.append(at if queue else moment)
        else:
            found.append(None)
    return found
