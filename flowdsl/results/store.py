"""Where a result's tables are kept: in memory, or as Parquet files in a folder, part by part as they come."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from flowdsl.errors import DataError, ReplayError
from flowdsl.log.errors import reading
from flowdsl.paths import path_of
from flowdsl.progress import beat
from flowdsl.results.validation import checked_manifest, checked_meta

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

MANIFEST = "result.json"
META = b"flowdsl"


@dataclass(frozen=True)
class TablePart:
    """Some rows of a table, and what is to be known of its columns."""

    frame: pl.DataFrame
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.frame.height

    def read(self, wanted: Callable[[str], bool]) -> pl.DataFrame:
        """The columns whose names are wanted."""
        return self.frame.select([name for name in self.frame.columns if wanted(name)])

    def row(self, number: int) -> TablePart:
        """One row by itself."""
        return TablePart(self.frame.slice(number, 1), self.meta)


@dataclass(frozen=True)
class StoredPart:
    """Some rows of a table in a file, of which no more is read than is asked for."""

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
        """How many rows there are."""
        rows: int = self._footer.num_rows
        return rows

    @cached_property
    def meta(self) -> dict[str, Any]:
        """What is to be known of the columns."""
        return checked_meta((self._schema.metadata or {}).get(META, b"{}"), str(self.path))

    def read(self, wanted: Callable[[str], bool]) -> pl.DataFrame:
        """The columns whose names are wanted."""
        names = [name for name in self._schema.names if wanted(name)]
        with reading(str(self.path)):
            return pl.read_parquet(self.path, glob=False, columns=names)

    def row(self, number: int) -> TablePart:
        """One row by itself."""
        with reading(str(self.path)):
            frame = pl.scan_parquet(self.path, glob=False).slice(number, 1).collect()
        return TablePart(frame, self.meta)


class Store(Protocol):
    """Tables by name, each a list of parts in the order in which they were added."""

    def add(self, table: str, part: TablePart) -> None: ...

    def parts(self, table: str) -> Iterator[TablePart]: ...

    def pieces(self, table: str) -> Sequence[TablePart | StoredPart]:
        """The parts of a table, read only when asked for, column by column."""
        ...

    def tables(self) -> list[str]: ...


class MemoryStore:
    """Keeps parts as they are."""

    def __init__(self) -> None:
        self._tables: dict[str, list[TablePart]] = {}

    def add(self, table: str, part: TablePart) -> None:
        """Add rows to a table."""
        self._tables.setdefault(table, []).append(part)

    def parts(self, table: str) -> Iterator[TablePart]:
        """The parts of a table."""
        yield from self._tables.get(table, [])

    def pieces(self, table: str) -> Sequence[TablePart | StoredPart]:
        """The parts of a table."""
        return self._tables.get(table, [])

    def tables(self) -> list[str]:
        """The names of the tables that have rows."""
        return list(self._tables)


class NoStore:
    """Keeps nothing, for runs that are only watched."""

    def add(self, table: str, part: TablePart) -> None:
        """Forget it."""

    def parts(self, table: str) -> Iterator[TablePart]:
        """No parts."""
        return iter(())

    def pieces(self, table: str) -> Sequence[TablePart | StoredPart]:
        """No parts."""
        return ()

    def tables(self) -> list[str]:
        """No tables."""
        return []


def _path(folder: object) -> Path:
    if not isinstance(folder, (str, os.PathLike)):
        raise ReplayError(f"a folder is a {type(folder).__name__}", allowed="text or a pathlib.Path")
    return path_of(folder)


class FolderStore:
    """Writes each part to a Parquet file of its own: memory does not grow with the result."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._next: dict[str, int] = {}

    @classmethod
    def create(cls, folder: str | os.PathLike[str]) -> FolderStore:
        """A store in a new or empty folder."""
        path = _path(folder)
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise ReplayError(
                    f"out={str(folder)!r} is not empty", hint="name a new folder, or empty this one"
                )
        except OSError as error:
            raise ReplayError(f"out={str(folder)!r} cannot be written: {error}") from error
        return cls(path)

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> FolderStore:
        """The store that an earlier run wrote."""
        path = _path(folder)
        if not (path / MANIFEST).is_file():
            raise DataError(
                f"{str(folder)!r} holds no result",
                hint="replay(…, out=folder) or result.to_parquet(folder) writes one",
            )
        return cls(path)

    def add(self, table: str, part: TablePart) -> None:
        """Add rows to a table."""
        import pyarrow.parquet as pq

        number = self._next.get(table, 0)
        self._next[table] = number + 1
        folder = self.folder / table
        folder.mkdir(parents=True, exist_ok=True)
        rows = part.frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        rows = rows.replace_schema_metadata({META: json.dumps(part.meta).encode()})
        pq.write_table(rows, folder / f"{number:06}.parquet", compression="zstd", compression_level=1)

    def parts(self, table: str) -> Iterator[TablePart]:
        """The parts of a table, read one after the other."""
        import pyarrow.parquet as pq

        for path in sorted((self.folder / table).glob("*.parquet")):
            with reading(str(path)):
                rows = pq.read_table(path)
                frame = pl.from_arrow(rows)
            meta = checked_meta((rows.schema.metadata or {}).get(META, b"{}"), str(path))
            beat()
            assert isinstance(frame, pl.DataFrame)
            yield TablePart(frame, meta)

    def pieces(self, table: str) -> Sequence[TablePart | StoredPart]:
        """The parts of a table, read only when asked for, column by column."""
        return [StoredPart(path) for path in sorted((self.folder / table).glob("*.parquet"))]

    def tables(self) -> list[str]:
        """The names of the tables that have rows."""
        return sorted({str(p.parent.relative_to(self.folder)) for p in self.folder.rglob("*.parquet")})

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Say what the tables belong to; a folder without it is no result."""
        path = self.folder / MANIFEST
        path.with_suffix(".tmp").write_text(json.dumps(manifest, indent=1, ensure_ascii=False), "utf-8")
        path.with_suffix(".tmp").replace(path)

    def read_manifest(self) -> dict[str, Any]:
        """What the tables belong to."""
        path = self.folder / MANIFEST
        with reading(str(path)):
            content = path.read_bytes()
        return checked_manifest(content, str(path))
