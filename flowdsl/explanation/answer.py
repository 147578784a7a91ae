"""The answer to `why`, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowdsl.explanation.text import event_line
from flowdsl.pluralize import count_text

if TYPE_CHECKING:
    from flowdsl.explanation.paths import FlowPath, RecipientPaths

UNMATCHED = 5
"""Flows that do not match such events and are still listed one by one."""


def answer_text(answer: RecipientPaths) -> str:
    """Return the event, the verdict, and a paragraph for each flow."""
    paths, left = listed_paths(answer)
    paragraphs = [f"{event_line(answer.event, answer.names)}\n{verdict(answer)}"]
    for path in paths:
        lines = [f"{path.flow}: {'yes' if path.reached else 'no'}", *(f"  {s}" for s in path.sentences)]
        paragraphs.append("\n".join(lines))
    return "\n\n".join([*paragraphs, *_rest(left)])


def answer_sentences(answer: RecipientPaths) -> list[str]:
    """Return the verdict, and a line for each flow."""
    paths, left = listed_paths(answer)
    return [verdict(answer), *(f"{path.flow}: {' '.join(path.sentences)}" for path in paths), *_rest(left)]


def verdict(answer: RecipientPaths) -> str:
    """Return a sentence that says whether the event reached the recipient."""
    by = [path.flow for path in answer.ways if path.reached]
    event = f"event {answer.event['seq_no']}"
    if by:
        return f"Yes: {event} reached {answer.whom}, by {', '.join(by)}."
    return f"No: {event} did not reach {answer.whom}."


def listed_paths(answer: RecipientPaths) -> tuple[list[FlowPath], int]:
    """Return the paths to list, and the number of flows left out because they do not match such events."""
    matched = [path for path in answer.ways if path.outcome != "not matched"]
    others = [path for path in answer.ways if path.outcome == "not matched"]
    room = UNMATCHED if not matched else max(UNMATCHED - len(matched), 0)
    return [*matched, *others[:room]], len(others) - len(others[:room])


def _rest(left: int) -> list[str]:
    return (
        [f"… and {count_text(left, 'flow')} that {'is' if left == 1 else 'are'} not for such events"]
        if left
        else []
    )
