"""The explorer and the designer, used with mouse and keyboard in marimo, which keeps widgets in shadow roots: `make looks`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flowdsl as fd
from tests.browser.looks import answers
from tests.browser.panels import added_step
from tests.browser.servers import free_port, served

pytestmark = pytest.mark.skipif(importlib.util.find_spec("marimo") is None, reason="no marimo: make looks")
APP = """import marimo
app = marimo.App()

@app.cell
def _():
    import flowdsl as fd
    from flowdsl.samples import write_sample
    sample = write_sample("sample", events=3000)
    graph = fd.read_graph(sample.graph)
    flow = next(flow for flow in fd.load(sample.flows).flows if flow.name == "notify-like")
    return fd, flow, graph, sample

@app.cell
def _(flow, graph, sample):
    flow.explore(sample.log, graph)
    return

@app.cell
def _(fd, graph, sample):
    fd.design(sample.log, graph)
    return
"""


@pytest.fixture(scope="module")
def app(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    folder, port = tmp_path_factory.mktemp("marimo"), free_port()
    (folder / "app.py").write_text(APP)
    options = ["--headless", "--no-token", "--host=127.0.0.1", f"--port={port}"]
    command = [sys.executable, "-m", "marimo", "-q", "run", "app.py", *options]
    address = f"http://127.0.0.1:{port}/"
    with served(command, folder, lambda: answers(f"{address}health")):
        page = chromium.new_page()
        page.goto(address)
        page.locator(".flowdsl.design").wait_for()
        yield page, folder
        page.close()


def test_the_explorer_steps_through_an_event(app: tuple[Any, Path]):
    panel = app[0].locator(".flowdsl.explore")
    panel.get_by_role("button", name="first step").click()
    panel.locator(".way li.open").filter(has_text="on('link.created'").wait_for()
    panel.press("End")
    panel.locator(".way li.open").filter(has_text="deliver").wait_for()
    panel.get_by_title("go to the next event that was dropped").click()
    panel.locator(".way li.open.dropped").wait_for()
    number = panel.locator(".events tr.open .number").inner_text().replace(",", "")
    panel.get_by_role("searchbox").fill(number)
    panel.locator(".events tr.open .number").filter(has_text=number).wait_for()


def test_the_designer_builds_a_flow(app: tuple[Any, Path]):
    page, folder = app
    panel = page.locator(".flowdsl.design")

    panel.get_by_label("name", exact=True).fill("liked")
    panel.get_by_label("kind").select_option("link.created")
    panel.get_by_label("type").select_option("likes")
    step = added_step(panel, "resolve")
    page.locator(".complete").wait_for()
    page.keyboard.type("targ")
    page.locator(".complete [role=option]").filter(has_text="target_id").click()
    step.get_by_label("resolve as").fill("post")
    step.locator(".counts").filter(has_text="→").wait_for()
    step = added_step(panel, "map")
    page.keyboard.type("{{ post.ti")
    page.locator(".complete [role=option]").filter(has_text="post.title").wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    assert step.get_by_label("field 1 text").input_value() == "{{ post.title }}"
    step = added_step(panel, "deliver")
    step.get_by_label("deliver sinks").fill("in-app")
    step.locator(".mark.delivered").wait_for()
    picture = panel.locator(".picture img")
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") > 100
    panel.get_by_role("tab", name="YAML").click()
    panel.get_by_label("file").fill("designed.yaml")
    panel.get_by_role("button", name="save").click()
    panel.get_by_text("saved designed.yaml").wait_for()
    (flow,) = fd.load(folder / "designed.yaml").flows
    assert [type(step).__name__ for step in flow.steps] == ["Resolve", "Map", "Deliver"]
