"""Notebooks that are kept in the repository, executed, and what their cells show."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


class Executed:
    """A notebook after it ran in a folder: what each cell printed and showed, by the cell's id."""

    def __init__(
        self, name: str, folder: Path, *, notebooks: Path = FOLDER, instead: tuple[str, str] | None = None
    ) -> None:
        self._notebook = nbformat.read(notebooks / name, as_version=4)
        if instead is not None:
            [cell] = [cell for cell in self._notebook.cells if instead[0] in cell.source]
            cell.source = cell.source.replace(*instead)
        self.folder = folder
        client = NotebookClient(
            self._notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        )
        client.execute()

    def shown(self, cell: str) -> dict[str, Any]:
        """The last thing that a cell shows, by MIME type."""
        shown = [o.data for o in self._outputs(cell) if o.output_type in ("execute_result", "display_data")]
        return dict(shown[-1])

    def text(self, cell: str) -> str:
        """The last thing that a cell shows, as text."""
        return str(self.shown(cell)["text/plain"])

    def printed(self, cell: str) -> str:
        """What a cell prints."""
        return self._stream(cell, "stdout")

    def warned(self, cell: str) -> str:
        """What a cell writes to stderr, warnings for one."""
        return self._stream(cell, "stderr")

    def _stream(self, cell: str, name: str) -> str:
        streams = [o for o in self._outputs(cell) if o.output_type == "stream"]
        return "".join(o.text for o in streams if o.name == name)

    def _outputs(self, cell: str) -> list[Any]:
        [found] = [c for c in self._notebook.cells if c.id == cell]
        return list(found.outputs)


# (day of January 2026, author, what happened to which files)
COMMITS = [
    (1, "Ann", {"README.md": "1", "core.py": "1"}),
    (2, "Bob", {"core.py": "2"}),
    (2, "Bob", {"core.py": "3", "naïve file.py": "1"}),
    (3, "Ann", {"core.py": "4"}),
    (4, "Eve", {"core.py": "5", "README.md": "2", "naïve file.py": None}),
    (9, "Bob", {"core.py": "6"}),
]


def write_repository(folder: Path) -> None:
    """A git repository with the `COMMITS` in it, each at noon of its day."""
    stream = ["feature done"]
    for day, author, files in COMMITS:
        at = 1_767_225_600 + (day - 1) * 86_400 + 43_200
        stream += ["commit refs/heads/main", f"committer {author} <{author.lower()}@example.com> {at} +0000"]
        stream += ["data 1", "."]
        for name, content in files.items():
            stream += [f"D {name}"] if content is None else [f"M 644 inline {name}", "data 1", content]
    git = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", folder], check=True, env=git)
    subprocess.run(
        ["git", "-C", folder, "fast-import", "--quiet"],
        input=("\n".join([*stream, "done"]) + "\n").encode(), check=True, env=git,
    )  # fmt: skip
