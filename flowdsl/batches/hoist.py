"""Hoisting of expressions above fan-outs, and sharing of their values per entity version.

An expression that does not depend on the branch of a fan-out is evaluated before the fan-out. An expression
over one entity is evaluated once per version, as soon as it was requested as often as there are versions. The
results are gathered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.variables import EntityVariable, Versions
from flowdsl.expressions.row_source import Failures, Rows
from flowdsl.graph.versions import VersionStore
from flowdsl.values.columns import Column, gather_values
from flowdsl.values.json_types import Index
from flowdsl.values.paths import Path

Evaluate = Callable[[Rows], tuple[Any, Failures | None]]


class EntityRows:
    """Entity versions, each as a context whose only variable is that entity."""

    def __init__(self, name: str, versions: Versions, store: VersionStore) -> None:
        self._name = name
        self._versions = versions
        self._store = store

    @property
    def size(self) -> int:
        return len(self._versions)

    def column(self, path: Path) -> Column:
        """Return the values at a path below the entity."""
        return self._store.column(path[1:], self._versions)

    def take(self, index: Index) -> EntityRows:
        """Return the versions at `index`"""
        return EntityRows(self._name, self._versions.take(index), self._store)


def hoist(
    contexts: ContextBatch, key: object, paths: Iterable[Path], evaluate: Evaluate, *, asks: bool = False
) -> tuple[Any, Failures | None]:
    """Evaluate an expression for the contexts where it is cheapest; `key` identifies it among those over the
    same paths. One that `asks` the graph depends on the moment too, and is not shared by the contexts of an
    entity version.
    """
    paths = tuple(paths)
    at, back = contexts.lift(paths)
    by_version = None if asks else _by_version(at, key, paths, evaluate)
    if by_version is not None:
        versions, (values, failures) = by_version
        back = versions if back is None else versions.take(back)
    else:
        values, failures = evaluate(at)
    if back is None:
        return values, failures
    return gather_values(values, back), gather_values(failures, back)


def _by_version(
    contexts: ContextBatch, key: object, paths: tuple[Path, ...], evaluate: Evaluate
) -> tuple[Index, Any] | None:
    roots = {path[0] for path in paths}
    if len(roots) != 1 or not len(contexts):
        return None
    name = roots.pop()
    variable = contexts.variable(name)
    if not isinstance(variable, EntityVariable):
        return None
    store = contexts.chunk.graph.versions
    low = int(variable.versions.min())
    block = store.block_of(low, int(variable.versions.max())) if low >= 0 else None
    if block is None:
        return None
    start, held = block
    known = held.derived.get(key, len(contexts), len(held))
    if known is None:
        return None
    if known is True:
        versions = np.arange(start, start + len(held), dtype=np.int32)
        known = evaluate(EntityRows(name, versions, store))
        held.derived.put(key, known)
    return variable.versions - start, known
