"""Vectorized tests of types, numbers, and texts with the same argument in every row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from flowdsl.expressions.row_source import Failures
from flowdsl.expressions.templates.nodes import Test
from flowdsl.expressions.templates.tera_tests import TESTS, TeraTest
from flowdsl.expressions.templates.vectorized.groups import text_measured
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Mask, Tag
from flowdsl.values.masks import as_mask, holds_piece


def evaluate_test(test: Test, column: Column, args: list[Any] | None) -> tuple[Mask, Failures | None] | None:
    """Evaluate a test and its failures, or return None if this column is not supported."""
    declared = TESTS.get(test.name)
    if declared is None or len(test.args) != declared.arguments:
        return None
    absent = column.is_(Tag.MISSING)
    failures: Failures | None = None
    if declared.holds is None:
        result = absent if test.name == "undefined" else ~absent
    else:
        found = _holds(declared, column, args)
        if found is None:
            return None
        result = found
        failures = Failures.where(
            absent, f"variable `{test.ident.text}` is missing, and `is {test.name}` needs it"
        )
    return (~result if test.negated else result), failures


def _holds(declared: TeraTest, column: Column, args: list[Any] | None) -> Mask | None:
    if declared.types:
        return column.is_(*(Tag[name] for name in declared.types))
    return None if declared.column is None else declared.column(column, args or [])


def odd(column: Column, args: list[Any]) -> Mask | None:
    """Test whole numbers for being odd, by their floats as Tera does: beyond 2⁵³ all of them are even."""
    if not column.all_(Tag.INT, Tag.MISSING) or column.ints is None:
        return None
    mask: Mask = np.fmod(column.ints.astype(np.float64), 2.0) != 0.0
    return mask


def even(column: Column, args: list[Any]) -> Mask | None:
    """Test whole numbers for being even."""
    mask = odd(column, args)
    return None if mask is None else ~mask


def starting_with(column: Column, args: list[Any]) -> Mask | None:
    """Test texts for starting with another."""
    return _text_holds(column, args, lambda texts, needle: texts.str.starts_with(needle))


def ending_with(column: Column, args: list[Any]) -> Mask | None:
    """Test texts for ending with another."""
    return _text_holds(column, args, lambda texts, needle: texts.str.ends_with(needle))


def containing(column: Column, args: list[Any]) -> Mask | None:
    """Test texts for containing another."""
    return _text_holds(column, args, holds_piece)


def _text_holds(column: Column, args: list[Any], test: Callable[[pl.Series, str], pl.Series]) -> Mask | None:
    if not args or not isinstance(args[0], str) or not column.all_(Tag.TEXT, Tag.MISSING):
        return None
    found = text_measured(column, lambda texts: test(texts, args[0]))
    return as_mask(found)
