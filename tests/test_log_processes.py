"""One log and several processes: both sides of a fork, locks and folders that are removed, links in the place of files."""

from __future__ import annotations

import gc
import os
import re
import shutil
from pathlib import Path

import polars as pl
import pytest
from log_rows import read

import flowdsl as fd
from flowdsl.errors import DataError, FlowError
from flowdsl.events import entity_created
from flowdsl.live.consumer_store import ConsumerStore
from flowdsl.log import MemoryEventLog, ParquetEventLog
from tests.programs import printed

AT = "2026-01-01T00:00:00Z"
FORK = """
import os, sys, warnings
warnings.simplefilter("ignore")
import flowdsl as fd
from flowdsl.errors import FlowError

def say(*words):
    # in one piece: print may write word by word, and so between those of another process
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def append(log, name, count=1):
    try:
        last = log.append([fd.entity_created("user", f"{name}{i}", {}) for i in range(count)])
        say(name, last)
    except FlowError as error:
        say(name, "refused:", str(error).replace("\\n", " "))

def forked(work):
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            sys.stdout.flush()
            os._exit(0)
    return child
"""


def run(code: str, *arguments: object) -> list[str]:
    """What a program of its own prints."""
    return printed(FORK + code, *arguments).splitlines()


@pytest.mark.parametrize("durability", ["commit", "none"])
def test_a_forked_child_does_not_write_beside_its_parent_and_nothing_is_lost(
    tmp_path: Path, durability: str
) -> None:
    code = """
log = fd.ParquetEventLog(sys.argv[1], sys.argv[2], seal_rows=10)
append(log, "before", 4)
children = [forked(lambda: [append(log, "child") for _ in range(3)]) for _ in range(4)]
for i in range(30):
    append(log, "parent")
for child in children:
    os.waitpid(child, 0)
append(log, "after")
"""
    lines = run(code, tmp_path, durability)
    refused = [line for line in lines if "refused" in line]
    assert len(refused) == 12
    assert [
        line for line in refused if not re.match("child refused: .*is being written by process", line)
    ] == []
    kept = read(tmp_path)
    assert list(kept) == list(range(1, 36))
    for line in lines:
        if line.startswith(("parent", "after")):
            name, last = line.split()
            assert kept[int(last)].startswith(name)
    assert ParquetEventLog(tmp_path).verify().ok


def test_the_child_of_a_fork_writes_once_the_parent_is_done_and_the_other_way_round(tmp_path: Path) -> None:
    code = """
log = fd.ParquetEventLog(sys.argv[1])
append(log, "parent")
ready, go = os.pipe()
told, tell = os.pipe()
def work():
    os.read(ready, 1)
    append(log, "child")
    log.ack("mailer", 2)
    os.write(tell, b".")
    os.read(ready, 1)
child = forked(work)
log.close()
os.write(go, b".")
os.read(told, 1)
append(log, "parent while the child writes")
print(log.last_seq_no(), log.position("mailer"))
os.write(go, b".")
os.waitpid(child, 0)
append(log, "parent")
"""
    first, second, third, fourth, fifth = run(code, tmp_path)
    assert (first, second, fourth, fifth) == ("parent 1", "child 2", "2 2", "parent 3")
    assert "is being written by process" in third


def test_a_child_that_lives_on_does_not_keep_the_log_or_the_consumer_of_its_parent(tmp_path: Path) -> None:
    code = """
from flowdsl.live.consumer_store import ConsumerStore
log = fd.ParquetEventLog(sys.argv[1])
append(log, "parent")
consumer = ConsumerStore.of(log, "c")
consumer.acquire()
ready, go = os.pipe()
def work():
    os.read(ready, 1)
    try:
        consumer.acquire()
    except FlowError as error:
        print("child", error.what, flush=True)
child = forked(work)
log.close()
consumer.release()
other = fd.ParquetEventLog(sys.argv[1])
append(other, "other")
again = ConsumerStore.of(other, "c")
again.acquire()
os.write(go, b".")
os.waitpid(child, 0)
"""
    first, second, third = run(code, tmp_path)
    assert (first, second) == ("parent 1", "other 2")
    assert third.startswith("child the consumer 'c' is running already, in process")


def test_what_a_forked_child_would_append_to_a_log_in_memory_is_refused() -> None:
    code = """
log = fd.MemoryEventLog()
append(log, "parent")
os.waitpid(forked(lambda: append(log, "child")), 0)
append(log, "parent")
"""
    first, second, third = run(code)
    assert (first, third) == ("parent 1", "parent 2")
    assert "child refused: this log is in the memory of process" in second


def test_a_fork_while_other_threads_append_leaves_the_child_able_to_read(tmp_path: Path) -> None:
    code = """
import threading
log = fd.ParquetEventLog(sys.argv[1], seal_rows=50)
done = threading.Event()
def keep(name):
    # in between the thread that forks gets its turn at the log
    while not done.wait(0.001):
        append(log, name)
        log.ack(name, log.last_seq_no())
threads = [threading.Thread(target=keep, args=(name,)) for name in "abc"]
for thread in threads:
    thread.start()
ok = 0
for _ in range(4):
    def work():
        os._exit(0 if log.last_seq_no() >= 0 and log.position("a") >= 0 else 1)
    _, status = os.waitpid(forked(work), 0)
    ok += status == 0
done.set()
for thread in threads:
    thread.join()
print("ok", ok)
"""
    lines = run(code, tmp_path)
    assert lines[-1] == "ok 4"
    assert list(read(tmp_path)) == list(range(1, len(lines)))
    assert ParquetEventLog(tmp_path).verify().ok


@pytest.mark.parametrize("opened", [1, 2], ids=["a catalog is made", "a catalog is opened"])
def test_no_process_is_forked_off_while_another_thread_is_in_sqlite(tmp_path: Path, opened: int) -> None:
    code = f"""
import sqlite3, threading, time
connect, inside, left, calls = sqlite3.connect, threading.Event(), threading.Event(), []
def slow(*arguments, **options):
    calls.append(arguments)
    if len(calls) != {opened}:
        return connect(*arguments, **options)
    inside.set()
    time.sleep(0.2)
    left.set()
    return connect(*arguments, **options)
sqlite3.connect = slow
thread = threading.Thread(target=lambda: append(fd.ParquetEventLog(sys.argv[1]), "a"))
thread.start()
inside.wait()
_, status = os.waitpid(forked(lambda: os._exit(0 if left.is_set() else 1)), 0)
thread.join()
print("status", status)
"""
    assert run(code, tmp_path) == ["a 1", "status 0"]


SECOND = """
append(fd.ParquetEventLog(sys.argv[1]), "second")
"""


def test_a_removed_lock_lets_no_second_writer_in_and_the_first_notices(tmp_path: Path) -> None:
    with ParquetEventLog(tmp_path) as log:
        log.append(entity_created("user", "one", {}))
        (tmp_path / "writer.lock").unlink()
        (said,) = run(SECOND, tmp_path)
        assert "refused" in said
        assert "whose writer.lock was removed" in said
        with pytest.raises(DataError, match=r"writer\.lock was replaced while this process held it"):
            log.append(entity_created("user", "two", {}))
        found = log.verify()
        assert not found.ok
        assert "writer.lock was replaced" in str(found)
        with pytest.raises(DataError, match=r"writer\.lock"):
            log.seal()
    with ParquetEventLog(tmp_path) as log:
        assert log.append(entity_created("user", "three", {})) == len(read(tmp_path))
        assert log.verify().ok


def test_a_removed_folder_is_noticed_before_anything_is_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with ParquetEventLog(folder) as log:
        log.append(entity_created("user", "one", {}))
        shutil.rmtree(folder)
        assert run(SECOND, folder) == ["second 1"]
        for _ in range(3):
            with pytest.raises(DataError, match=r"writer\.lock was replaced"):
                log.append(entity_created("user", "two", {}))
        with pytest.raises(DataError):
            log.ack("mailer", 1)
        assert not log.verify().ok
    assert read(folder) == {1: "second0"}


def test_a_removed_tail_is_noticed_and_written_anew_with_all_that_was_acknowledged(tmp_path: Path) -> None:
    with ParquetEventLog(tmp_path) as log:
        log.append([entity_created("user", i, {}) for i in range(5)])
        (tmp_path / "tail.log").unlink()
        with pytest.raises(DataError, match=r"tail\.log was removed while it was written"):
            log.append(entity_created("user", "refused", {}))
        assert log.append(entity_created("user", 5, {})) == 6
        assert log.verify().ok
    assert read(tmp_path) == {i + 1: str(i) for i in range(6)}


@pytest.mark.parametrize(
    "name", ["writer.lock", "log.sqlite", "consumers/c/lock", "consumers/c/consumer.sqlite"]
)
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_in_the_place_of_a_file_is_refused_and_what_it_leads_to_stays(
    tmp_path: Path, name: str, link: object
) -> None:
    folder, outside = tmp_path / "log", tmp_path / "precious"
    # SQLite takes an empty file for a new database
    precious = "" if name.endswith("sqlite") and link is os.symlink else "precious"
    outside.write_text(precious)
    path = folder / name
    path.parent.mkdir(parents=True)
    link(outside, path)  # type: ignore[operator]

    def use() -> None:
        with ParquetEventLog(folder) as log:
            if "consumers" not in name:
                log.append(entity_created("user", "one", {}))
            consumer = ConsumerStore.of(log, "c")
            consumer.acquire()
            consumer.keep_facts(a="1")

    with pytest.raises(FlowError, match=path.name.replace(".", r"\.")):
        use()
    assert outside.read_text() == precious


@pytest.mark.parametrize("name", ["consumers", "consumers/c", "quarantine"])
def test_a_folder_that_leads_elsewhere_is_not_used(tmp_path: Path, name: str) -> None:
    folder, outside = tmp_path / "log", tmp_path / "outside"
    outside.mkdir()
    with ParquetEventLog(folder) as log:
        log.append(entity_created("user", "one", {}))
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).symlink_to(outside)
    (folder / "tail.log").write_bytes(b"")

    def use() -> None:
        with ParquetEventLog(folder) as log:
            if name == "quarantine":
                log.verify(repair=True)
            ConsumerStore.of(log, "c")

    with pytest.raises(DataError, match="is a symbolic link"):
        use()
    assert not list(outside.iterdir())


def test_a_link_is_no_tail_and_what_it_leads_to_is_not_read(tmp_path: Path) -> None:
    with ParquetEventLog(tmp_path / "log") as log:
        log.append(entity_created("user", "one", {}))
    tail = tmp_path / "log" / "tail.log"
    tail.rename(tmp_path / "elsewhere")
    tail.symlink_to(tmp_path / "elsewhere")
    for use in (lambda log: log.last_seq_no(), lambda log: log.append(entity_created("user", "two", {}))):
        with (
            pytest.raises(DataError, match="is a link to another file"),
            ParquetEventLog(tmp_path / "log") as log,
        ):
            use(log)


def test_small_frames_without_end_become_segments(tmp_path: Path) -> None:
    def frame(rows: int) -> pl.DataFrame:
        return pl.DataFrame({"kind": ["entity.created"] * rows, "timestamp": [AT] * rows,
                             "entity_type": ["user"] * rows, "entity_id": ["x"] * rows})  # fmt: skip

    with ParquetEventLog(tmp_path, "none", seal_rows=1000) as log:
        for rows in (1, 250, 7, 100, 249) * 12:
            log.append(frame(rows))
            held = log._log.writer().rows
            assert len(held) < 1000
        assert log.count() == log.last_seq_no() == 607 * 12
        assert len(list(tmp_path.glob("*.parquet"))) >= 6
        assert log.verify().ok


def test_a_memory_log_made_in_the_child_is_its_own() -> None:
    log = MemoryEventLog()
    assert log.append(fd.entity_created("user", "one", {}), AT) == 1
    code = """
def work():
    log = fd.MemoryEventLog()
    append(log, "child")
os.waitpid(forked(work), 0)
"""
    assert run(code) == ["child 1"]


def test_what_a_consumer_keeps_is_not_read_as_something_else(tmp_path: Path) -> None:
    with ParquetEventLog(tmp_path) as log:
        log.append(entity_created("user", "one", {}))
        consumer = ConsumerStore.of(log, "c")
        consumer.keep_facts(acknowledged="[1, 1]")
        consumer.done("told", "run", 41, [], remember=True)
        assert (consumer.fact("acknowledged"), consumer.progress("run")) == ("[1, 1]", {"told": 41})
        consumer.close()
        path = tmp_path / "consumers" / "c" / "consumer.sqlite"
        content = path.read_bytes()
        for was, now, use in (
            (b"[1, 1]", b"[1, 9]", lambda c: c.fact("acknowledged")),
            (b"toldrun)", b"toldrun*", lambda c: c.progress("run")),
        ):
            assert content.count(was) == 1
            path.write_bytes(content.replace(was, now))
            with pytest.raises(FlowError, match=r"consumer\.sqlite.*is damaged"):
                use(ConsumerStore.of(log, "c"))
        path.write_bytes(content[:3000])
        with pytest.raises(FlowError, match=r"consumer\.sqlite"):
            ConsumerStore.of(log, "c").fact("acknowledged")


def test_a_dead_letter_that_is_not_what_was_written_is_damage_however_large_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flowdsl.live.dead_letters import DeadLetter
    from flowdsl.live.given_up import GivenUp
    from flowdsl.sinks import database

    # as if the file were too large to be looked through when it is opened
    monkeypatch.setattr(database, "_CHECKED_AT_ONCE", 0)
    nothing = dict.fromkeys(DeadLetter._fields)
    letters = [
        DeadLetter(**{**nothing, "key": f"k{i}", "seq_no": i, "flow": "f", "step": 1, "operator": "map",
                  "error": "first", "sink": "feed", "payload": f"payload{i}", "attempts": 1, "failed_at": 0})
        for i in range(3)
    ]  # fmt: skip
    gone = GivenUp("f", 1, "batch", "ann", "", 7, 0, "context", 0)
    with ParquetEventLog(tmp_path) as log:
        log.append(entity_created("user", "one", {}))
        consumer = ConsumerStore.of(log, "c")
        consumer.put(letters)
        consumer.put(letters)
        consumer.give_up([gone])
        consumer.settle(["k1"], 1)
        consumer.tried_again([("k2", "second")])
        assert [(x.key, x.error, x.attempts) for x in consumer.letters()] == [
            ("k0", "first", 1),
            ("k2", "second", 2),
        ]
        assert (consumer.owed_keys("feed"), consumer.given_up()) == ({"k0", "k2"}, [gone])
        consumer.close()
        path = tmp_path / "consumers" / "c" / "consumer.sqlite"
        content = path.read_bytes()
        for was, now, use in (
            (b"payload0", b"payload9", lambda c: c.letters()),
            (b"payload2", b"payload9", lambda c: c.owed_keys("feed")),
            (b"context", b"kontext", lambda c: c.given_up()),
        ):
            path.write_bytes(content.replace(was, now))
            with pytest.raises(FlowError, match=r"consumer\.sqlite.*is damaged"):
                use(ConsumerStore.of(log, "c"))


def test_a_lock_that_goes_before_its_log_at_the_end_of_the_program_is_let_go_in_silence(
    tmp_path: Path,
) -> None:
    log = ParquetEventLog(tmp_path)
    log.append(entity_created("user", "one", {}))
    log._to_write().lock.close()
    # an error of a finalizer is one of this test
    del log
    gc.collect()
    assert read(tmp_path) == {1: "one"}
