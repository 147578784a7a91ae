"""JSON path extraction in Python for small batches, where DuckDB's start-up cost dominates.

What is read is what DuckDB reads, to the letter. Wherever that is not certain, all texts are left to DuckDB:
texts that are not JSON, keys that occur twice, numbers with exponents or beyond 64 bits, halves of surrogate
pairs, nested values.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import polars as pl

from flowdsl.values.columns import Column
from flowdsl.values.json_types import MISSING
from flowdsl.values.paths import Path

# up to here Python is faster: texts, and bytes of them
_TEXTS: Final = 256
_BYTES: Final = 1 << 20
# longer numbers may be beyond what 64 bits hold exactly
_DIGITS: Final = 17
_UNSURE: Final = object()


class _AmbiguousError(Exception):
    """Raised for a text that DuckDB may read differently."""


def extract_few(documents: pl.Series, paths: Sequence[Path]) -> list[Column] | None:
    """Extract the values at several paths like `extract`, or return None if DuckDB has to do it."""
    if not _are_few(documents):
        return None
    found: list[list[Any]] = [[] for _ in paths]
    try:
        for text in documents.to_list():
            document = MISSING if text is None else _document(text)
            for path, values in zip(paths, found, strict=True):
                values.append(_value_at(document, path))
    except (ValueError, RecursionError, _AmbiguousError):
        return None
    return [Column.of(values) for values in found]


def elements_of_few(lists: pl.Series) -> list[list[Any]] | None:
    """Return the elements of JSON arrays, or None if DuckDB has to take them apart."""
    if not _are_few(lists):
        return None
    try:
        return [[_value_at(one, ()) for one in _document(text)] for text in lists.to_list()]
    except (ValueError, RecursionError, _AmbiguousError):
        return None


def _are_few(texts: pl.Series) -> bool:
    return len(texts) <= _TEXTS and texts.estimated_size() <= _BYTES


def _document(text: str) -> Any:
    # surrogates may be halves of pairs
    if "\\u" in text and "\\ud" in text.lower():
        raise _AmbiguousError
    return _decode(text)


def _value_at(value: Any, path: Path) -> Any:
    for part in path:
        if not isinstance(value, dict):
            return MISSING
        value = value.get(part, MISSING)
    if value is _UNSURE or isinstance(value, (dict, list)):
        raise _AmbiguousError
    if isinstance(value, str) and "\0" in value:
        raise _AmbiguousError
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _AmbiguousError
    return found


def _whole(text: str) -> Any:
    return int(text) if len(text) <= _DIGITS and text != "-0" else _UNSURE


def _fraction(text: str) -> Any:
    return float(text) if len(text) <= _DIGITS and "e" not in text.lower() else _UNSURE


def _no_number(text: str) -> Any:
    raise _AmbiguousError


_decode: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_whole, parse_float=_fraction, parse_constant=_no_number
).decode
