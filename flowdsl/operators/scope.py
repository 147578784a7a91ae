"""Variables in scope at a step, with their static shapes, so that impossible paths are rejected early."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from flowdsl.errors import BuildError, did_you_mean
from flowdsl.rules import FLOWDSL, Rules
from flowdsl.text import short_repr
from flowdsl.values.paths import Path, path_text


@dataclass(frozen=True)
class ValueShape:
    """Shape of a variable: a scalar, an object with known fields, or anything (`fields=None`)"""

    what: str
    fields: Mapping[str, ValueShape] | None = None
    scalar: bool = False


ANY = ValueShape("any JSON value")
TEXT = ValueShape("text", scalar=True)
NUMBER = ValueShape("number", scalar=True)
BEFORE = ValueShape("the entity as it was before the event")
# files and logs may have events without an id, and null is one
EVENT = ValueShape("the event", {"id": ANY, "kind": TEXT, "timestamp": TEXT, "seq_no": NUMBER})

LINK_VARIABLES: dict[str, ValueShape] = {
    "link_type": TEXT,
    "link_id": TEXT,
    "source_id": TEXT,
    "target_id": TEXT,
}
ENTITY_VARIABLES: dict[str, ValueShape] = {"entity_type": TEXT, "entity_id": TEXT}
TRIGGER_VARIABLES: dict[str, dict[str, ValueShape]] = {
    "link.created": {**LINK_VARIABLES, "metadata": ANY},
    "link.deleted": LINK_VARIABLES,
    "entity.created": {**ENTITY_VARIABLES, "data": ANY},
    "entity.updated": {**ENTITY_VARIABLES, "data": ANY},
    "entity.deleted": ENTITY_VARIABLES,
}


@dataclass(frozen=True)
class Scope:
    """Variables of a context before a step, in the order in which they were set."""

    variables: Mapping[str, ValueShape] = field(default_factory=dict)
    rules: Rules = FLOWDSL

    @classmethod
    def of_trigger(cls, kind: str, rules: Rules = FLOWDSL) -> Scope:
        """Return the initial variables for events of this kind."""
        own = {"event": EVENT} if rules.event_variable else {}
        if rules.event_variable and kind.startswith("entity."):
            own["before"] = BEFORE
        return cls({**TRIGGER_VARIABLES[kind], **own}, rules)

    def having(self, **variables: ValueShape) -> Scope:
        """Return the scope with these variables set."""
        return Scope({**self.variables, **variables}, self.rules)

    def __contains__(self, name: str) -> bool:
        return name in self.variables or not self.rules.early_checks

    def check(self, paths: Iterable[Path], what: str) -> None:
        """Reject paths that cannot exist here; `what` names the reader in errors."""
        if not self.rules.early_checks:
            return
        for path in sorted(paths):
            self._check_one(path, what)

    def _hint(self, path: Path) -> str | None:
        """Return a hint for a path whose first part is not a variable here."""
        for name, shape in self.variables.items():
            if path[0] in (shape.fields or ()) and not name.startswith("_"):
                return f"write {path_text((name, *path))}"
        near = None if path[0] in _PAYLOAD else did_you_mean(path[0], self.variables)
        return near or self._carrier_of(path) or self._where_it_is(path)

    def _carrier_of(self, path: Path) -> str | None:
        """Return where an event carries a field that is named alone, or as one of a payload."""
        inner = path[1:] if path[0] in _PAYLOAD and len(path) > 1 else path
        if len(path) > 1 and inner is path:
            return None
        if "data" in self.variables:
            return f"the fields of the entity are in data: {path_text(('data', *inner))}"
        if "metadata" in self.variables:
            return f"what a link carries is in metadata: {path_text(('metadata', *inner))}"
        return None

    def _where_it_is(self, path: Path) -> str | None:
        """Return where the value at a path may be that is not a variable here."""
        if path[0] in _BEFORE:
            if "before" in self.variables:
                return f"the entity as it was is {path_text(('before', *path[1:]))}"
            return "events of entities have before: on('entity.updated', …)"
        if path[0] == "data" and "metadata" in self.variables:
            return f"events of links have metadata: {path_text(('metadata', *path[1:]))}"
        if path[0] == "metadata" and "data" in self.variables:
            return f"events of entities have data: {path_text(('data', *path[1:]))}"
        if path[0] in ("batch", "_batch"):
            return "a batch step before this one sets batch"
        if len(path) > 1 and path[0].isidentifier():
            return f"resolve(…, as_={path[0]!r}) before this step sets it"
        return None

    def _check_one(self, path: Path, what: str) -> None:
        shape = self.variables.get(path[0])
        if shape is None:
            known = [name for name in self.variables if not name.startswith("_")]
            raise BuildError(
                f"{what} reads {path_text(path)!r}, but there is no variable {path[0]!r} at this step",
                allowed=", ".join(known),
                hint=self._hint(path),
            )
        for depth, part in enumerate(path[1:], 1):
            if shape.scalar:
                raise BuildError(
                    f"{what} reads {path_text(path)!r}, but {path_text(path[:depth])!r} is {shape.what} and "
                    "has no parts"
                )
            if shape.fields is None:
                return
            if part not in shape.fields:
                raise BuildError(
                    f"{what} reads {path_text(path)!r}, but {path_text(path[:depth])!r} has no {part!r}",
                    allowed=", ".join(shape.fields),
                    hint=f"write {path_text(path[depth:])}"
                    if part in self.variables
                    else did_you_mean(part, shape.fields) or self._hint(path[depth:]),
                )
            shape = shape.fields[part]


# names in other languages for the entity before an update
_BEFORE: Final = ("before", "previous", "prev", "old", "original", "was")
# names in other languages for the fields of an entity
_PAYLOAD: Final = ("entity", "payload", "attributes", "fields", "properties", "props", "body", "after")


def check_name(name: object, what: str) -> str:
    """Return a valid variable name, one that paths can reach. Raises `BuildError`"""
    if not isinstance(name, str) or not name.isidentifier() or name in {"true", "false", "null"}:
        raise BuildError(
            f"{what} {short_repr(name)} cannot name a variable",
            allowed="a letter or underscore, then letters, digits and underscores",
        )
    return name
