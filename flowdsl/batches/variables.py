"""Variables set by steps: an entity or a value for each context."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from flowdsl.batches.chunk import Chunk
from flowdsl.batches.payload import Payload
from flowdsl.values.columns import Column, gather_values
from flowdsl.values.interner import Codes
from flowdsl.values.json_types import Index, Tag
from flowdsl.values.paths import Path
from flowdsl.values.state_columns import COLUMN
from flowdsl.values.state_fields import CODES, MOST, VERSIONS, OptionalField, WholeField
from flowdsl.values.state_objects import StateObject, StateReader, keeps

Versions = npt.NDArray[np.int32]


class Variable(Protocol):
    """Variable set by a step: readable along paths, and at selected rows."""

    def column(self, below: Path, chunk: Chunk) -> Column: ...

    def take(self, index: Index) -> Variable: ...

    def concat(self, parts: Sequence[Any]) -> Variable:
        """Concatenate variables of one kind over several batches, this one first."""
        ...

    def settle(self) -> None:
        """Make what is put off, so that the variable keeps nothing else of its chunk alive."""
        ...

    def held_versions(self) -> Iterable[Versions]:
        """Yield the entity versions that it refers to."""
        ...

    def renumbered(self, mapping: Versions) -> Variable:
        """Return the variable with new numbers of entity versions."""
        ...


class StoredVariable(StateObject):
    """Variable that can be saved, and knows its length."""

    def __len__(self) -> int:
        raise NotImplementedError

    def settle(self) -> None:
        """Do nothing: all that it has is its own."""


@dataclass(frozen=True)
class EntityVariable(StoredVariable):
    """Entity for each context, as a version; if there is none, its id as text, or nothing (code 0)"""

    saved = keeps(versions=VERSIONS, ids=OptionalField(CODES))

    versions: Versions
    ids: Codes | None = None

    def __len__(self) -> int:
        return len(self.versions)

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> EntityVariable:
        versions, ids = fields["versions"], fields["ids"]
        source.agree(versions=len(versions), ids=len(versions if ids is None else ids))
        return cls(versions, ids)

    def column(self, below: Path, chunk: Chunk) -> Column:
        store = chunk.graph.versions
        if self.ids is None or (self.versions >= 0).all():
            return store.column(below, self.versions)
        found = store.column(below, self.versions)
        if below:
            return found
        there = self.versions >= 0
        texts = Column.from_codes(np.where(there, np.int32(0), self.ids), chunk.interner)
        pairs = Column.concat([found, texts])
        return pairs.take(np.arange(found.size) + np.where(there, 0, found.size))

    def take(self, index: Index) -> EntityVariable:
        return EntityVariable(self.versions.take(index), gather_values(self.ids, index))

    def concat(self, parts: Sequence[EntityVariable]) -> EntityVariable:
        ids = None
        if any(p.ids is not None for p in parts):
            ids = np.concatenate(
                [np.zeros(len(p.versions), np.int32) if p.ids is None else p.ids for p in parts]
            )
        return EntityVariable(np.concatenate([p.versions for p in parts]), ids)

    def held_versions(self) -> Iterable[Versions]:
        yield self.versions

    def renumbered(self, mapping: Versions) -> EntityVariable:
        there = self.versions >= 0
        return EntityVariable(np.where(there, mapping[self.versions.clip(0)], self.versions), self.ids)


class ValueColumnVariable(StoredVariable):
    """Variable that refers to no entity."""

    def held_versions(self) -> Iterable[Versions]:
        return ()

    def renumbered(self, mapping: Versions) -> Any:
        return self


@dataclass(frozen=True)
class ValueVariable(ValueColumnVariable):
    """JSON value for each context."""

    saved = keeps(values=COLUMN)

    values: Column

    def __len__(self) -> int:
        return len(self.values)

    def column(self, below: Path, chunk: Chunk) -> Column:
        return Payload(self.values, self.values.size).column(below)

    def take(self, index: Index) -> ValueVariable:
        return ValueVariable(self.values.take(index))

    def concat(self, parts: Sequence[ValueVariable]) -> ValueVariable:
        return ValueVariable(Column.concat([p.values for p in parts]))


@dataclass(frozen=True)
class ConstantVariable(ValueColumnVariable):
    """Same value for every context."""

    saved = keeps(value=COLUMN, size=WholeField(0, MOST))

    value: Any
    size: int

    def __len__(self) -> int:
        return self.size

    def held_codes(self) -> Iterator[Any]:
        return iter(())

    def to_fields(self) -> dict[str, Any]:
        return {"value": Column.of([self.value]), "size": self.size}

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> ConstantVariable:
        source.check(len(fields["value"]) == 1, "not one value")
        return cls(fields["value"].values()[0], fields["size"])

    def column(self, below: Path, chunk: Chunk) -> Column:
        return Column.constant(self.value, self.size) if not below else Column(self.size, Tag.MISSING)

    def take(self, index: Index) -> ConstantVariable:
        return ConstantVariable(self.value, len(index))

    def concat(self, parts: Sequence[ConstantVariable]) -> ConstantVariable:
        return ConstantVariable(self.value, sum(p.size for p in parts))
