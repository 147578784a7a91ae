"""Vectorized renderer, and scalar rendering of the distinct inputs of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import polars as pl

from flowdsl.expressions.row_source import Failures, Rows, first_failures
from flowdsl.expressions.templates.nodes import (
    Body,
    Expr,
    For,
    Ident,
    If,
    Node,
    Output,
    Raw,
    Section,
    Set,
    Text,
)
from flowdsl.expressions.templates.scalar import render_rows
from flowdsl.expressions.templates.vectorized.evaluation import RowBatch
from flowdsl.expressions.templates.vectorized.groups import call_each_distinct
from flowdsl.expressions.templates.vectorized.loops import (
    check_steps,
    failures_of_lists,
    lists_of,
    names_of,
    outer_idents,
)
from flowdsl.expressions.templates.vectorized.outcomes import NotColumnar, RenderOutcome, as_column
from flowdsl.expressions.templates.vectorized.printer import format_column, limit_texts, repeat_text
from flowdsl.values.columns import Column, gather_values
from flowdsl.values.distinct_rows import distinct_rows, intern_rows
from flowdsl.values.json_lists import join_texts
from flowdsl.values.json_types import Index, Mask, Tag
from flowdsl.values.orders import inverse
from flowdsl.values.paths import Path

Piece = str | pl.Series
_PIECES = 200
_BLOCKS = 16


def render_distinct(body: Body, paths: Sequence[Path], rows: Rows) -> tuple[pl.Series, Failures | None]:
    """Render by the scalar form, once for each distinct set of inputs."""

    def text_of(row: tuple[Any, ...]) -> str:
        return render_rows(body, dict(zip(paths, row, strict=True)).__getitem__)

    columns = [rows.column(path) for path in paths]
    answers, inverse, failures = call_each_distinct(columns, rows.size, text_of)
    texts = pl.Series([text if isinstance(text, str) else "" for text in answers], dtype=pl.String)
    return texts[inverse], failures


def render_columns(body: Body, paths: Sequence[Path], rows: Rows) -> tuple[pl.Series, Failures | None]:
    """Render by columns; raise `NotColumnar` if a value fits no column."""
    batch = RowBatch(rows)
    if (
        len(paths) == 1
        and not _prints_one(body)
        and intern_rows(column := batch.column(paths[0])) is not None
    ):
        first, inverse = distinct_rows([column], rows.size)
        if len(first) * 2 < rows.size:
            texts, failures = _Printer(batch.take(first)).text(body)
            return texts[inverse], gather_values(failures, inverse)
    return _Printer(batch).text(body)


def render_mixed(body: Body, paths: Sequence[Path], rows: Rows) -> tuple[pl.Series, Failures | None]:
    """Render by columns, but for the blocks of rows in which a value fits no column."""
    try:
        return render_columns(body, paths, rows)
    except NotColumnar:
        blocks = np.array_split(np.arange(rows.size), min(_BLOCKS, rows.size))
    done: list[tuple[Index, pl.Series, Failures | None]] = []
    left: list[Index] = []
    for block in blocks:
        try:
            done.append((block, *render_columns(body, paths, rows.take(block))))
        except NotColumnar:
            left.append(block)
    if left:
        rest = np.concatenate(left)
        done.append((rest, *render_distinct(body, paths, rows.take(rest))))
    order = inverse(np.concatenate([block for block, _, _ in done]))
    failed = [failures.scatter(block, rows.size) if failures else None for block, _, failures in done]
    return pl.concat([texts.alias("text") for _, texts, _ in done])[order], first_failures(failed)


def _prints_one(body: Body) -> bool:
    """Return True for a body that only prints one variable: rendering each distinct value would not pay."""
    if len(body) != 1 or not isinstance(body[0], Output):
        return False
    expr = body[0].expr
    return isinstance(expr.value, Ident) and not expr.filters and not expr.negated


class _Printer:
    """Printer of bodies for the contexts of a batch."""

    def __init__(self, batch: RowBatch) -> None:
        self.batch = batch
        self.assigned: set[str] = set()

    def text(self, body: Body) -> tuple[pl.Series, Failures | None]:
        """Return the printed text of a body in each context."""
        pieces: list[Piece] = []
        failed: list[Failures | None] = []
        for node in body:
            piece, failures = self.node(node)
            pieces.append(piece)
            failed.append(failures)
            if len(pieces) == _PIECES:
                # joined from time to time, so that texts that are too long are dropped before they use much
                # memory
                texts, too_long = limit_texts(_join(pieces, self.batch.size))
                pieces, failed = [texts], [first_failures([*failed, too_long])]
        texts, too_long = limit_texts(_join(pieces, self.batch.size))
        return texts, first_failures([*failed, too_long])

    def node(self, node: Node) -> tuple[Piece, Failures | None]:
        """Return the printed text of one node in each context."""
        if isinstance(node, (Text, Raw)):
            return node.text, None
        if isinstance(node, Output):
            found = self.batch.value(node.expr)
            return format_column(found.operand), found.failures
        if isinstance(node, Set):
            return "", self._set(node)
        if isinstance(node, If):
            return self._if(node)
        if isinstance(node, Section):
            return self._section(node)
        if isinstance(node, For):
            return self._for(node)
        return "", None

    def _set(self, node: Set) -> Failures | None:
        found = self.batch.value(node.expr)
        self.batch.names[node.name] = as_column(found.operand, self.batch.size)
        self.assigned.add(node.name)
        return found.failures

    def _section(self, node: Section) -> tuple[Piece, Failures | None]:
        texts, failures = self.text(node.body)
        if node.call.name == "safe":
            return texts, failures
        body = RenderOutcome(Column(self.batch.size, Tag.TEXT, texts=texts), failures)
        found = self.batch.apply_filter(body, node.call)
        return format_column(found.operand), found.failures

    def _if(self, node: If) -> tuple[Piece, Failures | None]:
        """Render each branch on its own rows and put the texts back in place."""
        size = self.batch.size
        left: Index = np.arange(size)
        parts: list[tuple[Index, pl.Series, _Printer]] = []
        failed: list[Failures | None] = []
        for _, condition, body in node.branches:
            chosen, lost = self._choose(condition, left, failed)
            if chosen.all() and len(left) == size:
                # all rows take this branch, so there is no need to split them
                texts, failures = self.text(body)
                return texts, first_failures([*failed, failures])
            self._branch(body, left[chosen], parts, failed)
            left = left[~chosen & ~lost]
        if node.otherwise:
            self._branch(node.otherwise[1], left, parts, failed)
        self._keep_names(parts)
        return _scatter([(index, texts) for index, texts, _ in parts], size), first_failures(failed)

    def _for(self, loop: For) -> tuple[Piece, Failures | None]:
        """Render the body for the items of all lists together."""
        size = self.batch.size
        found = self.batch.value(loop.container)
        container = as_column(found.operand, size)
        lists, wrong = lists_of(container)
        check_steps(loop, container, lists.counts, [*map(self.batch.find, outer_idents(loop))])
        inner = self.batch.take(np.repeat(np.arange(size), lists.counts))
        inner.names |= names_of(loop, lists)
        texts, failures = _Printer(inner).text(loop.body)
        parts: list[tuple[Index, pl.Series, _Printer]] = [
            (np.arange(size), join_texts(_without_nulls(texts), lists.counts), self)
        ]
        failed = [found.failures, wrong, failures_of_lists(failures, lists.counts)]
        self._branch(loop.empty or (), np.flatnonzero(lists.counts == 0), parts, failed)
        return _scatter([(index, texts) for index, texts, _ in parts], size), first_failures(failed)

    def _choose(self, condition: Expr, left: Index, failed: list[Failures | None]) -> tuple[Mask, Mask]:
        """Return which of the rows at `left` meet the condition, and which fail."""
        size = self.batch.size
        batch = self.batch if len(left) == size else self.batch.take(left)
        chosen, failures = batch.truth(condition)
        if failures is None:
            return chosen, np.zeros(len(left), np.bool_)
        failed.append(failures.scatter(left, size))
        return chosen & ~failures.mask, failures.mask

    def _branch(
        self,
        body: Body,
        index: Index,
        parts: list[tuple[Index, pl.Series, _Printer]],
        failed: list[Failures | None],
    ) -> None:
        if not body or not len(index):
            return
        printer = _Printer(self.batch.take(index))
        texts, failures = printer.text(body)
        parts.append((index, texts, printer))
        failed.append(failures.scatter(index, self.batch.size) if failures else None)

    def _keep_names(self, parts: list[tuple[Index, pl.Series, _Printer]]) -> None:
        """Merge the names that branches have set."""
        size = self.batch.size
        for name in dict.fromkeys(name for _, _, printer in parts for name in sorted(printer.assigned)):
            columns = [self.batch.names.get(name, Column(size, Tag.MISSING))]
            place, start = np.arange(size), size
            for index, _, printer in parts:
                if name in printer.assigned:
                    columns.append(printer.batch.names[name])
                    place[index] = start + np.arange(len(index))
                    start += len(index)
            self.batch.names[name] = Column.concat(columns).take(place)
            self.assigned.add(name)


def _join(pieces: Sequence[Piece], size: int) -> pl.Series:
    """Concatenate texts row by row."""
    if not any(isinstance(piece, pl.Series) for piece in pieces):
        return repeat_text("".join(map(str, pieces)), size)
    parts = [_without_nulls(piece) for piece in pieces if not isinstance(piece, str) or piece]
    if len(parts) <= 2:
        # takes two thirds of the time of the general join
        joined: pl.Series = reduce(add, parts)
        return joined.alias("text")
    columns = [pl.lit(part) if isinstance(part, str) else part for part in parts]
    return pl.select(pl.concat_str(columns).alias("text")).to_series()


def _without_nulls(piece: Piece) -> Any:
    return piece.fill_null("") if isinstance(piece, pl.Series) and piece.null_count() else piece


def _scatter(parts: Sequence[tuple[Index, pl.Series]], size: int) -> Piece:
    """Spread texts of some rows over all; the others are empty."""
    if not parts:
        return ""
    place, start = np.zeros(size, np.int64), 1
    for index, texts in parts:
        place[index] = start + np.arange(len(index))
        start += len(texts)
    nothing = pl.Series([""], dtype=pl.String).alias("text")
    return pl.concat([nothing, *(texts.alias("text") for _, texts in parts)], rechunk=True)[place]
