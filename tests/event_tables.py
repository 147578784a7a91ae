"""Event logs written as small tables, and what came of them read as small tuples."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import flowdsl as fd

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DEFAULTS = {"kind": "link.created", "type": "likes", "source": "ann", "target": "p1"}
SECOND = dt.timedelta(seconds=1)


def log_of(table: str) -> list[dict[str, Any]]:
    """The events of a Markdown table, numbered from 1 in the order of its rows.

    Columns are `at` (seconds), `kind`, `type`, `source`, `target`, `id` (the entity's, or the link's) and `data`
    (JSON: an entity's data, or a link's metadata). A column that is absent says that ann likes p1; `-` says nothing.
    """
    lines = [line.strip().strip("|") for line in table.strip().splitlines()]
    rows = [[cell.strip() for cell in line.split("|")] for line in lines if set(line) - set("|- ")]
    header, *body = rows
    return [_envelope(number, dict(zip(header, row, strict=True))) for number, row in enumerate(body, 1)]


def moment(seconds: float) -> dt.datetime:
    """So many seconds after the beginning of 2026."""
    return START + seconds * SECOND


def seconds(column: Any) -> list[float]:
    """Moments as seconds after the beginning of 2026."""
    return [(value - START) / SECOND for value in column.tolist()]


def sent(result: fd.Result, *fields: str, sink: str = "s") -> list[Any]:
    """What a sink received: (seconds, field, …) for each delivery, or bare seconds without fields."""
    frame = result[sink]
    at = seconds(frame["delivered_at"])
    columns = [[plain(value) for value in frame[field].tolist()] for field in fields]
    return list(zip(at, *columns, strict=True)) if fields else at


def plain(value: Any) -> Any:
    """A cell in Python, `None` for what pandas has no value for."""
    import pandas as pd

    return None if value is pd.NA or value is pd.NaT else value


def failures(result: fd.Result) -> list[tuple[int, int, str]]:
    """The failures as (seq_no, step, error)."""
    return list(result.errors[["seq_no", "step", "error"]].itertuples(index=False, name=None))


def drops(result: fd.Result) -> dict[str, int]:
    """How many contexts were dropped for each reason."""
    return dict(result.dropped.groupby("reason")["count"].sum())


def counts(result: fd.Result, step: int) -> dict[str, int]:
    """What became of the contexts that entered a step, zeros left out."""
    row = result.steps[result.steps["step"] == step].iloc[0]
    names = ["held_before", "entered", "extra_branches", "passed", "dropped", "failed", "absorbed", "held"]
    return {name: int(row[name]) for name in names if row[name]}


def _envelope(number: int, cells: dict[str, str]) -> dict[str, Any]:
    cells = {**DEFAULTS, **{name: cell for name, cell in cells.items() if cell}}
    given = {name: cell for name, cell in cells.items() if cell != "-"}
    family, action = given["kind"].split(".")
    event: dict[str, Any] = {"kind": family, "action": action}
    data = json.loads(given["data"]) if "data" in given else None
    if family == "entity":
        event |= {"entity_type": given["type"], "entity_id": given["id"]}
        event |= {} if action == "deleted" else {"data": data}
    else:
        names = {"link_type": "type", "source_id": "source", "target_id": "target", "link_id": "id"}
        event |= {name: given[cell] for name, cell in names.items() if cell in given}
        event |= {} if data is None else {"metadata": data}
    at = moment(float(given["at"])).isoformat()
    return {"id": f"e{number}", "timestamp": at, "seq_no": number, "event": event}
