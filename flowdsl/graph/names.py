"""Names and types of entities, as the graph has them when a run ends: what people read, not ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from flowdsl.errors import printable
from flowdsl.values.interner import Codes
from flowdsl.values.json_texts import null_texts
from flowdsl.values.json_types import Mask, Tag
from flowdsl.values.masks import as_mask
from flowdsl.values.orders import inverse

if TYPE_CHECKING:
    from flowdsl.graph.state import GraphState

# fields that hold the name of a person or a thing, the first that is text counts
NAME_FIELDS: Final = ("name", "display_name", "full_name", "username", "login", "handle", "title")
SCHEMA: Final[dict[str, Any]] = {"id": pl.String, "type": pl.String, "name": pl.String}


@dataclass(frozen=True)
class EntityNames:
    """The names and the types of some entities by id, as far as they have any."""

    names: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, frame: pl.DataFrame) -> EntityNames:
        """Take the rows of a table with `SCHEMA`."""
        named, typed = (frame.select("id", column).drop_nulls() for column in ("name", "type"))
        return cls(dict(named.iter_rows()), dict(typed.iter_rows()))

    def name(self, one: str) -> str:
        """Return the name of an entity, its id if it has none.

        >>> EntityNames({"u1": "Ann"}, {"u1": "user"}).name("u1")
        'Ann'
        """
        return self.names.get(one, one)

    def full(self, one: str) -> str:
        """Return an entity by name, type and id, as far as they are known.

        >>> known = EntityNames({"u1": "Ann"}, {"u1": "user", "u2": "user"})
        >>> known.full("u1"), known.full("u2"), known.full("u3")
        ('Ann (user u1)', 'user u2', 'u3')
        """
        typed = f"{self.types[one]} {one}" if one in self.types else one
        return f"{self.names[one]} ({typed})" if self.names.get(one, one) != one else typed


def names_in(graph: GraphState, ids: Collection[str]) -> EntityNames:
    """Return the names and types of those of the ids that are entities.

    Nothing is fetched: entities that a function supplies are not asked for.
    """
    # no entity has half a surrogate pair in its id, and no column could hold it
    asked = sorted(one for one in ids if printable(one) == one)
    return EntityNames.of(entity_rows(graph, graph.interner.find(pl.Series(asked, dtype=pl.String))))


def types_in(graph: GraphState, ids: Collection[str]) -> dict[str, set[str]]:
    """Return which of some ids are those of entities that the graph has, or had, by type."""
    names = {number: name for name, number in graph.type_numbers.items()}
    found: dict[str, set[str]] = {}
    asked = pl.Series(list(ids), dtype=pl.String)
    codes = graph.interner.find(asked)
    known = are_entities(graph, codes)
    for one, code in zip(asked.filter(pl.Series(known)), codes[known].tolist(), strict=True):
        for number in graph.several.of.get(code, (int(graph.type_of[code]),)):
            found.setdefault(names[number], set()).add(one)
    return found


def entity_rows(graph: GraphState, codes: Codes) -> pl.DataFrame:
    """Return a row for each code that is an entity's, as `SCHEMA` has it."""
    known = are_entities(graph, codes)
    codes = codes[known]
    columns = [graph.interner.texts(codes).alias("id"), _types(graph, codes), _names(graph, codes)]
    return pl.DataFrame(columns, SCHEMA)


def are_entities(graph: GraphState, codes: Codes) -> Mask:
    """Return whether each code is that of an entity which the graph has, or had."""
    inside = (codes > 0) & (codes < len(graph.type_of))
    return np.where(inside, graph.type_of.take(codes, mode="clip") >= 0, False)


def _types(graph: GraphState, codes: Codes) -> pl.Series:
    """Return the types; null for the few ids that are of several."""
    several = np.isin(codes, np.fromiter(graph.several.of, np.int64, len(graph.several.of)))
    names = pl.Series([None, *graph.type_numbers], dtype=pl.String)
    numbers = np.zeros(len(graph.type_numbers) + 1, np.int64)
    numbers[[*graph.type_numbers.values()]] = np.arange(1, len(names))
    return names.gather(np.where(several, 0, numbers[graph.type_of[codes]])).alias("type")


def _names(graph: GraphState, codes: Codes) -> pl.Series:
    """Return the first field of `NAME_FIELDS` that is text."""
    versions = graph.anywhere.currents(codes)
    rows = np.arange(len(codes))
    parts, places = [], []
    for field_name in NAME_FIELDS:
        column = graph.versions.column((field_name,), versions.take(rows))
        named = column.is_(Tag.TEXT)
        if named.any():
            texts = column.text_series().cast(pl.String)
            named &= as_mask(texts.str.strip_chars() != "")
            parts.append(texts.filter(pl.Series(named)))
            places.append(rows[named])
            rows = rows[~named]
    parts.append(null_texts(len(rows)))
    return pl.concat(parts).gather(inverse(np.concatenate([*places, rows]))).alias("name")
