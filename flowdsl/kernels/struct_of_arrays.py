"""Rows of whole numbers, as arrays side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from flowdsl.values.json_types import Index
from flowdsl.values.orders import is_everything
from flowdsl.values.state_fields import INTS
from flowdsl.values.state_objects import FieldKind, StateObject, StateReader

if TYPE_CHECKING:
    from typing import Self


@dataclass(frozen=True)
class Arrays(StateObject):
    """Arrays of one length: every field of a class of this kind has a number for each row."""

    def __init_subclass__(cls) -> None:
        cls.saved = _numbers(cls)

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> Self:
        source.agree(**{name: len(array) for name, array in fields.items()})
        return cls(**fields)

    @classmethod
    def none(cls) -> Self:
        """No rows."""
        return cls(*(np.zeros(0, np.int64) for _ in fields(cls)))

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def take(self, index: Index) -> Self:
        """Return the rows at `index`, in that order."""
        if is_everything(index, len(self)):
            return self
        return type(self)(*(getattr(self, field.name).take(index) for field in fields(self)))

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of some parts, one part after the other."""
        if len(parts) < 2:
            return parts[0] if parts else cls.none()
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def _numbers(kind: type[Arrays]) -> Mapping[str, FieldKind]:
    """Every field is an array of numbers."""
    return dict.fromkeys(kind.__annotations__, INTS)
