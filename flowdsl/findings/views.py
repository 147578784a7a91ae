"""Views that rules inspect: projects, flows, steps and templates with their places, valid or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from flowdsl.expressions.conditions.nodes import Expression, Reference
from flowdsl.expressions.templates import Template
from flowdsl.expressions.templates.nodes import Body, Ident, Output
from flowdsl.findings.base import Violation
from flowdsl.operators.base import Operator
from flowdsl.operators.scope import ANY, NUMBER, TEXT, TRIGGER_VARIABLES, Scope, ValueShape
from flowdsl.production.project_spec import Backend, ConsumerOptions, SinkConfig
from flowdsl.values.paths import Path

if TYPE_CHECKING:
    from flowdsl.flow.spec import FlowSpec

# known contents of a variable
ENTITY: Final = "an entity"
LINKED: Final = "an entity, or its id where there is none"
OPTIONAL: Final = "an entity, or nothing"
BATCH: Final = "the batch"
DATA: Final = "the entity's data"
METADATA: Final = "the link's metadata, or nothing"
OBJECTS: Final = frozenset((ENTITY, LINKED, OPTIONAL, BATCH, DATA, METADATA))
UNCERTAIN: Final = frozenset((LINKED, OPTIONAL, METADATA))


@dataclass(frozen=True)
class TemplateLeaf:
    """Text or expression in a map's template, with its place in the payload."""

    field: str
    text: str
    place: str
    template: Template | None = None
    expression: Expression | None = None
    problem: str | None = None
    advice: str | None = None
    # True for a number, true, false or null
    constant: bool = False

    @property
    def paths(self) -> frozenset[Path]:
        """Paths that the leaf reads."""
        part = self.template or self.expression
        return part.paths if part is not None else frozenset()

    @property
    def sure_paths(self) -> frozenset[Path]:
        """Paths that the leaf reads, and without which it fails."""
        return self.paths - (self.template.optional_paths if self.template else frozenset())

    @property
    def only(self) -> Path | None:
        """The path, if the leaf is nothing but a path; else None."""
        if isinstance(self.expression, Reference):
            return self.expression.path
        body = self.template.body if self.template else ()
        if len(body) == 1 and isinstance(body[0], Output):
            expr = body[0].expr
            if isinstance(expr.value, Ident) and not (expr.filters or expr.negated or expr.value.rest):
                return expr.value.path
        return None


@dataclass(eq=False)
class StepView:
    """Step: its options as in YAML, and its operator if flowdsl can build it.

    `known` has the contents of variables before the step, if more is known than their shape. `filed` is True
    for a step of a file that production reads directly, without an export.
    """

    flow: FlowView
    number: int
    name: str
    operator: Operator | None
    options: Mapping[str, Any]
    place: str
    scope: Scope
    known: Mapping[str, str]
    places: Mapping[str, str] = field(default_factory=dict)
    leaves: tuple[TemplateLeaf, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()
    filed: bool = False

    def remark(self, message: str, hint: str | None = None, option: str | None = None) -> Violation:
        """Build a violation at this step, or at one of its options."""
        return Violation(self.places.get(option or "", self.place), message, hint, self.number)

    @property
    def later(self) -> list[StepView]:
        """Steps after this one."""
        return self.flow.steps[self.number + 1 :]

    def get(self, option: str) -> Any:
        """Return an option as in YAML, or None if it is not set."""
        return self.options.get(option)

    def text(self, option: str) -> str:
        """Return an option that is text, else the empty text."""
        value = self.options.get(option)
        return value if isinstance(value, str) else ""

    @property
    def read(self) -> Iterator[tuple[str, Path]]:
        """Options with the paths that they read, without conditions and templates."""
        for option in ("from", "key"):
            value = self.options.get(option)
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and text.strip():
                    yield option, tuple(text.split("."))

    @property
    def paths(self) -> Iterator[Path]:
        """Every path that the step is known to read."""
        for _, path in self.read:
            yield path
        for leaf in self.leaves:
            yield from sorted(leaf.paths)
        if self.name == "filter" and self.operator is not None:
            yield from sorted(self.operator.paths or ())


@dataclass(eq=False)
class FlowView:
    """Flow: its trigger, its steps, and its unknown keys."""

    name: str
    kind: str
    place: str
    link_type: str | None = None
    entity_type: str | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    steps: list[StepView] = field(default_factory=list)
    ignored: tuple[tuple[str, str, str], ...] = ()
    sinks: Mapping[str, str] = field(default_factory=dict)
    # configurations of the sinks that are counters
    counters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    filed: bool = False
    flow: FlowSpec | None = None

    @property
    def on_link(self) -> bool:
        """True if the flow is for events of links."""
        return self.kind.startswith("link.")

    def remark(self, message: str, hint: str | None = None, key: str = "") -> Violation:
        """Build a violation of the flow as a whole."""
        return Violation(self.places.get(key, self.place), message, hint)

    def named(self, *names: str) -> list[StepView]:
        """Return the steps of these operators."""
        return [step for step in self.steps if step.name in names]


@dataclass(eq=False)
class TemplateView:
    """Template, with the step whose payload contains it."""

    step: StepView
    leaf: TemplateLeaf

    @property
    def body(self) -> Body:
        """Parsed template."""
        return self.leaf.template.body if self.leaf.template is not None else ()

    def remark(self, message: str, hint: str | None = None) -> Violation:
        """Build a violation at this template."""
        what = f"{self.leaf.field}: {message}" if self.leaf.field else message
        return Violation(self.leaf.place, what, hint, self.step.number)


@dataclass(eq=False)
class ProjectView:
    """Flows with their sinks, consumers and backend."""

    flows: list[FlowView] = field(default_factory=list)
    sinks: list[tuple[SinkConfig, str]] = field(default_factory=list)
    consumers: list[tuple[ConsumerOptions, str]] = field(default_factory=list)
    backend: tuple[Backend, str] = (Backend(), "backend")
    ignored: tuple[tuple[str, str, str], ...] = ()
    # True if the document has a list of sinks
    has_sinks: bool = False


class ScopeTracker:
    """Variables in scope while walking the steps of a flow."""

    def __init__(self, kind: str) -> None:
        self.scope = Scope.of_trigger(kind) if kind in TRIGGER_VARIABLES else Scope()
        self.known: dict[str, str] = {}
        if "metadata" in self.scope:
            self.known["metadata"] = METADATA
        if "data" in self.scope:
            self.known["data"] = DATA

    def step(self, name: str, operator: Operator | None, options: Mapping[str, Any]) -> None:
        """Apply the effect of a step on the scope."""
        if operator is not None:
            self.scope = operator.scope_after(self.scope)
        as_ = options.get("as")
        if name in ("resolve", "fan_out") and isinstance(as_, str):
            if operator is None:
                ids = {f"{as_}_id": TEXT} if name == "fan_out" else {}
                self.scope = self.scope.having(**{as_: ANY}, **ids)
            found = OPTIONAL if options.get("required") is False else ENTITY
            self.known = {**self.known, as_: LINKED if name == "fan_out" else found}
            self.known.pop(f"{as_}_id", None)
        elif name == "batch":
            self.known = {**self.known, "batch": BATCH, "_batch": BATCH}
        elif name == "map":
            self.scope = self.scope.having(_payload=ANY)


def shape_at(scope: Scope, path: Path) -> ValueShape | None:
    """Return the static shape of the value at a path, or None if unknown."""
    shape = scope.variables.get(path[0])
    for part in path[1:]:
        if shape is None or shape.fields is None:
            return None
        shape = shape.fields.get(part)
    return shape


def is_text(scope: Scope, path: Path) -> bool:
    """Return True if the value at a path is surely text, as ids are."""
    return shape_at(scope, path) is TEXT


def is_number(scope: Scope, path: Path) -> bool:
    """Return True if the value at a path is surely a number."""
    return shape_at(scope, path) is NUMBER


def payload_before(step: StepView) -> StepView | None:
    """Return the map whose payload a step delivers, or None."""
    maps = [s for s in step.flow.steps[: step.number] if s.name == "map"]
    return maps[-1] if maps else None
