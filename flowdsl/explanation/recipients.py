"""Recipient of a context before it is delivered, as far as it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from flowdsl.engine.tracer import StepTrace, value_at
from flowdsl.expressions.conditions.nodes import Reference
from flowdsl.expressions.templates import Template
from flowdsl.expressions.templates.failures import RenderError
from flowdsl.flow.spec import FlowSpec
from flowdsl.operators.base import Operator
from flowdsl.operators.deliver import Deliver
from flowdsl.operators.fan_out import FanOut
from flowdsl.operators.map import ConstantNode, Fields, Map, Node
from flowdsl.values.json_types import MISSING
from flowdsl.values.paths import Path

_FIELD: Final = "recipient_id"


def recipient_of(flow: FlowSpec, seen: StepTrace) -> str | None:
    """Return the recipient of a context at this step; None if it is not known yet, or there is none."""
    if seen.recipient_id is not None:
        return seen.recipient_id
    at = seen.stage.number
    delivers = [
        number for number, step in enumerate(flow.steps) if isinstance(step, Deliver) and number >= at
    ]
    if not delivers:
        return None
    before = flow.steps[: delivers[0]]
    # a later step may still set the variables of the recipient
    coming = before[at if seen.outcome in ("dropped", "failed", "held", "absorbed") else at + 1 :]
    for place in flow.rules.recipient:
        if place[0] == "_payload":
            value, known = _written(before, coming, seen)
        else:
            value, known = value_at(seen.variables, place), not any(_sets(step, place[0]) for step in coming)
        if not known:
            return None
        if isinstance(value, str):
            return value
    return None


def branch_of(flow: FlowSpec, seen: StepTrace) -> str | None:
    """Return the id that the last fan-out gave a branch: its recipient if nothing else names one."""
    for step in reversed(flow.steps[: seen.stage.number + 1]):
        if isinstance(step, FanOut):
            value = seen.variables.get(f"{step.as_}_id")
            return value if isinstance(value, str) else None
    return None


def recipient_node(flow: FlowSpec) -> Node | None:
    """Return the expression of the payload's recipient; None if it has none."""
    for step in reversed(flow.steps):
        if isinstance(step, Map):
            return _field(step)
    return None


def recipient_roots(flow: FlowSpec) -> set[str]:
    """Return the variables that the recipient is read from."""
    node = recipient_node(flow)
    if isinstance(node, (Template, Reference)):
        return {path[0] for path in node.paths}
    return {place[0] for place in flow.rules.recipient}


def _written(before: Sequence[Operator], coming: Sequence[Operator], seen: StepTrace) -> tuple[Any, bool]:
    """Return the recipient in the payload, and whether it is known."""
    if not any(isinstance(step, Map) for step in coming) and seen.payload is not MISSING:
        return (seen.payload.get(_FIELD, MISSING) if isinstance(seen.payload, Mapping) else MISSING), True
    maps = [step for step in before if isinstance(step, Map)]
    node = _field(maps[-1]) if maps else None
    if node is None:
        return MISSING, True
    if isinstance(node, ConstantNode):
        return MISSING, True
    if not isinstance(node, (Template, Reference)):
        return MISSING, False
    roots = {path[0] for path in node.paths}
    if any(root not in seen.variables or any(_sets(step, root) for step in coming) for root in roots):
        return MISSING, False
    return _rendered(node, seen.variables)


def _rendered(node: Template | Reference, variables: Mapping[str, Any]) -> tuple[Any, bool]:
    def lookup(path: Path) -> Any:
        return value_at(variables, path)

    if isinstance(node, Reference):
        return lookup(node.path), True
    try:
        return node.render_row(lookup), True
    except RenderError:
        return MISSING, False


def _field(step: Map) -> Node | None:
    fields = dict(step.template.items) if isinstance(step.template, Fields) else {}
    return fields.get(_FIELD)


def _sets(step: Operator, name: str) -> bool:
    """Return whether a step gives a variable a value."""
    names = {step.entity_variable, f"{step.as_}_id" if isinstance(step, FanOut) else None}
    return name in names
