"""Update of expectations in a file of tests; everything else in the file stays byte for byte."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from flowdsl.errors import LoadError, ReplayError
from flowdsl.flow_tests.cases import EXPECTATIONS
from flowdsl.flow_tests.expectations import same
from flowdsl.flow_tests.runner import RunOutcome
from flowdsl.production.nodes import read_text
from flowdsl.production.yaml_patch import PatchError, splice, without_aliases


def update_text(text: str, outcomes: Mapping[int, RunOutcome]) -> str:
    """Return the YAML text with corrected expectations; `outcomes` maps positions of tests to their outcomes.

    Entries that hold stay as they are written. If an alias in the tests stands for something that changes,
    the aliases are written out first. Raises `ReplayError` if the expectations are still not as wanted.
    """
    document = read_text(text, "text")[0].plain()
    changes = {number: _changes(document["tests"][number], one) for number, one in outcomes.items()}
    if not any(changes.values()):
        return text
    for number, changed in changes.items():
        document["tests"][number].update(changed)
    for new in _write(text, document):
        if read_text(new, "text")[0].plain() == document:
            return new
    raise ReplayError("the tests cannot be rewritten in place", hint="write them without anchors and aliases")


def _write(text: str, document: Any) -> Iterator[str]:
    with contextlib.suppress(PatchError, LoadError):
        yield splice(text, document)
    with contextlib.suppress(PatchError, LoadError):
        yield splice(without_aliases(text, "tests"), document)


def _changes(written: dict[str, Any], outcome: RunOutcome) -> dict[str, Any]:
    """Return the changed expectations of a test; entries that hold are kept as written."""
    changed = {}
    for name in EXPECTATIONS:
        before, after = getattr(outcome.test, name), getattr(outcome.settled, name)
        if not same(before, after):
            kept = list(zip(before or (), written.get(name) or (), strict=True))
            changed[name] = [_find_written(entry, kept) for entry in after]
    return changed


def _find_written(entry: Any, kept: list[tuple[Any, Any]]) -> Any:
    """Return the written form of an entry, which is used up, or the entry itself if it is new."""
    for number, (before, as_written) in enumerate(kept):
        if same(before, entry):
            del kept[number]
            return as_written
    return entry
