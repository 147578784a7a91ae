"""Rules 5 to 7: the graph as of the event."""

from __future__ import annotations

import pytest
from logs import log_of, times

import flowdsl as fd
from flowdsl import on, var

USERS = {"user": {"ann": {"name": "Ann"}, "bob": {"name": "Bob"}}}


def names(flow: fd.Flow, log: fd.MemoryEventLog, graph: fd.EntityGraph | None = None) -> list[str]:
    return fd.replay(flow, log, graph)["out"].t.tolist()


def test_rule_05_a_flow_sees_the_effect_of_its_own_event() -> None:
    log = log_of(
        """
        | at    | kind           | link_type | source_id | target_id | entity_type | entity_id | data         |
        | 09:00 | entity.created |           |           |           | user        | eve       | {"name":"E"} |
        | 09:01 | link.created   | likes     | eve       | p1        |             |           |              |
        | 09:02 | entity.deleted |           |           |           | user        | eve       |              |
        """
    )
    created = on("entity.created").resolve("entity_id", as_="x").map(t="{{ x.name }}").deliver("out")
    linked = on("link.created").fan_out("source_id", via="likes", as_="x").map(t="{{ x }}").deliver("out")
    deleted = (
        on("entity.deleted")
        .resolve("entity_id", as_="x", required=False)
        .map(t="{{ x.name | default(value='gone') }}")
    )
    assert names(created, log) == ["E"]
    assert names(linked, log) == ["p1"]
    assert names(deleted.deliver("out"), log) == ["gone"]


def test_rule_05_an_update_sets_the_whole_entity_and_creates_an_unknown_one() -> None:
    log = log_of(
        """
        | at    | kind           | entity_type | entity_id | data            |
        | 09:00 | entity.updated | user        | eve       | {"name":"Eve"}  |
        | 09:01 | entity.updated | user        | eve       | {"nick":"E"}    |
        """
    )
    flow = (
        on("entity.updated")
        .resolve("entity_id", as_="x")
        .map(t="{{ x.name | default(value='-') }}")
        .deliver("out")
    )
    assert names(flow, log) == ["Eve", "-"]


def test_rule_05_a_deleted_entity_leaves_its_links() -> None:
    log = log_of(
        """
        | at    | kind           | link_type | source_id | target_id | entity_type | entity_id |
        | 09:00 | entity.deleted |           |           |           | user        | bob       |
        | 09:01 | link.created   | pings     | ann       | x         |             |           |
        """
    )
    graph = fd.EntityGraph(USERS, [{"link_type": "follows", "source_id": "ann", "target_id": "bob"}])
    flow = (
        on("link.created")
        .fan_out("source_id", via="follows", as_="who")
        .map(t="{{ who }} {{ who_id }}")
        .deliver("out")
    )
    assert names(flow, log, graph) == ["bob bob"]


def test_rule_05_an_entity_always_has_its_id() -> None:
    graph = fd.EntityGraph({"user": {"ann": {"name": "Ann"}, "bob": {"id": "other"}}})
    log = log_of(
        """
        | at    | kind         | link_type | source_id | target_id |
        | 09:00 | link.created | l         | ann       | bob       |
        """
    )
    flow = on("link.created").resolve("source_id", as_="a").resolve("target_id", as_="b")
    assert names(flow.map(t="{{ a.id }} {{ b.id }}").deliver("out"), log, graph) == ["ann other"]


@pytest.mark.parametrize("link_id", ["", "l1"])
def test_rule_05_a_link_made_again_is_replaced_and_goes_last(link_id: str) -> None:
    log = log_of(
        f"""
        | at    | kind         | link_type | source_id | target_id | link_id   |
        | 09:00 | link.created | follows   | ann       | bob       | {link_id} |
        | 09:01 | link.created | follows   | ann       | eve       |           |
        | 09:02 | link.created | follows   | ann       | bob       | {link_id} |
        """
    )
    flow = on("link.created").fan_out("source_id", via="follows", as_="x").map(t="{{ x_id }}").deliver("out")
    assert names(flow, log) == ["bob", "bob", "eve", "eve", "bob"]


def test_rule_05_a_deletion_may_carry_the_identity_only() -> None:
    log = log_of(
        """
        | at    | kind         | link_type | source_id | target_id | link_id |
        | 09:00 | link.created | follows   | ann       | bob       | l1      |
        | 09:01 | link.created | follows   | ann       | eve       |         |
        | 09:02 | link.deleted |           |           |           | l1      |
        | 09:03 | link.created | pings     | ann       | x         |         |
        | 09:04 | link.deleted | follows   | ann       | eve       |         |
        | 09:05 | link.created | pings     | ann       | x         |         |
        """
    )
    flow = (
        on("link.created", link_type="pings").fan_out("source_id", via="follows", as_="x").map(t="{{ x_id }}")
    )
    result = fd.replay(flow.deliver("out"), log)
    assert result["out"].t.tolist() == ["eve"]
    assert result.dropped.values.tolist()[0][1:] == [0, "fan_out", "no links", 1]


RENAMED = """
    | at    | kind           | link_type | source_id | target_id | entity_type | entity_id | data            |
    | 09:00 | link.created   | likes     | ann       | p1        |             |           |                 |
    | 09:30 | entity.updated |           |           |           | user        | ann       | {"name":"Anna"} |
    | 10:00 | entity.updated |           |           |           | user        | ann       | {"name":"Anne"} |
    | 11:00 | link.created   | likes     | bob       | p2        |             |           |                 |
"""


def test_rule_06_what_a_timer_releases_reads_the_graph_of_its_own_moment() -> None:
    flow = (
        on("link.created")
        .resolve("source_id", as_="before")
        .batch("target_id", window="1h")
        .resolve("source_id", as_="after")
        .map(t="{{ before.name }} {{ after.name }}")
        .deliver("out")
    )
    sent = fd.replay(flow, log_of(RENAMED), fd.EntityGraph(USERS))["out"]
    # at 10:00 the timer comes before the event of that moment; variables set earlier stay
    assert sent.t.tolist() == ["Ann Anna", "Bob Bob"]
    assert times(sent) == ["10:00:00", "12:00:00"]


def test_rule_06_nothing_later_changes_an_earlier_result() -> None:
    flow = on("link.created").resolve("source_id", as_="x").map(t="{{ x.name }}").deliver("out")
    log = log_of(RENAMED)
    before = fd.replay(flow, log, fd.EntityGraph(USERS), stop=2)["out"]
    whole = fd.replay(flow, log, fd.EntityGraph(USERS))["out"]
    assert whole.head(1).equals(before)


def test_rule_06_the_final_state_can_be_asked_for() -> None:
    flow = on("link.created").resolve("source_id", as_="x").map(t="{{ x.name }}").deliver("out")
    result = fd.replay(flow, log_of(RENAMED), fd.EntityGraph(USERS), as_of="end")
    assert result["out"].t.tolist() == ["Anne", "Bob"]


def test_rule_07_links_keep_their_order_and_resolve_takes_the_first() -> None:
    links = [{"link_type": "owns", "source_id": owner, "target_id": "p1"} for owner in ("bob", "ann")]
    log = log_of(
        """
        | at    | kind         | link_type | source_id | target_id |
        | 09:00 | link.created | likes     | x         | p1        |
        | 09:01 | link.deleted | owns      | bob       | p1        |
        | 09:02 | link.created | likes     | x         | p1        |
        """
    )
    via = {"via": "owns", "direction": "reverse"}
    likes = on("link.created", link_type="likes")
    first = likes.resolve("target_id", as_="o", **via).map(t="{{ o.name }}").deliver("out")
    every = likes.fan_out("target_id", as_="o", **via).map(t="{{ o.name }}").deliver("out")
    graph = fd.EntityGraph(USERS, links)
    assert names(first, log, graph) == ["Bob", "Ann"]
    assert names(every, log, graph) == ["Bob", "Ann", "Ann"]


def test_rule_07_an_id_in_two_types_is_ambiguous_unless_the_type_is_said() -> None:
    graph = fd.EntityGraph({"user": {"7": {"name": "user"}}, "post": {"7": {"name": "post"}}})
    log = log_of(
        """
        | at    | kind           | link_type | source_id | target_id | entity_type | entity_id |
        | 09:00 | link.created   | likes     | 7         | x         |             |           |
        | 09:01 | entity.deleted |           |           |           | user        | 7         |
        | 09:02 | link.created   | likes     | 7         | x         |             |           |
        """
    )
    any_type = on("link.created").resolve("source_id", as_="x").map(t="{{ x.name }}").deliver("out")
    said = on("link.created").resolve("source_id", as_="x", type="post").map(t="{{ x.name }}").deliver("out")
    result = fd.replay(any_type, log, graph)
    assert result["out"].t.tolist() == ["post"]
    assert result.errors.seq_no.tolist() == [1]
    assert "several types" in result.errors.error[0]
    assert names(said, log, graph) == ["post", "post"]


def test_rule_07_a_function_is_asked_once_about_each_id_and_counts_as_a_type() -> None:
    asked: list[list[str]] = []

    def people(ids: list[str]) -> dict[str, dict[str, str]]:
        asked.append(sorted(ids))
        return {i: {"name": i.upper()} for i in ids if i != "nobody"}

    log = log_of(
        """
        | at    | kind           | link_type | source_id | target_id | entity_type | entity_id | data         |
        | 09:00 | link.created   | likes     | ann       | x         |             |           |              |
        | 09:01 | link.created   | likes     | nobody    | x         |             |           |              |
        | 09:02 | entity.updated |           |           |           | user        | ann       | {"name":"A"} |
        | 09:03 | link.created   | likes     | ann       | x         |             |           |              |
        """
    )
    flow = (
        on("link.created")
        .resolve("source_id", as_="x")
        .where(var.x.name != "?")
        .map(t="{{ x.name }}")
        .deliver("out")
    )
    graph = fd.EntityGraph({"user": people})
    for _ in range(2):
        result = fd.replay(flow, log, graph)
        assert result["out"].t.tolist() == ["ANN", "A"]
        assert result.errors.seq_no.tolist() == [2]
    assert asked == [["ann", "nobody"]]
