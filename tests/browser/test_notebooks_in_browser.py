"""What is drawn of each notebook, seen in Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_in_the_browser(notebook, path: Path):
    shown = notebook(path)
    assert shown.errors() == []
    assert shown.outputs.count() > 0
