"""A bar in JupyterLab: it is seen while something works, and is gone when it is done, from the file too."""

from __future__ import annotations

import re

import nbformat

SLOW = """import time
from flowdsl import progress
with progress.track(True, 100, "count") as tick:
    for _ in range(20):
        tick(5)
        time.sleep(0.1)"""

HEIGHT_OF_BAR = r"""() => {
    const lines = [...document.querySelectorAll(".jp-OutputArea-output pre")];
    const bar = lines.find((line) => /count: +[1-9][05]%/.test(line.textContent));
    return bar ? bar.getBoundingClientRect().height : 0;
}"""


def test_a_bar_is_seen_while_it_moves_and_then_takes_no_room(notebook):
    shown = notebook(f"print('before')\n{SLOW}\nprint('after')", "print('before')\nprint('after')", run=False)
    shown.page.get_by_role("menuitem", name="Run", exact=True).click()
    shown.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    bar = shown.output(0).locator("pre").filter(has_text=re.compile(r"count: +[1-9][05]%"))
    # found and measured at once: what is seen is drawn anew ten times a second
    assert 0 < shown.page.wait_for_function(HEIGHT_OF_BAR).json_value() < 30
    shown.wait()
    assert bar.count() == 0
    assert shown.output(0).inner_text().split() == ["before", "after"]
    with_bar, without = (shown.output(cell).bounding_box()["height"] for cell in (0, 1))
    assert with_bar - without < 10
    shown.page.keyboard.press("Control+s")
    shown.page.wait_for_function("() => !document.querySelector('.jp-mod-dirty')")
    saved = nbformat.read(shown.lab.folder / f"{shown.name}.ipynb", as_version=4)
    outputs = saved.cells[0].outputs
    assert "".join(output.text for output in outputs if output.output_type == "stream") == "before\nafter\n"
    assert [dict(output.data) for output in outputs if output.output_type != "stream"] == [{}]
    assert "widgets" not in saved.metadata
