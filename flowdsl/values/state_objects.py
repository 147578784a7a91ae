"""What is kept of an object in a file: each class says once, field by field, what its state is (`saved`).

A state is written as JSON, with arrays and columns as bytes beside it. What is read back is checked by the same
declarations: every field, its type, its bounds. So whatever a file says, what comes out are values that its classes
may have, or a `DataError` that names the field; nothing that is read can name a class or call anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Never, Protocol

import polars as pl

from flowdsl.errors import DataError


class StateWriter(Protocol):
    """Takes the bytes of a state."""

    def array(self, content: Any) -> list[int]:
        """Keep the bytes of an array; gives what refers to them."""
        ...

    def series(self, series: pl.Series) -> list[int]:
        """Keep a column; gives what refers to its bytes."""
        ...


@dataclass
class StateReader:
    """What a state is read from: its bytes by reference, and what the reader has anyway, by name."""

    content: Callable[[list[int]], bytes]
    given: dict[str, Any] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)

    def refuse(self, what: str) -> Never:
        """Say that the field at hand is not what it must be."""
        raise DataError(f"{'.'.join(self.path) or 'it'} is {what}")

    def below(self, name: object, kind: FieldKind, node: Any) -> Any:
        """Read a part, whose name is told where it is wrong."""
        self.path.append(str(name))
        value = kind.read(node, self)
        self.path.pop()
        return value

    def bytes(self, node: Any) -> bytes:
        """The bytes that a node refers to."""
        if not isinstance(node, list) or not all(isinstance(n, int) and n >= 0 for n in node):
            self.refuse("no reference to bytes")
        return self.content(node)

    def agree(self, **sizes: int) -> None:
        """Refuse parts that must be of one length, and are not."""
        if len(set(sizes.values())) > 1:
            said = ", ".join(f"{name} {size}" for name, size in sizes.items())
            self.refuse(f"not of one length: {said}")

    def check(self, holds: object, what: str) -> None:
        """Refuse a part for which something does not hold."""
        if not holds:
            self.refuse(what)


class FieldKind:
    """A kind of value: how it is written, and how it is read and checked."""

    @property
    def has_codes(self) -> bool:
        """Whether values of this kind may refer to texts by codes."""
        return False

    def write(self, value: Any, to: StateWriter) -> Any:
        """The value as JSON."""
        return value

    def read(self, node: Any, source: StateReader) -> Any:
        """The value that JSON says; a `DataError` where it says none of this kind."""
        raise NotImplementedError

    def codes(self, value: Any) -> Iterator[Any]:
        """The codes of the one interner that the value refers to, in arrays that nobody changes."""
        return iter(())


class StateObject:
    """An object that can be kept in a file."""

    __slots__ = ()
    saved: ClassVar[Mapping[str, FieldKind]] = {}

    def said(self) -> dict[str, Any]:
        """The values of what is declared in `saved`."""
        return {name: getattr(self, name) for name in self.saved}

    @classmethod
    def restored(cls, said: dict[str, Any], source: StateReader) -> Any:
        """The object that had these values; `source` is asked to refuse those that do not go together."""
        restored = object.__new__(cls)
        restored.__dict__.update(said)
        return restored

    def held_codes(self) -> Iterator[Any]:
        """The codes of the one interner that it refers to, in arrays that nobody changes."""
        for name, kind in self.saved.items():
            if kind.has_codes:
                yield from kind.codes(getattr(self, name))


def keeps(**kinds: FieldKind) -> Mapping[str, FieldKind]:
    """The fields that are an object's state, each with its kind."""
    return kinds
