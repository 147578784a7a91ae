"""Replay the sample flows over sample data; generates the data if it is missing."""

from __future__ import annotations

import argparse
import time

from flowdsl.cli.console import natural, say
from flowdsl.cli.replay import print_result
from flowdsl.cli.sample import EVENTS, FOLDER, SEED, check

SUMMARY = "replay the sample flows over sample data"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "folder", nargs="?", default=FOLDER, metavar="FOLDER", help=f"folder of the data ({FOLDER})"
    )
    parser.add_argument(
        "--events",
        type=natural,
        default=EVENTS,
        metavar="N",
        help=f"number of events to generate ({EVENTS:,})",
    )
    parser.add_argument(
        "--seed", type=natural, default=SEED, metavar="S", help=f"seed of the generator ({SEED})"
    )
    parser.add_argument(
        "--rows", type=natural, default=5, metavar="N", help="rows to print for each sink (5)"
    )
    parser.add_argument("--json", action="store_true", help="print counts as JSON instead of tables")


def run(options: argparse.Namespace) -> int:
    """Generate missing data, replay and print."""
    from flowdsl.api.project import load
    from flowdsl.api.replay import replay
    from flowdsl.graph.folder import read_graph
    from flowdsl.samples.datasets import sample_in, write_sample

    check(options)
    sample = sample_in(options.folder)
    if not (sample.log.exists() and sample.graph.exists() and sample.flows.exists()):
        say(f"making {options.events:,} events in {options.folder}")
        write_sample(options.folder, options.events, options.seed)
    began = time.perf_counter()
    result = replay(load(sample.flows), sample.log, read_graph(sample.graph))
    say(f"{result.manifest['events']:,} events in {time.perf_counter() - began:.2f} s")
    print_result(result, options.rows, as_json=options.json)
    say(f"the flows: flowdsl show {sample.flows}")
    return 0
