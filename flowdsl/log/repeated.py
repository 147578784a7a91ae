"""Finds event ids that stand in a log more than once, in one pass."""

from __future__ import annotations

import numpy as np
import polars as pl


class Repeated:
    """Remembers 64 bits of each id seen, 8 bytes a row, and tells which rows repeat one.

    Two different ids fall together by chance once in about 10¹⁹ pairs; a repeated id is only reported, never acted
    upon, so that is let be.
    """

    def __init__(self) -> None:
        self._seen: list[np.ndarray] = []

    def rows(self, ids: pl.Series) -> dict[int, str]:
        """The rows of `ids` whose id came before, here or in an earlier call, each with its id (nulls never do)."""
        there = np.flatnonzero(ids.is_not_null().to_numpy())
        hashes = ids.drop_nulls().hash(1).to_numpy()
        order = np.argsort(hashes, kind="stable")
        ranked = hashes[order]
        again = np.zeros(len(hashes), dtype=bool)
        again[order[1:]] = ranked[1:] == ranked[:-1]
        for block in self._seen:
            at = np.searchsorted(block, ranked)
            at[at == len(block)] = 0
            again[order] |= block[at] == ranked if len(block) else False
        self._remember(np.unique(ranked))
        return {int(there[i]): ids[int(there[i])] for i in np.flatnonzero(again)}

    def _remember(self, block: np.ndarray) -> None:
        # sorted blocks that double in size: few to search, and each id is merged only a few times
        while self._seen and len(self._seen[-1]) <= 2 * len(block):
            block = np.union1d(self._seen.pop(), block)
        self._seen.append(block)
