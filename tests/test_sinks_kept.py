"""Sinks that keep what they get: notifications, feeds and counters, on disk, shared, and never twice."""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
import os
import random
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowdsl as fd
from flowdsl.sinks import Counter, Delivery, DurableSink, Failure, Feed, InApp, Recipients

HOSTILE = [
    "a'; b", 'ann" or "x', "../../x", "%", "_", "a\0b", "\ud83d", "☃" * 500,
    "ann\n", " ", "null", "1", "-1", "{{ env.HOME }}", "?1", "\\", "(select 1)",
]  # fmt: skip
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def notes(recipient: str | None, *titles: str, **more: Any) -> list[Delivery]:
    return [Delivery({"title": title, **more}, recipient, delivered_at=NOON) for title in titles]


def titles(in_app: InApp, recipient: str, **page: int) -> list[str]:
    return [one.title for one in in_app.list(recipient, **page)]


def count(sink: Counter, *changes: dict[str, Any], id: str = "p1") -> list[Any]:
    return list(sink.deliver([Delivery({"entity_type": "post", "entity_id": id, **c}) for c in changes]))


def errors(outcomes: Sequence[Any]) -> list[str | None]:
    return [None if outcome is None else outcome.error for outcome in outcomes]


# -- notifications -----------------------------------------------------------------------------------------


def test_notifications_are_listed_newest_first_page_by_page():
    in_app = InApp()
    in_app.deliver([*notes("ann", "a", "b", "c"), *notes("bob", "other")])
    assert titles(in_app, "ann") == ["c", "b", "a"]
    assert titles(in_app, "ann", limit=2) == ["c", "b"]
    assert titles(in_app, "ann", limit=2, offset=2) == ["a"]
    assert titles(in_app, "nobody") == []
    assert in_app.total("ann") == in_app.unread("ann") == 3


def test_a_notification_has_what_the_payload_says_and_else_what_production_takes():
    in_app = InApp()
    said = {"title": "T", "body": "B", "notification_type": "like", "data": {"n": [1]}, "more": 1.5}
    in_app.deliver(
        [Delivery({}, "ann"), Delivery("just text", "ann"), Delivery(said, "ann", "k", delivered_at=NOON)]
    )
    full, text, bare = in_app.list("ann")
    assert full == ("k", "ann", "like", "T", "B", {"n": [1]}, False, NOON, said)
    assert (text.title, text.body, text.payload) == ("Notification", "just text", "just text")
    assert (bare.notification_type, bare.title, bare.body, bare.data) == ("generic", "Notification", "", None)


def test_reading_marks_some_or_all_and_only_the_recipients_own():
    in_app = InApp()
    in_app.deliver([*notes("ann", "a", "b", "c"), *notes("bob", "x")])
    ids = {one.title: one.id for one in in_app.list("ann")}
    foreign = in_app.list("bob")[0].id
    assert in_app.mark_read("ann", [ids["a"], ids["b"], foreign, "unknown"]) == 2
    assert in_app.mark_read("ann", [ids["a"]]) == 0
    assert (in_app.unread("ann"), in_app.unread("bob"), in_app.total("ann")) == (1, 1, 3)
    assert in_app.mark_all_read("ann") == 1
    assert in_app.delete("ann", [ids["c"], foreign]) == 1
    assert titles(in_app, "ann") == ["b", "a"]
    assert in_app.total("bob") == 1


def test_of_each_recipient_the_newest_thousand_are_kept():
    in_app = InApp()
    for start in range(0, 2_400, 600):
        in_app.deliver([*notes("ann", *map(str, range(start, start + 600))), *notes("bob", str(start))])
    assert in_app.total("ann") == 1_000
    assert titles(in_app, "ann", limit=2_000) == [str(n) for n in reversed(range(1_400, 2_400))]
    assert in_app.total("bob") == 4


def test_the_same_delivery_again_is_the_same_notification():
    in_app, feed = InApp(), Feed()
    for sink in (in_app, feed):
        for _ in range(2):
            sink.deliver([Delivery({"title": "once"}, "ann", key="k1")])
        assert sink.total("ann") == 1


def test_what_needs_a_recipient_says_so_and_the_others_arrive():
    for sink in (InApp(), Feed()):
        outcomes = sink.deliver([*notes("ann", "a"), *notes(None, "b"), *notes("ann", "c")])
        assert [outcome is None for outcome in outcomes] == [True, False, True]
        assert "needs a recipient" in str(errors(outcomes)[1])
        assert sink.total("ann") == 2


def test_subscribers_hear_of_new_notifications_of_their_recipient_only(tmp_path: Path):
    in_app = InApp(tmp_path / "n.sqlite")
    in_app.deliver(notes("ann", "before"))
    anns, everybodys = in_app.subscribe("ann", timeout=30), in_app.subscribe(timeout=30)
    sender = threading.Thread(target=lambda: in_app.deliver([*notes("bob", "x"), *notes("ann", "y", "z")]))
    sender.start()
    assert [next(anns).title for _ in range(2)] == ["y", "z"]
    assert [next(everybodys).title for _ in range(3)] == ["x", "y", "z"]
    sender.join()
    assert list(in_app.subscribe("ann", timeout=0.05)) == []


def test_a_file_stays_where_it_is_when_the_program_goes_to_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    in_app, written = InApp("notes.sqlite"), InApp("more.sqlite")
    written.deliver(notes("ann", "x"))
    written.close()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for sink in (in_app, written):
        sink.deliver(notes("ann", "y"))
        sink.close()
    assert sorted(path.name for path in tmp_path.glob("*.sqlite")) == ["more.sqlite", "notes.sqlite"]
    assert titles(InApp(tmp_path / "more.sqlite"), "ann") == ["y", "x"]
    assert [*(tmp_path / "elsewhere").iterdir()] == []


def test_subscribers_hear_of_what_other_processes_write(tmp_path: Path):
    path = tmp_path / "n.sqlite"
    with InApp(path) as in_app:
        coming = in_app.subscribe("ann", timeout=20)
        in_processes(1, _notify, path, 3)
        assert [next(coming).title for _ in range(3)] == ["0", "1", "2"]


# -- preferences and devices -------------------------------------------------------------------------------


def test_preferences_let_through_what_nobody_muted_or_opted_out_of():
    in_app = InApp()
    who, what = (
        pl.Series(["ann", "bob", "bob", None, "eve"]),
        pl.Series(["like", "like", "x", "like", "like"]),
    )
    assert in_app.accepts(who, what) is None
    in_app.mute("ann")
    in_app.opt_out("bob", "like", "digest")
    assert mask(in_app, who, what) == [False, False, True, True, True]
    assert in_app.preferences("bob") == ("bob", False, ("digest", "like")) or (
        in_app.preferences("bob").opted_out == ("digest", "like")
    )
    in_app.unmute("ann")
    in_app.opt_in("bob", "like")
    assert mask(in_app, who, what) == [True] * 5


def mask(people: Recipients, who: pl.Series, what: pl.Series) -> list[bool]:
    accepted = people.accepts(who, what)
    return [True] * len(who) if accepted is None else accepted.tolist()


@given(
    muted=st.sets(st.sampled_from([*HOSTILE[:5], "a", "b"])),
    out=st.sets(st.tuples(st.sampled_from(["a", "b", HOSTILE[0]]), st.sampled_from(["x", "y"]))),
    asked=st.lists(
        st.tuples(st.sampled_from([None, "a", "b", *HOSTILE[:5]]), st.sampled_from(["x", "y", "z"])),
        max_size=20,
    ),
)
def test_the_mask_is_what_each_recipient_said(
    muted: set[str], out: set[tuple[str, str]], asked: list[tuple[str | None, str]]
):
    people = Recipients()
    for recipient in muted:
        people.mute(recipient)
    for recipient, kind in out:
        people.opt_out(recipient, kind)
    who = pl.Series([recipient for recipient, _ in asked], dtype=pl.String)
    what = pl.Series([kind for _, kind in asked], dtype=pl.String)
    assert mask(people, who, what) == [who not in muted and (who, what) not in out for who, what in asked]


def test_a_device_belongs_to_who_had_it_last():
    people = Recipients()
    people.register_device("ann", "t1")
    people.register_device("ann", "t2")
    people.register_device("bob", "t1")
    assert people.devices("ann") == ("t2",)
    assert people.devices_of(["ann", "bob", "eve"]) == {"ann": ("t2",), "bob": ("t1",)}
    people.unregister_device("t1")
    assert people.devices("bob") == ()


# -- feeds -------------------------------------------------------------------------------------------------


def test_pages_of_a_feed_join_up_whatever_comes_in_between():
    feed = Feed()
    feed.deliver(notes("ann", *"abcde"))
    first = feed.page("ann", limit=2)
    feed.deliver(notes("ann", "new"))
    second = feed.page("ann", first.next, limit=2)
    last = feed.page("ann", second.next, limit=2)
    assert [[item.payload["title"] for item in page.items] for page in (first, second, last)] == [
        ["e", "d"], ["c", "b"], ["a"],
    ]  # fmt: skip
    assert last.next is None
    assert [item.payload["title"] for item in feed.items("ann")] == ["new", "e", "d", "c", "b", "a"]
    assert feed.delete("ann", [first.items[0].id, "unknown"]) == 1
    assert feed.total("ann") == 5
    assert feed.page("nobody").items == ()


# -- counters ----------------------------------------------------------------------------------------------


def test_a_counter_counts_up_and_down_to_zero_and_is_set():
    likes = Counter(field="likes")
    count(likes, {}, {"operation": "add", "value": 4}, {"operation": "dec"}, {"operation": "sub", "value": 2})
    assert likes.value("post", "p1") == 2
    count(likes, {"operation": "subtract", "value": 5})
    assert likes.value("post", "p1", "likes") == 0
    count(likes, {"operation": "set", "value": -3}, {"operation": "decrement"})
    assert likes.value("post", "p1") == -3
    count(likes, {"value": 0.5, "field": "score"}, id="p2")
    assert likes.values().values.tolist() == [["post", "p1", "likes", -3], ["post", "p2", "score", 0.5]]


def test_a_counter_takes_the_entity_of_the_event_where_the_payload_names_none():
    likes = Counter(field="likes")
    event = Delivery({}, entity_type="post", entity_id="p1")
    likes.deliver([event, event._replace(payload={"entity_id": "p2"}), event._replace(payload="text")])
    assert [likes.value("post", one) for one in ("p1", "p2")] == [2, 1]


def test_a_counter_starts_from_what_the_graph_has():
    graph = fd.EntityGraph({"post": {"p1": {"likes": 41, "title": "x"}}})
    likes = Counter(field="likes", graph=graph)
    assert likes.value("post", "p1") == 41
    count(likes, {}, {"field": "title"})
    assert (likes.value("post", "p1"), likes.value("post", "p1", "title"), likes.value("post", "p2")) == (
        42,
        1,
        0,
    )


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({}, "needs the entity_type, and there is none"),
        ({"entity_type": "post"}, "needs the entity_id"),
        ({"entity_type": "post", "entity_id": {"a": 1}}, 'needs the entity_id, and it is {"a":1}'),
        ({"entity_type": "post", "entity_id": "p1"}, "needs the field"),
        ({"entity_type": "post", "entity_id": "p1", "field": "n", "operation": "double"}, "no operation \"double\""),
        ({"entity_type": "post", "entity_id": "p1", "field": "n", "value": "3"}, 'the value "3" is not a number'),
        ({"entity_type": "post", "entity_id": "p1", "field": "n", "value": True}, "is not a number"),
        ({"entity_type": "post", "entity_id": "p1", "field": "n", "value": float("inf")}, "is not a number"),
        ({"entity_type": "post", "entity_id": "p1", "field": "n", "value": 10**400}, "is not a number"),
    ],
)  # fmt: skip
def test_what_a_counter_cannot_count_says_why_and_the_others_count(payload: dict[str, Any], said: str):
    counter = Counter()
    good = Delivery({"entity_type": "a", "entity_id": "b", "field": "n"})
    outcomes = counter.deliver([good, Delivery(payload), good])
    assert said in str(errors(outcomes)[1])
    assert counter.value("a", "b", "n") == 2


def test_numbers_beyond_64_bits_become_floats():
    counter = Counter(field="n")
    count(counter, {"operation": "set", "value": 2**63 - 1}, {})
    assert counter.value("post", "p1") == float(2**63)
    count(counter, {"operation": "set", "value": 1.7e308}, {"value": 1.7e308}, {"value": 1})
    assert counter.value("post", "p1") == 1.7976931348623157e308


# -- batches, once -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [InApp, Feed, Counter])
def test_a_batch_that_is_handed_over_again_does_nothing_and_answers_the_same(
    make: Callable[[Path], DurableSink], tmp_path: Path
):
    path = tmp_path / "sink.sqlite"
    batch = [
        Delivery({"entity_type": "post", "entity_id": "p1", "field": "likes"}, "ann", key="k"),
        Delivery({"value": "x"}),
    ]
    with make(path) as sink:
        assert sink.applied("c") == 0
        answer = sink.apply(batch, "c", 1)
        assert [outcome is None for outcome in answer] == [True, False]
    with make(path) as sink:
        assert sink.applied("c") == 1
        assert sink.apply(batch, "c", 1) == answer
        assert sink.apply(batch, "other", 1) == answer
        sink.apply([], "c", 5)
        assert sink.applied("c") == 5
        assert contents(sink) == 1


def contents(sink: DurableSink) -> Any:
    return sink.value("post", "p1", "likes") if isinstance(sink, Counter) else sink.total("ann")  # type: ignore[attr-defined]


@given(batches=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), max_size=12))
def test_a_counter_counts_each_numbered_batch_once_and_never_an_older_one(batches: list[tuple[int, int]]):
    counter, last, expected = Counter(field="n"), 0, 0
    for number, size in batches:
        counter.apply([Delivery({"entity_type": "a", "entity_id": "b"})] * size, "c", number)
        expected += size if number > last else 0
        last = max(last, number)
    assert counter.value("a", "b") == expected
    assert counter.applied("c") == last


def test_what_fails_to_be_written_is_not_remembered_either(tmp_path: Path):
    path = tmp_path / "c.sqlite"
    with Counter(path, field="n") as counter:
        with sqlite3.connect(path) as other:
            other.execute(
                "create trigger no before insert on applied begin select raise(abort, 'disk is full'); end"
            )
        with pytest.raises(fd.SinkError, match="disk is full"):
            counter.apply([Delivery({"entity_type": "a", "entity_id": "b"})], "c", 1)
        assert (counter.value("a", "b"), counter.applied("c")) == (0, 0)
        with sqlite3.connect(path) as other:
            other.execute("drop trigger no")
        counter.apply([Delivery({"entity_type": "a", "entity_id": "b"})], "c", 1)
        assert (counter.value("a", "b"), counter.applied("c")) == (1, 1)


# -- several at once ---------------------------------------------------------------------------------------


def in_processes(how_many: int, run: Callable[..., None], *given: Any) -> None:
    # from a server that only imported: what a fork of this process would hand down is not what is tested
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["flowdsl.sinks", __name__])
    processes = [context.Process(target=run, args=given) for _ in range(how_many)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def _count(path: Path, times: int) -> None:
    with Counter(path, field="n") as counter:
        for _ in range(times):
            counter.deliver([Delivery({"entity_type": "a", "entity_id": "b"})] * 2)


def _notify(path: Path, times: int) -> None:
    with InApp(path, keep=100_000) as in_app:
        for n in range(times):
            in_app.deliver([Delivery({"title": str(n)}, "ann")])


def test_counts_of_several_threads_and_processes_add_up(tmp_path: Path):
    path = tmp_path / "c.sqlite"
    counter = Counter(path, field="n")
    threads = [threading.Thread(target=_count, args=(path, 10)) for _ in range(2)]
    threads += [
        threading.Thread(target=lambda: [counter.deliver([Delivery({"entity_type": "a", "entity_id": "b"})]) for _ in range(10)])
        for _ in range(2)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    in_processes(2, _count, path, 15)
    for thread in threads:
        thread.join()
    assert counter.value("a", "b") == 2 * 2 * 10 + 2 * 10 + 2 * 2 * 15


def test_notifications_of_several_processes_all_arrive(tmp_path: Path):
    path = tmp_path / "n.sqlite"
    in_processes(3, _notify, path, 20)
    with InApp(path) as in_app:
        assert sorted(titles(in_app, "ann", limit=100)) == sorted([str(n) for n in range(20)] * 3)


FORKED = """
import os, sys
from flowdsl.sinks import Counter, Delivery

with Counter(sys.argv[1], field="n") as counter:
    counter.deliver([Delivery({"entity_type": "a", "entity_id": "b"})])
    child = os.fork()
    counter.deliver([Delivery({"entity_type": "a", "entity_id": "b"})])
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert counter.value("a", "b") == 3
"""


def test_a_sink_works_on_in_a_process_that_was_forked_off(tmp_path: Path):
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED, str(tmp_path / "c.sqlite")], check=True)


SERVER_FORKED = """
import os
from flowdsl import SinkError
from flowdsl.sinks import Custom, Delivery, WebSocket

async def take(delivery):
    pass

for sink in (WebSocket(), Custom(take)):
    assert sink.deliver([Delivery("before")]) == [None]
    child = os.fork()
    if not child:
        try:
            found = sink.deliver([Delivery("within")])[0].error
        except SinkError as error:
            found = str(error)
        sink.close()
        there = "opened by the process that this one was forked off" in found
        os._exit(0 if there and sink.deliver([Delivery("opened anew")]) == [None] else 1)
    assert sink.deliver([Delivery("after")]) == [None]
    sink.close()
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_sink_with_a_thread_is_refused_in_a_process_that_was_forked_off_until_it_is_opened_anew():
    subprocess.run([sys.executable, "-W", "ignore", "-c", SERVER_FORKED], check=True, timeout=60)


@pytest.mark.parametrize("body", [object(), {1, 2}, b"x", float("nan"), [float("inf")]])
@pytest.mark.parametrize("make", [InApp, Feed])
def test_a_payload_that_is_not_json_fails_and_the_others_are_kept(
    make: Callable[[Path], InApp | Feed], body: object, tmp_path: Path
):
    with make(tmp_path / "sink") as sink:
        bad, good = sink.deliver([Delivery({"body": body}, "ann"), Delivery({"title": "good"}, "ann")])
        assert isinstance(bad, Failure)
        assert bad.permanent
        assert "is not JSON" in bad.error
        assert good is None
        kept = sink.list("ann") if isinstance(sink, InApp) else sink.page("ann").items
        assert [one.payload for one in kept] == [{"title": "good"}]


# -- what comes from outside -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_names(name: str, tmp_path: Path):
    in_app, feed, counter = InApp(tmp_path / "i"), Feed(tmp_path / "f"), Counter(tmp_path / "c")
    kept = name.replace("\ud83d", "�")
    payload = {
        "title": name,
        "notification_type": name,
        "entity_type": name,
        "entity_id": name,
        "field": name,
    }
    for sink in (in_app, feed, counter):
        assert sink.deliver([Delivery(payload, name, key=name.replace("\ud83d", "k"))]) == [None]
        assert sink.apply([Delivery(payload, "eve")], name.replace("\ud83d", "c"), 1) == [None]
    assert [one.title for one in in_app.list(kept)] == [kept]
    assert in_app.mark_read(kept, [one.id for one in in_app.list(kept)]) == 1
    assert in_app.total("ann") == 0
    assert len(feed.page(kept).items) == 1
    assert counter.value(kept, kept, kept) == 2
    in_app.mute(kept)
    in_app.register_device(kept, kept)
    assert in_app.preferences(kept).muted
    assert in_app.devices(kept) == (kept,)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["c", "c-journal", "f", "f-journal", "i", "i-journal"]


@pytest.mark.parametrize("make", [InApp, Feed, Counter, Recipients])
def test_files_are_for_their_owner_only(make: Callable[[Path], Any], tmp_path: Path):
    old = os.umask(0)
    try:
        path = tmp_path / "sink.sqlite"
        sink = make(path)
        sink.open()
        modes = [stat.S_IMODE(path.stat().st_mode)]
        # while a transaction is open there is a journal
        sink._database.write(lambda connection: modes.append(_journal_mode(connection, path)))
        sink.close()
    finally:
        os.umask(old)
    assert modes == [0o600, 0o600]


def _journal_mode(connection: sqlite3.Connection, path: Path) -> int:
    connection.execute("insert or replace into applied values ('x', 1)")
    return stat.S_IMODE(path.with_name(path.name + "-journal").stat().st_mode)


def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path: Path):
    path = tmp_path / "sink.sqlite"
    InApp(path).deliver(notes("ann", "a"))
    with pytest.raises(fd.SinkError, match="belongs to in_app"):
        Counter(path).open()
    foreign = tmp_path / "foreign.sqlite"
    with sqlite3.connect(foreign) as other:
        other.execute("create table mine (x)")
    with pytest.raises(fd.SinkError, match="something else"):
        Counter(foreign).open()
    with sqlite3.connect(foreign) as other:
        assert other.execute("select name from sqlite_schema").fetchall() == [("mine",)]
    text = tmp_path / "notes.txt"
    text.write_text("these are notes, and no database at all" * 100)
    with pytest.raises(fd.SinkError, match="not a database"):
        Counter(text).open()
    assert text.read_text().startswith("these are notes")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: InApp(path / "none" / "x").open(), "cannot be opened"),
        (lambda path: InApp(path).open(), "cannot be opened"),
        (lambda path: InApp(7), "a path is an int"),
        (lambda path: InApp(keep=0), "keep is 0"),
        (lambda path: Counter(operation="double"), "operation 'double' is not known"),
        (lambda path: Counter(field=""), "field is ''"),
        (lambda path: Counter(graph={}), "graph is a dict"),
        (lambda path: InApp().list("ann", limit=-1), "limit is -1"),
        (lambda path: InApp().page("ann", limit=0), "limit is 0"),
        (lambda path: InApp().page("ann", limit=True), "limit is True"),
        (lambda path: InApp().page("ann", limit=2**63 - 1), "limit is 9223372036854775807"),
        (lambda path: InApp().page("ann", before=-1), "before is -1"),
        (lambda path: InApp().page("ann", before="2"), "before is '2'"),
        (lambda path: InApp().page("ann", before=1.5), "before is 1.5"),
        (lambda path: Feed().page("ann", limit=0), "limit is 0"),
        (lambda path: Feed().page("ann", before=10**400), "before is 1000"),
        (lambda path: InApp().list("ann", offset=2**70), "offset is 1180591620717411303424"),
        (lambda path: InApp().list("\ud83d"), "UTF-8 cannot hold"),
        (lambda path: InApp().mute(""), "there is ''"),
        (lambda path: Counter().value("a", "b"), "no field is named"),
    ],
)
def test_mistakes_are_said_at_once(make: Callable[[Path], Any], said: str, tmp_path: Path):
    with pytest.raises(fd.SinkError, match=said):
        make(tmp_path)


# -- when the process, or the disk, ends ------------------------------------------------------------------


KILLED = """
import itertools, sys
from pathlib import Path
from flowdsl.sinks import Counter, Delivery, InApp

folder = Path(sys.argv[1])
with Counter(folder / "c", field="n") as counter, InApp(folder / "i", keep=100_000) as in_app:
    for number in itertools.count(max(counter.applied("c"), in_app.applied("c")) + 1):
        # the batch before is handed over again, as after a crash: one of the two may not have it
        for again in range(max(1, number - 1), number + 1):
            batch = [Delivery({"entity_type": "a", "entity_id": "b"}, "ann", f"{again}-{n}") for n in range(3)]
            counter.apply(batch, "c", again)
            in_app.apply(batch, "c", again)
        print(number, flush=True)
"""


def test_a_process_that_is_killed_leaves_whole_batches_and_no_batch_twice(tmp_path: Path):
    acknowledged = 0
    for wait in (0.0, 0.013, 0.037):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        assert int(first) > acknowledged
        time.sleep(wait)
        process.kill()
        acknowledged = max(int(line) for line in [first, *process.stdout.read().splitlines()] if line.strip())
        process.wait()
        process.stdout.close()
        with Counter(tmp_path / "c", field="n") as counter, InApp(tmp_path / "i", keep=100_000) as in_app:
            assert counter.value("a", "b") == 3 * counter.applied("c")
            assert counter.applied("c") >= acknowledged
            assert in_app.total("ann") == 3 * in_app.applied("c")
            assert in_app.applied("c") >= acknowledged


BUSY = """
import sys, time
from flowdsl.sinks import Delivery, InApp

path, name, begin = sys.argv[1], sys.argv[2], float(sys.argv[3])
with InApp(path, keep=100_000) as in_app:
    time.sleep(max(begin - time.time(), 0))
    for number in range(60):
        # one of each batch comes from every process, under one key
        keys = [f"shared-{number}", *(f"{name}-{number}-{n}" for n in range(3))]
        assert in_app.deliver([Delivery({"title": key}, "ann", key) for key in keys]) == [None] * 4
"""


def test_two_processes_write_one_file_at_once_and_nothing_is_lost_or_there_twice(tmp_path: Path):
    begin = str(time.time() + 1)
    writers = [
        subprocess.Popen([sys.executable, "-c", BUSY, str(tmp_path / "i"), name, begin]) for name in "ab"
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    with InApp(tmp_path / "i", keep=100_000) as in_app:
        titles = [notification.title for notification in in_app.list("ann", limit=10_000)]
    expected = {f"shared-{number}" for number in range(60)}
    expected |= {f"{name}-{number}-{n}" for name in "ab" for number in range(60) for n in range(3)}
    assert len(titles) == len(expected)
    assert set(titles) == expected


FULL_DISK = """
import resource, signal, sys
import flowdsl as fd
from flowdsl.sinks import Delivery, Feed

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Feed(sys.argv[1]) as feed:
    feed.open()
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    number = 0
    try:
        while number < 1_000:
            feed.apply([Delivery({"pad": "x" * 5_000}, "ann")] * 2, "c", number + 1)
            number += 1
    except fd.SinkError as error:
        assert "cannot be used" in str(error), error
    assert 5 < number < 1_000, number
    assert (feed.applied("c"), feed.total("ann")) == (number, 2 * number)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    feed.apply([Delivery({}, "ann")], "c", number + 1)
    assert (feed.applied("c"), feed.total("ann")) == (number + 1, 2 * number + 1)
"""


def test_a_disk_that_is_full_is_told_and_costs_no_batch(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "f")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# -- damage -------------------------------------------------------------------------------------------------


def _told_by(sink: Any) -> Any:
    """All that a sink says of what it keeps."""
    if isinstance(sink, Counter):
        return sink.values().values.tolist(), sink.value("t", "e5", "n")
    if isinstance(sink, Feed):
        return [(i.id, json.dumps(i.payload), i.delivered_at) for i in sink.items("ann")], sink.total("ann")
    return (
        [(n.id, n.title, json.dumps(n.payload), n.created_at) for n in sink.list("ann", limit=1000)],
        [n.id for n in sink.page("ann", limit=100).items],
        sink.total("ann"),
        sink.preferences("muted-one"),
        sink.devices("ann"),
    )


@pytest.mark.parametrize("make", [InApp, Feed, Counter])
def test_damage_to_a_sinks_file_is_told_with_its_path_or_changes_nothing(
    make: Callable[[Path], Any], tmp_path: Path
):
    path, chance = tmp_path / "sink.sqlite", random.Random(5)
    with make(path) as sink:
        sink.deliver(
            [
                Delivery({"title": f"t{n}", "entity_type": "t", "entity_id": f"e{n}", "field": "n", "value": n}, "ann", f"{n:032x}")
                for n in range(60)
            ]
        )  # fmt: skip
        if isinstance(sink, InApp):
            sink.mute("muted-one")
            sink.opt_out("muted-one", "like")
            sink.register_device("ann", "device-1")
        expected = _told_by(sink)
    whole = path.read_bytes()
    told = nameless = 0
    for _ in range(120):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 1, 40])):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        if chance.random() < 0.1:
            del damaged[chance.randrange(1, len(damaged)) :]
        path.write_bytes(damaged)
        try:
            with make(path) as sink:
                said = _told_by(sink)
                found = sink.verify()
        except fd.SinkError as error:
            said, found = str(error), [str(error)]
            nameless += str(path) not in said
        assert said == expected or found
        told += bool(found)
    assert not nameless
    # most of the file holds something
    assert told > 40


def test_a_damaged_number_is_not_counted_on(tmp_path: Path):
    path = tmp_path / "c.sqlite"
    with Counter(path, field="n") as counter:
        counter.deliver([Delivery({"entity_type": "a", "entity_id": "b"}, key=f"{1:032x}")])
        with sqlite3.connect(path) as other:
            other.execute("update counts set value = 1000")
        with pytest.raises(fd.SinkError, match="a row of counts is not what was written"):
            counter.deliver([Delivery({"entity_type": "a", "entity_id": "b"}, key=f"{2:032x}")])
        assert "counts" in counter.verify()[0]
