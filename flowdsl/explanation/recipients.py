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
from flowdsl.operators.batch import Batch
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
    # a batch continues with the variables of another member
    mixing = [step for step in coming if isinstance(step, Batch)] if seen.outcome == "absorbed" else []
    for place in flow.rules.recipient:
        if place[0] == "_payload":
            value, known = _in_payload(before, coming, mixing, seen)
        else:
            value, known = value_at(seen.variables, place), not _changes(coming, mixing, place)
        if not known:
            return None
        if isinstance(value, str):
            return value
    return None


def branch_of(flow: FlowSpec, seen: StepTrace) -> str | None:
    """Return the id of a branch from the last step that branched: its recipient if the payload names none."""
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


def _in_payload(
    before: Sequence[Operator], coming: Sequence[Operator], mixing: Sequence[Batch], seen: StepTrace
) -> tuple[Any, bool]:
    """Return the recipient in the payload, and True if it is known."""
    last = _last_map(before)
    node = None if last is None else _field(last)
    if seen.payload is not MISSING and _last_map(coming) is None:
        value = seen.payload.get(_FIELD, MISSING) if isinstance(seen.payload, Mapping) else MISSING
        mapped = before[max(n for n, step in enumerate(before) if isinstance(step, Map)) :]
        return value, not mixing or _is_settled(node, mapped, mixing, seen.variables)
    if node is None or isinstance(node, ConstantNode):
        return MISSING, True
    if isinstance(node, (Template, Reference)) and _is_settled(node, coming, mixing, seen.variables):
        return _render(node, seen.variables)
    return MISSING, False


def _is_settled(
    node: Node | None, coming: Sequence[Operator], mixing: Sequence[Batch], variables: Mapping[str, Any]
) -> bool:
    """Return True if all variables of an expression are known, and none of them will change."""
    if not isinstance(node, (Template, Reference)):
        return False
    return all(path[0] in variables and not _changes(coming, mixing, path) for path in node.paths)


def _render(node: Template | Reference, variables: Mapping[str, Any]) -> tuple[Any, bool]:
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


def _changes(steps: Sequence[Operator], mixing: Sequence[Batch], path: Path) -> bool:
    """Return True if one of the steps may change the value at a path: by setting its variable, or as a batch
    whose key does not have the path.
    """
    if any(path[0] in step.variables for step in steps):
        return True
    return not all(any(_is_part_of(path, key) for key in step.key) for step in mixing)


def _is_part_of(path: Path, key: Path) -> bool:
    """Return True if a key determines the value of a path: `friend_id` also determines `friend.id`."""
    return path[: len(key)] == key or {path, key} == {(path[0], "id"), (f"{path[0]}_id",)}
