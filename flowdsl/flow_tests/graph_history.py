"""History of a few entities and links: their state before the log, and each change by an event."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from flowdsl.graph.living_links import LivingLinks
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.graph.snapshot_lookup import entities_of, links_of
from flowdsl.log import EventSource
from flowdsl.log.nested_columns import as_json_text
from flowdsl.log.numbered_events import frames_at

Row = Mapping[str, Any]
# link type, direction and id
LinkKey = tuple[str, str, str]
_SOME: Final = 1 << 16


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

    def own_end(self, direction: str) -> str:
        """Return the id whose links include this one when they are followed in a direction."""
        return self.source if direction == "forward" else self.target

    def other_end(self, direction: str) -> str:
        """Return the id that the link leads to in a direction."""
        return self.target if direction == "forward" else self.source

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


@dataclass
class EntityStates:
    """Data of an id by entity type before the log, and its changes (type and data) by number of the event."""

    base: dict[str, Any]
    changes: dict[int, tuple[str, Any]]

    def at(self, seen: int) -> dict[str, Any]:
        """Return the data by entity type after an event."""
        state = dict(self.base)
        for at, (kind, data) in sorted(self.changes.items()):
            if at > seen:
                break
            state.pop(kind, None)
            if data is not None:
                state[kind] = data
        return state

    def since(self, kind: str, data: Any) -> int:
        """Return the number of the last event that set the data of a type to this value."""
        return max(at for at, change in self.changes.items() if change == (kind, data))


class GraphHistory:
    """Links and entities of a graph, and their changes by the events of a log up to number `until`."""

    def __init__(self, source: EventSource, base: EntityGraph, until: int) -> None:
        self._source, self._base, self._until = source, base, until
        self._order: dict[Link, int] = {}

    def order(self, link: Link) -> int:
        """Return the position of a link in the order of all links."""
        return self._order[link]

    def links(self, keys: Iterable[LinkKey]) -> dict[LinkKey, list[Link]]:
        """Return, for each key (type, direction and id), all links that ever existed, in link order."""
        lists: dict[LinkKey, list[Link]] = {key: [] for key in keys}
        if not lists:
            return {}
        wanted: dict[tuple[str, str], set[str]] = {}
        for kind, way, one in lists:
            wanted.setdefault((kind, way), set()).add(one)
        given = self._given_links(wanted)
        rows = self._link_rows(wanted, given)
        links = _link_lifetimes(
            given, {row["seq_no"]: row for row in rows if row["kind"].startswith("link.")}
        )
        self._order = {link: number for number, link in enumerate(links)}
        for link in links:
            for way in ("forward", "reverse"):
                lists.get((link.type, way, link.own_end(way)), []).append(link)
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
        """Return the events of the wanted links, including events that only have the id of a link."""
        ends = [
            (pl.col("link_type") == kind)
            & pl.col("source_id" if way == "forward" else "target_id").is_in(list(ids))
            for (kind, way), ids in wanted.items()
        ]
        rows = self._rows(pl.any_horizontal(*ends))
        named = {row["link_id"] for row in (*given, *rows)}
        named.discard(None)
        if named:
            rows += self._rows(pl.col("link_id").is_in(sorted(map(str, named))))
        return rows

    def states(self, ids: Sequence[str]) -> dict[str, EntityStates]:
        """Return the history of each entity."""
        base = entities_of(self._base, ids)
        states = {one: EntityStates(base.get(one, {}), {}) for one in ids}
        for row in self._rows(pl.col("entity_id").is_in(ids)) if ids else ():
            if row["kind"].startswith("entity."):
                data = None if row["kind"] == "entity.deleted" else _data(row["data"])
                state, kind = states[row["entity_id"]], row["entity_type"]
                if row["kind"] == "entity.updated" and kind in self._base.merge:
                    data = _merge(state.at(row["seq_no"]).get(kind), row["data"])
                state.changes[row["seq_no"]] = (kind, data)
        return states

    def _rows(self, where: pl.Expr) -> list[Row]:
        """Return the events for which an expression holds."""
        wanted: list[int] = []
        # first without the large columns, as most events are not wanted
        for frame in self._source.chunks(where.meta.root_names(), _SOME):
            wanted += frame.filter((pl.col("seq_no") <= self._until) & where)["seq_no"].to_list()
            if frame.height and int(frame["seq_no"][-1]) >= self._until:
                break
        return numbered_rows(self._source, wanted)


def numbered_rows(source: EventSource, seq_nos: list[int]) -> list[Row]:
    """Return the events with these ascending sequence numbers."""
    rows: list[Row] = []
    for found in frames_at(source, np.array(seq_nos, np.int64)):
        rows += as_json_text(found).with_columns(pl.col("kind").cast(pl.String)).to_dicts()
    return rows


def _data(text: str | None) -> Any:
    """Return the data of an entity; an empty object if the event has none."""
    value = json.loads(text) if text is not None else None
    return {} if value is None else value


def _merge(before: Any, text: str | None) -> Any:
    """Return the data of an entity after an update that only changes the fields that the update has."""
    value = json.loads(text) if text is not None else None
    if value is None:
        return {} if before is None else before
    return {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value


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
    kind, source, target = (row[name] for name in ("link_type", "source_id", "target_id"))
    return Link(kind, source, target, row["link_id"], row["metadata"], born, [])
