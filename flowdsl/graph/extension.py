"""Extension of a graph to flows that read other parts of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from flowdsl.graph.entities import NONE, EntityIndex
from flowdsl.graph.link_keys import LinkKeys
from flowdsl.graph.links import METADATA
from flowdsl.graph.requirements import GraphRequirements
from flowdsl.graph.state import GraphState


def extend_graph(
    graph: GraphState, needs: GraphRequirements, gathered: Callable[[GraphRequirements], GraphState]
) -> GraphState:
    """Return the graph for other requirements: keep what it has, add what is `gathered`, drop what is unused.

    `gathered` gives a graph of such needs as of the same event, over the same interner and tables of
    identities.
    """
    has = graph.needs
    if has == replace(needs, paths=has.paths, before=has.before):
        return replace(graph, needs=needs)
    again = _links_anew(graph, needs)
    lacking = _lacking(has, needs, again)
    fresh = gathered(lacking) if lacking.entities or lacking.links else None
    changed = _with_links(graph, fresh, needs, again)
    if fresh is not None and lacking.entities:
        return replace(
            changed,
            versions=fresh.versions,
            anywhere=fresh.anywhere,
            by_type=fresh.by_type,
            fetchers=fresh.fetchers,
            type_of=fresh.type_of,
            several=fresh.several,
            type_numbers=fresh.type_numbers,
        )
    typed = sorted({*needs.types, *graph.fetchers})
    known = graph.by_type
    return replace(changed, by_type={name: known.get(name) or _index_of(graph, name) for name in typed})


def _lacking(has: GraphRequirements, needs: GraphRequirements, again: set[str]) -> GraphRequirements:
    """Return what a graph has to gather: entities if it has none, and the links of the types in `again`."""
    entities = needs.entities and not has.entities
    links = frozenset(link for link in needs.links if link[0] in again)
    return GraphRequirements(entities, needs.paths, links, needs.types if entities else frozenset())


def _links_anew(graph: GraphState, needs: GraphRequirements) -> set[str]:
    """Return the types whose links are gathered: metadata cannot be added to a table that has none."""
    missing = {name for name, _ in needs.links if name not in graph.links}
    documented = {name for name, use in needs.links if use == METADATA} - missing
    return missing | {name for name in documented if not graph.links[name].documented}


def _with_links(
    graph: GraphState, fresh: GraphState | None, needs: GraphRequirements, again: set[str]
) -> GraphState:
    parts = [graph] if fresh is None else [graph, fresh]
    tables = {name: table for part in parts for name, table in part.links.items()}
    links = {name: tables[name] for name in sorted({name for name, _ in needs.links})}
    for name, use in needs.links:
        links[name].prepare(use)
    kept = [name for name in graph.links if name not in again]
    identities = [LinkKeys.concat(kept, [_identities(graph)]), *map(_identities, parts[1:])]
    return replace(
        graph,
        needs=needs,
        links=links,
        identities=LinkKeys.concat(list(links), identities) if links else None,
        known_links=list,
    )


def _identities(graph: GraphState) -> LinkKeys:
    return graph.identities or LinkKeys(graph.tables, list(graph.links), graph.known_links())


def _index_of(graph: GraphState, kind: str) -> EntityIndex:
    """Build the index of one entity type from the index of all."""
    number = graph.type_numbers.setdefault(kind, len(graph.type_numbers))
    codes = np.flatnonzero(graph.type_of == number)
    current = np.full(len(graph.type_of), NONE, np.int32)
    current[codes] = [graph.anywhere.current(code) for code in codes.tolist()]
    for code, versions in graph.several.of.items():
        current[code] = versions.get(number, NONE)
    return EntityIndex(current)
