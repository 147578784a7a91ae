"""`explain`: the replay of one event again, traced step by step."""

from __future__ import annotations

import contextlib
import dataclasses
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from flowdsl.engine.event_reading import EventReading, StepTrace
from flowdsl.engine.trace import Reading, Trace
from flowdsl.errors import ReplayError, without_warnings
from flowdsl.events import EVENT_COLUMNS
from flowdsl.explanation.paths import EventSteps, ExplainedStep
from flowdsl.flow.spec import FlowSpec, Trigger
from flowdsl.graph.names import EntityNames, names_in
from flowdsl.log.columns import readable
from flowdsl.operators.base import Kind
from flowdsl.progress import Progress, track
from flowdsl.results.options import Options
from flowdsl.results.run import run
from flowdsl.results.store import NoStore
from flowdsl.text import short_repr
from flowdsl.values.json_types import MISSING

if TYPE_CHECKING:
    import pandas as pd

    from flowdsl.diagrams.picture import Picture
    from flowdsl.log import EventSource

NOT_RUN: Final = "this replay did not run on it: see start, stop, only and state"
_SOME: Final = 1 << 10


@dataclass(frozen=True, repr=False)
class Explanation(EventSteps):
    """The path of one event through flows, which `result.explain(seq_no)` returns.

    Printed it reads step by step; a notebook shows a picture and a table.

    Attributes
    ----------
    event : Mapping
        The event.
    steps : tuple of ExplainedStep
        Every step of every branch, flow by flow.
    more : Mapping
        The number of branches that were too many to follow, by flow.
    flows : tuple of Flow
        The flows.

    Examples
    --------
    >>> from flowdsl import link_created, on, replay
    >>> flow = on("link.created", name="liked").map(recipient_id="{{ target_id }}").deliver("push")
    >>> events = [{"timestamp": "2026-01-01T00:00:00Z", "event": link_created("likes", "ann", "bob")}]
    >>> explanation = replay(flow, events).explain(1)
    >>> [(step.operator, step.outcome) for step in explanation.steps]
    [('on', 'matched'), ('map', 'passed'), ('deliver', 'delivered')]
    """

    def picture(self) -> Picture:
        """Draw the flows that matched, with the number of branches at each step and their ends.

        Returns
        -------
        Picture
            All flows if none matched.

        Examples
        --------
        >>> from flowdsl import link_created, on, replay
        >>> flow = on("link.created", name="liked").map(recipient_id="{{ target_id }}").deliver("push")
        >>> events = [{"timestamp": "2026-01-01T00:00:00Z", "event": link_created("likes", "ann", "bob")}]
        >>> explanation = replay(flow, events).explain(1)
        >>> print(explanation.picture().text.splitlines()[0])
        Event 1
        """
        from flowdsl.diagrams.picture import Picture
        from flowdsl.explanation.diagram import explanation_diagram

        return Picture(explanation_diagram(self))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from flowdsl.explanation.html import explanation_html

        return {"text/plain": repr(self), "text/html": explanation_html(self)}

    def __repr__(self) -> str:
        from flowdsl.explanation.text import explanation_text

        return explanation_text(self)

    def to_pandas(self) -> pd.DataFrame:
        """Return a row for each step of each branch.

        Returns
        -------
        pandas.DataFrame
            Operands, variables and payload are JSON text.

        Examples
        --------
        >>> from flowdsl import link_created, on, replay
        >>> flow = on("link.created", name="liked").map(recipient_id="{{ target_id }}").deliver("push")
        >>> events = [{"timestamp": "2026-01-01T00:00:00Z", "event": link_created("likes", "ann", "bob")}]
        >>> explanation = replay(flow, events).explain(1)
        >>> explanation.to_pandas()["outcome"].tolist()
        ['matched', 'passed', 'delivered']
        """
        return steps_frame(self.steps)


def explain(
    options: Options,
    seq_no: int,
    flow: str | None = None,
    readings: Sequence[Reading] = (),
    progress: Progress = None,
    traced: EventReading | None = None,
) -> Explanation:
    """Explain one event of a replay.

    The replay runs again up to that event, and further only while the event waits in a window or a queue.

    Parameters
    ----------
    options
        The options of the replay.
    seq_no
        The number of the event.
    flow
        The name of one flow; None explains all.
    readings
        What takes other values out of the trace of the replay on the way.
    progress
        As for `replay`.
    traced
        A new reading of the event that follows more than its steps.

    Returns
    -------
    Explanation
        The path of the event through the flows.

    Raises
    ------
    ReplayError
        If the log has no such event, or the replay no such flow.
    """
    event = event_at(options.source, seq_no)
    asked = asked_flows(options, flow)
    matching = [f for f in asked if unmet(options, f, event) is None and f.steps]
    # all flows must run if they share a state or caps; otherwise only those that match the event
    running = list(options.flows) if options.together else matching
    traced = traced or EventReading(int(event["seq_no"]))
    if matching:
        trace_event(dataclasses.replace(options, flows=tuple(running)), traced, readings, progress)
    steps = [step for f in asked for step in _steps(f, unmet(options, f, event), running, traced)]
    more = {running[number].name: count for number, count in traced.more.items()}
    return Explanation(event, tuple(steps), more, tuple(asked), names_at(traced, event, steps))


def trigger_step(flow: FlowSpec, mismatch: str | None, variables: Mapping[str, Any]) -> ExplainedStep:
    """Return the trigger as a step: the variables of the event, or why it did not match."""
    outcome = "matched" if mismatch is None else "not matched"
    return ExplainedStep(
        flow.name, None, "on", flow.trigger.text, None, outcome, mismatch, variables=variables
    )


def asked_flows(options: Options, flow: str | None) -> list[FlowSpec]:
    """Return all flows of a replay, or those with a name; raise `ReplayError` if there are none."""
    names = [f.name for f in options.flows]
    if flow is not None and (not isinstance(flow, str) or flow not in names):
        raise ReplayError.unknown(f"there is no flow {short_repr(flow)}", flow, names)
    return [f for f in options.flows if flow is None or f.name == flow]


def steps_frame(steps: Sequence[ExplainedStep]) -> pd.DataFrame:
    """Return a row for each step; operands, variables and payload as JSON text."""
    import pandas as pd

    from flowdsl.explanation.text import format_json

    rows = []
    for step in steps:
        row = {field.name: getattr(step, field.name) for field in dataclasses.fields(step)}
        row["sinks"] = ", ".join(step.sinks) or None
        row["operands"] = format_json(dict(step.operands))
        row["variables"] = format_json(step.variables)
        row["payload"] = None if step.payload is MISSING else format_json(step.payload)
        rows.append(row)
    frame = pd.DataFrame(rows, columns=[field.name for field in dataclasses.fields(ExplainedStep)])
    return frame.astype({"step": "Int64"})


def mismatch(trigger: Trigger, event: Mapping[str, Any]) -> str | None:
    """Return the reason why a trigger does not match an event, or None if it does."""
    if event["kind"] != trigger.kind:
        return f"the trigger wants {trigger.kind}, this is {event['kind']}"
    if trigger.filter is not None:
        name, wanted = trigger.filter
        if event.get(name) != wanted:
            return f"the trigger wants {name} {wanted!r}, this is {event.get(name)!r}"
    return None


def unmet(options: Options, flow: FlowSpec, event: Mapping[str, Any]) -> str | None:
    """Return the reason why a flow did not run on an event: no match, or production had stopped; None if it
    ran.
    """
    stopped, names = options.stopped, [f.name for f in options.flows]
    if stopped is not None and (event["seq_no"], names.index(flow.name)) > (
        stopped.seq_no,
        names.index(stopped.flow),
    ):
        return str(stopped)
    return mismatch(flow.trigger, event)


class _EnoughError(Exception):
    """Raised when no later event matters."""


def trace_event(
    options: Options, traced: EventReading, readings: Sequence[Reading] = (), progress: Progress = None
) -> None:
    """Replay up to the traced event, and on for as long as it waits in a window or a queue."""
    memoryless = all(s.kind in (Kind.PER_EVENT, Kind.SINK) for f in options.flows for s in f.steps)
    if memoryless and options.span.only is None and not options.caps:
        # without windows and limits, other events affect this one only through the graph
        import numpy as np

        only = np.array([traced.seq_no])
        options = dataclasses.replace(options, span=dataclasses.replace(options.span, only=only))

    def enough(done: int, total: int | None) -> None:
        follower.advance_to(done)
        if traced.position >= traced.seq_no and not traced.waiting:
            raise _EnoughError

    trace = Trace(readings=(traced, *readings))
    progressing = track(progress, options.source.count(), "explain")
    # the replay itself has already warned
    with progressing as follower, without_warnings(), contextlib.suppress(_EnoughError):
        run(options, NoStore(), progress=enough, outcomes=trace, columns=frozenset(EVENT_COLUMNS))


def event_at(source: EventSource, seq_no: int) -> dict[str, Any]:
    """Return one event of a log, without nulls; raise `ReplayError` if the log has no such event."""
    try:
        if isinstance(seq_no, bool):
            raise TypeError
        number = min(max(operator.index(seq_no), -1 << 62), 1 << 62)
    except TypeError:
        raise ReplayError(
            f"seq_no is {short_repr(seq_no, 200)}", allowed="the sequence number of an event"
        ) from None
    last = 0
    for frame in source.chunks(EVENT_COLUMNS, _SOME, max(number - 1, 0)):
        found = readable(frame.filter(pl.col("seq_no") == number))
        if found.height:
            return {name: value for name, value in found.row(0, named=True).items() if value is not None}
        last = int(frame["seq_no"][-1])
        if last > number:
            break
    raise ReplayError(
        f"the log has no event {number}",
        hint="seq_no counts from 1; result.deliveries and result.errors have it",
    )


def _steps(
    flow: FlowSpec, why: str | None, running: list[FlowSpec], traced: EventReading
) -> Iterator[ExplainedStep]:
    number = running.index(flow) if flow in running else -1
    if why is None and flow.steps and number not in traced.triggered:
        why = NOT_RUN
    yield trigger_step(flow, why, traced.triggered.get(number, {}))
    for one in traced.of_flow(number):
        yield explain_step(flow, one, traced)


def names_at(traced: EventReading, event: Mapping[str, Any], steps: Iterable[ExplainedStep]) -> EntityNames:
    """Return the names in the graph, as of the traced event, of its entities and of recipients."""
    ids = set(map(event.get, ("source_id", "target_id", "entity_id")))
    ids |= {step.recipient_id for step in steps}
    return EntityNames() if traced.graph is None else names_in(traced.graph, [one for one in ids if one])


def describe_id(traced: EventReading, one: str) -> str:
    """Return an id with its name and type, if the graph has them as of the traced event."""
    return one if traced.graph is None else names_in(traced.graph, [one]).full(one)


def explain_step(flow: FlowSpec, seen: StepTrace, traced: EventReading) -> ExplainedStep:
    """Convert the trace of a context at a step to its public form."""
    step = seen.stage.operator
    return ExplainedStep(
        flow=flow.name,
        step=seen.stage.number,
        operator=step.method,
        text=step.text,
        branch=".".join(map(str, seen.branch)) or None,
        outcome=seen.outcome,
        reason=seen.reason,
        at=seen.at,
        operands=tuple(seen.operands),
        variables=seen.variables,
        payload=seen.payload,
        sinks=seen.sinks,
        recipient_id=seen.recipient_id,
        recipient=None if seen.recipient_id is None else describe_id(traced, seen.recipient_id),
    )
