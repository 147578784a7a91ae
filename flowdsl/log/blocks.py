"""The rows of any source in blocks: files, frames, lists of mappings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeAlias

import polars as pl

from flowdsl.errors import DataError
from flowdsl.frames import FrameLike, MixedColumnError, rows_in, rows_of_frame
from flowdsl.log.catalog import has_catalog
from flowdsl.log.errors import reading
from flowdsl.log.file_places import fits
from flowdsl.log.formats import file_blocks, row_count, suffixes
from flowdsl.log.frames import polars_frame
from flowdsl.log.nested_rows import columns_around, records_of, rows_of
from flowdsl.log.other_readers import BLOCK
from flowdsl.log.problems import RowProblems
from flowdsl.log.shape import RowShape, Shape
from flowdsl.log.sources import files_of
from flowdsl.log.text_readers import TextBlock, with_objects
from flowdsl.log.unread_formats import refuse_address
from flowdsl.paths import path_of
from flowdsl.text import short_repr

TableLike: TypeAlias = "str | os.PathLike[str] | FrameLike | Iterable[Mapping[str, Any]]"
_ANY: Final = RowShape(Shape())


def blocks_of(source: Any, shape: RowShape, problems: RowProblems) -> Iterator[TextBlock]:
    """Yield the rows of a source in blocks; those of JSON lines may not be looked at yet."""
    for block in _blocks(source, shape, problems):
        if shape.records is not None:
            yield records_of(with_objects(block, None, problems), shape.records, problems)
        else:
            yield block


def first_rows(
    source: Any, most: int, shape: RowShape = _ANY
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Return the first rows of a source as they are, with the columns that folders name, and what is around
    each; what cannot be read is left out.
    """
    problems = RowProblems()
    rows: list[Mapping[str, Any]] = []
    around: list[Mapping[str, Any]] = []
    for read in blocks_of(source, shape, problems):
        beside = columns_around(read)
        found = rows_of(with_objects(read, None, problems))
        rows += [{**beside, **row} for row in islice(found, most - len(rows))]
        around += [read.around] * (len(rows) - len(around))
        if len(rows) >= most:
            break
    return rows, around


def count_rows(source: Any, shape: RowShape) -> int | None:
    """Return how many rows there are to read; None where that is not known without reading them."""
    if not isinstance(source, (str, os.PathLike)):
        return rows_in(source)
    with reading(str(source)):
        return row_count(_files(source, shape))


def _files(source: str | os.PathLike[str], shape: RowShape) -> list[Path]:
    refuse_address(os.fspath(source))
    path = path_of(source)
    if has_catalog(path):
        # its last events are in no file of rows
        raise DataError(
            "a log, which is not read as files",
            place=str(path),
            hint="replay(flow, path) replays it; ParquetEventLog(path) opens it",
        )
    found = files_of(path, suffixes())
    if path.is_dir():
        found = [one for one in found if fits(PurePosixPath(one.relative_to(path).as_posix()), shape.files)]
        if not found:
            raise DataError(
                f"the folder holds no files {shape.files!r}, which the shape reads",
                place=str(path),
                hint=f"a glob reads files of any name: {str(path / '*')!r}",
            )
    return found


def _blocks(source: Any, shape: RowShape, problems: RowProblems) -> Iterator[TextBlock]:
    names = None if shape is _ANY else shape.names

    def wanted(name: str) -> bool:
        return names is None or name in names

    if isinstance(source, (str, os.PathLike)):
        for path in _files(source, shape):
            yield from file_blocks(path, problems, wanted, shape.files, shape.header)
        return
    known: Sequence[str] = ()
    if isinstance(source, pl.LazyFrame):
        with reading("frame", "collect() the lazy frame to see what is wrong with it"):
            known = source.collect_schema().names()
            source = source.select(name for name in known if wanted(name)).collect()
    known = known or _column_names(source)
    frame = _frame(source, shape, wanted)
    if isinstance(frame, pl.DataFrame):
        for row in range(0, frame.height, BLOCK):
            part = frame.slice(row, BLOCK)
            yield TextBlock("frame", range(row, row + part.height), part, names=known)
        return
    if isinstance(frame, Mapping) and shape.records is not None:
        frame = [frame]
    if not isinstance(frame, Iterable) or isinstance(frame, (Mapping, bytes)):
        raise DataError(
            f"{type(frame).__name__} cannot be read as events",
            allowed="a path or glob, a frame, an Arrow stream, a list of mappings",
            hint="one event is a list of one; records= is the path to a list of rows",
        )
    yield from _read_list(frame, problems)


def _column_names(source: Any) -> list[str]:
    """Return the names of the columns of a frame, as far as it says them."""
    names = getattr(source, "column_names", getattr(source, "columns", ()))
    return [*map(str, names)] if isinstance(names, Iterable) else []


def _frame(source: Any, shape: RowShape, wanted: Callable[[str], bool]) -> Any:
    """Return a source as a Polars frame where it is a frame; one with values that no column can have as a
    list of its rows.
    """
    try:
        found = polars_frame(source, wanted, shape.json_names)
    except MixedColumnError:
        return rows_of_frame(source)
    return source if found is None else found


def _read_list(source: Iterable[Any], problems: RowProblems) -> Iterator[TextBlock]:
    numbered = enumerate(source)
    while some := list(islice(numbered, BLOCK)):
        for row, item in some:
            if not isinstance(item, Mapping):
                problems.add("list", row, "broken", _no_row(item), _text(item))
        good = [(row, dict(item)) for row, item in some if isinstance(item, Mapping)]
        yield TextBlock("list", [row for row, _ in good], [item for _, item in good])


def _no_row(item: object) -> str:
    several = "; a glob such as 'events/*.csv' reads several files" if isinstance(item, str) else ""
    return f"{type(item).__name__} is not a mapping{several}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else short_repr(value, 200)
