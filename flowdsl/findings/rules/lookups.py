"""Rules about resolve and fan_out: missing entities, unordered links, shadowed names."""

from __future__ import annotations

from collections.abc import Iterator

from flowdsl.findings.base import Violation, rule
from flowdsl.findings.views import ENTITY, LINKED, OPTIONAL, UNCERTAIN, StepView, TemplateView
from flowdsl.values.paths import Path, path_text


@rule("resolve-may-fail", "note", StepView, of=("resolve",))
def resolve_may_fail(step: StepView) -> Iterator[Violation]:
    """Report a resolve that fails for events whose entity or link is missing."""
    if step.get("required") is not False and not _gone(step):
        via = step.get("via")
        missing = f"no {via!r} link" if via else f"no entity with the id in {step.get('from')!r}"
        yield step.remark(
            f"an event with {missing} fails here",
            "in flowdsl required=False goes on without it; production always fails",
        )


@rule("resolve-deleted", "error", StepView, of=("resolve",))
def resolve_deleted(step: StepView) -> Iterator[Violation]:
    """Report a resolve of the entity that the event has just deleted."""
    if _gone(step):
        yield step.remark(
            "the entity is deleted before its flows run, so this fails at every event",
            "an entity.deleted event tells entity_type and entity_id only",
            "from",
        )


def _gone(step: StepView) -> bool:
    return step.flow.kind == "entity.deleted" and step.get("from") == "entity_id" and step.get("via") is None


@rule("link-deleted", "warning", StepView, of=("resolve", "fan_out"))
def link_deleted(step: StepView) -> Iterator[Violation]:
    """Report a lookup of the link that the event has just deleted."""
    if step.flow.kind != "link.deleted":
        return
    via, flow = step.get("via"), step.flow
    start = "target_id" if step.get("direction") == "reverse" else "source_id"
    if via is not None and via == flow.link_type and step.get("from") == start:
        other = "source_id" if start == "target_id" else "target_id"
        yield step.remark(
            f"the {via!r} link of the event is deleted before its flows run, so it is not among those "
            "followed here",
            f"its other end is {other}",
            "via",
        )


@rule("first-link", "note", StepView, target=True, of=("resolve",))
def first_link(step: StepView) -> Iterator[Violation]:
    """Report a resolve by link, of which production takes any one if there are several."""
    if step.get("via") is not None:
        yield step.remark(
            f"where there are several {step.get('via')!r} links, flowdsl takes the earliest, production any "
            "of them",
            "harmless where there is one at most",
            "via",
        )


@rule("shadowed-variable", "warning", StepView, of=("resolve", "fan_out"))
def shadowed_variable(step: StepView) -> Iterator[Violation]:
    """Report a step that reuses the name of a variable."""
    if not step.text("as"):
        return
    new = [step.text("as"), *([f"{step.text('as')}_id"] if step.name == "fan_out" else [])]
    for name in new:
        if name in step.scope:
            yield step.remark(
                f"{name!r} is a variable already, and its value is lost from here on",
                "give the entity another name",
                "as",
            )


@rule("name-unreachable", "error", StepView, target=True, of=("resolve", "fan_out"))
def name_unreachable(step: StepView) -> Iterator[Violation]:
    """Report a variable whose name no path can reach."""
    name = step.text("as")
    if name and (not name.isidentifier() or name in ("true", "false", "null")):
        yield step.remark(
            f"no path can reach a variable of the name {name!r}", "use letters, digits and underscores", "as"
        )


@rule("direction-unknown", "error", StepView, target=True, of=("resolve", "fan_out"))
def direction_unknown(step: StepView) -> Iterator[Violation]:
    """Report a direction that production rejects at each event."""
    direction = step.get("direction")
    if direction not in (None, "forward", "reverse"):
        what = "fails at every event" if step.get("via") is not None else "is ignored without via"
        yield step.remark(
            f"the direction {direction!r} is not known: in production it {what}",
            "write forward or reverse",
            "direction",
        )


@rule("direction-unused", "note", StepView, of=("resolve",))
def direction_unused(step: StepView) -> Iterator[Violation]:
    """Report a direction without a link type, which does nothing."""
    if step.get("via") is None and step.get("direction") == "reverse":
        yield step.remark(
            "without via there is no link to follow, so the direction does nothing",
            "name the link type in via",
            "direction",
        )


@rule("entity-id", "note", StepView, target=True)
def entity_id(step: StepView) -> Iterator[Violation]:
    """Report a use of an entity's `id`, which production does not add to data that lacks it."""
    for path in sorted({path for path in step.paths if path[1:] == ("id",)}):
        if step.known.get(path[0]) not in (ENTITY, LINKED, OPTIONAL):
            continue
        setting = [s for s in step.flow.steps[: step.number] if s.get("as") == path[0]][-1]
        instead = f"{path[0]}_id" if setting.name == "fan_out" else setting.get("from")
        direct = setting.name == "fan_out" or setting.get("via") is None
        yield step.remark(
            f"{path_text(path)} is there only if the entity's data has an id: production adds none",
            f"{instead} holds the same id" if direct else "make sure that the stored data holds it",
        )


@rule("maybe-missing", "warning", TemplateView)
def maybe_missing(view: TemplateView) -> Iterator[Violation]:
    """Report a template that reads a value that may be missing, and fails without it."""
    for path in sorted(view.leaf.sure_paths):
        message = _miss_message(view.step, path)
        if message is not None:
            yield view.remark(message, _safer(path, view.step.known[path[0]]))


def _miss_message(step: StepView, path: Path) -> str | None:
    """Return the message for a path that may have no value; None if it surely has one."""
    what = step.known.get(path[0])
    if what not in UNCERTAIN or (len(path) == 1 and what == LINKED):
        return None
    there = f"{path_text(path)!r} is not always there ({path[0]!r} is {what})"
    return f"{there}, and where it is not the event fails"


def _safer(path: Path, what: str) -> str:
    if what == LINKED and path[1:] == ("id",):
        return f"{path[0]}_id is always there"
    text = path_text(path)
    return f'write {{{{ {text} | default(value="…") }}}}, or ask {{% if {text} %}} first'


@rule("key-may-miss", "warning", StepView)
def key_may_miss(step: StepView) -> Iterator[Violation]:
    """Report a step that reads a key or id that may be missing, and fails without it."""
    for option, path in step.read:
        message = _miss_message(step, path)
        if message is not None:
            hint = f"let only events through that have it: filter {path_text(path)} exists"
            yield step.remark(message, hint, option)
