"""All metrics of a report, as values: `result.report().figures`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowdsl.reports.distribution import Distribution
from flowdsl.reports.payload_samples import PayloadSample
from flowdsl.reports.recipients import RecipientMetrics
from flowdsl.reports.timeline import Timeline
from flowdsl.results.manifest_schema import FanOutRow, Manifest, StepRow

if TYPE_CHECKING:
    from flowdsl.results.error_counts import Cause


@dataclass(frozen=True, eq=False)
class DeliveryMetrics:
    """One sink: its number of deliveries, their times and their recipients."""

    sink: str
    deliveries: int
    timeline: Timeline | None
    recipients: RecipientMetrics


@dataclass(frozen=True, eq=False)
class StepMetrics:
    """One deliver step of one flow: the latency added before it (delivered_at − event_time, µs), and
    samples.
    """

    flow: str
    step: int
    sinks: tuple[str, ...]
    timed: bool
    latency: Distribution
    samples: tuple[PayloadSample, ...]


@dataclass(frozen=True, eq=False)
class FanOutMetrics:
    """One fan-out: the branches of its contexts, the event with the most, and the contexts without a link."""

    flow: str
    step: int
    text: str
    sizes: Distribution
    largest: int
    seq_no: int
    no_links: int


@dataclass(frozen=True)
class Drop:
    """The contexts one step dropped for one reason, out of those that entered it."""

    flow: str
    step: int
    text: str
    reason: str
    count: int
    came: int


@dataclass(frozen=True)
class Refused:
    """The deliveries of one step that a sink did not get, by reason: `preference` or `capped`."""

    flow: str
    step: int
    sink: str
    reason: str
    count: int


@dataclass(frozen=True)
class LateMetrics:
    """Late events: their lateness (µs), and their kinds."""

    count: int
    lateness: Distribution
    kinds: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class OpenMetrics:
    """Windows or queues of one step left open: their number, the contexts they hold, and the first due time
    (µs).
    """

    flow: str
    step: int
    operator: str
    windows: int
    held: int
    due: int | None


@dataclass(frozen=True, eq=False)
class Figures:
    """All metrics of a report. Durations are whole microseconds, timestamps microseconds since 1970 in UTC.

    `undelivered` has (sink, error, count) of deliveries that sinks rejected in a replay with `dispatch=True`.
    `names` has the names, and `types` the types, of the recipients and of the ids in payloads that the report
    mentions, as far as the graph, or the stored table of entities, has them.
    """

    flows: tuple[str, ...]
    events: int
    span: tuple[int, int] | None
    deliveries: int
    everyone: RecipientMetrics
    sinks: tuple[DeliveryMetrics, ...]
    steps: tuple[StepMetrics, ...]
    fan_outs: tuple[FanOutMetrics, ...]
    drops: tuple[Drop, ...]
    refused: tuple[Refused, ...]
    failed: int
    causes: tuple[Cause, ...]
    late: LateMetrics
    open: tuple[OpenMetrics, ...]
    undelivered: tuple[tuple[str, str, int], ...]
    names: Mapping[str, str]
    types: Mapping[str, str]

    def name(self, recipient: str) -> str:
        """Return the name of a recipient, or the id if no name is known."""
        return self.names.get(recipient, recipient)


def fan_outs_of(manifest: Manifest) -> tuple[FanOutMetrics, ...]:
    """Return the fan-outs of a result from its manifest, without reading tables."""
    steps = {(step["number"], step["step"]): step for step in manifest["steps"]}
    return tuple(
        _fan_out(fan_out, steps[fan_out["number"], fan_out["step"]]) for fan_out in manifest["fan_outs"]
    )


def _fan_out(fan_out: FanOutRow, step: StepRow) -> FanOutMetrics:
    return FanOutMetrics(
        step["flow"],
        step["step"],
        step["text"],
        Distribution.of_pairs(fan_out["sizes"]),
        fan_out["largest"],
        fan_out["seq_no"],
        step["reasons"].get("no links", 0),
    )


def drops_of(manifest: Manifest) -> tuple[Drop, ...]:
    """Return the drops of each step by reason, in the order of the flows."""
    return tuple(
        Drop(
            step["flow"],
            step["step"],
            step["text"],
            reason,
            count,
            int(step["held_before"] + step["entered"] + step["extra_branches"]),
        )
        for step in manifest["steps"]
        for reason, count in sorted(step["reasons"].items())
        if count
    )


def refused_of(manifest: Manifest) -> tuple[Refused, ...]:
    """Return the deliveries that preferences and caps held back."""
    return tuple(
        Refused(s["flow"], s["step"], sink, reason, count)
        for s in manifest["steps"]
        for reason, counts in (("preference", s.get("refused", {})), ("capped", s.get("capped", {})))
        for sink, count in sorted(counts.items())
        if count
    )
