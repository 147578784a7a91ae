"""Conditions as production reads them: split at the first operator between spaces."""

from __future__ import annotations

from dataclasses import dataclass

from flowdsl.errors import ConditionError, FlowError
from flowdsl.findings.views import StepView
from flowdsl.operators.where import Where
from flowdsl.production.conditions import condition_text, lower_conditions
from flowdsl.production.export_errors import ExportErrors, StepExportScope
from flowdsl.values.paths import Path


@dataclass(frozen=True)
class Compared:
    """Condition as production splits it; `right` is empty if there is no right side."""

    left: str
    operator: str
    right: str = ""
    # the kind of the right side: text, number, word (true, false, null) or path
    kind: str = ""

    @property
    def literal(self) -> str:
        """Right side without quotes."""
        return self.right[1:-1] if self.kind == "text" else self.right

    @property
    def left_path(self) -> Path:
        """Left side, always a path."""
        return tuple(self.left.split("."))

    @property
    def right_path(self) -> Path | None:
        """Right side if it is a path, else None."""
        return tuple(self.right.split(".")) if self.right and self.kind == "path" else None


def keeps_from_starting(text: str) -> bool:
    """Return True if production crashes while parsing the condition, and so cannot start."""
    from flowdsl.production.this_rs_conditions import CrashingConditionError, TextCondition

    try:
        TextCondition.parse(text)
    except CrashingConditionError:
        return True
    except ConditionError:
        return False
    return False


def production_condition(text: str) -> Compared | None:
    """Parse a condition as production does; return None if production rejects it.

    >>> production_condition("a == 1 and b == 2")
    Compared(left='a', operator='==', right='1 and b == 2', kind='path')
    """
    from flowdsl.production.this_rs_conditions import TextCondition

    try:
        read = TextCondition.parse(text)
    except ConditionError:
        return None
    left = ".".join(read.left)
    if read.operator in ("exists", "not_exists"):
        return Compared(left, read.operator)
    right = text.partition(f" {read.operator} ")[2].strip()
    if read.right is not None:
        return Compared(left, read.operator, right, "path")
    if right[:1] in ("'", '"'):
        return Compared(left, read.operator, right, "text")
    return Compared(left, read.operator, right, literal_kind(right))


def literal_kind(text: str) -> str:
    """Return the kind of an unquoted text: "word" (true, false, null), "number" or "path"."""
    from flowdsl.production.this_rs_conditions import TextCondition

    if text in ("true", "false", "null"):
        return "word"
    return "path" if not text or TextCondition.parse(f"a == {text}").right is not None else "number"


def exported_conditions(step: StepView) -> list[Compared]:
    """Return the conditions that production gets of a filter: those of the file, or those of the export."""
    if step.name != "filter":
        return []
    if step.filed:
        found = production_condition(step.text("condition"))
        return [found] if found else []
    if not isinstance(step.operator, Where):
        return []
    try:
        names = StepExportScope(step.scope, "", ExportErrors(step.flow.name))
        texts = [condition_text(condition) for condition in lower_conditions(step.operator.condition, names)]
    except (FlowError, AssertionError):
        return []
    return [found for text in texts if (found := production_condition(text))]
