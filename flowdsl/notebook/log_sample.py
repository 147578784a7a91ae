"""Contents of a log and graph that forms offer: kinds, types and counts, and a sample of the events."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from flowdsl.arguments import one_of
from flowdsl.events import EVENT_COLUMNS
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.log import EventSource, open_log
from flowdsl.log.nested_columns import as_json_text
from flowdsl.log.source import LogLike
from flowdsl.progress import Progress, track
from flowdsl.values.json_types import Ints

# usual events of a sample; it grows up to the longest until enough of them match the trigger
USUAL: Final = 5_000
ENOUGH: Final = 500
LONGEST: Final = 50_000
# example values that are read of each variable
LOOKED_AT: Final = 50
_SCANNED: Final = 1 << 17


@dataclass(frozen=True)
class EventSample:
    """First events of a log, as a log of their own; a trigger matches those with the numbers `taken`."""

    source: EventSource
    frame: pl.DataFrame
    events: int
    whole: bool
    taken: Ints

    @functools.cached_property
    def examples(self) -> dict[str, list[Any]]:
        """Values of each initial variable, from some of the events that the trigger matches."""
        some = np.linspace(0, len(self.taken) - 1, min(LOOKED_AT, len(self.taken))).astype(np.int64)
        rows = (
            self.frame[np.searchsorted(self.frame["seq_no"].to_numpy(), self.taken[some])]
            if len(some)
            else self.frame[:0]
        )
        found: dict[str, list[Any]] = {}
        for row in rows.iter_rows(named=True):
            for name, value in _variables(row).items():
                found.setdefault(name, []).append(value)
        return found

    def row(self, seq_no: int) -> dict[str, Any]:
        """Return the row of an event."""
        at = int(self.frame["seq_no"].search_sorted(seq_no))
        return self.frame.row(at, named=True)


class SampledLog:
    """Log and the graph before it, summarized for a designer.

    `kinds` counts the events of each kind and type (link type or entity type) in all of the log.
    """

    def __init__(self, log: LogLike, graph: EntityGraph | None = None, progress: Progress = None) -> None:
        self.source = open_log(log)
        allowed = "an EntityGraph, or None"
        self.graph = None if graph is None else one_of(graph, "graph", EntityGraph, allowed)
        self.kinds: Counter[tuple[str, str | None]] = Counter()
        self._samples: dict[tuple[str, str], EventSample] = {}
        with track(progress, self.source.count(), "scan") as tick:
            for chunk in self.source.chunks(("kind", "link_type", "entity_type"), _SCANNED):
                pairs = chunk.select(
                    pl.col("kind").cast(pl.String), pl.coalesce("link_type", "entity_type").alias("type")
                )
                for kind, type_, count in pairs.group_by("kind", "type").len().iter_rows():
                    self.kinds[kind, type_] += count
                tick(chunk.height)

    @property
    def events(self) -> int:
        """Number of events."""
        return self.kinds.total()

    def types(self, family: str) -> dict[str, int]:
        """Return the types of a family (`link` or `entity`) in log and graph with their event counts, largest
        first.
        """
        counts: Counter[str] = Counter()
        for (kind, type_), count in self.kinds.items():
            if kind.startswith(family) and type_ is not None:
                counts[type_] += count
        known = () if self.graph is None else getattr(self.graph, f"{family}_types")
        counts.update(dict.fromkeys(known, 0))
        return dict(counts.most_common())

    def kinds_taken(self, kind: str, type_: str) -> int:
        """Count the events of the log that a trigger of this kind and type (`""` for any) matches."""
        return sum(n for (k, t), n in self.kinds.items() if k == kind and type_ in ("", t))

    def sample(self, kind: str, type_: str) -> EventSample:
        """Return the sample for a trigger of this kind and type (`""` for any)"""
        if (kind, type_) not in self._samples:
            self._samples[kind, type_] = self._read_sample(kind, type_)
        return self._samples[kind, type_]

    def _read_sample(self, kind: str, type_: str) -> EventSample:
        frames: list[pl.DataFrame] = []
        found, events = 0, 0
        for chunk in self.source.chunks(EVENT_COLUMNS, USUAL):
            frames.append(as_json_text(chunk))
            events += chunk.height
            found += int(_where_triggered(frames[-1], kind, type_).sum())
            if found >= ENOUGH or events >= LONGEST:
                break
        frame = pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()
        mask = _where_triggered(frame, kind, type_)
        taken = frame.filter(mask)["seq_no"].to_numpy() if events else np.zeros(0, np.int64)
        return EventSample(open_log(frame if events else []), frame, events, events >= self.events, taken)


def _variables(row: Mapping[str, Any]) -> dict[str, Any]:
    family = "link" if row["kind"].startswith("link") else "entity"
    ends = ("source_id", "target_id", "metadata") if family == "link" else ("data",)
    found: dict[str, Any] = {name: row.get(name) for name in (f"{family}_type", f"{family}_id", *ends)}
    for name in ("data", "metadata"):
        if found.get(name) is not None:
            found[name] = json.loads(found[name])
    at = f"{row['timestamp']:%Y-%m-%dT%H:%M:%S.%f}Z"
    event = {"id": row.get("event_id"), "kind": row["kind"], "timestamp": at, "seq_no": row["seq_no"]}
    return {name: value for name, value in {**found, "event": event}.items() if value is not None}


def _where_triggered(frame: pl.DataFrame, kind: str, type_: str) -> pl.Series:
    if not frame.height:
        return pl.Series([], dtype=pl.Boolean)
    wanted = pl.col("kind").cast(pl.String) == kind
    if type_:
        wanted &= pl.col(f"{kind.partition('.')[0]}_type") == type_
    return frame.select(wanted.fill_null(value=False).alias("taken")).to_series()
