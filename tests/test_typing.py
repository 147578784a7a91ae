"""A user's file as mypy sees it beside an installed flowdsl; `make check` looks at the same files in place."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "typing"


def checked(folder: Path, name: str) -> str:
    """What `mypy --strict` says of a file in a folder of its own, far from the settings of the repository."""
    shutil.copy(HERE / name, folder)
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MYPYPATH")}
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={folder}", name],
        capture_output=True, text=True, check=False, cwd=folder, env=environment,
    )  # fmt: skip
    return run.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["good.py", "wrong.py"])
def test_an_installed_flowdsl_is_typed_for_its_users(tmp_path: Path, name: str):
    assert re.search(r"Success: no issues found in 1 source file", checked(tmp_path, name))


def test_type_checkers_find_the_package_however_it_is_installed():
    files = [str(file) for file in distribution("flowdsl").files or ()]
    # an import hook, which only a running Python follows
    assert not [file for file in files if file.endswith("_finder.py")], (
        "run make again: pip install --editable ."
    )
