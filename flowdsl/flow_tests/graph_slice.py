"""Part of the graph that some events read, and the events that change it in between.

What every reading found the same goes into the graph of the test. Where two readings of one thing differ, or
where an event of the test makes or ends it, the graph has it as it was before the first event, and its
changes are events.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.events import EVENT_COLUMNS
from flowdsl.expressions.conditions.condition import list_names
from flowdsl.expressions.conditions.graph_calls import GraphCall
from flowdsl.flow.plan import CompiledStep
from flowdsl.graph.living_links import LivingLinks
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.graph.snapshot_lookup import entities_of, links_of
from flowdsl.kernels.outcome import StepOutcome
from flowdsl.log import EventSource
from flowdsl.log.nested_columns import as_json_text
from flowdsl.operators.fan_out import FanOut
from flowdsl.operators.resolve import Resolve
from flowdsl.rules import Rules

Row = Mapping[str, Any]
_SOME: Final = 1 << 16
_NEVER: Final = 1 << 62


@dataclass(frozen=True)
class GraphRead:
    """Lookup of the links of an id, or without `via` of the entity, as of event `seen`.

    `all` of the links matter, or the first; with `other` only those between the two. With `entities` those at
    their ends are read too.
    """

    via: str | None
    direction: str
    id: str
    seen: int
    all: bool
    other: str | None = None
    entities: bool = True

    def among(self, links: Iterable[Link]) -> tuple[Link, ...]:
        """Return the links that the lookup finds: those that exist then, all or the first."""
        living = tuple(link for link in links if link.lives(self.seen) and self._is_asked_for(link))
        return living if self.all else living[:1]

    def ends(self, links: Iterable[Link]) -> list[tuple[str, int]]:
        """Return the entities that are read where links lead, each with the moment of the lookup."""
        return [(_to(link, self.direction), self.seen) for link in links] if self.entities else []

    @property
    def asked(self) -> tuple[Any, ...]:
        """Return what is asked for, whenever it is."""
        return self.via, self.direction, self.id, self.other, self.all

    def _is_asked_for(self, link: Link) -> bool:
        return self.other is None or _to(link, self.direction) == self.other


class GraphReads:
    """Trace reader that collects the lookups of all events in the graph."""

    def __init__(self, rules: Rules) -> None:
        self.found: dict[GraphRead, None] = {}
        self._rules = rules

    def __call__(self, step: CompiledStep, entered: ContextBatch, outcome: StepOutcome) -> None:
        """Record the lookups of the contexts that entered a step."""
        operator = step.operator
        if step.number == 0 and "before" in entered.names():
            ids = entered.column(("entity_id",)).values()
            for one, seq_no in zip(ids, entered.seq.tolist(), strict=True):
                self.found[GraphRead(None, "", one, seq_no - 1, all=False)] = None
        if not len(entered):
            return
        seen = entered.chunk.seq_seen(entered.seen).tolist()
        for call in operator.graph_calls:
            self._record_call(call, entered, seen)
        if isinstance(operator, (Resolve, FanOut)):
            codes = entered.id_codes(operator.from_, uuids=self._rules.uuids)
            ids = entered.chunk.interner.texts(codes).to_list()
            for one, code, at in zip(ids, codes.tolist(), seen, strict=True):
                if code > 0:
                    self.found[GraphRead(operator.via, operator.direction, one, at, step.fans_out)] = None

    def _record_call(self, call: GraphCall, entered: ContextBatch, seen: Sequence[int]) -> None:
        """Record what a function asks of the links of each context."""
        counts = call.function == "count_links"
        for ids, at in zip(
            zip(*(list_names(one, entered) for one in call.ids), strict=True), seen, strict=True
        ):
            # what is no id has no links, or fails
            texts = [str(one) for one in ids if isinstance(one, (str, int)) and not isinstance(one, bool)]
            if len(texts) == len(ids):
                one, other = texts[0], texts[1] if len(texts) > 1 else None
                read = GraphRead(call.link_type, call.direction, one, at, counts, other, entities=False)
                self.found[read] = None


@dataclass(frozen=True, eq=False)
class Link:
    """Link with the events of its creation and its ends; -1 if it existed before the log."""

    type: str
    source: str
    target: str
    link_id: str | None
    metadata: str | None
    born: int
    died: list[int]

    def lives(self, seen: int) -> bool:
        """Return True if the link exists after an event."""
        return self.born <= seen and (not self.died or self.died[0] > seen)

    @property
    def changes(self) -> list[int]:
        """Events that create or end the link."""
        return [self.born, *self.died]

    @property
    def mapping(self) -> dict[str, Any]:
        """Link as an entry of a test."""
        made: dict[str, Any] = {"link_type": self.type, "source_id": self.source, "target_id": self.target}
        made |= {"link_id": self.link_id} if self.link_id is not None else {}
        return made | ({"metadata": json.loads(self.metadata)} if self.metadata is not None else {})


@dataclass(frozen=True)
class GraphSlice:
    """Graph of a test, and the events that it needs."""

    entities: dict[str, dict[str, Any]]
    links: list[dict[str, Any]]
    events: set[int]


def surroundings(
    source: EventSource, base: EntityGraph, readings: Iterable[GraphRead], events: set[int]
) -> GraphSlice:
    """Return the slice of graph and log that these lookups and events need."""
    readings = list(readings)
    world = _LogAndGraph(source, base, max((reading.seen for reading in readings), default=0))
    entities = [(reading.id, reading.seen) for reading in readings if reading.via is None]
    followed = [reading for reading in readings if reading.via is not None]
    lists = world.lists(followed)
    found: dict[tuple[Any, ...], list[tuple[int, tuple[Link, ...]]]] = {}
    for reading in followed:
        kept = reading.among(lists[_key(reading)])
        found.setdefault(reading.asked, []).append((reading.seen, kept))
        entities += reading.ends(kept)
    changing = _changing(found, followed, lists)
    states = world.states(entities)
    while True:
        first, grown = min(events), set(events)
        links_kept = _links(found, changing, events, first, grown)
        entities_kept = _entities(states, entities, events, first, grown)
        if grown == events:
            ordered = sorted(links_kept, key=world.order)
            return GraphSlice(entities_kept, [link.mapping for link in ordered], events)
        events = grown


def _links(
    found: Mapping[Any, list[tuple[int, tuple[Link, ...]]]],
    changing: set[Link],
    events: set[int],
    first: int,
    grown: set[int],
) -> set[Link]:
    last = max((at for reads in found.values() for at, _ in reads), default=0)
    kept = _living(changing, first)
    grown |= _changes(changing, range(first, last + 1))
    for reads in found.values():
        moments, read = zip(*reads, strict=True)
        links = set().union(*read)
        changes = _changes(links, range(first, max(moments) + 1))
        if len(set(read)) == 1 and not changes & events and not links & changing:
            kept |= links
        else:
            kept |= _living(links, first)
            grown |= changes
    return kept


def _living(links: Iterable[Link], first: int) -> set[Link]:
    """Return the links that there are before an event."""
    return {link for link in links if link.lives(first - 1)}


def _changes(links: Iterable[Link], span: range) -> set[int]:
    """Return the events of a stretch of the log that create or end links."""
    return {at for link in links for at in link.changes if at in span}


def _changing(
    found: Mapping[Any, list[tuple[int, tuple[Link, ...]]]],
    readings: Iterable[GraphRead],
    lists: Mapping[tuple[Any, ...], list[Link]],
) -> set[Link]:
    """Return the links that no graph of all lookups can have: those that were one after the other, and those
    that one lookup found and another, at another moment, did not.
    """
    links = {link for reads in found.values() for _, read in reads for link in read}
    gone = (link for reading in readings for link in lists[_key(reading)] if not link.lives(reading.seen))
    return links.intersection(gone) | _of_one_identity(links)


def _of_one_identity(links: Iterable[Link]) -> set[Link]:
    """Return the links that have their identity in common with others."""
    same: dict[Any, set[Link]] = {}
    for link in links:
        known_by = (link.type, link.source, link.target) if link.link_id is None else link.link_id
        same.setdefault(known_by, set()).add(link)
    return set().union(*(one for one in same.values() if len(one) > 1))


def _entities(
    states: Mapping[str, _States],
    readings: Iterable[tuple[str, int]],
    events: set[int],
    first: int,
    grown: set[int],
) -> dict[str, dict[str, Any]]:
    kept: dict[str, dict[str, Any]] = {}
    seen: dict[str, set[int]] = {}
    for one, at in readings:
        seen.setdefault(one, set()).add(at)
    for one, moments in seen.items():
        states_of = states[one]
        changes = {at for at in states_of.changes if first <= at <= max(moments)}
        now, *others = map(states_of.at, moments)
        if others.count(now) < len(others) or changes & events:
            grown |= changes
            now = states_of.at(first - 1)
        for kind, data in now.items():
            if isinstance(data, dict):
                kept.setdefault(kind, {})[one] = data
            else:
                # no graph holds what is not an object: the event that made it is needed
                grown.add(states_of.since(kind, data))
    return kept


@dataclass
class _States:
    """Data of an id, by entity type, and the event from which on it holds."""

    base: dict[str, Any]
    changes: dict[int, tuple[str, Any]]

    def at(self, seen: int) -> dict[str, Any]:
        state = dict(self.base)
        for at, (kind, data) in sorted(self.changes.items()):
            if at > seen:
                break
            state.pop(kind, None)
            if data is not None:
                state[kind] = data
        return state

    def since(self, kind: str, data: Any) -> int:
        """Return the last event that gave an entity its state."""
        return max(at for at, change in self.changes.items() if change == (kind, data))


class _LogAndGraph:
    """Graph and log, read for a few ids."""

    def __init__(self, source: EventSource, base: EntityGraph, until: int) -> None:
        self._source, self._base, self._until = source, base, until
        self._order: dict[Link, int] = {}

    def order(self, link: Link) -> int:
        """Return the position of a link among all."""
        return self._order[link]

    def lists(self, readings: Sequence[GraphRead]) -> dict[tuple[Any, ...], list[Link]]:
        """Return all links that ever existed for each lookup, in link order."""
        if not readings:
            return {}
        wanted = _linked_ids(readings)
        given = self._given_links(wanted)
        rows = self._link_rows(wanted, given)
        links = _link_lifetimes(
            given, {row["seq_no"]: row for row in rows if row["kind"].startswith("link.")}
        )
        self._order = {link: number for number, link in enumerate(links)}
        lists: dict[tuple[Any, ...], list[Link]] = {_key(reading): [] for reading in readings}
        for link in links:
            for way in ("forward", "reverse"):
                lists.get((link.type, way, _from(link, way)), []).append(link)
        return lists

    def _given_links(self, wanted: Mapping[tuple[str, str], set[str]]) -> list[Row]:
        """Return the wanted links of the graph before the log."""
        ends = {kind: [wanted.get((kind, way), ()) for way in ("forward", "reverse")] for kind, _ in wanted}
        return [
            link
            for kind, (sources, targets) in ends.items()
            for link in links_of(self._base, kind, sources, targets)
        ]

    def _link_rows(self, wanted: Mapping[tuple[str, str], set[str]], given: Sequence[Row]) -> list[Row]:
        """Return the events of the wanted links, those that name them by their id alone included."""
        ends = [
            (pl.col("link_type") == kind) & pl.col(_end(way)).is_in(list(ids))
            for (kind, way), ids in wanted.items()
        ]
        rows = self._rows(pl.any_horizontal(*ends))
        named = {row["link_id"] for row in (*given, *rows)}
        named.discard(None)
        if named:
            rows += self._rows(pl.col("link_id").is_in(sorted(map(str, named))))
        return rows

    def states(self, readings: Iterable[tuple[str, int]]) -> dict[str, _States]:
        """Return the history of each id."""
        ids = sorted({one for one, _ in readings})
        base = entities_of(self._base, ids)
        states = {one: _States(base.get(one, {}), {}) for one in ids}
        for row in self._rows(pl.col("entity_id").is_in(ids)) if ids else ():
            if row["kind"].startswith("entity."):
                data = None if row["kind"] == "entity.deleted" else _data(row["data"])
                state, kind = states[row["entity_id"]], row["entity_type"]
                if row["kind"] == "entity.updated" and kind in self._base.merge:
                    data = _merge(state.at(row["seq_no"]).get(kind), row["data"])
                state.changes[row["seq_no"]] = (kind, data)
        return states

    def _rows(self, where: pl.Expr) -> list[Row]:
        return rows_of(self._source, where, self._until)


def rows_of(source: EventSource, where: pl.Expr, until: int = _NEVER) -> list[Row]:
    """Return the events for which an expression holds, up to a sequence number."""
    wanted: list[int] = []
    # first without the heavy columns: most events are none of those that are wanted
    for frame in source.chunks(where.meta.root_names(), _SOME):
        wanted += frame.filter((pl.col("seq_no") <= until) & where)["seq_no"].to_list()
        if frame.height and int(frame["seq_no"][-1]) >= until:
            break
    return numbered_rows(source, wanted)


def numbered_rows(source: EventSource, seq_nos: list[int]) -> list[Row]:
    """Return the events with these ascending sequence numbers."""
    rows: list[Row] = []
    if not seq_nos:
        return rows
    for frame in source.chunks(EVENT_COLUMNS, _SOME, seq_nos[0] - 1):
        found = frame.filter(pl.col("seq_no").is_in(seq_nos))
        if found.height:
            rows += as_json_text(found).with_columns(pl.col("kind").cast(pl.String)).to_dicts()
        if frame.height and int(frame["seq_no"][-1]) >= seq_nos[-1]:
            break
    return rows


def _data(text: str | None) -> Any:
    """Return the data of an entity; an empty object if the event has none."""
    value = json.loads(text) if text is not None else None
    return {} if value is None else value


def _merge(before: Any, text: str | None) -> Any:
    """Return the data of an entity after an update that changes only the fields that it has."""
    value = json.loads(text) if text is not None else None
    if value is None:
        return {} if before is None else before
    return {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value


def _linked_ids(readings: Iterable[GraphRead]) -> dict[tuple[str, str], set[str]]:
    """Return the ids whose links are read, by link type and direction."""
    wanted: dict[tuple[str, str], set[str]] = {}
    for reading in readings:
        wanted.setdefault((str(reading.via), reading.direction), set()).add(reading.id)
    return wanted


def _key(reading: GraphRead) -> tuple[Any, ...]:
    return reading.via, reading.direction, reading.id


def _end(direction: str) -> str:
    return "source_id" if direction == "forward" else "target_id"


def _to(link: Link, direction: str) -> str:
    return link.target if direction == "forward" else link.source


def _from(link: Link, direction: str) -> str:
    return link.source if direction == "forward" else link.target


def _link_lifetimes(given: Sequence[Row], rows: Mapping[int, Row]) -> list[Link]:
    """Return all links in order with their ends; a link ends when it is deleted or created again."""
    links: list[Link] = []
    current: LivingLinks[Link] = LivingLinks()
    for row in given:
        links.append(_link(row, -1))
        current.add(row, links[-1])
    for at, row in sorted(rows.items()):
        for ended in current.ended_by(row):
            ended.died.append(at)
        if row["kind"] == "link.created":
            links.append(_link(row, at))
            current.add(row, links[-1])
    return links


def _link(row: Row, born: int) -> Link:
    """Return the link of a row, since an event."""
    kind, source, target = (row[name] for name in ("link_type", "source_id", "target_id"))
    return Link(kind, source, target, row["link_id"], row["metadata"], born, [])
