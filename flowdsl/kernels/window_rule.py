"""Rules that close windows: a time, a pause, a local moment, a number of members."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.expressions.durations import Duration
from flowdsl.expressions.row_source import Failures, first_failures
from flowdsl.kernels.timers import LAST_MOMENT
from flowdsl.kernels.times_read import DurationReader, ZoneReader
from flowdsl.kernels.windows import Groups
from flowdsl.values.json_types import Index, Ints, Mask
from flowdsl.values.local_time import Schedule
from flowdsl.values.paths import Path

# when a window is due that no time closes: after all others, and far from what 64 bits hold
NEVER = LAST_MOMENT + 1


@dataclass(frozen=True)
class WindowRule:
    """Rule that closes windows, by the first of what is given.

    `window` and `quiet` are durations, or paths to some; `schedule` has local moments of the zone `tz`;
    `most` is a number of members.
    """

    window: Duration | Path | None = None
    quiet: Duration | Path | None = None
    schedule: Schedule | None = None
    tz: str | Path | None = None
    default_tz: str | None = None
    most: int | None = None

    def read(self, contexts: ContextBatch) -> tuple[RuleSpans, Failures | None]:
        """Return what the rule says for each context; it fails where it cannot be read."""
        window, no_window = _length(self.window, contexts)
        quiet, no_quiet = _length(self.quiet, contexts)
        zones, no_zone, late = None, None, None
        if self.schedule is not None:
            zones, no_zone = ZoneReader(self.tz, self.default_tz).read(contexts)
        if quiet is not None:
            beyond = contexts.moment > LAST_MOMENT - quiet
            late = Failures.where(beyond, "the pause after it would end after the year 9999")
        spans = RuleSpans(window, quiet, self.schedule, zones, self.most)
        return spans, first_failures([no_window, no_quiet, no_zone, late])


def _length(
    span: Duration | Path | None, contexts: ContextBatch
) -> tuple[int | Ints | None, Failures | None]:
    return (None, None) if span is None else DurationReader(span).read(contexts)


@dataclass(frozen=True)
class RuleSpans:
    """Values of a rule for some contexts: each one for all of them, or an array."""

    window: int | Ints | None
    quiet: int | Ints | None
    schedule: Schedule | None
    zones: int | Ints | None
    most: int | None

    @property
    def ascending(self) -> bool:
        """Return True if windows that open later end later: all are of one length, or of one zone."""
        return not any(isinstance(one, np.ndarray) for one in (self.window, self.zones))

    def take(self, rows: Index) -> RuleSpans:
        """Return those of some contexts."""
        each = {"window": self.window, "quiet": self.quiet, "zones": self.zones}
        taken: dict[str, Any] = {name: _take(one, rows) for name, one in each.items() if one is not None}
        return replace(self, **taken)

    def concat(self, later: RuleSpans) -> RuleSpans:
        """Return these, then those of other contexts by the same rule."""
        pairs = {name: (getattr(self, name), getattr(later, name)) for name in ("window", "quiet", "zones")}
        arrays: dict[str, Any] = {
            name: np.concatenate(pair) for name, pair in pairs.items() if isinstance(pair[0], np.ndarray)
        }
        return replace(self, **arrays)

    def limits(self, moments: Ints) -> Ints:
        """Return when the windows are due at the latest that contexts open, at these moments."""
        limits: Ints | None = None
        if self.window is not None:
            limits = moments + self.window
        if self.schedule is not None:
            assert self.zones is not None
            local = self.schedule.next_after(moments, self.zones)
            limits = local if limits is None else np.minimum(limits, local)
        return np.full(len(moments), NEVER) if limits is None else limits

    def dues(self, limits: Ints, last_at: Ints, rows: Index) -> Ints:
        """Return when windows are due that have these limits, and these rows as their last members."""
        if self.quiet is None:
            return limits
        due: Ints = np.minimum(limits, last_at + _take(self.quiet, rows))
        return due


def _take(value: int | Ints, rows: Index) -> int | Ints:
    return value.take(rows) if isinstance(value, np.ndarray) else value


class RuleReach:
    """Reach of windows that open in a batch by a rule; `spans` are those of the sorted rows."""

    def __init__(self, groups: Groups, spans: RuleSpans) -> None:
        self._groups, self._spans = groups, spans
        self._pauses = None if spans.quiet is None else self._next_pauses()

    @cached_property
    def _limits(self) -> Ints:
        return self._spans.limits(self._groups.times)

    def limits(self, rows: Ints) -> Ints:
        """Return when the windows are due at the latest that these rows open."""
        return self._limits.take(rows)

    def ends(self, first: Ints, stop: Ints) -> Ints:
        """Return where windows end."""
        end = self._groups.first_at_or_after(stop, self.limits(first))
        if self._pauses is not None:
            end = np.minimum(end, self._pauses[first])
        if self._spans.most is not None:
            end = np.minimum(end, first + self._spans.most)
        # what is due at the moment it opens has its first member only
        return np.maximum(end, first + 1)

    def openers(self) -> Mask:
        """Mark rows that are in no window that an earlier row of their group may open."""
        opens = self._groups.beyond(self._limits, ascending=self._spans.ascending)
        if self._pauses is not None:
            # the row at which the pause of the one before ends
            opens[1:] |= self._pauses[:-1] == np.arange(1, len(opens))
        return opens

    def ends_of_open(self, group: Ints, due: Ints, limits: Ints, counts: Ints) -> Ints:
        """Return the first row of groups that does not go into the window that is open there."""
        groups = self._groups
        start = groups.starts[group]
        end = groups.first_at_or_after(groups.ends[group], limits)
        if self._pauses is not None:
            end = np.minimum(end, np.where(groups.times[start] >= due, start, self._pauses[start]))
        if self._spans.most is not None:
            end = np.minimum(end, start + self._spans.most - counts)
        return end

    def _next_pauses(self) -> Ints:
        """For each row the next one that comes after too long a pause; those of the next group do."""
        times, quiet = self._groups.times, self._spans.quiet
        assert quiet is not None
        size = len(times)
        before = quiet[:-1] if isinstance(quiet, np.ndarray) else quiet
        late = np.ones(size + 1, np.bool_)
        late[1:size] = times[1:] >= times[:-1] + before
        late[self._groups.starts] = True
        places = np.where(late, np.arange(size + 1), size)
        following: Ints = np.minimum.accumulate(places[::-1])[::-1][1:]
        return following
