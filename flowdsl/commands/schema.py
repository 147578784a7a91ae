"""Print the JSON Schema of flows in YAML, for editors that complete and check while one types.

It is also a file of the package. In an editor with a YAML language server, put this line on top of a file of flows:

  # yaml-language-server: $schema=flows.schema.json
"""

from __future__ import annotations

import argparse
import sys

SUMMARY = "print the JSON Schema of flows"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = "example: flowdsl schema > flows.schema.json"


def run(options: argparse.Namespace) -> int:
    """Print it."""
    from flowdsl.production.schema import schema_text

    sys.stdout.write(schema_text())
    return 0
