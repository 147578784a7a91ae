"""Check flows before they are shipped: report mistakes, traps, and differences in production.

With --log, the flows are also replayed over its events, by flowdsl's rules and by production's. The events
lead to more findings, and a prediction lists, for each flow, how many deliveries production would make, lose,
or send to someone else, with an example and the finding that explains it.

The exit code is 1 if there are errors or warnings; notes alone leave it 0. Each code has an entry in
docs/findings.md.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING, Any

from flowdsl.cli.console import read_source, say, show, show_json
from flowdsl.cli.options import add_history, graph_of, log_of, position
from flowdsl.pluralize import count_text
from flowdsl.rules import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowdsl.comparison.target_diff import Prediction
    from flowdsl.findings.base import Finding
    from flowdsl.graph.snapshot import EntityGraph

SUMMARY = "check flows for mistakes before they are shipped"
EPILOG = "example: flowdsl check data/flows.yaml --target this-rs"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument(
        "flows",
        metavar="FLOWS.yaml",
        nargs="+",
        help="flows; several files form one project; - reads from stdin",
    )
    parser.add_argument(
        "--target",
        choices=("this-rs",),
        help="also report what that runtime rejects, loses or does differently",
    )
    parser.add_argument(
        "--log", metavar="PATH", help="events to replay the flows over; implies --target this-rs"
    )
    add_history(parser)
    parser.add_argument(
        "--least",
        choices=("note", "warning", "error"),
        default="note",
        help="least severity to report (note)",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as a JSON list")


def run(options: argparse.Namespace) -> int:
    """Print the findings; return 1 if any is an error or a warning."""
    from flowdsl.findings import check_sources
    from flowdsl.findings.base import SEVERITIES

    names = list(dict.fromkeys(options.flows))
    sources = list(map(read_source, names))
    kept = SEVERITIES[: SEVERITIES.index(options.least) + 1]
    log, predicted = None, None
    graph = graph_of(options)
    target: Target | None = options.target
    if options.log is not None:
        log, target = log_of(options), target or "this-rs"
        predicted = _predict(sources, target, log, graph, options)
    found = [f for f in check_sources(sources, target, log, graph) if f.severity in kept]
    if options.json:
        listed = [finding.to_dict() for finding in found]
        whole = {"findings": listed, "prediction": predicted and predicted.to_dict()}
        show_json(listed if log is None else whole)
    else:
        _print(found, predicted)
    return _summarize(found)


def _summarize(found: Sequence[Finding]) -> int:
    """Print the number of findings; return 1 if any is an error or a warning."""
    from flowdsl.findings.base import SEVERITIES

    counts = Counter(finding.severity for finding in found)
    say(", ".join(count_text(counts[s], s) for s in SEVERITIES if counts[s]) or "nothing found")
    return 1 if counts["error"] or counts["warning"] else 0


def _print(found: Sequence[Finding], predicted: object) -> None:
    for finding in found:
        show(str(finding))
    if predicted is not None:
        show(f"\n{predicted}" if found else str(predicted))


def _predict(
    sources: list[tuple[bytes, str]],
    target: Target,
    log: Any,
    graph: EntityGraph | None,
    options: argparse.Namespace,
) -> Prediction | None:
    """Predict what production would make of the flows; None if no flow runs on both sides."""
    from flowdsl.comparison.target_diff import predict_sources
    from flowdsl.errors import LoadError

    try:
        return predict_sources(
            sources, target, log, graph, start=position(options.start), stop=position(options.stop)
        )
    except LoadError as error:
        say(f"no prediction: {error.problems[0]}")
        return None
