"""What the values of a column probably say happened: created, updated or deleted, and whether to a link."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from flowdsl.log.likely_columns import Paths, action_of, words
from flowdsl.log.origins import literal

# the origin of `kind`, and `kinds` and `split` of read_events
KindOptions = tuple[Any, dict[str, Mapping[Any, Any]]]

_VERBS: Final = {
    **dict.fromkeys(words("c create created insert inserted add added new i r"), "created"),
    **dict.fromkeys(words("u update updated change changed modified edit edited"), "updated"),
    **dict.fromkeys(words("d delete deleted remove removed destroyed"), "deleted"),
}
_VERB: Final = re.compile(rf"(?:(link|entity)[ ._:/-])?({'|'.join(_VERBS)})", re.IGNORECASE)


@dataclass(frozen=True)
class Happenings:
    """The column that says what happened, if there is one: its values are verbs, such as `insert`, or names,
    such as `order_completed`.

    `subject` is "link" or "entity" where the verbs are of one of these.
    """

    column: str | None = None
    verbs: Mapping[Any, str] = field(default_factory=dict)
    names: Sequence[Any] = ()
    subject: str | None = None

    @classmethod
    def of(cls, paths: Paths) -> Happenings:
        """Return what the columns of rows say happened."""
        column = next((path for path, values in paths.items() if _subject_of(values)), action_of(paths))
        if column is None:
            return cls()
        found = {value: _VERB.fullmatch(str(value)) for value in sorted(set(paths[column]), key=str)}
        if None in found.values():
            return cls(column, names=tuple(found))
        verbs = {value: _VERBS[verb[2].lower()] for value, verb in found.items() if verb}
        # rows of a table are updated, links come and go
        subject = "entity" if "updated" in verbs.values() else None
        return cls(column, verbs, subject=_subject_of(found) or subject)

    @property
    def undone(self) -> dict[Any, Any]:
        """The names that take back another one, such as `unfollow`, with that one."""
        return {name: name[2:] for name in self.names if name[:2] == "un" and name[2:] in self.names}

    def of_entities(self) -> KindOptions:
        """Return how the values become kinds of entity events."""
        return self._of("entity", {})

    def of_links(self) -> KindOptions:
        """Return how the values become kinds of link events: a link that changes ends, and begins again."""
        if self.undone:
            ends = {name: [_ended(of)] for name, of in self.undone.items()}
            return self.column, {"kinds": {"*": "link.created"}, "split": ends}
        changes = (
            {"link.updated": ["link.deleted", "link.created"]} if "updated" in self.verbs.values() else {}
        )
        return self._of("link", changes)

    def _of(self, subject: str, split: Mapping[str, Any]) -> KindOptions:
        kinds = {value: f"{subject}.{verb}" for value, verb in self.verbs.items()}
        # kinds that are called as they are here need not be said
        needed = {"kinds": kinds if [*kinds] != [*kinds.values()] else {}, "split": split}
        options = {name: option for name, option in needed.items() if option}
        return self.column if kinds else literal(f"{subject}.created"), options


def _ended(link_type: str) -> dict[str, Any]:
    return {"kind": "link.deleted", "link_type": literal(link_type)}


def _subject_of(values: Iterable[Any]) -> str | None:
    """Return what all values name as their subject, each with a verb."""
    found = {verb[1] if (verb := _VERB.fullmatch(str(value))) else None for value in values}
    return found.pop() if len(found) == 1 else None
