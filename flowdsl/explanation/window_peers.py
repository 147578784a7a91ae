"""Contexts that share a window or a limit with another one."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.flow.plan import CompiledStep
from flowdsl.kernels.batch_run import incoming
from flowdsl.kernels.kernel import split_keyed
from flowdsl.kernels.keys import KeySpace
from flowdsl.kernels.outcome import StepOutcome
from flowdsl.kernels.window_rule import RuleReach, RuleSpans
from flowdsl.kernels.windows import Groups, Windows
from flowdsl.operators.base import Operator
from flowdsl.operators.batch import Batch
from flowdsl.operators.rate_limit import RateLimit
from flowdsl.rules import Rules
from flowdsl.values.json_types import Index, Ints
from flowdsl.values.orders import distinct, ranges


@dataclass(frozen=True)
class Beside:
    """Contexts with one key at a step, in order: events (`seqs`), clock times in µs (`moments`), and the
    positions of the explained event (`own`).

    For a batch, `openers` has for each context the position of the one that opened its window.
    """

    seqs: list[int]
    moments: list[int]
    own: list[int]
    openers: list[int]


@dataclass
class Arrivals:
    """The contexts that entered a step, in order: event, key and log clock (µs) of each, and the branches of
    one event. For a batch also what closes the windows.
    """

    number: int
    step: Operator
    space: KeySpace | None
    watched: int
    timers: bool
    parts: list[tuple[Ints, Ints, Ints]] = field(default_factory=list)
    spans: list[RuleSpans] = field(default_factory=list)
    own: list[tuple[int, ...]] = field(default_factory=list)

    @classmethod
    def at(cls, stage: CompiledStep, rules: Rules, watched: int) -> Arrivals:
        """Build an empty record for a step."""
        space = KeySpace.of(sorted(stage.operator.key_paths), rules)
        return cls(stage.number, stage.operator, space, watched, rules.timers)

    def add(self, contexts: ContextBatch) -> None:
        """Add contexts; those that fail, without a key for one, are left out."""
        if isinstance(self.step, Batch) and self.timers and self.space is not None:
            came, _ = incoming(self.step.kernel_options, self.space, contexts)
            contexts, keys = came.contexts, came.keys
            self.spans.append(came.spans)
        else:
            contexts, keys, _ = split_keyed(self.space, contexts)
        seq, moments = contexts.seq.copy(), contexts.moment.copy()
        mine = np.flatnonzero(seq == self.watched).tolist()
        self.own += [tuple(int(level[row]) for level in contexts.branches) for row in mine]
        self.parts.append((seq, keys, moments))

    def settle(self) -> None:
        """Concatenate the parts."""
        columns: list[Ints] = [np.concatenate(c) for c in zip(*self.parts, strict=True)] if self.parts else []
        self.seq, self.keys, self.moments = columns or [np.zeros(0, np.int64)] * 3
        self._openers = self._opened_by() if self.spans else None

    def _opened_by(self) -> Ints:
        """Return the row of the context that opened the window of each."""
        spans = self.spans[0]
        for later in self.spans[1:]:
            spans = spans.concat(later)
        order = np.argsort(self.moments, kind="stable")
        groups = Groups.of(self.keys[order], self.moments[order])
        reach = RuleReach(groups, spans.take(order[groups.order]))
        found = Windows.find(groups, groups.starts.copy(), reach)
        rows, counts = order[groups.order], found.end - found.first
        openers = np.empty(len(rows), np.int64)
        openers[rows[ranges(found.first, counts)]] = np.repeat(rows[found.first], counts)
        return openers

    def beside_branch(self, branch: tuple[int, ...]) -> Beside | None:
        """Return all contexts with the key of one branch of the event."""
        if branch not in self.own:
            return None
        row = int(np.flatnonzero(self.seq == self.watched)[self.own.index(branch)])
        rows = self._rows_of(self.keys[row])
        return self._beside(rows, np.flatnonzero(rows == row))

    def beside(self, seq_no: int) -> Iterable[Beside]:
        """Yield all contexts with the same key, for each key of an event."""
        for key in distinct(self.keys[self.seq == seq_no]):
            rows = self._rows_of(key)
            yield self._beside(rows, np.flatnonzero(self.seq[rows] == seq_no))

    def _rows_of(self, key: np.int64) -> Index:
        rows = np.flatnonzero(self.keys == key)
        return rows[np.argsort(self.moments[rows], kind="stable")]

    def _beside(self, rows: Index, own: Index) -> Beside:
        openers = []
        if self._openers is not None:
            place = {row: place for place, row in enumerate(rows.tolist())}
            openers = [place[row] for row in self._openers[rows].tolist()]
        return Beside(self.seq[rows].tolist(), self.moments[rows].tolist(), own.tolist(), openers)


class WindowPeers:
    """Trace reader that collects the contexts that entered the steps with state, and marks those of one
    event.
    """

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

    def beside(self, step: CompiledStep, branch: tuple[int, ...]) -> Beside | None:
        """Return the contexts that shared a key with a branch at a step."""
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
    """Return as few earlier contexts as possible whose tokens explain the outcome of a context."""
    went = _release_times(step, moments[: row + 1], queue=queue)
    takers = [before for before in range(row) if went[before] is not None]

    def same(count: int) -> bool:
        last = takers[len(takers) - count :]
        return bool(_release_times(step, [moments[r] for r in (*last, row)], queue=queue)[-1] == went[row])

    # the more tokens were taken before, the later the context gets its own
    fewest = bisect.bisect_left(range(len(takers)), True, key=same)
    return takers[len(takers) - fewest :]


def _release_times(step: RateLimit, moments: list[int], *, queue: bool) -> list[Any]:
    """Return the time at which each context gets a token from a bucket that starts full, or None."""
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
