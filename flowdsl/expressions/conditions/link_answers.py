"""Results of functions that query the graph, for many contexts at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from flowdsl.expressions.conditions.graph_calls import GraphCall
from flowdsl.expressions.conditions.nodes import Expression, Reference
from flowdsl.expressions.conditions.operands import KINDS, ConstantOperand, Operand, OperandErrors, boolean
from flowdsl.expressions.conditions.typecheck import clip_text, phrase
from flowdsl.expressions.row_source import Failures, Links, Rows, first_failures
from flowdsl.values.columns import Column
from flowdsl.values.interner import Codes
from flowdsl.values.json_types import Tag

Values = Callable[[Expression], tuple[Operand, Failures | None]]
# values that are not ids
_NO_IDS: Final = (Tag.BOOL, Tag.FLOAT, Tag.ARRAY, Tag.OBJECT)


def answers(node: GraphCall, rows: Rows, value: Values) -> tuple[Column, Failures | None]:
    """Return the result of a call in each row, as of the row's moment; `value` evaluates the ids.

    A null or missing id has no links; a value that is not an id fails.
    """
    links: Links = rows.links  # type: ignore[attr-defined]
    asked = [_ids(node, argument, rows, links, value) for argument in node.ids]
    codes, failures = [ids for ids, _ in asked], first_failures([failed for _, failed in asked])
    if node.function == "linked":
        return boolean(links.linked(node.link_type, *codes)), failures
    if node.function == "count_links":
        counts = links.count_links(node.link_type, node.direction, codes[0])
        return Column(rows.size, Tag.INT, ints=counts), failures
    return links.first_metadata(node.link_type, node.direction, codes[0], node.below), failures


def _ids(
    node: GraphCall, argument: Expression, rows: Rows, links: Links, value: Values
) -> tuple[Codes, Failures | None]:
    if isinstance(argument, Reference):
        # ids of events have codes already
        codes = links.codes_at(argument.path)
        return codes, _find_refused(node, argument, codes, lambda: rows.column(argument.path))
    operand, failures = value(argument)
    if isinstance(operand, ConstantOperand):
        one = links.codes_of(Column.constant(operand.value, 1))
        return np.full(rows.size, one[0], np.int32), failures
    codes = links.codes_of(operand)
    return codes, first_failures([failures, _find_refused(node, argument, codes, lambda: operand)])


def _find_refused(
    node: GraphCall, argument: Expression, codes: Codes, values: Callable[[], Column]
) -> Failures | None:
    """Return the failures of rows whose value is not an id, which have no code."""
    without = codes <= 0
    if not without.any():
        return None
    column = values()
    refusals = OperandErrors(len(codes))
    for tag in _NO_IDS:
        kind = "a number with a fraction" if tag is Tag.FLOAT else phrase(KINDS[tag])
        words = f"{node.function} needs an id, text or a whole number, but {clip_text(argument)} is {kind}"
        refusals.add(without & column.is_(tag), words)
    return refusals.failures()
