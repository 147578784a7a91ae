"""Contexts in Python, as the rows that columns are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowdsl.values.columns import Column
from oracle.values import look_up


class PythonRows:
    """Contexts in Python, as rows."""

    def __init__(self, contexts: Sequence[dict[str, Any]]) -> None:
        self.contexts = contexts

    @property
    def size(self) -> int:
        return len(self.contexts)

    def column(self, path: tuple[str, ...]) -> Column:
        return Column.of([look_up(context, path) for context in self.contexts])

    def take(self, index: Any) -> PythonRows:
        return PythonRows([self.contexts[at] for at in index.tolist()])
