"""Recipient of a context before it is delivered, as far as it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from flowdsl.engine.event_reading import StepTrace, value_at
from flowdsl.expressions.conditions.nodes import Reference
from flowdsl.expressions.templates import Template
from flowdsl.expressions.templates.failures import RenderError
from flowdsl.flow.spec import FlowSpec
from flowdsl.operators.base import Operator
from flowdsl.operators.deliver import Deliver
from flowdsl.operators.map import ConstantNode, Fields, Map, Node
from flowdsl.values.json_types import MISSING
from flowdsl.values.paths import Path

_FIELD: Final = "recipient_id"


def recipient_of(flow: FlowSpec, seen: StepTrace) -> str | None:
    """Return the recipient of a context at this step; None if it is not known yet, or there is none."""
    if seen.recipient_id is not None:
        return seen.recipient_id
    at = seen.stage.number
    delivers = [number for number, step in enumerate(flow.steps[at:], at) if isinstance(step, Deliver)]
    if not delivers:
        return None
    before = flow.steps[: delivers[0]]
    # a later step may still set the variables of the recipient
    coming = before[at if seen.outcome in ("dropped", "failed", "held", "absorbed") else at + 1 :]
    for place in flow.rules.recipient:
        if place[0] == "_payload":
            value, known = _in_payload(before, coming, seen)
        else:
            value, known = value_at(seen.variables, place), not _any_sets(coming, place[0])
        if not known:
            return None
        if isinstance(value, str):
            return value
    return None


def branch_of(flow: FlowSpec, seen: StepTrace) -> str | None:
    """Return the id that the last step that branches gave a branch: its recipient if nothing else names
    one.
    """
    for step in reversed(flow.steps[: seen.stage.number + 1]):
        if step.branch_variable is not None:
            value = seen.variables.get(step.branch_variable)
            return value if isinstance(value, str) else None
    return None


def recipient_node(flow: FlowSpec) -> Node | None:
    """Return the expression of the payload's recipient; None if it has none."""
    last = _last_map(flow.steps)
    return None if last is None else _field(last)


def recipient_roots(flow: FlowSpec) -> set[str]:
    """Return the variables that the recipient is read from."""
    node = recipient_node(flow)
    if isinstance(node, (Template, Reference)):
        return {path[0] for path in node.paths}
    return {place[0] for place in flow.rules.recipient}


def _in_payload(before: Sequence[Operator], coming: Sequence[Operator], seen: StepTrace) -> tuple[Any, bool]:
    """Return the recipient in the payload, and whether it is known."""
    if seen.payload is not MISSING and _last_map(coming) is None:
        return (seen.payload.get(_FIELD, MISSING) if isinstance(seen.payload, Mapping) else MISSING), True
    last = _last_map(before)
    node = None if last is None else _field(last)
    if node is None or isinstance(node, ConstantNode):
        return MISSING, True
    if isinstance(node, (Template, Reference)) and _is_settled(node, coming, seen.variables):
        return _rendered(node, seen.variables)
    return MISSING, False


def _is_settled(node: Template | Reference, coming: Sequence[Operator], variables: Mapping[str, Any]) -> bool:
    """Return whether all variables of an expression are known, and none of them will change."""
    roots = {path[0] for path in node.paths}
    return all(root in variables and not _any_sets(coming, root) for root in roots)


def _rendered(node: Template | Reference, variables: Mapping[str, Any]) -> tuple[Any, bool]:
    def lookup(path: Path) -> Any:
        return value_at(variables, path)

    if isinstance(node, Reference):
        return lookup(node.path), True
    try:
        return node.render_row(lookup), True
    except RenderError:
        return MISSING, False


def _last_map(steps: Sequence[Operator]) -> Map | None:
    return next((step for step in reversed(steps) if isinstance(step, Map)), None)


def _field(step: Map) -> Node | None:
    fields = dict(step.template.items) if isinstance(step.template, Fields) else {}
    return fields.get(_FIELD)


def _any_sets(steps: Sequence[Operator], name: str) -> bool:
    """Return whether one of the steps gives a variable a value."""
    return any(name in step.variables for step in steps)
