"""Print the JSON Schema of flows in YAML, for completion and validation in editors.

It is also a file of the package. Editors with a YAML language server look for it beside a file of flows that
has this line on top, as those have that flowdsl writes:

  # yaml-language-server: $schema=flowdsl.schema.json
"""

from __future__ import annotations

import argparse
import sys

SUMMARY = "print the JSON Schema of flows"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = "example: flowdsl schema > flowdsl.schema.json"


def run(options: argparse.Namespace) -> int:
    """Print the schema."""
    from flowdsl.production.schema import schema_text

    sys.stdout.write(schema_text())
    return 0
