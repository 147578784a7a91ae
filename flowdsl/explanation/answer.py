"""The answer to `why` as text and as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowdsl.explanation.diagram import event_line
from flowdsl.explanation.html import page
from flowdsl.pluralize import count_text

if TYPE_CHECKING:
    from flowdsl.explanation.why import DeliveryExplanation, FlowPath

UNMATCHED = 5
"""Flows that are not for such events and are told of one by one."""


def answer_text(why: DeliveryExplanation) -> str:
    """The answer, and a paragraph for each flow."""
    paragraphs = [f"{event_line(why.event)}\n{verdict(why)}"]
    told, left = _told(why)
    for way in told:
        paragraphs.append(
            "\n".join([f"{way.flow}: {'yes' if way.reached else 'no'}", *(f"  {s}" for s in way.sentences)])
        )
    if left:
        paragraphs.append(
            f"… and {count_text(left, 'flow')} that {'is' if left == 1 else 'are'} not for such events"
        )
    return "\n\n".join(paragraphs)


def answer_page(why: DeliveryExplanation) -> str:
    """The answer, its picture and the steps."""
    told, left = _told(why)
    before = [verdict(why)]
    before += [f"{way.flow}: {' '.join(way.sentences)}" for way in told]
    if left:
        before.append(
            f"… and {count_text(left, 'flow')} that {'is' if left == 1 else 'are'} not for such events"
        )
    return page(why.picture(), [step for way in told for step in way.steps], before)


def verdict(why: DeliveryExplanation) -> str:
    """Yes or no, in a sentence."""
    by = [way.flow for way in why.ways if way.reached]
    event = f"event {why.event['seq_no']}"
    if by:
        return f"Yes: {event} reached {why.recipient}, by {', '.join(by)}."
    return f"No: {event} did not reach {why.recipient}."


def _told(why: DeliveryExplanation) -> tuple[list[FlowPath], int]:
    """The ways that are told, and how many flows are left that never matched."""
    matched = [way for way in why.ways if way.outcome != "not matched"]
    others = [way for way in why.ways if way.outcome == "not matched"]
    room = UNMATCHED if not matched else max(UNMATCHED - len(matched), 0)
    return [*matched, *others[:room]], len(others) - len(others[:room])
