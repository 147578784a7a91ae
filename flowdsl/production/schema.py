"""JSON Schema of documents, for editors, generated from the declarations of operators and sinks."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from flowdsl.arguments import texts_of
from flowdsl.calls import answered
from flowdsl.events import EventKind
from flowdsl.operators import OPERATORS
from flowdsl.operators.base import Operator
from flowdsl.operators.cap import KeyCap
from flowdsl.operators.deliver import SINK, Deliver
from flowdsl.operators.options import Option, holding, mapping_schema, text_schema
from flowdsl.production.editor_schema import fields_of, for_editors, with_examples
from flowdsl.production.loader import FLOW_KEYS
from flowdsl.production.project_spec import BACKENDS, SEEKS
from flowdsl.production.sinks import options_of
from flowdsl.production.test_schema import NULL_SAYS, TESTS, object_schema
from flowdsl.sinks.registry import SINKS

FILE: Final = Path(__file__).parents[1] / "schema.json"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_KINDS: Final[Mapping[EventKind, str]] = {
    "link.created": "an entity was linked to another: ann follows bob",
    "link.deleted": "a link was taken away: ann no longer follows bob",
    "entity.created": "a new entity: a user, a post, an order",
    "entity.updated": "an entity with other fields than before",
    "entity.deleted": "an entity that is no longer there",
}


@answered
def schema(sinks: Iterable[str] = ()) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of YAML documents: a project, a list of flows, or a single flow.

    It accepts what `load` accepts, and rejects every structural error: unknown and missing keys, wrong types,
    invalid values. Conditions, templates and variables are only checked by `load`.

    Parameters
    ----------
    sinks
        The names of sinks that editors offer in `deliver`; others are accepted, too.

    Returns
    -------
    dict
        The schema.

    Raises
    ------
    DataError
        If the names are not text.

    Examples
    --------
    >>> schema()["$defs"]["step"]["properties"]["batch"]
    {'$ref': '#/$defs/batch'}
    """
    names = texts_of(sinks, "sinks") or SINK.schema["examples"]
    return dict(for_editors(_document(names)))


def _document(sinks: Sequence[str]) -> dict[str, Any]:
    definitions = {
        "project": _project(),
        "flow": _flow(),
        "trigger": _trigger(),
        "step": _step(sinks),
        **{name: operator_schema(operator) for name, operator in OPERATORS.items()},
        Deliver.name: _deliver(sinks),
        "sink": _sink(),
        **{f"{kind}_config": _sink_config(kind) for kind in SINKS},
        "consumer": _consumer(),
        "backend": _backend(),
        "tests": _nullable_parts(TESTS),
    }
    return {
        "$schema": _DIALECT,
        "title": "Flows",
        "description": (
            "Event flows, the sinks that they deliver to, and tests of them: a project, a list of flows, or "
            "one flow."
        ),
        "if": {"type": "array"},
        "then": {"type": "array", "items": _ref("flow")},
        "else": {
            "if": {
                "type": "object",
                "not": {"required": ["events"]},
                "anyOf": [{"required": [key]} for key in FLOW_KEYS],
            },
            "then": _ref("flow"),
            "else": _ref("project"),
        },
        "$defs": definitions,
    }


def schema_text(sinks: Iterable[str] = ()) -> str:
    """Return the text of a schema file; without names of sinks, of the one that is shipped."""
    return json.dumps(schema(sinks), indent=2, ensure_ascii=False) + "\n"


def operator_schema(operator: type[Operator]) -> dict[str, Any]:
    """Return the schema of an operator's options."""
    options = operator.yaml_options()
    # inside `allOf`, since editors offer all that is `required` together, under the name of the operator, as
    # if that were an option
    needed = {"required": [name for name, option in options.items() if option.required]}
    rules = operator.option_rules
    return {
        "title": operator.name,
        "description": f"{operator.summary}\n\nIn Python: {operator.example}",
        "markdownDescription": _documented(operator),
        "type": "object",
        "properties": {name: _option(operator, option) for name, option in options.items()},
        "additionalProperties": False,
        # the snippets of steps are
        "doNotSuggest": True,
        **{name: rule for name, rule in rules.items() if name != "examples"},
        "allOf": [needed, *rules.get("allOf", ())],
    }


def _deliver(sinks: Sequence[str]) -> dict[str, Any]:
    declared = operator_schema(Deliver)
    named = text_schema(*sinks)
    one, several = (declared["properties"][name] for name in ("sink", "sinks"))
    properties = {"sink": {**one, **_nullable(named)}, "sinks": {**several, "items": named}}
    return {**declared, "properties": properties}


def _example_of(operator: type[Operator]) -> dict[str, Any]:
    """Return an example of the options of a step."""
    options = operator.yaml_options()
    declared = operator.option_rules.get("examples", [{}])
    return declared[0] or _examples(options, required=True, also=operator.shown) or _examples(options)


def _option(operator: type[Operator], option: Option) -> dict[str, Any]:
    declared = dict(option.schema)
    if not option.required:
        declared = _nullable(declared)
    return {
        "title": f"{operator.name}: {option.yaml}",
        "description": _description(option),
        **declared,
    }


def _examples(
    options: Mapping[str, Option], *, required: bool = False, also: Collection[str] = ()
) -> dict[str, Any]:
    """Return the first example of each option; if `required`, of the required ones and of some others
    only.
    """
    return {
        name: next(iter(option.schema.get("examples", ())), None)
        for name, option in options.items()
        if option.required or not required or name in also
    }


def _description(option: Option) -> str:
    return option.doc if option.portable else f"{option.doc} (flowdsl only: production has no such option)"


def _project() -> dict[str, Any]:
    events = object_schema(
        "Events",
        "the log, the flows that run on it, and who reads it",
        {
            "backend": _ref("backend"),
            "flows": _list_schema(
                "Flows", "the flows, in the order in which they run", "flow", _FLOW_EXAMPLE
            ),
            "consumers": _list_schema(
                "Consumers", "who reads the log, and from where on", "consumer", _CONSUMER_EXAMPLE
            ),
        },
        examples=[{"flows": [_FLOW_EXAMPLE]}],
    )
    properties = {
        "events": _nullable(events),
        "sinks": _list_schema("Sinks", "what flows deliver to", "sink", _SINK_EXAMPLE),
        "tests": _ref("tests"),
    }
    return {
        "title": "Project",
        "description": (
            "Flows with their sinks and tests; other keys, such as entities and links, are production's own."
        ),
        "type": "object",
        "properties": properties,
        "anyOf": [{"required": ["events"]}, {"required": ["sinks"]}, {"required": ["entities", "links"]}],
        "examples": [{"events": {"flows": [_FLOW_EXAMPLE]}, "sinks": [_SINK_EXAMPLE]}],
    }


def _flow() -> dict[str, Any]:
    pipeline = {
        "title": "Pipeline",
        "description": "the steps, one after the other",
        "type": "array",
        "items": _ref("step"),
        "examples": [_FLOW_EXAMPLE["pipeline"]],
    }
    return object_schema(
        "Flow",
        "what is to happen on events of a kind",
        {
            "name": _text("Name", "what the flow is called", "notify-like"),
            "description": _text("Description", "what it is for", "tell authors about likes", optional=True),
            "trigger": _ref("trigger"),
            "pipeline": pipeline,
        },
        "name",
        "trigger",
        "pipeline",
        examples=[_FLOW_EXAMPLE],
    )


def _trigger() -> dict[str, Any]:
    kind = {
        "title": "Kind",
        "description": "the kind of event",
        "type": "string",
        "enum": list(_KINDS),
        "enumDescriptions": list(_KINDS.values()),
        "examples": ["link.created"],
    }
    families = [
        {
            "if": mapping_schema("kind", pattern=f"^{family}\\."),
            "then": holding(
                other,
                type="null",
                errorMessage=f"{family}.… is an event of {a_family}, which has no {other}.",
            ),
        }
        for family, a_family, other in (
            ("link", "a link", "entity_type"),
            ("entity", "an entity", "link_type"),
        )
    ]
    return object_schema(
        "Trigger",
        "which events the flow is for",
        {
            "kind": kind,
            "link_type": _text("Link type", "the link type that a link must have", "likes", optional=True),
            "entity_type": _text("Entity type", "the type that an entity must have", "post", optional=True),
        },
        "kind",
        allOf=families,
        examples=[{"kind": "link.created", "link_type": "likes"}],
    )


def _step(sinks: Sequence[str]) -> dict[str, Any]:
    shown = {operator: _example_of(operator) for operator in OPERATORS.values()} | {
        Deliver: {"sink": sinks[0]}
    }
    snippets = [
        {
            "label": operator.name,
            "markdownDescription": _documented(operator),
            "body": fields_of({operator.name: example}),
        }
        for operator, example in shown.items()
    ]
    step = object_schema(
        "Step",
        f"one step: one of {', '.join(OPERATORS)}",
        {name: _ref(name) for name in OPERATORS},
        minProperties=1,
        maxProperties=1,
        errorMessage=f"Expected one operator with its options: one of {', '.join(OPERATORS)}.",
        examples=[{"deliver": {"sink": "in-app"}}],
    )
    # offered as long as no step is written, instead of bare names: they fill in what a step mostly has
    nothing = {"additionalProperties": {"type": "null"}}
    return {**step, "if": nothing, "then": {"type": "object", "defaultSnippets": snippets}}


def _documented(operator: type[Operator]) -> str:
    examples = operator.option_rules.get("examples", [_example_of(operator)])
    steps = [[{operator.name: example}] for example in examples]
    return with_examples(f"{operator.summary}\n\nIn Python: `{operator.example}`", steps)


def _sink() -> dict[str, Any]:
    kind = {
        "title": "Type",
        "description": "what sort of sink it is",
        "type": "string",
        "enum": list(SINKS),
        "enumDescriptions": [sink.summary for sink in SINKS.values()],
        "examples": ["in_app"],
    }
    return object_schema(
        "Sink",
        "a sink, as flows name it",
        {
            "name": _text("Name", "what flows call it", "in-app"),
            "type": kind,
            # the options offered depend on the type
            "config": {**_config({"url": "https://example.org/hook"}), "defaultSnippets": []},
            "cap": _nullable(_sink_cap()),
        },
        "name",
        "type",
        allOf=[
            {
                "if": mapping_schema("type", const=kind),
                "then": {"patternProperties": {"^config$": _ref(f"{kind}_config")}},
            }
            for kind in SINKS
        ],
        examples=[_SINK_EXAMPLE],
    )


def _sink_cap() -> dict[str, Any]:
    declared = operator_schema(KeyCap)
    properties = {name: declared["properties"][name] for name in ("max", "per", "tz")}
    properties["max"] = {**properties["max"], "minimum": 1}
    description = "at most so many deliveries to each recipient, of all flows together (flowdsl only)"
    return {
        **declared,
        "title": "Cap",
        "description": description,
        "markdownDescription": with_examples(description, [_example_of(KeyCap)]),
        "properties": properties,
        "doNotSuggest": False,
    }


def _sink_config(kind: str) -> dict[str, Any]:
    options = options_of(kind)
    shown = _examples(options, required=True)
    properties = {
        name: _nullable({"title": f"{kind}: {name}", "description": _description(option), **option.schema})
        for name, option in options.items()
    }
    return {
        **_config(shown or _examples(options)),
        "title": f"{kind}: config",
        "description": f"what this type wants to know: {SINKS[kind].summary}",
        "properties": properties,
        "additionalProperties": False,
    }


def _consumer() -> dict[str, Any]:
    seek = {
        "title": "Seek",
        "description": "where it begins to read",
        "enum": [*SEEKS, None],
        "default": "latest",
        "examples": ["last_acknowledged"],
    }
    return object_schema(
        "Consumer",
        "someone who reads the log",
        {"name": _text("Name", "what it is called", "flow-runtime"), "seek": seek},
        "name",
        examples=[_CONSUMER_EXAMPLE],
    )


def _backend() -> dict[str, Any]:
    kind = {
        "title": "Type",
        "description": "what sort of log it is",
        "enum": [*BACKENDS, None],
        "default": "memory",
        "examples": ["memory"],
    }
    backend = object_schema("Backend", "what keeps the events", {"type": kind, "config": _config({})})
    return {**_nullable(backend), "examples": [{"type": "memory"}]}


def _config(example: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": "Config",
        "description": "what this type wants to know",
        "type": ["object", "null"],
        "examples": [example],
    }


def _text(title: str, description: str, example: str, *, optional: bool = False) -> dict[str, Any]:
    described = {"title": title, "description": description, **text_schema(example)}
    return _nullable(described) if optional else described


def _list_schema(title: str, description: str, name: str, example: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": title,
        "description": description,
        "type": ["array", "null"],
        "items": _ref(name),
        "examples": [[example]],
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _nullable(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema extended by null, which means not given."""
    allowed = dict(declared)
    if "enum" in allowed:
        allowed["enum"] = [*allowed["enum"], None]
    if "type" in allowed:
        types = [allowed["type"]] if isinstance(allowed["type"], str) else list(allowed["type"])
        allowed["type"] = [*types, *(["null"] if "null" not in types else [])]
    return allowed


def _nullable_parts(declared: Mapping[str, Any], optional: bool = True) -> dict[str, Any]:
    """Return the declaration of tests with null allowed for every optional key where it has no meaning of its
    own.
    """
    allowed = dict(declared)
    if "properties" in allowed:
        required = allowed["required"]
        allowed["properties"] = {
            name: _nullable_parts(part, name not in required and name not in NULL_SAYS)
            for name, part in allowed["properties"].items()
        }
    if "items" in allowed:
        allowed["items"] = _nullable_parts(allowed["items"], optional=False)
    if not optional:
        return allowed
    return _nullable(allowed)


_SINK_EXAMPLE: Final = {"name": "in-app", "type": "in_app"}
_CONSUMER_EXAMPLE: Final = {"name": "flow-runtime", "seek": "last_acknowledged"}
_FLOW_EXAMPLE: Final[dict[str, Any]] = {
    "name": "notify-like",
    "trigger": {"kind": "link.created", "link_type": "likes"},
    "pipeline": [
        {"resolve": {"from": "target_id", "via": "owns", "direction": "reverse", "as": "owner"}},
        {"map": {"template": {"recipient_id": "{{ owner.id }}", "title": "somebody liked it"}}},
        {"deliver": {"sink": "in-app"}},
    ],
}
