"""History of one link: from the graph at the start and the whole log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from flowdsl.graph.living_links import LivingLinks

if TYPE_CHECKING:
    from flowdsl.results.options import Options

_COLUMNS: Final = ("link_type", "link_id", "source_id", "target_id")
_CHUNK: Final = 1 << 17
START: Final = 0
"""Stands for the graph before the first event."""


@dataclass(frozen=True)
class LinkInterval:
    """An interval in which two ids were linked: from which event (0: before the log) to which one (None: not
    ended).
    """

    since: int
    until: int | None


def link_intervals(options: Options, kind: str, source: str, target: str) -> list[LinkInterval]:
    """Return the intervals with any link of a type from one id to the other, in order."""
    at_start = [] if options.graph is None else options.graph.links_between(kind, source, target)
    ends = {"link_type": kind, "source_id": source, "target_id": target}
    alive: LivingLinks[int] = LivingLinks()
    for link_id in at_start:
        alive.add({**ends, "link_id": link_id}, START)
    found: list[LinkInterval] = []
    since = START if at_start else None
    for event in _link_events(options, kind, source, target, {one for one in at_start if one is not None}):
        seq_no = event["seq_no"]
        alive.ended_by(event)
        if event["kind"] == "link.created" and all(event[name] == end for name, end in ends.items()):
            alive.add(event, seq_no)
        living = alive.values()
        if since is None and living:
            since = seq_no
        elif since is not None and not living:
            found.append(LinkInterval(since, seq_no))
            since = None
    return found if since is None else [*found, LinkInterval(since, None)]


def _link_events(
    options: Options, kind: str, source: str, target: str, known: set[str]
) -> Iterator[dict[str, Any]]:
    """Yield the events of links between the two ids, and of links with the same link id."""
    between = (
        (pl.col("link_type") == kind) & (pl.col("source_id") == source) & (pl.col("target_id") == target)
    )
    for frame in options.source.chunks(_COLUMNS, _CHUNK):
        links = frame.filter(pl.col("kind").cast(pl.String).str.starts_with("link."))
        known.update(links.filter(between)["link_id"].drop_nulls().to_list())
        same = between if not known else between | pl.col("link_id").is_in(sorted(known))
        yield from links.filter(same).with_columns(pl.col("kind").cast(pl.String)).iter_rows(named=True)
