"""Print the JSON Schema of flows in YAML, for completion and validation in editors.

With a file of flows, `deliver` offers the sinks of that file. Editors with a YAML language server find the
schema next to a file of flows that begins with this line, as those have that flowdsl writes:

  # yaml-language-server: $schema=flowdsl.schema.json
"""

from __future__ import annotations

import argparse
import sys

from flowdsl.cli.console import load_project

SUMMARY = "print the JSON Schema of flows"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the file."""
    parser.add_argument(
        "flows",
        metavar="FLOWS.yaml",
        nargs="?",
        help="the flows whose sinks are offered; - reads them from stdin",
    )
    parser.epilog = "example: flowdsl schema flows.yaml > flowdsl.schema.json"


def run(options: argparse.Namespace) -> int:
    """Print the schema."""
    from flowdsl.production.schema import schema_text

    sys.stdout.write(schema_text(_sinks(options.flows) if options.flows else ()))
    return 0


def _sinks(path: str) -> list[str]:
    """Return the names of the sinks that a file declares, or that its bare flows deliver to."""
    project = load_project(path)
    delivered = [name for flow in project.flows for name in flow.sinks]
    return [sink.name for sink in project.sinks] or list(dict.fromkeys(delivered))
