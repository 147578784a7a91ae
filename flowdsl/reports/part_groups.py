"""Reader of the deliveries of a step: small parts together, since each measurement has a cost, large ones
alone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Final

import polars as pl

from flowdsl.results.store import StoredPart, TablePart

Piece = TablePart | StoredPart
# parts by their number in the table
Numbered = Sequence[tuple[int, Piece]]
_ROWS: Final = 1 << 17


@dataclass(frozen=True)
class PartGroup:
    """Rows of consecutive parts with the same columns; `refused` names the column of a sink's refusals."""

    frame: pl.DataFrame
    refused: dict[str, str]
    numbers: Sequence[int]
    starts: Sequence[int]

    def place(self, row: int) -> tuple[int, int]:
        """Return the part of a row, and its row there."""
        which = bisect_right(self.starts, row) - 1
        return self.numbers[which], row - self.starts[which]


def jobs(pieces: Sequence[Piece]) -> Iterator[Numbered]:
    """Split parts into jobs of about equal size."""
    held: list[tuple[int, Piece]] = []
    rows = 0
    for number, piece in enumerate(pieces):
        held.append((number, piece))
        rows += piece.rows
        if rows >= _ROWS:
            yield held
            held, rows = [], 0
    if held:
        yield held


def _is_read(columns: Container[str], wanted: Callable[[str], bool], name: str) -> bool:
    return name in columns or wanted(name)


def read(job: Numbered, wanted: Callable[[str], bool]) -> Iterator[PartGroup]:
    """Yield the parts of a job, grouped by equal columns; refusals are always read."""
    frames = []
    for number, piece in job:
        refused: dict[str, str] = piece.meta.get("refused", {})
        columns = {*refused.values()}
        frames.append((number, refused, piece.read(partial(_is_read, columns, wanted))))
    for (refused, _), same in groupby(frames, key=lambda item: (item[1], item[2].schema)):
        numbers, parts = [], []
        for number, _, frame in same:
            numbers.append(number)
            parts.append(frame)
        starts = [0]
        for part in parts[:-1]:
            starts.append(starts[-1] + part.height)
        yield PartGroup(pl.concat(parts) if len(parts) > 1 else parts[0], refused, numbers, starts)
