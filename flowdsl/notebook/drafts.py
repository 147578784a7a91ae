"""Drafts of flows: everything chosen and typed so far, valid or not.

A `Draft` holds each step as its operator and its options as in YAML, so that anything can be typed;
`build_draft` returns the flow and the problems of each step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowdsl.arguments import one_of
from flowdsl.errors import BuildError, FlowError
from flowdsl.expressions.conditions import Condition, Expression
from flowdsl.flow.spec import FlowSpec
from flowdsl.notebook.template_rows import rows_of, template_of
from flowdsl.operators import OPERATORS
from flowdsl.operators.base import Operator
from flowdsl.operators.collect_option import COLLECT, collect_of_form, form_of_collect
from flowdsl.operators.map import Map
from flowdsl.operators.options import Option
from flowdsl.operators.scope import ANY

if TYPE_CHECKING:
    from flowdsl.operators.scope import Scope

_EMPTY: tuple[Any, ...] = ("", [], ())


@dataclass(frozen=True)
class StepDraft:
    """Step of a draft; `key` identifies it, `options` are those typed so far, by YAML name.

    `origin` is the step that it was opened from, until it is changed.
    """

    key: int
    operator: str
    options: Mapping[str, Any]
    origin: Operator | None = None

    def build(self) -> Operator:
        """Build the step from its options. Raises `BuildError`"""
        if self.origin is not None:
            return self.origin
        operator = OPERATORS[self.operator]
        options = {name: value for name, value in self.options.items() if value not in _EMPTY}
        if operator is Map and "template" in options:
            options["template"] = template_of(options["template"])
        if isinstance(options.get("collect"), str):
            options["collect"] = collect_of_form(options["collect"])
        return operator.from_yaml(options)

    @property
    def missing(self) -> list[str]:
        """Required options that are not given."""
        options = OPERATORS[self.operator].options().values()
        asked = [o.yaml for o in options if o.required or o.schema.get("minItems")]
        return [name for name in asked if self.options.get(name, "") in _EMPTY]


@dataclass(frozen=True)
class Draft:
    """Flow being designed; `type` is the link or entity type of the trigger, "" for any."""

    kind: str = "link.created"
    type: str = ""
    name: str = ""
    description: str = ""
    steps: tuple[StepDraft, ...] = ()

    def place(self, key: int) -> int:
        """Return the index of the step with this key."""
        return next(place for place, step in enumerate(self.steps) if step.key == key)


@dataclass(frozen=True)
class Problem:
    """Reason why a step is invalid; `step` is its index, None for the trigger; `mild` if an option is just
    missing yet.
    """

    step: int | None
    what: str
    allowed: str | None = None
    hint: str | None = None
    mild: bool = False


@dataclass(frozen=True)
class DraftResult:
    """Draft built as a flow: `flow` if all of it is valid, `runnable` up to the first invalid step.

    `scopes` has the variables before each step of the draft, and after the last one.
    """

    flow: FlowSpec | None
    runnable: FlowSpec | None
    problems: tuple[Problem, ...] = ()
    scopes: tuple[Scope, ...] = ()


def draft_of(flow: FlowSpec) -> Draft:
    """Return the draft of an existing flow.

    >>> from flowdsl import on
    >>> draft = draft_of(
    ...     on("link.created", link_type="likes", name="f").deduplicate("source_id", window="1h")
    ... )
    >>> draft.type, dict(draft.steps[0].options)
    ('likes', {'key': 'source_id', 'window': '1h'})
    """
    one_of(flow, "flow", FlowSpec, "a flow, or None", error=BuildError)
    trigger = flow.trigger
    steps = tuple(StepDraft(key, s.name, plain_options(s), s) for key, s in enumerate(flow.steps, 1))
    type_ = "" if trigger.filter is None else trigger.filter[1]
    return Draft(trigger.kind, type_, flow.given_name or "", flow.description or "", steps)


def build_draft(draft: Draft) -> DraftResult:
    """Build the flow of a draft, and collect the problems of its steps.

    >>> draft = Draft(
    ...     "link.created", "likes", steps=(StepDraft(1, "resolve", {"from": "nobody", "as": "owner"}),)
    ... )
    >>> [(problem.step, problem.what) for problem in build_draft(draft).problems]
    [(0, "resolve reads 'nobody', but there is no variable 'nobody' at this step")]
    """
    family = f"{draft.kind.partition('.')[0]}_type"
    given = {family: draft.type, "name": draft.name, "description": draft.description}
    try:
        flow = FlowSpec.begin(draft.kind, **{key: value for key, value in given.items() if value})
    except FlowError as error:
        return DraftResult(None, None, (Problem(None, error.what, error.allowed, error.hint),))
    scopes = flow.scopes()
    steps: list[Operator] = []
    problems: list[Problem] = []
    for place, step in enumerate(draft.steps):
        try:
            operator = step.build()
            scopes.append(operator.check(scopes[-1]))
        except FlowError as error:
            problems.append(_problem(place, step, error))
            # check later steps as if this one set its variables
            scopes.append(scopes[-1].having(**dict.fromkeys(_expected_variables(step, scopes[-1]), ANY)))
        else:
            if not problems:
                steps.append(operator)
    runnable = dataclasses.replace(flow, steps=tuple(steps))
    return DraftResult(None if problems else runnable, runnable, tuple(problems), tuple(scopes))


def plain_options(step: Operator) -> dict[str, Any]:
    """Return the non-default options of a step for a form: as in YAML, but a template as rows."""
    declared = step.options()
    return {declared[name].yaml: _plain(value, declared[name]) for name, value in step.changed.items()}


def _plain(value: Any, option: Option) -> Any:
    if isinstance(value, Condition):
        return value.text if value.function is None else value
    if isinstance(value, Expression):
        return str(value)
    if option.type is COLLECT:
        return form_of_collect(value)
    return rows_of(value) if option.yaml == "template" else option.kind.plain(value)


def _problem(place: int, step: StepDraft, error: FlowError) -> Problem:
    missing = step.missing if step.origin is None else []
    if missing:
        return Problem(place, f"not given yet: {', '.join(missing)}", mild=True)
    return Problem(place, error.what, error.allowed, error.hint)


def _expected_variables(step: StepDraft, scope: Scope) -> list[str]:
    """Return the variables that a step will set once it is valid."""
    as_ = step.options.get("as")
    names = [as_, f"{as_}_id", f"{as_}_index"] if isinstance(as_, str) and as_.isidentifier() else []
    return [*names, *{"batch": scope.rules.batch_names, "map": ("_payload",)}.get(step.operator, ())]
