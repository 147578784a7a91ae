"""Rule 34: what a deletion ends, and what becomes of one that meets nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from event_tables import log_of, sent

import flowdsl as fd
from flowdsl import on

FANS = (
    on("link.created", link_type="ask")
    .fan_out("target_id", via="likes", direction="reverse", as_="fan")
    .map(fan="{{ fan_id }}")
    .deliver("s")
)
ASK = "9 | link.created | ask | x | p1 | -"


def fans(rows: str, *links: str, **options: Any) -> tuple[list[str], list[int]]:
    """Who likes p1 at the end, and which deletions met nothing; of links `"ann p1 l1"` and of events."""
    names = ("source_id", "target_id", "link_id")
    graph = fd.EntityGraph(
        links=[{"link_type": "likes", **dict(zip(names, link.split(), strict=False))} for link in links]
    )
    log = log_of(f"at | kind | type | source | target | id\n{rows}\n{ASK}")
    result = fd.replay(FANS, log, graph, **options)
    return [fan for _, fan in sent(result, "fan")], result.unmatched["seq_no"].tolist()


ENDED = "0 | link.deleted | likes | ann | p1 | -"


@pytest.mark.parametrize("chunk_size", [1, 2, None])
def test_rule_34_a_deletion_without_an_id_ends_every_link_between_its_ends(chunk_size: int | None) -> None:
    made = "1 | link.created | likes | ann | p1 | l3\n2 | link.created | likes | ann | p1 | l4\n3 | link.created | likes | bob | p1 | l5"
    later = ENDED.replace("0", "4", 1)
    given = ("ann p1 l1", "ann p1", "ann p1 l2", "bob p1", "ann p2 l6")
    assert fans(ENDED, *given, chunk_size=chunk_size) == (["bob"], [])
    assert fans(f"{ENDED}\n{made}", *given, chunk_size=chunk_size) == (["bob", "ann", "ann", "bob"], [])
    assert fans(f"{ENDED}\n{made}\n{later}", *given, chunk_size=chunk_size) == (["bob", "bob"], [])


def test_rule_34_a_deletion_with_an_id_ends_that_link_alone() -> None:
    by_id = "0 | link.deleted | likes | ann | p1 | l1"
    assert fans(by_id, "ann p1 l1", "ann p1 l2", "ann p1") == (["ann", "ann"], [])
    assert fans(by_id, "ann p1", "ann p1 l2") == (["ann", "ann"], [1])


@pytest.mark.parametrize("chunk_size", [1, 2, None])
def test_rule_34_what_ended_by_its_ends_is_not_there_for_its_id(chunk_size: int | None) -> None:
    again = "1 | link.deleted | - | - | - | l1"
    assert fans(f"{ENDED}\n{again}", "ann p1 l1", chunk_size=chunk_size) == ([], [2])
    back = "1 | link.created | likes | ann | p1 | l1\n2 | link.deleted | - | - | - | l1"
    assert fans(f"{ENDED}\n{back}", "ann p1 l1", chunk_size=chunk_size) == ([], [])


@pytest.mark.parametrize("chunk_size", [1, 2, None])
def test_rule_34_a_deletion_that_meets_nothing_is_listed(chunk_size: int | None) -> None:
    twice = ENDED.replace("0", "1", 1)
    assert fans(f"{ENDED}\n{twice}", "ann p1", chunk_size=chunk_size) == ([], [2])
    assert fans(f"{ENDED}\n{twice}", "ann p1 l1", "ann p1 l2", chunk_size=chunk_size) == ([], [2])
    assert fans("0 | link.deleted | - | - | - | l9", "bob p1 l1", chunk_size=chunk_size) == (["bob"], [1])


def test_rule_34_deletions_of_links_that_no_flow_looks_up_are_not_listed() -> None:
    assert fans("0 | link.deleted | owns | ann | p1 | -\n1 | link.deleted | owns | ann | p1 | l9") == ([], [])
    # an id is one over all types: this one is that of a link nobody looks up
    assert fans("0 | link.created | owns | ann | p1 | l7\n1 | link.deleted | - | - | - | l7") == ([], [])
    graph = fd.EntityGraph(
        links=[{"link_type": "owns", "source_id": "ann", "target_id": "p1", "link_id": "l7"}]
    )
    log = log_of(
        "at | kind | type | source | target | id\n0 | link.deleted | - | - | - | l7\n1 | link.deleted | - | - | - | l7"
    )
    assert fd.replay(FANS, log, graph).unmatched["seq_no"].tolist() == [2]
    nothing = on("link.deleted").map(a=1).deliver("s")
    assert fd.replay(nothing, log).unmatched.empty


@pytest.mark.parametrize("chunk_size", [1, 2, None])
def test_rule_34_deletions_of_entities_are_listed_by_type(chunk_size: int | None) -> None:
    flow = on("link.created").resolve("source_id", as_="who", required=False).map(a=1).deliver("s")
    log = log_of("""
        at | kind           | type | id  | data
        0  | entity.deleted | post | ann | -
        1  | entity.deleted | user | ann | -
        2  | entity.deleted | user | ann | -
        3  | entity.updated | user | ann | -
        4  | entity.created | post | ann | {"a": 1}
        5  | entity.deleted | post | ann | -
        6  | entity.deleted | post | ann | -
        7  | entity.deleted | user | ann | -
        8  | entity.deleted | user | bob | -
    """)
    graph = fd.EntityGraph({"user": {"ann": {}}})
    unmatched = fd.replay(flow, log, graph, chunk_size=chunk_size).unmatched
    assert unmatched["seq_no"].tolist() == [1, 3, 7, 9]
    assert unmatched["entity_type"].tolist() == ["post", "user", "post", "user"]
    assert unmatched["entity_id"].tolist() == ["ann", "ann", "ann", "bob"]


def test_rule_34_of_entities_that_a_function_gives_nothing_is_said() -> None:
    flow = on("link.created").resolve("source_id", as_="who", required=False).map(a=1).deliver("s")
    log = log_of("at | kind | type | id\n0 | entity.deleted | user | ann\n1 | entity.deleted | post | p")
    graph = fd.EntityGraph({"user": lambda ids: {}})
    assert fd.replay(flow, log, graph).unmatched["seq_no"].tolist() == [2]


def test_rule_34_the_list_has_the_whole_event_and_is_kept(tmp_path: Path) -> None:
    log = log_of(f"at | kind | type | source | target | id\n{ENDED}")
    result = fd.replay(FANS, log, out=tmp_path / "out")
    columns = ["seq_no", "event_id", "event_time", "kind", "link_type", "link_id", "source_id", "target_id"]
    assert list(result.unmatched.columns) == [*columns, "entity_type", "entity_id"]
    row = result.unmatched.iloc[0]
    assert (row["seq_no"], row["kind"], row["link_type"], row["source_id"]) == (
        1,
        "link.deleted",
        "likes",
        "ann",
    )
    assert "1 deletion met nothing: result.unmatched" in repr(result)
    assert fd.read_result(tmp_path / "out").unmatched.equals(result.unmatched)
    result.to_parquet(tmp_path / "later")
    assert fd.read_result(tmp_path / "later").unmatched.equals(result.unmatched)
    clean = fd.replay(FANS, log_of(f"at | kind | type | source | target | id\n{ASK}"))
    assert "met nothing" not in repr(clean)
    assert clean.unmatched.empty


def test_rule_34_replayed_in_two_parts_as_in_one() -> None:
    rows = f"{ENDED}\n1 | link.created | likes | ann | p1 | l2\n2 | link.deleted | - | - | - | l1\n3 | link.deleted | likes | ann | p1 | -"
    log = log_of(f"at | kind | type | source | target | id\n{rows}\n{ASK}")
    graph = fd.EntityGraph(
        links=[{"link_type": "likes", "source_id": "ann", "target_id": "p1", "link_id": "l1"}]
    )
    whole = fd.replay(FANS, log, graph)
    assert whole.unmatched["seq_no"].tolist() == [3]
    for stop in range(1, 7):
        first = fd.replay(FANS, log, graph, stop=stop, open_windows="keep")
        second = fd.replay(FANS, log, state=first.state)
        found = first.unmatched["seq_no"].tolist() + second.unmatched["seq_no"].tolist()
        assert found == [3], stop
        assert len(first) + len(second) == len(whole)


def test_rule_34_live_as_in_a_replay() -> None:
    log = fd.MemoryEventLog()
    runtime = fd.Runtime(FANS, log)
    with runtime:
        log.append(fd.link_created("likes", "ann", "p1", link_id="l1"))
        log.append(fd.link_created("likes", "bob", "p1", link_id="l2"))
        log.append(fd.link_deleted("likes", "ann", "p1"))
        log.append(fd.link_deleted("likes", "ann", "p1"))
        log.append(fd.link_created("ask", "x", "p1"))
    assert runtime.sinks["s"].frame()["fan"].tolist() == ["bob"]
    assert runtime.metrics().unmatched == runtime.metrics().as_dict()["unmatched"] == 1
    assert fd.replay(FANS, log).unmatched["seq_no"].tolist() == [4]


def test_rule_34_an_unfollow_that_does_not_know_the_id() -> None:
    log = fd.MemoryEventLog()
    at = "2026-01-01T09:0{}:00Z".format
    log.append(fd.link_created("follows", "ann", "eve", link_id="f1"), timestamp=at(0))
    log.append(fd.link_deleted("follows", "ann", "eve"), timestamp=at(1))
    log.append(fd.entity_created("post", "p", {"by": "eve"}), timestamp=at(2))
    flow = (
        on("entity.created")
        .fan_out("data.by", via="follows", direction="reverse", as_="f")
        .map(recipient_id="{{ f_id }}", title="x")
        .deliver("s")
    )
    assert len(fd.replay(flow, log)) == 0


# -- a changed foreign key ends the old link -------------------------------------------------------------

CHANGES = [
    {"ts": 1, "op": "c", "old": None, "new": "ann", "post": "p"},
    {"ts": 2, "op": "u", "old": "ann", "new": "bob", "post": "p"},
    {"ts": 3, "op": "u", "old": "bob", "new": None, "post": "p"},
    {"ts": 4, "op": "u", "old": None, "new": "eve", "post": "p"},
    {"ts": 5, "op": "u", "old": None, "new": None, "post": "p"},
]
COLUMNS = {
    "timestamp": "ts", "kind": "op", "link_type": fd.literal("owns"), "source_id": "new", "target_id": "post",
}  # fmt: skip
SPLIT = {"u": [{"kind": "link.deleted", "source_id": "old"}, {"kind": "link.created", "source_id": "new"}]}


def csv_of(folder: Path) -> str:
    pd.DataFrame(CHANGES).to_csv(folder / "changes.csv", index=False)
    return str(folder / "changes.csv")


@pytest.mark.parametrize(
    "form", [lambda _: CHANGES, lambda _: pd.DataFrame(CHANGES), lambda _: pl.DataFrame(CHANGES), csv_of]
)
def test_rule_34_a_changed_owner_is_a_deletion_and_a_creation(
    form: Callable[[Path], Any], tmp_path: Path
) -> None:
    log = fd.read_events(
        form(tmp_path), columns=COLUMNS, kinds={"c": "link.created"}, split=SPLIT, time_unit="s"
    )
    found = [
        tuple(row.values())
        for b in log.read()
        for row in b.select(["kind", "source_id", "target_id"]).to_pylist()
    ]
    assert found == [
        ("link.created", "ann", "p"),
        ("link.deleted", "ann", "p"),
        ("link.created", "bob", "p"),
        ("link.deleted", "bob", "p"),
        ("link.created", "eve", "p"),
    ]
    # a row without the ids of any part is told of, not passed over
    assert log.problems["reason"].tolist() == ["it has the ids of none of the events that it is split into"]


def test_rule_34_the_old_owner_is_gone_at_the_next_event() -> None:
    log = fd.read_events(
        CHANGES[:2], columns=COLUMNS, kinds={"c": "link.created"}, split=SPLIT, time_unit="s"
    )
    log.append(fd.link_created("likes", "eve", "p"), timestamp="2026-01-01T00:00:00Z")
    flow = (
        on("link.created", link_type="likes")
        .fan_out("target_id", via="owns", direction="reverse", as_="owner")
        .map(recipient_id="{{ owner_id }}", title="x")
        .deliver("s")
    )
    result = fd.replay(flow, log)
    assert result["s"]["recipient_id"].tolist() == ["bob"]
    assert result.unmatched.empty


def test_the_parts_of_a_row_may_take_any_field_from_anywhere() -> None:
    split = {
        "move": [
            {"kind": "link.deleted", "link_id": lambda row: row["was"]["id"], "target_id": "was.place"},
            {
                "kind": "entity.updated",
                "entity_type": fd.literal("thing"),
                "entity_id": "what",
                "data": "now",
            },
            "link.created",
        ]
    }
    rows = [
        {
            "at": 1,
            "kind": "move",
            "what": 7,
            "was": {"id": "l1", "place": "a"},
            "now": {"place": "b"},
            "to": "b",
        }
    ]
    columns = {"timestamp": "at", "link_type": fd.literal("in"), "source_id": "what", "target_id": "to"}
    log = fd.read_events(rows, columns=columns, split=split, time_unit="s")
    names = ["kind", "link_id", "target_id", "entity_id", "data"]
    assert [list(row.values()) for b in log.read() for row in b.select(names).to_pylist()] == [
        ["link.deleted", "l1", "a", None, None],
        ["entity.updated", None, None, "7", '{"place":"b"}'],
        ["link.created", None, "b", None, None],
    ]


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"u": "link.deleted"}, r"split\['u'\] is 'link.deleted'"),
        ({"u": [{"source_id": "old"}]}, "a part of split.* has no kind"),
        ({"u": [{"kind": "link.deletd"}]}, "is not a kind of event"),
        ({"u": [{"kind": "link.deleted", "surce_id": "old"}]}, "surce_id"),
        ({"u": [{"kind": "link.deleted", "seq_no": "old"}]}, "the same for all parts"),
        ({"u": [{"kind": "link.deleted", "source_id": 7}]}, "source_id=7"),
    ],
)
def test_a_split_that_cannot_be_is_refused(split: Any, said: str) -> None:
    with pytest.raises(fd.DataError, match=said):
        fd.read_events(CHANGES, columns=COLUMNS, split=split, time_unit="s")


def test_a_column_of_a_part_that_a_table_lacks_is_refused() -> None:
    split = {"u": [{"kind": "link.deleted", "source_id": "odl"}]}
    with pytest.raises(fd.DataError, match="there is no column 'odl'"):
        fd.read_events(
            pd.DataFrame(CHANGES), columns=COLUMNS, kinds={"c": "link.created"}, split=split, time_unit="s"
        )


# -- paths into JSON text ----------------------------------------------------------------------------------


@pytest.mark.parametrize("as_frame", [False, True])
def test_a_path_leads_into_columns_of_json_text(as_frame: bool) -> None:
    texts = ['{"video": {"id": 5279}}', '{"video": {}}', "{", None, '{"video": "{\\"id\\": \\"v\\"}"}']
    rows = [{"time": "2026-01-01T09:00:00Z", "who": "u1", "properties": text} for text in texts]
    columns = {
        "timestamp": "time", "kind": fd.literal("link.created"), "link_type": fd.literal("plays"), "source_id": "who",
        "target_id": "properties.video.id", "metadata": "properties.video",
    }  # fmt: skip
    log = fd.read_events(pd.DataFrame(rows) if as_frame else rows, columns=columns)
    assert [target for batch in log.read() for target in batch["target_id"].to_pylist()] == ["5279", "v"]
    assert [text for batch in log.read() for text in batch["metadata"].to_pylist()] == [
        '{"id":5279}',
        '{"id": "v"}',
    ]
    reasons = dict(zip(log.problems["row"], log.problems["reason"], strict=True))
    assert reasons[2] == "target_id: a path leads into text that is not JSON: '{'"
    assert reasons[1].startswith("target_id is null")
    assert sorted(reasons) == [1, 2, 3]
