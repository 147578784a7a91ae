"""What stands in the files of a log."""

from __future__ import annotations

import warnings
from pathlib import Path

from flowdsl.errors import FlowWarning
from flowdsl.log import ParquetEventLog


def read(folder: Path) -> dict[int, str]:
    """The number and id of each event."""
    with ParquetEventLog(folder) as log:
        return {row["seq_no"]: row["entity_id"] for batch in log.read() for row in batch.to_pylist()}


def read_quietly(folder: Path) -> dict[int, str]:
    """The same, without what it warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FlowWarning)
        return read(folder)
