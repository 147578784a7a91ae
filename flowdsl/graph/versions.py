"""Store of all entity versions that can still be referred to, and of values below them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.values.columns import Column
from flowdsl.values.interner import Codes, Interner
from flowdsl.values.json_extraction import Documents
from flowdsl.values.json_texts import null_texts
from flowdsl.values.json_types import Index, Mask, Tag
from flowdsl.values.masks import where_equal
from flowdsl.values.orders import distinct, inverse
from flowdsl.values.paths import Path
from flowdsl.values.state_fields import (
    CODES,
    INTERNER,
    MOST,
    FlagField,
    ListField,
    ObjectField,
    SharedField,
    WholeField,
)
from flowdsl.values.state_objects import StateObject, StateReader, keeps

ID: Path = ("id",)
# marks that are searched at a time
_LOOKED: Final = 1 << 18


class DerivedColumns:
    """Cache of expressions evaluated for all versions of a block, with the number of requests.

    That of a snapshot's block serves one replay after the other.
    """

    def __init__(self) -> None:
        self._asked: dict[object, int] = {}
        self._known: dict[object, Any] = {}
        self._used: set[object] = set()

    def get(self, key: object, asked: int, size: int) -> Any:
        """Return the cached value; True if it is time to compute it, None if evaluating only the rows is
        cheaper.
        """
        self._used.add(key)
        known = self._known.get(key)
        if known is not None:
            return known
        total = self._asked.get(key, 0) + asked
        self._asked[key] = total
        return True if total >= size else None

    def put(self, key: object, value: Any) -> None:
        """Cache a value."""
        self._known[key] = value

    def begin(self) -> None:
        """Begin another replay: what the last one has not asked for is dropped."""
        used, asked, known = self._used, self._asked, self._known
        # another thread may be asking meanwhile
        self._used = set()
        self._asked = {key: asked[key] for key in list(asked) if key in used}
        self._known = {key: known[key] for key in list(known) if key in used}


class VersionBlock(StateObject):
    """Versions added together: objects and entity ids; columns are parsed once for all of them."""

    saved = keeps(documents=ObjectField(Documents), ids=CODES, own_id=FlagField(), _interner=INTERNER)

    def __init__(self, documents: Documents, ids: Codes, interner: Interner, *, own_id: bool = True) -> None:
        self.documents = documents
        self.ids = ids
        # True if entities have their id even if their data lacks it
        self.own_id = own_id
        self._interner = interner
        self._id_column: Column | None = None
        self.derived = DerivedColumns()

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> VersionBlock:
        source.agree(documents=len(fields["documents"]), ids=len(fields["ids"]))
        return cls(fields["documents"], fields["ids"], fields["_interner"], own_id=fields["own_id"])

    def __len__(self) -> int:
        return len(self.ids)

    def column(self, below: Path) -> Column:
        """Return the values at a path; for the empty path, whole objects including their `id`"""
        if not self.own_id:
            return self.documents.column(below)
        if below == ID:
            if self._id_column is None:
                self._id_column = self._read_ids()
            return self._id_column
        if not below:
            return self._whole()
        return self.documents.column(below)

    def has(self, below: Path) -> bool:
        """Return True if a path can be read without parsing."""
        if below == ID and self._id_column is not None:
            return True
        return self.documents.has(below)

    def _read_ids(self) -> Column:
        """Return `id` from the data, or the entity's own if it is missing or a number."""
        own = Column.from_codes(self.ids, self._interner)
        found = self.documents.column(ID)
        if found.all_(Tag.MISSING):
            return own if self._objects().all() else self._only_objects(own)
        if found.all_(Tag.TEXT):
            # find only, do not intern: codes of new texts may be reused before this is read
            return own if (self._interner.find(found.text_series()) == self.ids).all() else found
        replaced = self._mark_number_ids(found) | (found.is_(Tag.MISSING) & self._objects())
        return Column.concat([found, own]).take(np.arange(len(self)) + np.where(replaced, len(self), 0))

    def _mark_number_ids(self, found: Column) -> Mask:
        """Mark data that has the entity's id as a number."""
        number = found.is_(Tag.INT)
        if number.any() and found.ints is not None:
            own = Column.from_codes(self.ids, self._interner).text_series()
            number &= where_equal(pl.Series(found.ints).cast(pl.String), own)
        return number

    def _objects(self) -> Mask:
        """Mark data that is an object, or null (which stands for an empty object)"""
        if self.documents.series.dtype != pl.String:
            return np.ones(len(self), np.bool_)
        head = self.documents.series.str.strip_chars_start().str.slice(0, 1)
        return (
            head.eq("{").fill_null(value=True) | self.documents.series.eq("null").fill_null(value=True)
        ).to_numpy()

    def _only_objects(self, own: Column) -> Column:
        objects = self._objects()
        return Column(own.size, np.where(objects, own.tag_array(), np.uint8(Tag.MISSING)), texts=own.texts)

    def _whole(self) -> Column:
        """Return the objects with their ids as text, added first if missing."""
        whole, found = self.documents.column(()), self.documents.column(ID)
        numbered = np.flatnonzero(self._mark_number_ids(found))
        if len(numbered):
            own = self._interner.texts(self.ids.take(numbered)).to_list()
            objects = whole.take(numbered).values()
            with_text = Column.of([{**data, "id": own_id} for data, own_id in zip(objects, own, strict=True)])
            places = np.arange(len(self))
            places[numbered] = len(self) + np.arange(len(numbered))
            whole = Column.concat([whole, with_text]).take(places)
        lacking = found.is_(Tag.MISSING) & self._objects()
        if not lacking.any():
            return whole
        ids = Column.from_codes(self.ids, self._interner).to_json()
        texts = null_texts(len(self)) if whole.nested is None else whole.nested
        frame = pl.DataFrame({"i": ids, "t": texts, "lacking": lacking})
        rest = pl.col("t").fill_null("{}").str.slice(1)
        comma = pl.when(rest == "}").then(pl.lit("")).otherwise(pl.lit(","))
        built = frame.select(
            pl.when("lacking")
            .then(pl.concat_str([pl.lit('{"id":'), "i", comma, rest]))
            .otherwise("t")
            .alias("j")
        ).to_series()
        tags = np.where(lacking, np.uint8(Tag.OBJECT), whole.tag_array())
        return whole.having(tags=tags, nested=built)

    def gather(self, rows: Index) -> VersionBlock:
        """Return a copy of some versions."""
        return VersionBlock(
            self.documents.gather(rows), self.ids.take(rows), self._interner, own_id=self.own_id
        )

    def bare(self) -> VersionBlock:
        """Return the same versions without ids that their data lacks."""
        return VersionBlock(self.documents, self.ids, self._interner, own_id=False)

    @classmethod
    def concat(cls, first: VersionBlock, second: VersionBlock, hints: Iterable[Path]) -> VersionBlock:
        """Concatenate two blocks."""
        ids = np.concatenate([first.ids, second.ids])
        documents = Documents.concat(first.documents, second.documents, hints)
        both = cls(documents, ids, first._interner, own_id=first.own_id)
        if first._id_column is not None and second._id_column is not None:
            both._id_column = Column.concat([first._id_column, second._id_column])
        return both


class VersionStore(StateObject):
    """Numbered blocks of versions; the first `base` versions are the snapshot's, and immutable."""

    saved = keeps(
        _blocks=ListField(ObjectField(VersionBlock)),
        _base_blocks=WholeField(0, MOST),
        base=WholeField(0, MOST),
        _own_ids=FlagField(),
        _interner=INTERNER,
        _hints=SharedField("hints"),
    )

    def __init__(
        self,
        interner: Interner,
        blocks: Iterable[VersionBlock] = (),
        hints: Iterable[Path] = (),
        *,
        own_ids: bool = True,
    ) -> None:
        self._interner = interner
        self._own_ids = own_ids
        self._blocks = [block if block.own_id == own_ids else block.bare() for block in blocks]
        self._base_blocks = len(self._blocks)
        self._hints = tuple(hints)
        # blocks are not merged beyond this number of versions
        self.largest = 1 << 62
        self._renumber()
        self.base = self.size
        # the last selection: the next path is often read at the same versions
        self._picked: tuple[npt.NDArray[np.int32], VersionBlock, Index] | None = None

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> VersionStore:
        store = cls(fields["_interner"], fields["_blocks"], fields["_hints"], own_ids=fields["_own_ids"])
        source.check(fields["_base_blocks"] <= len(store._blocks), "more blocks than there are")
        store._base_blocks, store.base = fields["_base_blocks"], fields["base"]
        source.check(store.base == store._starts[store._base_blocks], "not as many as its first blocks have")
        source.given["versions"] = store.size
        return store

    def fork(self) -> VersionStore:
        """Return a copy-on-write fork."""
        forked = VersionStore(self._interner, self._blocks, self._hints, own_ids=self._own_ids)
        forked._base_blocks, forked.base, forked.largest = self._base_blocks, self.base, self.largest
        return forked

    def _renumber(self) -> None:
        self._starts = np.concatenate([[0], np.cumsum([*map(len, self._blocks)], dtype=np.int64)])

    @property
    def size(self) -> int:
        """Number of versions."""
        return int(self._starts[-1])

    def add(self, documents: Documents, ids: Codes) -> int:
        """Add versions, and return the number of the first one."""
        start = self.size
        self._blocks.append(VersionBlock(documents, ids, self._interner, own_id=self._own_ids))
        self._join(self._blocks, self._base_blocks)
        self._renumber()
        return start

    def _join(self, blocks: list[VersionBlock], first: int = 0) -> None:
        """Merge blocks at a geometric pace, so that there are few of them, and each row is moved seldom."""
        while (
            len(blocks) - first > 1
            and len(blocks[-2]) <= 2 * len(blocks[-1])
            and len(blocks[-2]) + len(blocks[-1]) <= self.largest
        ):
            last = blocks.pop()
            blocks[-1] = VersionBlock.concat(blocks[-1], last, self._hints)

    def block_of(self, low: int, high: int) -> tuple[int, VersionBlock] | None:
        """Return the block that contains all versions from `low` to `high`, and its first version, or
        None.
        """
        first = int(np.searchsorted(self._starts, low, side="right")) - 1
        return (int(self._starts[first]), self._blocks[first]) if high < self._starts[first + 1] else None

    def column(self, below: Path, versions: npt.NDArray[np.int32]) -> Column:
        """Return the values at a path below each version; missing for negative versions."""
        absent = versions < 0
        if not self.size or absent.all():
            return Column(len(versions), Tag.MISSING)
        column = self._take(
            # for negative versions a valid one of the same block, to keep reads local
            below,
            np.where(absent, np.int32(versions.max()), versions) if absent.any() else versions,
        )
        if absent.any():
            column.tags = np.where(absent, np.uint8(Tag.MISSING), column.tag_array())
        return column

    def texts(self, versions: npt.NDArray[np.int32]) -> pl.Series:
        """Return the documents of versions as JSON text, as they were given; null for negative versions."""
        texts = null_texts(len(versions))
        which = np.searchsorted(self._starts, versions, side="right") - 1
        for block in distinct(which[versions >= 0]).tolist():
            rows = np.flatnonzero((which == block) & (versions >= 0))
            given = self._blocks[block].documents.gather(versions[rows] - self._starts[block]).json()
            texts = texts.scatter(rows, given.fill_null("null"))
        return texts

    def _take(self, below: Path, versions: npt.NDArray[np.int32]) -> Column:
        low, high = int(versions.min()), int(versions.max())
        first = int(np.searchsorted(self._starts, low, side="right")) - 1
        last = int(np.searchsorted(self._starts, high, side="right")) - 1
        if first == last:
            return self._read(first, below, versions)
        which = np.searchsorted(self._starts, versions, side="right") - 1
        parts, places = [], []
        for block in distinct(which).tolist():
            rows = np.flatnonzero(which == block)
            parts.append(self._read(block, below, versions[rows]))
            places.append(rows)
        return Column.concat(parts).take(inverse(np.concatenate(places)))

    def _read(self, block: int, below: Path, versions: npt.NDArray[np.int32]) -> Column:
        held, start = self._blocks[block], self._starts[block]
        # whole objects are rare and heavy, and of a log's versions many are never read: only those asked for
        # are taken apart, until it would have been less work to take them all
        if not below or (
            not held.has(below) and held.derived.get(("read", below), len(versions), len(held)) is None
        ):
            # read once: another thread may replace it
            picked = self._picked
            if picked is None or picked[0] is not versions:
                wanted, back = np.unique(versions - start, return_inverse=True)
                self._picked = picked = versions, held.gather(wanted), back
            return picked[1].column(below).take(picked[2])
        return held.column(below).take(versions - start if start else versions)

    def compaction(
        self, live: Iterator[npt.NDArray[np.int32]], held: Callable[[], Iterable[npt.NDArray[np.int32]]]
    ) -> Compaction:
        """Start to remove all versions of the log but those `live` and `held`; negative numbers are ignored.

        `live` is read step by step, and what comes meanwhile has numbers of its own; `held` after that.
        """
        return Compaction(self, live, held)


class Compaction:
    """Incremental copy of the versions in use, while the store is used and grows.

    What is of no use once all that is live was looked at is of none later on, and whatever is added meanwhile
    is gathered as well.
    """

    def __init__(
        self,
        store: VersionStore,
        live: Iterator[npt.NDArray[np.int32]],
        held: Callable[[], Iterable[npt.NDArray[np.int32]]],
    ) -> None:
        self._store, self._live, self._held = store, live, held
        # two more places, for the negative numbers
        self._used: Mask | None = np.zeros(store.size + 2, np.bool_)
        # up to where they were looked through, once all are marked
        self._looked: int | None = None
        self._kept = np.zeros(0, np.int64)
        self._size, self._at, self._is_late = store.size, 0, False
        # new number of each old version, and of -2 and -1 themselves
        self._numbers = np.empty(store.size + store.size // 8 + 2, np.int32)
        self._numbers[: store.base] = np.arange(store.base)
        self._numbers[store.base : store.size + 2] = -1
        self._blocks: list[VersionBlock] = []
        self.gathered = 0

    def step(self, most: int) -> bool:
        """Look at some ids, or copy some versions; return True once all are copied and `finish` may be called
        before more are added.
        """
        if self._looked is None and not self._mark_all(most):
            return False
        budget = most
        while most > 0:
            if self._at == len(self._kept) and not self._look():
                size = self._store.size
                if size == self._size:
                    # what is left to do takes as long as many copies: it waits for the next step, once
                    late, self._is_late = self._is_late, True
                    return late or budget - most <= budget // 4 or budget >= self._size
                self._kept, self._at = np.arange(self._size, size), 0
                self._extend(size)
            if self._at < len(self._kept):
                most -= self._gather(most)
        return False

    def _mark_all(self, most: int) -> bool:
        """Mark what some ids refer to; return True once all is marked that is live or held."""
        assert self._used is not None
        whole = most >= self._size
        for versions in self._live:
            self._mark(versions)
            if not whole and len(versions) > most:
                return False
        for versions in self._held():
            self._mark(versions)
        self._looked = self._store.base
        return whole

    def _look(self) -> bool:
        """Collect some more of the marked versions; return False once all are collected."""
        if self._used is None or self._looked is None:
            return False
        start, end = self._looked, min(self._looked + _LOOKED, len(self._used) - 2)
        self._kept, self._at, self._looked = start + np.flatnonzero(self._used[start:end]), 0, end
        if end == len(self._used) - 2:
            self._used = None
        return True

    def _mark(self, versions: npt.NDArray[np.int32]) -> None:
        assert self._used is not None
        # what came meanwhile is gathered anyway
        self._used[versions[versions < self._size]] = True

    def _gather(self, most: int) -> int:
        starts = self._store._starts
        block = int(np.searchsorted(starts, self._kept[self._at], side="right")) - 1
        end = int(np.searchsorted(self._kept, starts[block + 1]))
        rows = self._kept[self._at : min(end, self._at + most)] - starts[block]
        self._blocks.append(self._store._blocks[block].gather(rows))
        self._store._join(self._blocks)
        self._at += len(rows)
        self._numbers[rows + starts[block]] = self._store.base + self.gathered + np.arange(len(rows))
        self.gathered += len(rows)
        return len(rows)

    @property
    def mapping(self) -> npt.NDArray[np.int32]:
        """New number of each version that is in use, once all are copied."""
        return self._numbers[: self._size + 2]

    def _extend(self, size: int) -> None:
        if size + 2 > len(self._numbers):
            longer = np.empty(size + size // 8 + 2, np.int32)
            longer[: self._size] = self._numbers[: self._size]
            self._numbers = longer
        self._numbers[self._size : size + 2] = -1
        self._size = size

    def finish(self) -> npt.NDArray[np.int32]:
        """Switch the store to the copied versions; return the new number of each old one, and of -2 and -1
        themselves.
        """
        store, mapping = self._store, self.mapping
        mapping[-2:] = -2, -1
        store._blocks = store._blocks[: store._base_blocks] + self._blocks
        store._renumber()
        return mapping
