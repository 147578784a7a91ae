"""Rules 1 to 4: events, order, clock and triggers."""

from __future__ import annotations

import pytest
from logs import log_of, times

import flowdsl as fd
from flowdsl import on

SHOWN = on("link.created").map(source="{{ source_id }}", no="{{ event.seq_no }}").deliver("out")


def test_rule_01_ids_are_kept_letter_for_letter() -> None:
    ids = ["Ann", "ann", " ann ", "AAAAAAAA-0000-4000-8000-000000000001", "é", "1", "01"]
    log = fd.MemoryEventLog()
    log.append([fd.link_created("l", name, "x") for name in ids], timestamp="2026-01-01T00:00:00Z")
    assert fd.replay(SHOWN, log)["out"].source.tolist() == ids


def test_rule_01_an_integer_id_counts_as_its_decimal_text_inside_data_too() -> None:
    log = fd.MemoryEventLog()
    log.append(fd.entity_created("post", 7, {"author_id": 3}), timestamp="2026-01-01T00:00:00Z")
    graph = fd.EntityGraph({"user": {"3": {"name": "Ann"}}})
    flow = (
        on("entity.created")
        .resolve("data.author_id", as_="author")
        .map(t="{{ entity_id }} by {{ author.name }}")
    )
    assert fd.replay(flow.deliver("out"), log, graph)["out"].t.tolist() == ["7 by Ann"]


def test_rule_01_a_flow_can_read_the_event_itself() -> None:
    flow = (
        on("link.created").map(t="{{ event.kind }} {{ event.timestamp }} {{ event.seq_no }}").deliver("out")
    )
    log = log_of(
        """
        | at       | kind         | link_type | source_id | target_id |
        | 09:00    | link.created | likes     | ann       | p1        |
        | 09:00:01 | link.created | likes     | bob       | p1        |
        """
    )
    assert fd.replay(flow, log)["out"].t.tolist() == [
        "link.created 2026-01-01T09:00:00Z 1",
        "link.created 2026-01-01T09:00:01Z 2",
    ]


def test_rule_02_a_log_is_processed_in_the_order_of_its_numbers_not_of_its_times() -> None:
    log = log_of(
        """
        | at    | kind         | link_type | source_id | target_id |
        | 10:00 | link.created | likes     | ann       | p1        |
        | 09:00 | link.created | likes     | bob       | p1        |
        """
    )
    assert fd.replay(SHOWN, log)["out"][["source", "no"]].values.tolist() == [["ann", "1"], ["bob", "2"]]


def test_rule_02_rows_without_numbers_are_ordered_by_time_then_position() -> None:
    rows = [(10, "late"), (9, "first"), (9, "second")]
    events = [
        {"timestamp": f"2026-01-01T{hour:02}:00:00Z", "event": fd.link_created("l", who, "x")}
        for hour, who in rows
    ]
    assert fd.replay(SHOWN, events)["out"][["source", "no"]].values.tolist() == [
        ["first", "1"],
        ["second", "2"],
        ["late", "3"],
    ]


LATE = """
    | at    | kind         | link_type | source_id | target_id |
    | 10:00 | link.created | likes     | ann       | p1        |
    | 09:00 | link.created | likes     | ann       | p1        |
    | 11:00 | link.created | likes     | ann       | p1        |
"""


def test_rule_03_the_clock_never_runs_backwards_and_late_events_are_listed() -> None:
    result = fd.replay(SHOWN, log_of(LATE))
    assert times(result["out"]) == ["10:00:00", "10:00:00", "11:00:00"]
    assert times(result["out"], "event_time") == ["10:00:00", "09:00:00", "11:00:00"]
    assert result.late.seq_no.tolist() == [2]
    assert times(result.late, "clock") == ["10:00:00"]
    assert result.late.lateness.dt.total_seconds().tolist() == [3600]


def test_rule_03_windows_read_the_clock_not_the_time_of_a_late_event() -> None:
    flow = (
        on("link.created").deduplicate("source_id", window="1h").map(no="{{ event.seq_no }}").deliver("out")
    )
    assert fd.replay(flow, log_of(LATE))["out"].no.tolist() == ["1", "3"]


def test_rule_03_events_that_no_flow_wants_move_the_clock_too() -> None:
    flow = on("link.created").batch("target_id", window="1h").map(n="{{ batch.count }}").deliver("out")
    log = log_of(
        """
        | at    | kind           | link_type | source_id | target_id | entity_type | entity_id |
        | 09:00 | link.created   | likes     | ann       | p1        |             |           |
        | 12:00 | entity.deleted |           |           |           | user        | u         |
        """
    )
    sent = fd.replay(flow, log)["out"]
    assert times(sent) == ["10:00:00"]
    assert sent.closed_by.tolist() == ["timer"]


def test_rule_03_a_clock_mark_fires_timers_although_no_event_came() -> None:
    flow = on("link.created").batch("target_id", window="1h").map(n="{{ batch.count }}").deliver("out")
    log = log_of(
        """
        | at    | kind         | link_type | source_id | target_id |
        | 09:00 | link.created | likes     | ann       | p1        |
        """
    )
    log.mark_clock("2026-01-01T10:30:00Z")
    sent = fd.replay(flow, log)["out"]
    assert sent.closed_by.tolist() == ["timer"]
    log.append(fd.link_created("likes", "bob", "p1"), timestamp="2026-01-01T10:00:00Z")
    assert fd.replay(flow, log).late.seq_no.tolist() == [2]


@pytest.mark.parametrize(
    ("trigger", "numbers"),
    [
        (on("link.created"), [1, 2]),
        (on("link.created", link_type="likes"), [1]),
        (on("link.created", link_type="like"), []),
        (on("link.deleted"), [3]),
        (on("entity.created"), [4]),
        (on("entity.updated", entity_type="user"), [5]),
        (on("entity.updated", entity_type="post"), []),
    ],
)
def test_rule_04_a_trigger_matches_kind_and_type_exactly(trigger: fd.Flow, numbers: list[int]) -> None:
    log = log_of(
        """
        | at    | kind           | link_type | source_id | target_id | entity_type | entity_id | data |
        | 09:00 | link.created   | likes     | ann       | p1        |             |           |      |
        | 09:01 | link.created   | follows   | ann       | bob       |             |           |      |
        | 09:02 | link.deleted   | likes     | ann       | p1        |             |           |      |
        | 09:03 | entity.created |           |           |           | user        | ann       | {}   |
        | 09:04 | entity.updated |           |           |           | user        | ann       | {}   |
        """
    )
    assert fd.replay(trigger.map(t="x").deliver("out"), log)["out"].seq_no.tolist() == numbers
