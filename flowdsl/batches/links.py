"""Links as of the moment of each context of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowdsl.batches.id_codes import id_codes
from flowdsl.values.columns import Column
from flowdsl.values.interner import Codes
from flowdsl.values.json_types import Mask
from flowdsl.values.paths import Path

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from flowdsl.batches.context_batch import ContextBatch


class ContextLinks:
    """The graph's links, asked for each context as of the last event whose effect it sees."""

    def __init__(self, contexts: ContextBatch) -> None:
        self._contexts = contexts
        self._graph = contexts.chunk.graph
        self._seqs = contexts.chunk.seq_seen(contexts.seen)

    def codes_at(self, path: Path) -> Codes:
        """Return the values at a path as codes of ids."""
        return self._contexts.id_codes(path)

    def codes_of(self, values: Column) -> Codes:
        """Return values as codes of ids."""
        return id_codes(values, self._contexts.chunk)

    def linked(self, kind: str, sources: Codes, targets: Codes) -> Mask:
        """Mark the contexts whose first id has a link of a type to the second."""
        return self._graph.linked(kind, sources, targets, self._seqs)

    def count_links(self, kind: str, direction: str, ids: Codes) -> npt.NDArray[np.int64]:
        """Return how many links of a type each id has."""
        return self._graph.count_links(kind, direction, ids, self._seqs)

    def first_metadata(self, kind: str, direction: str, ids: Codes, below: Path) -> Column:
        """Return what is at a path of the metadata of each id's first link of a type."""
        return self._graph.first_metadata(kind, direction, ids, self._seqs, below)
