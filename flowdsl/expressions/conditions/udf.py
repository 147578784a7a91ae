"""Python functions as conditions, called once per row with the context as a mapping."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from flowdsl.expressions.conditions.condition import function_name
from flowdsl.expressions.conditions.typecheck import EvaluationError, clip_text
from flowdsl.expressions.row_source import Failures, Rows
from flowdsl.values.json_types import MISSING, Mask

Function = Callable[[Mapping[str, Any]], Any]


class Context(Mapping[str, Any]):
    """Variables of one context, looked up lazily; a missing one is not a key."""

    def __init__(self, lookup: Callable[[str], Any], roots: Iterable[str]) -> None:
        self._lookup = lookup
        self._roots = roots

    def __getitem__(self, name: str) -> Any:
        value = self._lookup(name)
        if value is MISSING:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._roots if self._lookup(name) is not MISSING)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))


def evaluate_function(function: Function, rows: Rows) -> tuple[Mask, Failures | None]:
    """Call a function for each row; its exceptions become failures of the row."""
    roots: tuple[str, ...] = getattr(rows, "roots", tuple)()
    columns: dict[str, list[Any]] = {}
    values = np.zeros(rows.size, np.bool_)
    codes = np.zeros(rows.size, np.int32)
    messages: dict[str, int] = {}

    def lookup(row: int, name: str) -> Any:
        if name not in columns:
            columns[name] = rows.column((name,)).values()
        return columns[name][row]

    for row in range(rows.size):
        try:
            values[row] = _call(function, Context(partial(lookup, row), roots))
        except EvaluationError as failure:
            codes[row] = messages.setdefault(str(failure), len(messages) + 1)
    return values, Failures(codes, tuple(messages)) if messages else None


def _call(function: Function, context: Context) -> bool:
    try:
        result = function(context)
    # a user's function may raise any exception: only this context fails, and the reason contains the text of
    # the exception
    except Exception as error:
        words = f"{type(error).__name__}: {clip_text(error, 300)}"
        raise EvaluationError(f"{function_name(function)} raised {words}") from error
    if not isinstance(result, (bool, np.bool_)):
        raise EvaluationError(f"{function_name(function)} gave {type(result).__name__}, not true or false")
    return bool(result)
