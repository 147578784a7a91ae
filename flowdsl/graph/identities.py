"""Which link an event of the log is about: by its link id, or by (type, source, target) where there is none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.interner import Codes, HashTable, Interner, insert_pairs

Numbers = npt.NDArray[np.int64]
NOBODY = -1


class LinkIdentities:
    """Identities as dense numbers, and which link holds each of them now."""

    def __init__(self) -> None:
        self._ids = Interner()
        self._triples: dict[int, HashTable] = {}
        self._count = 0
        self._of_id = np.zeros(1, np.int64)
        self._of_triple: dict[int, Numbers] = {}
        self._holder = np.full(1, NOBODY, np.int64)
        self.any_ids = False

    def numbers(self, kinds: Codes, sources: Codes, targets: Codes, link_ids: pl.Series) -> Numbers:
        """The identity of each link, known or new. `kinds` are numbers of link types."""
        named = link_ids.is_not_null().to_numpy()
        result = np.zeros(len(kinds), np.int64)
        if named.any():
            self.any_ids = True
            codes = self._ids.intern(link_ids.filter(pl.Series(named)))
            self._of_id = self._numbered(self._of_id, len(self._ids))
            result[named] = self._of_id[codes]
        for kind in np.unique(kinds[~named]).tolist():
            rows = np.flatnonzero(~named & (kinds == kind))
            table = self._triples.setdefault(kind, HashTable())
            codes = insert_pairs(table, sources[rows].astype(np.uint64), targets[rows].astype(np.uint64))
            self._of_triple[kind] = self._numbered(
                self._of_triple.get(kind, np.zeros(0, np.int64)), len(table)
            )
            result[rows] = self._of_triple[kind][codes]
        return result

    def holders(self, identities: Numbers) -> Numbers:
        """The link that holds each identity, `NOBODY` where there is none."""
        return self._holder[identities]

    def hold(self, identities: Numbers, links: Numbers) -> None:
        """These identities are held by these links from now on (`NOBODY`: by none)."""
        self._holder[identities] = links

    def fork(self) -> LinkIdentities:
        """A copy of who holds what; the identities themselves only ever grow, and are shared."""
        forked = object.__new__(LinkIdentities)
        forked.__dict__.update(self.__dict__)
        forked._holder = self._holder.copy()
        forked._of_triple = dict(self._of_triple)
        return forked

    def _numbered(self, known: Numbers, size: int) -> Numbers:
        """Give a number to every code that has none yet."""
        if size <= len(known):
            return known
        fresh = np.arange(self._count, self._count + size - len(known))
        self._count += len(fresh)
        if self._count > len(self._holder):
            grown = np.full(max(self._count, 2 * len(self._holder)), NOBODY, np.int64)
            grown[: len(self._holder)] = self._holder
            self._holder = grown
        return np.concatenate([known, fresh])
