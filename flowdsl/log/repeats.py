"""Detection of repeated event ids in one pass."""

from __future__ import annotations

import numpy as np
import polars as pl

from flowdsl.values.interner import HashTable, hashes
from flowdsl.values.masks import where_present


class Repeated:
    """Set of two hashes per id, about 40 bytes each, that reports repeats."""

    def __init__(self) -> None:
        self._table = HashTable()

    def rows(self, ids: pl.Series) -> dict[int, str]:
        """Return the rows whose id came before, here or in earlier calls, each with its id (nulls never
        repeat).

        >>> Repeated().rows(pl.Series(["a", None, "b", "a", None]))
        {3: 'a'}
        """
        there = np.flatnonzero(where_present(ids))
        known = ids.drop_nulls()
        before = len(self._table)
        codes = self._table.insert(*hashes([known])[0])
        # new ids get ascending codes, so a row is the first of its id where the highest code so far rises
        highest = np.maximum.accumulate(np.concatenate([[before - 1], codes]))
        again = np.flatnonzero(highest[1:] == highest[:-1])
        return {int(there[i]): known[int(i)] for i in again}
