"""Saved state of objects: each class declares its state once, field by field (`saved`).

A state is written as JSON, with arrays and columns as bytes next to it. What is read back is checked by the
same declarations: every field, its type, its bounds. So whatever a file says, what comes out are values that
its classes may have, or a `DataError` that names the field; nothing that is read can name a class or call
anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Never, Protocol

import polars as pl

from flowdsl.errors import DataError


class StateWriter(Protocol):
    """Writer of the bytes of a state."""

    def array(self, content: Any) -> list[int]:
        """Store an array; return a reference to its bytes."""
        ...

    def series(self, series: pl.Series) -> list[int]:
        """Store a column; return a reference to its bytes."""
        ...


@dataclass
class StateReader:
    """Reader of a state: its bytes by reference, and objects that the caller supplies by name."""

    content: Callable[[list[int]], bytes] | None = None
    given: dict[str, Any] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)

    def refuse(self, what: str) -> Never:
        """Raise an error for the current field."""
        raise DataError(f"{'.'.join(self.path) or 'it'} is {what}")

    def below(self, name: object, kind: FieldKind, node: Any) -> Any:
        """Read a part; errors inside it name the part."""
        self.path.append(str(name))
        value = kind.read(node, self)
        self.path.pop()
        return value

    def bytes(self, node: Any) -> bytes:
        """Return the bytes that a node refers to."""
        if not isinstance(node, list) or not all(isinstance(n, int) and n >= 0 for n in node):
            self.refuse("not a reference to bytes")
        if self.content is None:
            raise DataError("its bytes are missing")
        return self.content(node)

    def agree(self, **sizes: int) -> None:
        """Raise an error unless the parts have the same length."""
        if len(set(sizes.values())) > 1:
            fields = ", ".join(f"{name} {size}" for name, size in sizes.items())
            self.refuse(f"not of one length: {fields}")

    def check(self, holds: object, what: str) -> None:
        """Raise an error unless a condition holds."""
        if not holds:
            self.refuse(what)

    def check_lists(self, offsets: Any, count: int) -> None:
        """Raise an error unless lists lie side by side in `count` values: `offsets[i] … offsets[i + 1]-1`."""
        ends = len(offsets) and offsets[0] == 0 and offsets[-1] == count
        self.check(ends and (offsets[:-1] <= offsets[1:]).all(), "not lists side by side")


class FieldKind:
    """Type of a field: how its values are written, read and checked."""

    @property
    def has_codes(self) -> bool:
        """True if values of this kind may refer to texts by code."""
        return False

    def write(self, value: Any, to: StateWriter) -> Any:
        """Return the value as JSON."""
        return value

    def read(self, node: Any, source: StateReader) -> Any:
        """Return the value that a JSON node represents; raise `DataError` if it is not of this kind."""
        raise NotImplementedError

    def codes(self, value: Any) -> Iterator[Any]:
        """Yield the codes of the shared interner that the value refers to, as arrays that must not change."""
        return iter(())


class StateObject:
    """Object that can be stored in a state file."""

    __slots__ = ()
    saved: ClassVar[Mapping[str, FieldKind]] = {}

    def to_fields(self) -> dict[str, Any]:
        """Return the values of the fields declared in `saved`."""
        return {name: getattr(self, name) for name in self.saved}

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> Any:
        """Build an object from these values; `source` rejects values that do not fit together."""
        built = object.__new__(cls)
        built.__dict__.update(fields)
        return built

    def held_codes(self) -> Iterator[Any]:
        """Yield the codes of the shared interner that the object refers to, as arrays that must not
        change.
        """
        for name, kind in self.saved.items():
            if kind.has_codes:
                yield from kind.codes(getattr(self, name))


def keeps(**kinds: FieldKind) -> Mapping[str, FieldKind]:
    """Declare the fields of an object's state."""
    return kinds
