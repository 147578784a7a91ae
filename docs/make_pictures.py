"""Draw the pictures of README.md: `make pictures`.

Its first block of code is run; the flow with its counts is the project's own SVG, the report a screenshot in Chromium. Beside
the screenshot stands the checksum of the page that it shows, so that a test can tell whether it is still the same.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import Any

from flowdsl.samples.datasets import write_sample

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"


def drawn() -> tuple[str, str]:
    """Return the picture and the report of what README.md's first block of code replays over the sample data."""
    code = re.search(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.M | re.S)
    assert code is not None
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        write_sample(Path("data") / "sample")
        names: dict[str, Any] = {"print": lambda *_, **__: None}
        exec(code[1], names)
        return names["result"].picture().svg, names["result"].report().html


def checksum(page: str) -> str:
    """Return the line that tells one page from another."""
    return hashlib.sha256(page.encode()).hexdigest() + "\n"


def main() -> None:
    """Draw all pictures anew."""
    from playwright.sync_api import sync_playwright

    picture, report = drawn()
    (IMAGES / "likes.svg").write_text(picture, "utf-8")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        chromium = (
            shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        )
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"] if os.getuid() == 0 else []
        )
        page = browser.new_page(viewport={"width": 1000, "height": 900}, device_scale_factor=1.25)
        (Path(folder) / "report.html").write_text(report, "utf-8")
        page.goto((Path(folder) / "report.html").as_uri())
        # the picture of the flow stands beside it
        page.locator("section").first.evaluate("e => e.remove()")
        below = page.get_by_role("heading", name="Who gets most").bounding_box()
        assert below is not None
        clip = {"x": 0, "y": 0, "width": 1000, "height": below["y"] - 10}
        page.screenshot(path=IMAGES / "report.png", clip=clip, full_page=True)
        browser.close()
    (IMAGES / "report.sha256").write_text(checksum(report), "utf-8")


if __name__ == "__main__":
    main()
