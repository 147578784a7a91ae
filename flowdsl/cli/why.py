"""Explain why one event reached a recipient or did not, down to the step that stopped it.

The exit code is 0 if the event reached the recipient, 1 if it did not.
"""

from __future__ import annotations

import argparse

from flowdsl.cli.console import show
from flowdsl.cli.options import add_event, add_history, replay_options

SUMMARY = "explain why one event reached a recipient or did not"
EPILOG = (
    "example: flowdsl why data/flows.yaml 42 2e1f… --log data/sample/events.parquet --graph data/sample/graph"
)


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    add_event(parser)
    parser.add_argument("recipient", metavar="RECIPIENT", help="the id of the recipient")
    add_history(parser)


def run(options: argparse.Namespace) -> int:
    """Print the answer; return 1 if the event did not reach the recipient."""
    from flowdsl.explanation.why import why

    answer = why(replay_options(options), options.seq_no, options.recipient, options.flow)
    show(answer.text if options.format == "text" else getattr(answer.picture(), options.format))
    return 0 if answer.reached else 1
