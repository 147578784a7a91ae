"""Finds event ids that stand in a log more than once, in one pass."""

from __future__ import annotations

import numpy as np
import polars as pl

from flowdsl.values.interner import HashTable
from flowdsl.values.masks import where_present


class Repeated:
    """Remembers two hashes of each id seen, about 40 bytes an id, and tells which rows repeat one."""

    def __init__(self) -> None:
        self._table = HashTable()

    def rows(self, ids: pl.Series) -> dict[int, str]:
        """The rows of `ids` whose id came before, here or in an earlier call, each with its id (nulls never do).

        >>> Repeated().rows(pl.Series(["a", None, "b", "a", None]))
        {3: 'a'}
        """
        there = np.flatnonzero(where_present(ids))
        known = ids.drop_nulls()
        before = len(self._table)
        codes = self._table.insert(known.hash(1).to_numpy(), known.hash(2).to_numpy())
        # new ids get ascending codes, so a row is the first of its id where the highest code so far rises
        highest = np.maximum.accumulate(np.concatenate([[before - 1], codes]))
        again = np.flatnonzero(highest[1:] == highest[:-1])
        return {int(there[i]): known[int(i)] for i in again}
