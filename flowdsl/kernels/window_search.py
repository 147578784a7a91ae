"""The window that each context of a batch goes into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flowdsl.kernels.open_windows import Open
from flowdsl.kernels.window_blocks import KeyTable, block_edges
from flowdsl.kernels.window_rule import RuleReach, RuleSpans
from flowdsl.kernels.windows import Groups, Windows
from flowdsl.values.json_types import Ints
from flowdsl.values.orders import Places

# the windows that some keys have open, and those that are due
CarriedIn = Callable[[Places], Open]


@dataclass(frozen=True)
class Found:
    """Windows of a batch: those carried in, and behind them those that open, in order.

    `windows` has the place among them for each row, `openers` are the rows that open some, and `limits` says
    when these are due at the latest. `behind` returns for each of them the first row of its key that comes
    after it, -1 for none.
    """

    carried: Open
    windows: Ints
    openers: Ints
    limits: Ints
    behind: Callable[[], Ints]


def find_windows(keys: Ints, moments: Ints, spans: RuleSpans, carried_in: CarriedIn) -> Found:
    """Return the windows of contexts with these keys, which came at these moments."""
    if spans.ascending and spans.quiet is None and spans.most is None:
        limits = spans.limits(moments)
        edges = block_edges(keys, moments, limits)
        if edges is not None:
            return _in_blocks(KeyTable(keys), moments, limits, edges, carried_in)
    return _by_key(Groups.of(keys, moments), moments, spans, carried_in)


def _in_blocks(
    table: KeyTable, moments: Ints, limits: Ints, edges: list[int], carried_in: CarriedIn
) -> Found:
    carried = carried_in(Places(table.keys()))
    table.hold(carried.keys, carried.limit)
    windows = table.windows(moments, limits, edges)
    openers = np.flatnonzero(windows == np.arange(len(carried), len(carried) + len(moments)))
    place = np.arange(len(carried) + len(moments))
    place[len(carried) + openers] = np.arange(len(carried), len(carried) + len(openers))
    # none of these windows is full, or over when it opens: what comes behind is not asked for
    return Found(
        carried, place.take(windows), openers, limits.take(openers), lambda: np.full(len(openers), -1)
    )


def _by_key(groups: Groups, moments: Ints, spans: RuleSpans, carried_in: CarriedIn) -> Found:
    carried, size = carried_in(groups.places), len(moments)
    reach = RuleReach(groups, spans.take(groups.order))
    group = groups.places.of(carried.keys)
    mine = np.flatnonzero(group >= 0)
    group, ends = group.take(mine), groups.starts.copy()
    due, limit, counts = (column.take(mine) for column in (carried.due, carried.limit, carried.counts))
    ends[group] = reach.ends_of_open(group, due, limit, counts)
    found = Windows.find(groups, ends, reach)
    opens = groups.order.take(found.first)
    opening = np.zeros(size, np.int64)
    opening[opens] = 1
    openers, rank = np.flatnonzero(opening), np.cumsum(opening).take(opens) - 1
    # of sorted rows the place of the window that begins there, and where the one begins that each is in
    places, begins = np.empty(size, np.int64), np.zeros(size, np.int64)
    grows = np.flatnonzero(ends.take(group) > groups.starts.take(group))
    first = np.concatenate([groups.starts.take(group.take(grows)), found.first])
    begins[first], places[first] = first, np.concatenate([mine.take(grows), len(carried) + rank])
    windows = np.empty(size, np.int64)
    windows[groups.order] = places.take(np.maximum.accumulate(begins))

    def behind() -> Ints:
        # at the end comes one of no key
        follows = ~np.append(groups.begins, np.True_).take(found.end)
        rows = np.empty(len(openers), np.int64)
        rows[rank] = np.where(follows, groups.order.take(np.where(follows, found.end, 0)), -1)
        return rows

    return Found(carried, windows, openers, spans.take(openers).limits(moments.take(openers)), behind)
