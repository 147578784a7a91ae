"""Generate sample data: a log of likes, follows, posts and comments, its graph, and flows for it."""

from __future__ import annotations

import argparse

from flowdsl.cli.console import UsageError, natural, say, show, show_json

SUMMARY = "generate sample data of any size"
FOLDER = "data/sample"
EVENTS, SEED = 20_000, 1
MOST_EVENTS = 1_000_000_000


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_sample(parser)
    parser.add_argument("--json", action="store_true", help="print the paths as JSON")


def add_sample(parser: argparse.ArgumentParser) -> None:
    """Declare FOLDER, --events and --seed."""
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


def run(options: argparse.Namespace) -> int:
    """Write the sample and print its paths."""
    from flowdsl.samples.datasets import write_sample

    check(options)
    sample = write_sample(options.folder, options.events, options.seed)
    say(f"{options.events:,} events written to {options.folder}")
    paths = {"log": str(sample.log), "graph": str(sample.graph), "flows": str(sample.flows)}
    if options.json:
        show_json(paths)
    else:
        show("\n".join(paths.values()))
    return 0


def check(options: argparse.Namespace) -> None:
    """Reject impossible sizes and seeds."""
    if not 1 <= options.events <= MOST_EVENTS:
        raise UsageError(f"--events must be between 1 and {MOST_EVENTS:,}")
    if not 0 <= options.seed < 1 << 32:
        raise UsageError("--seed must be between 0 and 4294967295")
