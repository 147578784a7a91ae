"""Cases of recipients, windows, look-ups and the shape of flows."""

from __future__ import annotations

from findings import (
    BATCH,
    DELIVER,
    ENTITY,
    ENTITY_GONE,
    FAN,
    LINK,
    MAP,
    OWNER,
    UNLINK,
    Case,
    flow,
    mapped,
    project,
)

TO_OWNER = 'map: {template: {recipient_id: "{{ owner.id }}"}}'
TO_TARGET = 'map: {template: {recipient_id: "{{ target_id }}"}}'
TO_FOLLOWER = 'map: {template: {recipient_id: "{{ follower.id }}"}}'
TO_RECIPIENT = 'map: {template: {recipient_id: "{{ recipient.id }}"}}'
FAN_RECIPIENT = FAN.replace("as: follower", "as: recipient")
DEDUPE = "deduplicate: {key: source_id, window: 1h}"

CASES = [
    Case("recipient-is-target", flow(OWNER, TO_OWNER), flow(OWNER, TO_TARGET)),
    Case("recipient-is-target", flow(FAN, TO_FOLLOWER), flow(FAN_RECIPIENT, TO_RECIPIENT)),
    Case(
        "recipient-is-target",
        flow("resolve: {from: target_id, as: recipient_id}", OWNER, TO_OWNER),
        flow("resolve: {from: entity_id, as: owner}", TO_OWNER, on=ENTITY),
    ),
    Case(
        "recipient-is-target",
        flow("resolve: {from: source_id, as: owner}", TO_OWNER),
        flow("resolve: {from: target_id, as: owner}", TO_OWNER),
    ),
    Case("recipient-is-variable", flow(FAN_RECIPIENT, OWNER, TO_OWNER), flow(FAN_RECIPIENT, TO_RECIPIENT)),
    Case("recipient-ignored", flow("resolve: {from: target_id, as: owner}", TO_OWNER), flow(TO_TARGET)),
    Case("branches-share-recipient", flow(FAN, MAP), flow(FAN, TO_FOLLOWER)),
    Case("branches-share-recipient", flow(FAN, TO_TARGET), flow(FAN_RECIPIENT, MAP)),
    Case(
        "recipient-missing",
        project(flow(on=ENTITY)),
        project(flow('map: {template: {recipient_id: "{{ data.author }}"}}', on=ENTITY)),
    ),
    Case("recipient-missing", project(flow(on=ENTITY)), project(flow())),
    Case(
        "recipient-missing", project(flow(on=ENTITY)), project(flow(on=ENTITY), "[{name: s, type: counter}]")
    ),
    Case(
        "recipient-is-object",
        flow("resolve: {from: target_id, as: recipient_id}"),
        flow("resolve: {from: target_id, as: recipient}"),
    ),
    Case(
        "recipient-not-text",
        flow("map: {template: {recipient_id: 5}}", on=ENTITY),
        flow('map: {template: {recipient_id: "5"}}', on=ENTITY),
    ),
    Case(
        "constant-recipient",
        flow("map: {template: {recipient_id: entity_id}}", on=ENTITY),
        flow('map: {template: {recipient_id: "{{ entity_id }}"}}', on=ENTITY),
    ),
    # -- windows
    Case("batch-no-timer", flow(BATCH), flow(DEDUPE)),
    Case("batch-loses-event", flow(BATCH), flow(DEDUPE)),
    Case("batch-discards", flow("batch: {key: target_id, window: 5m, min_count: 2}"), flow(BATCH)),
    Case(
        "batch-without-window",
        flow("batch: {key: target_id, window: 0s}"),
        flow("batch: {key: target_id, window: 1ms}"),
    ),
    Case(
        "deduplicate-without-window",
        flow("deduplicate: {key: source_id, window: 0s}"),
        flow("deduplicate: {key: source_id, window: 1ms}"),
    ),
    Case("limit-zero", flow("rate_limit: {max: 0, per: 1m}"), flow("rate_limit: {max: 1, per: 1m}")),
    Case("limit-without-time", flow("rate_limit: {max: 5, per: 0s}"), flow("rate_limit: {max: 0, per: 0s}")),
    Case(
        "queue-drops",
        flow("rate_limit: {max: 5, per: 1m, strategy: queue}"),
        flow("rate_limit: {max: 5, per: 1m, strategy: drop}"),
    ),
    Case(
        "strategy-unknown",
        flow("rate_limit: {max: 5, per: 1m, strategy: wait}"),
        flow("rate_limit: {max: 5, per: 1m, strategy: queue}"),
    ),
    Case(
        "one-bucket",
        flow("rate_limit: {max: 3, per: 1h}"),
        flow("rate_limit: {max: 3, per: 1h, key: target_id}"),
    ),
    Case("one-bucket", flow(FAN, "rate_limit: {max: 100, per: 1m}"), flow("rate_limit: {max: 100, per: 1m}")),
    Case("fan-out-unlimited", flow(FAN), flow(FAN, "rate_limit: {max: 100, per: 1m}")),
    Case("dedupe-before-failure", flow(DEDUPE, OWNER), flow(OWNER, DEDUPE)),
    Case(
        "dedupe-before-failure",
        mapped("{{ metadata.n }}", DEDUPE),
        mapped('{{ metadata.n | default(value="1") }}', DEDUPE),
    ),
    Case(
        "dedupe-before-failure",
        flow(DEDUPE, OWNER),
        flow(DEDUPE, OWNER.replace("as: owner", "as: owner, required: false")),
    ),
    Case(
        "dedupe-before-filter",
        flow(DEDUPE, "filter: {condition: source_id != target_id}"),
        flow("filter: {condition: source_id != target_id}", DEDUPE),
    ),
    Case(
        "dedupe-before-filter",
        flow(DEDUPE, "filter: {condition: source_id != target_id}"),
        flow(DEDUPE, "batch: {key: target_id, window: 1h}", "filter: {condition: batch.count != 1}"),
    ),
    Case(
        "dedupe-before-filter",
        flow(DEDUPE, "filter: {condition: source_id != target_id}"),
        flow(DEDUPE, FAN, "filter: {condition: follower_id != source_id}"),
    ),
    Case("key-as-text", flow("deduplicate: {key: metadata.n, window: 1h}"), flow(DEDUPE)),
    Case(
        "key-as-text",
        flow("batch: {key: data.room, window: 1h}", on=ENTITY),
        flow("batch: {key: data.author_id, window: 1h}", on=ENTITY),
    ),
    Case("processing-time", flow(DEDUPE), flow(OWNER)),
    # -- look-ups
    Case("resolve-may-fail", flow(OWNER), flow(OWNER.replace("as: owner", "as: owner, required: false"))),
    Case(
        "resolve-deleted",
        flow("resolve: {from: entity_id, as: post}", on=ENTITY_GONE),
        flow("resolve: {from: entity_id, via: owns, as: post}", on=ENTITY_GONE),
    ),
    Case(
        "link-deleted",
        flow("resolve: {from: source_id, via: likes, as: post}", on=UNLINK),
        flow("resolve: {from: source_id, via: likes, direction: reverse, as: post}", on=UNLINK),
    ),
    Case(
        "link-deleted",
        flow("fan_out: {from: target_id, via: likes, direction: reverse, as: fan}", on=UNLINK),
        flow("fan_out: {from: target_id, via: owns, direction: reverse, as: fan}", on=UNLINK),
    ),
    Case("first-link", flow(OWNER), flow("resolve: {from: target_id, as: post}")),
    Case(
        "shadowed-variable",
        flow("resolve: {from: source_id, as: source_id}"),
        flow("resolve: {from: source_id, as: source}"),
    ),
    Case("shadowed-variable", flow(FAN.replace("as: follower", "as: target")), flow(FAN)),
    Case(
        "name-unreachable",
        flow("resolve: {from: source_id, as: x.y}"),
        flow("resolve: {from: source_id, as: x_y}"),
    ),
    Case(
        "direction-unknown",
        flow("resolve: {from: source_id, via: owns, direction: back, as: x}"),
        flow("resolve: {from: source_id, via: owns, direction: reverse, as: x}"),
    ),
    Case(
        "direction-unused",
        flow("resolve: {from: source_id, direction: reverse, as: x}"),
        flow("resolve: {from: source_id, via: owns, direction: reverse, as: x}"),
    ),
    Case("entity-id", mapped("{{ owner.id }}", OWNER), mapped("{{ owner.name }}", OWNER)),
    Case("maybe-missing", mapped("{{ metadata.n }}"), mapped('{{ metadata.n | default(value="1") }}')),
    Case("maybe-missing", mapped("{{ metadata.n }}"), mapped("{% if metadata.n %}yes{% endif %}")),
    Case("maybe-missing", mapped("{{ follower.name }}", FAN), mapped("{{ follower_id }}", FAN)),
    Case(
        "key-may-miss",
        flow("deduplicate: {key: metadata.room, window: 1h}"),
        flow("deduplicate: {key: link_type, window: 1h}"),
    ),
    Case(
        "key-may-miss",
        flow(FAN, "resolve: {from: follower.team_id, as: team}"),
        flow(FAN, "resolve: {from: follower_id, as: team}"),
    ),
    # -- shapes
    Case("no-deliver", f"- {{name: f, trigger: {LINK}, pipeline: [{{{MAP}}}]}}", flow()),
    Case("step-without-effect", flow(MAP, DELIVER, OWNER), flow(MAP, DELIVER, OWNER, DELIVER)),
    Case("payload-replaced", flow(MAP, MAP), flow(MAP, DELIVER, MAP, DELIVER)),
    Case("payload-replaced", flow(MAP, MAP), mapped("{{ _payload.title }}!", MAP)),
    Case("deliver-without-payload", flow(DELIVER, MAP), flow(MAP, DELIVER)),
    Case("every-type", flow(on="{kind: link.created}"), flow()),
]
