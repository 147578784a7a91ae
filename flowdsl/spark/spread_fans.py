"""Fan-outs whose branches go on in several tasks.

An id with very many links makes one context as many branches. Such an event goes to several shards, which
follow one another. Where links are shared out, each of them has a share of the links of the id; otherwise
each has all links, and goes on with a part of the branches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from flowdsl.flow.plan import Branch, Plan
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.spark.blocks import LINKS, Block, stretches, to_arrow, to_bytes
from flowdsl.spark.link_shares import LinkShares
from flowdsl.spark.parted_links import ENDS, Parted, coded_ends, reads, shards_of_ids
from flowdsl.values.interner import Codes
from flowdsl.values.json_types import Ints, Mask
from flowdsl.values.masks import where_equal

HeavyIds = Mapping[str, int]
"""Ids with very many links, each with the number of tasks that its branches go on in."""
Heavy = Mapping[tuple[str, str], HeavyIds]
"""By link type and the column of the end that links are looked up by."""
NONE_HEAVY: Final[Heavy] = {}
Spread = Mapping[tuple[str, str], LinkShares]
"""The same for links that are shared out, of which each task has a share."""
# ids whose shards are computed at a time
_SCANNED: Final = 1 << 20
# links of the snapshot in a block
_IN_BLOCK: Final = 1 << 16


class Copies(NamedTuple):
    """Rows that go to several shards: the row of each copy, and its shard."""

    rows: Ints
    shards: Ints

    @classmethod
    def of(cls, first: Ints, tasks: Ints, shards: int) -> Copies:
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


def ends_of(plan: Plan, parted: Parted) -> list[tuple[str, str]]:
    """Return the link types and ends of all such fan-outs. Where links are shared out and other steps read
    them, too, one task needs all links of an id.
    """
    ends: set[tuple[str, str]] = set()
    refused: set[str] = set()
    for branch in (branch for entry in plan.entries for branch in entry.branches):
        for place, step in enumerate(branch):
            end = end_of(branch, place)
            if end is None:
                refused.update(reads(step, parted))
            else:
                ends.add(end)
    return sorted(end for end in ends if end[0] not in refused)


def heavy_in(
    graph: EntityGraph, plan: Plan, parted: Parted, most: int
) -> dict[tuple[str, str], Counter[str]]:
    """Return the ids that have more than so many links in a graph, with their number, for all such
    fan-outs.
    """
    found = {}
    for name, end in ends_of(plan, parted):
        found[name, end] = Counter[str]()
        if graph.link_counts.get(name, 0) > most:
            counts = np.bincount(coded_ends(graph, name)[end])
            many = np.flatnonzero(counts > most)
            found[name, end].update(dict(zip(graph.ids_of(many), counts[many].tolist(), strict=True)))
    return found


def heavy_of(counts: Mapping[tuple[str, str], Mapping[str, int]], most: int, tasks: int = 1 << 30) -> Heavy:
    """Return the ids of which so many links are for one task, where there are so many tasks."""
    found = {
        end: {one: min(max(2, -(-count // most)), tasks) for one, count in links.items()}
        for end, links in counts.items()
    }
    return {end: ids for end, ids in found.items() if ids and tasks > 1}


def share_out(graph: EntityGraph, parted: Parted, shards: int, spread: Spread) -> Iterator[Block]:
    """Yield the links of a snapshot as the first blocks of their shards."""
    for name, end in parted.items():
        ends = coded_ends(graph, name)
        place = _given_shards(graph, ends[end], shards, spread.get((name, end)))
        order = np.argsort(place, kind="stable")
        for shard, start, behind in stretches(place[order]):
            for first in range(start, behind, _IN_BLOCK):
                rows = order[first : min(first + _IN_BLOCK, behind)]
                ids = {one: graph.ids_of(codes[rows]) for one, codes in ends.items()}
                links = to_arrow(pl.DataFrame(ids).with_columns(link_type=pl.lit(name)))
                yield Block(shard, first - len(order), LINKS, to_bytes(links))


def _given_shards(graph: EntityGraph, keys: Codes, shards: int, shares: LinkShares | None) -> Ints:
    """Return the shard of each link of the snapshot, by the codes of the ids that they are looked up by."""
    codes = np.arange(int(keys.max(initial=0)) + 1)
    parts = [
        shards_of_ids(graph.ids_of(some), shards)
        for some in np.array_split(codes, len(codes) // _SCANNED + 1)
    ]
    found = np.concatenate(parts)[keys]
    for one, size in shares.sizes.items() if shares else ():
        rows = np.flatnonzero(keys == graph.codes_of(pl.Series([one]))[0])
        found[rows] = (found[rows] + np.arange(len(rows)) // size) % shards
    return found


class MovedLinks(NamedTuple):
    """Events that make or end links that are shared out: the row of each, the shard, and whether it does no
    more there than to end a link, whatever it is.
    """

    rows: Ints
    shards: Ints
    ending: Mask


def move_links(frame: pl.DataFrame, own: Mask, parted: Parted, shards: int, spread: Spread) -> MovedLinks:
    """Return which of the `own` events make or end links that are shared out, and their shards."""
    none = np.zeros(0, np.int64)
    found = [MovedLinks(none, none, none.astype(np.bool_))]
    of_links = frame["kind"].cast(pl.String).str.starts_with("link.").to_numpy() & own
    for name, end in parted.items():
        rows = np.flatnonzero(of_links & where_equal(frame["link_type"], name))
        first, shares = shards_of_ids(frame[end][rows], shards), spread.get((name, end))
        if shares is None:
            found.append(MovedLinks(rows, first, np.zeros(len(rows), np.bool_)))
            continue
        moves = shares.moves(frame["seq_no"].to_numpy()[rows])
        # of other ids, or deletions that meet nothing
        rest = np.delete(np.arange(len(rows)), moves.rows)
        found.append(MovedLinks(rows[rest], first[rest], np.zeros(len(rest), np.bool_)))
        places = (first[moves.rows] + moves.shares) % shards
        found.append(MovedLinks(rows[moves.rows], places, moves.ending))
    return MovedLinks(*map(np.concatenate, zip(*found, strict=True)))
