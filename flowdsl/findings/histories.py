"""Findings about the log itself: unmatched deletions, and events dated in the future."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

import numpy as np
import polars as pl

from flowdsl.engine.range import BEGINNING, CHUNK, micros
from flowdsl.events import timestamp_text
from flowdsl.findings.base import Finding, Violation, finding_of
from flowdsl.log import EventSource
from flowdsl.log.columns import readable
from flowdsl.results.store import NoStore, TablePart
from flowdsl.text import short_repr

MANY: Final = 10
"""Least number of unmatched deletions, or of late events, that is a finding."""
LONG: Final = 3_600_000_000
"""An event is very late if it is later than this, in µs."""
_COMMON: Final = 10


def is_common(seen: int, of: int) -> bool:
    """Return True if `seen` is at least a tenth of `of`."""
    return seen * _COMMON >= of


class Noted(NoStore):
    """Store that keeps only what these findings need: counts of unmatched deletions and very late events."""

    def __init__(self) -> None:
        self.unmatched = 0
        self.first_unmatched: dict[str, object] = {}
        # number of very late events, by the clock (µs) that made them late
        self.late: Counter[int] = Counter()

    def add(self, table: str, part: TablePart) -> None:
        """Count the rows of a part."""
        if table == "unmatched":
            self.first_unmatched = self.first_unmatched or part.frame.row(0, named=True)
            self.unmatched += part.rows
        elif table == "late":
            late = part.frame.filter(pl.col("lateness") > pl.duration(microseconds=LONG))
            counts = late["clock"].to_physical().value_counts()
            self.late.update(dict(counts.iter_rows()))


def findings_of_history(noted: Noted, source: EventSource) -> Iterator[Finding]:
    """Yield the findings about the log that a run read."""
    if noted.unmatched >= MANY:
        yield from _find_unmatched(noted, source)
    for clock, count in sorted(noted.late.items()):
        if count >= MANY:
            yield from _future(clock, count, source)


def _find_unmatched(noted: Noted, source: EventSource) -> Iterator[Finding]:
    kinds = (frame["kind"].cast(pl.String) for frame in source.chunks((), CHUNK))
    deletions = sum(int(kind.is_in(["link.deleted", "entity.deleted"]).sum()) for kind in kinds)
    if not is_common(noted.unmatched, deletions):
        return
    first = noted.first_unmatched
    names = ("link_type", "link_id", "source_id", "target_id", "entity_type", "entity_id")
    described = ", ".join(
        f"{name}={short_repr(first[name])}" for name in names if first.get(name) is not None
    )
    message = (
        f"{noted.unmatched:,} of {deletions:,} deletions meet no link or entity: first event "
        f"{first['seq_no']}, {described}"
    )
    hint = (
        "they end nothing: are the links before the log given as graph=, and are type, ids and direction "
        "those of the creation?"
    )
    yield finding_of("deletions-unmatched", Violation("the log", message, hint))


def _future(clock: int, count: int, source: EventSource) -> Iterator[Finding]:
    """Yield a finding for the event that set the clock to `clock` (µs), if the clock jumped there; if not,
    the late events are just old.
    """
    latest = BEGINNING
    for frame in source.chunks((), CHUNK):
        frame = readable(frame)
        times = micros(frame)
        at = np.flatnonzero(times == clock)
        earlier = times[: at[0]] if len(at) else times
        latest = max(latest, int(earlier.max(initial=BEGINNING)))
        if len(at):
            if clock - latest > LONG:
                message = (
                    f"event {frame['seq_no'][int(at[0])]} is dated {timestamp_text(clock)}, and {count:,} "
                    "events after it are older by more than an hour: they come late, and windows that are "
                    "open then are over"
                )
                hint = (
                    'replay(…, max_ahead_of_next="1h") leaves the clock alone; a live run does so by itself '
                    "(max_ahead)"
                )
                yield finding_of("future-event", Violation("the log", message, hint))
            return
