"""Explain what happened to one event, step by step.

The log is replayed up to that event, with the graph as it was then.
"""

from __future__ import annotations

import argparse

from flowdsl.cli.console import show
from flowdsl.cli.options import add_event, add_history, replay_options

SUMMARY = "explain what happened to one event, step by step"
EPILOG = (
    "example: flowdsl explain data/flows.yaml 42 --log data/sample/events.parquet --graph data/sample/graph"
)


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    add_event(parser)
    add_history(parser)


def run(options: argparse.Namespace) -> int:
    """Print the explanation."""
    from flowdsl.explanation.explain import explain

    explanation = explain(replay_options(options), options.seq_no, options.flow)
    show(str(explanation) if options.format == "text" else getattr(explanation.picture(), options.format))
    return 0
