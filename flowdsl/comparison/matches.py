"""Matching of the deliveries of two runs.

A delivery is identified by the event it comes from (of a window the event that opened it, since runs may
close the window at different events), its place among the deliver steps of the flow, its recipient and its
payload. Deliveries with all of these in common are paired first, then those that differ in more and more of
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np
import polars as pl

from flowdsl.comparison.counterparts import Counterparts, sides_of
from flowdsl.comparison.members import with_most_in_common
from flowdsl.progress import Tick, noop, run_in_background
from flowdsl.values.interner import Hashes, hashes, pair_hash
from flowdsl.values.json_types import Ints

CHANGES: Final = ("added", "removed", "readdressed", "changed", "moved")
"""The changes of a delivery: new, gone, to another recipient, with another payload, at another time.

The first that applies counts."""
SAME: Final = "same"
CHANGE: Final = pl.Enum([*CHANGES, SAME])
# columns in which the deliveries of a pair agree, in the order of search
_COMMON: Final = (
    ("origin", "place", "recipient_id", "payload"),
    ("origin", "place", "recipient_id"),
    ("origin", "place", "branch"),
)
# a window that another event opened is identified by its last member
_COMMON_IN_LAST: Final = tuple(("last", *columns[1:]) for columns in _COMMON)
# deliveries from windows that share members
_COMMON_IN_MEMBERS: Final = (("place", "recipient_id"), ("place", "branch"))
# only if windows or queues move deliveries: otherwise it is another event with the same content
_COMMON_IN_TIME: Final = ("place", "recipient_id", "payload")
SIDE: Final = ("seq_no", "delivered_at", "branch", "recipient_id", "payload")
# columns in which pairs may differ; later ones take precedence
_DIFFER: Final = (("moved", "delivered_at"), ("changed", "payload"), ("readdressed", "recipient_id"))
_NOBODY: Final = -1

# rows hashed at once
_HASHED: Final = 1 << 18


def match_deliveries(
    before: pl.DataFrame,
    after: pl.DataFrame,
    *,
    timed: bool,
    tick: Tick = noop,
    logs: Counterparts | None = None,
    members: Callable[[], Sequence[pl.DataFrame]] | None = None,
) -> tuple[dict[str, int], pl.DataFrame]:
    """Count the deliveries by kind of change, and return a row for each that differs: `change`, then the
    columns of `SIDE` with `_before` and `_after`.

    Both frames have the columns of `SIDE`, `origin` and `place`, in the order of delivery; rows are in the
    order of `after`, with removed ones where they were. `timed` is whether both flows have windows or queues;
    `logs` matches events of different logs; `members`, called only if needed, returns the events that are
    together in windows. `tick` gets the number of rows hashed, and later of rows matched.
    """
    left, right = _words(before, tick), _words(after, tick)
    for words, frame, events in zip((left, right), (before, after), sides_of(logs), strict=True):
        for name, column in (("origin", "origin"), ("last", "seq_no")):
            words[name] = events.words(frame[column]).to_numpy().view(np.uint64)
    found = _Pairs(left, right, tick)
    found.find(_COMMON)
    if logs is not None or members is not None:
        found.find(_COMMON_IN_LAST)
    if members is not None and found.is_open:
        found.find_by_members(before, after, members())
    if timed:
        found.find([_COMMON_IN_TIME])
    pairs, alone = found.pairs, found.alone
    changes = np.full(len(pairs[0]), _code(SAME), np.uint32)
    for change, column in _DIFFER:
        changes[left[column][pairs[0]] != right[column][pairs[1]]] = _code(change)
    counts = {change: int(np.count_nonzero(changes == _code(change))) for change in (*CHANGES, SAME)}
    counts |= {"removed": len(alone[0]), "added": len(alone[1])}
    differ = np.flatnonzero(changes != _code(SAME))
    rows = pl.DataFrame(
        {
            "change": np.concatenate(
                [changes[differ], _repeat(_code("removed"), alone[0]), _repeat(_code("added"), alone[1])]
            ),
            "row_before": np.concatenate([pairs[0][differ], alone[0], _repeat(_NOBODY, alone[1])]),
            "row_after": np.concatenate([pairs[1][differ], _repeat(_NOBODY, alone[0]), alone[1]]),
        }
    )
    tick(len(alone[0]) + len(alone[1]))
    return counts, run_in_background(lambda: _difference_rows(rows, before, after))


def _code(change: str) -> int:
    return (*CHANGES, SAME).index(change)


def _repeat(value: int, like: Ints) -> Ints:
    return np.full(len(like), value, np.int64)


def _difference_rows(rows: pl.DataFrame, before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    rows = rows.with_columns(
        pl.col("change").replace_strict(dict(enumerate((*CHANGES, SAME))), return_dtype=CHANGE),
        *(
            pl.when(pl.col(row) >= 0).then(pl.col(row)).cast(pl.UInt32).alias(row)
            for row in ("row_before", "row_after")
        ),
    )
    # sort while there are only numbers, so that texts are gathered once
    moments = pl.coalesce(
        after["delivered_at"].gather(rows["row_after"]), before["delivered_at"].gather(rows["row_before"])
    )
    rows = rows.with_columns(moments.alias("moment")).sort(
        "moment", "row_after", "row_before", nulls_last=True
    )
    sides = (("before", before), ("after", after))
    return rows.select(
        "change",
        *(
            frame[name].gather(rows[f"row_{side}"]).alias(f"{name}_{side}")
            for name in SIDE
            for side, frame in sides
        ),
    )


def _words(frame: pl.DataFrame, tick: Tick) -> dict[str, Hashes]:
    """Hash each compared column to 64 bits a row, equal where the values are equal."""
    texts = ("branch", "recipient_id", "payload")
    words = {name: np.empty(frame.height, np.uint64) for name in texts}
    for row in range(0, frame.height, _HASHED):
        part = frame.slice(row, _HASHED)
        for name, found in zip(texts, hashes([part[n] for n in texts]), strict=True):
            words[name][row : row + part.height] = pair_hash(*found)
        tick(part.height)
    for name in ("place", "delivered_at"):
        words[name] = frame[name].to_physical().cast(pl.Int64).to_numpy().view(np.uint64)
    return words


class _Pairs:
    """The rows that match, found in several ways, and the rows left over on both sides."""

    def __init__(self, left: dict[str, Hashes], right: dict[str, Hashes], tick: Tick) -> None:
        self._sides = (left, right)
        self._tick = tick
        self._found: list[tuple[Ints, Ints]] = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
        self.alone = [np.arange(len(side["origin"])) for side in self._sides]

    @property
    def is_open(self) -> bool:
        """True if both sides have rows left, so that there may be more matches."""
        return all(len(rows) > 0 for rows in self.alone)

    @property
    def pairs(self) -> tuple[Ints, Ints]:
        """The matching rows of both sides."""
        before, after = (np.concatenate([pair[side] for pair in self._found]) for side in (0, 1))
        return before, after

    def find(self, common: Sequence[Sequence[str]]) -> None:
        """Match rows that agree in all columns of a set, for each of several sets in turn."""
        for columns in common:
            if not self.is_open:
                return
            self._take(*run_in_background(partial(_first_with_first, *self._keys(columns))))

    def find_by_members(
        self, before: pl.DataFrame, after: pl.DataFrame, members: Sequence[pl.DataFrame]
    ) -> None:
        """Match deliveries from windows with common members: to the same recipient, or else of the same
        branch.
        """
        for columns in _COMMON_IN_MEMBERS:
            if self.is_open:
                rows = [frame[taken] for frame, taken in zip((before, after), self.alone, strict=True)]
                one, other = self._keys(columns)
                self._take(*with_most_in_common(rows[0], rows[1], (one, other), members))

    def _keys(self, columns: Sequence[str]) -> list[Hashes]:
        return [_combine(side, columns, rows) for side, rows in zip(self._sides, self.alone, strict=True)]

    def _take(self, one: Ints, other: Ints) -> None:
        self._tick(len(one) + len(other))
        self._found.append((self.alone[0][one], self.alone[1][other]))
        self.alone = [np.delete(rows, taken) for rows, taken in zip(self.alone, (one, other), strict=True)]


def _combine(words: dict[str, Hashes], columns: Sequence[str], rows: Ints) -> Hashes:
    """Combine the hashes of several columns to one hash a row."""
    key = words[columns[0]][rows]
    for name in columns[1:]:
        key = pair_hash(key, words[name][rows])
    return key


def _first_with_first(left: Hashes, right: Hashes) -> tuple[Ints, Ints]:
    """Match rows with equal keys: of several, the first with the first, and so on."""
    order, other = (np.argsort(keys, kind="stable") for keys in (left, right))
    left, right = left[order], right[other]
    starts = np.concatenate([[True], left[1:] != left[:-1]])
    nth = np.arange(len(left)) - np.maximum.accumulate(np.where(starts, np.arange(len(left)), 0))
    place = np.searchsorted(right, left) + nth
    hit = np.flatnonzero(right.take(place, mode="clip") == left)
    hit = hit[place[hit] < len(right)]
    return order[hit], other[place[hit]]
