"""Smallest part of the graph that a test needs, and the events that change it during the test.

If all lookups of an entity or link found the same, it goes into the graph of the test. If two lookups differ,
or an event of the test creates or ends the link, the graph has its state before the first event, and the test
has the events that change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from flowdsl.flow_tests.graph_history import EntityStates, GraphHistory, Link, LinkKey
from flowdsl.flow_tests.graph_reads import GraphRead
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.log import EventSource


@dataclass(frozen=True)
class GraphSlice:
    """Graph of a test, and the events that the test needs."""

    entities: dict[str, dict[str, Any]]
    links: list[dict[str, Any]]
    events: set[int]


def surroundings(
    source: EventSource, base: EntityGraph, readings: Iterable[GraphRead], events: set[int]
) -> GraphSlice:
    """Return the slice of graph and log that the lookups of these events need.

    Events that change the entities and links found are added, and their own lookups may add more: this
    repeats until nothing is added.
    """
    readings = list(readings)
    history = GraphHistory(source, base, max(map(attrgetter("seen"), readings), default=0))
    entities = [(reading.id, reading.seen) for reading in readings if reading.via is None]
    followed = [reading for reading in readings if reading.via is not None]
    lists = history.links(map(attrgetter("key"), followed))
    found: dict[tuple[Any, ...], list[tuple[int, tuple[Link, ...]]]] = {}
    for reading in followed:
        kept = reading.among(lists[reading.key])
        found.setdefault(reading.asked, []).append((reading.seen, kept))
        entities += reading.ends(kept)
    changing = _changing(found, followed, lists)
    states = history.states(sorted({one for one, _ in entities}))
    while True:
        first, grown = min(events), set(events)
        links_kept = _links(found, changing, events, first, grown)
        entities_kept = _entities(states, entities, events, first, grown)
        if grown == events:
            ordered = sorted(links_kept, key=history.order)
            return GraphSlice(entities_kept, [link.mapping for link in ordered], events)
        events = grown


def _links(
    found: Mapping[Any, list[tuple[int, tuple[Link, ...]]]],
    changing: set[Link],
    events: set[int],
    first: int,
    grown: set[int],
) -> set[Link]:
    """Return the links of the graph before event `first`; add the events that change them to `grown`."""
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
    """Return the links that exist before an event."""
    return {link for link in links if link.lives(first - 1)}


def _changes(links: Iterable[Link], span: range) -> set[int]:
    """Return the events of a stretch of the log that create or end links."""
    return {at for link in links for at in link.changes if at in span}


def _changing(
    found: Mapping[Any, list[tuple[int, tuple[Link, ...]]]],
    readings: Iterable[GraphRead],
    lists: Mapping[LinkKey, list[Link]],
) -> set[Link]:
    """Return the links that are not the same for all lookups: those that replaced one another, and those that
    existed at one lookup and not at another.
    """
    links = {link for reads in found.values() for _, read in reads for link in read}
    gone = (link for reading in readings for link in lists[reading.key] if not link.lives(reading.seen))
    return links.intersection(gone) | _of_one_identity(links)


def _of_one_identity(links: Iterable[Link]) -> set[Link]:
    """Return the links that share their identity with others."""
    same: dict[Any, set[Link]] = {}
    for link in links:
        known_by = (link.type, link.source, link.target) if link.link_id is None else link.link_id
        same.setdefault(known_by, set()).add(link)
    return set().union(*(one for one in same.values() if len(one) > 1))


def _entities(
    states: Mapping[str, EntityStates],
    readings: Iterable[tuple[str, int]],
    events: set[int],
    first: int,
    grown: set[int],
) -> dict[str, dict[str, Any]]:
    """Return the entities of the graph before event `first`, data by type and id; add the events that change
    them to `grown`.
    """
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
                # a graph only holds objects: other data needs the event that set it
                grown.add(states_of.since(kind, data))
    return kept
