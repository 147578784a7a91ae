"""Vectorized evaluation of expressions over many contexts.

Expressions without a column form, such as comparisons of arrays and objects, are evaluated in the scalar
form: only for the rows that need it, and once for each distinct combination of the values they read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flowdsl.expressions.conditions import arithmetic, comparison, semantics
from flowdsl.expressions.conditions.declaration import Function
from flowdsl.expressions.conditions.functions import FUNCTIONS, MEMBERSHIP
from flowdsl.expressions.conditions.graph_calls import GraphCall
from flowdsl.expressions.conditions.link_answers import answers
from flowdsl.expressions.conditions.nodes import (
    And,
    Arithmetic,
    Compare,
    ConditionLiteral,
    Expression,
    FunctionCall,
    ListOf,
    Negative,
    Not,
    Or,
    Reference,
)
from flowdsl.expressions.conditions.operands import (
    ConstantOperand,
    Operand,
    OperandErrors,
    Where,
    boolean,
    either,
    masks_by_type,
    of_type,
    spread,
)
from flowdsl.expressions.conditions.scalar import Leaf, row_form
from flowdsl.expressions.conditions.typecheck import EvaluationError, division_by_zero
from flowdsl.expressions.row_source import Failures, Rows, first_failures
from flowdsl.values.columns import Column
from flowdsl.values.distinct_rows import distinct_rows
from flowdsl.values.json_types import Index, Mask, Tag
from flowdsl.values.paths import Path

Evaluated = tuple[Operand, Failures | None]


def evaluate_condition(expression: Expression, rows: Rows) -> tuple[Mask, Failures | None]:
    """Return the mask of the rows where a condition holds, and the failures."""
    mask, failures = _Evaluation(rows).truth("a condition", expression)
    # copied, as the mask may be the column of a variable, which the caller must not change
    return mask.copy(), failures


def evaluate_values(expression: Expression, rows: Rows) -> tuple[Column, Failures | None]:
    """Return the values of an expression, and the failures."""
    value, failures = _Evaluation(rows).value(expression)
    return Column.constant(value.value, rows.size) if isinstance(value, ConstantOperand) else value, failures


class _Evaluation:
    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.size = rows.size
        self.columns: dict[Path, Column] = {}
        self.answers: dict[GraphCall, tuple[Column, Failures | None]] = {}

    def column(self, path: Path) -> Column:
        if path not in self.columns:
            self.columns[path] = self.rows.column(path)
        return self.columns[path]

    def only(self, index: Index) -> _Evaluation:
        """Restrict the evaluation to some rows."""
        part = _Evaluation(self.rows.take(index))
        part.columns = {path: column.take(index) for path, column in self.columns.items()}
        return part

    def value(self, node: Expression) -> Evaluated:
        """Return the values of a node; failed rows hold arbitrary values."""
        match node:
            case Reference():
                return self.column(node.path), None
            case ConditionLiteral(value=constant) | ListOf(values=constant):
                return ConstantOperand(constant), None
        if not node.leaves:
            return self.constant(node)
        match node:
            case GraphCall():
                return self.asked(node)
            case And() | Or():
                return self.several(node)
            case Not():
                mask, failures = self.truth("'not'", node.operand)
                return boolean(~mask), failures
            case Compare():
                return self.comparison(node)
            case Arithmetic():
                return self.arithmetic(node)
            case Negative():
                return self.negative(node)
        assert isinstance(node, FunctionCall), f"no column form for {type(node).__name__}"
        return self.call(FUNCTIONS[node.function], node)

    def constant(self, node: Expression) -> Evaluated:
        try:
            return ConstantOperand(row_form(node).evaluate(())), None
        except EvaluationError as failure:
            return ConstantOperand(None), Failures.where(np.ones(self.size, np.bool_), str(failure))

    def truth(self, what: str, node: Expression) -> tuple[Mask, Failures | None]:
        """Return the values of a node that must be booleans."""
        value, failures = self.value(node)
        if isinstance(value, ConstantOperand):
            return np.full(self.size, value.value is True), failures
        tags = masks_by_type(value)
        refusals = OperandErrors(self.size)
        refusals.wrong_types(what, ("boolean",), node, tags, np.True_)
        mask = np.zeros(self.size, np.bool_) if value.bools is None else value.bools
        return mask, first_failures([failures, refusals.failures()])

    def several(self, node: And | Or) -> Evaluated:
        """Evaluate operands in order, each only for the rows that are still undecided."""
        conjunction = isinstance(node, And)
        still = np.ones(self.size, np.bool_)
        parts: list[Failures | None] = []
        for operand in node.operands:
            if not still.any():
                break
            mask, failures = self.truth_of(f"'{node.word}'", operand, still)
            still = still & (mask if conjunction else ~mask)
            if failures is not None:
                still &= ~failures.mask
                parts.append(failures)
        return boolean(still if conjunction else ~still), first_failures(parts)

    def truth_of(self, what: str, node: Expression, where: Mask) -> tuple[Mask, Failures | None]:
        """Return the truth of a node in some rows; in the others the mask holds arbitrary values."""
        count = int(np.count_nonzero(where))
        if count * 4 >= self.size:
            mask, failures = self.truth(what, node)
            return mask, failures and failures.only(where)
        # few rows are left: gather the values that this operand reads for them only
        index = np.flatnonzero(where)
        mask = np.zeros(self.size, np.bool_)
        mask[index], some = self.only(index).truth(what, node)
        return mask, some and some.scatter(index, self.size)

    def comparison(self, node: Compare) -> Evaluated:
        if node.operator == "in":
            return self.call(MEMBERSHIP, node)
        left, left_failures = self.value(node.left)
        right, right_failures = self.value(node.right)
        unequal = node.operator == "!="
        mask, unknown = comparison.compare("==" if unequal else node.operator, left, right, self.size)
        if unequal:
            mask = ~mask
        return boolean(self.filled(mask, node, unknown)), first_failures([left_failures, right_failures])

    def arithmetic(self, node: Arithmetic) -> Evaluated:
        left, left_failures = self.value(node.left)
        right, right_failures = self.value(node.right)
        tags, right_tags = masks_by_type(left), masks_by_type(right)
        present = ~(of_type(tags, Tag.MISSING) | of_type(right_tags, Tag.MISSING))
        what = f"'{node.operator}'"
        refusals = OperandErrors(self.size)
        refusals.wrong_types(what, ("number",), node.left, tags, present)
        refusals.wrong_types(what, ("number",), node.right, right_tags, present)
        if node.operator in "/%":
            refusals.add(arithmetic.zero(right, right_tags) & present, division_by_zero(node.right))
        result = arithmetic.compute(node.operator, left, right, self.size)
        return result, first_failures([left_failures, right_failures, refusals.failures()])

    def negative(self, node: Negative) -> Evaluated:
        value, failures = self.value(node.operand)
        assert isinstance(value, Column)
        refusals = OperandErrors(self.size)
        tags = masks_by_type(value)
        refusals.wrong_types("'-'", ("number",), node.operand, tags, ~of_type(tags, Tag.MISSING))
        return arithmetic.negative(value), first_failures([failures, refusals.failures()])

    def call(self, function: Function, node: Expression) -> Evaluated:
        """Call a function with the values of the node's children."""
        evaluated = [self.value(child) for child in node.children]
        operands = [operand for operand, _ in evaluated]
        present: Where = np.True_
        failed = first_failures([failures for _, failures in evaluated])
        if not function.takes_missing:
            present, refused = self.check(function, node, operands)
            failed = first_failures([failed, refused])
        if function.vectorized is None:
            result, left_open = Column.constant(function.without, self.size), present
        else:
            result, left_open = function.vectorized(self.size, *operands)
            result = _where(present, result, function)
        if left_open is np.False_:
            return result, failed
        left_open = left_open & present if failed is None else left_open & present & ~failed.mask
        index = np.flatnonzero(spread(left_open, self.size))
        if not len(index):
            return result, failed
        answered, wrong = _per_distinct(function, node, [_take(operand, index) for operand in operands])
        place = np.arange(self.size)
        place[index] = self.size + np.arange(len(index))
        result = Column.concat([result, answered]).take(place)
        return result, first_failures([failed, wrong and wrong.scatter(index, self.size)])

    def check(
        self, function: Function, node: Expression, operands: list[Operand]
    ) -> tuple[Where, Failures | None]:
        """Return the rows where no operand is missing, and those of them where one has a wrong type."""
        tags = [masks_by_type(operand) for operand in operands]
        present = ~either([of_type(found, Tag.MISSING) for found in tags])
        refusals = OperandErrors(self.size)
        for child, kinds, found in zip(node.children, function.types(len(tags)), tags, strict=True):
            if kinds:
                refusals.wrong_types(function.name, kinds, child, found, present)
        return present, refusals.failures()

    def asked(self, node: GraphCall) -> tuple[Column, Failures | None]:
        """Return the result of a call that queries the graph, as of the moment of each row."""
        if node not in self.answers:
            self.answers[node] = answers(node, self.rows, self.value)
        return self.answers[node]

    def leaf(self, leaf: Leaf) -> Column:
        return self.asked(leaf)[0] if isinstance(leaf, GraphCall) else self.column(leaf)

    def filled(self, result: npt.NDArray[Any], node: Expression, where: Where) -> npt.NDArray[Any]:
        """Fill in the rows that only the scalar form can decide."""
        index = np.flatnonzero(spread(where, self.size))
        if not len(index):
            return result
        form = row_form(node)
        columns = [self.leaf(leaf).take(index) for leaf in form.leaves]
        first, group = distinct_rows(columns, len(index))
        found = [column.take(first).values() for column in columns]
        decided = np.zeros(len(first), result.dtype)
        for position, row in enumerate(zip(*found, strict=True)):
            try:
                decided[position] = form.evaluate(row)
            except EvaluationError:
                # an operand failed, which its own evaluation has recorded
                continue
        result = result.copy()
        result[index] = decided[group]
        return result


def _where(present: Where, result: Column, function: Function) -> Column:
    """Keep the results of a function where its arguments are present; elsewhere return its result for
    missing arguments.
    """
    if present is np.True_:
        return result
    mask = spread(present, len(result))
    if function.result == "boolean" and result.tags is Tag.BOOL and result.bools is not None:
        return boolean(result.bools & mask)
    tags = np.where(mask, result.tag_array(), np.uint8(Tag.MISSING))
    return result.having(tags=tags)


def _take(operand: Operand, index: Index) -> Column:
    if isinstance(operand, ConstantOperand):
        return Column.constant(operand.value, len(index))
    return operand.take(index)


def _per_distinct(
    function: Function, node: Expression, columns: list[Column]
) -> tuple[Column, Failures | None]:
    """Return the results of a function, called once for each distinct combination of values that it takes."""
    first, group = distinct_rows(columns, len(columns[0]))
    answers: list[Any] = []
    codes = np.zeros(len(first), np.int32)
    messages: list[str] = []
    for position, values in enumerate(zip(*(column.take(first).values() for column in columns), strict=True)):
        try:
            answers.append(function.call(*values))
            continue
        except semantics.OperandTypeError as problem:
            messages.append(semantics.reason(problem, node.children))
        except EvaluationError as problem:
            messages.append(str(problem))
        answers.append(function.without)
        codes[position] = len(messages)
    answered = Column.of(answers).take(group)
    return answered, Failures(codes, tuple(messages)).take(group) if messages else None
