"""JSON lines as columns of fields: lines of known shapes are read by Polars and DuckDB, the others by
Python.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import numpy as np
import polars as pl

from flowdsl.events import json_value, refuse_constant
from flowdsl.log.json_shapes import LineShape, Request, shape_of
from flowdsl.log.text_lines import bounds_of, is_utf8, lines_of
from flowdsl.values.json_extraction import query_documents
from flowdsl.values.json_types import Ints
from flowdsl.values.orders import distinct

# how many lines are worth a shape, how many shapes are looked for in one piece, and how many are remembered
_FEW: Final = 100
_NEW: Final = 10
_KEPT: Final = 30
# blanks that Python's `strip` takes and JSON does not know are for Python
_BLANK: Final = " \t\r\n"
# where an object begins behind another one, and where the next document may begin
_BEHIND: Final = re.compile(r"\}\s*\{")
_START: Final = re.compile(r"\S")
_NEXT: Final = re.compile(r"^\{|(?<=\})\{", re.MULTILINE)
# what is shown of a document among others
_SHOWN: Final = 300


@dataclass(frozen=True)
class JsonRows:
    """Objects of JSON lines: the fields asked for as columns, and the objects that had to be read by
    Python.
    """

    columns: dict[Request, pl.Series]
    plain: dict[int, dict[str, Any]]


@dataclass(frozen=True)
class LineTexts:
    """The texts of some rows of a piece: their lines, or what is at their place in one that holds several."""

    data: bytes
    bounds: Ints
    lines: Ints
    own: Mapping[int, tuple[str, int]] = field(default_factory=dict)

    def __getitem__(self, row: int) -> str:
        if row not in self.own:
            return self._line(int(self.lines[row]))
        line, at = self.own[row]
        return line[at : at + _SHOWN]

    def objects(self, most: int) -> list[dict[str, Any]]:
        """Return the first objects with all of their fields."""
        found = (value for line in distinct(self.lines) for value, _, _ in _objects_in(self._line(line)))
        return list(islice((value for value in found if value is not None), most))

    def _line(self, line: int) -> str:
        begin, end = self.bounds[line : line + 2]
        return self.data[begin:end].decode(errors="replace").strip()


@dataclass
class FoundRows:
    """The rows of a piece of JSON lines."""

    lines: Ints
    rows: JsonRows | list[dict[str, Any]]
    texts: LineTexts
    # lines that hold no object, with the reason and what is there
    broken: list[tuple[int, str, str]]


@dataclass
class JsonLines:
    """Reads pieces of one file; the shapes of the lines of one piece are tried on the next."""

    _shapes: list[LineShape] = field(default_factory=list)

    def read(self, data: bytes, requests: list[Request] | None) -> FoundRows:
        """Return the objects of a piece, as fields of these paths; as they are where there are no
        requests.
        """
        data, broken = _in_utf8(data)
        bounds = bounds_of(data)
        left = np.arange(len(bounds) - 1)
        found: list[tuple[Ints, dict[Request, pl.Series]]] = []
        if requests is not None and len(left) >= _FEW:
            left, found = self._shape(lines_of(data, bounds), left, requests)
        plain: list[dict[str, Any]] = []
        numbers: list[int] = []
        shown: list[tuple[str, int] | None] = []
        for line, text, value, why, at in _values(data, bounds, left):
            if value is None:
                broken.append((line, why, text if at is None else text[at : at + _SHOWN]))
            else:
                plain.append(value)
                numbers.append(line)
                shown.append(None if at is None else (text, at))
        broken.sort(key=lambda one: one[0])
        slow = np.array(numbers, np.int64)
        lines = np.concatenate([*(at for at, _ in found), slow])
        order = np.argsort(lines, kind="stable")
        lines, places = lines[order], np.flatnonzero(order >= len(lines) - len(slow)).tolist()
        texts = LineTexts(
            data, bounds, lines, {at: text for at, text in zip(places, shown, strict=True) if text}
        )
        if not found:
            return FoundRows(lines, plain, texts, broken)
        columns = _merge_fields([fields for _, fields in found], len(slow), order)
        return FoundRows(lines, JsonRows(columns, dict(zip(places, plain, strict=True))), texts, broken)

    def _shape(
        self, lines: pl.Series, left: Ints, requests: list[Request]
    ) -> tuple[Ints, list[tuple[Ints, dict[Request, pl.Series]]]]:
        """Return the lines that fit no shape, and those that fit one with their fields."""
        found: list[tuple[Ints, dict[Request, pl.Series]]] = []
        types: dict[Request, pl.DataType] = {}
        odd: list[int] = []
        self._shapes.sort(key=lambda shape: -shape.used)
        del self._shapes[_KEPT:]
        known = list(self._shapes)
        while len(left) and (known or len(odd) + len(self._shapes) < _KEPT + _NEW):
            shape = known.pop(0) if known else shape_of(lines[int(left[0])].strip(_BLANK), requests)
            some = lines if len(left) == len(lines) else lines.gather(left)
            fits, fields = _nothing(left) if shape is None else self._read(shape, some)
            # a moment is a count or a text in all lines
            if not fits.any() or any(types.setdefault(r, c.dtype) != c.dtype for r, c in fields.items()):
                if shape not in self._shapes:
                    odd.append(int(left[0]))
                    left = left[1:]
                continue
            assert shape is not None
            if shape not in self._shapes:
                self._shapes.append(shape)
            mask = fits.to_numpy()
            shape.used += int(mask.sum())
            found.append(
                (left[mask], fields if mask.all() else {r: c.filter(fits) for r, c in fields.items()})
            )
            left = left[~mask]
        return np.sort(np.concatenate([left, np.array(odd, np.int64)])), found

    def _read(self, shape: LineShape, lines: pl.Series) -> tuple[pl.Series, dict[Request, pl.Series]]:
        try:
            return shape.read(lines, self._compact)
        except pl.exceptions.PolarsError:
            # an expression too large
            return _nothing(lines)

    def _compact(self, texts: pl.Series) -> pl.Series:
        """Return JSON texts as Python writes them, provided that a shape has let them through; null for a
        JSON null.
        """
        sql = "SELECT nullif(CAST(json_extract(d, '$') AS VARCHAR), 'null') AS d FROM documents ORDER BY n"
        return query_documents(texts, sql)["d"].cast(pl.String)


def _nothing(lines: Sized) -> tuple[pl.Series, dict[Request, pl.Series]]:
    return pl.Series([False]).new_from_index(0, len(lines)), {}


def _merge_fields(found: list[dict[Request, pl.Series]], plain: int, order: Ints) -> dict[Request, pl.Series]:
    """Return the fields of all lines in their order, null for those that Python reads."""
    if len(found) == 1 and not plain:
        return found[0]
    columns = {}
    for request, first in found[0].items():
        nothing = first.clear().extend_constant(None, plain)
        columns[request] = pl.concat([*(fields[request] for fields in found), nothing], rechunk=True).gather(
            order
        )
    return columns


def _in_utf8(data: bytes) -> tuple[bytes, list[tuple[int, str, str]]]:
    """Return a piece with blank lines in place of those that are not UTF-8, and these."""
    broken: list[tuple[int, str, str]] = []
    if is_utf8(data):
        return data, broken
    lines = data.split(b"\n")
    for number, line in enumerate(lines):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            why = f"text that is not UTF-8, at byte {error.start} of the line"
            broken.append((number, why, line.decode(errors="replace").strip()))
            lines[number] = b""
    return b"\n".join(lines), broken


def _values(
    data: bytes, bounds: Ints, lines: Ints
) -> Iterator[tuple[int, str, dict[str, Any] | None, str, int | None]]:
    """Yield each line with its text, and its objects as `_objects_in` has them."""
    for line in lines.tolist():
        text = data[bounds[line] : bounds[line + 1]].decode().strip()
        for found in _objects_in(text):
            yield line, text, *found


def _objects_in(text: str) -> Iterator[tuple[dict[str, Any] | None, str, int | None]]:
    """Yield (object, "", position) for each object of a line, or (None, reason, position); the position is
    None unless the line holds several.
    """
    try:
        value = json_value(text) if text else None
    except (ValueError, RecursionError) as error:
        if _BEHIND.search(text):
            yield from ((value, why, at) for at, value, why in documents_in(text))
        else:
            yield None, f"a line that is not JSON ({error})", None
    else:
        if isinstance(value, dict):
            yield value, "", None
        # null is no row: a topic of Kafka has one behind what was deleted
        elif value is not None:
            yield None, "a line that is not a JSON object", None


def documents_in(text: str) -> Iterator[tuple[int, dict[str, Any] | None, str]]:
    """Yield (position, object, "") for each document of a text, or (position, None, reason), wherever lines
    end.

    >>> list(documents_in('{"a":1}{"a":2}'))
    [(0, {'a': 1}, ''), (7, {'a': 2}, '')]
    """
    decode = json.JSONDecoder(parse_constant=refuse_constant).raw_decode
    at = 0
    while (begin := _START.search(text, at)) is not None:
        at = begin.start()
        try:
            value, end = decode(text, at)
        except (ValueError, RecursionError) as error:
            # the next document begins where a line does, or behind the end of one
            after = _NEXT.search(text, at + 1)
            end = len(text) if after is None else after.start()
            yield at, None, f"a document that is not JSON ({error})"
        else:
            if isinstance(value, dict):
                yield at, value, ""
            elif value is not None:
                yield at, None, "a document that is not a JSON object"
        at = end
