"""The tables of failed and dropped contexts, with their whole events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from flowdsl.events import EVENT_COLUMNS
from flowdsl.log import EventSource
from flowdsl.recorder import MOMENT
from flowdsl.store import FolderStore, Part, Store

OWN = ("flow", "step", "operator", "branch", "error", "variables")
TRACE_SCHEMA = {
    "seq_no": pl.Int64,
    "branch": pl.String,
    "flow": pl.String,
    "step": pl.Int32,
    "operator": pl.String,
    "reason": pl.String,
}
CHUNK = 1 << 17


def error_table(store: Store, names: Sequence[str], source: EventSource | None) -> pl.DataFrame:
    """All failures by (seq_no, flow, step, branch): the columns of the event table, then what failed and why."""
    frames = []
    for part in store.parts("errors"):
        for flow in part.meta["flows"]:
            frames.append(
                part.frame.with_columns(
                    pl.lit(names[flow]).alias("flow"),
                    pl.lit(flow).alias("__flow"),
                    pl.lit(part.meta["step"], pl.Int32).alias("step"),
                    pl.lit(part.meta["operator"]).alias("operator"),
                )
            )
    if not frames:
        return pl.DataFrame(schema={**_event_schema(), **dict.fromkeys(OWN, pl.String), "step": pl.Int32})
    joined = pl.concat(frames, how="diagonal_relaxed")
    if source is not None:
        joined = _completed(joined, source)
    absent = [pl.lit(None, dtype).alias(n) for n, dtype in _event_schema().items() if n not in joined.columns]
    joined = joined.with_columns(absent)
    ordered = joined.sort("seq_no", "__flow", "step", maintain_order=True)
    return ordered.select([*EVENT_COLUMNS, *OWN])


def dropped_table(store: Store, names: Sequence[str]) -> pl.DataFrame:
    """Every dropped context of a traced run, by (seq_no, flow, step)."""
    frames = [
        part.frame.with_columns(
            pl.lit(names[flow]).alias("flow"),
            pl.lit(flow).alias("__flow"),
            pl.lit(part.meta["step"], pl.Int32).alias("step"),
            pl.lit(part.meta["operator"]).alias("operator"),
            pl.lit(part.meta["reason"]).alias("reason"),
        )
        for part in store.parts("dropped")
        for flow in part.meta["flows"]
    ]
    if not frames:
        return pl.DataFrame(schema=TRACE_SCHEMA)
    return (
        pl.concat(frames, how="diagonal_relaxed")
        .sort("seq_no", "__flow", "step", maintain_order=True)
        .select(list(TRACE_SCHEMA))
    )


def complete_errors(store: FolderStore, source: EventSource) -> None:
    """Give the failures in a folder the columns of their events that the run had no need to read."""
    parts = list(store.parts("errors"))
    wanted = [c for c in EVENT_COLUMNS if parts and c not in parts[0].frame.columns]
    if not wanted:
        return
    seqs = np.unique(np.concatenate([p.frame["seq_no"].to_numpy() for p in parts]))
    events = pl.concat(list(_events(seqs, source, wanted)), how="diagonal_relaxed")
    store.replace(
        "errors",
        [Part(p.frame.join(events, on="seq_no", how="left", maintain_order="left"), p.meta) for p in parts],
    )


def _completed(frame: pl.DataFrame, source: EventSource) -> pl.DataFrame:
    wanted = [c for c in EVENT_COLUMNS if c not in frame.columns]
    if not wanted:
        return frame
    seqs = np.unique(frame["seq_no"].to_numpy())
    events = pl.concat(list(_events(seqs, source, wanted)), how="diagonal_relaxed")
    return frame.join(events, on="seq_no", how="left", maintain_order="left")


def _events(
    seqs: np.ndarray[tuple[int], np.dtype[np.int64]], source: EventSource, columns: Sequence[str]
) -> Iterator[pl.DataFrame]:
    for chunk in source.chunks(columns, CHUNK, int(seqs[0]) - 1):
        found = chunk.filter(pl.Series(np.isin(chunk["seq_no"].to_numpy(), seqs)))
        yield found.select(["seq_no", *(c for c in columns if c in found.columns)])
        if int(chunk["seq_no"][-1]) >= int(seqs[-1]):
            return


def _event_schema() -> dict[str, Any]:
    schema: dict[str, Any] = dict.fromkeys(EVENT_COLUMNS, pl.String)
    return {**schema, "seq_no": pl.Int64, "timestamp": MOMENT}
