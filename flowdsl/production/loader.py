"""Strict loader of documents: unknown keys are errors, and all errors are reported at once with their
places.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from flowdsl.errors import BuildError, FlowError, did_you_mean
from flowdsl.flow.sink_cap import Cap
from flowdsl.flow.spec import MAX_STEPS, FlowSpec, too_many_steps
from flowdsl.operators import OPERATORS, synonym_of
from flowdsl.operators.base import Operator
from flowdsl.operators.scope import Scope
from flowdsl.production.nodes import Item, too_large
from flowdsl.production.option_validation import check_options, unknown_hint
from flowdsl.production.project_spec import BACKENDS, SEEKS, Backend, ConsumerOptions, ProjectSpec, SinkConfig
from flowdsl.production.test_loader import check_tests
from flowdsl.sinks.registry import SINKS
from flowdsl.text import short_repr

T = TypeVar("T")
FLOW_KEYS = ("name", "description", "trigger", "pipeline")
SECTIONS = ("events", "sinks")
# keys allowed next to events and sinks: flowdsl's tests, and those of production
BESIDE = ("tests", "entities", "links", "validation_rules")
TRIGGER_KEYS = ("kind", "link_type", "entity_type")
SHAPES = "a project (events: {flows: […]}), a list of flows, or a flow (name, trigger, pipeline)"


class DocumentReader:
    """Reader of a document that collects its errors."""

    def __init__(self, problems: list[FlowError]) -> None:
        self.problems = problems
        # problems that concern a single flow: the others can be loaded without it
        self.refused_flows: list[FlowError] = []
        self.left_out: list[int] = []

    def project(self, item: Item) -> ProjectSpec:
        """Return the project of a document; a list of flows, or one flow, is a project too."""
        if isinstance(item.value, list):
            return ProjectSpec(self._flows(item))
        if not isinstance(item.value, dict):
            self.refuse(item.place, f"this is {item.kind}", allowed=SHAPES)
            return ProjectSpec()
        if "events" not in item.value and any(key in item.value for key in FLOW_KEYS):
            flow = self._one_flow(item)
            return ProjectSpec((flow,) if flow else ())
        self._check_sections(item)
        if "tests" in item.value:
            check_tests(item.value["tests"], self.problems)
        events = self._section(item, "events", ("backend", "flows", "consumers"))
        return ProjectSpec(
            flows=self._flows(events["flows"]) if "flows" in events else (),
            sinks=tuple(self._each(item.value.get("sinks"), "sinks", self._sink)),
            consumers=tuple(self._each(events.get("consumers"), "consumers", self._consumer)),
            backend=self._backend(events.get("backend")),
            other=item.plain_others(SECTIONS),
        )

    def _check_sections(self, item: Item) -> None:
        """Reject keys that are likely slips, and a document with no section of ours."""
        known = (*SECTIONS, *BESIDE)
        for key, place in item.keys.items():
            hint = None if key in known else did_you_mean(key.lower(), known)
            if hint:
                self.refuse(place, f"the key {key!r} is not known", allowed=SHAPES, hint=hint)
        # production's documents have both of these, and flows or not
        sections = item.value.keys() & SECTIONS or {"entities", "links"} <= item.value.keys()
        if not sections and not self.problems:
            self.refuse(item.place, "there are neither events nor flows", allowed=SHAPES)

    def refuse(self, place: str, what: str, **more: Any) -> None:
        """Add a problem."""
        self.problems.append(FlowError(what, place=place, **more))

    def _backend(self, item: Item | None) -> Backend:
        if item is None:
            return Backend()
        given = self._mapping(item, "backend", ("type", "config"))
        kind = self._choice(given.get("type"), "backend: type", BACKENDS) or "memory"
        return Backend(kind, self._config(given.get("config"), "backend: config"))

    def _sink(self, item: Item) -> SinkConfig | None:
        given = self._mapping(item, "a sink", ("name", "type", "config", "cap"), ("name", "type"))
        name = self._text(given.get("name"), "a sink: name")
        kind = self._choice(given.get("type"), "a sink: type", SINKS)
        config = self._config(given.get("config"), "a sink: config")
        if kind and config:
            from flowdsl.production.sinks import check_config

            self.problems += check_config(kind, given["config"])
        cap = self._cap(given.get("cap"))
        return SinkConfig(name, kind, config, cap) if name and kind else None

    def _cap(self, item: Item | None) -> Cap | None:
        if item is None:
            return None
        before = len(self.problems)
        given = self._mapping(item, "a sink: cap", ("max", "per", "tz"), ("max", "per"))
        if len(self.problems) > before:
            return None
        try:
            return Cap(**{key: one.plain() for key, one in given.items()})
        except BuildError as error:
            self.refuse(item.place, error.what, allowed=error.allowed, hint=error.hint)
            return None

    def _consumer(self, item: Item) -> ConsumerOptions | None:
        given = self._mapping(item, "a consumer", ("name", "seek"), ("name",))
        name = self._text(given.get("name"), "a consumer: name")
        seek = self._choice(given.get("seek"), "a consumer: seek", SEEKS) or "latest"
        return ConsumerOptions(name, seek) if name else None

    def _config(self, item: Item | None, what: str) -> dict[str, Any]:
        if item is None:
            return {}
        if not isinstance(item.value, dict):
            self.refuse(item.place, f"{what} is {item.kind}", allowed="a mapping")
            return {}
        config: dict[str, Any] = item.plain()
        return config

    def _flows(self, item: Item) -> tuple[FlowSpec, ...]:
        numbers = itertools.count()

        def one(item: Item) -> FlowSpec | None:
            number, flow = next(numbers), self._one_flow(item)
            self.left_out += [] if flow else [number]
            return flow

        return tuple(self._each(item, "flows", one))

    def _one_flow(self, item: Item) -> FlowSpec | None:
        before = len(self.problems)
        flow = None
        large = too_large(item)
        if large:
            self.refuse(item.place, large)
        else:
            flow = self._flow(item)
        self.refused_flows += self.problems[before:]
        return flow

    def _flow(self, item: Item) -> FlowSpec | None:
        before = len(self.problems)
        given = self._mapping(item, "a flow", FLOW_KEYS, ("name", "trigger", "pipeline"))
        name = self._text(given.get("name"), "a flow: name")
        description = self._text(given.get("description"), "a flow: description")
        begun = self._trigger(given.get("trigger"))
        numbers = itertools.count()
        listed = self._each(given.get("pipeline"), "pipeline", lambda one: self._step(one, next(numbers)))
        for error in self.problems[before:]:
            error.located(flow=name)
        if begun is None or len(self.problems) > before:
            return None
        named = replace(begun, given_name=name, description=description)
        many = too_many_steps(len(listed))
        if many is not None:
            self.refuse(given["pipeline"].place, many, flow=name, allowed=f"at most {MAX_STEPS}")
            return None
        steps = [step for step, _ in listed]
        self._check_scopes(named, listed)
        return replace(named, steps=tuple(steps)) if len(self.problems) == before else None

    def _trigger(self, item: Item | None) -> FlowSpec | None:
        if item is None:
            return None
        given = self._mapping(item, "trigger", TRIGGER_KEYS, ("kind",))
        if "kind" not in given:
            return None
        read = {key: self._text(value, f"trigger: {key}") for key, value in given.items()}
        texts = {key: text for key, text in read.items() if text is not None}
        if len(texts) < len(read):
            return None
        try:
            return FlowSpec.begin(texts.pop("kind"), **texts)
        except BuildError as error:
            self._place(error, item)
            return None

    def _step(self, item: Item, number: int) -> tuple[Operator, Item] | None:
        names = ", ".join(OPERATORS)
        if not isinstance(item.value, dict) or len(item.value) != 1:
            found = f"a mapping of {len(item.value)} keys" if isinstance(item.value, dict) else item.kind
            self.refuse(
                item.place,
                f"a step is {found}",
                step=str(number),
                allowed=f"a mapping with one key of {names}",
                hint=_misplaced_hint(item),
            )
            return None
        ((name, options),) = item.value.items()
        operator = OPERATORS.get(name)
        if operator is None:
            meant = synonym_of(name)
            hint = did_you_mean(name, OPERATORS) if meant is None else f"did you mean {meant.name!r}?"
            self.refuse(
                item.keys[name], f"there is no operator {name!r}", step=str(number), allowed=names, hint=hint
            )
            return None
        before = len(self.problems)
        step = self._operator(operator, options)
        for error in self.problems[before:]:
            error.located(step=f"{number} ({name})")
        return None if step is None else (step, options)

    def _operator(self, operator: type[Operator], item: Item) -> Operator | None:
        before = len(self.problems)
        options = check_options(operator, item, self.problems)
        if options is None:
            return None
        try:
            step = operator.from_yaml(options)
        except BuildError as error:
            place = place_of(error, item)
            if all(problem.place != place for problem in self.problems[before:]):
                self._place(error, item)
            return None
        return step if len(self.problems) == before else None

    def _check_scopes(self, flow: FlowSpec, steps: Sequence[tuple[Operator, Item]]) -> None:
        """Reject paths that no step can find; after an error, go on as if the path existed."""
        scope = Scope.of_trigger(flow.trigger.kind)
        for number, (step, item) in enumerate(steps):
            try:
                scope = step.check(scope)
            except BuildError as error:
                error.located(flow=flow.name, step=f"{number} ({step.name})")
                self._place(error, item)
                scope = step.scope_after(scope)

    def _place(self, error: FlowError, item: Item) -> None:
        self.problems.append(error.located(place=place_of(error, item)))

    def _section(self, item: Item, key: str, known: Sequence[str]) -> dict[str, Item]:
        found = item.value.get(key)
        return {} if found is None or found.value is None else self._mapping(found, key, known)

    def _each(self, item: Item | None, what: str, read: Callable[[Item], T | None]) -> list[T]:
        if item is None or item.value is None:
            return []
        if not isinstance(item.value, list):
            self.refuse(item.place, f"{what} is {item.kind}", allowed="a list")
            return []
        return [found for one in item.value if (found := read(one)) is not None]

    def _mapping(
        self, item: Item, what: str, known: Sequence[str], required: Sequence[str] = ()
    ) -> dict[str, Item]:
        if not isinstance(item.value, dict):
            self.refuse(item.place, f"{what} is {item.kind}", allowed=f"a mapping with {', '.join(known)}")
            return {}
        for key, place in item.keys.items():
            if key not in known:
                self.refuse(
                    place,
                    f"{what} has no key {key!r}",
                    allowed=", ".join(known),
                    hint=unknown_hint(key, known),
                )
        missing = item.lacking(required)
        if missing:
            self.refuse(
                item.place, f"{what} needs {' and '.join(map(repr, missing))}", allowed=", ".join(known)
            )
        return {key: value for key, value in item.value.items() if key in known and value.value is not None}

    def _text(self, item: Item | None, what: str) -> str | None:
        if item is None:
            return None
        if isinstance(item.value, str) and item.value.strip():
            return item.value
        shown, hint = "empty" if item.value == "" else item.kind, None
        if isinstance(item.value, (bool, int, float)):
            shown, hint = f"{item.kind}: {short_repr(item.value, 40)}", "put it in quotes"
        self.refuse(item.place, f"{what} is {shown}", allowed="text that is not empty", hint=hint)
        return None

    def _choice(self, item: Item | None, what: str, allowed: Collection[str]) -> str | None:
        if item is None:
            return None
        if item.value in allowed:
            return str(item.value)
        self.refuse(
            item.place,
            f"{what} {item.shown} is not known",
            allowed=", ".join(allowed),
            hint=did_you_mean(item.value, allowed),
        )
        return None


def _misplaced_hint(item: Item) -> str | None:
    """Return the hint for a step whose options stand next to its operator instead of below it."""
    if not isinstance(item.value, dict):
        return None
    for name in item.value.keys() & OPERATORS.keys():
        if item.value.keys() - {name} <= OPERATORS[name].yaml_options().keys():
            return f"indent the options more than {name}"
    return None


def place_of(error: FlowError, item: Item) -> str:
    """Return the place of the part of a mapping that an error is about, or of the mapping itself."""
    if not isinstance(item.value, dict):
        return item.place
    part = (
        _option_named(r": {key}_?\b", item.value, error.what)
        or _inner(error.what, item)
        or _leaf_shown(error.what, item)
        or _option_named(r"\b{key}\b", {k: one for k, one in item.value.items() if len(k) > 4}, error.what)
    )
    if part is None:
        values = list(item.value.values())
        part = values[0] if len(values) == 1 else item
    return part.place


def _option_named(pattern: str, options: Mapping[str, Item], what: str) -> Item | None:
    """Return the first option whose key a message names; `{key}` stands for it in the pattern."""
    named = (one for key, one in options.items() if re.search(pattern.format(key=re.escape(key)), what))
    return next(named, None)


def _leaf_shown(what: str, item: Item) -> Item | None:
    for leaf in item.leaves():
        shown = repr(leaf.value) if isinstance(leaf.value, str) else f"not {leaf.value!r}"
        if leaf.value != "" and shown in what:
            return leaf
    return None


def _inner(what: str, item: Item) -> Item | None:
    """Return the part of an option that a message starts with, such as `buttons[0].title: …`."""
    path = re.match(r"([^\s:]+): ", what)
    parts = re.findall(r"[^.\[\]]+", path[1]) if path else []
    found = (_item_at(option, parts) for option in item.value.values() if parts)
    return next((one for one in found if one is not None), None)


def _item_at(item: Item, parts: Sequence[str]) -> Item | None:
    for part in parts:
        inside: Mapping[Any, Item] = {}
        if isinstance(item.value, dict):
            inside = item.value
        elif isinstance(item.value, list):
            inside = {str(i): one for i, one in enumerate(item.value)}
        if part not in inside:
            return None
        item = inside[part]
    return item
