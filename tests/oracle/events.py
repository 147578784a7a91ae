"""Events as the interpreter takes them, and the graph that they change (rules 1, 4, 5 and 7)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowdsl.flow.spec import Trigger
from flowdsl.values.json_types import MISSING as NOTHING
from oracle.values import FailedError, microseconds, moment_text

MISSING = object()
VARIABLES = {
    "link.created": ("link_type", "link_id", "source_id", "target_id", "metadata"),
    "link.deleted": ("link_type", "link_id", "source_id", "target_id"),
    "entity.created": ("entity_type", "entity_id"),
    "entity.updated": ("entity_type", "entity_id"),
    "entity.deleted": ("entity_type", "entity_id"),
}


@dataclass(frozen=True)
class Event:
    """One event of the log: `fields` are those of production's inner object, null ones left out."""

    seq_no: int
    timestamp: int
    kind: str
    event_id: str | None
    fields: dict[str, Any]

    @classmethod
    def of(cls, envelope: Mapping[str, Any]) -> Event:
        """The event in an envelope `{"id", "timestamp", "event", "seq_no"}`."""
        inner = dict(envelope["event"])
        kind = f"{inner.pop('kind')}.{inner.pop('action')}"
        fields = {name: value for name, value in inner.items() if value is not None}
        return cls(envelope["seq_no"], microseconds(envelope["timestamp"]), kind, envelope.get("id"), fields)

    def triggers(self, trigger: Trigger) -> bool:
        """Whether a flow with this trigger is for this event."""
        return (
            self.kind == trigger.kind
            and trigger.link_type in (None, self.fields.get("link_type"))
            and trigger.entity_type in (None, self.fields.get("entity_type"))
        )

    def variables(self) -> dict[str, Any]:
        """What a context of this event starts with."""
        found = {name: self.fields[name] for name in VARIABLES[self.kind] if name in self.fields}
        if self.kind in ("entity.created", "entity.updated"):
            found["data"] = self.fields.get("data")
        found["event"] = {
            "id": self.event_id,
            "kind": self.kind,
            "timestamp": moment_text(self.timestamp),
            "seq_no": self.seq_no,
        }
        return found


@dataclass(frozen=True)
class Link:
    """A link between two ids, and what it says."""

    link_type: str
    source_id: str
    target_id: str
    metadata: Any = field(default=NOTHING, compare=False)


class PlainGraph:
    """Entities by type and id, and links in the order in which they were created, each under its identity."""

    def __init__(
        self,
        entities: Mapping[str, Mapping[Any, Any]],
        links: Sequence[Mapping[str, Any]],
        merge: Collection[str] = (),
    ) -> None:
        self.merge = merge
        self.entities = {
            kind: {str(entity_id): _entity(str(entity_id), data) for entity_id, data in of_kind.items()}
            for kind, of_kind in entities.items()
        }
        self.links: dict[tuple[str, ...], Link] = {}
        for link in links:
            self._create_link(link)

    def apply(self, event: Event) -> bool:
        """What an event does to the graph; False for a deletion that meets nothing (rule 34)."""
        fields = event.fields
        if event.kind == "link.created":
            self._create_link(fields)
        elif event.kind == "link.deleted":
            ended = self._ended_by(fields)
            for identity in ended:
                del self.links[identity]
            return bool(ended)
        elif event.kind == "entity.deleted":
            return (
                self.entities.get(fields["entity_type"], {}).pop(fields["entity_id"], MISSING) is not MISSING
            )
        else:
            entity = _entity(fields["entity_id"], self._whole(event))
            self.entities.setdefault(fields["entity_type"], {})[fields["entity_id"]] = entity
        return True

    def _whole(self, event: Event) -> Any:
        """The data after an event: with what it does not say, where updates of its type are merged (rule 30)."""
        data, before = event.fields.get("data"), self.entity_of(event)
        merges = event.kind == "entity.updated" and event.fields["entity_type"] in self.merge
        if not merges or before is NOTHING:
            return data
        if data is None:
            return before
        return {**before, **data} if isinstance(before, dict) and isinstance(data, dict) else data

    def entity_of(self, event: Event) -> Any:
        """The entity that an event is about, of the event's type; missing where there is none."""
        if not event.kind.startswith("entity."):
            return NOTHING
        return self.entities.get(event.fields["entity_type"], {}).get(event.fields["entity_id"], NOTHING)

    def find(self, entity_id: str, kind: str | None) -> list[Any]:
        """The entity with an id, as a list of one or none; an id that lives in two types fails (rule 7)."""
        kinds = self.entities if kind is None else [kind]
        found = [self.entities[k][entity_id] for k in kinds if entity_id in self.entities.get(k, {})]
        if len(found) > 1:
            raise FailedError("the id lives in several entity types")
        return found

    def linked(self, entity_id: str, via: str, direction: str) -> list[str]:
        """The ids at the other ends of an id's links, in link order."""
        links = self.links_of(entity_id, via, direction)
        return [link.target_id if direction == "forward" else link.source_id for link in links]

    def links_of(self, entity_id: str, via: str, direction: str) -> list[Link]:
        """The links of an id, or those that end there, in link order."""
        of_type = [link for link in self.links.values() if link.link_type == via]
        end = "source_id" if direction == "forward" else "target_id"
        return [link for link in of_type if getattr(link, end) == entity_id]

    def _ended_by(self, fields: Mapping[str, Any]) -> list[tuple[str, ...]]:
        """The identities of the links that a deletion ends: the one it names, or all between its ends."""
        if fields.get("link_id") is not None:
            return [identity for identity in [_identity(fields)] if identity in self.links]
        ends = Link(fields["link_type"], str(fields["source_id"]), str(fields["target_id"]))
        return [identity for identity, link in self.links.items() if link == ends]

    def _create_link(self, fields: Mapping[str, Any]) -> None:
        # a link with a known identity replaces the old one, and goes last
        self.links.pop(_identity(fields), None)
        metadata = fields.get("metadata")
        self.links[_identity(fields)] = Link(
            fields["link_type"],
            str(fields["source_id"]),
            str(fields["target_id"]),
            NOTHING if metadata is None else metadata,
        )


def _identity(fields: Mapping[str, Any]) -> tuple[str, ...]:
    if fields.get("link_id") is not None:
        return (str(fields["link_id"]),)
    return (fields["link_type"], str(fields["source_id"]), str(fields["target_id"]))


def _entity(entity_id: str, data: Any) -> Any:
    """An entity always has its `id`; without data it is an empty object; what is not an object stays what it is."""
    if data is None:
        data = {}
    if not isinstance(data, dict):
        return data
    given = data.get("id", entity_id)
    if isinstance(given, int) and not isinstance(given, bool) and str(given) == entity_id:
        given = entity_id
    return {**data, "id": given}
