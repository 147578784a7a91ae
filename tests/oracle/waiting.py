"""The step that holds contexts for a time, one context at a time, by Python's own clocks (rules 24 and 25)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from local_clock import first_moment, micros, shown

from flowdsl.errors import BuildError
from flowdsl.expressions.durations import Duration, parse_duration
from flowdsl.operators.time_options import WEEKDAYS
from oracle.steps import Context, Place, Step, Waiting
from oracle.values import LAST_MOMENT, FailedError


class WaitStep(Step):
    """Rule 24."""

    def __init__(self, place: Place, options: Any) -> None:
        super().__init__(place, options)
        self.waiting: dict[int, tuple[Waiting, int]] = {}

    def take(self, context: Context) -> None:
        options, now = self.options, self.place.now
        if options.outside == "drop" and not self._inside(zone_of(context, options)):
            self.place.drop([context], "outside hours")
            return
        due = self._due(context)
        if due > LAST_MOMENT:
            raise FailedError("no moment to go on at")
        if due == now:
            self.place.go_on(context)
            return
        number = self.place.number()
        self.waiting[number] = Waiting(context, number, now), due
        self.place.at(due, (context.event.seq_no, number), lambda: self._release(number))

    def _due(self, context: Context) -> int:
        options, now = self.options, self.place.now
        if options.duration is not None:
            return now + length_of(context, options.duration)
        zone = zone_of(context, options)
        if options.hours is not None:
            return now if self._inside(zone) else next_moment(now, zone, options.hours[0], None)
        return next_moment(now, zone, options.until, options.on)

    def _inside(self, zone: str) -> bool:
        begin, end = self.options.hours
        time = micros(shown(self.place.now, zone).replace(year=1970, month=1, day=1).isoformat())
        return begin <= time < end if begin < end else time >= begin or time < end

    def _release(self, number: int) -> None:
        context = self.waiting.pop(number)[0].context
        self.place.go_on(replace(context, closed_by="end") if self.place.ending else context)

    def held(self) -> int:
        return len(self.waiting)

    def open(self) -> list[dict[str, int]]:
        return [
            {"held": 1, "opened_at": w.since, "due_at": due, "last_seq_no": w.context.event.seq_no}
            for w, due in self.waiting.values()
        ]


def zone_of(context: Context, options: Any) -> str:
    """The zone of a context; an option, or what a path says."""
    if not isinstance(options.tz, tuple):
        return str(options.tz or "UTC")
    name = context[options.tz]
    if isinstance(name, str) and _is_zone(name):
        return name
    if options.default_tz is None:
        raise FailedError("no zone")
    return str(options.default_tz)


def _is_zone(name: str) -> bool:
    try:
        shown(0, name)
    except (OSError, ValueError, ImportError):
        return False
    return True


def length_of(context: Context, duration: Any) -> int:
    """The length of an option, or of what a path says."""
    if isinstance(duration, Duration):
        return duration.microseconds
    value = context[duration]
    try:
        return parse_duration(value).microseconds if isinstance(value, str) else _refused()
    except BuildError:
        return _refused()


def _refused() -> int:
    raise FailedError("no duration")


def next_moment(now: int, zone: str, at: int, on: str | int | None) -> int:
    """The first moment, from now on, at which the clock there shows a time of day on a day, found day by day."""
    today = shown(now, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    moments = sorted(
        first_moment(day + timedelta(microseconds=at), zone) for day in _days(today) if _fits(day, on)
    )
    return next((moment for moment in moments if moment >= now), LAST_MOMENT + 1)


def _days(today: datetime) -> Iterator[datetime]:
    for number in range(-2, 64):
        try:
            yield today + timedelta(days=number)
        except OverflowError:
            continue


def _fits(day: datetime, on: str | int | None) -> bool:
    if on is None:
        return True
    if isinstance(on, str):
        return WEEKDAYS[day.weekday()] == on
    try:
        ends_month = (day + timedelta(days=1)).day == 1
    except OverflowError:
        ends_month = True
    return day.day == on or (ends_month and day.day < on)
