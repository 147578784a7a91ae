"""Edits of a draft: functions that take a draft and return another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from flowdsl.errors import BuildError
from flowdsl.notebook.drafts import Draft, StepDraft
from flowdsl.notebook.template_rows import MODES, Row
from flowdsl.operators import OPERATORS
from flowdsl.operators.map import Map
from flowdsl.operators.options import PATHS, Option


def set_trigger(draft: Draft, name: str, value: str) -> Draft:
    """Set `kind`, `type`, `name` or `description`; a kind of the other family clears the type."""
    if name not in ("kind", "type", "name", "description"):
        raise BuildError(f"a trigger has no {name!r}")
    if name == "kind" and value.partition(".")[0] != draft.kind.partition(".")[0]:
        draft = replace(draft, type="")
    changed: Mapping[str, Any] = {name: value}
    return replace(draft, **changed)


def add(
    draft: Draft, operator: str, at: int | None = None, options: Mapping[str, Any] | None = None
) -> Draft:
    """Add a step at a place, or at the end."""
    if operator not in OPERATORS:
        raise BuildError(f"there is no operator {operator!r}", allowed=", ".join(OPERATORS))
    given = dict(options or ({"template": (Row("recipient_id"),)} if OPERATORS[operator] is Map else {}))
    step = StepDraft(_free_key(draft), operator, given)
    place = len(draft.steps) if at is None else at
    return replace(draft, steps=(*draft.steps[:place], step, *draft.steps[place:]))


def remove(draft: Draft, key: int) -> Draft:
    """Remove a step."""
    return replace(draft, steps=tuple(step for step in draft.steps if step.key != key))


def move(draft: Draft, key: int, by: int) -> Draft:
    """Move a step down by some places, or up if `by` is negative."""
    place = draft.place(key)
    rest = [step for step in draft.steps if step.key != key]
    rest.insert(min(max(place + by, 0), len(rest)), draft.steps[place])
    return replace(draft, steps=tuple(rest))


def duplicate(draft: Draft, key: int) -> Draft:
    """Insert a copy of a step below it."""
    place = draft.place(key)
    copy = replace(draft.steps[place], key=_free_key(draft))
    return replace(draft, steps=(*draft.steps[: place + 1], copy, *draft.steps[place + 1 :]))


def set_option(draft: Draft, key: int, name: str, value: Any) -> Draft:
    """Set an option to what was typed; empty input removes it."""
    step = draft.steps[draft.place(key)]
    declared = OPERATORS[step.operator].yaml_options()
    if name not in declared:
        raise BuildError(f"{step.operator} has no option {name!r}", allowed=", ".join(declared))
    typed = typed_value(declared[name], value)
    options = {k: v for k, v in step.options.items() if k != name}
    if typed != "" and typed != declared[name].schema.get("default"):
        options[name] = typed
    return _with_options(draft, key, options)


def typed_value(option: Option, value: Any) -> Any:
    """Convert what was typed into an option's field: to a number, a list of names, or the text itself.

    >>> typed_value(OPERATORS["deliver"].options()["sinks"], "in-app, push")
    ['in-app', 'push']
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if option.schema.get("type") == "integer":
        return _integer(text)
    # some of the choices may be numbers
    choice = next((choice for choice in option.schema.get("enum", ()) if str(choice) == text), None)
    if choice is not None:
        return choice
    if option.schema.get("type") == "number":
        return _number(text)
    if option.schema.get("type") == "array" or (option.type is PATHS and "," in text):
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _integer(text: str) -> int | str:
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 19 else text


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def set_row(draft: Draft, key: int, row: int, name: str, value: str) -> Draft:
    """Set the `name`, `text` or `mode` of a template row."""
    rows = _rows(draft, key)
    if name not in ("name", "text", "mode") or (name == "mode" and value not in MODES):
        raise BuildError(f"a row has no {name} {value!r}", allowed=f"name, text, mode ({', '.join(MODES)})")
    rows[row] = replace(rows[row], **{name: value})
    return _with_rows(draft, key, rows)


def add_row(draft: Draft, key: int) -> Draft:
    """Append a row to a template."""
    return _with_rows(draft, key, [*_rows(draft, key), Row("")])


def remove_row(draft: Draft, key: int, row: int) -> Draft:
    """Remove a row of a template."""
    rows = _rows(draft, key)
    return _with_rows(draft, key, rows[:row] + rows[row + 1 :])


def move_row(draft: Draft, key: int, row: int, by: int) -> Draft:
    """Move a row of a template down by some places."""
    rows = _rows(draft, key)
    moved = rows.pop(row)
    rows.insert(min(max(row + by, 0), len(rows)), moved)
    return _with_rows(draft, key, rows)


EDITS: Final[Mapping[str, Callable[..., Draft]]] = {
    edit.__name__: edit
    for edit in (
        set_trigger,
        add,
        remove,
        move,
        duplicate,
        set_option,
        set_row,
        add_row,
        remove_row,
        move_row,
    )
}
"""Edits by name."""


def _rows(draft: Draft, key: int) -> list[Row]:
    return list(draft.steps[draft.place(key)].options.get("template", ()))


def _with_rows(draft: Draft, key: int, rows: list[Row]) -> Draft:
    step = draft.steps[draft.place(key)]
    return _with_options(draft, key, {**step.options, "template": tuple(rows)})


def _with_options(draft: Draft, key: int, options: Mapping[str, Any]) -> Draft:
    place = draft.place(key)
    changed = replace(draft.steps[place], options=options, origin=None)
    return replace(draft, steps=(*draft.steps[:place], changed, *draft.steps[place + 1 :]))


def _free_key(draft: Draft) -> int:
    return max((step.key for step in draft.steps), default=0) + 1
