"""Token buckets of many keys side by side: one context of each is answered at once, as each bucket would."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from flowdsl.kernels.timers import LAST_MOMENT
from flowdsl.kernels.token_buckets import NEVER, SAFE, in_seconds
from flowdsl.values.json_types import Floats, Ints, Mask


class BucketRows(Protocol):
    """Buckets of several keys side by side, made of a row of figures each."""

    def __init__(self, capacity: int, period: int, figures: Ints) -> None: ...

    def fit(self, times: Ints, most: int) -> bool:
        """Return True if 64 bits hold all that is counted for so many contexts of a key."""
        ...

    def take(self, times: Ints) -> Ints:
        """Return the answer to a context of each of the first keys, at these times."""
        ...

    def figures(self) -> Ints: ...

    def idle(self, now: int) -> Mask: ...


class DropRows:
    """Buckets of several keys like `DropBucket`."""

    def __init__(self, capacity: int, period: int, figures: Ints) -> None:
        self._capacity, self._period = capacity, period
        self._full = capacity * period
        tokens, rest, self._at = figures.T.copy()
        self._units = tokens * period + rest

    def fit(self, times: Ints, most: int) -> bool:
        return self._full < SAFE

    def take(self, times: Ints) -> Ints:
        size = len(times)
        units = self._refill(times)
        passing = (units >= self._period).astype(np.int64)
        self._units[:size] = units - passing * self._period
        self._at[:size] = times
        return passing

    def _refill(self, times: Ints | int) -> Ints:
        size = len(times) if isinstance(times, np.ndarray) else len(self._at)
        # after a period it is full in any case
        gained = np.minimum(times - self._at[:size], self._period) * self._capacity
        units: Ints = np.minimum(self._units[:size] + gained, self._full)
        return units

    def figures(self) -> Ints:
        return np.stack([*np.divmod(self._units, self._period), self._at], axis=1)

    def idle(self, now: int) -> Mask:
        full: Mask = self._refill(now) >= self._full
        return full


class FloatRows:
    """Buckets of several keys like `FloatBucket`."""

    def __init__(self, capacity: int, period: int, figures: Ints) -> None:
        self._most, self._rate = float(capacity), float(capacity) / in_seconds(period)
        bits, self._at = figures.T.copy()
        self._tokens = bits.view(np.float64)

    def fit(self, times: Ints, most: int) -> bool:
        return True

    def take(self, times: Ints) -> Ints:
        size = len(times)
        tokens = np.minimum(self._tokens[:size] + self._gain(times - self._at[:size]), self._most)
        passing: Ints = (tokens >= 1.0).astype(np.int64)
        self._tokens[:size] = tokens - passing
        self._at[:size] = times
        return passing

    def _gain(self, spans: Ints) -> Floats:
        whole, rest = np.divmod(spans, 1_000_000)
        gained: Floats = (whole + rest * 1_000 / 1_000_000_000) * self._rate
        return gained

    def figures(self) -> Ints:
        return np.stack([self._tokens.view(np.int64), self._at], axis=1)

    def idle(self, now: int) -> Mask:
        # a bit more than full: what the bucket was before its last contexts, which may come to light when it
        # is forgotten, is full as well then, whatever was rounded
        full: Mask = self._tokens + self._gain(now - self._at) >= self._most * (1 + 1e-9)
        return full


class QueueRows:
    """Buckets of several keys like `QueueBucket`."""

    def __init__(self, capacity: int, period: int, figures: Ints) -> None:
        self._capacity, self._period = capacity, period
        self._moments, self._rest = figures.T.copy()

    def fit(self, times: Ints, most: int) -> bool:
        ahead = max(int(self._moments.max()) - int(times.min()), 0) + 1
        return ahead * self._capacity + (most + self._capacity) * self._period < SAFE

    def take(self, times: Ints) -> Ints:
        size, capacity = len(times), self._capacity
        moments, rest = self._moments[:size], self._rest[:size]
        # how far the bucket is from full, in units; what is past does not matter
        lacking = np.maximum((moments - times).clip(-1) * capacity + rest, 0)
        wait = np.maximum(-(((capacity - 1) * self._period - lacking) // capacity), 0)
        answers = times + wait
        more, left = np.divmod(np.maximum(lacking, wait * capacity) + self._period, capacity)
        served = answers <= LAST_MOMENT
        self._moments[:size] = np.where(served, times + more, moments)
        self._rest[:size] = np.where(served, left, rest)
        return np.where(served, answers, NEVER)

    def figures(self) -> Ints:
        return np.stack([self._moments, self._rest], axis=1)

    def idle(self, now: int) -> Mask:
        full: Mask = (self._moments < now) | ((self._moments == now) & (self._rest == 0))
        return full
