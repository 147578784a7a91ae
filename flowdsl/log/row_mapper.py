"""How the rows of a file of another shape become events: which column is which field, what its kinds mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import polars as pl

from flowdsl.errors import DataError, did_you_mean
from flowdsl.events import EVENT_COLUMNS, JSON_COLUMNS, KINDS, TEXT_COLUMNS, id_text, json_text, timestamp_us
from flowdsl.log.cloudevents import cloud_fields, is_cloud_event
from flowdsl.log.columns import TIME, SchemaCoercer, row_in_python, within_years
from flowdsl.log.origins import ConstantOrigin, Origin, PartOrigin, Paths, Row, check_kind, check_origin
from flowdsl.log.problems import RowProblems
from flowdsl.log.text_readers import TextBlock
from flowdsl.log.timestamps import PER_SECOND, TimeUnit, instants
from flowdsl.log.validation import without

ROW: Final = "__row"
# What a user's function may raise for a row that it was not written for; that row is broken, the others are read.
_ROW_ERRORS = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


@dataclass(frozen=True)
class RowShape:
    """What `read_events` was told about a source; a mistake is a `DataError` when this is made."""

    columns: Mapping[str, Origin] = field(default_factory=dict)
    kinds: Mapping[str, str | None] | Callable[[Row], str | None] = field(default_factory=dict)
    split: Mapping[str, Sequence[PartOrigin]] = field(default_factory=dict)
    time_unit: TimeUnit | None = None
    time_format: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, origin in self.columns.items():
            check_origin("columns=", name, origin)
        if self.time_unit is not None and self.time_unit not in PER_SECOND:
            raise DataError(f"time_unit={self.time_unit!r}", allowed="'s', 'ms', 'us' or 'ns'")
        named = list(self.kinds.values()) if isinstance(self.kinds, Mapping) else []
        for kind in named:
            if kind is not None and kind not in self.split:
                check_kind(kind)


@dataclass(frozen=True)
class MappedRows:
    """Events of one block, not checked yet: event columns, and `__row`, the position in the block each came from."""

    frame: pl.DataFrame
    skipped: int


def map_block(block: TextBlock, shape: RowShape, shaper: SchemaCoercer, problems: RowProblems) -> MappedRows:
    """The events of a block as its rows have them: kinds translated, fields found, times read, rows split."""
    broken: dict[int, str] = {}
    source = _Source(block, shape, broken)
    kinds = _kinds(source)
    skipped = sum(kind is None and i not in broken for i, kind in enumerate(kinds))
    # rows that are left out on purpose are not asked for fields that they may not have
    at = [i for i, kind in enumerate(kinds) if kind is not None and i not in broken]
    frame = pl.DataFrame([pl.Series(ROW, at, dtype=pl.Int64), *source.fields(at)])
    if "timestamp" in frame.columns:
        times = instants(frame["timestamp"], block.place, shaper, shape.time_unit, shape.time_format)
        for i in (times.is_null() & frame["timestamp"].is_not_null()).arg_true():
            stamp = row_in_python(frame.select("timestamp"), i)["timestamp"]
            broken.setdefault(at[i], f"timestamp {stamp!r:.60} cannot be read")
        frame = frame.with_columns(times.alias("timestamp"))
    events = _split(frame, kinds, source)
    if shape.split:
        # the fields of a part of its own may have failed
        events = events.filter(~pl.col(ROW).is_in(list(broken)))
    for row, why in sorted(broken.items()):
        problems.add(block.place, block.rows[row], "broken", why, excerpt_of(block, row))
    return MappedRows(events, skipped)


def check_columns(block: TextBlock, shape: RowShape) -> None:
    """Refuse a table that lacks a column which `shape` names, also where no row of it could be read."""
    if isinstance(block.content, pl.DataFrame):
        source = _Source(block, shape, {})
        own = [part.columns for parts in shape.split.values() for part in parts]
        for columns in (shape.columns, *own):
            for origin in columns.values():
                if isinstance(origin, str) and origin not in block.content.columns:
                    source.check(origin, block.content)


def excerpt_of(block: TextBlock, row: int) -> str:
    """A row of a block as short text."""
    if block.texts is not None:
        return block.texts[row][:300].encode("utf-8", "replace").decode()
    content = block.content
    return str(row_in_python(content, row) if isinstance(content, pl.DataFrame) else content[row])[:300]


class _Source:
    """The rows of a block, asked for fields; a row that cannot give one is noted in `broken`."""

    def __init__(self, block: TextBlock, shape: RowShape, broken: dict[int, str]) -> None:
        self.block = block
        self.shape = shape
        self.broken = broken
        self._paths = Paths()
        self._table = block.content if isinstance(block.content, pl.DataFrame) else None
        self._known = [] if isinstance(block.content, pl.DataFrame) else self._recognised(block.content)

    def fields(self, at: list[int]) -> list[pl.Series]:
        """The fields of the rows `at`, each a column; a field that no row has is left out."""
        found = (self.field(name, at) for name in EVENT_COLUMNS if name != "kind")
        return [column for column in found if column is not None]

    def field(self, name: str, at: list[int], origin: Origin | None = None) -> pl.Series | None:
        """One field of the rows `at`, from its own origin unless another is named; None where the source does not have it."""
        origin = self.shape.columns.get(name) if origin is None else origin
        if origin == ConstantOrigin(None):
            return None
        if self._table is not None and (origin is None or isinstance(origin, str)):
            named = origin or name
            if named in self._table.columns:
                return self._table[named][at].alias(name)
            if origin is None:
                return None
            self.check(origin, self._table)
        if origin is not None:
            return self._series(name, at, self.values(origin, name, at))
        if not any(fields.get(name) is not None for fields in self._known):
            return None
        return self._series(name, at, [self._known[i].get(name) for i in at])

    def values(self, origin: Origin, name: str, at: list[int]) -> list[Any]:
        """What a constant, a path or a function gives for each of the rows `at`."""
        if isinstance(origin, ConstantOrigin):
            return [origin.value] * len(at)
        picked: Iterable[Row]
        if isinstance(self.block.content, pl.DataFrame):
            picked = _rows(self.block.content, at)
        else:
            content = self.block.content
            picked = (content[i] for i in at)
        found: list[Any] = []
        for i, row in zip(at, picked, strict=True):
            try:
                found.append(self._paths.at(row, origin) if isinstance(origin, str) else origin(row))
            except _ROW_ERRORS as error:
                why = f"the function of {name} failed: {type(error).__name__}: {error}"
                self.broken.setdefault(i, f"{name}: {error}" if isinstance(origin, str) else why[:200])
                found.append(None)
        return found

    def _series(self, name: str, at: list[int], values: list[Any]) -> pl.Series:
        """Python values as a column of the type that this field has."""
        convert = _CONVERT[name]
        found = []
        for i, value in zip(at, values, strict=True):
            try:
                found.append(None if value is None or value == "" else convert(value, name))
            except DataError as error:
                self.broken.setdefault(i, error.what)
                found.append(None)
        if name == "timestamp":
            return _stamps(found)
        return pl.Series(name, found, dtype=pl.Int64 if name == "seq_no" else pl.String)

    def _recognised(self, rows: list[dict[str, Any]]) -> list[Row]:
        known: list[Row] = []
        for i, row in enumerate(rows):
            try:
                known.append(_known_fields(row))
            except DataError as error:
                self.broken[i] = error.what
                known.append({})
        return known

    def check(self, origin: str, table: pl.DataFrame) -> None:
        """Refuse a path that begins with no column of the table."""
        if origin.partition(".")[0] not in table.columns:
            raise DataError(
                f"there is no column {origin!r}", place=self.block.place, allowed=", ".join(table.columns),
                hint=did_you_mean(origin, table.columns) or f"literal({origin!r}) is that text in every row",
            )  # fmt: skip


def _rows(table: pl.DataFrame, at: list[int]) -> Sequence[Row]:
    """Some rows of a table in Python."""
    rows = table[at]
    if any(within_years(column) is not column for column in rows):
        # moments beyond what Python knows
        return [row_in_python(table, i) for i in at]
    return rows.rows(named=True)


def _known_fields(row: dict[str, Any]) -> Row:
    """The fields of a row whose shape is known: a CloudEvent, production's envelope or event, an event table's row."""
    if is_cloud_event(row):
        fields = cloud_fields(row)
        return {**fields, **{name: json_text(fields.get(name), name) for name in JSON_COLUMNS}}
    inner = row.get("event")
    if isinstance(inner, Mapping):
        fields = {
            **inner,
            "event_id": row.get("id"),
            "timestamp": row.get("timestamp"),
            "seq_no": row.get("seq_no"),
        }
    else:
        fields = {**row, "event_id": row.get("event_id", row.get("id") if "action" in row else None)}
    if "action" in fields and isinstance(fields.get("kind"), str):
        fields["kind"] = f"{fields['kind']}.{fields['action']}"
    if "action" in fields:
        # in production's form a text is a JSON value; a row of an event table holds JSON text
        fields |= {name: json_text(fields.get(name), name) for name in JSON_COLUMNS}
    return fields


def _json_or_text(value: Any, name: str) -> str | None:
    return value if isinstance(value, str) else json_text(value, name)


def _number(value: Any, name: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return value
    raise DataError(f"{name} is {value!r:.40}, not an integer")


def _stamps(values: list[Any]) -> pl.Series:
    there = [value for value in values if value is not None]
    if all(isinstance(value, datetime) for value in there):
        micros = [None if value is None else timestamp_us(value) for value in values]
        return pl.Series("timestamp", micros, dtype=pl.Int64).cast(TIME)
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in there):
        exact = all(isinstance(value, int) for value in there)
        return pl.Series("timestamp", values, dtype=pl.Int64 if exact else pl.Float64)
    texts = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return pl.Series("timestamp", [None if text is None else str(text) for text in texts], dtype=pl.String)


_CONVERT: Final[dict[str, Callable[[Any, str], Any]]] = {
    "seq_no": _number,
    "timestamp": lambda value, name: _number(value, name) if type(value) is int else value,
    "kind": id_text,
    **dict.fromkeys(TEXT_COLUMNS, id_text),
    **dict.fromkeys(JSON_COLUMNS, _json_or_text),
}


def _kinds(source: _Source) -> list[str | None]:
    """What each row is, in the words of events or of `split`; None for a row to be left out."""
    shape, broken, everywhere = source.shape, source.broken, list(range(len(source.block.rows)))
    if callable(shape.kinds):
        found, told = source.values(shape.kinds, "kinds", everywhere), dict[str, str | None]()
    else:
        named = source.field("kind", everywhere)
        if named is None and not broken:
            raise DataError(
                "nothing says what kind of event a row is", place=source.block.place,
                allowed="a column kind, columns={'kind': …}, or kinds=function",
                hint="columns={'kind': literal('link.created')} makes all rows of one kind",
            )  # fmt: skip
        if named is not None and named.dtype.is_nested():
            raise DataError(f"kind is of type {named.dtype}", place=source.block.place, allowed="text")
        found = [None] * len(everywhere) if named is None else named.cast(pl.String).to_list()
        told = dict(shape.kinds)
    kinds: list[str | None] = []
    for i, named_kind in enumerate(found):
        kind = told.get(named_kind, named_kind)
        if kind is None and named_kind is None and not callable(shape.kinds):
            broken.setdefault(i, "kind is null")
        elif kind is not None and kind not in KINDS and kind not in shape.split:
            broken.setdefault(
                i, f"unknown kind {kind!r:.60}; kinds= may say what it means (None: leave it out)"
            )
        kinds.append(kind)
    return kinds


def _split(frame: pl.DataFrame, kinds: list[str | None], source: _Source) -> pl.DataFrame:
    """The events of the rows, those of one row after the other, each with its kind and the fields of its own."""
    shape, broken = source.shape, source.broken
    at: list[int] = []
    parts: list[PartOrigin] = []
    for i, row in enumerate(frame[ROW]):
        kind = kinds[row]
        if row in broken or kind is None:
            continue
        for part in shape.split.get(kind) or (PartOrigin(kind),):
            at.append(i)
            parts.append(part)
    events = frame[at] if len(at) < frame.height or shape.split else frame
    events = events.with_columns(pl.Series("kind", [part.kind for part in parts], dtype=pl.String))
    own = [part for several in shape.split.values() for part in several if part.columns]
    return _with_own(events, parts, own, source) if own else events


def _with_own(
    events: pl.DataFrame, parts: list[PartOrigin], own: list[PartOrigin], source: _Source
) -> pl.DataFrame:
    """Events with the fields that their parts of a row take from elsewhere, without the parts that a row does not have."""
    rows = events[ROW].to_list()
    left_out: list[int] = []
    for one in own:
        # parts of the same kind and columns are the same part, of whatever values
        places = [i for i, part in enumerate(parts) if part is one]
        lacking: set[int] = set()
        for name, origin in one.columns.items():
            found = source.field(name, [rows[i] for i in places], origin)
            fields = pl.Series(name, [None] * len(places), dtype=pl.String) if found is None else found
            if name not in events.columns:
                events = events.with_columns(pl.lit(None, dtype=fields.dtype).alias(name))
            if name in one.ids:
                absent = fields.is_null() if fields.dtype != pl.String else fields.is_null() | (fields == "")
                lacking |= {places[i] for i in absent.arg_true()}
            events = events.with_columns(_put(events[name], places, fields))
        left_out += sorted(lacking)
    kept = without(events, left_out)
    nothing_left = {rows[i] for i in left_out} - set(kept[ROW].to_list()) - source.broken.keys()
    for row in nothing_left:
        source.broken[row] = "it has the ids of none of the events that it is split into"
    return kept


def _put(column: pl.Series, places: list[int], values: pl.Series) -> pl.Series:
    """A column with other values at some places; of two types text is the one that holds both."""
    if column.dtype != values.dtype:
        column, values = column.cast(pl.String), values.cast(pl.String)
    return column.clone().scatter(places, values) if places else column
