"""A process that appends and runs flows is killed at random moments, and its flows are edited at every restart: nothing is
lost, and durable sinks get nothing twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import crash_life
import pytest
from crash_rounds import MANY, ROUNDS

import flowdsl as fd

ROOT = Path(__file__).parents[1]
# in the everyday run as many as fit into so many seconds
SECONDS = 3600.0 if MANY else 25.0


@contextmanager
def nursery(folder: Path, *how: str) -> Iterator[tuple[IO[str], IO[str]]]:
    path = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    process = subprocess.Popen(
        [sys.executable, "-m", "crash_life", str(folder), *how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    yield process.stdin, process.stdout
    process.stdin.close()
    process.stdout.close()
    assert process.wait(30) == 0


def killed_after(
    seconds: float, ask: IO[str], told: IO[str], *, ready: bool = True, until: tuple[str, ...] = ()
) -> list[str]:
    """The lines of a child that was killed so long after its birth, after it was ready, or after each of these beginnings of
    events was acknowledged."""
    ask.write("one more\n")
    ask.flush()
    child = int(told.readline().removeprefix("born "))
    lines = []
    if ready:
        lines.append(told.readline().rstrip("\n"))
        assert lines == ["ready"]
    left = set(until)
    while left:
        lines.append(told.readline().rstrip("\n"))
        said, _, names = lines[-1].partition(" ")
        assert said in ("try", "done"), lines[-1]
        left -= {begin for begin in left if said == "done" and names.startswith(begin)}
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    while (line := told.readline()) != "gone\n":
        # the last line of the child may be cut off, and what the nursery says stands behind it
        if line.endswith("gone\n"):
            break
        lines.append(line.rstrip("\n"))
    return lines


@pytest.mark.crash
def test_nothing_is_lost_or_doubled_when_the_process_is_killed_at_any_moment(tmp_path: Path) -> None:
    chance, tried, promised = random.Random(11), set[str](), set[str]()
    end, rounds, worked = time.monotonic() + SECONDS, 0, 0
    with nursery(tmp_path) as (ask, told):
        while rounds < ROUNDS and time.monotonic() < end:
            rounds += 1
            early = chance.random() < 0.2
            seconds = chance.uniform(0, chance.choice([0.2, 1.2]))
            # however slow the machine is, most lives get to do something
            until = (f"{rounds - 1}-",) if not early and chance.random() < 0.8 else ()
            worked += bool(until)
            for line in killed_after(seconds, ask, told, ready=not early, until=until):
                said, *names = line.split()
                assert said in ("ready", "try", "done"), line
                tried.update(names if said == "try" else ())
                promised.update(names if said == "done" else ())
    with fd.ParquetEventLog(tmp_path / "log") as log:
        runtime = crash_life.runtime(tmp_path, log).run_until_idle()
        there = Counter(name for batch in log.read() for name in batch.column("event_id").to_pylist())
        assert max(there.values()) == 1, "an event stands twice"
        assert promised <= there.keys(), "an acknowledged event is lost"
        assert there.keys() <= tried, "an event was invented"
        assert_told_once(tmp_path, runtime, fd.replay(crash_life.flows(), log, open_windows="keep"))
    assert len(promised) >= worked > rounds // 3
    print(f"{rounds} rounds, {len(there):,} events, {log.clock_marks().height:,} clock marks")


def assert_told_once(folder: Path, runtime: fd.Runtime, expected: fd.Result) -> None:
    """Durable sinks hold what a replay of the log says, each once; the other sink has all of it at least once."""
    in_app = runtime.sinks["in-app"]
    # whichever wording it had when it was made, it is there once
    shown = Counter(
        (n.recipient, n.title.replace(" reworded", ""))
        for user in crash_life.USERS
        for n in in_app.list(user, limit=1 << 40)
    )
    sometimes = Counter(n.title for n in in_app.list("sometimes", limit=1 << 40))
    assert max(sometimes.values(), default=1) == 1, "a flow that comes and goes delivered something twice"
    rows = expected.polars("in-app").select("recipient_id", "title")
    assert shown == Counter(rows.rows())
    count = {user: runtime.sinks["count"].value("user", user, "likes") for user in crash_life.USERS}
    assert count == dict(expected.polars("count")["entity_id"].value_counts().rows())
    told = Counter((folder / "told").read_text().split())
    assert len(told) == expected.polars("told").height, "a delivery was not made"
    letters = runtime.dead_letters[["seq_no", "flow", "step", "error"]].values.tolist()
    assert sorted(letters) == sorted(expected.errors[["seq_no", "flow", "step", "error"]].values.tolist())
    print(f"{rows.height:,} in-app, {sum(told.values()) - len(told):,} of {len(told):,} told again")


@pytest.mark.crash
def test_rule_31_two_logs_that_share_their_sinks_lose_and_double_nothing_when_they_are_killed(
    tmp_path: Path,
) -> None:
    chance, tried, promised = random.Random(12), set[str](), set[str]()
    end, rounds, worked = time.monotonic() + SECONDS / 2, 0, 0
    with nursery(tmp_path, "together") as (ask, told):
        while rounds < ROUNDS and time.monotonic() < end:
            rounds += 1
            until = tuple(f"{name}/" for name in crash_life.LOGS) if chance.random() < 0.7 else ()
            worked += bool(until)
            for line in killed_after(chance.uniform(0.05, 1.2), ask, told, until=until):
                said, *names = line.split()
                assert said in ("ready", "try", "done"), line
                tried.update(names if said == "try" else ())
                promised.update(names if said == "done" else ())
    to = crash_life.shared_sinks(tmp_path)
    told_by_replay: list[tuple[str, str]] = []
    for name in crash_life.LOGS:
        with fd.ParquetEventLog(tmp_path / name) as log:
            fd.Runtime(crash_life.SHARED, log, sinks=to).run_until_idle()
            there = Counter(
                f"{name}/{one}" for batch in log.read() for one in batch.column("event_id").to_pylist()
            )
            assert max(there.values()) == 1, "an event stands twice"
            assert {one for one in promised if one.startswith(name)} <= there.keys() <= tried
            whole = fd.replay(crash_life.SHARED, log, open_windows="keep")
            told_by_replay += whole.polars("in-app").select("recipient_id", "title").rows()
            # what ran live is there, whatever else hands it over
            handed = fd.replay(crash_life.SHARED, log, sinks=to, dispatch=True, open_windows="keep")
            assert not len(handed.undelivered)
    expected = Counter(told_by_replay)
    for shown in (
        Counter(
            (n.recipient, n.title) for u in crash_life.USERS for n in to["in-app"].list(u, limit=1 << 40)
        ),  # type: ignore[attr-defined]
        Counter((u, item.payload["title"]) for u in crash_life.USERS for item in to["feed"].items(u)),  # type: ignore[attr-defined]
    ):
        assert shown == expected
    counted = to["count"].values()  # type: ignore[attr-defined]
    assert counted["value"].sum() == expected.total()
    assert all(not sink.verify() for sink in to.values())  # type: ignore[attr-defined]
    # three events an append
    for name in crash_life.LOGS:
        assert sum(one.startswith(f"{name}/") for one in promised) >= 3 * worked > rounds
    print(f"{rounds} rounds, {len(promised):,} events in two logs, {expected.total():,} deliveries to each")
