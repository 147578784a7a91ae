"""Replay the sample flows over sample data; generates the data if it is missing."""

from __future__ import annotations

import argparse
import time

from flowdsl.cli.console import say
from flowdsl.cli.replay import add_output, print_result
from flowdsl.cli.sample import add_sample, check

SUMMARY = "replay the sample flows over sample data"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_sample(parser)
    add_output(parser)


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
