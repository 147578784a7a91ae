"""Shapes of JSON lines: lines with the same keys are read by one regular expression, which also proves them.

A shape is made of one line and fits those that have the same keys in the same order, with any texts, numbers
and lists of these in their places. What fits is JSON, has no key twice and no value that Python would write
in another way than DuckDB does, so that the fields of events can be taken as they are. All other lines are
for Python to read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import polars as pl

from flowdsl.events import JSON_COLUMNS, json_value
from flowdsl.log.cloudevents import PLAIN_ATTRIBUTES, is_cloud_event
from flowdsl.values.json_texts import null_texts

Path = tuple[str, ...]
# a field of an event, and the path it is to be read from; None where the known shapes have it
Request = tuple[str, str | None]

_HEX: Final = "[0-9a-fA-F]"
_PLAIN: Final = r'[^"\\\x00-\x1f]'
_ANY_TEXT: Final = rf'"(?:{_PLAIN}|\\(?:["\\/bfnrt]|u{_HEX}{{4}}))*"'
# escapes that DuckDB unpacks as Python does: no control characters, surrogates only in pairs
_SAFE_TEXT: Final = (
    rf'"(?:{_PLAIN}|\\(?:["\\/bfnrt]|u(?:[1-9a-cA-CeEfF]{_HEX}{{3}}|0(?:[1-9a-fA-F]{_HEX}{{2}}'
    rf"|0[2-9a-fA-F]{_HEX})"
    rf'|[dD](?:[0-7]{_HEX}{{2}}|[89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}))))*"'
)
_WORD: Final = "true|false|null"
_NUMBER: Final = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"
# Python knows no -0, and writes exponents in its own way
_SAFE_NUMBER: Final = r"(?:-(?:0\.[0-9]+|[1-9][0-9]*(?:\.[0-9]+)?)|(?:0|[1-9][0-9]*)(?:\.[0-9]+)?)"
_INTEGER: Final = "0|-?[1-9][0-9]{0,17}"
# floats that Python writes with an exponent, or that have more digits than a double
_OTHER_SPELLING: Final = r"[0-9]{16}\.[0-9]|0\.0000"
_SPACE: Final = r"[ \t]*"
_META: Final = re.compile(r"[\\.+*?()|\[\]{}^$]")
# larger shapes are worth no expression
_LARGEST: Final = 300
_DEEPEST: Final = 30
_LONGEST: Final = 1 << 16


# what an envelope of production has next to its event
_OF_ENVELOPES: Final = ("event_id", "timestamp", "seq_no")


class _UnfitError(Exception):
    """No shape can be made of a line."""


@dataclass(frozen=True)
class JsonField:
    """The place of a field in lines of a shape: one path, or two whose texts are joined; none where it has no
    value.
    """

    name: str
    paths: tuple[Path, ...] = ()
    between: str = ""
    # what it is read as: text, count, time, json, or json with text taken for JSON already
    mode: str = "text"


class LineShape:
    """Lines with the keys of one line."""

    def __init__(self, line: str, requests: Sequence[Request]) -> None:
        row = _unique(line)
        modes: dict[Path, str] = {}
        self.used = 0
        self._fields = {request: _field(row, request, modes) for request in requests}
        if is_cloud_event(row):
            # a CloudEvent without these is broken, whatever its fields are read from
            for name in ("id", "source", "type"):
                _settle(modes, (name,), "required")
            _settle(modes, ("specversion",), "version")
        self._columns: dict[Path, str] = {}
        self._modes, self._size = modes, 0
        body = self._pattern(row, (), safe=False)
        self._regex = rf"^{_SPACE}(?P<whole>)" + body + r"[ \t\r]*\n?$"
        if len(self._regex) > _LONGEST:
            raise _UnfitError
        self._numbers = {
            path
            for path, name in self._columns.items()
            if type(_value_at(row, path)) is int and modes[path] != "json"
        }

    def read(self, lines: pl.Series, compact: Any) -> tuple[pl.Series, dict[Request, pl.Series]]:
        """Return which lines fit, and the fields of all lines, null where one does not fit.

        `compact` writes a column of JSON texts as Python does.
        """
        found = lines.str.extract_groups(self._regex).struct.unnest()
        fits = found["whole"].is_not_null()
        raw = {path: found[name] for path, name in self._columns.items()}
        for path, column in raw.items():
            if self._modes[path] == "json":
                fits &= ~column.str.contains(_OTHER_SPELLING).fill_null(value=False)
        nothing = null_texts(len(lines))
        written = (
            {p: compact(c) if self._modes[p] == "json" else c for p, c in raw.items()} if fits.any() else raw
        )
        return fits, {request: self._read(field, written, nothing) for request, field in self._fields.items()}

    def _read(self, field: JsonField, raw: Mapping[Path, pl.Series], nothing: pl.Series) -> pl.Series:
        if not field.paths:
            return nothing.cast(pl.Int64) if field.name == "seq_no" else nothing
        parts = [raw[path] for path in field.paths]
        if len(parts) > 1:
            return pl.select(pl.concat_str(parts, separator=field.between)).to_series()
        if field.mode == "count" or (field.mode == "time" and field.paths[0] in self._numbers):
            return parts[0].cast(pl.Int64)
        return parts[0]

    def _pattern(self, value: Any, path: Path, *, safe: bool) -> str:
        self._size += 1
        if self._size > _LARGEST or len(path) > _DEEPEST:
            raise _UnfitError
        mode = self._modes.get(path)
        if mode == "json":
            return self._capture(path, self._body(value, path, safe=True))
        if mode == "version":
            return r'"1\.0"'
        if mode == "required":
            return f'"{self._capture(path, _PLAIN + "+")}"'
        if mode == "no text":
            return f"(?:{_SAFE_NUMBER}|{_WORD})" if not isinstance(value, str) else _unfit()
        if mode is None:
            return self._body(value, path, safe=safe)
        if mode == "count" or type(value) is int:
            return f"(?:{self._capture(path, _INTEGER)}|null)"
        return f'(?:"{self._capture(path, _PLAIN + "+")}?"|null)'

    def _capture(self, path: Path, pattern: str) -> str:
        name = self._columns[path] = f"c{len(self._columns)}"
        return f"(?P<{name}>{pattern})"

    def _body(self, value: Any, path: Path, *, safe: bool) -> str:
        scalar = f"(?:{_SAFE_TEXT}|{_SAFE_NUMBER}|{_WORD})" if safe else f"(?:{_ANY_TEXT}|{_NUMBER}|{_WORD})"
        if isinstance(value, dict):
            members = (
                f'"{_key(key)}"{_SPACE}:{_SPACE}{self._pattern(inner, (*path, key), safe=safe)}'
                for key, inner in value.items()
            )
            inside = f"{_SPACE},{_SPACE}".join(members)
            return rf"\{{{_SPACE}{inside}{_SPACE if inside else ''}\}}"
        if not isinstance(value, list):
            return scalar
        nested = [item for item in value if isinstance(item, (dict, list))]
        # the keys of an item of a list are not paths of fields
        item = self._body(nested[0], (*path, "[]", ""), safe=safe) if nested else scalar
        # a blank is allowed in one place of the expression only, which makes it fast
        return rf"\[{_SPACE}(?:{item}{_SPACE}(?:,{_SPACE}{item}{_SPACE})*)?\]"


def shape_of(line: str, requests: Sequence[Request]) -> LineShape | None:
    """Return the shape of a line, or None where Python has to read it."""
    try:
        return LineShape(line, requests)
    except (_UnfitError, ValueError, RecursionError):
        return None


def _unfit() -> NoReturn:
    raise _UnfitError


def _unique(line: str) -> dict[str, Any]:
    row = json.loads(line, object_pairs_hook=_pairs)
    json_value(line)
    return row if isinstance(row, dict) else _unfit()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _unfit()


def _key(key: str) -> str:
    if not key.isprintable() or '"' in key or "\\" in key:
        raise _UnfitError
    return _META.sub(lambda found: "\\" + found.group(), key)


def _field(row: dict[str, Any], request: Request, modes: dict[Path, str]) -> JsonField:
    """Return the place of a field, and note in `modes` what its values have to be."""
    name, origin = request
    found = _known_field(row, name) if origin is None else _field_at(row, name, origin, modes)
    for path in found.paths:
        value = _value_at(row, path)
        mode = "required" if len(found.paths) > 1 else _mode(found.mode, value)
        _settle(modes, path, mode)
    return found


def _settle(modes: dict[Path, str], path: Path, mode: str) -> None:
    """Note what values at a path have to be; they can be one thing only."""
    if {modes.setdefault(path, mode), mode} == {"text", "required"}:
        modes[path] = mode = "required"
    if modes[path] != mode:
        raise _UnfitError


def _mode(mode: str, value: Any) -> str:
    """Return how values like this one are read; a value that would break its row is for Python."""
    if mode == "json" or (mode == "json or text" and not isinstance(value, (str, type(None)))):
        return "json"
    if isinstance(value, (dict, list, bool, float)) or (mode == "count" and isinstance(value, str)):
        raise _UnfitError
    if mode == "count" or isinstance(value, int):
        return "count" if mode == "count" else f"{mode} of digits"
    return "text"


def _own_mode(name: str, *, in_json: bool) -> str:
    if name in JSON_COLUMNS:
        return "json" if in_json else "json or text"
    return {"seq_no": "count", "timestamp": "time"}.get(name, "text")


def _field_at(row: dict[str, Any], name: str, origin: str, modes: dict[Path, str]) -> JsonField:
    """Return the field at a dotted path."""
    path = (origin,) if origin in row else tuple(origin.split("."))
    value: Any = row
    for depth, part in enumerate(path):
        if not isinstance(value, dict):
            if isinstance(value, list):
                # an item of a list, by its number
                return _unfit() if part.isdecimal() else JsonField(name)
            # a text would be read as JSON
            _settle(modes, path[:depth], "no text")
            return JsonField(name)
        if part not in value:
            return JsonField(name)
        value = value[part]
    return JsonField(name, (path,), mode=_own_mode(name, in_json=False))


def _known_field(row: dict[str, Any], name: str) -> JsonField:
    """Return a field of a row whose shape is known: a CloudEvent, production's envelope or event, an event
    table's row.
    """
    if is_cloud_event(row):
        return _cloud_field(row, name)
    inner = row.get("event")
    fields: dict[str, Any] = inner if isinstance(inner, dict) else row
    within: Path = ("event",) if isinstance(inner, dict) else ()
    if within and name in _OF_ENVELOPES:
        return _field_of(row, name, ("id" if name == "event_id" else name,), in_json=True)
    if name == "event_id" and "event_id" not in row:
        return JsonField(name, (("id",),)) if "id" in row and "action" in row else JsonField(name)
    if name == "kind" and "action" in fields:
        if not isinstance(fields.get("kind"), str) or not isinstance(fields["action"], str):
            raise _UnfitError
        return JsonField(name, ((*within, "kind"), (*within, "action")), between=".")
    return _field_of(fields, name, (*within, name), in_json="action" in fields)


def _cloud_field(row: dict[str, Any], name: str) -> JsonField:
    if not PLAIN_ATTRIBUTES.issuperset(row) or not all(isinstance(row.get(n), str) for n in ("id", "source")):
        # extensions go into the metadata
        raise _UnfitError
    if name == "event_id":
        return JsonField(name, (("source",), ("id",)), between=" ")
    if name in ("timestamp", "kind"):
        key = {"timestamp": "time", "kind": "type"}[name]
        return _field_of(row, name, (key,), in_json=True)
    data = row.get("data")
    return _field_of(data if isinstance(data, dict) else {}, name, ("data", name), in_json=True)


def _field_of(fields: dict[str, Any], name: str, path: Path, *, in_json: bool) -> JsonField:
    """Return a field at a path to one of these fields, which may not be there."""
    if path[-1] not in fields:
        return JsonField(name)
    return JsonField(name, (path,), mode=_own_mode(name, in_json=in_json))


def _value_at(row: Any, path: Path) -> Any:
    for part in path:
        row = row[part]
    return row
