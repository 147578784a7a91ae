"""View of the designer as plain JSON: form, completions, counts, findings, preview, and the flow as code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from flowdsl.engine.event_reading import value_at
from flowdsl.errors import FlowError
from flowdsl.events import KINDS
from flowdsl.explanation.text import clip_line, format_time, format_value
from flowdsl.expressions.conditions import Condition, EvaluationError
from flowdsl.expressions.conditions.graph_calls import GraphCall
from flowdsl.expressions.conditions.scalar import Leaf, row_form
from flowdsl.expressions.templates import Template
from flowdsl.expressions.templates.failures import RenderError
from flowdsl.notebook.completions import control, examples_of, offered_by, operator_list, types_of
from flowdsl.notebook.template_rows import FIXED, Row
from flowdsl.operators import OPERATORS
from flowdsl.operators.map import ConstantNode, Fields, ListNode, Map, Node
from flowdsl.operators.where import Where
from flowdsl.values.json_types import MISSING

if TYPE_CHECKING:
    from flowdsl.explanation.paths import ExplainedStep
    from flowdsl.notebook.design_model import DesignModel
    from flowdsl.notebook.drafts import Problem, StepDraft
    from flowdsl.notebook.preview_run import PreviewResult
    from flowdsl.operators.options import Option

_OWN: Final = ("_payload", "_batch", "_delivered_to")
Line = dict[str, Any]


def design_view(model: DesignModel) -> dict[str, Any]:
    """Build the whole view of a designer."""
    draft, history = model.draft, model.history
    family = draft.kind.partition(".")[0]
    types = [(t, history.kinds.get((draft.kind, t), 0)) for t in history.types(family)]
    return {
        "version": model.version,
        "undo": model.can_undo,
        "redo": model.can_redo,
        "operators": operator_list(),
        "name": draft.name,
        "placeholder": "" if model.built.runnable is None else model.built.runnable.name,
        "description": draft.description,
        "trigger": {
            "kind": draft.kind,
            "type": draft.type,
            "family": family,
            "kinds": [[k, sum(n for (kind, _), n in history.kinds.items() if kind == k)] for k in KINDS],
            "types": sorted(types, key=lambda pair: -pair[1]),
            "problem": _problem([p for p in model.built.problems if p.step is None]),
        },
        "steps": [_step_view(model, place, step) for place, step in enumerate(draft.steps)],
        "offers": {
            **types_of(history),
            "variables": model.paths(),
            "scopes": [[n for n in scope.variables if not n.startswith("_")] for scope in model.built.scopes],
        },
        "findings": [
            {"severity": f.severity, "step": f.step, "message": f.message, "hint": f.hint, "code": f.code}
            for f in model.findings
        ],
        "sample": sample_view(model),
        "event": _event_view(model),
        "picture": model.picture(),
        **model.code(),
    }


def sample_view(model: DesignModel) -> dict[str, Any]:
    """Describe the sample that the counts refer to."""
    sample, counted = model.sample, model.counted
    return {
        "events": model.total.events if model.total is not None else sample.events,
        "all": model.history.events,
        "whole": sample.whole or model.total is not None,
        "taken": int(model.history.kinds_taken(model.draft.kind, model.draft.type))
        if model.total is not None
        else len(sample.taken),
        "delivered": _delivery_text(counted),
    }


def _delivery_text(rehearsal: PreviewResult | None) -> int | None:
    if rehearsal is None:
        return None
    return sum(int(step["passed"]) * len(step["sinks"]) for step in rehearsal.steps)


def _step_view(model: DesignModel, place: int, step: StepDraft) -> dict[str, Any]:
    operator = OPERATORS[step.operator]
    explained = _outcome_at(model, place)
    return {
        "key": step.key,
        "operator": operator.name,
        "method": operator.method,
        "summary": operator.summary,
        "fields": [_field(option, step.options.get(option.yaml)) for option in operator.options().values()],
        "problem": _problem([p for p in model.built.problems if p.step == place]),
        "counts": _counts(model, place),
        "operands": _operands(model, place),
        "preview": _preview(model, place, step, explained),
        "outcome": None if explained is None else explained.outcome,
        "reason": None if explained is None else explained.reason,
    }


def _field(option: Option, value: Any) -> dict[str, Any]:
    """Build one field of a step's form."""
    kind = control(option)
    return {
        "name": option.yaml,
        "doc": option.doc + ("" if option.portable else " (production has no such option)"),
        "kind": kind,
        "required": option.required,
        "extra": not option.portable,
        "offers": offered_by(option),
        "examples": examples_of(option),
        "fixed": isinstance(value, Condition),
        "code": option.yaml == "condition" or kind == "expressions",
        **_content(option, kind, value),
    }


def _content(option: Option, kind: str, value: Any) -> dict[str, Any]:
    """Build the part of a field that shows its value, which depends on the kind of field."""
    default = option.schema.get("default")
    if kind == "template":
        return {"rows": [{"name": r.name, "text": r.text, "mode": r.mode} for r in value or ()]}
    if kind == "choice":
        given = default if value is None else value
        none = [] if option.required or default is not None else [""]
        return {"choices": [*none, *option.schema["enum"]], "value": "" if given is None else given}
    if kind == "flag":
        return {"value": bool(default) if value is None else value}
    return {"value": _field_text(value), "placeholder": _placeholder(option, default)}


def _field_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Condition):
        return value.text
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _placeholder(option: Option, default: Any) -> str:
    if default is not None:
        return json.dumps(default)
    examples = examples_of(option)
    return examples[0] if examples and option.required else ""


def _counts(model: DesignModel, place: int) -> dict[str, Any] | None:
    """Count the outcomes at a step, with an example event for each; None if the step did not run."""
    rehearsal, runnable = model.counted, model.built.runnable
    if rehearsal is None or runnable is None or place >= min(len(rehearsal.steps), len(runnable.steps)):
        return None
    # while a change is being replayed, the previous counts stay, greyed
    stale = rehearsal.flow.steps[: place + 1] != runnable.steps[: place + 1]
    if stale and type(rehearsal.flow.steps[place]) is not type(runnable.steps[place]):
        return None
    step = rehearsal.steps[place]
    out = [[reason, count, "dropped", reason] for reason, count in step["reasons"].items()]
    causes = step["causes"]
    out += [[f"failed: {cause}", count, "failed", None] for cause, count in causes]
    rest = step["failed"] - sum(count for _, count in causes)
    out += [["failed otherwise" if causes else "failed", rest, "failed", None]] if rest else []
    out += [["into batches", step["absorbed"], "absorbed", None]] if step["absorbed"] else []
    out += [["more branches", step["extra_branches"], "branches", None]] if step["extra_branches"] else []
    return {"entered": step["entered"], "passed": step["passed"], "out": out, "stale": stale}


def _operands(model: DesignModel, place: int) -> list[dict[str, Any]]:
    """Return the most common values of a condition's operands."""
    rehearsal, runnable = model.rehearsal, model.built.runnable
    if (
        rehearsal is None
        or runnable is None
        or rehearsal.flow.steps[: place + 1] != runnable.steps[: place + 1]
    ):
        return []
    return [
        {"path": path, "values": [["missing" if v is None else clip_line(v), n] for v, n in values]}
        for path, values in rehearsal.operands.get(place, ())
    ]


def _outcome_at(model: DesignModel, place: int) -> ExplainedStep | None:
    """Return the outcome of the previewed event at a step, if known for the step as it is now."""
    explanation = model.preview_if_known(place)
    if explanation is None:
        return None
    return next((s for s in explanation.steps if s.step == place), None)


def _preview(
    model: DesignModel, place: int, step: StepDraft, explained: ExplainedStep | None
) -> dict[str, Any]:
    """Preview a step for one event: template rows, parts of a condition, or new variables."""
    variables = model.variables_at(place)
    if step.operator == "map" and variables is not None:
        rows = step.options.get("template", ())
        return {"rows": [{"text": r.text} if r.mode == FIXED else row_preview(r, variables) for r in rows]}
    if step.operator == Where.name and variables is not None:
        try:
            condition = step.build()
        except FlowError:
            return {}
        assert isinstance(condition, Where)
        return {"lines": condition_preview(condition.condition, variables)}
    return {} if explained is None else {"lines": _new_variables(explained, variables)}


def _new_variables(explained: ExplainedStep, before: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Describe the variables that a step adds, and the recipient of its deliveries."""
    lines = [
        {"name": name, "text": format_value(value)}
        for name, value in (explained.variables.items() if before else ())
        if name not in _OWN and before and before.get(name) != value
    ]
    if explained.sinks and explained.recipient is not None:
        lines.append({"name": "recipient", "text": explained.recipient})
    return lines


def _problem(problems: list[Problem]) -> dict[str, Any] | None:
    return (
        None
        if not problems
        else {
            "what": problems[0].what,
            "allowed": problems[0].allowed,
            "hint": problems[0].hint,
            "mild": problems[0].mild,
        }
    )


def _event_view(model: DesignModel) -> Mapping[str, Any] | None:
    """Describe the previewed event in one line."""
    seq_no = model.preview_seq_no
    if seq_no is None:
        return None
    row = model.sample.row(seq_no)
    ids = [row[name] for name in ("source_id", "target_id", "entity_id") if row.get(name) is not None]
    return {
        "seq_no": seq_no,
        "time": format_time(row["timestamp"].replace(microsecond=0)),
        "ids": " → ".join(map(str, ids)),
    }


def row_preview(row: Row, variables: Mapping[str, Any]) -> Line:
    """Render a template row: `text`, or `error` if it fails or does not parse.

    >>> row_preview(Row("title", "{{ fan.name | upper }}"), {"fan": {"name": "Ada"}})
    {'text': 'ADA'}
    """
    try:
        value = _render(Map.build({"value": row.content()}).template, variables)["value"]
    except FlowError as error:
        return {"error": error.what}
    except (RenderError, EvaluationError) as failure:
        return {"error": str(failure)}
    return {"text": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}


def condition_preview(condition: Condition, variables: Mapping[str, Any]) -> list[Line]:
    """Return each comparison, call and path of a condition with its value."""
    found = condition.operands(lambda leaf: _at(variables, leaf))
    return [{"name": name, "text": format_value(value)} for name, value in found]


def _at(variables: Mapping[str, Any], leaf: Leaf) -> Any:
    if isinstance(leaf, GraphCall):
        raise EvaluationError("the graph is asked when the flow runs")
    return value_at(variables, leaf)


def _render(node: Node, variables: Mapping[str, Any]) -> Any:
    if isinstance(node, Fields):
        return {name: _render(inner, variables) for name, inner in node.items}
    if isinstance(node, ListNode):
        return [_render(inner, variables) for inner in node.items]
    if isinstance(node, ConstantNode):
        return json.loads(node.json)
    if isinstance(node, Template):
        return node.render_row(lambda path: value_at(variables, path))
    value = row_form(node).evaluate_at(lambda leaf: _at(variables, leaf))
    if value is MISSING:
        raise EvaluationError(f"{node} is missing")
    return value
