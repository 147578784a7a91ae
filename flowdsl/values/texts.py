"""Growing list of texts by number; each text is moved rarely, and freed numbers are used again."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.values.json_types import Ints
from flowdsl.values.orders import distinct, inverse

Numbers = npt.NDArray[Any]
# pieces whose texts can be forgotten are no longer than this: so long it takes to go through one of them
_LARGEST: Final = 1 << 16
# so many pieces are gathered from as one, and joined where none is much larger than the last
_FEW: Final = 8
_SHIFT: Final = 32
_NOWHERE: Final = -1
# texts that are joined in the time that a gather of one saves
_GATHER: Final = 16


@dataclass
class _Piece:
    """Some texts, their numbers, and how many of them are in use."""

    name: int
    texts: pl.Series
    numbers: Numbers
    known: int

    def __len__(self) -> int:
        return len(self.texts)


class Texts:
    """List of texts whose first entry is null.

    As long as none is forgotten a text lies at its number, in pieces of geometric sizes. From the first one
    on there is a table of where each lies: pieces are joined up to a size, and those of which little is known
    are made anew.
    """

    def __init__(self) -> None:
        self._pieces = [pl.Series("text", [None], dtype=pl.String)]
        self._whole = self._pieces[0]
        self._lock = threading.Lock()
        # what gathers from several pieces have cost so far, in texts that could have been joined
        self._gathered = 0
        # where each text lies: the name of its piece, and its row there
        self._at: Ints | None = None
        self._room = np.zeros(0, np.int64)
        self._named: list[_Piece] = []
        self._names = np.zeros(0, np.int64)
        self._next = 0
        # stretches of texts in the order of their numbers, as they were last asked for
        self._stretches: dict[int, pl.Series] = {}

    @classmethod
    def of(cls, pieces: list[pl.Series]) -> Texts:
        """Build a list from the pieces of another one."""
        texts = cls()
        texts._pieces, texts._whole = pieces, pl.concat(pieces, rechunk=False)
        return texts

    @property
    def pieces(self) -> list[pl.Series]:
        """All texts in the order of their numbers; null comes first and marks unused numbers."""
        at = self._at
        if at is None:
            return self._pieces
        starts = range(0, len(at), _LARGEST)
        return [self._stretch(start, min(start + _LARGEST, len(at))) for start in starts]

    def add(self, numbers: Numbers, texts: pl.Series) -> None:
        """Add texts under unused numbers; as long as nothing was freed these are the next ones."""
        texts = texts.alias("text")
        with self._lock:
            if self._at is None:
                pieces = [*self._pieces, texts]
                while len(pieces) > _FEW and len(pieces[-_FEW]) <= 2 * len(pieces[-1]):
                    pieces[-_FEW:] = [pl.concat(pieces[-_FEW:], rechunk=True)]
                # readers on other threads keep the old ones
                self._pieces, self._whole = pieces, pl.concat(pieces, rechunk=False)
                return
            self._touch(numbers)
            size = int(numbers.max()) + 1
            if size > len(self._at):
                self._extend(size)
            self._put(texts, numbers)
            named = self._named
            while (
                len(named) > 1
                and len(named[-2]) <= 2 * len(named[-1])
                and named[-2].known + named[-1].known <= _LARGEST
            ):
                parts = [self._rest(named.pop()) for _ in range(2)][::-1]
                self._put(
                    pl.concat([part.texts for part in parts], rechunk=True),
                    np.concatenate([part.numbers for part in parts]),
                )
            self._list()

    def take(self, numbers: Numbers) -> pl.Series:
        """Return the texts of these numbers."""
        whole = self._whole
        if self._at is None and len(self._pieces) > 1:
            # from several pieces a gather takes a multiple of the time: to join them soon pays
            self._gathered += _GATHER * len(numbers)
            if self._gathered >= len(whole):
                whole = self._in_one()
        if self._at is None:
            return whole[numbers]
        with self._lock:
            return self._take(self._at.take(numbers))

    def _in_one(self) -> pl.Series:
        with self._lock:
            self._gathered = 0
            if self._at is None:
                self._whole = self._whole.rechunk()
                self._pieces = [self._whole]
            return self._whole

    def begin_table(self) -> None:
        """Have the table now that there will be when a number is freed."""
        with self._lock:
            if self._at is None:
                self._begin_table()

    def forget(self, numbers: Numbers) -> None:
        """Free these numbers."""
        with self._lock:
            if self._at is None:
                self._begin_table()
            assert self._at is not None
            self._touch(numbers)
            which = np.searchsorted(self._names, self._at[numbers] >> _SHIFT)
            self._at[numbers] = _NOWHERE
            gone = np.bincount(which, minlength=len(self._named)).tolist()
            kept = []
            for piece, lost in zip(self._named, gone, strict=True):
                piece.known -= lost
                if piece.known:
                    kept.append(piece if 2 * piece.known > len(piece) or not lost else self._move(piece))
            self._named = kept
            self._list()

    def _begin_table(self) -> None:
        self._at = np.empty(len(self._whole), np.int64)
        start = 0
        for series in self._pieces:
            for row in range(0, len(series), _LARGEST):
                texts = series.slice(row, _LARGEST)
                self._put(texts, np.arange(start, start + len(texts), dtype=np.int32))
                start += len(texts)
        self._pieces, self._whole = [], self._whole.clear()
        self._list()

    def _extend(self, size: int) -> None:
        """Have a table for so many numbers, in memory that is made anew at a geometric pace."""
        assert self._at is not None
        known = len(self._at)
        if size > len(self._room):
            self._room = np.empty(2 * size, np.int64)
            self._room[:known] = self._at
        self._room[known:size] = _NOWHERE
        self._at = self._room[:size]

    def _put(self, texts: pl.Series, numbers: Numbers) -> None:
        assert self._at is not None
        self._at[numbers] = (self._next << _SHIFT) + np.arange(len(texts))
        self._named.append(_Piece(self._next, texts, numbers, len(texts)))
        self._next += 1

    def _rest(self, piece: _Piece) -> _Piece:
        """Return the texts of a piece that are in use."""
        if piece.known == len(piece):
            return piece
        assert self._at is not None
        there = self._at[piece.numbers] == (piece.name << _SHIFT) + np.arange(len(piece))
        return _Piece(piece.name, piece.texts.filter(pl.Series(there)), piece.numbers[there], piece.known)

    def _move(self, piece: _Piece) -> _Piece:
        """Return the piece without its freed texts."""
        assert self._at is not None
        rest = self._rest(piece)
        self._at[rest.numbers] = (rest.name << _SHIFT) + np.arange(len(rest))
        return rest

    def _list(self) -> None:
        self._names = np.array([piece.name for piece in self._named], np.int64)

    def _take(self, at: Ints) -> pl.Series:
        if not len(at):
            return pl.Series("text", [], dtype=pl.String)
        # where nothing lies there is null, as at number 0, which is never forgotten
        assert self._at is not None
        at = np.where(at == _NOWHERE, self._at[0], at)
        names, rows = at >> _SHIFT, at & ((1 << _SHIFT) - 1)
        which = np.searchsorted(self._names, names)
        first = int(which[0])
        if (which == first).all():
            return self._named[first].texts[rows]
        used = np.flatnonzero(np.bincount(which, minlength=len(self._named)))
        pieces = [self._named[number].texts for number in used.tolist()]
        place = np.zeros(len(self._named), np.int64)
        if len(pieces) <= _FEW:
            place[used] = np.cumsum([0, *map(len, pieces[:-1])])
            return pl.concat(pieces, rechunk=False)[place[which] + rows]
        order = np.argsort(which, kind="stable")
        ends = np.searchsorted(which[order], used, side="right").tolist()
        parts = [
            piece[rows[order[start:end]]]
            for piece, start, end in zip(pieces, [0, *ends[:-1]], ends, strict=True)
        ]
        return pl.concat(parts, rechunk=True)[inverse(order)]

    def _stretch(self, start: int, end: int) -> pl.Series:
        with self._lock:
            assert self._at is not None
            known = self._stretches.get(start)
            if known is None or len(known) != end - start:
                known = self._stretches[start] = self._take(self._at[start:end])
            return known

    def _touch(self, numbers: Numbers) -> None:
        """Discard the cached stretches that contain these numbers."""
        if self._stretches:
            for number in distinct(numbers // _LARGEST).tolist():
                self._stretches.pop(number * _LARGEST, None)
