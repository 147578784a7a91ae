"""A graph from a folder: `entities/<type>.parquet`, `.csv` or `.jsonl`, and `links` of the same formats."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from flowdsl.calls import answered
from flowdsl.errors import DataError
from flowdsl.frames import to_polars
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.log.csv_reader import csv_blocks
from flowdsl.log.errors import reading
from flowdsl.log.problems import RowProblems
from flowdsl.log.text_readers import json_blocks, with_objects
from flowdsl.paths import path_of
from flowdsl.pluralize import count_text
from flowdsl.progress import Progress, Tick, run_in_background, track

FORMATS: Final = (".parquet", ".csv", ".jsonl")
# share of the work spent on reading the files
_READING: Final = 0.3
# types that all readers read alike
_SIMPLE: Final = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
)
# links that are read at once
_AT_ONCE: Final = 1 << 16


@answered
def read_graph(
    folder: str | os.PathLike[str], *, merge: Iterable[str] = (), progress: Progress = None
) -> EntityGraph:
    r"""Read a graph from a folder.

    `entities/user.parquet` (or `.csv`, `.jsonl`) has the entities of type `user` with their `id`;
    `links.parquet` (or `.csv`, `.jsonl`) has `link_type, source_id, target_id` and optionally `link_id`
    and `metadata`. Ids in CSV are read as text.

    Parameters
    ----------
    folder
        The folder.
    merge
        As of `EntityGraph`: the entity types whose updates change only the fields that they have.
    progress
        As in `replay`; counts entities and links.

    Returns
    -------
    EntityGraph
        The entities and links before the first event.

    Raises
    ------
    DataError
        If the folder has neither, or a file or one of its rows cannot be read.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (pathlib.Path(folder) / "entities").mkdir()
    ...     _ = (pathlib.Path(folder) / "entities" / "user.csv").write_text("id,name\n1,Ada\n")
    ...     read_graph(folder)
    EntityGraph(entities={'user': 1}, links={})
    """
    path = path_of(folder)
    if not path.is_dir():
        raise DataError(
            f"there is no folder {str(folder)!r}", hint="a graph is a folder with entities/ and links.parquet"
        )
    files = _entity_files(path / "entities")
    links = [path / f"links{suffix}" for suffix in FORMATS if (path / f"links{suffix}").exists()]
    if not files and not links:
        raise DataError(
            f"the folder {str(folder)!r} holds no graph",
            allowed="entities/<type>.parquet|csv|jsonl, links.parquet|csv|jsonl",
        )
    if len(links) > 1:
        raise DataError("there are links in two files", place=str(links[1]))
    with track(progress, _rows_of([*files, *links]), "graph", "rows") as follower:
        read, made = follower.part(_READING), follower.part(1 - _READING)
        entities = {file.stem: _read(file, read) for file in files}
        # the number of rows of a text file is known only now
        linked, rows = _links(links[0], read) if links else (None, 0)
        follower.total = read.done + rows
        return EntityGraph(entities, linked, merge=merge, progress=made.advance_to)


def _entity_files(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.suffix in FORMATS) if folder.is_dir() else []
    for before, file in pairwise(files):
        if file.stem == before.stem:
            raise DataError(f"there are entities {file.stem!r} in two files", place=str(file))
    return files


def _rows_of(paths: list[Path]) -> int | None:
    """Return the total number of rows of files; None if some of them do not store it."""
    if any(path.suffix != ".parquet" for path in paths):
        return None
    try:
        return sum(int(pq.read_metadata(path).num_rows) for path in paths)
    except (pa.ArrowException, OSError):
        # reading it raises the error
        return None


def _links(path: Path, tick: Tick) -> tuple[Any, int]:
    """Return the links of a file, and how many rows are still to be read: those of Parquet are, some at a
    time.
    """
    if path.suffix != ".parquet":
        return _read(path, tick), 0
    with reading(str(path), None, "it cannot be read"):
        # a buffer would end up with the whole file in memory
        file = pq.ParquetFile(path, pre_buffer=False)
        return pa.RecordBatchReader.from_batches(
            file.schema_arrow, _batches(file, path, tick)
        ), file.metadata.num_rows


def _batches(file: pq.ParquetFile, path: Path, tick: Tick) -> Iterator[pa.RecordBatch]:
    with reading(str(path), None, "it cannot be read"):
        for batch in file.iter_batches(_AT_ONCE):
            tick(batch.num_rows)
            yield batch


def _read(path: Path, tick: Tick) -> pl.DataFrame:
    frame = run_in_background(lambda: _frame(path))
    tick(frame.height)
    return frame


def _frame(path: Path) -> pl.DataFrame:
    with reading(str(path), None, "it cannot be read"):
        if path.suffix == ".parquet":
            return _parquet(path)
        if path.suffix == ".jsonl":
            return _jsonl(path)
        return _csv(path)


def _parquet(path: Path) -> pl.DataFrame:
    if all(any(holds(field.type) for holds in _SIMPLE) for field in pq.read_schema(path)):
        # in less than half the time and memory
        return pl.read_parquet(path, hive_partitioning=False, glob=False)
    return to_polars(pq.read_table(path), path.name)


def _csv(path: Path) -> pl.DataFrame:
    problems = RowProblems()
    texts = pl.concat([to_polars(block.content, path.name) for block in csv_blocks(path, problems)])
    _refuse(problems)
    # 007 is an id, not a number
    ids = [name for name in texts.columns if name == "id" or name.endswith("_id")]
    return pl.read_csv(
        texts.write_csv().encode(), infer_schema_length=None, schema_overrides=dict.fromkeys(ids, pl.String)
    )


def _jsonl(path: Path) -> pl.DataFrame:
    try:
        return pl.read_ndjson(path, infer_schema_length=None)
    except pl.exceptions.PolarsError:
        # it does not say the line
        problems = RowProblems()
        for block in json_blocks(path, problems):
            with_objects(block, None, problems)
        _refuse(problems)
        raise


def _refuse(problems: RowProblems) -> None:
    """Refuse a file with unreadable rows: a graph without them would give wrong answers."""
    if count := problems.counts["broken"]:
        first = problems.frame().iloc[0]
        others = f" ({count_text(count - 1, 'other row')} cannot be read either)" if count > 1 else ""
        raise DataError(
            f"{first.reason}{others}",
            place=f"{first.place}:{first.row}",
            hint="mend it: a graph is read whole",
        )
