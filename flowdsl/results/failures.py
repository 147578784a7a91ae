"""Tables of failed and dropped contexts, with their whole events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from flowdsl.events import EVENT_COLUMNS
from flowdsl.log.event_rows import EventRows
from flowdsl.results.store import Store, TablePart
from flowdsl.results.table_writer import VARIABLE
from flowdsl.sinks.frame import MOMENT
from flowdsl.values.interner import Interner
from flowdsl.values.json_texts import joined_json

OWN = ("flow", "step", "operator", "branch", "error", "variables")
TRACE_SCHEMA = {
    "seq_no": pl.Int64,
    "branch": pl.String,
    "flow": pl.String,
    "step": pl.Int32,
    "operator": pl.String,
    "reason": pl.String,
}


def error_table(store: Store, names: Sequence[str]) -> pl.DataFrame:
    """Return all failures by (seq_no, flow, step, branch): the columns of the event table, then the
    failure.
    """
    frames = list(_iter_rows(store, "errors", names))
    if not frames:
        return pl.DataFrame(schema={**_event_schema(), **dict.fromkeys(OWN, pl.String), "step": pl.Int32})
    joined = pl.concat(frames, how="diagonal_relaxed")
    absent = [pl.lit(None, dtype).alias(n) for n, dtype in _event_schema().items() if n not in joined.columns]
    joined = joined.with_columns(absent)
    ordered = joined.sort("seq_no", "__flow", "step", _positions(), maintain_order=True)
    return ordered.select([*EVENT_COLUMNS, *OWN])


def dropped_table(store: Store, names: Sequence[str]) -> pl.DataFrame:
    """Return every dropped context of a traced run, by (seq_no, flow, step, branch)."""
    frames = list(_iter_rows(store, "dropped", names))
    if not frames:
        return pl.DataFrame(schema=TRACE_SCHEMA)
    return (
        pl.concat(frames, how="diagonal_relaxed")
        .sort("seq_no", "__flow", "step", _positions(), maintain_order=True)
        .select(list(TRACE_SCHEMA))
    )


def spell_out(part: TablePart) -> pl.DataFrame:
    """Return failures with the variables of each as one JSON object, without missing ones."""
    if "variables" not in part.meta:
        # earlier versions of flowdsl wrote this form
        return part.frame
    frame, events = part.frame, EventRows(part.frame, Interner())
    texts = {}
    for name in part.meta["variables"]:
        column = VARIABLE.format(name)
        texts[name] = frame[column] if column in frame.columns else events.column((name,)).to_json()
    variables = joined_json(part.rows, texts).alias("variables")
    return frame.drop(map(VARIABLE.format, texts), strict=False).with_columns(variables)


def _iter_rows(store: Store, table: str, names: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield the parts of a table with the columns of their step, once for each flow that has the step."""
    for part in (stored.whole() for stored in store.parts(table)):
        reason = [pl.lit(part.meta["reason"]).alias("reason")] if "reason" in part.meta else []
        frame = spell_out(part) if table == "errors" else part.frame
        for flow in part.meta["flows"]:
            yield frame.with_columns(
                pl.lit(names[flow]).alias("flow"),
                pl.lit(flow).alias("__flow"),
                pl.lit(part.meta["step"], pl.Int32).alias("step"),
                pl.lit(part.meta["operator"]).alias("operator"),
                *reason,
            )


def _positions() -> pl.Expr:
    """Return an expression to sort branches: 10 after 2, a branch after its parent, null first."""
    padded = pl.col("branch").str.split(".").list.eval(pl.element().str.zfill(10)).list.join(".")
    return padded.fill_null("")


def _event_schema() -> dict[str, Any]:
    schema: dict[str, Any] = dict.fromkeys(EVENT_COLUMNS, pl.String)
    return {**schema, "seq_no": pl.Int64, "timestamp": MOMENT}
