"""Effect of events on links and entities, and the deletions that match nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from flowdsl.graph.link_keys import NOBODY, LinkKeys
from flowdsl.graph.links import LinkTable
from flowdsl.graph.sorted_run import ALIVE, Seqs
from flowdsl.log.event_rows import EventRows
from flowdsl.values.interner import Codes
from flowdsl.values.json_extraction import Documents
from flowdsl.values.json_types import Index, Ints, Mask
from flowdsl.values.masks import where_present
from flowdsl.values.orders import sort_stably

# sequence numbers so far apart are searched rather than looked up in a table
_SPARSE: Final = 64


@dataclass(frozen=True)
class EntityEvents:
    """Entity events in the order of the log: rows in the chunk, ids, types, and a mask of deletions."""

    rows: Index
    ids: Codes
    types: pl.Series
    deleted: Mask


@dataclass(frozen=True)
class Succession:
    """First and last events of each link key, and the sequence number of the event of the same key that comes
    next after each.
    """

    first: Index
    last: Index
    next: Seqs

    @classmethod
    def of(cls, keys: Ints, seqs: Seqs) -> Succession:
        """Find them among events in the order of the log."""
        ordered, order = sort_stably(keys)
        others = np.concatenate([[True], ordered[1:] != ordered[:-1], [True]])
        again = np.flatnonzero(~others)
        following = np.full(len(seqs), ALIVE, np.int64)
        following[order.take(again - 1)] = seqs.take(order.take(again))
        return cls(order[others[:-1]], order[others[1:]], following)


@dataclass(frozen=True)
class LinkEvents:
    """Events of links, in the order of the log, with their rows in the chunk.

    `kinds` count the link types that are looked up; all other types, and none, are the number behind them.
    `keys` are numbers of the keys of their links, `made` creations, the others deletions.
    """

    rows: Index
    kinds: Ints
    sources: Codes
    targets: Codes
    link_ids: pl.Series
    keys: Ints
    made: Mask
    seqs: Seqs
    succession: Succession
    documents: Callable[[Index], Documents]
    """The metadata of some of them."""


def metadata_of(events: EventRows, rows: Index) -> Callable[[Index], Documents]:
    """Return a function that gives the metadata of some of these rows."""
    return lambda some: events.documents_at("metadata", rows[some])


def change_links(tables: Sequence[LinkTable], identities: LinkKeys, events: LinkEvents) -> Mask:
    """Apply events to the link tables; return a mask of the deletions that matched no link.

    A link ends with the next event of its identity, a deletion or a creation that replaces it, or with a
    deletion that names no id but its type and its ends, whichever comes first.
    """
    kinds, seqs, made = events.kinds, events.seqs, events.made
    first, last, ends = events.succession.first, events.succession.last, events.succession.next
    held, held_kinds = identities.holders(events.keys[first])
    # at most one link without an id is between two ends, and it has the key of the deletion
    nameless = np.zeros(0, np.int64)
    if identities.any_ids and not made.all():
        nameless = np.flatnonzero(~made & ~where_present(events.link_ids))
        if len(nameless):
            ends = np.minimum(ends, _next_nameless(events, nameless))
    met = [ends[made], seqs[first[(held != NOBODY) & (held_kinds == identities.others)]]]
    links = np.where(made, 0, NOBODY)
    for kind, table in enumerate(tables):
        mine = (held != NOBODY) & (held_kinds == kind)
        met.append(_end_held(table, held[mine], seqs[first[mine]], events, nameless[kinds[nameless] == kind]))
        new = np.flatnonzero(made & (kinds == kind))
        if len(new):
            documents = events.documents(new) if table.documented else None
            start = table.add(events.sources[new], events.targets[new], seqs[new], ends[new], documents)
            links[new] = start + np.arange(len(new))
    identities.hold(events.keys[last], links[last], kinds[last])
    unmet: Mask = ~made
    if unmet.any():
        ended_by = np.concatenate(met)
        unmet &= ~_among(ended_by[ended_by != ALIVE], seqs)
    return unmet


def _among(wanted: Seqs, seqs: Seqs) -> Mask:
    """Mark those of `seqs`, which ascend, that are in `wanted`, a subset of them."""
    first, span = int(seqs[0]), int(seqs[-1] - seqs[0]) + 1
    if span > _SPARSE * len(seqs):
        marked = np.zeros(len(seqs), np.bool_)
        marked[np.searchsorted(seqs, wanted)] = True
        return marked
    there = np.zeros(span, np.bool_)
    there[wanted - first] = True
    return there.take(seqs - first)


def _end_held(table: LinkTable, held: Ints, seqs: Seqs, events: LinkEvents, nameless: Index) -> Seqs:
    """End earlier links by their key or their ends; return the sequence numbers that ended one."""
    if len(nameless):
        row, between = table.between(events.sources[nameless], events.targets[nameless])
        held, seqs = np.concatenate([held, between]), np.concatenate([seqs, events.seqs[nameless[row]]])
        order = np.lexsort((seqs, held))
        once = order[np.concatenate([[True], held[order][1:] != held[order][:-1]])] if len(order) else order
        held, seqs = held[once], seqs[once]
    # a link ended by its ends still holds its key
    return seqs[table.kill(held, seqs)]


def _next_nameless(events: LinkEvents, nameless: Index) -> Seqs:
    """Return, for each creation, the first later deletion that gives only its type and ends."""
    rows = np.concatenate([nameless, np.flatnonzero(events.made)])
    pairs = events.sources[rows].astype(np.int64) << 32 | events.targets[rows]
    _, group = np.unique(pairs, return_inverse=True)
    # sorted by pair and type, then by position in the log
    group = group.astype(np.int64) * (int(events.kinds.max()) + 1) + events.kinds[rows]
    place = group * len(events.seqs) + rows
    deletions = np.sort(place[: len(nameless)])
    created = place[len(nameless) :]
    at = np.searchsorted(deletions, created)
    there = deletions.take(at, mode="clip")
    found = (at < len(deletions)) & (there // len(events.seqs) == created // len(events.seqs))
    ends = np.full(len(events.seqs), ALIVE, np.int64)
    ends[rows[len(nameless) :][found]] = events.seqs[there[found] % len(events.seqs)]
    return ends


def following(keys: Ints) -> tuple[Index, Index]:
    """Return the rows that are not the first of their key, and for each the row of the same key before it."""
    ordered, order = sort_stably(keys)
    again = np.flatnonzero(ordered[1:] == ordered[:-1])
    return order[again + 1], order[again]


def first_mentions(keys: Ints, deleted: Mask) -> tuple[Mask, Mask]:
    """Mark the first row of each key, and the rows whose previous row of the same key is not a deletion."""
    later, earlier = following(keys)
    first, alive = np.ones(len(keys), np.bool_), np.zeros(len(keys), np.bool_)
    first[later] = False
    alive[later] = ~deleted[earlier]
    return first, alive
