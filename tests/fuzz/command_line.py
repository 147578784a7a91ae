"""The command line over nonsense: each call ends in an exit code and messages, and what stood in files stands there."""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import flowdsl as fd
from flowdsl.cli.main import main

_FLOWS = """
events:
  flows:
    - name: liked
      trigger: {kind: link.created}
      pipeline:
        - map: {template: {recipient_id: "{{ source_id }}", title: "{{ target_id }}"}}
        - deliver: {sink: push}
"""
_SINKS = "sinks: [{name: push, type: in_app}]"
_TESTS = "tests: [{name: one, events: [{kind: link.created, link_type: l, source_id: a, target_id: b}], deliveries: [{sink: push, recipient: a}]}]"
_EVENT = {
    "kind": "link.created", "timestamp": "2026-01-01T00:00:00Z", "link_type": "l", "source_id": "a", "target_id": "b",
}  # fmt: skip
# options of each command that take a value; how a live run ends does not depend on them, so it is told to end at once
_OPTIONS = {
    "replay": ("--log", "--out", "--report", "--graph", "--start", "--stop", "--max-ahead-of-next", "--rows", "--target"),
    "compare": ("--log", "--graph", "--start", "--stop", "--max-ahead-of-next", "--rows"),
    "check": ("--log", "--graph", "--start", "--stop", "--least", "--target"),
    "test": ("--name",),
    "show": ("--format",),
    "convert": ("--column", "--literal", "--kind", "--split", "--time-unit", "--time-format", "--format", "--duplicates"),
    "run": ("--log", "--graph", "--consumer", "--position", "--sinks", "--max-ahead", "--every", "--duplicates"),
    "sample": ("--events", "--seed"),
    "demo": ("--events", "--seed", "--rows"),
    "schema": (),
}  # fmt: skip
_CALLS = {
    "replay": ("flows.yaml", "--log", "events.jsonl"),
    "compare": ("result", "result"),
    "check": ("flows.yaml",),
    "test": ("tests.yaml",),
    "show": ("flows.yaml",),
    "convert": ("events.jsonl", "log"),
    "run": ("flows.yaml", "--log", "log"),
    "sample": ("new", "--events", "2"),
    "demo": ("new", "--events", "2"),
    "schema": (),
}
_FLAGS = ("--json", "--causes", "--discard-state", "--keep-state")
_NUMBERS = (
    "0",
    "-1",
    "1",
    "9" * 30,
    "1" * 5_000,
    "1e400",
    "nan",
    "inf",
    "-inf",
    "٣",
    "²",
    "1_0",
    "0x10",
    "1.5",
    " 1 ",
    "+1",
)
_TEXTS = ("", " ", "\0", "a\0b", "-", "--", "=", "a=b", "a=", "=b", "\udcff", "😀", "x" * 5_000, "..", "{", "{a}", "%", "*", "[", "?", "a(b", "a=b(c", "\n", "1h", "5m", "none", "1" * 400 + "d", "2026-01-01", "2026-01-01T00:00:00Z", "0001-01-01", "9999-12-31T23:59:59+23:59", "kind=kind", "timestamp=at", "latest", "beginning")  # fmt: skip


@functools.cache
def _template() -> Path:
    """Files and folders of all sorts, made once."""
    folder = Path(tempfile.mkdtemp(prefix="flowdsl-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "flows.yaml").write_text(f"{_FLOWS}{_SINKS}\n")
    (folder / "tests.yaml").write_text(f"{_FLOWS}{_TESTS}\n")
    (folder / "events.jsonl").write_text(json.dumps(_EVENT) + "\n")
    (folder / "empty").write_bytes(b"")
    (folder / "binary").write_bytes(bytes(range(256)))
    (folder / "events.csv").write_bytes(b'"a\0,\xff\n')
    (folder / "bad.parquet").write_bytes(b"PAR1" + b"\xff" * 40 + b"PAR1")
    (folder / "folder").mkdir()
    (folder / "itself").symlink_to("itself")
    (folder / "nowhere").symlink_to("not-there/at-all")
    (folder / "catalog").mkdir()
    (folder / "catalog" / "result.json").write_text("{}")
    (folder / "file-in-the-way").mkdir()
    (folder / "file-in-the-way" / "links.csv").mkdir()
    with fd.ParquetEventLog(folder / "log") as log:
        log.append([_EVENT])
    fd.replay(fd.load(folder / "flows.yaml"), [_EVENT]).to_parquet(folder / "result")
    return folder


def _paths() -> list[str]:
    names = sorted(os.listdir(_template()))
    return [
        *names,
        *(f"{name}/x" for name in names),
        "missing",
        "missing/x",
        "../missing/..",
        "/dev/null",
        "./log/../flows.yaml",
        "flows.yaml/",
    ]


def _value(rng: random.Random) -> str:
    return rng.choice(rng.choice((_paths(), _paths(), _NUMBERS, _TEXTS)))


def arguments(rng: random.Random) -> list[str]:
    """The arguments of one call: those of a right one, with something odd among them more often than not."""
    command = rng.choice(list(_CALLS))
    given = [command, *_CALLS[command]]
    for option in rng.sample(_OPTIONS[command], rng.randint(0, min(2, len(_OPTIONS[command])))):
        given += [option, _value(rng)] if rng.random() < 0.9 else [f"{option}={_value(rng)}"]
    while rng.random() < 0.4:
        at = rng.randrange(1, len(given) + 1)
        given[at : at + rng.randint(0, 1)] = [] if rng.random() < 0.1 else [_value(rng)]
    given += [flag for flag in _FLAGS if rng.random() < 0.15]
    return [*given, "--until-idle"] if command == "run" else given


def check(rng: random.Random) -> int:
    """Call the command with nonsense, in a folder of its own."""
    given = arguments(rng)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "here"
        shutil.copytree(_template(), folder, symlinks=True)
        flows, events = (folder / name for name in ("flows.yaml", "events.jsonl"))
        before = flows.read_bytes(), events.read_bytes()
        with _within(folder, rng) as said:
            code = main(given)
        assert code in (0, 1, 2), (given, code)
        assert "Traceback" not in said.getvalue(), (given, said.getvalue())
        assert code != 2 or said.getvalue().strip(), given
        assert (flows.read_bytes(), events.read_bytes()) == before, given
        # a sample may be asked for in the folder above
        assert ".." in given or sorted(os.listdir(made)) == ["here"], given
        with fd.ParquetEventLog(folder / "log") as log:
            assert log.count() >= 1, given
    return 1


@contextlib.contextmanager
def _within(folder: Path, rng: random.Random) -> Iterator[io.StringIO]:
    """The folder as that of the process, with something on standard input; what is said on standard error."""
    said, out = io.StringIO(), io.StringIO()
    stdin = io.TextIOWrapper(
        io.BytesIO(rng.choice((b"", b"{", _FLOWS.encode(), b"\xff\0", json.dumps(_EVENT).encode())))
    )
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(said),
        mock.patch.object(sys, "stdin", stdin),
        mock.patch("flowdsl.cli.run._stop_at_signals"),
    ):
        yield said
