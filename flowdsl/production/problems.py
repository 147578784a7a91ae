"""Problems of a document, up to a maximum number."""

from __future__ import annotations

from typing import Final

from flowdsl.errors import FlowError, LoadError

MOST: Final = 1_000


class DocumentProblems(list[FlowError]):
    """List of problems; beyond the maximum, reading ends with a `LoadError` that has all so far."""

    def append(self, problem: FlowError) -> None:
        """Add a problem."""
        super().append(problem)
        if len(self) >= MOST:
            raise LoadError(
                [*self, FlowError(f"here reading ends, after {MOST:,} problems", place=problem.place)]
            )
