"""Event logs as Markdown tables, so that a test shows what happened."""

from __future__ import annotations

import json
from typing import Any

import flowdsl as fd

EVENT = {
    "link.created": ("link", "created"),
    "link.deleted": ("link", "deleted"),
    "entity.created": ("entity", "created"),
    "entity.updated": ("entity", "updated"),
    "entity.deleted": ("entity", "deleted"),
}


def log_of(table: str) -> fd.MemoryEventLog:
    """The log that a table describes: `at` is a time of 2026-01-01, `data` and `metadata` are JSON, empty cells are absent."""
    log = fd.MemoryEventLog()
    for row in rows_of(table):
        at, kind = row.pop("at"), row.pop("kind")
        family, action = EVENT[kind]
        event: dict[str, Any] = {"kind": family, "action": action}
        event |= {
            name: json.loads(cell) if name in ("data", "metadata") else cell for name, cell in row.items()
        }
        log.append(event, timestamp=moment(at))
    return log


def rows_of(table: str) -> list[dict[str, str]]:
    """The rows of a table, without the empty cells."""
    lines = [line.strip().strip("|") for line in table.strip().splitlines()]
    names = [cell.strip() for cell in lines[0].split("|")]
    rows = [[cell.strip() for cell in line.split("|")] for line in lines[1:] if set(line) - set("-| ")]
    return [{name: cell for name, cell in zip(names, cells, strict=True) if cell} for cells in rows]


def moment(time: str) -> str:
    """A time of 2026-01-01 as RFC 3339 text."""
    return f"2026-01-01T{time if time.count(':') == 2 else time + ':00'}Z"


def times(frame: Any, column: str = "delivered_at") -> list[str]:
    """A column of moments as times of day."""
    return [at.strftime("%H:%M:%S") for at in frame[column]]
