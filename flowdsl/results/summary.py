"""Summary of a result in a few lines of text."""

from __future__ import annotations

from flowdsl.engine.crashes import Stopped
from flowdsl.errors import one_line
from flowdsl.results.manifest_schema import Manifest, StepRow

MOST = 12


def summary(manifest: Manifest) -> str:
    """Summarize the deliveries by sink, and for each flow the outcomes at each step."""
    lines = [
        (
            f"{_n(manifest['events'], 'event')} replayed, "
            f"{_n(sum(d['count'] for d in manifest['delivered']), 'delivery')}"
        )
    ]
    if (stopped := manifest["stopped"]) is not None:
        lines += [f"! {Stopped(**stopped)}", "  no later event is processed, by any flow"]
    for row in manifest["delivered"]:
        lines.append(f"  {row['count']:>12,} to {row['sink']} by {row['flow']}")
    for number, name in list(enumerate(manifest["flows"]))[:MOST]:
        lines += ["", f"{name}: {manifest['triggers'][number]}"]
        lines += [_step(step) for step in manifest["steps"] if step["number"] == number]
    if len(manifest["flows"]) > MOST:
        lines.append(f"… and {len(manifest['flows']) - MOST} flows more: result.steps")
    for count, what, text in _totals(manifest):
        lines += ["", f"{_n(count, what)}{text}"] if count else []
    return "\n".join(map(one_line, lines))


def _totals(manifest: Manifest) -> list[tuple[int, str, str]]:
    """Return counts of noteworthy things: the count, what it counts, and where to look."""
    steps = manifest["steps"]
    held_back = sum(sum(step.get("refused", {}).values()) for step in steps)
    capped = sum(sum(step.get("capped", {}).values()) for step in steps)
    return [
        (held_back, "delivery", " held back by preferences: result.refused"),
        (capped, "delivery", " stopped by caps of sinks: result.refused"),
        (manifest.get("undelivered", 0), "delivery", " could not be made: result.undelivered"),
        (manifest["late"], "event", " came late: result.late"),
        (manifest["ahead"], "event", " dated in the future, the clock left alone: result.ahead"),
        (manifest["unmatched"], "deletion", " met nothing: result.unmatched"),
        (sum(step["failed"] for step in steps), "failure", ": result.errors"),
    ]


def _step(step: StepRow) -> str:
    went = [f"{count:,} {reason}" for reason, count in step["reasons"].items()]
    went += [f"{step[name]:,} {name}" for name in ("failed", "absorbed", "held") if step[name]]
    text = step["text"] if len(step["text"]) <= 60 else step["text"][:59] + "…"
    came = step["held_before"] + step["entered"]
    line = f"  {step['step']:>2}  {came:>10,} → {step['passed']:>10,}  {text}"
    return line + (f"   ({', '.join(went)})" if went else "")


def _n(count: int, what: str) -> str:
    if count == 1:
        return f"1 {what}"
    return f"{count:,} {what[:-1]}ies" if what.endswith("y") else f"{count:,} {what}s"
