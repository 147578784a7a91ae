"""Field types of saved state: numbers, text, arrays, columns, lists, and nested objects.

`flowdsl.values.state_objects` writes, reads and checks them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl

from flowdsl.values.state_objects import FieldKind, StateObject, StateReader, StateWriter

LEAST, MOST = -(1 << 63), (1 << 63) - 1
Bound = int | Callable[[StateReader], int]
_ENDINGS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)


@dataclass(frozen=True)
class WholeField(FieldKind):
    """Integer within bounds."""

    low: Bound = LEAST
    high: Bound = MOST

    def write(self, value: Any, to: StateWriter) -> int:
        return int(value)

    def read(self, node: Any, source: StateReader) -> int:
        low, high = _bound(self.low, source), _bound(self.high, source)
        if not isinstance(node, int) or isinstance(node, bool) or not low <= node <= high:
            source.refuse(f"not a whole number from {low} to {high}")
        return node


class FlagField(FieldKind):
    """Boolean."""

    def write(self, value: Any, to: StateWriter) -> bool:
        return bool(value)

    def read(self, node: Any, source: StateReader) -> bool:
        if not isinstance(node, bool):
            source.refuse("neither true nor false")
        return node


class TextField(FieldKind):
    """Text."""

    def read(self, node: Any, source: StateReader) -> str:
        if not isinstance(node, str):
            source.refuse("not text")
        return node


class NumberField(FieldKind):
    """Finite float."""

    def write(self, value: Any, to: StateWriter) -> float:
        return float(value)

    def read(self, node: Any, source: StateReader) -> float:
        if isinstance(node, bool) or not isinstance(node, (int, float)) or not math.isfinite(node):
            source.refuse("not a finite number")
        return float(node)


@dataclass(frozen=True)
class SharedField(FieldKind):
    """Object that the reader supplies by name; it is not written."""

    name: str

    def write(self, value: Any, to: StateWriter) -> None:
        return None

    def read(self, node: Any, source: StateReader) -> Any:
        return source.given[self.name]


@dataclass(frozen=True)
class ChoiceField(FieldKind):
    """One of the words of a mapping."""

    words: Mapping[str, Any]

    def write(self, value: Any, to: StateWriter) -> str:
        return next(word for word, meaning in self.words.items() if meaning is value or meaning == value)

    def read(self, node: Any, source: StateReader) -> Any:
        if not isinstance(node, str) or node not in self.words:
            source.refuse(f"none of {', '.join(self.words)}")
        return self.words[node]


@dataclass(frozen=True)
class ArrayField(FieldKind):
    """One-dimensional NumPy array with bounds for its values."""

    dtype: Any
    low: Bound | None = None
    high: Bound | None = None
    ascending: bool = False

    def write(self, value: Any, to: StateWriter) -> list[int]:
        return to.array(np.ascontiguousarray(value, np.dtype(self.dtype)).view(np.uint8).data)

    def read(self, node: Any, source: StateReader) -> Any:
        content, dtype = source.bytes(node), np.dtype(self.dtype)
        if len(content) % dtype.itemsize:
            source.refuse(f"not an array of {dtype}")
        # a copy: what is read may be written to
        array = np.frombuffer(content, dtype).copy()
        if dtype == np.bool_:
            source.check(array.view(np.uint8).max(initial=0) <= 1, "not an array of true and false")
        elif len(array):
            low, high = _bound(self.low, source), _bound(self.high, source)
            if (low is not None and array.min() < low) or (high is not None and array.max() > high):
                source.refuse(f"out of bounds: {array.min()} to {array.max()}, and {low} to {high} may be")
        if self.ascending and len(array) > 1:
            source.check((array[1:] > array[:-1]).all(), "not in ascending order")
        return array


class CodesField(ArrayField):
    """Codes of the shared interner."""

    @property
    def has_codes(self) -> bool:
        return True

    def codes(self, value: Any) -> Iterator[Any]:
        yield value


@dataclass(frozen=True)
class CellsField(FieldKind):
    """Polars column, optionally restricted to some types."""

    dtypes: tuple[Any, ...] = ()

    def write(self, value: Any, to: StateWriter) -> list[int]:
        return to.series(value)

    def read(self, node: Any, source: StateReader) -> pl.Series:
        content = source.bytes(node)
        source.check(len(node) != 2, "not a column")
        try:
            series = pl.read_ipc(io.BytesIO(content)).to_series()
        except _ENDINGS:
            raise
        # a reader of foreign bytes may panic, which is not an Exception
        except BaseException as error:
            source.refuse(f"not an Arrow column: {type(error).__name__}")
        if self.dtypes and series.dtype not in self.dtypes:
            source.refuse(f"a column of {series.dtype}")
        return series


@dataclass(frozen=True)
class _InnerField(FieldKind):
    """Field with values of one kind inside."""

    kind: FieldKind

    @property
    def has_codes(self) -> bool:
        return self.kind.has_codes


class OptionalField(_InnerField):
    """Value or None."""

    def codes(self, value: Any) -> Iterator[Any]:
        return iter(()) if value is None else self.kind.codes(value)

    def write(self, value: Any, to: StateWriter) -> Any:
        return None if value is None else self.kind.write(value, to)

    def read(self, node: Any, source: StateReader) -> Any:
        return None if node is None else self.kind.read(node, source)


@dataclass(frozen=True)
class OneOrEachField(FieldKind):
    """One value for all rows, or an array with one per row."""

    one: FieldKind
    each: ArrayField

    def write(self, value: Any, to: StateWriter) -> Any:
        return (self.each if isinstance(value, np.ndarray) else self.one).write(value, to)

    def read(self, node: Any, source: StateReader) -> Any:
        return (self.each if isinstance(node, list) else self.one).read(node, source)


@dataclass(frozen=True)
class ListField(_InnerField):
    """List or tuple."""

    make: Callable[[Sequence[Any]], Any] = list

    def codes(self, value: Any) -> Iterator[Any]:
        for one in value:
            yield from self.kind.codes(one)

    def write(self, value: Any, to: StateWriter) -> list[Any]:
        return [self.kind.write(one, to) for one in value]

    def read(self, node: Any, source: StateReader) -> Any:
        if not isinstance(node, list):
            source.refuse("not a list")
        return self.make([source.below(place, self.kind, one) for place, one in enumerate(node)])


@dataclass(frozen=True)
class DictField(_InnerField):
    """Dictionary; the order of its keys is kept."""

    key: FieldKind = field(default_factory=TextField)

    def codes(self, value: Any) -> Iterator[Any]:
        for one in value.values():
            yield from self.kind.codes(one)

    def write(self, value: Any, to: StateWriter) -> list[Any]:
        return [[self.key.write(key, to), self.kind.write(one, to)] for key, one in value.items()]

    def read(self, node: Any, source: StateReader) -> dict[Any, Any]:
        read: dict[Any, Any] = {}
        for key, one in _pairs(node, source):
            key = source.below("key", self.key, key)
            read[key] = source.below(key, self.kind, one)
        return read


@dataclass(frozen=True)
class NamedField(FieldKind):
    """Dictionary with text keys, written as a JSON object."""

    kind: FieldKind

    def write(self, value: Any, to: StateWriter) -> dict[str, Any]:
        return {name: self.kind.write(one, to) for name, one in value.items()}

    def read(self, node: Any, source: StateReader) -> dict[str, Any]:
        if not isinstance(node, dict):
            source.refuse("not an object")
        return {name: source.below(name, self.kind, one) for name, one in node.items()}


class RecordField(FieldKind):
    """Dictionary with a fixed set of fields, written as a JSON object."""

    def __init__(self, **fields: FieldKind) -> None:
        self.fields = fields

    def write(self, value: Any, to: StateWriter) -> dict[str, Any]:
        return {name: kind.write(value[name], to) for name, kind in self.fields.items()}

    def read(self, node: Any, source: StateReader) -> dict[str, Any]:
        if not isinstance(node, dict):
            source.refuse("not an object")
        if node.keys() != self.fields.keys():
            odd = sorted(map(str, node.keys() ^ self.fields.keys()))
            source.refuse(f"without a field, or with one too many: {', '.join(odd)[:200]}")
        return {name: source.below(name, kind, node[name]) for name, kind in self.fields.items()}


class _ObjectsField(FieldKind):
    """Field of objects that say themselves which codes they hold."""

    @property
    def has_codes(self) -> bool:
        return True

    def codes(self, value: Any) -> Iterator[Any]:
        return value.held_codes()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class ObjectField(_ObjectsField):
    """Object of one class, stored as the class declares."""

    kind: type[StateObject]

    def write(self, value: Any, to: StateWriter) -> dict[str, Any]:
        fields = value.to_fields()
        return {name: kind.write(fields[name], to) for name, kind in self.kind.saved.items()}

    def read(self, node: Any, source: StateReader) -> Any:
        declared = self.kind.saved
        if not isinstance(node, dict) or node.keys() != declared.keys():
            source.refuse(f"not a {self.kind.__name__}")
        fields = {name: source.below(name, kind, node[name]) for name, kind in declared.items()}
        return self.kind.from_fields(fields, source)


@dataclass(frozen=True)
class OneOfField(_ObjectsField):
    """Object of one of the subclasses of a class."""

    base: type[StateObject]

    def write(self, value: Any, to: StateWriter) -> list[Any]:
        return [_name_of(type(value)), ObjectField(type(value)).write(value, to)]

    def read(self, node: Any, source: StateReader) -> Any:
        known = {_name_of(kind): kind for kind in below(self.base) if kind.saved}
        name, fields = node if isinstance(node, list) and len(node) == 2 else (None, None)
        if not isinstance(name, str) or name not in known:
            source.refuse(f"none of {', '.join(sorted(known))}")
        return source.below(name, ObjectField(known[name]), fields)


def _name_of(kind: type) -> str:
    """Return the name of a class in a state: classes of other packages have their module before it."""
    own = kind.__module__.partition(".")[0] == "flowdsl"
    return kind.__name__ if own else f"{kind.__module__}.{kind.__name__}"


def below(base: type[StateObject]) -> Iterator[type[StateObject]]:
    """Yield a class and all its subclasses."""
    yield base
    for kind in base.__subclasses__():
        yield from below(kind)


def _pairs(node: Any, source: StateReader) -> list[Any]:
    if not isinstance(node, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in node):
        source.refuse("not a list of pairs")
    return node


def _bound(bound: Any, source: StateReader) -> Any:
    return bound(source) if callable(bound) else bound


INTERNER: Final = SharedField("interner")
CODES: Final = CodesField(np.int32, 0, lambda source: len(source.given["interner"]) - 1)
VERSIONS: Final = ArrayField(np.int32, -2, lambda source: source.given["versions"] - 1)
INTS: Final = ArrayField(np.int64)
TEXTS: Final = CellsField((pl.String,))
