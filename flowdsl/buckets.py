"""Token buckets counted exactly, in integers: one token is as many units as the period has microseconds.

A bucket of `capacity` tokens refills `capacity` units each microsecond. Times are the log clock in µs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass
class Bucket:
    """One bucket: its units when it was last looked at. `period` is more than 0."""

    capacity: int
    period: int
    units: int
    at: int

    @classmethod
    def full(cls, capacity: int, period: int, at: int) -> Bucket:
        """A bucket that has not been used yet."""
        return cls(capacity, period, capacity * period, at)

    def passing(self, times: list[int]) -> list[bool]:
        """For contexts at these times, in order, whether each gets a token at once."""
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
                passed.append(True)
            else:
                passed.append(False)
        self.units, self.at = units, at
        return passed

    def released(self, times: list[int]) -> list[int]:
        """For contexts at these times, in order, when each gets its token; a token is taken for each."""
        capacity, period, units, at = self.capacity, self.period, self.units, self.at
        full = capacity * period
        moments = []
        for time in times:
            # `at` may lie ahead: it is when the last one that waits gets its token
            if time > at:
                units = min(full, units + (time - at) * capacity)
                at = time
            if units < period:
                wait = -(-(period - units) // capacity)
                units = min(full, units + wait * capacity)
                at += wait
            units -= period
            moments.append(at)
        self.units, self.at = units, at
        return moments


@dataclass
class Buckets:
    """A bucket for each key, made when the key is first seen."""

    capacity: int
    period: int
    _by_key: dict[int, Bucket] = field(default_factory=dict)

    def fork(self) -> Buckets:
        """A copy that can go its own way."""
        copies = {k: Bucket(b.capacity, b.period, b.units, b.at) for k, b in self._by_key.items()}
        return Buckets(self.capacity, self.period, copies)

    def passing(self, keys: Ints, times: Ints) -> npt.NDArray[np.bool_]:
        """Whether each context gets a token at once."""
        return np.array(self._each(keys, times, Bucket.passing), np.bool_)

    def released(self, keys: Ints, times: Ints) -> Ints:
        """When each context gets its token."""
        return np.array(self._each(keys, times, Bucket.released), np.int64)

    def _each(self, keys: Ints, times: Ints, ask: object) -> list[int]:
        if not len(keys):
            return []
        order = np.argsort(keys, kind="stable")
        sorted_keys, sorted_times = keys[order], times[order]
        starts = np.flatnonzero(np.concatenate([[True], sorted_keys[1:] != sorted_keys[:-1]])).tolist()
        ends = [*islice(starts, 1, None), len(keys)]
        answers: list[int] = []
        listed = sorted_times.tolist()
        for key, start, end in zip(sorted_keys[starts].tolist(), starts, ends, strict=True):
            bucket = self._by_key.get(key)
            if bucket is None:
                bucket = self._by_key[key] = Bucket.full(self.capacity, self.period, listed[start])
            answers += ask(bucket, listed[start:end])  # type: ignore[operator]
        result = np.empty(len(keys), np.int64)
        result[order] = answers
        return result.tolist()

    def forget_full(self, now: int) -> None:
        """Drop buckets that are full again by `now`: a new one would be the same."""
        full = self.capacity * self.period
        for key in [
            k
            for k, b in self._by_key.items()
            if b.at <= now and b.units + (now - b.at) * self.capacity >= full
        ]:
            del self._by_key[key]
