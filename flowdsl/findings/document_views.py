"""Views of built flows and of documents, including invalid ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flowdsl.errors import BuildError, FlowError
from flowdsl.expressions.conditions import Condition
from flowdsl.expressions.templates import Template
from flowdsl.findings.views import FlowView, ProjectView, ScopeTracker, StepView, TemplateLeaf
from flowdsl.flow.spec import FlowSpec
from flowdsl.operators import OPERATORS
from flowdsl.operators.base import Operator
from flowdsl.operators.map import ConstantNode, Fields, ListNode, Map, Node
from flowdsl.operators.options import Option
from flowdsl.production.nodes import Item, too_large
from flowdsl.production.option_validation import check_options
from flowdsl.production.project_spec import SEEKS, Backend, ConsumerOptions, ProjectSpec, SinkConfig
from flowdsl.production.this_rs_conditions import TextCondition
from flowdsl.sinks.registry import SINKS

Ignored = tuple[tuple[str, str, str], ...]


def view_of_project(project: ProjectSpec) -> ProjectView:
    """Build the view of a project."""
    view = ProjectView(
        [view_of_flow(flow) for flow in project.flows],
        [(sink, f"sink {sink.name!r}") for sink in project.sinks],
        [(consumer, f"consumer {consumer.name!r}") for consumer in project.consumers],
        (project.backend, "backend"),
        has_sinks=bool(project.sinks),
    )
    return with_sinks(view)


def view_of_flow(flow: FlowSpec) -> FlowView:
    """Build the view of a flow; its places are the texts of its steps.

    A flow that was read by production's rules counts as `filed`: its options are those of its file.
    """
    trigger, filed = flow.trigger, not flow.rules.early_checks
    view = FlowView(
        flow.name,
        trigger.kind,
        trigger.text,
        trigger.link_type,
        trigger.entity_type,
        filed=filed,
        flow=None if filed else flow,
    )
    following = ScopeTracker(trigger.kind)
    for number, operator in enumerate(flow.steps):
        options = _options(operator)
        leaves = tuple(_leaves(operator.template, "", operator.text)) if isinstance(operator, Map) else ()
        keys = tuple(_keys(operator.template, operator.text)) if isinstance(operator, Map) else ()
        view.steps.append(
            StepView(
                view,
                number,
                operator.name,
                operator,
                options,
                operator.text,
                following.scope,
                following.known,
                leaves=leaves,
                keys=keys,
                filed=filed,
            )
        )
        following.step(operator.name, operator, options)
    return view


def with_sinks(view: ProjectView) -> ProjectView:
    """Set on each flow of a view the types of sinks and the configurations of counters; return the view."""
    types = {sink.name: sink.type for sink, _ in view.sinks}
    counters = {sink.name: sink.config for sink, _ in view.sinks if sink.type == "counter"}
    for flow in view.flows:
        flow.sinks, flow.counters = types, counters
    return view


def merged_views(views: Sequence[ProjectView]) -> ProjectView:
    """Merge the views of several documents that form one project."""
    backends = [view.backend for view in views if view.backend[0] != Backend()]
    merged = ProjectView(has_sinks=any(view.has_sinks for view in views))
    for view in views:
        merged.flows += view.flows
        merged.sinks += view.sinks
        merged.consumers += view.consumers
        merged.ignored += view.ignored
    if backends:
        merged.backend = backends[-1]
    return with_sinks(merged)


def _options(operator: Operator) -> dict[str, Any]:
    return {
        option.yaml: _plain(getattr(operator, name), option)
        for name, option in operator.options().items()
        if option.yaml != "template"
    }


def _plain(value: Any, option: Option) -> Any:
    if isinstance(value, (Condition, TextCondition)):
        return value.text
    if option.yaml == "sinks":
        return list(value)
    return None if value in (None, ()) else option.kind.plain(value)


def _leaves(node: Node, field: str, place: str) -> Iterator[TemplateLeaf]:
    if isinstance(node, Fields):
        for key, value in node.items:
            yield from _leaves(value, f"{field}.{key}" if field else key, place)
    elif isinstance(node, ListNode):
        for i, value in enumerate(node.items):
            yield from _leaves(value, f"{field}[{i}]", place)
    elif isinstance(node, Template):
        yield (
            _parse(TemplateLeaf(field, node.text, place))
            if node.lenient
            else TemplateLeaf(field, node.text, place, template=node)
        )
    elif isinstance(node, ConstantNode):
        yield TemplateLeaf(field, node.json, place, constant=True)
    else:
        yield TemplateLeaf(field, str(node), place, expression=node)


def _keys(node: Node, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Fields):
        for key, value in node.items:
            yield key, place
            yield from _keys(value, place)
    elif isinstance(node, ListNode):
        for value in node.items:
            yield from _keys(value, place)


def view_of_document(item: Item) -> ProjectView:
    """Build the view of a production document, of a list of flows, or of a single flow."""
    if isinstance(item.value, list):
        return ProjectView([_flow(one) for one in item.value if isinstance(one.value, dict)])
    if not isinstance(item.value, dict):
        return ProjectView()
    if "events" not in item.value and any(key in item.value for key in ("trigger", "pipeline")):
        return ProjectView([_flow(item)])
    events, backend = _part(item, "events"), _part(_part(item, "events"), "backend")
    sinks, consumers = _list(item, "sinks"), _list(events, "consumers")
    view = ProjectView([_flow(one) for one in _list(events, "flows") if isinstance(one.value, dict)])
    view.has_sinks = bool(sinks)
    if backend is not None:
        view.backend = Backend(_text(backend, "type") or "memory", _config(backend)), backend.place
    view.sinks = list(_sinks(sinks))
    view.consumers = list(_consumers(consumers))
    parts = [
        (events, "events", ("backend", "flows", "consumers")),
        (backend, "the backend", ("type", "config")),
        *((one, "a sink", ("name", "type", "config")) for one in sinks),
        *((one, "a consumer", ("name", "seek")) for one in consumers),
    ]
    view.ignored = tuple(itertools.chain.from_iterable(itertools.starmap(_unknown, parts)))
    return with_sinks(view)


def _sinks(items: Iterable[Item]) -> Iterator[tuple[SinkConfig, str]]:
    for item in items:
        name, kind = _text(item, "name"), _text(item, "type")
        if name and kind in SINKS:
            yield SinkConfig(name, kind, _config(item)), item.place


def _consumers(items: Iterable[Item]) -> Iterator[tuple[ConsumerOptions, str]]:
    for item in items:
        name, seek = _text(item, "name"), _text(item, "seek")
        if name:
            yield ConsumerOptions(name, seek if seek in SEEKS else "latest"), item.place


def _config(item: Item) -> dict[str, Any]:
    """Return the configuration of a sink or backend, or an empty one if it has none."""
    config = _part(item, "config")
    return {} if config is None else config.plain()


def _flow(item: Item) -> FlowView:
    trigger = _part(item, "trigger")
    kind = _text(trigger, "kind")
    view = FlowView(
        _text(item, "name"),
        kind,
        item.place,
        _text(trigger, "link_type") or None,
        _text(trigger, "entity_type") or None,
        filed=True,
    )
    if trigger is not None:
        view.places = {key: value.place for key, value in trigger.value.items()}
    view.ignored = (
        *_unknown(item, "a flow", ("name", "description", "trigger", "pipeline")),
        *_unknown(trigger, "trigger", ("kind", "link_type", "entity_type")),
    )
    following = ScopeTracker(kind)
    for number, one in enumerate([] if too_large(item) else _list(item, "pipeline")):
        step = _step(view, number, one, following)
        view.steps.append(step)
        following.step(step.name, step.operator, step.options)
    return view


def _step(view: FlowView, number: int, item: Item, following: ScopeTracker) -> StepView:
    name, options = "", item
    if isinstance(item.value, dict) and len(item.value) == 1:
        ((name, options),) = item.value.items()
    given: Mapping[str, Item] = options.value if name and isinstance(options.value, dict) else {}
    plain = {key: value.plain() for key, value in given.items() if value.value is not None}
    plain.pop("template", None)
    leaves: tuple[TemplateLeaf, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()
    if name == "map" and "template" in given:
        leaves, keys = tuple(_item_leaves(given["template"], "")), tuple(_item_keys(given["template"]))
    return StepView(
        view,
        number,
        name,
        _operator(name, options),
        plain,
        item.place,
        following.scope,
        following.known,
        places={key: value.place for key, value in given.items()},
        leaves=leaves,
        keys=keys,
        filed=True,
    )


def _operator(name: str, item: Item) -> Operator | None:
    """Build the operator from the options that flowdsl knows, or return None."""
    operator = OPERATORS.get(name)
    problems: list[FlowError] = []
    options = check_options(operator, item, problems) if operator is not None else None
    if operator is None or options is None:
        return None
    try:
        return operator.from_yaml(options)
    except BuildError:
        return None


def _item_leaves(item: Item, field: str) -> Iterator[TemplateLeaf]:
    if isinstance(item.value, dict):
        for key, value in item.value.items():
            yield from _item_leaves(value, f"{field}.{key}" if field else key)
    elif isinstance(item.value, list):
        for i, value in enumerate(item.value):
            yield from _item_leaves(value, f"{field}[{i}]")
    elif isinstance(item.value, str):
        yield _parse(TemplateLeaf(field, item.value, item.place))
    else:
        yield TemplateLeaf(field, str(item.value), item.place, constant=True)


def _parse(leaf: TemplateLeaf) -> TemplateLeaf:
    """Parse the template of a leaf, and note its problems."""
    try:
        parsed = Template.parse(leaf.text, lenient=True)
    except FlowError as error:
        return replace(leaf, problem=error.what, advice=error.hint)
    try:
        Template.parse(leaf.text)
    except FlowError as error:
        leaf = replace(leaf, problem=error.what, advice=error.hint)
    return replace(leaf, template=parsed)


def _item_keys(item: Item) -> Iterator[tuple[str, str]]:
    if isinstance(item.value, dict):
        for key, value in item.value.items():
            yield key, item.keys.get(key, item.place)
            yield from _item_keys(value)
    elif isinstance(item.value, list):
        for value in item.value:
            yield from _item_keys(value)


def _value_at(item: Item | None, key: str, kind: type) -> Item | None:
    """Return what a mapping has at a key, if it is of a kind."""
    found = item.value.get(key) if item is not None and isinstance(item.value, dict) else None
    return found if found is not None and isinstance(found.value, kind) else None


def _part(item: Item | None, key: str) -> Item | None:
    return _value_at(item, key, dict)


def _list(item: Item | None, key: str) -> list[Item]:
    found = _value_at(item, key, list)
    return list(found.value) if found else []


def _text(item: Item | None, key: str) -> str:
    found = _value_at(item, key, str)
    return found.value if found else ""


def _unknown(item: Item | None, what: str, known: tuple[str, ...]) -> Ignored:
    if item is None or not isinstance(item.value, dict):
        return ()
    return tuple((what, key, place) for key, place in item.keys.items() if key not in known)
