"""Photograph what flowdsl shows, wherever it is shown: `make looks`, or `python -m tests.browser.looks FOLDER`.

One notebook with everything a person looks at is run once, and shown by JupyterLab (also saved and not trusted), nbconvert,
voila, marimo and a stand-in for VS Code: light and dark, 1,000 and 480 pixels wide. The theme is always the surface's own, and
the browser prefers the other, so that what follows the browser instead of the notebook is seen at once.

The pictures are `FOLDER/surface-theme-width-what.png`; what is wider than its place is listed on the way.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, chdir, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient

from flowdsl.samples.datasets import sample_in
from tests.browser.servers import chromium_browser, free_port, jupyterlab, served

SETUP = """
import flowdsl as fd
from flowdsl import fn, on, var
from flowdsl.samples import write_sample
sample = write_sample("sample", events=6000)
graph = fd.read_graph(sample.graph)
likes = (
    on("link.created", link_type="likes", name="likes", description="one message per post and hour of likes")
    .resolve("target_id", as_="post")
    .resolve("target_id", via="owns", direction="reverse", as_="owner")
    .resolve("source_id", as_="fan")
    .where(var.fan.id != var.owner.id)
    .batch("target_id", window="1h", collect={"fans": fn.unique(var.fan.name)})
    .map(
        recipient_id="{{ owner.id }}",
        title="{{ batch.fans | slice(end=2) | join(sep=', ') }} liked {{ post.title }}",
    )
    .deliver("in-app", "push")
)
result = fd.replay(likes, sample.log, graph, progress=False)
everything = fd.replay(fd.load(sample.flows), sample.log, graph, progress=False)
calmer = (
    on("link.created", link_type="likes", name="likes")
    .resolve("target_id", as_="post")
    .resolve("target_id", via="owns", direction="reverse", as_="owner")
    .resolve("source_id", as_="fan")
    .where((var.fan.id != var.owner.id) & (var.post.title != "A week of moss"))
    .batch("target_id", window="1h", max_count=20, collect={"fans": fn.unique(var.fan.name)})
    .map(
        recipient_id="{{ owner.id }}",
        title="{{ batch.fans | slice(end=2) | join(sep=', ') }} liked {{ post.title }}",
    )
    .deliver("in-app", "push")
)
comparison = fd.compare(result, fd.replay(calmer, sample.log, graph, progress=False))
causes = comparison.causes
first = result["push"].iloc[3]
"""
SHOWN = {
    "flow": "likes",
    "comparison": "comparison",
    "sweep": 'fd.sweep(likes, sample.log, graph, window=["1m", "5m", "1h", "1d", "7d"], progress=False)',
    "tuned": 'fd.tune(likes, sample.log, graph, vary={"window": ["5m", "1h", "6h", "1d"], "min_count": [1, 2]},'
    ' subject_to=["per_person_per_day.p95 <= 3", "reach >= 0.9 of today"], best="delay.p90", progress=False)',
    "explain": "result.explain(int(first.seq_no))",
    "why": "result.why(int(first.seq_no), recipient=first.recipient_id)",
    "designer": "designer = likes.design(sample.log, graph)\ndesigner.settle()\ndesigner",
    "empty": "empty = fd.design(sample.log, graph)\nempty.settle()\nempty",
    "explorer": "likes.explore(sample.log, graph)",
    "report": "everything",
}
WIDTHS = (1000, 480)
THEMES = ("light", "dark")
# how VS Code draws outputs: its classes of themes, what its style sheet of notebooks says of tables, code and images
VSCODE = """<!doctype html><html><head><meta charset="utf-8"><style>
body {{ margin: 0; padding: 0 20px; font: 13px system-ui, sans-serif; }}
body.vscode-light {{ background: #fff; color: #3b3b3b; }}
body.vscode-dark {{ background: #1f1f1f; color: #ccc; }}
.output {{ overflow-x: auto; padding: 8px 0; }}
img {{ max-width: 100%; max-height: 100%; }}
code {{ font-family: monospace; background: #8883; border-radius: 4px; padding: 1px 3px; }}
table, thead, tr, th, td, tbody {{ border: none !important; border-spacing: 0; border-collapse: collapse; }}
table, th, tr {{ text-align: left !important; }}
thead {{ font-weight: bold; background-color: #82828229; }}
th, td {{ padding: 4px 8px; }}
tr:nth-child(even) {{ background-color: #82828214; }}
</style></head><body class="vscode-{theme}" data-vscode-theme-kind="vscode-{theme}">{outputs}</body></html>"""
# what is cut: text wider than its own box, and what reaches out of its output; where one can scroll, the scroll bar counts too
CUT = """output => {
    const room = output.getBoundingClientRect(), found = [];
    for (const e of [output, ...output.querySelectorAll('*')]) {
        const style = getComputedStyle(e), box = e.getBoundingClientRect();
        if (!box.width || style.visibility === 'hidden') continue;
        const name = `${e.tagName.toLowerCase()}.${e.className} ${(e.innerText || '').slice(0, 40)}`.replace(/\\n/g, ' ');
        if (['auto', 'scroll', 'hidden'].includes(style.overflowX) && e.scrollWidth > e.clientWidth + 1)
            found.push(`${style.overflowX} ${e.clientWidth}/${e.scrollWidth}: ${name}`);
        else if (box.right > room.right + 1 && !e.closest('svg') && !found.length) found.push(`out by ${Math.round(box.right - room.right)}: ${name}`);
    }
    return found.slice(0, 6);
}"""
Opener = Callable[[Any, str, Path, ExitStack], "tuple[Any, str]"]


def executed(folder: Path) -> nbformat.NotebookNode:
    """Return the notebook, run, with the state of its widgets."""
    cells = [nbformat.v4.new_code_cell(code) for code in (SETUP, *SHOWN.values())]
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    with chdir(folder):
        NotebookClient(book, timeout=300, kernel_name="python3", store_widget_state=False).execute()
    return book


def in_jupyterlab(
    page: Any, theme: str, folder: Path, open_: ExitStack, *, run: bool = True
) -> tuple[Any, str]:
    """Open the notebook in JupyterLab in one of its own themes, and run it."""
    themes = {"theme": f"JupyterLab {theme.title()}", "adaptive-theme": False}
    lab = open_.enter_context(jupyterlab(folder / f"lab-{theme}-{run}", themes))
    shutil.copy(folder / "looks.ipynb", lab.folder / "looks.ipynb")
    page.goto(f"{lab.address}/doc/tree/looks.ipynb?reset&token={lab.token}")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    if run:
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.wait_for_function(
            """() => {
                const prompts = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')].map(e => e.textContent);
                return !prompts.some(prompt => /[*]/.test(prompt)) && document.querySelector('.jp-Notebook-ExecutionIndicator[data-status="idle"]');
            }"""
        )
    return page, ".jp-Notebook .jp-CodeCell .jp-OutputArea"


def untrusted(page: Any, theme: str, folder: Path, open_: ExitStack) -> tuple[Any, str]:
    """Open the saved notebook in JupyterLab, as one that somebody else made."""
    return in_jupyterlab(page, theme, folder, open_, run=False)


def in_nbconvert(page: Any, theme: str, folder: Path, open_: ExitStack) -> tuple[Any, str]:
    """Open what nbconvert makes of the notebook."""
    from nbconvert import HTMLExporter

    html, _ = HTMLExporter(theme=theme, embed_images=True).from_filename(str(folder / "looks.ipynb"))
    path = folder / f"nbconvert-{theme}.html"
    path.write_text(html, "utf-8")
    page.goto(path.as_uri(), wait_until="domcontentloaded")
    return page, ".jp-CodeCell .jp-Cell-outputWrapper"


def in_voila(page: Any, theme: str, folder: Path, open_: ExitStack) -> tuple[Any, str]:
    """Open the notebook in voila, which runs it again."""
    home, port = folder / f"voila-{theme}", free_port()
    home.mkdir()
    book = nbformat.read(folder / "looks.ipynb", 4)
    book.cells[0].source += "\nprint('ready')"
    nbformat.write(book, home / "looks.ipynb")
    command = [
        sys.executable,
        "-m",
        "voila",
        "looks.ipynb",
        "--no-browser",
        f"--port={port}",
        f"--theme={theme}",
        "--Voila.ip=127.0.0.1",
    ]
    address = f"http://127.0.0.1:{port}/"
    open_.enter_context(served(command, home, lambda: answers(f"{address}voila/static/none")))
    page.goto(address, wait_until="domcontentloaded")
    page.locator(".fd-report").first.wait_for()
    return page, ".jp-CodeCell .jp-Cell-outputWrapper"


def in_marimo(page: Any, theme: str, folder: Path, open_: ExitStack) -> tuple[Any, str]:
    """Open the same cells as an app of marimo."""
    home, port = folder / f"marimo-{theme}", free_port()
    home.mkdir()
    (home / "pyproject.toml").write_text(f'[tool.marimo.display]\ntheme = "{theme}"\n')
    (home / "looks.py").write_text(_marimo_app())
    command = [
        sys.executable,
        "-m",
        "marimo",
        "-q",
        "run",
        "looks.py",
        "--headless",
        "--no-token",
        "--host=127.0.0.1",
        f"--port={port}",
    ]
    address = f"http://127.0.0.1:{port}/"
    open_.enter_context(served(command, home, lambda: answers(f"{address}health")))
    page.goto(address, wait_until="domcontentloaded")
    page.locator(".fd-report").first.wait_for()
    return page, ".output-area"


def _marimo_app() -> str:
    setup = _indented(SETUP)
    shown = "".join(
        f"\n\n@app.cell\ndef _(calmer, comparison, everything, fd, first, graph, likes, mo, result, sample):\n"
        f"{_marimo_cell(name, code)}"
        for name, code in SHOWN.items()
    )
    return (
        f'import marimo\n\napp = marimo.App(width="medium")\n\n\n@app.cell\ndef _():\n    import marimo as mo\n{setup}\n'
        "    return calmer, comparison, everything, fd, first, graph, likes, mo, result, sample\n" + shown
    )


def _marimo_cell(name: str, code: str) -> str:
    *lines, last = code.splitlines()
    local = [line.replace("designer", "_designer").replace("empty", "_empty") for line in lines]
    last = last.replace("designer", "_designer").replace("empty", "_empty") if lines else last
    return "".join(f"    {line}\n" for line in local) + f"    {last}\n    return\n"


def _indented(code: str) -> str:
    return "".join(f"    {line}\n" if line else "\n" for line in code.strip().splitlines())


def in_vscode(page: Any, theme: str, folder: Path, open_: ExitStack) -> tuple[Any, str]:
    """Open the outputs as VS Code would draw them without the kernel."""
    book = nbformat.read(folder / "looks.ipynb", 4)
    outputs = "".join(
        f"<div class=output>{''.join(_vscode_html(one) for one in cell.outputs)}</div>" for cell in book.cells
    )
    path = folder / f"vscode-{theme}.html"
    path.write_text(VSCODE.format(theme=theme, outputs=outputs), "utf-8")
    page.goto(path.as_uri())
    return page, ".output"


def _vscode_html(output: Any) -> str:
    data = output.get("data", {})
    return str(data.get("text/html") or data.get("image/svg+xml") or "")


def answers(address: str) -> None:
    """Raise an error unless a server answers at an address."""
    with suppress(urllib.error.HTTPError), urllib.request.urlopen(address, timeout=10):
        pass


SURFACES: dict[str, Opener] = {
    "jupyterlab": in_jupyterlab,
    "untrusted": untrusted,
    "nbconvert": in_nbconvert,
    "voila": in_voila,
    "marimo": in_marimo,
    "vscode": in_vscode,
}


@contextmanager
def opened(browser: Any, surface: str, theme: str, folder: Path) -> Iterator[tuple[Any, str]]:
    """A page of a surface, and the selector of its outputs."""
    with ExitStack() as open_:
        other = "light" if theme == "dark" else "dark"
        page = browser.new_page(viewport={"width": WIDTHS[0], "height": 1400}, color_scheme=other)
        open_.callback(page.close)
        page.set_default_timeout(300_000)
        yield SURFACES[surface](page, theme, folder, open_)


def photograph(page: Any, outputs: str, name: str, folder: Path, wanted: Sequence[str]) -> None:
    """Photograph every output at every width, and print what is cut."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 1400})
        page.wait_for_timeout(700)
        for number, what in enumerate(SHOWN, start=1):
            if what not in wanted:
                continue
            # some leave out the first cell, which shows nothing
            output = page.locator(outputs).nth(number - (page.locator(outputs).count() == len(SHOWN)))
            output.scroll_into_view_if_needed()
            box = output.bounding_box()
            page.set_viewport_size({"width": width, "height": min(max(1400, int(box["height"]) + 300), 9000)})
            output.evaluate("e => e.scrollIntoView({block: 'start'})")
            page.wait_for_timeout(150)
            for line in output.evaluate(CUT):
                print(f"  {name}-{width}-{what}: {line}")
            output.screenshot(path=folder / f"{name}-{width}-{what}.png")


def main() -> None:
    """Photograph the surfaces, themes and things asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--surface", nargs="+", choices=[*SURFACES], default=[*SURFACES])
    parser.add_argument("--theme", nargs="+", choices=THEMES, default=THEMES)
    parser.add_argument("--what", nargs="+", choices=[*SHOWN], default=[*SHOWN])
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as made, chromium_browser() as browser:
        folder = Path(made)
        sample_in(folder / "sample")
        nbformat.write(executed(folder), folder / "looks.ipynb")
        for surface in asked.surface:
            for theme in asked.theme:
                print(surface, theme, flush=True)
                with opened(browser, surface, theme, folder) as (page, outputs):
                    photograph(page, outputs, f"{surface}-{theme}", asked.folder, asked.what)


if __name__ == "__main__":
    main()
