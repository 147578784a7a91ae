"""Lowering of flows to what production supports, without changing their meaning; all problems are reported at
once.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from flowdsl.arguments import is_integer
from flowdsl.expressions.durations import Duration, parse_duration
from flowdsl.operators import PORTABLE
from flowdsl.operators.base import Operator
from flowdsl.operators.map import Map
from flowdsl.operators.options import PATH, PATHS, Option
from flowdsl.operators.time_options import DURATION_OR_PATH
from flowdsl.operators.where import Where
from flowdsl.production.conditions import lower_conditions
from flowdsl.production.export_errors import ExportErrors, StepExportScope
from flowdsl.production.serializer import step_mapping
from flowdsl.production.templates import lower_template
from flowdsl.rules import FLOWDSL
from flowdsl.values.paths import Path, parse_path, path_text

if TYPE_CHECKING:
    from flowdsl.flow.spec import FlowSpec

# production counts in 32 bits
MOST: Final = 2**32 - 1
_NO_UNICODE: Final = "it holds half of a surrogate pair, which is not a character"


def portable(flow: FlowSpec) -> FlowSpec:
    """Return the flow as production supports it; raise `ExportError`, whose `problems` lists what it does
    not.

    >>> from flowdsl import on
    >>> print(portable(on("link.created").where("source_id != target_id and link_type in ['likes']")))
    on('link.created')
        .where('source_id != target_id')
        .where('link_type == "likes"')
        .named('link.created')
    """
    if flow.rules is not FLOWDSL:
        # read from production's own text
        return replace(flow, given_name=flow.name)
    steps = tuple(itertools.chain.from_iterable(lower_steps(flow)))
    described = flow.description if flow.description and flow.description.strip() else None
    return replace(flow, steps=steps, given_name=flow.name, description=described)


def lower_steps(flow: FlowSpec) -> list[list[Operator]]:
    """Return the lowered steps of each step of a flow; raise `ExportError` like `portable`."""
    if flow.rules is not FLOWDSL:
        return [[step] for step in flow.steps]
    refusals = ExportErrors(flow.name)
    names = [
        StepExportScope(scope, f"{number} ({step.method})", refusals)
        for number, (step, scope) in enumerate(zip(flow.steps, flow.scopes(), strict=False))
    ]
    lowered = [_lower(step, at) for step, at in zip(flow.steps, names, strict=True)]
    refusals.finish()
    _check_texts(flow, refusals)
    for steps, at in zip(lowered, names, strict=True):
        if not all(_is_unicode(step_mapping(step)) for step in steps):
            at.refuse(_NO_UNICODE, allowed="whole characters")
    refusals.finish()
    return lowered


def _check_texts(flow: FlowSpec, refusals: ExportErrors) -> None:
    if flow.description is not None and not isinstance(flow.description, str):
        refusals.refuse(f"the description is {flow.description!r}", allowed="text")
    elif not _is_unicode([flow.name, flow.description, flow.trigger.options]):
        refusals.refuse(_NO_UNICODE, allowed="whole characters")


def _is_unicode(value: Any) -> bool:
    """Return True if all its text can be encoded."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _lower(step: Operator, names: StepExportScope) -> list[Operator]:
    if not step.portable:
        names.refuse(
            f"production has no operator {step.name!r}",
            allowed=", ".join(PORTABLE),
            hint=step.nearest,
        )
        return []
    if isinstance(step, Where):
        return [Where(condition) for condition in lower_conditions(step.condition, names)]
    if isinstance(step, Map):
        return [Map(lower_template(step.template, names))]
    _refuse_options(step, names)
    changed = {name: _option(step, name, option, names) for name, option in step.options().items()}
    return [replace(step, **changed)]


def _refuse_options(step: Operator, names: StepExportScope) -> None:
    """Refuse the options that production lacks; those with one nearest form are one problem."""
    lacking: dict[str | None, list[str]] = {}
    for name in step.changed:
        option = step.options()[name]
        if not option.portable:
            lacking.setdefault(step.nearest_form(name), []).append(repr(option.yaml))
    allowed = ", ".join(option.yaml for option in step.options().values() if option.portable)
    for hint, (first, *more) in lacking.items():
        listed = f"{', '.join([first, *more[:-1]])} or {more[-1]}" if more else first
        names.refuse(f"production's {step.name} has no option {listed}", allowed=allowed, hint=hint)


def _option(step: Operator, name: str, option: Option, names: StepExportScope) -> Any:
    """Return the lowered value of an option, as declared by the option."""
    value = getattr(step, name)
    if not option.portable:
        return value
    refused = _refuse_option(step, name, option)
    if refused is not None:
        what, allowed, hint = refused
        names.refuse(what, allowed=allowed, hint=hint)
    if isinstance(value, Duration):
        return _duration(value)
    if option.type is PATH:
        return _path(value, names)
    return tuple(_path(path, names) for path in value) if option.type is PATHS else value


def _refuse_option(step: Operator, name: str, option: Option) -> tuple[str, str, str | None] | None:
    """Return what production lacks of the value of an option that it has, what is allowed, and a hint; None
    if it lacks nothing.
    """
    value, production = getattr(step, name), f"production's {step.name}"
    if option.type is DURATION_OR_PATH and isinstance(value, tuple):
        what = f"{production} has one {option.yaml}, and here {path_text(value)!r} gives it"
        return what, "a duration, such as 5m", step.nearest_form(name)
    if option.type is PATHS and len(value) > 1:
        first = replace(step, **{name: value[:1]}).text
        what = f"{production} has one {option.yaml}, and here are {len(value)}"
        return what, "one path", f"with the first only: {first}: then the others part nothing"
    if is_integer(value) and value > MOST:
        return f"{step.name}: {option.yaml} is {value:,}", f"at most {MOST:,}", None
    return None


def _duration(value: Duration) -> Duration:
    """Return a canonical value, so that equal durations compare equal."""
    return parse_duration(Duration("", value.microseconds).portable())


def _path(path: Path, names: StepExportScope) -> Path:
    text = path_text(path)
    if "" in path or not text.strip() or parse_path(text) != path:
        names.refuse(
            f"the path {list(path)} has a part that is empty or holds a dot, which cannot be written in YAML",
            allowed="names joined by dots",
        )
        return path
    return names.path(path)
