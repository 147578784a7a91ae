"""Storage of a result's tables: in memory, or as Parquet files in a folder."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import polars as pl

from flowdsl.errors import DataError, ReplayError
from flowdsl.log.errors import reading
from flowdsl.paths import path_of
from flowdsl.progress import heartbeat
from flowdsl.results.manifest_schema import Manifest
from flowdsl.results.validation import check_manifest, check_meta
from flowdsl.text import type_text

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

MANIFEST = "result.json"
META = b"flowdsl"
FIELD: Final = "payload.{}"  # the column of a payload field
# values of a column that are checked for repetition
_LOOKED_AT: Final = 1 << 10
# bytes of a dictionary from which on the rest of a column would be written without
_DICTIONARY: Final = 1 << 26
# most parts that wait to be written
_WAITING: Final = 2


@dataclass(frozen=True)
class TablePart:
    """Some rows of a table, with metadata of its columns."""

    frame: pl.DataFrame
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.frame.height

    def read(self, wanted: Callable[[str], bool]) -> pl.DataFrame:
        """Return the named columns."""
        return pl.DataFrame([column for column in self.frame.get_columns() if wanted(column.name)])

    def whole(self) -> TablePart:
        """Return all rows and columns."""
        return self

    def row(self, number: int) -> TablePart:
        """Return one row."""
        return TablePart(self.frame.slice(number, 1), self.meta)


@dataclass(frozen=True)
class StoredPart:
    """Some rows of a table in a file, read only as far as requested."""

    path: Path

    @cached_property
    def _footer(self) -> pq.FileMetaData:
        import pyarrow.parquet as pq

        with reading(str(self.path)):
            return pq.read_metadata(self.path)

    @cached_property
    def _schema(self) -> pa.Schema:
        with reading(str(self.path)):
            return self._footer.schema.to_arrow_schema()

    @property
    def rows(self) -> int:
        """Number of rows."""
        rows: int = self._footer.num_rows
        return rows

    @cached_property
    def meta(self) -> dict[str, Any]:
        """Metadata of the columns."""
        return check_meta((self._schema.metadata or {}).get(META, b"{}"), str(self.path))

    def read(self, wanted: Callable[[str], bool]) -> pl.DataFrame:
        """Return the named columns."""
        copies = {copy: name for copy, name in self.meta.get("copies", {}).items() if wanted(copy)}
        names = [name for name in self._schema.names if wanted(name) or name in copies.values()]
        with reading(str(self.path)):
            frame = pl.read_parquet(self.path, glob=False, columns=names).with_columns_seq(**copies)
        return frame[list(filter(wanted, frame.columns))]

    def whole(self) -> TablePart:
        """Read all rows and columns."""
        heartbeat()
        return TablePart(self.read(lambda _: True), self.meta)

    def row(self, number: int) -> TablePart:
        """Return one row."""
        with reading(str(self.path)):
            frame = pl.scan_parquet(self.path, glob=False).slice(number, 1).collect()
            return TablePart(frame.with_columns_seq(**self.meta.get("copies", {})), self.meta)


class Store(Protocol):
    """Tables by name, each a list of parts in the order they were added."""

    def add(self, table: str, part: TablePart) -> None: ...

    def parts(self, table: str) -> Sequence[TablePart | StoredPart]:
        """Return the parts of a table, to be read column by column when they are used."""
        ...

    def tables(self) -> list[str]: ...


class MemoryStore:
    """Store in memory."""

    def __init__(self) -> None:
        self._tables: dict[str, list[TablePart]] = {}

    def add(self, table: str, part: TablePart) -> None:
        """Add rows to a table."""
        self._tables.setdefault(table, []).append(part)

    def parts(self, table: str) -> Sequence[TablePart | StoredPart]:
        """Return the parts of a table."""
        return self._tables.get(table, [])

    def tables(self) -> list[str]:
        """Return the names of the tables with rows."""
        return list(self._tables)


class NoStore:
    """Store that keeps nothing, for runs that are only observed."""

    def add(self, table: str, part: TablePart) -> None:
        """Discard the rows."""

    def parts(self, table: str) -> Sequence[TablePart | StoredPart]:
        """Return no parts."""
        return ()

    def tables(self) -> list[str]:
        """Return no tables."""
        return []


def write_part(path: Path, part: TablePart) -> None:
    """Write some rows of a table to a file."""
    import pyarrow.parquet as pq

    copies = _copies(part.frame)
    frame = part.frame.drop(copies)
    rows = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    rows = rows.replace_schema_metadata({META: json.dumps({**part.meta, "copies": copies}).encode()})
    pq.write_table(rows, path, compression="zstd", compression_level=1, **_encodings(frame))


def _copies(frame: pl.DataFrame) -> dict[str, str]:
    """Return the columns that are not written because they repeat another one, which is the value."""
    copy, name = FIELD.format("recipient_id"), "recipient_id"
    is_copy = copy in frame.columns and frame[copy].equals(frame[name], check_dtypes=True)
    return {copy: name} if is_copy else {}


def _encodings(frame: pl.DataFrame) -> dict[str, Any]:
    """Return Parquet options for columns: numbers and times mostly ascend, and texts mostly differ, so that
    trying a dictionary for each would take most of the time.
    """
    texts = {name for name, dtype in frame.schema.items() if dtype == pl.String}
    ascending = {name for name, dtype in frame.schema.items() if dtype == pl.Int64 or dtype.is_temporal()}
    repeating = {name for name in texts if _repeats(frame[name])}
    # ids hardly compress, and a thousand rows do not tell that most people are among more of them again
    if "recipient_id" in texts:
        people = frame.select(pl.approx_n_unique("recipient_id")).item()
        repeating |= {"recipient_id"} if 4 * people <= 3 * frame.height else set()
    return {
        "use_dictionary": [*({*frame.columns} - ascending - texts | repeating)],
        "dictionary_pagesize_limit": _DICTIONARY,
        "column_encoding": dict.fromkeys(ascending, "DELTA_BINARY_PACKED"),
        # no reader uses the least and the greatest text
        "write_statistics": [*({*frame.columns} - texts)],
    }


def _repeats(texts: pl.Series) -> bool:
    some = texts.gather_every(max(len(texts) // _LOOKED_AT, 1))
    return 2 * some.n_unique() <= len(some)


def _path(folder: object) -> Path:
    if not isinstance(folder, (str, os.PathLike)):
        raise ReplayError(f"a folder is {type_text(folder)}", allowed="text or a pathlib.Path")
    return path_of(folder)


class FolderStore:
    """Store that writes each part to a Parquet file, so that memory does not grow with the result.

    A thread writes one part while the next is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._next: dict[str, int] = {}
        self._waiting: deque[Future[None]] = deque()

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        # made only for writing: a thread pool would prevent copying and pickling of results that were read
        return ThreadPoolExecutor(1, "writer")

    @classmethod
    def create(
        cls, folder: str | os.PathLike[str], hint: str = "name a new folder, or empty this one"
    ) -> FolderStore:
        """Create a store in a new or empty folder; `hint` tells the user what to do if it is not empty."""
        path = _path(folder)
        try:
            # resolved first, so that `missing/..` does not create the folder `missing`
            path = Path(os.path.realpath(path))
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise ReplayError(f"the folder {str(folder)!r} is not empty", hint=hint)
        except OSError as error:
            raise ReplayError(f"the folder {str(folder)!r} cannot be written: {error}") from error
        return cls(path)

    @classmethod
    @contextmanager
    def replacing(cls, folder: str | os.PathLike[str]) -> Iterator[FolderStore]:
        """Fill a store next to a folder with a result, and replace that folder in the end.

        Until then the folder keeps its contents. A folder without a result must be new or empty.
        """
        path = Path(os.path.realpath(_path(folder)))
        if not (path / MANIFEST).is_file():
            yield cls.create(folder, "only a result is replaced: name another folder, or empty this one")
            return
        beside = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
        try:
            yield cls.create(beside)
            shutil.rmtree(path)
            beside.replace(path)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> FolderStore:
        """Open the store of an earlier run."""
        path = _path(folder)
        if not (path / MANIFEST).is_file():
            raise DataError(
                f"{str(folder)!r} holds no result",
                hint="replay(…, out=folder) or result.to_parquet(folder) writes one",
            )
        # absolute, as parts are read later, when the working directory may be another one
        return cls(Path(os.path.abspath(path)))

    def add(self, table: str, part: TablePart) -> None:
        """Add rows to a table."""
        self._wait(_WAITING)
        self._waiting.append(self._thread.submit(write_part, self._next_path(table), part))

    def _wait(self, left: int = 0) -> None:
        """Wait until at most `left` parts remain to be written."""
        while len(self._waiting) > left:
            try:
                self._waiting.popleft().result()
            except OSError as error:
                raise ReplayError(f"the folder {str(self.folder)!r} cannot be written: {error}") from error

    def adopt(self, table: str, path: Path) -> None:
        """Add rows to a table that `write_part` wrote to a file, which is moved into the store."""
        path.replace(self._next_path(table))

    def _next_path(self, table: str) -> Path:
        number = self._next.get(table, 0)
        self._next[table] = number + 1
        folder = self.folder / table
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{number:06}.parquet"

    def parts(self, table: str) -> Sequence[TablePart | StoredPart]:
        """Return the parts of a table, to be read column by column when they are used."""
        self._wait()
        return [StoredPart(path) for path in sorted((self.folder / table).glob("*.parquet"))]

    def tables(self) -> list[str]:
        """Return the names of the tables with rows."""
        self._wait()
        return sorted({str(p.parent.relative_to(self.folder)) for p in self.folder.rglob("*.parquet")})

    def write_manifest(self, manifest: Manifest) -> None:
        """Write the manifest; a folder without one is not a result."""
        self._wait()
        path = self.folder / MANIFEST
        path.with_suffix(".tmp").write_text(json.dumps(manifest, indent=1, ensure_ascii=False), "utf-8")
        path.with_suffix(".tmp").replace(path)

    def read_manifest(self) -> Manifest:
        """Read and check the manifest."""
        path = self.folder / MANIFEST
        with reading(str(path)):
            content = path.read_bytes()
        return check_manifest(content, str(path))
