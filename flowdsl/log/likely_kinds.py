"""Meaning of the values of a column that says what happened: created, updated or deleted, and of what."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from flowdsl.log.likely_columns import Paths, action_of, words
from flowdsl.log.origins import literal

# `kinds` and `split` of read_events
KindOptions = dict[str, Mapping[Any, Any]]

_VERBS: Final = {
    **dict.fromkeys(words("c create created insert inserted add added new i r"), "created"),
    **dict.fromkeys(words("u update updated change changed modified edit edited"), "updated"),
    **dict.fromkeys(words("d delete deleted remove removed destroyed"), "deleted"),
}
# add and remove are of two things: cart_add
_OF_NOUNS: Final = "create|created|inserted|update|updated|modified|delete|deleted|destroyed"
_VERB: Final = re.compile(
    rf"(?P<alone>{'|'.join(_VERBS)})|(?P<noun>.+)[ ._:/-](?P<verb>{_OF_NOUNS})", re.IGNORECASE
)


@dataclass(frozen=True)
class Happenings:
    """The column that says what happened, if there is one: its values are verbs, such as `insert` or
    `order.updated`, or names, such as `order_completed`.

    `nouns` are what the verbs are of; `subject` is "link" or "entity" where that is known.
    """

    column: str | None = None
    verbs: Mapping[str, str] = field(default_factory=dict)
    nouns: Sequence[str | None] = ()
    names: Sequence[str] = ()

    @classmethod
    def of(cls, paths: Paths) -> Happenings:
        """Return what the columns of rows say happened."""
        told = (path for path, values in paths.items() if values and all(map(_noun_of, values)))
        column = next(told, None) or action_of(paths)
        if column is None:
            return cls()
        values = sorted(set(map(str, paths[column])))
        verbs = [*map(_verb_of, values)]
        if "" in verbs:
            return cls(column, names=values)
        return cls(column, dict(zip(values, verbs, strict=True)), [*map(_noun_of, values)])

    @property
    def subject(self) -> str | None:
        """The family of the events: of links, of entities, or not known."""
        if {*self.nouns} == {"link"}:
            return "link"
        # rows of a table are updated, links come and go
        return "entity" if any(self.nouns) or "updated" in self.verbs.values() else None

    @property
    def undone(self) -> dict[str, str]:
        """The names that take back another one, such as `unfollow`, with that one."""
        return {name: name[2:] for name in self.names if name[:2] == "un" and name[2:] in self.names}

    @property
    def types(self) -> list[str]:
        """The types of the entities that the verbs are of, each once."""
        return sorted({noun for noun in self.nouns if noun not in (None, "entity", "link")})

    def of_entities(self, *, typed: bool) -> KindOptions:
        """Return how the values become kinds of entity events; of several types, where they are not `typed`
        by another column.
        """
        if typed or len(self.types) < 2:
            return self._kinds("entity", {})
        kinds = [f"entity.{verb}" for verb in self.verbs.values()]
        parts = zip(self.verbs, kinds, map(literal, self.nouns), strict=True)
        return {"split": {value: [{"kind": kind, "entity_type": noun}] for value, kind, noun in parts}}

    def of_links(self) -> KindOptions:
        """Return how the values become kinds of link events: a link that changes ends, and begins again."""
        if self.undone:
            ends = {name: [_ended(of)] for name, of in self.undone.items()}
            return {"kinds": {"*": "link.created"}, "split": ends}
        changes = (
            {"link.updated": ["link.deleted", "link.created"]} if "updated" in self.verbs.values() else {}
        )
        return self._kinds("link", changes)

    def _kinds(self, subject: str, split: Mapping[str, Any]) -> KindOptions:
        kinds = {value: f"{subject}.{verb}" for value, verb in self.verbs.items()}
        # kinds that are called as they are here need not be said
        needed = {"kinds": kinds if [*kinds] != [*kinds.values()] else {}, "split": split}
        return {name: option for name, option in needed.items() if option}


def _ended(link_type: str) -> dict[str, Any]:
    return {"kind": "link.deleted", "link_type": literal(link_type)}


def _verb_of(value: str) -> str:
    """Return which of the three verbs a value is; nothing where it is another word."""
    found = _VERB.fullmatch(value)
    return "" if found is None else _VERBS[(found["alone"] or found["verb"]).lower()]


def _noun_of(value: Any) -> str | None:
    """Return what a verb is of, where it says so."""
    found = _VERB.fullmatch(str(value))
    return None if found is None or found["noun"] is None else found["noun"].lower()
