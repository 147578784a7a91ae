"""Explanations as diagrams: the flow with the paths of one event through it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from flowdsl.diagrams.diagram import TRIGGER, Annotation, Diagram, FlowDiagram, Outflow
from flowdsl.diagrams.flows import flow_chain
from flowdsl.explanation.answer import verdict
from flowdsl.explanation.text import clip_line, event_line, format_value
from flowdsl.pluralize import count_text
from flowdsl.values.json_types import MISSING

if TYPE_CHECKING:
    from flowdsl.explanation.paths import EventSteps, ExplainedStep, FlowPath, RecipientPaths
    from flowdsl.flow.spec import FlowSpec

LEAVING: Final = ("dropped", "failed", "absorbed", "held")
GONE_ON: Final = ("passed", "delivered")


def explanation_diagram(explanation: EventSteps) -> Diagram:
    """Build the flows that the event matched, with the count of its branches at each step and their ends."""
    chains, others = [], []
    for flow in explanation.flows:
        steps = [step for step in explanation.steps if step.flow == flow.name]
        if steps and steps[0].outcome == "matched":
            chains.append(path_diagram(flow, steps, explanation.more.get(flow.name, 0)))
        elif steps:
            others.append((flow, steps[0].reason))
    notes = [event_line(explanation.event, explanation.names)]
    if not chains:
        chains = [_unmatched(flow, reason) for flow, reason in others]
    elif others:
        notes.append(f"{count_text(len(others), 'flow')} did not match")
    return Diagram(f"Event {explanation.event['seq_no']}", tuple(chains), notes=tuple(notes))


def why_diagram(why: RecipientPaths) -> Diagram:
    """Build the flows that matched, with the path of one recipient's branch down to the step that stopped
    it.
    """
    by_name = {flow.name: flow for flow in why.flows}
    chains = [_way_to(by_name[way.flow], way) for way in why.ways if way.outcome != "not matched"]
    if not chains:
        chains = [_unmatched(by_name[way.flow], way.sentences[0]) for way in why.ways]
    notes = (event_line(why.event, why.names), verdict(why))
    return Diagram(f"Event {why.event['seq_no']} and {why.whom}", tuple(chains), notes=notes)


def _way_to(flow: FlowSpec, way: FlowPath) -> FlowDiagram:
    chain = path_diagram(flow, way.steps)
    if way.reached or way.step is None:
        return chain
    # the step that stopped the branch shows the reason, even if other branches passed
    reason = Annotation(" ".join(way.sentences), tone="stopped")
    if way.outcome == "not theirs" and way.steps[-1].outcome == "delivered":
        return chain.marked(nodes={way.step: reason})
    return _fade(chain, flow, range(way.step + 1, len(flow.steps)), {way.step: reason})


def path_diagram(flow: FlowSpec, steps: Sequence[ExplainedStep], more: int = 0) -> FlowDiagram:
    """Return a flow with the paths of an event; steps that it did not reach are faded."""
    into: dict[int, Annotation] = {}
    nodes: dict[int, Annotation] = {TRIGGER: Annotation(tone="passed")}
    exits: dict[int, list[Outflow]] = {}
    targets: dict[tuple[int, str], Annotation] = {}
    coming = 1
    for number, operator in enumerate(flow.steps):
        here = [step for step in steps if step.step == number]
        gone = _gone_on(here)
        # contexts absorbed by a batch go on as another event
        into[number] = _count(coming or len(here))
        nodes[number] = _node(here)
        exits[number] = list(_exits(here))
        for sink in getattr(operator, "sinks", ()):
            targets[number, sink] = _count(sum(sink in step.sinks for step in gone))
        if gone and getattr(operator, "branches", False):
            if more:
                left = Annotation(f"{more:,}", more)
                exits[number].append(Outflow("branches", "branches more, not followed", left))
            more = 0
        coming = len(gone)
    return flow_chain(flow).marked(into=into, nodes=nodes, exits=exits, targets=targets)


def _gone_on(steps: Sequence[ExplainedStep]) -> list[ExplainedStep]:
    return [step for step in steps if step.outcome in GONE_ON]


def _count(count: int) -> Annotation:
    return Annotation(str(count), count) if count else Annotation(tone="faded")


def _node(here: Sequence[ExplainedStep]) -> Annotation:
    if not here:
        return Annotation(tone="faded")
    gone = bool(_gone_on(here))
    note = "; ".join(_values(here[0])) if len(here) == 1 else ""
    waits = all(step.outcome in ("absorbed", "held") for step in here)
    return Annotation(note, tone="passed" if gone else "plain" if waits else "stopped", title=note)


def _values(step: ExplainedStep) -> Iterator[str]:
    """Yield the values of one context at a step."""
    if step.operator == "map" and step.payload is not MISSING:
        yield f"payload {format_value(step.payload)}"
        return
    if step.reason and step.outcome in GONE_ON:
        yield step.reason
    yield from (f"{name} is {format_value(value)}" for name, value in step.operands)


def _exits(here: Sequence[ExplainedStep]) -> Iterator[Outflow]:
    for outcome in LEAVING:
        reasons = Counter(step.reason or "" for step in here if step.outcome == outcome)
        for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
            yield Outflow(outcome, clip_line(reason), Annotation(str(count), count))


def _unmatched(flow: FlowSpec, reason: str | None) -> FlowDiagram:
    why = Annotation(reason or "", tone="stopped")
    return _fade(flow_chain(flow), flow, range(len(flow.steps)), {TRIGGER: why})


def _fade(chain: FlowDiagram, flow: FlowSpec, numbers: range, nodes: dict[int, Annotation]) -> FlowDiagram:
    """Fade the steps that were not reached, and put notes at others."""
    faded = dict.fromkeys(numbers, Annotation(tone="faded"))
    targets = {(n, sink): faded[n] for n in numbers for sink in getattr(flow.steps[n], "sinks", ())}
    return chain.marked(into=faded, nodes={**nodes, **faded}, targets=targets)
