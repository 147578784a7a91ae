"""Kinds of columns: the common type of all values in a column, from which its frame type follows.

A kind is plain JSON: a word for a single value, `[kind]` for lists, `{name: kind}` for objects. Kinds join:
whole numbers and others are numbers, objects have the fields of all, and what has nothing in common is
`several`. Joining is associative, commutative and idempotent, so it does not matter in which pieces the
values came.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Any, Final

import polars as pl

Kind = Any

# no value at all, or only null
NOTHING: Final = "nothing"
BOOLEAN: Final = "boolean"
# whole numbers from 0 that 63 bits hold, those with a sign, those that take 64 bits
NATURAL: Final = "natural"
INTEGER: Final = "integer"
UNSIGNED: Final = "unsigned"
NUMBER: Final = "number"
TEXT: Final = "text"
# unlike values: only JSON text holds them
SEVERAL: Final = "several"

# objects with more fields than this, and values nested deeper, are JSON text
MAX_FIELDS: Final = 1_000
MAX_DEPTH: Final = 32

_WHOLE: Final = frozenset((NATURAL, INTEGER, UNSIGNED))
_DTYPES: Final[dict[str, Any]] = {
    NOTHING: pl.String(),
    BOOLEAN: pl.Boolean(),
    NATURAL: pl.Int64(),
    INTEGER: pl.Int64(),
    UNSIGNED: pl.UInt64(),
    NUMBER: pl.Float64(),
    TEXT: pl.String(),
    SEVERAL: pl.String(),
}
WORDS: Final = frozenset(_DTYPES)


def join_kinds(one: Kind, other: Kind) -> Kind:
    """Return the kind that holds the values of both.

    >>> (
    ...     join_kinds("natural", "number"),
    ...     join_kinds({"a": "text"}, {"b": "natural"}),
    ...     join_kinds(["text"], "text"),
    ... )
    ('number', {'a': 'text', 'b': 'natural'}, 'several')
    """
    if other in (one, NOTHING):
        return one
    if one == NOTHING:
        return other
    if isinstance(one, dict) and isinstance(other, dict):
        return object_kind(
            {n: join_kinds(one.get(n, NOTHING), other.get(n, NOTHING)) for n in {**one, **other}}
        )
    if isinstance(one, list) and isinstance(other, list):
        return [join_kinds(one[0], other[0])]
    if isinstance(one, str) and isinstance(other, str):
        return _join_numbers({one, other})
    return SEVERAL


def _join_numbers(kinds: set[str]) -> Kind:
    """Return the kind of numbers that holds these, or several if one is not a number."""
    if not kinds <= {*_WHOLE, NUMBER}:
        return SEVERAL
    if NUMBER in kinds or kinds == {INTEGER, UNSIGNED}:
        return NUMBER
    return UNSIGNED if UNSIGNED in kinds else INTEGER


def join_all_kinds(kinds: Iterable[Kind]) -> Kind:
    """Return the kind that holds the values of all."""
    return reduce(join_kinds, kinds, NOTHING)


def object_kind(fields: dict[str, Kind]) -> Kind:
    """Return the kind of objects with these fields; beyond a number of fields it is plain JSON, as is a name
    with the character 0, which no column can have.
    """
    return fields if len(fields) <= MAX_FIELDS and "\0" not in "".join(fields) else SEVERAL


def complete(kind: Kind, hint: Kind) -> Kind:
    """Complete a kind from what a template says of it; fields are ordered as in the template, then by
    name.
    """
    if kind == NOTHING:
        return complete(hint, NOTHING) if hint != NOTHING else NOTHING
    if isinstance(kind, dict):
        known = hint if isinstance(hint, dict) else {}
        # what an object of the template holds is there in every payload, also where it is null
        names = [*known, *sorted(kind.keys() - known.keys())]
        return {name: complete(kind.get(name, NOTHING), known.get(name, NOTHING)) for name in names}
    if isinstance(kind, list):
        return [complete(kind[0], hint[0] if isinstance(hint, list) else NOTHING)]
    return kind


def kind_of(value: Any, depth: int = 0) -> Kind:
    """Return the kind of one Python JSON value.

    >>> kind_of({"a": [1, 2.5], "b": None})
    {'a': ['number'], 'b': 'nothing'}
    """
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, int):
        return _kind_of_integer(value)
    if isinstance(value, float):
        return NUMBER
    if isinstance(value, str):
        return TEXT
    if depth >= MAX_DEPTH:
        return SEVERAL
    if isinstance(value, dict):
        return object_kind({str(name): kind_of(inner, depth + 1) for name, inner in value.items()})
    return [join_all_kinds(kind_of(inner, depth + 1) for inner in value)]


def _kind_of_integer(value: int) -> Kind:
    if not -(2**63) <= value < 2**64:
        return NUMBER
    if value < 0:
        return INTEGER
    return NATURAL if value < 2**63 else UNSIGNED


def kind_of_series(series: pl.Series) -> Kind:
    """Return the kind of the values of a column with plain types."""
    dtype = series.dtype
    if series.null_count() == len(series):
        return _empty_kind(dtype)
    if isinstance(dtype, pl.Struct):
        inside = series.drop_nulls().struct
        return object_kind({field.name: kind_of_series(inside.field(field.name)) for field in dtype.fields})
    if isinstance(dtype, pl.List):
        return [kind_of_series(series.list.explode(empty_as_null=False, keep_nulls=False))]
    if dtype == pl.Int64:
        return INTEGER if series.min() < 0 else NATURAL  # type: ignore[operator]
    if dtype == pl.UInt64:
        return UNSIGNED if series.max() >= 2**63 else NATURAL  # type: ignore[operator]
    return {pl.Boolean: BOOLEAN, pl.Float64: NUMBER}.get(type(dtype), TEXT)


def _empty_kind(dtype: Any) -> Kind:
    # objects of the template have their fields even where all of them are null
    if isinstance(dtype, pl.Struct):
        return object_kind({field.name: _empty_kind(field.dtype) for field in dtype.fields})
    return NOTHING


def holds_json(kind: Kind) -> bool:
    """Return True if a part is stored as JSON text, which looks like plain text."""
    if isinstance(kind, dict):
        return not kind or any(map(holds_json, kind.values()))
    return holds_json(kind[0]) if isinstance(kind, list) else kind == SEVERAL


def dtype_of(kind: Kind) -> Any:
    """Return the column type of a kind. Objects without fields become text, since files have no such type."""
    if isinstance(kind, dict):
        return pl.Struct({name: dtype_of(inner) for name, inner in kind.items()}) if kind else pl.String()
    return pl.List(dtype_of(kind[0])) if isinstance(kind, list) else _DTYPES[kind]
