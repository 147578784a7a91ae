"""Say what is worth knowing of flows before they are shipped: mistakes, traps, and what production does otherwise.

The exit code is 1 where there are errors or warnings; notes alone leave it 0. Each code has an entry in
docs/findings.md.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from flowdsl.commands.talking import existing, say, show, show_json

SUMMARY = "say what is worth knowing of flows before they are shipped"
EPILOG = "example: flowdsl check data/flows.yaml --target this-rs"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument("flows", metavar="FLOWS.yaml", help="the flows; - reads them from stdin")
    parser.add_argument(
        "--target", choices=("this-rs",), help="also what that runtime refuses, loses, or does otherwise"
    )
    parser.add_argument(
        "--least",
        choices=("note", "warning", "error"),
        default="note",
        help="leave out what is less bad than that (note: leave out nothing)",
    )
    parser.add_argument("--json", action="store_true", help="print them as JSON, one list")


def run(options: argparse.Namespace) -> int:
    """Print the findings, and give 1 where one is more than a note."""
    from flowdsl.production.document import BYTES
    from flowdsl.production.findings import check_source
    from flowdsl.production.findings.base import SEVERITIES

    path = None if options.flows == "-" else existing(options.flows, "file")
    with sys.stdin.buffer if path is None else path.open("rb") as file:
        raw = file.read(BYTES + 1)
    kept = SEVERITIES[: SEVERITIES.index(options.least) + 1]
    found = [
        f
        for f in check_source(raw, "stdin" if path is None else path.name, options.target)
        if f.severity in kept
    ]
    if options.json:
        show_json([finding.to_dict() for finding in found])
    else:
        for finding in found:
            show(str(finding))
    counts = Counter(finding.severity for finding in found)
    say(
        ", ".join(f"{counts[s]} {s}{'s' if counts[s] != 1 else ''}" for s in SEVERITIES if counts[s])
        or "nothing found"
    )
    return 1 if counts["error"] or counts["warning"] else 0
