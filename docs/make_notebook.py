"""Make notebooks/recipes.ipynb out of docs/recipes.md: `make recipes`.

Text becomes cells of text, blocks of Python become cells of code. What a block prints stands in the page only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "recipes.md"
NOTEBOOK = ROOT / "notebooks" / "recipes.ipynb"
NEXT = "Next: [how long should a digest wait?](digest-windows.ipynb), or [from notebook to production](to-production.ipynb)."


def notebook_text(page: str) -> str:
    """Return the text of the notebook of a page."""
    cells = [*_cells(page), _markdown("next", NEXT)]
    python = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": python, "language_info": {"name": "python"}}
    whole = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def recipes(page: str) -> Iterator[tuple[str, str, str]]:
    """Yield the id of each recipe's cell, its code, and what it prints."""
    for name, part in _parts(page):
        code = re.search(r"^```python\n(.*?)^```$", part, re.M | re.S)
        printed = re.search(r"^```text\n(.*?)^```$", part, re.M | re.S)
        if code is not None and printed is not None:
            yield name, code[1], printed[1]


def _parts(page: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a page below its headings, each with a name for ids."""
    for part in re.split(r"(?m)^(?=#{1,3} )", page):
        if part.strip():
            heading = part.partition("\n")[0].strip("# ").lower()
            yield re.sub(r"[^a-z0-9]+", "-", heading).strip("-"), part


def _cells(page: str) -> Iterator[dict[str, Any]]:
    for name, part in _parts(page):
        number = 0
        for text, language, code in re.findall(r"(.*?)(?:^```(\w+)\n(.*?)^```$|\Z)", part, re.M | re.S):
            if text.strip():
                yield _markdown(f"about-{name}" + (f"-{number}" if number else ""), _linked(text.strip()))
                number += 1
            if language == "python":
                lines = code.rstrip("\n").splitlines(keepends=True)
                cell = {"cell_type": "code", "execution_count": None, "id": name, "metadata": {}}
                yield {**cell, "outputs": [], "source": lines}


def _markdown(name: str, text: str) -> dict[str, Any]:
    # one line a paragraph, as a notebook breaks lines itself
    paragraphs = [
        " ".join(block.splitlines()) if block[0] not in "|-" else block for block in text.split("\n\n")
    ]
    lines = "\n\n".join(paragraphs).splitlines(keepends=True)
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": lines}


def _linked(text: str) -> str:
    """Return a text of a page with links that lead there from a notebook."""
    return re.sub(r"\]\(([\w-]+\.md)", r"](../docs/\1", text)


def main() -> None:
    """Write the notebook."""
    NOTEBOOK.write_text(notebook_text(PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
