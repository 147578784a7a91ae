"""Run flows live over an event log, into the sinks of the YAML, until SIGINT or SIGTERM.

The log is a folder, made where there is none. What in_app, feed, counter and push keep is in SQLite files in the
folder `sinks` of the log, unless --sinks says where. A consumer that has run before goes on where it stopped; a new one
begins where the YAML's consumer says (`seek`), or with the events to come. On a terminal the state of the run is a line that changes,
elsewhere it is JSON lines on standard output. The exit code is 1 where the run ended with an error, or lines of
standard input were no events.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowdsl.commands.history import graph_of
from flowdsl.commands.talking import UsageError, existing, load_project, say
from flowdsl.errors import FlowError

if TYPE_CHECKING:
    from flowdsl.live.runtime import Runtime
    from flowdsl.log import ParquetEventLog
    from flowdsl.production.project import Project

SUMMARY = "run flows live over an event log"
EPILOG = "example: tail -F events.jsonl | flowdsl run flows.yaml --log data/log --append -"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument("flows", metavar="FLOWS.yaml", help="the flows and their sinks")
    parser.add_argument("--log", required=True, metavar="PATH", help="the folder of the log")
    parser.add_argument(
        "--graph",
        metavar="FOLDER",
        help="the entities and links before the first event: entities/… and links.…",
    )
    parser.add_argument(
        "--consumer",
        metavar="NAME",
        help="what the run is known by in the log (the YAML's only consumer, or flow-runtime)",
    )
    parser.add_argument(
        "--position",
        metavar="POSITION",
        help="beginning, latest, last_acknowledged, or the seq_no of the first event",
    )
    parser.add_argument(
        "--sinks", metavar="FOLDER", help="where sinks keep what they get (the folder sinks of the log)"
    )
    parser.add_argument(
        "--append",
        metavar="-",
        choices=["-"],
        help="read events from standard input, one JSON object a line, and append them",
    )
    parser.add_argument(
        "--until-idle", action="store_true", help="end when everything is done, rather than wait for more"
    )
    parser.add_argument(
        "--discard-state",
        action="store_true",
        help="forget what windows, queues and limits of other flows hold",
    )
    parser.add_argument(
        "--every",
        type=float,
        metavar="SECONDS",
        help="how often the state is told (1 on a terminal, else 10)",
    )


def run(options: argparse.Namespace) -> int:
    """Run until told to stop, and give 1 where something went wrong."""
    from flowdsl.live.runtime import Runtime
    from flowdsl.log import ParquetEventLog

    project = load_project(options.flows)
    stop = threading.Event()
    with ParquetEventLog(options.log) as log:
        name = options.consumer or _consumer(project)
        runtime = Runtime(
            project, log, graph_of(options), _sinks(project, options), name,
            state="discard" if options.discard_state else None,
        )  # fmt: skip
        _stop_at_signals(stop)
        runtime.start(_position(options.position, project, runtime))
        appender = Appender(log) if options.append else None
        status = Status(runtime, options.every)
        with _settled():
            _follow(runtime, stop, appender, status, until_idle=options.until_idle)
        runtime.stop()
        status.tell("stopped")
        return 1 if appender is not None and appender.refused else 0


@contextlib.contextmanager
def _settled() -> Iterator[None]:
    """What is loaded by now stays: the collection of garbage, which stops all threads, passes over it (it takes 20 ms)."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class Appender:
    """Appends the events of standard input, as they come."""

    def __init__(self, log: ParquetEventLog) -> None:
        self.refused = 0
        self._log = log
        self._line = 0
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="flowdsl-append", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether standard input has ended, and all of it is appended; raises what made it impossible."""
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()

    def _read(self) -> None:
        rest = b""
        try:
            # what has come so far is appended together: one sync for all of it
            while block := os.read(sys.stdin.fileno(), 1 << 16):
                *lines, rest = (rest + block).split(b"\n")
                self._append(lines)
            self._append([rest] if rest.strip() else [])
        except BaseException as error:
            self._error = error

    def _append(self, lines: list[bytes]) -> None:
        events = []
        for line in lines:
            self._line += 1
            if line.strip():
                try:
                    events.append((self._line, json.loads(line)))
                except ValueError as error:
                    self._refuse(self._line, f"no JSON: {error}")
        try:
            if events:
                self._log.append([event for _, event in events])
        except FlowError:
            # one of them is no event: the others are appended all the same
            for number, event in events:
                self._append_one(number, event)

    def _append_one(self, number: int, event: Any) -> None:
        try:
            self._log.append([event])
        except FlowError as error:
            self._refuse(number, error.what)

    def _refuse(self, number: int, why: str) -> None:
        self.refused += 1
        say(f"line {number} of standard input: {why}")


class Status:
    """Tells the state of a run: a line that changes on a terminal, JSON lines elsewhere."""

    def __init__(self, runtime: Runtime, every: float | None) -> None:
        self._runtime = runtime
        self._line = sys.stdout.isatty()
        self._every = every if every is not None else 1.0 if self._line else 10.0
        self._next = time.monotonic() + self._every
        self.tell("started")

    def tell_sometimes(self) -> None:
        """Tell it where it is time to."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            self.tell("running")

    def tell(self, doing: str) -> None:
        """Tell it now."""
        metrics = self._runtime.metrics()
        if not self._line:
            line = {"status": doing, "consumer": self._runtime.consumer_name, **metrics.as_dict()}
            print(json.dumps(line), flush=True)
        else:
            end = "\n" if doing == "stopped" else ""
            print(f"\r\x1b[K{doing}: {metrics}", end=end, flush=True)


def _follow(
    runtime: Runtime, stop: threading.Event, appender: Appender | None, status: Status, *, until_idle: bool
) -> None:
    while runtime.running and not stop.wait(0.05):
        status.tell_sometimes()
        if appender is not None and not appender.ended:
            continue
        if until_idle:
            # the status tells how far it is
            runtime.run_until_idle(progress=False)
            return


def _stop_at_signals(stop: threading.Event) -> None:
    def told(number: int, _: object) -> None:
        if stop.is_set():
            # told again: there is no time to finish, and the next run goes on from the last checkpoint
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, told)


def _consumer(project: Project) -> str:
    return project.consumers[0].name if len(project.consumers) == 1 else "flow-runtime"


def _sinks(project: Project, options: argparse.Namespace) -> dict[str, Any]:
    from flowdsl.live.arguments import kept_in

    if options.sinks is None:
        return dict(project.build_sinks(kept_in(Path(options.log))))
    return dict(project.build_sinks(existing(options.sinks, "folder")))


def _position(given: str | None, project: Project, runtime: Runtime) -> str | int | None:
    if given is not None:
        if given.removeprefix("-").isdecimal():
            return int(given)
        if given not in ("beginning", "latest", "last_acknowledged"):
            raise UsageError(f"--position {given!r} is not beginning, latest, last_acknowledged or a number")
        return given
    seeks = {consumer.name: consumer.seek for consumer in project.consumers}
    return None if runtime.has_run else seeks.get(runtime.consumer_name)
