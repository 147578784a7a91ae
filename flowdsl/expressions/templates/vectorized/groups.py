"""Functions of values, called once for each distinct input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from flowdsl.expressions.row_source import Failures
from flowdsl.expressions.templates.vectorized.outcomes import RenderOutcome, call_each, column_of
from flowdsl.values.columns import Column, DictionaryColumn, gather_values
from flowdsl.values.distinct_rows import distinct_codes, distinct_rows
from flowdsl.values.json_types import MISSING, Index


def call_each_distinct(
    columns: Sequence[Column], size: int, question: Callable[[tuple[Any, ...]], Any]
) -> tuple[list[Any], Index, Failures | None]:
    """Call a function with each distinct set of values; return the results, the result that each row has, and
    the failures of the rows.
    """
    first, inverse = distinct_rows(columns, size)
    values = [column.take(first).values() for column in columns]
    given = list(zip(*values, strict=True)) if values else [()] * len(first)
    answers, failures = call_each(question, given)
    return answers, inverse, gather_values(failures, inverse)


def per_distinct(column: Column, change: Callable[[Any], Any]) -> RenderOutcome:
    """Map each distinct value of a column once."""
    answers, inverse, failures = call_each_distinct(
        [column], column.size, lambda row: row[0] if row[0] is MISSING else change(row[0])
    )
    return RenderOutcome(column_of(answers).take(inverse), failures)


def text_changed(column: Column, change: Callable[[pl.Series], pl.Series]) -> Column:
    """Map the texts of a column; interned texts only once each."""
    return Column(column.size, column.tags, texts=text_measured(column, change))


def text_measured(column: Column, measure: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """Measure the texts of a column; interned texts only once each."""
    texts = column.texts
    if not isinstance(texts, DictionaryColumn):
        return measure(column.text_series())
    first, inverse = distinct_codes(texts.codes)
    return measure(texts.interner.texts(texts.codes.take(first)))[inverse]
