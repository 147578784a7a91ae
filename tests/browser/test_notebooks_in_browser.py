"""What JupyterLab draws of each notebook of the repository."""

from __future__ import annotations

from typing import Any

import pytest
from executed_notebooks import FOLDER


def opened(notebook: Any, name: str) -> Any:
    """The notebook after all its cells ran in the browser, none of them with an error."""
    shown = notebook(FOLDER / name)
    assert shown.errors() == []
    return shown


def assert_drawn(shown: Any, count: int) -> None:
    """At least so many pictures, large enough to hold a flow, and full of shapes and letters."""
    drawn = shown.outputs.locator("img:visible:not(.fd-report img), svg[role=img]:visible:not(.flowdsl svg)")
    assert drawn.count() >= count
    for i in range(drawn.count()):
        box = drawn.nth(i).bounding_box()
        assert box["width"] > 300, box
        assert box["height"] > 60, box
        assert shown.colours(drawn.nth(i)) > 20


def assert_reported(shown: Any, count: int) -> None:
    """So many reports, each with charts that are drawn."""
    reports = shown.outputs.locator(".fd-report")
    assert reports.count() == count
    for i in range(count):
        charts = reports.nth(i).locator("img:visible")
        assert charts.count() >= 2
        assert all(shown.colours(charts.nth(n)) > 3 for n in range(charts.count()))


def test_the_first_flow(notebook):
    shown = opened(notebook, "first-flow.ipynb")
    assert_drawn(shown, 2)
    assert_reported(shown, 2)
    assert shown.output(-1).locator(".flowdsl.design").is_visible()
    own = shown.outputs.locator(".fd-report").last
    assert "thank-you" in own.inner_text()
    assert "5 events" in own.inner_text()
    assert (shown.lab.folder / "first-report.html").read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.slow
def test_a_real_history(notebook):
    shown = opened(notebook, "real-history.ipynb")
    assert_drawn(shown, 2)
    assert_reported(shown, 1)
    assert shown.outputs.locator(".flowdsl.explore .way li").first.is_visible()
    assert "your-files-changed" in shown.outputs.locator(".fd-report").inner_text()


@pytest.mark.slow
def test_digest_windows(notebook):
    shown = opened(notebook, "digest-windows.ipynb")
    # the flow, the plot of the sweep, the comparison
    assert_drawn(shown, 3)
    assert shown.outputs.get_by_text("24h").first.is_visible()


@pytest.mark.slow
def test_to_production(notebook):
    shown = opened(notebook, "to-production.ipynb")
    assert_drawn(shown, 1)
    assert shown.outputs.get_by_text(
        "8,627 deliveries as meant, 8,627 in production: all the same"
    ).is_visible()
    assert shown.outputs.get_by_text("recipient-is-target").first.is_visible()


@pytest.mark.slow
def test_live(notebook):
    shown = opened(notebook, "live.ipynb")
    assert_drawn(shown, 1)
    assert_reported(shown, 1)
    assert shown.outputs.get_by_text("eve - Cem and 1 more liked In praise of tea").is_visible()
    assert shown.outputs.get_by_text("0 dead letters").is_visible()
