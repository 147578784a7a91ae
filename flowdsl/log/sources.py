"""Tables read piece by piece: frames in memory, lazy frames, datasets, Parquet files.

A piece is a few rows of the source's own columns and types; `table.py` makes events of them.
"""

from __future__ import annotations

import contextlib
import glob
import os
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, groupby
from math import ceil
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from flowdsl.errors import DataError
from flowdsl.events import EVENT_COLUMNS, JSON_COLUMNS, KINDS
from flowdsl.frames import empty_table, plain_type, to_polars
from flowdsl.log.columns import SCHEMA, present
from flowdsl.log.errors import WHOLE, reading
from flowdsl.log.file_places import PACKED, around_of, is_hidden
from flowdsl.log.unread_formats import refuse_table
from flowdsl.log.validation import ENTITY, JUDGED, LINK
from flowdsl.paths import path_of

# event columns that the names of folders may give
TEXTS_OF_FOLDERS: Final = frozenset(SCHEMA) - {"seq_no", *JSON_COLUMNS}
# uncompressed bytes of row groups that are read at once
_BYTES: Final = 1 << 25


@dataclass(frozen=True)
class TableSlice:
    """Rows of `place`, starting at position `row`.

    `sound` names judged columns that file statistics show to be free of gaps; they are read only where asked
    for.
    """

    frame: pl.DataFrame
    place: str
    row: int
    sound: frozenset[str] = frozenset()


class PlainFiles(NamedTuple):
    """Parquet files with the same columns, in the same folders as far as these name columns: `around`."""

    files: tuple[str, ...]
    around: Mapping[str, str | None]


class FileStretch(NamedTuple):
    """Neighbouring row groups of a Parquet file, with the least and the greatest number in them."""

    file: str
    groups: range
    rows: int
    first: int
    last: int


class RawTable(Protocol):
    """Table that can be read repeatedly, always in the same order."""

    def schemas(self) -> Mapping[str, Mapping[str, pl.DataType]]:
        """Return the columns of each place (a file, or "frame")."""
        ...

    def count(self) -> int | None:
        """Return the number of rows, if known without reading them."""
        ...

    def pieces(
        self, columns: Collection[str], size: int, judged: bool = True, after: int = 0
    ) -> Iterator[TableSlice]:
        """Yield the rows in order, about `size` at a time, with `columns` and, if `judged`, what the checks
        need.

        Rows whose `seq_no` is `after` or less may be left out where that saves reading them.
        """
        ...


class _OnePlaceTable(ABC):
    """Table in one place, which comes as frames."""

    def __init__(self, place: str, schema: Mapping[str, pl.DataType], hint: str = WHOLE) -> None:
        self._place, self._schema, self._hint = place, schema, hint

    def schemas(self) -> Mapping[str, Mapping[str, pl.DataType]]:
        return {self._place: self._schema}

    def count(self) -> int | None:
        return None

    def pieces(
        self, columns: Collection[str], size: int, judged: bool = True, after: int = 0
    ) -> Iterator[TableSlice]:
        names = present({*columns, *(JUDGED if judged else ())}, self._schema)
        row = 0
        with reading(self._place, self._hint):
            for frame in self._frames(names, size):
                for part in frame.iter_slices(size):
                    yield TableSlice(part, self._place, row)
                    row += part.height

    @abstractmethod
    def _frames(self, names: list[str], size: int) -> Iterable[pl.DataFrame]:
        """Return these columns, in frames of about `size` rows where that is cheaper than cutting them."""


class FrameTable(_OnePlaceTable):
    """Frame in memory, sliced without copies."""

    def __init__(self, frame: pl.DataFrame, place: str = "frame") -> None:
        super().__init__(place, dict(frame.schema))
        self._frame = frame

    def count(self) -> int | None:
        return self._frame.height

    def _frames(self, names: list[str], size: int) -> Iterable[pl.DataFrame]:
        return [pl.DataFrame([self._frame.get_column(name) for name in names])]


class LazyTable(_OnePlaceTable):
    """Polars lazy frame, collected anew at each reading, batch by batch."""

    def __init__(self, frame: pl.LazyFrame) -> None:
        hint = "collect() the lazy frame to see what is wrong with it"
        with reading("frame", hint):
            super().__init__("frame", dict(frame.collect_schema()), hint)
        self._frame = frame

    def _frames(self, names: list[str], size: int) -> Iterable[pl.DataFrame]:
        return self._frame.select(names).collect_batches(chunk_size=size, maintain_order=True)


class DatasetTable(_OnePlaceTable):
    """pyarrow dataset, scanned anew at each reading, batch by batch."""

    def __init__(self, dataset: Any) -> None:
        super().__init__("dataset", _event_schema(dataset.schema, "dataset"))
        self._dataset = dataset

    def count(self) -> int | None:
        return int(self._dataset.count_rows())

    def _frames(self, names: list[str], size: int) -> Iterable[pl.DataFrame]:
        batches = self._dataset.to_batches(columns=names, batch_size=size)
        return (to_polars(batch, self._place) for batch in batches)


class StreamTable(_OnePlaceTable):
    """Arrow stream, which can be read once: for appends with constant memory."""

    def __init__(self, reader: Any) -> None:
        super().__init__("stream", _event_schema(reader.schema, "stream"))
        self._reader = reader

    def _frames(self, names: list[str], size: int) -> Iterable[pl.DataFrame]:
        return (to_polars(batch.select(names), self._place) for batch in self._reader)


class ParquetFiles:
    """Parquet files, read in the given order: only the requested columns, whole row groups where they are not
    too large, and of all row groups only `groups` where they are given.

    Polars' slices of a scan were the fastest reader measured (pyarrow's `iter_batches` takes twice the time),
    hold no more than the slice however large the row groups are, and check UTF-8. Each slice of a row group
    decodes what is before it once more. Files that Polars refuses go through pyarrow.
    """

    def __init__(self, paths: Sequence[Path], groups: range | None = None) -> None:
        self._groups = groups
        # a program may go to another folder before it reads them
        self._files = {str(path): os.path.abspath(path) for path in paths}
        self._metadata = {str(path): _metadata(str(path)) for path in paths}
        arrow = {place: metadata.schema.to_arrow_schema() for place, metadata in self._metadata.items()}
        # the columns that folders name, where files have none of their own
        self._around = {
            place: {
                name: value
                for name, value in around_of(Path(place)).items()
                if name in TEXTS_OF_FOLDERS and name not in schema.names
            }
            for place, schema in arrow.items()
        }
        self._schemas: dict[str, dict[str, pl.DataType]] = {
            place: {**_event_schema(schema, place), **dict.fromkeys(self._around[place], pl.String())}
            for place, schema in arrow.items()
        }
        self._misread = {place: _misread_columns(schema) for place, schema in arrow.items()}

    def schemas(self) -> Mapping[str, Mapping[str, pl.DataType]]:
        return self._schemas

    def count(self) -> int | None:
        return sum(int(metadata.num_rows) for metadata in self._metadata.values())

    def group_alike(self) -> list[PlainFiles]:
        """Return the files by their columns, and by what folders say of them."""
        found: dict[str, list[str]] = {}
        for place, schema in self._schemas.items():
            found.setdefault(repr((sorted(schema.items()), sorted(self._around[place].items()))), []).append(
                place
            )
        return [PlainFiles(tuple(places), self._around[places[0]]) for places in found.values()]

    def stretches(self, rows: int) -> list[FileStretch]:
        """Return the files cut between row groups, after so many rows each; none where the footer of a file
        does not tell its numbers.
        """
        found = []
        for place, metadata in self._metadata.items():
            groups = _RowGroups(metadata)
            filled = {group: groups.numbers(group) for group in groups.filled}
            if None in filled.values():
                return []
            for some in groups.cut(rows):
                numbers = [number for group in some for number in filled[group] or ()]
                height = sum(map(groups.height, some))
                span = range(some[0], some[-1] + 1)
                found.append(FileStretch(self._files[place], span, height, min(numbers), max(numbers)))
        return found

    def pieces(
        self, columns: Collection[str], size: int, judged: bool = True, after: int = 0
    ) -> Iterator[TableSlice]:
        for place, schema in self._schemas.items():
            around = self._around[place]
            asked = set(present(columns, schema))
            judge = set(present(JUDGED, schema)) - asked if judged else set()
            groups = _RowGroups(self._metadata[place], self._groups)
            for row, rows, first, last in groups.spans(size, after, asked | judge):
                sound = groups.sound(judge, first, last) if judge else frozenset()
                names = [name for name in present(asked | judge - sound, schema) if name not in around]
                with reading(place):
                    frame = _read(self._files[place], names, row, rows, self._misread[place])
                if around:
                    frame = frame.with_columns(
                        pl.Series(name, [around[name]], dtype=pl.String).new_from_index(0, rows)
                        for name in present(asked | judge, schema)
                        if name in around
                    )
                yield TableSlice(frame, place, row, sound)


class _RowGroups:
    """Row groups of one file with their positions and statistics."""

    def __init__(self, metadata: Any, asked: range | None = None) -> None:
        self._metadata = metadata
        self._asked = range(metadata.num_row_groups) if asked is None else asked
        self._columns = {metadata.schema.column(i).path: i for i in range(metadata.num_columns)}

    def spans(self, size: int, after: int, names: Collection[str]) -> Iterator[tuple[int, int, int, int]]:
        """Yield (first row, rows, first group, last group): small groups merged, large ones cut, those up to
        `after` skipped, and those that are not asked for. Of few bytes in columns `names` there may be more
        rows than `size`.
        """
        begin = rows = first = 0
        least = size
        columns = [i for path, i in self._columns.items() if path.partition(".")[0] in names]
        for group in range(self._metadata.num_row_groups):
            height = self.height(group)
            size = max(least, self._rows_at_once(group, columns))
            old = group not in self._asked or self._ends_by(group, after)
            if rows and (old or rows + height > size):
                yield begin, rows, first, group - 1
                begin, rows = begin + rows, 0
            if old:
                begin += height
                continue
            if not rows:
                first = group
            rows += height
            while rows > size:
                # in equal parts
                part = ceil(rows / ceil(rows / size))
                yield begin, part, group, group
                begin, rows = begin + part, rows - part
        if rows:
            yield begin, rows, first, self._metadata.num_row_groups - 1

    def sound(self, names: Collection[str], first: int, last: int) -> frozenset[str]:
        """Return the columns whose statistics prove that no row lacks them."""
        groups = range(first, last + 1)
        needed = self._columns_of_kinds(groups)
        if needed is None:
            return frozenset()
        # a link that has its type and both ends needs no link_id, only none that is ""
        whole = all(self._full(groups, name) for name in LINK)
        asked = frozenset(names) - {"kind", "timestamp"}
        return asked - {
            name for name in asked & needed if not self._full(groups, name, gaps=whole and name == "link_id")
        }

    def _columns_of_kinds(self, groups: range) -> set[str] | None:
        """Return the columns that the kinds of events there need; None where the kinds are not known."""
        kinds = [self._statistics(group, "kind") for group in groups]
        if not all(kind and kind.has_min_max and isinstance(kind.min, str) for kind in kinds):
            return None
        among = [k for k in KINDS if any(kind.min <= k <= kind.max for kind in kinds)]
        each = ((*LINK, "link_id") if kind.startswith("link.") else ENTITY for kind in among)
        return set(chain.from_iterable(each))

    def _full(self, groups: range, name: str, gaps: bool = False) -> bool:
        """Return True if a column has no empty text there, and no null unless `gaps` are allowed."""
        return all(self._full_group(group, name, gaps) for group in groups)

    def _full_group(self, group: int, name: str, gaps: bool) -> bool:
        found = self._statistics(group, name)
        if not found or not found.has_null_count or (found.null_count and not gaps):
            return False
        nothing = found.null_count == self.height(group)
        return bool(nothing or (found.has_min_max and found.min not in ("", b"")))

    @property
    def filled(self) -> list[int]:
        """Return the groups that have rows."""
        return [group for group in range(self._metadata.num_row_groups) if self.height(group)]

    def height(self, group: int) -> int:
        """Return the number of rows of a group."""
        return int(self._metadata.row_group(group).num_rows)

    def cut(self, rows: int) -> Iterator[list[int]]:
        """Yield neighbouring groups that have rows, about so many together."""
        before = accumulate(map(self.height, self.filled), initial=0)
        for _, some in groupby(zip(self.filled, before, strict=False), lambda one: one[1] // rows):
            yield [group for group, _ in some]

    def numbers(self, group: int) -> tuple[int, int] | None:
        """Return the least and the greatest number of a group; None where that is not known."""
        found = self._statistics(group, "seq_no")
        if found is None or not found.has_min_max or found.null_count != 0:
            return None
        return int(found.min), int(found.max)

    def _rows_at_once(self, group: int, columns: Iterable[int]) -> int:
        """Return how many rows of a group are read together, by what these columns take up."""
        found = self._metadata.row_group(group)
        size = sum(found.column(i).total_uncompressed_size for i in columns)
        return int(_BYTES * found.num_rows // max(size, 1))

    def _ends_by(self, group: int, after: int) -> bool:
        numbers = self.numbers(group) if after else None
        return numbers is not None and numbers[1] <= after

    def _statistics(self, group: int, name: str) -> Any:
        index = self._columns.get(name)
        return None if index is None else self._metadata.row_group(group).column(index).statistics


def files_of(path: str | Path, suffixes: tuple[str, ...] = (".parquet",)) -> list[Path]:
    """Return the files of a path, sorted: a file, a glob, or a folder (files with `suffixes` at any depth).

    Files and folders whose names begin with `.` or `_` are passed over in a folder.
    """
    path = path_of(path)
    if path.is_dir():
        return _files_below(path, suffixes)
    if path.is_file():
        return [path]
    if glob.has_magic(str(path)):
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True)) if Path(name).is_file()]
        if not found:
            raise DataError(
                "no file matches the glob", place=str(path), hint="a ** matches folders at any depth"
            )
        return found
    hint = _elsewhere(path.parent, suffixes)
    raise DataError("there is no such file or folder", place=str(path), hint=hint)


def _files_below(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    everything = sorted(folder.rglob("*"))
    refuse_table(folder, (path.name for path in everything))
    inside = [f for f in everything if f.is_file() and not is_hidden(f.relative_to(folder))]
    found = [f for f in inside if f.name.lower().endswith(suffixes)]
    if not found and len(suffixes) > 1:
        # what services write to a bucket has often no ending, or only that of its compression
        found = [f for f in inside if f.suffix.lower() in ("", ".txt", ".log", *PACKED)]
    if not found:
        raise _no_files(folder, suffixes)
    return found


def _no_files(folder: Path, suffixes: tuple[str, ...]) -> DataError:
    plain = [suffix for suffix in suffixes if not suffix.endswith(PACKED)]
    return DataError(
        f"the folder holds no {plain[0] + ' files' if len(plain) == 1 else 'file that can be read'}",
        place=str(folder),
        allowed=", ".join(plain),
        hint=_elsewhere(folder, suffixes),
    )


def _elsewhere(folder: Path, suffixes: tuple[str, ...]) -> str:
    names = (
        sorted(f.name for f in folder.iterdir() if not f.name.startswith("."))[:5] if folder.is_dir() else []
    )
    where = f"in {folder} there are: {', '.join(names)}" if names else f"there is nothing in {folder}"
    # readers of more formats than Parquet read them
    return where if len(suffixes) > 1 else f"{where}; files of other shapes are read by read_events(…)"


def _metadata(place: str) -> Any:
    with reading(place, "it is no Parquet file, or not whole; read_events(…) reads JSON lines and CSV"):
        return pq.read_metadata(place)


def _misread_columns(schema: Any) -> set[str]:
    """Return the event columns that Polars would misread, such as UUIDs as bytes."""
    if any("list_view" in str(field.type) for field in schema):
        return set(EVENT_COLUMNS)
    return {f.name for f in schema if f.name in SCHEMA and plain_type(f.type) != f.type}


def needs_pyarrow(fields: Iterable[Any]) -> bool:
    """Return True if a field has a type that Polars misreads or cannot read."""
    return any("list_view" in str(field.type) or _is_odd(field.type) for field in fields)


def _is_odd(dtype: Any) -> bool:
    try:
        return bool(plain_type(dtype) != dtype)
    except TypeError:
        return True


def _event_schema(schema: Any, place: str) -> dict[str, pl.DataType]:
    """Return the event columns of an Arrow schema in Polars types; other columns are ignored."""
    fields = [field for field in schema if field.name in SCHEMA]
    with reading(place):
        return dict(to_polars(empty_table(pa.schema(fields)), place).schema)


def _read(path: str, names: list[str], row: int, rows: int, misread: Collection[str]) -> pl.DataFrame:
    if not any(name in misread for name in names):
        with contextlib.suppress(pl.exceptions.PolarsError):
            return pl.scan_parquet(path, glob=False).select(names).slice(row, rows).collect()
    return read_with_pyarrow(path, names, row, rows)


def read_with_pyarrow(place: str, names: list[str] | None, row: int, rows: int) -> pl.DataFrame:
    """Read the same rows with pyarrow; text that is not UTF-8 as bytes. Other columns may have types Polars
    lacks.
    """
    file = pq.ParquetFile(place, pre_buffer=False)
    heights = (file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))
    starts = list(accumulate(heights, initial=0))
    # the groups that have some of the rows
    groups = range(max(bisect_right(starts, row) - 1, 0), bisect_left(starts, min(row + rows, starts[-1])))
    begin, batches = starts[groups.start], []
    for batch in file.iter_batches(65_536, row_groups=groups, columns=names):
        end = begin + batch.num_rows
        if end > row and begin < row + rows:
            batches.append(batch.slice(max(row - begin, 0), min(end, row + rows) - max(begin, row)))
        begin = end
        if begin >= row + rows:
            break
    table = pa.Table.from_batches(batches, batches[0].schema if batches else None)
    for i, field in enumerate(table.schema):
        try:
            table.column(i).validate(full=True)
        except pa.ArrowInvalid:
            column = table.column(i)
            plain = column.cast(field.type.value_type) if pa.types.is_dictionary(field.type) else column
            table = table.set_column(i, field.name, plain.cast(pa.binary()))
    return to_polars(table, place)
