"""Rules about payloads: production's sinks ignore fields of a wrong type, and use defaults for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from flowdsl.findings.base import Violation, rule
from flowdsl.findings.rules.projects import used_sinks
from flowdsl.findings.views import StepView, TemplateLeaf, payload_before

_DEFAULTS: Final[Mapping[str, str]] = {
    "title": "the title is `Notification`",
    "body": "the body is empty",
    "notification_type": "the type is `generic`",
    "entity_type": "the variable of that name is taken",
    "entity_id": "the variable of that name is taken",
    "field": "that of the configuration is taken",
    "operation": "that of the configuration is taken",
}
_TEXTS: Final[Mapping[str, tuple[str, ...]]] = {
    "in_app": ("title", "body", "notification_type"),
    "push": ("title", "body", "notification_type"),
    "counter": ("entity_type", "entity_id", "field", "operation"),
}
"""The fields that sinks of a type take only if they are text."""


def _sinks_of_types(step: StepView, *types: str) -> Iterator[tuple[str, str, StepView]]:
    """Yield the sinks of these types that a step delivers to: name, type, and the map that makes their
    payload.
    """
    payload = payload_before(step)
    if payload is None:
        return
    for name in used_sinks(step):
        if step.flow.sinks.get(name) in types:
            yield name, step.flow.sinks[name], payload


def _top(leaf: TemplateLeaf) -> str:
    """Return the top-level field of the payload that contains a leaf."""
    return leaf.field.partition(".")[0].partition("[")[0]


@rule("counter-value-is-text", "error", StepView, target=True, of=("deliver",))
def counter_value_is_text(step: StepView) -> Iterator[Violation]:
    """Report a counter's value made by a template: production gets text, and counts 1."""
    for name, _, payload in _sinks_of_types(step, "counter"):
        for leaf in payload.leaves:
            if leaf.field == "value" and not leaf.constant:
                yield Violation(
                    leaf.place,
                    f"value: a template gives text, which the counter {name!r} passes over: it counts 1",
                    "write a number, or deliver once for each that is to be counted",
                    payload.number,
                )


@rule("sink-field-not-text", "warning", StepView, target=True, of=("deliver",))
def sink_field_not_text(step: StepView) -> Iterator[Violation]:
    """Report a title or a type that is not text, which is ignored."""
    for name, kind, payload in _sinks_of_types(step, *_TEXTS):
        for leaf in payload.leaves:
            if _top(leaf) in _TEXTS[kind] and (leaf.constant or leaf.field != _top(leaf)):
                yield Violation(
                    leaf.place,
                    f"{_top(leaf)} is not text, and sink {name!r} passes it over: {_DEFAULTS[_top(leaf)]}",
                    "write it as text, in quotes",
                    payload.number,
                )


@rule("push-default-title", "note", StepView, target=True, of=("deliver",))
def push_default_title(step: StepView) -> Iterator[Violation]:
    """Report a push payload without title or body, which production fills in."""
    for name, _, payload in _sinks_of_types(step, "push"):
        given = set(map(_top, payload.leaves))
        missing = [part for part in ("title", "body") if part not in given]
        if missing:
            yield step.remark(
                f"the payload has no {' and no '.join(missing)}: the sink {name!r} sends "
                + " and ".join(
                    {"title": "the title `Notification`", "body": "an empty body"}[part] for part in missing
                ),
                f"give the payload {' and '.join(missing)}",
            )


@rule("push-data-not-object", "warning", StepView, target=True, of=("deliver",))
def push_data_not_object(step: StepView) -> Iterator[Violation]:
    """Report a push message's `data` that is not an object, which the push service rejects."""
    for name, _, payload in _sinks_of_types(step, "push"):
        for leaf in payload.leaves:
            if leaf.field == "data" or leaf.field.startswith("data["):
                yield Violation(
                    leaf.place,
                    f"data is not an object: production's {name!r} sends it as it is, and the push service "
                    "refuses the message",
                    "make it an object: data: {value: …}",
                    payload.number,
                )
