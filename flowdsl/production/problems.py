"""What is wrong with a document, up to the number that anybody reads."""

from __future__ import annotations

from typing import Final

from flowdsl.errors import FlowError, LoadError

MOST: Final = 1_000


class DocumentProblems(list[FlowError]):
    """The problems of a document; where there are too many, reading ends with a `LoadError` that has all so far."""

    def append(self, problem: FlowError) -> None:
        """One more problem."""
        super().append(problem)
        if len(self) >= MOST:
            raise LoadError(
                [*self, FlowError(f"here reading ends, after {MOST:,} problems", place=problem.place)]
            )
