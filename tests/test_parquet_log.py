"""A log in a folder: durable, one writer, many readers, and plain Parquet files read in place."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowdsl.errors import DataError
from flowdsl.events import EVENT_COLUMNS, entity_created, entity_deleted, link_created
from flowdsl.log import MemoryEventLog, ParquetEventLog, open_log
from flowdsl.log import parquet as parquet_log
from flowdsl.log import segments as writing
from flowdsl.log.columns import SCHEMA

AT = "2024-01-01T00:00:00Z"


def users(begin: int, end: int) -> list[dict[str, object]]:
    return [entity_created("user", i, {"n": i}) for i in range(begin, end)]


def frame(begin: int, end: int) -> pl.DataFrame:
    return pl.DataFrame({
        "kind": ["entity.created"] * (end - begin), "timestamp": [datetime(2024, 1, 1, tzinfo=UTC)] * (end - begin),
        "entity_type": ["user"] * (end - begin), "entity_id": list(range(begin, end)),
        "data": [f'{{"n":{i}}}' for i in range(begin, end)],
    })  # fmt: skip


def all_of(log: ParquetEventLog, after: int = 0, size: int = 1000) -> pl.DataFrame:
    chunks = list(log.chunks(EVENT_COLUMNS, size, after))
    return pl.concat(chunks) if chunks else pl.DataFrame(schema=SCHEMA)


def parquet_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.parquet"))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tails and segments of a few rows, so that few events fill several."""
    make_small(monkeypatch)


def make_small(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(parquet_log, "SEAL_AT", 16)
    patch.setattr(writing, "ROWS_A_GROUP", 8)
    patch.setattr(writing, "ROWS_A_SEGMENT", 24)


def test_what_was_appended_is_there_for_another_object_with_the_same_types(tmp_path: Path) -> None:
    with ParquetEventLog(tmp_path / "log") as log:
        assert log.append(link_created("likes", "a", "b", metadata={"w": 1}), AT) == 1
        assert log.append(users(0, 3), AT) == 4
    again = ParquetEventLog(tmp_path / "log")
    assert again.last_seq_no() == again.count() == 4
    got = all_of(again)
    assert dict(got.schema) == SCHEMA
    assert got["metadata"].to_list() == ['{"w":1}', None, None, None]
    assert got["entity_id"].to_list() == [None, "0", "1", "2"]
    assert again.append(users(3, 4), AT) == 5


@settings(max_examples=25 * settings().max_examples // 20, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=8), st.integers(1, 60), st.integers(0, 200),
)  # fmt: skip
def test_however_events_come_in_and_are_sealed_the_same_come_out(
    tmp_path_factory: pytest.TempPathFactory, appends: list[tuple[bool, int]], size: int, after: int
) -> None:
    folder, memory, total = tmp_path_factory.mktemp("log"), MemoryEventLog(), 0
    with pytest.MonkeyPatch.context() as patch, ParquetEventLog(folder) as log:
        make_small(patch)
        for columnar, count in appends:
            more = frame(total, total + count) if columnar else users(total, total + count)
            for each in (log, memory):
                assert each.append(more, None if columnar else AT) == total + count
            total += count
        expected = pl.concat([pl.DataFrame(schema=SCHEMA), *memory.chunks(EVENT_COLUMNS, 1000, after)])
        assert all_of(log, after, size).equals(expected)
        assert all_of(ParquetEventLog(folder), after, size).equals(expected)
        assert all(chunk.height <= size for chunk in log.chunks([], size, after))


def test_a_long_tail_is_sealed_into_immutable_segments(tmp_path: Path, small: None) -> None:
    log = ParquetEventLog(tmp_path)
    log.append(users(0, 15), AT)
    assert parquet_files(tmp_path) == []
    log.append(users(15, 16), AT)
    log.append(users(16, 18), AT)
    assert parquet_files(tmp_path) == [f"events-{1:020}-{16:020}.parquet"]
    log.seal()
    assert len(parquet_files(tmp_path)) == 2
    assert all_of(log)["seq_no"].to_list() == list(range(1, 19))
    metadata = pq.read_metadata(tmp_path / parquet_files(tmp_path)[0])
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert metadata.row_group(1).column(0).statistics.min == 9


def test_a_large_frame_goes_straight_into_segments_behind_the_tail(tmp_path: Path, small: None) -> None:
    log = ParquetEventLog(tmp_path)
    log.append(users(0, 3), AT)
    assert log.append(frame(3, 60)) == 60
    assert len(parquet_files(tmp_path)) == 3
    assert all_of(log)["entity_id"].to_list() == [str(i) for i in range(60)]


def test_an_arrow_stream_goes_into_segments_as_it_comes(tmp_path: Path, small: None) -> None:
    log = ParquetEventLog(tmp_path)
    batches = frame(0, 60).to_arrow().to_batches(max_chunksize=7)
    assert log.append(pa.RecordBatchReader.from_batches(batches[0].schema, iter(batches))) == 60
    assert len(parquet_files(tmp_path)) == 3
    assert all_of(log)["entity_id"].to_list() == [str(i) for i in range(60)]


def test_segments_that_no_catalog_lists_are_not_part_of_the_log(tmp_path: Path, small: None) -> None:
    log = ParquetEventLog(tmp_path)
    log.append(frame(0, 30))
    # what a crash between the rename and the listing leaves
    stray = tmp_path / f"events-{31:020}-{60:020}.parquet"
    stray.write_bytes((tmp_path / parquet_files(tmp_path)[0]).read_bytes())
    assert all_of(ParquetEventLog(tmp_path)).height == 30
    assert log.append(frame(30, 60)) == 60
    assert all_of(log)["entity_id"].to_list() == [str(i) for i in range(60)]


def test_an_append_that_fails_half_way_leaves_the_log_as_it_was(tmp_path: Path, small: None) -> None:
    log = ParquetEventLog(tmp_path)
    log.append(users(0, 3), AT)
    with pytest.raises(DataError, match="event 20: unknown kind"):
        log.append([*users(3, 23), {"kind": "no"}])
    with pytest.raises(DataError, match="Float64"):
        log.append(frame(3, 60).with_columns(entity_id=pl.lit(1.5)))
    assert log.last_seq_no() == all_of(log).height == 3
    assert log.append(users(3, 4), AT) == 4


def test_bad_rows_of_an_appended_frame_are_reported(tmp_path: Path) -> None:
    log = ParquetEventLog(tmp_path)
    assert log.append(frame(0, 3).with_columns(data=pl.Series(["1", "{", None]))) == 2
    assert log.problems[["row", "reason"]].values.tolist() == [
        [1, "data is text that is not JSON, or nested deeper than 128 levels"]
    ]
    assert log.broken == log.problem_counts["broken"] == 1


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("[ ", "]"), ('{"":', "}"), ('[{"":', "}]")])
def test_the_text_of_an_appended_frame_has_as_many_levels_as_there_may_be(
    tmp_path: Path, opening: str, closing: str
) -> None:
    levels = 128 // sum(map(opening.count, "[{"))
    at_most = opening * levels + "1" + closing * levels
    log = ParquetEventLog(tmp_path)
    assert log.append(frame(0, 2).with_columns(data=pl.Series([at_most, f"[{at_most}]"]))) == 1
    assert all_of(log)["data"].to_list() == [at_most]


def test_nested_data_of_an_appended_frame_becomes_json_text(tmp_path: Path) -> None:
    log = ParquetEventLog(tmp_path)
    log.append(frame(0, 2).with_columns(data=pl.Series([{"a": [1, None]}, None])))
    assert all_of(log)["data"].to_list() == ['{"a":[1,null]}', None]


def run(code: str, folder: Path) -> subprocess.Popen[str]:
    setup = """
        import sys, time
        from flowdsl.log import ParquetEventLog
        from flowdsl.events import entity_deleted
        log = ParquetEventLog(sys.argv[1])
    """
    program = textwrap.dedent(setup) + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_second_writer_is_refused_while_readers_go_on(tmp_path: Path) -> None:
    other = run(
        "log.append(entity_deleted('user', 'a')); print('written', flush=True); sys.stdin.read()", tmp_path
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "written\n"
    log = ParquetEventLog(tmp_path)
    assert all_of(log)["entity_id"].to_list() == ["a"]
    with pytest.raises(DataError, match=f"being written by process {other.pid}") as caught:
        log.append(entity_deleted("user", "b"))
    assert caught.value.hint
    log.ack("reader", 1)
    other.communicate("")
    assert log.append(entity_deleted("user", "b")) == 2
    with pytest.raises(DataError, match="by this process, through another object"):
        ParquetEventLog(tmp_path).append(entity_deleted("user", "c"))
    log.close()
    with ParquetEventLog(tmp_path) as third:
        assert third.append(entity_deleted("user", "c")) == 3


def test_what_append_returned_survives_a_killed_writer(tmp_path: Path) -> None:
    code = """
        while True:
            print(log.append([entity_deleted('user', 'a')] * 500), flush=True)
    """
    writer = run(code, tmp_path)
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(5)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in writer.communicate()[0].splitlines() if line.endswith("00")]
    log = ParquetEventLog(tmp_path)
    assert log.last_seq_no() >= acknowledged[-1]
    assert all_of(log)["seq_no"].to_list() == list(range(1, log.last_seq_no() + 1))
    assert log.append(entity_deleted("user", "b")) == log.last_seq_no()


def test_a_subscription_sees_what_another_process_appends(tmp_path: Path) -> None:
    log = ParquetEventLog(tmp_path)
    subscription = log.subscribe("c", "beginning")
    writer = run("time.sleep(0.1); log.append([entity_deleted('user', i) for i in 'ab'])", tmp_path)
    got = [next(subscription)["event"]["entity_id"] for _ in range(2)]
    writer.communicate("")
    assert got == ["a", "b"]


def test_consumers_positions_and_clock_marks_last(tmp_path: Path) -> None:
    with ParquetEventLog(tmp_path) as log:
        assert log.position("c") == log.last_seq_no() == log.count() == 0
        log.append(users(0, 5), AT)
        log.ack("c", 3)
        log.seek("d", 2)
        log.mark_clock(AT)
    again = ParquetEventLog(tmp_path)
    assert again.subscribe("c", "last_acknowledged").take()["seq_no"].to_list() == [4, 5]
    assert again.subscribe("d", "last_acknowledged").take()["seq_no"].to_list() == [2, 3, 4, 5]
    assert again.clock_marks().rows() == [(5, datetime(2024, 1, 1, tzinfo=UTC))]


def test_waiting_ends_when_an_event_comes_or_the_time_is_over(tmp_path: Path) -> None:
    log = ParquetEventLog(tmp_path)
    begin = time.monotonic()
    assert not log.wait(0, 0.05)
    assert time.monotonic() - begin < 1
    threading.Timer(0.05, log.append, [entity_deleted("user", "a")]).start()
    assert log.subscribe("c", "beginning").take(timeout=60).height == 1


def test_open_log_tells_a_log_from_a_folder_of_plain_files(tmp_path: Path) -> None:
    log = ParquetEventLog(tmp_path / "log")
    log.append(users(0, 2), AT)
    assert [chunk.height for chunk in open_log(tmp_path / "log").chunks([], 10)] == [2]
    assert isinstance(open_log(str(tmp_path / "log")), ParquetEventLog)


def test_plain_files_are_read_only_and_keep_positions_for_as_long_as_the_object_lives(tmp_path: Path) -> None:
    frame(0, 3).write_parquet(tmp_path / "a.parquet")
    frame(3, 5).write_parquet(tmp_path / "b.parquet")
    for path in (tmp_path, tmp_path / "*.parquet"):
        log = ParquetEventLog(path)
        assert all_of(log)["entity_id"].to_list() == ["0", "1", "2", "3", "4"]
        assert log.last_seq_no() == log.count() == 5
        with pytest.raises(DataError, match=r"(?s)read only.*append\(open_log"):
            log.append(users(0, 1))
        log.ack("c", 3)
        assert log.subscribe("c", "last_acknowledged").take()["seq_no"].to_list() == [4, 5]
        assert log.problems.empty
    assert not (tmp_path / "log.sqlite").exists()


def test_plain_files_become_a_log_when_they_are_appended_to_one(tmp_path: Path) -> None:
    frame(0, 50).write_parquet(tmp_path / "a.parquet")
    log = ParquetEventLog(tmp_path / "log")
    assert log.append(open_log(tmp_path / "a.parquet")) == 50
    assert all_of(log)["entity_id"].to_list() == [str(i) for i in range(50)]


def test_a_log_that_was_never_written_is_empty_and_leaves_no_folder(tmp_path: Path) -> None:
    log = ParquetEventLog(tmp_path / "log")
    assert all_of(log).height == 0
    assert log.clock_marks().height == 0
    assert list(log.read()) == []
    assert not (tmp_path / "log").exists()


def test_a_missing_segment_and_a_foreign_catalog_are_named(tmp_path: Path, small: None) -> None:
    log = ParquetEventLog(tmp_path / "log")
    log.append(frame(0, 30))
    name = parquet_files(tmp_path / "log")[0]
    (tmp_path / "log" / name).unlink()
    with pytest.raises(DataError, match=name):
        all_of(log)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "log.sqlite").write_text("this is not a database, whatever its name says" * 50)
    with pytest.raises(DataError, match="catalog cannot be used"):
        ParquetEventLog(tmp_path / "other").last_seq_no()


def test_read_gives_arrow_batches_across_segments_and_tail(tmp_path: Path, small: None) -> None:
    log = ParquetEventLog(tmp_path)
    log.append(frame(0, 30))
    log.append(users(30, 33), AT)
    got = [n for batch in log.read(28, 33) for n in batch.column("seq_no").to_pylist()]
    assert got == [28, 29, 30, 31, 32]


def test_a_path_may_go_back_from_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    folder = tmp_path / "missing" / ".." / "log"
    with ParquetEventLog(folder) as log:
        log.append(entity_deleted("user", "ann"))
    assert ParquetEventLog(folder).count() == 1
