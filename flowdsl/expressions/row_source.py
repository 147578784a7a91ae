"""Interfaces of the rows that expressions are evaluated over, and their failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from flowdsl.expressions.crashes import CrashReason
from flowdsl.values.columns import Column
from flowdsl.values.float_parser import as_read
from flowdsl.values.interner import Codes
from flowdsl.values.json_types import Index, Ints, Mask
from flowdsl.values.paths import Path


class Links(Protocol):
    """Links as of the moment of each row; rows that may query the graph have them as `links`.

    Ids are given as codes; a code of 0 or less means that there is no id.
    """

    def codes_at(self, path: Path) -> Codes:
        """Return the values at a path as codes of ids."""
        ...

    def codes_of(self, values: Column) -> Codes:
        """Return values as codes of ids."""
        ...

    def linked(self, kind: str, sources: Codes, targets: Codes) -> Mask:
        """Mark the rows whose first id has a link of a type to the second."""
        ...

    def count_links(self, kind: str, direction: str, ids: Codes) -> Ints:
        """Return how many links of a type each id has."""
        ...

    def first_metadata(self, kind: str, direction: str, ids: Codes, below: Path) -> Column:
        """Return the value at the path `below` in the metadata of each id's first link of a type."""
        ...


class Rows(Protocol):
    """Many contexts at once; `column` returns the values at a path."""

    @property
    def size(self) -> int: ...

    def column(self, path: Path) -> Column:
        """Return the values at a path, `MISSING` where it leads nowhere."""
        ...

    def take(self, index: Index) -> Rows:
        """Gather the contexts at `index`, in that order."""
        ...


class AsRead:
    """Rows as production sees them after parsing them from JSON, which changes some floats."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    @property
    def size(self) -> int:
        """Number of rows."""
        return self.rows.size

    def column(self, path: Path) -> Column:
        """Return the values at a path."""
        return as_read(self.rows.column(path))

    def take(self, index: Index) -> AsRead:
        """Gather the rows at `index`."""
        return AsRead(self.rows.take(index))


@dataclass(frozen=True)
class Failures:
    """Failed rows and their reasons: code 0 means no failure, code k stands for `messages[k - 1]`."""

    codes: npt.NDArray[np.int32]
    messages: tuple[str, ...]

    @classmethod
    def where(cls, mask: Mask, message: str) -> Failures | None:
        """Return the same failure for all rows of a mask, or None if the mask is empty."""
        return cls(mask.astype(np.int32), (message,)) if mask.any() else None

    @cached_property
    def mask(self) -> Mask:
        """Mask of the failed rows."""
        mask: Mask = self.codes > 0
        return mask

    @cached_property
    def rows(self) -> Index:
        """The failed rows."""
        return np.flatnonzero(self.mask)

    @property
    def crashed(self) -> Mask | None:
        """Mask of the rows where production crashes, or None if there are none."""
        crashes = [isinstance(message, CrashReason) for message in self.messages]
        if not any(crashes):
            return None
        crashed: Mask = np.array([False, *crashes])[self.codes]
        return crashed if crashed.any() else None

    def take(self, index: Index) -> Failures | None:
        """Return the failures of the rows at `index`, or None if there are none."""
        codes = self.codes.take(index)
        return Failures(codes, self.messages) if codes.any() else None

    def scatter(self, index: Index, size: int) -> Failures:
        """Spread the failures over `size` rows; these are the ones at `index`."""
        codes = np.zeros(size, np.int32)
        codes[index] = self.codes
        return Failures(codes, self.messages)

    def only(self, mask: Mask) -> Failures | None:
        """Keep the failures inside a mask."""
        codes = np.where(mask, self.codes, np.int32(0))
        return Failures(codes, self.messages) if codes.any() else None

    def message(self, row: int) -> str:
        """Return the reason of a row's failure."""
        return self.messages[int(self.codes[row]) - 1]


def first_failures(parts: Sequence[Failures | None]) -> Failures | None:
    """Return the first failure of each row."""
    held = [p for p in parts if p is not None]
    if len(held) <= 1:
        return held[0] if held else None
    codes, messages = held[0].codes.copy(), list(held[0].messages)
    for part in held[1:]:
        new = (codes == 0) & (part.codes > 0)
        codes[new] = part.codes[new] + len(messages)
        messages += part.messages
    return Failures(codes, tuple(messages))
