"""Decoding of JSON texts into typed columns: first the common kind of the values, then the column.

Many texts are taken apart by DuckDB, which is faster by far; what it cannot tell for certain is left to
Python, whose answer is the rule.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, Final

import polars as pl

from flowdsl.values.json_extraction import query_documents
from flowdsl.values.json_texts import storable
from flowdsl.values.kinds import (
    BOOLEAN,
    INTEGER,
    MAX_DEPTH,
    NATURAL,
    NOTHING,
    NUMBER,
    SEVERAL,
    TEXT,
    Kind,
    dtype_of,
    join_all_kinds,
    kind_of,
    object_kind,
)

# fewer texts than this are not worth starting a DuckDB query
_MANY: Final = 1 << 11
# DuckDB reads numbers that may be beyond 63 bits, halves of surrogate pairs and the character 0 differently
_DOUBTFUL: Final = r"[0-9]{18}|[eE]\+?[0-9]{3}|\\u[dD][89a-fA-F]|\\u0000"
_WORDS: Final = {
    "NULL": NOTHING,
    "BOOLEAN": BOOLEAN,
    "UBIGINT": NATURAL,
    "BIGINT": INTEGER,
    "HUGEINT": INTEGER,
    "DOUBLE": NUMBER,
    "VARCHAR": TEXT,
}
_TYPES: Final = {
    NOTHING: "VARCHAR",
    BOOLEAN: "BOOLEAN",
    NATURAL: "BIGINT",
    INTEGER: "BIGINT",
    NUMBER: "DOUBLE",
    TEXT: "VARCHAR",
}


class _AmbiguousValueError(Exception):
    """Raised for a text that DuckDB may read differently from Python."""


def kind_of_texts(texts: pl.Series) -> Kind:
    """Return the common kind of the values in JSON texts, ignoring nulls."""
    texts = texts.drop_nulls()
    if _for_duckdb(texts):
        try:
            found = _query(texts, "SELECT DISTINCT json_structure(d) AS d FROM documents")
            return join_all_kinds(_kind_of_structure(json.loads(text), 0) for text in found.to_list())
        except _AmbiguousValueError:
            pass
    return join_all_kinds(map(_kind_of_text, texts.to_list()))


def decode(texts: pl.Series, kind: Kind) -> pl.Series:
    """Decode JSON texts into a column of a kind that holds their values."""
    dtype = dtype_of(kind)
    if dtype == pl.String and kind != TEXT:
        return _spell_alike(_without_nulls(texts))
    if _for_duckdb(texts):
        try:
            structure = json.dumps(_structure_of(kind)).replace("'", "''")
            query = f"SELECT json_transform(d, '{structure}') AS d FROM documents ORDER BY n"
            return _query(texts, query).cast(dtype).alias(texts.name)
        except _AmbiguousValueError:
            pass
    values = [None if text is None else json.loads(text) for text in texts.to_list()]
    return column_of_kind(values, kind).alias(texts.name)


def column_of_kind(values: Iterable[Any], kind: Kind) -> pl.Series:
    """Convert Python JSON values into a column of a kind that holds them."""
    return pl.Series([_conform(value, kind) for value in values], dtype=dtype_of(kind))


def _for_duckdb(texts: pl.Series) -> bool:
    return len(texts) >= _MANY and not texts.str.contains(_DOUBTFUL).any()


def _query(texts: pl.Series, query: str) -> pl.Series:
    import duckdb

    try:
        return query_documents(texts, query)["d"]
    except duckdb.Error:
        raise _AmbiguousValueError from None


def _without_nulls(texts: pl.Series) -> pl.Series:
    null = texts == "null"
    return pl.select(pl.when(~null).then(texts)).to_series().alias(texts.name) if null.any() else texts


def _spell_alike(texts: pl.Series) -> pl.Series:
    """Rewrite floats and escapes in JSON texts the way Python writes them."""
    rows = texts.str.contains(r"[0-9][.eE]|\\").fill_null(value=False).arg_true()
    if not len(rows):
        return texts
    return texts.scatter(rows, [_respell(text) for text in texts.gather(rows).to_list()])


def _respell(text: str) -> str:
    try:
        return _compact(json.loads(text))
    except (RecursionError, ValueError):
        return text


def _kind_of_text(text: str) -> Kind:
    try:
        return kind_of(json.loads(text))
    except (RecursionError, ValueError):
        # nested deeper than can be read, or a number of more digits than can
        return SEVERAL


def _kind_of_structure(structure: Any, depth: int) -> Kind:
    if isinstance(structure, str):
        # "JSON" stands for unlike values, and for an empty object
        if structure not in _WORDS:
            raise _AmbiguousValueError
        return _WORDS[structure]
    if depth >= MAX_DEPTH:
        raise _AmbiguousValueError
    if isinstance(structure, dict):
        return object_kind({n: _kind_of_structure(inner, depth + 1) for n, inner in structure.items()})
    return [_kind_of_structure(structure[0], depth + 1)]


def _structure_of(kind: Kind) -> Any:
    if isinstance(kind, dict):
        # fields of DuckDB have a name, and do not differ in the case of letters only
        if not kind or "" in kind or len({name.lower() for name in kind}) < len(kind):
            raise _AmbiguousValueError
        return {name: _structure_of(inner) for name, inner in kind.items()}
    if isinstance(kind, list):
        return [_structure_of(kind[0])]
    if kind not in _TYPES:
        raise _AmbiguousValueError
    return _TYPES[kind]


def _conform(value: Any, kind: Kind) -> Any:
    if value is None:
        return None
    if isinstance(value, str):
        return storable(value) if kind == TEXT else _compact(value)
    if kind == NUMBER:
        return _double(value)
    if isinstance(kind, list):
        return [_conform(inner, kind[0]) for inner in value]
    if kind in (SEVERAL, {}):
        return _compact(value)
    if isinstance(kind, dict):
        return {name: _conform(value.get(name), inner) for name, inner in kind.items()}
    return value


def _compact(value: Any) -> str:
    return storable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _double(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
