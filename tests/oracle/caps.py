"""Caps, counted one context at a time (rule 26)."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import Any

from local_clock import shown, zone

from flowdsl.operators.cap import KeyCap
from oracle.steps import Context, Place, Step, key_of_context
from oracle.values import FailedError


class Counts:
    """What went on, by key: its moments, and the local day, week or month of each as it was counted."""

    def __init__(self, options: KeyCap) -> None:
        self.options = options
        self.went: dict[str, list[tuple[int, Any]]] = defaultdict(list)

    def goes_on(self, key: str, now: int, zone_name: str) -> bool:
        """Whether one more may go on, which then counts."""
        per = self.options.per
        if isinstance(per, str):
            here = period(per, now, zone_name)
            count = sum(where == here for _, where in self.went[key])
        else:
            here = None
            # in every stretch of this length there are at most so many
            count = sum(moment > now - per.microseconds for moment, _ in self.went[key])
        if count >= self.options.max:
            return False
        self.went[key].append((now, here))
        return True


def period(per: str, now: int, zone_name: str) -> Any:
    """The local day, week or month of a moment."""
    day = shown(now, zone_name).date()
    if per == "week":
        return day - dt.timedelta(days=day.weekday())
    return day if per == "day" else (day.year, day.month)


class CapStep(Step):
    """Rule 26."""

    def __init__(self, place: Place, options: Any) -> None:
        super().__init__(place, options)
        self.counts = Counts(options)

    def take(self, context: Context) -> None:
        key = key_of_context(context, self.options.key)
        if self.counts.goes_on(key, self.place.now, self._zone(context)):
            self.place.go_on(context)
        else:
            self.place.drop([context], "capped")

    def _zone(self, context: Context) -> str:
        name = self.options.tz
        if not isinstance(name, tuple):
            return name or "UTC"
        found = context[name]
        try:
            zone(found)
        except (AttributeError, OSError, TypeError, ValueError):
            if self.options.default_tz is None:
                raise FailedError("no zone") from None
            return str(self.options.default_tz)
        return str(found)
