"""Compare two results, or two versions of flows over the same events, delivery by delivery.

BEFORE and AFTER are folders written by replay --out, or YAML files of flows to replay over --log. The exit
code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from flowdsl.cli.console import UsageError, existing, load_project, natural, say, show, show_json, table_text
from flowdsl.cli.options import add_history, graph_of, log_of, position

if TYPE_CHECKING:
    from flowdsl.api.result import Result

SUMMARY = "compare two results, or two versions of flows"
EPILOG = "example: flowdsl compare flows.yaml new-flows.yaml --log events.parquet --graph graph"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument("before", metavar="BEFORE", help="a result's folder, or a YAML file of flows")
    parser.add_argument("after", metavar="AFTER", help="the same for the new version")
    parser.add_argument("--log", metavar="PATH", help="events to replay the flows over")
    add_history(parser)
    parser.add_argument(
        "--causes", action="store_true", help="also report the steps at which deliveries began to differ"
    )
    parser.add_argument(
        "--rows", type=natural, default=5, metavar="N", help="rows to print for each change (5)"
    )
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the differences; return 1 if there are any."""
    from flowdsl.comparison.comparison import compare
    from flowdsl.comparison.matches import CHANGES

    compared = compare(_result(options.before, options), _result(options.after, options))
    if options.causes:
        _ = compared.causes
    if options.json:
        show_json(compared.to_dict())
    else:
        show(repr(compared))
        rows = compared.polars()
        for change in CHANGES if options.rows else ():
            some = rows.filter(rows["change"] == change)
            if some.height:
                shown = [name for name in some.columns if not some[name].is_null().all() and name != "change"]
                show(f"\n{change}: {some.height:,}")
                show(table_text(some.select(shown).head(options.rows), some.height))
    return 0 if compared.same else 1


def _result(path: str, options: argparse.Namespace) -> Result:
    from flowdsl.api.replay import replay
    from flowdsl.api.result import read_result

    if Path(path).is_dir():
        return read_result(path)
    project = load_project(str(existing(path, "folder or file")))
    if options.log is None:
        raise UsageError(f"{path} holds flows: --log says over which events they are replayed")
    say(f"replaying {path}")
    return replay(
        project,
        log_of(options),
        graph_of(options),
        start=position(options.start),
        stop=position(options.stop),
    )
