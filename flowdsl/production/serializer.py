"""Serialization of lowered flows and projects to the mappings of production's YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowdsl.expressions.conditions import Condition
from flowdsl.operators.base import Operator
from flowdsl.operators.deliver import Deliver
from flowdsl.operators.map import Map
from flowdsl.production.conditions import condition_text

if TYPE_CHECKING:
    from flowdsl.flow.spec import FlowSpec
    from flowdsl.production.project_spec import Backend, ConsumerOptions, ProjectSpec, SinkConfig


def flow_mapping(flow: FlowSpec) -> dict[str, Any]:
    """Return the mapping of a lowered flow without its defaults."""
    mapping: dict[str, Any] = {"name": flow.name}
    if flow.description is not None:
        mapping["description"] = flow.description
    return {
        **mapping,
        "trigger": flow.trigger.options,
        "pipeline": [step_mapping(step) for step in flow.steps],
    }


def step_mapping(step: Operator) -> dict[str, Any]:
    """Return the mapping of a lowered step."""
    if isinstance(step, Deliver):
        options: dict[str, Any] = (
            {"sink": step.sinks[0]} if len(step.sinks) == 1 else {"sinks": list(step.sinks)}
        )
    elif isinstance(step, Map):
        options = {"template": step.plain}
    else:
        options = {
            step.options()[name].yaml: condition_text(value) if isinstance(value, Condition) else value
            for name, value in step.given.items()
        }
    return {step.name: options}


def project_mapping(project: ProjectSpec, flows: tuple[FlowSpec, ...]) -> dict[str, Any]:
    """Return the mapping of a project whose flows are lowered to `flows`."""
    events: dict[str, Any] = {}
    backend = backend_mapping(project.backend)
    if backend:
        events["backend"] = backend
    events["flows"] = [flow_mapping(flow) for flow in flows]
    if project.consumers:
        events["consumers"] = [consumer_mapping(consumer) for consumer in project.consumers]
    mapping: dict[str, Any] = {"events": events}
    if project.sinks:
        mapping["sinks"] = [sink_mapping(sink) for sink in project.sinks]
    return {**mapping, **project.other}


def sink_mapping(sink: SinkConfig) -> dict[str, Any]:
    """Return the mapping of a sink."""
    return {"name": sink.name, "type": sink.type, **({"config": dict(sink.config)} if sink.config else {})}


def consumer_mapping(consumer: ConsumerOptions) -> dict[str, Any]:
    """Return the mapping of a consumer, without `seek` if it is `latest`."""
    return {"name": consumer.name, **({"seek": consumer.seek} if consumer.seek != "latest" else {})}


def backend_mapping(backend: Backend) -> dict[str, Any]:
    """Return the mapping of a backend, or nothing for the default."""
    config = {"config": dict(backend.config)} if backend.config else {}
    return {"type": backend.type, **config} if config or backend.type != "memory" else {}
