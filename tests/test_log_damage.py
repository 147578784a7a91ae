"""Files of a log that are not as they were written: nothing wrong is ever read, and verify says what is lost."""

from __future__ import annotations

import dataclasses
import random
import shutil
import warnings
from pathlib import Path

import pytest
from log_rows import read

from flowdsl.errors import DataError, FlowWarning
from flowdsl.events import entity_created
from flowdsl.log import ParquetEventLog
from flowdsl.log import segments as writing

AT = "2026-01-01T00:00:00Z"
LAST = 46


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of four segments, the first of two row groups, and a tail of several lines."""
    monkeypatch.setattr(writing, "ROWS_A_GROUP", 8)
    with ParquetEventLog(tmp_path / "log", seal_rows=10) as log:
        for begin in range(0, 40, 5):
            log.append([entity_created("user", i, {"n": i}) for i in range(begin, begin + 5)], AT)
        for i in range(40, LAST):
            log.append(entity_created("user", i, {"n": i}), AT)
        log.ack("mailer", 17)
        log.mark_clock(AT)
    return tmp_path / "log"


WHOLE = {i + 1: str(i) for i in range(LAST)}


def flip(path: Path, byte: int, bit: int = 3) -> None:
    content = bytearray(path.read_bytes())
    content[byte] ^= 1 << bit
    path.write_bytes(content)


def mended(folder: Path) -> dict[int, str]:
    """What can be read after verify(repair=True), which must leave a log that can be used."""
    with ParquetEventLog(folder) as log:
        found = log.verify(repair=True)
        assert ("set aside" in str(found)) == (not found.ok)
        assert log.verify().ok, str(log.verify())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FlowWarning)
            kept = read(folder)
        gaps = [(row.row, row.reason) for row in log.problems.itertuples() if row.problem == "missing"]
        assert bool(gaps) == (kept != WHOLE)
        assert log.append(entity_created("user", "after", {}), AT) > LAST
    return kept


def kinds_of_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".parquet", ".log", ".sqlite"))


def test_a_log_that_is_whole_says_so(folder: Path) -> None:
    assert read(folder) == WHOLE
    found = ParquetEventLog(folder).verify()
    assert (found.ok, found.segments, found.events) == (True, 4, LAST)
    assert str(found) == f"4 segments and the tail checked, {LAST} events whole"
    assert found.frame.empty


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("times", [12, pytest.param(60, marks=pytest.mark.slow)])
def test_a_flipped_bit_in_any_file_is_never_read_as_something_else(
    folder: Path, tmp_path: Path, number: int, times: int
) -> None:
    path = kinds_of_files(folder)[number]
    chance = random.Random(number)
    for _ in range(times):
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        flip(copy / path.name, chance.randrange(path.stat().st_size), chance.randrange(8))
        try:
            got, position = read(copy), ParquetEventLog(copy).position("mailer")
            assert (got, position) == (WHOLE, 17), "read as something else"
            said = None
        except DataError as error:
            said = str(error)
            assert path.name in said, said
            assert "verify" in said, said
        verified = ParquetEventLog(copy).verify()
        assert said is None or not verified.ok, said
        kept = mended(copy)
        assert kept.items() <= WHOLE.items()
        if path.suffix == ".sqlite":
            assert kept == WHOLE
        shutil.rmtree(copy)


def test_only_the_damaged_row_group_of_a_segment_is_given_up(folder: Path) -> None:
    path = kinds_of_files(folder)[0]
    # the magic bytes, then the first page of the first row group
    flip(path, 60)
    with pytest.raises(DataError, match="the segment of events 1 to 10 is damaged"):
        read(folder)
    found = ParquetEventLog(folder).verify()
    assert [(d.first, d.last) for d in found.damage] == [(1, 8)]
    assert "row group 0 (events 1 to 8) is damaged in seq_no" in str(found)
    assert mended(folder) == {n: WHOLE[n] for n in WHOLE if n > 8}
    assert (folder / "quarantine" / path.name).is_file()


def test_reading_past_what_is_lost_warns_and_problems_name_it(folder: Path) -> None:
    kinds_of_files(folder)[1].unlink()
    found = ParquetEventLog(folder).verify()
    assert "the segment of events 11 to 20 is missing" in str(found)
    log = ParquetEventLog(folder)
    log.verify(repair=True)
    with pytest.warns(FlowWarning, match="events 11 to 20 are no longer in the log"):
        assert len(list(log.read())) > 0
    (row,) = log.problems.itertuples()
    assert (row.row, row.problem) == (11, "missing")
    assert "(its file was missing)" in row.reason
    assert log.count() == LAST - 10


def test_a_damaged_line_of_the_tail_is_set_aside_and_its_neighbours_stay(folder: Path) -> None:
    tail = folder / "tail.log"
    lines = tail.read_bytes().splitlines(keepends=True)
    flip(tail, len(b"".join(lines[:3])) + 20)
    with pytest.raises(DataError, match="event 43"):
        read(folder)
    with pytest.raises(DataError, match=r"(?s)tail\.log is damaged.*verify"):
        ParquetEventLog(folder).append(entity_created("user", "x", {}))
    found = ParquetEventLog(folder).verify()
    assert [(d.first, d.last) for d in found.damage] == [(43, 43)]
    assert mended(folder) == {n: WHOLE[n] for n in WHOLE if n != 43}
    assert (folder / "quarantine" / "tail.log").is_file()


def test_an_acknowledged_end_that_is_gone_is_damage_and_its_numbers_are_not_used_again(folder: Path) -> None:
    tail = folder / "tail.log"
    tail.write_bytes(tail.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"tail\.log is damaged"):
        ParquetEventLog(folder).append(entity_created("user", "x", {}))
    assert mended(folder) == {n: WHOLE[n] for n in WHOLE if n < LAST}


def test_a_torn_end_that_was_not_acknowledged_is_dropped(folder: Path) -> None:
    tail = folder / "tail.log"
    whole = tail.read_bytes()
    tail.write_bytes(whole + whole.splitlines(keepends=True)[-1][:-9])
    assert read(folder) == WHOLE
    assert ParquetEventLog(folder).verify().ok
    with ParquetEventLog(folder) as log:
        assert log.append(entity_created("user", LAST, {}), AT) == LAST + 1
    assert read(folder) == {**WHOLE, LAST + 1: str(LAST)}


def test_a_whole_line_behind_the_end_counts_once_no_writer_is_there(folder: Path) -> None:
    # written and synced, and then the power went before the head said so
    tail = folder / "tail.log"
    content = tail.read_bytes()
    begin = content.index(b"\n") + 1
    line = content.splitlines(keepends=True)[-1]
    head = head_that_ends(content, len(content) - len(line))
    tail.write_bytes(head + content[begin:])
    assert read(folder) == WHOLE
    with ParquetEventLog(folder) as log:
        assert log.append(entity_created("user", LAST, {}), AT) == LAST + 1


def head_that_ends(content: bytes, end: int) -> bytes:
    from flowdsl.log.wal import HEAD, parse_head

    was = parse_head(content[:HEAD])
    assert was is not None
    return dataclasses.replace(was, end=end, last=was.last - 1).encode()


@pytest.mark.parametrize("name", ["tail.log", "log.sqlite"])
def test_a_file_that_is_gone_is_named_and_the_rest_can_be_used(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=name):
        read(folder)
    with pytest.raises(DataError, match=name):
        ParquetEventLog(folder).append(entity_created("user", "x", {}))
    assert f"{name} is missing" in str(ParquetEventLog(folder).verify())
    sealed = {n: WHOLE[n] for n in WHOLE if n <= 40}
    assert mended(folder) == (sealed if name == "tail.log" else WHOLE)


def test_verify_needs_a_log(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no log"):
        ParquetEventLog(tmp_path / "none").verify()
