"""Loader of documents by the rules of this-rs: accepts what it accepts, even if it fails at every event.

Two things can go wrong there. A document of a wrong shape is refused as a whole. A flow that has the right
shape but does not compile (its kind, a condition, a duration, no sink) is left out, and the others run.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from flowdsl.errors import BuildError, FlowError, did_you_mean
from flowdsl.events import KINDS
from flowdsl.expressions.conditions import Condition
from flowdsl.expressions.crashes import CrashReason
from flowdsl.expressions.durations import parse_production_duration
from flowdsl.expressions.templates import Template
from flowdsl.expressions.templates.crashes import Construct, crashes_at_once, imports_itself
from flowdsl.expressions.templates.invalid import BrokenTemplate
from flowdsl.flow.spec import MAX_STEPS, FlowSpec, Trigger, too_many_steps
from flowdsl.operators import OPERATORS, PORTABLE
from flowdsl.operators.base import Operator
from flowdsl.operators.batch import Batch
from flowdsl.operators.deduplicate import Deduplicate
from flowdsl.operators.deliver import Deliver
from flowdsl.operators.fan_out import FanOut
from flowdsl.operators.map import ConstantNode, Fields, ListNode, Map, Node
from flowdsl.operators.rate_limit import RateLimit
from flowdsl.operators.resolve import Resolve
from flowdsl.operators.where import Where
from flowdsl.production.loader import FLOW_KEYS
from flowdsl.production.nodes import Item, too_large
from flowdsl.production.project_spec import SEEKS, Backend, ConsumerOptions, ProjectSpec, SinkConfig
from flowdsl.production.this_rs_conditions import CrashingConditionError, TextCondition
from flowdsl.production.this_rs_shapes import ShapeError, Shapes, is_empty
from flowdsl.rules import THIS_RS
from flowdsl.sinks.registry import production_types
from flowdsl.text import short_repr

DOCUMENT_KEYS: Final = ("entities", "links", "validation_rules", "events", "sinks")
_ACTIONS: Final = ("list", "get", "create", "update", "delete")
_ENTITY_ACTIONS: Final = (*_ACTIONS, "list_links", "create_link", "delete_link")
_LINK_TEXTS: Final = ("link_type", "source_type", "target_type", "forward_route_name", "reverse_route_name")


class ProductionReader(Shapes):
    """Reader of a document by production's rules; `refused_flows` lists problems of single flows."""

    def __init__(self, problems: list[FlowError]) -> None:
        super().__init__(problems)
        self.refused_flows: list[FlowError] = []
        self.left_out: list[int] = []

    def project(self, item: Item) -> ProjectSpec:
        """Return the project of a document; a list of flows, or one flow, is a project too."""
        if isinstance(item.value, list):
            return ProjectSpec(tuple(self._flows(item)))
        if isinstance(item.value, dict) and "events" not in item.value and FLOW_KEYS[0] in item.value:
            return ProjectSpec(tuple(self._flows(Item([item], item.place))))
        given = (
            self._try(lambda: self._struct(item, "the document", DOCUMENT_KEYS, _required_keys(item))) or {}
        )
        self._try(lambda: check_surroundings(self, given))
        events = self._try(lambda: self._events(given.get("events"))) or {}
        sinks = self._try(lambda: self._there(given.get("sinks")))
        return ProjectSpec(
            flows=tuple(self._flows(events["flows"])) if "flows" in events else (),
            sinks=tuple(self._each(sinks, "sinks", self._sink)),
            consumers=tuple(self._each(events.get("consumers"), "consumers", self._consumer)),
            backend=self._try(lambda: self._backend(events.get("backend"))) or Backend(),
            other=item.plain_others(("events", "sinks")),
        )

    def _events(self, item: Item | None) -> dict[str, Item]:
        there = self._there(item)
        return {} if there is None else self._struct(there, "events", ("backend", "flows", "consumers"))

    def _backend(self, item: Item | None) -> Backend:
        if item is None:
            return Backend()
        given = self._struct(item, "backend", ("type", "config"))
        return Backend(self._text(given.get("type"), "memory"), self._config(given.get("config")))

    def _sink(self, item: Item) -> SinkConfig:
        given = self._struct(item, "a sink", ("name", "type", "config"), ("name", "type"))
        kind = self._choice(given["type"], "a sink: type", production_types())
        return SinkConfig(self._text(given["name"]), kind, self._config(given.get("config")))

    def _consumer(self, item: Item) -> ConsumerOptions:
        given = self._struct(item, "a consumer", ("name", "seek"), ("name",))
        seek = self._choice(given["seek"], "a consumer: seek", SEEKS) if "seek" in given else "latest"
        return ConsumerOptions(self._text(given["name"]), seek)

    def _config(self, item: Item | None) -> dict[str, Any]:
        if item is None or is_empty(item):
            return {}
        if not isinstance(item.value, dict):
            raise self._refused(item, f"config is {item.kind}", "a mapping")
        self._keys_are_text(item)
        for one in item.overwritten:
            self._value(one)
        return {key: self._value(value) for key, value in item.value.items()}

    def _flows(self, item: Item) -> list[FlowSpec]:
        numbers = itertools.count()

        def one(item: Item) -> FlowSpec | None:
            number, flow = next(numbers), None
            try:
                flow = self._flow(item)
            finally:
                self.left_out += [number] if flow is None else []
            return flow

        return [flow for flow in self._each(item, "flows", one) if flow is not None]

    def _flow(self, item: Item) -> FlowSpec | None:
        before = len(self.problems)
        name = None
        large = too_large(item)
        if large:
            raise self._refused(item, large)
        try:
            given = self._struct(item, "a flow", FLOW_KEYS, ("name", "trigger", "pipeline"))
            name = self._text(given["name"])
            description = self._optional(given.get("description"))
            trigger = self._trigger(given["trigger"])
            listed = self._each(given["pipeline"], "pipeline", self._step)
            many = too_many_steps(len(listed))
            if many is not None:
                raise self._refused(given["pipeline"], many, f"at most {MAX_STEPS}")
        finally:
            for problem in self.problems[before:]:
                problem.located(flow=name)
        if name is not None and len(self.problems) == before:
            steps = self._compile(name, given["trigger"], trigger, listed)
            if len(self.problems) == before:
                return FlowSpec(trigger, tuple(steps), name, description, THIS_RS)
            # where production does not even start there is no flow to leave out
            starts = [p for p in self.problems[before:] if not isinstance(p, CrashingConditionError)]
            self.refused_flows += starts
        return None

    def _trigger(self, item: Item) -> Trigger:
        given = self._struct(item, "trigger", ("kind", "link_type", "entity_type"), ("kind",))
        kinds = self._optional(given.get("link_type")), self._optional(given.get("entity_type"))
        return Trigger(self._text(given["kind"]), *kinds)

    def _step(self, item: Item) -> tuple[str, Item, Callable[[], Operator]]:
        names = ", ".join(PORTABLE)
        allowed = f"a mapping with one key of {names}"
        if not isinstance(item.value, dict) or not item.value:
            raise self._refused(item, f"a step is {'empty' if is_empty(item) else item.kind}", allowed)
        if len(item.value) + len(item.repeated) > 1:
            raise self._refused(item, f"a step has {len(item.value) + len(item.repeated)} keys", allowed)
        ((name, options),) = item.value.items()
        if name not in PORTABLE:
            hint = getattr(OPERATORS.own.get(name), "nearest", did_you_mean(name, PORTABLE))
            self.problems.append(
                FlowError(f"there is no operator {name!r}", place=item.keys[name], allowed=names, hint=hint)
            )
            raise ShapeError
        return name, options, getattr(self, f"_{name}")(options)

    def _compile(
        self,
        name: str,
        kind: Item,
        trigger: Trigger,
        listed: Sequence[tuple[str, Item, Callable[[], Operator]]],
    ) -> list[Operator]:
        """Compile the steps of a well-formed flow; errors are noted."""
        if trigger.kind not in KINDS:
            what = f"{short_repr(trigger.kind)} is not a kind of event"
            hint = did_you_mean(trigger.kind, KINDS)
            self.problems.append(
                FlowError(what, flow=name, place=kind.place, allowed=", ".join(KINDS), hint=hint)
            )
        steps = []
        for number, (operator, item, compile_step) in enumerate(listed):
            try:
                steps.append(compile_step())
            except BuildError as error:
                self.problems.append(
                    error.located(flow=name, step=f"{number} ({operator})", place=item.place)
                )
        return steps

    def _resolve(self, item: Item) -> Callable[[], Operator]:
        given = self._struct(item, "resolve", ("from", "via", "direction", "as"), ("from", "as"))
        start, name = self._path(given["from"]), self._text(given["as"])
        via, direction = self._optional(given.get("via")), self._text(given.get("direction"), "forward")
        return lambda: Resolve(start, name, via, direction)

    def _fan_out(self, item: Item) -> Callable[[], Operator]:
        given = self._struct(item, "fan_out", ("from", "via", "direction", "as"), ("from", "via", "as"))
        start, via, name = self._path(given["from"]), self._text(given["via"]), self._text(given["as"])
        direction = self._text(given.get("direction"), "forward")
        return lambda: FanOut(start, via, name, direction)

    def _filter(self, item: Item) -> Callable[[], Operator]:
        given = self._struct(item, "filter", ("condition",), ("condition",))
        text = self._text(given["condition"])
        return lambda: Where(Condition(foreign=TextCondition.parse(text)))

    def _deduplicate(self, item: Item) -> Callable[[], Operator]:
        given = self._struct(item, "deduplicate", ("key", "window"), ("key", "window"))
        key, window = self._path(given["key"]), self._text(given["window"])
        return lambda: Deduplicate((key,), parse_production_duration(window))

    def _batch(self, item: Item) -> Callable[[], Operator]:
        given = self._struct(item, "batch", ("key", "window", "min_count"), ("key", "window"))
        key, window = self._path(given["key"]), self._text(given["window"])
        least = self._count(given["min_count"]) if "min_count" in given else 1
        return lambda: Batch((key,), parse_production_duration(window), least)

    def _rate_limit(self, item: Item) -> Callable[[], Operator]:
        given = self._struct(item, "rate_limit", ("max", "per", "strategy"), ("max", "per"))
        most, per = self._count(given["max"]), self._text(given["per"])
        strategy = self._text(given.get("strategy"), "drop")
        return lambda: RateLimit(most, parse_production_duration(per), strategy)

    def _map(self, item: Item) -> Callable[[], Operator]:
        given = self._struct(item, "map", ("template",), ("template",))
        template = _template(self._value(given["template"]))
        return lambda: Map(template)

    def _deliver(self, item: Item) -> Callable[[], Operator]:
        given = self._struct(item, "deliver", ("sink", "sinks"))
        sink = self._optional(given.get("sink"))
        sinks = self._each(self._there(given.get("sinks")), "deliver: sinks", self._text)
        listed: list[str] = [*([] if sink is None else [sink]), *sinks]
        names = tuple(dict.fromkeys(listed))

        def compile_step() -> Operator:
            if not names:
                raise BuildError("deliver has no sink", allowed="sink: NAME, or sinks: [NAME, …]")
            return Deliver(names)

        return compile_step


def _required_keys(item: Item) -> tuple[str, ...]:
    """Return the keys that production requires; flowdsl requires none of them in a part of a document."""
    needed = ("entities", "links")
    return needed if isinstance(item.value, dict) and any(key in item.value for key in needed) else ()


def _template(value: Any) -> Node:
    if isinstance(value, str):
        try:
            template = Template.parse(value, lenient=True)
        except FlowError as error:
            reason = CrashReason(Construct.IMPORT) if imports_itself(value) else error.what
            return BrokenTemplate(value, reason)
        crash = crashes_at_once(template.body)
        return template if crash is None else BrokenTemplate(value, CrashReason(crash))
    if isinstance(value, dict):
        return Fields(tuple((key, _template(one)) for key, one in value.items()))
    if isinstance(value, list):
        return ListNode(tuple(map(_template, value)))
    return ConstantNode(json.dumps(value))


def check_surroundings(shapes: Shapes, given: Mapping[str, Item]) -> None:
    """Reject entities, links and rules that production cannot read.

    flowdsl keeps them as they are. Where one has another shape, production refuses the whole document.
    """

    def policies(item: Item, actions: Sequence[str]) -> None:
        for one in shapes._struct(item, "auth", actions).values():
            shapes._text(one)

    def entity(item: Item) -> None:
        parts = shapes._struct(item, "an entity", ("singular", "plural", "auth"), ("singular", "plural"))
        shapes._text(parts["singular"])
        shapes._text(parts["plural"])
        if "auth" in parts:
            policies(parts["auth"], _ENTITY_ACTIONS)

    def link(item: Item) -> None:
        known = (*_LINK_TEXTS, "description", "required_fields", "auth")
        parts = shapes._struct(item, "a link", known, _LINK_TEXTS)
        for name in _LINK_TEXTS:
            shapes._text(parts[name])
        shapes._optional(parts.get("description"))
        shapes._each(shapes._there(parts.get("required_fields")), "required_fields", shapes._text)
        auth = shapes._there(parts.get("auth"))
        if auth is not None:
            policies(auth, _ACTIONS)

    def rule(item: Item) -> None:
        parts = shapes._struct(item, "a rule", ("source", "targets"), ("source", "targets"))
        shapes._text(parts["source"])
        shapes._each(parts["targets"], "targets", shapes._text)

    shapes._each(given.get("entities"), "entities", entity)
    shapes._each(given.get("links"), "links", link)
    rules = shapes._there(given.get("validation_rules"))
    if rules is None or is_empty(rules):
        return
    if not isinstance(rules.value, dict):
        raise shapes._refused(
            rules, f"validation_rules is {rules.kind}", "a mapping from a type of links to rules"
        )
    shapes._keys_are_text(rules)
    for listed in (*rules.overwritten, *rules.value.values()):
        shapes._each(listed, "rules", rule)
