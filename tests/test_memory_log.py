"""A log in memory: appending, reading, consumers and their positions."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowdsl.errors import DataError
from flowdsl.events import EVENT_COLUMNS, entity_created, entity_deleted, link_created
from flowdsl.log import MemoryEventLog, ParquetEventLog, Position
from flowdsl.log.columns import SCHEMA

AT = "2024-01-01T00:00:00Z"


def log_of(count: int) -> MemoryEventLog:
    log = MemoryEventLog()
    log.append([entity_deleted("user", i) for i in range(1, count + 1)], AT)
    return log


def test_append_numbers_events_from_one_and_ignores_their_own_numbers() -> None:
    log = MemoryEventLog()
    assert log.last_seq_no() == 0
    assert (
        log.append({"id": "e", "timestamp": AT, "event": link_created("likes", "a", "b"), "seq_no": 77}) == 1
    )
    assert log.append([entity_deleted("user", "a"), entity_deleted("user", "b")]) == 3
    assert log.append([]) == 3
    assert len(log) == log.last_seq_no() == log.count() == 3


def test_the_time_of_an_event_is_the_argument_else_its_own_else_now() -> None:
    log = MemoryEventLog()
    envelope = {"timestamp": AT, "event": entity_deleted("user", "a")}
    log.append(envelope)
    log.append(envelope, timestamp=datetime(2025, 5, 5, tzinfo=UTC))
    before = datetime.now(UTC)
    log.append(entity_deleted("user", "a"))
    times = pl.concat(log.chunks([], 10))["timestamp"].to_list()
    assert times[:2] == [datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 5, 5, tzinfo=UTC)]
    assert before <= times[2] <= datetime.now(UTC)


def test_a_chunk_has_the_promised_columns_and_types() -> None:
    log = MemoryEventLog()
    log.append(link_created("likes", "a", "b", metadata={"w": [1]}), AT)
    (chunk,) = log.chunks(["metadata", "link_type", "no such column"], 10)
    assert dict(chunk.schema) == {
        name: SCHEMA[name] for name in ("seq_no", "timestamp", "kind", "link_type", "metadata")
    }
    assert chunk["metadata"][0] == '{"w":[1]}'


@settings(max_examples=2 * settings().max_examples)
@given(st.lists(st.integers(1, 40), max_size=6), st.integers(1, 50), st.integers(0, 100))
def test_any_chunk_size_and_any_way_of_appending_give_the_same_events(
    appends: list[int], size: int, after: int
) -> None:
    log = MemoryEventLog()
    ids: list[str] = []
    for count in appends:
        some = [f"u{len(ids) + i}" for i in range(count)]
        ids += some
        log.append([entity_deleted("user", name) for name in some], AT)
        assert log.last_seq_no() == len(ids)
        list(log.chunks([], 7))
    chunks = list(log.chunks(["entity_id"], size, after))
    assert all(0 < chunk.height <= size for chunk in chunks)
    assert [i for chunk in chunks for i in chunk["entity_id"]] == ids[after:]
    assert [n for chunk in chunks for n in chunk["seq_no"]] == list(range(after + 1, len(ids) + 1))


def test_chunks_are_of_the_moment_they_were_asked_for() -> None:
    log = log_of(2)
    chunks = log.chunks([], 1)
    log.append(entity_deleted("user", 3), AT)
    assert [chunk["seq_no"][0] for chunk in chunks] == [1, 2]


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_what_is_done_to_a_chunk_is_not_seen_by_other_readers(kind: str, tmp_path: Path) -> None:
    log = MemoryEventLog() if kind == "memory" else ParquetEventLog(tmp_path / "log")
    log.append([entity_deleted("user", i) for i in range(3)], AT)
    chunk = next(log.chunks(EVENT_COLUMNS, 10))
    chunk.drop_in_place("data")
    chunk[0, "entity_id"] = "changed"
    assert next(log.chunks(EVENT_COLUMNS, 10))["entity_id"].to_list() == ["0", "1", "2"]
    assert log.subscribe("c", 1).take()["entity_id"].to_list() == ["0", "1", "2"]


def test_a_frame_is_appended_as_it_stands_and_its_bad_rows_are_reported() -> None:
    frame = pd.DataFrame({
        "kind": ["entity.deleted", "entity.gone", "entity.deleted"], "entity_type": "user", "entity_id": [3, 2, 1],
        "timestamp": pd.to_datetime(["2024-01-02", "2024-01-02", "2024-01-01"], utc=True),
    })  # fmt: skip
    log = log_of(1)
    assert log.append(frame) == 3
    assert pl.concat(log.chunks(["entity_id"], 10))["entity_id"].to_list() == ["1", "3", "1"]
    assert log.problems[["place", "row", "problem"]].values.tolist() == [["frame", 1, "broken"]]
    assert "entity.gone" in log.problems.reason[0]
    assert log.broken == 1


def test_another_log_can_be_appended() -> None:
    log = log_of(2)
    assert log.append(log_of(3)) == 5
    assert log.append(log) == 10


def test_one_bad_event_among_many_leaves_the_log_as_it_was() -> None:
    log = log_of(2)
    with pytest.raises(DataError, match="event 1: unknown kind"):
        log.append([entity_deleted("user", "a"), {"kind": "entity.vanished"}])
    assert log.last_seq_no() == 2


@pytest.mark.parametrize("thing", ["events.jsonl", 7, None])
def test_what_cannot_be_appended_is_refused(thing: object) -> None:
    with pytest.raises(DataError, match="cannot be appended"):
        MemoryEventLog().append(thing)


def test_read_gives_arrow_batches_of_the_event_table_between_two_numbers_or_times() -> None:
    log = log_of(5)
    log.append(entity_deleted("user", 6), "2024-01-02T00:00:00Z")
    batches = list(log.read())
    assert batches[0].schema.names == list(EVENT_COLUMNS)
    assert [n for b in log.read(2, 4) for n in b.column("seq_no").to_pylist()] == [2, 3]
    assert [n for b in log.read(start="2024-01-02T00:00:00Z") for n in b.column("seq_no").to_pylist()] == [6]
    assert sum(b.num_rows for b in log.read(stop=datetime(2024, 1, 2, tzinfo=UTC))) == 5
    assert list(log.read(7)) == []


def seq_nos(log: MemoryEventLog, position: Position | str | int) -> list[int]:
    return log.subscribe("c", position).take()["seq_no"].to_list()


def test_a_subscription_starts_where_it_is_told() -> None:
    log = log_of(5)
    assert seq_nos(log, "beginning") == seq_nos(log, Position.LAST_ACKNOWLEDGED) == [1, 2, 3, 4, 5]
    assert seq_nos(log, "latest") == []
    assert seq_nos(log, 4) == [4, 5]
    log.ack("c", 2)
    assert seq_nos(log, "last_acknowledged") == [3, 4, 5]
    assert log.position("c") == 2
    assert log.position("somebody else") == 0


def test_seek_to_a_number_starts_at_that_number_and_ack_may_go_back() -> None:
    log = log_of(5)
    log.seek("c", 3)
    assert seq_nos(log, "last_acknowledged") == [3, 4, 5]
    log.ack("c", 5)
    log.ack("c", 1)
    assert seq_nos(log, "last_acknowledged") == [2, 3, 4, 5]
    log.seek("c", "latest")
    assert seq_nos(log, "last_acknowledged") == []
    log.seek("c", "beginning")
    assert seq_nos(log, "last_acknowledged") == [1, 2, 3, 4, 5]


def test_unknown_positions_and_numbers_are_refused() -> None:
    log = log_of(2)
    with pytest.raises(DataError, match=r"'latst'.*\n.*allowed.*\n.*did you mean 'latest'"):
        log.subscribe("c", "latst")
    with pytest.raises(DataError, match="negative"):
        log.seek("c", -1)
    with pytest.raises(DataError, match="no event 3 to acknowledge"):
        log.ack("c", 3)
    with pytest.raises(DataError, match="named by text"):
        log.subscribe("", 1)


def test_a_subscription_gives_envelopes_then_waits_for_what_comes() -> None:
    log = MemoryEventLog()
    log.append({"id": "e1", "timestamp": AT, "event": entity_created("user", "ann", {"n": 1})})
    got: list[dict[str, object]] = []
    subscription = log.subscribe("c", "beginning")

    def read() -> None:
        with subscription:
            for event in subscription:
                got.append(event)
                if len(got) == 2:
                    return

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.05)
    log.append(entity_deleted("user", "ann"), AT)
    reader.join(5)
    assert [event["seq_no"] for event in got] == [1, 2]
    assert got[0] == {
        "id": "e1",
        "timestamp": AT,
        "seq_no": 1,
        "event": entity_created("user", "ann", {"n": 1}),
    }


def test_a_subscription_says_how_far_it_is() -> None:
    log = MemoryEventLog()
    log.append([link_created("likes", "ann", "post")] * 3)
    with log.subscribe("mailer", "beginning") as subscription:
        next(subscription)
        subscription.take()
        assert repr(subscription) == "<Subscription 'mailer', read up to event 3>"
    assert repr(subscription) == "<Subscription 'mailer', closed>"


def test_closing_a_subscription_ends_its_waiting() -> None:
    subscription = MemoryEventLog().subscribe("c", "beginning")
    threading.Timer(0.05, subscription.close).start()
    assert list(subscription) == []


def test_clock_marks_say_after_which_event_the_clock_was_read() -> None:
    log = log_of(2)
    assert log.clock_marks().height == 0
    log.mark_clock("2024-01-01T00:05:00Z")
    log.append(entity_deleted("user", 3), AT)
    log.mark_clock(datetime(2024, 1, 2, tzinfo=UTC))
    marks = log.clock_marks()
    assert marks["seq_no"].to_list() == [2, 3]
    assert marks["clock"].to_list()[1] == datetime(2024, 1, 2, tzinfo=UTC)


def test_events_appended_from_several_threads_are_all_there() -> None:
    log = MemoryEventLog()
    threads = [
        threading.Thread(target=lambda: [log.append(entity_deleted("user", i), AT) for i in range(200)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        list(log.chunks([], 50))
    for thread in threads:
        thread.join()
    assert pl.concat(log.chunks([], 1000))["seq_no"].to_list() == list(range(1, 801))


@given(st.lists(st.integers(1, 40) | st.floats(0, 1), min_size=5, max_size=40))
def test_readers_that_keep_up_and_those_that_lag_get_what_was_appended(actions: list[int | float]) -> None:
    log = MemoryEventLog()
    for action in actions:
        if isinstance(action, int):
            first = log.last_seq_no() + 1
            log.append([entity_deleted("user", i) for i in range(first, first + action)], AT)
        else:
            after = int(action * log.last_seq_no())
            frames = list(log.chunks({"seq_no", "entity_id"}, 16, after))
            numbers = [n for frame in frames for n in frame["seq_no"].to_list()]
            assert numbers == list(range(after + 1, log.last_seq_no() + 1))
            assert [i for frame in frames for i in frame["entity_id"].to_list()] == list(map(str, numbers))
