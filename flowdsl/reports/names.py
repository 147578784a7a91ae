"""Names and types of what a report mentions, as the graph has them when the replay ends."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from flowdsl.graph.state import GraphState

# fields that hold the name of a person or a thing, the first that is text counts
NAME_FIELDS: Final = ("name", "display_name", "full_name", "username", "login", "handle", "title")


def names_of(graph: GraphState, ids: Collection[str]) -> dict[str, str]:
    """Return the names of those of the ids that are entities with a name.

    Nothing is fetched: entities that a function supplies are not asked for.
    """
    wanted = sorted(ids)
    codes = graph.interner.find(pl.Series(wanted, dtype=pl.String))
    known = np.flatnonzero(codes > 0)
    versions = graph.anywhere.currents(codes[known])
    names: dict[str, str] = {}
    for field in NAME_FIELDS:
        for row, value in zip(
            known.tolist(), graph.versions.column((field,), versions).values(), strict=True
        ):
            if isinstance(value, str) and value.strip():
                names.setdefault(wanted[row], value)
    return names


def types_of(graph: GraphState, ids: Collection[str]) -> dict[str, str]:
    """Return the types of those of the ids that are entities of one type."""
    wanted = sorted(ids)
    codes = graph.interner.find(pl.Series(wanted, dtype=pl.String))
    numbered = {number: name for name, number in graph.type_numbers.items()}
    types: dict[str, str] = {}
    for name, code in zip(wanted, codes.tolist(), strict=True):
        if 0 < code < len(graph.type_of) and code not in graph.several.of:
            known = numbered.get(int(graph.type_of[code]))
            if known is not None:
                types[name] = known
    return types
