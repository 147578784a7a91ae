"""Tests on columns: those of types, of numbers, and of texts against the same argument in every row."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from flowdsl.expressions.row_source import Failures
from flowdsl.expressions.templates.nodes import Test
from flowdsl.expressions.templates.signatures import TESTS
from flowdsl.expressions.templates.vectorized.groups import text_measured
from flowdsl.expressions.templates.vectorized.outcomes import Mask
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Tag
from flowdsl.values.masks import holds_piece

_TYPES = {
    "string": (Tag.TEXT,),
    "number": (Tag.INT, Tag.FLOAT),
    "object": (Tag.OBJECT,),
    "iterable": (Tag.ARRAY, Tag.OBJECT),
}


def tested(test: Test, column: Column, args: list[Any] | None) -> tuple[Mask, Failures | None] | None:
    """Where the test holds, and where it fails; None if it is not done on this column."""
    if len(test.args) != TESTS.get(test.name, -1):
        return None
    absent = column.is_(Tag.MISSING)
    failures: Failures | None = None
    if test.name in ("defined", "undefined"):
        result = absent if test.name == "undefined" else ~absent
    else:
        found = _holds(test.name, column, args)
        if found is None:
            return None
        result = found
        failures = Failures.where(
            absent, f"variable `{test.ident.text}` is missing, and `is {test.name}` needs it"
        )
    return (~result if test.negated else result), failures


def _holds(name: str, column: Column, args: list[Any] | None) -> Mask | None:
    if name in _TYPES:
        return column.is_(*_TYPES[name])
    if name in ("odd", "even") and column.all_(Tag.INT, Tag.MISSING) and column.ints is not None:
        # by their floats, as Tera does: beyond 2⁵³ all of them are even
        odd: Mask = np.fmod(column.ints.astype(np.float64), 2.0) != 0.0
        return odd if name == "odd" else ~odd
    if args and isinstance(args[0], str) and column.all_(Tag.TEXT, Tag.MISSING):
        return _text_holds(name, column, args[0])
    return None


def _text_holds(name: str, column: Column, needle: str) -> Mask | None:
    def measure(texts: pl.Series) -> pl.Series:
        if name == "starting_with":
            return texts.str.starts_with(needle)
        if name == "ending_with":
            return texts.str.ends_with(needle)
        return holds_piece(texts, needle)

    if name not in ("starting_with", "ending_with", "containing"):
        return None
    return text_measured(column, measure).fill_null(value=False).to_numpy()
