"""Flows as Python source: a module that builds an equal flow with `on`, `var` and `fn`."""

from __future__ import annotations

import json
import keyword
from collections.abc import Iterator
from functools import singledispatch
from typing import TYPE_CHECKING, Any, Final

from flowdsl.errors import BuildError, ExportError
from flowdsl.expressions.aggregates import Aggregate, Collected
from flowdsl.expressions.conditions import Condition, Expression
from flowdsl.expressions.conditions.graph_calls import GraphCall
from flowdsl.expressions.conditions.nodes import (
    And,
    Arithmetic,
    Compare,
    ConditionLiteral,
    FunctionCall,
    ListOf,
    Negative,
    Not,
    Or,
    Reference,
)
from flowdsl.expressions.templates import Template
from flowdsl.operators import is_own
from flowdsl.operators.base import Operator
from flowdsl.operators.collect_option import COLLECT
from flowdsl.operators.deliver import Deliver
from flowdsl.operators.map import ConstantNode, Fields, ListNode, Map, Node
from flowdsl.operators.options import PATH, PATHS, Option
from flowdsl.operators.time_options import DURATION_OR_PATH, ZONE
from flowdsl.operators.where import Where
from flowdsl.rules import FLOWDSL
from flowdsl.values.paths import parse_path, path_text

if TYPE_CHECKING:
    from flowdsl.flow.spec import FlowSpec

WIDTH: Final = 100
# precedence of Python's operators, loosest first
_COMPARED, _OR, _AND, _SUM, _PRODUCT, _SIGN, _ATOM = range(7)
_TIGHTNESS: Final = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "%": _PRODUCT}


class _NoPython(Exception):  # noqa: N818 - this expression goes another way
    """Raised for an expression that Python would evaluate or reverse where `var` must carry it."""


def python_source(flow: FlowSpec) -> str:
    """Return a module that builds an equal flow; raise `ExportError` if a part is a Python function."""
    if flow.rules is not FLOWDSL:
        only = BuildError(
            f"Python has no flow by the rules of {flow.rules.name}",
            flow=flow.name,
            hint="load it without target=",
        )
        raise ExportError([only])
    problems: list[BuildError] = []
    calls = [_begin(flow)]
    for number, step in enumerate(flow.steps):
        try:
            calls.append(f".{_step(step)}")
        except BuildError as error:
            problems.append(error)
            error.located(flow=flow.name, step=f"{number} ({step.method})")
    if problems:
        raise ExportError(problems)
    body = "\n".join(f"    {line}" for call in calls for line in call.split("\n"))
    return "\n".join([*_imports(flow, "".join(calls)), "", "flow = (", body, ")", ""])


def _imports(flow: FlowSpec, source: str) -> Iterator[str]:
    import ast

    used = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    yield f"from flowdsl import {', '.join(sorted(used & {'on', 'fn', 'var'}))}"
    others = {type(step) for step in flow.steps if not is_own(step)}
    yield from sorted(f"from {other.__module__} import {other.__name__}" for other in others)


def _begin(flow: FlowSpec) -> str:
    trigger = flow.trigger
    options = {
        "link_type": trigger.link_type,
        "entity_type": trigger.entity_type,
        "name": flow.given_name,
        "description": flow.description,
    }
    return _call("on", [literal(trigger.kind)], {k: literal(v) for k, v in options.items() if v is not None})


def _step(step: Operator) -> str:
    if isinstance(step, Where):
        return _call("where", [_condition(step.condition)], {})
    if isinstance(step, Map):
        return _map(step)
    if isinstance(step, Deliver):
        return _call("deliver", [literal(sink) for sink in step.sinks], {})
    given = {name: _option(value, step.options()[name]) for name, value in step.changed.items()}
    if not is_own(step):
        return _call("then", [_call(type(step).__name__, [], given)], {})
    first = next(iter(step.options()))
    return _call(step.method, [given.pop(first)] if first in given else [], given)


def _option(value: Any, option: Option) -> str:
    if option.type in (PATH, ZONE, DURATION_OR_PATH) and isinstance(value, tuple):
        return _path(value)
    if option.type is PATHS:
        paths = [_path(path) for path in value]
        return paths[0] if len(paths) == 1 else f"[{', '.join(paths)}]"
    if option.type is COLLECT:
        return f"{{{', '.join(f'{literal(name)}: {_collect(one)}' for name, one in value)}}}"
    return literal(option.kind.plain(value))


def _collect(one: Collected) -> str:
    if not isinstance(one, Aggregate):
        return _value(one)
    try:
        return f"fn.{one.function}({_python(one.expression, 0)})"
    except _NoPython:
        return literal(str(one))


def _path(path: tuple[str, ...]) -> str:
    text = path_text(path)
    try:
        same = parse_path(text) == path
    except BuildError:
        same = False
    return literal(text) if same else _reference(path)


def _condition(condition: Condition) -> str:
    if condition.expression is None:
        raise BuildError(
            f"{condition.text} is a Python function, whose text cannot be written",
            allowed="conditions as text, or built with var",
        )
    try:
        return _python(condition.expression, 0)
    except _NoPython:
        return literal(condition.text)


def _map(step: Map) -> str:
    node = step.template
    if node == ConstantNode("null"):
        raise BuildError("a payload that is null cannot be built in Python", hint="leave the map out")
    if isinstance(node, Fields) and node.items and all(_is_name(key) for key, _ in node.items):
        return _call("map", [], {key: _value(value) for key, value in node.items})
    return _call("map", [_value(node)], {})


def _value(node: Node) -> str:
    if isinstance(node, Fields):
        return f"{{{', '.join(f'{literal(key)}: {_value(value)}' for key, value in node.items)}}}"
    if isinstance(node, ListNode):
        return f"[{', '.join(map(_value, node.items))}]"
    if isinstance(node, ConstantNode):
        return literal(json.loads(node.json))
    if isinstance(node, Template):
        return literal(node.text)
    try:
        if _is_plain(node):
            # without `var` this would be a constant of the payload
            raise _NoPython
        return _python(node, 0)
    except _NoPython:
        return f"var({literal(str(node))})"


def _python(node: Expression, least: int) -> str:
    """Return an expression with `var`, in parentheses if its precedence is below `least`."""
    text, tightness = _with_tightness(node)
    return text if tightness >= least else f"({text})"


@singledispatch
def _with_tightness(node: Expression) -> tuple[str, int]:
    """Return the source of an expression, and the precedence of its outermost operator."""
    raise AssertionError(f"no Python for {type(node).__name__}")


@_with_tightness.register
def _(node: Reference) -> tuple[str, int]:
    return _reference(node.path), _ATOM


@_with_tightness.register
def _(node: ConditionLiteral) -> tuple[str, int]:
    text = literal(node.value)
    return text, _SIGN if text.startswith("-") else _ATOM


@_with_tightness.register
def _(node: ListOf) -> tuple[str, int]:
    return f"[{', '.join(literal(item.value) for item in node.items)}]", _ATOM


@_with_tightness.register
def _(node: FunctionCall) -> tuple[str, int]:
    written = ((name, _python(argument, 0)) for name, argument in node.written)
    arguments = ", ".join(f"{name}={text}" if name else text for name, text in written)
    below = _parts(node.below) if isinstance(node, GraphCall) else ""
    return f"fn.{node.function}({arguments}){below}", _ATOM


@_with_tightness.register(Not)
@_with_tightness.register(Negative)
def _(node: Not | Negative) -> tuple[str, int]:
    if _is_plain(node.operand):
        raise _NoPython
    return f"{'~' if isinstance(node, Not) else '-'}{_python(node.operand, _SIGN)}", _SIGN


@_with_tightness.register(And)
@_with_tightness.register(Or)
def _(node: And | Or) -> tuple[str, int]:
    sign, tightness = ("&", _AND) if isinstance(node, And) else ("|", _OR)
    # Python evaluates what two constants give, and a list of one operand has no sign
    if len(node.operands) < 2 or all(isinstance(one, ConditionLiteral) for one in node.operands[:2]):
        raise _NoPython
    return f" {sign} ".join(_python(operand, tightness + 1) for operand in node.operands), tightness


@_with_tightness.register(Compare)
@_with_tightness.register(Arithmetic)
def _(node: Compare | Arithmetic) -> tuple[str, int]:
    if node.operator == "in":
        return f"fn.is_in({_python(node.left, 0)}, {_python(node.right, 0)})", _ATOM
    plain = [_is_plain(side) for side in node.children]
    # with a constant on the left Python asks the right side, which turns a comparison around
    if all(plain) or (plain[0] and isinstance(node, Compare)):
        raise _NoPython
    tightness = _TIGHTNESS.get(node.operator, _COMPARED)
    left = _python(node.left, tightness if isinstance(node, Arithmetic) else _OR)
    return f"{left} {node.operator} {_python(node.right, tightness + 1)}", tightness


def _is_plain(node: Expression) -> bool:
    """Return True for an expression that Python source writes as a plain value."""
    return isinstance(node, (ConditionLiteral, ListOf))


def _reference(path: tuple[str, ...]) -> str:
    return f"var{_parts(path)}"


def _parts(path: tuple[str, ...]) -> str:
    return "".join(
        f".{part}" if _is_name(part) and not part.startswith("__") else f"[{literal(part)}]" for part in path
    )


def literal(value: object) -> str:
    """Return a constant as source; text in double quotes unless that needs more escapes.

    >>> print(literal("it's"), literal('say "hi"'), literal(1.0), literal(None))
    "it's" 'say "hi"' 1.0 None
    """
    if not isinstance(value, str):
        return repr(value)
    text = repr(value)
    if text.startswith("'") and '"' not in text:
        inner = text[1:-1].replace("\\'", "'")
        return f'"{inner}"'
    return text


def _is_name(text: str) -> bool:
    """Return True if a text is a Python name as it is; Python normalizes names beyond ASCII."""
    return text.isascii() and text.isidentifier() and not keyword.iskeyword(text)


def _call(name: str, positional: list[str], named: dict[str, str]) -> str:
    arguments = [*positional, *(f"{key}={value}" for key, value in named.items())]
    line = f"{name}({', '.join(arguments)})"
    if len(line) <= WIDTH or len(arguments) < 2:
        return line
    return "\n".join(_broken(name, arguments))


def _broken(name: str, arguments: list[str]) -> Iterator[str]:
    yield f"{name}("
    yield from (f"    {argument}," for argument in arguments)
    yield ")"
