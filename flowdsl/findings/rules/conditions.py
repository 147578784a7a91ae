"""Rules about conditions: production compares text, and splits a condition at the first operator."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from flowdsl.expressions.conditions.decided import find_decided
from flowdsl.expressions.conditions.nodes import Expression, Reference
from flowdsl.findings.base import Violation, rule
from flowdsl.findings.exported_conditions import (
    Compared,
    exported_conditions,
    keeps_from_starting,
    literal_kind,
    production_condition,
)
from flowdsl.findings.views import ENTITY, OBJECTS, StepView, is_number, is_text
from flowdsl.values.paths import Path, path_text

_TIGHT = re.compile(r"\S(==|!=)|(==|!=)\S")
_ONE_COMPARISON = "production has one comparison a filter: a == b, a != b, a exists, a not_exists"


def _filed(step: StepView) -> Compared | None:
    return production_condition(step.text("condition")) if step.filed else None


def _unread(step: StepView) -> str | None:
    """Return a condition that production rejects without crashing."""
    text = step.text("condition")
    read = not step.filed or production_condition(text) is not None or keeps_from_starting(text)
    return None if read else text


def _bare(text: str) -> str:
    """Return a text without its quoted parts."""
    return re.sub(r"\"[^\"]*\"|'[^']*'", '""', text)


@rule("condition-refused", "error", StepView, target=True, of=("filter",))
def condition_refused(step: StepView) -> Iterator[Violation]:
    """Report a condition that production rejects, along with its whole flow."""
    text = _unread(step)
    if text is not None and not _TIGHT.search(_bare(text)):
        yield step.remark(
            f"production does not read {text!r}, and leaves the flow out",
            f"{_ONE_COMPARISON}; let the events carry what has to be computed",
            "condition",
        )


@rule("condition-spaces", "error", StepView, target=True, of=("filter",))
def condition_spaces(step: StepView) -> Iterator[Violation]:
    """Report an operator without the spaces that production requires on each side."""
    text = _unread(step)
    if text is not None and _TIGHT.search(_bare(text)):
        spaced = re.sub(r"\s*(==|!=)\s*", r" \1 ", text)
        yield step.remark(
            f"production does not read {text!r} without spaces, and leaves the flow out",
            f"write {spaced!r}",
            "condition",
        )


@rule("condition-and", "error", StepView, target=True, of=("filter",))
def condition_and(step: StepView) -> Iterator[Violation]:
    """Report `and` and `or`, which production takes for part of a name."""
    found = _filed(step)
    if found is None:
        return
    joined = re.search(r" (and|or) ", _bare(f"{found.left} {found.right} "))
    if joined or found.left.startswith("not "):
        word = joined[1] if joined else "not"
        yield step.remark(
            f"production knows no {word!r}: it compares the variable {found.left!r} with "
            f"{found.right or 'nothing'!r}, names that do not exist",
            "write a filter for each part"
            if word == "and"
            else "make a flow for each part"
            if word == "or"
            else "turn the comparison: != for ==, not_exists for exists",
            "condition",
        )


@rule("condition-bare-word", "error", StepView, target=True, of=("filter",))
def condition_bare_word(step: StepView) -> Iterator[Violation]:
    """Report a right side that names a variable that does not exist, where text seems meant."""
    found = _filed(step)
    path = found.right_path if found else None
    if found is None or path is None or " " in found.right or path[0] in step.scope:
        return
    always = "never true" if found.operator == "==" else "always true"
    yield step.remark(
        f"{found.right} is a variable here, and there is none of that name: the condition is {always}",
        f'put text in quotes: {found.left} {found.operator} "{found.right}"',
        "condition",
    )


@rule("condition-quoted-left", "error", StepView, target=True, of=("filter",))
def condition_quoted_left(step: StepView) -> Iterator[Violation]:
    """Report text on the left side, which production always reads as a path."""
    found = _filed(step)
    if found is None or (
        found.left[:1] not in tuple("\"'0123456789-") and found.left not in ("true", "false", "null")
    ):
        return
    hint = None
    if found.right and found.right_path is not None:
        hint = f"turn it around: {found.right} {found.operator} {found.left}"
    yield step.remark(
        f"the left side is always a path in production, and there is no variable {found.left}",
        hint,
        "condition",
    )


@rule("condition-quoted-operator", "error", StepView, target=True, of=("filter",))
def condition_quoted_operator(step: StepView) -> Iterator[Violation]:
    """Report an operator within quotes, at which production splits the condition."""
    text = step.text("condition")
    found, meant = _filed(step), production_condition(_bare(text))
    if found is None or meant is None:
        return
    if (meant.operator, meant.left.count(" ")) != (found.operator, found.left.count(" ")):
        yield step.remark(
            f"production splits {text!r} at the {found.operator!r} in quotes: the left side is "
            f"{found.left!r}",
            "compare with another value, one without an operator in it",
            "condition",
        )


@rule("number-spelling", "warning", StepView, target=True)
def number_spelling(step: StepView) -> Iterator[Violation]:
    """Report a number spelled in a way that events cannot spell it; production compares spellings."""
    for found in exported_conditions(step):
        if found.kind != "number" or is_number(step.scope, found.left_path):
            continue
        value = float(found.right)
        whole = value.is_integer() and abs(value) < 1e16
        # JSON spellings of a whole number, and of any other
        spelled = str(int(value)) if whole else json.dumps(value)
        if found.right != spelled:
            yield step.remark(
                f"production compares text: {found.right} is not equal to {spelled}",
                f"write {spelled}, if the events hold whole numbers" if whole else f"write {spelled}",
                "condition",
            )


@rule("quoted-number", "warning", StepView)
def quoted_number(step: StepView) -> Iterator[Violation]:
    """Report a number in quotes: it equals no number here, but does in production."""
    for found in exported_conditions(step):
        value = found.literal
        if found.kind != "text" or is_text(step.scope, found.left_path):
            continue
        if literal_kind(value) != "path":
            yield step.remark(
                f"{found.right} is text, and no {'number' if value[-1:].isdigit() else 'such value'} equals "
                f"it (in production {value} does)",
                f"write {value} without quotes, if the events hold it so",
                "condition",
            )


@rule("compared-as-text", "note", StepView, target=True)
def compared_as_text(step: StepView) -> Iterator[Violation]:
    """Report a comparison that production does on texts: `10` equals `"10"`, and not `10.0`"""
    for found in exported_conditions(step):
        left, right = found.left_path, found.right_path
        if left[0] not in step.scope or is_text(step.scope, left):
            continue
        if found.kind == "number":
            what = (
                f'{found.right} equals "{found.right}" too, and no number that is spelled otherwise (10 is '
                "not 10.0)"
            )
        elif right is None or left == right or left[-1] == "id" or _is_surely_text(step, right):
            continue
        else:
            what = (
                f'{found.left} and {found.right} are equal if they are spelled alike: 1 and "1" are, 1 and '
                "1.0 are not"
            )
        yield step.remark(
            f"production compares text: {what}", "harmless where both are always text", "condition"
        )


def _is_surely_text(step: StepView, path: Path) -> bool:
    if path[0] not in step.scope or is_text(step.scope, path):
        return True
    return path[-1] == "id" and step.known.get(path[0]) == ENTITY


@rule("object-compared", "error", StepView, target=True)
def object_compared(step: StepView) -> Iterator[Violation]:
    """Report a compared object; in production it equals nothing, not even itself."""
    for found in exported_conditions(step):
        for path in (found.left_path, found.right_path):
            if found.right and path and len(path) == 1 and step.known.get(path[0]) in OBJECTS - {"metadata"}:
                yield step.remark(
                    f"{path[0]} is {step.known[path[0]]}, and in production an object equals nothing, not "
                    "even itself",
                    f"compare ids: {path[0]}.id",
                    "condition",
                )


@rule("condition-constant", "warning", StepView, of=("filter",))
def condition_constant(step: StepView) -> Iterator[Violation]:
    """Report a condition that reads nothing, and so is the same for every event."""
    if step.operator is not None and step.operator.paths == frozenset():
        yield step.remark(
            f"{step.text('condition')} reads no variable, so it is the same for every event",
            "put text in quotes, and variables not",
            "condition",
        )


@rule("compared-with-itself", "warning", StepView)
def compared_with_itself(step: StepView) -> Iterator[Violation]:
    """Report a value compared with itself."""
    for found in exported_conditions(step):
        if found.right_path is not None and found.left_path == found.right_path:
            yield step.remark(f"{path_text(found.left_path)} is compared with itself", None, "condition")


@rule("compared-with-its-event", "warning", StepView, of=("filter",))
def compared_with_its_event(step: StepView) -> Iterator[Violation]:
    """Report a comparison of the entity that the event made with what the event says of it."""
    own = {"data", *_names_of_own_entity(step)}
    for found in exported_conditions(step):
        left, right = found.left_path, found.right_path or ("",)
        if left[1:] == right[1:] and left[0] != right[0] and {left[0], right[0]} <= own:
            yield step.remark(
                f"{path_text(left)} and {path_text(right)} are the same: the entity is as the event left it",
                f"before.{path_text(left[1:])} is what it was",
                "condition",
            )


def _names_of_own_entity(step: StepView) -> Iterator[str]:
    """Yield the variables that hold the entity of the event before a step."""
    for one in step.flow.named("resolve"):
        if one.number < step.number and one.get("from") == "entity_id" and not one.get("via"):
            yield one.text("as")


@rule("comparison-decided", "warning", StepView)
def comparison_decided(step: StepView) -> Iterator[Violation]:
    """Report a comparison that is never true, or always: of two types, or with what a function never
    gives.
    """
    condition = getattr(step.operator, "condition", None)
    expression = getattr(condition, "expression", None)
    # of a number in quotes the rule about it says more
    if not isinstance(expression, Expression) or any(quoted_number(step)):
        return

    def kind_of(side: Expression) -> str | None:
        if not isinstance(side, Reference):
            return side.kind
        known = {is_number: "number", is_text: "text"}
        return next((kind for asks, kind in known.items() if asks(step.scope, side.path)), None)

    for one in find_decided(expression, kind_of):
        yield step.remark(str(one), one.hint, "condition")
