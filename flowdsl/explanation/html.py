"""The HTML of an explanation: sentences, the picture, and a table of the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from flowdsl.diagrams.picture import Picture
from flowdsl.explanation.answer import answer_sentences, listed_paths
from flowdsl.explanation.diagram import explanation_diagram, why_diagram
from flowdsl.explanation.text import format_time, format_value, new_variables
from flowdsl.values.json_types import MISSING
from flowdsl.views.templates import render

if TYPE_CHECKING:
    from flowdsl.explanation.paths import EventSteps, ExplainedStep, RecipientPaths

ROWS: Final = 60


def explanation_html(explanation: EventSteps) -> str:
    """Render the picture of an explanation and a row for each step of each branch."""
    return _render([], Picture(explanation_diagram(explanation)), explanation.steps)


def answer_html(answer: RecipientPaths) -> str:
    """Render the answer in sentences, its picture, and the steps of the paths that it tells of."""
    paths, _ = listed_paths(answer)
    return _render(
        answer_sentences(answer),
        Picture(why_diagram(answer)),
        [step for path in paths for step in path.steps],
    )


def _render(sentences: Sequence[str], picture: Picture, steps: Sequence[ExplainedStep]) -> str:
    columns = ["step", "what", "outcome", "why", "read", "new"]
    if any(step.branch for step in steps):
        columns.insert(1, "branch")
    if len({step.flow for step in steps}) > 1:
        columns.insert(0, "flow")
    return render(
        "explanation/explanation.html.j2",
        sentences=sentences,
        picture=picture,
        columns=columns,
        rows=[_row(step, fresh) for step, fresh in new_variables(steps[:ROWS])],
        left=len(steps) - ROWS,
    )


def _row(step: ExplainedStep, fresh: Mapping[str, Any]) -> dict[str, Any]:
    new = [(name, format_value(value)) for name, value in fresh.items()]
    if step.operator == "map" and step.payload is not MISSING:
        new.append(("payload", format_value(step.payload)))
    read = [(name, format_value(value)) for name, value in step.operands]
    return {"step": step, "reason": _reason(step), "read": read, "new": new}


def _reason(step: ExplainedStep) -> str:
    reason = step.reason or (f"to {', '.join(step.sinks)}" if step.sinks else "")
    if step.sinks and step.recipient_id and not step.reason:
        reason += f" for {step.recipient_id}"
    return f"{reason}, at {format_time(step.at)}" if reason and step.at is not None else reason
