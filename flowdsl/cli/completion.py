"""Print a script with which a shell completes commands, options and paths.

For bash, write it to ~/.local/share/bash-completion/completions/flowdsl; for zsh, to a file `_flowdsl` in a
folder of $fpath.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from flowdsl.cli.console import show

SUMMARY = "print the completion script of a shell"
EPILOG = "example: flowdsl completion bash > ~/.local/share/bash-completion/completions/flowdsl"
SHELLS = ("bash", "zsh", "tcsh")


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument("shell", choices=SHELLS, help="the shell")


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    for action in _actions(options.parser):
        kind = str(action.metavar)
        if kind == "FOLDER":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif kind in ("PATH", "SOURCE") or "." in kind:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    show(shtab.complete(options.parser, options.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the options of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
