"""All numbers of a report, as values: what `result.report().figures` holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowdsl.reports.distribution import Distribution
from flowdsl.reports.payload_samples import PayloadSample
from flowdsl.reports.recipients import RecipientMetrics
from flowdsl.reports.timeline import Timeline

if TYPE_CHECKING:
    from flowdsl.results.error_counts import Cause


@dataclass(frozen=True, eq=False)
class DeliveryMetrics:
    """One sink: how many deliveries it got, when, and to whom."""

    sink: str
    deliveries: int
    timeline: Timeline | None
    recipients: RecipientMetrics


@dataclass(frozen=True, eq=False)
class StepMetrics:
    """One deliver step of one flow: what was added to its latency before (delivered_at − event_time, µs), and samples."""

    flow: str
    step: int
    sinks: tuple[str, ...]
    timed: bool
    latency: Distribution
    samples: tuple[PayloadSample, ...]


@dataclass(frozen=True, eq=False)
class FanOutMetrics:
    """One fan-out: into how many branches its contexts went, the event with the most, and how many had no link."""

    flow: str
    step: int
    text: str
    sizes: Distribution
    largest: int
    seq_no: int
    no_links: int


@dataclass(frozen=True)
class Drop:
    """How many contexts one step dropped for one reason, of how many that came to it."""

    flow: str
    step: int
    text: str
    reason: str
    count: int
    came: int


@dataclass(frozen=True)
class Refused:
    """How many deliveries of one step the preferences that a sink keeps held back."""

    flow: str
    step: int
    sink: str
    count: int


@dataclass(frozen=True)
class LateMetrics:
    """Events that came late, by how much (µs), and of which kinds."""

    count: int
    lateness: Distribution
    kinds: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class OpenMetrics:
    """Windows or queues of one step that were left open: how many, what they hold, when the first is due (µs)."""

    flow: str
    step: int
    operator: str
    windows: int
    held: int
    due: int | None


@dataclass(frozen=True, eq=False)
class Figures:
    """All numbers of a report. Moments and spans of time are whole microseconds, moments since 1970 in UTC.

    `undelivered` has (sink, error, count) of what sinks could not take of a replay with `dispatch=True`.
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


def fan_outs_of(manifest: dict[str, Any]) -> tuple[FanOutMetrics, ...]:
    """The fan-outs of a result from what is known of its run; nothing is read for it."""
    steps = {(s["number"], s["step"]): s for s in manifest["steps"]}
    found = []
    for fan_out in manifest["fan_outs"]:
        step = steps[fan_out["number"], fan_out["step"]]
        sizes = Distribution.of_pairs(fan_out["sizes"])
        found.append(
            FanOutMetrics(
                step["flow"], step["step"], step["text"], sizes, fan_out["largest"], fan_out["seq_no"],
                step["reasons"].get("no links", 0),
            )
        )  # fmt: skip
    return tuple(found)


def drops_of(manifest: dict[str, Any]) -> tuple[Drop, ...]:
    """What steps dropped, by reason, in the order of the flows."""
    return tuple(
        Drop(s["flow"], s["step"], s["text"], reason, count, s["held_before"] + s["entered"] + s["extra_branches"])
        for s in manifest["steps"]
        for reason, count in sorted(s["reasons"].items())
        if count
    )  # fmt: skip


def refused_of(manifest: dict[str, Any]) -> tuple[Refused, ...]:
    """What preferences held back."""
    return tuple(
        Refused(s["flow"], s["step"], sink, count)
        for s in manifest["steps"]
        for sink, count in sorted(s.get("refused", {}).items())
        if count
    )
