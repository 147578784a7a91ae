"""Windows, limits and queues over spans and numbers of keys that together leave 64 bits, against plain loops."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
from oracle.values import LAST_MOMENT

from flowdsl.kernels.buckets import Buckets
from flowdsl.kernels.token_buckets import NEVER, DropBucket, QueueBucket
from flowdsl.kernels.windows import FixedReach, Groups, Windows

_BEGIN = -62_135_596_800_000_000
_BATCHES = 40


def check(rng: random.Random) -> int:
    """Try some batches of keys and times; how many."""
    for _ in range(_BATCHES):
        keys, times = _batch(rng)
        _check_windows(rng, keys, times)
        _check_buckets(rng, keys, times)
    return _BATCHES


def _batch(rng: random.Random) -> tuple[list[int], list[int]]:
    size = rng.choice([1, 2, 5, 40, 200])
    distinct = rng.choice([1, 3, size, 10 * size])
    start = rng.choice([_BEGIN, 0, 1_767_225_600_000_000, LAST_MOMENT - 1000])
    end = rng.choice([start, start + 50, start + 10**12, LAST_MOMENT])
    times = sorted(rng.randint(min(start, end), min(end, LAST_MOMENT)) for _ in range(size))
    # keys as the spaces of keys give them: close together, or anywhere in 33 bits
    scale = rng.choice([1, 1 << 20])
    return [rng.randrange(distinct) * scale for _ in range(size)], times


def _check_windows(rng: random.Random, keys: list[int], times: list[int]) -> None:
    window = rng.choice([0, 1, 1000, 3_600_000_000, 10_000 * 365 * 86_400_000_000])
    gap = rng.choice([0, 1])
    groups = Groups.of(np.array(keys), np.array(times))
    found = Windows.find(groups, groups.starts.copy(), FixedReach(groups, window), gap=gap)
    rows = sorted(
        tuple(groups.order[first:end].tolist())
        for first, end in zip(found.first.tolist(), found.end.tolist(), strict=True)
    )
    assert rows == sorted(_plain_windows(keys, times, window, gap)), (keys, times, window, gap)


def _plain_windows(keys: list[int], times: list[int], window: int, gap: int) -> list[tuple[int, ...]]:
    open_: dict[int, list[int]] = {}
    skipped: dict[int, int] = {}
    closed: list[tuple[int, ...]] = []
    for row, (key, time) in enumerate(zip(keys, times, strict=True)):
        members = open_.get(key)
        if members is not None and time >= times[members[0]] + window:
            closed.append(tuple(open_.pop(key)))
            skipped[key] = gap
            members = None
        if members is not None:
            members.append(row)
        elif skipped.get(key):
            skipped[key] -= 1
        else:
            open_[key] = [row]
    return [*closed, *map(tuple, open_.values())]


def _check_buckets(rng: random.Random, keys: list[int], times: list[int]) -> None:
    capacity = rng.choice([1, 2, 7, 1000, 2**40])
    period = rng.choice([1, 1000, 86_400_000_000, 10_000 * 365 * 86_400_000_000])
    drop, queue = (Buckets(kind, capacity, period) for kind in (DropBucket, QueueBucket))
    cut = rng.randrange(len(keys) + 1)
    for kind, plain in ((drop, _plain_drop), (queue, _plain_queue)):
        answers = [
            answer
            for part in (slice(0, cut), slice(cut, None))
            for answer in kind.take(np.array(keys[part], np.int64), np.array(times[part], np.int64)).tolist()
        ]
        assert answers == plain(keys, times, capacity, period), (keys, times, capacity, period, kind)


def _plain_drop(keys: list[int], times: list[int], capacity: int, period: int) -> list[int]:
    tokens: dict[int, tuple[Fraction, int]] = {}
    passed = []
    for key, time in zip(keys, times, strict=True):
        held, at = tokens.get(key, (Fraction(capacity), time))
        held = min(Fraction(capacity), held + Fraction((time - at) * capacity, period))
        passed.append(int(held >= 1))
        tokens[key] = held - passed[-1], time
    return passed


def _plain_queue(keys: list[int], times: list[int], capacity: int, period: int) -> list[int]:
    # tokens below zero are those that others in the queue wait for
    tokens: dict[int, tuple[Fraction, int]] = {}
    moments = []
    for key, time in zip(keys, times, strict=True):
        held, at = tokens.get(key, (Fraction(capacity), time))
        held = min(Fraction(capacity), held + Fraction((time - at) * capacity, period))
        wait = (1 - held) * period / capacity
        moment = time + max(0, -(-wait.numerator // wait.denominator))
        moments.append(min(moment, NEVER))
        tokens[key] = (held - 1 if moment <= LAST_MOMENT else held), time
    return moments
