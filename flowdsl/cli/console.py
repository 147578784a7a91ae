"""Console output and parsing of arguments: messages to stderr, data to stdout, tables that fit a terminal."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flowdsl.errors import BuildError, one_line

if TYPE_CHECKING:
    import polars as pl

    from flowdsl.api.project import Project
    from flowdsl.rules import Target

_WIDTH: Final = 110
_CELL: Final = 44
_MOST_SHOWN: Final = 60
# fits in 64 bits for any digits
_DIGITS: Final = 18
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class UsageError(Exception):
    """Wrong use of a command; the exit code is 2."""


def say(text: str) -> None:
    """Print a message to stderr."""
    print(text, file=sys.stderr)


def show(text: str) -> None:
    """Print data to stdout."""
    print(text)


def show_json(value: Any) -> None:
    """Print data as JSON to stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def natural(text: str) -> int:
    """Parse a whole number of at least 0, as the type of an option."""
    if not text.isdecimal() or len(text) > _DIGITS:
        raise argparse.ArgumentTypeError(
            f"{shorten(text)!r} is no whole number of at least 0, of {_DIGITS} digits at most"
        )
    return int(text)


def signed_number(text: str) -> int | None:
    """Parse a whole number; return None for any other text."""
    if not text.removeprefix("-").isdecimal():
        return None
    if len(text) > _DIGITS + 1:
        raise UsageError(f"{shorten(text)!r} is a number of more than {_DIGITS} digits")
    return int(text)


def shorten(text: str) -> str:
    """Shorten a text to one line, for messages."""
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def duration(text: str) -> str:
    """Check a duration like `5m`, as the type of an option."""
    from flowdsl.expressions.durations import parse_duration

    try:
        parse_duration(text)
    except BuildError as error:
        raise argparse.ArgumentTypeError(f"{text[:60]!r} is not a duration like 5m or 1h") from error
    return text


def existing(path: str, what: str) -> Path:
    """Return a path that exists. Raises `UsageError`"""
    found = Path(path)
    if not found.exists():
        raise UsageError(f"there is no {what} {path!r}")
    if what == "file" and found.is_dir():
        raise UsageError(f"{path!r} is a folder, not a file")
    return found


def load_project(path: str, target: Target | None = None) -> Project:
    """Load the flows of a YAML file, or of stdin for `-`, by the rules of a runtime if given.

    Places in messages begin with the path as it was given.
    """
    from flowdsl.api.project import Project
    from flowdsl.production.yaml import load_bytes
    from flowdsl.rules import rules_of

    return Project.of(load_bytes(*read_source(path), rules=rules_of(target)))


def read_source(path: str) -> tuple[bytes, str]:
    """Return the content of a YAML file, or of stdin for `-`, and its name in messages."""
    from flowdsl.production.parser import BYTES

    with sys.stdin.buffer if path == "-" else existing(path, "file").open("rb") as file:
        return file.read(BYTES + 1), "stdin" if path == "-" else path


def table_text(frame: pl.DataFrame, total: int | None = None) -> str:
    """Format a frame as text, cut to the width of the terminal; `total` is the number of all rows."""
    texts = {name: [name, *map(_cell, frame[name].to_list())] for name in frame.columns}
    room = max(shutil.get_terminal_size((_WIDTH, 24)).columns, 40) - 1
    columns: list[list[str]] = []
    for values in texts.values():
        width = max(map(len, values))
        room -= width + 2 if columns else width
        if room < 0:
            break
        columns.append([value.ljust(width) for value in values])
    lines = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)] or [""] * (frame.height + 1)
    more, left = (frame.height if total is None else total) - frame.height, list(texts)[len(columns) :]
    return "\n".join([*lines, *_notes(more, left)])


def _notes(rows: int, columns: list[str]) -> list[str]:
    """Return a line about the rows and columns that are not shown, if there are any."""
    notes = [f"{rows:,} rows more"] if rows > 0 else []
    notes += [f"also {', '.join(columns)}"] if columns else []
    return [f"… {'; '.join(notes)}"] if notes else []


def pairs(given: Sequence[str], option: str) -> list[tuple[str, str]]:
    """Parse `name=value` options into pairs."""
    found = []
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {text!r} is not of the form NAME=VALUE")
        found.append((name, value))
    return found


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    text = one_line(str(value).replace("\n", " "))
    if _UUID.fullmatch(text):
        return f"{text[:8]}…"
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"
