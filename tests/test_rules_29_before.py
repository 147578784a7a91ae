"""Rule 29: the entity as it was before the event, what changed, and what was added."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from event_tables import failures, moment, sent

import flowdsl as fd
from flowdsl import fn, on, var

CHUNKS = pytest.mark.parametrize("chunk_size", [1, 2, None])
GRAPH = fd.EntityGraph({"post": {"p1": {"status": "new", "tags": ["a"]}}, "user": {"p1": {"status": "user"}}})
STATUS = var.before.status


def updates(*changes: tuple[str, Any], entity_id: str = "p1") -> list[dict[str, Any]]:
    """Events of one post, one a second: kind and data."""
    made = {
        "created": fd.entity_created,
        "updated": fd.entity_updated,
        "deleted": lambda kind, entity_id, data: fd.entity_deleted(kind, entity_id),
    }
    return [
        {"timestamp": moment(at), "event": made[kind]("post", entity_id, data)}
        for at, (kind, data) in enumerate(changes)
    ]


def was(flow: fd.Flow, log: Any, **options: Any) -> list[Any]:
    """What `now` and `was` of each delivery were."""
    return sent(fd.replay(flow, log, GRAPH, **options), "was")


EDITED = on("entity.updated", entity_type="post").map(was="{{ before.status }} {{ before.id }}").deliver("s")


@CHUNKS
def test_rule_29_before_is_the_entity_of_the_event_before_it(chunk_size: int | None) -> None:
    log = updates(("updated", {"status": "a"}), ("updated", {"status": "b"}), ("updated", {"status": "c"}))
    assert was(EDITED, log, chunk_size=chunk_size) == [(0, "new p1"), (1, "a p1"), (2, "b p1")]


@CHUNKS
def test_rule_29_before_is_missing_where_there_was_none_and_there_at_a_deletion(
    chunk_size: int | None,
) -> None:
    log = updates(("deleted", None), ("created", {"status": "x"}), ("deleted", None), ("deleted", None))
    gone = on("entity.deleted").map(was="{{ before.status | default(value='nothing') }}").deliver("s")
    assert was(gone, log, chunk_size=chunk_size) == [(0, "new"), (2, "x"), (3, "nothing")]
    made = on("entity.created").where("not exists(before)").map(was="none").deliver("s")
    assert was(made, log, chunk_size=chunk_size) == [(1, "none")]
    again = on("entity.created").map(was=STATUS).deliver("s")
    assert was(again, updates(("created", {})), chunk_size=chunk_size) == [(0, "new")]


@CHUNKS
def test_rule_29_before_stays_the_value_at_the_event_after_a_timer(chunk_size: int | None) -> None:
    flow = (
        on("entity.updated")
        .batch("entity_id", window="1500ms")
        .resolve("entity_id", as_="now", type="post")
        .map(was="{{ before.status }} {{ now.status }}")
        .deliver("s")
    )
    log = updates(*[("updated", {"status": status}) for status in "abcd"])
    assert was(flow, log, chunk_size=chunk_size) == [(1.5, "a b"), (3.5, "c d")]
    first = fd.replay(flow, log, GRAPH, stop=4, open_windows="keep")
    later = fd.replay(flow, log, state=first.state)
    assert sent(first, "was") + sent(later, "was") == [(1.5, "a b"), (3.5, "c d")]


@CHUNKS
def test_rule_29_changed_and_added_compare_with_before(chunk_size: int | None) -> None:
    log = updates(
        ("updated", {"status": "new", "tags": ["b", "a", "b", 1]}),
        ("updated", {"status": "old", "tags": ["b", 1.0, [1], {"x": 1}]}),
        ("updated", {"status": "old", "tags": [{"x": 1.0}, [1], None]}),
        ("updated", {"tags": []}),
        ("updated", {}),
    )
    changed = on("entity.updated").where("changed(data.status)").map(was=STATUS).deliver("s")
    assert was(changed, log, chunk_size=chunk_size) == [(1, "new"), (3, "old")]
    assert changed == on("entity.updated").where(fn.changed(var.data.status)).map(was=STATUS).deliver("s")
    added = on("entity.updated").map(was=fn.added(var.data.tags), n="{{ event.seq_no }}").deliver("s")
    result = fd.replay(added, log, GRAPH, chunk_size=chunk_size)
    payloads = [json.loads(text)["was"] for text in result.deliveries["payload"]]
    assert payloads == [["b", "b", 1], [[1], {"x": 1}], [None], [], []]


@CHUNKS
def test_rule_29_only_what_an_edit_added_is_gone_over(chunk_size: int | None) -> None:
    flow = on("entity.updated").for_each("added(data.tags)", as_="tag").map(was="{{ tag }}").deliver("s")
    log = updates(("updated", {"tags": ["a", "b"]}), ("updated", {"tags": ["b"]}), ("updated", {"tags": 3}))
    result = fd.replay(flow, log, GRAPH, chunk_size=chunk_size)
    assert sent(result, "was", "branch") == [(0, "b", "0")]
    assert result.dropped["reason"].tolist() == ["no items"]
    assert failures(result) == [(3, 0, "added needs an array, but data.tags is a number")]


def test_rule_29_columns_of_lists_are_compared_as_json_is() -> None:
    tags = [["a", "b"], ["b", "c", "a"], None, ["c"]]
    frame = pl.DataFrame(
        {
            "kind": ["entity.updated"] * 4,
            "timestamp": [moment(at) for at in range(4)],
            "entity_type": ["post"] * 4,
            "entity_id": ["p1"] * 4,
            "data": [{"tags": one} for one in tags],
        }
    )
    flow = on("entity.updated").for_each("added(data.tags)", as_="tag").map(was="{{ tag }}").deliver("s")
    assert was(flow, frame) == [(0, "b"), (1, "c"), (3, "c")]


def test_rule_29_a_flow_alone_and_beside_others_says_the_same() -> None:
    plain = on("entity.updated").map(x="{{ data.nothing }}").deliver("s")
    reading = on("entity.updated").where("before.status == 'new'").map(was=STATUS).deliver("s")
    log = updates(("updated", {"status": "a"}))
    alone = fd.replay(plain, log, fd.EntityGraph())
    both = fd.replay([plain.named("a"), reading.named("b")], log, fd.EntityGraph())
    assert alone.errors["variables"].tolist() == both.errors["variables"].tolist()
    assert "before" not in json.loads(alone.errors["variables"][0])


def test_rule_29_a_function_reads_before_as_anything_else() -> None:
    flow = (
        on("entity.updated")
        .where(lambda context: context["before"]["status"] == "new")
        .map(was="x")
        .deliver("s")
    )
    assert was(flow, updates(("updated", {}), ("updated", {}))) == [(0, "x")]


def test_rule_29_what_a_function_supplies_is_before_too() -> None:
    graph = fd.EntityGraph({"post": lambda ids: {one: {"status": f"of {one}"} for one in ids}})
    log = updates(("updated", {"status": "a"}), ("updated", {"status": "b"}))
    for chunk_size in (1, None):
        result = fd.replay(EDITED, log, graph, chunk_size=chunk_size)
        assert sent(result, "was") == [(0, "of p1 p1"), (1, "a p1")]


def test_rule_29_the_final_graph_is_what_was_before_where_it_is_asked_for() -> None:
    log = updates(("updated", {"status": "a"}), ("updated", {"status": "b"}))
    assert was(EDITED, log, as_of="end") == [(0, "b p1"), (1, "b p1")]


def test_rule_29_events_of_links_have_no_before() -> None:
    with pytest.raises(fd.FlowError, match="no variable 'before'"):
        on("link.created").where("before.x == 1")
    with pytest.raises(fd.FlowError, match="takes a field of the event's data, not entity_id"):
        on("entity.updated").where("changed(entity_id)")


def test_rule_29_production_lacks_it_and_is_told_so() -> None:
    for flow in (
        on("entity.updated").where("before.status == 'new'"),
        on("entity.updated").where("changed(data.status)"),
        on("entity.updated").map(text="{{ before.status }}"),
    ):
        with pytest.raises(fd.FlowError, match=r"before|changed") as error:
            flow.portable()
        assert "let the events carry" in str(error.value)
        assert any(found.code == "not-portable" for found in flow.check(target="this-rs"))


def test_rule_29_explain_shows_before_and_a_test_has_it() -> None:
    flow = on("entity.updated", name="edits").where("changed(data.status)").map(was=STATUS).deliver("s")
    log = updates(("updated", {"status": "a"}), ("updated", {"status": "b"}), ("updated", {"status": "c"}))
    result = fd.replay(flow, log, GRAPH)
    assert 'before.status is "a"' in str(result.explain(2))
    assert eval(flow.to_python().partition("flow = ")[2]) == flow
    test = result.as_test(2)
    assert len(test.events) <= 2
