"""`why`: the reasons that an event reached a recipient or not, flow by flow, down to the first step that
stopped it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowdsl.errors import ReplayError
from flowdsl.explanation.explain import (
    NOT_RUN,
    asked_flows,
    event_at,
    explain_step,
    mismatch,
    steps_frame,
    trigger_step,
    unmet,
)
from flowdsl.explanation.narrative import Narrator
from flowdsl.explanation.paths import FlowPath, RecipientPaths
from flowdsl.explanation.trace import GONE_ON, EventTrace, Parts, delivered_at, persons
from flowdsl.flow.spec import FlowSpec
from flowdsl.progress import Progress, track
from flowdsl.results.options import Options
from flowdsl.text import short_repr

if TYPE_CHECKING:
    import pandas as pd

    from flowdsl.diagrams.picture import Picture


@dataclass(frozen=True, repr=False)
class DeliveryExplanation(RecipientPaths):
    """The reasons that an event reached a recipient or not, which `result.why(seq_no, recipient)` returns.

    Printed it reads as sentences; a notebook shows a picture too.

    Attributes
    ----------
    event : Mapping
        The event.
    recipient : str
        The id of the recipient.
    ways : tuple of FlowPath
        A path for each flow: those that reached the recipient first, flows that do not match the event last.
    flows : tuple of Flow
        The flows.
    whom : str
        The recipient by name and type, as far as the graph has them: `Ann (user u1)`.
    reached : bool
        Whether the event reached the recipient.

    Examples
    --------
    >>> from flowdsl import link_created, on, replay
    >>> flow = on("link.created", name="liked").map(recipient_id="{{ target_id }}").deliver("push")
    >>> events = [{"timestamp": "2026-01-01T00:00:00Z", "event": link_created("likes", "ann", "bob")}]
    >>> result = replay(flow, events)
    >>> answer = result.why(1, recipient="bob")
    >>> answer.reached, answer.ways[0].outcome
    (True, 'delivered')
    >>> print(answer.text.splitlines()[1])
    Yes: event 1 reached bob, by liked.
    """

    @property
    def text(self) -> str:
        """The answer in plain sentences."""
        from flowdsl.explanation.answer import answer_text

        return answer_text(self)

    def picture(self) -> Picture:
        """Draw the flows that matched the event, with its path down to the step that stopped it.

        Returns
        -------
        Picture
            All flows if none matched.

        Examples
        --------
        >>> from flowdsl import link_created, on, replay
        >>> flow = on("link.created", name="liked").map(recipient_id="{{ target_id }}").deliver("push")
        >>> events = [{"timestamp": "2026-01-01T00:00:00Z", "event": link_created("likes", "ann", "bob")}]
        >>> result = replay(flow, events)
        >>> answer = result.why(1, recipient="bob")
        >>> print(answer.picture().text.splitlines()[0])
        Event 1 and bob
        """
        from flowdsl.diagrams.picture import Picture
        from flowdsl.explanation.diagram import why_diagram

        return Picture(why_diagram(self))

    def to_pandas(self) -> pd.DataFrame:
        """Return a row for each step of the paths, as `Explanation.to_pandas` does.

        Returns
        -------
        pandas.DataFrame
            Operands, variables and payload are JSON text.

        Examples
        --------
        >>> from flowdsl import link_created, on, replay
        >>> flow = on("link.created", name="liked").map(recipient_id="{{ target_id }}").deliver("push")
        >>> events = [{"timestamp": "2026-01-01T00:00:00Z", "event": link_created("likes", "ann", "bob")}]
        >>> result = replay(flow, events)
        >>> answer = result.why(1, recipient="bob")
        >>> answer.to_pandas()["outcome"].tolist()
        ['matched', 'passed', 'delivered']
        """
        return steps_frame([step for way in self.ways for step in way.steps])

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from flowdsl.explanation.html import answer_html

        return {"text/plain": self.text, "text/html": answer_html(self)}


def why(
    options: Options, seq_no: int, recipient: str, flow: str | None = None, progress: Progress = None
) -> DeliveryExplanation:
    """Explain why an event of a replay reached a recipient or not.

    Parameters
    ----------
    options
        The options of the replay.
    seq_no
        The number of the event.
    recipient
        The id of the recipient.
    flow
        The name of one flow; None explains all.
    progress
        As for `replay`.

    Returns
    -------
    DeliveryExplanation
        A path for each flow.

    Raises
    ------
    ReplayError
        If the log has no such event, or the replay no such flow.
    """
    if not isinstance(recipient, str) or not recipient:
        raise ReplayError(f"recipient is {short_repr(recipient)}", allowed="the id of a recipient, as text")
    event = event_at(options.source, seq_no)
    asked = asked_flows(options, flow)
    matching = [f for f in asked if unmet(options, f, event) is None]
    with track(progress, options.source.count(), "why") as follower:
        # an event absorbed by a batch is traced on in a replay of the event that closed it
        trail = EventTrace(options, int(event["seq_no"]), recipient, matching, follower.advance_to)
        ways = [_way(trail, one, event, unmet(options, one, event)) for one in asked]
    return DeliveryExplanation(
        event,
        recipient,
        tuple(sorted(ways, key=lambda way: (not way.reached, way.outcome == "not matched"))),
        tuple(asked),
        whom=trail.called(recipient),
        names=trail.names(event, [step for way in ways for step in way.steps]),
    )


def _way(trail: EventTrace, flow: FlowSpec, event: Mapping[str, Any], reason: str | None) -> FlowPath:
    if reason is not None and mismatch(flow.trigger, event) is None:
        return _end_path(flow, "not matched", f"The flow did not run on it: {reason}.")
    if reason is not None:
        return _end_path(flow, "not matched", f"The flow is not for such events: {reason}.")
    if not flow.steps:
        return _end_path(flow, "nobody", "The flow has no steps: nothing is delivered.")
    if not trail.triggered(flow):
        return _end_path(flow, "not matched", f"{NOT_RUN[0].upper()}{NOT_RUN[1:]}.")
    return _trace_path(trail, flow)


def _trace_path(trail: EventTrace, flow: FlowSpec) -> FlowPath:
    narrator, ways = Narrator(trail, flow), trail.ways(flow)
    theirs = [way for way in ways if trail.recipient in persons(flow, way)]
    if theirs:
        reached = (way for way in theirs if delivered_at(way, trail.recipient) is not None)
        way = next(reached, theirs[0])
        remarks = [*narrator.note_unaddressed(way), *narrator.others_of_theirs(len(theirs) - 1)]
        return _make_path(trail, flow, way, [*narrator.story(way), *remarks])
    unknown = next((way for way in ways if not persons(flow, way)), None)
    if unknown is not None:
        return _make_path(trail, flow, unknown, [*narrator.story(unknown), *narrator.unknown(unknown)])
    way, sentences = narrator.for_others(ways)
    return dataclasses.replace(_make_path(trail, flow, way, sentences), outcome="not theirs")


def _end_path(flow: FlowSpec, outcome: str, sentence: str) -> FlowPath:
    trigger = trigger_step(flow, None if outcome == "nobody" else sentence, {})
    return FlowPath(flow.name, False, outcome, None, (sentence,), {}, (trigger,))


def _make_path(trail: EventTrace, flow: FlowSpec, way: Parts, sentences: list[str]) -> FlowPath:
    seen = [one for part in way for one in part]
    at = delivered_at(way, trail.recipient)
    end = at or seen[-1]
    outcome = "delivered" if at is not None else "nobody" if end.outcome in GONE_ON else end.outcome
    steps = (
        trigger_step(flow, None, trail.triggered(flow)),
        *(explain_step(flow, one, trail.seeker(trail.seq_no).steps) for one in seen),
    )
    return FlowPath(
        flow.name,
        at is not None,
        outcome,
        end.stage.number,
        tuple(sentences),
        dict(seen[-1].variables),
        steps,
    )
