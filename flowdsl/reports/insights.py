"""Insights: the main points of a result, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flowdsl.charts.formats import share_text, span_text
from flowdsl.diagrams.results import by_flow
from flowdsl.engine.crashes import Stopped
from flowdsl.pluralize import count_text
from flowdsl.reports.metrics import Figures
from flowdsl.results.manifest_schema import Manifest

# causes, flows and sinks listed one by one
_NAMED: Final = 3


@dataclass(frozen=True)
class Note:
    """A sentence, and whether it reports a problem."""

    text: str
    bad: bool = False


def notes_of(figures: Figures, manifest: Manifest) -> list[Note]:
    """Return the main points, problems first."""
    return [*_problems(figures, manifest), *_notable(figures, manifest)]


def _problems(figures: Figures, manifest: Manifest) -> Iterator[Note]:
    if (stopped := manifest["stopped"]) is not None:
        yield Note(f"{Stopped(**stopped)}; no later event is processed, by any flow", bad=True)
    for cause in figures.causes[:_NAMED]:
        where = f"“{cause.flow}”, step {cause.step} ({cause.operator})"
        yield Note(f"{_contexts(cause.count)} failed at {where}: {cause.error}", bad=True)
    rest = figures.causes[_NAMED:]
    if rest:
        yield Note(
            f"{_contexts(sum(c.count for c in rest))} failed for {count_text(len(rest), 'other cause')}",
            bad=True,
        )
    for sink, error, count in figures.undelivered[:_NAMED]:
        yield Note(f"“{sink}” could not take {count_text(count, 'delivery')}: {error}", bad=True)
    silent = list(_silent(manifest))
    for name, why in silent[:_NAMED]:
        yield Note(f"“{name}” delivered nothing: {why}", bad=True)
    if len(silent) > _NAMED:
        yield Note(f"{count_text(len(silent) - _NAMED, 'other flow')} delivered nothing", bad=True)


def _silent(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield the flows that delivered nothing, and the first step that let nothing pass."""
    for number, (name, steps) in enumerate(zip(manifest["flows"], by_flow(manifest), strict=True)):
        if any(step["passed"] for step in steps if step["operator"] == "deliver"):
            continue
        dry = next((step for step in steps if not step["passed"]), None)
        if dry is None:
            continue
        entered = dry["entered"] + dry["held_before"]
        if dry is steps[0] and not entered:
            yield name, f"no event matched {manifest['triggers'][number]}"
        else:
            yield name, f"none of {_contexts(entered)} passed {_dry_step(dry)}"


def _dry_step(step: Mapping[str, Any]) -> str:
    """Return a step that let nothing pass, with the outcomes of its contexts."""
    ends = [f"{count:,} {reason}" for reason, count in step["reasons"].items()]
    ends += [f"{step[end]:,} {end}" for end in ("failed", "absorbed", "held") if step[end]]
    return f"step {step['step']}, {step['text']} ({', '.join(ends)})"


def _notable(figures: Figures, manifest: Manifest) -> Iterator[Note]:
    yield from _people(figures)
    yield from _fan_outs(figures)
    yield from _limits(figures)
    if figures.everyone.nobody:
        yield Note(f"{count_text(figures.everyone.nobody, 'delivery')} without a recipient")
    if figures.late.count:
        latest = span_text(figures.late.lateness.max)
        yield Note(f"{count_text(figures.late.count, 'event')} came late, the latest by {latest}")
    if manifest["ahead"]:
        yield Note(f"{count_text(manifest['ahead'], 'event')} dated in the future left the clock alone")
    if manifest["unmatched"]:
        yield Note(f"{count_text(manifest['unmatched'], 'deletion')} met no link and no entity")
    if figures.open:
        windows = count_text(sum(step.windows for step in figures.open), "window")
        held = _contexts(sum(step.held for step in figures.open))
        yield Note(f"{windows} or queues left open hold {held}")


def _people(figures: Figures) -> Iterator[Note]:
    everyone = figures.everyone
    # if all people get equally many, the tiles already show it
    if everyone.top and everyone.deliveries.max > everyone.deliveries.p50:
        most = everyone.top[0]
        yield Note(
            f"“{figures.name(most.recipient)}” gets the most: {count_text(most.deliveries, 'delivery')};"
            f" half of all {count_text(everyone.count, 'person')} get at most {everyone.deliveries.p50:,}"
        )
    worst = everyone.worst_day
    if everyone.count and worst.max > worst.p95:
        yield Note(
            f"Nobody gets more than {count_text(worst.max, 'delivery')} in a day;"
            f" 95 % of people never more than {worst.p95:,}"
        )


def _fan_outs(figures: Figures) -> Iterator[Note]:
    for fan_out in figures.fan_outs[:_NAMED]:
        if fan_out.largest > max(fan_out.sizes.p95, 1):
            yield Note(
                f"Event {fan_out.seq_no} goes to {fan_out.largest:,} at once (“{fan_out.flow}”, step "
                f"{fan_out.step}); 95 % of events to at most {fan_out.sizes.p95:,}"
            )


def _limits(figures: Figures) -> Iterator[Note]:
    limits = [drop for drop in figures.drops if drop.reason == "rate limited"]
    if limits:
        dropped = sum(drop.count for drop in limits)
        share = share_text(dropped, sum(drop.came for drop in limits))
        yield Note(f"Rate limits drop {_contexts(dropped)} ({share} of those that come to them)")


def _contexts(count: int) -> str:
    return count_text(count, "context")
