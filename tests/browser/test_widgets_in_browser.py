"""The explorer and the designer, used with mouse and keyboard in Chromium."""

from __future__ import annotations

START = """
import flowdsl as fd
from flowdsl.samples import write_sample
sample = write_sample("sample-data", events=3000)
flows = {flow.name: flow for flow in fd.load(sample.flows).flows}
graph = fd.read_graph(sample.graph)
"""


def test_the_explorer_steps_through_an_event(notebook):
    shown = notebook(START, "explorer = flows['notify-like'].explore(sample.log, graph)\nexplorer")
    assert shown.errors() == []
    panel = shown.output(1).locator(".flowdsl.explore")
    panel.wait_for()
