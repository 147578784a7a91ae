"""Tests of flows: events, a graph, and the expected results, run by the replay engine.

Goes in: tests as data, their run, and how one is cut out of a log. Stays out: how they are written in YAML (`production`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from flowdsl.testing.cases import FlowTest
    from flowdsl.testing.runner import Outcome, read_tests, run_tests

__all__ = ["FlowTest", "Outcome", "read_tests", "run_tests"]
_HOME: Final = {"FlowTest": "cases", "Outcome": "runner", "read_tests": "runner", "run_tests": "runner"}


def __getattr__(name: str) -> Any:
    # imported late: `load` needs this package's declarations, not the engine
    if name not in _HOME:
        raise AttributeError(f"module 'flowdsl.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(f"flowdsl.testing.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
