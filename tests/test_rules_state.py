"""Rules 5 to 7: the graph as of the event."""

from __future__ import annotations

from typing import Any

import pytest
from event_tables import drops, failures, log_of, sent

import flowdsl as fd
from flowdsl import on, var

NAMED = on("link.created").resolve("source_id", as_="fan").map(name="{{ fan.name }}").deliver("s")
FANS = (
    on("link.created", link_type="ask")
    .fan_out("target_id", via="likes", direction="reverse", as_="fan")
    .map(fan="{{ fan_id }}")
    .deliver("s")
)


def links(*pairs: str, link_type: str = "likes") -> list[dict[str, str]]:
    """`"ann p1"` as a link from ann to p1; a third word is its id."""
    names = ("source_id", "target_id", "link_id")
    return [{"link_type": link_type, **dict(zip(names, pair.split(), strict=False))} for pair in pairs]


# -- rule 5: snapshot, earlier events, own effect ----------------------------------------------------------


def test_rule_05_entities_of_the_snapshot_exist() -> None:
    graph = fd.EntityGraph({"user": {"ann": {"name": "Ann"}}})
    assert sent(fd.replay(NAMED, log_of("at\n 0"), graph), "name") == [(0, "Ann")]


def test_rule_05_every_earlier_event_counts() -> None:
    log = log_of("""
        at | kind           | type  | id  | data
        0  | entity.created | user  | ann | {"name": "Ann"}
        1  | link.created   | likes | -   | -
        2  | entity.updated | user  | ann | {"name": "Ann B."}
        3  | link.created   | likes | -   | -
    """)
    assert sent(fd.replay(NAMED, log), "name") == [(1, "Ann"), (3, "Ann B.")]


def test_rule_05_a_flow_on_link_created_sees_the_link() -> None:
    assert sent(fd.replay(FANS, log_of("at | type\n 0 | ask")), "fan") == []
    flow = on("link.created").resolve("source_id", via="likes", as_="x").map(x=var.x.id).deliver("s")
    log = log_of("at | kind | type | id\n 0 | entity.created | post | p1\n 1 | link.created | likes | -")
    assert sent(fd.replay(flow, log), "x") == [(1, "p1")]


def test_rule_05_a_flow_on_link_deleted_no_longer_sees_the_link() -> None:
    flow = (
        on("link.deleted")
        .fan_out("target_id", via="likes", direction="reverse", as_="fan")
        .map(x="x")
        .deliver("s")
    )
    result = fd.replay(flow, log_of("at | kind\n 0 | link.created\n 1 | link.deleted"))
    assert drops(result) == {"no links": 1}


def test_rule_05_a_flow_on_entity_created_sees_the_entity_and_on_entity_deleted_no_longer() -> None:
    log = log_of("at | kind | type | id\n 0 | entity.created | user | ann\n 1 | entity.deleted | user | ann")
    made, gone = (
        on(kind).resolve("entity_id", as_="x").map(x="x").deliver("s")
        for kind in ("entity.created", "entity.deleted")
    )
    assert sent(fd.replay(made, log)) == [0]
    assert failures(fd.replay(gone, log)) == [(2, 0, "no entity has the id in 'entity_id'")]


@pytest.mark.parametrize("kind", ["entity.created", "entity.updated"])
def test_rule_05_an_event_sets_the_whole_entity(kind: str) -> None:
    """A field that the new data lacks is gone."""
    graph = fd.EntityGraph({"user": {"ann": {"name": "Ann", "city": "Ulm"}}})
    flow = (
        on("link.created")
        .resolve("source_id", as_="fan")
        .where("fan.city not_exists")
        .map(x=var.fan.name)
        .deliver("s")
    )
    log = log_of(
        f'at | kind | type | id | data\n 0 | {kind} | user | ann | {{"name": "A"}}\n 1 | link.created | likes | - | -'
    )
    assert sent(fd.replay(flow, log, graph), "x") == [(1, "A")]


def test_rule_05_an_update_of_an_unknown_id_creates_it() -> None:
    log = log_of(
        'at | kind | type | id | data\n 0 | entity.updated | user | ann | {"name": "A"}\n 1 | link.created | likes | - | -'
    )
    assert sent(fd.replay(NAMED, log), "name") == [(1, "A")]


def test_rule_05_a_deletion_removes_the_entity_and_leaves_its_links() -> None:
    graph = fd.EntityGraph({"user": {"ann": {}, "bob": {}}}, links("ann p1", "bob p1"))
    flow = (
        on("entity.deleted")
        .fan_out("event.id", via="likes", direction="reverse", as_="fan")
        .map(x="x")
        .deliver("s")
    )
    assert drops(
        fd.replay(flow, log_of("at | kind | type | id\n 0 | entity.deleted | user | ann"), graph)
    ) == {"no links": 1}
    log = log_of("at | kind | type | id\n 0 | entity.deleted | user | ann\n 1 | link.created | ask | -")
    flow = FANS.map(fan=var.fan).deliver("whole")
    result = fd.replay(flow, log, graph)
    assert sent(result, "fan") == [(1, "ann"), (1, "bob")]
    assert result["whole"]["fan"].tolist() == ['"ann"', '{"id":"bob"}']


def test_rule_05_an_entity_deleted_and_created_again_is_there_again() -> None:
    graph = fd.EntityGraph({"user": {"ann": {"name": "old"}}})
    log = log_of("""
        at | kind           | type  | id  | data
        0  | entity.deleted | user  | ann | -
        1  | link.created   | likes | -   | -
        2  | entity.created | user  | ann | {"name": "new"}
        3  | link.created   | likes | -   | -
    """)
    result = fd.replay(NAMED, log, graph)
    assert sent(result, "name") == [(3, "new")]
    assert [seq_no for seq_no, _, _ in failures(result)] == [2]


@pytest.mark.parametrize(
    ("data", "expected"),
    [('{"name": "A"}', "ann"), ("{}", "ann"), ("null", "ann"), ('{"id": "other"}', "other")],
)
def test_rule_05_an_entity_always_has_an_id(data: str, expected: str) -> None:
    flow = on("entity.created").resolve("entity_id", as_="x").map(id=var.x.id).deliver("s")
    log = log_of(f"at | kind | type | id | data\n 0 | entity.created | user | ann | {data}")
    assert sent(fd.replay(flow, log), "id") == [(0, expected)]


def test_rule_05_an_id_that_the_data_has_as_a_number_is_text_all_the_same() -> None:
    graph = fd.EntityGraph({"user": {"7": {"id": 7, "n": 1}}})
    flow = on("link.created").resolve("source_id", as_="x").map(id=var.x.id, x=var.x).deliver("s")
    result = fd.replay(flow, log_of("at | source\n 0 | 7"), graph)
    assert sent(result, "id", "x") == [(0, "7", {"id": "7", "n": 1})]


def test_rule_05_a_link_without_an_id_is_known_by_type_and_ends() -> None:
    log = log_of("""
        at | kind         | type  | source | target
        0  | link.created | likes | ann    | p1
        1  | link.created | likes | bob    | p1
        2  | link.deleted | likes | ann    | p1
        3  | link.created | ask   | x      | p1
    """)
    assert sent(fd.replay(FANS, log), "fan") == [(3, "bob")]


def test_rule_05_a_link_with_a_known_identity_replaces_the_old_one_and_goes_last() -> None:
    graph = fd.EntityGraph(links=links("ann p1", "bob p1", "cem p1"))
    log = log_of("at | type | source\n 0 | likes | ann\n 1 | ask | x")
    assert sent(fd.replay(FANS, log, graph), "fan") == [(1, "bob"), (1, "cem"), (1, "ann")]


def test_rule_05_a_link_id_is_an_identity_whatever_else_the_link_says() -> None:
    graph = fd.EntityGraph(links=links("ann p1 l1", "bob p1 l2"))
    log = log_of(
        "at | type | source | target | id\n 0 | likes | ann | p2 | l2\n 1 | ask | x | p1 | -\n 2 | ask | x | p2 | -"
    )
    assert sent(fd.replay(FANS, log, graph), "fan") == [(1, "ann"), (2, "ann")]


def test_rule_05_a_link_id_is_an_identity_over_all_link_types() -> None:
    graph = fd.EntityGraph(links=[*links("ann p1 l1"), *links("bob p9 l1", link_type="owns")])
    assert sent(fd.replay(FANS, log_of("at | type | source\n 0 | ask | x"), graph), "fan") == []
    log = log_of("at | type | source | id\n 0 | likes | ann | l7\n 1 | owns | ann | l7\n 2 | ask | x | -")
    assert sent(fd.replay(FANS, log), "fan") == []


def test_rule_05_a_deletion_may_carry_the_link_id_only() -> None:
    graph = fd.EntityGraph(links=links("ann p1 l1", "bob p1 l2"))
    log = log_of(
        "at | kind | type | source | target | id\n 0 | link.deleted | - | - | - | l1\n 1 | link.created | ask | x | p1 | -"
    )
    assert sent(fd.replay(FANS, log, graph), "fan") == [(1, "bob")]


def test_rule_05_a_deletion_of_an_unknown_link_changes_nothing() -> None:
    graph = fd.EntityGraph(links=links("ann p1"))
    log = log_of("at | kind | type | source\n 0 | link.deleted | likes | bob\n 1 | link.created | ask | x")
    assert sent(fd.replay(FANS, log, graph), "fan") == [(1, "ann")]


# -- rule 6: as of the moment ------------------------------------------------------------------------------

RENAMED = """
    at | kind           | type  | id  | data
    0  | entity.created | user  | ann | {"name": "old"}
    1  | link.created   | likes | -   | -
    3  | entity.updated | user  | ann | {"name": "new"}
    9  | entity.updated | user  | ann | {"name": "last"}
"""


LIKES = on("link.created")


def names(steps: fd.Flow, table: str = RENAMED) -> list[Any]:
    """When which name of the fan is sent."""
    flow = steps.map(name="{{ fan.name }}").deliver("s")
    return sent(fd.replay(flow, log_of(table)), "name")


def test_rule_06_a_step_after_a_timer_sees_the_graph_of_that_moment() -> None:
    assert names(LIKES.batch("target_id", window="5s").resolve("source_id", as_="fan")) == [(6, "new")]


def test_rule_06_variables_set_earlier_stay() -> None:
    assert names(LIKES.resolve("source_id", as_="fan").batch("target_id", window="5s")) == [(6, "old")]


def test_rule_06_an_event_at_the_very_moment_is_not_yet_seen() -> None:
    assert names(LIKES.batch("target_id", window="2s").resolve("source_id", as_="fan")) == [(3, "old")]


def test_rule_06_what_a_queue_releases_sees_the_graph_of_that_moment() -> None:
    released = LIKES.rate_limit(1, per="4s", strategy="queue").resolve("source_id", as_="fan")
    table = """
        at | kind           | type  | id  | data
        0  | entity.created | user  | ann | {"name": "old"}
        1  | link.created   | likes | -   | -
        1  | link.created   | likes | -   | -
        3  | entity.updated | user  | ann | {"name": "new"}
        9  | entity.updated | user  | ann | {"name": "last"}
    """
    assert names(released, table) == [(1, "old"), (5, "new")]


def test_rule_06_nothing_later_changes_an_earlier_result() -> None:
    log = log_of(RENAMED)
    for stop in (3, 4, 5):
        assert sent(fd.replay(NAMED, log, stop=stop), "name") == [(1, "old")]


def test_rule_06_as_of_the_end_a_user_sees_the_final_state_on_purpose() -> None:
    assert sent(fd.replay(NAMED, log_of(RENAMED), as_of="end"), "name") == [(1, "last")]


# -- rule 7: order of links, ids in several types ----------------------------------------------------------


def test_rule_07_resolve_via_takes_the_first_link() -> None:
    graph = fd.EntityGraph({"post": {"p1": {}, "p2": {}}}, links("x p2", "x p1"))
    flow = (
        on("link.created")
        .resolve("source_id", via="likes", as_="post")
        .map(post="{{ post.id }}")
        .deliver("s")
    )
    assert sent(fd.replay(flow, log_of("at | type | source\n 0 | ask | x"), graph), "post") == [(0, "p2")]


def test_rule_07_when_the_first_link_is_deleted_the_next_one_is_first() -> None:
    graph = fd.EntityGraph({"post": {"p1": {}, "p2": {}}}, links("x p2", "x p1"))
    flow = (
        on("link.deleted")
        .resolve("source_id", via="likes", as_="post")
        .map(post="{{ post.id }}")
        .deliver("s")
    )
    log = log_of("at | kind | source | target\n 0 | link.deleted | x | p2")
    assert sent(fd.replay(flow, log, graph), "post") == [(0, "p1")]


def test_rule_07_links_keep_the_order_in_which_they_were_created() -> None:
    graph = fd.EntityGraph(links=links("cem p1", "ann p1"))
    log = log_of("at | type | source\n 0 | likes | bob\n 1 | likes | abe\n 2 | ask | x")
    assert [fan for _, fan in sent(fd.replay(FANS, log, graph), "fan")] == ["cem", "ann", "bob", "abe"]


def test_rule_07_an_id_is_found_in_any_entity_type() -> None:
    graph = fd.EntityGraph({"user": {"ann": {"name": "U"}}, "bot": {"eve": {"name": "B"}}})
    assert sent(fd.replay(NAMED, log_of("at | source\n 0 | ann\n 1 | eve"), graph), "name") == [
        (0, "U"),
        (1, "B"),
    ]


TWICE = {"user": {"ann": {"name": "U"}}, "bot": {"ann": {"name": "B"}}}


def test_rule_07_an_id_in_two_types_fails_as_ambiguous() -> None:
    result = fd.replay(NAMED, log_of("at\n 0"), fd.EntityGraph(TWICE))
    assert failures(result) == [(1, 0, "'source_id' names entities of several types; say which with type=")]
    result = fd.replay(
        FANS, log_of("at | type | source\n 0 | ask | x"), fd.EntityGraph(TWICE, links("bob p1", "ann p1"))
    )
    assert sent(result, "fan") == [(0, "bob")]
    assert failures(result) == [(1, 0, "fan_id names entities of several types; say which with type=")]


def test_rule_07_the_type_says_which_is_meant() -> None:
    graph = fd.EntityGraph(TWICE, links("ann p1"))
    one = (
        on("link.created").resolve("source_id", as_="fan", type="bot").map(name="{{ fan.name }}").deliver("s")
    )
    many = (
        on("link.created")
        .fan_out("target_id", via="likes", direction="reverse", as_="fan", type="user")
        .map(name="{{ fan.name }}")
        .deliver("s")
    )
    assert sent(fd.replay(one, log_of("at\n 0"), graph), "name") == [(0, "B")]
    assert sent(fd.replay(many, log_of("at\n 0"), graph), "name") == [(0, "U")]


def test_rule_07_only_the_types_of_that_moment_count() -> None:
    log = log_of(
        "at | kind | type | id\n 0 | link.created | likes | -\n 1 | entity.deleted | user | ann\n 2 | link.created | likes | -"
    )
    result = fd.replay(NAMED, log, fd.EntityGraph(TWICE))
    assert sent(result, "name") == [(2, "B")]
    assert [seq_no for seq_no, _, _ in failures(result)] == [1]


def test_rule_07_a_function_is_asked_once_about_each_id_and_counts_as_a_type() -> None:
    asked: list[list[str]] = []

    def people(ids: list[str]) -> dict[str, dict[str, str]]:
        asked.append(sorted(ids))
        return {i: {"name": i.upper()} for i in ids if i != "nobody"}

    log = log_of("""
        at | kind           | type  | source | id  | data
        0  | link.created   | likes | ann    | -   | -
        1  | link.created   | likes | nobody | -   | -
        2  | entity.updated | user  | -      | ann | {"name": "A"}
        3  | link.created   | likes | ann    | -   | -
    """)
    graph = fd.EntityGraph({"user": people})
    for _ in range(2):
        result = fd.replay(NAMED, log, graph)
        assert sent(result, "name") == [(0, "ANN"), (3, "A")]
        assert [seq_no for seq_no, _, _ in failures(result)] == [2]
    assert asked == [["ann", "nobody"]]
