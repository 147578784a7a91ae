"""How the rows of a file of another shape become events: which column is which field, what its kinds mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import polars as pl

from flowdsl.errors import DataError, did_you_mean
from flowdsl.events import EVENT_COLUMNS, JSON_COLUMNS, KINDS, TEXT_COLUMNS, id_text, json_text, timestamp_us
from flowdsl.log.cloudevents import cloud_fields, is_cloud_event
from flowdsl.log.columns import TIME, Shaper
from flowdsl.log.instants import PER_SECOND, TimeUnit, instants
from flowdsl.log.problems import Problems
from flowdsl.log.textfiles import Block

Row = Mapping[str, Any]
ROW: Final = "__row"
# What a user's function may raise for a row that it was not written for; that row is broken, the others are read.
_ROW_ERRORS = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


@dataclass(frozen=True)
class Constant:
    """A value that a field has in every row; made by `literal`."""

    value: Any


def literal(value: Any) -> Constant:
    """A field that is the same in every row, for `read_events(columns=…)`.

    >>> literal("likes")
    Constant(value='likes')
    """
    return Constant(value)


@dataclass(frozen=True)
class Shape:
    """What `read_events` was told about a source; a mistake is a `DataError` when this is made."""

    columns: Mapping[str, str | Constant | Callable[[Row], Any]] = field(default_factory=dict)
    kinds: Mapping[str, str | None] | Callable[[Row], str | None] = field(default_factory=dict)
    split: Mapping[str, Sequence[str]] = field(default_factory=dict)
    time_unit: TimeUnit | None = None
    time_format: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, origin in self.columns.items():
            if name not in EVENT_COLUMNS:
                raise DataError(
                    f"columns= names {name!r}, which no event table has", allowed=", ".join(EVENT_COLUMNS),
                    hint=did_you_mean(name, EVENT_COLUMNS) or "columns= is {field of the event: column of the source}",
                )  # fmt: skip
            if not isinstance(origin, (str, Constant)) and not callable(origin):
                raise DataError(
                    f"columns[{name!r}] is {origin!r:.40}", allowed="a column name, literal(…), or a function of a row",
                    hint=f"literal({origin!r:.40}) is that value in every row",
                )  # fmt: skip
        if self.time_unit is not None and self.time_unit not in PER_SECOND:
            raise DataError(f"time_unit={self.time_unit!r}", allowed="'s', 'ms', 'us' or 'ns'")
        made = [*(kind for kinds in self.split.values() for kind in kinds)]
        named = list(self.kinds.values()) if isinstance(self.kinds, Mapping) else []
        for kind in made + [kind for kind in named if kind is not None and kind not in self.split]:
            if kind not in KINDS:
                raise DataError(
                    f"{kind!r} is no kind of event", allowed=", ".join(KINDS),
                    hint=did_you_mean(str(kind), KINDS) or "split= makes several events of one row",
                )  # fmt: skip


@dataclass
class Mapped:
    """Events of one block, not checked yet: event columns, and `__row`, the position in the block each came from."""

    frame: pl.DataFrame
    skipped: int


def map_block(block: Block, shape: Shape, shaper: Shaper, problems: Problems) -> Mapped:
    """The events of a block as its rows have them: fields found, kinds translated, times read, rows split."""
    broken: dict[int, str] = {}
    if isinstance(block.content, pl.DataFrame):
        fields = _fields_of_table(block.content, shape, block.place, broken)
        height = block.content.height
    else:
        fields = _fields_of_rows(block.content, shape, broken)
        height = len(block.content)
    frame = pl.DataFrame(fields) if fields else pl.DataFrame({}, height=height)
    frame = frame.with_columns(pl.int_range(height, dtype=pl.Int64, eager=True).alias(ROW))
    if "timestamp" in frame.columns:
        times = instants(frame["timestamp"], block.place, shaper, shape.time_unit, shape.time_format)
        stamps = frame["timestamp"]
        for row in (times.is_null() & stamps.is_not_null()).arg_true():
            broken.setdefault(row, f"timestamp {stamps[row]!r:.60} cannot be read")
        frame = frame.with_columns(times.alias("timestamp"))
    kinds = _kinds(block, frame, shape, broken)
    for row, why in sorted(broken.items()):
        problems.add(block.place, block.rows[row], "broken", why, excerpt_of(block, row))
    return _split(frame, kinds, shape, broken)


def excerpt_of(block: Block, row: int) -> str:
    """A row of a block as short text."""
    if block.texts is not None:
        return block.texts[row][:300].encode("utf-8", "replace").decode()
    content = block.content
    return str(content.row(row, named=True) if isinstance(content, pl.DataFrame) else content[row])[:300]


def _fields_of_table(
    table: pl.DataFrame, shape: Shape, place: str, broken: dict[int, str]
) -> list[pl.Series]:
    fields = []
    for name in EVENT_COLUMNS:
        origin = shape.columns.get(name, name)
        if isinstance(origin, str):
            if origin in table.columns:
                fields.append(table[origin].alias(name))
                continue
            if name not in shape.columns:
                continue
            if origin.partition(".")[0] not in table.columns:
                raise DataError(
                    f"there is no column {origin!r}", place=place, allowed=", ".join(table.columns),
                    hint=did_you_mean(origin, table.columns) or f"literal({origin!r}) is that text in every row",
                )  # fmt: skip
        rows = table.iter_rows(named=True) if not isinstance(origin, Constant) else iter([{}] * table.height)
        fields.append(
            _series(name, [_found(row, origin, i, name, broken) for i, row in enumerate(rows)], broken)
        )
    return fields


def _fields_of_rows(rows: list[dict[str, Any]], shape: Shape, broken: dict[int, str]) -> list[pl.Series]:
    known = []
    for i, row in enumerate(rows):
        try:
            known.append(_known_fields(row))
        except DataError as error:
            broken[i] = error.what
            known.append({})
    fields = []
    for name in EVENT_COLUMNS:
        if name in shape.columns:
            origin = shape.columns[name]
            values = [_found(row, origin, i, name, broken) for i, row in enumerate(rows)]
        elif any(name in fields_of_row for fields_of_row in known):
            values = [fields_of_row.get(name) for fields_of_row in known]
        else:
            continue
        fields.append(_series(name, values, broken))
    return fields


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


def _found(
    row: Row, origin: str | Constant | Callable[[Row], Any], index: int, name: str, broken: dict[int, str]
) -> Any:
    if isinstance(origin, Constant):
        return origin.value
    if isinstance(origin, str):
        return _at(row, origin)
    try:
        return origin(row)
    except _ROW_ERRORS as error:
        broken.setdefault(index, f"the function of {name} failed: {type(error).__name__}: {error}"[:200])
        return None


def _at(row: Row, path: str) -> Any:
    if path in row:
        return row[path]
    value: Any = row
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def _series(name: str, values: list[Any], broken: dict[int, str]) -> pl.Series:
    """Python values as a column of the type that this field has."""
    convert = _CONVERT[name]
    found = []
    for i, value in enumerate(values):
        try:
            found.append(None if value is None or value == "" else convert(value, name))
        except DataError as error:
            broken.setdefault(i, error.what)
            found.append(None)
    if name == "timestamp":
        return _stamps(found)
    return pl.Series(name, found, dtype=pl.Int64 if name == "seq_no" else pl.String)


def _json_or_text(value: Any, name: str) -> str | None:
    return value if isinstance(value, str) else json_text(value, name)


def _number(value: Any, name: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
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
    "timestamp": lambda value, name: value,
    "kind": id_text,
    **dict.fromkeys(TEXT_COLUMNS, id_text),
    **dict.fromkeys(JSON_COLUMNS, _json_or_text),
}


def _kinds(block: Block, frame: pl.DataFrame, shape: Shape, broken: dict[int, str]) -> list[str | None]:
    """What each row is, in the words of events or of `split`; None for a row to be left out."""
    if callable(shape.kinds):
        content = block.content
        rows = content.iter_rows(named=True) if isinstance(content, pl.DataFrame) else iter(content)
        found = [_found(row, shape.kinds, i, "kinds", broken) for i, row in enumerate(rows)]
        told: Mapping[str, str | None] = {}
    else:
        if "kind" not in frame.columns:
            raise DataError(
                "nothing says what kind of event a row is", place=block.place,
                allowed="a column kind, columns={'kind': …}, or kinds=function",
                hint="columns={'kind': literal('link.created')} makes all rows of one kind",
            )  # fmt: skip
        found, told = frame["kind"].cast(pl.String).to_list(), shape.kinds
    kinds: list[str | None] = []
    for i, named in enumerate(found):
        kind = told.get(named, named)
        if kind is None and named is None and not callable(shape.kinds):
            broken.setdefault(i, "kind is null")
        elif kind is not None and kind not in KINDS and kind not in shape.split:
            broken.setdefault(
                i, f"unknown kind {kind!r:.60}; kinds= may say what it means (None: leave it out)"
            )
        kinds.append(kind)
    return kinds


def _split(frame: pl.DataFrame, kinds: list[str | None], shape: Shape, broken: dict[int, str]) -> Mapped:
    at: list[int] = []
    parts: list[str] = []
    skipped = 0
    for i, kind in enumerate(kinds):
        if i in broken:
            continue
        if kind is None:
            skipped += 1
            continue
        for part in shape.split.get(kind, (kind,)):
            at.append(i)
            parts.append(part)
    events = frame[at] if len(at) < frame.height or shape.split else frame
    return Mapped(events.with_columns(pl.Series("kind", parts, dtype=pl.String)), skipped)
