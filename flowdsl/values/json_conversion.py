"""Conversion of frame columns to JSON values: types, times as text, structs and lists as JSON."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

import numpy as np
import polars as pl

from flowdsl.errors import DataError
from flowdsl.frames import first_line, is_foreign
from flowdsl.values.json_types import Tag

_SECOND: Final = 1_000_000
_DAY: Final = 86_400
# the empty text, after those for 000 to 999
_NONE: Final = 1000


def tag_of_dtype(dtype: pl.DataType) -> Tag | None:
    """Return the JSON type of a column, or None if it depends on each cell."""
    if dtype.is_integer():
        return Tag.INT
    if dtype.is_numeric():
        return Tag.FLOAT
    if dtype == pl.Boolean:
        return Tag.BOOL
    if dtype == pl.Null:
        return Tag.NULL
    if isinstance(dtype, (pl.Struct, pl.Map)):
        return Tag.OBJECT
    if dtype in (pl.List, pl.Array):
        return Tag.ARRAY
    if dtype in (pl.String, pl.Categorical, pl.Enum, pl.Binary) or dtype.is_temporal():
        return Tag.TEXT
    return None


def as_text(series: pl.Series) -> pl.Series:
    """Convert cells to text: times in UTC as in RFC 3339, durations as in ISO 8601."""
    if series.dtype == pl.String:
        return series
    if isinstance(series.dtype, pl.Datetime) and series.dtype.time_unit == "us":
        texts = moment_texts(series, "Z" if series.dtype.time_zone else "")
        if texts is not None:
            return texts.alias("t")
    try:
        return pl.DataFrame({"t": series}).select(_text_of(pl.col("t"), series.dtype)).to_series()
    except BaseException as error:
        if not is_foreign(error):
            raise
        raise DataError(f"values of type {series.dtype} cannot be text: {first_line(error)}") from error


def nested_json(series: pl.Series, *, nulls: bool = False) -> pl.Series:
    """Convert structs, lists and maps to compact JSON; their contents are converted like columns of their
    own.

    A struct has all fields in every row, so a null in it says that there is no such field: it is left out.
    With `nulls` it is written.
    """
    dtype = _in_json(series.dtype)
    cells = _as_json_has_it(pl.col("t"), series.dtype)
    try:
        plain = pl.DataFrame({"t": series}).select(cells.alias("t")).to_series()
        body = (
            _json_of(pl.col("t")) if nulls or not _lacks_fields(plain) else _without_nulls(pl.col("t"), dtype)
        )
        return (
            pl.DataFrame({"t": plain})
            .select(pl.when(pl.col("t").is_not_null()).then(body).alias("j"))
            .to_series()
        )
    except BaseException as error:
        if not is_foreign(error):
            raise
        raise DataError(
            f"nested values of type {series.dtype} cannot be JSON: {first_line(error)}"
        ) from error


def _json_of(cells: pl.Expr) -> pl.Expr:
    # {"t":…} without its frame
    return pl.struct(cells.alias("t")).struct.json_encode().str.slice(5).str.head(-1)


def _lacks_fields(series: pl.Series) -> bool:
    """Return True if a struct has a null field or a number that JSON cannot represent."""
    dtype, there = series.dtype, series.drop_nulls()
    if isinstance(dtype, pl.Struct):
        fields = [there.struct.field(field.name) for field in dtype.fields]
        return any(f.null_count() or _lacks_fields(f) or not _finite(f) for f in fields)
    if isinstance(dtype, pl.List):
        return _lacks_fields(there.list.explode(empty_as_null=False, keep_nulls=False))
    return isinstance(dtype, pl.Map) and _lacks_fields(there.map.values())


def _finite(series: pl.Series) -> bool:
    return not series.dtype.is_float() or bool(series.is_finite().all())


def _without_nulls(cells: pl.Expr, dtype: Any) -> pl.Expr:
    """Convert cells to JSON texts, leaving null fields out of structs; null cells stay null."""
    if isinstance(dtype, pl.Struct):
        fields = [
            pl.concat_str(
                pl.lit(json.dumps(field.name, ensure_ascii=False) + ":"),
                _without_nulls(cells.struct.field(field.name), field.dtype),
            )
            for field in dtype.fields
        ]
        inside = pl.concat_str(fields, separator=",", ignore_nulls=True) if fields else pl.lit("")
        return pl.when(cells.is_not_null()).then(pl.concat_str(pl.lit("{"), inside, pl.lit("}")))
    if isinstance(dtype, pl.List):
        items = cells.list.eval(_without_nulls(pl.element(), dtype.inner).fill_null("null"))
        return pl.concat_str(pl.lit("["), items.list.join(","), pl.lit("]"))
    if isinstance(dtype, pl.Map):
        entry = pl.concat_str(
            _json_of(pl.element().struct.field("key")),
            pl.lit(":"),
            _without_nulls(pl.element().struct.field("value"), dtype.value).fill_null("null"),
        )
        items = cells.map.entries().list.eval(entry)
        return pl.concat_str(pl.lit("{"), items.list.join(","), pl.lit("}"))
    there = cells.is_finite() if dtype.is_float() else cells.is_not_null()
    return pl.when(there).then(_json_of(cells))


def _text_of(cells: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Datetime):
        zone = dtype.time_zone
        moments = cells.dt.convert_time_zone("UTC") if zone else cells
        return moments.dt.strftime("%Y-%m-%dT%H:%M:%S%.f").str.replace(r"\.0+$", "") + ("Z" if zone else "")
    if isinstance(dtype, pl.Duration):
        return cells.dt.to_string("iso")
    return cells.cast(pl.String)


def _as_json_has_it(cells: pl.Expr, dtype: Any) -> pl.Expr:
    """Convert times inside nested cells to text and decimals to numbers, as for plain columns."""
    if _in_json(dtype) == dtype:
        return cells
    if isinstance(dtype, pl.Struct):
        # Polars' struct.with_fields fails for times in a list in a struct
        fields = (_as_json_has_it(cells.struct.field(f.name), f.dtype).alias(f.name) for f in dtype.fields)
        return pl.when(cells.is_not_null()).then(pl.struct(*fields))
    if isinstance(dtype, pl.List):
        return cells.list.eval(_as_json_has_it(pl.element(), dtype.inner))
    if isinstance(dtype, pl.Array):
        return _as_json_has_it(cells.arr.to_list(), pl.List(dtype.inner))
    if isinstance(dtype, pl.Map):
        entry = pl.Struct({"key": dtype.key, "value": dtype.value})
        return _as_json_has_it(cells.map.entries(), pl.List(entry)).cast(_in_json(dtype))
    return cells.cast(pl.Float64) if dtype.is_decimal() else _text_of(cells, dtype)


def _in_json(dtype: Any) -> Any:
    """Return the type in which cells of a type are written; types that JSON lacks are replaced."""
    if isinstance(dtype, pl.Struct):
        return pl.Struct({f.name: _in_json(f.dtype) for f in dtype.fields})
    if isinstance(dtype, (pl.List, pl.Array)):
        inner = _in_json(dtype.inner)
        return dtype if inner == dtype.inner else pl.List(inner)
    if isinstance(dtype, pl.Map):
        return pl.Map(pl.String(), _in_json(dtype.value))
    if dtype.is_decimal():
        return pl.Float64()
    return pl.String() if dtype.is_temporal() or dtype == pl.Binary else dtype


def moment_texts(moments: pl.Series, end: str = "") -> pl.Series | None:
    """Print moments (µs) like `2026-01-31T08:00:00.250`, and an `end`; return None where they are too few, or
    too far apart, for tables to pay.

    They are put together from tables of days and seconds: in a third of the time that printing each takes.

    >>> moments = pl.Series([1_767_225_600_250_000] * 5000).cast(pl.Datetime("us"))
    >>> moment_texts(moments)[0]
    '2026-01-01T00:00:00.250'
    """
    if len(moments) - moments.null_count() < _NONE:
        return None
    micros = moments.to_physical().fill_null(strategy="min").to_numpy()
    seconds, fraction = np.divmod(micros, _SECOND)
    days, seconds = np.divmod(seconds, _DAY)
    first, last = int(days.min()), int(days.max())
    if last - first > len(moments):
        return None
    dates = pl.Series(np.arange(first, last + 1)).cast(pl.Int32).cast(pl.Date).dt.strftime("%Y-%m-%dT")
    parts = [dates.gather(days - first), _times().gather(seconds)]
    if fraction.any():
        thousandths, rest = np.divmod(fraction, 1000)
        parts.append(_thousandths(".").gather(np.where(fraction, thousandths, _NONE)))
        if rest.any():
            parts.append(_thousandths("").gather(np.where(rest, rest, _NONE)))
    texts = pl.select(pl.concat_str([*parts, pl.lit(end)])).to_series()
    return texts.set(moments.is_null(), None) if moments.null_count() else texts


@cache
def _times() -> pl.Series:
    """Return the time of each second of a day."""
    return pl.Series(np.arange(_DAY) * 1_000_000_000).cast(pl.Time).dt.strftime("%H:%M:%S")


@cache
def _thousandths(before: str) -> pl.Series:
    return pl.Series([*(f"{before}{number:03}" for number in range(_NONE)), ""])
