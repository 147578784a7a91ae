"""The notebooks that come with flowdsl: files of an installation, or of the clone that it runs from."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from pathlib import Path

from flowdsl.errors import DataError
from flowdsl.paths import path_of


def notebook_files() -> list[Path]:
    """Return the paths of the notebooks.

    Returns
    -------
    list of Path
        The files, by name.

    Raises
    ------
    DataError
        If this installation has none.

    Examples
    --------
    >>> "first-flow.ipynb" in [path.name for path in notebook_files()]
    True
    """
    around = Path(__file__).parents[2]
    # a clone, or a folder that `pip install --target` filled
    folder = "notebooks" if (around / "pyproject.toml").exists() else "share/flowdsl/notebooks"
    found = sorted((around / folder).glob("*.ipynb"))
    if not found:
        try:
            files = importlib.metadata.files("flowdsl") or ()
        except importlib.metadata.PackageNotFoundError:
            files = ()
        found = sorted(Path(str(file.locate())) for file in files if file.suffix == ".ipynb")
    if not found:
        raise DataError(
            "this installation of flowdsl has no notebooks", hint="pip install --force-reinstall flowdsl"
        )
    return found


def copy_notebooks(folder: str | os.PathLike[str]) -> tuple[list[Path], list[Path]]:
    """Copy the notebooks into a folder; those that are there already are kept.

    Parameters
    ----------
    folder
        The folder; it is made where it is missing.

    Returns
    -------
    tuple of list of Path
        What was written, and what was kept.

    Raises
    ------
    DataError
        If the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written, kept = copy_notebooks(folder)
    ...     again = copy_notebooks(folder)[0]
    >>> len(written) > 3, kept, again
    (True, [], [])
    """
    target = path_of(folder)
    written: list[Path] = []
    kept: list[Path] = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for file in notebook_files():
            path = target / file.name
            if path.exists():
                kept.append(path)
                continue
            shutil.copyfile(file, path)
            written.append(path)
    except OSError as error:
        raise DataError(f"the notebooks cannot be written: {error}", place=str(target)) from error
    return written, kept
