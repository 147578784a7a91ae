"""Replay flows over an event log and print what would have been delivered.

The log is the folder of a log, Parquet files (a path, folder or glob), or a file of JSON lines or CSV that
needs no mapping; `flowdsl convert` makes a log of any other file. The exit code is 1 if contexts failed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowdsl.cli.console import UsageError, existing, load_project, natural, say, show, show_json, table_text
from flowdsl.cli.options import add_history, graph_of, log_of, position
from flowdsl.errors import one_line

if TYPE_CHECKING:
    from flowdsl.api.result import Result

SUMMARY = "replay flows over an event log"
EPILOG = "example: flowdsl replay data/flows.yaml --log data/sample/events.parquet --graph data/sample/graph"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument("flows", metavar="FLOWS.yaml", help="the flows; - reads them from stdin")
    parser.add_argument("--log", required=True, metavar="PATH", help="the events")
    parser.add_argument(
        "--out", metavar="FOLDER", help="write the tables of the result to a folder, during the run"
    )
    parser.add_argument("--report", metavar="FILE.html", help="write a report as one HTML file")
    add_history(parser)
    parser.add_argument(
        "--target",
        choices=("this-rs",),
        help="replay by the rules of that runtime, including its defects",
    )
    parser.add_argument(
        "--engine",
        choices=("local", "spark"),
        default="local",
        help="what runs the flows: this machine, or Apache Spark (pip install 'flowdsl[spark]')",
    )
    parser.add_argument(
        "--open-windows",
        choices=("flush", "keep"),
        default="flush",
        help="close or drop windows that are open at the end",
    )
    add_output(parser)
    parser.add_argument(
        "--allow-failures",
        action="store_true",
        help="exit with 0 also where contexts failed, and only say so",
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """Declare --rows and --json."""
    parser.add_argument(
        "--rows", type=natural, default=5, metavar="N", help="rows to print for each sink (5)"
    )
    parser.add_argument("--json", action="store_true", help="print counts as JSON instead of tables")


def run(options: argparse.Namespace) -> int:
    """Replay and print; return 1 if production stops, or if contexts failed without `--allow-failures`."""
    from flowdsl.api.replay import replay

    if options.report:
        _check_report(Path(options.report))
    project = load_project(options.flows, options.target)
    graph, log = graph_of(options), log_of(options)
    began = time.perf_counter()
    result = replay(
        project,
        log,
        graph,
        start=position(options.start),
        stop=position(options.stop),
        open_windows=options.open_windows,
        out=options.out,
        target=options.target,
        engine=options.engine,
    )
    say(f"{result.manifest['events']:,} events in {time.perf_counter() - began:.2f} s")
    if options.out:
        say(f"written to {options.out}")
    if options.report:
        result.report(options.report)
        say(f"report in {options.report}")
    print_result(result, 0 if options.out else options.rows, as_json=options.json)
    return _exit_code(result, options.out, may_fail=options.allow_failures)


def _exit_code(result: Result, out: str | None, *, may_fail: bool) -> int:
    """Report failures and where production stops; return 1 for a stop, or for failures unless they may be."""
    failed = sum(step["failed"] for step in result.manifest["steps"])
    if failed:
        # results in files may not fit into memory, so their errors are not counted here
        why = f"see the errors in {out}" if out else reasons(result)
        say(f"{failed:,} contexts failed: {why}")
    if result.stopped is not None:
        say(f"{result.stopped}; no later event is processed, by any flow")
    return 1 if (failed and not may_fail) or result.stopped is not None else 0


def _check_report(path: Path) -> None:
    """Check the path of the report, so that a wrong one fails before a long replay."""
    existing(str(path.parent), "folder")
    if path.is_file() and path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            f"--report would write over {str(path)!r}, which is not a page: name one that ends in .html"
        )


def print_result(result: Result, rows: int, *, as_json: bool = False) -> None:
    """Print the summary and the first rows of each sink's deliveries, or the counts as JSON."""
    if as_json:
        kept = ("events", "stopped", "late", "ahead", "unmatched", "delivered", "steps")
        manifest: Mapping[str, Any] = result.manifest
        show_json({name: manifest[name] for name in kept})
        return
    from flowdsl.sinks.frame import FIXED

    show(repr(result))
    for sink in result.sinks if rows else ():
        frame = result.polars(sink)
        payload = [name for name in frame.columns if name not in FIXED]
        show(f"\n{one_line(sink)}: {frame.height:,} deliveries")
        show(
            table_text(
                frame.select("delivered_at", "recipient_id", *payload, "seq_no").head(rows), frame.height
            )
        )


def reasons(result: Result) -> str:
    """Return the most common errors, with their counts."""
    counts = result.errors["error"].value_counts()
    named = [f"{error} ({count:,})" for error, count in counts.head(3).items()]
    return ", ".join(named) + (" …" if len(counts) > 3 else "")
