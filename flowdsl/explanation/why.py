"""Why an event reached a recipient, or did not: flow by flow down to the first step that stopped it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowdsl.errors import ReplayError
from flowdsl.explanation.explain import (
    NOT_RUN,
    ExplainedStep,
    asked_flows,
    event_at,
    explained,
    mismatch,
    trigger_step,
    unmet,
)
from flowdsl.explanation.narrative import Narrator
from flowdsl.explanation.trace import GONE_ON, EventTrace, Parts, delivered_at, persons
from flowdsl.flow.spec import FlowSpec
from flowdsl.progress import Progress, following
from flowdsl.replaying import Options

if TYPE_CHECKING:
    import pandas as pd

    from flowdsl.diagrams.picture import Picture


@dataclass(frozen=True)
class FlowPath:
    """How one flow took an event towards a recipient, and where that ended.

    `outcome` is `delivered`, `dropped`, `failed`, `absorbed`, `held`, `not matched`, `not theirs` (it was for others),
    `nobody` (nothing was delivered); `step` is where it ended, `sentences` say it, `variables` are those of its end.
    `steps` has the way step by step; what a batch took in goes on with the steps of the event that it went on as.
    """

    flow: str
    reached: bool
    outcome: str
    step: int | None
    sentences: tuple[str, ...]
    variables: Mapping[str, Any]
    steps: tuple[ExplainedStep, ...]


@dataclass(frozen=True, repr=False)
class DeliveryExplanation:
    """Whether an event reached a recipient, and why: printed it reads as sentences, a notebook shows the way.

    `ways` has one for each flow: first those that reached the recipient, last those that are not for such events.
    """

    event: Mapping[str, Any]
    recipient: str
    ways: tuple[FlowPath, ...]
    flows: tuple[FlowSpec, ...]

    @property
    def reached(self) -> bool:
        """Whether a flow delivered it to the recipient."""
        return any(way.reached for way in self.ways)

    @property
    def text(self) -> str:
        """The answer in plain sentences."""
        from flowdsl.explanation.answer import answer_text

        return answer_text(self)

    def picture(self) -> Picture:
        """The way through the flows that matched the event, down to the step that stopped it."""
        from flowdsl.diagrams.picture import Picture
        from flowdsl.explanation.diagram import why_diagram

        return Picture(why_diagram(self))

    def to_pandas(self) -> pd.DataFrame:
        """A row for each step of the ways, as of `Explanation.to_pandas`."""
        from flowdsl.explanation.explain import steps_frame

        return steps_frame([step for way in self.ways for step in way.steps])

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from flowdsl.explanation.html import answer_html

        return {"text/plain": self.text, "text/html": answer_html(self)}


def why(
    options: Options, seq_no: int, recipient: str, flow: str | None = None, progress: Progress = None
) -> DeliveryExplanation:
    """Why an event of a replay reached a recipient, or did not, in all flows or the one named.

    Raises `ReplayError` where the log has no such event, or the replay no such flow.
    """
    if not isinstance(recipient, str) or not recipient:
        raise ReplayError(f"recipient is {recipient!r}", allowed="the id of a recipient, as text")
    event = event_at(options.source, seq_no)
    asked = asked_flows(options, flow)
    matching = [f for f in asked if unmet(options, f, event) is None]
    with following(progress, options.source.count(), "why") as follower:
        # an event that went on in a batch of another is looked for in a replay of that
        trail = EventTrace(options, int(event["seq_no"]), recipient, matching, follower.heard)
        ways = [_way(trail, one, event, unmet(options, one, event)) for one in asked]
    return DeliveryExplanation(
        event,
        recipient,
        tuple(sorted(ways, key=lambda way: (not way.reached, way.outcome == "not matched"))),
        tuple(asked),
    )


def _way(trail: EventTrace, flow: FlowSpec, event: Mapping[str, Any], reason: str | None) -> FlowPath:
    if reason is not None and mismatch(flow.trigger, event) is None:
        return _ended(flow, "not matched", f"The flow did not run on it: {reason}.")
    if reason is not None:
        return _ended(flow, "not matched", f"The flow is not for such events: {reason}.")
    if not flow.steps:
        return _ended(flow, "nobody", "The flow has no steps: nothing is delivered.")
    if not trail.triggered(flow):
        return _ended(flow, "not matched", f"{NOT_RUN[0].upper()}{NOT_RUN[1:]}.")
    teller = Narrator(trail, flow)
    ways = trail.ways(flow)
    theirs = [way for way in ways if trail.recipient in persons(flow, way)]
    reached = [way for way in theirs if delivered_at(way, trail.recipient) is not None]
    if theirs:
        way = (reached or theirs)[0]
        return _found(
            trail,
            flow,
            way,
            [*teller.story(way), *teller.unaddressed(way), *teller.others_of_theirs(len(theirs) - 1)],
        )
    unknown = [way for way in ways if not persons(flow, way)]
    if unknown:
        return _found(trail, flow, unknown[0], [*teller.story(unknown[0]), *teller.unknown(unknown[0])])
    way, sentences = teller.for_others(ways)
    return dataclasses.replace(_found(trail, flow, way, sentences), outcome="not theirs")


def _ended(flow: FlowSpec, outcome: str, sentence: str) -> FlowPath:
    trigger = trigger_step(flow, None if outcome == "nobody" else sentence, {})
    return FlowPath(flow.name, False, outcome, None, (sentence,), {}, (trigger,))


def _found(trail: EventTrace, flow: FlowSpec, way: Parts, sentences: list[str]) -> FlowPath:
    seen = [one for part in way for one in part]
    at = delivered_at(way, trail.recipient)
    end = at or seen[-1]
    outcome = "delivered" if at is not None else "nobody" if end.outcome in GONE_ON else end.outcome
    steps = (trigger_step(flow, None, trail.triggered(flow)), *(explained(flow, one) for one in seen))
    return FlowPath(
        flow.name,
        at is not None,
        outcome,
        end.stage.number,
        tuple(sentences),
        dict(seen[-1].variables),
        steps,
    )
