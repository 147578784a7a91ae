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


# -- live ---------------------------------------------------------------------------------------------------

DIGEST = (
    fd.on("link.created", link_type="likes", name="digest")
    .batch("target_id", window="1m")
    .map(n="{{ batch.count }}")
    .deliver("s")
)
ONCE = (
    fd.on("link.created", link_type="likes", name="once")
    .deduplicate("target_id", window="1m")
    .map(n="x", at="{{ event.timestamp }}")
    .deliver("t")
)


class Clock:
    """A wall clock that tests move; what the runs counted is counted together."""

    def __init__(self) -> None:
        self.now = BEGIN
        self.ahead = self.late = 0

    def __call__(self) -> datetime:
        return self.now


def run_live(log: EventLog, clock: Clock, **options: object) -> fd.Runtime:
    """A run over events that come minute by minute, one of them from a phone with a wrong clock."""
    runtime = fd.Runtime([DIGEST, ONCE], log, clock=clock, **options)
    for minute, event, at in [
        (0, like("u0", "q"), 0),
        (1, like("phone"), None),
        (2, like("u1", "q"), 2),
        (4, like("u2", "q"), 4),
    ]:
        clock.now = after(minute)
        log.append(event, FAR if at is None else after(at))
        metrics = runtime.run_until_idle().metrics()
        clock.ahead, clock.late = clock.ahead + metrics.as_dict()["ahead"], clock.late + metrics.late
    clock.now = after(9)
    return runtime.run_until_idle()


def told(result: fd.Result) -> list[tuple[str, int, datetime, str]]:
    rows = result.deliveries.sort_values(["sink", "delivered_at", "seq_no"])
    return [(r.sink, r.seq_no, r.delivered_at.to_pydatetime(), r.payload) for r in rows.itertuples()]


def test_rule_35_live_windows_go_on_after_an_event_from_the_future(new_log: NewLog) -> None:
    log, clock = new_log(), Clock()
    runtime = run_live(log, clock)
    assert (clock.ahead, clock.late) == (1, 0)
    assert runtime.sinks["s"].frame()["n"].tolist() == ["1", "1", "1", "1"]
    once = runtime.sinks["t"].frame()
    assert once["seq_no"].tolist() == [1, 2, 3, 4]
    # it is processed at the clock that the log has, and keeps its own time
    assert once["delivered_at"].tolist()[1] == BEGIN
    assert once["event_time"].tolist()[1] == FAR
    assert log.ahead_marks().rows() == [(2, BEGIN)]


def test_rule_35_a_replay_of_that_log_does_the_same(new_log: NewLog) -> None:
    log = new_log()
    runtime = run_live(log, Clock())
    for chunk_size in (1, 2, None):
        result = fd.replay([DIGEST, ONCE], log, chunk_size=chunk_size)
        assert result.ahead["seq_no"].tolist() == [2]
        assert result.ahead["ahead"].tolist() == [FAR - BEGIN]
        assert result.late.empty
        assert "1 event dated in the future" in repr(result)
        for sink, frame in ((name, runtime.sinks[name].frame()) for name in ("s", "t")):
            live = list(zip(frame["seq_no"], frame["delivered_at"], frame["n"], strict=True))
            again = result[sink]
            assert live == list(zip(again["seq_no"], again["delivered_at"], again["n"], strict=True)), sink


def test_rule_35_in_two_parts_as_in_one(new_log: NewLog) -> None:
    log = new_log()
    run_live(log, Clock())
    whole = fd.replay([DIGEST, ONCE], log)
    for stop in range(1, 6):
        first = fd.replay([DIGEST, ONCE], log, stop=stop, open_windows="keep")
        second = fd.replay([DIGEST, ONCE], log, state=first.state)
        assert sorted(told(first) + told(second)) == sorted(told(whole)), stop


def test_rule_35_any_clock_is_right_with_none() -> None:
    log, clock = MemoryEventLog(), Clock()
    run_live(log, clock, max_ahead=None)
    assert log.ahead_marks().height == 0
    assert (clock.ahead, clock.late) == (0, 2)
    # what is a little ahead is right by default, too
    log, clock = MemoryEventLog(), Clock()
    log.append(like("a"), after(5))
    fd.Runtime(DIGEST, log, clock=clock).run_until_idle()
    assert log.ahead_marks().height == 0
    log.append(like("a"), after(6))
    fd.Runtime(DIGEST, log, clock=clock, consumer_name="other", max_ahead="1m").run_until_idle()
    assert log.ahead_marks()["seq_no"].to_list() == [1, 2]


def test_rule_35_what_one_run_marked_holds_for_all_others(new_log: NewLog) -> None:
    log, clock = new_log(), Clock()
    run_live(log, clock)
    clock.now = FAR
    other = fd.Runtime([DIGEST, ONCE], log, consumer_name="other", clock=clock, max_ahead=None)
    other.run_until_idle()
    assert other.metrics().ahead == 1
    assert other.sinks["s"].frame()["n"].tolist() == ["1", "1", "1", "1"]


def test_rule_35_what_is_passed_over_is_judged_as_well(new_log: NewLog) -> None:
    log, clock = new_log(), Clock()
    log.append(like("phone"), FAR)
    log.append(like("phone"), FAR)
    with fd.Runtime(ONCE, log, clock=clock) as runtime:
        log.append(like("a", "q"), after(1))
    assert runtime.sinks["t"].frame()["delivered_at"].tolist() == [after(1)]
    assert log.ahead_marks().rows() == [(1, BEGIN), (2, BEGIN)]


@pytest.mark.parametrize("place", [0, 1])
def test_rule_35_a_log_without_a_clock_begins_with_an_event_that_is_right(
    place: int, new_log: NewLog
) -> None:
    log, clock = new_log(), Clock()
    clock.now = after(600)
    events = [(like("a", "q"), BEGIN), (like("b", "q"), after(5))]
    events.insert(place, (like("phone"), FAR))
    log.append([{"timestamp": at.isoformat(), "event": event} for event, at in events])
    runtime = fd.Runtime(ONCE, log, clock=clock).run_until_idle()
    assert runtime.sinks["t"].frame()["delivered_at"].tolist() == [BEGIN, BEGIN, after(5)]
    assert (runtime.metrics().ahead, runtime.metrics().late) == (1, 0)
    assert fd.replay(ONCE, log)["t"]["delivered_at"].tolist() == [BEGIN, BEGIN, after(5)]


def test_rule_35_a_run_that_was_killed_before_its_checkpoint_meets_the_same_clock(tmp_path: Path) -> None:
    log, clock = ParquetEventLog(tmp_path), Clock()
    log.append(like("phone"), FAR)
    fd.Runtime(ONCE, log, clock=clock, checkpoint_every=1e6).run_until_idle()
    # by now the phone may be right: it was not then
    clock.now = FAR
    again = fd.Runtime(ONCE, log, clock=clock, consumer_name="again")
    again.run_until_idle()
    assert again.sinks["t"].frame()["delivered_at"].tolist() == [BEGIN]


@pytest.mark.parametrize("wrong", ["soon", 5, "5 minutes", True])
def test_rule_35_a_limit_is_a_duration(wrong: object) -> None:
    with pytest.raises(fd.LiveError, match="max_ahead is"):
        fd.Runtime(DIGEST, MemoryEventLog(), max_ahead=wrong)
    with pytest.raises(fd.ReplayError, match="max_ahead_of_next is"):
        fd.replay(DIGEST, [], max_ahead_of_next=wrong)


# -- histories ----------------------------------------------------------------------------------------------


def history(*minutes: float | None) -> list[dict[str, object]]:
    """Likes of q minute by minute; None is one from the future."""
    return [
        {
            "seq_no": n,
            "timestamp": (FAR if at is None else after(at)).isoformat(),
            "event": like(f"u{n}", "q"),
        }
        for n, at in enumerate(minutes, 1)
    ]


def ahead(*minutes: float | None, limit: str = "1h", **options: object) -> list[int]:
    result = fd.replay([DIGEST, ONCE], history(*minutes), max_ahead_of_next=limit, **options)
    return list(result.ahead["seq_no"])


def test_rule_35_in_a_history_an_event_far_ahead_of_the_next_ones_does_not_move_the_clock() -> None:
    assert ahead(0, None, 2, 4) == [2]
    assert ahead(None, None, 2, 4, 5) == [1, 2]
    assert ahead(0, 1, None, None, None, 2, 3, 4, 5) == [3, 4, 5]
    # nothing comes after it that says otherwise
    assert ahead(0, 1, None) == []
    # a night without events, then one that comes late
    assert ahead(0, 600, 1, 601, 602, 603) == []
    # one late event makes nobody early
    assert ahead(100, 101, 0, 102, 103) == []
    assert ahead(0, 30, 1, 2, 3, limit="10m") == [2]
    without = fd.replay([DIGEST, ONCE], history(0, None, 2, 4))
    assert without.ahead.empty
    assert without.late["seq_no"].tolist() == [3, 4]
    result = fd.replay([DIGEST, ONCE], history(0, None, 2, 4), max_ahead_of_next="1h")
    assert result.late.empty
    assert len(result["s"]) == 3


@pytest.mark.parametrize("chunk_size", [1, 3, None])
def test_rule_35_in_a_history_the_chunk_size_does_not_matter(chunk_size: int | None) -> None:
    minutes = [None, 0, 1, None, 2, None, 3, 4, None]
    whole = fd.replay([DIGEST, ONCE], history(*minutes), max_ahead_of_next="1h")
    assert whole.ahead["seq_no"].tolist() == [1, 4, 6]
    assert whole.ahead["clock"].tolist() == [after(0), after(1), after(2)]
    parts = fd.replay([DIGEST, ONCE], history(*minutes), max_ahead_of_next="1h", chunk_size=chunk_size)
    assert told(parts) == told(whole)
    assert parts.ahead.equals(whole.ahead)
    first = fd.replay([DIGEST, ONCE], history(*minutes), max_ahead_of_next="1h", stop=5, open_windows="keep")
    second = fd.replay([DIGEST, ONCE], history(*minutes), max_ahead_of_next="1h", state=first.state)
    assert sorted(told(first) + told(second)) == sorted(told(whole))


def test_rule_35_explain_and_folders_know_it(tmp_path: Path) -> None:
    result = fd.replay([DIGEST, ONCE], history(0, None, 2), max_ahead_of_next="1h", out=tmp_path / "out")
    assert fd.read_result(tmp_path / "out").ahead.equals(result.ahead)
    result = fd.replay([DIGEST, ONCE], history(0, None, 2), max_ahead_of_next="1h")
    assert "delivered" in str(result.explain(3, "once"))


def test_rule_35_check_compare_and_sweep_take_it_as_replay_does() -> None:
    events = history(0, None, *range(1, 12), *range(1440, 1445))
    assert [f.code for f in ONCE.check(log=events) if f.code == "future-event"] == ["future-event"]
    assert "future-event" not in [f.code for f in ONCE.check(log=events, max_ahead_of_next="1h")]
    plain = fd.on("link.created").deduplicate("target_id", window="1h").map(title="liked").deliver("t")
    project = fd.load(plain.to_yaml())
    assert "future-event" not in [
        f.code for f in project.check("this-rs", log=events, max_ahead_of_next="1h")
    ]
    with pytest.raises(fd.ReplayError, match="max_ahead_of_next is"):
        ONCE.check(log=events, max_ahead_of_next="soon")
    swept = fd.sweep(ONCE, events, window=["1s", "1h"], max_ahead_of_next="1h")
    assert swept.table["deliveries"].tolist() == [
        len(fd.replay(ONCE.with_step(0, window=window), events, max_ahead_of_next="1h"))
        for window in ("1s", "1h")
    ]


def test_rule_35_a_log_is_the_same_log_with_it() -> None:
    log = MemoryEventLog()
    log.append(history(0, None, 2, 4))
    mended = fd.replay([DIGEST, ONCE], log, max_ahead_of_next="1h")
    compared = fd.compare(fd.replay([DIGEST, ONCE], log), mended)
    assert compared.to_dict()["totals"]["same"] == 1
    # the digest of event 4 is matched with the one that held it before
    assert set(compared.causes["example"]) == {2, 3}
    # what was dispatched before is known again
    inbox = fd.sinks.InApp()
    for limit in (None, "1h", "1h"):
        fd.replay(ONCE, log, sinks={"t": inbox}, dispatch=True, max_ahead_of_next=limit)
    kept = [notification.payload["at"] for notification in inbox.page("q").items]
    assert len(kept) == len(set(kept)) == 4
