"""Rows that a task returns: parts of tables, and its totals."""

from __future__ import annotations

import json
import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from flowdsl.errors import DataError
from flowdsl.results.store import NoStore, TablePart, write_part
from flowdsl.spark.job import Job, PartTotals
from flowdsl.spark.rows import encode_frame

TOTALS: Final = "totals"
"""The table whose rows are the numbers of one task."""


class Outputs(NoStore):
    """Store that turns the parts of tables that a task makes into rows; where there is a folder for them it
    writes each to a file at once.
    """

    def __init__(self, job: Job, stage: int, origin: int, *, ordered: bool = True) -> None:
        self._job, self._stage, self._origin, self._ordered = job, stage, origin, ordered
        self._made = 0
        self._rows: list[pa.RecordBatch] = []

    def add(self, table: str, part: TablePart) -> None:
        """Add rows to a table."""
        meta = dict(part.meta)
        if table.startswith("deliveries/") and not self._ordered:
            meta["unordered"] = True
        # the driver writes the tables of which tasks do not have whole rows, or not in their order
        by_driver = table == "unmatched" or (table == "errors" and not self._job.whole)
        in_file = self._job.folder is not None and not by_driver
        place = self._written(TablePart(part.frame, meta)) if in_file else None
        self._add_row(table, json.dumps(meta), None if in_file else encode_frame(part.frame), place)

    def add_totals(self, totals: PartTotals) -> None:
        """Add the numbers of the task."""
        self._add_row(TOTALS, "", pickle.dumps(totals), None)

    def taken(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows added since the last call."""
        rows, self._rows = self._rows, []
        yield from rows

    def _written(self, part: TablePart) -> str:
        assert self._job.folder is not None
        folder = Path(self._job.folder)
        if not folder.is_dir():
            raise DataError(
                f"the folder {str(folder)!r} is not to be seen from where a task runs",
                hint="out= names a folder that the driver and all executors share",
            )
        path = folder / f"{uuid.uuid4().hex}.parquet"
        write_part(path, part)
        return path.name

    def _add_row(self, name: str, meta: str, content: bytes | None, place: str | None) -> None:
        values: dict[str, Any] = {
            "part": self._origin % max(self._job.shards, 1),
            "stage": self._stage,
            "origin": self._origin,
            "ordinal": self._made,
            "name": name,
            "meta": meta,
            "content": content,
            "place": place,
        }
        self._made += 1
        schema = self._job.schema
        assert schema is not None
        arrays = [pa.array([values.get(one.name)], one.type) for one in schema]
        self._rows.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
