"""The HTML of an explanation: the outcome, a line for each step with folded details, and the picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from flowdsl.diagrams.picture import Picture
from flowdsl.explanation.answer import answer_sentences, listed_paths
from flowdsl.explanation.diagram import explanation_diagram, why_diagram
from flowdsl.explanation.text import clip_line, event_line, format_time, format_value, new_variables
from flowdsl.pluralize import count_text
from flowdsl.values.json_types import MISSING
from flowdsl.views.templates import render

if TYPE_CHECKING:
    from flowdsl.explanation.paths import EventSteps, ExplainedStep, RecipientPaths
    from flowdsl.graph.names import EntityNames

ROWS: Final = 60
# fields that name an entity to people; the first one that exists counts
_TITLES: Final = ("name", "title", "id")


def explanation_html(explanation: EventSteps) -> str:
    """Render the outcome of an event in each flow, and a line for each step of each branch."""
    unmatched = {step.flow for step in explanation.steps if step.outcome == "not matched"}
    steps = sorted(explanation.steps, key=lambda step: step.flow in unmatched)
    ends = [_end(list(of_flow)) for _, of_flow in groupby(steps, key=lambda step: step.flow)]
    heads = [*ends, event_line(explanation.event, explanation.names)]
    return _render(heads, Picture(explanation_diagram(explanation)), steps, explanation.names)


def answer_html(answer: RecipientPaths) -> str:
    """Render the answer in sentences, and the steps of the paths that it lists."""
    paths, _ = listed_paths(answer)
    heads = [*answer_sentences(answer), event_line(answer.event, answer.names)]
    steps = [step for path in paths for step in path.steps]
    return _render(heads, Picture(why_diagram(answer)), steps, answer.names)


def _end(steps: Sequence[ExplainedStep]) -> str:
    """Return the outcome of an event in a flow: where its path ended and why, or the count of each end."""
    ends = {step.branch: step for step in steps}
    if len(ends) > 1:
        # an event that branches has its ends in the branches
        ends.pop(None, None)
    if len(ends) == 1:
        end = next(iter(ends.values()))
        place = "" if end.step is None else f" at step {end.step} ({end.operator})"
        return f"{end.flow}: {end.outcome}{place}" + (
            f": {why}" if (why := _deciding_text(end, {}, end.recipient)) else ""
        )
    counted = Counter(step.reason or step.outcome for step in ends.values())
    listed = ", ".join(f"{count:,} {what}" for what, count in counted.most_common())
    return f"{steps[0].flow}: {count_text(len(ends), 'branch')}: {listed}"


def _render(
    heads: Sequence[str], picture: Picture, steps: Sequence[ExplainedStep], names: EntityNames
) -> str:
    rows = [_row(step, fresh, names) for step, fresh in new_variables(steps[:ROWS])]
    return render(
        "explanation/explanation.html.j2",
        heads=heads,
        picture=picture,
        flows=[(flow, list(of_flow)) for flow, of_flow in groupby(rows, key=lambda row: row["step"].flow)],
        left=len(steps) - ROWS,
    )


def _row(step: ExplainedStep, fresh: Mapping[str, Any], names: EntityNames) -> dict[str, Any]:
    new = [(name, format_value(value)) for name, value in fresh.items()]
    if step.operator == "map" and step.payload is not MISSING:
        new.append(("payload", format_value(step.payload)))
    read = [(name, format_value(value)) for name, value in step.operands]
    # only the name: the heading has the id of the recipient
    whom = step.recipient_id and names.name(step.recipient_id)
    return {"step": step, "decided": _deciding_text(step, fresh, whom), "read": read, "new": new}


def _deciding_text(step: ExplainedStep, fresh: Mapping[str, Any], whom: str | None) -> str:
    """Return in one line the reason for the outcome of a step, or what the step made."""
    reasons = ", ".join(_reasons(step, whom))
    if reasons:
        at = "" if step.at is None else f", at {format_time(step.at.replace(microsecond=0))}"
        return f"{reasons}{at}"
    if step.operator == "map" and isinstance(step.payload, Mapping):
        return format_value(step.payload.get("title", step.payload))
    return ", ".join(f"{name} is {_short(value)}" for name, value in fresh.items())


def _reasons(step: ExplainedStep, whom: str | None) -> Iterator[str]:
    if step.reason:
        yield step.reason
    elif step.sinks:
        yield f"to {', '.join(step.sinks)}" + (f" for {whom}" if whom else "")
    if step.operator == "where" or step.outcome == "failed":
        # for a condition that held, the first operand says enough
        for name, value in step.operands[: 1 if step.outcome == "passed" else None]:
            yield f"{name} is {_short(value)}"


def _short(value: Any) -> str:
    """Return a value in a few words: an entity by its name."""
    if isinstance(value, Mapping):
        value = next((value[name] for name in _TITLES if isinstance(value.get(name), str)), value)
    return clip_line(format_value(value))
