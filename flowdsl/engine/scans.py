"""Scans of a log: its chunks, prepared for flows, or those that an earlier scan of events in memory left."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeAlias

from flowdsl.graph.state import GraphEvents
from flowdsl.log.event_rows import EventRows
from flowdsl.log.scan_cache import Scan, ScanCache
from flowdsl.log.source import EventSource

Prepared: TypeAlias = Iterator[tuple[EventRows, GraphEvents]]


def scan(
    source: EventSource,
    owners: tuple[Any, ...],
    key: Hashable,
    prepare: Callable[[], Prepared],
    *,
    whole: bool,
) -> Prepared:
    """Yield the chunks that `prepare` yields, or those of an earlier scan of the `whole` log for the same
    owners and key, if the log has kept it.

    The key says all else that the chunks depend on.
    """
    cache: ScanCache | None = getattr(source, "scan_cache", None)
    if cache is None or not whole:
        yield from prepare()
        return
    kept = cache.find(owners, key)
    chunks = []
    # what a run reads of a chunk besides is not kept
    for events, changes in prepare() if kept is None else kept.chunks:
        chunks.append((events, changes))
        yield events.fork(), changes
    if kept is None:
        cache.keep(owners, key, Scan(chunks, source.broken))
    elif source.broken != kept.broken:
        source.broken = kept.broken  # type: ignore[misc]
