"""Values at paths of `data` and `metadata`, read by the same pass that checks whether these are JSON.

Each path becomes a column of JSON texts next to the columns of the events, until the engine takes it off.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

import numpy as np
import polars as pl

from flowdsl.events import JSON_COLUMNS
from flowdsl.log.validation import bad_json, lenient
from flowdsl.values.json_extraction import columns_in_sql, in_sql, is_plain
from flowdsl.values.masks import where_present
from flowdsl.values.paths import Path
from flowdsl.values.sql import query

Read = dict[Path, pl.Series]


def check_documents(
    frame: pl.DataFrame, paths: Collection[Path], triggered: pl.Expr
) -> tuple[dict[str, list[int]], list[pl.Series]]:
    """Return the rows whose documents are not JSON, by column, and a column of JSON texts for each path, with
    values in the rows that are `triggered`.
    """
    asked = _group_paths(frame, paths)
    rest = [name for name in JSON_COLUMNS if name not in asked and name in frame.columns]
    wrong, read = bad_json(frame.select(rest)), []
    if asked:
        mask = frame.select(triggered.alias("wanted")).to_series()
        for name, of in asked.items():
            rows, values = _read(frame[name], mask, [path[1:] for path in of])
            read += [series.alias(_column_of(path)) for path, series in zip(of, values, strict=True)]
            if rows:
                wrong[name] = rows
    return wrong, read


def take_off(frame: pl.DataFrame, paths: Iterable[Path]) -> tuple[pl.DataFrame, Read]:
    """Split off the columns that `check_documents` added, by path.

    >>> frame = pl.DataFrame({"seq_no": [1], '["data", "a"]': ["1"]})
    >>> rest, read = take_off(frame, [("data", "a"), ("data", "b")])
    >>> rest.columns, list(read)
    (['seq_no'], [('data', 'a')])
    """
    read = {path: frame[name] for path in paths if (name := _column_of(path)) in frame.columns}
    return frame.drop(map(_column_of, read)) if read else frame, read


def _column_of(path: Path) -> str:
    return json.dumps(path)


def _group_paths(frame: pl.DataFrame, paths: Collection[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(paths):
        if frame.schema.get(path[0]) == pl.String and is_plain(path[1:]):
            found.setdefault(path[0], []).append(path)
    return found


def _read(documents: pl.Series, wanted: pl.Series, paths: list[Path]) -> tuple[list[int], list[pl.Series]]:
    """Return which documents are not JSON, and the values at paths of those that are `wanted`."""
    if not documents.null_count():
        return _parse(documents, wanted, paths)
    # most events of most logs have no document: DuckDB gets those that are there
    rows = np.flatnonzero(where_present(documents))
    wrong, found = _parse(documents.drop_nulls(), wanted.gather(rows), paths)
    place = np.full(len(documents), len(rows))
    place[rows] = np.arange(len(rows))
    values = [series.extend_constant(None, 1).gather(place) for series in found]
    return rows[wrong].tolist(), values


def _parse(documents: pl.Series, wanted: pl.Series, paths: list[Path]) -> tuple[list[int], list[pl.Series]]:
    """Read documents, none of which is null."""
    frame = pl.DataFrame({"n": np.arange(len(documents)), "d": documents, "wanted": wanted})
    found = query(
        f"SELECT n, {columns_in_sql(len(paths))},"
        " CASE WHEN x IS NULL THEN NOT json_valid(d) ELSE false END AS bad"
        f" FROM (SELECT n, d, CASE WHEN wanted THEN TRY(json_extract(d, {in_sql(paths)})) END AS x"
        " FROM documents)",
        documents=frame,
    )
    if not found["n"].is_sorted():
        found = found.sort("n")
    bad = found["bad"].fill_null(value=False)
    texts = pl.DataFrame({"row": pl.int_range(len(documents), eager=True), "text": documents})
    rows = {*bad.arg_true().to_list(), *lenient(texts)}
    values = [found[f"c{i}"].cast(pl.String) for i in range(1, len(paths) + 1)]
    if rows:
        values = [series.scatter(sorted(rows), None) for series in values]
    return sorted(rows), values
