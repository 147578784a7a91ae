"""The report as a browser draws it: as a file, dark, on paper and in JupyterLab, also with hostile names in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

import flowdsl as fd
from flowdsl import on
from flowdsl.samples.datasets import Sample, write_sample

HOSTILE = [
    "<script>window.hacked=1</script>", '"><img src=x onerror="window.hacked=1">', "</style><b id=bold>bold</b>", "x" * 3_000,
    "\u05e9\u05dc\u05d5\u05dd \u202eturned", "👩‍👩‍👧 é", "a'b&amp;<b>",
]  # fmt: skip
# texts of one chart that lie over one another, and texts that a chart cuts off
OVERLAPS = """() => {
    const wrong = [];
    for (const svg of document.querySelectorAll('svg.chart')) {
        const texts = [...svg.querySelectorAll('text')].map(e => [e.textContent, e.getBoundingClientRect()]);
        const whole = svg.getBoundingClientRect();
        texts.forEach(([text, a], i) => {
            if (a.left < whole.left - 1 || a.right > whole.right + 1 || a.bottom > whole.bottom + 1 || a.top < whole.top - 1)
                wrong.push(`cut off: ${text}`);
            for (const [other, b] of texts.slice(i + 1))
                if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3)
                    wrong.push(`${text} over ${other}`);
        });
    }
    return wrong;
}"""
# what is wider than the page, where it cannot be scrolled
TOO_WIDE = """() => {
    const report = document.querySelector('.fd-report').getBoundingClientRect();
    return [...document.querySelectorAll('.fd-report *')]
        .filter(e => !e.closest('.wide') && e.getBoundingClientRect().right > report.right + 1)
        .map(e => e.outerHTML.slice(0, 100));
}"""
COLOURS = """() => {
    const style = getComputedStyle(document.querySelector('.fd-report'));
    const bar = getComputedStyle(document.querySelector('.fd-report .bar i'));
    return [style.backgroundColor, style.color, bar.backgroundColor];
}"""
FILL = "getComputedStyle(document.querySelector('.fd-report .chart rect')).fill"
# images that are drawn, each with its text alternative
DRAWN = "img => img.complete && img.naturalWidth > 300 && img.alt ? img.alt : null"
LIGHT = ["rgb(255, 255, 255)", "rgb(31, 35, 40)", "rgb(9, 105, 218)"]
DARK = ["rgb(13, 17, 23)", "rgb(240, 246, 252)", "rgb(88, 166, 255)"]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write_sample(tmp_path_factory.mktemp("sample"), events=5_000, seed=5)


@pytest.fixture(scope="module")
def page(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    fd.replay(fd.load(sample.flows), sample.log, fd.read_graph(sample.graph)).report(path)
    return path


def photographed(shown: Any, name: str) -> None:
    folder = os.environ.get("FLOWDSL_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        shown.screenshot(path=Path(folder) / f"report-{name}.png", full_page=True)


@pytest.mark.parametrize(("theme", "colours"), [("light", LIGHT), ("dark", DARK)])
def test_the_file_is_drawn_without_network_or_script(
    file_page: Callable[..., Any], page: Path, theme: str, colours: list[str]
):
    shown = file_page(page, theme)
    photographed(shown, theme)
    assert shown.evaluate(COLOURS) == colours
    assert shown.evaluate(FILL) == colours[2]
    # each is there once more for a narrow screen, and hidden
    assert shown.locator("svg.chart:visible").count() >= 5
    for chart in shown.locator("svg.chart:visible").all():
        columns = chart.locator("rect").all()
        assert max(column.bounding_box()["height"] for column in columns) > 40
    assert shown.locator("h2").all_inner_texts() == [
        "Flows", "Deliveries over time", "Deliveries per person", "Latency", "Fan-out sizes", "What was not delivered",
        "Samples of payloads",
    ]  # fmt: skip
    assert shown.get_by_role("img", name="deliveries to push over time").is_visible()
    assert shown.evaluate(OVERLAPS) == []


@pytest.mark.parametrize("width", [1280, 700, 390])
def test_nothing_is_cut_off_on_any_screen(file_page: Callable[..., Any], page: Path, width: int):
    shown = file_page(page)
    shown.set_viewport_size({"width": width, "height": 900})
    photographed(shown, f"{width}-wide")
    assert shown.evaluate(TOO_WIDE) == []
    assert shown.evaluate("document.documentElement.scrollWidth") <= width


def test_on_paper_it_is_light_and_everything_is_open(file_page: Callable[..., Any], page: Path):
    shown = file_page(page, "dark")
    example = shown.locator(".field", has_text="link_type").first
    assert not example.is_visible()
    shown.emulate_media(media="print")
    assert shown.evaluate(COLOURS) == LIGHT
    assert shown.evaluate(FILL) == LIGHT[2]
    assert example.is_visible()
    shown.set_viewport_size({"width": 720, "height": 1000})
    assert shown.evaluate(TOO_WIDE) == []


def test_hostile_names_are_drawn_as_text(file_page: Callable[..., Any], tmp_path: Path):
    log = fd.MemoryEventLog()
    for minute in range(60):
        for name in HOSTILE[: 1 + minute % len(HOSTILE)]:
            log.append(
                fd.link_created(name, name, name, metadata={name: name}),
                timestamp=f"2026-01-01T00:{minute:02}:00Z",
            )
    flows = [
        on("link.created", link_type=name, name=f"flow {name}", description=name)
        .batch("source_id", window="7m")
        .map({name: "{{ source_id }}", "recipient_id": "{{ target_id }}", "title": "{{ link_type }}"})
        .deliver(f"sink {name}")
        for name in HOSTILE
    ]
    fails = (
        on("link.created", name="<i>fails</i>").resolve("source_id", as_="x").map(a="1").deliver("<u>s</u>")
    )
    fd.replay([*flows, fails], log).report(tmp_path / "hostile.html")
    shown = file_page(tmp_path / "hostile.html")
    photographed(shown, "hostile")
    assert shown.evaluate("window.hacked") is None
    # what is long is folded
    shown.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")
    assert shown.locator("#bold, script, img, i:not([style]), u").count() == 0
    for name in (HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[6]):
        assert shown.get_by_text(name, exact=True).first.is_visible()
        assert shown.get_by_role("heading", name=f"sink {name}").first.is_visible()
    assert shown.evaluate(OVERLAPS) == []
    assert shown.evaluate(TOO_WIDE) == []


@pytest.mark.parametrize(
    ("theme", "colours"), [("light", LIGHT), pytest.param("dark", DARK, marks=pytest.mark.slow)]
)
def test_a_result_is_drawn_in_jupyterlab(notebook: Any, sample: Sample, theme: str, colours: list[str]):
    shown = notebook(
        "import flowdsl as fd",
        f"result = fd.replay(fd.load({str(sample.flows)!r}), {str(sample.log)!r}, fd.read_graph({str(sample.graph)!r}),"
        " progress=False)\nresult",
        "result.report()",
        "from flowdsl.charts.lines import line_chart\n"
        "line_chart(['1m', '5m'], {'push': [20, 10]}, title='push by window', x_label='window', y_label='deliveries')",
        theme=theme,
    )
    assert shown.errors() == []
    for cell in (1, 2):
        output = shown.output(cell)
        assert output.locator(".fd-report h2").first.inner_text() == "Flows"
        assert drawn(output) >= {"Replay of 3 flows", "deliveries to push over time"}
    assert shown.page.evaluate(COLOURS) == colours
    assert shown.page.evaluate(TOO_WIDE) == []
    assert shown.output(3).locator("img").bounding_box()["width"] > 300


def drawn(output: Any) -> set[str]:
    """The text alternatives of the images in an output, all of which are drawn."""
    images = [image.evaluate(DRAWN) for image in output.locator("img").all()]
    assert None not in images
    return set(images)


def test_a_saved_notebook_that_is_not_trusted_shows_pictures_and_tables(
    notebook: Any, sample: Sample, tmp_path: Path
):
    result = fd.replay(fd.load(sample.flows), sample.log, fd.read_graph(sample.graph))
    cell = nbformat.v4.new_code_cell("result")
    bundle = result._repr_mimebundle_()
    cell.outputs = [nbformat.v4.new_output("execute_result", data=bundle, execution_count=1)]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "saved.ipynb")
    shown = notebook(tmp_path / "saved.ipynb", run=False)
    output = shown.output(0)
    output.locator("img").first.wait_for()
    assert drawn(output) >= {"Replay of 3 flows", "deliveries to push over time"}
    text = output.inner_text()
    assert f"{len(result):,} deliveries to 3 sinks" in text
    assert "Who gets most" in text
    # no texts of drawings one after the other
    assert "deliveries in each" not in text


def test_wide_tables_that_are_not_trusted_are_as_wide_as_the_screen(notebook: Any, tmp_path: Path):
    flow = on("link.created", name="a-flow-of-likes").batch("target_id", window="1m")
    flow = flow.map(recipient_id="{{ target_id }}", title="x").deliver("push", "in-app")
    log = fd.MemoryEventLog()
    log.append([fd.link_created("likes", f"u{n}", "p") for n in range(9)])
    before, after = (fd.replay(one, log) for one in (flow, flow.with_step(0, window="1h")))
    shown_there = (
        fd.sweep(flow, log, window=["1m", "1h"], progress=False),
        fd.tune(flow, log, vary={"window": ["1m", "1h"]}, subject_to="reach >= 1", progress=False),
        fd.compare(before, after),
        before,
    )
    cells = [nbformat.v4.new_code_cell("shown") for _ in shown_there]
    for cell, one in zip(cells, shown_there, strict=True):
        bundle = one._repr_mimebundle_()
        cell.outputs = [nbformat.v4.new_output("execute_result", data=bundle, execution_count=1)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "saved.ipynb")
    # as on a narrow screen
    shown = notebook(tmp_path / "saved.ipynb", run=False, alone=True)
    for width in (1000, 480):
        shown.page.set_viewport_size({"width": width, "height": 1400})
        for number in range(len(shown_there)):
            output = shown.output(number).locator(".jp-OutputArea-output")
            output.scroll_into_view_if_needed()
            output.locator("table").first.wait_for()
            assert output.evaluate("e => e.scrollWidth <= e.clientWidth"), f"{number} at {width}"
    # heads are said in each row, once
    for number, head in enumerate(("each_p95", "no other beats it", "same", "in a day: most")):
        said = shown.output(number).get_by_text(head, exact=True).locator("visible=true")
        assert said.count() == (3 if number == 3 else 2)
