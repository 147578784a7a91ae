"""Dictionary encoding of text: each distinct text has one integer code for as long as the interner lives.

Two 64-bit hashes of a text stand for it: an open-addressing table in NumPy, probed for a whole column at
once, is faster than a dictionary of Python strings or Polars' categories, and nothing outside keeps it
alive. 128 equal bits count as the same text. Code 0 is null, and `UNKNOWN` is what `find` says of a text
never interned.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.values.masks import where_present
from flowdsl.values.state_fields import TEXTS, ArrayField, ListField
from flowdsl.values.state_objects import StateObject, StateReader, keeps
from flowdsl.values.texts import Texts

Codes = npt.NDArray[np.int32]
Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
UNKNOWN = -1
# the second word of a key that was forgotten, which no key has
GONE = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
# slots that are emptied where one code is placed, and more codes than there are
_EMPTIED = 8
_ALL = 1 << 40
SEEDS = (0x51ED, 0xA3C5)
# rows that are hashed before another core would have begun
_AT_ONCE = 1 << 14


class HashTable(StateObject):
    """Hash table from keys of two 64-bit words to codes 0, 1, 2 … in order of appearance.

    The first word says where a key is looked for, the second tells it from the one or two others that are met
    there: a wrong answer takes 64 equal bits at the same place of the table.

    Codes that are forgotten are given to new keys. The slots that they had go on naming them, and are passed
    by since the second word is another one; when there are many of these the slots are made anew, some at a
    time.
    """

    saved = keeps(first=ArrayField(np.uint64), second=ArrayField(np.uint64))

    def __init__(self) -> None:
        self._slots = np.full(1 << 12, UNKNOWN, np.int32)
        self._first = np.zeros(1 << 11, np.uint64)
        self._second = np.zeros(1 << 11, np.uint64)
        self._size = 0
        # keys that were ever new; counted when all can find them
        self.added = 0
        # slots in use, codes that no key has, and the slots that are being made anew, with how many codes
        # they have
        self._used = 0
        self._forgetful = False
        self.free = np.zeros(0, np.int32)
        self._coming: Codes | None = None
        self._emptied = self._placed = self._coming_used = 0
        # which codes were asked for, where that is to be known
        self._asked: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return self._size

    def to_fields(self) -> dict[str, Any]:
        # another thread may be giving free codes to new keys, whose second words it writes last: here they
        # are read first
        size = self._size
        second = self._second[:size].copy()
        return {"first": self._first[:size].copy(), "second": second}

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> HashTable:
        source.agree(first=len(fields["first"]), second=len(fields["second"]))
        table = cls.of(fields["first"], fields["second"])
        source.check(table.all_distinct(), "a table with a key twice")
        return table

    @classmethod
    def of(cls, first: Hashes, second: Hashes) -> HashTable:
        """Build a table from its keys in the order of their codes; free codes have the second word of an
        absent key.
        """
        table, there = cls(), second != GONE
        codes = np.flatnonzero(there).astype(np.int32)
        table._first, table._second = _grown(first, len(first) + 1), _grown(second, len(first) + 1)
        table._size, table._used = len(first), len(codes)
        table.free = np.flatnonzero(~there).astype(np.int32)
        table._forgetful = len(table.free) > 0
        table._slots = np.full(1 << (len(first) * 4 + 1024).bit_length(), UNKNOWN, np.int32)
        _place(table._slots, first[codes], codes)
        return table

    def all_distinct(self) -> bool:
        """Return True if no key occurs twice."""
        codes = np.flatnonzero(self._second[: self._size] != GONE)
        return bool((self.find(self._first[codes], self._second[codes]) == codes).all())

    @property
    def in_use(self) -> int:
        """Number of keys."""
        return self._size - len(self.free)

    @property
    def words(self) -> tuple[Hashes, Hashes]:
        """The two words of each key, in the order of the codes."""
        # the size first: another thread may be inserting
        size = self._size
        return self._first[:size], self._second[:size]

    def find(self, first: Hashes, second: Hashes) -> Codes:
        """Return the code of each key, `UNKNOWN` for absent keys."""
        # another thread may be inserting: a code beyond the words read here counts as unknown, and whoever
        # wants to insert looks again under the lock
        slots, words = self._slots, self._second
        mask = len(slots) - 1
        at = (first & np.uint64(mask)).view(np.int64)
        codes = slots.take(at)
        # an empty slot holds -1, and reads the word of some key that is not this one
        wrong = np.flatnonzero(words.take(codes, mode="clip") != second)
        result = codes
        rest = wrong[codes.take(wrong) >= 0]
        result[wrong] = UNKNOWN
        at = at[rest]
        while len(rest):
            at = (at + 1) & mask
            codes = slots.take(at)
            hit = codes >= 0
            rest, at, codes = rest[hit], at[hit], codes[hit]
            same = words.take(codes, mode="clip") == second[rest]
            result[rest[same]] = codes[same]
            rest, at = rest[~same], at[~same]
        if self._asked is not None:
            self._ask(result)
        return result

    def insert(self, first: Hashes, second: Hashes) -> Codes:
        """Return the code of each key; new keys get new codes."""
        return self.insert_new(first, second)[0]

    def insert_new(self, first: Hashes, second: Hashes, *, absent: bool = False) -> tuple[Codes, Rows]:
        """Insert keys; return their codes and the row where each new key first appears. `absent`: the table
        has none of them, and they need not be looked for.
        """
        codes = np.full(len(first), UNKNOWN, np.int32) if absent else self.find(first, second)
        todo = np.flatnonzero(codes == UNKNOWN)
        if not len(todo):
            return codes, todo
        fresh, which = _distinct(first[todo], second[todo])
        new = todo[fresh]
        start, added = self._size, self._append(first[new], second[new])
        # where nothing was ever forgotten codes follow each other, and need not be looked up
        codes[todo] = added[which] if self._forgetful else start + which
        self.added += len(new)
        if self._asked is not None:
            self._ask(codes)
        return codes, new

    def _append(self, first: Hashes, second: Hashes) -> Codes:
        start, again = self._size, self.free[: len(first)]
        size = start + len(first) - len(again)
        if size > len(self._first):
            self._first, self._second = _grown(self._first, size), _grown(self._second, size)
        codes = np.arange(start, size, dtype=np.int32)
        if len(again):
            codes, self.free = np.concatenate([again, codes]), self.free[len(again) :]
            self._first[codes], self._second[codes] = first, second
        else:
            self._first[start:size], self._second[start:size] = first, second
        self._size = size
        self._used += len(codes)
        if self._forgetful:
            self._put(first, codes)
        elif size * 2 > len(self._slots):
            # readers on other threads go on with the old array until the new one is complete
            slots = np.full(1 << (size * 4).bit_length(), UNKNOWN, np.int32)
            _place(slots, self._first[:size], np.arange(size, dtype=np.int32))
            self._slots = slots
        else:
            _place(self._slots, first, codes)
        return codes

    def watch(self) -> npt.NDArray[np.bool_]:
        """Start recording which codes are requested; return the mask that is updated (True also for free
        codes).
        """
        self._asked = np.zeros(self._size, np.bool_)
        self._asked[self.free] = True
        return self._asked

    def unwatch(self) -> None:
        """Stop recording which codes are requested."""
        self._asked = None

    def forget(self, codes: npt.NDArray[np.integer[Any]]) -> None:
        """Free these codes, each of which belongs to a key."""
        self._second[codes] = GONE
        self.free = np.concatenate([self.free, codes.astype(np.int32)])
        self._forgetful = True

    def tidy(self, most: int) -> None:
        """Rebuild the slots, up to `most` codes per call, once many of them point to removed keys."""
        if self._coming is None:
            if self._used * 2 <= len(self._slots):
                return
            self._coming = np.empty(1 << (self.in_use * 4 + 1024).bit_length(), np.int32)
            self._emptied = self._placed = self._coming_used = 0
        if self._emptied < len(self._coming):
            # new memory is slow where it is written to for the first time
            end = min(self._emptied + _EMPTIED * most, len(self._coming))
            self._coming[self._emptied : end] = UNKNOWN
            self._emptied = end
            if end < len(self._coming):
                return
        end = min(self._placed + most, self._size)
        there = self._second[self._placed : end] != GONE
        codes = (self._placed + np.flatnonzero(there)).astype(np.int32)
        _place(self._coming, self._first[codes], codes)
        self._placed, self._coming_used = end, self._coming_used + len(codes)
        if end == self._size:
            self._slots, self._used, self._coming = self._coming, self._coming_used, None

    def _put(self, first: Hashes, codes: Codes) -> None:
        if self._coming is not None:
            passed = codes < self._placed
            _place(self._coming, first[passed], codes[passed])
            self._coming_used += int(np.count_nonzero(passed))
        if self._used * 4 > 3 * len(self._slots):
            # more came than was made room for in time
            self._coming = None
            self.tidy(_ALL)
        else:
            _place(self._slots, first, codes)

    def _ask(self, codes: Codes) -> None:
        asked = self._asked
        if asked is not None:
            asked[codes[(codes >= 0) & (codes < len(asked))]] = True


class Interner(StateObject):
    """Growing dictionary text ↔ code. Look-ups may run concurrently; inserts take a lock."""

    saved = keeps(pieces=ListField(TEXTS))
    # whether only one run has codes of it, so that what it does not refer to can be forgotten
    private = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # the hashes of the texts, each at its code minus one
        self.table = HashTable()
        self._texts = Texts()

    def __len__(self) -> int:
        return len(self.table) + 1

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> Interner:
        # codes follow the order of the texts. Hashes are made anew: they need not be those of another version
        # of Polars
        pieces = [texts.cast(pl.String).alias("text") for texts in fields["pieces"]]
        source.check(pieces and len(pieces[0]) and pieces[0][0] is None, "not a list of texts behind a null")
        interner, whole = cls(), pl.concat(pieces)
        first, second = hashes([whole])[0]
        second = np.where(where_present(whole), second, GONE)
        interner.table, interner._texts = HashTable.of(first[1:], second[1:]), Texts.of(pieces)
        source.check(interner.table.all_distinct(), "not a list of different texts")
        if len(free := interner.table.free):
            interner._texts.forget(free + 1)
        return interner

    @property
    def pieces(self) -> list[pl.Series]:
        """All texts in the order of their codes; null comes first and marks free codes. Most pieces never
        change.
        """
        return self._texts.pieces

    def intern(self, texts: pl.Series) -> Codes:
        """Return the codes of a column of text; new texts get codes in order of appearance."""
        return self.intern_all([texts])[0]

    def intern_all(self, columns: Sequence[pl.Series]) -> list[Codes]:
        """Return the codes of several columns of text, hashed in parallel."""
        return [self._intern(texts, *words) for texts, words in zip(columns, hashes(columns), strict=True)]

    def _intern(self, texts: pl.Series, first: Hashes, second: Hashes) -> Codes:
        before = self.table.added
        codes = self.table.find(first, second)
        missing = codes == UNKNOWN
        if texts.null_count():
            valid = where_present(texts)
            missing &= valid
            codes[~valid] = UNKNOWN
        rows = np.flatnonzero(missing)
        if len(rows):
            with self._lock:
                # what was absent still is where nobody inserted meanwhile
                absent = self.table.added == before
                codes[rows] = self._insert(first[rows], second[rows], texts, rows, absent=absent)
        codes += 1
        return codes

    def find(self, texts: pl.Series) -> Codes:
        """Return the codes of a column of text, 0 for null and `UNKNOWN` for texts never interned."""
        codes = self.table.find(*hashes([texts])[0])
        codes[codes >= 0] += 1
        if texts.null_count():
            codes[~where_present(texts)] = 0
        return codes

    def code(self, text: str) -> int:
        """Return the code of one text, `UNKNOWN` if it was never interned."""
        return int(self.find(pl.Series([text], dtype=pl.String))[0])

    def texts(self, codes: npt.NDArray[Any]) -> pl.Series:
        """Return the texts of codes, null for code 0."""
        return self._texts.take(codes)

    def _insert(self, first: Hashes, second: Hashes, texts: pl.Series, rows: Rows, *, absent: bool) -> Codes:
        codes, fresh = self.table.insert_new(first, second, absent=absent)
        if len(fresh):
            self._texts.add(codes[fresh] + 1, texts[rows[fresh]])
        return codes

    def begin_forgetting(self) -> None:
        """Do now what would be done when the first code is freed."""
        self._texts.begin_table()

    def forget(self, codes: npt.NDArray[np.integer[Any]]) -> None:
        """Free these codes; nothing may refer to their texts any more."""
        with self._lock:
            self.table.forget(codes - 1)
            self._texts.forget(codes)


def pair_hash(first: Hashes, second: Hashes) -> Hashes:
    """Mix pairs of words into one (the finalizer of splitmix64); tables use the lowest bits as the slot."""
    x = first * np.uint64(0x9E3779B97F4A7C15) + second
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def insert_pairs(table: HashTable, first: Hashes, second: Hashes) -> Codes:
    """Return the codes of pairs of numbers below 2³²."""
    packed = first << np.uint64(32) | second
    return table.insert(pair_hash(first, second), packed)


def hashes(columns: Sequence[pl.Series]) -> list[tuple[Hashes, Hashes]]:
    """Return two hash words per text: one query for all columns, which Polars runs on all cores where that
    pays.
    """
    frame = pl.DataFrame([texts.alias(str(i)) for i, texts in enumerate(columns)])
    words = (frame.select if len(frame) > _AT_ONCE else frame.select_seq)(
        pl.col(c).hash(seed).alias(f"{c} {n}") for c in frame.columns for n, seed in enumerate(SEEDS)
    )
    return [(words[f"{c} 0"].to_numpy(), words[f"{c} 1"].to_numpy()) for c in frame.columns]


def _distinct(first: Hashes, second: Hashes) -> tuple[Rows, Codes]:
    """Return the first row of each distinct key, in order, and the distinct key of every row."""
    order = np.sort(second)
    if (order[1:] != order[:-1]).all():
        whole = np.arange(len(first))
        return whole, whole.astype(np.int32)
    # a table for these rows alone stays in the cache of the processor
    slots = np.full(1 << (2 * len(first)).bit_length(), UNKNOWN, np.int32)
    mask = len(slots) - 1
    holders = np.empty(len(first), np.int32)
    rows, words = np.arange(len(first), dtype=np.int32), second
    at = (first & np.uint64(mask)).view(np.int64)
    while len(rows):
        free = np.flatnonzero(slots.take(at) == UNKNOWN)[::-1]
        # of several rows for one slot the last one written stays, which is the first here
        slots[at[free]] = rows[free]
        found = slots.take(at)
        same = second.take(found) == words
        holders[rows[same]] = found[same]
        rest = np.flatnonzero(~same)
        rows, words, at = rows[rest], words[rest], (at[rest] + 1) & mask
    own = holders == np.arange(len(first), dtype=np.int32)
    fresh = np.flatnonzero(own)
    if len(fresh) == len(first):
        return fresh, holders
    numbers = np.cumsum(own, dtype=np.int32) - 1
    return fresh, numbers.take(holders)


def _grown(array: Hashes, size: int) -> Hashes:
    grown = np.zeros(1 << size.bit_length(), np.uint64)
    grown[: len(array)] = array
    return grown


def _place(slots: Codes, first: Hashes, codes: Codes) -> None:
    """Place distinct keys into free slots: each key tries its slot, and keys that lose a slot probe the next
    one.
    """
    mask = len(slots) - 1
    at = (first & np.uint64(mask)).view(np.int64)
    while len(codes):
        free = np.flatnonzero(slots.take(at) == UNKNOWN)
        slots[at.take(free)] = codes.take(free)
        lost = np.flatnonzero(slots.take(at) != codes)
        at, codes = (at.take(lost) + 1) & mask, codes.take(lost)
