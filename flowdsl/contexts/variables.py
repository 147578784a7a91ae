"""What steps set in contexts: an entity, or a value, for each of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from flowdsl.contexts.chunk import Chunk
from flowdsl.language.paths import Path
from flowdsl.values.columns import Column
from flowdsl.values.interner import Codes
from flowdsl.values.tags import Index, Tag

Versions = npt.NDArray[np.int32]


class Variable(Protocol):
    """What a step set: it can be read along paths and taken at rows."""

    def column(self, below: Path, chunk: Chunk) -> Column: ...

    def take(self, index: Index) -> Variable: ...

    def joined(self, parts: Sequence[Any]) -> Variable:
        """One variable over several parts of contexts, this being the first; all are of its kind."""
        ...

    def held_versions(self) -> Iterable[Versions]:
        """The entity versions it refers to."""
        ...

    def renumbered(self, mapping: Versions) -> Variable:
        """The same after entity versions got new numbers."""
        ...


@dataclass(frozen=True)
class EntityVariable:
    """An entity for each context, as a version of it; where there is none, its id as text, or nothing (code 0)."""

    versions: Versions
    ids: Codes | None = None

    def column(self, below: Path, chunk: Chunk) -> Column:
        store = chunk.graph.versions
        if self.ids is None or (self.versions >= 0).all():
            return store.column(below, self.versions)
        found = store.column(below, self.versions)
        if below:
            return found
        there = self.versions >= 0
        texts = Column.coded(np.where(there, np.int32(0), self.ids), chunk.interner)
        pairs = Column.concat([found, texts])
        return pairs.take(np.arange(found.size) + np.where(there, 0, found.size))

    def take(self, index: Index) -> EntityVariable:
        return EntityVariable(self.versions.take(index), None if self.ids is None else self.ids.take(index))

    def joined(self, parts: Sequence[EntityVariable]) -> EntityVariable:
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


class Plain:
    """Variables that refer to no entity."""

    def held_versions(self) -> Iterable[Versions]:
        return ()

    def renumbered(self, mapping: Versions) -> Any:
        return self


@dataclass(frozen=True)
class ValueVariable(Plain):
    """A value without known parts for each context."""

    values: Column

    def column(self, below: Path, chunk: Chunk) -> Column:
        return self.values if not below else Column(self.values.size, Tag.MISSING)

    def take(self, index: Index) -> ValueVariable:
        return ValueVariable(self.values.take(index))

    def joined(self, parts: Sequence[ValueVariable]) -> ValueVariable:
        return ValueVariable(Column.concat([p.values for p in parts]))


@dataclass(frozen=True)
class ConstantVariable(Plain):
    """The same value in every context."""

    value: Any
    size: int

    def column(self, below: Path, chunk: Chunk) -> Column:
        return Column.constant(self.value, self.size) if not below else Column(self.size, Tag.MISSING)

    def take(self, index: Index) -> ConstantVariable:
        return ConstantVariable(self.value, len(index))

    def joined(self, parts: Sequence[ConstantVariable]) -> ConstantVariable:
        return ConstantVariable(self.value, sum(p.size for p in parts))
