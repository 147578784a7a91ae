"""Lookup of a few ids in a graph before the first event."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from flowdsl.graph.snapshot import EntityGraph


def entities_of(graph: EntityGraph, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the data of the given ids, grouped by entity type; absent ids are left out.

    >>> entities_of(EntityGraph({"user": {"ann": {"name": "Ann"}}}), ["ann", "bob"])
    {'ann': {'user': {'name': 'Ann'}}}
    """
    wanted = sorted(set(ids))
    found: dict[str, dict[str, Any]] = {}
    if not wanted:
        return found
    codes = graph._interner.intern(pl.Series(wanted, dtype=pl.String))
    named = dict(zip(codes.tolist(), wanted, strict=True))
    for (kind, (_, own)), block in zip(graph._types.items(), graph._blocks, strict=True):
        rows = np.flatnonzero(np.isin(own, codes))
        for row, text in zip(rows.tolist(), block.documents.gather(rows).json().to_list(), strict=True):
            found.setdefault(named[int(own[row])], {})[kind] = _object(text)
    for kind, fetcher in graph._fetchers.items():
        for answered, documents in fetcher.ask(wanted):
            for one, text in zip(answered.to_list(), documents.json().to_list(), strict=True):
                found.setdefault(one, {})[kind] = _object(text)
    return found


def types_of(graph: EntityGraph, ids: pl.Series) -> dict[str, str]:
    """Return the entity type of each id that has one; what functions supply is not asked.

    >>> types_of(EntityGraph({"user": {"ann": {}}}), pl.Series(["ann", "bob"]))
    {'ann': 'user'}
    """
    codes, found = graph._interner.find(ids), {}
    for kind, (_, own) in graph._types.items():
        rows = np.flatnonzero((codes > 0) & np.isin(codes, own))
        found.update(dict.fromkeys(ids[rows].to_list(), kind))
    return found


def links_of(
    graph: EntityGraph, link_type: str, sources: Iterable[str], targets: Iterable[str]
) -> list[dict[str, Any]]:
    """Return the links of a type from the sources, and those to the targets, in link order.

    >>> graph = EntityGraph(links=[{"link_type": "owns", "source_id": "a", "target_id": "b"}])
    >>> links_of(graph, "owns", [], ["b"])
    [{'link_type': 'owns', 'source_id': 'a', 'target_id': 'b', 'link_id': None, 'metadata': None}]
    """
    table = graph._links.get(link_type)
    if table is None:
        return []
    asked = [
        graph._interner.intern(pl.Series(sorted(set(ids)), dtype=pl.String)) for ids in (sources, targets)
    ]
    rows = np.flatnonzero(np.logical_or(*map(np.isin, table.ends, asked)))
    ends = [graph._interner.texts(side[rows]) for side in table.ends]
    said = graph._link_metadata.get(link_type)
    found = {
        "source_id": ends[0],
        "target_id": ends[1],
        "link_id": graph._link_ids[link_type].gather(rows),
        "metadata": None if said is None else said.gather(rows),
    }
    return pl.DataFrame(found).select(pl.lit(link_type).alias("link_type"), pl.all()).to_dicts()


def _object(text: str | None) -> dict[str, Any]:
    value = json.loads(text) if text is not None else None
    return value if isinstance(value, dict) else {}
