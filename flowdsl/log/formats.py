"""Formats of files of events: JSON lines, CSV and Parquet, and those that other packages add
(`flowdsl.formats`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow.parquet as pq

from flowdsl.errors import DataError, FlowError
from flowdsl.log.csv_reader import csv_blocks
from flowdsl.log.errors import reading
from flowdsl.log.problems import RowProblems
from flowdsl.log.sources import in_arrow_only, read_with_pyarrow
from flowdsl.log.text_readers import TextBlock, beginning, json_blocks
from flowdsl.registry import Registry, instance_problem

BLOCK: Final = 65_536
_PACKED: Final = (".gz", ".zst")


@dataclass(frozen=True, eq=False)
class FileFormat:
    """Declaration of a format of files that `read_events` and `convert` read.

    Parameters
    ----------
    name
        the name of the format
    suffixes
        how names of its files end, in lower case
    blocks
        the function from a file, and where problems of rows go, to blocks of rows
    begins
        the function that tells from the first bytes of a file without a known suffix whether it has this
        format
    packed
        True if its files may be compressed: `.gz` or `.zst` behind the suffix
    rows
        the function that counts the rows without reading them, if there is one

    >>> FORMATS["csv"].suffixes
    ('.csv', '.tsv')
    """

    name: str
    suffixes: tuple[str, ...]
    blocks: Callable[[Path, RowProblems], Iterator[TextBlock]]
    begins: Callable[[bytes], bool] = lambda begin: False
    packed: bool = False
    rows: Callable[[Path], int] | None = None


def _parquet_blocks(path: Path, problems: RowProblems) -> Iterator[TextBlock]:
    with reading(str(path)):
        metadata = pq.read_metadata(path)
        rows, odd = metadata.num_rows, in_arrow_only(metadata.schema.to_arrow_schema())
        for row in range(0, rows, BLOCK):
            if odd:
                part = read_with_pyarrow(str(path), None, row, BLOCK)
            else:
                part = pl.scan_parquet(path, glob=False).slice(row, BLOCK).collect()
            yield TextBlock(str(path), range(row, row + part.height), part)


def _parquet_rows(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)


_OWN: Final = (
    FileFormat(
        "parquet", (".parquet",), _parquet_blocks, lambda begin: begin.startswith(b"PAR1"), rows=_parquet_rows
    ),
    FileFormat(
        "json",
        (".jsonl", ".ndjson", ".json"),
        json_blocks,
        lambda begin: begin[:1] in (b"{", b"["),
        packed=True,
    ),
    # what looks like nothing else is taken for CSV
    FileFormat("csv", (".csv", ".tsv"), csv_blocks, lambda begin: True, packed=True),
)
FORMATS: Final[Registry[FileFormat]] = Registry(
    "flowdsl.formats", {known.name: known for known in _OWN}, instance_problem(FileFormat)
)
"""The formats by name."""


def format_of(path: Path) -> FileFormat:
    """Return the format of a file: by its name, else by how it begins.

    >>> format_of(Path("events.jsonl.gz")).name
    'json'
    """
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in _PACKED]
    if suffixes:
        for known in FORMATS.values():
            if suffixes[-1] in known.suffixes:
                return known
    with reading(str(path)):
        begin = beginning(path)
    return next(known for known in FORMATS.own.values() if known.begins(begin))


def suffixes() -> tuple[str, ...]:
    """Return how the names of files of events may end, those of compressed files included."""
    return tuple(
        suffix + packed
        for known in FORMATS.values()
        for suffix in known.suffixes
        for packed in ("", *(_PACKED if known.packed else ()))
    )


def file_blocks(path: Path, problems: RowProblems) -> Iterator[TextBlock]:
    """Yield the rows of a file in blocks.

    Raises
    ------
    DataError
        if the file cannot be read
    """
    known = format_of(path)
    if known.name in FORMATS.own:
        yield from known.blocks(path, problems)
        return
    try:
        yield from known.blocks(path, problems)
    except FlowError:
        raise
    # a format of another package may raise anything
    except Exception as error:
        raise DataError(
            f"cannot be read as {known.name}: {type(error).__name__}: {error}", place=str(path)
        ) from error


def row_count(paths: list[Path]) -> int | None:
    """Return how many rows files have; None if that is not known without reading them."""
    formats = [format_of(path) for path in paths]
    if any(known.rows is None for known in formats):
        return None
    return sum(known.rows(path) for known, path in zip(formats, paths, strict=True) if known.rows is not None)
