"""Rules 1 to 4: events, their order, the clock, triggers."""

from __future__ import annotations

import json

import pytest
from event_tables import failures, log_of, moment, seconds, sent

import flowdsl as fd
from flowdsl import on, var

LIKED = on("link.created").map(who="{{ source_id }}").deliver("s")


# -- rule 1: events and ids ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entity_id", ["Ann", "ANN", " ann ", "é", "550E8400-E29B-41D4-A716-446655440000", "001"]
)
def test_rule_01_ids_are_kept_letter_for_letter(entity_id: str) -> None:
    log = fd.MemoryEventLog()
    log.append(fd.link_created("likes", entity_id, "p1"), timestamp=moment(0))
    assert sent(fd.replay(LIKED, log), "who") == [(0, entity_id)]


def test_rule_01_ids_that_differ_in_case_are_two_ids() -> None:
    graph = fd.EntityGraph({"user": {"ann": {"n": 1}, "Ann": {"n": 2}}})
    flow = on("link.created").resolve("source_id", as_="fan").map(n=var.fan.n).deliver("s")
    log = log_of("at | source\n 0 | Ann\n 1 | ann")
    assert sent(fd.replay(flow, log, graph), "n") == [(0, 2), (1, 1)]


def test_rule_01_an_integer_counts_as_its_decimal_text() -> None:
    log = fd.MemoryEventLog()
    log.append(fd.entity_created("post", 7, {"author_id": 12}), timestamp=moment(0))
    graph = fd.EntityGraph({"user": {12: {"name": "Ada"}}})
    flow = (
        on("entity.created")
        .resolve("data.author_id", as_="author")
        .map(post="{{ entity_id }}", author="{{ author.id }}")
        .deliver("s")
    )
    assert sent(fd.replay(flow, log, graph), "post", "author") == [(0, "7", "12")]


@pytest.mark.parametrize("value", ["1.5", "true", "null", '""', "[1]", "{}"])
def test_rule_01_other_values_are_no_ids(value: str) -> None:
    log = log_of(f'at | data\n 0 | {{"by": {value}}}')
    resolved = on("link.created").resolve("metadata.by", as_="x").map(x="x").deliver("s")
    fanned = on("link.created").fan_out("metadata.by", via="likes", as_="x").map(x="x").deliver("s")
    for flow in (resolved, fanned):
        assert failures(fd.replay(flow, log)) == [(1, 0, "'metadata.by' holds no id")]


def test_rule_01_a_link_event_starts_with_its_fields_and_its_metadata() -> None:
    flow = (
        on("link.created")
        .map(text="{{ link_type }} {{ link_id }} {{ source_id }} {{ target_id }} {{ metadata.stars }}")
        .deliver("s")
    )
    log = log_of('at | type | source | target | id | data\n 0 | likes | ann | p1 | l1 | {"stars": 5}')
    assert sent(fd.replay(flow, log), "text") == [(0, "likes l1 ann p1 5")]


def test_rule_01_metadata_that_is_null_is_missing() -> None:
    flow = on("link.created").where("metadata exists").map(x="x").deliver("s")
    assert sent(fd.replay(flow, log_of("at | data\n 0 | -\n 1 | null\n 2 | {}"))) == [2]


def test_rule_01_an_entity_event_starts_with_its_fields_and_its_data() -> None:
    flow = on("entity.created").map(text="{{ entity_type }} {{ entity_id }} {{ data.name }}").deliver("s")
    log = log_of('at | kind | type | id | data\n 0 | entity.created | user | ann | {"name": "Ada"}')
    assert sent(fd.replay(flow, log), "text") == [(0, "user ann Ada")]


@pytest.mark.parametrize(("kind", "name"), [("link.deleted", "metadata"), ("entity.deleted", "data"), ("link.created", "data")])  # fmt: skip
def test_rule_01_variables_that_no_event_of_the_kind_has_are_refused(kind: str, name: str) -> None:
    with pytest.raises(fd.BuildError, match=f"there is no variable '{name}'"):
        on(kind).where(f"{name}.x == 1")


def test_rule_01_the_event_itself_is_a_variable() -> None:
    flow = on("link.created").map(event=var.event).deliver("s")
    result = fd.replay(flow, log_of("at | source\n 1.5 | ann"))
    assert json.loads(result.deliveries["payload"][0])["event"] == {
        "id": "e1", "kind": "link.created", "timestamp": "2026-01-01T00:00:01.500Z", "seq_no": 1
    }  # fmt: skip


# -- rule 2: order ---------------------------------------------------------------------------------------


def test_rule_02_a_log_numbers_its_events_from_1() -> None:
    log = fd.MemoryEventLog()
    assert [log.append(fd.link_created("likes", who, "p1"), timestamp=moment(0)) for who in "abc"] == [
        1,
        2,
        3,
    ]
    assert fd.replay(LIKED, log)["s"]["seq_no"].tolist() == [1, 2, 3]


def test_rule_02_events_without_numbers_are_ordered_by_time_then_position() -> None:
    table = log_of("at | source\n 2 | c\n 1 | a\n 1 | b")
    log = [{"timestamp": event["timestamp"], "event": event["event"]} for event in table]
    frame = fd.replay(LIKED, log)["s"]
    assert frame[["seq_no", "who"]].values.tolist() == [[1, "a"], [2, "b"], [3, "c"]]


def test_rule_02_the_number_is_the_order_of_processing_whatever_the_time() -> None:
    """The second event is older than the first, and still the second to like."""
    flow = on("link.created").rate_limit(1, per="1h").map(who="{{ source_id }}").deliver("s")
    assert sent(fd.replay(flow, log_of("at | source\n 5 | first\n 1 | second")), "who") == [(5, "first")]


# -- rule 3: the clock -----------------------------------------------------------------------------------


def test_rule_03_the_clock_never_runs_backwards() -> None:
    assert sent(fd.replay(LIKED, log_of("at | source\n 5 | a\n 2 | b\n 6 | c")), "who") == [
        (5, "a"),
        (5, "b"),
        (6, "c"),
    ]


def test_rule_03_an_event_older_than_the_clock_is_listed_as_late() -> None:
    late = fd.replay(LIKED, log_of("at\n 5\n 2\n 5")).late
    assert late["seq_no"].tolist() == [2]
    assert seconds(late["timestamp"]) == [2]
    assert seconds(late["clock"]) == [5]
    assert late["lateness"].dt.total_seconds().tolist() == [3]


def test_rule_03_the_time_of_an_event_stays_its_own() -> None:
    assert seconds(fd.replay(LIKED, log_of("at\n 5\n 2"))["s"]["event_time"]) == [5, 2]


def test_rule_03_windows_read_the_clock() -> None:
    """By its own time the late event would be in no window; by the clock it comes 1 s after the first."""
    flow = on("link.created").deduplicate("target_id", window="2s").map(who="{{ source_id }}").deliver("s")
    log = log_of("at | source | target\n 5 | a | p1\n 6 | b | p2\n 1 | c | p1\n 7 | d | p1")
    assert sent(fd.replay(flow, log), "who") == [(5, "a"), (6, "b"), (7, "d")]


def test_rule_03_events_that_no_flow_wants_move_the_clock_too() -> None:
    flow = on("link.created").batch("target_id", window="5s").map(x="x").deliver("s")
    log = log_of("at | kind | type | id\n 0 | link.created | likes | -\n 9 | entity.deleted | user | u")
    assert sent(fd.replay(flow, log, open_windows="keep"), "closed_by") == [(5, "timer")]


def test_rule_03_a_clock_mark_moves_the_clock_where_no_event_did() -> None:
    flow = on("link.created").batch("target_id", window="5s").map(n="{{ batch.count }}").deliver("s")
    log = fd.MemoryEventLog()
    log.append(fd.link_created("likes", "ann", "p1"), timestamp=moment(0))
    log.mark_clock(moment(5))
    log.append(fd.link_created("likes", "bob", "p1"), timestamp=moment(3))
    result = fd.replay(flow, log)
    assert sent(result, "n", "closed_by") == [(5, "1", "timer"), (10, "1", "end")]
    assert result.late["seq_no"].tolist() == [2]


def test_rule_03_a_clock_mark_after_the_last_event_fires_timers() -> None:
    flow = on("link.created").batch("target_id", window="5s").map(x="x").deliver("s")
    log = fd.MemoryEventLog()
    log.append(fd.link_created("likes", "ann", "p1"), timestamp=moment(0))
    log.mark_clock(moment(6))
    assert sent(fd.replay(flow, log, open_windows="keep"), "closed_by") == [(5, "timer")]


def test_rule_03_a_clock_mark_behind_the_stop_is_not_read() -> None:
    flow = on("link.created").batch("target_id", window="5s").map(x="x").deliver("s")
    log = fd.MemoryEventLog()
    log.append([fd.link_created("likes", who, "p1") for who in "ab"], timestamp=moment(0))
    log.mark_clock(moment(60))
    first = fd.replay(flow, log, stop=2, open_windows="keep")
    assert len(first) == 0
    assert sent(fd.replay(flow, log, state=first.state, open_windows="keep"), "closed_by") == [(5, "timer")]


# -- rule 4: triggers ------------------------------------------------------------------------------------

KINDS = ["link.created", "link.deleted", "entity.created", "entity.updated", "entity.deleted"]
ALL_KINDS = log_of(
    "at | kind | type | id\n" + "\n".join(f"{i} | {kind} | t | x" for i, kind in enumerate(KINDS))
)


@pytest.mark.parametrize("kind", KINDS)
def test_rule_04_a_flow_is_for_the_events_of_its_kind(kind: str) -> None:
    assert fd.replay(on(kind).map(x="x").deliver("s"), ALL_KINDS)["s"]["seq_no"].tolist() == [
        KINDS.index(kind) + 1
    ]


def test_rule_04_a_type_restricts_it_and_no_type_means_any() -> None:
    log = log_of("at | type\n 0 | likes\n 1 | follows")
    assert sent(fd.replay(on("link.created", link_type="follows").map(x="x").deliver("s"), log)) == [1]
    assert sent(fd.replay(on("link.created").map(x="x").deliver("s"), log)) == [0, 1]
    log = log_of("at | kind | type | id\n 0 | entity.created | user | a\n 1 | entity.created | post | b")
    assert sent(fd.replay(on("entity.created", entity_type="post").map(x="x").deliver("s"), log)) == [1]


def test_rule_04_kinds_are_compared_letter_for_letter() -> None:
    with pytest.raises(fd.BuildError, match=r"'link\.Created' is not a kind of event"):
        on("link.Created")
