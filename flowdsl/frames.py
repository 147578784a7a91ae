"""Conversion of any frame to Polars: pandas, pyarrow, DuckDB relations, and the Arrow stream protocol.

Everything goes through Arrow, so that the same content gives the same columns from any library. Types that
Polars lacks are converted first, as it may panic on them: UUIDs become text, run-end encoded columns are
decoded, other extension types become their storage type.
"""

from __future__ import annotations

import asyncio
import sys
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias
from uuid import UUID

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from flowdsl.errors import DataError, FlowError
from flowdsl.text import type_text

if TYPE_CHECKING:
    import pandas as pd

# name and values of a pandas column of Python objects -> values of one type
Objects = Callable[[str, Any], Any]
ACCEPTED = "pandas, polars or pyarrow tables, DuckDB relations, anything with the Arrow stream protocol"


# exceptions that end a program, a thread or a generator
_ENDINGS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)
# earlier ones hand on what is cut out of text views in a form that other libraries cannot read
_VIEWS_CAN_BE_CUT: Final = int(pa.__version__.partition(".")[0]) >= 25
_NO_VALUES: Final = {bytes, bytearray, memoryview, set, frozenset}


class MixedColumnError(DataError):
    """A column of Python objects of several types, which no column of Arrow can hold."""


class ArrowStream(Protocol):
    """A table that gives its rows as a stream of Arrow batches."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> object:
        """Return the stream as a capsule."""
        ...


class ArrowArray(Protocol):
    """A table that gives its rows as one Arrow array of structs."""

    def __arrow_c_array__(self, requested_schema: Any = None) -> object:
        """Return schema and array as capsules."""
        ...


FrameLike: TypeAlias = "pl.DataFrame | pl.LazyFrame | pd.DataFrame | ArrowStream | ArrowArray"


def is_frame(value: object) -> bool:
    """Return True if `to_polars` accepts it."""
    return (
        isinstance(value, (pl.DataFrame, pl.LazyFrame))
        or hasattr(value, "__arrow_c_stream__")
        or (hasattr(value, "__arrow_c_array__") and not isinstance(value, pa.Array))
        or is_dataset(value)
        or is_pandas(value)
    )


def rows_in(value: object) -> int | None:
    """Return the number of rows, items or keys; None if counting takes work."""
    counted = (pl.DataFrame, pa.Table, pa.RecordBatch, list, tuple, dict)
    return len(value) if isinstance(value, counted) or is_pandas(value) else None  # type: ignore[arg-type]


def is_pandas(value: object) -> bool:
    """Return True for a pandas frame, without importing pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def column_values(value: object) -> list[Any] | None:
    """Return the values of a single column without nulls; None for anything else."""
    pandas = sys.modules.get("pandas")
    column: Any = value
    if pandas is not None and isinstance(value, pandas.Series):
        return list(column.dropna().tolist())
    if isinstance(value, pl.Series):
        return value.drop_nulls().to_list()
    return column.drop_null().to_pylist() if isinstance(value, (pa.Array, pa.ChunkedArray)) else None


def is_dataset(value: object) -> bool:
    """Return True for a pyarrow dataset or scanner."""
    dataset = sys.modules.get("pyarrow.dataset")
    return dataset is not None and isinstance(value, (dataset.Dataset, dataset.Scanner))


def is_whole(dtype: pl.DataType) -> bool:
    """Return True if a column of this type holds integers only; DuckDB's largest integers are decimals."""
    return dtype.is_integer() or (isinstance(dtype, pl.Decimal) and dtype.scale == 0)


def to_polars(
    value: Any, what: str, wanted: Callable[[str], bool] = lambda name: True, objects: Objects | None = None
) -> pl.DataFrame:
    """Convert a frame to Polars, without copying Arrow columns; `what` names it in errors.

    Columns that are not `wanted` are left out before they are looked at; `objects` may prepare a column of
    Python objects, as a pandas one. `DataError` where a column has no plain type.
    """
    with translate_errors(what):
        if isinstance(value, pl.LazyFrame):
            value = value.collect()
        if isinstance(value, pl.DataFrame):
            return _without_extensions(_without_objects(value, wanted, objects))
        table = _from_pandas(value, wanted, objects) if is_pandas(value) else _arrow(value, wanted)
        if table is None:
            raise DataError(f"{type_text(value)} is not a frame", allowed=ACCEPTED)
        if not table.num_columns:
            return pl.DataFrame(height=table.num_rows)
        return pl.DataFrame(plain(table))


def empty_table(schema: pa.Schema) -> pa.Table:
    """Return a table without rows; Arrow's own `empty_table` imports pandas, which takes longer than most."""
    return pa.Table.from_batches([], schema)


def to_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    """Convert a frame to pandas on the same Arrow memory."""
    import pandas as pd

    table = _spell(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))
    converted: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return converted


def _spell(table: pa.Table) -> pa.Table:
    """Give dictionaries as their values: pandas sorts none of Arrow's, and has no `.str` for them."""
    for number, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(number, field.name, table.column(number).cast(field.type.value_type))
    return table


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Convert errors of Polars, pyarrow and DuckDB within a block to a `DataError` about `what`"""
    try:
        yield
    except FlowError as error:
        raise error.located(place=what) from error.__cause__
    except BaseException as error:
        if not is_foreign(error, (TypeError, ValueError, OverflowError, OSError)):
            raise
        raise DataError(
            f"cannot be read as columns: {first_line(error)}", place=what, hint="give each column one type"
        ) from error


def is_foreign(error: BaseException, more: tuple[type[Exception], ...] = ()) -> bool:
    """Return True for an error of Polars, pyarrow or DuckDB, or of one of the types in `more`

    Their panics are not `Exception`s, as what ends a program is none either; that is never foreign.
    """
    if not isinstance(error, Exception):
        return not isinstance(error, _ENDINGS)
    duckdb = sys.modules.get("duckdb")
    own = (pl.exceptions.PolarsError, pa.ArrowException, *((duckdb.Error,) if duckdb else ()))
    return isinstance(error, own + more)


def plain(table: pa.Table) -> pa.Table:
    """Cast every column to a type that Polars has. Raises `DataError` with the name of a column that has
    none.
    """
    for i, field in enumerate(table.schema):
        try:
            target = plain_type(field.type)
        except TypeError as error:
            raise DataError(
                f"column {field.name!r} is {error}",
                hint="make it text or a number, or leave the column out",
            ) from None
        if target != field.type:
            column = _spell_out(table.column(i), target)
            table = table.set_column(i, pa.field(field.name, column.type), column)
    return table


def plain_type(dtype: pa.DataType) -> pa.DataType:
    """Return the type that a column of this type is cast to. Raises `TypeError` if there is none."""
    for holds, plain_of in _PLAIN_TYPES:
        if holds(dtype):
            return plain_of(dtype)
    return _plain_scalar(dtype)


def _is_list(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_list_view(dtype) or pa.types.is_list(dtype))


def _is_large_list(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_large_list_view(dtype) or pa.types.is_large_list(dtype))


def _plain_dictionary(dtype: pa.DataType) -> pa.DataType:
    value = plain_type(dtype.value_type)
    return dtype if pa.types.is_string(value) or pa.types.is_large_string(value) else value


def _no_plain_union(dtype: pa.DataType) -> pa.DataType:
    raise TypeError("a union, which has no one type")


# the first test that holds says what the plain type is
_PLAIN_TYPES: Final[list[tuple[Callable[[pa.DataType], bool], Callable[[Any], pa.DataType]]]] = [
    (lambda dtype: isinstance(dtype, pa.UuidType), lambda dtype: pa.string()),
    (lambda dtype: isinstance(dtype, pa.Bool8Type), lambda dtype: pa.bool_()),
    (lambda dtype: isinstance(dtype, pa.BaseExtensionType), lambda dtype: plain_type(dtype.storage_type)),
    (pa.types.is_run_end_encoded, lambda dtype: plain_type(dtype.value_type)),
    (pa.types.is_dictionary, _plain_dictionary),
    (pa.types.is_struct, lambda dtype: pa.struct(list(map(_plain_field, dtype)))),
    (pa.types.is_fixed_size_list, lambda dtype: pa.list_(_plain_field(dtype.value_field), dtype.list_size)),
    (_is_list, lambda dtype: pa.list_(_plain_field(dtype.value_field))),
    (_is_large_list, lambda dtype: pa.large_list(_plain_field(dtype.value_field))),
    (pa.types.is_map, lambda dtype: pa.map_(pa.string(), plain_type(dtype.item_type))),
    (pa.types.is_union, _no_plain_union),
]


def _plain_scalar(dtype: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(dtype) and not _VIEWS_CAN_BE_CUT:
        return pa.large_string()
    if pa.types.is_timestamp(dtype) and dtype.tz and not _is_zone(dtype.tz):
        # moments are stored in UTC, whatever the zone
        return pa.timestamp(dtype.unit, "UTC")
    if pa.types.is_interval(dtype):
        raise TypeError("an interval of months, which has no one length")
    return pa.float64() if pa.types.is_decimal256(dtype) else dtype


@lru_cache(64)
def _is_zone(name: str) -> bool:
    """Return True if Polars knows the time zone; it knows no offsets."""
    try:
        return bool(zoneinfo.ZoneInfo(name))
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return False


def _plain_field(field: pa.Field) -> pa.Field:
    return field.with_type(plain_type(field.type))


def _spell_out(column: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray:
    if isinstance(column.type, pa.UuidType):
        return _uuid_texts(column)
    if pa.types.is_run_end_encoded(column.type):
        decode = pc.run_end_decode  # pyright: ignore[reportAttributeAccessIssue]
        chunks = [decode(chunk) for chunk in column.chunks]
        decoded = pa.chunked_array(chunks, column.type.value_type)
        return decoded if decoded.type == target else _spell_out(decoded, target)
    if _has_no_cast(column.type):
        return pa.chunked_array([pa.array([_python(value) for value in column.to_pylist()], target)])
    return column.cast(target)


def _has_no_cast(dtype: pa.DataType) -> bool:
    """Return True if pyarrow cannot cast it to its plain type, or does so wrongly, as for list views with
    gaps.
    """
    if isinstance(dtype, pa.UuidType) or pa.types.is_run_end_encoded(dtype):
        return True
    if isinstance(dtype, pa.BaseExtensionType):
        return _has_no_cast(dtype.storage_type)
    if pa.types.is_list_view(dtype) or pa.types.is_large_list_view(dtype):
        return True
    return any(_has_no_cast(dtype.field(i).type) for i in range(dtype.num_fields))


def _python(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, dict):
        return {key: _python(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_python(inner) for inner in value]
    return tuple(map(_python, value)) if isinstance(value, tuple) else value


def _uuid_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    digits = pl.Series(column.cast(pa.binary(16))).bin.encode("hex")
    parts = [digits.str.slice(start, size) for start, size in ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))]
    frame = pl.DataFrame({str(i): part for i, part in enumerate(parts)})
    texts = frame.select(pl.concat_str(pl.all(), separator="-")).to_series()
    return pa.chunked_array([texts.to_arrow(compat_level=pl.CompatLevel.oldest())])


def _without_objects(
    frame: pl.DataFrame, wanted: Callable[[str], bool], objects: Objects | None
) -> pl.DataFrame:
    """Return a frame whose columns of Python objects, which Polars exports as addresses, are converted as
    pandas columns are.
    """
    held = [name for name, dtype in frame.schema.items() if dtype == pl.Object]
    if not held:
        return frame
    import pandas as pd

    columns = {name: pd.Series(frame[name].to_list(), dtype=object) for name in held if wanted(name)}
    converted = {name: _from_pandas_column(column, name, objects) for name, column in columns.items()}
    kept = frame.drop(name for name in held if name not in converted)
    return kept.with_columns(pl.DataFrame(plain(pa.table(converted)))) if converted else kept


def rows_of_frame(frame: Any) -> list[dict[Any, Any]]:
    """Return the rows of a pandas or Polars frame, which may hold Python objects."""
    if is_pandas(frame):
        records: list[dict[Any, Any]] = frame.to_dict("records")
        return records
    return (frame.collect() if isinstance(frame, pl.LazyFrame) else frame).to_dicts()


def _without_extensions(frame: pl.DataFrame) -> pl.DataFrame:
    if any(isinstance(dtype, pl.Extension) for dtype in frame.dtypes):
        return pl.DataFrame(plain(frame.to_arrow()))
    return frame


def _arrow(value: Any, wanted: Callable[[str], bool]) -> pa.Table | None:
    """Convert an Arrow table, or an object that exports one; return None for anything else."""
    if hasattr(value, "to_arrow_table") and hasattr(value, "columns"):
        return _from_duckdb(value, wanted)
    if is_dataset(value):
        table = value.to_table()
    elif isinstance(value, pa.Table):
        table = value
    # not as a stream, in which pyarrow 18 does not keep views of text
    elif isinstance(value, pa.RecordBatch):
        table = pa.Table.from_batches([value])
    elif hasattr(value, "__arrow_c_stream__"):
        table = pa.RecordBatchReader.from_stream(value).read_all()
    elif hasattr(value, "__arrow_c_array__"):
        table = pa.Table.from_batches([pa.record_batch(value)])
    else:
        return None
    names = [name for name in table.column_names if wanted(name)]
    _refuse_repeated(names)
    return table.select(names)


def _from_duckdb(relation: Any, wanted: Callable[[str], bool]) -> pa.Table:
    names = [name for name in relation.columns if wanted(name)]
    _refuse_repeated(names)
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    table = relation.project(", ".join(quoted or ["1"])).to_arrow_table()
    return table if quoted else table.select([])


def _from_pandas(source: Any, wanted: Callable[[str], bool], objects: Objects | None) -> pa.Table:
    # a named index is a column, of times or ids
    named = [name for name in source.index.names if name is not None and name not in source.columns]
    if any(map(wanted, map(str, named))):
        source = source.reset_index(named)
    names = [name for name in source.columns if wanted(str(name))]
    _refuse_repeated(list(map(str, names)))
    columns = {str(name): _from_pandas_column(source[name], str(name), objects) for name in names}
    return pa.table(columns) if columns else pa.table({"0": pa.nulls(len(source))}).select([])


def _from_pandas_column(column: Any, name: str, objects: Objects | None) -> Any:
    import pandas as pd

    if column.dtype == object:
        column = _sound_objects(column, name)
    if column.dtype == object and objects is not None:
        column = objects(name, column)
        if isinstance(column, pa.Array):
            return column
    if isinstance(column.dtype, (pd.PeriodDtype, pd.IntervalDtype)):
        column = column.astype("string")
    elif isinstance(column.dtype, pd.SparseDtype):
        column = column.sparse.to_dense()
    elif isinstance(column.dtype, pd.CategoricalDtype) and column.cat.categories.dtype == object:
        column = column.astype(object)
    try:
        return pa.Array.from_pandas(column)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
        raise MixedColumnError(
            f"column {name!r} holds values that have no one type: {first_line(error)[:160]}",
            hint="make the column text, or give it one type",
        ) from error


def _sound_objects(column: Any, name: str) -> Any:
    types = {*map(type, column)}
    if not types.isdisjoint(_NO_VALUES):
        # Arrow takes them for text and lists; in rows they are refused by their path
        raise MixedColumnError(f"column {name!r} holds bytes or sets", hint="make them text or lists")
    # Arrow knows UUIDs from version 19 on
    return column.map(str) if types == {UUID} else column


def _refuse_repeated(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"column {name!r} occurs more than once", hint="rename one of them")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
