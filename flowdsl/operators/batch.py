"""batch: contexts with the same key wait for a window to close, and go on as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from flowdsl.errors import BuildError
from flowdsl.expressions.aggregates import Aggregate
from flowdsl.expressions.conditions import Expression
from flowdsl.expressions.durations import Duration, DurationLike
from flowdsl.expressions.var import Var
from flowdsl.kernels.batch_kernel import BatchKernel
from flowdsl.kernels.batch_run import BatchOptions
from flowdsl.kernels.batch_without_timers import UntimedBatchKernel
from flowdsl.kernels.kernel import Kernel
from flowdsl.kernels.window_rule import WindowRule
from flowdsl.operators.base import Kind, Operator
from flowdsl.operators.collect_option import COLLECT, LIST, Collect, shapes_of
from flowdsl.operators.options import PATHS, count, mapping_schema, option
from flowdsl.operators.scope import ANY, NUMBER, TEXT, Scope, ValueShape
from flowdsl.operators.time_options import (
    CLOCK,
    DURATION_OR_PATH,
    EVERY,
    ON_DAY,
    ZONE,
    Clock,
    DurationOrPath,
    Zone,
    check_duration_variable,
    check_zone_variable,
    check_zones,
    clock_text,
    default_zone_option,
    schedule_of,
    zone_option,
)
from flowdsl.rules import Rules
from flowdsl.values.local_time import Every
from flowdsl.values.paths import Path, path_text

BATCH = ValueShape(
    "a batch",
    {
        "count": NUMBER,
        "key": ANY,
        "items": LIST,
        "first_at": TEXT,
        "last_at": TEXT,
        "closed_at": TEXT,
        "closed_by": TEXT,
    },
)
# the length of production's window nearest to one of a calendar
_LENGTHS: Mapping[str, str] = {"hour": "1h", "day": "24h", "week": "168h", "month": "720h"}
_OF_EVERY = ("at", "on", "tz", "default_tz")
_ENDS = ("window", "quiet", "every")


@dataclass(frozen=True)
class Batch(Operator):
    """Gather the contexts of a key until a window closes, then go on as one."""

    name: ClassVar[str] = "batch"
    method: ClassVar[str] = "batch"
    summary: ClassVar[str] = "gather the contexts of a key until a window closes, then go on as one"
    example: ClassVar[str] = 'batch("target_id", window="5m")'
    synonyms: ClassVar[tuple[str, ...]] = (
        "digest",
        "group_by",
        "groupby",
        "reduce",
        "aggregate",
        "window",
        "collect",
        "debounce",
        "session",
    )
    portable: ClassVar[bool] = True
    held_because: ClassVar[str] = "its window was still open"
    released_when: ClassVar[str] = "when its window closed"
    shown: ClassVar[tuple[str, ...]] = ("window",)
    option_rules: ClassVar[Mapping[str, Any]] = {
        "anyOf": [mapping_schema(name) for name in _ENDS],
        "allOf": [{"if": mapping_schema(name), "then": mapping_schema("every")} for name in _OF_EVERY],
    }

    key: tuple[Path, ...] = option(
        PATHS,
        "the path, or list of paths, that says what belongs together",
        key=True,
        synonyms=("by", "keys", "group_by"),
    )
    window: DurationOrPath | None = option(
        DURATION_OR_PATH,
        "how long a window is open, from its first context",
        default=None,
        synonyms=("per", "interval", "duration", "span", "within"),
    )
    min_count: int = option(
        count(0, 1, 3),
        "the least contexts a window must have to go on",
        default=1,
        synonyms=("min", "at_least"),
    )
    max_count: int | None = option(
        count(1, 10, 50),
        "how many contexts close a window at once",
        portable=False,
        default=None,
        synonyms=("max", "size", "limit", "at_most", "count"),
    )
    quiet: DurationOrPath | None = option(
        DURATION_OR_PATH,
        "how long no context may come until a window closes",
        portable=False,
        default=None,
        synonyms=("idle", "gap", "debounce"),
    )
    every: Every | None = option(
        EVERY,
        "the local hour, day, week or month at whose turn windows close",
        portable=False,
        default=None,
        synonyms=("schedule", "period"),
    )
    at: Clock | None = option(
        CLOCK, "when in the hour or day they close", portable=False, default=None, synonyms=("time",)
    )
    on: str | int | None = option(
        ON_DAY,
        "on which weekday, or day of the month, they close",
        portable=False,
        default=None,
        synonyms=("day", "weekday"),
    )
    tz: Zone | None = zone_option(
        "the time zone of `every`, or the path to it; UTC if not given", portable=False
    )
    default_tz: str | None = default_zone_option("the time zone where the path has none", portable=False)
    collect: Collect = option(
        COLLECT,
        "what `batch` has of its contexts: names, each with an expression",
        portable=False,
        default=(),
        synonyms=("aggregate", "agg", "values"),
    )

    @classmethod
    def build(
        cls,
        key: str | Var | Sequence[str | Var],
        *,
        window: DurationLike | Var | None = None,
        min_count: int = 1,
        max_count: int | None = None,
        quiet: DurationLike | Var | None = None,
        every: Every | None = None,
        at: str | None = None,
        on: str | int | None = None,
        tz: str | Var | None = None,
        default_tz: str | None = None,
        collect: Mapping[str, str | Var | Expression | Aggregate] | None = None,
    ) -> Batch:
        """Collect the contexts of a key until a window closes, then continue with one context for all.

        The window of a key starts with its first context, and closes at the earliest of what is given. The
        context that continues has the variables of the last member, and `batch` with `count, key, items,
        first_at, last_at, closed_at, closed_by` and what is collected.

        Parameters
        ----------
        key
            The path of the key, or several: what has the same value for each of them belongs together.
        window
            How long a window is open, such as `"5m"`, or the path to a duration: that of its first context.
        min_count
            Windows with fewer members are dropped as `batch below min_count`.
        max_count
            So many members close the window at once.
        quiet
            The window closes when no member came for so long, or the path to a duration: that of its last
            member.
        every
            `"hour"`, `"day"`, `"week"` or `"month"`: the window closes at the first such local moment after
            its first member.
        at
            When in the day that is, such as `"09:00"`; in the hour `"00:15"`.
        on
            The weekday, such as `"mon"`, or the day of the month: the last one where a month is shorter.
        tz
            The time zone, such as `"Europe/Berlin"`, or the path to one; UTC if not given.
        default_tz
            The time zone where the path has none that is known; without it such a context fails.
        collect
            What `batch` has of the members: names, each with an expression, whose values become a list, or
            with an aggregate of one: `fn.sum`, `min`, `max`, `first`, `last`, `unique` or `count`.

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
        >>> from flowdsl import fn, on, var
        >>> on("link.created").batch("target_id", window="5m", min_count=2).steps[0].text
        "batch('target_id', window='5m', min_count=2)"
        >>> digest = on("entity.created").batch(
        ...     "data.user_id",
        ...     every="week",
        ...     on="mon",
        ...     at="09:00",
        ...     tz="Europe/Berlin",
        ...     collect={"titles": var.data.title, "total": fn.sum(var.data.amount)},
        ... )
        >>> digest.steps[0].caption
        'by data.user_id, every week on mon at 09:00 in Europe/Berlin, with titles, total'
        """
        return cls.read(
            key=key,
            window=window,
            min_count=min_count,
            max_count=max_count,
            quiet=quiet,
            every=every,
            at=at,
            on=on,
            tz=tz,
            default_tz=default_tz,
            collect=collect,
        )

    def check_options(self) -> None:
        if self.window is None and self.quiet is None and self.every is None:
            hint = "a window that never fills would never close" if self.max_count is not None else None
            raise BuildError(
                "batch needs what closes its windows",
                allowed="window='5m', quiet='10m' or every='day', or several of them",
                hint=hint,
            )
        if self.every is None:
            for name in _OF_EVERY:
                if getattr(self, name) is not None:
                    raise BuildError(
                        f"batch: {name} says nothing without every",
                        allowed="every='hour', 'day', 'week' or 'month'",
                        hint="window= is counted from the first context, not to a local moment",
                    )
        else:
            schedule_of("batch", self.every, self.at, self.on)
            check_zones("batch", self.tz, self.default_tz)
        if isinstance(self.quiet, Duration) and not self.quiet.microseconds:
            raise BuildError(
                "batch: quiet is no time at all: each window would have one context",
                allowed="a pause such as '10m'",
            )
        if self.max_count is not None and self.max_count < self.min_count:
            raise BuildError(
                f"batch: max_count={self.max_count} is below min_count={self.min_count}",
                hint="every full window would be dropped",
            )

    @property
    def kind(self) -> Kind:
        return Kind.PER_KEY

    @property
    def times(self) -> bool:
        return True

    @property
    def caption(self) -> str:
        parts = [f"by {', '.join(map(path_text, self.key))}"]
        if self.window is not None:
            parts[0] += f" for {DURATION_OR_PATH.plain(self.window)}"
        if self.every is not None:
            parts.append(f"every {self._every_text(self.every)}")
        if self.quiet is not None:
            parts.append(f"until none comes for {DURATION_OR_PATH.plain(self.quiet)}")
        if self.min_count > 1:
            parts.append(f"at least {self.min_count}")
        if self.max_count is not None:
            parts.append(f"at most {self.max_count}")
        if self.collect:
            parts.append(f"with {', '.join(name for name, _ in self.collect)}")
        return ", ".join(parts)

    def _every_text(self, every: Every) -> str:
        on = "" if self.on is None else f" on {self.on}" if isinstance(self.on, str) else f" on day {self.on}"
        at = "" if self.at is None else f" at {clock_text(self.at)}"
        zone = "" if self.tz is None else f" in {ZONE.plain(self.tz)}"
        return f"{every}{on}{at}{zone}"

    def operands(self, lookup: Callable[[Path], Any]) -> list[tuple[str, Any]]:
        others = sorted((self.paths or frozenset()) - {*self.key})
        return [(path_text(path), lookup(path)) for path in (*self.key, *others)]

    def nearest_form(self, option: str) -> str:
        nearest = replace(self.with_portable_options(), window=self._nearest_window())
        return f"{nearest.text}: {_DIFFERENCES.get(option, _CALENDAR)}"

    def _nearest_window(self) -> Duration:
        spans = (self.window, self.quiet)
        known = next((span for span in spans if isinstance(span, Duration)), None)
        return known or DURATION_OR_PATH.read(_LENGTHS.get(self.every or "", "1h"), "")

    def check(self, scope: Scope) -> Scope:
        check_duration_variable("batch", "window", self.window, scope)
        check_duration_variable("batch", "quiet", self.quiet, scope)
        check_zone_variable("batch", self.tz, scope)
        scope.check(self.paths or (), "batch")
        shape = BATCH
        if self.collect:
            shape = replace(BATCH, fields={**(BATCH.fields or {}), **shapes_of(self.collect)})
        return scope.having(**dict.fromkeys(scope.rules.batch_names, shape))

    @property
    def rule(self) -> WindowRule:
        """Return the rule by which its windows close."""
        schedule = None if self.every is None else schedule_of("batch", self.every, self.at, self.on)
        return WindowRule(self.window, self.quiet, schedule, self.tz, self.default_tz, self.max_count)

    @property
    def kernel_options(self) -> BatchOptions:
        """Return the options of its kernel."""
        return BatchOptions(self.key, self.rule, self.min_count, self.collect)

    def kernel(self, rules: Rules) -> Kernel:
        if rules.timers:
            return BatchKernel(self.kernel_options, rules)
        assert isinstance(self.window, Duration)
        return UntimedBatchKernel(self.key[0], self.window.microseconds, self.min_count, rules)


_CALENDAR = "such a window is counted from its first context, not to a local moment"
_DIFFERENCES = {
    "window": "then the window is as long for all",
    "quiet": "such a window closes so long after its first context, however many still come",
    "max_count": "then a window closes by time only",
    "collect": "then the batch has the ids of its contexts only, in items",
}
