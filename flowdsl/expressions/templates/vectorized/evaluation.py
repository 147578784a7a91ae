"""Vectorized evaluation of template expressions.

Expressions without a column form (array literals, functions, arguments that vary) are evaluated in the scalar
form, once for each distinct set of inputs. Both forms give the same results and the same failures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl

from flowdsl.expressions.row_source import Failures, Rows, first_failures
from flowdsl.expressions.templates.evaluation import Evaluator, format_literal, missing, ordering
from flowdsl.expressions.templates.filters import filter_of
from flowdsl.expressions.templates.nodes import (
    Concat,
    Expr,
    Ident,
    Items,
    Logic,
    Math,
    Membership,
    TemplateCall,
    TemplateComparison,
    TemplateLiteral,
    Test,
)
from flowdsl.expressions.templates.values import kind
from flowdsl.expressions.templates.vectorized import predicates
from flowdsl.expressions.templates.vectorized.arithmetic import NumberColumns, calculated, numbers_of
from flowdsl.expressions.templates.vectorized.comparison import equality_column, is_one_of
from flowdsl.expressions.templates.vectorized.filters import filter_column
from flowdsl.expressions.templates.vectorized.groups import call_each_distinct
from flowdsl.expressions.templates.vectorized.outcomes import (
    GroupIndex,
    RenderOutcome,
    as_column,
    call_each,
    column_of,
    either,
)
from flowdsl.expressions.templates.vectorized.printer import join_column, limit_texts, truthy_column
from flowdsl.expressions.templates.vectorized.steps import Below, exact
from flowdsl.expressions.templates.visitors import all_exprs, idents
from flowdsl.values.columns import Column
from flowdsl.values.json_types import MISSING, Index, Mask, Tag
from flowdsl.values.paths import Path


class RowBatch:
    """Contexts of one template, with the names it has set so far."""

    def __init__(self, rows: Rows, names: dict[str, Column] | None = None) -> None:
        self.rows = rows
        self.size = rows.size
        self.names = names or {}
        self._columns: dict[Path, Column] = {}
        self._below: dict[Path, Below] = {}

    def take(self, index: Index) -> RowBatch:
        """Gather the contexts at `index`."""
        return RowBatch(
            self.rows.take(index), {name: column.take(index) for name, column in self.names.items()}
        )

    def column(self, path: Path) -> Column:
        """Return the values of the contexts at a path."""
        if path not in self._columns:
            self._columns[path] = exact(self.rows.column(path))
        return self._columns[path]

    def find(self, ident: Ident) -> Column:
        """Return the values at a path, `MISSING` where there is none."""
        own = self.names.get(ident.text)
        if own is None and ident.root in self.names:
            own = self._step((ident.root,), self.names[ident.root], ident.steps)
        if own is None:
            return self._step(ident.path, self.column(ident.path), ident.rest)
        there = ~own.is_(Tag.MISSING)
        if there.all():
            return own
        return either(there, own, self._step(ident.path, self.column(ident.path), ident.rest))

    def _step(self, path: Path, column: Column, steps: tuple[Any, ...]) -> Column:
        """Return what is below the values of a column, which are those at a path."""
        if not steps:
            return column
        if path not in self._below or self._below[path].column is not column:
            self._below[path] = Below(column)
        return self._below[path].at(steps)

    def there(self, ident: Ident) -> RenderOutcome:
        """Return the values at a path; rows without a value fail."""
        found = self.find(ident)
        absent = found.is_(Tag.MISSING)
        return RenderOutcome(found, Failures.where(absent, str(missing(ident))))

    def value(self, expr: Expr) -> RenderOutcome:
        """Return the value of an expression in each row."""
        if is_constant(expr):
            return constant(expr, self.size)
        if not self._columnar(expr):
            return self.by_rows(expr, lambda evaluator: evaluator.value(expr))
        value = expr.value
        if isinstance(value, Ident):
            found = self._ident(expr, value)
        elif isinstance(value, Math):
            numbers, failures = self._calculate(value)
            found = RenderOutcome(numbers.column(), failures)
        elif isinstance(value, Concat):
            found = self._concatenate(value)
        else:
            # `not` counts twice before a comparison, and once before a test or `in`
            twice = isinstance(value, (TemplateComparison, Logic))
            truth, failures = self.truth(expr if twice else Expr(value))
            found = RenderOutcome(Column(self.size, Tag.BOOL, bools=truth), failures)
        for call in expr.filters:
            if call.name not in ("safe", "default"):
                found = self.apply_filter(found, call)
        if not expr.negated:
            return found
        negated = ~truthy_column(as_column(found.operand, self.size))
        return RenderOutcome(Column(self.size, Tag.BOOL, bools=negated), found.failures)

    def _columnar(self, expr: Expr) -> bool:
        """Return True if the expression itself is evaluated on columns, whatever its parts are."""
        value = expr.value
        if isinstance(value, (Items, TemplateCall, TemplateLiteral)):
            return False
        if isinstance(value, Concat):
            kinds = set(map(type, value.parts))
            if kinds not in ({Ident}, {Ident, TemplateLiteral}):
                return False
        if isinstance(value, Ident) and expr.negated and expr.filters:
            return False
        if expr.has_default and not expr.default:
            return False
        return all(map(_is_columnar, expr.filters))

    def _ident(self, expr: Expr, ident: Ident) -> RenderOutcome:
        if expr.negated:
            return RenderOutcome(self.find(ident))
        if not expr.has_default:
            return self.there(ident)
        found = self.find(ident)
        absent = found.is_(Tag.MISSING, Tag.NULL)
        if not absent.any():
            return RenderOutcome(found)
        assert expr.default is not None
        default = self.value(expr.default)
        filled = either(~absent, found, as_column(default.operand, self.size))
        return RenderOutcome(filled, default.failures.only(absent) if default.failures else None)

    def apply_filter(self, given: RenderOutcome, call: TemplateCall) -> RenderOutcome:
        """Apply a filter with the same arguments in every row."""
        assert isinstance(given.operand, Column)
        values, failures = constant_values([arg for _, arg in call.args])
        if failures:
            failed = Failures.where(np.ones(self.size, np.bool_), failures.messages[0])
            return RenderOutcome(given.operand, first_failures([given.failures, failed]))
        args = dict(zip((name for name, _ in call.args), values, strict=True))
        made = filter_column(given.operand, call, args)
        return RenderOutcome(made.operand, first_failures([given.failures, made.failures]))

    def _concatenate(self, concat: Concat) -> RenderOutcome:
        pieces: list[Any] = []
        failed: list[Failures | None] = []
        for part in concat.parts:
            if isinstance(part, TemplateLiteral):
                pieces.append(pl.lit(format_literal(part.value)))
                continue
            assert isinstance(part, Ident)
            found = self.there(part)
            assert isinstance(found.operand, Column)
            pieces.append(join_column(found.operand))
            failed += [found.failures, *(self._unjoinable(part, found.operand))]
        texts = pl.select(pl.concat_str(pieces, ignore_nulls=True).alias("text")).to_series()
        texts, too_long = limit_texts(texts)
        return RenderOutcome(Column(self.size, Tag.TEXT, texts=texts), first_failures([*failed, too_long]))

    def _unjoinable(self, part: Ident, column: Column) -> list[Failures | None]:
        wrong: list[tuple[Tag, Any]] = [(Tag.NULL, None), (Tag.BOOL, True), (Tag.ARRAY, []), (Tag.OBJECT, {})]
        return [
            Failures.where(
                column.is_(tag), f"`~` takes text and numbers, and `{part.text}` is {kind(example)}"
            )
            for tag, example in wrong
            if not column.all_(Tag.TEXT, Tag.INT, Tag.FLOAT)
        ]

    def number(self, expr: Expr) -> tuple[NumberColumns, Failures | None]:
        """Return the expression as a number in each row; other rows fail."""
        value = expr.value
        if isinstance(value, Math) and not expr.filters:
            return self._calculate(value)
        plain = not expr.filters and isinstance(value, Ident)
        if plain:
            assert isinstance(value, Ident)
            found = self.there(value)
        elif expr.filters and not is_constant(expr):
            found = self.value(expr)
        else:
            found = self.by_rows(expr, lambda evaluator: evaluator.number(expr))
        name = value.text if isinstance(value, Ident) and plain else ""
        numbers, failures = numbers_of(as_column(found.operand, self.size), name)
        return numbers, first_failures([found.failures, failures])

    def _calculate(self, math: Math) -> tuple[NumberColumns, Failures | None]:
        result, failures = self.number(math.first)
        for op, operand in math.rest:
            right, failed = self.number(operand)
            result, lost = calculated(op, result, right)
            failures = first_failures([failures, failed, lost])
        return result, failures

    def truth(self, expr: Expr) -> tuple[Mask, Failures | None]:
        """Return the truth of the expression in each row."""
        value = expr.value
        if isinstance(value, TemplateComparison) and not is_constant(expr):
            # comparisons apply their own `not`
            return self._compare(value, expr.negated)
        found = None if is_constant(expr) else self._truth_of_value(expr)
        if found is None:
            return self._truth_by_rows(expr)
        result, failures = found
        return (~result if expr.negated else result), failures

    def _truth_of_value(self, expr: Expr) -> tuple[Mask, Failures | None] | None:
        """Return the truth of the value before `not`, or None if it is evaluated row by row."""
        match expr.value:
            case Ident() as ident if not expr.filters:
                return truthy_column(self.find(ident)), None
            case Logic() as logic:
                return self._logic(logic)
            case Math() as math:
                numbers, failures = self._calculate(math)
                floats = (numbers.floats != 0) & ~np.isnan(numbers.floats)
                return np.where(numbers.whole, numbers.ints != 0, floats), failures
            case Test() as test:
                return predicates.evaluate_test(test, self.find(test.ident), constant_args(test))
            case Membership() as membership:
                return self._is_member(membership)
        return None

    def _truth_by_rows(self, expr: Expr) -> tuple[Mask, Failures | None]:
        found = self.by_rows(expr, lambda evaluator: evaluator.truth(expr))
        column = as_column(found.operand, self.size)
        return truthy_column(column), found.failures

    def _logic(self, logic: Logic) -> tuple[Mask, Failures | None]:
        result, failures = self.truth(logic.operands[0])
        for operand in logic.operands[1:]:
            open_ = ~result if logic.op == "or" else result
            if failures:
                open_ = open_ & ~failures.mask
            if not open_.any():
                break
            more, failed = self.truth(operand)
            result = np.where(open_, more, result)
            failures = first_failures([failures, failed.only(open_) if failed else None])
        return result, failures

    def _compare(self, compare: TemplateComparison, negated: bool) -> tuple[Mask, Failures | None]:
        if compare.op in ("==", "!="):
            left, right = self.value(compare.left), self.value(compare.right)
            result, failed = equality_column(
                compare.op, left.operand, right.operand, self.size, negated=negated
            )
            return result, first_failures([left.failures, right.failures, failed])
        a, failed_a = self.number(compare.left)
        b, failed_b = self.number(compare.right)
        left_floats, right_floats = a.as_floats(), b.as_floats()
        nan = Failures.where(
            np.isnan(left_floats) | np.isnan(right_floats), f"`{compare.op}` cannot compare NaN"
        )
        result = np.asarray(ordering(compare.op, left_floats, right_floats))  # type: ignore[arg-type]
        return (~result if negated else result), first_failures([failed_a, failed_b, nan])

    def _is_member(self, membership: Membership) -> tuple[Mask, Failures | None] | None:
        """Test texts for membership in an array literal of texts; return None for other operands."""
        if not is_constant(membership.right):
            return None
        right = constant(membership.right, self.size).operand
        container = right.value if isinstance(right, GroupIndex) else None
        if not isinstance(container, list) or not all(isinstance(item, str) for item in container):
            return None
        left = self.value(membership.left)
        result = is_one_of(as_column(left.operand, self.size), container)
        return (~result if membership.negated else result), left.failures

    def by_rows(self, expr: Expr, question: Any) -> RenderOutcome:
        """Evaluate by the scalar form, once for each distinct set of inputs."""
        read = [ident for part in all_exprs(expr) for ident in idents(part.value)]
        paths = list(dict.fromkeys(ident.path for ident in read))
        named = dict.fromkeys(name for ident in read for name in (ident.text, ident.root))
        names = [name for name in named if name in self.names]

        def ask(row: tuple[Any, ...]) -> Any:
            context, own = zip(paths, row, strict=False), zip(names, row[len(paths) :], strict=True)
            return question(Evaluator(dict(context).__getitem__, _put_together(own)))

        columns = [*map(self.column, paths), *map(self.names.__getitem__, names)]
        answers, inverse, failures = call_each_distinct(columns, self.size, ask)
        return RenderOutcome(column_of(answers).take(inverse), failures)


def _is_columnar(call: TemplateCall) -> bool:
    """Return True for a filter that is known and has the same arguments in every row."""
    if filter_of(call) is None:
        return False
    return call.name == "default" or all(is_constant(arg) for _, arg in call.args)


def _put_together(named: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return names with their values, `loop.index` and the like as members of `loop`."""
    known: dict[str, Any] = {}
    for name, value in named:
        root, _, member = name.partition(".")
        if member:
            known.setdefault(root, {})[member] = value
        elif value is not MISSING:
            known[root] = value
    return known


def is_constant(expr: Expr) -> bool:
    """Return True if an expression reads no variables."""
    return not any(idents(part.value) for part in all_exprs(expr))


def constant_values(exprs: Sequence[Expr]) -> tuple[list[Any], Failures | None]:
    """Return the values of constant expressions."""
    return call_each(lambda expr: Evaluator(lambda path: MISSING).value(expr), exprs)


def constant(expr: Expr, size: int) -> RenderOutcome:
    """Return the value of a constant expression, or its failure in every row."""
    values, failures = constant_values([expr])
    if failures:
        return RenderOutcome(Column(size, Tag.MISSING), failures.take(np.zeros(size, np.int64)))
    return RenderOutcome(GroupIndex(values[0]))


def constant_args(test: Test) -> list[Any] | None:
    """Return the arguments of a test, or None if they vary or fail."""
    if not all(map(is_constant, test.args)):
        return None
    values, failures = constant_values(test.args)
    return None if failures else values
