"""Graph before the first event, as users pass it in; interned once for all replays that start from it."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import polars as pl

from flowdsl.arguments import text_of, texts_of
from flowdsl.calls import answering
from flowdsl.errors import DataError
from flowdsl.events import id_text
from flowdsl.frames import rows_in
from flowdsl.graph.entities import AMBIGUOUS, NONE, EntityIndex, Numbers, TypedVersions
from flowdsl.graph.fetchers import Fetcher
from flowdsl.graph.ingest import entity_documents, link_frames
from flowdsl.graph.link_keys import LinkKeyTables, SnapshotLinkKeys
from flowdsl.graph.links import METADATA, LinkTable
from flowdsl.graph.requirements import GraphRequirements
from flowdsl.graph.state import GraphState
from flowdsl.graph.versions import VersionBlock, VersionStore
from flowdsl.log.uuids import one_spelling
from flowdsl.progress import Progress, ProgressReporter, Tick, run_in_background, track
from flowdsl.rules import FLOWDSL, Rules
from flowdsl.text import short_repr, type_text
from flowdsl.values.interner import Codes, Interner
from flowdsl.values.json_extraction import Documents
from flowdsl.values.json_types import Index, Ints, Tag
from flowdsl.values.masks import where_present
from flowdsl.values.orders import distinct

# share of the work spent on reading rows
_READING: Final = 0.4
# ids interned at once
_INTERNED: Final = 1 << 20
_NO_ID: Final = pl.Series([None], dtype=pl.Null)


@answering
class EntityGraph:
    """Entities and links as they were before the first event of a log.

    Parameters
    ----------
    entities
        For each entity type a frame with an `id` column, a list of objects with an `id`, a mapping
        id → object, or a function that takes a list of ids and returns a frame or a mapping for the ids it
        knows; it is asked once about each id.
    links
        A frame or list of mappings with `link_type, source_id, target_id` and optionally `link_id` and
        `metadata`, in the order of creation. Of links with the same identity the last one counts.
    merge
        The entity types whose `entity.updated` events change only the fields that they have (at the top
        level; null sets null). Otherwise an update sets the whole entity.
    progress
        As in `replay`; counts entities and links.

    Raises
    ------
    DataError
        If an entity or link is not valid.

    Examples
    --------
    >>> graph = EntityGraph({"user": {"u1": {"name": "Ada"}}}, [])
    >>> graph
    EntityGraph(entities={'user': 1}, links={})
    """

    def __init__(
        self,
        entities: Mapping[str, Any] | None = None,
        links: Any = None,
        *,
        merge: Iterable[str] = (),
        progress: Progress = None,
    ) -> None:
        self.merge = _entity_types(merge)
        self._lock = threading.Lock()
        self._interner = Interner()
        self._types: dict[str, tuple[int, Numbers]] = {}
        self._fetchers: dict[str, Fetcher] = {}
        self._blocks: list[VersionBlock] = []
        self._links: dict[str, LinkTable] = {}
        self._link_ids: dict[str, pl.Series] = {}
        self._link_metadata: dict[str, pl.Series] = {}
        self._tables = LinkKeyTables()
        self._known_links: dict[tuple[str, bool], SnapshotLinkKeys] = {}
        self._spelled: EntityGraph | None = None
        entities = {} if entities is None else entities
        if not isinstance(entities, Mapping):
            raise DataError(f"entities are {type_text(entities)}", allowed="a mapping entity type → entities")
        with track(progress, _rows(entities, links), "graph", "rows") as follower:
            # each row is read, then its ids are interned
            read, numbered = follower.part(_READING), follower.part(1 - _READING)
            for name, given in entities.items():
                self._add_type(name, given, read, numbered)
            if links is not None:
                self._add_links(link_frames(links, read), numbered)
            self._by_id, self._type_of, self._several = self._index_all()

    def __repr__(self) -> str:
        entities: dict[str, object] = {name: len(ids) for name, (_, ids) in self._types.items()}
        entities.update(dict.fromkeys(self._fetchers, "function"))
        links = {name: table.size for name, table in self._links.items()}
        merge = f", merge={sorted(self.merge)}" if self.merge else ""
        return f"EntityGraph(entities={entities}, links={links}{merge})"

    def __getstate__(self) -> dict[str, Any]:
        """Return what the graph consists of: another process works out anew what replays need of it."""
        blocks = zip(self._types.items(), self._blocks, strict=True)
        return {
            "merge": self.merge,
            "fetchers": self._fetchers,
            "entities": [
                (name, self._interner.texts(codes), block.documents.series, block.documents.cells)
                for (name, (_, codes)), block in blocks
            ],
            "links": {
                name: tuple(map(self._interner.texts, table.ends)) for name, table in self._links.items()
            },
            "link_ids": self._link_ids,
            "link_metadata": self._link_metadata,
        }

    def __setstate__(self, fields: dict[str, Any]) -> None:
        self.__init__(merge=fields["merge"])  # type: ignore[misc]
        self._fetchers = fields["fetchers"]
        for name, ids, documents, cells in fields["entities"]:
            codes = self._interner.intern(ids)
            self._types[name] = (sum(map(len, self._blocks)), codes)
            self._blocks.append(VersionBlock(Documents(documents, cells=cells), codes, self._interner))
        for name, ends in fields["links"].items():
            self._links[name] = LinkTable.of(*map(self._interner.intern, ends))
        self._link_ids, self._link_metadata = fields["link_ids"], fields["link_metadata"]
        self._by_id, self._type_of, self._several = self._index_all()

    @property
    def entity_types(self) -> tuple[str, ...]:
        """Entity types of the graph."""
        return (*self._types, *self._fetchers)

    @property
    def fetchers(self) -> Mapping[str, Fetcher]:
        """Functions that supply entities, by entity type."""
        return self._fetchers

    @property
    def link_types(self) -> tuple[str, ...]:
        """Link types of the graph."""
        return tuple(self._links)

    @property
    def link_counts(self) -> Mapping[str, int]:
        """Number of links of each type."""
        return {name: table.size for name, table in self._links.items()}

    @property
    def entity_counts(self) -> Mapping[str, int]:
        """Number of entities of each type; 0 for one that a function supplies."""
        return {name: len(codes) for name, (_, codes) in self._types.items()} | dict.fromkeys(
            self._fetchers, 0
        )

    def counts_of_types(self, ids: Sequence[str] | pl.Series) -> dict[str, int]:
        """Return how many of some ids are those of entities, by type; none of types that functions supply.

        Parameters
        ----------
        ids
            The ids.

        Returns
        -------
        dict of str to int
            The types of which there are any.

        Raises
        ------
        DataError
            If an id is not text.

        Examples
        --------
        >>> EntityGraph({"user": {"u1": {}, "u2": {}}, "post": {}}).counts_of_types(["u1", "p1"])
        {'user': 1}
        """
        if not (isinstance(ids, pl.Series) and ids.dtype == pl.String and not ids.null_count()):
            ids = pl.Series([id_text(one, "ids") for one in texts_of(ids, "ids")], dtype=pl.String)
        codes = self._interner.find(ids)
        codes = codes[(codes >= 0) & (codes < len(self._type_of))]
        counts = np.bincount(self._type_of[codes] + 1, minlength=len(self._types) + 1)[1:]
        for code in codes.tolist() if self._several.of else ():
            # an id of several types is among those of its first one already
            for number in [*self._several.of.get(code, ())][1:]:
                counts[number] += 1
        return {name: int(count) for name, count in zip(self._types, counts, strict=True) if count}

    def links_between(self, kind: str, source: str, target: str) -> list[str | None]:
        """Return the links of a type from one id to another.

        Parameters
        ----------
        kind
            The link type.
        source
            The id at the source.
        target
            The id at the target.

        Returns
        -------
        list of str or None
            The ids of the links in link order; None for a link without an id.

        Raises
        ------
        DataError
            If the link type is not text.

        Examples
        --------
        >>> graph = EntityGraph(links=[{"link_type": "likes", "source_id": "ann", "target_id": "p1"}])
        >>> graph.links_between("likes", "ann", "p1")
        [None]
        """
        if text_of(kind, "kind") not in self._links:
            return []
        table = self._links[kind]
        ends = self._interner.code(source), self._interner.code(target)
        sources, targets = table.ends
        found = (sources == ends[0]) & (targets == ends[1])
        return self._link_ids[kind].filter(pl.Series(found)).to_list()

    def start(self, needs: GraphRequirements, rules: Rules = FLOWDSL) -> GraphState:
        """Return the state that a replay starts with.

        Parameters
        ----------
        needs
            What the flows read of the graph.
        rules
            The rules of the runtime.

        Returns
        -------
        GraphState
            The state before the first event.

        Raises
        ------
        DataError
            If updates are merged, and the runtime replaces entities.

        Examples
        --------
        >>> from flowdsl.graph.requirements import GraphRequirements
        >>> EntityGraph().start(GraphRequirements()).changing
        False
        """
        self._check_merge(rules)
        if rules.uuids:
            with self._lock:
                self._spelled = self._spelled or self._one_spelling()
            if self._spelled is not self:
                return self._spelled.start(needs, rules)
        typed = {*needs.types, *self._fetchers}
        links = self._tables_of(needs)
        several = self._several.fork(first=rules.first_type)
        for block in self._blocks:
            block.derived.begin()
        names = dict.fromkeys([*self._types, *sorted(typed)])
        numbers = {name: number for number, name in enumerate(names)}
        return GraphState(
            interner=self._interner,
            needs=needs,
            versions=VersionStore(self._interner, self._blocks, needs.paths, own_ids=rules.entity_ids),
            anywhere=self._index(several),
            by_type={name: self._index_of(name) for name in sorted(typed)},
            fetchers={name: fetcher.session() for name, fetcher in self._fetchers.items()},
            type_of=self._type_of.copy(),
            several=several,
            type_numbers=numbers,
            links=links,
            tables=self._tables,
            merge=self.merge,
            known_links=lambda: [
                known for name in self._links for known in self._known_keys(name, name in links)
            ],
        )

    def _check_merge(self, rules: Rules) -> None:
        if self.merge and not rules.merges:
            raise DataError(
                f"updates of {', '.join(sorted(self.merge))} are merged, and {rules.name} replaces the whole "
                "entity",
                allowed="a graph without merge",
                hint="let updates carry the whole entity, and leave merge out: that is what production needs",
            )

    def _tables_of(self, needs: GraphRequirements) -> dict[str, LinkTable]:
        """Return tables of the links that are read, which a replay may change."""
        with self._lock:
            for name, use in needs.links:
                if name in self._links and use != METADATA:
                    self._links[name].prepare(use)
        links = {
            name: self._links[name].fork() if name in self._links else LinkTable()
            for name, _ in sorted(needs.links)
        }
        for name, use in needs.links:
            if use == METADATA and name in self._link_metadata:
                links[name].document(Documents(self._link_metadata[name], none=Tag.MISSING))
            links[name].prepare(use)
        return links

    def over(self, interner: Interner, tables: LinkKeyTables) -> EntityGraph:
        """Return this graph with the codes of another interner.

        Parameters
        ----------
        interner
            The interner.
        tables
            The tables of link identities that belong to it.

        Returns
        -------
        EntityGraph
            The graph.

        Examples
        --------
        >>> from flowdsl.graph.link_keys import LinkKeyTables
        >>> from flowdsl.values.interner import Interner
        >>> EntityGraph({"user": {"ann": {}}}).over(Interner(), LinkKeyTables())
        EntityGraph(entities={'user': 1}, links={})
        """
        if interner is self._interner and tables is self._tables:
            return self
        code_of = interner.intern(self._interner.texts(np.arange(len(self._interner))))
        graph = self._recode(code_of, interner, self._link_ids)
        graph._tables = tables
        return graph

    def has_link_ids(self, name: str) -> bool:
        """Return True if a link of a type has an id.

        Parameters
        ----------
        name
            The link type.

        Returns
        -------
        bool
            Whether one has.

        Examples
        --------
        >>> graph = EntityGraph(links=[{"link_type": "likes", "source_id": "ann", "target_id": "p1"}])
        >>> graph.has_link_ids("likes")
        False
        """
        ids = self._link_ids.get(text_of(name, "name"))
        return ids is not None and ids.null_count() < len(ids)

    def link_codes(self, name: str) -> tuple[Codes, Codes]:
        """Return the links of a type in their order, as codes of ids.

        Parameters
        ----------
        name
            The link type.

        Returns
        -------
        tuple of numpy.ndarray
            The sources and the targets.

        Examples
        --------
        >>> graph = EntityGraph(links=[{"link_type": "likes", "source_id": "ann", "target_id": "p1"}])
        >>> [graph.ids_of(codes).to_list() for codes in graph.link_codes("likes")]
        [['ann'], ['p1']]
        """
        none = np.zeros(0, np.int32)
        return self._links[name].ends if text_of(name, "name") in self._links else (none, none)

    def ids_of(self, codes: Index) -> pl.Series:
        """Return the ids that have some codes.

        Parameters
        ----------
        codes
            The codes, as `codes_of` gives them.

        Returns
        -------
        polars.Series
            The id of each code.

        Examples
        --------
        >>> import polars as pl
        >>> graph = EntityGraph({"user": {"ann": {}, "bob": {}}})
        >>> graph.ids_of(graph.codes_of(pl.Series(["bob"]))).to_list()
        ['bob']
        """
        return self._interner.texts(codes)

    def codes_of(self, ids: pl.Series) -> Codes:
        """Return ids as the codes that the graph has for them; new ones get codes.

        Parameters
        ----------
        ids
            The ids, a column of text.

        Returns
        -------
        numpy.ndarray
            The code of each id, 0 for null.

        Raises
        ------
        DataError
            If `ids` is not a column of text.

        Examples
        --------
        >>> import polars as pl
        >>> EntityGraph({"user": {"ann": {}, "bob": {}}}).codes_of(pl.Series(["bob", "ann", None]))
        array([2, 1, 0], dtype=int32)
        """
        if not isinstance(ids, pl.Series) or ids.dtype != pl.String:
            raise DataError(f"ids is {type_text(ids)}", allowed="a Polars series of text")
        return self._interner.intern(ids)

    def with_links(
        self, ends: Mapping[str, tuple[Codes, Codes]] | None = None, without: Collection[str] = ()
    ) -> EntityGraph:
        """Return this graph with links of other types, and without those of some.

        Parameters
        ----------
        ends
            For each link type that the graph has not the sources and targets of links without ids, as
            `codes_of` gives them; no two links have the same ends.
        without
            Types whose links are left out.

        Returns
        -------
        EntityGraph
            The graph; this one stays as it is.

        Raises
        ------
        DataError
            If an argument has another type.

        Examples
        --------
        >>> import polars as pl
        >>> graph = EntityGraph(links=[{"link_type": "likes", "source_id": "ann", "target_id": "p1"}])
        >>> ends = graph.codes_of(pl.Series(["ann"])), graph.codes_of(pl.Series(["bob"]))
        >>> graph.with_links({"knows": ends}, without=["likes"])
        EntityGraph(entities={}, links={'knows': 1})
        """
        without = texts_of(without, "without")
        if ends is not None and not _are_ends(ends):
            raise DataError("ends are not codes of ids", allowed="a mapping link type → sources and targets")
        # copy() would take this one apart and number all its ids anew
        graph = object.__new__(EntityGraph)
        graph.__dict__.update(self.__dict__)
        graph._lock, graph._known_links, graph._spelled = threading.Lock(), {}, None
        # replays over it would leave the keys of all links that they meet to this one
        graph._tables = LinkKeyTables()
        for name in ("_links", "_link_ids", "_link_metadata"):
            kept = {kind: value for kind, value in getattr(self, name).items() if kind not in without}
            setattr(graph, name, kept)
        for name, (sources, targets) in (ends or {}).items():
            graph._links[name] = LinkTable.of(sources, targets)
            graph._link_ids[name] = _NO_ID.new_from_index(0, len(sources))
        if ends:
            graph._by_id, graph._type_of, graph._several = graph._index_all()
        return graph

    def _known_keys(self, name: str, used: bool) -> list[SnapshotLinkKeys]:
        """Return the keys of a type's links, if they are `used` or have ids; most replays need none."""
        table, ids = self._links[name], self._link_ids[name]
        if not used and ids.null_count() == len(ids):
            return []
        with self._lock:
            if (name, used) not in self._known_links:
                self._known_links[name, used] = (
                    SnapshotLinkKeys.of(self._tables, name, *table.ends, ids)
                    if used
                    else SnapshotLinkKeys.named(self._tables, name, ids)
                )
            return [self._known_links[name, used]]

    def _add_type(self, name: object, given: Any, read: Tick, numbered: Tick) -> None:
        if not isinstance(name, str) or not name:
            raise DataError(f"entity type {name!r} is not a name", allowed="text that is not empty")
        if callable(given) and not isinstance(given, Mapping):
            self._fetchers[name] = Fetcher(name, given)
            return
        ids, documents = entity_documents(name, given, read)
        codes = self._intern(ids, numbered)
        self._types[name] = (sum(map(len, self._blocks)), codes)
        self._blocks.append(VersionBlock(documents, codes, self._interner))

    def _intern(self, ids: pl.Series, tick: Tick) -> Codes:
        """Return ids as codes, interned in parts."""
        parts = [np.zeros(0, np.int32)]
        for row in range(0, len(ids), _INTERNED):
            parts.append(self._interner.intern(ids.slice(row, _INTERNED)))
            tick(len(parts[-1]))
        return np.concatenate(parts)

    def _add_links(self, frames: Iterable[pl.DataFrame], numbered: ProgressReporter) -> None:
        """Add links, whose ids are texts; only those of one frame are in memory at once."""
        # both ends of each link
        tick = numbered.part(0.5)
        kinds: dict[str, int] = {}
        coded = [self._code_links(frame, kinds, tick) for frame in frames if frame.height]
        if not coded:
            return
        names = list(kinds)
        links = run_in_background(lambda: _last_of_each_id(pl.concat(coded, how="diagonal_relaxed")))
        coded.clear()
        for number in links["kind"].unique(maintain_order=True):
            name, only = names[number], links if len(names) == 1 else links.filter(pl.col("kind") == number)
            part = run_in_background(partial(_last_between_each_ends, only))
            self._links[name] = LinkTable.of(part["source_id"].to_numpy(), part["target_id"].to_numpy())
            self._link_ids[name] = part["link_id"]
            if "metadata" in part.columns and part["metadata"].null_count() < part.height:
                self._link_metadata[name] = part["metadata"]

    def _code_links(self, links: pl.DataFrame, kinds: dict[str, int], tick: Tick) -> pl.DataFrame:
        """Return links with the codes of their ends, and the numbers of their types, of which new ones are
        added.
        """
        for kind in links["link_type"].unique(maintain_order=True):
            kinds.setdefault(kind, len(kinds))
        ends = {end: pl.Series(self._intern(links[end], tick)) for end in ("source_id", "target_id")}
        kind = pl.col("link_type").replace_strict(kinds, return_dtype=pl.Int32)
        return links.with_columns(kind=kind, **ends).drop("link_type")

    def _index_all(self) -> tuple[dict[str | None, Numbers], Any, TypedVersions]:
        current = np.full(len(self._interner), NONE, np.int32)
        type_of = np.full(len(self._interner), -1, np.int16)
        several = TypedVersions()
        for number, (start, codes) in enumerate(self._types.values()):
            versions = (start + np.arange(len(codes))).astype(np.int32)
            for row in np.flatnonzero(current[codes] != NONE).tolist():
                code = int(codes[row])
                several.of.setdefault(code, {int(type_of[code]): int(current[code])})[number] = int(
                    versions[row]
                )
            taken = current[codes] != NONE
            current[codes] = np.where(taken, AMBIGUOUS, versions)
            type_of[codes] = np.where(taken, type_of[codes], number)
        return {None: current}, type_of, several

    def _index(self, several: TypedVersions) -> EntityIndex:
        """Build the index of versions by id; `several` receives the ids of several types."""
        current = self._versions(None)
        if several.first and several.of:
            current = current.copy()
            for code in several.of:
                current[code] = several.meaning(code)
        return EntityIndex(current)

    def _versions(self, name: str | None) -> Numbers:
        """Return the version of each id that there is by now, of any type or of one: made once, and longer
        where replays have met new ids.
        """
        with self._lock:
            if name not in self._by_id:
                start, codes = self._types[str(name)]
                self._by_id[name] = np.full(len(self._interner), NONE, np.int32)
                self._by_id[name][codes] = start + np.arange(len(codes))
            if new := len(self._interner) - len(self._by_id[name]):
                self._by_id[name] = np.concatenate([self._by_id[name], np.full(new, NONE, np.int32)])
            return self._by_id[name]

    def _one_spelling(self) -> EntityGraph:
        """Return this graph with all spellings of a UUID as one id."""
        ends = [ids for table in self._links.values() for ids in table.ends]
        used = distinct(
            np.concatenate([np.zeros(0, np.int32), *(codes for _, codes in self._types.values()), *ends])
        )
        texts = self._interner.texts(used)
        spelled = one_spelling(texts)
        link_ids = {name: one_spelling(ids) for name, ids in self._link_ids.items()}
        if spelled.equals(texts) and all(ids.equals(self._link_ids[name]) for name, ids in link_ids.items()):
            return self
        code_of = np.arange(len(self._interner), dtype=np.int32)
        code_of[used] = self._interner.intern(spelled)
        graph = self._recode(code_of, self._interner, link_ids)
        graph._spelled = graph
        return graph

    def _recode(self, code_of: Codes, interner: Interner, link_ids: dict[str, pl.Series]) -> EntityGraph:
        """Return this graph with other codes for its ids."""
        graph = EntityGraph()
        graph._interner, graph._fetchers, graph.merge = interner, self._fetchers, self.merge
        graph._types = {name: (start, code_of[codes]) for name, (start, codes) in self._types.items()}
        graph._blocks = [VersionBlock(b.documents, code_of[b.ids], interner) for b in self._blocks]
        for name, table in self._links.items():
            sources, targets = table.ends
            graph._links[name] = LinkTable.of(code_of[sources], code_of[targets])
        graph._link_ids, graph._link_metadata = link_ids, self._link_metadata
        graph._by_id, graph._type_of, graph._several = graph._index_all()
        return graph

    def _index_of(self, name: str) -> EntityIndex:
        if name not in self._types:
            return EntityIndex(track=name in self._fetchers)
        return EntityIndex(self._versions(name))


def _are_ends(given: object) -> bool:
    pairs = [*given.values()] if isinstance(given, Mapping) else [None]
    return all(
        isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(codes, np.ndarray) for codes in pair)
        for pair in pairs
    )


def _entity_types(given: object) -> frozenset[str]:
    """Return the types whose updates are merged. Raises `DataError`"""
    names = list(given) if isinstance(given, Iterable) and not isinstance(given, (str, Mapping)) else None
    if names is None or not all(isinstance(name, str) and name for name in names):
        raise DataError(f"merge is {short_repr(given)}", allowed="a list of entity types: ['user']")
    return frozenset(names)


def _rows(entities: Mapping[str, Any], links: Any) -> int | None:
    """Return the total number of rows, or None if one is unknown."""
    given = [one for one in (*entities.values(), links) if one is not None and not callable(one)]
    rows = [rows_in(one) for one in given]
    return None if None in rows else sum(filter(None, rows))


def _last_of_each_id(links: pl.DataFrame) -> pl.DataFrame:
    """Keep the last link of each id, whatever its type, and all links without an id."""
    ids = links["link_id"]
    if ids.null_count() == links.height:
        return links
    return links.filter(ids.is_null() | ids.is_last_distinct())


def _last_between_each_ends(links: pl.DataFrame) -> pl.DataFrame:
    """Keep, of one type's links without an id, the last one between each pair of ends, and all links with an
    id.
    """
    unnamed = ~where_present(links["link_id"])
    ordered = _pairs(links if unnamed.all() else links.filter(pl.Series(unnamed)))
    ordered.sort()
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(again):
        return links
    pairs = _pairs(links)
    rows = np.flatnonzero(unnamed & np.isin(pairs, again))
    kept = np.ones(links.height, np.bool_)
    kept[rows] = pl.Series(pairs[rows]).is_last_distinct().to_numpy()
    return links.filter(pl.Series(kept))


def _pairs(links: pl.DataFrame) -> Ints:
    """Return both ends of each link as one number."""
    pairs = links["source_id"].to_numpy().astype(np.int64)
    pairs <<= 32
    pairs |= links["target_id"].to_numpy()
    return pairs
