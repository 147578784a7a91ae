"""Rule 31: a delivery is there once in every durable sink, whichever way it comes, and two logs never take from one another."""

from __future__ import annotations

import datetime as dt
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flowdsl as fd
from flowdsl import on, var
from flowdsl.sinks import Counter, Feed, InApp

TOLD = (
    on("link.created", name="n")
    .map(recipient_id="bob", title="{{ source_id }}", entity_type="post", entity_id="p", field="likes")
    .deliver("in-app", "feed", "count")
)
DIGEST = (
    on("link.created", name="d")
    .batch("target_id", window="1h")
    .map(recipient_id="bob", title="{{ batch.count }}", entity_type="post", entity_id="p", field="likes", value=var.batch.count)
    .deliver("in-app", "feed", "count")
)  # fmt: skip
BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def stores() -> dict[str, Any]:
    return {"in-app": InApp(), "feed": Feed(), "count": Counter(field="likes")}


def there(sinks: dict[str, Any]) -> tuple[list[str], list[str], Any]:
    """What the inbox, the feed and the counter have of bob: titles, newest first, and the number of likes."""
    noted = [note.title for note in sinks["in-app"].list("bob", limit=10_000)]
    items = [item.payload["title"] for item in sinks["feed"].items("bob")]
    assert noted == items
    return noted, items, sinks["count"].value("post", "p")


def like(who: str, minute: float, id: str | None = None) -> dict[str, Any]:
    at = (BEGIN + dt.timedelta(minutes=minute)).isoformat()
    return {"id": id, "timestamp": at, "event": fd.link_created("likes", who, "post")}


def handed(log: Any, sinks: dict[str, Any], flow: Any = TOLD, **options: Any) -> fd.Result:
    result = fd.replay(flow, log, sinks=sinks, dispatch=True, **options)
    assert not len(result.undelivered)
    return result


# -- replays ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", [True, False])
def test_rule_31_two_files_handed_over_to_one_inbox_are_both_there(ids: bool):
    sinks = stores()
    for month, people in ((0, ["ann", "eve"]), (60 * 24 * 31, ["zoe", "kim", "lou"])):
        handed([like(who, month + n, f"id-{who}" if ids else None) for n, who in enumerate(people)], sinks)
    assert there(sinks)[0] == ["lou", "kim", "zoe", "eve", "ann"]
    assert there(sinks)[2] == 5


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("form", [list, pl.DataFrame, "read", "parquet"])
def test_rule_31_the_same_replay_handed_over_again_adds_nothing(ids: bool, form: Any, tmp_path: Path):
    sinks = stores()
    events = [like(who, n, f"id-{who}" if ids else None) for n, who in enumerate("abcde")]
    for _ in range(3):
        handed(in_form(events, form, tmp_path), sinks)
    assert there(sinks)[0] == list("edcba")
    assert there(sinks)[2] == 5


def in_form(events: Sequence[dict[str, Any]], form: Any, folder: Path) -> Any:
    if form is list:
        return list(events)
    rows = [
        {
            "event_id": e["id"], "timestamp": e["timestamp"], "kind": "link.created", "link_type": e["event"]["link_type"],
            "source_id": e["event"]["source_id"], "target_id": e["event"]["target_id"],
        }
        for e in events
    ]  # fmt: skip
    if form == "read":
        return fd.read_events(rows)
    frame = pl.DataFrame(rows, schema_overrides={"event_id": pl.String})
    if form == "parquet":
        frame.write_parquet(folder / "events.parquet")
        return folder / "events.parquet"
    return frame


@pytest.mark.parametrize("ids", [True, False])
def test_rule_31_what_two_exports_have_in_common_is_there_once(ids: bool):
    sinks = stores()
    events = [like(f"u{n % 3}", n // 2, f"id-{n}" if ids else None) for n in range(12)]
    handed(events[:8], sinks)
    handed(events[4:], sinks)
    assert there(sinks)[2] == 12


def test_rule_31_equal_events_without_an_id_are_told_apart_and_stay_the_same_in_every_file():
    sinks = stores()
    twice = [like("ann", 1), like("ann", 1), like("eve", 2)]
    handed(twice, sinks)
    handed(pl.DataFrame(in_form(twice, pl.DataFrame, Path())), sinks)
    assert there(sinks)[0] == ["eve", "ann", "ann"]
    handed([*twice, like("ann", 1)], sinks)
    assert there(sinks)[2] == 4


def test_rule_31_an_event_is_known_by_what_it_says_however_it_is_written():
    sinks = stores()
    flow = on("entity.created", name="n").map(recipient_id="bob", title="{{ data.a }}").deliver("in-app")
    for text in ('{"a": 1, "b": [2]}', '{"b":[2],"a":1}'):
        frame = pl.DataFrame(
            {"kind": ["entity.created"], "timestamp": [BEGIN], "entity_type": "post", "entity_id": "p", "data": text}
        )  # fmt: skip
        handed(frame, sinks, flow)
    assert sinks["in-app"].total("bob") == 1


@pytest.mark.parametrize("chunk_size", [1, 3, None])
@pytest.mark.parametrize("ids", [True, False])
def test_rule_31_keys_depend_neither_on_chunks_nor_on_where_a_replay_begins(
    chunk_size: int | None, ids: bool
):
    events = [like(f"u{n % 2}", n // 4 * 20, f"id-{n}" if ids else None) for n in range(24)]
    for flow in (TOLD, DIGEST):
        sinks = stores()
        handed(events, sinks, flow)
        whole = there(sinks)
        handed(events, sinks, flow, chunk_size=chunk_size)
        handed(events, sinks, TOLD if flow is TOLD else flow, start=1)
        first = handed(events, sinks, flow, stop=10, open_windows="keep", chunk_size=chunk_size)
        handed(events, sinks, flow, state=first.state, chunk_size=chunk_size)
        assert there(sinks) == whole
    handed(events, sinks := stores(), only=[5, 6])
    handed(events, sinks, start=5, stop=9)
    assert there(sinks)[2] == 4


def test_rule_31_of_a_row_that_was_split_every_event_counts():
    sinks = stores()
    # one row of a file was a change with two parts: both events have its id
    for _ in range(2):
        handed([like("ann", 1, "one"), like("eve", 1, "one")], sinks)
    assert sorted(there(sinks)[0]) == ["ann", "eve"]


# -- windows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", [True, False])
def test_rule_31_what_a_window_really_was_takes_the_place_of_what_the_end_of_a_file_made_of_it(ids: bool):
    sinks = stores()
    events = [like(f"u{n}", n * 20, f"id-{n}" if ids else None) for n in range(5)]
    handed(events[:2], sinks, DIGEST)
    assert there(sinks) == (["2"], ["2"], 2)
    # the same again, and less of it: nothing to say
    handed(events[:2], sinks, DIGEST)
    handed(events[:1], sinks, DIGEST)
    assert there(sinks) == (["2"], ["2"], 2)
    # more of the log: the window was longer, and the next one is not over
    handed(events, sinks, DIGEST)
    assert there(sinks) == (["2", "3"], ["2", "3"], 5)
    # what was provisional once is not brought back
    handed(events[:2], sinks, DIGEST)
    assert there(sinks) == (["2", "3"], ["2", "3"], 5)


@pytest.mark.parametrize("ids", [True, False])
def test_rule_31_windows_of_what_came_out_of_windows_are_known_by_the_event_that_opened_the_first(ids: bool):
    flow = (
        on("link.created", name="w").batch("target_id", window="1h").batch("target_id", window="3h")
        .map(recipient_id="bob", title="{{ batch.count }} {{ batch.last_at }}", entity_type="post", entity_id="p",
             field="likes", value=var.batch.count)
        .deliver("in-app", "feed", "count")
    )  # fmt: skip
    events = [like(f"u{n % 3}", n * 20, f"id-{n}" if ids else None) for n in range(40)]
    for whole in (True, False):
        sinks = stores()
        for until in (40,) if whole else (1, 2, 5, 8, 14, 21, 40):
            handed(events[:until], sinks, flow)
        expected = fd.replay(flow, events)["in-app"]["title"].tolist()
        assert there(sinks)[0][::-1] == expected
        assert there(sinks)[2] == sum(int(title.split()[0]) for title in expected)


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("dispatched", [True, False])
def test_rule_31_a_window_keeps_its_name_when_a_next_file_goes_on_without_its_first_event(
    ids: bool, dispatched: bool
):
    sinks = stores()
    events = [like(f"u{n}", n // 2 * 20, f"id-{n}" if ids else None) for n in range(8)]
    rows = in_form(events, pl.DataFrame, Path()).with_row_index("seq_no", 1).cast({"seq_no": pl.Int64})
    handed(rows[:3], sinks, DIGEST)
    first = (
        handed(rows[:3], sinks, DIGEST, open_windows="keep")
        if dispatched
        else fd.replay(DIGEST, rows[:3], open_windows="keep")
    )
    second = handed(rows[3:5], sinks, DIGEST, state=first.state, open_windows="keep")
    handed(rows[5:], sinks, DIGEST, state=second.state)
    assert there(sinks) == (["2", "6"], ["2", "6"], 8)
    handed(rows, sinks, DIGEST)
    assert there(sinks)[2] == 8


def test_rule_31_a_window_is_known_by_the_event_that_opened_it_not_by_the_last_member():
    sinks = stores()
    events = [like(f"u{n}", n * 20) for n in range(3)]
    closing = like("z", 300)
    handed([events[0], events[1], closing], sinks, DIGEST)
    # an export that came later has one more member in the same window: it is the same digest
    handed([*events, closing], sinks, DIGEST)
    assert len(there(sinks)[0]) == 2


def test_rule_31_branches_before_a_window_are_told_apart():
    graph = fd.EntityGraph({"user": {u: {} for u in ("a", "b")}}, [
        {"link_type": "owns", "source_id": "post", "target_id": u} for u in ("a", "b")
    ])  # fmt: skip
    flow = (
        on("link.created", name="f").fan_out("target_id", via="owns", as_="owner").batch("owner_id", window="1h")
        .map(recipient_id="bob", title="{{ owner_id }}").deliver("in-app")
    )  # fmt: skip
    inbox = InApp()
    for _ in range(2):
        fd.replay(flow, [like("u", 1), like("v", 2)], graph, sinks={"in-app": inbox}, dispatch=True)
    assert sorted(note.title for note in inbox.list("bob")) == ["a", "b"]


# -- logs -------------------------------------------------------------------------------------------------------


def test_rule_31_a_log_keeps_its_identity_and_no_two_have_the_same(tmp_path: Path):
    folder = tmp_path / "log"
    with fd.ParquetEventLog(folder, seal_rows=2) as log:
        log.append([like(who, n) for n, who in enumerate("abcde")])
        made = log.identity
    assert made
    assert fd.ParquetEventLog(folder).identity == made
    (folder / "log.sqlite").unlink()
    with fd.ParquetEventLog(folder) as log:
        log.verify(repair=True)
    assert fd.ParquetEventLog(folder).identity == made
    assert len({fd.MemoryEventLog().identity, fd.MemoryEventLog().identity, made}) == 3
    assert fd.read_events([]).identity is None
    (tmp_path / "plain").mkdir()
    pl.DataFrame({"kind": ["entity.deleted"], "timestamp": [BEGIN]}).write_parquet(
        tmp_path / "plain" / "e.parquet"
    )
    assert fd.ParquetEventLog(tmp_path / "plain").identity is None


@pytest.mark.parametrize("kind", ["memory", "folder"])
@pytest.mark.parametrize("flow", [TOLD, DIGEST], ids=["single", "digest"])
def test_rule_31_live_runs_over_several_logs_share_their_sinks(kind: str, flow: fd.Flow, tmp_path: Path):
    sinks = stores()
    for n in range(3):
        log = fd.MemoryEventLog() if kind == "memory" else fd.ParquetEventLog(tmp_path / str(n))
        log.append([like(f"u{n}", 1, "same"), like(f"v{n}", 2), like("last", 300)])
        fd.Runtime(flow, log, sinks=sinks, clock=lambda: BEGIN + dt.timedelta(days=1)).run_until_idle()
    assert there(sinks)[2] == 9


@pytest.mark.parametrize("kind", ["memory", "folder", "file"])
@pytest.mark.parametrize("flow", [TOLD, DIGEST], ids=["single", "digest"])
def test_rule_31_a_replay_of_what_ran_live_adds_nothing_nor_does_a_run_of_what_was_replayed(
    kind: str, flow: fd.Flow, tmp_path: Path
):
    events = [like(f"u{n % 4}", n * 7) for n in range(40)]
    for live_first in (True, False):
        sinks = stores()
        log: Any = fd.MemoryEventLog() if kind == "memory" else fd.ParquetEventLog(tmp_path / str(live_first))
        if kind == "file":
            log = in_form(events, "read", tmp_path)
        else:
            log.append(events)
        live = fd.Runtime(flow, log, sinks=sinks, clock=lambda: BEGIN + dt.timedelta(days=1))
        runs: list[Callable[[], Any]] = [live.run_until_idle, lambda: handed(log, sinks, flow)]  # noqa: B023
        for run in runs if live_first else reversed(runs):
            run()
        assert there(sinks)[2] == 40
        expected = fd.replay(flow, log)["in-app"]
        assert len(there(sinks)[0]) == len(expected)


def test_rule_31_two_runtimes_of_one_log_deliver_once_between_them(tmp_path: Path):
    sinks = stores()
    log = fd.ParquetEventLog(tmp_path / "log")
    log.append([like(who, n) for n, who in enumerate("abc")])
    for consumer in ("one", "two"):
        fd.Runtime(TOLD, log, sinks=sinks, consumer_name=consumer).run_until_idle()
    assert there(sinks)[2] == 3


def test_rule_31_a_log_that_was_copied_and_went_its_own_way_loses_nothing(tmp_path: Path):
    sinks = stores()
    with fd.ParquetEventLog(tmp_path / "a") as log:
        log.append([like("ann", 1)])
        fd.Runtime(TOLD, log, sinks=sinks).run_until_idle()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for name, who in (("a", "eve"), ("b", "zoe")):
        with fd.ParquetEventLog(tmp_path / name) as log:
            log.append([like(who, 5 if name == "a" else 6)])
            fd.Runtime(TOLD, log, sinks=sinks).run_until_idle()
    assert sorted(there(sinks)[0]) == ["ann", "eve", "zoe"]


def test_rule_31_a_step_before_the_delivery_that_is_added_changes_no_key():
    sinks = stores()
    events = [like(who, n) for n, who in enumerate("abc")]
    handed(events, sinks)
    edited = (
        on("link.created", name="n").where(var.source_id != "c")
        .map(recipient_id="bob", title="new", entity_type="post", entity_id="p", field="likes")
        .deliver("audit").deliver("in-app", "feed", "count")
    )  # fmt: skip
    handed(events, {**sinks, "audit": fd.sinks.Frame()}, edited)
    assert there(sinks)[0] == list("cba")


# -- in the store -----------------------------------------------------------------------------------------------


def test_rule_31_a_key_stays_when_what_it_stood_for_is_deleted():
    sinks = stores()
    events = [like(who, n) for n, who in enumerate("abc")]
    handed(events, sinks)
    sinks["in-app"].delete("bob", [note.id for note in sinks["in-app"].list("bob")])
    sinks["feed"].delete("bob", [item.id for item in sinks["feed"].items("bob")])
    handed(events, sinks)
    assert there(sinks) == ([], [], 3)


def test_rule_31_a_small_inbox_does_not_take_again_what_it_let_go():
    inbox = InApp(keep=2)
    events = [like(who, n) for n, who in enumerate("abcd")]
    flow = on("link.created", name="n").map(recipient_id="bob", title="{{ source_id }}").deliver("in-app")
    for _ in range(2):
        fd.replay(flow, events, sinks={"in-app": inbox}, dispatch=True)
        assert [note.title for note in inbox.list("bob")] == ["d", "c"]


@pytest.mark.parametrize("replaced", [True, False])
def test_rule_31_what_comes_after_a_sinks_file_was_taken_away_goes_to_the_file_that_is_there(
    replaced: bool, tmp_path: Path
):
    path, flow = (
        tmp_path / "in-app.sqlite",
        on("link.created", name="n").map(recipient_id="bob").deliver("in-app"),
    )
    log = fd.MemoryEventLog()
    inbox = InApp(path)
    runtime = fd.Runtime(flow, log, sinks={"in-app": inbox}).run_until_idle()
    if replaced:
        with InApp(tmp_path / "other.sqlite") as other:
            other.deliver([fd.sinks.Delivery({"title": "was there"}, "bob", key="k")])
    for round in range(3):
        log.append([like(f"u{round}", round)])
        runtime.run_until_idle()
        assert inbox.total("bob") == InApp(path).total("bob") == 1 + (replaced and round > 0)
        path.unlink()
        if replaced:
            shutil.copy(tmp_path / "other.sqlite", path)


steps = st.lists(
    st.tuples(st.integers(0, 11), st.integers(0, 12), st.booleans(), st.sampled_from([None, 1, 2])),
    min_size=1,
    max_size=5,
)


@settings(max_examples=settings().max_examples)
@given(steps, st.booleans(), st.integers(0, 2**32 - 1), st.sampled_from([TOLD, DIGEST]))
def test_rule_31_whatever_stretches_are_handed_over_each_event_counts_once(
    stretches: list[tuple[int, int, bool, int | None]], ids: bool, seed: int, flow: fd.Flow
):
    """Stretches of one history, as lists or frames, in any chunks and as often as one likes, then all of it."""
    chance = random.Random(seed)
    # windows of an hour that do not depend on where a stretch begins: all of an hour, or nothing
    events = [
        like(
            f"u{chance.randrange(2)}",
            hour * 120 + chance.randrange(3) * 10,
            f"id-{hour}-{n}" if ids else None,
        )
        for hour in range(12)
        for n in range(chance.randrange(1, 3))
    ]
    events.sort(key=lambda e: e["timestamp"])
    hours = [(dt.datetime.fromisoformat(e["timestamp"]) - BEGIN) // dt.timedelta(hours=2) for e in events]
    sinks = stores()
    for first, last, as_list, chunk_size in stretches:
        some = [e for e, hour in zip(events, hours, strict=True) if first <= hour < last]
        if some:
            handed(
                some if as_list else in_form(some, pl.DataFrame, Path()), sinks, flow, chunk_size=chunk_size
            )
    handed(events, sinks, flow)
    assert there(sinks)[2] == len(events)
    expected = fd.replay(flow, events)["in-app"]["title"].tolist()
    assert sorted(there(sinks)[0]) == sorted(expected)


# -- failure ----------------------------------------------------------------------------------------------------


class Broken(Counter):
    """A counter whose disk fails while it is told to."""

    broken = True

    def apply(self, deliveries: Any, consumer: str, batch: int) -> Any:
        if self.broken:
            raise OSError("no disk")
        return super().apply(deliveries, consumer, batch)


def test_rule_31_a_counter_counts_once_what_failed_was_run_again_and_was_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("flowdsl.live.dispatcher.PAUSES", (0.0,))
    counter = Broken(tmp_path / "c.sqlite", field="likes")
    flow = on("link.created", name="n").map(entity_type="post", entity_id="p").deliver("count")
    log = fd.ParquetEventLog(tmp_path / "log")
    log.append([like(who, n) for n, who in enumerate("abc")])
    # the checkpoint of before the failure, as a death before the next one leaves it
    fd.Runtime(flow, fd.ParquetEventLog(tmp_path / "log"), sinks={"count": counter}).start("beginning").stop()
    shutil.copytree(tmp_path / "log" / "consumers", tmp_path / "before")
    runtime = fd.Runtime(flow, log, sinks={"count": counter}).run_until_idle()
    assert len(runtime.dead_letters) == 3
    letters = tmp_path / "log" / "consumers" / "flow-runtime" / "consumer.sqlite"
    kept = letters.read_bytes()
    for path in (tmp_path / "log" / "consumers" / "flow-runtime").glob("checkpoint-*"):
        if not (tmp_path / "before" / "flow-runtime" / path.name).exists():
            path.unlink()
    assert letters.read_bytes() == kept
    Broken.broken = False
    try:
        again = fd.Runtime(flow, log, sinks={"count": counter}).run_until_idle()
        again.retry()
        assert counter.value("post", "p") == 3
        assert not len(again.dead_letters)
    finally:
        Broken.broken = True
