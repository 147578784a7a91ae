"""Table of the entities that deliveries mention: names and types, for results that are read without a graph.

It has a row for each entity of the graph that is a recipient or an id in a text field. If the graph is small
compared with the deliveries, it has all entities, since a search for the mentioned ones would take longer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from flowdsl.graph.names import SCHEMA, EntityNames, are_entities, entity_rows
from flowdsl.results.manifest_schema import DeliverRow
from flowdsl.results.store import FIELD, Store, StoredPart, TablePart
from flowdsl.values.interner import Codes

if TYPE_CHECKING:
    from flowdsl.graph.state import GraphState

ENTITIES: Final = "entities"
# values of a field that are checked to decide whether it holds ids
_LOOKED_AT: Final = 64
# all entities are kept if there are at least this many deliveries for each
_SMALL: Final = 4


def entity_table(store: Store, steps: Sequence[DeliverRow], graph: GraphState) -> TablePart | None:
    """Return the entities that the deliveries of a result mention; None if they mention none."""
    pieces = [piece for table in dict.fromkeys(s["table"] for s in steps) for piece in store.parts(table)]
    codes = np.flatnonzero(graph.type_of >= 0).astype(np.int32)
    if len(codes) * _SMALL > sum(piece.rows for piece in pieces):
        mentioned = np.zeros(len(graph.type_of), np.bool_)
        for found in _find_mentioned(pieces, graph):
            mentioned[found] = True
        codes = np.flatnonzero(mentioned).astype(np.int32)
    frame = entity_rows(graph, codes)
    return TablePart(frame) if frame.height else None


def stored_names(store: Store, ids: Collection[str]) -> EntityNames:
    """Return the names and types of these ids from the table of a stored result."""
    wanted = pl.Series([*ids], dtype=pl.String)
    frames = [part.whole().frame for part in store.parts(ENTITIES)]
    found = [frame.filter(pl.col("id").is_in(wanted.implode())) for frame in frames if frame.schema == SCHEMA]
    return EntityNames.of(pl.concat(found)) if found else EntityNames()


def _find_mentioned(pieces: Iterable[TablePart | StoredPart], graph: GraphState) -> Iterator[Codes]:
    for piece in pieces:
        frame = piece.read(lambda name: name == "recipient_id" or name.startswith(FIELD.format("")))
        # a copy of the recipients has their ids
        for column in frame.drop(piece.meta.get("copies", ()), strict=False).iter_columns():
            if column.dtype == pl.String and (column.name == "recipient_id" or _holds_ids(column, graph)):
                codes = graph.interner.find(column)
                yield codes[are_entities(graph, codes)]


def _holds_ids(column: pl.Series, graph: GraphState) -> bool:
    some = column.drop_nulls().head(_LOOKED_AT)
    return bool(are_entities(graph, graph.interner.find(some)).any())
