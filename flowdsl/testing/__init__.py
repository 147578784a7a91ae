"""Tests of flows: events and a graph, and what is to come of them, run with the replay engine."""
