"""Rules about recipients: production takes them from variables first, flowdsl from the payload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flowdsl.findings.base import Violation, rule
from flowdsl.findings.rules.projects import used_sinks
from flowdsl.findings.views import FlowView, StepView, TemplateLeaf, is_text, payload_before

_NEED_RECIPIENT = ("in_app", "push")


def _recipient(step: StepView) -> TemplateLeaf | None:
    """Return the payload's recipient at a deliver."""
    payload = payload_before(step)
    return next((leaf for leaf in payload.leaves if leaf.field == "recipient_id"), None) if payload else None


def _map_of(step: StepView) -> int | None:
    """Return the number of the step that makes a deliver's payload."""
    payload = payload_before(step)
    return payload.number if payload else None


def _taken_variable(step: StepView) -> str | None:
    """Return the variable that production takes as the recipient at a deliver."""
    return next((name for name in ("recipient_id", "target_id") if is_text(step.scope, (name,))), None)


def _fanned(step: StepView) -> list[StepView]:
    return [s for s in step.flow.steps[: step.number] if s.name == "fan_out"]


def _same(step: StepView, leaf: TemplateLeaf, variable: str) -> bool:
    """Return True if the payload's recipient is surely the id in a variable."""
    path = leaf.only
    if path is None or path == (variable,):
        return path is not None
    if path[1:] != ("id",):
        return False
    setting = [s for s in step.flow.steps[: step.number] if s.get("as") == path[0]]
    if f"{path[0]}_id" == variable and "fan_out" in {s.name for s in setting}:
        return True
    lookups = [(s.name, s.get("via"), s.get("from")) for s in setting[-1:]]
    return lookups == [("resolve", None, variable)]


@rule("recipient-is-target", "error", StepView, target=True, of=("deliver",))
def recipient_is_target(step: StepView) -> Iterator[Violation]:
    """Report a deliver that production sends to `target_id`, not to the payload's `recipient_id`"""
    leaf = _recipient(step)
    if leaf is None or _taken_variable(step) != "target_id" or _same(step, leaf, "target_id"):
        return
    fanned = _fanned(step)
    if fanned:
        message = (
            f"production delivers every branch to target_id, and not to {leaf.text!r}, the payload's "
            "recipient_id"
        )
        hint = (
            f"name the branch recipient (as: recipient, instead of {fanned[-1].get('as')}): recipient_id is "
            "then a variable, and is taken first"
        )
    else:
        message = f"production delivers to target_id, and not to {leaf.text!r}, the payload's recipient_id"
        hint = (
            "reach the recipient by a fan_out with as: recipient, whose variable recipient_id production "
            "takes first (a resolve sets an object, which is not a recipient)"
        )
    yield Violation(leaf.place, message, hint, _map_of(step))


@rule("recipient-is-variable", "error", StepView, target=True, of=("deliver",))
def recipient_is_variable(step: StepView) -> Iterator[Violation]:
    """Report a deliver that production sends to the variable `recipient_id`, not to the payload's."""
    leaf = _recipient(step)
    if leaf is not None and _taken_variable(step) == "recipient_id" and not _same(step, leaf, "recipient_id"):
        yield Violation(
            leaf.place,
            f"production delivers to the variable recipient_id, and not to {leaf.text!r}, the payload's "
            "recipient_id",
            "leave recipient_id out of the payload, or rename what the fan_out sets",
            _map_of(step),
        )


@rule("recipient-ignored", "note", StepView, target=True, of=("deliver",))
def recipient_ignored(step: StepView) -> Iterator[Violation]:
    """Report a payload's `recipient_id` that production ignores for a variable with the same id."""
    leaf = _recipient(step)
    taken = _taken_variable(step)
    if leaf is not None and taken and leaf.only != (taken,) and _same(step, leaf, taken):
        yield Violation(
            leaf.place,
            f"production ignores the payload's recipient_id and delivers to {taken}, which is the same id "
            "here",
            f'write "{{{{ {taken} }}}}", so that a later change cannot make them differ',
            _map_of(step),
        )


@rule("branches-share-recipient", "warning", StepView, of=("deliver",))
def branches_share_recipient(step: StepView) -> Iterator[Violation]:
    """Report a fan-out whose branches all go to one recipient."""
    fanned = _fanned(step)
    if not fanned or is_text(step.scope, ("recipient_id",)):
        return
    leaf = _recipient(step)
    if leaf is None and not step.flow.on_link:
        return
    if leaf is None or _of_branch(step, fanned).isdisjoint(path[0] for path in leaf.paths):
        to = "target_id" if leaf is None else repr(leaf.text)
        name = fanned[-1].get("as")
        yield step.remark(
            f"every branch goes to {to}, which is the same for all of them",
            f'give the payload recipient_id: "{{{{ {name}_id }}}}"',
        )


def _of_branch(step: StepView, fanned: Sequence[StepView]) -> set[str]:
    """Return the variables that differ from branch to branch."""
    branch = {s.text("as") for s in fanned} | {f"{s.get('as')}_id" for s in fanned}
    resolved = step.flow.named("resolve")
    return branch | {s.text("as") for s in resolved if s.text("from").split(".")[0] in branch}


@rule("recipient-missing", "error", StepView, of=("deliver",))
def recipient_missing(step: StepView) -> Iterator[Violation]:
    """Report a sink that needs a recipient and gets none."""
    payload = payload_before(step)
    if payload is None or step.flow.on_link or _recipient(step) is not None:
        return
    if "recipient_id" in step.scope:
        return
    needing = [name for name in used_sinks(step) if step.flow.sinks.get(name) in _NEED_RECIPIENT]
    if needing:
        yield step.remark(
            f"{', '.join(needing)} needs a recipient, and there is none: events of entities have no "
            "target_id",
            "give the payload a recipient_id",
        )


@rule("recipient-is-object", "error", StepView, of=("resolve",))
def recipient_is_object(step: StepView) -> Iterator[Violation]:
    """Report a resolve into `recipient_id`: it sets an object, which is not a recipient."""
    if step.get("as") == "recipient_id":
        yield step.remark(
            "recipient_id becomes the whole entity, and only text is taken as a recipient",
            'write as: recipient, and recipient_id: "{{ recipient.id }}" in the payload',
            "as",
        )


@rule("recipient-not-text", "warning", StepView, of=("deliver",))
def recipient_not_text(step: StepView) -> Iterator[Violation]:
    """Report a recipient that is a number, true, false or null, and so is ignored."""
    leaf = _recipient(step)
    if leaf is not None and leaf.constant:
        yield Violation(
            leaf.place,
            f"the recipient_id {leaf.text} is not text, and is passed over",
            "put it in quotes",
            _map_of(step),
        )


@rule("constant-recipient", "note", FlowView)
def constant_recipient(flow: FlowView) -> Iterator[Violation]:
    """Report a constant recipient, to which everything goes."""
    for step in flow.named("deliver"):
        leaf = _recipient(step)
        if leaf is not None and leaf.template is not None and leaf.text and not leaf.paths:
            yield Violation(
                leaf.place,
                f"every delivery goes to {leaf.text!r}",
                f'put a variable in braces: "{{{{ {leaf.text} }}}}"' if _is_path(flow, leaf.text) else None,
                step.number,
            )


def _is_path(flow: FlowView, text: str) -> bool:
    return any(text.split(".")[0] in step.scope for step in flow.steps)
