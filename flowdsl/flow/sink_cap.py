"""The cap of a sink as a value, and the step that counts by it."""

from __future__ import annotations

from dataclasses import dataclass

from flowdsl.calls import answering
from flowdsl.errors import BuildError
from flowdsl.expressions.durations import Duration, DurationLike
from flowdsl.operators.cap import KeyCap
from flowdsl.operators.time_options import ZONE_NAME


@answering
@dataclass(frozen=True)
class Cap:
    """Cap of a sink: at most so many deliveries to each recipient in a time, of all flows together.

    Parameters
    ----------
    max
        How many deliveries reach the sink at most.
    per
        A duration, such as `"24h"`, for every stretch of that length; or `"day"`, `"week"` (from Monday) or
        `"month"` for local ones.
    tz
        The time zone of days, weeks and months, as `"Europe/Berlin"`; UTC by default.

    Raises
    ------
    BuildError
        If an option is not valid.

    Examples
    --------
    >>> from flowdsl import Cap, link_created, on, replay
    >>> flow = on("link.created").map(title="hello").deliver("push")
    >>> events = [
    ...     {"timestamp": f"2026-01-01T0{n}:00:00Z", "event": link_created("likes", "ann", "bob")}
    ...     for n in range(5)
    ... ]
    >>> len(replay(flow, events, caps={"push": Cap(3, per="day", tz="Europe/Berlin")})["push"])
    3
    """

    max: int
    per: DurationLike
    tz: str | None = None

    def __post_init__(self) -> None:
        if type(self.max) is int and self.max == 0:
            raise BuildError(
                "cap: max is 0, and nothing would ever reach the sink",
                allowed="a whole number of at least 1",
                hint="leave the sink out of deliver(…)",
            )
        if self.tz is not None:
            ZONE_NAME.read(self.tz, "cap: tz")
        per = KeyCap.build(self.max, per=self.per, tz=self.tz).per
        # a timedelta is its text
        object.__setattr__(self, "per", per.text if isinstance(per, Duration) else per)


def by_recipient(cap: Cap) -> KeyCap:
    """Return the step that counts recipients by a cap."""
    return KeyCap.build(cap.max, per=cap.per, key="recipient_id", tz=cap.tz)
