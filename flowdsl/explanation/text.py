"""Explanations as text, and their values as JSON."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from flowdsl.errors import one_line
from flowdsl.text import clip
from flowdsl.values.json_types import MISSING

if TYPE_CHECKING:
    from flowdsl.explanation.paths import EventSteps, ExplainedStep
    from flowdsl.graph.names import EntityNames

WIDTH: Final = 100
# branches of a fan-out printed in full
BRANCHES: Final = 3


def explanation_text(explanation: EventSteps) -> str:
    """Return the path of the event through each flow, with a paragraph for each."""
    paragraphs = [_event_text(explanation.event)]
    for flow in dict.fromkeys(step.flow for step in explanation.steps):
        steps = [step for step in explanation.steps if step.flow == flow]
        lines = [flow, *_flow_lines(steps, explanation.more.get(flow, 0))]
        paragraphs.append("\n".join(map(one_line, lines)))
    return "\n\n".join(paragraphs)


def _event_text(event: Mapping[str, Any]) -> str:
    names = [event["kind"], event.get("link_type") or event.get("entity_type")]
    lines = [
        f"event {event['seq_no']}: {' '.join(n for n in names if n)} at {format_time(event['timestamp'])} UTC"
    ]
    for name, value in event.items():
        if name not in ("seq_no", "kind", "timestamp", "link_type", "entity_type"):
            # data and metadata are JSON text already
            lines.append(
                f"  {name}: {clip_line(value) if name in ('data', 'metadata') else format_value(value)}"
            )
    return "\n".join(map(one_line, lines))


def _flow_lines(steps: list[ExplainedStep], more: int) -> Iterable[str]:
    branches = list(filter(None, dict.fromkeys(step.branch for step in steps)))
    printed = branches[:BRANCHES] if len(branches) > BRANCHES + 1 else branches
    known: dict[str | None, Mapping[str, Any]] = {None: {}}
    for step in (step for step in steps if step.branch in (None, *printed)):
        if step.branch not in known:
            yield f"  branch {step.branch}"
        yield from _step_lines(step, _fresh(step, known))
        known[step.branch] = step.variables
    left = branches[len(printed) :]
    if left or more:
        yield f"  … and {len(left) + more:,} branches more: {_ends(steps, left, more)}"


def _ends(steps: list[ExplainedStep], branches: list[str], more: int) -> str:
    """Count the ends of these branches, and those that were not followed."""
    ends = {
        step.branch: step.reason if step.outcome == "dropped" else step.outcome
        for step in steps
        if step.branch in branches
    }
    counts = [f"{count:,} {end}" for end, count in Counter(ends.values()).items()]
    return ", ".join([*counts, f"{more:,} not followed"] if more else counts)


def new_variables(steps: Iterable[ExplainedStep]) -> Iterable[tuple[ExplainedStep, Mapping[str, Any]]]:
    """Yield each step with the variables that it added or changed; those of the event are left out."""
    known: dict[tuple[str, str | None], Mapping[str, Any]] = {}
    for step in steps:
        here = {branch: variables for (flow, branch), variables in known.items() if flow == step.flow}
        yield step, _fresh(step, here)
        known[step.flow, step.branch] = step.variables


def _fresh(step: ExplainedStep, known: Mapping[str | None, Mapping[str, Any]]) -> dict[str, Any]:
    if step.step is None:
        return {}
    before = known.get(step.branch, known.get(_parent(step.branch), {}))
    return {
        name: value
        for name, value in step.variables.items()
        if name != "event" and not name.startswith("_") and (name not in before or before[name] != value)
    }


def _parent(branch: str | None) -> str | None:
    return branch.rpartition(".")[0] or None if branch else None


def _step_lines(step: ExplainedStep, fresh: Mapping[str, Any]) -> Iterable[str]:
    number = "" if step.step is None else str(step.step)
    yield f"  {number:>2}  {step.outcome:<9}  {clip_line(step.text)}"
    lines = _outcome_lines(step)
    lines += [f"{name} is {format_value(value)}" for name, value in step.operands]
    if step.operator == "map" and step.payload is not MISSING:
        lines.append(f"payload {format_value(step.payload)}")
    lines += [f"→ {name} = {format_value(value)}" for name, value in fresh.items()]
    yield from (f"                 {line}" for line in lines)


def _outcome_lines(step: ExplainedStep) -> list[str]:
    lines = [step.reason] if step.reason else []
    if step.sinks:
        recipient = f" for {step.recipient}" if step.recipient else ""
        lines.append(f"to {', '.join(step.sinks)}{recipient}")
    if lines and step.at is not None:
        lines[-1] += f", at {format_time(step.at)}"
    return lines


def event_line(event: Mapping[str, Any], names: EntityNames) -> str:
    """Return an event in one line, with the names of its entities."""
    kind = event.get("link_type") or event.get("entity_type") or ""
    ends = ("source_id", "target_id") if "source_id" in event else ("entity_id",)
    between = " → ".join(clip_line(one_line(names.name(str(event.get(end, ""))))) for end in ends)
    parts = [f"event {event['seq_no']}:", str(event["kind"]), str(kind), str(between)]
    return " ".join(part for part in parts if part) + f", {format_time(event['timestamp'])} UTC"


def format_time(at: dt.datetime) -> str:
    """Return a timestamp without trailing zeros."""
    text = f"{at:%Y-%m-%d %H:%M:%S.%f}".rstrip("0")
    return text.rstrip(".")


def format_value(value: Any) -> str:
    """Return a value as JSON, cut if it is long; else `missing`, or the reason why there is no value."""
    if value is MISSING:
        return "missing"
    return clip_line(f"no value: {value}" if isinstance(value, Exception) else format_json(value))


def format_json(value: Any) -> str:
    """Return a value as JSON text; missing fields are left out, errors give their message."""
    if isinstance(value, Mapping):
        value = {key: inner for key, inner in value.items() if inner is not MISSING}
    return json.dumps(value, ensure_ascii=False, default=str)


def clip_line(text: str) -> str:
    """Return text cut to a line."""
    return clip(text, WIDTH)
