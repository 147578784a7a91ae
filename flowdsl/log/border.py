"""The border where errors of Polars, pyarrow, DuckDB and the file system become a `DataError` that says where."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
import pyarrow as pa

from flowdsl.errors import DataError


@contextmanager
def reading(
    place: str, hint: str = "is the file whole, and what its name says?", what: str = "cannot be read"
) -> Iterator[None]:
    """A block in which what goes wrong outside flowdsl is a `DataError` that names `place`.

    >>> with reading("events.parquet"):
    ...     raise OSError("no space left")
    Traceback (most recent call last):
    flowdsl.errors.DataError: events.parquet: cannot be read: no space left
      hint: is the file whole, and what its name says?
    """
    try:
        yield
    except _foreign() as error:
        raise DataError(f"{what}: {_first_line(error)}", place=place, hint=hint) from error


def _foreign() -> tuple[type[Exception], ...]:
    """What those libraries raise; DuckDB's own only where somebody has imported it."""
    duckdb = sys.modules.get("duckdb")
    return (pl.exceptions.PolarsError, pa.lib.ArrowException, OSError, EOFError, zlib.error) + (
        (duckdb.Error,) if duckdb else ()
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
