"""Columns of rows by the place of their file: those that folders name, and the names of file and folder."""

from __future__ import annotations

from pathlib import Path, PurePath, PurePosixPath
from typing import Final
from urllib.parse import unquote

PACKED: Final = (".gz", ".zst", ".bz2", ".xz", ".lz4", ".br")
# what stands for null in the name of a folder
_NO_VALUE: Final = "__HIVE_DEFAULT_PARTITION__"


def around_of(path: Path | PurePosixPath) -> dict[str, str | None]:
    """Return what the rows of a file have by its location: columns that its folders name, as
    `day=2026-01-01` does, `@file` and `@folder`.

    >>> around_of(Path("stars/day=2026-01-01/a.csv.gz"))
    {'day': '2026-01-01', '@file': 'a.csv', '@folder': 'day=2026-01-01'}
    """
    found: dict[str, str | None] = {}
    for part in path.parts[:-1]:
        name, is_column, value = part.partition("=")
        if is_column and name:
            found[unquote(name)] = None if value == _NO_VALUE else unquote(value)
    name = path.name
    while PurePosixPath(name).suffix.lower() in PACKED:
        name = name[: -len(PurePosixPath(name).suffix)]
    return {**found, "@file": name, "@folder": path.parent.name}


def is_hidden(path: PurePath) -> bool:
    """Return True if a file or one of its folders has a name that begins with `.` or `_`."""
    return any(part.startswith((".", "_")) for part in path.parts)


def fits(path: PurePosixPath, files: str | None) -> bool:
    """Return True if a file, by its path within a folder or archive, is one of those that a glob names.

    >>> [fits(PurePosixPath(name), "*/*.json") for name in ("general/2026-01-01.json", "users.json")]
    [True, False]
    """
    return files is None or path.match(files)
