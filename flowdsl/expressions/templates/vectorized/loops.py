"""Loops by columns: the body is rendered once for the items of all lists, and the texts of each are joined.

A loop has this form if it goes over arrays at a path, and its body sets no names and has no loop of its own.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from flowdsl.expressions.row_source import Failures, first_failures
from flowdsl.expressions.templates.failures import MAX_STEPS
from flowdsl.expressions.templates.nodes import For, Ident
from flowdsl.expressions.templates.values import kind
from flowdsl.expressions.templates.vectorized.outcomes import NotColumnar
from flowdsl.expressions.templates.vectorized.steps import exact
from flowdsl.expressions.templates.visitors import all_nodes, exprs_of, idents
from flowdsl.values.columns import Column
from flowdsl.values.json_lists import JsonLists
from flowdsl.values.json_types import Ints, Tag

# a step of a loop costs at most so much as is counted here
_COST: Final = 8
# characters that cost as much as a step
_LETTERS: Final = 64


def lists_of(column: Column) -> tuple[JsonLists, Failures | None]:
    """Return the lists that loops go over, and the failures of rows with other values. Raises `NotColumnar`
    for texts and objects.
    """
    if column.is_(Tag.TEXT, Tag.OBJECT).any():
        raise NotColumnar
    wrong = (Tag.NULL, None), (Tag.BOOL, True), (Tag.INT, 0), (Tag.FLOAT, 0.5)
    failed = [
        Failures.where(column.is_(tag), f"`for` goes over arrays, objects and text, not over {kind(example)}")
        for tag, example in wrong
    ]
    lists = JsonLists.of(column)
    return JsonLists(lists.counts, exact(lists.elements)), first_failures(failed)


def check_steps(loop: For, container: Column, counts: Ints, outer: list[Column]) -> None:
    """Raise `NotColumnar` where a loop may take more steps than are allowed, which the row form counts."""
    weight = sum(1 + len(getattr(node, "text", "")) // _LETTERS for node in all_nodes(loop.body))
    weight += sum(1 + len(one.filters) for one in exprs_of(loop.body))
    size = len(counts)
    around = sum((lengths(column, size) for column in outer), np.zeros(size, np.int64))
    letters = lengths(container, size) + counts * around
    steps = weight * (counts + letters // _LETTERS)
    if (steps * _COST > MAX_STEPS).any():
        raise NotColumnar


def lengths(column: Column, size: int) -> Ints:
    """Return how many bytes the text or JSON text of each value has, at least."""
    found = np.zeros(size, np.int64)
    for texts in (column.text_series() if column.texts is not None else None, column.nested):
        if texts is not None:
            found += texts.str.len_bytes().fill_null(0).cast(pl.Int64).to_numpy()
    return found


def names_of(loop: For, lists: JsonLists) -> dict[str, Column]:
    """Return the names that the body of a loop has for each item."""
    size, counts = lists.elements.size, lists.counts
    at = np.arange(size) - np.repeat(np.cumsum(counts) - counts, counts)
    last = at == np.repeat(counts - 1, counts)
    return {
        loop.value: lists.elements,
        "loop.index": Column(size, Tag.INT, ints=at + 1),
        "loop.index0": Column(size, Tag.INT, ints=at),
        "loop.first": Column(size, Tag.BOOL, bools=at == 0),
        "loop.last": Column(size, Tag.BOOL, bools=last),
    }


def outer_idents(loop: For) -> set[Ident]:
    """Return what the body reads outside of the loop."""
    read = (ident for expr in exprs_of(loop.body) for ident in idents(expr.value))
    return {ident for ident in read if ident.root not in ("loop", loop.value)}


def failures_of_lists(failures: Failures | None, counts: Ints) -> Failures | None:
    """Return the failures of lists: of several items that fail the first one counts."""
    if failures is None:
        return None
    codes = np.zeros(len(counts), np.int32)
    rows = failures.rows[::-1]
    # assigned backwards, so that the first one stays
    codes[np.repeat(np.arange(len(counts)), counts)[rows]] = failures.codes[rows]
    return Failures(codes, failures.messages)
