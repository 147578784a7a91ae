"""Rules about what crashes production's engine, so that it processes no later event of any flow."""

from __future__ import annotations

from collections.abc import Iterator

from flowdsl.errors import TemplateError
from flowdsl.expressions.templates.crashes import Construct, Risk, imports_itself, risks
from flowdsl.expressions.templates.grammar import parse_template
from flowdsl.expressions.templates.nodes import Body, Expr, Ident, Math, TemplateLiteral
from flowdsl.expressions.templates.visitors import parts
from flowdsl.findings.base import Violation, rule
from flowdsl.findings.exported_conditions import keeps_from_starting
from flowdsl.findings.type_inference import kind_of, values
from flowdsl.findings.views import StepView, TemplateView

_HINTS = {
    Construct.DATE: "let the events carry times as text, such as 2026-01-31T12:00:00Z",
    Construct.ZONE: "let the events carry times as text, or name a timezone",
    Construct.READ_ONLY: "write the format with codes that print",
    Construct.TEXT_LOOP: "loop over an array; `split` makes one of a text",
    Construct.KEY: "name fields in plain ASCII letters, digits and underscores",
    Construct.SUM: "let the events carry the result",
    Construct.REMAINDER: "let the events carry the result",
    Construct.LITERAL: "write a number of at most 64 bits",
    Construct.BASE: "use a base from 2 to 36",
    Construct.TEST: "{% set %} the array first, and name it",
    Construct.BARE_TEST: "give the test its argument",
    Construct.MACRO_NUMBER: "{% set %} what the macro gives first, and make a number of it by `| int`",
    Construct.MACRO_CYCLE: "let the macro end: what it is given must change, and some condition end it",
    Construct.JOINED: "{% set %} the joined text first, and ask for that",
    Construct.RANGE: "write steps of at least 1",
    Construct.RANDOM: "put the value into the event's data",
    Construct.INCLUDE: "write the text out",
    Construct.IMPORT: "leave the import out",
    Construct.SUPER: "leave `super()` out: there is no parent template",
}


@rule("stops-production", "error", TemplateView, target=True)
def stops_production(view: TemplateView) -> Iterator[Violation]:
    """Report a template that always crashes production's engine."""
    imported = [Construct.IMPORT] if imports_itself(view.leaf.text) else []
    for construct in dict.fromkeys([*imported, *(risk.construct for risk in _possible(view) if risk.sure)]):
        yield view.remark(
            f"{construct}: production's engine crashes at it, and processes no later event of any flow",
            _HINTS[construct],
        )


@rule("can-stop-production", "note", TemplateView, target=True)
def can_stop_production(view: TemplateView) -> Iterator[Violation]:
    """Report a template that crashes production's engine for some values."""
    found = list(_possible(view))
    sure = {risk.construct for risk in found if risk.sure}
    for construct in dict.fromkeys(risk.construct for risk in found if risk.construct not in sure):
        if construct is Construct.SUM and all(_whole(Expr(math), view) for math in values(view, Math)):
            # whole numbers beyond 64 bits only fail
            continue
        yield view.remark(
            f"{construct}: production's engine crashes at such a value, and processes no later event of any "
            "flow",
            _HINTS[construct],
        )


def _possible(view: TemplateView) -> Iterator[Risk]:
    """Yield the risks that static types do not rule out."""
    for risk in risks(_body(view)):
        if risk.of is None or not _harmless(risk.construct, risk.of, view):
            yield risk


def _body(view: TemplateView) -> Body:
    """Return the template as production parses it, which accepts some that flowdsl rejects."""
    if view.leaf.template is not None:
        return view.body
    try:
        return parse_template(view.leaf.text, lenient=True)
    except TemplateError:
        return ()


def _harmless(construct: Construct, given: Expr, view: TemplateView) -> bool:
    """Return True if the value has a type at which nothing crashes."""
    if construct is Construct.TEXT_LOOP:
        counted = isinstance(given.value, Ident) and given.value.text in ("batch.items", "_batch.items")
        return (counted and not given.filters) or kind_of(given, view) in ("array", "object", "number")
    return kind_of(given, view) == "text"


def _whole(expr: Expr, view: TemplateView) -> bool:
    """Return True if the value is surely a whole number: a literal, a count, or a sum of such."""
    if expr.filters:
        return False
    value = expr.value
    if isinstance(value, Math):
        return all(op != "/" for op, _ in value.rest) and all(_whole(part, view) for part in parts(value))
    if isinstance(value, TemplateLiteral):
        return isinstance(value.value, int)
    return isinstance(value, Ident) and kind_of(expr, view) == "number"


@rule("condition-stops-production", "error", StepView, target=True, of=("filter",))
def condition_stops_production(step: StepView) -> Iterator[Violation]:
    """Report a condition with which production cannot start."""
    if step.filed and keeps_from_starting(step.text("condition")):
        yield step.remark(
            "production does not start with this condition: reading it makes it crash, for all flows",
            "close the quote, or leave it out",
            "condition",
        )
