"""Metrics of a live run."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from flowdsl.moments import to_moment
from flowdsl.results.manifest_schema import StepRow
from flowdsl.values.json_types import Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

# bounds of the buckets that latencies are counted in, in seconds: 12 to a factor of ten, so within about 10 %
_BOUNDS: Final = np.geomspace(1e-4, 1e5, 9 * 12 + 1)


class Latencies:
    """Histogram of latencies; its memory is constant."""

    def __init__(self) -> None:
        self._counts = np.zeros(len(_BOUNDS) + 1, np.int64)

    def add(self, seconds: Floats) -> None:
        """Add latencies."""
        places = np.searchsorted(_BOUNDS, seconds)
        self._counts += np.bincount(places, minlength=len(self._counts))

    def percentile(self, percent: float) -> float | None:
        """Return a percentile in seconds, or None without data."""
        total = int(self._counts.sum())
        if not total:
            return None
        place = int(np.searchsorted(np.cumsum(self._counts), total * percent / 100))
        return float(_BOUNDS[min(place, len(_BOUNDS) - 1)])

    def merged(self, other: Latencies) -> Latencies:
        """Return the sum of two histograms."""
        both = Latencies()
        both._counts = self._counts + other._counts
        return both


class SinkStats:
    """Counters of one sink."""

    def __init__(self) -> None:
        self.delivered = 0
        self.failed = 0
        self.waiting = self.on_disk = 0
        # µs
        self.waiting_since: int | None = None
        self.batches = 0
        self.seconds = 0.0
        self.latencies = Latencies()
        self._lock = threading.Lock()

    def took(self, moments: Ints, failed: int, now: int, seconds: float) -> None:
        """Count a batch: moments (µs) when deliveries were due, number that failed, and duration."""
        with self._lock:
            self.delivered += len(moments)
            self.failed += failed
            self.batches += 1
            self.seconds += seconds
            self.latencies.add((now - moments).clip(0) / 1e6)


def percentiles(meters: Iterable[SinkStats]) -> tuple[float | None, ...]:
    """Return the 50th, 95th and 99th percentile over several counters."""
    latencies = Latencies()
    for meter in meters:
        latencies = latencies.merged(meter.latencies)
    return tuple(map(latencies.percentile, (50, 95, 99)))


@dataclass(frozen=True)
class SinkMetrics:
    """Metrics of one sink: deliveries made, failed (dead letters), waiting, and of these on disk; latencies
    in seconds.

    `waiting_since` is when the first of those that wait came, as text; None where none does. Where that is
    long ago the sink hangs, or is too slow.
    """

    sink: str
    delivered: int
    failed: int
    waiting: int
    on_disk: int
    waiting_since: str | None
    batches: int
    seconds: float
    latency_p50: float | None
    latency_p95: float | None
    latency_p99: float | None

    @classmethod
    def of(cls, sink: str, meter: SinkStats) -> SinkMetrics:
        """Return the present metrics of a counter."""
        return cls(
            sink,
            meter.delivered,
            meter.failed,
            meter.waiting,
            meter.on_disk,
            None if meter.waiting_since is None else to_moment(meter.waiting_since).isoformat(),
            meter.batches,
            round(meter.seconds, 6),
            *map(meter.latencies.percentile, (50, 95, 99)),
        )


@dataclass(frozen=True)
class Metrics:
    """Metrics of a live run since it was started.

    `events` were processed in `batches`; `position` is the last of them, `lag` how many the log has behind
    it. `failures` are contexts that failed at a step, `dead_letters` all that wait to be tried again, `late`
    events older than the clock, `ahead` events dated in the future that did not move it, `unmatched`
    deletions that met no link and no entity. A latency is the time from the moment at which a delivery was
    due (its `delivered_at`) until its sink had it, in seconds: `latency_p50` of all sinks, `sinks` has each.
    Print it, or take `.frame`.
    """

    running: bool
    events: int
    batches: int
    position: int
    lag: int
    delivered: int
    failures: int
    late: int
    ahead: int
    unmatched: int
    dead_letters: int
    checkpoints: int
    latency_p50: float | None
    latency_p95: float | None
    latency_p99: float | None
    sinks: tuple[SinkMetrics, ...] = ()
    steps: tuple[StepRow, ...] = field(default=(), repr=False)

    @property
    def frame(self) -> pd.DataFrame:
        """Return the metrics of the sinks, one row per sink."""
        return _frame([*map(vars, self.sinks)], list(SinkMetrics.__dataclass_fields__))

    @property
    def step_frame(self) -> pd.DataFrame:
        """Return the outcomes of the contexts that entered each step, like `result.steps`."""
        from flowdsl.results.derived_tables import STEP_SCHEMA

        return _frame([*map(dict, self.steps)], list(STEP_SCHEMA))

    def as_dict(self) -> dict[str, Any]:
        """Return the metrics as JSON values, without those of the steps."""
        rest = {name: value for name, value in vars(self).items() if name not in ("sinks", "steps")}
        return {
            **rest,
            "sinks": {sink.sink: {k: v for k, v in vars(sink).items() if k != "sink"} for sink in self.sinks},
        }

    def __str__(self) -> str:
        latency = (
            ""
            if self.latency_p50 is None
            else f", half within {_short(self.latency_p50)}, 99 of 100 within {_short(self.latency_p99)}"
        )
        letters = f", {self.dead_letters:,} dead letters" if self.dead_letters else ""
        return f"{self.events:,} events, {self.delivered:,} delivered, lag {self.lag:,}{latency}{letters}"


def _frame(rows: list[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(rows, columns=columns)
    # a number also without data
    return frame.astype({name: "float64" for name in columns if name.startswith("latency")})


def _short(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
