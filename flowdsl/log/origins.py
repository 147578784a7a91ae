"""Origins of an event's fields in a file of another shape: columns, paths, texts with paths in braces,
constants, alternatives, objects, functions of a row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from flowdsl.arguments import is_text_in
from flowdsl.calls import answered
from flowdsl.errors import DataError, did_you_mean
from flowdsl.events import EVENT_COLUMNS, JSON_COLUMNS, KINDS, id_text, json_value
from flowdsl.text import short_repr
from flowdsl.values.python_values import encode_json


@dataclass(frozen=True)
class ConstantOrigin:
    """A value that a field has in every row; made by `literal`."""

    value: Any


Row = Mapping[str, Any]
Origin: TypeAlias = (
    "str | ConstantOrigin | Callable[[Row], Any] | Sequence[str | ConstantOrigin] | Mapping[str, Origin]"
)
Split = Mapping[str, Sequence[str | Mapping[str, Origin]]]
# what says which link or entity an event is about
_IDS: Final = ("link_type", "link_id", "source_id", "target_id", "entity_type", "entity_id")
_OWN: Final = tuple(name for name in EVENT_COLUMNS if name not in ("seq_no", "timestamp", "kind"))
_BRACES: Final = re.compile(r"\{([^{}]+)\}")
_ALLOWED: Final = (
    "a column, a dotted path, a text with paths in braces, literal(…), a list of those (the first that a row "
    "has), or a function of a row; for data and metadata a mapping from names to those"
)


@answered
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

    Raises
    ------
    DataError
        If no event can have the value.

    Examples
    --------
    >>> literal("likes")
    ConstantOrigin(value='likes')
    """
    try:
        encode_json(value, "the value")
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"literal({short_repr(value, 40)}): {error}",
            allowed="a value of JSON, a date, a time, a number, a UUID, or None",
            hint="a column of the source is its name alone; a function of a row is given without literal",
        ) from None
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
        value: tuple(_part(value, part) for part in _list_parts(value, parts))
        for value, parts in split.items()
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
    if not _is_origin(origin, in_object=name in JSON_COLUMNS):
        raise DataError(
            f"{where} has {name}={short_repr(origin, 40)}",
            allowed=_ALLOWED,
            hint=f"literal({short_repr(origin, 40)}) is that value in every row",
        )


def _is_origin(origin: object, *, in_object: bool) -> bool:
    if isinstance(origin, (str, ConstantOrigin)) or callable(origin):
        return True
    if isinstance(origin, Mapping):
        return in_object and all(
            isinstance(k, str) and _is_origin(o, in_object=True) for k, o in origin.items()
        )
    return (
        isinstance(origin, Sequence)
        and not isinstance(origin, (bytes, bytearray))
        and len(origin) > 0
        and all(isinstance(one, (str, ConstantOrigin)) for one in origin)
    )


def check_kind(kind: object) -> None:
    """Refuse what is not a kind of event."""
    if not is_text_in(kind, KINDS):
        raise DataError(
            f"{short_repr(kind)} is not a kind of event",
            allowed=", ".join(KINDS),
            hint=did_you_mean(kind, KINDS) or "split= makes several events of one row",
        )


def paths_in(text: str) -> list[str]:
    """Return the paths that a text has in braces.

    >>> paths_in("{owner}/{repo.name}"), paths_in("repo.name")
    (['owner', 'repo.name'], [])
    """
    return _BRACES.findall(text)


def fill_text(text: str, values: Sequence[str]) -> str:
    """Return a text with values in place of its braces.

    >>> fill_text("{owner}/{name}", ["ann", "tea"])
    'ann/tea'
    """
    found = iter(values)
    return _BRACES.sub(lambda _: next(found), text)


def texts_of(origin: Origin | None) -> Iterator[str]:
    """Return the columns and paths that an origin names, those in braces one by one; of a function there are
    none.
    """
    if isinstance(origin, str):
        yield from paths_in(origin) or [origin]
    elif isinstance(origin, Mapping):
        for inner in origin.values():
            yield from texts_of(inner)
    elif isinstance(origin, Sequence):
        for one in origin:
            yield from texts_of(one)


def sees_whole_rows(origin: Origin | None) -> bool:
    """Return True if an origin is, or has within, a function of a row."""
    if isinstance(origin, Mapping):
        return any(map(sees_whole_rows, origin.values()))
    return callable(origin)


class Paths:
    """Follows origins through rows, also into columns of JSON text, each text being read once.

    `around` has what all rows have in common: their file and folder.
    """

    def __init__(self, around: Mapping[str, Any] | None = None) -> None:
        self._read: dict[str, Any] = {}
        self._around = around or {}

    def value(self, row: Row, origin: Origin) -> Any:
        """Return what an origin is in a row; None where the row does not have it. Raises `ValueError` where a
        path leads into text that is not JSON, and whatever a function raises.

        >>> Paths().value({"id": 7}, ["uid", "user-{id}"])
        'user-7'
        """
        if isinstance(origin, str):
            return self.at(row, origin)
        if isinstance(origin, ConstantOrigin):
            return origin.value
        if isinstance(origin, Mapping):
            members = {name: self.value(row, inner) for name, inner in origin.items()}
            return {name: value for name, value in members.items() if value is not None}
        return self._first(row, origin) if isinstance(origin, Sequence) else origin(row)

    def at(self, row: Row, path: str) -> Any:
        """Return the value at a path, or a text with what is at the paths in its braces; None where there is
        none. Raises `ValueError` where a path leads into text that is not JSON.

        >>> Paths().at({"properties": '{"video_id": 5279}'}, "properties.video_id")
        5279
        """
        if path in row:
            return row[path]
        if path in self._around:
            return self._around[path]
        if inner := paths_in(path):
            values = [id_text(self.at(row, one), one) for one in inner]
            texts = [value for value in values if value is not None]
            return fill_text(path, texts) if len(texts) == len(inner) else None
        value: Any = row
        for part in path.split("."):
            value = self._member(value, part)
            if value is None:
                return None
        return value

    def _member(self, value: Any, part: str) -> Any:
        """Return a member of an object or of a list, also of one in JSON text."""
        if isinstance(value, str) and value:
            value = self._parse(value)
        if isinstance(value, list) and part.isdecimal():
            return value[int(part)] if int(part) < len(value) else None
        return value.get(part) if isinstance(value, Mapping) else None

    def _first(self, row: Row, origins: Sequence[str | ConstantOrigin]) -> Any:
        for origin in origins:
            try:
                value = self.value(row, origin)
            # a text where another row has an object
            except ValueError:
                continue
            if value is not None and value != "":
                return value
        return None

    def _parse(self, text: str) -> Any:
        if text not in self._read:
            try:
                self._read[text] = json_value(text)
            except (ValueError, RecursionError):
                raise ValueError(f"a path leads into text that is not JSON: {short_repr(text)}") from None
        return self._read[text]


def _list_parts(value: str, parts: object) -> Sequence[Any]:
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
