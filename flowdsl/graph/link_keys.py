"""Link keys: find the link of an event by link id, or by (type, source, target) if it has none."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from flowdsl.graph.links import LinkTable
from flowdsl.graph.past import Copying, Past, Pasts, lacks_room, room
from flowdsl.values.interner import Codes, HashTable, Interner, insert_pairs
from flowdsl.values.json_types import Ints, Mask
from flowdsl.values.key_collection import Inside
from flowdsl.values.masks import where_present
from flowdsl.values.orders import distinct
from flowdsl.values.state_fields import (
    ArrayField,
    DictField,
    FlagField,
    ListField,
    ObjectField,
    SharedField,
    TextField,
)
from flowdsl.values.state_objects import StateObject, StateReader, keeps

NOBODY = -1
ALL = int(np.iinfo(np.int64).max)


@dataclass
class LinkKeyTables(StateObject):
    """Append-only codes of link keys, shared by all replays of a graph."""

    saved = keeps(ids=ObjectField(Interner), pairs=DictField(ObjectField(HashTable)))

    ids: Interner = field(default_factory=Interner)
    pairs: dict[str, HashTable] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def to_fields(self) -> dict[str, Any]:
        # another thread may be adding a table
        return {"ids": self.ids, "pairs": dict(self.pairs)}

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> LinkKeyTables:
        return cls(**fields)

    @property
    def count(self) -> int:
        """Number of keys."""
        return len(self.ids) - 1 + sum(map(len, self.pairs.values()))

    def numbers(
        self, types: Sequence[str], kinds: Ints, sources: Codes, targets: Codes, link_ids: pl.Series
    ) -> Ints:
        """Return the key of each link, known or new; `kinds` are numbers of `types`, and links of other types
        have ids.
        """
        result, spaces = np.zeros(len(kinds), np.int64), len(types) + 1
        named = where_present(link_ids)
        if named.any():
            result[named] = self.ids.intern(link_ids.filter(pl.Series(named))).astype(np.int64) * spaces
        for kind in distinct(kinds[~named]).tolist():
            rows = np.flatnonzero(~named & (kinds == kind))
            codes = self.pair_codes(types[int(kind)], sources[rows], targets[rows])
            result[rows] = codes.astype(np.int64) * spaces + kind + 1
        return result

    def pair_codes(self, kind: str, sources: Codes, targets: Codes) -> Codes:
        """Return the codes of pairs of ids, for links of one type."""
        with self.lock:
            table = self.pairs.setdefault(kind, HashTable())
            return insert_pairs(table, sources.astype(np.uint64), targets.astype(np.uint64))


@dataclass(frozen=True)
class SnapshotLinkKeys:
    """Links of one type in a snapshot, with the codes of their keys."""

    kind: str
    by_id: Codes
    by_pair: Codes

    @classmethod
    def of(
        cls, tables: LinkKeyTables, kind: str, sources: Codes, targets: Codes, link_ids: pl.Series
    ) -> SnapshotLinkKeys:
        """Build the keys of a snapshot's links; a code is `NOBODY` if the link has the other kind of key."""
        named = where_present(link_ids)
        by_id, by_pair = np.full(len(named), NOBODY, np.int32), np.full(len(named), NOBODY, np.int32)
        if named.any():
            by_id[named] = tables.ids.intern(link_ids.filter(pl.Series(named)))
        rest = ~named
        by_pair[rest] = tables.pair_codes(kind, sources[rest], targets[rest])
        return cls(kind, by_id, by_pair)

    @classmethod
    def named(cls, tables: LinkKeyTables, kind: str, link_ids: pl.Series) -> SnapshotLinkKeys:
        """Build the keys of links with ids only, for a type that flows do not read."""
        by_id = np.full(len(link_ids), NOBODY, np.int32)
        named = where_present(link_ids)
        by_id[named] = tables.ids.intern(link_ids.filter(pl.Series(named)))
        return cls(kind, by_id, np.full(len(link_ids), NOBODY, np.int32))


class LinkKeys(StateObject):
    """Current link of each key. A key is a number made of its code and its space."""

    saved = keeps(
        _tables=SharedField("tables"),
        _kinds=ListField(TextField()),
        _holders=ListField(ArrayField(np.int64, NOBODY)),
        any_ids=FlagField(),
    )

    def __init__(
        self, tables: LinkKeyTables, kinds: Sequence[str], known: Sequence[SnapshotLinkKeys] = ()
    ) -> None:
        self._tables = tables
        self._kinds = list(kinds)
        # number of all other link types, whose links have a key only if they have an id
        self.others = len(self._kinds)
        self._spaces = len(self._kinds) + 1
        # space 0 holds link ids, space k + 1 the pairs of link type k
        self._arrays: list[Ints | Past] = [np.full(1, NOBODY, np.int64) for _ in range(self._spaces)]
        self._pasts = [Pasts() for _ in range(self._spaces)]
        # larger arrays in the making
        self._growing: dict[int, Copying] = {}
        self.any_ids = False
        for links in known:
            kind = self._kinds.index(links.kind) if links.kind in self._kinds else self.others
            for space, codes in ((0, links.by_id), (kind + 1, links.by_pair)):
                rows = np.flatnonzero(codes >= 0)
                if len(rows):
                    self.any_ids |= space == 0
                    self._room(space, int(codes.max()) + 1)
                    self._own(space)[codes[rows]] = rows * self._spaces + kind

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> LinkKeys:
        identities = cls(fields["_tables"], fields["_kinds"])
        source.agree(holders=len(fields["_holders"]), spaces=identities._spaces)
        source.check(all(map(len, fields["_holders"])), "without room")
        identities._arrays, identities.any_ids = fields["_holders"], fields["any_ids"]
        return identities

    def to_fields(self) -> dict[str, Any]:
        self.settle()
        return super().to_fields()

    def settle(self) -> None:
        """Copy the arrays that are shared; any thread may do this."""
        for array in self._arrays:
            if isinstance(array, Past):
                array.settle()

    def fork(self) -> LinkKeys:
        """Return a copy-on-write fork."""
        forked = LinkKeys(self._tables, self._kinds)
        forked._arrays = [
            array if isinstance(array, Past) else pasts.make(array)
            for array, pasts in zip(self._arrays, self._pasts, strict=True)
        ]
        forked.any_ids = self.any_ids
        return forked

    @property
    def _holders(self) -> list[Ints]:
        return [array.read() if isinstance(array, Past) else array for array in self._arrays]

    def _own(self, space: int) -> Ints:
        """Return an array that may be changed."""
        array = self._arrays[space]
        if isinstance(array, Past):
            array = self._arrays[space] = array.read().copy()
        return array

    def held(self, kind: str | None, tables: Sequence[LinkTable]) -> Inside:
        """Return the key codes that links hold: of link ids, or of the pairs of one link type.

        `tables` have the links of each type, and are not changed: links may have ended without releasing
        their keys.
        """
        # code 0 is not an id
        space, first = (0, 1) if kind is None else (self._kinds.index(kind) + 1, 0)
        holders = self._holders[space][first:]

        def read(codes: Ints) -> Ints:
            codes = codes[holders[codes] != NOBODY]
            links, kinds = np.divmod(holders[codes], self._spaces)
            alive: Mask = kinds == self.others
            for number, table in enumerate(tables):
                mine = np.flatnonzero(kinds == number)
                alive[mine] = table.alive(links[mine])
            there: Ints = codes[alive]
            return there

        return Inside(range(len(holders)), read)

    @property
    def kinds(self) -> list[str]:
        """Link types, in the order of their numbers."""
        return self._kinds

    @classmethod
    def concat(cls, kinds: Sequence[str], parts: Sequence[LinkKeys]) -> LinkKeys:
        """Merge the keys of several parts of one graph with different link types."""
        both = cls(parts[0]._tables, kinds)
        for part in parts:
            both.any_ids |= part.any_ids
            number = np.array(
                [kinds.index(k) if k in kinds else both.others for k in part._kinds] + [both.others]
            )
            for space, holder in enumerate(part._holders):
                held = np.flatnonzero(holder != NOBODY)
                to = 0 if space == 0 else int(number[space - 1]) + 1
                if not len(held) or to > both.others:
                    continue
                both._room(to, len(holder))
                links, of = np.divmod(holder[held], part._spaces)
                of = number[of]
                # another part may know the type of a link that is foreign to this one
                fresh = (of != both.others) | (both._holders[to][held] == NOBODY)
                both._own(to)[held[fresh]] = (links * both._spaces + of)[fresh]
        return both

    def fits(self, sizes: Sequence[int]) -> bool:
        """Return True if all links with keys have numbers below the sizes of their types."""
        held = np.concatenate([holder[holder != NOBODY] for holder in self._holders])
        links, kinds = np.divmod(held, self._spaces)
        return bool((links < np.array([*sizes, ALL])[kinds]).all())

    def holders(self, identities: Ints) -> tuple[Ints, Ints]:
        """Return the link of each key, which may be new, as its number and its type; `NOBODY` for none."""
        held = np.full(len(identities), NOBODY, np.int64)
        for space, rows in self._by_space(identities):
            self.any_ids |= space == 0
            places = identities[rows] // self._spaces
            self._room(space, int(places.max()) + 1)
            held[rows] = self._holders[space][places]
        return np.where(held >= 0, held // self._spaces, NOBODY), held % self._spaces

    def hold(self, identities: Ints, links: Ints, kinds: Ints) -> None:
        """Assign links to keys (`NOBODY`: none)"""
        held = np.where(links >= 0, links * self._spaces + kinds, NOBODY)
        for space, rows in self._by_space(identities):
            array, places = self._own(space), identities[rows] // self._spaces
            self._pasts[space].note(array, places)
            array[places] = held[rows]
            if space in self._growing:
                self._growing[space].note(places)

    def _by_space(self, identities: Ints) -> list[tuple[int, Ints]]:
        spaces = identities % self._spaces
        present = np.flatnonzero(np.bincount(spaces, minlength=self._spaces)).tolist()
        return [(space, np.flatnonzero(spaces == space)) for space in present]

    def _room(self, space: int, size: int) -> None:
        array, growing = self._own(space), self._growing.get(space)
        if size > len(array):
            if growing is None or len(growing) < size:
                growing = Copying(room(size, len(array)), array, NOBODY)
        elif growing is None and lacks_room(size, array):
            growing = self._growing[space] = Copying(room(len(array) + 1, len(array)), array, NOBODY)
        if growing is not None and (growing.step(array) or size > len(array)):
            self._arrays[space] = growing.finish(array)
            self._growing.pop(space, None)
            self._pasts[space].leave()
