"""Append events from files of another shape to a log: JSON, CSV, CloudEvents, Parquet, and what else
read_events reads.

--shape names a known shape, such as segment or github. --column maps a field of the event to a column, to a
dotted path in JSON, or to a text with several of them in braces. --literal sets a field to the same text in
every row. --kind maps the values of the kind column.

  flowdsl convert stars.jsonl log --column kind=type --kind WatchEvent=link.created --kind '*=' \\
      --literal link_type=stars --column source_id=actor --column timestamp=created_at \\
      --column 'target_id={repository.owner}/{repository.name}'

Rows that cannot be read are reported with their place, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flowdsl.cli.console import UsageError, existing, pairs, say, show, show_json
from flowdsl.pluralize import count_text

if TYPE_CHECKING:
    from flowdsl.log import Converted

SUMMARY = "append files of other shapes to a log"
# a comma outside brackets
_COMMA: Final = re.compile(r",(?![^(]*\))")
_PART: Final = re.compile(r"\s*(?P<kind>[^()]+?)\s*(?:\((?P<own>[^()]*)\))?\s*")
_SHOWN: Final = 10


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", metavar="SOURCE", help="a file, glob or folder; - reads stdin")
    parser.add_argument("log", metavar="LOG", nargs="?", help="folder of the log; created if missing")
    parser.add_argument(
        "--guess",
        action="store_true",
        help="append nothing: print Python that reads the source, guessed from its first rows",
    )
    parser.add_argument("--shape", metavar="NAME", help="a known shape of rows, such as segment or github")
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
    parser.add_argument("--explode", metavar="COLUMN", help="a list: each of its items makes a row")
    parser.add_argument("--records", metavar="PATH", help="the list of rows in each JSON document")
    parser.add_argument(
        "--header",
        metavar="NAME,NAME",
        help="the names of the columns of a CSV file whose first line does not name them",
    )
    parser.add_argument(
        "--type",
        action="append",
        default=[],
        metavar="COLUMN=TYPE",
        help="a column whose text is a number or true or false: int, float or bool",
    )
    parser.add_argument(
        "--decimal", choices=(".", ","), metavar="SIGN", help="the decimal sign of such numbers: . or , (.)"
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
        "--time-zone", metavar="ZONE", help="zone of timestamps without one, such as Europe/Berlin (UTC)"
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
    from flowdsl.log.shape import TYPES

    if options.guess:
        from flowdsl.log.guess import guess

        with _source(options) as source:
            show(str(guess(source)))
        return 0
    if options.log is None:
        raise UsageError("LOG is needed, the folder of the log to append to")
    columns = _columns(options)
    types: dict[str, Any] = {kind.__name__: kind for kind in TYPES}
    splits = {value: _parts(parts) for value, parts in pairs(options.split, "--split")}
    with _source(options) as source, ParquetEventLog(options.log) as log:
        done = convert(
            source,
            log,
            columns,
            {value: kind or None for value, kind in pairs(options.kind, "--kind")},
            splits,
            shape=options.shape,
            explode=options.explode,
            records=options.records,
            header=None if options.header is None else options.header.split(","),
            types={column: types.get(name, name) for column, name in pairs(options.type, "--type")},
            decimal=options.decimal,
            time_unit=options.time_unit,
            time_format=options.time_format,
            time_zone=options.time_zone,
            duplicates=options.duplicates,
        )
        last = log.last_seq_no()
    return _report(done, options, last)


def _report(done: Converted, options: argparse.Namespace, last: int) -> int:
    from flowdsl.log.problems import reason_alike

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
            f"{count_text(done.events, 'event')} appended to {options.log}, "
            f"{count_text(done.skipped, 'row')} left out; the last is event {last:,}"
        )
        if done.dropped:
            show(f"{count_text(done.dropped, 'event')} left out, whose ids are there already")
    broken = done.problems[done.problems["problem"] == "broken"]
    # one row for each reason, so that frequent reasons do not hide others
    alike = broken.groupby(broken["reason"].map(reason_alike), sort=False)
    for _, rows in sorted(alike, key=lambda found: -len(found[1]))[:_SHOWN]:
        first = rows.iloc[0]
        more = f" (and {count_text(len(rows) - 1, 'row')} like it)" if len(rows) > 1 else ""
        say(f"{first['place']}:{first['row']}: {first['reason']}{more}")
    for problem, count in counts.items():
        say(f"{count_text(count, 'row')} {'could not be read' if problem == 'broken' else problem}")
    return 1 if len(broken) else 0


def _parts(text: str) -> list[str | dict[str, Any]]:
    """Parse the events that a row is split into: kinds, each with its own columns in brackets."""
    parts: list[str | dict[str, Any]] = []
    for piece in _COMMA.split(text):
        found = _PART.fullmatch(piece)
        if found is None:
            raise UsageError(
                f"--split {piece!r} is not a kind of event\n  hint: like link.deleted, or "
                "link.deleted(source_id=old)"
            )
        kind, own = found["kind"], found["own"]
        columns = pairs(own.split(","), "--split") if own else []
        parts.append({"kind": kind, **dict(columns)} if columns else kind)
    return parts


def _columns(options: argparse.Namespace) -> dict[str, Any]:
    from flowdsl.log import literal

    columns: dict[str, Any] = dict(pairs(options.column, "--column"))
    for field, text in pairs(options.literal, "--literal"):
        if field in columns:
            raise UsageError(f"{field} is given by --column and by --literal")
        columns[field] = literal(text)
    return columns


@contextmanager
def _source(options: argparse.Namespace) -> Iterator[str]:
    if options.source != "-":
        if not any(sign in options.source for sign in "*?["):
            existing(options.source, "file or folder")
        yield options.source
        return
    with tempfile.TemporaryDirectory(prefix="flowdsl-stdin-") as folder:
        path = Path(folder) / f"stdin.{options.format}"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield str(path)
