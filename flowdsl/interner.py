"""Texts as small integers, the same integer for the same text for as long as the interner lives.

Two 64-bit hashes of a text stand for it: an open-addressing table in NumPy, probed for a whole column at
once, is faster than a dictionary of Python strings or Polars' categories, and nothing outside keeps it
alive. 128 equal bits count as the same text. Code 0 is null, and `UNKNOWN` is what `find` says of a text
never interned.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Codes = npt.NDArray[np.int32]
UNKNOWN = -1
_EMPTY = np.int32(-1)


class Interner:
    """A growing dictionary text ↔ code. Look-ups may run beside each other; inserts take a lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots = np.full(1 << 12, _EMPTY, np.int32)
        self._first = np.zeros(1 << 11, np.uint64)
        self._second = np.zeros(1 << 11, np.uint64)
        self._texts = pl.Series("text", [None], dtype=pl.String)
        self._size = 1

    def __len__(self) -> int:
        return self._size

    def intern(self, texts: pl.Series) -> Codes:
        """The codes of a column of text, new texts getting new codes in their order of appearance."""
        first, second, valid = _hashes(texts)
        codes = self._probe(first, second)
        missing = np.flatnonzero((codes == UNKNOWN) & valid)
        if len(missing):
            with self._lock:
                codes[missing] = self._insert(first[missing], second[missing], texts, missing)
        codes[~valid] = 0
        return codes

    def find(self, texts: pl.Series) -> Codes:
        """The codes of a column of text, `UNKNOWN` for those never interned."""
        first, second, valid = _hashes(texts)
        codes = self._probe(first, second)
        codes[~valid] = 0
        return codes

    def code(self, text: str, *, insert: bool = False) -> int:
        """The code of one text."""
        column = pl.Series([text], dtype=pl.String)
        return int((self.intern(column) if insert else self.find(column))[0])

    def texts(self, codes: npt.NDArray[Any]) -> pl.Series:
        """The texts of codes, null for code 0."""
        return self._texts.gather(codes)

    @property
    def all_texts(self) -> pl.Series:
        """Every text, at the position of its code."""
        return self._texts

    def _probe(self, first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64]) -> Codes:
        slots, mask = self._slots, np.uint64(len(self._slots) - 1)
        at = (first & mask).astype(np.int64)
        codes = slots.take(at)
        hit = codes >= 0
        known = codes.clip(0)
        same = hit & (self._first.take(known) == first) & (self._second.take(known) == second)
        result = np.where(same, codes, np.int32(UNKNOWN))
        rest = np.flatnonzero(hit & ~same)
        while len(rest):
            at[rest] = (at[rest] + 1) & np.int64(mask)
            found = slots[at[rest]]
            occupied = found >= 0
            rest, found = rest[occupied], found[occupied]
            same = (self._first[found] == first[rest]) & (self._second[found] == second[rest])
            result[rest[same]] = found[same]
            rest = rest[~same]
        return result

    def _insert(
        self,
        first: npt.NDArray[np.uint64],
        second: npt.NDArray[np.uint64],
        texts: pl.Series,
        rows: npt.NDArray[np.int64],
    ) -> Codes:
        # another thread may have inserted some of them between the probe and the lock
        codes = self._probe(first, second)
        todo = np.flatnonzero(codes == UNKNOWN)
        if not len(todo):
            return codes
        pairs = np.empty(len(todo), dtype=[("a", np.uint64), ("b", np.uint64)])
        pairs["a"], pairs["b"] = first[todo], second[todo]
        order = np.lexsort((pairs["b"], pairs["a"]))
        a, b = pairs["a"][order], pairs["b"][order]
        starts = np.concatenate(([True], (a[1:] != a[:-1]) | (b[1:] != b[:-1])))
        group = np.cumsum(starts) - 1
        # lexsort is stable: the first of each group is where the text appeared first
        appeared = order[starts]
        by_appearance = np.sort(appeared)
        rank = np.searchsorted(by_appearance, appeared)
        codes[todo[order]] = (self._size + rank[group]).astype(np.int32)
        self._append(first[todo[by_appearance]], second[todo[by_appearance]], texts.gather(rows[todo[by_appearance]]))
        return codes

    def _append(self, first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64], texts: pl.Series) -> None:
        start, size = self._size, self._size + len(first)
        if size > len(self._first):
            self._first = _grown(self._first, size)
            self._second = _grown(self._second, size)
        self._first[start:size], self._second[start:size] = first, second
        self._texts = self._texts.append(texts.alias("text"))
        # a gather over a few pieces is as fast as over one; more are joined, at a geometric pace
        if self._texts.n_chunks() > 6:
            self._texts = self._texts.rechunk()
        self._size = size
        if size * 2 > len(self._slots):
            slots = np.full(1 << (size * 4).bit_length(), _EMPTY, np.int32)
            _place(slots, self._first[:size], np.arange(size, dtype=np.int32))
            self._slots = slots
        else:
            _place(self._slots, first, np.arange(start, size, dtype=np.int32))

    def __getstate__(self) -> dict[str, Any]:
        return {"texts": self._texts.slice(1)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        self.intern(state["texts"])


def _hashes(texts: pl.Series) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    first, second = texts.hash(0x51ED), texts.hash(0xA3C5)
    return first.to_numpy(), second.to_numpy(), texts.is_not_null().to_numpy()


def _grown(array: npt.NDArray[np.uint64], size: int) -> npt.NDArray[np.uint64]:
    grown = np.zeros(1 << size.bit_length(), np.uint64)
    grown[: len(array)] = array
    return grown


def _place(slots: Codes, first: npt.NDArray[np.uint64], codes: Codes) -> None:
    """Put distinct keys into free slots: each tries its slot, and those that lose it to another go on."""
    mask = len(slots) - 1
    at = (first & np.uint64(mask)).astype(np.int64)
    while len(codes):
        free = slots[at] == _EMPTY
        slots[at[free]] = codes[free]
        lost = slots[at] != codes
        at, codes = (at[lost] + 1) & mask, codes[lost]
