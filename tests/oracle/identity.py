"""What makes a delivery the same, as rule 31 says it: by what its event is known, and where in the flow it came out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from flowdsl import Flow
from oracle.events import Event
from oracle.interpreter import Outcome
from oracle.values import canonical

ABOUT = ("entity_type", "entity_id", "link_type", "link_id", "source_id", "target_id")


def identities(outcome: Outcome, flows: Sequence[Flow], events: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Of each delivery what it is known by, where the events are those of a file."""
    names = event_names(events)
    return [_identity(delivery, flows[delivery.flow], names) for delivery in outcome.deliveries]


def event_names(events: Sequence[Mapping[str, Any]]) -> dict[int, Any]:
    """What each event of a file is known by, by its number: its id and what it is about, or all it says and which of several it is."""
    names: dict[int, Any] = {}
    equal: Counter[Any] = Counter()
    for envelope in events:
        event = Event.of(envelope)
        about = (event.kind, *(event.fields.get(name) for name in ABOUT))
        if event.event_id is not None:
            names[event.seq_no] = ("id", event.event_id, about)
            continue
        said = (about, event.timestamp, *(canonical(event.fields.get(name)) for name in ("data", "metadata")))
        names[event.seq_no] = ("says", said, equal[said])
        equal[said] += 1
    return names


def _identity(delivery: Any, flow: Flow, names: Mapping[int, Any]) -> Any:
    event, branch = delivery.origin
    # which of the deliver steps to the sink it was: a step before it may come and go
    place = sum(delivery.sink_name in getattr(step, "sinks", ()) for step in flow.steps[: delivery.step])
    return names[event.seq_no], delivery.flow, branch, place, delivery.sink_name, delivery.closed_by == "end"
