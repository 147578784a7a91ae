"""Links that live, followed event by event: what an event ends, and what it makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

Kept = TypeVar("Kept")
Ends = tuple[Any, ...]


class LivingLinks(Generic[Kept]):
    """Links that live, each with a value that is kept of it.

    A link with an id is known by it, one without by its type and ends. A deletion without an id ends every
    link between its ends.

    >>> ann_to_bob = {"link_type": "likes", "source_id": "ann", "target_id": "bob"}
    >>> links: LivingLinks[str] = LivingLinks()
    >>> links.add({**ann_to_bob, "link_id": "l1"}, "the first")
    >>> links.ended_by({**ann_to_bob, "link_id": None, "kind": "link.created"})
    []
    >>> links.ended_by({**ann_to_bob, "link_id": None, "kind": "link.deleted"})
    ['the first']
    """

    def __init__(self) -> None:
        self._between: dict[Ends, dict[str | None, Kept]] = {}
        self._ends: dict[str, Ends] = {}

    def add(self, link: Mapping[str, Any], kept: Kept) -> None:
        """Add a link that was made."""
        self._between.setdefault(_ends_of(link), {})[link["link_id"]] = kept
        if link["link_id"] is not None:
            self._ends[link["link_id"]] = _ends_of(link)

    def ended_by(self, event: Mapping[str, Any]) -> list[Kept]:
        """Take out the links that an event ends, by deleting them or making them anew."""
        link_id, ends = event["link_id"], _ends_of(event)
        if link_id is None and event["kind"] == "link.deleted":
            ended = self._between.pop(ends, {})
            for one in ended:
                self._ends.pop(one, None)  # type: ignore[arg-type]
            return list(ended.values())
        if link_id is not None:
            ends = self._ends.pop(link_id, ends)
        living = self._between.get(ends, {})
        return [living.pop(link_id)] if link_id in living else []

    def values(self) -> list[Kept]:
        """Return what is kept of those that live."""
        return [kept for living in self._between.values() for kept in living.values()]


def _ends_of(link: Mapping[str, Any]) -> Ends:
    return link["link_type"], link["source_id"], link["target_id"]
