"""Command line: `flowdsl COMMAND`

Data goes to stdout, messages and progress to stderr. The exit code is 0 where all is well, 1 for failures and
findings, 2 for wrong use.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
import warnings
from collections.abc import Sequence

from flowdsl import __version__
from flowdsl.cli.console import UsageError, say
from flowdsl.errors import FlowError, FlowWarning

COMMANDS = (
    "demo",
    "replay",
    "explain",
    "why",
    "compare",
    "check",
    "test",
    "show",
    "sample",
    "notebooks",
    "convert",
    "run",
    "schema",
    "completion",
)
# commands whose module has another name, to avoid names of the standard library
MODULES = {"test": "run_tests"}
# files, folders and names
_NAMED = frozenset(
    [
        "flows",
        "log",
        "out",
        "report",
        "graph",
        "before",
        "after",
        "source",
        "folder",
        "sinks",
        "consumer",
        "flow",
        "recipient",
    ]
)
# Python's calls in messages, with their arguments, and arguments that are mappings
_VALUE = r"""'[^']*'|"[^"]*"|\{[^{}\n]*\}|…"""
_CALL = re.compile(
    rf"""\b(?:log = )?(?:fd\.)?read_events\((?:path|…|\s+"[^"]*",)((?:,?\s+\w+=(?:{_VALUE}),?)*)\s*\)"""
)
_GUESS = re.compile(r"\bguess\((?:path|source)\)")
_PARAMETER = re.compile(rf",?\s+(?P<name>\w+)=(?P<value>{_VALUE}),?")
_MAPPING = re.compile(r"(?<![\w.])(?P<name>columns|kinds|types)=(?P<value>\{[^{}\n]*\}|(?=\s))")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = _parser()
    given = sys.argv[1:] if arguments is None else arguments
    try:
        options = parser.parse_args(given)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    try:
        _check_values(given)
        _check_texts(options)
        code = _run(options)
    except UsageError as error:
        say(f"flowdsl {options.command}: {error}")
        say(f"see flowdsl {options.command} --help")
        return 2
    except BrokenPipeError:
        # the reader closed the pipe; write nothing at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (FlowError, OSError) as error:
        message = in_words_of_commands(str(error), options.parser, options.command)
        say(f"flowdsl {options.command}: {message}")
        return 1
    except MemoryError as error:
        say(f"flowdsl {options.command}: there is not enough memory: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    return code


def in_words_of_commands(text: str, parser: argparse.ArgumentParser, command: str) -> str:
    """Replace Python calls in a message by commands, and parameters by the options of a command.

    >>> in_words_of_commands("read_events(…, shape='segment') reads it", _parser(), "replay")
    'flowdsl convert … --shape segment reads it'
    """
    text = _CALL.sub(lambda call: f"flowdsl convert …{_PARAMETER.sub(_as_option, call[1])}", text)
    text = _GUESS.sub("flowdsl convert … --guess", text)
    if command == "convert":
        text = _MAPPING.sub(lambda found: _as_option(found).lstrip(), text)
    for name, flag in sorted(_flags(parser, command).items(), key=lambda pair: -len(pair[0])):
        text = re.sub(rf"(?<![\w.])(?<!--column ){re.escape(name)}=(?=[^=\s])", f"{flag} ", text)
    return text


def _as_option(found: re.Match[str]) -> str:
    """Convert an argument to options of `flowdsl convert`; a mapping becomes one option for each item."""
    name, value = found["name"], found["value"]
    flag = f"--{name.removesuffix('s') if name in ('columns', 'kinds', 'types') else name.replace('_', '-')}"
    items = [re.sub("['\"]", "", item).replace(": ", "=") for item in value.strip("{}").split(", ")]
    return "".join(f" {flag} {item}".rstrip() for item in items)


def _flags(parser: argparse.ArgumentParser, command: str) -> dict[str, str]:
    """Return the options of a command, such as `--max-ahead`, by the names of their parameters."""
    [commands] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    chosen: argparse.ArgumentParser = commands.choices[command]
    return {
        action.dest: next((f for f in action.option_strings if f.startswith("--")), str(action.metavar))
        for action in chosen._actions
        if action.option_strings or action.metavar
    }


def _check_values(given: Sequence[str]) -> None:
    """Reject `--option=--`, which argparse parses as an empty list before Python 3.13."""
    for one in given:
        if one.startswith("--") and one.endswith("=--"):
            raise UsageError(f"{one.removesuffix('=--')} needs a value, which -- is not")


def _check_texts(options: argparse.Namespace) -> None:
    """Reject empty arguments, and paths with NUL characters."""
    for name, value in vars(options).items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and "\0" in text:
                raise UsageError(f"{name} has a NUL character")
            if text == "" and name in _NAMED:
                raise UsageError(f"{name} is empty")


def _run(options: argparse.Namespace) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("always", FlowWarning)
        warnings.showwarning = _warn
        code: int = options.run(options)
        sys.stdout.flush()
        return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flowdsl",
        description="Design event flows, replay them over history, and run them live.",
    )
    parser.add_argument("--version", action="version", version=f"flowdsl {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"flowdsl.cli.{MODULES.get(name, name)}")
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add(command)
        command.set_defaults(run=module.run, parser=parser)
    return parser


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    say(f"warning: {message}")
