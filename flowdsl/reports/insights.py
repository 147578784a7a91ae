"""Insights: the main points of a result, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flowdsl.charts.formats import share_text, span_text
from flowdsl.diagrams.results import by_flow
from flowdsl.engine.crashes import Stopped
from flowdsl.pluralize import count_text
from flowdsl.reports.metrics import Figures

if TYPE_CHECKING:
    from collections.abc import Mapping

# causes, flows and sinks listed one by one
_NAMED: Final = 3


@dataclass(frozen=True)
class Note:
    """A sentence, and whether it reports a problem."""

    text: str
    bad: bool = False


def notes_of(figures: Figures, manifest: Mapping[str, Any]) -> list[Note]:
    """Return the main points, problems first."""
    return [*_wrong(figures, manifest), *_telling(figures, manifest)]


def _wrong(figures: Figures, manifest: Mapping[str, Any]) -> Iterator[Note]:
    if manifest.get("stopped"):
        yield Note(f"{Stopped(**manifest['stopped'])}; no later event is processed, by any flow", bad=True)
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


def _silent(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the flows that delivered nothing, and the first step that let nothing pass."""
    for number, (name, steps) in enumerate(zip(manifest["flows"], by_flow(manifest), strict=True)):
        if any(s["passed"] for s in steps if s["operator"] == "deliver"):
            continue
        dry = next((s for s in steps if not s["passed"]), None)
        if dry is None:
            continue
        came = dry["entered"] + dry["held_before"]
        if dry is steps[0] and not came:
            yield name, f"no event matched {manifest['triggers'][number]}"
            continue
        went = [f"{count:,} {reason}" for reason, count in dry["reasons"].items()]
        went += [f"{dry[how]:,} {how}" for how in ("failed", "absorbed", "held") if dry[how]]
        yield name, f"none of {_contexts(came)} passed step {dry['step']}, {dry['text']} ({', '.join(went)})"


def _telling(figures: Figures, manifest: Mapping[str, Any]) -> Iterator[Note]:
    everyone = figures.everyone
    if everyone.top:
        most = everyone.top[0]
        yield Note(
            f"“{most.recipient}” gets the most: {count_text(most.deliveries, 'delivery')};"
            f" half of all {count_text(everyone.count, 'person')} get at most {everyone.deliveries.p50:,}"
        )
    if everyone.count:
        worst = everyone.worst_day
        yield Note(
            f"Nobody gets more than {count_text(worst.max, 'delivery')} in a day;"
            f" 95 % of people never more than {worst.p95:,}"
        )
    for fan_out in figures.fan_outs[:_NAMED]:
        if fan_out.largest > 1:
            yield Note(
                f"Event {fan_out.seq_no} goes to {fan_out.largest:,} at once (“{fan_out.flow}”, step {fan_out.step});"
                f" 95 % of events to at most {fan_out.sizes.p95:,}"
            )
    limited = sum(d.count for d in figures.drops if d.reason == "rate limited")
    if limited:
        came = sum(d.came for d in figures.drops if d.reason == "rate limited")
        yield Note(
            f"Rate limits drop {_contexts(limited)} ({share_text(limited, came)} of those that come to them)"
        )
    if everyone.nobody:
        yield Note(f"{count_text(everyone.nobody, 'delivery')} without a recipient")
    if figures.late.count:
        yield Note(
            f"{count_text(figures.late.count, 'event')} came late, the latest by {span_text(figures.late.lateness.max)}"
        )
    if manifest["ahead"]:
        yield Note(f"{count_text(manifest['ahead'], 'event')} dated in the future left the clock alone")
    if manifest["unmatched"]:
        yield Note(f"{count_text(manifest['unmatched'], 'deletion')} met no link and no entity")
    if figures.open:
        held = sum(o.held for o in figures.open)
        yield Note(
            f"{count_text(sum(o.windows for o in figures.open), 'window')} or queues left open hold {_contexts(held)}"
        )


def _contexts(count: int) -> str:
    return count_text(count, "context")
