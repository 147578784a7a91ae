"""Translation of errors of Polars, pyarrow, DuckDB and the file system to `DataError` with a place."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from flowdsl.errors import DataError
from flowdsl.frames import first_line, is_foreign

WHOLE: Final = "is the file whole, and what its name says?"
_FILES: Final = (OSError, EOFError, UnicodeError, zlib.error)


@contextmanager
def reading(place: str, hint: str | None = WHOLE, what: str = "cannot be read") -> Iterator[None]:
    """Translate foreign errors inside a block to `DataError` that names `place`.

    >>> with reading("events.parquet"):
    ...     raise OSError("no space left")
    Traceback (most recent call last):
    flowdsl.errors.DataError: events.parquet: cannot be read: no space left
      hint: is the file whole, and what its name says?
    """
    try:
        yield
    except BaseException as error:
        if not is_foreign(error, _FILES):
            raise
        raise DataError(f"{what}: {first_line(error)}", place=place, hint=hint) from error
