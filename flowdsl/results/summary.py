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
        steps = [s for s in manifest["steps"] if s["number"] == number]
        lines += ["", f"{name}: {manifest['triggers'][number]}"]
        lines += [_step(s) for s in steps]
    if len(manifest["flows"]) > MOST:
        lines.append(f"… and {len(manifest['flows']) - MOST} flows more: result.steps")
    held_back = sum(count for s in manifest["steps"] for count in s.get("refused", {}).values())
    if held_back:
        lines += ["", f"{_n(held_back, 'delivery')} held back by preferences: result.refused"]
    capped = sum(count for s in manifest["steps"] for count in s.get("capped", {}).values())
    if capped:
        lines += ["", f"{_n(capped, 'delivery')} stopped by caps of sinks: result.refused"]
    if manifest.get("undelivered"):
        lines += ["", f"{_n(manifest['undelivered'], 'delivery')} could not be made: result.undelivered"]
    if manifest["late"]:
        lines += ["", f"{_n(manifest['late'], 'event')} came late: result.late"]
    if manifest["ahead"]:
        lines += [
            "",
            f"{_n(manifest['ahead'], 'event')} dated in the future, the clock left alone: result.ahead",
        ]
    if manifest["unmatched"]:
        lines += ["", f"{_n(manifest['unmatched'], 'deletion')} met nothing: result.unmatched"]
    failed = sum(s["failed"] for s in manifest["steps"])
    if failed:
        lines += ["", f"{_n(failed, 'failure')}: result.errors"]
    return "\n".join(map(one_line, lines))


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
