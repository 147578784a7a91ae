"""Fan-outs whose branches go on in several tasks.

An id with very many links makes one context as many branches. Such an event goes to several shards, which
follow one another; each of them goes on with every so manieth branch. Where links are shared out, all of
these shards have the links of the id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.flow.plan import Branch, Plan
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.spark.blocks import LINKS, Block, stretches, to_arrow, to_bytes
from flowdsl.spark.parted_links import ENDS, Parted, shards_of_ids
from flowdsl.values.masks import where_equal

Numbers = npt.NDArray[np.int64]
HeavyIds = Mapping[str, int]
"""Ids with very many links, each with the number of tasks that its branches go on in."""
Heavy = Mapping[tuple[str, str], HeavyIds]
"""By link type and the column of the end that links are looked up by."""
NONE_HEAVY: Final[Heavy] = {}
# links of the snapshot in a block
_IN_BLOCK: Final = 1 << 16


class Copies(NamedTuple):
    """Rows that go to several shards: the row of each copy, and its shard."""

    rows: Numbers
    shards: Numbers

    @classmethod
    def of(cls, first: Numbers, tasks: Numbers, shards: int) -> Copies:
        """Return the copies of rows that each go to so many shards, from the first one on."""
        rows = np.repeat(np.arange(len(first)), tasks)
        number = np.arange(len(rows)) - np.repeat(np.cumsum(tasks) - tasks, tasks)
        return cls(rows, (first[rows] + number) % shards)


def end_of(branch: Branch, place: int) -> tuple[str, str] | None:
    """Return the link type and the end of a fan-out whose branches can go on in several tasks: the only one
    on its way, with nothing behind it that remembers something.
    """
    step = branch[place]
    if not step.fans_out or step.link_path is None or len(step.links) != 1 or not _is_alone(branch, place):
        return None
    ((name, use),) = step.links
    return (name, ENDS[use]) if use in ENDS else None


def _is_alone(branch: Branch, place: int) -> bool:
    step = branch[place]
    below = branch[place + 1 : place + step.size]
    if any(one.fans_out or not one.stateless for one in below) or not step.stateless:
        return False
    while step.after >= 0:
        step = branch[step.after]
        if step.fans_out:
            return False
    return True


def ends_of(plan: Plan) -> list[tuple[str, str]]:
    """Return the link types and ends of all such fan-outs."""
    branches = [branch for entry in plan.entries for branch in entry.branches]
    found = {end_of(branch, place) for branch in branches for place in range(len(branch))}
    return sorted(one for one in found if one is not None)


def heavy_in(graph: EntityGraph, plan: Plan, most: int) -> dict[tuple[str, str], Counter[str]]:
    """Return the ids that have more than so many links in a graph, with their number, for all such
    fan-outs.
    """
    found = {}
    for name, end in ends_of(plan):
        found[name, end] = Counter[str]()
        if graph.link_counts.get(name, 0) > most:
            counted = graph.link_ends(name)[end].value_counts().filter(pl.col("count") > most)
            found[name, end].update(dict(counted.iter_rows()))
    return found


def heavy_of(counts: Mapping[tuple[str, str], Mapping[str, int]], most: int) -> Heavy:
    """Return the ids of which so many links are for one task."""
    found = {
        end: {one: max(2, -(-count // most)) for one, count in links.items()} for end, links in counts.items()
    }
    return {end: ids for end, ids in found.items() if ids}


def tasks_of(ids: pl.Series, heavy: HeavyIds, shards: int) -> Numbers:
    """Return the number of shards that each id goes to."""
    if not heavy:
        return np.ones(len(ids), np.int64)
    many = ids.replace_strict(pl.Series([*heavy], dtype=pl.String), [*heavy.values()], default=1)
    tasks: Numbers = many.cast(pl.Int64).to_numpy()
    return np.minimum(tasks, shards)


def shared_out(links: pl.DataFrame, parted: Parted, shards: int, heavy: Heavy) -> Iterator[Block]:
    """Yield the links of a snapshot as the first blocks of their shards."""
    rows, places = [], []
    for name, end in parted.items():
        mine = np.flatnonzero(where_equal(links["link_type"], name))
        copies = _copies(links[end][mine], heavy.get((name, end), {}), shards)
        rows.append(mine[copies.rows])
        places.append(copies.shards)
    row, place = np.concatenate(rows), np.concatenate(places)
    order = np.argsort(place, kind="stable")
    row = row[order]
    for shard, start, behind in stretches(place[order]):
        for first in range(start, behind, _IN_BLOCK):
            some = to_arrow(links[row[first : min(first + _IN_BLOCK, behind)]])
            yield Block(shard, first - len(row), LINKS, to_bytes(some, "zstd"))


def moved_links(
    frame: pl.DataFrame,
    own: npt.NDArray[np.bool_],
    parted: Parted,
    shards: int,
    heavy: Heavy = NONE_HEAVY,
) -> Copies:
    """Return which of the `own` events make or end links that are shared out, and their shards."""
    none = np.zeros(0, np.int64)
    rows, places = [none], [none]
    of_links = frame["kind"].cast(pl.String).str.starts_with("link.").to_numpy() & own
    for name, end in parted.items():
        found = np.flatnonzero(of_links & where_equal(frame["link_type"], name))
        copies = _copies(frame[end][found], heavy.get((name, end), {}), shards)
        rows.append(found[copies.rows])
        places.append(copies.shards)
    return Copies(np.concatenate(rows), np.concatenate(places))


def _copies(ids: pl.Series, heavy: HeavyIds, shards: int) -> Copies:
    return Copies.of(shards_of_ids(ids, shards), tasks_of(ids, heavy, shards), shards)
