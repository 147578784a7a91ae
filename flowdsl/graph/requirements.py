"""Parts of a graph that flows read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flowdsl.values.paths import Path
from flowdsl.values.state_fields import FlagField, ListField, SharedField, TextField
from flowdsl.values.state_objects import StateObject, keeps


def _pair(texts: Sequence[str]) -> tuple[str, str]:
    name, direction = texts
    return name, direction


@dataclass(frozen=True)
class GraphRequirements(StateObject):
    """Parts of the graph that a set of flows reads; nothing else is kept of the log."""

    # paths are a hint, taken from the flows that resume
    saved = keeps(
        entities=FlagField(),
        paths=SharedField("hints"),
        links=ListField(ListField(TextField(), _pair), frozenset),
        types=ListField(TextField(), frozenset),
        before=FlagField(),
    )

    entities: bool = False
    paths: frozenset[Path] = frozenset()
    links: frozenset[tuple[str, str]] = frozenset()
    types: frozenset[str] = frozenset()
    before: bool = False

    def union(self, other: GraphRequirements) -> GraphRequirements:
        """Return the requirements of both."""
        return GraphRequirements(
            self.entities or other.entities,
            self.paths | other.paths,
            self.links | other.links,
            self.types | other.types,
            self.before or other.before,
        )
