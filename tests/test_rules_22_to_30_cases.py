"""Small inputs that went wrong before there were rules 22 to 30: r07, r08, r09, r10 and r13."""

from __future__ import annotations

import pytest

import flowdsl as fd
from flowdsl import on, var

PEOPLE = ("ann", "bob", "eve")
GRAPH = fd.EntityGraph({"user": {who: {"id": who, "name": who.title()} for who in PEOPLE}})
LIKES = [
    {"timestamp": f"2026-01-01T09:0{n}:00Z", "event": fd.link_created("likes", who, "p")}
    for n, who in enumerate(PEOPLE)
]


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("{{ batch.fans | first }} and {{ batch.count - 1 }} others", "Ann and 2 others"),
        ("{{ batch.fans | join(sep=', ') }}", "Ann, Bob, Eve"),
        ("{% for fan in batch.fans %}{{ fan }} {% endfor %}", "Ann Bob Eve "),
    ],
)
def test_rule_23_case_r07_a_digest_names_those_who_are_in_it(title: str, said: str) -> None:
    flow = (
        on("link.created")
        .resolve("source_id", as_="fan")
        .batch("target_id", window="1h", collect={"fans": var.fan.name})
        .map(recipient_id="ann", title=title)
        .deliver("s")
    )
    assert fd.replay(flow, LIKES, GRAPH)["s"]["title"].tolist() == [said]


def test_rule_23_case_r08_batch_has_several_keys_as_its_neighbours_have() -> None:
    keys = ["source_id", "target_id"]
    written = [
        on("link.created").deduplicate(keys, window="1h").steps[0].text,
        on("link.created").rate_limit(1, per="1h", key=keys).steps[0].text,
        on("link.created").batch(keys, window="1h").steps[0].text,
    ]
    assert all("['source_id', 'target_id']" in text for text in written)


def test_rule_22_case_r09_everybody_who_is_mentioned_is_told() -> None:
    post = fd.entity_created("post", "p1", {"mentions": ["ann", "bob"]})
    flow = (
        on("entity.created").for_each("data.mentions", as_="who").map(recipient_id="{{ who }}").deliver("s")
    )
    result = fd.replay(flow, [{"timestamp": "2026-01-01T09:00:00Z", "event": post}])
    assert result.deliveries["recipient_id"].tolist() == ["ann", "bob"]


def test_rule_26_case_r10_three_a_day_are_three() -> None:
    flow = on("link.created").cap(3, per="24h", key="target_id").map(t="{{ source_id }}").deliver("s")
    log = [
        {"timestamp": f"2026-01-01T{h:02}:00:00Z", "event": fd.link_created("l", f"u{h}", "bob")}
        for h in range(24)
    ]
    assert fd.replay(flow, log)["s"]["t"].tolist() == ["u0", "u1", "u2"]


def test_rule_30_case_r13_a_partial_update_leaves_the_rest() -> None:
    log = [
        fd.entity_created("user", "u1", {"name": "Ann", "lang": "it"}),
        fd.entity_updated("user", "u1", {"city": "Rome"}),
        fd.link_created("likes", "u1", "p"),
    ]
    events = [{"timestamp": f"2026-01-01T09:0{n}:00Z", "event": event} for n, event in enumerate(log)]
    flow = (
        on("link.created").resolve("source_id", as_="fan").map(title="{{ fan.name }} liked it").deliver("s")
    )
    result = fd.replay(flow, events, fd.EntityGraph(merge=["user"]))
    assert result["s"]["title"].tolist() == ["Ann liked it"]
