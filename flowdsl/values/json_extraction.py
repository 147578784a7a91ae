"""Vectorized JSON path extraction from columns of JSON texts or structs.

DuckDB takes JSON text apart: it parses each document once for all paths that a replay knows it will need,
keeps the types, and is several times faster than anything that makes Python objects.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from typing import Any

import numpy as np
import polars as pl

from flowdsl.values.columns import Column
from flowdsl.values.json_conversion import nested_json
from flowdsl.values.json_texts import null_texts
from flowdsl.values.json_types import MISSING, Index, Tag
from flowdsl.values.masks import where_present
from flowdsl.values.paths import Path
from flowdsl.values.small_json_extraction import extract_few
from flowdsl.values.sql import query, query_arrow
from flowdsl.values.state_fields import CellsField, FlagField, WholeField
from flowdsl.values.state_objects import StateObject, StateReader, keeps

# characters that a key in a JSON path of DuckDB cannot contain
_BEYOND_A_PATH = frozenset('"\\*')


class Documents(StateObject):
    """JSON objects, one per row; `column` extracts the values at a path.

    `series` is JSON text (null = no document) or a nested Polars column. `none` says what a row without a
    document is: null, or missing. `hints` are paths that will be asked for too: they are read along. A null
    in a struct is missing (rule 33); with `cells` the fields of the documents are cells of a frame's columns,
    and there null is null.
    """

    saved = keeps(series=CellsField(), _none=WholeField(Tag.MISSING, Tag.NULL), _cells=FlagField())

    def __init__(
        self, series: pl.Series, *, none: Tag = Tag.NULL, hints: Iterable[Path] = (), cells: bool = False
    ) -> None:
        self.series = null_texts(len(series)) if series.dtype == pl.Null else series
        self._none = none
        self._cells = cells
        self._hints = {h for h in hints if h}
        self._columns: dict[Path, Column] = {}
        # the JSON of values that a reader has read
        self._read: dict[Path, pl.Series] = {}

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> Documents:
        return cls(
            fields["series"], none=Tag(fields["_none"]), hints=source.given["hints"], cells=fields["_cells"]
        )

    def __len__(self) -> int:
        return len(self.series)

    def fork(self) -> Documents:
        """Return the same documents, with what was read of them; what the fork reads is its own."""
        forked = copy(self)
        forked._columns, forked._read = dict(self._columns), dict(self._read)
        return forked

    @property
    def cells(self) -> bool:
        """Whether the fields of the documents are cells of a frame's columns."""
        return self._cells

    @property
    def _is_text(self) -> bool:
        return self.series.dtype == pl.String

    def know(self, path: Path, values: pl.Series) -> None:
        """Store the values at a path, as JSON texts, so that they need not be parsed; null if missing."""
        self._read[path] = values

    def column(self, path: Path) -> Column:
        """Return the values at a path below the documents, or the documents themselves for the empty path."""
        if path not in self._columns:
            if not path:
                self._columns[path] = self._whole()
            elif path in self._read:
                self._columns[path] = _where_there(
                    self._read.pop(path), lambda texts: [Column.from_json(texts)]
                )[0]
            elif self._is_text:
                wanted = sorted({path, *self._hints} - self._columns.keys() - self._read.keys() - {()})
                found = _where_there(self.series, lambda texts: extract(texts, wanted))
                self._columns.update(zip(wanted, found, strict=True))
            else:
                self._columns[path] = self._field(path)
        return self._columns[path]

    def has(self, path: Path) -> bool:
        """Return True if reading a path needs no parsing."""
        return path in self._columns or path in self._read or not self._is_text

    def gather(self, rows: Index) -> Documents:
        """Gather the documents at `rows`, keeping the paths that were extracted already."""
        picked = Documents(self.series[rows], none=self._none, hints=self._hints, cells=self._cells)
        picked._columns = {path: column.take(rows) for path, column in self._columns.items()}
        return picked

    @classmethod
    def concat(cls, first: Documents, second: Documents, hints: Iterable[Path]) -> Documents:
        """Concatenate two sets of documents, keeping the paths that both have extracted already."""
        if first.series.dtype == second.series.dtype and first._cells == second._cells:
            series = pl.concat([first.series.alias("d"), second.series.alias("d")])
        else:
            series = pl.concat([first.json().alias("d"), second.json().alias("d")])
        both = cls(series.rechunk(), none=first._none, hints=hints, cells=first._cells)
        for path in first._columns.keys() & second._columns.keys():
            both._columns[path] = Column.concat([first._columns[path], second._columns[path]])
        return both

    def json(self) -> pl.Series:
        """Return each document as JSON text, or null where there is none."""
        if self._is_text:
            return self.series
        if not self._cells:
            return nested_json(self.series)
        fields = self.series.dtype.fields  # type: ignore[attr-defined]
        if not any(field.dtype.is_nested() for field in fields):
            return nested_json(self.series, nulls=True)
        cells: list[pl.Series | pl.Expr] = [pl.lit("{")]
        for i, name in enumerate(self.series.struct.fields):
            cells.append(pl.lit(("," if i else "") + json.dumps(name, ensure_ascii=False) + ":"))
            cells.append(Column.from_series(self.series.struct.field(name)).to_json())
        return pl.select(pl.concat_str([*cells, pl.lit("}")])).to_series()

    def _whole(self) -> Column:
        if self.series.null_count() == len(self):
            return Column(len(self), self._none)
        if self._is_text:
            column = Column.from_json(_compact(self.series))
            return _replace_tag(column, Tag.MISSING, self._none)
        if self._cells:
            return Column(len(self), Tag.OBJECT, nested=self.json())
        return _replace_tag(Column.from_series(self.series), Tag.NULL, self._none)

    def _field(self, path: Path) -> Column:
        series, absent = self.series, ~where_present(self.series)
        # what the last null on the way would be: a map says which keys it has, a frame which columns
        null = Tag.NULL
        for depth, part in enumerate(path):
            absent = absent | ~where_present(series)
            null = (
                Tag.NULL if isinstance(series.dtype, pl.Map) or (self._cells and not depth) else Tag.MISSING
            )
            if isinstance(series.dtype, pl.Map) and series.dtype.key == pl.String:
                there = pl.select(series.map.contains_key(part).fill_null(value=False)).to_series()
                absent = absent | ~there.to_numpy()
                series = pl.select(series.map.get(part)).to_series()
                continue
            if not isinstance(series.dtype, pl.Struct) or part not in series.struct.fields:
                return Column(len(series), Tag.MISSING)
            series = series.struct.field(part)
        column = _replace_tag(Column.from_series(series), Tag.NULL, null)
        if absent.any():
            column.tags = np.where(absent, np.uint8(Tag.MISSING), column.tag_array())
        return column


def _where_there(texts: pl.Series, read: Callable[[pl.Series], list[Column]]) -> list[Column]:
    """Apply a reader to texts; but only to those that are not null if most are (events of other kinds)."""
    size, rows = len(texts), len(texts) - texts.null_count()
    if rows * 2 > size:
        return read(texts)
    place = np.full(size, rows)
    place[where_present(texts)] = np.arange(rows)
    nothing = Column(1, Tag.MISSING)
    return [Column.concat([found, nothing]).take(place) for found in read(texts.drop_nulls())]


def extract(documents: pl.Series, paths: Sequence[Path]) -> list[Column]:
    """Extract the values at several paths, parsing each JSON text once."""
    if not len(documents):
        return [Column(0, Tag.MISSING) for _ in paths]
    few = extract_few(documents, paths)
    return _extract_many(documents, paths) if few is None else few


def _extract_many(documents: pl.Series, paths: Sequence[Path]) -> list[Column]:
    plain = [path for path in paths if is_plain(path)]
    found: dict[Path, Column] = {p: _by_hand(documents, p) for p in paths if p not in plain}
    if plain:
        frame = pl.DataFrame({"n": np.arange(len(documents)), "d": documents})
        table = query_arrow(_query(plain), documents=frame)
        numbers = pl.Series(table["n"]).to_numpy()
        if (numbers[1:] < numbers[:-1]).any():
            table = table.sort_by("n")
        for i, path in enumerate(plain, 1):
            found[path] = Column.from_json(table[f"c{i}"].combine_chunks())
    return [found[path] for path in paths]


def _query(paths: Sequence[Path]) -> str:
    found = f"SELECT n, json_extract(d, {in_sql(paths)}) AS x FROM documents"
    return f"SELECT n, {columns_in_sql(len(paths))} FROM ({found})"


def columns_in_sql(count: int) -> str:
    """Return, in DuckDB's SQL, a column of text for each value of the list `x`.

    >>> columns_in_sql(2)
    'CAST(x[1] AS VARCHAR) AS c1, CAST(x[2] AS VARCHAR) AS c2'
    """
    return ", ".join(f"CAST(x[{i}] AS VARCHAR) AS c{i}" for i in range(1, count + 1))


def in_sql(paths: Iterable[Path]) -> str:
    """Return paths as a list of JSON paths in DuckDB's SQL.

    >>> print(in_sql([("a", "b"), ("c",)]))
    ['$."a"."b"', '$."c"']
    """
    listed = ", ".join(_literal("$" + "".join(f'."{part}"' for part in path)) for path in paths)
    return f"[{listed}]"


def is_plain(path: Path) -> bool:
    """Return True if a path can be written as a JSON path of DuckDB."""
    return all(part and _BEYOND_A_PATH.isdisjoint(part) for part in path)


def _compact(documents: pl.Series) -> pl.Series:
    """Rewrite JSON texts the way DuckDB writes them: no spaces, no needless escapes."""
    sql = "SELECT CAST(json_extract(d, '$') AS VARCHAR) AS d FROM documents ORDER BY n"
    return query_documents(documents, sql)["d"].cast(pl.String)


def query_documents(documents: pl.Series, sql: str) -> pl.DataFrame:
    """Return the result of a DuckDB query over `documents`, whose columns are the texts `d` and their
    positions `n`.
    """
    return query(sql, documents=pl.DataFrame({"n": np.arange(len(documents)), "d": documents}))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _by_hand(documents: pl.Series, path: Path) -> Column:
    """Extract keys that a JSON path cannot express, in Python."""
    values: list[object] = []
    for text in documents.to_list():
        value: object = MISSING if text is None else json.loads(text)
        for part in path:
            value = value.get(part, MISSING) if isinstance(value, dict) else MISSING
        values.append(value)
    return Column.of(values)


def _replace_tag(column: Column, old: Tag, new: Tag) -> Column:
    if old is not new:
        mask = column.is_(old)
        if mask.any():
            column = column.take(np.arange(column.size))
            column.tags = np.where(mask, np.uint8(new), column.tag_array())
    return column
