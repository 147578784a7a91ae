"""Zones and durations that a step reads in each context, or has from its options."""

from __future__ import annotations

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.errors import BuildError
from flowdsl.expressions.durations import Duration, parse_duration
from flowdsl.expressions.row_source import Failures
from flowdsl.values.distinct_texts import UNREAD, read_texts
from flowdsl.values.json_types import Ints
from flowdsl.values.paths import Path, path_text
from flowdsl.values.zones import Zones, zone_number


class ZoneReader:
    """Reads the time zone of each context.

    Parameters
    ----------
    zone
        the name of a zone, the path to one, or None for UTC
    default
        the zone where the path has no name of one; None if the context then fails
    """

    def __init__(self, zone: str | Path | None, default: str | None = None) -> None:
        self._path = zone if isinstance(zone, tuple) else None
        self.fixed = _number("UTC" if zone is None or self._path else str(zone))
        self._default = UNREAD if default is None else _number(default)

    def read(self, contexts: ContextBatch) -> tuple[Zones, Failures | None]:
        """Return the zone of each context, or one for all; where it fails, any."""
        if self._path is None:
            return self.fixed, None
        zones = read_texts(contexts.column(self._path), zone_number)
        unknown = zones == UNREAD
        zones[unknown] = self.fixed if self._default == UNREAD else self._default
        if self._default != UNREAD:
            return zones, None
        return zones, Failures.where(unknown, f"{path_text(self._path)!r} has no name of a time zone")


class DurationReader:
    """Reads the duration of each context: an option, or text at a path such as `"5m"`."""

    def __init__(self, duration: Duration | Path) -> None:
        self._duration = duration

    def read(self, contexts: ContextBatch) -> tuple[Ints | int, Failures | None]:
        """Return the durations in µs, or one for all; where it fails, any."""
        if isinstance(self._duration, Duration):
            return self._duration.microseconds, None
        lengths = read_texts(contexts.column(self._duration), _microseconds)
        unreadable = lengths == UNREAD
        lengths[unreadable] = 0
        return lengths, Failures.where(unreadable, f"{path_text(self._duration)!r} has no duration")


def _number(name: str) -> int:
    found = zone_number(name)
    assert found is not None, f"options are read before, and {name!r} is not a zone"
    return found


def _microseconds(text: str) -> int | None:
    try:
        return parse_duration(text).microseconds
    except BuildError:
        return None
