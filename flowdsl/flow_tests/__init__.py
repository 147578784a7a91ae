"""Tests of flows: events, a graph, and the expected results, run by the replay engine.

Goes in: tests as data, running them, and extracting one from a log. Stays out: their YAML (`production`), and
the classes for users (`flowdsl.testing`).
"""
