"""Shares of the links of ids with very many: consecutive stretches of them, one for each task.

The place of a link among those of its id never changes: first come those of the snapshot, then those that the
log makes. A task has the links of one stretch, and knows of all events that make and end links of the id
which stretch they concern, but not between whom. So it can tell how many links there are before its own at
any event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.graph.snapshot import EntityGraph
from flowdsl.spark.parted_links import coded_ends
from flowdsl.values.json_types import Ints, Mask

# change of the number of links of a share at each event
_MADE, _ENDED = 1, -1
NO_EVENTS: Final = pl.DataFrame(
    schema={"seq_no": pl.Int64, "made": pl.Boolean, "id": pl.String, "other": pl.String}
)
"""The events of links where there are none."""
# links of the snapshot that are searched at a time
_SCANNED: Final = 1 << 20


class Moves(NamedTuple):
    """Changes that events make to links: of each the row, the share, and whether a link ends there."""

    rows: Ints
    shares: Ints
    ending: Mask


@dataclass(frozen=True)
class LinkShares:
    """The links of some ids, looked up by one end: how large the share of each is, and what becomes of it."""

    sizes: Mapping[str, int]
    """The links of a share, by id."""
    given: Mapping[str, int]
    """The links of the snapshot, by id."""
    seq: Ints
    """The events that make and end links, in the order of the log; those that do both come twice."""
    of: npt.NDArray[np.int32]
    """For each of them the id, by its place in `sizes`."""
    shares: npt.NDArray[np.int32]
    changes: npt.NDArray[np.int8]

    @classmethod
    def of_links(
        cls, graph: EntityGraph, name: str, end: str, tasks: Mapping[str, int], events: pl.DataFrame
    ) -> LinkShares:
        """Cut the links of ids into as many shares as there are tasks for each.

        `events` are those of the links, in the order of the log: `seq_no`, whether a link is `made`, the
        `id`, and the `other` end.
        """
        numbers = {one: number for number, one in enumerate(tasks)}
        events = events.with_columns(pl.col("id").replace_strict(numbers, return_dtype=pl.Int32))
        given, known = _count_given(graph, name, end, numbers, events)
        start = pl.Series([*given.values()], dtype=pl.Int64)
        place = (
            start.gather(events["id"]) + events.select(pl.col("made").cum_sum().over("id")).to_series() - 1
        )
        made = events.filter("made").with_columns(place.filter(events["made"]).alias("place"))
        log = pl.concat([made, events.filter(~pl.col("made"))], how="diagonal").sort("seq_no")
        # what happens between two ids ends the link that the event before has made there, if it has
        before = pl.concat([known, log], how="diagonal").with_columns(
            pl.col("place").shift(1).over("id", "other")
        )
        ended = before[known.height :].filter(pl.col("place").is_not_null())
        both = [
            one.select("seq_no", "id", "place", change=pl.lit(change, pl.Int8))
            for one, change in ((made, _MADE), (ended, _ENDED))
        ]
        moves = pl.concat(both).sort("seq_no")
        links = [
            *zip(tasks.values(), given.values(), np.bincount(made["id"], minlength=len(tasks)), strict=True)
        ]
        sizes = [-(-(first + int(more)) // count) for count, first, more in links]
        size = pl.Series(sizes, dtype=pl.Int64).gather(moves["id"])
        return cls(
            dict(zip(tasks, sizes, strict=True)),
            given,
            moves["seq_no"].to_numpy(),
            moves["id"].to_numpy(),
            (moves["place"] // size).cast(pl.Int32).to_numpy(),
            moves["change"].to_numpy(),
        )

    def moves(self, seq: Ints) -> Moves:
        """Return what happens to links at some events, which are in the order of the log."""
        first, last = (int(seq[0]), int(seq[-1])) if len(seq) else (0, 0)
        here = slice(*np.searchsorted(self.seq, [first, last + 1]))
        rows = np.searchsorted(seq, self.seq[here])
        mine = seq.take(rows) == self.seq[here]
        ending = self.changes[here][mine] == _ENDED
        return Moves(rows[mine], self.shares[here][mine].astype(np.int64), ending)

    def counts_at(self, seq: int, number: int, share: int) -> tuple[int, int]:
        """Return how many links an id has after an event, by its place in `sizes`: before a share, and in
        all.

        All moves up to the event are looked through: that is little beside the branches that it makes.
        """
        one, size = [*self.sizes.items()][number]
        behind = int(np.searchsorted(self.seq, seq, side="right"))
        mine, given = self.of[:behind] == number, self.given[one]
        earlier = self.changes[:behind][mine & (self.shares[:behind] < share)]
        total = self.changes[:behind][mine]
        return min(share * size, given) + int(earlier.sum()), given + int(total.sum())


def _count_given(
    graph: EntityGraph, name: str, end: str, numbers: Mapping[str, int], events: pl.DataFrame
) -> tuple[dict[str, int], pl.DataFrame]:
    """Return how many links the ids have in a graph, and those of them that events are of."""
    ends = coded_ends(graph, name)
    keys = ends.pop(end)
    (others,) = ends.values()
    counts, known = {}, [pl.DataFrame(schema={"id": pl.Int32, "other": pl.String, "place": pl.Int64})]
    for one, number in numbers.items():
        rows = np.flatnonzero(keys == graph.codes_of(pl.Series([one]))[0])
        counts[one] = len(rows)
        met = events.filter(pl.col("id") == number).select("other").unique()
        for start in range(0, len(rows) if met.height else 0, _SCANNED):
            some = graph.ids_of(others[rows[start : start + _SCANNED]]).alias("other").to_frame()
            places = some.with_columns(
                id=pl.lit(number, pl.Int32), place=pl.int_range(start, start + len(some))
            )
            known.append(places.join(met, on="other", how="semi", maintain_order="left"))
    return counts, pl.concat(known, how="diagonal")
