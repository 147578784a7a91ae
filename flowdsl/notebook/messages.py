"""Messages that widgets accept from the page: their fields, and the allowed values.

Pages are not trusted: any other message is rejected with an error, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from flowdsl.errors import DataError, FlowError
from flowdsl.text import short_repr
from flowdsl.values.state_fields import FlagField, TextField, WholeField
from flowdsl.values.state_objects import FieldKind, StateReader

# limits of numbers and texts from the page
_MOST: Final = 1 << 53
_LONGEST: Final = 100_000


class _Short(TextField):
    """Text of limited length."""

    def read(self, node: Any, source: StateReader) -> str:
        text = super().read(node, source)
        source.check(len(text) <= _LONGEST, f"longer than {_LONGEST:,} letters")
        return text


@dataclass(frozen=True)
class _Any(FieldKind):
    """Value of one of several kinds."""

    kinds: tuple[FieldKind, ...]

    def read(self, node: Any, source: StateReader) -> Any:
        for kind in self.kinds:
            try:
                return kind.read(node, source)
            except DataError:
                continue
        return source.refuse("of another kind")


@dataclass(frozen=True)
class Message:
    """Schema of a message: its required and optional fields."""

    fields: Mapping[str, FieldKind] = field(default_factory=dict)
    more: Mapping[str, FieldKind] = field(default_factory=dict)


_NUMBER: Final = WholeField(-_MOST, _MOST)
_KEY: Final = {"key": _NUMBER}
_ROW: Final = {**_KEY, "row": WholeField(0, _MOST)}
_SHORT: Final = _Short()
DESIGN: Final[Mapping[str, Message]] = {
    "undo": Message(),
    "redo": Message(),
    "save": Message({"value": _SHORT}),
    "choose": Message(
        more={
            "forward": FlagField(),
            "step": _NUMBER,
            "outcome": _SHORT,
            "reason": _Any((_SHORT, WholeField(0, 0))),
        }
    ),
    "set_trigger": Message({"name": _SHORT, "value": _SHORT}),
    "add": Message({"operator": _SHORT}, {"at": WholeField(0, _MOST)}),
    "remove": Message(_KEY),
    "move": Message({**_KEY, "by": _NUMBER}),
    "duplicate": Message(_KEY),
    "set_option": Message({**_KEY, "name": _SHORT, "value": _Any((_SHORT, FlagField(), _NUMBER))}),
    "set_row": Message({**_ROW, "name": _SHORT, "value": _SHORT}),
    "add_row": Message(_KEY),
    "remove_row": Message(_ROW),
    "move_row": Message({**_ROW, "by": _NUMBER}),
}
EXPLORE: Final[Mapping[str, Message]] = {
    "filter": Message({"name": _SHORT, "value": _SHORT}),
    "open": Message({"seq_no": WholeField(0, _MOST)}),
    "seek": Message({"forward": FlagField()}, {"ending": _Any((_SHORT, _NUMBER))}),
    "turn": Message({"pages": _NUMBER}),
    "go": Message({"where": _Any((_SHORT, _NUMBER))}),
    "follow": Message({"value": _SHORT}),
}


def parse_message(message: object, known: Mapping[str, Message]) -> tuple[str, dict[str, Any]]:
    """Parse a message; return its name and its fields. Raises `FlowError` if it is not a known one."""
    source = StateReader()
    try:
        source.check(isinstance(message, Mapping), "not a message of a widget")
        assert isinstance(message, Mapping)
        what = message.get("do")
        if not isinstance(what, str) or what not in known:
            source.refuse(f"not a message of this widget: do is {short_repr(what)}")
        given = {name: value for name, value in message.items() if name != "do" and value is not None}
        allowed = {**known[what].fields, **known[what].more}
        source.check(given.keys() <= allowed.keys(), f"a message {what!r} with a field that it does not have")
        source.check(
            known[what].fields.keys() <= given.keys(), f"a message {what!r} without one of its fields"
        )
        return what, {name: source.below(name, allowed[name], value) for name, value in given.items()}
    except DataError as error:
        raise FlowError(f"the page sent an unknown message: {error.what}") from None


def file_beside(name: str) -> Path:
    """Return the path of a file in the notebook's folder or below it. Raises `FlowError` for any other."""
    path = Path(name)
    here = Path.cwd().resolve()
    try:
        inside = not path.is_absolute() and (here / path).resolve().is_relative_to(here)
        plain = bool(name.strip()) and "\0" not in name and not (here / path).is_symlink()
    except (OSError, ValueError, RuntimeError):
        inside = plain = False
    if not inside or not plain or path.is_dir():
        raise FlowError(
            f"{short_repr(name, 80)} is not a name of a file here",
            allowed="the name of a file in the notebook's folder, or in one below it",
            hint="designer.save(path) writes anywhere",
        )
    return path
