"""Token buckets counted exactly, in integers, and one that counts in floats as production does.

Time is the log clock in µs. A bucket of `capacity` tokens that refills in `period` counts in units of
1 / capacity µs: a token costs `period` units, and a µs brings `capacity` of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

import numpy as np

from flowdsl.kernels.timers import LAST_MOMENT
from flowdsl.values.json_types import Ints

# a bucket as whole numbers
Figures = list[int]
SAFE = 1 << 61
# contexts that a bucket is first taken through at once, and most of them (as many as stay in the cache)
BLOCK, LARGEST_BLOCK = 1 << 8, 1 << 13
# where the next change is nearer than this, so many contexts are looped over
LOOPED = 1 << 5
# the answer of a queue to a context that would get its token after the last moment there is
NEVER = LAST_MOMENT + 1


@dataclass
class Bucket(ABC):
    """A bucket that answers to contexts one by one."""

    capacity: int
    period: int

    @classmethod
    @abstractmethod
    def fresh(cls, capacity: int, period: int, at: int) -> Self:
        """Return a bucket that has not been used yet: full."""

    @classmethod
    @abstractmethod
    def of(cls, capacity: int, period: int, figures: Figures) -> Self:
        """Return the bucket that has these figures."""

    @abstractmethod
    def figures(self) -> Figures:
        """Return what it is made of again; 64 bits hold each."""

    @abstractmethod
    def take(self, times: list[int]) -> list[int]:
        """Return the answer to each context, at these times, in order."""

    def take_many(self, times: Ints) -> Ints:
        """Return the same as `take`, for so many contexts that arrays are worth it."""
        return np.array(self.take(times.tolist()), np.int64)

    @abstractmethod
    def idle(self, now: int) -> bool:
        """Return True if it is full again, and so no different from a fresh one."""


@dataclass
class DropBucket(Bucket):
    """A bucket whose contexts go on at once or not at all: the units it held when it was last looked at."""

    units: int
    at: int

    @classmethod
    def fresh(cls, capacity: int, period: int, at: int) -> Self:
        return cls(capacity, period, capacity * period, at)

    def take(self, times: list[int]) -> list[int]:
        """For contexts at these times, in order, whether each gets a token (1) or not (0)."""
        capacity, period, units, at = self.capacity, self.period, self.units, self.at
        full = capacity * period
        passed = []
        for time in times:
            units += (time - at) * capacity
            at = time
            if units > full:
                units = full
            if units >= period:
                units -= period
                passed.append(1)
            else:
                passed.append(0)
        self.units, self.at = units, at
        return passed

    def take_many(self, times: Ints) -> Ints:
        """Return the same as `take`, block by block: within one the bucket never is full and loses what it
        would get, or never has too little.
        """
        span = (int(times[-1]) - self.at + 1) * self.capacity
        if span + (len(times) + self.capacity) * self.period >= SAFE:
            return super().take_many(times)
        answers, size, done = [], BLOCK, 0
        while done < len(times):
            block = times[done : done + size]
            passing, left = self._never_full(block)
            if len(passing) < LOOPED:
                passing, left = max((passing, left), self._never_low(block), key=lambda found: len(found[0]))
            if len(passing) < min(LOOPED, len(block)):
                passing = super().take_many(block[:LOOPED])
            else:
                self.units, self.at = int(left[-1]), int(block[len(passing) - 1])
            answers.append(passing)
            done += len(passing)
            size = min(2 * size, LARGEST_BLOCK) if len(passing) == len(block) else BLOCK
        return np.concatenate(answers)

    def _never_full(self, times: Ints) -> tuple[Ints, Ints]:
        """Return the answers up to the first context before which it would be more than full, and the units
        that each leaves.
        """
        gained = self.units + (times - self.at) * self.capacity
        places = np.arange(len(times))
        # of the tokens there are by then as many are taken as contexts came since they ran out last
        taken = places + np.minimum(np.minimum.accumulate(gained // self.period - places), 1)
        passing = np.diff(taken, prepend=0)
        left = gained - taken * self.period
        over = left + passing * self.period > self.capacity * self.period
        end = int(over.argmax()) if over.any() else len(times)
        return passing[:end], left[:end]

    def _never_low(self, times: Ints) -> tuple[Ints, Ints]:
        """Return the answers up to the first context that finds too little, until then all go on, and the
        units that each leaves.
        """
        full, places = self.capacity * self.period, np.arange(len(times))
        since = (times - self.at) * self.capacity - places * self.period
        # when it would be full again but for the contexts of this block, as it is just before each
        latest = np.maximum.accumulate(np.concatenate([[full - self.units], since[:-1]]))
        left = full - self.period - np.maximum(latest - since, 0)
        end = int((left < 0).argmax()) if left.min() < 0 else len(times)
        return np.ones(end, np.int64), left[:end]

    @classmethod
    def of(cls, capacity: int, period: int, figures: Figures) -> Self:
        tokens, rest, at = figures
        return cls(capacity, period, tokens * period + rest, at)

    def figures(self) -> Figures:
        return [*divmod(self.units, self.period), self.at]

    def idle(self, now: int) -> bool:
        return self.units + (now - self.at) * self.capacity >= self.capacity * self.period


@dataclass
class FloatBucket(Bucket):
    """A bucket in 64-bit floats, refilled at each context: the order of its operations is what production
    does.
    """

    tokens: float
    at: int

    @classmethod
    def fresh(cls, capacity: int, period: int, at: int) -> Self:
        return cls(capacity, period, float(capacity), at)

    def take(self, times: list[int]) -> list[int]:
        """For contexts at these times, in order, whether each gets a token (1) or not (0)."""
        most, rate = float(self.capacity), float(self.capacity) / in_seconds(self.period)
        tokens, at = self.tokens, self.at
        passed = []
        for time in times:
            # whole seconds and the rest apart: their sum is rounded once, as the clock of production has it
            tokens += in_seconds(time - at) * rate
            if tokens > most:
                tokens = most
            at = time
            if tokens >= 1.0:
                tokens -= 1.0
                passed.append(1)
            else:
                passed.append(0)
        self.tokens, self.at = tokens, at
        return passed

    @classmethod
    def of(cls, capacity: int, period: int, figures: Figures) -> Self:
        bits, at = figures
        return cls(capacity, period, float(np.int64(bits).view(np.float64)), at)

    def figures(self) -> Figures:
        return [int(np.float64(self.tokens).view(np.int64)), self.at]

    def idle(self, now: int) -> bool:
        return (
            self.tokens + in_seconds(now - self.at) * (self.capacity / in_seconds(self.period))
            >= self.capacity
        )


@dataclass
class QueueBucket(Bucket):
    """A bucket whose contexts all go on, in order, each when there is a token for it, unless that is `NEVER`.

    `empty_until` is when the bucket would be full again, in units: each context moves it a token further,
    from its own time if that is later. A context may go on once no more than all other tokens are missing
    then.
    """

    empty_until: int

    @classmethod
    def fresh(cls, capacity: int, period: int, at: int) -> Self:
        return cls(capacity, period, at * capacity)

    def take(self, times: list[int]) -> list[int]:
        """For contexts at these times, in order, when each gets its token; who gets it `NEVER` takes none."""
        capacity, period, until = self.capacity, self.period, self.empty_until
        spare = (capacity - 1) * period
        moments = []
        for time in times:
            moment = -((spare - until) // capacity)
            if moment < time:
                moment = time
            if moment > LAST_MOMENT:
                moments.append(NEVER)
                continue
            moments.append(moment)
            if moment * capacity > until:
                until = moment * capacity
            until += period
        self.empty_until = until
        return moments

    def take_many(self, times: Ints) -> Ints:
        """Return the same as a running maximum: what a context waits for is the busiest stretch that ends
        with it.
        """
        base = int(times[0])
        span = (int(times[-1]) - base + 1) * self.capacity + (len(times) + self.capacity) * self.period
        if span >= SAFE or self.empty_until - base * self.capacity >= SAFE:
            return super().take_many(times)
        at = (times - base) * self.capacity
        cost = np.arange(len(times)) * self.period
        until = max(self.empty_until - base * self.capacity, -SAFE)
        before = np.maximum.accumulate(np.concatenate([[until], at - cost]))
        # when the bucket would be full again just before each context
        earlier = before[:-1] + cost
        spare = (self.capacity - 1) * self.period
        moments: Ints = base + np.maximum(times - base, -((spare - earlier) // self.capacity))
        # they ascend: behind the first that comes too late all do
        served = int(np.searchsorted(moments, LAST_MOMENT, side="right"))
        moments[served:] = NEVER
        self.empty_until = int(before[served]) + served * self.period + base * self.capacity
        return moments

    @classmethod
    def of(cls, capacity: int, period: int, figures: Figures) -> Self:
        moment, rest = figures
        return cls(capacity, period, moment * capacity + rest)

    def figures(self) -> Figures:
        return [*divmod(self.empty_until, self.capacity)]

    def idle(self, now: int) -> bool:
        return self.empty_until <= now * self.capacity


def in_seconds(microseconds: int) -> float:
    """Return a span as production has it: whole seconds plus nanoseconds ÷ 10⁹, in floats."""
    whole, rest = divmod(microseconds, 1_000_000)
    return float(whole) + rest * 1_000 / 1_000_000_000
