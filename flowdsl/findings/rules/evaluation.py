"""Rules about templates that fail to evaluate, or differ from other languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from flowdsl.expressions.templates.nodes import (
    Concat,
    Expr,
    Ident,
    Math,
    TemplateCall,
    TemplateComparison,
    TemplateLiteral,
)
from flowdsl.expressions.templates.template_functions import CONTEXT_DUMP, REFUSED
from flowdsl.expressions.templates.visitors import exprs_of, idents
from flowdsl.findings.base import Violation, rule
from flowdsl.findings.type_inference import calls, kind_of, outputs, values
from flowdsl.findings.views import TemplateView
from flowdsl.text import with_article

_MOST: Final = 2**53
_NUMERIC: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
# renamed, moved or removed in Tera 2
_TERA_2: Final = {
    "addslashes": "is gone",
    "as_str": "is called str",
    "date": "has moved out",
    "escape": "is called escape_html",
    "json_encode": "has moved out",
    "slugify": "has moved out",
    "spaceless": "is gone",
}


@rule("default-not-first", "error", TemplateView)
def default_not_first(view: TemplateView) -> Iterator[Violation]:
    """Report a `default` that is not the first filter right after a path."""
    for expr in exprs_of(view.body):
        names = [call.name for call in expr.filters]
        first_of_path = names[:1] == ["default"] and isinstance(expr.value, (Ident, TemplateLiteral))
        if "default" in names and not (first_of_path and names.count("default") == 1):
            yield view.remark(
                "default comes too late here: what is missing fails before it is reached",
                'put default first, right after the path: {{ a | default(value="…") | upper }}',
            )


@rule("filter-reach", "warning", TemplateView)
def filter_reach(view: TemplateView) -> Iterator[Violation]:
    """Report a filter that applies to the whole arithmetic, or the whole `~`, on its left."""
    for expr in exprs_of(view.body):
        if not expr.filters or not isinstance(expr.value, (Math, Concat)):
            continue
        before = view.leaf.text[: expr.filters[0].at].rstrip().removesuffix("|").rstrip()
        if not before.endswith(")"):
            whole = "the whole sum" if isinstance(expr.value, Math) else "everything that ~ joins"
            yield view.remark(
                f"`{expr.filters[0].name}` is applied to {whole}, not only to the value before it",
                "{% set %} the part first; where the whole is meant, put parentheses around a sum",
            )


@rule("types-compared", "warning", TemplateView)
def types_compared(view: TemplateView) -> Iterator[Violation]:
    """Report a number compared with a text: they are neither equal nor unequal."""
    for value in values(view, TemplateComparison):
        if value.op not in ("==", "!="):
            continue
        left, right = kind_of(value.left, view), kind_of(value.right, view)
        kinds = {left, right}
        if len(kinds - {None}) == 2 and "object" not in kinds:
            sides = f"{with_article(str(left))} and {with_article(str(right))}"
            what = f"{sides} are never equal"
            if kinds == {"number", "text"}:
                what = f"`{value.op}` between {sides} is false, as its opposite is"
            yield view.remark(what, "compare values of one type")
        elif None in kinds and any(map(_numeric, (value.left, value.right))):
            yield view.remark(
                f"`{value.op}` with a number in quotes is false for every number, as its opposite is",
                "leave the quotes out, if the events hold numbers",
            )


def _numeric(expr: Expr) -> bool:
    text = expr.value.value if isinstance(expr.value, TemplateLiteral) and not expr.filters else None
    return isinstance(text, str) and _NUMERIC.fullmatch(text) is not None


@rule("text-ordered", "error", TemplateView)
def text_ordered(view: TemplateView) -> Iterator[Violation]:
    """Report `<` and `>` on text, which fail: they take numbers only."""
    for value in values(view, TemplateComparison):
        if value.op in ("<", "<=", ">", ">="):
            kinds = {kind_of(value.left, view), kind_of(value.right, view)}
            if kinds & {"text", "array", "object"}:
                yield view.remark(
                    f"`{value.op}` takes numbers, and with text the event fails", "compare numbers"
                )


@rule("computed-with-text", "error", TemplateView)
def computed_with_text(view: TemplateView) -> Iterator[Violation]:
    """Report arithmetic on text, which fails; `~` joins texts."""
    for value in values(view, Math):
        operands = [value.first, *(operand for _, operand in value.rest)]
        if any(kind_of(operand, view) in ("text", "array", "object") for operand in operands):
            yield view.remark("arithmetic with text fails at every event", "join texts with ~")


@rule("joined-object", "error", TemplateView)
def joined_object(view: TemplateView) -> Iterator[Violation]:
    """Report `~` on an object, an array or a boolean, which fails."""
    for value in values(view, Concat):
        for part in value.parts:
            kind = kind_of(Expr(part), view)
            if kind in ("object", "array", "boolean"):
                name = part.text if isinstance(part, Ident) else str(getattr(part, "value", ""))
                yield view.remark(
                    f"`~` takes text and numbers, and {name} is {'an' if kind[0] in 'ao' else 'a'} {kind}: "
                    "it fails",
                    f"join a part of it, or print it apart: {{{{ {name} }}}}",
                )


@rule("big-integer", "note", TemplateView)
def big_integer(view: TemplateView) -> Iterator[Violation]:
    """Report whole numbers beyond 2⁵³, which are compared as 64-bit floats."""
    for value in values(view, TemplateComparison):
        for side in (value.left.value, value.right.value):
            number = side.value if isinstance(side, TemplateLiteral) else None
            if isinstance(number, int) and abs(number) > _MOST:
                yield view.remark(
                    f"{number} is compared as a 64-bit float, in which its neighbours are equal to it",
                    "compare ids as text",
                )


@rule("tera-2", "note", TemplateView, target=True)
def tera_2(view: TemplateView) -> Iterator[Violation]:
    """Report what Tera 2 does differently, in case production upgrades."""
    for name in dict.fromkeys(call.name for call in calls(view)):
        if name in _TERA_2:
            yield view.remark(
                f"Tera 2 changes this: the filter {name} {_TERA_2[name]}", "production is on Tera 1"
            )
    for expr in outputs(view):
        if type(expr.value).__name__ == "Logic" and getattr(expr.value, "op", "") == "or":
            yield view.remark("Tera 2 changes this: `x or 1` prints 1 there", "production is on Tera 1")


@rule("impure-function", "error", TemplateView, target=True)
def impure_function(view: TemplateView) -> Iterator[Violation]:
    """Report a function that reads the environment, the clock or a random source."""
    for value in (expr.value for expr in exprs_of(view.body)):
        if isinstance(value, TemplateCall) and value.name in REFUSED:
            yield view.remark(
                f"{value.name} works in production, and flowdsl refuses it: {REFUSED[value.name]}",
                "put the value into the event's data",
            )
        if any(ident.root == CONTEXT_DUMP for ident in idents(value)):
            yield view.remark(
                f"{CONTEXT_DUMP} prints all variables, those of other people too", "print what is meant"
            )


@rule("template-fails", "error", TemplateView, target=True)
def template_fails(view: TemplateView) -> Iterator[Violation]:
    """Report a template whose fault production finds at each event, not at load."""
    problem = view.leaf.problem
    if problem is not None and not re.search(r"is refused: ", problem):
        yield view.remark(
            f"{problem}; production finds that out at every event, and the map fails",
            view.leaf.advice or "mend the template",
        )
