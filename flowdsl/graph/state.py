"""Graph during a run: the state before the current chunk, and the changes of its events.

Every lookup names the event whose effect it sees. So one pass over a chunk answers for all its events at
once, and later changes cannot leak into earlier answers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.graph.changes import (
    EntityEvents,
    LinkEvents,
    Succession,
    change_links,
    first_mentions,
    following,
    metadata_of,
)
from flowdsl.graph.entities import AMBIGUOUS, NONE, EntityIndex, Numbers, TypedVersions
from flowdsl.graph.fetchers import FetcherSession
from flowdsl.graph.link_keys import LinkKeys, LinkKeyTables, SnapshotLinkKeys
from flowdsl.graph.links import LinkTable
from flowdsl.graph.live_count import SCANNED, LiveCount
from flowdsl.graph.merged_updates import merge_data
from flowdsl.graph.past import room
from flowdsl.graph.requirements import GraphRequirements
from flowdsl.graph.sorted_run import ALIVE
from flowdsl.graph.versions import Compaction, VersionStore
from flowdsl.log.event_rows import EventRows
from flowdsl.values.columns import Column
from flowdsl.values.interner import Codes, Interner
from flowdsl.values.json_extraction import Documents
from flowdsl.values.json_texts import null_texts
from flowdsl.values.json_types import Index, Mask
from flowdsl.values.key_collection import Inside
from flowdsl.values.masks import where_present
from flowdsl.values.paths import Path
from flowdsl.values.state_fields import (
    INTERNER,
    ArrayField,
    DictField,
    FlagField,
    ListField,
    ObjectField,
    OptionalField,
    SharedField,
    TextField,
    WholeField,
)
from flowdsl.values.state_objects import StateObject, StateReader, keeps

COMPACT_ABOVE = 1 << 14
_NO_ROWS = np.zeros(0, np.int64)
SeqNos = npt.NDArray[np.int64]


@dataclass(frozen=True)
class GraphEvents:
    """Changes that the events of a chunk make to entities and links that are looked up."""

    entities: EntityEvents | None
    links: LinkEvents | None


@dataclass
class GraphState(StateObject):
    """Entities and links as of each event of the chunk that was last passed to `advance`"""

    saved = keeps(
        interner=INTERNER,
        needs=ObjectField(GraphRequirements),
        versions=ObjectField(VersionStore),
        anywhere=ObjectField(EntityIndex),
        by_type=DictField(ObjectField(EntityIndex)),
        fetchers=DictField(ObjectField(FetcherSession)),
        type_of=ArrayField(np.int16, -1),
        several=ObjectField(TypedVersions),
        type_numbers=DictField(WholeField(0, (1 << 15) - 1)),
        links=DictField(ObjectField(LinkTable)),
        tables=SharedField("tables"),
        identities=OptionalField(ObjectField(LinkKeys)),
        frozen=FlagField(),
        merge=ListField(TextField(), frozenset),
    )

    interner: Interner
    needs: GraphRequirements
    versions: VersionStore
    anywhere: EntityIndex
    by_type: dict[str, EntityIndex] = field(default_factory=dict)
    fetchers: dict[str, FetcherSession] = field(default_factory=dict)
    type_of: npt.NDArray[np.int16] = field(default_factory=lambda: np.full(1, -1, np.int16))
    several: TypedVersions = field(default_factory=TypedVersions)
    type_numbers: dict[str, int] = field(default_factory=dict)
    links: dict[str, LinkTable] = field(default_factory=dict)
    tables: LinkKeyTables = field(default_factory=LinkKeyTables)
    known_links: Callable[[], list[SnapshotLinkKeys]] = list
    identities: LinkKeys | None = None
    frozen: bool = False
    merge: frozenset[str] = frozenset()
    """The entity types whose updates change only the fields that they have."""
    _live: LiveCount = field(default_factory=lambda: LiveCount())
    before: Numbers = field(default_factory=lambda: np.zeros(0, np.int32))
    """Of each event of the chunk, the version of its entity before it; only where a flow asks for it."""

    def to_fields(self) -> dict[str, Any]:
        # the keys of a snapshot's links are usually built at the first change; a saved state needs them now
        if self.identities is None and self.links:
            return {
                **super().to_fields(),
                "identities": LinkKeys(self.tables, list(self.links), self.known_links()),
            }
        return super().to_fields()

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> GraphState:
        identities = fields["identities"]
        if identities is not None:
            source.check(identities.kinds == list(fields["links"]), "of other links")
            numbers = [table.next for table in fields["links"].values()]
            source.check(identities.fits(numbers), "holding a link that there is not")
        source.check(fields["fetchers"].keys() <= fields["by_type"].keys(), "without a type that it asks for")
        return cls(**fields)

    def fork(self) -> GraphState:
        """Return a copy-on-write fork."""
        return GraphState(
            self.interner,
            self.needs,
            self.versions.fork(),
            self.anywhere.fork(),
            {name: index.fork() for name, index in self.by_type.items()},
            {name: session.fork() for name, session in self.fetchers.items()},
            self.type_of.copy(),
            self.several.fork(),
            dict(self.type_numbers),
            {name: table.fork() for name, table in self.links.items()},
            self.tables,
            self.known_links,
            None if self.identities is None else self.identities.fork(),
            merge=self.merge,
        )

    @property
    def changing(self) -> bool:
        """True if the current chunk changes any entity, so that lookups depend on their event."""
        return self.anywhere.changing or any(index.changing for index in self.by_type.values())

    def find(self, ids: Codes, seen: Numbers, kind: str | None = None) -> Numbers:
        """Return the version of each entity after the event `seen` of the chunk; `NONE`, or `AMBIGUOUS` if it
        has several types.
        """
        if kind is not None:
            if kind in self.fetchers:
                self._fetch(kind, ids)
            return self._find_in(self.by_type[kind], ids, seen)
        found = self._find_in(self.anywhere, ids, seen)
        for name in self.fetchers:
            self._fetch(name, ids)
            there = self._find_in(self.by_type[name], ids, seen)
            several = found if self.several.first else np.where(there != NONE, np.int32(AMBIGUOUS), found)
            found = np.where(found == NONE, there, several)
        return found

    def _find_in(self, index: EntityIndex, ids: Codes, seen: Numbers) -> Numbers:
        index.reserve(len(self.interner))
        return index.find(ids, seen)

    def first_link(self, kind: str, direction: str, ids: Codes, seqs: SeqNos) -> Codes:
        """Return the other end of each id's earliest link after the event `seqs`, or 0."""
        return self.links[kind].first(direction, ids, self._visible(seqs))

    def expand(self, kind: str, direction: str, ids: Codes, seqs: SeqNos) -> tuple[Index, Codes]:
        """Return all links of each id after the event `seqs`, in link order: the row of the id, and the other
        end.
        """
        return self.links[kind].expand(direction, ids, self._visible(seqs))

    def most_links(self, kind: str, direction: str, ids: Codes) -> Index:
        """Return an upper bound of each id's number of links at any moment."""
        return self.links[kind].most(direction, ids)

    def linked(self, kind: str, sources: Codes, targets: Codes, seqs: SeqNos) -> Mask:
        """Mark the pairs of ids with a link from the one to the other after the event `seqs`."""
        return self.links[kind].linked(sources, targets, self._visible(seqs))

    def count_links(self, kind: str, direction: str, ids: Codes, seqs: SeqNos) -> SeqNos:
        """Return how many links each id has after the event `seqs`."""
        return self.links[kind].counts(direction, ids, self._visible(seqs))

    def first_metadata(self, kind: str, direction: str, ids: Codes, seqs: SeqNos, below: Path) -> Column:
        """Return the metadata at a path of each id's earliest link, after the event `seqs`."""
        return self.links[kind].first_metadata(direction, ids, self._visible(seqs), below)

    def _visible(self, seqs: SeqNos) -> SeqNos:
        # the final state, on purpose: every link that did not end is visible to all events
        return np.full(len(seqs), ALIVE - 1) if self.frozen else seqs

    def _fetch(self, kind: str, ids: Codes) -> None:
        """Request ids from a fetcher. All ids looked up are requested, so that results do not depend on where
        chunks begin.
        """
        for codes, documents in self.fetchers[kind].fetch(ids, self.interner):
            start = self.versions.add(documents, codes)
            untouched = self.by_type[kind].where_untouched(codes)
            versions = (start + np.arange(len(codes))).astype(np.int32)
            self.by_type[kind].set_base(codes[untouched], versions[untouched])

    def read(self, events: EventRows) -> GraphEvents:
        """Return what a chunk's events say of entities and links that are looked up.

        It depends on no earlier event: any thread may read it before `advance` applies it.
        """
        entities = self.needs.entities and (self.needs.before or not self.frozen)
        links = self.links and not self.frozen
        return GraphEvents(
            self._entity_events(events) if entities else None, self._link_events(events) if links else None
        )

    @property
    def scanned(self) -> Hashable:
        """All of the graph that `read` depends on, but for the integers of ids and of link keys."""
        return tuple(self.links), self.needs.entities, self.needs.before, self.frozen

    def changed_by(self, read: GraphEvents) -> bool:
        """Return True if lookups are others after these changes."""
        return self.needs.before or read.entities is not None or read.links is not None

    def advance(self, events: EventRows, read: GraphEvents | None = None) -> Index:
        """Apply the changes of a chunk's events; return the rows of deletions that matched nothing.

        Deletions of links count if their type is looked up, or if they name none; those of entities if
        entities are looked up, unless a function supplies their type.
        """
        read = read or self.read(events)
        if self.needs.before:
            self.before = np.full(len(events), NONE, np.int32)
        unmet: list[Index] = []
        if read.entities is not None:
            unmet.append(self._advance_entities(events, read.entities))
        if read.links is not None:
            unmet.append(self._advance_links(events, read.links))
        return np.sort(np.concatenate([_NO_ROWS, *unmet]))

    def commit(self) -> None:
        """Apply the chunk's changes to the base state."""
        self.anywhere.commit()
        for index in self.by_type.values():
            index.commit()
        for table in self.links.values():
            table.commit()

    def _entity_events(self, events: EventRows) -> EntityEvents | None:
        deleted = events.of_kinds("entity.deleted")
        rows = np.flatnonzero(deleted | events.of_kinds("entity.created", "entity.updated"))
        if not len(rows):
            return None
        ids = events.codes_at("entity_id", rows)
        return EntityEvents(rows, ids, events.frame["entity_type"][rows], deleted[rows])

    def _advance_entities(self, events: EventRows, changes: EntityEvents) -> Index:
        frame, rows, ids, deleted = events.frame, changes.rows, changes.ids, changes.deleted
        types = self._type_codes(changes.types)
        merging = self._merging(events, rows, types)
        asked = self.needs.before or merging.any()
        current = self._current(ids, types) if asked else np.zeros(0, np.int32)
        if self.needs.before:
            self.before[rows] = current
            if self.frozen:
                return _NO_ROWS
        fetched = np.isin(types, self._numbers_of(self.fetchers))
        keys = ids.astype(np.int64) * len(self.type_numbers) + types
        unmet = self._unmet(keys, ids, types, deleted) & ~fetched
        versions = np.full(len(rows), NONE, np.int32)
        set_ = np.flatnonzero(~deleted)
        if len(set_):
            data = frame["data"][rows[set_]] if "data" in frame.columns else null_texts(len(set_))
            if merging.any():
                data = merge_data(
                    data, set_, merging, keys, deleted, lambda some: self.versions.texts(current[some])
                )
            start = self.versions.add(Documents(data, hints=self.needs.paths), ids[set_])
            versions[set_] = start + np.arange(len(set_))
        if self.needs.before:
            later, earlier = following(keys)
            self.before[rows[later]] = versions[earlier]
        self._put(ids, rows.astype(np.int32), types, versions, fetched)
        return rows[unmet]

    def _put(
        self,
        ids: Codes,
        positions: npt.NDArray[np.int32],
        types: npt.NDArray[np.int16],
        versions: Numbers,
        fetched: Mask,
    ) -> None:
        """Add the versions that events set, by type and by id alone."""
        for name, index in self.by_type.items():
            mine = types == self.type_numbers.get(name, -1)
            if mine.any():
                index.put(ids[mine], positions[mine], versions[mine])
        # entities of fetchers are kept by type only; `find` merges them
        rest = ~fetched
        if rest.any():
            self._put_anywhere(ids[rest], positions[rest], types[rest], versions[rest])

    def _merging(self, events: EventRows, rows: Index, types: npt.NDArray[np.int16]) -> Mask:
        """Mark the updates that change only the fields that they have."""
        if not self.merge:
            return np.zeros(len(rows), np.bool_)
        mask: Mask = events.of_kinds("entity.updated")[rows] & np.isin(types, self._numbers_of(self.merge))
        return mask

    def _numbers_of(self, names: Iterable[str]) -> list[int]:
        return [self.type_numbers[name] for name in names if name in self.type_numbers]

    def _unmet(self, keys: SeqNos, ids: Codes, types: npt.NDArray[np.int16], deleted: Mask) -> Mask:
        """Mark the deletions of entities that do not exist."""
        if not deleted.any():
            return deleted
        first, alive = first_mentions(keys, deleted)
        asked = np.flatnonzero(first & deleted)
        alive[asked] = self._version_before(ids[asked], types[asked]) != NONE
        return deleted & ~alive

    def _current(self, ids: Codes, types: npt.NDArray[np.int16]) -> Numbers:
        """Return the version of each entity before the chunk, also of what functions supply."""
        found = self._version_before(ids, types)
        for name in self.fetchers:
            mine = np.flatnonzero(types == self.type_numbers.get(name, -1))
            if len(mine):
                self._fetch(name, ids[mine])
                found[mine] = self.by_type[name].currents(ids[mine])
        return found

    def _version_before(self, ids: Codes, types: npt.NDArray[np.int16]) -> Numbers:
        """Return the version of each entity before the chunk; `NONE` for what functions supply."""
        known = ids < len(self.type_of)
        here = known & (self.type_of.take(np.where(known, ids, 0)) == types)
        found = np.where(here, self.anywhere.currents(ids), np.int32(NONE))
        if self.several.of:
            for row in np.flatnonzero(np.isin(ids, np.fromiter(self.several.of, np.int32))).tolist():
                found[row] = self.several.of[int(ids[row])].get(int(types[row]), NONE)
        return found

    def _put_anywhere(
        self, ids: Codes, positions: Numbers, types: npt.NDArray[np.int16], versions: Numbers
    ) -> None:
        size = int(ids.max()) + 1
        if size > len(self.type_of):
            grown = np.full(room(size, len(self.type_of)), -1, np.int16)
            grown[: len(self.type_of)] = self.type_of
            self.type_of = grown
        # the first type of an id; with any other, the id joins the few that have several
        fresh = np.flatnonzero(self.type_of[ids] == -1)
        self.type_of[ids[fresh[::-1]]] = types[fresh[::-1]]
        for row in np.flatnonzero(self.type_of[ids] != types).tolist():
            code = int(ids[row])
            if code not in self.several.of:
                self.several.of[code] = {int(self.type_of[code]): self.anywhere.current(code)}
        if self.several.of:
            versions = versions.copy()
            for row in np.flatnonzero(np.isin(ids, np.fromiter(self.several.of, np.int32))).tolist():
                versions[row] = self.several.apply(int(ids[row]), int(types[row]), int(versions[row]))
        self.anywhere.put(ids, positions, versions)

    def _type_codes(self, types: pl.Series) -> npt.NDArray[np.int16]:
        types = types.cast(pl.String)
        known = types.cast(pl.Enum(list(self.type_numbers)), strict=False)
        if known.null_count():
            # numbered in order of appearance, so that the first type of an id is deterministic
            for name in types.filter(known.is_null()).unique(maintain_order=True).to_list():
                self.type_numbers[name] = len(self.type_numbers)
            known = types.cast(pl.Enum(list(self.type_numbers)))
        return np.array([*self.type_numbers.values()], np.int16).take(known.to_physical().to_numpy())

    def _link_events(self, events: EventRows) -> LinkEvents | None:
        created = events.of_kinds("link.created")
        rows = np.flatnonzero(created | events.of_kinds("link.deleted"))
        if not len(rows):
            return None
        frame = events.frame
        link_ids = frame["link_id"] if "link_id" in frame.columns else null_texts(len(frame))
        of_types = [events.of_type("link_type", name) for name in self.links]
        # link ids are unique across types: a link of another type replaces one that is used here
        used: Mask = np.logical_or.reduce([where_present(link_ids), *of_types])
        rows = rows[used[rows]]
        if not len(rows):
            return None
        kinds = np.full(len(rows), len(of_types), np.int64)
        for number, of_type in enumerate(of_types):
            kinds[of_type[rows]] = number
        if events.is_most(len(rows)):
            events.prepare(("source_id", "target_id"))
        sources, targets = events.codes_at("source_id", rows), events.codes_at("target_id", rows)
        link_ids, seqs = link_ids[rows], frame["seq_no"].to_numpy()[rows]
        keys = self.tables.numbers(list(self.links), kinds, sources, targets, link_ids)
        return LinkEvents(
            rows,
            kinds,
            sources,
            targets,
            link_ids,
            keys,
            created[rows],
            seqs,
            Succession.of(keys, seqs),
            metadata_of(events, rows),
        )

    def _advance_links(self, events: EventRows, changes: LinkEvents) -> Index:
        if self.identities is None:
            self.identities = LinkKeys(self.tables, list(self.links), self.known_links())
        unmet = np.flatnonzero(change_links(list(self.links.values()), self.identities, changes))
        rows = changes.rows[unmet]
        # the links of other types are unknown
        known = (changes.kinds[unmet] < len(self.links)) | ~where_present(events.frame["link_type"][rows])
        return rows[known]

    def forget_ids(self, codes: npt.NDArray[np.integer[Any]]) -> None:
        """Forget what is known of codes that are about to be reused."""
        self.type_of[codes[codes < len(self.type_of)]] = -1

    def held_identities(self, kind: str | None) -> Iterator[Inside]:
        """Yield the keys that links hold: of ids, or of pairs of one link type."""
        if self.identities is not None and (kind is None or kind in self.links):
            yield self.identities.held(kind, [table.fork() for table in self.links.values()])

    def bound(self, largest: int) -> None:
        """Limit the number of versions or links of a type that are moved at once."""
        # a version is a text, too
        self.versions.largest = largest // 2
        for table in self.links.values():
            table.largest = largest

    def crowded(self, held: Callable[[], int]) -> bool:
        """Return True if most versions of the log are unused; `held` counts those in buffered contexts."""
        fresh = self.versions.size - self.versions.base
        if fresh <= COMPACT_ABOVE:
            return False
        live = self._live.at_most(self.anywhere.live(), self.versions)
        return live is not None and fresh > 2 * (live + held())

    def settle(self) -> None:
        """Make the copies that this fork has deferred. The original graph may change meanwhile."""
        for index in (self.anywhere, *self.by_type.values()):
            index.settle()
        if self.identities is not None:
            self.identities.settle()

    @property
    def shared(self) -> bool:
        """True if a fork has deferred copies of this graph."""
        return any(index.shared for index in (self.anywhere, *self.by_type.values()))

    def compaction(self, held: Callable[[], Iterable[Numbers]]) -> Compaction:
        """Start to remove versions that are neither current nor `held` by contexts.

        `held` is asked when all current ones are known.
        """
        return self.versions.compaction(self._current_versions(), held)

    def _current_versions(self) -> Iterator[Numbers]:
        for index in (self.anywhere, *self.by_type.values()):
            start = 0
            while start < len(current := index.live()):
                yield current[start : start + SCANNED]
                start += SCANNED
        yield self.several.live()

    def renumber_some(self, mapping: Numbers) -> bool:
        """Look up some new numbers of versions; return True once `renumber` has little left to do."""
        return all(index.renumber_some(mapping) for index in (self.anywhere, *self.by_type.values()))

    def renumber(self, mapping: Numbers) -> None:
        """Apply new numbers of versions."""
        self._live = LiveCount()
        for index in (self.anywhere, *self.by_type.values()):
            index.renumber(mapping)
        self.several.renumber(mapping)
