"""Tables of a result besides its deliveries, each built when it is requested."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import polars as pl

from flowdsl.results.dispatch import UNDELIVERED, UNDELIVERED_SCHEMA
from flowdsl.results.failures import dropped_table, error_table
from flowdsl.results.manifest import OPEN_SCHEMA
from flowdsl.results.manifest_schema import Manifest
from flowdsl.results.store import Store
from flowdsl.results.table_writer import ENTITY_COLUMNS, LINK_COLUMNS
from flowdsl.sinks.frame import MOMENT

STEP_SCHEMA: Final[dict[str, Any]] = {
    "flow": pl.String,
    "step": pl.Int64,
    "operator": pl.String,
    "held_before": pl.Int64,
    "entered": pl.Int64,
    "extra_branches": pl.Int64,
    "passed": pl.Int64,
    "dropped": pl.Int64,
    "failed": pl.Int64,
    "absorbed": pl.Int64,
    "held": pl.Int64,
    "seconds": pl.Float64,
}
DROPPED_SCHEMA: Final[dict[str, Any]] = {
    "flow": pl.String,
    "step": pl.Int32,
    "operator": pl.String,
    "reason": pl.String,
    "count": pl.Int64,
}
REFUSED_SCHEMA: Final[dict[str, Any]] = {
    "flow": pl.String,
    "step": pl.Int64,
    "sink": pl.String,
    "reason": pl.String,
    "count": pl.Int64,
}
LATE_SCHEMA: Final[dict[str, Any]] = {
    "seq_no": pl.Int64,
    "event_id": pl.String,
    "timestamp": MOMENT,
    "kind": pl.String,
    "clock": MOMENT,
    "lateness": pl.Duration("us"),
}
AHEAD_SCHEMA: Final[dict[str, Any]] = {
    **{name: dtype for name, dtype in LATE_SCHEMA.items() if name != "lateness"},
    "ahead": pl.Duration("us"),
}
UNMATCHED_SCHEMA: Final[dict[str, Any]] = {
    "seq_no": pl.Int64,
    "event_id": pl.String,
    "event_time": MOMENT,
    "kind": pl.String,
    **dict.fromkeys((*LINK_COLUMNS, *ENTITY_COLUMNS), pl.String),
}


class DerivedTables:
    """Tables of everything that was not delivered, from a run's store and manifest."""

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self._store = store
        self._manifest = manifest
        self._flows: Sequence[str] = tuple(manifest["flows"])
        self.makers: dict[str, Callable[[], pl.DataFrame]] = {
            "errors": lambda: error_table(store, self._flows),
            "dropped": self._dropped_table,
            "steps": self._steps,
            "refused": self._refused_table,
            "undelivered": lambda: self._join(UNDELIVERED, UNDELIVERED_SCHEMA),
            "late": lambda: self._join("late", LATE_SCHEMA),
            "ahead": lambda: self._join("ahead", AHEAD_SCHEMA),
            "unmatched": lambda: self._join("unmatched", UNMATCHED_SCHEMA),
            "open": lambda: self._join("open", OPEN_SCHEMA),
        }

    def _dropped_table(self) -> pl.DataFrame:
        if self._manifest["trace"]:
            return dropped_table(self._store, self._flows)
        return pl.DataFrame(
            [
                (s["flow"], s["step"], s["operator"], reason, count)
                for s in self._manifest["steps"]
                for reason, count in s["reasons"].items()
            ],
            schema=DROPPED_SCHEMA,
            orient="row",
        )

    def _steps(self) -> pl.DataFrame:
        rows = [
            {name: value for name, value in row.items() if name in STEP_SCHEMA}
            for row in self._manifest["steps"]
        ]
        return pl.DataFrame(rows, schema=STEP_SCHEMA)

    def _refused_table(self) -> pl.DataFrame:
        return pl.DataFrame(
            [
                (s["flow"], s["step"], sink, reason, count)
                for s in self._manifest["steps"]
                for reason, counts in (("preference", s["refused"]), ("capped", s["capped"]))
                for sink, count in counts.items()
            ],
            schema=REFUSED_SCHEMA,
            orient="row",
        )

    def _join(self, table: str, schema: Mapping[str, Any]) -> pl.DataFrame:
        frames = [part.whole().frame for part in self._store.parts(table)]
        empty = pl.DataFrame(schema=schema)
        return pl.concat([empty, *frames], how="diagonal_relaxed").select(list(schema)) if frames else empty
