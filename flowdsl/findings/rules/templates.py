"""Rules about templates that print something other than what seems meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from flowdsl.expressions.templates.nodes import (
    Concat,
    Expr,
    For,
    Ident,
    Items,
    Logic,
    Math,
    Output,
    TemplateComparison,
    TemplateLiteral,
)
from flowdsl.expressions.templates.visitors import all_nodes, exprs_of, idents
from flowdsl.findings.base import Violation, rule
from flowdsl.findings.type_inference import calls, kind_of, outputs, own_names, printed_expressions, values
from flowdsl.findings.views import LINKED, OBJECTS, StepView, TemplateView

# filters that always return a list
_LISTS: Final = frozenset(("concat", "filter", "map", "split", "unique"))


@rule("object-printed", "error", TemplateView)
def object_printed(view: TemplateView) -> Iterator[Violation]:
    """Report a whole object that is printed, as `[object]`"""
    for expr in outputs(view):
        value = expr.value
        if not isinstance(value, Ident) or value.steps or value.root in own_names(view):
            continue
        what = view.step.known.get(value.root)
        if what in OBJECTS and all(call.name in ("default", "safe") for call in expr.filters):
            also = f"; where there is no entity it prints {value.root}_id" if what == LINKED else ""
            yield view.remark(
                f"{{{{ {value.root} }}}} is {what} and prints [object]{also}",
                f"print a part of it, such as {{{{ {value.root}.name }}}}, or {value.root} | json_encode",
            )


@rule("list-printed", "note", TemplateView)
def list_printed(view: TemplateView) -> Iterator[Violation]:
    """Report a printed list, which has brackets and no quotes around its texts."""
    for expr in outputs(view):
        items = _is_items(expr)
        last = expr.filters[-1].name if expr.filters else None
        if last in _LISTS or (last is None and (items or isinstance(expr.value, Items))):
            yield view.remark(
                "a list prints as [a, b], with brackets and without quotes",
                'print list | join(sep=", "), or list | json_encode',
            )


@rule("items-are-ids", "error", TemplateView)
def items_are_ids(view: TemplateView) -> Iterator[Violation]:
    """Report attributes that are read of `batch.items`, which are ids."""
    loops = [node for node in all_nodes(view.body) if isinstance(node, For)]
    names = {loop.value for loop in loops if _is_items(loop.container)}
    for expr in exprs_of(view.body):
        filtered = _is_items(expr) and any("attribute" in dict(call.args) for call in expr.filters)
        if filtered or any(ident.root in names and ident.steps for ident in idents(expr.value)):
            yield view.remark(
                "batch.items are ids, which have no attributes: nothing is found in them",
                "batch(…, collect={'names': fn.unique(var.fan.name)}) keeps them as batch.names",
            )


def _is_items(expr: Expr) -> bool:
    return isinstance(expr.value, Ident) and expr.value.text in ("batch.items", "_batch.items")


@rule("number-becomes-text", "note", TemplateView)
def number_becomes_text(view: TemplateView) -> Iterator[Violation]:
    """Report a payload field that is a number in the template, and text in the payload."""
    body = view.body
    if len(body) == 1 and isinstance(body[0], Output) and kind_of(body[0].expr, view) == "number":
        yield view.remark(
            f'{view.leaf.text} gives text in the payload, such as "3", and no number',
            "readers of the payload get text; an expression built with var stays a number, but "
            "is not portable",
        )


@rule("boolean-printed", "warning", TemplateView)
def boolean_printed(view: TemplateView) -> Iterator[Violation]:
    """Report printed `and` and `or`, which give true or false, not an operand."""
    for expr in printed_expressions(view):
        if isinstance(expr.value, Logic) and not all(
            kind_of(operand, view) == "boolean" for operand in expr.value.operands
        ):
            op = expr.value.op
            hint = "write {{ a | default(value=b) }}" if op == "or" else "write {% if a %}{{ b }}{% endif %}"
            yield view.remark(f"`{op}` prints true or false, and not one of its operands", hint)


@rule("not-printed", "error", TemplateView)
def not_printed(view: TemplateView) -> Iterator[Violation]:
    """Report a printed negated comparison, which is negated twice."""
    for expr in printed_expressions(view):
        if expr.negated and isinstance(expr.value, TemplateComparison):
            opposite = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}[expr.value.op]
            yield view.remark(
                f"a printed `not a {expr.value.op} b` is negated twice, and prints what `a {expr.value.op} "
                "b` does",
                f"write a {opposite} b; in {{% if %}} `not` is right",
            )


@rule("truncate-counts", "note", TemplateView)
def truncate_counts(view: TemplateView) -> Iterator[Violation]:
    """Report `truncate`, which counts graphemes, cuts within words, and appends `…`"""
    for call in calls(view):
        if call.name == "truncate" and "end" not in dict(call.args):
            yield view.remark(
                "truncate cuts after so many letters, within words, and adds … beyond that length",
                'truncate(length=20, end="") adds nothing',
            )


@rule("round-drops-zeros", "note", TemplateView)
def round_drops_zeros(view: TemplateView) -> Iterator[Violation]:
    """Report a rounded number, which prints without trailing zeros."""
    for call in calls(view):
        precision = dict(call.args).get("precision")
        if call.name == "round" and precision is not None and precision.value != TemplateLiteral(0):
            yield view.remark(
                "a rounded number prints without zeros at its end: 1.50 is 1.5, and 2.00 is 2",
                "let the events carry amounts as text, where the zeros matter",
            )


@rule("division-by-variable", "note", TemplateView)
def division_by_variable(view: TemplateView) -> Iterator[Violation]:
    """Report a division by a variable, which prints NaN if that is zero."""
    for math in values(view, Math):
        for op, operand in math.rest:
            if op in "/%" and not isinstance(operand.value, TemplateLiteral):
                what = "prints NaN" if op == "/" else "fails"
                yield view.remark(f"where the right side of `{op}` is 0 this {what}", "ask {% if %} first")


@rule("remainder-sign", "note", TemplateView)
def remainder_sign(view: TemplateView) -> Iterator[Violation]:
    """Report a remainder, which has the sign of its left side."""
    for math in values(view, Math):
        if "%" in dict(math.rest) and not _is_count(math.first):
            yield view.remark(
                "a remainder has the sign of its left side: -7 % 3 is -1, where Python has 2",
                "add the right side first, where the left one may be negative: (n % 3 + 3) % 3",
            )


def _is_count(expr: Expr) -> bool:
    """Return True for values that are probably never negative: literals, counts, and filtered values."""
    if isinstance(expr.value, TemplateLiteral) or expr.filters:
        return True
    return isinstance(expr.value, Ident) and expr.value.path[-1] in ("count", "index", "index0")


@rule("joined-float", "note", TemplateView)
def joined_float(view: TemplateView) -> Iterator[Violation]:
    """Report `~` on a float: it keeps the `.0` that is dropped elsewhere."""
    for value in values(view, Concat):
        for part in value.parts:
            number = part.value if isinstance(part, TemplateLiteral) else None
            if isinstance(number, float) and number.is_integer():
                yield view.remark(
                    f"`~` joins {number!r} as it is, where {{{{ {number!r} }}}} prints {number:.0f}",
                    f"write {number:.0f}, or print the number apart",
                )


@rule("trailing-newline", "note", TemplateView)
def trailing_newline(view: TemplateView) -> Iterator[Violation]:
    """Report a line break at the end of a template, which is kept."""
    if view.leaf.text.endswith("\n") and view.leaf.text.strip():
        yield view.remark(
            "the line break at the end goes into the payload",
            "in YAML begin the block with |- or >- instead of | or >",
        )


@rule("no-escapes", "warning", TemplateView)
def no_escapes(view: TemplateView) -> Iterator[Violation]:
    """Report a backslash in a template's text; there are no escapes."""
    for text in values(view, TemplateLiteral):
        if _escape(text.value):
            yield view.remark(
                f"{text.value!r} holds a backslash and a letter: Tera's texts have no escapes",
                "put the character itself there, or use the other kind of quotes",
            )


def _escape(value: object) -> bool:
    return isinstance(value, str) and re.search(r"\\[ntr\"']", value) is not None


@rule("key-not-rendered", "warning", StepView)
def key_not_rendered(step: StepView) -> Iterator[Violation]:
    """Report a template in a key of a payload, which is not rendered."""
    for key, place in step.keys:
        if "{{" in key or "{%" in key:
            yield Violation(
                place,
                f"the key {key!r} is taken literally: keys are not rendered",
                "put it into a value",
                step.number,
            )


@rule("single-braces", "warning", TemplateView)
def single_braces(view: TemplateView) -> Iterator[Violation]:
    """Report a variable in single braces, which is printed verbatim."""
    text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", "", view.leaf.text, flags=re.DOTALL)
    for name in re.findall(r"\$?\{ *([A-Za-z_]\w*)[\w.]* *\}", text):
        if name in view.step.scope:
            yield view.remark(f"{{{name}}} is printed literally", f"write {{{{ {name} }}}} for the variable")


@rule("loop-in-key-order", "note", TemplateView)
def loop_in_key_order(view: TemplateView) -> Iterator[Violation]:
    """Report a loop over an object, which runs in the order of its keys."""
    for node in all_nodes(view.body):
        if isinstance(node, For) and node.key is not None:
            yield view.remark(
                "a loop over an object goes by its keys in the order of letters, not as they were written",
                "let the events carry an array, where the order matters",
            )
