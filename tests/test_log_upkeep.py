"""Compaction, retention, and readers that go on meanwhile."""

from __future__ import annotations

import os
import stat
import threading
import time
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowdsl as fd
from flowdsl.errors import DataError, FlowWarning
from flowdsl.events import entity_created, link_created
from flowdsl.log import MemoryEventLog, ParquetEventLog
from flowdsl.log import segments as writing

DAY = timedelta(days=1)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def filled(folder: Path, days: int = 10, a_day: int = 5) -> ParquetEventLog:
    """A log with a segment a day, and a tail of one event."""
    log = ParquetEventLog(folder, seal_rows=a_day)
    for day in range(days):
        log.append([entity_created("user", day * a_day + i, {}) for i in range(a_day)], BEGIN + day * DAY)
    log.append(entity_created("user", "last", {}), BEGIN + days * DAY)
    return log


def numbers(log: ParquetEventLog) -> list[int]:
    return [n for batch in log.read() for n in batch.column("seq_no").to_pylist()]


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def test_compaction_makes_one_segment_of_many_and_changes_nothing_else(tmp_path: Path) -> None:
    with filled(tmp_path) as log:
        before = [batch.to_pylist() for batch in log.read()]
        log.ack("c", 17)
        assert len(segments(tmp_path)) == 10
        assert log.compact() == 9
        assert log.compact() == 0
        assert len(segments(tmp_path)) == 1
        assert [row for rows in before for row in rows] == [r for b in log.read() for r in b.to_pylist()]
        assert log.position("c") == 17
        assert log.verify().ok
        assert log.append(entity_created("user", "x", {})) == 52


def test_compaction_keeps_to_the_size_of_a_segment_and_leaves_large_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "ROWS_A_SEGMENT", 24)
    with filled(tmp_path) as log:
        assert log.compact() == 7
        assert [s.name[7:27].lstrip("0") for s in segments(tmp_path)] == ["1", "21", "41"]
        assert numbers(log) == list(range(1, 52))


def test_a_damaged_segment_is_not_compacted_into_a_good_one(tmp_path: Path) -> None:
    with filled(tmp_path) as log:
        path = segments(tmp_path)[3]
        content = bytearray(path.read_bytes())
        content[100] ^= 1
        path.write_bytes(content)
        with pytest.raises(DataError, match="events 16 to 20 is damaged"):
            log.compact()
        assert len(segments(tmp_path)) >= 10
        assert not log.verify().ok


def test_a_reader_goes_on_over_a_compaction_and_a_retention(tmp_path: Path) -> None:
    with filled(tmp_path) as log:
        reader = ParquetEventLog(tmp_path).chunks([], 2)
        first = next(reader)["seq_no"].to_list()
        log.compact()
        rest = [n for chunk in reader for n in chunk["seq_no"].to_list()]
        assert first + rest == list(range(1, 52))
    with filled(tmp_path / "other") as log:
        reader = ParquetEventLog(tmp_path / "other").chunks([], 2)
        begin = next(reader)["seq_no"].to_list()
        log.retain(max_age="3d")
        found = begin + [n for chunk in reader for n in chunk["seq_no"].to_list()]
        assert found[-16:] == list(range(36, 52))
        assert found == sorted(set(found))


def test_threads_append_while_the_log_is_compacted(tmp_path: Path) -> None:
    with ParquetEventLog(tmp_path, "none", seal_rows=20) as log:
        log.append([])

        def append(name: str) -> None:
            for i in range(100):
                log.append([entity_created("user", f"{name}{i}.{j}", {}) for j in range(3)])

        threads = [threading.Thread(target=append, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            log.compact()
            found = numbers(log)
            assert found == list(range(1, len(found) + 1))
        for thread in threads:
            thread.join()
        assert numbers(log) == list(range(1, 901))
        assert log.verify().ok


def test_retention_by_age_counts_from_the_newest_event_or_from_now(tmp_path: Path) -> None:
    with filled(tmp_path) as log:
        assert log.retain(max_age="30d") == 0
        # the newest event is of day 10: those of day 0 to 6 are older than three days
        assert log.retain(max_age="3d") == 35
        assert len(segments(tmp_path)) == 3
        assert log.retain(max_age=timedelta(days=3), now=BEGIN + 12 * DAY) == 10
        assert log.last_seq_no() == 51
        assert log.count() == 6


def test_retention_by_size_keeps_the_newest_segments_that_fit(tmp_path: Path) -> None:
    with filled(tmp_path) as log:
        size = segments(tmp_path)[-1].stat().st_size
        assert log.retain(max_bytes=4 * size + 1000) >= 25
        assert 2 <= len(segments(tmp_path)) <= 4
        assert log.retain(max_bytes=0) > 0
        with pytest.warns(FlowWarning, match="events 1 to 50"):
            assert numbers(log) == [51]
        assert log.append(entity_created("user", "x", {})) == 52


def test_retention_is_told_one_limit_that_is_one(tmp_path: Path) -> None:
    with filled(tmp_path, days=1) as log:
        for wrong in ({}, {"max_age": "1d", "max_bytes": 1}, {"max_bytes": -1}, {"max_bytes": True}):
            with pytest.raises(DataError, match=r"retain needs one limit|max_bytes="):
                log.retain(**wrong)


def test_a_replay_of_a_log_whose_beginning_is_gone_says_so_and_positions_go_on(tmp_path: Path) -> None:
    flow = fd.on("link.created").map(title="x").deliver("in-app")
    with ParquetEventLog(tmp_path, seal_rows=5) as log:
        log.append([link_created("likes", i, "post") for i in range(5)], BEGIN)
        log.append([link_created("likes", i, "post") for i in range(5)], BEGIN + DAY)
        log.mark_clock(BEGIN, after=2)
        log.mark_clock(BEGIN + DAY)
        log.ack("behind", 3)
        log.ack("beyond", 8)
        assert log.retain(max_age="1h") == 5
        with pytest.warns(FlowWarning, match=r"events 1 to 5 are no longer in the log \(retained\)"):
            result = fd.replay(flow, log)
        assert result["in-app"]["seq_no"].tolist() == [6, 7, 8, 9, 10]
        with pytest.warns(FlowWarning, match="events 1 to 5"):
            assert log.subscribe("behind", "last_acknowledged").take()["seq_no"].to_list() == [6, 7, 8, 9, 10]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert log.subscribe("beyond", "last_acknowledged").take()["seq_no"].to_list() == [9, 10]
            assert fd.ParquetEventLog(tmp_path).verify().ok
        assert log.clock_marks()["seq_no"].to_list() == [10]
        assert log.problems["reason"].tolist() == ["events 1 to 5 are no longer in the log (retained)"]


def test_reading_between_times_opens_only_the_segments_that_have_them(tmp_path: Path) -> None:
    with filled(tmp_path) as log:
        for path in segments(tmp_path)[:3] + segments(tmp_path)[5:]:
            path.write_bytes(b"not to be read")
        fresh = ParquetEventLog(tmp_path)
        found = [
            n for b in fresh.read(BEGIN + 3 * DAY, BEGIN + 5 * DAY) for n in b.column("seq_no").to_pylist()
        ]
        assert found == list(range(16, 26))
        assert len(list(fresh.read(16, 26))) > 0
        with pytest.raises(DataError, match="damaged"):
            list(fresh.read(BEGIN + 2 * DAY))
        assert log.last_seq_no() == 51


# -- positions ---------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "parquet"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made = MemoryEventLog() if request.param == "memory" else ParquetEventLog(tmp_path / "log", seal_rows=4)
    made.append([entity_created("user", i, {}) for i in range(6)], BEGIN)
    return made


def after(log: Any, position: Any, consumer: str = "c") -> list[int]:
    return log.subscribe(consumer, position).take()["seq_no"].to_list()


def test_a_consumer_starts_at_any_of_the_four_positions(log: Any) -> None:
    log.ack("c", 2)
    assert after(log, "beginning") == [1, 2, 3, 4, 5, 6]
    assert after(log, "latest") == []
    assert after(log, "last_acknowledged") == [3, 4, 5, 6]
    assert after(log, 4) == [4, 5, 6]
    assert after(log, fd.Position.LAST_ACKNOWLEDGED, "somebody new") == [1, 2, 3, 4, 5, 6]


def test_subscribing_at_a_number_and_seeking_it_both_start_at_that_number(log: Any) -> None:
    for number in range(8):
        log.seek("c", number)
        assert (
            after(log, "last_acknowledged") == after(log, number) == [n for n in range(1, 7) if n >= number]
        )


def test_seeking_a_name_moves_the_consumer_there(log: Any) -> None:
    log.ack("c", 4)
    log.seek("c", "last_acknowledged")
    assert log.position("c") == 4
    log.seek("c", "beginning")
    assert log.position("c") == 0
    log.seek("c", "latest")
    assert log.position("c") == 6
    log.append(entity_created("user", "new", {}), BEGIN)
    assert after(log, "last_acknowledged") == [7]


def test_a_consumer_may_go_back_and_may_wait_for_what_is_to_come(log: Any) -> None:
    log.ack("c", 5)
    log.ack("c", 1)
    assert after(log, "last_acknowledged") == [2, 3, 4, 5, 6]
    with pytest.raises(DataError, match="no event 7"):
        log.ack("c", 7)
    log.seek("c", 8)
    log.append([entity_created("user", i, {}) for i in range(2)], BEGIN)
    assert after(log, "last_acknowledged") == [8]


# -- whose files, whose names ---------------------------------------------------------------------------------


def test_all_files_are_their_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with filled(tmp_path / "log") as log:
            log.ack("c", 3)
            log.compact()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "log").iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert {"tail.log", "log.sqlite", "writer.lock"} <= set(modes)


HOSTILE = [
    "a'; b", '"', "../../x", "a/b", "\n", "\x00", "tail.log\n00000000 1 1 []", "%s{0}",
    "$(touch x)", "é\u202e", "x" * 10_000,
]  # fmt: skip


@given(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1)), min_size=1, max_size=6))
def test_no_id_and_no_name_does_anything_but_stand_for_itself(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("hostile") / "log"
    names = [name for name in names if name.isascii() or name.encode("utf-8", "replace").decode() == name]
    with ParquetEventLog(folder, "none", seal_rows=3) as log:
        for name in [*names, "x"]:
            log.append([entity_created(name, name, {name: name}), link_created(name, name, name)], BEGIN)
            log.seek(name, log.last_seq_no())
        log.compact()
    fresh = ParquetEventLog(folder)
    rows = [row for batch in fresh.read() for row in batch.to_pylist()]
    assert [row["entity_id"] for row in rows[::2]] == [*names, "x"]
    assert [row["source_id"] for row in rows[1::2]] == [*names, "x"]
    last = {name: 2 * i + 1 for i, name in enumerate([*names, "x"])}
    assert {name: fresh.position(name) for name in last} == last
    assert fresh.verify().ok
    assert [path.name for path in folder.parent.iterdir()] == ["log"]


def test_a_durability_that_is_none_is_named_and_one_that_is_no_word_is_refused(tmp_path: Path) -> None:
    assert repr(ParquetEventLog("log")) == "<ParquetEventLog 'log', durability='commit'>"
    assert "durability='none'" in repr(ParquetEventLog("log", "none"))
    with pytest.raises(DataError, match=r"(?s)durability='comit'.*did you mean 'commit'"):
        ParquetEventLog("log", "comit")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="seal_rows=0"):
        ParquetEventLog("log", seal_rows=0)


@pytest.mark.parametrize("durability", ["commit", "group", "none"])
def test_threads_share_syncs_and_each_is_told_its_own_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Any
) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def counted(handle: int) -> None:
        synced.append(handle)
        real(handle)

    with ParquetEventLog(tmp_path, durability) as log:
        log.append([])
        monkeypatch.setattr(os, "fdatasync", counted)
        told: dict[str, int] = {}

        def append(name: str) -> None:
            for i in range(50):
                told[f"{name}{i}"] = log.append(entity_created("user", f"{name}{i}", {}))

        threads = [threading.Thread(target=append, args=(name,)) for name in "abcdefgh"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(told.values()) == list(range(1, 401))
        found = pl.concat([pl.DataFrame(batch) for batch in log.read()])
        assert dict(zip(found["entity_id"], found["seq_no"], strict=True)) == told
    # one sync for each would be 400
    assert len(synced) == 0 if durability == "none" else 0 < len(synced) < 300


def test_a_tail_is_sealed_when_its_oldest_event_has_waited_long_enough(tmp_path: Path) -> None:
    with ParquetEventLog(tmp_path, seal_after="1ms") as log:
        log.append(entity_created("user", "a", {}))
        time.sleep(0.01)
        log.append(entity_created("user", "b", {}))
        assert len(segments(tmp_path)) == 1
    with ParquetEventLog(tmp_path / "other") as log:
        log.append(entity_created("user", "a", {}))
        assert segments(tmp_path / "other") == []
