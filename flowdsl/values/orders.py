"""Orders of integers, and ranges of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flowdsl.values.json_types import Index, Ints

# so many times as long as what is asked for may a table of all numbers be: to search takes as long
_SPARSE: Final = 64


def ranges(starts: Ints, counts: Ints) -> Ints:
    """Return `counts[i]` consecutive integers from each `starts[i]`, concatenated.

    >>> ranges(np.array([3, 10, 7]), np.array([2, 0, 3])).tolist()
    [3, 4, 7, 8, 9]
    """
    ends = np.cumsum(counts)
    numbers: Ints = np.repeat(starts - (ends - counts), counts)
    numbers += np.arange(len(numbers))
    return numbers


def is_everything(index: npt.NDArray[np.integer[Any]], size: int) -> bool:
    """Return True if an index takes each of `size` rows in order.

    >>> is_everything(np.array([0, 1, 2]), 3), is_everything(np.array([0, 2, 1]), 3)
    (True, False)
    """
    if len(index) != size:
        return False
    return not size or bool(index[0] == 0 and index[-1] == size - 1 and (np.diff(index) == 1).all())


def stable_order(keys: Ints) -> Ints:
    """Return the order that sorts keys and keeps equal ones as they were: one sort of (key, position) in
    an integer.

    >>> stable_order(np.array([7, 3, 7, 3])).tolist()
    [1, 3, 0, 2]
    """
    return sort_stably(keys)[1]


def sort_stably(keys: Ints) -> tuple[Ints, Ints]:
    """Return the keys in order, and the order that sorts them and keeps equal ones as they were.

    >>> [array.tolist() for array in sort_stably(np.array([7, 3, 7, 3]))]
    [[3, 3, 7, 7], [1, 3, 0, 2]]
    """
    if not len(keys):
        return keys, np.zeros(0, np.int64)
    bits = int(len(keys) - 1).bit_length()
    low = int(keys.min())
    if (int(keys.max()) - low).bit_length() + bits >= 63:
        order = np.argsort(keys, kind="stable")
        return keys.take(order), order
    packed = keys - low
    packed <<= bits
    packed |= np.arange(len(keys))
    packed.sort()
    return (packed >> bits) + low, packed & ((1 << bits) - 1)


def distinct(numbers: Any) -> npt.NDArray[Any]:
    """Return the different numbers, ascending.

    `np.unique` looks numbers up in a hash table, which takes up to fifty times as long as to sort them.

    >>> distinct([7, 3, 7]).tolist()
    [3, 7]
    """
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def inverse(order: Index) -> Index:
    """Return where each row goes in an order of all rows.

    >>> inverse(np.array([2, 0, 1])).tolist()
    [1, 2, 0]
    """
    if is_everything(order, len(order)):
        return order
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return back


class Places:
    """Places of numbers in keys that ascend: by a table where many are asked for of keys that lie close
    together, so that a few cost little among many keys.

    >>> Places(np.array([3, 5, 5])).of(np.array([5, 4, 9, 3])).tolist()
    [1, -1, -1, 0]
    """

    def __init__(self, keys: Ints) -> None:
        self.keys = keys

    def __len__(self) -> int:
        return len(self.keys)

    def of(self, asked: Ints) -> Ints:
        """Return the first place of each number, -1 where the keys do not have it."""
        keys = self.keys
        if not len(keys):
            return np.full(len(asked), -1, np.int64)
        if int(keys[-1]) - int(keys[0]) > _SPARSE * len(asked):
            at = np.searchsorted(keys, asked)
            return np.where(keys.take(at, mode="clip") == asked, at, -1)
        return self._table.take(asked - (int(keys[0]) - 1), mode="clip").astype(np.int64)

    @cached_property
    def _table(self) -> npt.NDArray[np.int32]:
        keys, size = self.keys, len(self.keys)
        # one more place on either side, for what is outside
        table = np.full(int(keys[-1]) - int(keys[0]) + 3, -1, np.int32)
        # assigned backwards: of equal ones the first place stays
        table[keys[::-1] - (int(keys[0]) - 1)] = np.arange(size - 1, -1, -1, dtype=np.int32)
        return table


def find_places(keys: Ints, asked: Ints) -> Ints:
    """Return the first place of each number in keys that ascend, -1 where they do not have it.

    >>> find_places(np.array([3, 5, 5]), np.array([5, 4, 9, 3])).tolist()
    [1, -1, -1, 0]
    """
    return Places(keys).of(asked)


def lexical_order(*keys: npt.NDArray[Any]) -> Ints | None:
    """Return the order by several keys, the first one first, that keeps equal rows as they are; None where
    they are in order already, as most are.

    >>> lexical_order(np.array([1, 2, 2]), np.array([5, 3, 4])) is None
    True
    >>> lexical_order(np.array([1, 2, 2]), np.array([5, 4, 3])).tolist()
    [0, 2, 1]
    """
    undecided: Any = np.True_
    for key in keys:
        here, before = key[1:], key[:-1]
        if (undecided & (here < before)).any():
            return np.lexsort(keys[::-1])
        undecided = undecided & (here == before)
        if not undecided.any():
            break
    return None


def order_within(first: Ints, order: Callable[[Any], Index | None]) -> Index | None:
    """Return the order of rows by a column and, where that is the same, by others; None where they have it.

    `order` returns that of some rows by all columns, None where they have it. Mostly the first one ascends,
    and only the rows that share a value of it are asked for.

    >>> more = np.array([9, 3, 2, 5])
    >>> order_within(np.array([1, 2, 2, 4]), lambda rows: stable_order(more[rows])).tolist()
    [0, 2, 1, 3]
    """
    same = np.zeros(len(first) + 1, np.bool_)
    np.equal(first[1:], first[:-1], out=same[1:-1])
    if (first[1:] < first[:-1]).any() or 2 * np.count_nonzero(same) > len(first):
        return order(slice(None))
    some = np.flatnonzero(same[1:] | same[:-1])
    found = order(some) if len(some) else None
    if found is None:
        return None
    rows = np.arange(len(first))
    rows[some] = some.take(found)
    return rows
