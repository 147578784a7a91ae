"""The fixtures of this folder see what is drawn, what fails, and what is asked of other hosts."""

from __future__ import annotations

from pathlib import Path

import nbformat


def test_outputs_errors_and_foreign_requests_are_seen_in_a_dark_lab(notebook):
    shown = notebook(
        "print('drawn')",
        "from IPython.display import HTML\nHTML('<b id=bold>yes</b><img src=\"https://example.com/a.png\">')",
        "1 / 0",
        "print('never')",
        theme="dark",
    )
    shown.may_ask = True
    assert shown.output(0).inner_text().strip() == "drawn"
    assert shown.output(1).locator("#bold").is_visible()
    assert shown.outputs.locator("#bold").count() == 1
    [error] = shown.errors()
    assert "ZeroDivisionError" in error
    assert shown.output(3).inner_text() == ""
    assert shown.page.locator("body").get_attribute("data-jp-theme-light") == "false"
    assert set(shown.foreign) == {"https://example.com/a.png"}


def test_a_saved_notebook_is_shown_as_it_was_saved(notebook, tmp_path: Path):
    cell = nbformat.v4.new_code_cell("print('now')")
    cell.outputs = [nbformat.v4.new_output("stream", text="earlier")]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "saved.ipynb")
    shown = notebook(tmp_path / "saved.ipynb", run=False)
    assert shown.output(0).inner_text().strip() == "earlier"
    shown.run_all()
    assert shown.output(0).inner_text().strip() == "now"


def test_a_file_is_opened_without_a_network(file_page, tmp_path: Path):
    (tmp_path / "page.html").write_text("<title>report</title><p>told</p>")
    page = file_page(tmp_path / "page.html")
    assert page.title() == "report"
    assert page.locator("p").inner_text() == "told"
