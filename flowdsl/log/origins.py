"""Origins of an event's fields in a file of another shape: columns, paths, constants, functions of
a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from flowdsl.errors import DataError, did_you_mean
from flowdsl.events import EVENT_COLUMNS, KINDS, json_value
from flowdsl.text import short_repr


@dataclass(frozen=True)
class ConstantOrigin:
    """A value that a field has in every row; made by `literal`."""

    value: Any


Row = Mapping[str, Any]
Origin = str | ConstantOrigin | Callable[[Row], Any]
Split = Mapping[str, Sequence[str | Mapping[str, Origin]]]
# what says which link or entity an event is about
_IDS: Final = ("link_type", "link_id", "source_id", "target_id", "entity_type", "entity_id")
_OWN: Final = tuple(name for name in EVENT_COLUMNS if name not in ("seq_no", "timestamp", "kind"))


def literal(value: Any) -> ConstantOrigin:
    """Declare a field that is the same in every row, for `read_events(columns=…)`.

    Parameters
    ----------
    value
        The value of the field.

    Returns
    -------
    ConstantOrigin
        What `columns` takes.

    Examples
    --------
    >>> literal("likes")
    ConstantOrigin(value='likes')
    """
    return ConstantOrigin(value)


@dataclass(frozen=True)
class PartOrigin:
    """One of the events that a row is split into, and the fields that come from elsewhere than those of the
    others.
    """

    kind: str
    columns: Mapping[str, Origin] = field(default_factory=dict)

    @property
    def ids(self) -> tuple[str, ...]:
        """The fields of its own without which a row has no such event."""
        return tuple(
            name
            for name, origin in self.columns.items()
            if name in _IDS and not isinstance(origin, ConstantOrigin)
        )


def parts_of(split: Split) -> dict[str, tuple[PartOrigin, ...]]:
    """Return what the rows of each kind are split into; a mistake is a `DataError`.

    >>> parts_of({"u": ["link.deleted"]})
    {'u': (PartOrigin(kind='link.deleted', columns={}),)}
    """
    return {
        value: tuple(_part(value, part) for part in _listed(value, parts)) for value, parts in split.items()
    }


def check_origin(where: str, name: str, origin: object, known: Sequence[str] = EVENT_COLUMNS) -> None:
    """Refuse what says nowhere where a field comes from."""
    if name not in known:
        raise DataError(
            f"{where} names {name!r}, which "
            f"{'no event table has' if name not in EVENT_COLUMNS else 'is the same for all parts'}",
            allowed=", ".join(known),
            hint=did_you_mean(name, known) or f"{where} is {{field of the event: column of the source}}",
        )
    if not isinstance(origin, (str, ConstantOrigin)) and not callable(origin):
        raise DataError(
            f"{where} has {name}={short_repr(origin, 40)}",
            allowed="a column name, literal(…), or a function of a row",
            hint=f"literal({short_repr(origin, 40)}) is that value in every row",
        )


def check_kind(kind: object) -> None:
    """Refuse what is no kind of event."""
    if not isinstance(kind, str) or kind not in KINDS:
        raise DataError(
            f"{short_repr(kind)} is no kind of event",
            allowed=", ".join(KINDS),
            hint=did_you_mean(kind, KINDS) or "split= makes several events of one row",
        )


class Paths:
    """Follows dotted paths through rows, also into columns of JSON text, each text being read once."""

    def __init__(self) -> None:
        self._read: dict[str, Any] = {}

    def at(self, row: Row, path: str) -> Any:
        """Return the value at a path; None where there is none. Raises `ValueError` where a path leads
        into text
        that is no JSON.

        >>> Paths().at({"properties": '{"video_id": 5279}'}, "properties.video_id")
        5279
        """
        if path in row:
            return row[path]
        value: Any = row
        for part in path.split("."):
            if isinstance(value, str) and value:
                value = self._parsed(value)
            if not isinstance(value, Mapping) or part not in value:
                return None
            value = value[part]
        return value

    def _parsed(self, text: str) -> Any:
        if text not in self._read:
            try:
                self._read[text] = json_value(text)
            except (ValueError, RecursionError):
                raise ValueError(f"a path leads into text that is not JSON: {short_repr(text)}") from None
        return self._read[text]


def _listed(value: str, parts: object) -> Sequence[Any]:
    if isinstance(parts, (str, Mapping)) or not isinstance(parts, Sequence) or not parts:
        raise DataError(
            f"split[{value!r}] is {short_repr(parts)}",
            allowed="a list of kinds, or of mappings with a kind and the columns of that event",
            hint="{'u': ['link.deleted', 'link.created']}; kinds={'u': None} leaves such rows out",
        )
    return parts


def _part(value: str, part: Any) -> PartOrigin:
    if not isinstance(part, Mapping):
        check_kind(part)
        return PartOrigin(part)
    if "kind" not in part:
        raise DataError(
            f"a part of split[{value!r}] has no kind: {short_repr(dict(part))}",
            allowed=", ".join(KINDS),
            hint="{'kind': 'link.deleted', 'source_id': 'old'}",
        )
    check_kind(part["kind"])
    columns = {name: origin for name, origin in part.items() if name != "kind"}
    for name, origin in columns.items():
        check_origin(f"split[{value!r}]", name, origin, _OWN)
    return PartOrigin(part["kind"], columns)
