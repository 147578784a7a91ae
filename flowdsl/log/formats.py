"""Formats of files of events: JSON, CSV, Parquet, Arrow, ORC, XML, event streams, archives of them, and those
that other packages add (`flowdsl.formats`).
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from flowdsl.errors import DataError, FlowError
from flowdsl.log.csv_reader import csv_blocks
from flowdsl.log.errors import reading
from flowdsl.log.file_places import PACKED, around_of, fits, is_hidden
from flowdsl.log.other_readers import (
    Wanted,
    arrow_blocks,
    orc_blocks,
    parquet_blocks,
    parquet_rows,
    sse_blocks,
    xml_blocks,
)
from flowdsl.log.problems import RowProblems
from flowdsl.log.text_readers import TextBlock, beginning, json_blocks
from flowdsl.log.unread_formats import refuse_unread, refuse_workbook
from flowdsl.registry import Registry, instance_problem

_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")


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
        True if its files may be compressed: `.gz`, `.zst`, `.bz2`, `.xz`, `.lz4` or `.br` behind the suffix
    rows
        the function that counts the rows without reading them, if there is one
    columnar
        True if `blocks` takes a third argument, a function that tells which columns are wanted
    nameless
        True if `blocks` takes a third argument, the names of the columns of a file that does not name them

    >>> FORMATS["csv"].suffixes
    ('.csv', '.tsv')
    """

    name: str
    suffixes: tuple[str, ...]
    blocks: Callable[..., Iterator[TextBlock]]
    begins: Callable[[bytes], bool] = lambda begin: False
    packed: bool = False
    rows: Callable[[Path], int] | None = None
    columnar: bool = False
    nameless: bool = False


_OWN: Final = (
    FileFormat(
        "parquet",
        (".parquet", ".pq"),
        parquet_blocks,
        lambda begin: begin.startswith(b"PAR1"),
        rows=parquet_rows,
        columnar=True,
    ),
    FileFormat(
        "arrow",
        (".feather", ".arrow", ".arrows", ".ipc"),
        arrow_blocks,
        lambda begin: begin.startswith((b"ARROW1", b"FEA1", b"\xff\xff\xff\xff")),
        columnar=True,
    ),
    FileFormat("orc", (".orc",), orc_blocks, lambda begin: begin.startswith(b"ORC"), columnar=True),
    FileFormat("xml", (".xml",), xml_blocks, lambda begin: begin.startswith(b"<"), packed=True),
    FileFormat(
        "sse",
        (".sse",),
        sse_blocks,
        lambda begin: begin.startswith((b"data:", b"event:", b"id:", b":", b"retry:")),
        packed=True,
    ),
    FileFormat(
        "json",
        (".jsonl", ".ndjson", ".json"),
        json_blocks,
        lambda begin: begin[:1] in (b"{", b"["),
        packed=True,
    ),
    # what looks like nothing else is taken for CSV
    FileFormat("csv", (".csv", ".tsv"), csv_blocks, lambda begin: True, packed=True, nameless=True),
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
    suffixes = tuple(suffix.lower() for suffix in path.suffixes if suffix.lower() not in PACKED)
    if suffixes:
        for known in FORMATS.values():
            if suffixes[-1] in known.suffixes:
                return known
    with reading(str(path)):
        begin = beginning(path)
        refuse_unread(path, suffixes, begin)
        begin = begin.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next(known for known in FORMATS.own.values() if known.begins(begin))


def suffixes() -> tuple[str, ...]:
    """Return how the names of files of events may end, those of compressed files included."""
    read = tuple(
        suffix + packed
        for known in FORMATS.values()
        for suffix in known.suffixes
        for packed in ("", *(PACKED if known.packed else ()))
    )
    return (*read, ".zip")


def file_blocks(
    path: Path, problems: RowProblems, wanted: Wanted, files: str | None, header: Sequence[str] | None
) -> Iterator[TextBlock]:
    """Yield the rows of a file, or of the files of an archive, in blocks.

    `wanted` tells which columns are needed, where a format can leave out others; `files` is a glob for the
    names in archives; `header` names the columns of a file that does not name them.

    Raises
    ------
    DataError
        if the file cannot be read
    """
    if is_zip(path):
        yield from _zip_blocks(path, problems, wanted, files, header)
        return
    around = around_of(path)
    for block in _blocks(path, problems, wanted, header):
        yield replace(block, around={**around, **block.around})


def _blocks(
    path: Path, problems: RowProblems, wanted: Wanted, header: Sequence[str] | None
) -> Iterator[TextBlock]:
    known = format_of(path)
    more: tuple[Any, ...] = (wanted,) if known.columnar else (header,) if known.nameless else ()
    try:
        yield from known.blocks(path, problems, *more)
    # a format of another package may raise anything
    except Exception as error:
        if known.name in FORMATS.own or isinstance(error, FlowError):
            raise
        raise DataError(
            f"cannot be read as {known.name}: {type(error).__name__}: {error}", place=str(path)
        ) from error


def is_zip(path: Path) -> bool:
    """Return True for a zip archive, whatever its name is."""
    with reading(str(path)), path.open("rb") as file:
        return file.read(4) in _ZIP


def _zip_blocks(
    path: Path, problems: RowProblems, wanted: Wanted, files: str | None, header: Sequence[str] | None
) -> Iterator[TextBlock]:
    """Return the rows of the files of an archive, one file after the other; each is unpacked while it is
    read.
    """
    with (
        reading(str(path)),
        _archive(path) as archive,
        tempfile.TemporaryDirectory(prefix="flowdsl-zip-") as folder,
    ):
        names = [info for info in archive.infolist() if not info.is_dir()]
        refuse_workbook(path, [info.filename for info in names])
        known = suffixes()
        read = [info for info in names if _is_read(PurePosixPath(info.filename), known, files)]
        if not read:
            raise DataError(
                "the archive holds no file that can be read",
                place=str(path),
                allowed=", ".join(known[:12]) + " …",
                hint=f"it holds {', '.join(info.filename for info in names[:5]) or 'nothing'}",
            )
        for info in sorted(read, key=lambda info: info.filename):
            yield from _member_blocks(archive, info, path, Path(folder), problems, wanted, header)


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise DataError(
            f"a zip archive that cannot be read: {error}", place=str(path), hint="is the file whole?"
        ) from error


def _is_read(name: PurePosixPath, known: tuple[str, ...], files: str | None) -> bool:
    hidden = is_hidden(name) or name.name.endswith(".zip")
    return not hidden and name.name.lower().endswith(known) and fits(name, files)


def _member_blocks(
    archive: zipfile.ZipFile,
    info: Any,
    path: Path,
    folder: Path,
    problems: RowProblems,
    wanted: Wanted,
    header: Sequence[str] | None,
) -> Iterator[TextBlock]:
    name = PurePosixPath(info.filename)
    # the name in the archive is not where it is unpacked
    copy = folder / f"rows{''.join(name.suffixes[-2:])}"
    place, around = f"{path}/{name}", around_of(name)
    found = RowProblems()
    try:
        with archive.open(info) as packed, copy.open("wb") as unpacked:
            while chunk := packed.read(1 << 20):
                unpacked.write(chunk)
        for block in _blocks(copy, found, wanted, header):
            yield replace(block, place=place, around={**around_of(path), **around})
            problems.extend(found.taken(place))
        problems.extend(found.taken(place))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(f"cannot be unpacked: {error}", place=place, hint="unpack it yourself") from error
    except DataError as error:
        raise DataError(error.what, place=place, allowed=error.allowed, hint=error.hint) from error
    finally:
        copy.unlink(missing_ok=True)


def row_count(paths: list[Path]) -> int | None:
    """Return how many rows files have; None if that is not known without reading them."""
    rows = 0
    for path in paths:
        if is_zip(path) or (count := format_of(path).rows) is None:
            return None
        rows += count(path)
    return rows
