"""map: render the payload."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from keyword import iskeyword
from operator import itemgetter
from typing import Any, ClassVar, Final

import numpy as np

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.hoist import hoist
from flowdsl.batches.payload import Payload
from flowdsl.errors import BuildError, FlowError
from flowdsl.expressions.conditions import Expression, evaluate
from flowdsl.expressions.conditions.graph_calls import GraphCall, graph_calls
from flowdsl.expressions.row_source import Failures, Rows, first_failures
from flowdsl.expressions.templates import Template
from flowdsl.expressions.templates.hints import word_hint
from flowdsl.expressions.var import Var, unwrap
from flowdsl.kernels.kernel import Kernel
from flowdsl.kernels.outcome import StepOutcome, Until, failed_where
from flowdsl.operators.base import Kind, Operator
from flowdsl.operators.options import OptionType, option
from flowdsl.operators.scope import ANY, Scope
from flowdsl.rules import Rules
from flowdsl.text import type_text
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Tag
from flowdsl.values.paths import Path

DEPTH = 32


@dataclass(frozen=True)
class ConstantNode:
    """A JSON scalar that is not text, kept as JSON text so that 1, 1.0 and true stay apart."""

    json: str


@dataclass(frozen=True)
class Fields:
    """An object in the template."""

    items: tuple[tuple[str, Node], ...]


@dataclass(frozen=True)
class ListNode:
    """An array in the template."""

    items: tuple[Node, ...]


Node = Template | Expression | ConstantNode | Fields | ListNode


def _paths(template: Node) -> frozenset[Path]:
    return frozenset(path for leaf in leaves(template) for path in leaf.paths)


def _graph_calls(template: Node) -> frozenset[GraphCall]:
    found = (graph_calls(leaf) for leaf in leaves(template) if isinstance(leaf, Expression))
    return frozenset().union(*found)


TEMPLATE: Final = OptionType(
    "template",
    {
        "type": ["object", "array", "string", "number", "boolean", "null"],
        "examples": [{"recipient_id": "{{ owner.id }}", "title": "{{ fan.name }} liked your post"}],
    },
    lambda value, what: _node(value, "", 0),
    lambda template: _plain(template),
    _paths,
    "paths",
    asks=_graph_calls,
)


@dataclass(frozen=True)
class Map(Operator):
    """Render the payload from a template."""

    name: ClassVar[str] = "map"
    method: ClassVar[str] = "map"
    summary: ClassVar[str] = "render the payload: every text in the template is a Tera template"
    example: ClassVar[str] = 'map(recipient_id="{{ owner.id }}", title="{{ fan.name }} liked your post")'
    synonyms: ClassVar[tuple[str, ...]] = (
        "template",
        "render",
        "transform",
        "mapping",
        "remap",
        "payload",
        "with_columns",
        "assign",
    )
    portable: ClassVar[bool] = True

    template: Node = option(TEMPLATE, "the payload, each text in it a template")

    @classmethod
    def build(cls, template: Any = None, /, **fields: Any) -> Map:
        """Render the payload.

        Every text is a Tera template; expressions built with `var` keep their type. A variable that is
        missing for an event fails that event.

        Parameters
        ----------
        template
            The payload as an object, array or text, nested at will.
        **fields
            The fields of the payload, instead of `template`.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        TemplateError
            If a template cannot be parsed.
        BuildError
            If a variable cannot exist at this step.

        Examples
        --------
        >>> from flowdsl import on
        >>> on("link.created").map(recipient_id="{{ target_id }}", kind="like").steps[0].text
        "map(recipient_id='{{ target_id }}', kind='like')"
        """
        if template is not None and fields:
            raise BuildError(
                "map takes a template or fields by name, not both", hint="put the fields into the template"
            )
        if template is None and not fields:
            raise BuildError("map needs a template", allowed="an object, array or text, or fields by name")
        return cls.read(template=template if template is not None else fields)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Map:
        """Return the step with the template of a YAML file."""
        return cls.read(template=options["template"])

    @property
    def kind(self) -> Kind:
        return Kind.PER_EVENT

    @property
    def can_crash(self) -> bool:
        return any(leaf.can_crash for leaf in leaves(self.template) if isinstance(leaf, Template))

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the payload; `payload` stands for one that is not an object."""
        return (
            tuple(name for name, _ in self.template.items)
            if isinstance(self.template, Fields)
            else ("payload",)
        )

    @property
    def plain(self) -> Any:
        """The template as plain Python values; expressions are `var(…)`."""
        return _plain(self.template)

    @functools.cached_property
    def text(self) -> str:
        if (
            isinstance(self.template, Fields)
            and self.template.items
            # Python normalizes names beyond ASCII
            and all(k.isascii() and k.isidentifier() and not iskeyword(k) for k, _ in self.template.items)
        ):
            return "map(" + ", ".join(f"{k}={_plain(v)!r}" for k, v in self.template.items) + ")"
        return f"map({self.plain!r})"

    @property
    def caption(self) -> str:
        return ", ".join(self.fields)

    def check(self, scope: Scope) -> Scope:
        for leaf in leaves(self.template):
            try:
                scope.check(leaf.paths, f"the template {_format_leaf(leaf)!r}")
            except BuildError as error:
                unknown = [path[0] for path in leaf.paths if path[0] not in scope]
                hints = (word_hint("variable", name, ()) for name in sorted(unknown))
                error.hint = next(filter(None, hints), None) or error.hint
                raise
        return scope.having(_payload=ANY)

    def kernel(self, rules: Rules) -> MapKernel:
        return MapKernel(self.template, by_name=rules.crashes)


class MapKernel(Kernel):
    """Renders each leaf of the template as a column, above fan-outs where no branch changes it.

    `by_name`: the fields of an object are rendered in the order of their names, which says what fails first.
    """

    def __init__(self, template: Node, *, by_name: bool = False) -> None:
        self._template = template
        self._by_name = by_name

    def run(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        failures: list[Failures | None] = []
        payload = Payload(_render(self._template, contexts, failures, self._by_name), len(contexts))
        failed = first_failures(failures)
        done = contexts.having(payload=payload)
        passed = done if failed is None else done.take(np.flatnonzero(~failed.mask))
        return StepOutcome(passed, failed_where(contexts, failed))


def leaves(node: Node) -> Iterator[Template | Expression]:
    """Return the leaves that are templates or expressions, in order."""
    if isinstance(node, Fields):
        for _, value in node.items:
            yield from leaves(value)
    elif isinstance(node, ListNode):
        for value in node.items:
            yield from leaves(value)
    elif not isinstance(node, ConstantNode):
        yield node


def _render(node: Node, contexts: ContextBatch, failures: list[Failures | None], by_name: bool) -> Any:
    if isinstance(node, Fields):
        return _render_fields(node, contexts, failures, by_name)
    if isinstance(node, ListNode):
        return [_render(value, contexts, failures, by_name) for value in node.items]
    if isinstance(node, ConstantNode):
        return Column.constant(json.loads(node.json), len(contexts))
    if isinstance(node, Template) and node.constant is not None:
        return Column.constant(node.constant, len(contexts))
    asks = isinstance(node, Expression) and bool(node.graph_calls)
    column, failed = hoist(contexts, node, node.paths, lambda rows: _leaf(node, rows), asks=asks)
    failures.append(failed)
    return column


def _render_fields(
    node: Fields, contexts: ContextBatch, failures: list[Failures | None], by_name: bool
) -> dict[str, Any]:
    items = sorted(node.items, key=itemgetter(0)) if by_name else node.items
    made = {key: _render(value, contexts, failures, by_name) for key, value in items}
    # evaluated by name, and listed as written
    return {key: made[key] for key, _ in node.items}


def _leaf(node: Template | Expression, rows: Rows) -> tuple[Column, Failures | None]:
    if isinstance(node, Template):
        texts, failed = node.render(rows)
        return Column(rows.size, Tag.TEXT, texts=texts), failed
    column, failed = evaluate(node, rows)
    return column, first_failures([failed, Failures.where(column.is_(Tag.MISSING), f"{node} is missing")])


def _node(value: Any, place: str, depth: int) -> Node:
    if depth > DEPTH:
        raise BuildError(f"map: the template is nested more than {DEPTH} deep")
    if isinstance(value, str):
        return _template(value, place)
    if isinstance(value, (Var, Expression)):
        return unwrap(value) if isinstance(value, Var) else value
    if isinstance(value, Mapping):
        _check_keys(value, place)
        return Fields(tuple((key, _node(v, f"{place}.{key}", depth + 1)) for key, v in value.items()))
    if isinstance(value, (list, tuple)):
        return ListNode(tuple(_node(v, f"{place}[{i}]", depth + 1) for i, v in enumerate(value)))
    if isinstance(value, (bool, int, float, type(None))):
        return _constant(value, place)
    raise BuildError(
        f"map: {_named(place)} is {type_text(value)}",
        allowed="text, numbers, true, false, null, var expressions, and objects and arrays of them",
    )


def _check_keys(values: Mapping[Any, Any], place: str) -> None:
    for key in values:
        if not isinstance(key, str):
            raise BuildError(f"map: the key {key!r} is not text")
        _check_unicode(key, place)
        if "\0" in key:
            raise BuildError(
                f"map: the key {key!r} holds the character 0, which no column can have in its name"
            )


def _template(text: str, place: str) -> Template:
    _check_unicode(text, place)
    try:
        return Template.parse(text)
    except FlowError as error:
        if place:
            error.what = f"{place.lstrip('.')}: {error.what}"
        raise


def _named(place: str) -> str:
    return place.lstrip(".") or "the template"


def _constant(value: object, place: str) -> ConstantNode:
    try:
        # a number beyond the range of doubles is not valid JSON
        float(value or 0)  # type: ignore[arg-type]
        return ConstantNode(json.dumps(value, allow_nan=False))
    except (ValueError, OverflowError) as error:
        shown = "a number too large for JSON" if isinstance(error, OverflowError) else repr(value)
        raise BuildError(f"map: {_named(place)} is {shown}, which JSON cannot say") from None


def _check_unicode(text: str, place: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BuildError(
            f"map: {_named(place)} holds half of a surrogate pair, which is not a character: {text!a:.60}"
        ) from None


def _plain(node: Node) -> Any:
    if isinstance(node, Fields):
        return {key: _plain(value) for key, value in node.items}
    if isinstance(node, ListNode):
        return [_plain(value) for value in node.items]
    if isinstance(node, ConstantNode):
        return json.loads(node.json)
    return node.text if isinstance(node, Template) else Var(node)


def _format_leaf(leaf: Template | Expression) -> str:
    return leaf.text if isinstance(leaf, Template) else str(leaf)
