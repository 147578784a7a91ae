"""A process that appends is killed at random moments: what it was told is in the log is there, once, and no more."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from crash_rounds import MANY, ROUNDS

from flowdsl.errors import DataError
from flowdsl.events import entity_created
from flowdsl.log import ParquetEventLog, recovery
from tests.programs import begun, printed

# threads that append one by one and in lists, while the log seals, compacts and keeps positions; each line printed
# is an append that returned: the number of the last event, and the ids
APPENDING = """
import itertools, os, sys, threading
from flowdsl.errors import DataError
from flowdsl.events import entity_created
from flowdsl.log import ParquetEventLog

folder, durability, begin = sys.argv[1], sys.argv[2], int(sys.argv[3])
log = ParquetEventLog(folder, durability, seal_rows=40)
numbers = itertools.count(begin)

def append(size):
    while True:
        ids = [str(next(numbers)) for _ in range(size)]
        last = log.append([entity_created("user", i, {"n": i}) for i in ids])
        os.write(1, f"{last} {' '.join(ids)}\\n".encode())

def keep():
    while True:
        log.compact()
        last = log.last_seq_no()
        log.ack("c", last)
        os.write(1, f"ack {last}\\n".encode())

log.append([])
os.write(1, b"ready\\n")
for target, size in ((append, 1), (append, 3), (append, 25)):
    threading.Thread(target=target, args=(size,)).start()
keep()
"""


def killed_after(seconds: float, folder: Path, durability: str, begin: int) -> list[str]:
    """The lines of a process that was killed so long after it was ready."""
    process, lines = begun(APPENDING, folder, durability, begin)
    threading.Timer(seconds, process.send_signal, [signal.SIGKILL]).start()
    output = lines.read()
    lines.close()
    assert process.wait() == -signal.SIGKILL
    # the last line may be cut off
    return output.split("\n")[:-1]


@pytest.mark.crash
def test_every_acknowledged_event_is_there_once_after_a_kill_at_any_moment(tmp_path: Path) -> None:
    folder, chance = tmp_path / "log", random.Random(7)
    promised: dict[str, int] = {}
    position, begin = 0, 0
    rounds = ROUNDS if MANY else 6
    for number in range(rounds):
        durability = ("commit", "group", "none")[number % 3]
        for line in killed_after(chance.uniform(0, 0.25), folder, durability, begin):
            first, *rest = line.split()
            if first == "ack":
                position = int(rest[0])
            else:
                promised |= {name: int(first) - len(rest) + 1 + i for i, name in enumerate(rest)}
        begin += 1_000_000
        with ParquetEventLog(folder) as log:
            rows = [row for batch in log.read() for row in batch.to_pylist()]
            assert [row["seq_no"] for row in rows] == list(range(1, log.last_seq_no() + 1))
            found = {row["entity_id"]: row["seq_no"] for row in rows}
            assert len(found) == len(rows), "an event stands twice"
            assert promised.items() <= found.items(), "an acknowledged event is lost"
            # what was not acknowledged any more may be there: what was not even begun is not
            assert all(row["data"] == f'{{"n":"{row["entity_id"]}"}}' for row in rows)
            assert log.position("c") >= position
            assert log.verify().ok
    assert len(promised) > 10 * rounds


READING = """
import sys
from flowdsl.log import ParquetEventLog
log = ParquetEventLog(sys.argv[1])
print("ready", flush=True)
with log.subscribe("reader", "beginning") as events:
    for envelope in events:
        print(envelope["seq_no"], envelope["event"]["entity_id"], flush=True)
        if envelope["event"]["entity_id"] == "end":
            break
"""


def test_a_log_that_is_made_while_a_reader_looks_is_not_taken_for_one_that_lost_its_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looks(path: Path) -> object:
        monkeypatch.undo()
        with ParquetEventLog(tmp_path / "log", "none") as written:
            written.append(entity_created("user", "ann", {}))
        return recovery.read_note(path)

    monkeypatch.setattr(recovery, "read_note", looks)
    # the first look finds nothing yet, the next one all that was made meanwhile
    with ParquetEventLog(tmp_path / "log") as log:
        assert log.last_seq_no() in (0, 1)
        assert log.last_seq_no() == 1


def test_a_second_process_reads_everything_once_and_in_order_while_it_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    reader, _ = begun(READING, folder)
    with ParquetEventLog(folder, "none", seal_rows=50) as log:
        for number in range(400):
            log.append([entity_created("user", f"{number}-{i}", {}) for i in range(1 + number % 4)])
            if number % 100 == 50:
                log.compact()
        log.append(entity_created("user", "end", {}))
        lines, _ = reader.communicate()
        assert reader.returncode == 0
        expected = [
            f"{row['seq_no']} {row['entity_id']}" for batch in log.read() for row in batch.to_pylist()
        ]
        assert lines.splitlines() == expected


def test_a_reader_in_another_process_sees_an_event_at_once_and_costs_little_while_it_waits(
    tmp_path: Path,
) -> None:
    code = """
import sys, time
from flowdsl.log import ParquetEventLog
log = ParquetEventLog(sys.argv[1])
events = log.subscribe("reader", "latest")
print("ready", flush=True)
before = time.process_time()
events.take(timeout=1.0)
print(time.process_time() - before, flush=True)
while True:
    seen = events.take(timeout=30)
    print(time.time(), flush=True)
"""
    with ParquetEventLog(tmp_path) as log:
        log.append(entity_created("user", "first", {}))
        reader, lines = begun(code, tmp_path)
        assert float(lines.readline()) < 0.1, "waiting for a second took more than a tenth of it as work"
        delays = []
        for _ in range(30):
            time.sleep(0.01)
            log.append(entity_created("user", "x", {}))
            appended = time.time()
            delays.append(float(lines.readline()) - appended)
        reader.kill()
        reader.communicate()
    assert sorted(delays)[len(delays) // 2] < 0.02


def test_a_writer_in_this_process_wakes_those_who_wait_without_polling(tmp_path: Path) -> None:
    with ParquetEventLog(tmp_path, "none") as log:
        log.append(entity_created("user", "first", {}))
        events = log.subscribe("c", "latest")
        woken: list[float] = []

        def take() -> None:
            for _ in range(20):
                assert events.take(timeout=10).height == 1
                woken.append(time.perf_counter())

        thread = threading.Thread(target=take)
        thread.start()
        appended = []
        for number in range(20):
            while len(woken) < number:
                time.sleep(0.001)
            time.sleep(0.005)
            appended.append(time.perf_counter())
            log.append(entity_created("user", "x", {}))
        thread.join()
    delays = sorted(b - a for a, b in zip(appended, woken, strict=True))
    assert delays[10] < 0.01


def test_a_process_that_only_reads_is_refused_nothing_and_one_that_writes_too_is(tmp_path: Path) -> None:
    with ParquetEventLog(tmp_path) as log:
        log.append(entity_created("user", "first", {}))
        code = """
import sys
from flowdsl.errors import DataError
from flowdsl.log import ParquetEventLog
log = ParquetEventLog(sys.argv[1])
log.ack("other", 1)
log.mark_clock("2026-01-01T00:00:00Z")
print(log.count(), log.position("other"), log.clock_marks().height)
try:
    log.compact()
except DataError as error:
    print(error.what)
"""
        said = printed(code, tmp_path)
        assert said.splitlines() == ["1 1 1", f"the log is being written by process {os.getpid()}"]
        assert log.position("other") == 1
        with pytest.raises(DataError, match="through another object"):
            ParquetEventLog(tmp_path).retain(max_bytes=1)
