"""Tests of flows: events, a graph, and the expected results, run by the replay engine."""

from __future__ import annotations

from flowdsl.api.testing import FlowTest, Outcome, read_tests, run_tests

__all__ = ["FlowTest", "Outcome", "read_tests", "run_tests"]


def __dir__() -> list[str]:
    return list(__all__)
