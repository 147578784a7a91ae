"""Rule 30: updates that change only the fields that they have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from event_tables import moment, sent

import flowdsl as fd
from flowdsl import on
from flowdsl.cli.main import main

CHUNKS = pytest.mark.parametrize("chunk_size", [1, 2, 3, None])
USERS = {"ann": {"name": "Ann", "city": "Rome", "deep": {"a": 1, "b": 2}}}
SEEN = (
    on("entity.updated")
    .resolve("entity_id", as_="now")
    .map(now="{{ now.name | default(value='-') }} {{ now.city | default(value='-') }}")
    .deliver("s")
)


def log_of(*events: tuple[str, str, Any], entity: str = "ann") -> list[dict[str, Any]]:
    """Events of one entity, one a second: kind, entity type and data."""
    made = {
        "created": fd.entity_created,
        "updated": fd.entity_updated,
        "deleted": lambda kind, entity_id, data: fd.entity_deleted(kind, entity_id),
    }
    return [
        {"timestamp": moment(at), "event": made[kind](of, entity, data)}
        for at, (kind, of, data) in enumerate(events)
    ]


def seen(log: Any, graph: fd.EntityGraph, **options: Any) -> list[str]:
    return [now for _, now in sent(fd.replay(SEEN, log, graph, **options), "now")]


MERGED = fd.EntityGraph({"user": USERS}, merge=["user"])
EDITS = log_of(
    ("updated", "user", {"city": "Oslo"}), ("updated", "user", {"name": None}), ("updated", "user", {})
)


@CHUNKS
def test_rule_30_an_update_leaves_what_it_does_not_say(chunk_size: int | None) -> None:
    assert seen(EDITS, MERGED, chunk_size=chunk_size) == ["Ann Oslo", "- Oslo", "- Oslo"]
    assert seen(EDITS, fd.EntityGraph({"user": USERS}), chunk_size=chunk_size) == ["- Oslo", "- -", "- -"]


@CHUNKS
def test_rule_30_only_the_top_level_is_merged_and_a_creation_sets_all(chunk_size: int | None) -> None:
    flow = (
        on("entity.updated").resolve("entity_id", as_="now").map(now="{{ now | json_encode() }}").deliver("s")
    )
    log = log_of(
        ("updated", "user", {"deep": {"b": 3}, 'k "q"': [1, {"x": None}]}),
        ("created", "user", {"city": "Bern"}),
        ("updated", "user", {"name": "Bea", "n": 2**53 + 1}),
        ("deleted", "user", None),
        ("updated", "user", {"name": "new"}),
        ("updated", "user", None),
        ("updated", "user", {"name": "last"}),
    )
    found = [json.loads(now) for _, now in sent(fd.replay(flow, log, MERGED, chunk_size=chunk_size), "now")]
    assert found == [
        {"id": "ann", "name": "Ann", "city": "Rome", "deep": {"b": 3}, 'k "q"': [1, {"x": None}]},
        {"id": "ann", "city": "Bern", "name": "Bea", "n": 2**53 + 1},
        {"id": "ann", "name": "new"},
        {"id": "ann", "name": "new"},
        {"id": "ann", "name": "last"},
    ]


@CHUNKS
def test_rule_30_other_types_are_set_whole_as_before(chunk_size: int | None) -> None:
    graph = fd.EntityGraph({"user": USERS, "bot": {"b": {"name": "B"}}}, merge=["user"])
    log = log_of(("updated", "bot", {"city": "Oslo"}), entity="b")
    assert seen(log, graph, chunk_size=chunk_size) == ["- Oslo"]


@CHUNKS
def test_rule_30_before_and_fan_out_see_merged_entities(chunk_size: int | None) -> None:
    links = [{"link_type": "follows", "source_id": "bob", "target_id": "ann"}]
    graph = fd.EntityGraph({"user": USERS}, links, merge=["user"])
    before = on("entity.updated").where("exists(data.city)").map(now="{{ before.name }}").deliver("s")
    fan = (
        on("link.created")
        .fan_out("source_id", via="follows", as_="friend")
        .map(now="{{ friend.name }} {{ friend.city }}")
        .deliver("s")
    )
    asked = {"timestamp": moment(9), "event": fd.link_created("asks", "bob", "ann")}
    log = [*log_of(("updated", "user", {"name": "Anna"}), ("updated", "user", {"city": "Oslo"})), asked]
    result = fd.replay([before, fan], log, graph, chunk_size=chunk_size)
    assert sent(result, "now") == [(1, "Anna"), (9, "Anna Oslo")]


def test_rule_30_columns_of_structs_are_merged_as_json_is_and_null_says_nothing_there() -> None:
    frame = pl.DataFrame(
        {
            "kind": ["entity.updated"] * 3,
            "timestamp": [moment(at) for at in range(3)],
            "entity_type": ["user"] * 3,
            "entity_id": ["ann"] * 3,
            "data": [{"name": None, "city": "Oslo"}, {"name": "Anna", "city": None}, None],
        }
    )
    users = pl.DataFrame({"id": ["ann"], "name": ["Ann"], "city": ["Rome"]})
    assert seen(frame, fd.EntityGraph({"user": users}, merge=["user"])) == [
        "Ann Oslo",
        "Anna Oslo",
        "Anna Oslo",
    ]


@CHUNKS
def test_rule_30_what_a_function_supplies_is_merged_into(chunk_size: int | None) -> None:
    graph = fd.EntityGraph(
        {"user": lambda ids: {one: USERS[one] for one in ids if one in USERS}}, merge=["user"]
    )
    assert seen(EDITS, graph, chunk_size=chunk_size) == ["Ann Oslo", "- Oslo", "- Oslo"]


def test_rule_30_a_state_goes_on_merging() -> None:
    first = fd.replay(SEEN, EDITS, MERGED, stop=2)
    assert [now for _, now in sent(fd.replay(SEEN, EDITS, state=first.state), "now")] == ["- Oslo", "- Oslo"]


def test_rule_30_a_live_run_goes_on_merging_after_a_restart(tmp_path: Path) -> None:
    told: list[str] = []
    with fd.ParquetEventLog(tmp_path / "log", "none") as log:
        for event in EDITS:
            log.append(event)
            runtime = fd.Runtime(SEEN, log, MERGED)
            runtime.run_until_idle("beginning" if event is EDITS[0] else None)
            told += [delivery.payload["now"] for delivery in runtime.sinks["s"].deliveries]
        assert told == ["Ann Oslo", "- Oslo", "- Oslo"]
        with pytest.raises(fd.LiveError, match="updates merge user, and the graph merges nothing"):
            fd.Runtime(SEEN, log, fd.EntityGraph({"user": USERS})).run_until_idle()


def test_rule_30_production_replaces_and_that_is_said() -> None:
    with pytest.raises(fd.FlowError, match="updates of user are merged, and this-rs replaces"):
        fd.replay(SEEN, EDITS, MERGED, target="this-rs")
    found = [one for one in SEEN.check(target="this-rs", graph=MERGED) if "merged" in one.message]
    assert [one.code for one in found] == ["not-portable"]
    assert not [one for one in SEEN.check(graph=MERGED) if "merged" in one.message]


@pytest.mark.parametrize("merge", ["user", [1], {"user": 1}, 3, [""]])
def test_rule_30_what_is_no_list_of_types_is_refused(merge: Any) -> None:
    with pytest.raises(fd.DataError, match="merge is"):
        fd.EntityGraph({"user": USERS}, merge=merge)


def test_rule_30_the_command_and_a_folder_merge_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "graph" / "entities").mkdir(parents=True)
    pl.DataFrame({"id": ["ann"], "name": ["Ann"], "city": ["Rome"]}).write_parquet(
        tmp_path / "graph" / "entities" / "user.parquet"
    )
    assert seen(EDITS, fd.read_graph(tmp_path / "graph", merge=["user"])) == ["Ann Oslo", "- Oslo", "- Oslo"]
    (tmp_path / "flows.yaml").write_text(
        "name: seen\ntrigger: {kind: entity.updated}\npipeline:\n"
        "  - resolve: {from: entity_id, as: now}\n"
        "  - map: {template: {now: '{{ now.name }} {{ now.city }}'}}\n"
        "  - deliver: {sinks: [s]}\n"
    )
    with fd.ParquetEventLog(tmp_path / "log", "none") as log:
        log.append(EDITS[:1])
    code = main(
        ["replay", str(tmp_path / "flows.yaml"), "--log", str(tmp_path / "log"), "--graph", str(tmp_path / "graph"),
         "--merge", "user", "--out", str(tmp_path / "out")]
    )  # fmt: skip
    assert code == 0, capsys.readouterr().err
    assert sent(fd.read_result(tmp_path / "out"), "now") == [(0, "Ann Oslo")]


def test_rule_30_a_test_made_of_an_event_merges() -> None:
    test = fd.replay(SEEN.named("seen"), EDITS, MERGED).as_test(2)
    assert test.graph is not None
    assert test.graph["merge"] == ["user"]
    assert test.run(SEEN.named("seen")).passed
