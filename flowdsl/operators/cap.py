"""cap: no more than so many contexts of a key in any stretch of time, or in a local day, week or month."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, get_args

import numpy as np

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.errors import BuildError, did_you_mean
from flowdsl.expressions.durations import Duration, DurationLike, parse_duration
from flowdsl.expressions.row_source import first_failures
from flowdsl.expressions.var import Var
from flowdsl.kernels.cap_counts import CapCounts, PeriodCounts, SlidingCounts
from flowdsl.kernels.kernel import Kernel, read_keys
from flowdsl.kernels.keys import Keys, KeySpace
from flowdsl.kernels.outcome import StepOutcome, Until, failed_where, keep_where
from flowdsl.kernels.times_read import ZoneReader
from flowdsl.operators.base import Kind, Operator
from flowdsl.operators.options import (
    DURATION_PATTERN,
    DURATION_SAYS,
    PATHS,
    OptionType,
    count,
    option,
    text_schema,
)
from flowdsl.operators.scope import Scope
from flowdsl.operators.time_options import (
    ZONE,
    Zone,
    check_zone_variable,
    check_zones,
    default_zone_option,
    zone_option,
)
from flowdsl.pluralize import count_text
from flowdsl.rules import Rules
from flowdsl.values.json_types import Mask
from flowdsl.values.paths import Path, path_text
from flowdsl.values.state_fields import ObjectField, OneOfField, OptionalField
from flowdsl.values.state_objects import keeps

Period = Literal["day", "week", "month"]
_PERIODS: Final = get_args(Period)


def _read_per(value: Any, what: str) -> Duration | str:
    if isinstance(value, str) and value in _PERIODS:
        return value
    try:
        duration = parse_duration(value)
    except BuildError as error:
        hour = isinstance(value, str) and value == "hour"
        hint = "write '1h'" if hour else error.hint or did_you_mean(value, _PERIODS)
        allowed = f"{error.allowed or 'a duration'}; or 'day', 'week' or 'month' for local ones"
        raise BuildError(error.what, allowed=allowed, hint=hint) from None
    if duration.microseconds == 0:
        raise BuildError(f"{what} is 0, in which nothing can be counted", allowed="a longer time")
    return duration


PER: Final = OptionType(
    "duration",
    text_schema(
        "24h",
        "day",
        "week",
        "month",
        pattern=rf"{DURATION_PATTERN}|^(day|week|month)$",
        says=f"{DURATION_SAYS}; or a local day, week or month",
    ),
    _read_per,
    lambda per: per.text if isinstance(per, Duration) else per,
    offers="examples",
)


@dataclass(frozen=True)
class KeyCap(Operator):
    """Let no more than so many contexts of a key go on in a time."""

    name: ClassVar[str] = "cap"
    method: ClassVar[str] = "cap"
    summary: ClassVar[str] = (
        "let at most `max` contexts go on in any stretch of `per`, or in a local day, week or month; drop "
        "the others"
    )
    example: ClassVar[str] = 'cap(3, per="day", key="target_id", tz="Europe/Berlin")'
    synonyms: ClassVar[tuple[str, ...]] = ("limit", "quota", "at_most", "max_per")
    nearest: ClassVar[str] = (
        "rate_limit with the same max and per as a duration comes nearest, but means less: "
        "it is a token bucket for all keys together, and lets up to twice as many through"
    )

    max: int = option(
        count(0, 3, 10), "how many contexts go on at most", synonyms=("limit", "count", "at_most")
    )
    per: Duration | str = option(
        PER,
        "the length of every stretch that is counted, or the local day, week (from Monday) or month",
        synonyms=("window", "interval", "every", "period"),
    )
    key: tuple[Path, ...] = option(
        PATHS,
        "the path, or list of paths, each value of which is counted apart",
        key=True,
        default=(),
        synonyms=("by", "keys"),
    )
    tz: Zone | None = zone_option(
        "the time zone of days, weeks and months, or the path to one; UTC if not given"
    )
    default_tz: str | None = default_zone_option(
        "the time zone where the path has none; without it the event fails"
    )

    @classmethod
    def build(
        cls,
        max: int,
        *,
        per: DurationLike,
        key: str | Var | Sequence[str | Var] | None = None,
        tz: str | Var | None = None,
        default_tz: str | None = None,
    ) -> KeyCap:
        """Let at most `max` contexts go on in every stretch of `per`; others are dropped as `capped`.

        Only those that go on are counted. At exactly `per` after the first of them the next one passes.
        A context whose key or time zone is missing or null fails.

        Parameters
        ----------
        max
            How many contexts go on at most.
        per
            A duration, such as `"24h"`; or `"day"`, `"week"` (from Monday) or `"month"` for local ones.
        key
            A path, or several, each value of which is counted apart; None to count all contexts together.
        tz
            The time zone of days, weeks and months, as `"Europe/Berlin"`, or the path to one; UTC by default.
        default_tz
            The time zone where the path has no name of one.

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
        >>> on("link.created").cap(3, per="day", key="target_id", tz="Europe/Berlin").steps[0].text
        "cap(3, per='day', key='target_id', tz='Europe/Berlin')"
        """
        return cls.read(max=max, per=per, key=key, tz=tz, default_tz=default_tz)

    def check_options(self) -> None:
        if self.tz is not None and isinstance(self.per, Duration):
            raise BuildError(
                f"cap: tz is for a local day, week or month, not for every {self.per.text}",
                allowed="per='day', 'week' or 'month' with tz=",
            )
        check_zones("cap", self.tz, self.default_tz)

    def check(self, scope: Scope) -> Scope:
        check_zone_variable("cap", self.tz, scope)
        return super().check(scope)

    @property
    def kind(self) -> Kind:
        return Kind.PER_KEY if self.key else Kind.WHOLE

    @property
    def caption(self) -> str:
        each = f" for each {', '.join(map(path_text, self.key))}" if self.key else ""
        return f"{self.limit}{each}"

    @property
    def limit(self) -> str:
        """The limit in words: `at most 3 a day, Europe/Berlin`."""
        if isinstance(self.per, Duration):
            return f"at most {self.max} in {self.per.text}"
        zone = "" if self.tz is None else f", {ZONE.plain(self.tz)}"
        return f"at most {self.max} a {self.per}{zone}"

    def counts(self) -> CapCounts:
        """Return empty counts for its options."""
        if isinstance(self.per, Duration):
            return SlidingCounts(self.max, self.per.microseconds)
        return PeriodCounts(self.max, self.per)

    def kernel(self, rules: Rules) -> CapKernel:
        return CapKernel(self, rules)


class CapKernel(Kernel):
    """Remembers for each key which contexts went on, as long as they count."""

    saved = keeps(_space=OptionalField(ObjectField(KeySpace)), _counts=OneOfField(CapCounts))

    def __init__(self, options: KeyCap, rules: Rules) -> None:
        self._space = KeySpace.of(options.key, rules)
        self._zones = ZoneReader(options.tz, options.default_tz)
        self._counts = options.counts()

    def keys_held(self) -> list[Keys]:
        return self._counts.keys_held()

    def remembers(self, clock: int) -> str:
        counted = self._counts.counted(clock)
        return f"the counts of {count_text(counted, 'key')}" if counted else ""

    def count(self, keys: Keys, moments: Keys) -> Mask:
        """Return which of these keys go on, at moments in order, in the zone that the options name."""
        return self._counts.take(keys, moments, self._zones.fixed)

    def run(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        keys, no_key = read_keys(self._space, contexts)
        zones, no_zone = self._zones.read(contexts)
        failures = first_failures([no_key, no_zone])
        failed = failed_where(contexts, failures)
        if failures is not None:
            good = np.flatnonzero(~failures.mask)
            contexts, keys = contexts.take(good), keys[good]
            zones = zones[good] if isinstance(zones, np.ndarray) else zones
        passing = self._counts.take(keys, contexts.moment, zones)
        return keep_where(contexts, passing, "capped", failed=failed)
