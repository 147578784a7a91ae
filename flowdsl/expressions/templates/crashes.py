"""Constructs at which production's engine can crash, as far as the template alone shows.

A crash is worse than a failure: production processes no later event. A construct is also listed if it crashes
for some values only; whether an actual value crashes is found when the template is rendered
(`RenderCrashError`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from flowdsl.errors import TemplateError
from flowdsl.expressions.templates.grammar import parse_template
from flowdsl.expressions.templates.nodes import (
    Body,
    Concat,
    Expr,
    For,
    Ident,
    If,
    Include,
    Items,
    Logic,
    Macro,
    MacroCall,
    Math,
    Node,
    Output,
    Section,
    TemplateCall,
    TemplateComparison,
    TemplateLiteral,
    Test,
    Value,
)
from flowdsl.expressions.templates.scalar import ONE_OFF, is_super
from flowdsl.expressions.templates.value_paths import cannot_be_cut, put_together
from flowdsl.expressions.templates.visitors import all_nodes, exprs_of, idents

BASES: Final = (2, 36)
_LISTS: Final = frozenset(
    ("concat", "filter", "group_by", "map", "slice", "sort", "split", "unique", "length", "wordcount")
)
_ATTRIBUTES: Final = frozenset(("filter", "group_by", "map", "sort", "unique"))
# format codes that print a time zone or its offset
_ZONED: Final = re.compile(r"%[-_0]?(?:Z|:{0,3}z|\+)")
_READS_ONLY: Final = re.compile(r"%#z")
_IMPORT: Final = re.compile(
    r"[ \t\r\n]*\{%-?[ \t\r\n]*import[ \t\r\n]+"
    rf"""(["'`]){ONE_OFF}\1[ \t\r\n]+as[ \t\r\n]+[A-Za-z_]\w*[ \t\r\n]*-?%\}}[ \t\r\n]*""",
    re.ASCII,
)


class Construct(StrEnum):
    """Kind of construct, in words that fit into a message."""

    DATE = "a date from a number beyond the years that it knows"
    ZONE = "a date from a number, with a format that needs a zone"
    READ_ONLY = "a date with a format that is only there for reading"
    TEXT_LOOP = "a loop over a text, if that has letters of several code points"
    KEY = "a key in brackets, or an attribute, that is not plain ASCII"
    SUM = "arithmetic whose result is beyond all numbers"
    REMAINDER = "a remainder that is beyond all numbers"
    LITERAL = "a number that is beyond all numbers"
    BASE = "`int` with a base that is not from 2 to 36"
    TEST = "a test with an array for an argument"
    BARE_TEST = "a test without its argument"
    MACRO_NUMBER = "arithmetic with a macro"
    MACRO_CYCLE = "a macro that calls itself without end"
    JOINED = "a condition that is a `~` with `not`, or with a filter"
    RANGE = "a range without end"
    RANDOM = "a random number out of nothing"
    INCLUDE = "a template that includes itself without end"
    IMPORT = "a template that imports itself"
    SUPER = "`super()` in a block that is inside of something else"


class Risk(NamedTuple):
    """Construct at which production can crash: `sure` if it does for every value of the right type, `parsed`
    if it does while reading the template.
    """

    construct: Construct
    sure: bool = False
    parsed: bool = False
    of: Expr | None = None
    """What its value decides, where that is all."""


def crashes_at_once(body: Body) -> Construct | None:
    """Return what makes production crash when it reads the template, independent of events."""
    return next((risk.construct for risk in risks(body) if risk.parsed), None)


def imports_itself(text: str) -> bool:
    """Return True if a template consists of an import of itself, which production never finishes."""
    at = 0
    while found := _IMPORT.match(text, at):
        at = found.end()
    if not at:
        return False
    try:
        parse_template(text[at:], lenient=True)
    except TemplateError:
        return False
    return True


def risks(body: Body) -> Iterator[Risk]:
    """Yield everything in a template at which production can crash."""
    macros = {node.name: node.body for node in body if isinstance(node, Macro)}
    if any(_calls_itself(name, macros) for name in macros):
        yield Risk(Construct.MACRO_CYCLE)
    for node in all_nodes(body):
        yield from _in_node(node)
    for expr in exprs_of(body):
        yield from _in_expr(expr)


def _in_node(node: Node) -> Iterator[Risk]:
    match node:
        case For() if _may_be_text(node.container):
            yield Risk(Construct.TEXT_LOOP, of=node.container)
        case Section() if node.call.name != "date":
            yield from _in_filter(node.call, None)
        case If():
            for _, condition, _ in node.branches:
                yield from _in_truth(condition)
        case Include() if ONE_OFF in node.names:
            yield Risk(Construct.INCLUDE)
        case Output() if is_super(node):
            yield Risk(Construct.SUPER)


def _in_expr(expr: Expr) -> Iterator[Risk]:
    value = expr.value
    literal = value.value if isinstance(value, TemplateLiteral) else None
    if isinstance(literal, float) and abs(literal) == float("inf"):
        yield Risk(Construct.LITERAL, sure=True)
    for place, call in enumerate(expr.filters):
        yield from _in_filter(call, Expr(value, expr.filters[:place]))
    for ident in idents(value):
        yield from _in_path(ident)
    yield from _in_value(value)


def _in_path(ident: Ident) -> Iterator[Risk]:
    if ident.odd is not None and not ident.inner and cannot_be_cut(_path_below(ident)):
        yield Risk(Construct.KEY, sure=True)
    elif ident.inner or any(isinstance(step, Ident) for step in ident.steps):
        yield Risk(Construct.KEY)


def _in_value(value: Value) -> Iterator[Risk]:
    match value:
        case Math():
            yield from _in_math(value)
        case TemplateComparison() if value.op not in ("==", "!="):
            if _is_macro(value.left) or _is_macro(value.right):
                yield Risk(Construct.MACRO_NUMBER, sure=True)
        case Logic():
            for operand in value.operands:
                yield from _in_truth(operand)
        case Test():
            yield from _in_test(value)
        case TemplateCall():
            yield from _in_function(value)


def _path_below(ident: Ident) -> str:
    """Return what is looked up inside the value of the path's first name."""
    return put_together(ident.text, str).partition(".")[2]


def _in_truth(expr: Expr) -> Iterator[Risk]:
    if isinstance(expr.value, Concat) and (expr.negated or expr.filters):
        yield Risk(Construct.JOINED, sure=expr.negated)


def _in_math(math: Math) -> Iterator[Risk]:
    if any(map(_is_macro, (math.first, *(operand for _, operand in math.rest)))):
        yield Risk(Construct.MACRO_NUMBER, sure=True)
    operators = {op for op, _ in math.rest}
    if operators & {"+", "-"}:
        yield Risk(Construct.SUM)
    if "%" in operators:
        yield Risk(Construct.REMAINDER)


def _in_test(test: Test) -> Iterator[Risk]:
    if any(isinstance(arg.value, Items) for arg in test.args):
        yield Risk(Construct.TEST, sure=True, parsed=True)
    if test.name == "containing" and not test.args:
        yield Risk(Construct.BARE_TEST, sure=True)


def _in_function(call: TemplateCall) -> Iterator[Risk]:
    args = dict(call.args)
    if call.name == "get_random":
        yield Risk(Construct.RANDOM)
    if call.name == "range" and "step_by" in args:
        step = _literal(args["step_by"])
        if not isinstance(step, int) or step < 1 or not isinstance(_literal(args.get("end")), int):
            yield Risk(Construct.RANGE, sure=step == 0 and not isinstance(step, bool))


def _in_filter(call: TemplateCall, given: Expr | None) -> Iterator[Risk]:
    args = dict(call.args)
    if call.name == "date":
        yield from _in_date(args, given)
    elif call.name == "int" and "base" in args:
        base = _literal(args["base"])
        if not isinstance(base, int) or not BASES[0] <= base <= BASES[1]:
            yield Risk(Construct.BASE, sure=isinstance(base, int))
    elif call.name in _ATTRIBUTES and "attribute" in args:
        attribute = _literal(args["attribute"])
        if not isinstance(attribute, str):
            yield Risk(Construct.KEY)
        elif cannot_be_cut(attribute):
            yield Risk(Construct.KEY, sure=True)


def _in_date(args: dict[str, Expr], given: Expr | None) -> Iterator[Risk]:
    written = "%Y-%m-%d" if "format" not in args else _literal(args["format"])
    if not isinstance(written, str) or _READS_ONLY.search(written):
        yield Risk(Construct.READ_ONLY, sure=isinstance(written, str))
    if isinstance(_literal(given), str):
        return
    yield Risk(Construct.DATE, of=given)
    if "timezone" not in args and (not isinstance(written, str) or _ZONED.search(written)):
        yield Risk(Construct.ZONE, sure=isinstance(written, str), of=given)


def _literal(expr: Expr | None) -> object:
    """Return the value of a literal, or None for anything else."""
    if expr is None or expr.filters or expr.negated:
        return None
    return expr.value.value if isinstance(expr.value, TemplateLiteral) else None


def _is_macro(expr: Expr) -> bool:
    return isinstance(expr.value, MacroCall) and not expr.filters


def _may_be_text(container: Expr) -> bool:
    return isinstance(container.value, Ident) and not any(
        call.name in _LISTS for call in container.filters[-1:]
    )


def _calls_itself(name: str, macros: dict[str, Body]) -> bool:
    met: set[str] = set()
    pending = [name]
    while pending:
        for expr in exprs_of(macros.get(pending.pop(), ())):
            if isinstance(expr.value, MacroCall):
                called = expr.value.name
                if called == name:
                    return True
                if called not in met:
                    met.add(called)
                    pending.append(called)
    return False
