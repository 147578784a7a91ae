"""Rules about variables that production lacks, or has under another name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flowdsl.errors import BuildError, did_you_mean
from flowdsl.expressions.templates.hints import word_hint
from flowdsl.findings.base import Violation, rule
from flowdsl.findings.exported_conditions import exported_conditions
from flowdsl.findings.views import BATCH, StepView, TemplateView
from flowdsl.production.export_errors import BATCH_PARTS
from flowdsl.values.paths import Path, path_text

_OWN = {
    "event": (
        "the event itself is not a variable there",
        "leave it to the sink, or put it into the event's data",
    ),
    "before": (
        "it keeps no entity as it was before the event",
        "let the events carry what was before, and read that: data.before",
    ),
}


def _reads(step: StepView) -> Iterator[tuple[Path, str]]:
    """Yield the paths that a step of a file reads, and their places, without those of templates."""
    if step.filed:
        for option, path in step.read:
            yield path, step.places.get(option, step.place)
        place = step.places.get("condition", step.place)
        for found in exported_conditions(step):
            yield from ((path, place) for path in (found.left_path, found.right_path) if path)


def _all_reads(step: StepView) -> Iterator[tuple[Path, str]]:
    yield from _reads(step)
    if step.filed:
        for leaf in step.leaves:
            yield from ((path, leaf.place) for path in sorted(leaf.paths))


@rule("batch-name", "error", StepView, target=True)
def batch_name(step: StepView) -> Iterator[Violation]:
    """Report the variable `batch`, which is `_batch` in production."""
    for path, place in _all_reads(step):
        if path[0] == "batch" and step.known.get("batch") == BATCH:
            right = path_text(("_batch", *path[1:]))
            yield Violation(
                place,
                f"production has no variable batch, so {path_text(path)!r} is missing there",
                f"write {right}, which flowdsl understands too",
                step.number,
            )


@rule("batch-part", "error", StepView, target=True)
def batch_part(step: StepView) -> Iterator[Violation]:
    """Report a part of a batch that production lacks: it has `count`, `key` and `items` only."""
    for path, place in _all_reads(step):
        if step.known.get(path[0]) == BATCH and len(path) > 1 and path[1] not in BATCH_PARTS:
            yield Violation(
                place,
                f"production's batch has no {path[1]!r}",
                "it has count, key and items",
                step.number,
            )


@rule("event-variable", "error", StepView, target=True)
def event_variable(step: StepView) -> Iterator[Violation]:
    """Report the variables `event` and `before`, which production lacks."""
    for path, place in _all_reads(step):
        name, set_before = path[0], {s.get("as") for s in step.flow.steps[: step.number]}
        if name in _OWN and name in step.scope and name not in set_before:
            why, hint = _OWN[name]
            yield Violation(place, f"production has no {path_text(path)!r}: {why}", hint, step.number)


@rule("undefined-variable", "error", StepView, target=True)
def undefined_variable(step: StepView) -> Iterator[Violation]:
    """Report a step that reads a variable that cannot exist there."""
    if not step.scope.variables or not step.filed:
        return
    for option, path in step.read:
        if (found := _impossible(step, path)) is not None:
            yield step.remark(f"{found[0]}: the step fails at every event", found[1], option)
    for compared in exported_conditions(step):
        found = _impossible(step, compared.left_path)
        a_path = re.fullmatch("(?![\"'0-9-])[^ ]*", compared.left)
        plain = a_path and not re.search(" (and|or) ", compared.right)
        if found is not None and plain:
            always = "always" if compared.operator in ("!=", "not_exists") else "never"
            yield step.remark(f"{found[0]}: the condition is {always} true", found[1], "condition")


@rule("undefined-in-template", "error", TemplateView, target=True)
def undefined_in_template(view: TemplateView) -> Iterator[Violation]:
    """Report a template that reads a variable that cannot exist there."""
    if not view.step.filed or not view.step.scope.variables:
        return
    for path in sorted(view.leaf.sure_paths):
        found = _impossible(view.step, path)
        if found is not None and not path[0].startswith("__tera"):
            hint = found[1] or word_hint("variable", path[0], ())
            yield view.remark(f"{found[0]}: the map fails at every event", hint)


def _impossible(step: StepView, path: Path) -> tuple[str, str | None] | None:
    """Return the reason why a path cannot have a value, and a hint; None if it may, or if another rule covers
    it.
    """
    root = path[0]
    if root in ("_payload", "_delivered_to", "_batch", "batch", *_OWN) and root in step.scope:
        return None
    if root not in step.scope:
        hint = did_you_mean(root, [name for name in step.scope.variables if name != "event"])
        return f"there is no variable {root!r} at this step", hint
    try:
        step.scope.check([path], "it")
    except BuildError as error:
        return error.what.partition("but ")[2] or error.what, error.hint
    return None
