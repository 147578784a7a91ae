"""A real JupyterLab in a real Chromium: `notebook(cells…)` writes a notebook, opens it, runs it, and shows what is drawn.

Tests are skipped where Chromium, Playwright or JupyterLab is not installed (`make test-browser` installs them). With
FLOWDSL_SCREENSHOTS=folder every notebook is photographed at the end of its test.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.browser.servers import CHROMIUM, SECONDS, Lab, chromium_browser, jupyterlab

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [name for name in ("playwright", "jupyterlab") if importlib.util.find_spec(name) is None]
    if CHROMIUM is None:
        missing.insert(0, "Chromium")
    for item in items:
        if HERE in item.path.parents:
            # what a library that is drawn in the browser warns of is not ours to mend
            item.add_marker(pytest.mark.filterwarnings("default::DeprecationWarning"))
            # one server and one browser for all of them
            item.add_marker(pytest.mark.xdist_group("browser"))
            if missing:
                reason = f"{', '.join(missing)} not installed: make test-browser"
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One server for all browser tests of a process, with settings of its own."""
    with jupyterlab(tmp_path_factory.mktemp("jupyter")) as lab:
        yield lab


# not for the session: while it runs, this thread is in Playwright's event loop, where other tests cannot run theirs
@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    """A browser that finds no other host, for this folder."""
    with chromium_browser() as browser:
        yield browser.new_context(viewport={"width": 1280, "height": 1000})


@pytest.fixture(scope="package")
def lab_page(lab: Lab, chromium: Any) -> tuple[Any, list[str]]:
    """The page of JupyterLab, and what it asks of other hosts: to load it costs four times what a notebook does."""
    foreign: list[str] = []
    page = _page(chromium, "light", lab.address, foreign)
    page.goto(f"{lab.address}/lab?reset&token={lab.token}")
    page.wait_for_function("() => !!window.jupyterapp")
    page.evaluate(_READY)
    return page, foreign


# in the page of JupyterLab: its application is there by `expose_app_in_browser`; what these return is nothing, for
# to hand a widget over takes seconds
_READY = "async () => { await jupyterapp.restored; }"
_CLOSE_ALL = "() => { [...jupyterapp.shell.widgets('main')].forEach(widget => widget.dispose()); }"
_OPEN = "async path => { await jupyterapp.commands.execute('docmanager:open', {path}); }"
_HAS_THEME = "light => document.body.dataset.jpThemeLight === light"
_COLOURS = """async data => {
    const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes], {type: 'image/png'}));
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    const pixels = new Uint32Array(context.getImageData(0, 0, image.width, image.height).data.buffer);
    return new Set(pixels).size;
}"""


@dataclass
class Notebook:
    """A notebook that is open in the browser; `foreign` are the addresses of other hosts that it asked for."""

    page: Any
    lab: Lab
    name: str
    foreign: list[str]
    may_ask: bool = False

    @property
    def outputs(self) -> Any:
        """A locator of all output areas: look for things below this, or the cells' own text is found."""
        return self.page.locator(".jp-Notebook .jp-OutputArea")

    def output(self, cell: int) -> Any:
        """A locator of the output area of a code cell, counted from 0; negative from the end."""
        cells = self.page.locator(".jp-Notebook .jp-CodeCell")
        return cells.nth(cell).locator(".jp-OutputArea")

    def run_all(self) -> None:
        """Run all cells, and wait until the kernel is idle again."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.wait()

    def wait(self, seconds: float = SECONDS) -> None:
        """Wait until the cells that were started have their numbers, and the kernel is idle."""
        self.page.wait_for_function(
            """() => {
                const cells = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')];
                const prompts = cells.map(cell => cell.textContent);
                return prompts.some(prompt => /[0-9]/.test(prompt)) && !prompts.some(prompt => /[*]/.test(prompt))
                    && document.querySelector('.jp-Notebook-ExecutionIndicator[data-status="idle"]');
            }""",
            timeout=seconds * 1000,
        )

    def errors(self) -> list[str]:
        """The tracebacks that cells ended with."""
        wrong = self.outputs.locator('[data-mime-type="application/vnd.jupyter.stderr"]')
        return [
            text.strip() for text in wrong.all_inner_texts() if "Traceback (most recent call last)" in text
        ]

    def colours(self, drawn: Any) -> int:
        """How many different colours an element has on the screen: 1 where nothing is drawn."""
        data = base64.b64encode(drawn.screenshot()).decode()
        return int(self.page.evaluate(_COLOURS, data))

    def screenshot(self, path: Path) -> None:
        """The whole notebook, also what has to be scrolled to, as pictures that a person can look at: path, path-1 …"""
        size = self.page.viewport_size
        panel = self.page.locator(".jp-Notebook .jp-WindowedPanel-outer").first
        height = int(panel.evaluate("e => e.scrollHeight")) + 200
        self.page.set_viewport_size({"width": size["width"], "height": min(height, 12_000)})
        panel.evaluate("e => e.scrollTo(0, 0)")
        for number, top in enumerate(range(0, min(height, 12_000), 2_000)):
            part = path if number == 0 else path.with_stem(f"{path.stem}-{number}")
            clip = {"x": 0, "y": top, "width": size["width"], "height": min(2_000, height - top)}
            self.page.screenshot(path=part, clip=clip)
        self.page.set_viewport_size(size)


@pytest.fixture
def notebook(
    lab: Lab, lab_page: tuple[Any, list[str]], request: pytest.FixtureRequest
) -> Iterator[Callable[..., Notebook]]:
    """`notebook(*cells, theme="light")`, or with the path of a notebook: opened in JupyterLab, and all its cells run.

    With `run=False` a notebook is only opened, with the outputs that are saved in it; with `alone=True` in a page
    without the rest of JupyterLab. After the test nothing may have been asked of any other host.
    """
    page, foreign = lab_page
    shown = Notebook(page, lab, re.sub(r"[^A-Za-z0-9_.-]+", "-", request.node.name), foreign)

    def open_notebook(
        *cells: str | Path, theme: str = "light", run: bool = True, alone: bool = False
    ) -> Notebook:
        path = f"{shown.name}.ipynb"
        nbformat.write(_notebook_of(cells, with_outputs=not run), lab.folder / path)
        if alone:
            shown.page = _page(page.context, theme, lab.address, foreign)
            shown.page.goto(f"{lab.address}/doc/tree/{path}?reset&token={lab.token}")
        else:
            page.emulate_media(color_scheme=theme)
            page.wait_for_function(_HAS_THEME, arg=json.dumps(theme == "light"))
            page.evaluate(_OPEN, path)
        shown.page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        if run:
            shown.run_all()
        return shown

    yield open_notebook
    folder = os.environ.get("FLOWDSL_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        shown.screenshot(Path(folder) / f"{shown.name}.png")
    if shown.page is not page:
        shown.page.close()
    page.evaluate(_CLOSE_ALL)
    lab.end_kernels()
    asked = foreign.copy()
    foreign.clear()
    assert shown.may_ask or asked == []


@pytest.fixture
def file_page(chromium: Any) -> Iterator[Callable[..., Any]]:
    """`file_page(path, theme="light")`: an HTML or SVG file as a Playwright page, opened without any network."""
    pages: list[Any] = []
    asked: list[str] = []

    def open_file(path: Path, theme: str = "light") -> Any:
        pages.append(_page(chromium, theme, path.as_uri(), asked))
        pages[-1].goto(path.as_uri())
        return pages[-1]

    yield open_file
    for page in pages:
        page.close()
    assert asked == [], "a file that asks for others"


def _page(chromium: Any, theme: str, own: str, foreign: list[str]) -> Any:
    """A new page; what it asks for is noted as foreign unless its address begins with `own`."""
    page = chromium.new_page()
    page.set_default_timeout(SECONDS * 1000)
    page.emulate_media(color_scheme=theme)
    page.on(
        "request",
        lambda asked: asked.url.startswith((own, "data:", "blob:")) or foreign.append(asked.url),
    )
    return page


def _notebook_of(cells: tuple[str | Path, ...], *, with_outputs: bool) -> Any:
    if len(cells) == 1 and isinstance(cells[0], Path):
        content = nbformat.read(cells[0], as_version=4)
    else:
        content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(str(cell)) for cell in cells])
    content.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for cell in content.cells:
        if cell.cell_type == "code" and not with_outputs:
            cell.update(outputs=[], execution_count=None)
    return content
