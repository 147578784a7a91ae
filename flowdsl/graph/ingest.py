"""Validation and conversion of entities and links that users pass in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa

from flowdsl.errors import DataError, did_you_mean
from flowdsl.events import MAX_NESTING, id_text, json_text, too_deep
from flowdsl.frames import (
    MixedColumnError,
    empty_table,
    is_frame,
    is_whole,
    rows_in,
    rows_of_frame,
    to_polars,
)
from flowdsl.log.validation import bad_json
from flowdsl.progress import Tick, count_items, noop, run_in_background
from flowdsl.text import type_text
from flowdsl.values.json_extraction import Documents
from flowdsl.values.python_values import encode_json, is_missing

T = TypeVar("T")
# links that are converted at once
_AT_ONCE: Final = 1 << 20
LINK_COLUMNS = ("link_type", "source_id", "target_id", "link_id", "metadata")


def entity_documents(kind: str, entities: Any, tick: Tick = noop) -> tuple[pl.Series, Documents]:
    """Return the ids and objects of an entity type, from a frame with a column `id`, a list of objects with
    one, or a mapping of ids to objects.

    `tick` hears how many were read.
    """
    what = f"entities {kind!r}"
    if is_frame(entities):
        read = _aside(entities, lambda: _from_any_frame(entities, what))
        tick(len(read[0]))
        return read
    if isinstance(entities, Mapping):
        return _from_items(entities.keys(), entities.items(), what, tick)
    if isinstance(entities, (list, tuple)):
        return _from_rows(entities, what, tick)
    raise DataError(
        f"{what} are {type_text(entities)}",
        allowed=(
            "a frame with an 'id' column, a list of objects with an 'id', a mapping id → object, or a "
            "function from ids to either"
        ),
        hint=_way_to_file(entities),
    )


def _way_to_file(given: object) -> str | None:
    """Return a hint how to read a file if a path was given."""
    if not isinstance(given, (str, os.PathLike)):
        return None
    return (
        "polars.read_csv(path) makes a frame of a file; "
        "read_graph(folder) reads entities/user.csv and links.csv in it"
    )


def _own_id(row: Any, place: int, what: str) -> Any:
    if not isinstance(row, Mapping):
        raise DataError(f"{what}: item {place} is {type_text(row)}", allowed="objects with an 'id'")
    if is_missing(row.get("id")):
        raise DataError(f"{what}: item {place} has no id", hint=_near("id", row))
    return row["id"]


def _aside(given: Any, work: Callable[[], T]) -> T:
    """Convert frames in memory in a thread; others may run user code, which stays on the user's thread."""
    return work() if rows_in(given) is None else run_in_background(work)


def _from_any_frame(entities: Any, what: str) -> tuple[pl.Series, Documents]:
    try:
        return _from_frame(to_polars(entities, what), what)
    except MixedColumnError:
        # a column of JSON values: each row is an object of its own
        return _from_rows(rows_of_frame(entities), what)


def _from_frame(frame: pl.DataFrame, what: str) -> tuple[pl.Series, Documents]:
    if "id" not in frame.columns:
        raise DataError(
            f"{what} have no column 'id'",
            allowed="a frame with an 'id' column",
            hint=_near("id", frame.columns),
        )
    ids = id_texts(frame["id"], f"{what}, column 'id'")
    frame = frame.with_columns(
        _decode(frame[name], what) for name, dtype in frame.schema.items() if dtype == pl.Binary
    )
    _check_ids(ids, what)
    return ids, Documents(frame.with_columns(ids.alias("id")).to_struct("entity"), cells=True)


def _decode(column: pl.Series, what: str) -> pl.Series:
    try:
        return column.cast(pl.String)
    except pl.exceptions.PolarsError:
        raise DataError(
            f"{what}, column {column.name!r} holds bytes that are not text", hint="leave the column out"
        ) from None


def _from_rows(rows: Sequence[Any], what: str, tick: Tick = noop) -> tuple[pl.Series, Documents]:
    keys = [_own_id(row, place, what) for place, row in enumerate(rows)]
    return _from_items(keys, zip(keys, rows, strict=True), what, tick)


def _from_items(
    keys: Iterable[Any], items: Iterable[tuple[Any, Any]], what: str, tick: Tick
) -> tuple[pl.Series, Documents]:
    ids = pl.Series([id_text(key, "id", what) for key in keys], dtype=pl.String)
    _check_ids(ids, what)
    return ids, Documents(_json_texts(count_items(items, tick), what))


def _json_texts(rows: Iterable[tuple[Any, Any]], what: str) -> pl.Series:
    """Return the objects of ids as JSON."""
    texts = []
    for key, value in rows:
        try:
            text = encode_json(value)
            text.encode()
            deep = too_deep(text)
        except RecursionError:
            # Python's limit on nesting may come first
            text, deep = "", True
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{what}: {key!r} is not JSON: {error}",
                allowed="objects of text, numbers, booleans, dates, null, lists and objects",
            ) from error
        if deep:
            raise DataError(
                f"{what}: {key!r} is nested deeper than {MAX_NESTING} levels", hint="keep deep values as text"
            )
        texts.append(text)
    return pl.Series(texts, dtype=pl.String)


def link_frames(links: Any, tick: Tick = noop) -> Iterator[pl.DataFrame]:
    """Yield links, some at a time, as frames of text columns `link_type, source_id, target_id, link_id`, in
    order, and their `metadata` where some have any.
    """
    row = 0
    for frame in _parts(links, tick) if is_frame(links) else [_link_rows(links, tick)]:
        yield _check_links(frame, row)
        row += frame.height


def _parts(links: Any, tick: Tick) -> Iterator[pl.DataFrame]:
    """Yield the rows of a frame some at a time: of Arrow and its streams no more are converted at once."""
    if isinstance(links, pa.Table):
        links = links.to_reader(_AT_ONCE)
    if isinstance(links, pa.RecordBatchReader):
        parts: Iterator[Any] = chain([empty_table(links.schema)], links)
    else:
        whole = _aside(links, lambda: to_polars(links, "links"))
        parts = chain([whole.clear()], whole.iter_slices(_AT_ONCE))
    for part in parts:
        frame = to_polars(part, "links")
        tick(frame.height)
        yield frame


def _check_links(frame: pl.DataFrame, first: int) -> pl.DataFrame:
    """Return links with ids as text; `first` is the number of the first row."""
    columns = {
        name: id_texts(frame[name], f"links, column {name!r}", first)
        for name in LINK_COLUMNS[:4]
        if name in frame.columns
    }
    result = pl.DataFrame(columns)
    for name in ("link_type", "source_id", "target_id"):
        if name not in columns:
            raise DataError(
                f"links have no column {name!r}",
                allowed=", ".join(LINK_COLUMNS),
                hint=_near(name, frame.columns),
            )
        if result[name].null_count():
            raise DataError(
                f"links: row {first + result[name].is_null().arg_true()[0]} has no {name}",
                hint="every link needs one",
            )
    # where none has an id it takes no memory
    if "link_id" not in columns or result["link_id"].null_count() == frame.height:
        result = result.with_columns(link_id=None)
    if "metadata" in frame.columns and frame["metadata"].null_count() < frame.height:
        result = result.with_columns(_metadata(frame["metadata"], first))
    return result


def _metadata(column: pl.Series, first: int) -> pl.Series:
    if column.dtype != pl.String and not isinstance(column.dtype, (pl.Struct, pl.Map)):
        raise DataError(
            f"links, column 'metadata' is of type {column.dtype}", allowed="JSON text, or a column of structs"
        )
    wrong = bad_json(pl.DataFrame([column]))
    if wrong:
        raise DataError(
            f"links: the metadata of row {first + wrong['metadata'][0]} is text that is not JSON",
            allowed=f"JSON text, nested at most {MAX_NESTING} levels",
        )
    return column


def _link_rows(links: Any, tick: Tick) -> pl.DataFrame:
    if not isinstance(links, Iterable) or isinstance(links, (str, bytes, Mapping)):
        raise DataError(
            f"links are {type_text(links)}", allowed="a frame or a list of mappings", hint=_way_to_file(links)
        )
    rows = []
    texts: list[str | None] = []
    for number, link in enumerate(count_items(links, tick)):
        if not isinstance(link, Mapping):
            raise DataError(f"links: number {number} is {type_text(link)}", allowed="a mapping")
        for key in link:
            if key not in LINK_COLUMNS:
                raise DataError.unknown(f"links: number {number} has the key {key!r}", key, LINK_COLUMNS)
        what = f"links: number {number}"
        texts.append(json_text(link.get("metadata"), "metadata", what))
        rows.append({name: id_text(link.get(name), name, what) for name in LINK_COLUMNS[:4]})
    frame = pl.DataFrame(rows, schema=dict.fromkeys(LINK_COLUMNS[:4], pl.String))
    return frame.with_columns(pl.Series("metadata", texts, pl.String))


def id_texts(series: pl.Series, what: str, first: int = 0) -> pl.Series:
    """Return ids as text: text is unchanged, integers become decimal text. `first` is the number of the
    first row.
    """
    dtype = series.dtype
    if dtype in (pl.Categorical, pl.Enum, pl.Null) or is_whole(dtype):
        series = series.cast(pl.String)
    if series.dtype != pl.String:
        floats = "pandas makes floats of integer ids with gaps: use .astype('Int64') or text"
        hint = floats if dtype.is_float() else None
        raise DataError(f"{what} is of type {dtype}", allowed="text or integers", hint=hint)
    if (series == "").any():
        raise DataError(
            f"{what}: row {first + (series == '').arg_true()[0]} is empty text",
            allowed="any text that is not empty",
        )
    return series


def _check_ids(ids: pl.Series, what: str) -> None:
    if ids.null_count():
        raise DataError(f"{what}: row {ids.is_null().arg_max()} has no id", hint="every entity needs an id")
    hashes = np.sort(ids.hash().to_numpy())
    if not (hashes[1:] == hashes[:-1]).any():
        return
    twice = ids.filter(ids.is_duplicated()).unique(maintain_order=True).head(3).to_list()
    if twice:
        raise DataError(
            f"{what} have ids more than once: {', '.join(map(repr, twice))}",
            hint="give one row for each entity",
        )


def _near(name: str, columns: Iterable[str]) -> str:
    columns = list(columns)
    return did_you_mean(name, columns) or f"the columns are {', '.join(columns) or 'none'}; rename one"
