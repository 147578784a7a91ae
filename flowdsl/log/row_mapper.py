"""Mapping of the rows of a file of another shape to events: which column is which field, what its kinds
mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.errors import DataError, did_you_mean
from flowdsl.events import EVENT_COLUMNS, JSON_COLUMNS, KINDS
from flowdsl.frames import is_whole
from flowdsl.log.columns import FLOATS, row_in_python, within_years
from flowdsl.log.json_lines import JsonRows
from flowdsl.log.json_shapes import Request
from flowdsl.log.nested_rows import columns_around
from flowdsl.log.origins import ConstantOrigin, Origin, PartOrigin, Paths, Row, filled, paths_in, texts_of
from flowdsl.log.problems import RowProblems
from flowdsl.log.row_fields import CONVERT, column_of, is_nothing
from flowdsl.log.row_formats import ROW_FORMATS, known_fields
from flowdsl.log.shape import OTHERS, RowShape
from flowdsl.log.text_readers import TextBlock
from flowdsl.log.timestamps import TimeReader
from flowdsl.log.validation import without
from flowdsl.text import short_repr

ROW: Final = "__row"
_UNKNOWN: Final = "unknown kind {}; kinds= may say what it means (None: leave it out)"
# a field of text: what a path in braces is read as
_TEXT: Final = "kind"
Ints = npt.NDArray[np.int64]
# What a user's function may raise for a row that it was not written for; that row is broken, the others are
# read.
_ROW_ERRORS = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


@dataclass(frozen=True)
class MappedRows:
    """Events of one block, not checked yet: event columns, and `__row`, the position in the block each came
    from.
    """

    frame: pl.DataFrame
    skipped: int


def map_block(block: TextBlock, shape: RowShape, times: TimeReader, problems: RowProblems) -> MappedRows:
    """Return the events of a block as its rows have them: kinds translated, fields found, times read, rows
    split.
    """
    broken: dict[int, str] = {}
    source = _Source(block, shape, broken)
    kinds = _kinds(source)
    there = kinds.is_not_null().to_numpy(writable=True)
    there[list(broken)] = False
    left_out = ~there
    left_out[list(broken)] = False
    # rows that are left out on purpose are not asked for fields that they may not have
    at = np.flatnonzero(there)
    frame = pl.DataFrame([pl.Series(ROW, at, dtype=pl.Int64), *source.fields(at)])
    if "timestamp" in frame.columns:
        read, odd = times.read(frame["timestamp"], block.place)
        for i in (read.is_null() & frame["timestamp"].is_not_null()).arg_true():
            stamp = row_in_python(frame.select("timestamp"), i)["timestamp"]
            broken.setdefault(int(at[i]), f"timestamp {short_repr(stamp)} cannot be read")
        for i, (problem, why) in sorted(odd.items()):
            problems.add(block.place, block.rows[at[i]], problem, why, excerpt_of(block, int(at[i])))
        frame = frame.with_columns(read.alias("timestamp"))
    events = _split(frame, kinds, source)
    if shape.parts:
        # the fields of a part of its own may have failed
        events = events.filter(~pl.col(ROW).is_in(list(broken)))
    for row, why in sorted(broken.items()):
        problems.add(block.place, block.rows[row], "broken", why, excerpt_of(block, row))
    return MappedRows(events, int(left_out.sum()))


def requests_of(shape: RowShape) -> list[Request] | None:
    """Return the fields that rows are asked for; None where they are needed whole."""
    if len(list(ROW_FORMATS.values())) > len(ROW_FORMATS.own):
        # a shape of another package looks at whole rows
        return None
    asked = list(shape.origins())
    if shape.needs_whole_rows or shape.explode or shape.records:
        return None
    if any(isinstance(origin, Mapping) for _, origin in asked):
        return None
    found: list[Request] = []
    for name, origin in asked:
        if origin is None:
            found.append((name, None))
        alternatives = origin if isinstance(origin, Sequence) and not isinstance(origin, str) else (origin,)
        # a path within a text is one of text, whatever the field
        found += [(name if text in alternatives else _TEXT, text) for text in texts_of(origin)]
    return list(dict.fromkeys(found))


def check_columns(block: TextBlock, shape: RowShape) -> None:
    """Refuse a table that lacks a column which `shape` names, also where no row of it could be read."""
    if isinstance(block.content, pl.DataFrame):
        source = _Source(block, shape, {})
        for _, origin in shape.origins():
            source.check(origin, block.content)


def excerpt_of(block: TextBlock, row: int) -> str:
    """Return a row of a block as short text."""
    if block.texts is not None:
        return block.texts[row][:300].encode("utf-8", "replace").decode()
    content = block.content
    if isinstance(content, pl.DataFrame):
        return str(row_in_python(content, row))[:300]
    return str(content[row] if isinstance(content, list) else "")[:300]


class _Source:
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
        self._known = self._recognised(self._objects)

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
        if origin is None and name in self.block.around and not self._is_known(name):
            return self._constant(name, at, self.block.around[name])
        if origin is None and not self._is_known(name):
            return None
        return column_of(name, self._found(name, at, origin))

    def _from_table(
        self, table: pl.DataFrame, name: str, at: Ints, origin: Origin | None
    ) -> pl.Series | None:
        """Return a field of a table: a column, or texts made of columns, else row by row."""
        self.check(origin, table)
        named = name if origin is None else origin
        if isinstance(named, str):
            if named in table.columns and not _is_json_scalar(name, table[named].dtype):
                return self._plain(name, _picked(table[named], at), named)
            if named in self.block.around:
                return self._constant(name, at, self.block.around[named])
            if origin is None and named not in table.columns:
                return None
            origin = named
        if isinstance(origin, str) and origin not in table.columns and (paths := paths_in(origin)):
            inner = [self.field(_TEXT, at, path) for path in paths]
            return _filled(name, origin, [_nothing(at) if one is None else one for one in inner])
        if isinstance(origin, Mapping):
            members = {
                member: table[o] for member, o in origin.items() if isinstance(o, str) and o in table.columns
            }
            if len(members) == len(origin):
                struct = pl.DataFrame([column.alias(member) for member, column in members.items()]).to_struct(
                    name
                )
                return _picked(struct, at)
        elif (
            isinstance(origin, Sequence) and not isinstance(origin, str) and self._are_columns(origin, table)
        ):
            return _first_of(name, [self.field(name, at, one) for one in origin])
        assert origin is not None
        return column_of(name, self._found(name, at, origin))

    def _are_columns(self, origins: Sequence[str | ConstantOrigin], table: pl.DataFrame) -> bool:
        return all(
            isinstance(one, ConstantOrigin)
            or all(path in table.columns or path in self.block.around for path in texts_of(one))
            for one in origins
        )

    def _plain(self, name: str, column: pl.Series, named: str) -> pl.Series:
        """Return a column as a field; refused where it cannot be one, with the name that the source has."""
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
        fast = _picked(fast, at).alias(name)
        if name == "timestamp" and fast.null_count() == len(fast):
            fast = column_of(name, fast.to_list())
        places = np.flatnonzero(np.isin(at, list(self._objects))) if self._objects else at[:0]
        if not len(places):
            return fast
        plain = self._found(name, at[places], origin)
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
            return _filled(name, origin, [self._fast(_TEXT, path) for path in paths])
        column = self._columns[name, origin]
        beside = self.block.around.get(name if origin is None else origin)
        return column if beside is None else column.cast(pl.String).fill_null(beside)

    def _is_known(self, name: str) -> bool:
        return any(fields.get(name) is not None for fields in self._known.values())

    def _found(self, name: str, at: Ints, origin: Origin | None) -> list[Any]:
        """Return a field of rows that are objects, or of whatever a path or a function sees, as it is stored."""
        if origin is None:
            around = self.block.around.get(name)
            return self._converted(name, at, [self._known[i].get(name, around) for i in at.tolist()])
        return self._converted(name, at, self.values(origin, name, at))

    def _constant(self, name: str, at: Ints, value: Any) -> pl.Series:
        one = column_of(name, self._converted(name, at[:1], [value]))
        if one.null_count() or not len(at):
            # what is wrong with it is wrong in every row
            return column_of(name, self._converted(name, at, [value] * len(at)))
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

    def _converted(self, name: str, at: Ints, values: list[Any]) -> list[Any]:
        """Return Python values as this field has them."""
        convert = CONVERT[name]
        found = []
        for i, value in zip(at.tolist(), values, strict=True):
            try:
                found.append(None if is_nothing(value) else convert(value, name))
            except DataError as error:
                self.broken.setdefault(i, error.what)
                found.append(None)
        return found

    def _recognised(self, rows: Mapping[int, dict[str, Any]]) -> dict[int, Row]:
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
        alternatives = isinstance(origin, Sequence) and not isinstance(origin, str)
        names = list(texts_of(origin))
        if isinstance(origin, str) and origin in table.columns:
            return
        lacking = [name for name in names if not self._has(name, table)]
        if not lacking or (alternatives and (len(lacking) < len(names) or len(names) < len(origin))):  # type: ignore[arg-type]
            return
        raise DataError(
            f"there is no column {lacking[0]!r}",
            place=self.block.place,
            allowed=", ".join(table.columns),
            hint=did_you_mean(lacking[0], table.columns)
            or f"literal({lacking[0]!r}) is that text in every row",
        )

    def _has(self, path: str, table: pl.DataFrame) -> bool:
        first = path.partition(".")[0]
        return path in table.columns or first in table.columns or path in self.block.around


def _is_json_scalar(name: str, dtype: pl.DataType) -> bool:
    """Return True for numbers, booleans and times that are to be the whole of a JSON field."""
    return name in JSON_COLUMNS and (dtype.is_numeric() or dtype.is_temporal() or dtype == pl.Boolean)


def _what(error: Exception) -> str:
    return error.what if isinstance(error, DataError) else str(error)


def _nothing(at: Ints) -> pl.Series:
    return pl.Series([None], dtype=pl.String).new_from_index(0, len(at))


def _filled(name: str, text: str, values: Sequence[pl.Series]) -> pl.Series:
    """Return a text with the values of columns in its braces; null where one is."""
    # what stands between the braces
    marked = filled(text, ["\0"] * len(values)).split("\0")
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


def _picked(column: pl.Series, at: Ints) -> pl.Series:
    """Return some rows of a column, without a copy where they are all."""
    return column if len(at) == len(column) else column.gather(at)


def _rows(table: pl.DataFrame, at: Ints) -> Sequence[Row]:
    """Return some rows of a table in Python."""
    rows = table if len(at) == table.height else table[at]
    if any(within_years(column) is not column for column in rows):
        # moments beyond what Python knows
        return [row_in_python(table, i) for i in at.tolist()]
    return rows.rows(named=True)


def _kinds(source: _Source) -> pl.Series:
    """Return what each row is, in the words of events or of `split`; null for a row that is left out or
    broken.
    """
    shape, everywhere = source.shape, np.arange(len(source.block.rows))
    if callable(shape.kinds):
        made = source.values(shape.kinds, "kinds", everywhere)
        for i, kind in enumerate(made):
            # also what has no hash, and cannot be looked up
            if kind is not None and not isinstance(kind, str):
                source.broken.setdefault(i, _UNKNOWN.format(short_repr(kind)))
                made[i] = None
        meant = _meaning(
            dict.fromkeys(made), shape, source, lambda kind: [i for i, k in enumerate(made) if k == kind]
        )
        return pl.Series([meant[kind] for kind in made], dtype=pl.String)
    found = source.field("kind", everywhere)
    if found is None and not source.broken:
        raise DataError(
            "nothing says what kind of event a row is",
            place=source.block.place,
            allowed="a column kind, columns={'kind': …}, or kinds=function",
            hint="columns={'kind': literal('link.created')} makes all rows of one kind",
        )
    if found is not None and found.dtype.is_nested():
        raise DataError(f"kind is of type {found.dtype}", place=source.block.place, allowed="text")
    if found is None:
        named = pl.Series([None], dtype=pl.String).new_from_index(0, len(everywhere))
    else:
        named = found.cast(pl.String)
    distinct = named.unique(maintain_order=True).to_list()
    meant = _meaning(distinct, shape, source, lambda kind: named.eq_missing(kind).arg_true())
    if all(name == kind for name, kind in meant.items()):
        return named
    return named.replace_strict(list(meant), list(meant.values()), return_dtype=pl.String)


def _meaning(
    distinct: Iterable[str | None], shape: RowShape, source: _Source, rows_of: Callable[[Any], Iterable[int]]
) -> dict[str | None, str | None]:
    """Return what each kind that rows name is to mean; a kind that means nothing breaks its rows."""
    by_function, told = callable(shape.kinds), shape.kind_names
    meant: dict[str | None, str | None] = {}
    for name in distinct:
        others = name if OTHERS not in told or name in shape.parts else told[OTHERS]
        kind = meant[name] = told.get(name, others)
        if kind in KINDS or kind in shape.parts:
            continue
        if kind is None and (by_function or name is not None or OTHERS in told):
            continue
        meant[name] = None
        why = _UNKNOWN.format(short_repr(kind))
        for i in rows_of(name):
            source.broken.setdefault(int(i), "kind is null" if kind is None else why)
    return meant


def _split(frame: pl.DataFrame, kinds: pl.Series, source: _Source) -> pl.DataFrame:
    """Return the events of the rows, those of one row after the other, each with its kind and the fields of
    its own.
    """
    rows = frame[ROW].to_numpy()
    sound = ~np.isin(rows, list(source.broken)) if source.broken else np.ones(len(rows), bool)
    if not source.shape.parts:
        events = frame if sound.all() else frame.filter(sound)
        return events.with_columns(kinds.gather(events[ROW]).alias("kind"))
    at, which, parts = _parts(np.flatnonzero(sound), kinds.gather(frame[ROW]), source.shape.parts)
    named = pl.Series([part.kind for part in parts], dtype=pl.String)
    events = frame[at].with_columns(named.gather(which).alias("kind"))
    if any(part.columns for part in parts):
        return _with_own(events, which, parts, source)
    return events


def _parts(
    at: Ints, kinds: pl.Series, split: Mapping[str, Sequence[PartOrigin]]
) -> tuple[Ints, Ints, list[PartOrigin]]:
    """Return for each event its row among `at`, the number of its part, and the parts that numbers stand
    for.
    """
    parts: list[PartOrigin] = []
    first, count = np.zeros(len(kinds), np.int64), np.ones(len(kinds), np.int64)
    for kind in kinds.unique(maintain_order=True).drop_nulls():
        own = split.get(kind) or (PartOrigin(kind),)
        rows = (kinds == kind).fill_null(value=False).to_numpy()
        first[rows], count[rows] = len(parts), len(own)
        parts += own
    counts = count[at]
    ends = np.cumsum(counts)
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
    return np.repeat(at, counts), np.repeat(first[at], counts) + within, parts


def _with_own(events: pl.DataFrame, which: Ints, parts: list[PartOrigin], source: _Source) -> pl.DataFrame:
    """Return events with the fields that their parts of a row take from elsewhere, without the parts that a
    row does not have.
    """
    rows = events[ROW].to_numpy()
    left_out: list[int] = []
    for number, one in enumerate(parts):
        places = np.flatnonzero(which == number)
        lacking = np.zeros(len(places), bool)
        for name, origin in one.columns.items():
            found = source.field(name, rows[places], origin)
            fields = pl.Series(name, [None] * len(places), dtype=pl.String) if found is None else found
            if name not in events.columns:
                events = events.with_columns(pl.lit(None, dtype=fields.dtype).alias(name))
            if name in one.ids:
                absent = fields.is_null() if fields.dtype != pl.String else fields.is_null() | (fields == "")
                lacking |= absent.fill_null(value=False).to_numpy()
            events = events.with_columns(_put(events[name], places, fields))
        left_out += places[lacking].tolist()
    kept = without(events, left_out)
    nothing_left = set(rows[left_out].tolist()) - set(kept[ROW].to_list()) - source.broken.keys()
    for row in nothing_left:
        source.broken[row] = "it has the ids of none of the events that it is split into"
    return kept


def _put(column: pl.Series, places: Ints, values: pl.Series) -> pl.Series:
    """Return a column with other values at some places; of two types text is the one that holds both."""
    if column.dtype != values.dtype:
        column, values = column.cast(pl.String), values.cast(pl.String)
    return column.clone().scatter(places, values) if len(places) else column
