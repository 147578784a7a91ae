"""Token buckets counted exactly, in integers, and one that counts in floats as production does.

Time is the log clock in µs. A bucket of `capacity` tokens that refills in `period` counts in units of
1 / capacity µs: a token costs `period` units, and a µs brings `capacity` of them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from flowdsl.kernels.timers import LAST_MOMENT
from flowdsl.values.orders import stable_order
from flowdsl.values.state_fields import INTS, MOST, ChoiceField, ListField, NumbersField, WholeField
from flowdsl.values.state_objects import StateObject, StateReader, keeps

Ints = npt.NDArray[np.int64]
# fewer contexts of a key than this are looped over: arrays would cost more to set up
ARRAYS_FROM = 64
SAFE = 1 << 61
# contexts that a bucket is first taken through at once, and most of them
BLOCK, LARGEST_BLOCK = 1 << 8, 1 << 16
# where the next change is nearer than this, so many contexts are looped over
LOOPED = 1 << 5
# the answer of a queue to a context that would get its token after the last moment there is
NEVER = LAST_MOMENT + 1
# so few keys are not worth being gone through
SWEPT_FROM = 64
# keys that are gone through for each context that comes, once it is time
SWEPT_EACH = 4


class _Bucket:
    """A bucket that answers to contexts one by one."""

    def take(self, times: list[int]) -> list[int]:
        """Return the answer to each context, at these times, in order."""
        raise NotImplementedError

    def take_many(self, times: Ints) -> Ints:
        """Return the same as `take`, for so many contexts that arrays are worth it."""
        return np.array(self.take(times.tolist()), np.int64)


@dataclass
class DropBucket(_Bucket):
    """A bucket whose contexts go on at once or not at all: the units it held when it was last looked at."""

    capacity: int
    period: int
    units: int
    at: int

    @classmethod
    def fresh(cls, capacity: int, period: int, at: int) -> DropBucket:
        """Return a bucket that has not been used yet: full."""
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
            passing = self._never_full(block)
            if len(passing) < len(block):
                other = self._never_low(block) if len(passing) < LOOPED else passing
                passing = other if len(other) > len(passing) else passing
            if len(passing) < min(LOOPED, len(block)):
                passing = super().take_many(block[:LOOPED])
            else:
                self._go_on(block[: len(passing)], passing)
            answers.append(passing)
            done += len(passing)
            size = min(2 * size, LARGEST_BLOCK) if len(passing) == len(block) else BLOCK
        return np.concatenate(answers)

    def _never_full(self, times: Ints) -> Ints:
        """Return the answers up to the first context before which it would be more than full."""
        gained = self.units + (times - self.at) * self.capacity
        places = np.arange(len(times))
        # of the tokens there are by then as many are taken as contexts came since they ran out last
        taken = np.minimum(places + 1, places + np.minimum.accumulate(gained // self.period - places))
        before = np.concatenate([[0], taken[:-1]])
        over = gained - before * self.period > self.capacity * self.period
        passing: Ints = taken - before
        return passing[: int(over.argmax())] if over.any() else passing

    def _never_low(self, times: Ints) -> Ints:
        """Return the answers up to the first context that finds too little: until then all go on."""
        full, places = self.capacity * self.period, np.arange(len(times))
        since = (times - self.at) * self.capacity - places * self.period
        # when it would be full again but for the contexts of this block, as it is just before each
        latest = np.maximum.accumulate(np.concatenate([[full - self.units], since[:-1]]))
        low = full - np.maximum(latest - since, 0) < self.period
        return np.ones(int(low.argmax()) if low.any() else len(times), np.int64)

    def _go_on(self, times: Ints, passing: Ints) -> None:
        """Have the units that these answers leave."""
        full, gained = self.capacity * self.period, (times - self.at) * self.capacity
        taken = np.cumsum(passing) * self.period
        # what it would have held more than it can, at the most, is lost
        lost = max(int((self.units + gained - taken + passing * self.period).max()) - full, 0)
        self.units += int(gained[-1]) - int(taken[-1]) - lost
        self.at = int(times[-1])

    def idle(self, now: int) -> bool:
        """Return True if it is full again, and so no different from a fresh one."""
        return self.units + (now - self.at) * self.capacity >= self.capacity * self.period


@dataclass
class FloatBucket(_Bucket):
    """A bucket in 64-bit floats, refilled at each context: the order of its operations is what production
    does.
    """

    capacity: int
    period: int
    tokens: float
    at: int

    @classmethod
    def fresh(cls, capacity: int, period: int, at: int) -> FloatBucket:
        """Return a bucket that has not been used yet: full."""
        return cls(capacity, period, float(capacity), at)

    def take(self, times: list[int]) -> list[int]:
        """For contexts at these times, in order, whether each gets a token (1) or not (0)."""
        most, rate = float(self.capacity), float(self.capacity) / _seconds(self.period)
        tokens, at = self.tokens, self.at
        passed = []
        for time in times:
            # whole seconds and the rest apart: their sum is rounded once, as the clock of production has it
            tokens += _seconds(time - at) * rate
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

    def idle(self, now: int) -> bool:
        """Return True if it is full again, and so no different from a fresh one."""
        return (
            self.tokens + _seconds(now - self.at) * (self.capacity / _seconds(self.period)) >= self.capacity
        )


@dataclass
class QueueBucket(_Bucket):
    """A bucket whose contexts all go on, in order, each when there is a token for it, unless that is `NEVER`.

    `empty_until` is when the bucket would be full again, in units: each context moves it a token further,
    from its own time if that is later. A context may go on once no more than all other tokens are missing
    then.
    """

    capacity: int
    period: int
    empty_until: int

    @classmethod
    def fresh(cls, capacity: int, period: int, at: int) -> QueueBucket:
        """Return a bucket that has not been used yet: full."""
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

    def idle(self, now: int) -> bool:
        """Return True if it is full again, and so no different from a fresh one."""
        return self.empty_until <= now * self.capacity


def _seconds(microseconds: int) -> float:
    """Return a span as production has it: whole seconds plus nanoseconds ÷ 10⁹, in floats."""
    whole, rest = divmod(microseconds, 1_000_000)
    return float(whole) + rest * 1_000 / 1_000_000_000


class Bucket(Protocol):
    """Methods of both kinds of buckets."""

    @classmethod
    def fresh(cls, capacity: int, period: int, at: int) -> Self: ...

    def take(self, times: list[int]) -> list[int]: ...

    def take_many(self, times: Ints) -> Ints: ...

    def idle(self, now: int) -> bool: ...


@dataclass
class Buckets(StateObject):
    """A bucket for each key, made when the key is first seen."""

    # of a bucket what differs from key to key: its figures after capacity and period
    saved = keeps(
        kind=ChoiceField({kind.__name__: kind for kind in (DropBucket, FloatBucket, QueueBucket)}),
        keys=INTS,
        figures=ListField(NumbersField()),
        _swept=WholeField(0, MOST),
    )

    kind: type[Bucket]
    capacity: int
    period: int
    _by_key: dict[int, Bucket] = field(default_factory=dict)
    # how many keys were left the last time, and those that are still to be gone through this time
    _swept: int = 0
    _left: list[int] = field(default_factory=list)

    def to_fields(self) -> dict[str, Any]:
        figures = [list(vars(bucket).values())[2:] for bucket in self._by_key.values()]
        keys = np.fromiter(self._by_key, np.int64, len(self._by_key))
        return {
            "kind": self.kind,
            "keys": keys,
            "figures": list(zip(*figures, strict=True)),
            "_swept": self._swept,
        }

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> Buckets:
        kind, keys, figures = fields["kind"], fields["keys"], fields["figures"]
        source.agree(keys=len(keys), **{f"figures {n}": len(column) for n, column in enumerate(figures)})
        whole = kind is not FloatBucket
        # a bucket of floats has whole moments
        floats = [isinstance(column[0], float) for column in figures]
        source.check(
            not figures
            or floats == ([False] * (len(dataclasses.fields(kind)) - 2) if whole else [True, False]),
            "not buckets",
        )
        by_key = dict(
            zip(keys.tolist(), (kind(0, 0, *row) for row in zip(*figures, strict=True)), strict=True)
        )
        source.check(len(by_key) == len(keys), "with a key twice")
        return cls(kind, 0, 0, by_key, fields["_swept"])

    def goes_on_for(self, step: Buckets, source: StateReader) -> Buckets:
        """Return the same buckets, as large as a step's own."""
        source.check(self.kind is step.kind, f"not a {step.kind.__name__}")
        for bucket in self._by_key.values():
            vars(bucket).update(capacity=step.capacity, period=step.period)
        self.capacity, self.period = step.capacity, step.period
        return self

    def fork(self) -> Buckets:
        """Return a copy that can go its own way."""
        copies = {key: replace(bucket) for key, bucket in self._by_key.items()}  # type: ignore[type-var]
        return Buckets(self.kind, self.capacity, self.period, copies, self._swept)

    def keys_held(self) -> list[int]:
        """Return the keys that have a bucket."""
        return list(self._by_key)

    def used(self, now: int) -> int:
        """Return how many of them differ from a fresh one."""
        return sum(not bucket.idle(now) for bucket in self._by_key.values())

    def take(self, keys: Ints, times: Ints) -> Ints:
        """Return what `take` of its bucket says of each context; times ascend."""
        result = np.empty(len(keys), np.int64)
        if not len(keys):
            return result
        now = int(times[-1])
        order = None if (keys[1:] == keys[:-1]).all() else stable_order(keys)
        if order is not None:
            keys, times = keys[order], times[order]
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        sizes = np.diff(starts, append=len(keys))
        answers = np.empty(len(keys), np.int64)
        few: list[int] = []
        many = np.repeat(sizes >= ARRAYS_FROM, sizes)
        listed = times.tolist() if not many.all() else []
        for key, start, size in zip(keys[starts].tolist(), starts.tolist(), sizes.tolist(), strict=True):
            bucket = self._by_key.get(key)
            if bucket is None:
                fresh = self.kind.fresh(self.capacity, self.period, int(times[start]))
                bucket = self._by_key[key] = fresh
            if size >= ARRAYS_FROM:
                answers[start : start + size] = bucket.take_many(times[start : start + size])
            else:
                few += bucket.take(listed[start : start + size])
        answers[~many] = few
        if order is None:
            result = answers
        else:
            result[order] = answers
        self._forget_idle(now, SWEPT_EACH * max(len(keys), SWEPT_FROM))
        return result

    def _forget_idle(self, now: int, most: int) -> None:
        # a batch may be a single event: keys are gone through only once they are twice as many, and some at a
        # time
        if not self._left:
            if len(self._by_key) < 2 * self._swept:
                return
            self._left = list(self._by_key)
        some = self._left[-most:]
        del self._left[-most:]
        for key in some:
            if self._by_key[key].idle(now):
                del self._by_key[key]
        if not self._left:
            self._swept = max(len(self._by_key), SWEPT_FROM)
