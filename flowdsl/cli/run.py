"""Run flows live over an event log, into the sinks of the YAML, until SIGINT or SIGTERM.

The log is a folder, created if missing. The sinks in_app, feed, counter and push keep SQLite files in the
folder `sinks` of the log, or in the folder given by --sinks. A consumer that has run before resumes where it
stopped; a new one starts where the YAML's consumer says (`seek`), or with new events. The status is a line
that is redrawn on a terminal, and JSON lines on standard output elsewhere. Lines of standard input that are
not events are reported on standard error and skipped. If the log cannot be written, the run ends and reports
the first line that is missing. The exit code is 1 if the run ended with an error, or if lines were skipped.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import gc
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowdsl.cli.console import UsageError, duration, existing, load_project, say, signed_number
from flowdsl.cli.options import add_merge, graph_of
from flowdsl.errors import DataError, FlowError
from flowdsl.live import MAX_AHEAD

if TYPE_CHECKING:
    from flowdsl.api.project import Project
    from flowdsl.api.runtime import Runtime
    from flowdsl.log import ParquetEventLog
    from flowdsl.log.duplicates import Duplicates

# return to the beginning of the line and clear it
_CLEAR = "\r\x1b[K"
SUMMARY = "run flows live over an event log"
EPILOG = "example: tail -F events.jsonl | flowdsl run flows.yaml --log data/log --append -"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument("flows", metavar="FLOWS.yaml", help="the flows and their sinks")
    parser.add_argument("--log", required=True, metavar="PATH", help="folder of the log")
    parser.add_argument(
        "--graph",
        metavar="FOLDER",
        help="entities and links before the first event: entities/… and links.…",
    )
    add_merge(parser)
    parser.add_argument(
        "--consumer",
        metavar="NAME",
        help="name of the consumer in the log (the YAML's only consumer, or flow-runtime)",
    )
    parser.add_argument(
        "--position",
        metavar="POSITION",
        help="beginning, latest, last_acknowledged, or the seq_no of the first event",
    )
    parser.add_argument(
        "--sinks", metavar="FOLDER", help="folder of the sinks' files (the folder sinks of the log)"
    )
    parser.add_argument(
        "--append",
        metavar="-",
        choices=["-"],
        help="read events from standard input, one JSON object a line, and append them",
    )
    parser.add_argument(
        "--duplicates",
        choices=("keep", "drop"),
        default="keep",
        help="events from standard input whose id is in the log: keep or drop (keep)",
    )
    parser.add_argument(
        "--until-idle",
        action="store_true",
        help="exit when all events are processed, instead of waiting for more",
    )
    parser.add_argument(
        "--discard-state",
        action="store_true",
        help="discard the windows, queues and limits kept for other flows",
    )
    parser.add_argument(
        "--keep-state",
        action="store_true",
        help="continue from the last checkpoint though log and consumer have files of different times",
    )
    parser.add_argument(
        "--max-ahead",
        type=_duration_or_none,
        metavar="DURATION",
        default=MAX_AHEAD,
        help=f"events dated further ahead of the clock do not move it ({MAX_AHEAD}); none: every event does",
    )
    parser.add_argument(
        "--every",
        type=_seconds,
        metavar="SECONDS",
        help="interval of the status (1 on a terminal, else 10)",
    )


def run(options: argparse.Namespace) -> int:
    """Run until stopped; return 1 if anything went wrong."""
    from flowdsl.api.runtime import Runtime
    from flowdsl.log import ParquetEventLog

    if options.append and options.flows == "-":
        raise UsageError("standard input cannot be the flows and the events: give the flows as a file")
    project = load_project(options.flows)
    if Path(options.log).is_file():
        raise UsageError(f"{options.log!r} is a file: the log is a folder, and convert appends files to one")
    stop = threading.Event()
    with ParquetEventLog(options.log) as log:
        name = options.consumer or _consumer(project)
        runtime = Runtime(
            project,
            log,
            graph_of(options),
            _sinks(project, options),
            name,
            state="discard" if options.discard_state else "keep" if options.keep_state else None,
            max_ahead=options.max_ahead,
        )
        _stop_at_signals(stop)
        # the command reports the error that ends the run
        logging.getLogger("flowdsl.live").addHandler(logging.NullHandler())
        runtime.start(_position(options.position, project, runtime))
        appender = Appender(log, options.duplicates) if options.append else None
        status = Status(runtime, options.every, appender)
        try:
            with _settle():
                _follow(runtime, stop, appender, status, until_idle=options.until_idle)
        finally:
            if stop.is_set():
                # sinks may need time to finish
                status.show("stopping")
            try:
                runtime.stop()
            finally:
                status.show("stopped" if runtime.error is None else "failed")
        return 1 if appender is not None and appender.refused else 0


@contextlib.contextmanager
def _settle() -> Iterator[None]:
    """Exclude current objects from garbage collection, as a full one pauses all threads for 20 ms."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class Appender:
    """Thread that appends the events of standard input as they arrive."""

    def __init__(self, log: ParquetEventLog, duplicates: Duplicates) -> None:
        self.refused = 0
        self._duplicates: Duplicates = duplicates
        self._log = log
        self._line = 0
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="flowdsl-append", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """True if all of standard input has been appended; raises the error if appending failed."""
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()

    def _read(self) -> None:
        rest = b""
        try:
            # append all that has arrived at once, with one sync
            while block := os.read(sys.stdin.fileno(), 1 << 16):
                *lines, rest = (rest + block).split(b"\n")
                self._append(lines)
            self._append([rest] if rest.strip() else [])
        except BaseException as error:
            self._error = error

    def _append(self, lines: list[bytes]) -> None:
        first = self._line + 1
        events, refused = {}, {}
        for line in lines:
            self._line += 1
            if line.strip():
                try:
                    events[self._line] = json.loads(line)
                except (ValueError, RecursionError) as error:
                    refused[self._line] = f"no JSON: {error}"
        try:
            if events:
                self._log.append(list(events.values()), duplicates=self._duplicates)
        except FlowError:
            # append the valid events, and reject the others
            faults = {number: why for number, event in events.items() if (why := _fault(event)) is not None}
            refused |= faults
            self._append_all([event for number, event in events.items() if number not in faults], first)
        self._refuse(refused)

    def _append_all(self, events: list[Any], first: int) -> None:
        try:
            if events:
                self._log.append(events, duplicates=self._duplicates)
        except FlowError as error:
            what = f"standard input is not in the log from line {first} on: {error.what}"
            raise DataError(what, allowed=error.allowed, hint=error.hint, place=error.place) from error

    def _refuse(self, lines: dict[int, str]) -> None:
        self.refused += len(lines)
        # on a terminal, clear the status line first
        clear = _CLEAR if sys.stdout.isatty() and sys.stderr.isatty() else ""
        for number, why in sorted(lines.items()):
            say(f"{clear}line {number} of standard input: {why}")


def _fault(event: Any) -> str | None:
    """Return the reason why a value is not an event, or None."""
    from flowdsl.events import event_row

    try:
        event_row(event)
    except FlowError as error:
        return error.what
    return None


class Status:
    """Status of a run: a line that is redrawn on a terminal, JSON lines elsewhere."""

    def __init__(self, runtime: Runtime, every: float | None, appender: Appender | None) -> None:
        self._runtime = runtime
        self._appender = appender
        self._line = sys.stdout.isatty()
        self._every = every if every is not None else 1.0 if self._line else 10.0
        self._next = time.monotonic() + self._every
        self.show("started")

    def show_sometimes(self) -> None:
        """Print the status if it is due."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            self.show("running")

    def show(self, doing: str) -> None:
        """Print the status now."""
        metrics = self._runtime.metrics()
        if not self._line:
            line = {
                "status": doing,
                "consumer": self._runtime.consumer_name,
                "time": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                **metrics.as_dict(),
            }
            if self._appender is not None:
                line["refused"] = self._appender.refused
            print(json.dumps(line), flush=True)
        else:
            # a wrapped line could not be cleared
            room = shutil.get_terminal_size().columns - 1
            end = "" if doing in ("started", "running", "stopping") else "\n"
            print(_CLEAR + f"{doing}: {metrics}"[:room], end=end, flush=True)


def _duration_or_none(text: str) -> str | None:
    return None if text == "none" else duration(text)


def _seconds(text: str) -> float:
    """Parse a number of seconds, as the type of an option."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _follow(
    runtime: Runtime, stop: threading.Event, appender: Appender | None, status: Status, *, until_idle: bool
) -> None:
    while runtime.running and not stop.wait(0.05):
        status.show_sometimes()
        if appender is not None and not appender.ended:
            continue
        if until_idle:
            # the status line shows the progress
            runtime.run_until_idle(progress=False)
            return


def _stop_at_signals(stop: threading.Event) -> None:
    def on_signal(number: int, _: object) -> None:
        if stop.is_set():
            # a second signal: exit at once; the next run resumes from the last checkpoint
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)


def _consumer(project: Project) -> str:
    return project.consumers[0].name if len(project.consumers) == 1 else "flow-runtime"


def _sinks(project: Project, options: argparse.Namespace) -> dict[str, Any]:
    from flowdsl.live.validation import kept_in

    if options.sinks is None:
        return dict(project.build_sinks(kept_in(Path(options.log))))
    return dict(project.build_sinks(existing(options.sinks, "folder")))


def _position(given: str | None, project: Project, runtime: Runtime) -> str | int | None:
    if given is not None:
        number = signed_number(given)
        if number is not None:
            return number
        if given not in ("beginning", "latest", "last_acknowledged"):
            raise UsageError(f"--position {given!r} is not beginning, latest, last_acknowledged or a number")
        return given
    seeks = {consumer.name: consumer.seek for consumer in project.consumers}
    return None if runtime.has_run else seeks.get(runtime.consumer_name)
