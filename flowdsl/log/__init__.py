"""Event logs: in memory, durable in a folder of Parquet, or any table of events read in place.

`open_log` turns what a user hands over into an `EventSource`, the one thing the engine reads.
"""

from __future__ import annotations

from flowdsl.log.memory import MemoryEventLog
from flowdsl.log.parquet import ParquetEventLog
from flowdsl.log.position import Position
from flowdsl.log.source import EventSource, open_log

__all__ = ["EventSource", "MemoryEventLog", "ParquetEventLog", "Position", "open_log"]
