"""Contexts that share a window or a limit with another one."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.flow.plan import CompiledStep
from flowdsl.kernels.keys import KeySpace
from flowdsl.kernels.outcome import StepOutcome
from flowdsl.operators.base import Operator
from flowdsl.operators.rate_limit import RateLimit
from flowdsl.rules import Rules

Ints = npt.NDArray[np.int64]


@dataclass
class Arrivals:
    """The contexts that entered a step, in order: event, key and log clock (µs) of each, and the branches of
    one event.
    """

    number: int
    step: Operator
    space: KeySpace | None
    watched: int
    parts: list[tuple[Ints, Ints, Ints]] = field(default_factory=list)
    own: list[tuple[int, ...]] = field(default_factory=list)

    @classmethod
    def at(cls, stage: CompiledStep, rules: Rules, watched: int) -> Arrivals:
        """Start without contexts at a step."""
        paths = sorted(stage.operator.key_paths)
        space = KeySpace(paths, typed=rules.typed_keys, nulls=rules.null_keys) if paths else None
        return cls(stage.number, stage.operator, space, watched)

    def add(self, contexts: ContextBatch) -> None:
        """Add contexts; those without a key fail and are left out."""
        seq, moments = contexts.seq.copy(), contexts.moment.copy()
        keys, branches = np.zeros(len(seq), np.int64), contexts.branches
        if self.space is not None and len(seq):
            keys, failures = self.space.keys(contexts)
            if failures is not None:
                good = np.flatnonzero(~failures.mask)
                seq, keys, moments = seq[good], keys[good], moments[good]
                branches = tuple(level[good] for level in branches)
        mine = np.flatnonzero(seq == self.watched).tolist()
        self.own += [tuple(int(level[row]) for level in branches) for row in mine]
        self.parts.append((seq, keys, moments))

    def settle(self) -> None:
        """Concatenate the parts."""
        columns: list[Ints] = [np.concatenate(c) for c in zip(*self.parts, strict=True)] if self.parts else []
        self.seq, self.keys, self.moments = columns or [np.zeros(0, np.int64)] * 3

    def beside_branch(self, branch: tuple[int, ...]) -> tuple[list[int], list[int], int] | None:
        """Return the events and times of all contexts with the key of one branch of the event, and its index
        among them.
        """
        if branch not in self.own:
            return None
        row = np.flatnonzero(self.seq == self.watched)[self.own.index(branch)]
        rows = np.flatnonzero(self.keys == self.keys[row])
        rows = rows[np.argsort(self.moments[rows], kind="stable")]
        return self.seq[rows].tolist(), self.moments[rows].tolist(), rows.tolist().index(int(row))

    def beside(self, seq_no: int) -> Iterable[tuple[list[int], list[int], list[int]]]:
        """Yield, for each key of an event, the events and times of all its contexts, and the indexes of the
        event's own.
        """
        for key in np.unique(self.keys[self.seq == seq_no]):
            rows = np.flatnonzero(self.keys == key)
            rows = rows[np.argsort(self.moments[rows], kind="stable")]
            seq = self.seq[rows]
            yield seq.tolist(), self.moments[rows].tolist(), np.flatnonzero(seq == seq_no).tolist()


class WindowPeers:
    """A reading of a trace: the contexts that entered the steps with state, beside those of one event."""

    def __init__(self, seq_no: int, rules: Rules) -> None:
        self.seq_no, self.rules = seq_no, rules
        self._arrivals: dict[int, Arrivals] = {}

    def __call__(self, step: CompiledStep, entered: ContextBatch, outcome: StepOutcome) -> None:
        """Record the contexts that entered a step."""
        if not step.stateless and len(entered):
            if id(step) not in self._arrivals:
                self._arrivals[id(step)] = Arrivals.at(step, self.rules, self.seq_no)
            self._arrivals[id(step)].add(entered)

    def arrivals(self) -> list[Arrivals]:
        """Return the contexts that entered each step with state."""
        for arrivals in self._arrivals.values():
            arrivals.settle()
        return list(self._arrivals.values())

    def beside(self, step: CompiledStep, branch: tuple[int, ...]) -> tuple[list[int], list[int], int] | None:
        """Return the events and times of the contexts that shared a key with a branch at a step, and its
        index among them.
        """
        arrivals = self._arrivals.get(id(step))
        if arrivals is None:
            return None
        arrivals.settle()
        return arrivals.beside_branch(branch)


def windows(moments: list[int], length: int) -> list[int]:
    """Return, for each time, the row that opened its window."""
    starts: list[int] = []
    opener = -1
    for row, moment in enumerate(moments):
        if opener < 0 or moment >= moments[opener] + length:
            opener = row
        starts.append(opener)
    return starts


def takers(step: RateLimit, moments: list[int], row: int, *, queue: bool) -> list[int]:
    """Return the fewest earlier contexts whose tokens explain the outcome of one."""
    went = _released(step, moments[: row + 1], queue=queue)
    takers = [before for before in range(row) if went[before] is not None]

    def same(count: int) -> bool:
        last = takers[len(takers) - count :]
        return bool(_released(step, [moments[r] for r in (*last, row)], queue=queue)[-1] == went[row])

    # the more tokens are taken before, the later it gets its own
    fewest = bisect.bisect_left(range(len(takers)), True, key=same)
    return takers[len(takers) - fewest :]


def _released(step: RateLimit, moments: list[int], *, queue: bool) -> list[Any]:
    """Return when each context gets its token from a bucket that starts full; None if it gets none."""
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
