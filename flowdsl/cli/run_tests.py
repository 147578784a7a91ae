"""Run the tests in YAML files of flows, and show differences from what they expect.

The events of each test are replayed with its flows, graph and target. --update replaces failed expectations
in the file by the actual results, and leaves everything else as it is. The exit code is 1 if a test fails.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flowdsl.cli.console import UsageError, existing, load_project, say, show, show_json
from flowdsl.pluralize import count_text

if TYPE_CHECKING:
    from flowdsl.api.testing import Outcome

SUMMARY = "run the tests of flows"
_COLOURS: Final = {"+": "32", "-": "31", "@": "36"}


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = "example: flowdsl test flows.yaml --name 'liked'"
    parser.add_argument(
        "flows", metavar="FLOWS.yaml", nargs="+", help="flows with their tests; - reads them from stdin"
    )
    parser.add_argument("--name", metavar="TEXT", help="run only the tests whose name contains this")
    parser.add_argument(
        "--update", action="store_true", help="replace failed expectations in the file by the actual results"
    )
    parser.add_argument("--json", action="store_true", help="print the outcomes as JSON")


def run(options: argparse.Namespace) -> int:
    """Run the tests and print their outcomes; return 1 if one fails."""
    if options.update and "-" in options.flows:
        raise UsageError("--update writes into files, and - is none")
    outcomes = _all_outcomes(options)
    _print_all(outcomes, options)
    failed = [outcome for _, outcome in outcomes if not outcome.passed]
    wrong = [outcome for outcome in failed if outcome.error is not None] if options.update else failed
    say(_sum(len(outcomes), len(failed), len(failed) - len(wrong)))
    return 1 if wrong else 0


def _print_all(outcomes: list[tuple[str, Outcome]], options: argparse.Namespace) -> None:
    if options.json:
        show_json([_as_json(path, outcome, options) for path, outcome in outcomes])
        return
    for path, outcome in outcomes:
        _print(path if len(options.flows) > 1 else None, outcome, updated=options.update)


def _all_outcomes(options: argparse.Namespace) -> list[tuple[str, Outcome]]:
    outcomes = [(path, outcome) for path in options.flows for outcome in _outcomes(path, options)]
    if not outcomes:
        raise _no_tests(options)
    return outcomes


def _no_tests(options: argparse.Namespace) -> UsageError:
    files = ", ".join(options.flows)
    if options.name:
        return UsageError(f"no test of {files} has {options.name!r} in its name")
    return UsageError(
        f"there are no tests in {files}; they go next to the flows, under the key tests: "
        "(docs/tests.md), and result.as_test(seq_no) makes one of a real event"
    )


def _outcomes(path: str, options: argparse.Namespace) -> list[Outcome]:
    from flowdsl.api.testing import read_tests, run_tests
    from flowdsl.flow_tests.snapshot import update_text

    project = load_project(path)
    tests = read_tests(project)
    chosen = [i for i, test in enumerate(tests) if options.name is None or options.name in test.name]
    outcomes = dict(zip(chosen, run_tests(project, [tests[i] for i in chosen]), strict=True))
    if options.update and any(not outcome.passed for outcome in outcomes.values()):
        file = existing(path, "file")
        # as bytes, to keep line ends
        text = file.read_bytes().decode("utf-8-sig")
        _write(file, update_text(text, outcomes))
    return list(outcomes.values())


def _write(file: Path, text: str) -> None:
    beside = file.with_name(f".{file.name}.new")
    beside.write_bytes(text.encode())
    beside.replace(file)


def _print(path: str | None, outcome: Outcome, *, updated: bool) -> None:
    state = "ok" if outcome.passed else "updated" if updated and outcome.error is None else "failed"
    colour = "32" if state == "ok" else "33" if state == "updated" else "31"
    show(f"{_paint(f'{state:<7}', colour)} {f'{path}: ' if path else ''}{outcome.test.name}")
    for line in outcome.diff.splitlines():
        show(f"        {_paint(line, _COLOURS.get(line[:1], ''))}")


def _paint(text: str, colour: str) -> str:
    """Colour text on a terminal, unless NO_COLOR is set."""
    wanted = sys.stdout.isatty() or bool(os.environ.get("FORCE_COLOR"))
    if not colour or not wanted or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{colour}m{text}\x1b[0m"


def _as_json(path: str, outcome: Outcome, options: argparse.Namespace) -> dict[str, Any]:
    from flowdsl.flow_tests.cases import EXPECTATIONS

    def part(test: Any) -> dict[str, Any]:
        given = test.to_dict()
        return {name: given[name] for name in EXPECTATIONS if name in given}

    return {
        "file": path,
        "name": outcome.test.name,
        "passed": outcome.passed,
        "updated": options.update and not outcome.passed and outcome.error is None,
        "error": None if outcome.error is None else str(outcome.error),
        "expected": part(outcome.test),
        "came": None if outcome.error is not None else part(outcome.settled),
        "diff": outcome.diff,
    }


def _sum(tests: int, failed: int, updated: int) -> str:
    parts = [count_text(tests, "test")]
    parts += [f"{failed - updated:,} failed"] if failed > updated else []
    parts += [f"{updated:,} updated"] if updated else []
    return ", ".join(parts) if len(parts) > 1 else f"{parts[0]} passed"
