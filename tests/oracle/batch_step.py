"""batch as rules 14 and 23 say it, for one context at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from local_clock import first_moment, shown, zone

from flowdsl.errors import BuildError
from flowdsl.expressions.aggregates import Aggregate
from flowdsl.expressions.conditions import EvaluationError
from flowdsl.expressions.conditions.scalar import row_form
from flowdsl.expressions.conditions.semantics import equal
from flowdsl.expressions.durations import Duration, parse_duration
from flowdsl.values.json_types import MISSING
from oracle.steps import Context, Place, Step, key_of_context
from oracle.values import LAST_MOMENT, FailedError, moment_text

NEVER = LAST_MOMENT + 1
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass
class Window:
    """A window of a batch step; `pause` is how long nobody may come after its last member."""

    number: int
    opened: int
    limit: int
    pause: int | None = None
    members: list[Context] = field(default_factory=list)
    collected: list[dict[str, Any]] = field(default_factory=list)
    last_at: int = 0
    rings_at: int | None = None

    @property
    def due(self) -> int:
        """When it closes if nobody comes any more."""
        return self.limit if self.pause is None else min(self.limit, self.last_at + self.pause)


class BatchStep(Step):
    """Rules 14 and 23."""

    def __init__(self, place: Place, options: Any) -> None:
        super().__init__(place, options)
        self.windows: dict[str, Window] = {}

    def take(self, context: Context) -> None:
        key, options, now = key_of_context(context, self.options.key), self.options, self.place.now
        window_time, pause = (_duration(span, context) for span in (options.window, options.quiet))
        zone_name = None if options.every is None else self._zone(context)
        if pause is not None and now + pause > LAST_MOMENT:
            raise FailedError("no moment at which its pause ends")
        values = {name: _value(one, self.look_up(context)) for name, one in options.collect}
        window = self.windows.get(key)
        if window is not None and now >= window.due:
            self._close_what_is_due_before(window)
            window = None
        if window is None:
            limit = NEVER if window_time is None else now + window_time
            if zone_name is not None:
                limit = min(limit, _next_moment(options, now, zone_name))
            if pause is None and limit > LAST_MOMENT:
                raise FailedError("no moment to close at")
            window = self.windows[key] = Window(self.place.number(), now, limit)
        window.members.append(context)
        window.collected.append(values)
        window.last_at, window.pause = now, pause
        if len(window.members) == options.max_count:
            self._close(key, window, "count")
        elif pause is not None or len(window.members) == 1:
            self._set_timer(key, window)

    def _set_timer(self, key: str, window: Window) -> None:
        due = window.due
        if due == window.rings_at:
            return
        window.rings_at = due

        def ring() -> None:
            # a member that came since then has put it off
            if self.windows.get(key) is window and window.due == due:
                self._close(key, window, "timer" if due == window.limit else "quiet")

        self.place.at(due, window.number, ring)

    def _close_what_is_due_before(self, late: Window) -> None:
        """Close a window that is due, after those that opened before it and are due as well."""
        for key, window in list(self.windows.items()):
            if window.number <= late.number and window.due <= self.place.now:
                self._close(key, window, "timer" if window.due == window.limit else "quiet")

    def _zone(self, context: Context) -> str:
        options = self.options
        if not isinstance(options.tz, tuple):
            return options.tz or "UTC"
        name = context[options.tz]
        known = isinstance(name, str) and _is_zone(name)
        if not known and options.default_tz is None:
            raise FailedError("no time zone")
        return name if known else options.default_tz

    def _close(self, key: str, window: Window, closed_by: str) -> None:
        del self.windows[key]
        members = window.members
        if len(members) < self.options.min_count:
            self.place.drop(members, "batch below min_count")
            return
        self.place.absorb(members)
        closed_by = "end" if self.place.ending else closed_by
        last = members[-1]
        released = replace(last, closed_by=closed_by, opened_by=members[0].origin)
        keys = [last[path] for path in self.options.key]
        batch = {
            "count": len(members),
            "key": keys[0] if len(keys) == 1 else keys,
            "items": [m.event.fields.get("source_id", m.event.fields.get("entity_id", "")) for m in members],
            "first_at": moment_text(window.opened),
            "last_at": moment_text(window.last_at),
            "closed_at": moment_text(
                window.last_at if closed_by == "count" or self._is_full(window) else window.due
            ),
            "closed_by": closed_by,
        }
        try:
            for name, one in self.options.collect:
                value = _collected(one, [values[name] for values in window.collected])
                if value is not MISSING:
                    batch[name] = value
        except FailedError:
            self.place.fail(released)
            return
        self.place.go_on(released.having(batch=batch, _batch=batch))

    def _is_full(self, window: Window) -> bool:
        return len(window.members) == self.options.max_count

    def held(self) -> int:
        return sum(len(window.members) for window in self.windows.values())

    def open(self) -> list[dict[str, int]]:
        return [
            {
                "held": len(window.members),
                "opened_at": window.opened,
                "due_at": window.due,
                "last_seq_no": window.members[-1].event.seq_no,
            }
            for window in sorted(self.windows.values(), key=lambda window: window.number)
        ]


def _duration(span: Any, context: Context) -> int | None:
    if span is None or isinstance(span, Duration):
        return None if span is None else span.microseconds
    said = context[span]
    if not isinstance(said, str):
        raise FailedError("no duration")
    try:
        return parse_duration(said).microseconds
    except BuildError as error:
        raise FailedError from error


def _is_zone(name: str) -> bool:
    try:
        zone(name)
    except (OSError, ValueError):
        return False
    return True


def _value(one: Any, look_up: Callable[[Any], Any]) -> Any:
    expression = one.expression if isinstance(one, Aggregate) else one
    try:
        return row_form(expression).evaluate_at(look_up)
    except EvaluationError as failure:
        raise FailedError from failure


# -- what is collected -------------------------------------------------------------------------------------


def _collected(one: Any, values: Sequence[Any]) -> Any:
    if not isinstance(one, Aggregate):
        return [None if value is MISSING else value for value in values]
    there = [value for value in values if value is not MISSING]
    return AGGREGATES[one.function](there)


def _numbers(values: Sequence[Any]) -> Sequence[Any]:
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
        raise FailedError("no number")
    return values


def _sum(values: Sequence[Any]) -> Any:
    whole = sum(value for value in _numbers(values) if isinstance(value, int))
    floats = [value for value in values if isinstance(value, float)]
    if not floats:
        return whole
    total = 0.0
    for value in floats:
        total += value
    if not math.isfinite(whole + total):
        raise FailedError("no number is so large")
    return whole + total


def _unique(values: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if not any(equal(value, other) for other in found):
            found.append(value)
    return found


AGGREGATES: dict[str, Callable[[Sequence[Any]], Any]] = {
    "sum": _sum,
    "min": lambda values: min(_numbers(values), default=MISSING),
    "max": lambda values: max(_numbers(values), default=MISSING),
    "first": lambda values: values[0] if values else MISSING,
    "last": lambda values: values[-1] if values else MISSING,
    "unique": _unique,
    "count": len,
}


# -- local moments (rule 25) -------------------------------------------------------------------------------


def _next_moment(options: Any, now: int, zone_name: str) -> int:
    """The first of the local moments after this one: all that are near are tried."""
    here = shown(now, zone_name)
    time = timedelta(microseconds=options.at or 0)
    if options.every == "hour":
        start = here.replace(minute=0, second=0, microsecond=0)
        near = [start + timedelta(hours=hours) + time for hours in range(-3, 30)]
    else:
        start = here.replace(hour=0, minute=0, second=0, microsecond=0)
        near = [
            day + time
            for day in (start + timedelta(days=days) for days in range(-2, 64))
            if _is_day(day, options)
        ]
    return min(moment for moment in (first_moment(local, zone_name) for local in near) if moment > now)


def _is_day(day: datetime, options: Any) -> bool:
    if options.every == "day":
        return True
    if options.every == "week":
        return day.weekday() == WEEKDAYS.index(options.on or "mon")
    last = (day + timedelta(days=1)).month != day.month
    wanted = options.on or 1
    return day.day == wanted or (last and day.day < wanted)
