"""The fields of the rows of a block, whatever it holds: a table, objects, fields of JSON lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from flowdsl.errors import DataError, did_you_mean
from flowdsl.events import EVENT_COLUMNS, JSON_COLUMNS, TEXT_COLUMNS
from flowdsl.frames import is_whole
from flowdsl.log.columns import FLOATS, row_in_python, within_years
from flowdsl.log.field_values import CONVERT, column_of, is_nothing
from flowdsl.log.json_lines import JsonRows
from flowdsl.log.nested_rows import columns_around
from flowdsl.log.origins import ConstantOrigin, Origin, Paths, Row, fill_text, paths_in, texts_of
from flowdsl.log.row_formats import ROW_FORMATS, known_fields
from flowdsl.log.shape import RowShape
from flowdsl.log.text_readers import TextBlock
from flowdsl.values.json_texts import null_texts
from flowdsl.values.json_types import Ints

# the field whose type paths in braces are read as: text
TEXT: Final = "kind"
_EXPLODE: Final = "; explode= makes a row of each item"
# what is in the first line of a file without a header: a number, a time
_DATA: Final = re.compile(r"[-+]?\d+(\.\d+)?|\d{4}-\d\d-\d\d.*")
# What a user's function may raise for a row that it was not written for; that row is broken, the others are
# read.
_ROW_ERRORS = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


class BlockFields:
    """The rows of a block, asked for fields; a row that cannot give one is noted in `broken`."""

    def __init__(self, block: TextBlock, shape: RowShape, broken: dict[int, str]) -> None:
        self.block = block
        self.shape = shape
        self.broken = broken
        self._paths = Paths(block.around)
        content = block.content
        self._table = content if isinstance(content, pl.DataFrame) else None
        # fields that were read without making objects of their rows
        self._columns = content.columns if isinstance(content, JsonRows) else {}
        self._objects: Mapping[int, dict[str, Any]] = {}
        if isinstance(content, JsonRows):
            self._objects = content.plain
        elif isinstance(content, list):
            self._objects = dict(enumerate(content))
        if shape.needs_whole_rows and (beside := columns_around(block)):
            self._objects = {i: {**beside, **row} for i, row in self._objects.items()}
            if self._table is not None:
                lacking = {name: value for name, value in beside.items() if name not in self._table.columns}
                self._table = self._table.with_columns(
                    pl.lit(value, pl.String).alias(name) for name, value in lacking.items()
                )
        self._known = self._recognise(self._objects)

    def fields(self, at: Ints) -> list[pl.Series]:
        """Return the fields of the rows `at`, each a column; a field that no row has is left out."""
        found = (self.field(name, at) for name in EVENT_COLUMNS if name != "kind")
        return [column for column in found if column is not None]

    def field(self, name: str, at: Ints, origin: Origin | None = None) -> pl.Series | None:
        """One field of the rows `at`, from its own origin unless another is named; None where the source does
        not have it.
        """
        origin = self.shape.columns.get(name) if origin is None else origin
        if origin == ConstantOrigin(None):
            return None
        if isinstance(origin, ConstantOrigin):
            return self._constant(name, at, origin.value)
        if self._table is not None:
            return self._from_table(self._table, name, at, origin)
        if self._columns:
            return self._with_columns(name, at, origin)
        if origin is None and not self._is_known(name):
            around = self.block.around
            return self._constant(name, at, around[name]) if name in around else None
        return column_of(name, self._find(name, at, origin))

    def _from_table(
        self, table: pl.DataFrame, name: str, at: Ints, origin: Origin | None
    ) -> pl.Series | None:
        """Return a field of a table: a column, or made of columns, else row by row."""
        self.check(origin, table)
        named = name if origin is None else origin
        if isinstance(named, str) and named in table.columns:
            if not _is_json_scalar(name, table[named].dtype):
                return self._plain(name, _pick(table[named], at), named)
        elif isinstance(named, str) and named in self.block.around:
            return self._constant(name, at, self.block.around[named])
        elif origin is None:
            return None
        made = self._of_columns(table, name, at, origin)
        return column_of(name, self._find(name, at, named)) if made is None else made

    def _of_columns(
        self, table: pl.DataFrame, name: str, at: Ints, origin: Origin | None
    ) -> pl.Series | None:
        """Return a field that is made of columns: texts filled with them, objects of them, the first of
        them; None where it takes more than that.
        """
        if isinstance(origin, str):
            return None if origin in table.columns else self._fill_text(name, at, origin)
        if isinstance(origin, Mapping):
            return _object_of(table, name, at, origin)
        if isinstance(origin, Sequence) and self._are_columns(origin, table):
            return _first_of(name, [self.field(name, at, one) for one in origin])
        return None

    def _fill_text(self, name: str, at: Ints, text: str) -> pl.Series | None:
        """Return a text with columns in its braces; None where it has none."""
        found = [self.field(TEXT, at, path) for path in paths_in(text)]
        values = [null_texts(len(at)) if one is None else one for one in found]
        return _fill(name, text, values) if values else None

    def _are_columns(self, origins: Sequence[str | ConstantOrigin], table: pl.DataFrame) -> bool:
        return all(
            isinstance(one, ConstantOrigin)
            or all(path in table.columns or path in self.block.around for path in texts_of(one))
            for one in origins
        )

    def _plain(self, name: str, column: pl.Series, named: str) -> pl.Series:
        """Return a column as a field; refused where it cannot be one, with the name that the source has."""
        if name in TEXT_COLUMNS and isinstance(column.dtype, (pl.List, pl.Array)):
            raise DataError(
                f"column {named!r}, which gives {name}, holds lists",
                place=self.block.place,
                allowed="text, dictionary-encoded or not, or integers",
                hint=f"explode={named!r} makes a row of each item",
            )
        whole = is_whole(column.dtype) or not column.dtype.is_numeric()
        if whole or name in ("seq_no", "timestamp", *JSON_COLUMNS):
            return column.alias(name)
        if column.null_count() == len(column):
            return pl.Series(name, [None], dtype=pl.String).new_from_index(0, len(column))
        raise DataError(
            f"column {named!r}, which gives {name}, is {column.dtype}",
            place=self.block.place,
            allowed="text, dictionary-encoded or not, or integers",
            hint=f"{FLOATS}: frame.astype({{{named!r}: 'Int64'}})",
        )

    def _with_columns(self, name: str, at: Ints, origin: Origin | None) -> pl.Series | None:
        """Return a field that some rows have in columns and others as objects."""
        fast = self._fast(name, origin)
        if origin is None and fast.null_count() == len(fast) and not self._is_known(name):
            return None
        fast = _pick(fast, at).alias(name)
        if name == "timestamp" and fast.null_count() == len(fast):
            fast = column_of(name, fast.to_list())
        places = np.flatnonzero(np.isin(at, list(self._objects))) if self._objects else at[:0]
        if not len(places):
            return fast
        plain = self._find(name, at[places], origin)
        made = column_of(name, plain)
        if made.null_count() == len(made):
            return fast
        if made.dtype == fast.dtype:
            return fast.scatter(places, made)
        # moments of several kinds
        values = fast.to_list()
        for place, value in zip(places.tolist(), plain, strict=True):
            values[place] = value
        return column_of(name, values)

    def _fast(self, name: str, origin: Origin | None) -> pl.Series:
        """Return a field of all rows, null for those that are objects."""
        if isinstance(origin, Sequence) and not isinstance(origin, str):
            found = [
                self._constant(name, np.arange(len(self.block.rows)), one.value)
                if isinstance(one, ConstantOrigin)
                else self._fast(name, one)
                for one in origin
            ]
            first = _first_of(name, found)
            assert first is not None
            return first
        assert origin is None or isinstance(origin, str)
        if origin is not None and (paths := paths_in(origin)):
            return _fill(name, origin, [self._fast(TEXT, path) for path in paths])
        column = self._columns[name, origin]
        beside = self.block.around.get(name if origin is None else origin)
        return column if beside is None else column.cast(pl.String).fill_null(beside)

    def _is_known(self, name: str) -> bool:
        return any(fields.get(name) is not None for fields in self._known.values())

    def _find(self, name: str, at: Ints, origin: Origin | None) -> list[Any]:
        """Return a field of some rows as Python values in their stored form, read row by row."""
        if origin is None:
            around = self.block.around.get(name)
            return self._convert(name, at, [self._known[i].get(name, around) for i in at.tolist()])
        return self._convert(name, at, self.values(origin, name, at))

    def _constant(self, name: str, at: Ints, value: Any) -> pl.Series:
        if not len(at):
            return column_of(name, [])
        one = column_of(name, self._convert(name, at[:1], [value]))
        if one.null_count():
            # report the problem for every row
            return column_of(name, self._convert(name, at, [value] * len(at)))
        return one.new_from_index(0, len(at))

    def values(self, origin: Origin, name: str, at: Ints) -> list[Any]:
        """Return what an origin is in each of the rows `at`."""
        table, objects = self._table, self._objects
        picked: Iterable[Row] = (objects[i] for i in at.tolist()) if table is None else _rows(table, at)
        found: list[Any] = []
        for i, row in zip(at.tolist(), picked, strict=True):
            try:
                found.append(self._paths.value(row, origin))
            except _ROW_ERRORS as error:
                why = f"the function of {name} failed: {type(error).__name__}: {error}"
                self.broken.setdefault(i, why[:200] if callable(origin) else f"{name}: {_what(error)}")
                found.append(None)
        return found

    def _convert(self, name: str, at: Ints, values: list[Any]) -> list[Any]:
        """Return Python values as this field has them."""
        convert = CONVERT[name]
        found = []
        for i, value in zip(at.tolist(), values, strict=True):
            try:
                found.append(None if is_nothing(value) else convert(value, name))
            except DataError as error:
                listed = name in TEXT_COLUMNS and isinstance(value, (list, tuple))
                self.broken.setdefault(i, f"{error.what}{_EXPLODE if listed else ''}")
                found.append(None)
        return found

    def _recognise(self, rows: Mapping[int, dict[str, Any]]) -> dict[int, Row]:
        known: dict[int, Row] = {}
        shapes = list(ROW_FORMATS.values()) if rows else []
        for i, row in rows.items():
            try:
                known[i] = known_fields(row, shapes)
            except DataError as error:
                self.broken[i] = error.what
                known[i] = {}
            # a shape of another package was not written for every row
            except _ROW_ERRORS as error:
                self.broken[i] = f"{type(error).__name__}: {error}"[:200]
                known[i] = {}
        return known

    def check(self, origin: Origin | None, table: pl.DataFrame) -> None:
        """Refuse a path that begins with no column of the table; of alternatives one must."""
        lacking = [name for name in texts_of(origin) if not self._has(name, table)]
        if not lacking or (isinstance(origin, str) and origin in table.columns):
            return
        # one of the alternatives will do, and a constant is always there
        if isinstance(origin, Sequence) and not isinstance(origin, str) and len(lacking) < len(origin):
            return
        known = list(self.block.names or table.columns)
        raise DataError(
            f"there is no column {lacking[0]!r}",
            place=self.block.place,
            allowed=", ".join(known),
            hint=_way_to(lacking[0], known),
        )

    def _has(self, path: str, table: pl.DataFrame) -> bool:
        first = path.partition(".")[0]
        return path in table.columns or first in table.columns or path in self.block.around


def _is_json_scalar(name: str, dtype: pl.DataType) -> bool:
    """Return True for numbers, booleans and times that are to be the whole of a JSON field."""
    return name in JSON_COLUMNS and (dtype.is_numeric() or dtype.is_temporal() or dtype == pl.Boolean)


def _way_to(column: str, known: Sequence[str]) -> str:
    """Return a hint for a column that does not exist."""
    if any(map(_DATA.fullmatch, known)):
        return "the first line looks like data: name the columns with header=[…]"
    return did_you_mean(column, known) or f"literal({column!r}) is that text in every row"


def _object_of(table: pl.DataFrame, name: str, at: Ints, origin: Mapping[str, Origin]) -> pl.Series | None:
    """Return a column of objects made of columns; None where a member is something else."""
    paths = [one for one in origin.values() if isinstance(one, str) and one in table.columns]
    if len(paths) < len(origin):
        return None
    members = [table[path].alias(member) for member, path in zip(origin, paths, strict=True)]
    return _pick(pl.DataFrame(members).to_struct(name), at)


def _what(error: Exception) -> str:
    return error.what if isinstance(error, DataError) else str(error)


def _fill(name: str, text: str, values: Sequence[pl.Series]) -> pl.Series:
    """Return a text with the values of columns in its braces; null where one is."""
    # what stands between the braces
    marked = fill_text(text, ["\0"] * len(values)).split("\0")
    parts = [pl.lit(marked[0])]
    frame = pl.DataFrame([column.cast(pl.String).alias(str(i)) for i, column in enumerate(values)])
    for i, between in enumerate(marked[1:]):
        parts += [pl.when(pl.col(str(i)) != "").then(pl.col(str(i))), pl.lit(between)]
    return frame.select(pl.concat_str(parts).alias(name)).to_series()


def _first_of(name: str, columns: Sequence[pl.Series | None]) -> pl.Series | None:
    """Return the first value that is there of each row; of several types as text."""
    there = [column for column in columns if column is not None and column.null_count() < len(column)]
    if not there:
        return next((column.alias(name) for column in columns if column is not None), None)
    if len({column.dtype for column in there}) > 1:
        there = [column.cast(pl.String) for column in there]
    frame = pl.DataFrame([column.alias(str(i)) for i, column in enumerate(there)])
    present = [
        pl.when(pl.col(str(i)) != "").then(pl.col(str(i))) if column.dtype == pl.String else pl.col(str(i))
        for i, column in enumerate(there)
    ]
    return frame.select(pl.coalesce(present).alias(name)).to_series()


def _pick(column: pl.Series, at: Ints) -> pl.Series:
    """Return some rows of a column, without a copy where they are all."""
    return column if len(at) == len(column) else column.gather(at)


def _rows(table: pl.DataFrame, at: Ints) -> Sequence[Row]:
    """Return some rows of a table in Python."""
    rows = table if len(at) == table.height else table[at]
    if any(within_years(column) is not column for column in rows):
        # moments beyond what Python knows
        return [row_in_python(table, i) for i in at.tolist()]
    return rows.rows(named=True)
