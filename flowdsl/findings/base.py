"""Findings, and the registry of the rules that produce them.

A rule is a function over one view of the flows (`views.py`): a project, a flow, a step or a template. The
decorator `rule` registers it under its code. It yields a `Violation` for each problem.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal

from flowdsl.errors import FlowError
from flowdsl.registry import Registry, instance_problem

if TYPE_CHECKING:
    from flowdsl.flow.plan import CompiledStep
    from flowdsl.flow.spec import FlowSpec

Severity = Literal["error", "warning", "note"]
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """Problem or remark about a flow, found before it is shipped.

    `code` is stable and has an entry in docs/findings.md; `severity` is `error` (contexts get lost, fail or
    reach the wrong person), `warning` (they may) or `note`; `step` counts from 0; `where` is the place in the
    YAML (`flows.yaml:12:5`), or the text of the step.

    >>> print(
    ...     Finding(
    ...         "no-deliver", "warning", "f", None, "flows.yaml:3:5", "nothing is delivered", "add a deliver"
    ...     )
    ... )
    flows.yaml:3:5: warning: nothing is delivered [no-deliver]
      hint: add a deliver
    """

    code: str
    severity: Severity
    flow: str | None
    step: int | None
    where: str
    message: str
    hint: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        line = f"{self.where}: {self.severity}: {self.message} [{self.code}]"
        return f"{line}\n  hint: {self.hint}" if self.hint else line


@dataclass(frozen=True)
class Violation:
    """Message and place reported by a rule, before the rule's code is attached."""

    where: str
    message: str
    hint: str | None = None
    step: int | None = None


Look = Callable[[Any], Iterable[Violation]]
"""A function that looks for violations in a view."""


@dataclass(frozen=True)
class Rule:
    """Kind of finding: its code, its severity, and the function that looks for it in views of one type.

    A rule with `target` reports differences in production, and runs only in a check with a target.
    """

    code: str
    severity: Severity
    target: bool
    view: type | None
    look: Look | None


_RULES: dict[str, Rule] = {}


def rule(
    code: str, severity: Severity, view: type, *, target: bool = False, of: Collection[str] = ()
) -> Callable[[Look], Look]:
    """Register a function over views of one type as the rule with a code.

    `of` limits a rule over steps to the steps of these operators.
    """

    def register(look: Look) -> Look:
        def look_at_some(step: Any) -> Iterable[Violation]:
            return look(step) if step.name in of else ()

        _add(Rule(code, severity, target, view, look_at_some if of else look))
        return look

    return register


def finding_of(code: str, found: Violation, flow: str | None = None) -> Finding:
    """Return the finding of a violation, with the severity of its rule."""
    return Finding(code, rules()[code].severity, flow, found.step, found.where, found.message, found.hint)


def violation_of(problem: FlowError, where: str) -> Violation:
    """Return the violation of a problem that reading or exporting a flow has met."""
    number = re.match(r"[0-9]+", problem.step or "")
    step = int(number[0]) if number else None
    hints = [f"allowed: {problem.allowed}" if problem.allowed else None, problem.hint]
    return Violation(where, problem.what, "; ".join(filter(None, hints)) or None, step)


@dataclass(frozen=True)
class StepFindings:
    """Builder of findings that a log shows about steps; `places` maps flow name and step to a place."""

    flows: Sequence[FlowSpec]
    places: Mapping[tuple[str, int], str]

    def of(
        self,
        code: str,
        step: CompiledStep,
        message: str,
        hint: str | None,
        numbers: Iterable[int] | None = None,
    ) -> Iterator[Finding]:
        """Yield a finding about a step for each flow that has it, or only for the flows of these numbers."""
        for number in step.flows if numbers is None else numbers:
            name = self.flows[number].name
            where = self.places.get((name, step.number), step.operator.text)
            yield finding_of(code, Violation(where, message, hint, step.number), name)


def _add(new: Rule) -> None:
    if new.code in _RULES and _RULES[new.code].look is not new.look:
        raise ValueError(f"two rules have the code {new.code!r}")
    _RULES[new.code] = new


# rejected when loaded, by flowdsl or by production
_add(Rule("refused", "error", False, None, None))
_add(Rule("only-production", "warning", True, None, None))
# found only in the events of a log
for code in (
    "fan-out-large",
    "keys-null",
    "deletions-unmatched",
    "future-event",
    "unknown-type",
    "unknown-value",
    "unknown-attribute",
    "recipient-no-person",
):
    _add(Rule(code, "warning", False, None, None))
for code in ("ids-not-uuid", "keys-collide", "keys-split", "compared-across-types", "stops-at-event"):
    _add(Rule(code, "error", True, None, None))


@cache
def rules() -> Registry[Rule]:
    """Return all rules by code: those of the package `rules`, and those of plug-ins (entry points
    `flowdsl.findings`).
    """
    package = importlib.import_module("flowdsl.findings.rules")
    for module in sorted(found.name for found in pkgutil.iter_modules(package.__path__)):
        importlib.import_module(f"{package.__name__}.{module}")
    return Registry("flowdsl.findings", dict(sorted(_RULES.items())), instance_problem(Rule, "code"))
