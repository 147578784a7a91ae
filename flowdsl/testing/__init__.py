"""Tests of flows: events and a graph, and what is to come of them, run with the replay engine."""

from __future__ import annotations

from flowdsl.testing.cases import FlowTest
from flowdsl.testing.running import Outcome, run_tests, tests_of

__all__ = ["FlowTest", "Outcome", "run_tests", "tests_of"]
