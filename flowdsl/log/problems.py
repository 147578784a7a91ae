"""Problems of a log's rows: unreadable and unusual rows, with place and reason."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import polars as pl

from flowdsl.pluralize import count_text

if TYPE_CHECKING:
    import pandas as pd

Problem = Literal["broken", "duplicate", "out of order", "missing", "ambiguous", "nonexistent"]
# A frame of problems stays a frame one can look at: beyond this many of one sort only their count is kept.
SHOWN: Final = 100_000
# what may differ between reasons that are one: what is quoted, numbers, and what a decoder says of them
_VALUES: Final = re.compile(r"'[^']*'|\"[^\"]*\"|[-+]?[0-9][0-9.]*")


def reason_alike(reason: str) -> str:
    """Return a reason without names and numbers: what rows with the same mistake have in common.

    >>> reason_alike("kind 'x' is unknown"), reason_alike("row 7")
    ('kind … is unknown', 'row …')
    """
    return _VALUES.sub("…", reason)


class RowProblems:
    """Collector of problems in the order they are found; `counts` is exact, the table may be cut at
    `SHOWN`.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._rows: list[tuple[str, int, str, str, str | None]] = []

    def add(self, place: str, row: int, problem: Problem, reason: str, text: str | None) -> None:
        """Add a problem of row `row` of `place`."""
        self.counts[problem] += 1
        if self.counts[problem] <= SHOWN:
            self._rows.append((place, int(row), problem, reason, None if text is None else text[:200]))

    def extend(self, other: RowProblems) -> None:
        """Append the problems of another collector."""
        self.counts += other.counts
        self._rows += other._rows

    def taken(self, place: str) -> RowProblems:
        """Return the problems so far as those of another place, and forget them."""
        moved = RowProblems()
        moved.counts += self.counts
        moved._rows = [(place, *rest) for _, *rest in self._rows]  # type: ignore[misc]
        self.counts.clear()
        self._rows.clear()
        return moved

    def reasons(self, problem: Problem) -> set[str]:
        """Return the reasons of one sort, as far as problems are listed."""
        return {reason for _, _, sort, reason, _ in self._rows if sort == problem}

    def commonest(self, problem: Problem) -> list[str]:
        """Return the three commonest reasons of one sort with their counts; reasons that differ only in names
        and numbers count as one.
        """
        alike: dict[str, list[str]] = {}
        for place, row, sort, reason, _ in self._rows:
            if sort == problem:
                alike.setdefault(reason_alike(reason), []).append(f"{reason} ({place}, row {row})")
        ordered = sorted(alike.values(), key=len, reverse=True)
        return [f"{count_text(len(found), 'row')}: {found[0]}" for found in ordered[:3]]

    def frame(self) -> pd.DataFrame:
        """Return one row per problem: `place`, `row`, `problem` (broken, duplicate, out of order, missing;
        ambiguous or nonexistent local times), `reason`, `text`.
        """
        import pandas as pd

        frame = pd.DataFrame(self._rows, columns=["place", "row", "problem", "reason", "text"])
        return frame.astype(
            {"place": "str", "row": "int64", "problem": "str", "reason": "str", "text": "str"}
        )


class OutOfOrder:
    """Finder of rows that are out of order, over the pieces of a source."""

    def __init__(self) -> None:
        self._highest = -(1 << 63)

    def rows(self, keys: pl.Series) -> np.ndarray:
        """Return the positions in `keys` (integers or timestamps; nulls are skipped) below the greatest key
        before them.
        """
        numbers = pl.concat([pl.Series([self._highest]), keys.cast(pl.Int64).alias("")])
        if numbers.is_sorted():
            self._highest = numbers[-1]
            return np.empty(0, np.int64)
        highest = numbers.cum_max().forward_fill()
        self._highest = highest[-1]
        return (numbers[1:] < highest[:-1]).arg_true().to_numpy()
