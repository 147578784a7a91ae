"""Events whose id a log has already: kept, or left out, counted and told (rule 31)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flowdsl as fd
from flowdsl.cli.main import main

Make = Callable[[], Any]


@pytest.fixture(params=["memory", "folder"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Opens the log; one in a folder is opened anew each time."""
    if request.param == "memory":
        log = fd.MemoryEventLog()
        return lambda: log

    def opened() -> fd.ParquetEventLog:
        return fd.ParquetEventLog(tmp_path / "log", seal_rows=4)

    return opened


def event(id: str | None, who: str = "ann") -> dict[str, Any]:
    return {"id": id, "timestamp": "2026-01-01T00:00:00Z", "event": fd.link_created("likes", who, "post")}


def ids(log: Any) -> list[str | None]:
    return [name for batch in log.read() for name in batch.column("event_id").to_pylist()]


def test_rule_31_an_event_that_is_appended_again_is_kept_or_left_out(make: Make):
    log = make()
    log.append([event("a"), event("b")])
    assert log.append(event("a")) == 3
    assert log.append([event("b"), event("c"), event("c"), event(None), event(None)], duplicates="drop") == 6
    assert ids(log) == ["a", "b", "a", "c", None, None]
    assert log.problem_counts["duplicate"] == 2
    assert log.problems["text"].tolist() == ["b", "c"]


def test_rule_31_frames_and_other_logs_are_looked_through_too(make: Make):
    log = make()
    log.append([event(name) for name in "abc"])
    rows = [{"event_id": name, "kind": "entity.deleted", "timestamp": "2026-01-01T00:00:00Z", "entity_type": "u",
             "entity_id": "x"} for name in ("c", "d", "d")]  # fmt: skip
    assert log.append(pl.DataFrame(rows), duplicates="drop") == 4
    other = fd.MemoryEventLog()
    other.append([event("d"), event("e")])
    assert log.append(other, duplicates="drop") == 5
    assert ids(log) == list("abcde")


def test_rule_31_ids_are_known_after_the_log_was_opened_again_sealed_and_compacted(tmp_path: Path):
    names = [f"id-{n}" for n in range(50)]
    for n in range(0, 50, 5):
        with fd.ParquetEventLog(tmp_path / "log", seal_rows=7) as log:
            assert log.append([event(name) for name in names[: n + 5]], duplicates="drop") == n + 5
    with fd.ParquetEventLog(tmp_path / "log", seal_rows=7) as log:
        log.seal()
        log.compact()
        assert log.append([event(name) for name in names], duplicates="drop") == 50
        assert ids(log) == names


def test_rule_31_files_of_ids_that_are_lost_or_damaged_are_made_again(tmp_path: Path):
    with fd.ParquetEventLog(tmp_path / "log", seal_rows=2) as log:
        log.append([event(name) for name in "abcd"], duplicates="drop")
        log.append(event("a"), duplicates="drop")
    files = sorted((tmp_path / "log" / "ids").iterdir())
    assert files
    content = bytearray(files[0].read_bytes())
    content[-1] ^= 1
    files[0].write_bytes(content)
    for path in files[1:]:
        path.unlink()
    with fd.ParquetEventLog(tmp_path / "log", seal_rows=2) as log:
        assert log.append([event(name) for name in "abcde"], duplicates="drop") == 5
        assert log.verify().ok


def test_rule_31_reading_and_converting_leave_out_what_stands_above(tmp_path: Path):
    rows = [
        {"event_id": name, "kind": "entity.deleted", "timestamp": "2026-01-01T00:00:00Z", "entity_type": "u",
         "entity_id": str(n)} for n, name in enumerate(["a", "b", "a", None, None])
    ]  # fmt: skip
    kept, dropped = fd.read_events(rows), fd.read_events(rows, duplicates="drop")
    assert (len(kept), len(dropped)) == (5, 4)
    assert kept.problem_counts["duplicate"] == dropped.problem_counts["duplicate"] == 1
    assert dropped.problems["reason"].tolist() == ["event_id 'a' repeats an earlier one: left out"]
    log = fd.ParquetEventLog(tmp_path / "log")
    assert fd.convert(rows, log, duplicates="drop").events == 4
    again = fd.convert([*rows, {**rows[0], "event_id": "new"}], log, duplicates="drop")
    # the two without an id are known by their content
    assert (again.events, again.dropped) == (1, 5)


def test_rule_31_what_was_split_from_one_row_is_one(tmp_path: Path):
    rows = [{"event_id": "a", "kind": "pair", "timestamp": "2026-01-01T00:00:00Z", "link_type": "l", "source_id": "x",
             "target_id": "y"}]  # fmt: skip
    split = {"pair": ["link.created", "link.deleted"]}
    log = fd.ParquetEventLog(tmp_path / "log")
    assert [fd.convert(rows, log, split=split, duplicates="drop").events for _ in range(2)] == [2, 0]
    assert len(fd.read_events(rows * 2, split=split, duplicates="drop")) == 2


def test_rule_31_the_command_converts_without_duplicates(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps(event(name)) + "\n" for name in "aab"))
    for _ in range(2):
        assert main(["convert", str(path), str(tmp_path / "log"), "--duplicates", "drop"]) == 0
    said = capsys.readouterr().out
    assert "2 events appended" in said
    assert "3 events left out" in said


def test_rule_31_duplicates_are_kept_or_dropped_and_nothing_else(make: Make):
    with pytest.raises(fd.DataError, match="duplicates='skip'"):
        make().append(event("a"), duplicates="skip")


@settings(max_examples=25 * settings().max_examples // 20)
@given(
    st.lists(st.tuples(st.lists(st.integers(0, 12), max_size=9), st.booleans(), st.booleans()), max_size=8)
)
def test_rule_31_no_id_is_there_twice_and_none_is_lost(
    tmp_path_factory: pytest.TempPathFactory, appends: list[tuple[list[int], bool, bool]]
):
    folder = tmp_path_factory.mktemp("logs") / "log"
    log, expected = fd.ParquetEventLog(folder, seal_rows=5), []
    for names, reopened, sealed in appends:
        if reopened:
            log.close()
            log = fd.ParquetEventLog(folder, seal_rows=5)
        log.append([event(str(name)) for name in names], duplicates="drop")
        expected += [str(name) for name in dict.fromkeys(names) if str(name) not in expected]
        if sealed:
            log.seal()
    assert ids(log) == expected
    log.close()


@pytest.mark.parametrize("with_ids", [True, False])
def test_converting_twice_adds_nothing_twice(with_ids: bool, tmp_path: Path):
    likes = [
        {"at": f"2026-01-01T09:0{n % 3}:00Z", "by": "ann", "what": f"p{n % 2}", "id": f"e{n}"}
        for n in range(8)
    ]
    columns: dict[str, Any] = {
        "timestamp": "at", "kind": fd.literal("link.created"), "link_type": fd.literal("likes"),
        "source_id": "by", "target_id": "what", **({"event_id": "id"} if with_ids else {}),
    }  # fmt: skip
    with fd.ParquetEventLog(tmp_path / "log") as log:
        added = [fd.convert(likes[:n], log, columns, duplicates="drop").events for n in (5, 5, 8, 8)]
        # six of the eight are different, and the others are kept as often as the source has them
        assert added == [5, 0, 3, 0]
        assert log.last_seq_no() == 8
