"""Scans of a log: its chunks, prepared for the flows, or those that an earlier scan of events in memory left."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar

from flowdsl.log.scan_cache import MOST, Scan, ScanCache
from flowdsl.log.source import EventSource

T = TypeVar("T")


def scan(
    source: EventSource, owners: tuple[Any, ...], key: Hashable, prepare: Callable[[], Iterator[T]]
) -> Iterator[T]:
    """Yield what `prepare` yields, or what it did before for the same owners and key, if the log has kept it.

    The key, if any, says all that chunks of the whole log depend on.
    """
    cache: ScanCache | None = getattr(source, "scan_cache", None)
    if cache is None or key is None or (source.count() or 0) > MOST:
        yield from prepare()
        return
    kept = cache.find(owners, key)
    if kept is not None:
        yield from kept.chunks
        if source.broken != kept.broken:
            source.broken = kept.broken  # type: ignore[misc]
        return
    chunks = []
    for chunk in prepare():
        chunks.append(chunk)
        yield chunk
    cache.keep(owners, key, Scan(chunks, source.broken))
