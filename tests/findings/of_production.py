"""Cases of what production reads otherwise, passes over or cannot say, and of what stands around the flows."""

from __future__ import annotations

from findings import BATCH, DELIVER, ENTITY, MAP, OWNER, Case, flow, mapped, project
from flowdsl import fn, on, var

PLAIN = on("link.created", link_type="likes").where("source_id != target_id")


def where(condition: str, *before: str, kind: str = ENTITY) -> str:
    quoted = condition.replace("'", "''")
    return flow(*before, f"filter: {{condition: '{quoted}'}}", on=kind)


def shown(kind: str, payload: str) -> str:
    """A flow that delivers this payload to a sink of a type."""
    steps = (f"map: {{template: {{recipient_id: ann, {payload}}}}}", DELIVER)
    return project(flow(*steps, on=ENTITY), sinks=f"[{{name: s, type: {kind}}}]")


def counted(value: str) -> str:
    """A flow that counts so much."""
    return shown("counter", f"field: likes, value: {value}")


CASES = [
    Case("condition-refused", where("data.n > 3"), where("data.n == 3")),
    Case("condition-refused", where('data.n in ["a"]'), where('data.n == "a"')),
    Case("condition-refused", where("data.n"), where("data.n exists")),
    Case("condition-spaces", where("data.n==3"), where("data.n == 3")),
    Case("condition-spaces", where("data.n!= 3"), where('data.n == "a==b"')),
    Case("condition-and", where("data.n == 1 and data.m == 2"), where('data.n == "salt and pepper"')),
    Case("condition-and", where("data.n == 1 or data.m == 2"), where("data.n == data.orchid")),
    Case("condition-and", where("not data.n == 1"), where("data.n != 1")),
    Case("condition-bare-word", where("data.status == open"), where('data.status == "open"')),
    Case("condition-bare-word", where("data.status == open"), where("data.status == entity_type")),
    Case("condition-bare-word", where("data.status == open"), where("data.status == true")),
    Case("condition-quoted-left", where('"open" == data.status'), where('data.status == "open"')),
    Case("condition-quoted-left", where("3 == data.n"), where("data.n == 3")),
    Case("condition-quoted-operator", where('data.name == "a != b"'), where('data.name != "a == b"')),
    Case("number-spelling", where("data.n == 1.0"), where("data.n == 1")),
    Case("number-spelling", where("data.n == 1e3"), where("data.n == 1.5")),
    Case("number-spelling", where("data.n == 1.50"), where("data.n == -2")),
    Case("quoted-number", where('data.n == "10"'), where('data.n == "ten"')),
    Case("quoted-number", where('data.n != "true"'), where('entity_type != "true"')),
    Case("compared-as-text", where("data.n == 10"), where('data.n == "ten"')),
    Case("compared-as-text", where("data.n == data.m"), where("data.n == entity_type")),
    Case(
        "object-compared",
        where("owner == fan", OWNER, "resolve: {from: source_id, as: fan}", kind="{kind: link.created}"),
        where("owner.id != source_id", OWNER, kind="{kind: link.created}"),
    ),
    Case("object-compared", where('data == "x"'), where("data exists")),
    Case(
        "comparison-decided",
        flow("filter: {condition: hour(event.timestamp) == 24}"),
        flow("filter: {condition: hour(event.timestamp) == 23}"),
    ),
    Case(
        "condition-constant",
        flow("filter: {condition: '1 == 2'}"),
        flow("filter: {condition: link_type == 'likes'}"),
    ),
    Case(
        "compared-with-itself",
        flow("filter: {condition: source_id != source_id}"),
        flow("filter: {condition: source_id != target_id}"),
    ),
    Case(
        "compared-with-its-event",
        flow(
            "resolve: {from: entity_id, as: doc}",
            "filter: {condition: doc.owner != data.owner}",
            on=ENTITY.replace("created", "updated"),
        ),
        flow(
            "resolve: {from: data.boss, as: doc}",
            "filter: {condition: doc.owner != data.owner}",
            on=ENTITY.replace("created", "updated"),
        ),
    ),
    # -- variables
    Case("batch-name", mapped("{{ batch.count }}", BATCH), mapped("{{ _batch.count }}", BATCH)),
    Case(
        "batch-name",
        flow(BATCH, "deduplicate: {key: batch.key, window: 1h}"),
        flow(BATCH, "deduplicate: {key: _batch.key, window: 1h}"),
    ),
    Case(
        "batch-name",
        mapped("{{ batch.count }}", BATCH),
        PLAIN.batch("target_id", window="1m").map(n="{{ batch.count }} likes").deliver("s"),
    ),
    Case("batch-part", mapped("{{ _batch.first_at }}", BATCH), mapped("{{ _batch.items | length }}", BATCH)),
    Case("event-variable", mapped("{{ event.id }}"), mapped("{{ link_id }}")),
    Case(
        "event-variable",
        mapped("{{ event.id }}"),
        mapped("{{ event.id }}", "resolve: {from: source_id, as: event}"),
    ),
    Case(
        "undefined-variable",
        flow("resolve: {from: author_id, as: x}", on=ENTITY),
        flow("resolve: {from: data.author_id, as: x}", on=ENTITY),
    ),
    Case("undefined-variable", where('status == "open"'), where('data.status == "open"')),
    Case(
        "undefined-variable",
        flow("deduplicate: {key: owner.id, window: 1h}", OWNER),
        flow(OWNER, "deduplicate: {key: owner.id, window: 1h}"),
    ),
    # -- what cannot be said
    Case(
        "not-portable",
        PLAIN.where("len(link_id) > 3").map(x="y").deliver("s"),
        PLAIN.where("not (link_type == 'a')").map(x="y").deliver("s"),
    ),
    Case(
        "not-portable",
        PLAIN.rate_limit(3, per="1h", key="target_id").map(x="y").deliver("s"),
        PLAIN.rate_limit(3, per="7d").map(x="y").deliver("s"),
    ),
    Case("not-portable", PLAIN.map(n=fn.len(var.link_id)).deliver("s"), PLAIN.map(n=3).deliver("s")),
    Case(
        "option-ignored",
        flow("rate_limit: {max: 3, per: 1h, key: target_id}"),
        flow("rate_limit: {max: 3, per: 1h, key: null}"),
    ),
    Case(
        "option-ignored",
        flow("resolve: {from: source_id, as: x, required: false}"),
        flow("resolve: {from: source_id, as: x}"),
    ),
    Case(
        "key-ignored",
        flow("rate_limit: {max: 3, per: 1h, burst: 5}"),
        flow("rate_limit: {max: 3, per: 1h, strategy: drop}"),
    ),
    Case("flow-key-ignored", flow(on="{kind: link.created, link_typ: likes}"), flow()),
    Case("flow-key-ignored", flow() + "  enabled: false\n", flow() + "  description: yes indeed\n"),
    Case(
        "project-key-ignored",
        project(sinks="[{name: s, type: in_app, ttl: 30d}]"),
        project(sinks="[{name: s, type: in_app, config: {ttl: 30d}}]"),
    ),
    Case(
        "project-key-ignored",
        project(events="consumer: []"),
        project(events="consumers: []") + "entities: {}\n",
    ),
    Case(
        "filter-of-other-family",
        flow(on="{kind: link.created, entity_type: post}"),
        flow(on="{kind: entity.created, entity_type: post}"),
    ),
    Case(
        "filter-of-other-family",
        flow(on="{kind: entity.created, link_type: likes}"),
        flow(on="{kind: link.created, link_type: likes}"),
    ),
    Case(
        "duration-refused",
        flow("deduplicate: {key: source_id, window: 1d}"),
        flow("deduplicate: {key: source_id, window: 24h}"),
    ),
    Case(
        "duration-refused",
        flow("rate_limit: {max: 3, per: 1h30m}"),
        flow("rate_limit: {max: 3, per: ' +90m '}"),
    ),
    Case("refused", flow("explode: {}"), flow("resolve: {from: source_id, as: x}")),
    Case("only-production", flow(name='""'), flow()),
    # -- around the flows
    Case("duplicate-flow", project(flow() + flow()), project(flow() + flow(name="g"))),
    Case("sink-undefined", project(sinks="[{name: t, type: in_app}]"), project()),
    Case("sink-undefined", project(flow(MAP, "deliver: {sink: s, sinks: [t]}")), flow()),
    Case("no-sinks", project(sinks=None), project()),
    Case("sink-unused", project(sinks="[{name: s, type: in_app}, {name: t, type: push}]"), project()),
    Case("duplicate-sink", project(sinks="[{name: s, type: in_app}, {name: s, type: push}]"), project()),
    Case(
        "sink-not-implemented",
        project(sinks="[{name: s, type: feed}]"),
        project(sinks="[{name: feed, type: in_app}]"),
    ),
    Case("sink-needs-code", project(sinks="[{name: s, type: custom}]"), project()),
    Case(
        "webhook-without-url",
        project(sinks="[{name: s, type: webhook}]"),
        project(sinks="[{name: s, type: webhook, config: {url: 'https://example.org'}}]"),
    ),
    Case(
        "sink-type-unknown",
        project(sinks="[{name: s, type: frame}]"),
        project(sinks="[{name: s, type: custom}]"),
    ),
    Case(
        "sink-option-ignored",
        project(sinks="[{name: s, type: in_app, config: {path: x.sqlite}}]"),
        project(sinks="[{name: s, type: webhook, config: {url: 'https://x.org', method: PUT, timeout: 5}}]"),
    ),
    Case(
        "sink-option-ignored",
        project(
            sinks="[{name: s, type: webhook, config: {url: 'https://x.org', redirects: ['https://y.org']}}]"
        ),
        project(sinks="[{name: s, type: counter, config: {field: likes, operation: add}}]"),
    ),
    Case(
        "env-not-filled",
        project(
            sinks="[{name: s, type: webhook, config: {url: 'https://x.org', headers: {X: '{{ env.KEY }}'}}}]"
        ),
        project(sinks="[{name: s, type: webhook, config: {url: 'https://x.org', headers: {X: 'env.KEY'}}}]"),
    ),
    Case(
        "secret-in-file",
        project(
            sinks="[{name: s, type: webhook, config: {url: 'https://x.org', headers: {Authorization: 'Bearer abc'}}}]"
        ),
        project(
            sinks="[{name: s, type: webhook, config: {url: 'https://x.org', headers: {Authorization: 'Bearer {{ env.T }}'}}}]"
        ),
    ),
    Case(
        "secret-in-file",
        project(sinks="[{name: s, type: webhook, config: {url: 'https://x.org?api_key=abc'}}]"),
        project(
            sinks="[{name: s, type: webhook, config: {url: 'https://x.org/keys?page=2&api_key={{ env.KEY }}', headers: {X: y}}}]"
        ),
    ),
    Case(
        "secret-in-file",
        project(sinks="[{name: s, type: webhook, config: {url: 'https://ann:pw@x.org'}}]"),
        project(sinks="[{name: s, type: webhook, config: {url: 'https://ann@x.org:80/a:b@c'}}]"),
    ),
    Case(
        "counter-incomplete",
        project(sinks="[{name: s, type: counter, config: {field: likes}}]"),
        project(
            flow("map: {template: {entity_type: post, entity_id: '{{ target_id }}'}}", DELIVER),
            sinks="[{name: s, type: counter, config: {field: likes}}]",
        ),
    ),
    Case(
        "counter-incomplete",
        project(flow(MAP, DELIVER, on=ENTITY), sinks="[{name: s, type: counter}]"),
        project(
            flow("map: {template: {field: edits}}", DELIVER, on=ENTITY), sinks="[{name: s, type: counter}]"
        ),
    ),
    Case("counter-value-is-text", counted("'{{ data.n }}'"), counted("5")),
    Case("sink-field-not-text", shown("in_app", "title: 5"), shown("in_app", 'title: "5"')),
    Case("sink-field-not-text", shown("counter", "entity_type: 5"), shown("counter", "entity_type: post")),
    Case("sink-field-not-text", shown("push", "title: {a: b}"), shown("in_app", "data: {a: b}")),
    Case("push-default-title", shown("push", "body: b"), shown("push", "title: a, body: b")),
    Case("push-default-title", shown("push", "title: a"), shown("in_app", "title: a")),
    Case("push-data-not-object", shown("push", "data: 5"), shown("push", "data: {value: 5}")),
    Case("push-data-not-object", shown("push", "data: [5]"), shown("in_app", "data: [5]")),
    Case(
        "backend-not-implemented",
        project(events="backend: {type: nats}"),
        project(events="backend: {type: memory}"),
    ),
    Case(
        "backend-config-ignored",
        project(events="backend: {type: memory, config: {retention: 7d}}"),
        project(events="backend: {type: memory, config: {}}"),
    ),
    Case(
        "consumer-ignored",
        project(events="consumers: [{name: mobile, seek: beginning}]"),
        project(events="consumers: [{name: flow-runtime, seek: beginning}]"),
    ),
]
