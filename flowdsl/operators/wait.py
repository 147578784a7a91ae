"""wait: hold each context for a time, until a local moment, or until its local hours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.errors import BuildError
from flowdsl.expressions.durations import Duration, DurationLike
from flowdsl.expressions.row_source import Failures
from flowdsl.expressions.var import Var
from flowdsl.kernels.kernel import Kernel
from flowdsl.kernels.outcome import StepOutcome, Until, failed_where, keep_where
from flowdsl.kernels.release_queue import ReleaseQueue, WaitingKernel
from flowdsl.kernels.timers import LAST_MOMENT
from flowdsl.kernels.times_read import DurationReader, ZoneReader
from flowdsl.operators.base import Kind, Operator
from flowdsl.operators.options import choice, mapping_schema, option
from flowdsl.operators.scope import Scope
from flowdsl.operators.time_options import (
    CLOCK,
    DURATION_OR_PATH,
    HOURS,
    ON_DAY,
    Clock,
    DurationOrPath,
    Zone,
    check_duration_variable,
    check_zone_variable,
    check_zones,
    clock_text,
    default_zone_option,
    hours_text,
    schedule_of,
    zone_option,
)
from flowdsl.pluralize import count_text
from flowdsl.rules import Rules
from flowdsl.values.json_types import Ints, Mask
from flowdsl.values.local_time import Every, Schedule, time_of_day
from flowdsl.values.paths import path_text
from flowdsl.values.state_fields import ObjectField
from flowdsl.values.state_objects import keeps
from flowdsl.values.zones import Zones

Outside = Literal["hold", "drop"]
_FORMS = ("duration", "until", "hours")


@dataclass(frozen=True)
class Wait(Operator):
    """Hold each context, and let it go on later."""

    name: ClassVar[str] = "wait"
    method: ClassVar[str] = "wait"
    summary: ClassVar[str] = (
        "hold each context: so long, until a local time of day, or outside of some local hours"
    )
    example: ClassVar[str] = 'wait(until="09:00", on="mon", tz="Europe/Berlin")'
    nearest: ClassVar[str] = (
        "the sender can send the event later; a batch with a window waits as long, but makes one of "
        "all with the same key; to drop outside of hours, let the events carry the hour, and filter by it"
    )
    synonyms: ClassVar[tuple[str, ...]] = ("sleep", "delay", "hold", "pause", "schedule", "later")
    held_because: ClassVar[str] = "its time had not come"
    released_when: ClassVar[str] = "when its time had come"
    option_rules: ClassVar[Mapping[str, Any]] = {
        "oneOf": [mapping_schema(form) for form in _FORMS],
        "allOf": [
            {"if": mapping_schema("on"), "then": mapping_schema("until")},
            {"if": mapping_schema("tz"), "then": {"not": mapping_schema("duration")}},
            {"if": mapping_schema("default_tz"), "then": mapping_schema("tz")},
            {"if": mapping_schema("outside", const="drop"), "then": mapping_schema("hours")},
        ],
        "examples": [
            {"duration": "1d"},
            {"until": "09:00", "on": "mon", "tz": "person.tz", "default_tz": "UTC"},
            {"hours": "08:00-22:00", "outside": "drop", "tz": "Europe/Berlin"},
        ],
    }

    duration: DurationOrPath | None = option(
        DURATION_OR_PATH,
        "how long, or the path to a duration",
        default=None,
        synonyms=("delay", "for", "length"),
    )
    until: Clock | None = option(
        CLOCK, "the local time of day at which it goes on", default=None, synonyms=("at", "till", "time")
    )
    on: str | int | None = option(
        ON_DAY,
        "the weekday or day of the month of that; every day if not given",
        default=None,
        synonyms=("day", "weekday"),
    )
    hours: tuple[Clock, Clock] | None = option(
        HOURS,
        "the local hours inside which it goes on at once, the end excluded",
        default=None,
        synonyms=("between", "during", "quiet_hours"),
    )
    outside: str = option(
        choice("hold", "drop", example="drop"),
        "what happens outside of the hours: `hold` (until they begin) or `drop`",
        default="hold",
    )
    tz: Zone | None = zone_option("the time zone, or the path to its name; UTC if not given")
    default_tz: str | None = default_zone_option(
        "the time zone where the path has none; if not given, the context fails"
    )

    @classmethod
    def build(
        cls,
        duration: DurationLike | Var | None = None,
        *,
        until: str | None = None,
        on: str | int | None = None,
        hours: str | None = None,
        outside: Outside = "hold",
        tz: str | Var | None = None,
        default_tz: str | None = None,
    ) -> Wait:
        """Hold each context and let it go on later; the steps after it see the graph as it is then.

        Give one of `duration`, `until` and `hours`. Contexts that need not wait go on at once.

        Parameters
        ----------
        duration
            How long, such as `"1d"`, or the path to such text.
        until
            The local time of day, such as `"09:00"`, whose next occurrence is waited for.
        on
            With `until`: the weekday (`"mon"` to `"sun"`) or day of the month (1 to 31; in shorter months
            the last) of that moment.
        hours
            The local hours, such as `"08:00-22:00"`, outside of which is waited until they begin. They may
            pass midnight.
        outside
            With `hours`: `"hold"`, or `"drop"` to drop what comes outside of them as `outside hours`.
        tz
            The IANA name of the time zone, such as `"Europe/Berlin"`, or the path to one. UTC if not given.
        default_tz
            The zone where the path has no name of a zone; if not given, the context fails.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        BuildError
            If a path cannot exist at this step, or an option is not valid.

        Examples
        --------
        >>> from flowdsl import on
        >>> on("link.created").wait("1d").steps[0].text
        "wait('1d')"
        >>> on("entity.created").wait(hours="08:00-22:00", tz="data.tz", default_tz="UTC").steps[0].text
        "wait(hours='08:00-22:00', tz='data.tz', default_tz='UTC')"
        """
        return cls.read(
            duration=duration,
            until=until,
            on=on,
            hours=hours,
            outside=outside,
            tz=tz,
            default_tz=default_tz,
        )

    def check_options(self) -> None:
        forms = [form for form in _FORMS if getattr(self, form) is not None]
        if len(forms) != 1:
            raise BuildError(
                f"wait has {' and '.join(forms) or 'nothing to wait for'}",
                allowed="one of a duration, until= and hours=",
            )
        for name, form in (("on", "until"), ("outside", "hours")):
            if name in self.given and forms != [form]:
                raise BuildError(f"wait: {name}= goes with {form}=", hint=f"give {form}=, or no {name}=")
        if forms == ["duration"] and self.tz is not None:
            raise BuildError("wait: a duration is the same in all time zones", hint="leave tz= out")
        check_zones("wait", self.tz, self.default_tz)

    def check(self, scope: Scope) -> Scope:
        check_duration_variable("wait", "duration", self.duration, scope)
        check_zone_variable("wait", self.tz, scope)
        return super().check(scope)

    @property
    def kind(self) -> Kind:
        return Kind.HELD if self.times else Kind.PER_EVENT

    @property
    def times(self) -> bool:
        return self.outside == "hold"

    @property
    def caption(self) -> str:
        if self.duration is not None:
            length = self.duration
            return length.text if isinstance(length, Duration) else f"as long as {path_text(length)} says"
        zone = self.tz if isinstance(self.tz, str) else f"as {path_text(self.tz)} says" if self.tz else "UTC"
        if self.hours is not None:
            others = ", others are dropped" if self.outside == "drop" else ""
            return f"for the hours {hours_text(self.hours)} ({zone}){others}"
        day = "" if self.on is None else f"{self.on} " if isinstance(self.on, str) else f"day {self.on}, "
        return f"until {day}{clock_text(self.until or 0)} ({zone})"

    def kernel(self, rules: Rules) -> Kernel:
        if self.duration is not None:
            return WaitKernel(_For(self.duration))
        zones = ZoneReader(self.tz, self.default_tz)
        if self.hours is not None:
            inside = _Hours(zones, self.hours)
            return InsideKernel(inside) if self.outside == "drop" else WaitKernel(inside)
        every: Every = "day" if self.on is None else "week" if isinstance(self.on, str) else "month"
        return WaitKernel(_Next(zones, schedule_of("wait", every, self.until, self.on)))


class _For:
    """A wait of a duration."""

    def __init__(self, duration: DurationOrPath) -> None:
        self._durations = DurationReader(duration)

    def moments(self, contexts: ContextBatch) -> tuple[Ints, Failures | None]:
        """Return when each context goes on; where it fails, any moment."""
        lengths, failures = self._durations.read(contexts)
        return contexts.moment + lengths, failures


class _Next:
    """A wait for the next of local moments that come again."""

    def __init__(self, zones: ZoneReader, schedule: Schedule) -> None:
        self._zones, self._schedule = zones, schedule

    def moments(self, contexts: ContextBatch) -> tuple[Ints, Failures | None]:
        """Return when each context goes on; where it fails, any moment."""
        zones, failures = self._zones.read(contexts)
        return self._schedule.next_from(contexts.moment, zones), failures


class _Hours:
    """A wait for local hours."""

    def __init__(self, zones: ZoneReader, hours: tuple[int, int]) -> None:
        self._zones = zones
        self._first, self._end = hours
        self._beginnings = Schedule("day", at=self._first)

    def moments(self, contexts: ContextBatch) -> tuple[Ints, Failures | None]:
        """Return when each context goes on; where it fails, any moment."""
        zones, failures = self._zones.read(contexts)
        outside = np.flatnonzero(~self._inside(contexts.moment, zones))
        moments = contexts.moment.copy()
        where = zones if isinstance(zones, int) else zones[outside]
        moments[outside] = self._beginnings.next_from(moments[outside], where)
        return moments, failures

    def inside(self, contexts: ContextBatch) -> tuple[Mask, Failures | None]:
        """Return which contexts come inside of the hours."""
        zones, failures = self._zones.read(contexts)
        return self._inside(contexts.moment, zones), failures

    def _inside(self, moments: Ints, zones: Zones) -> Mask:
        time = time_of_day(moments, zones)
        after, before = time >= self._first, time < self._end
        return after & before if self._first < self._end else after | before


class InsideKernel(Kernel):
    """Drops contexts that come outside of the hours."""

    def __init__(self, hours: _Hours) -> None:
        self._hours = hours

    def run(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        if not len(contexts):
            return StepOutcome(contexts)
        inside, failures = self._hours.inside(contexts)
        return keep_where(contexts, inside, "outside hours", failures=failures)


class WaitKernel(WaitingKernel):
    """Holds each context until a moment that is known when it comes."""

    saved = keeps(_waiting=ObjectField(ReleaseQueue))

    def __init__(self, ends: _For | _Next | _Hours) -> None:
        self._ends = ends
        self._waiting = ReleaseQueue()

    def remembers(self, clock: int) -> str:
        return f"{count_text(self.held, 'context')} waiting" if self.held else ""

    def run(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        moments, failures = self._ends.moments(contexts)
        failed = failed_where(contexts, failures)
        good = np.ones(len(contexts), np.bool_) if failures is None else ~failures.mask
        never = Failures.where(good & (moments > LAST_MOMENT), "its wait would end after the year 9999")
        failed += failed_where(contexts, never)
        if failed:
            good &= moments <= LAST_MOMENT
            rows = np.flatnonzero(good)
            contexts, moments = contexts.take(rows), moments[rows]
        # timers due at the same moment fire in the order of their events (rule 20)
        return StepOutcome(self._waiting.run(contexts, moments, contexts.seq, until), failed)
