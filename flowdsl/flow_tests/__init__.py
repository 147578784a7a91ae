"""Tests of flows: events, a graph, and the expected results, run by the replay engine.

Goes in: tests as data, their run, and how one is cut out of a log. Stays out: how they are written in YAML
(`production`), and what users hold of them (`flowdsl.testing`).
"""
