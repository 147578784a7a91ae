"""Append events from files of another shape to a log: JSON lines, CSV, CloudEvents, Parquet.

--column maps a field of the event to a column, to a dotted path in JSON, or to a text with several of them in
braces. --literal sets a field to the same text in every row. --kind maps the values of the kind column.

  flowdsl convert stars.jsonl log --column kind=type --kind WatchEvent=link.created --kind '*=' \\
      --literal link_type=stars --column source_id=actor --column
      'target_id={repository.owner}/{repository.name}' \\ --column timestamp=created_at

Rows that cannot be read are reported with their place, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flowdsl.cli.console import UsageError, existing, pairs, say, show, show_json

if TYPE_CHECKING:
    from flowdsl.log import Converted

SUMMARY = "append files of other shapes to a log"
_BRACES: Final = re.compile(r"\{([^{}]+)\}")
# a comma outside brackets
_COMMA: Final = re.compile(r",(?![^(]*\))")
_PART: Final = re.compile(r"\s*(?P<kind>[^()]+?)\s*(?:\((?P<own>[^()]*)\))?\s*")
_SHOWN: Final = 10


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", metavar="SOURCE", help="a file or glob; - reads stdin")
    parser.add_argument("log", metavar="LOG", nargs="?", help="folder of the log; created if missing")
    parser.add_argument(
        "--guess",
        action="store_true",
        help="append nothing: print Python that reads the source, guessed from its first rows",
    )
    parser.add_argument(
        "--column", action="append", default=[], metavar="FIELD=COLUMN", help="source of a field"
    )
    parser.add_argument(
        "--literal", action="append", default=[], metavar="FIELD=TEXT", help="constant value of a field"
    )
    parser.add_argument(
        "--kind",
        action="append",
        default=[],
        metavar="VALUE=KIND",
        help="kind of event for a value of the kind column; nothing after = skips such rows, '*=' all others",
    )
    parser.add_argument(
        "--split",
        action="append",
        default=[],
        metavar="VALUE=KIND,KIND",
        help=(
            "several events of one row: 'u=link.deleted(source_id=old),link.created(source_id=new)', with "
            "columns where they differ"
        ),
    )
    parser.add_argument(
        "--time-unit", choices=("s", "ms", "us", "ns"), help="unit of timestamps that are numbers"
    )
    parser.add_argument(
        "--time-format",
        action="append",
        metavar="FORMAT",
        help="format of timestamps that are text (strptime)",
    )
    parser.add_argument(
        "--format",
        choices=("jsonl", "csv", "tsv", "parquet"),
        default="jsonl",
        help="format of stdin (jsonl)",
    )
    parser.add_argument(
        "--duplicates",
        choices=("keep", "drop"),
        default="keep",
        help="events whose id occurred before, in the input or in the log: keep or drop (keep)",
    )
    parser.add_argument("--json", action="store_true", help="print counts and problems as JSON")


def run(options: argparse.Namespace) -> int:
    """Convert, print a summary, and return 1 if rows could not be read."""
    from flowdsl.log import ParquetEventLog, convert

    if options.guess:
        from flowdsl.log.guess import guess

        with _source(options) as source:
            show(str(guess(source)))
        return 0
    if options.log is None:
        raise UsageError("LOG is needed, the folder of the log to append to")
    columns = _columns(options)
    splits = {value: _parts(parts) for value, parts in pairs(options.split, "--split")}
    with _source(options) as source, ParquetEventLog(options.log) as log:
        done = convert(
            source,
            log,
            columns,
            _kinds(options, columns, splits),
            splits,
            time_unit=options.time_unit,
            time_format=options.time_format,
            duplicates=options.duplicates,
        )
        last = log.last_seq_no()
    return _told(done, options, last)


def _told(done: Converted, options: argparse.Namespace, last: int) -> int:
    counts = {name: int(count) for name, count in done.problems["problem"].value_counts().items()}
    if options.json:
        show_json(
            {
                "events": done.events,
                "left_out": done.skipped,
                "duplicates_left_out": done.dropped,
                "last_seq_no": last,
                "problems": done.problems.to_dict("records"),
            }
        )
    else:
        show(
            f"{done.events:,} events appended to {options.log}, {done.skipped:,} rows left out; the last is "
            f"event {last:,}"
        )
        if done.dropped:
            show(f"{done.dropped:,} events left out: their ids are there already")
    broken = done.problems[done.problems["problem"] == "broken"]
    for row in broken.head(_SHOWN).itertuples():
        say(f"{row.place}:{row.row}: {row.reason}")
    for problem, count in counts.items():
        say(f"{count:,} rows {'are ' if problem != 'broken' else 'could not be read: '}{problem}")
    return 1 if len(broken) else 0


def _parts(text: str) -> list[str | dict[str, Any]]:
    """Parse the events that a row is split into: kinds, with the columns of their own in brackets."""
    parts: list[str | dict[str, Any]] = []
    for piece in _COMMA.split(text):
        found = _PART.fullmatch(piece)
        if found is None:
            raise UsageError(
                f"--split {piece!r} is no kind of event\n  hint: like link.deleted, or "
                "link.deleted(source_id=old)"
            )
        kind, own = found["kind"], found["own"]
        columns = pairs(own.split(","), "--split") if own else []
        parts.append(
            {"kind": kind, **{field: _origin(origin) for field, origin in columns}} if columns else kind
        )
    return parts


def _origin(text: str) -> Any:
    return _joined(text) if _BRACES.search(text) else text


def _columns(options: argparse.Namespace) -> dict[str, Any]:
    from flowdsl.log import literal

    columns: dict[str, Any] = {}
    for field, origin in pairs(options.column, "--column"):
        columns[field] = _origin(origin)
    for field, text in pairs(options.literal, "--literal"):
        if field in columns:
            raise UsageError(f"{field} is given by --column and by --literal")
        columns[field] = literal(text)
    return columns


def _joined(pattern: str) -> Callable[[Mapping[str, Any]], str | None]:
    """Fill placeholders in a text with values of a row; None if one of them is missing."""
    from flowdsl.log.origins import Paths

    def join(row: Mapping[str, Any]) -> str | None:
        values = [Paths().at(row, path) for path in _BRACES.findall(pattern)]
        if any(value is None for value in values):
            return None
        found = iter(values)
        return _BRACES.sub(lambda _: str(next(found)), pattern)

    return join


def _kinds(
    options: argparse.Namespace, columns: Mapping[str, Any], splits: Mapping[str, Any]
) -> dict[str, str | None] | Callable[[Mapping[str, Any]], str | None]:
    kinds: dict[str, str | None] = {value: kind or None for value, kind in pairs(options.kind, "--kind")}
    if "*" not in kinds:
        return kinds
    others = kinds.pop("*")
    origin = columns.get("kind", "kind")
    if not isinstance(origin, str):
        raise UsageError("--kind '*=…' needs a kind that comes from one column")

    from flowdsl.log.origins import Paths

    def kind_of(row: Mapping[str, Any]) -> str | None:
        value = Paths().at(row, origin)
        return value if value in splits else kinds.get(str(value), others)

    return kind_of


@contextmanager
def _source(options: argparse.Namespace) -> Iterator[str]:
    if options.source != "-":
        if not any(sign in options.source for sign in "*?["):
            existing(options.source, "file")
        yield options.source
        return
    with tempfile.TemporaryDirectory(prefix="flowdsl-stdin-") as folder:
        path = Path(folder) / f"stdin.{options.format}"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield str(path)
