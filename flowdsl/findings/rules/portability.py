"""Rules about what production cannot express, and what it ignores silently."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flowdsl.errors import BuildError, FlowError, did_you_mean
from flowdsl.expressions.durations import parse_duration, parse_production_duration
from flowdsl.expressions.templates.filters import FILTERS
from flowdsl.expressions.templates.visitors import filter_calls
from flowdsl.findings.base import Violation, rule, violation_of
from flowdsl.findings.views import FlowView, ProjectView, StepView
from flowdsl.operators import OPERATORS


@rule("not-portable", "error", FlowView, target=True)
def not_portable(flow: FlowView) -> Iterator[Violation]:
    """Report what production cannot express, so that the flow cannot be exported."""
    from flowdsl.production.portable import portable

    if flow.flow is None:
        for view in flow.steps:
            yield from _unknown_there(view)
        return
    try:
        portable(flow.flow)
    except FlowError as error:
        for problem in getattr(error, "problems", (error,)):
            found = violation_of(problem, flow.place)
            yield found if found.step is None else replace(found, where=flow.steps[found.step].place)


def _unknown_there(step: StepView) -> Iterator[Violation]:
    """Report what other packages add to flowdsl, in a file that production reads."""
    operator = OPERATORS.get(step.name)
    if operator is not None and not operator.portable:
        yield step.remark(f"production has no operator {step.name!r}", operator.nearest)
    for leaf in step.leaves:
        for call in filter_calls(leaf.template.body) if leaf.template is not None else ():
            declared = FILTERS.get(call.name)
            if declared is not None and not declared.portable:
                yield Violation(
                    leaf.place,
                    f"production's Tera has no filter `{call.name}`",
                    "let the events carry the filtered text, and print that",
                    step.number,
                )


@rule("option-ignored", "error", StepView, target=True)
def option_ignored(step: StepView) -> Iterator[Violation]:
    """Report an option of flowdsl that production lacks and ignores."""
    operator = OPERATORS.get(step.name)
    if not step.filed or operator is None:
        return
    for key, option in operator.yaml_options().items():
        if not option.portable and step.get(key) is not None:
            yield step.remark(
                f"production has no option {key!r} of {step.name}, and goes on as if it were not there",
                f"{option.doc}: production cannot do that",
                key,
            )


@rule("key-ignored", "warning", StepView, target=True)
def key_ignored(step: StepView) -> Iterator[Violation]:
    """Report an unknown option, which production ignores."""
    operator = OPERATORS.get(step.name)
    if not step.filed or operator is None:
        return
    known = operator.yaml_options()
    for key in step.places:
        if key not in known:
            yield step.remark(
                f"production passes over {key!r}: {step.name} has no such option",
                did_you_mean(key, known),
                key,
            )


@rule("flow-key-ignored", "warning", FlowView, target=True)
def flow_key_ignored(flow: FlowView) -> Iterator[Violation]:
    """Report an unknown key of a flow or trigger, which production ignores."""
    known = ("name", "description", "trigger", "pipeline", "kind", "link_type", "entity_type")
    for what, key, place in flow.ignored:
        yield Violation(
            place, f"production passes over {key!r}: {what} has no such key", did_you_mean(key, known)
        )


@rule("project-key-ignored", "warning", ProjectView, target=True)
def project_key_ignored(project: ProjectView) -> Iterator[Violation]:
    """Report an unknown key next to the flows, which production ignores."""
    for what, key, place in project.ignored:
        hint = did_you_mean(key, ("backend", "flows", "consumers", "name", "type", "config", "seek"))
        yield Violation(place, f"production passes over {key!r}: {what} has no such key", hint)


@rule("filter-of-other-family", "error", FlowView, target=True)
def filter_of_other_family(flow: FlowView) -> Iterator[Violation]:
    """Report `entity_type` on events of links, and `link_type` on those of entities, which production
    ignores.
    """
    wrong = "entity_type" if flow.on_link else "link_type"
    if flow.kind and (flow.entity_type if flow.on_link else flow.link_type):
        right = "link_type" if flow.on_link else "entity_type"
        yield flow.remark(
            f"production passes over {wrong} on {flow.kind}: the flow runs for events of every type",
            f"write {right}",
            wrong,
        )


@rule("duration-refused", "error", StepView, target=True)
def duration_refused(step: StepView) -> Iterator[Violation]:
    """Report a duration that production cannot parse, so that it leaves the whole flow out."""
    for option in ("window", "per") if step.filed else ():
        value = step.get(option)
        if value is None:
            continue
        try:
            parse_production_duration(value)
        except BuildError as error:
            try:
                hint: str | None = f"write {parse_duration(value).portable()}"
            except BuildError:
                hint = error.hint
            yield step.remark(f"production does not read {value!r}, and leaves the flow out", hint, option)
