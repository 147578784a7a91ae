"""What an expression is evaluated over, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from flowdsl.expressions.crashes import CrashReason
from flowdsl.values.columns import Column
from flowdsl.values.float_parser import as_read
from flowdsl.values.paths import Path

Index = npt.NDArray[np.integer[Any]]


class Rows(Protocol):
    """Many contexts at once: `column` gives the values that a path has in each of them."""

    @property
    def size(self) -> int: ...

    def column(self, path: Path) -> Column:
        """The values at a path, `MISSING` where it leads nowhere."""
        ...

    def take(self, index: Index) -> Rows:
        """The contexts at `index`, in that order."""
        ...


class AsRead:
    """Rows as production has them after reading them from JSON: some floats are others there."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    @property
    def size(self) -> int:
        """How many there are."""
        return self.rows.size

    def column(self, path: Path) -> Column:
        """The values at a path."""
        return as_read(self.rows.column(path))

    def take(self, index: Index) -> AsRead:
        """The rows at `index`."""
        return AsRead(self.rows.take(index))


@dataclass(frozen=True)
class Failures:
    """Which rows failed and why: code 0 is fine, code k stands for `messages[k - 1]`."""

    codes: npt.NDArray[np.int32]
    messages: tuple[str, ...]

    @classmethod
    def where(cls, mask: npt.NDArray[np.bool_], message: str) -> Failures | None:
        """The same failure wherever `mask` is true; None where it nowhere is."""
        return cls(mask.astype(np.int32), (message,)) if mask.any() else None

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """Where something failed."""
        mask: npt.NDArray[np.bool_] = self.codes > 0
        return mask

    @property
    def crashed(self) -> npt.NDArray[np.bool_] | None:
        """Where production crashes; None where it nowhere does."""
        crashes = [isinstance(message, CrashReason) for message in self.messages]
        if not any(crashes):
            return None
        crashed: npt.NDArray[np.bool_] = np.array([False, *crashes])[self.codes]
        return crashed if crashed.any() else None

    def take(self, index: Index) -> Failures | None:
        """The failures of the rows at `index`; None where none of them failed."""
        codes = self.codes.take(index)
        return Failures(codes, self.messages) if codes.any() else None

    def scatter(self, index: Index, size: int) -> Failures:
        """The failures of `size` rows, of which these are the ones at `index`."""
        codes = np.zeros(size, np.int32)
        codes[index] = self.codes
        return Failures(codes, self.messages)

    def only(self, mask: npt.NDArray[np.bool_]) -> Failures | None:
        """These failures, forgotten where `mask` is false."""
        codes = np.where(mask, self.codes, np.int32(0))
        return Failures(codes, self.messages) if codes.any() else None

    def message(self, row: int) -> str:
        """Why a row failed."""
        return self.messages[int(self.codes[row]) - 1]


def first_failures(parts: Sequence[Failures | None]) -> Failures | None:
    """For each row the first failure that it has in `parts`."""
    held = [p for p in parts if p is not None]
    if len(held) <= 1:
        return held[0] if held else None
    codes, messages = held[0].codes.copy(), list(held[0].messages)
    for part in held[1:]:
        new = (codes == 0) & (part.codes > 0)
        codes[new] = part.codes[new] + len(messages)
        messages += part.messages
    return Failures(codes, tuple(messages))
