"""Columns of event tables: their types, and the conversion of files and frames to them.

Every chunk of a log has these types, whatever the source had: dictionary-encoded text becomes text, integer
ids become their decimal text, timestamps become UTC microseconds. `data` and `metadata` stay JSON text or
nested.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from flowdsl.arguments import texts_of, whole_number
from flowdsl.errors import DataError, warn
from flowdsl.events import EVENT_COLUMNS, JSON_COLUMNS, KINDS, TEXT_COLUMNS
from flowdsl.frames import is_whole
from flowdsl.text import short_repr

if TYPE_CHECKING:
    import pyarrow as pa

KIND: Final = pl.Enum(KINDS)
TIME: Final = pl.Datetime("us", "UTC")
SCHEMA: Final[dict[str, pl.DataType]] = {
    "seq_no": pl.Int64(),
    "event_id": pl.String(),
    "timestamp": TIME,
    "kind": KIND,
    **{name: pl.String() for name in EVENT_COLUMNS[4:]},
}
NOT_UTF8: Final = "__not_utf8"
# the text after a moment that cannot be shown as one
BEYOND: Final = "units since 1970"
# the years 1 to 9999, in seconds since 1970
FIRST_SECOND: Final = -62_135_596_800
LAST_SECOND: Final = 253_402_300_799

# as long is a moment without a zone, to the second
_SHORTEST: Final = 19
FLOATS: Final = "pandas makes floats of integer ids with gaps"

_TEXT = (pl.String, pl.Categorical, pl.Enum, pl.Binary, pl.Null)
_NESTED = (pl.Struct, pl.List, pl.Array, pl.Map)
_ALLOWED: Final = {
    "seq_no": "integers",
    "timestamp": "a timestamp type, or RFC 3339 text",
    "kind": "text, dictionary-encoded or not",
    **dict.fromkeys(TEXT_COLUMNS, "text, dictionary-encoded or not, or integers"),
    **dict.fromkeys(JSON_COLUMNS, "JSON text, or a nested type (struct, list, map)"),
}


def empty_events() -> pl.DataFrame:
    """Return an event table without rows.

    >>> empty_events().width
    12
    """
    return pl.DataFrame(schema=SCHEMA)


def _kinds(texts: pl.Series) -> pl.Series:
    """Convert text to kinds, null for unknown ones; if all texts are the same, one is converted for all."""
    # the last one is cheaper to see than all
    alike = len(texts) > 1 and not texts.null_count() and texts[0] == texts[-1] and (texts == texts[0]).all()
    kinds = (texts[:1] if alike else texts).cast(KIND, strict=False)
    return kinds.new_from_index(0, len(texts)) if alike else kinds


class NotAnEventTableError(DataError):
    """A table without the columns that every event table has."""


def check_types(schema: Mapping[str, pl.DataType], place: str) -> None:
    """Raise `DataError`, with file, column and types, for a table that cannot be an event table.

    >>> check_types({"timestamp": pl.Int64(), "kind": pl.String()}, "a.parquet")
    Traceback (most recent call last):
    flowdsl.errors.DataError: a.parquet: column 'timestamp' is Int64
      allowed: a timestamp type, or RFC 3339 text
      hint: a count since 1970 has a unit that only you know: read_events(…, time_unit='ms')
    """
    missing = [repr(name) for name in ("kind", "timestamp") if name not in schema]
    if missing:
        raise NotAnEventTableError(
            f"no column{'s' * (len(missing) > 1)} {' and '.join(missing)} among "
            f"{', '.join(map(repr, list(schema)[:12])) or 'none'}",
            place=place,
            allowed="kind and timestamp are needed; " + ", ".join(EVENT_COLUMNS) + " are known",
            hint=(
                "read_events(…, columns={'kind': …, 'timestamp': …}) reads tables of other shapes; "
                "guess(…) proposes a call"
            ),
        )
    for name in EVENT_COLUMNS:
        if name in schema and not _fits(name, schema[name]):
            raise DataError(
                f"column {name!r} is {schema[name]}",
                place=place,
                allowed=_ALLOWED[name],
                hint=_hint(name, schema[name]),
            )


def are_plain(schema: Mapping[str, pl.DataType]) -> bool:
    """Return True if text is text and numbers are 64-bit integers, so that nothing has to be converted.

    >>> are_plain({"seq_no": pl.Int64(), "kind": pl.String()}), are_plain({"entity_id": pl.Int64()})
    (True, False)
    """
    texts = ("kind", *TEXT_COLUMNS, *JSON_COLUMNS)
    plain = (pl.String, pl.Categorical, pl.Enum)
    return all(schema[name] in plain for name in texts if name in schema) and schema.get("seq_no") in (
        None,
        pl.Int64,
    )


class SchemaCoercer:
    """Converts pieces of one source to the types of an event table, and warns once about assumptions."""

    def __init__(self) -> None:
        self._warned_of_zone = False
        self._seen_time = False

    def admit(self, schema: Mapping[str, pl.DataType], place: str) -> None:
        """Reject a place whose columns cannot be those of an event table; return whether its timestamps lack
        a zone.
        """
        check_types(schema, place)
        stamps = schema["timestamp"]
        self.warn_of_zone(place, isinstance(stamps, pl.Datetime) and stamps.time_zone is None)

    def shape(self, frame: pl.DataFrame, place: str) -> pl.DataFrame:
        """Return the event columns of `frame` in their types.

        What cannot be kept becomes null; where text was not UTF-8 a boolean column `__not_utf8` says so.
        `kind` and `timestamp` are there even where the source has nothing in them.
        """
        columns = [column for column in frame.get_columns() if column.name in SCHEMA]
        nothing = pl.Series([None]).new_from_index(0, frame.height)
        columns += [nothing.alias(name) for name in ("kind", "timestamp") if name not in frame.columns]
        columns = _decode(columns)
        shaped = pl.DataFrame([self._convert(column) for column in columns])
        times = next(column for column in columns if column.name == "timestamp")
        if times.dtype not in (pl.Null, TIME):
            return self._with_time(times, shaped, place)
        within = within_years(times)
        return shaped if within is times else shaped.with_columns(within)

    def _convert(self, column: pl.Series) -> pl.Series:
        name, dtype = column.name, column.dtype
        if name in (NOT_UTF8, "timestamp"):
            return column.cast(TIME) if dtype == pl.Null else column
        if dtype == SCHEMA[name] or (name in JSON_COLUMNS and isinstance(dtype, _NESTED)):
            return column
        if isinstance(dtype, pl.Extension):
            column = column.ext.storage()
        if name == "kind" and dtype == pl.String:
            return _kinds(column)
        if name in ("kind", "seq_no"):
            return column.cast(SCHEMA[name], strict=False)
        return column.cast(pl.String)

    def _with_time(self, raw: pl.Series, shaped: pl.DataFrame, place: str) -> pl.DataFrame:
        if isinstance(raw.dtype, pl.Datetime):
            self.warn_of_zone(place, raw.dtype.time_zone is None)
            return shaped.with_columns(utc(within_years(raw)))
        text = raw.cast(pl.String)
        times, without_zone = parse_rfc3339(text)
        self.warn_of_zone(place, without_zone)
        times = within_years(times)
        if not self._seen_time and len(times) and times.null_count() == len(times) > text.null_count():
            raise DataError(
                f"column 'timestamp' is text that is not RFC 3339: {short_repr(text.drop_nulls()[0])}",
                place=place,
                allowed=_ALLOWED["timestamp"],
                hint="read_events(…, time_format='%Y/%m/%d %H:%M:%S %z') reads other spellings",
            )
        self._seen_time = True
        return shaped.with_columns(times.alias("timestamp"))

    def warn_of_zone(self, place: str, without_zone: bool) -> None:
        """Warn once that timestamps without a zone are taken as UTC."""
        if without_zone and not self._warned_of_zone:
            self._warned_of_zone = True
            warn(
                f"{place}: timestamps without a zone are taken as UTC; "
                "read_events(…, time_zone='Europe/Berlin') reads local times"
            )


def within_years(times: pl.Series) -> pl.Series:
    """Replace datetimes outside the years 1 to 9999, which Python cannot represent, by null.

    >>> within_years(pl.Series([0, 1 << 60]).cast(TIME)).is_null().to_list()
    [False, True]
    """
    if not isinstance(times.dtype, pl.Datetime) or times.dtype.time_unit == "ns":
        # 64 bits of nanoseconds end in 2262
        return times
    per_second = 1_000 if times.dtype.time_unit == "ms" else 1_000_000
    first, end = FIRST_SECOND * per_second, (LAST_SECOND + 1) * per_second
    counts = times.cast(pl.Int64)
    low, high = counts.min(), counts.max()
    if low is None or (low >= first and high < end):  # type: ignore[operator]
        return times
    inside = ((counts >= first) & (counts < end)).fill_null(value=False)
    return times.zip_with(inside, times.clear(1).extend_constant(None, 1).new_from_index(0, len(times)))


def readable(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the events whose time is in the years 1 to 9999; earlier versions let others into a log."""
    times = frame["timestamp"]
    within = within_years(times)
    return frame if within is times else frame.filter(within.is_not_null())


def row_in_python(frame: pl.DataFrame, row: int) -> dict[str, Any]:
    """Return a row as Python values; moments that Python cannot represent become text."""
    one = frame[row : row + 1]
    far = [column for column in one if within_years(column) is not column]
    near = one.drop([column.name for column in far]) if far else one
    found = near.row(0, named=True) if near.width else {}
    return {**found, **{column.name: f"{column.to_physical()[0]} {BEYOND}" for column in far}}


def utc(times: pl.Series) -> pl.Series:
    """Convert datetimes of any unit and zone to UTC microseconds; finer digits are cut, no zone means UTC.

    >>> utc(pl.Series([1999], dtype=pl.Datetime("ns"))).dtype
    Datetime(time_unit='us', time_zone='UTC')
    """
    zone = times.dtype.time_zone if isinstance(times.dtype, pl.Datetime) else None
    # `cast_time_unit` would round towards zero; before 1970 that is up, not down.
    if times.dtype == pl.Datetime("ns", zone):
        micros = (times.to_physical() // 1000).cast(pl.Datetime("us", zone))
    else:
        micros = times.cast(pl.Datetime("us", zone))
    return micros.dt.convert_time_zone("UTC") if zone else micros.dt.replace_time_zone("UTC")


def parse_rfc3339(text: pl.Series) -> tuple[pl.Series, bool]:
    """Parse text as UTC microseconds (null if not RFC 3339); also return whether some had no zone.

    >>> parse_rfc3339(pl.Series(["2024-01-01T02:00:00+02:00", "soon"]))[0].is_null().to_list()
    [False, True]
    """
    zoned, local = zoned_and_local(text)
    if local is None:
        return zoned, False
    filled = zoned.fill_null(local.dt.replace_time_zone("UTC"))
    return filled, filled.null_count() < zoned.null_count()


def zoned_and_local(text: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """Parse text as UTC microseconds, and where it has no zone as local microseconds; no second column where
    the first has all.

    >>> zoned_and_local(pl.Series(["2024-01-01 02:00:00"]))[1].to_list()
    [datetime.datetime(2024, 1, 1, 2, 0)]
    """
    plain = _plain_times(text)
    if plain is not None:
        return plain
    zoned = text.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    if zoned.null_count() == text.null_count():
        return zoned, None
    local = text.str.replace(" ", "T", literal=True).str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False
    )
    return zoned, local


def _plain_times(text: pl.Series) -> tuple[pl.Series, pl.Series | None] | None:
    """Parse text of which all has the same of the usual forms, in a tenth of the time; return None for any
    other.
    """
    import pyarrow as pa

    if text.dtype != pl.String or text.null_count() == len(text):
        return None
    texts = text.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    zone = _one_zone(texts.drop_null())
    if zone is None:
        return None
    try:
        times = pl.Series(text.name, texts.cast(pa.timestamp("us", zone or None)))
    except pa.ArrowInvalid:
        # one has another form, or names no moment
        return None
    return (times, None) if zone else (pl.Series(text.name, [None], TIME).new_from_index(0, len(text)), times)


def _one_zone(texts: pa.LargeStringArray) -> str | None:
    """Return `UTC` for texts that all look like a moment with a zone, nothing for moments without one, and
    None for others.
    """
    ends = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset :][: len(texts) + 1]
    if (np.diff(ends) < _SHORTEST).any():
        return None
    characters = np.frombuffer(texts.buffers()[2], np.uint8)

    def have(place: int, some: bytes) -> bool:
        found = characters.take((ends[:-1] if place >= 0 else ends[1:]) + place)
        return bool(np.isin(found, np.frombuffer(some, np.uint8)).all())

    if not (have(13, b":") and have(16, b":") and have(10, b"T ")):
        return None
    zoned = have(-1, b"Z") or (have(-3, b":") and have(-6, b"+-"))
    if not zoned:
        return ""
    return "UTC" if have(10, b"T") else None


def chunk_columns(columns: Iterable[str]) -> list[str]:
    """Return the columns of a chunk: always `seq_no`, `timestamp` and `kind`, and the requested event
    columns. Raises `DataError` if they are not names.

    >>> chunk_columns(["source_id", "colour"])
    ['seq_no', 'timestamp', 'kind', 'source_id']
    """
    asked = {"seq_no", "timestamp", "kind", *texts_of(columns, "columns")}
    return [name for name in EVENT_COLUMNS if name in asked]


def asked_columns(columns: Iterable[str], size: int, after: int) -> list[str]:
    """Return the columns of chunks as `EventSource.chunks` is asked for them. Raises `DataError` if an
    argument is not valid.

    >>> asked_columns(["source_id"], 100, 0)
    ['seq_no', 'timestamp', 'kind', 'source_id']
    """
    whole_number(size, "size", 1)
    whole_number(after, "after")
    return chunk_columns(columns)


def present(columns: Iterable[str], schema: Mapping[str, pl.DataType]) -> list[str]:
    """Return the event columns among `columns` that a source has, in the order of an event table."""
    asked = set(columns)
    return [name for name in EVENT_COLUMNS if name in asked and name in schema and schema[name] != pl.Null]


def _fits(name: str, dtype: pl.DataType) -> bool:
    if isinstance(dtype, _TEXT):
        return name != "seq_no" or dtype == pl.Null
    if name == "timestamp":
        return isinstance(dtype, pl.Datetime)
    if name in JSON_COLUMNS:
        return isinstance(dtype, _NESTED) or (
            isinstance(dtype, pl.Extension) and dtype.ext_storage() == pl.String
        )
    return is_whole(dtype) and name != "kind"


def _hint(name: str, dtype: pl.DataType) -> str | None:
    if name == "timestamp" and dtype.is_integer():
        return "a count since 1970 has a unit that only you know: read_events(…, time_unit='ms')"
    if name in TEXT_COLUMNS and dtype.is_float():
        return f"{FLOATS}: use .astype('Int64') or text"
    return "read_events(…, columns={…}) reads tables of other shapes"


def _decode(columns: list[pl.Series]) -> list[pl.Series]:
    """Decode bytes to text; rows that are not UTF-8 become null and are marked."""
    decoded, spoilt = [], None
    for column in columns:
        text = column
        if column.dtype == pl.Binary:
            try:
                text = column.cast(pl.String)
            except pl.exceptions.ComputeError:
                # one value by one, because Polars refuses the column whole and does not say where
                text = pl.Series(column.name, [_text(value) for value in column], dtype=pl.String)
                wrong = text.is_null() & column.is_not_null()
                spoilt = wrong if spoilt is None else spoilt | wrong
        decoded.append(text)
    return decoded if spoilt is None else [*decoded, spoilt.alias(NOT_UTF8)]


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
