"""What may be missing at the end of a tail without anybody's fault, and what must be named: damage before whole records."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from log_rows import read_quietly

from flowdsl.errors import DataError
from flowdsl.events import entity_created
from flowdsl.log import ParquetEventLog
from flowdsl.log import segments as writing

AT = "2026-01-01T00:00:00Z"


def made(folder: Path, durability: str = "commit", rows: int = 10) -> Path:
    with ParquetEventLog(folder, durability) as log:  # type: ignore[arg-type]
        for i in range(rows):
            log.append(entity_created("user", i, {}), AT)
    return folder


def gaps(folder: Path) -> list[tuple[int, int]]:
    with ParquetEventLog(folder) as log:
        catalog = log._log.catalog()
        assert catalog is not None
        return [(gap.first, gap.last) for gap in catalog.gaps()]


def lines(folder: Path) -> list[bytes]:
    return (folder / "tail.log").read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("durability", ["commit", "group", "none"])
@pytest.mark.parametrize("line", [1, 4, 9])
def test_damage_before_whole_records_is_named_with_its_numbers(
    tmp_path: Path, durability: str, line: int
) -> None:
    folder = made(tmp_path / "log", durability)
    parts = lines(folder)
    parts[line] = parts[line][:-9] + b"x" + parts[line][-8:]
    (folder / "tail.log").write_bytes(b"".join(parts))
    with ParquetEventLog(folder) as log:
        found = log.verify()
        assert [(d.first, d.last) for d in found.damage] == [(line, line)]
    for use in (lambda log: list(log.read()), lambda log: log.append(entity_created("user", "x", {}), AT)):
        with pytest.raises(DataError, match="damaged"), ParquetEventLog(folder) as log:
            use(log)
    with ParquetEventLog(folder) as log:
        log.verify(repair=True)
        assert log.verify().ok
    assert read_quietly(folder) == {i + 1: str(i) for i in range(10) if i + 1 != line}
    assert gaps(folder) == [(line, line)]


def test_the_end_that_a_power_cut_took_of_a_log_without_syncs_is_named_and_the_log_goes_on(
    tmp_path: Path,
) -> None:
    folder = made(tmp_path / "log", "none")
    (folder / "tail.log").write_bytes(b"".join(lines(folder)[:8]))
    assert [(d.first, d.last) for d in ParquetEventLog(folder).verify().damage] == [(8, 10)]
    with pytest.raises(DataError):
        read_quietly(folder)
    with ParquetEventLog(folder, "none") as log:
        assert log.append(entity_created("user", "after", {}), AT) == 11
        assert log.verify().ok
    assert gaps(folder) == [(8, 10)]
    assert list(read_quietly(folder)) == [1, 2, 3, 4, 5, 6, 7, 11]


def test_the_same_end_of_a_log_with_syncs_is_damage(tmp_path: Path) -> None:
    folder = made(tmp_path / "log")
    (folder / "tail.log").write_bytes(b"".join(lines(folder)[:8]))
    with pytest.raises(DataError, match="damaged"), ParquetEventLog(folder) as log:
        log.append(entity_created("user", "after", {}), AT)


def test_the_tail_of_another_log_is_refused_and_set_aside(tmp_path: Path) -> None:
    folder, other = made(tmp_path / "log"), made(tmp_path / "other", rows=30)
    shutil.copy(other / "tail.log", folder / "tail.log")
    with pytest.raises(DataError, match=r"tail\.log is that of another log"):
        read_quietly(folder)
    assert "is that of another log" in str(ParquetEventLog(folder).verify())
    with ParquetEventLog(folder) as log:
        log.verify(repair=True)
        assert log.verify().ok
        assert log.append(entity_created("user", "after", {}), AT) == 11
    assert gaps(folder) == [(1, 10)]
    assert list((folder / "quarantine").iterdir())


def test_segments_of_a_log_of_which_all_else_is_gone_are_not_taken_for_plain_files(tmp_path: Path) -> None:
    folder = made(tmp_path / "log")
    with ParquetEventLog(folder) as log:
        identity = log.identity
        log.seal()
    for name in ("log.sqlite", "log.sqlite-journal", "tail.log", "writer.lock"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"log\.sqlite is missing"):
        read_quietly(folder)
    with ParquetEventLog(folder) as log:
        log.verify(repair=True)
        assert log.identity == identity
    assert read_quietly(folder) == {i + 1: str(i) for i in range(10)}


def test_a_log_of_which_only_the_lock_is_left_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    folder = made(tmp_path / "log")
    for path in folder.iterdir():
        if path.name != "writer.lock":
            path.unlink()
    for use in (lambda log: list(log.read()), lambda log: log.append(entity_created("user", "x", {}), AT)):
        with pytest.raises(DataError, match=r"log\.sqlite is missing"), ParquetEventLog(folder) as log:
            use(log)
    with ParquetEventLog(folder) as log:
        assert not log.verify().ok
        log.verify(repair=True)
        assert log.verify().ok
        assert log.append(entity_created("user", "after", {}), AT) == 11
    assert gaps(folder) == [(1, 10)]
    assert read_quietly(folder) == {11: "after"}


def test_the_other_events_of_a_segment_that_overlaps_known_ones_are_taken_in(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with ParquetEventLog(folder, seal_rows=10) as log:
        log.append([entity_created("user", i, {}) for i in range(10)], AT)
    (first,) = folder.glob("*.parquet")
    old = {path: path.read_bytes() for path in (first, folder / "log.sqlite")}
    with ParquetEventLog(folder, seal_rows=10) as log:
        for begin in (10, 20):
            log.append([entity_created("user", i, {}) for i in range(begin, begin + 10)], AT)
        assert log.compact() == 2
    # a backup of the catalog and the first segment, beside the one that all were joined into
    for path, content in old.items():
        path.write_bytes(content)
    with pytest.raises(DataError, match="events 11 to 30 are in no file that counts"):
        read_quietly(folder)
    with ParquetEventLog(folder) as log:
        log.verify(repair=True)
        assert log.verify().ok
    assert gaps(folder) == []
    assert read_quietly(folder) == {i + 1: str(i) for i in range(30)}


def test_an_append_that_died_between_its_segments_and_the_catalog_is_not_taken_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, copy = made(tmp_path / "log"), tmp_path / "copy"
    monkeypatch.setattr(writing, "ROWS_A_SEGMENT", 100)
    monkeypatch.setattr(writing, "ROWS_A_GROUP", 100)
    from flowdsl.log.catalog import Catalog

    real = Catalog.change_segments

    def dying(self: Catalog, *args: object, **named: object) -> None:
        shutil.copytree(folder, copy)
        real(self, *args, **named)  # type: ignore[arg-type]

    frame = pl.DataFrame({"kind": ["entity.created"] * 500, "timestamp": [AT] * 500,
                          "entity_type": ["user"] * 500, "entity_id": ["x"] * 500})  # fmt: skip
    with ParquetEventLog(folder, seal_rows=50) as log:
        monkeypatch.setattr(Catalog, "change_segments", dying)
        assert log.append(frame) == 510
    monkeypatch.setattr(Catalog, "change_segments", real)
    whole = {i + 1: str(i) for i in range(10)}
    for how in ("opened", "repaired", "its tail lost"):
        folder = tmp_path / how
        shutil.copytree(copy, folder)
        if how == "its tail lost":
            (folder / "tail.log").unlink()
        with ParquetEventLog(folder) as log:
            if how != "opened":
                log.verify(repair=True)
                assert log.verify().ok
            assert log.append(entity_created("user", "after", {}), AT) == 11
        assert read_quietly(folder) == whole | {11: "after"}, how
