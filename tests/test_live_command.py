"""`flowdsl run`: until it is told to stop, with events from standard input, and what it says meanwhile."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import io
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import flowdsl as fd
from flowdsl import link_created, sinks
from flowdsl.cli.main import main
from tests.programs import own_environment

FLOWS = """
events:
  flows:
    - name: notify-like
      trigger: {kind: link.created, link_type: likes}
      pipeline:
        - map: {template: {recipient_id: "{{ target_id }}", title: "{{ source_id }}"}}
        - deliver: {sink: in-app}
  consumers:
    - {name: mobile, seek: beginning}
sinks:
  - {name: in-app, type: in_app}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flows.yaml").write_text(FLOWS)
    return tmp_path


def command(folder: Path, *options: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "flowdsl",
        "run",
        str(folder / "flows.yaml"),
        "--log",
        str(folder / "log"),
        *options,
    ]


def ran_apart(folder: Path, *options: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, *options), input=given, capture_output=True, text=True, timeout=60,
        env=own_environment(), check=False,
    )  # fmt: skip


def ran(folder: Path, *options: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in this process, which starts in no time."""
    arguments = command(folder, *options)[3:]
    (folder / "given").write_text(given)
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    said, told_aside = io.StringIO(), io.StringIO()
    with (
        (folder / "given").open() as stdin,
        mock.patch.object(sys, "stdin", stdin),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(told_aside),
    ):
        code = main(arguments)
    for number, handler in handlers:
        signal.signal(number, handler)
    return subprocess.CompletedProcess(arguments, code, said.getvalue(), told_aside.getvalue())


@contextmanager
def running(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(folder, *options), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=own_environment(),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["status"] == "started"
        yield process
    finally:
        process.kill()
        process.communicate()


def lines(events: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def shown(folder: Path) -> list[str]:
    with sinks.InApp(folder / "log" / "sinks" / "in-app.sqlite") as in_app:
        return [n.title for n in reversed(in_app.list("post"))]


def told(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def test_events_of_standard_input_are_appended_and_run(folder: Path) -> None:
    done = ran_apart(
        folder,
        "--append",
        "-",
        "--until-idle",
        given=lines([link_created("likes", f"fan-{i}", "post") for i in range(300)]),
    )
    assert done.returncode == 0, done.stderr
    assert shown(folder)[-50:] == [f"fan-{i}" for i in range(250, 300)]
    last = told(done.stdout)[-1]
    assert (last["status"], last["consumer"], last["running"]) == ("stopped", "mobile", False)
    assert (last["events"], last["sinks"]["in-app"]["delivered"], last["refused"]) == (300, 300, 0)
    assert abs(dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(last["time"])) < dt.timedelta(minutes=1)


def test_lines_that_are_no_events_are_told_and_the_others_appended(folder: Path) -> None:
    good = json.dumps(link_created("likes", "ann", "post"))
    done = ran(
        folder,
        "--append",
        "-",
        "--until-idle",
        given=f'{good}\nno json\n\n[1]\n{{"kind": "x"}}\n{good.replace("ann", "bob")}',
    )
    assert done.returncode == 1
    assert shown(folder) == ["ann", "bob"]
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == [
        f"line {n} of standard input" for n in (2, 4, 5)
    ]
    assert told(done.stdout)[-1]["refused"] == 3


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_a_line_that_is_nested_too_deep_is_told_and_the_others_appended(folder: Path, depth: int) -> None:
    good = json.dumps(link_created("likes", "ann", "post"))
    deep = good[:-1] + ', "metadata": {"x":' + "[" * depth + "]" * depth + "}}"
    done = ran(folder, "--append", "-", "--until-idle", given=f"{deep}\n{good}\n")
    assert done.returncode == 1
    assert shown(folder) == ["ann"]
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["line 1 of standard input"]


def test_events_that_the_log_cannot_take_end_the_run_and_are_not_passed_over(folder: Path) -> None:
    given = lines([link_created("likes", "bob", "post"), {"kind": "x"}, link_created("likes", "eve", "post")])
    with fd.ParquetEventLog(folder / "log") as log:
        log.append(link_created("likes", "ann", "post"))
        done = ran_apart(folder, "--append", "-", given=given)
    assert done.returncode == 1
    assert (
        "standard input is not in the log from line 1 on: the log is being written by process" in done.stderr
    )
    assert "Traceback" not in done.stderr
    # what was in the log before is done with, and the run ended as it should
    assert told(done.stdout)[-1]["status"] == "stopped"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly_and_the_next_run_goes_on(folder: Path, number: signal.Signals) -> None:
    with fd.ParquetEventLog(folder / "log") as log:
        log.append(link_created("likes", "ann", "post"))
    with running(folder) as process:
        end = time.monotonic() + 20
        while not (folder / "log" / "sinks" / "in-app.sqlite").exists() or shown(folder) != ["ann"]:
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=20)
        assert process.returncode == 0, stderr
    assert told(stdout)[-1]["status"] == "stopped"
    with fd.ParquetEventLog(folder / "log") as log:
        assert log.position("mobile") == 1
        log.append(link_created("likes", "bob", "post"))
    assert ran(folder, "--until-idle").returncode == 0
    assert shown(folder) == ["ann", "bob"]


def test_a_second_signal_does_not_wait_for_a_sink_that_hangs_and_the_next_run_delivers(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/hook"
        hook = FLOWS.replace(
            "type: in_app", f"type: webhook, config: {{url: '{url}', timeout: 60, attempts: 1}}"
        )
        (folder / "flows.yaml").write_text(hook)
        with running(folder, "--append", "-") as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(lines([link_created("likes", "ann", "post")]))
            process.stdin.flush()
            # the webhook asks, and nobody answers
            asking, _ = silent.accept()
            process.send_signal(signal.SIGTERM)
            assert json.loads(process.stdout.readline())["status"] == "stopping"
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 128 + signal.SIGTERM
            asking.close()
    (folder / "flows.yaml").write_text(FLOWS)
    assert ran(folder, "--until-idle").returncode == 0
    assert shown(folder) == ["ann"]


def test_events_that_another_process_appends_are_run(folder: Path) -> None:
    with fd.ParquetEventLog(folder / "log") as log:
        log.append(link_created("likes", "ann", "post"))
        with running(folder, "--every", "0.1") as process:
            log.append(link_created("likes", "bob", "post"))
            assert process.stdout is not None
            while json.loads(process.stdout.readline())["delivered"] < 2:
                pass
    assert shown(folder) == ["ann", "bob"]


def on_a_terminal(folder: Path, *options: str, columns: int = 80, given: str = "") -> str:
    leader, follower = pty.openpty()
    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in own_environment().items() if name != "COLUMNS"}
    process = subprocess.Popen(
        command(folder, *options), stdin=subprocess.PIPE, stdout=follower, stderr=follower, text=True,
        env=environment,
    )  # fmt: skip
    os.close(follower)
    assert process.stdin is not None
    process.stdin.write(given)
    process.stdin.close()
    said = b""
    with contextlib.suppress(OSError):
        while block := os.read(leader, 1000):
            said += block
    os.close(leader)
    assert process.wait() == bool(given)
    return said.decode()


def test_on_a_terminal_the_state_is_a_line_that_changes(folder: Path) -> None:
    said = on_a_terminal(folder, "--until-idle")
    assert said.startswith("\r\x1b[Kstarted: 0 events, 0 delivered, lag 0")
    assert said.endswith("\r\x1b[Kstopped: 0 events, 0 delivered, lag 0\r\n")


def test_on_a_terminal_the_state_stays_one_line_and_messages_have_lines_of_their_own(folder: Path) -> None:
    said = on_a_terminal(folder, "--until-idle", "--append", "-", columns=20, given="nonsense\n")
    assert "\r\x1b[Kline 1 of standard input: no JSON" in said
    assert said.endswith("\r\x1b[Kstopped: 0 events, \r\n")


@pytest.mark.parametrize(
    ("options", "code", "what"),
    [
        (["--position", "nowhere"], 2, "--position 'nowhere' is not beginning, latest"),
        (["--graph", "nothing"], 2, "there is no folder 'nothing'"),
        (["--sinks", "nothing"], 2, "there is no folder 'nothing'"),
        (["--every", "0"], 2, "'0' is not a number of seconds above 0"),
        (["--log", __file__], 2, "is a file: the log is a folder"),
    ],
)
def test_wrong_use_is_told_without_a_traceback(
    folder: Path, options: list[str], code: int, what: str
) -> None:
    done = ran(folder, *options)
    assert (done.returncode, done.stdout) == (code, "")
    assert what in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_that_cannot_go_on_says_so_once(folder: Path) -> None:
    with fd.ParquetEventLog(folder / "log") as log:
        log.append([link_created("likes", f"fan-{n}", "post") for n in range(100)])
        log.seal()
    segment = next((folder / "log").glob("events-*.parquet"))
    damaged = bytearray(segment.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    segment.write_bytes(damaged)
    done = ran(folder)
    assert done.returncode == 1
    assert told(done.stdout)[-1]["status"] == "failed"
    assert done.stderr.count("the segment of events 1 to 100 is damaged") == 1
    assert "verify(repair=True)" in done.stderr


def test_flows_and_events_do_not_both_come_from_standard_input(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "-", "--log", str(folder / "log"), "--append", "-"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "standard input cannot be the flows and the events" in told.err


def test_the_state_of_other_flows_is_refused_in_the_words_of_the_command(folder: Path) -> None:
    given = lines([link_created("likes", "ann", "post")])
    batch = "- batch: {key: target_id, window: 1h}\n        - map"
    (folder / "flows.yaml").write_text(FLOWS.replace("- map", batch))
    assert ran(folder, "--append", "-", "--until-idle", given=given).returncode == 0
    (folder / "flows.yaml").write_text(FLOWS.replace("- map", batch.replace("1h", "2h")))
    refused = ran(folder, "--until-idle")
    assert refused.returncode == 1
    assert (
        "has the state of other flows: flow 'notify-like', step 0 (batch): 1 open window with 1 context"
        in refused.stderr
    )
    assert "--discard-state" in refused.stderr
    assert ran(folder, "--until-idle", "--discard-state").returncode == 0


def test_a_sink_that_the_yaml_lacks_is_refused(folder: Path) -> None:
    (folder / "flows.yaml").write_text(FLOWS.replace("name: in-app, type", "name: other, type"))
    done = ran(folder, "--until-idle")
    assert done.returncode == 1
    assert "there is no sink 'in-app'" in done.stderr


def test_rule_35_an_event_from_the_future_moves_the_clock_only_if_that_is_asked_for(folder: Path) -> None:
    once = FLOWS.replace(
        "        - map", "        - deduplicate: {key: target_id, window: 1h}\n        - map"
    )
    (folder / "flows.yaml").write_text(once)
    now = dt.datetime.now(dt.UTC)
    events = [
        {"timestamp": (now + dt.timedelta(minutes=m)).isoformat(), "event": link_created("likes", "ann", "p")}
        for m in (0, 61, 1)
    ]
    for options, ahead, delivered in (
        ((), 1, 1),
        (("--max-ahead", "2h"), 0, 2),
        (("--max-ahead", "none"), 0, 2),
    ):
        log = folder / f"log of {len(options)} {options[-1:]}"
        done = ran(folder, "--log", str(log), "--append", "-", "--until-idle", *options, given=lines(events))
        last = told(done.stdout)[-1]
        assert (last["ahead"], last["sinks"]["in-app"]["delivered"]) == (ahead, delivered), done.stderr
    refused = ran(folder, "--until-idle", "--max-ahead", "soon")
    assert refused.returncode == 2
    assert "argument --max-ahead: 'soon' is not a duration" in refused.stderr
