"""Event logs: in memory, durable in a folder of Parquet files, or any table of events read in place.

Modules here read, check, order and store events. They know nothing of flows.
"""

from __future__ import annotations

from flowdsl.log.importer import Converted, convert, read_events
from flowdsl.log.inputs import open_log
from flowdsl.log.memory import MemoryEventLog
from flowdsl.log.origins import literal
from flowdsl.log.parquet import ParquetEventLog
from flowdsl.log.position import Position
from flowdsl.log.source import EventSource

__all__ = [
    "Converted",
    "EventSource",
    "MemoryEventLog",
    "ParquetEventLog",
    "Position",
    "convert",
    "literal",
    "open_log",
    "read_events",
]
