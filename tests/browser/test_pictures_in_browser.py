"""Pictures in a real JupyterLab: they are drawn, light or dark as the page is, and say in words what they show."""

from __future__ import annotations

import base64
from pathlib import Path

import nbformat
import pytest

MADE = """
import flowdsl as fd
from flowdsl import on, var
flow = (
    on("link.created", link_type="likes", name="notify <b>like</b>")
    .resolve("target_id", via="owns", direction="reverse", as_="owner")
    .where(var.source_id != var.owner.id)
    .batch("target_id", window="5m")
    .map(recipient_id="{{ owner.id }}", title="{{ batch.count }} liked it")
    .deliver("in-app", "push")
)
log = fd.MemoryEventLog()
for at, event in enumerate([
    fd.entity_created("user", "eve", {}), fd.link_created("owns", "eve", "p1"),
    fd.link_created("likes", "ann", "p1"), fd.link_created("likes", "eve", "p1"), fd.link_created("likes", "ann", "p2"),
]):
    log.append(event, timestamp=f"2026-01-01T00:00:0{at}Z")
result = fd.replay(flow, log, progress=False)
"""
LIGHT, DARK = [255, 255, 255], [13, 17, 23]
# the colour of the ground of a picture, read where nothing else is drawn
GROUND = """image => {
    const canvas = document.createElement('canvas');
    canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    return [...context.getImageData(9, image.naturalHeight / 2, 1, 1).data].slice(0, 3);
}"""


@pytest.mark.parametrize(
    ("theme", "ground"), [pytest.param("light", LIGHT, marks=pytest.mark.slow), ("dark", DARK)]
)
def test_flows_projects_and_results_are_drawn_on_the_ground_of_the_page(
    notebook, theme: str, ground: list[int]
):
    cells = [MADE, "flow", "fd.Project((flow, flow.named('again')))", "result.picture()"]
    shown = notebook(*cells, "result.explain(4)", "result.why(3, recipient='eve')", theme=theme)
    assert shown.errors() == []
    for cell in range(1, 6):
        image = shown.output(cell).locator("img")
        assert image.count() == 1
        assert image.get_attribute("alt")
        assert image.evaluate("image => image.complete && image.naturalWidth") > 300
        assert image.evaluate(GROUND) == ground
    assert "filtered" in shown.output(4).inner_text()
    assert "Yes: event 3 reached user eve" in shown.output(5).inner_text()
    assert shown.output(5).locator("details.step").count() > 5


def test_a_saved_notebook_that_is_not_trusted_shows_the_same(notebook, tmp_path: Path):
    scope: dict[str, object] = {}
    exec(MADE, scope)
    cells = []
    for value in (scope["flow"], scope["result"].why(3, recipient="eve")):  # type: ignore[attr-defined]
        cell = nbformat.v4.new_code_cell("shown")
        data = value._repr_mimebundle_()
        cell.outputs = [nbformat.v4.new_output("execute_result", data=data, execution_count=1)]
        cells.append(cell)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "saved.ipynb")
    shown = notebook(tmp_path / "saved.ipynb", run=False)
    for output in (shown.output(0), shown.output(1)):
        assert output.locator("img").evaluate("image => image.complete && image.naturalWidth") > 300
    assert shown.output(1).locator("details").count() > 5


def test_mermaid_draws_what_the_text_says(notebook):
    name = 'end "a" <script>x</script> %%{init: {}}%% #35; `b` $c$ 1. d\n]'
    hostile = f"flow.named({name!r})"
    cells = [MADE, "def draw(shown): display({'text/vnd.mermaid': shown.picture().mermaid}, raw=True)"]
    shown = notebook(
        *cells, "draw(flow)", "draw(result)", f"draw({hostile})", f"draw(fd.Project((flow, {hostile})))"
    )
    assert shown.errors() == []
    for cell in range(2, 6):
        shown.output(cell).locator(".jp-RenderedMermaid img").wait_for()
        assert shown.output(cell).locator("img").bounding_box()["width"] > 100
        assert "error" not in shown.output(cell).inner_text().lower()


@pytest.mark.parametrize(("theme", "ground"), [("light", LIGHT), ("dark", DARK)])
def test_a_file_is_light_or_dark_and_keeps_its_texts_inside(
    file_page, tmp_path: Path, theme: str, ground: list[int]
):
    scope: dict[str, object] = {}
    exec(MADE, scope)
    picture = scope["result"].picture()  # type: ignore[attr-defined]
    data = base64.b64encode(picture.svg.encode()).decode()
    page_file = tmp_path / "page.html"
    page_file.write_text(f"<body>{picture.svg}<img src='data:image/svg+xml;base64,{data}'></body>")
    page = file_page(page_file, theme)
    assert page.locator("img").evaluate(GROUND) == ground
    outside = page.evaluate("""() => {
        const svg = document.querySelector('svg'), room = svg.getBoundingClientRect();
        return [...svg.querySelectorAll('text')].filter(text => {
            const box = text.getBoundingClientRect();
            return box.right > room.right || box.left < room.left || box.bottom > room.bottom;
        }).map(text => text.textContent);
    }""")
    assert outside == []


def test_texts_of_cards_end_inside_of_them(file_page, tmp_path: Path):
    """The fonts of the browser are not wider than the table that says how wide text is."""
    scope: dict[str, object] = {}
    exec(MADE, scope)
    for number, picture in enumerate([scope["flow"].picture(), scope["result"].picture()]):  # type: ignore[attr-defined]
        picture.save(tmp_path / f"{number}.svg")
        page = file_page(tmp_path / f"{number}.svg")
        outside = page.evaluate("""() => [...document.querySelectorAll('g')].flatMap(group => {
            const card = group.querySelector('.card');
            if (!card) return [];
            const room = card.getBBox();
            return [...group.querySelectorAll('text')].filter(text => {
                const box = text.getBBox();
                return box.x < room.x || box.x + box.width > room.x + room.width || box.y < room.y || box.y + box.height > room.y + room.height;
            }).map(text => text.textContent);
        })""")
        assert outside == []
