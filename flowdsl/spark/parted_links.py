"""Links that are shared out: each shard has those of some ids, as they were at each event.

Where all steps that read links of a type look them up from the same end, and all that a flow remembers
behind them is of keys with that id in them, a shard needs only the links of its ids: those of the snapshot
come first in its stream, and the events that make and end them go to that shard alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.flow.plan import CompiledStep, Plan
from flowdsl.graph.link_blocks import FORWARD, REVERSE
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.values.interner import Codes
from flowdsl.values.json_types import Ints
from flowdsl.values.masks import where_equal

ENDS: Final = {FORWARD: "source_id", REVERSE: "target_id"}
"""The column of the id that links are looked up by."""
Parted = Mapping[str, str]
"""Link types that are shared out, each with the column of its end by which it is."""
_SEED: Final = 0x1D


def coded_ends(graph: EntityGraph, name: str) -> dict[str, Codes]:
    """Return the codes of the ids at each end of the links of a type, by the column of the end."""
    return dict(zip(ENDS.values(), graph.link_codes(name), strict=True))


def one_ended(plan: Plan) -> Parted:
    """Return the link types that are looked up from one end alone, by steps that say from which id."""
    found: dict[str, set[str | None]] = {}
    for step in plan.steps:
        for name, use in step.links:
            found.setdefault(name, set()).add(None if step.link_path is None else ENDS.get(use))
    return {name: end for name, (end, *more) in sorted(found.items()) if end is not None and not more}


def reads(step: CompiledStep, parted: Parted) -> frozenset[str]:
    """Return the link types among them that a step reads."""
    return frozenset(name for name, _ in step.links if name in parted)


def shards_of_ids(ids: pl.Series, count: int) -> Ints:
    """Return the shard of each id; values that are not ids go to any shard."""
    hashes: npt.NDArray[np.uint64] = ids.hash(_SEED).to_numpy()
    # the lower bits of a hash may be those that another table takes
    shards: Ints = ((hashes >> np.uint64(17)) % np.uint64(count)).astype(np.int64)
    return shards


class GivenLinks:
    """The links of a snapshot that a shard has: interned as they come, so that their texts are held once."""

    def __init__(self, graph: EntityGraph, types: Collection[str]) -> None:
        self._graph = graph
        self._ends: dict[str, list[tuple[Codes, Codes]]] = {name: [] for name in types}

    def add(self, links: pl.DataFrame) -> None:
        """Take the next ones."""
        for name, ends in self._ends.items():
            rows = links.filter(pl.Series(where_equal(links["link_type"], name)))
            if rows.height:
                ends.append(
                    (self._graph.codes_of(rows["source_id"]), self._graph.codes_of(rows["target_id"]))
                )

    def graph(self) -> EntityGraph:
        """Return the graph with these links."""
        ends = {
            name: (np.concatenate([one for one, _ in parts]), np.concatenate([other for _, other in parts]))
            for name, parts in self._ends.items()
            if parts
        }
        self._ends.clear()
        return self._graph.with_links(ends)
