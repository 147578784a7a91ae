"""Parts of batches that are made when they are read, which few flows do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from flowdsl.values.json_types import Index


class _Taken(Protocol):
    """Part with an entry for each context."""

    def take(self, index: Index, /) -> Any: ...


T = TypeVar("T", bound=_Taken)


class Later(Generic[T]):
    """Part of a batch, made when it is first read; from then on nothing that it is made of is kept.

    >>> import numpy as np
    >>> squares = Later(lambda: np.arange(5) ** 2)
    >>> squares.take(np.array([1, 3])).made().tolist()
    [1, 9]
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make: Callable[[], T] | None = make
        self._made: Any = None

    @classmethod
    def of(cls, made: T) -> Later[T]:
        """Return a part that is made already."""
        return cls(lambda: made)

    def made(self) -> T:
        """Return the part."""
        make = self._make
        if make is not None:
            # another thread may make the same
            self._made = make()
            self._make = None
        made: T = self._made
        return made

    def take(self, index: Index) -> Later[T]:
        """Return the entries at `index`."""

        def make() -> T:
            taken: T = self.made().take(index)
            return taken

        return Later(make)
