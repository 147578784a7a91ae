"""The examples of docs/findings.md: what is found and what comes near, taken from the cases.

PYTHONPATH=tests python -m findings.examples      writes them into the page
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from findings import DELIVER, LINK, MAP, Case, of_flows, of_production, of_templates
from flowdsl import Flow

DOCS = Path(__file__).parents[2] / "docs" / "findings.md"
CASES: list[Case] = [*of_flows.CASES, *of_templates.CASES, *of_production.CASES]
_ENTRY = re.compile(r"^### `([^`]+)`\n\n(.+)\n(?:\n```(?:yml|py)\n(?:.*\n)*?```\n)?", re.MULTILINE)


def example(code: str) -> str | None:
    """A block of code with the first case of a code; None for one that only a log shows."""
    case = next((case for case in CASES if case.code == code), None)
    if case is None:
        return None
    # not `yaml` and `python`: blocks of those are loaded and run as they stand, and these are parts
    language = "py" if isinstance(case.due, Flow) else "yml"
    short, whole = (
        tuple(_shown(one, short=short) for one in (case.due, case.near)) for short in (True, False)
    )
    told_apart = short[0] != short[1] and ("- " in short[0]) == ("- " in short[1])
    found, near = short if told_apart else whole
    return f"```{language}\n# found\n{found}\n# not found\n{near}\n```\n"


def _shown(source: str | Flow, *, short: bool) -> str:
    if isinstance(source, Flow):
        return str(source)
    if not source.startswith("- name: "):
        return source.rstrip()
    return "\n".join(_parts(source, short=short))


def _parts(source: str, *, short: bool) -> Iterator[str]:
    """What a flow has beyond the usual name, trigger and last steps."""
    name, trigger, _, *rest = source.rstrip().splitlines()
    steps = [line.removeprefix("    ") for line in rest]
    if short:
        steps = _without_usual(steps)
    if name != "- name: f":
        yield name[2:]
    if not trigger.endswith(f"trigger: {LINK}") or not steps:
        yield trigger.strip()
    yield from steps


def _without_usual(steps: list[str]) -> list[str]:
    """The steps without the map and deliver at their end that every case has, if there are no others."""
    usual = [f"- {MAP}", f"- {DELIVER}"]
    if steps[-2:] == usual and not set(usual) & set(steps[:-2]):
        return steps[:-2]
    return steps[:-1] if steps[-1:] == usual[1:] and usual[1] not in steps[:-1] else steps


def with_examples(page: str) -> str:
    """The page with the examples as the cases have them now."""

    def entry(match: re.Match[str]) -> str:
        block = example(match[1])
        return f"### `{match[1]}`\n\n{match[2]}\n" + (f"\n{block}" if block else "")

    return _ENTRY.sub(entry, page)


if __name__ == "__main__":
    DOCS.write_text(with_examples(DOCS.read_text("utf-8")), "utf-8")
