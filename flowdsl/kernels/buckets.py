"""The token buckets of all keys of a step."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowdsl.kernels.bucket_rows import BucketRows, DropRows, FloatRows, QueueRows
from flowdsl.kernels.key_memory import KeyLists, KeyMemory
from flowdsl.kernels.token_buckets import Bucket, DropBucket, FloatBucket, QueueBucket
from flowdsl.values.json_types import Ints, Mask
from flowdsl.values.orders import distinct, stable_order
from flowdsl.values.state_fields import ChoiceField, ObjectField
from flowdsl.values.state_objects import StateObject, StateReader, keeps

# fewer contexts of a key than this are looped over: arrays would cost more to set up
ARRAYS_FROM = 64
# of fewer keys than this one context each is not taken at once
TOGETHER = 16


# of each kind the one for several keys, and how many figures a bucket has
_ROWS: dict[type[Bucket], tuple[type[BucketRows], int]] = {
    DropBucket: (DropRows, 3),
    FloatBucket: (FloatRows, 2),
    QueueBucket: (QueueRows, 2),
}


class Buckets(StateObject):
    """A bucket for each key, made when the key is first seen, and forgotten when it is full again.

    Of many keys one context each is taken at once. Of one with many contexts these are.
    """

    saved = keeps(kind=ChoiceField({kind.__name__: kind for kind in _ROWS}), _memory=ObjectField(KeyMemory))

    def __init__(
        self, kind: type[Bucket], capacity: int, period: int, memory: KeyMemory | None = None
    ) -> None:
        self.kind, self.capacity, self.period = kind, capacity, period
        self._memory = memory or KeyMemory()

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> Buckets:
        kind, memory = fields["kind"], fields["_memory"]
        width = _ROWS[kind][1]
        source.check(all((table.lengths == width).all() for table in memory.tables), "not buckets")
        return cls(kind, 0, 0, memory)

    def goes_on_for(self, step: Buckets, source: StateReader) -> Buckets:
        """Return the same buckets, as large as a step's own."""
        source.check(self.kind is step.kind, f"not a {step.kind.__name__}")
        self.capacity, self.period = step.capacity, step.period
        return self

    def fork(self) -> Buckets:
        """Return an independent copy."""
        return Buckets(self.kind, self.capacity, self.period, self._memory.fork())

    def keys_held(self) -> Ints:
        """Return the keys that have a bucket."""
        keys: Ints = distinct(np.concatenate([table.keys for table in self._memory.tables]))
        return keys

    def used(self, now: int) -> int:
        """Return how many of them differ from a fresh one."""
        _, values = self._memory.find(self.keys_held())
        return int(np.count_nonzero(~self._idle_one_by_one(self._table(values), now)))

    def take(self, keys: Ints, times: Ints) -> Ints:
        """Return what `take` of its bucket says of each context; times ascend."""
        if not len(keys):
            return np.empty(0, np.int64)
        now = int(times[-1])
        order = None if (keys[1:] == keys[:-1]).all() else stable_order(keys)
        starts = np.zeros(1, np.int64)
        if order is not None:
            keys, times = keys[order], times[order]
            starts = np.append(starts, np.flatnonzero(keys[1:] != keys[:-1]) + 1)
        mine = keys[starts]
        figures = self._figures(mine, times[starts])
        answers = self._answers(figures, times, starts, np.diff(starts, append=len(keys)))
        ends = np.arange(1, len(mine) + 1) * figures.shape[1]
        fresh = KeyLists(mine, ends, figures.ravel())
        self._memory.remember(fresh, lambda lists: self._in_use(lists.values, now))
        if order is None:
            return answers
        result = np.empty(len(keys), np.int64)
        result[order] = answers
        return result

    def _table(self, values: Ints) -> Ints:
        return values.reshape(-1, _ROWS[self.kind][1])

    def _figures(self, keys: Ints, first: Ints) -> Ints:
        """Return a row of figures for each key, which ascend; those not seen yet are full at `first`."""
        lengths, values = self._memory.find(keys)
        there = lengths > 0
        figures = np.empty((len(keys), _ROWS[self.kind][1]), np.int64)
        figures[there] = self._table(values)
        new = np.flatnonzero(~there)
        if len(new):
            one = self.kind.fresh(self.capacity, self.period, 0).figures()
            figures[new] = one
            # what says when it is, or was looked at
            figures[new, 0 if self.kind is QueueBucket else -1] = first[new]
        return figures

    def _answers(self, figures: Ints, times: Ints, starts: Ints, sizes: Ints) -> Ints:
        """Return the answers to contexts sorted by key, of which each has some from `starts` on; `figures`
        become what they leave.
        """
        answers = np.empty(len(times), np.int64)
        done = np.zeros(len(starts), np.int64)
        few = np.flatnonzero(sizes < ARRAYS_FROM)
        if len(few) >= TOGETHER:
            self._take_together(figures, times, starts, sizes, few, answers, done)
        for key in np.flatnonzero(done < sizes).tolist():
            bucket = self.kind.of(self.capacity, self.period, figures[key].tolist())
            here = slice(int(starts[key] + done[key]), int(starts[key] + sizes[key]))
            some = times[here]
            many = len(some) >= ARRAYS_FROM
            answers[here] = bucket.take_many(some) if many else bucket.take(some.tolist())
            figures[key] = bucket.figures()
        return answers

    def _take_together(
        self, figures: Ints, times: Ints, starts: Ints, sizes: Ints, few: Ints, answers: Ints, done: Ints
    ) -> None:
        """Take one context of each of these keys at once, then the next of each, as long as enough keys have
        one.
        """
        few = few[np.argsort(-sizes[few], kind="stable")]
        begins, left = starts[few], sizes[few]
        most = int(left[0])
        rows = _ROWS[self.kind][0](self.capacity, self.period, figures[few])
        if not rows.fit(times, most):
            return
        for number in range(most):
            keys = int(np.searchsorted(-left, -number, side="left"))
            if keys < TOGETHER:
                break
            at = begins[:keys] + number
            answers[at] = rows.take(times[at])
            done[few[:keys]] = number + 1
        figures[few] = rows.figures()

    def _in_use(self, values: Ints, now: int) -> Mask:
        return np.repeat(~self._idle(self._table(values), now), _ROWS[self.kind][1])

    def _idle(self, table: Ints, now: int) -> Mask:
        if not len(table):
            return np.zeros(0, np.bool_)
        rows = _ROWS[self.kind][0](self.capacity, self.period, table)
        return rows.idle(now) if rows.fit(np.array([now]), 1) else self._idle_one_by_one(table, now)

    def _idle_one_by_one(self, table: Ints, now: int) -> Mask:
        buckets = (self.kind.of(self.capacity, self.period, figures) for figures in table.tolist())
        return np.array([bucket.idle(now) for bucket in buckets], np.bool_)
