"""Logs whose files are of different times, emptied, lost, or from elsewhere: what is lost is named, the rest is used."""

from __future__ import annotations

import shutil
import sqlite3
import warnings
from pathlib import Path

import pytest
from log_rows import read_quietly

from flowdsl.errors import DataError, FlowWarning
from flowdsl.events import entity_created
from flowdsl.log import ParquetEventLog
from flowdsl.log.catalog import row_checksum

AT = "2026-01-01T00:00:00Z"
LAST = 68


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A log of four segments of ten events, and a tail of 28."""
    folder = tmp_path / "log"
    with ParquetEventLog(folder, seal_rows=10) as log:
        for begin in range(0, 40, 10):
            log.append([entity_created("user", i, {}) for i in range(begin, begin + 10)], AT)
    with ParquetEventLog(folder) as log:
        for i in range(40, LAST):
            log.append(entity_created("user", i, {}), AT)
        log.ack("mailer", 17)
    return folder


WHOLE = {i + 1: str(i) for i in range(LAST)}


def refused(folder: Path) -> str:
    """What reading and appending say; neither may change a file."""
    before = {path.name: path.read_bytes() for path in folder.glob("*.parquet")}
    said = []
    for use in (lambda log: list(log.read()), lambda log: log.append(entity_created("user", "x", {}), AT)):
        with pytest.raises(DataError) as caught, ParquetEventLog(folder) as log:
            use(log)
        said.append(str(caught.value))
        assert "verify(repair=True)" in said[-1]
    assert {path.name: path.read_bytes() for path in folder.glob("*.parquet")} == before
    assert not ParquetEventLog(folder).verify().ok
    return said[0]


def repaired(folder: Path) -> tuple[dict[int, str], list[tuple[int, int]], int]:
    """After a repair: the events, the gaps, and the number of the next event."""
    with ParquetEventLog(folder) as log:
        log.verify(repair=True)
        assert log.verify().ok, str(log.verify())
        gaps = [(gap.first, gap.last) for gap in log._log.catalog().gaps()]  # type: ignore[union-attr]
        kept = read_quietly(folder)
        following = log.append(entity_created("user", "after", {}), AT)
    lost = {n for first, last in gaps for n in range(first, min(last, LAST) + 1)}
    assert lost | set(kept) == set(WHOLE), "a loss that is not named, or named and there"
    assert not lost & set(kept)
    return kept, gaps, following


def test_an_emptied_catalog_is_not_taken_for_a_new_log(folder: Path) -> None:
    identity = ParquetEventLog(folder).identity
    (folder / "log.sqlite").write_bytes(b"")
    assert "log.sqlite: it is empty, or no catalog of a log" in refused(folder)
    assert repaired(folder) == (WHOLE, [], LAST + 1)
    assert ParquetEventLog(folder).identity == identity


def test_a_lost_catalog_of_a_log_that_has_no_segment_yet_is_noticed(tmp_path: Path) -> None:
    with ParquetEventLog(tmp_path) as log:
        log.append([entity_created("user", i, {}) for i in range(5)], AT)
        identity = log.identity
    (tmp_path / "log.sqlite").unlink()
    assert "log.sqlite is missing" in refused(tmp_path)
    with ParquetEventLog(tmp_path) as log:
        log.verify(repair=True)
        assert log.identity == identity
    assert read_quietly(tmp_path) == {i + 1: str(i) for i in range(5)}


def test_segments_that_an_older_catalog_does_not_know_are_taken_in_again(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with ParquetEventLog(folder, seal_rows=10) as log:
        log.append([entity_created("user", i, {}) for i in range(10)], AT)
        log.append([entity_created("user", i, {}) for i in range(10, 20)], AT)
    old = (folder / "log.sqlite").read_bytes()
    with ParquetEventLog(folder, seal_rows=10) as log:
        log.append([entity_created("user", i, {}) for i in range(20, 30)], AT)
        log.append([entity_created("user", i, {}) for i in range(30, 40)], AT)
        for i in range(40, 45):
            log.append(entity_created("user", i, {}), AT)
    (folder / "log.sqlite").write_bytes(old)
    assert (
        "events 21 to 40 are in no file that counts; 2 segments that log.sqlite does not know are there"
        in refused(folder)
    )
    found = ParquetEventLog(folder).verify()
    assert "events 21 to 30 are in a segment that log.sqlite does not know: repair takes it in again" in str(
        found
    )
    with ParquetEventLog(folder) as log:
        log.verify(repair=True)
        assert log.verify().ok
        assert log.problems.empty
    assert read_quietly(folder) == {i + 1: str(i) for i in range(45)}


def test_a_hole_between_the_last_segment_and_the_tail_is_named(folder: Path, tmp_path: Path) -> None:
    tail = (folder / "tail.log").read_bytes()
    with ParquetEventLog(folder) as log:
        log.seal()
        log.append(entity_created("user", LAST, {}), AT)
    with ParquetEventLog(folder) as log:
        old = sorted(folder.glob("*.parquet"))[-1]
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    # the catalog as it was before the tail was sealed, and the segment did not come along
    with sqlite3.connect(copy / "log.sqlite") as connection:
        connection.execute("DELETE FROM segments WHERE name = ?", (old.name,))
        connection.execute("DELETE FROM counter")
        connection.execute("INSERT INTO counter VALUES (40, ?)", (row_checksum((40,)),))
    connection.close()
    (copy / old.name).unlink()
    assert "events 41 to 68 are in no file that counts" in refused(copy)
    kept, gaps, following = repaired_of(copy, {**WHOLE, LAST + 1: str(LAST)})
    assert gaps == [(41, 68)]
    assert following == LAST + 2
    assert LAST + 1 in kept
    assert tail


def repaired_of(folder: Path, whole: dict[int, str]) -> tuple[dict[int, str], list[tuple[int, int]], int]:
    with ParquetEventLog(folder) as log:
        log.verify(repair=True)
        assert log.verify().ok, str(log.verify())
        gaps = [(gap.first, gap.last) for gap in log._log.catalog().gaps()]  # type: ignore[union-attr]
        kept = read_quietly(folder)
        assert kept.items() <= whole.items()
        return kept, gaps, log.append(entity_created("user", "after", {}), AT)


@pytest.mark.parametrize("how", ["emptied", "removed", "its head zeroed", "cut in the head"])
def test_the_numbers_of_a_lost_tail_are_named_and_not_given_again(folder: Path, how: str) -> None:
    tail = folder / "tail.log"
    content = tail.read_bytes()
    if how == "emptied":
        tail.write_bytes(b"")
    elif how == "removed":
        tail.unlink()
    elif how == "cut in the head":
        tail.write_bytes(content[:50])
    else:
        tail.write_bytes(bytes(160) + content[160:])
    assert "tail.log" in refused(folder)
    kept, gaps, following = repaired(folder)
    if how == "its head zeroed":
        assert kept == WHOLE
    else:
        assert kept == {n: WHOLE[n] for n in range(1, 41)}
        assert gaps[0] == (41, 68)
    assert following > LAST


def test_an_older_tail_lacks_what_was_acknowledged_since(folder: Path) -> None:
    old = (folder / "tail.log").read_bytes()
    with ParquetEventLog(folder) as log:
        for i in range(LAST, LAST + 5):
            log.append(entity_created("user", i, {}), AT)
    (folder / "tail.log").write_bytes(old)
    assert f"events {LAST + 1} to {LAST + 5} are in no file that counts" in refused(folder)
    kept, gaps, following = repaired_of(folder, WHOLE)
    assert (kept, gaps, following) == (WHOLE, [(LAST + 1, LAST + 5)], LAST + 6)


def test_a_copy_of_files_of_different_times_loses_nothing_unnamed(tmp_path: Path) -> None:
    """Each file is copied at another moment, in every order, while the log grows, seals and is compacted."""
    for order in range(6):
        folder, copy = tmp_path / f"log{order}", tmp_path / f"copy{order}"
        copy.mkdir()
        promised: dict[int, str] = {}
        with ParquetEventLog(folder, seal_rows=7) as log:
            steps = [["events-*"], ["log.sqlite"], ["tail.log"], ["writer.lock"]]
            steps = (
                steps[order % 4 :] + steps[: order % 4] if order < 4 else steps[:: -1 if order == 4 else 1]
            )
            for number, patterns in enumerate(steps):
                for i in range(11):
                    seq_no = log.append(entity_created("user", f"{number}-{i}", {}), AT)
                    if number == 0:
                        promised[seq_no] = f"{number}-{i}"
                if order % 2:
                    log.compact()
                for pattern in patterns:
                    for path in folder.glob(pattern):
                        shutil.copy(path, copy / path.name)
        with ParquetEventLog(copy) as log:
            segments = {path.read_bytes() for path in copy.glob("*.parquet")}
            try:
                log.last_seq_no()
                list(log.read())
            except DataError:
                log.verify(repair=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FlowWarning)
                kept = {r["seq_no"]: r["entity_id"] for b in log.read() for r in b.to_pylist()}
            catalog = log._log.catalog()
            assert catalog is not None
            named = {n for gap in catalog.gaps() for n in range(gap.first, gap.last + 1)}
            lost = {n: name for n, name in promised.items() if kept.get(n) != name}
            assert set(lost) <= named, (order, lost, named)
            assert log.append(entity_created("user", "after", {}), AT) > max(kept, default=0)
            assert log.verify().ok
            assert segments


@pytest.mark.parametrize(
    "name", ["/tmp/precious", "../precious.parquet", "a/../../precious.parquet", "events-x.parquet", ""]
)
def test_a_catalog_from_elsewhere_names_nothing_outside_of_the_folder(folder: Path, name: str) -> None:
    precious = folder.parent / "precious.parquet"
    precious.write_text("precious")
    with sqlite3.connect(folder / "log.sqlite") as connection:
        (row,) = connection.execute(
            "SELECT first, last, bytes, crc, statistics FROM segments WHERE first = 1"
        )
        connection.execute(
            "UPDATE segments SET name = ?, row_crc = ? WHERE first = 1", (name, row_checksum((name, *row)))
        )
    connection.close()
    uses = (
        lambda log: list(log.read()),
        lambda log: log.retain(max_bytes=0),
        lambda log: log.compact(),
        lambda log: log.append(entity_created("user", "x", {}), AT),
    )
    for use in uses:
        with pytest.raises(DataError, match="is not a name of a segment"), ParquetEventLog(folder) as log:
            use(log)
    assert not ParquetEventLog(folder).verify().ok
    assert repaired(folder) == (WHOLE, [], LAST + 1)
    assert precious.read_text() == "precious"


def test_a_segment_that_is_known_nowhere_is_kept_and_not_deleted(folder: Path) -> None:
    with ParquetEventLog(folder.parent / "other", seal_rows=10) as log:
        log.append([entity_created("user", f"other{i}", {}) for i in range(80)], AT)
    (foreign,) = (folder.parent / "other").glob("*.parquet")
    shutil.copy(foreign, folder / "events-00000000000000000069-00000000000000000148.parquet")
    with ParquetEventLog(folder) as log:
        log.append(entity_created("user", LAST, {}), AT)
        assert log.verify().ok
    assert read_quietly(folder) == {**WHOLE, LAST + 1: str(LAST)}
    (kept,) = (folder / "quarantine").iterdir()
    assert kept.read_bytes() == foreign.read_bytes()
