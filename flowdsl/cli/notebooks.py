"""Copy the notebooks that come with flowdsl into a folder of yours.

They make the data that they need, and run anywhere; those that are in the folder already are left as they
are.
"""

from __future__ import annotations

import argparse

from flowdsl.cli.console import say, show

SUMMARY = "copy the notebooks into a folder"
FOLDER = "flowdsl-notebooks"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "folder", nargs="?", default=FOLDER, metavar="FOLDER", help=f"where to write them ({FOLDER})"
    )
    parser.epilog = "example: flowdsl notebooks && jupyter lab flowdsl-notebooks/first-flow.ipynb"


def run(options: argparse.Namespace) -> int:
    """Copy the notebooks that the folder does not have yet."""
    from flowdsl.samples.notebooks import copy_notebooks

    written, kept = copy_notebooks(options.folder)
    for path in written:
        show(str(path))
    if kept:
        say(f"kept as they are: {', '.join(path.name for path in kept)}")
    return 0
