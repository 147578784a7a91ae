"""The real yaml-language-server, beside a folder that has the schema as users have it.

Tests are skipped where it is not installed (`make editor` does, with npm).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.editor.language_server import LanguageServer

HERE = Path(__file__).parent
SERVER = (
    Path(sys.prefix) / "editor" / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = (
        "Node.js" if shutil.which("node") is None else None if SERVER.exists() else "yaml-language-server"
    )
    for item in items:
        if HERE in item.path.parents:
            # one server for all of them
            item.add_marker(pytest.mark.xdist_group("editor"))
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"{missing} not installed: make editor"))


@pytest.fixture(scope="session")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LanguageServer]:
    """The server, in a folder with the schema that the package ships."""
    folder = tmp_path_factory.mktemp("flows")
    shipped = HERE.parents[1] / "flowdsl" / "schema.json"
    shutil.copy(shipped, folder / "flowdsl.schema.json")
    with LanguageServer(["node", str(SERVER), "--stdio"], folder) as server:
        yield server
