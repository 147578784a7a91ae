"""JSON Schema of flow tests, used both to read tests and by editors."""

from __future__ import annotations

from typing import Any, Final

from flowdsl.events import KINDS
from flowdsl.operators.options import DURATION_PATTERN, text_schema
from flowdsl.rules import TARGETS

START: Final = "2026-01-01T00:00:00Z"
_DAY: Final = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:?[0-9]{2})?"
)
_MOMENT: Final = text_schema(
    "5m",
    "2026-01-01T09:00:00Z",
    pattern=rf"({DURATION_PATTERN}|^{_DAY}$(?!\n))",
    says="a duration or a timestamp",
)
ID_TYPES: Final = ["string", "integer"]


def _field(
    title: str, description: str, schema: dict[str, Any], *examples: Any, **more: Any
) -> dict[str, Any]:
    shown = list(examples) or schema.get("examples", [])
    return {**schema, "title": title, "description": description, "examples": shown, **more}


def _text(title: str, description: str, *examples: str, **more: Any) -> dict[str, Any]:
    return _field(title, description, text_schema(*examples), **more)


def _id(title: str, description: str, *examples: str, **more: Any) -> dict[str, Any]:
    return _field(title, description, {"type": ID_TYPES, "minLength": 1}, *examples, **more)


def _anything(title: str, description: str, *examples: Any) -> dict[str, Any]:
    return _field(title, description, {}, *examples)


def object_schema(
    title: str, description: str, properties: dict[str, Any], *required: str, **more: Any
) -> dict[str, Any]:
    """Return the schema of a mapping with these keys and no others."""
    return {
        "title": title,
        "description": description,
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


def _list(title: str, description: str, items: dict[str, Any], *examples: Any, **more: Any) -> dict[str, Any]:
    return {
        "title": title,
        "description": description,
        "type": "array",
        "items": items,
        "examples": list(examples),
        **more,
    }


_LINK = {
    "link_type": _text("Link type", "what sort of link it is", "follows"),
    "source_id": _id("Source", "the id that the link goes from", "ann"),
    "target_id": _id("Target", "the id that the link goes to", "bob"),
    "link_id": _id("Link id", "the link's own id, where it has one", "l-1"),
    "metadata": _anything("Metadata", "what else the link says", {"weight": 2}),
}
_EVENT = object_schema(
    "Event",
    "one event of the log, with the fields of its kind",
    {
        "at": _field(
            "At",
            "when: a time after the start of the test, or a timestamp; by default with the event before",
            _MOMENT,
        ),
        "id": _id("Id", "the event's own id", "e-1"),
        "kind": _field("Kind", "what happened", {"enum": list(KINDS)}, "link.created"),
        **_LINK,
        "entity_type": _text("Entity type", "what sort of entity it is", "user"),
        "entity_id": _id("Entity", "the id of the entity", "ann"),
        "data": _anything("Data", "the whole of the entity", {"name": "Ann"}),
    },
    "kind",
)
_GRAPH = object_schema(
    "Graph",
    "entities and links as they are before the first event",
    {
        "entities": _field(
            "Entities",
            "for each entity type its entities by their ids",
            {
                "type": "object",
                "additionalProperties": {
                    "type": ["object", "null"],
                    "additionalProperties": {"type": "object"},
                },
            },
            {"user": {"ann": {"name": "Ann"}}},
            default={},
        ),
        "links": _list(
            "Links",
            "the links, in the order in which they were made",
            object_schema("Link", "one link", _LINK, "link_type", "source_id", "target_id"),
            [{"link_type": "follows", "source_id": "ann", "target_id": "bob"}],
            default=[],
        ),
        "merge": _list(
            "Merge",
            "the entity types whose updates change only the fields that they have",
            {"type": "string", "minLength": 1},
            ["user"],
            default=[],
        ),
    },
    examples=[{"entities": {"user": {"ann": {"name": "Ann"}}}}],
)
_FLOW = _text("Flow", "the name of the flow; any by default", "notify-like")
_STEP = _field(
    "Step",
    "the step: its number, counted from 0, or its operator; any by default",
    {"type": ["integer", "string"], "minimum": 0, "minLength": 1},
    2,
    "filter",
)
_COUNT = _field("Count", "how often", {"type": "integer", "minimum": 0}, 3, default=1)
_DELIVERY = object_schema(
    "Delivery",
    "one delivery that is to happen",
    {
        "sink": _text("Sink", "the sink that it goes to", "in-app"),
        "recipient": _field(
            "Recipient",
            "who it goes to, null for nobody; anyone by default",
            {"type": ["string", "null"]},
            "ann",
        ),
        "payload": _anything(
            "Payload",
            "fields that the payload has, nested objects likewise; lists and values are equal",
            {"title": "Ann liked your post"},
        ),
        "exact": _field(
            "Exact", "whether the payload has no other fields", {"type": "boolean"}, True, default=False
        ),
        "flow": _FLOW,
        "at": _field(
            "At", "when: a time after the start of the test, or a timestamp; any by default", _MOMENT, "5m"
        ),
    },
    "sink",
)
_DROP = object_schema(
    "Drop",
    "contexts that are to be dropped",
    {
        "flow": _FLOW,
        "step": _STEP,
        "reason": _text("Reason", "why; any by default", "filtered"),
        "count": _COUNT,
    },
)
_FAILURE = object_schema(
    "Failure",
    "contexts that are to fail",
    {
        "flow": _FLOW,
        "step": _STEP,
        "error": _text("Error", "text that the error has in it; any by default", "no entity has the id"),
        "count": _COUNT,
    },
)
TEST: Final = object_schema(
    "Test",
    "events and a graph, and what is to come of them",
    {
        "name": _text("Name", "what the test shows, as a sentence", "the owner is notified of a like"),
        "description": _text("Description", "more about it", "the owner hears of it, the fan does not"),
        "flows": _field(
            "Flows",
            "the names of the flows to run; all by default",
            {"type": "array", "minItems": 1, "items": text_schema("notify-like")},
            ["notify-like"],
        ),
        "target": _field(
            "Target", "whose behaviour to replay; flowdsl's own by default", {"enum": list(TARGETS)}, *TARGETS
        ),
        "open_windows": _field(
            "Open windows",
            "what happens to windows and queues that are open at the end",
            {"enum": ["flush", "keep"]},
            "keep",
            default="flush",
        ),
        "graph": _GRAPH,
        "start": _field(
            "Start",
            "the moment that times count from",
            text_schema("2026-01-01T09:00:00Z", pattern=f"^{_DAY}$(?!\\n)", says="a timestamp"),
            default=START,
        ),
        "events": _list(
            "Events",
            "the log, in its order",
            _EVENT,
            [
                {
                    "at": "5m",
                    "kind": "link.created",
                    "link_type": "follows",
                    "source_id": "ann",
                    "target_id": "bob",
                }
            ],
        ),
        "deliveries": _list(
            "Deliveries",
            "every delivery that is to happen, in any order; none by default",
            _DELIVERY,
            [{"sink": "in-app", "recipient": "bob", "payload": {"title": "Ann follows you"}}],
            default=[],
        ),
        "drops": _list(
            "Drops",
            "every drop that is to happen; by default they are not looked at",
            _DROP,
            [{"step": "filter", "reason": "filtered", "count": 2}],
        ),
        "failures": _list(
            "Failures",
            "every failure that is to happen; none by default",
            _FAILURE,
            [{"step": 0, "error": "no entity has the id"}],
            default=[],
        ),
    },
    "name",
    "events",
)
TESTS: Final = _list(
    "Tests",
    "tests of the flows, run by `flowdsl test`; production ignores them",
    TEST,
    [{"name": "nothing comes of nothing", "events": []}],
)
# defaults of unset options that are not null
NULL_SAYS: Final = ("recipient", "payload", "data", "metadata")
