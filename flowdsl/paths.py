"""Validation of file paths before they reach the operating system."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from flowdsl.errors import DataError, FlowError
from flowdsl.text import short_repr

# longest file name, in bytes, on all usual file systems
_LONGEST_NAME: Final = 255


def path_of(given: str | os.PathLike[str], error: type[FlowError] = DataError) -> Path:
    """Return a path. Raises `error` if no file can have it.

    >>> path_of("data/events.jsonl").name
    'events.jsonl'
    """
    if not isinstance(given, (str, os.PathLike)):
        raise error(f"a path is {short_repr(given)}", allowed="text, or a pathlib.Path")
    path = Path(given)
    try:
        # the libraries that write Parquet take no other names, even where the file system does
        named = str(path).encode()
    except UnicodeEncodeError:
        raise error(
            f"the path {short_repr(str(path), 80)} is not UTF-8, or holds half a surrogate pair"
        ) from None
    if b"\0" in named:
        raise error(f"the path {short_repr(str(path), 80)} has a NUL character")
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):
        raise error(f"the path {short_repr(str(path), 80)} has a name of more than {_LONGEST_NAME} bytes")
    return path
