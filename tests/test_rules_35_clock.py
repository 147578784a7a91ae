"""Rule 35: an event with a clock that cannot be right does not move the log clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import flowdsl as fd
from flowdsl import MemoryEventLog, ParquetEventLog
from flowdsl.log.base import EventLog
from flowdsl.log.catalog import NAME as CATALOG

BEGIN = datetime(2026, 1, 1, 9, tzinfo=UTC)
FAR = datetime(2099, 1, 1, tzinfo=UTC)
NewLog = Callable[[], EventLog]


@pytest.fixture(params=["memory", "parquet"])
def new_log(request: pytest.FixtureRequest, tmp_path: Path) -> NewLog:
    if request.param == "memory":
        return MemoryEventLog
    return lambda: ParquetEventLog(tmp_path / "log")


def like(user: str, post: str = "p") -> dict[str, object]:
    return fd.link_created("likes", user, post)


def after(minutes: float) -> datetime:
    return BEGIN + timedelta(minutes=minutes)


# -- marks in the log -----------------------------------------------------------------------------------


def test_rule_35_the_first_mark_of_an_event_stays(new_log: NewLog) -> None:
    log = new_log()
    log.append([like("a"), like("b"), like("c")], FAR)
    assert log.ahead_marks().columns == ["seq_no", "clock"]
    log.mark_ahead([2, 3], after(1))
    log.mark_ahead([1, 2], after(2))
    assert log.ahead_marks().rows() == [(1, after(2)), (2, after(1)), (3, after(1))]
    assert log.ahead_marks(3)["seq_no"].to_list() == [3]


def test_rule_35_marks_last_through_a_repair_of_the_catalog(tmp_path: Path) -> None:
    with ParquetEventLog(tmp_path) as log:
        log.append([like("a"), like("b")], FAR)
        log.seal()
        log.mark_ahead([2], after(1))
    content = (tmp_path / CATALOG).read_bytes()
    (tmp_path / CATALOG).write_bytes(content.replace(b"likes", b"lykes"))
    assert not ParquetEventLog(tmp_path).verify().ok
    ParquetEventLog(tmp_path).verify(repair=True)
    assert ParquetEventLog(tmp_path).ahead_marks().rows() == [(2, after(1))]


def test_rule_35_an_event_from_the_future_neither_keeps_what_is_old_nor_ages_what_is_new(
    tmp_path: Path,
) -> None:
    with ParquetEventLog(tmp_path, seal_rows=2) as log:
        for day in range(4):
            log.append([like("a"), like("b")], BEGIN + timedelta(days=day))
        log.append(like("phone"), FAR)
        log.append(like("a"), BEGIN + timedelta(days=4))
        log.append(like("phone"), FAR)
        log.mark_ahead([9, 11], BEGIN)
        assert log.retain(max_age="36h") == 6
        assert log.ahead_marks()["seq_no"].to_list() == [9, 11]
        log.compact()
        assert log.retain(max_age="1h", now=BEGIN + timedelta(days=9)) == 4
        assert log.ahead_marks()["seq_no"].to_list() == [11]
        assert log.verify().ok
