"""Data of a result: deliveries by sink, failures, drops, counts of every step, late events, open windows."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import polars as pl

from flowdsl.arguments import flag_of, is_text_in, texts_of
from flowdsl.engine.crashes import Stopped
from flowdsl.errors import ReplayError
from flowdsl.frames import to_pandas
from flowdsl.graph.names import EntityNames, names_in
from flowdsl.log.event_ids import beginning_of
from flowdsl.progress import Progress, ProgressReporter, run_in_background, track
from flowdsl.results.derived_tables import DerivedTables
from flowdsl.results.entity_table import ENTITIES, entity_table, stored_names
from flowdsl.results.manifest import check_sums, manifest_of, record_open
from flowdsl.results.manifest_schema import DeliverRow, Manifest
from flowdsl.results.store import FolderStore, Store
from flowdsl.results.table_writer import TableRecorder
from flowdsl.results.tables import all_deliveries, known_columns, sink_table
from flowdsl.text import short_repr

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from flowdsl.engine.state import State
    from flowdsl.flow.plan import Plan
    from flowdsl.results.engine import RunTotals
    from flowdsl.results.options import Options

# the share of the progress bar for making the parts of a table
_PARTS: Final = 0.7


@dataclass
class ResultData:
    """The tables of deliveries and of all other outcomes of a replay, with its manifest and state.

    `flowdsl.Result` adds explanations, pictures and reports.
    """

    store: Store
    manifest: Manifest
    state: State | None = None
    options: Options | None = None
    recorder: TableRecorder | None = None
    _cache: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def sinks(self) -> tuple[str, ...]:
        """Names of the sinks, in the order of the flows."""
        return tuple(dict.fromkeys(sink for step in self._steps for sink in step["sinks"]))

    @property
    def flows(self) -> tuple[str, ...]:
        """Names of the flows, in order."""
        return tuple(self.manifest["flows"])

    def __getitem__(self, sink: str) -> pd.DataFrame:
        """Return what one sink received, one row per delivery, in the order of delivery."""
        return self._make_once(f"sink {sink}", lambda: self.to_pandas(sink))

    def to_polars(
        self, sink: str | None = None, columns: Sequence[str] | None = None, *, table: str = "deliveries"
    ) -> pl.DataFrame:
        """Return deliveries, or another table, as a Polars frame.

        Parameters
        ----------
        sink
            The name of a sink; None for all sinks.
        columns
            The columns; all by default. Only these are read.
        table
            Another table: `"errors"`, `"dropped"`, `"steps"`, `"refused"`, `"undelivered"`, `"late"`,
            `"ahead"`, `"unmatched"` or `"open"`.

        Returns
        -------
        polars.DataFrame
            The table.

        Raises
        ------
        ReplayError
            If there is no such sink, column or table.

        Examples
        --------
        >>> from flowdsl import on, replay
        >>> replay(on("link.created").map(title="hello").deliver("in-app"), []).to_polars("in-app").height
        0
        """
        with self._following(sink, table) as tick:
            return self._make(sink, columns, table, tick)

    def to_arrow(
        self, sink: str | None = None, columns: Sequence[str] | None = None, *, table: str = "deliveries"
    ) -> pa.Table:
        """Return deliveries, or another table, as an Arrow table, without a copy.

        Parameters
        ----------
        sink, columns, table
            As in `to_polars`.

        Returns
        -------
        pyarrow.Table
            The table.

        Examples
        --------
        >>> from flowdsl import on, replay
        >>> replay(on("link.created").map(title="hello").deliver("in-app"), []).to_arrow("in-app").num_rows
        0
        """
        with self._following(sink, table) as tick:
            return run_in_background(self._make(sink, columns, table, tick).to_arrow)

    def to_pandas(
        self, sink: str | None = None, columns: Sequence[str] | None = None, *, table: str = "deliveries"
    ) -> pd.DataFrame:
        """Return deliveries, or another table, as a pandas frame with Arrow types, without a copy.

        Parameters
        ----------
        sink, columns, table
            As in `to_polars`.

        Returns
        -------
        pandas.DataFrame
            The table. Changing it does not change the result.

        Examples
        --------
        >>> from flowdsl import on, replay
        >>> len(replay(on("link.created").map(title="hello").deliver("in-app"), []).to_pandas(table="errors"))
        0
        """
        with self._following(sink, table) as tick:
            frame = self._make(sink, columns, table, tick)
            return run_in_background(lambda: to_pandas(frame))

    def polars(self, sink: str | None = None, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return deliveries as a Polars frame; short for `to_polars`.

        Parameters
        ----------
        sink, columns
            As in `to_polars`.

        Returns
        -------
        polars.DataFrame
            The deliveries.

        Examples
        --------
        >>> from flowdsl import on, replay
        >>> replay(on("link.created").map(title="hello").deliver("in-app"), []).polars("in-app").height
        0
        """
        return self.to_polars(sink, columns)

    def arrow(self, sink: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Return deliveries as an Arrow table; short for `to_arrow`.

        Parameters
        ----------
        sink, columns
            As in `to_polars`.

        Returns
        -------
        pyarrow.Table
            The deliveries.

        Examples
        --------
        >>> from flowdsl import on, replay
        >>> replay(on("link.created").map(title="hello").deliver("in-app"), []).arrow().num_rows
        0
        """
        return self.to_arrow(sink, columns)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """All deliveries as an Arrow stream: DuckDB, Polars, pyarrow and pandas take a result as it is."""
        return self.polars().__arrow_c_stream__(requested_schema)

    @property
    def deliveries(self) -> pd.DataFrame:
        """Deliveries to all sinks: when and to whom, `sink`, `payload` as JSON text, and where they come
        from.
        """
        return self._read_cached("deliveries")

    def __len__(self) -> int:
        """Return how many deliveries there are."""
        return sum(d["count"] for d in self.manifest["delivered"])

    @property
    def errors(self) -> pd.DataFrame:
        """Failed contexts: their whole event, then `flow, step, operator, branch, error, variables`."""
        return self._read_cached("errors")

    @property
    def dropped(self) -> pd.DataFrame:
        """Numbers of dropped contexts by `flow, step, operator, reason`; with `trace=True` every one of
        them.
        """
        return self._read_cached("dropped")

    @property
    def steps(self) -> pd.DataFrame:
        """Return the outcomes of the contexts that entered each step, and the time it took in seconds."""
        return self._read_cached("steps")

    @property
    def refused(self) -> pd.DataFrame:
        """Numbers of deliveries that preferences of recipients, or caps of sinks, held back, by `flow, step,
        sink, reason`: `preference` or `capped`.

        A context that no sink accepts and no later step delivers is in `dropped` as well.
        """
        return self._read_cached("refused")

    @property
    def undelivered(self) -> pd.DataFrame:
        """Deliveries that failed in a replay with `dispatch=True`, with `key, error, attempts, permanent`."""
        return self._read_cached("undelivered")

    @property
    def late(self) -> pd.DataFrame:
        """Events older than the log clock when they were processed, with the clock and how late they were."""
        return self._read_cached("late")

    @property
    def ahead(self) -> pd.DataFrame:
        """Events dated so far in the future that they did not move the log clock, with the clock and how far
        ahead they are.
        """
        return self._read_cached("ahead")

    @property
    def unmatched(self) -> pd.DataFrame:
        """Deletions of links and entities that did not exist: number, id, time and kind of the event, and its
        ids.
        """
        return self._read_cached("unmatched")

    @property
    def open(self) -> pd.DataFrame:
        """Windows and queues left open at the end (`open_windows="keep"`), in the order of the steps."""
        return self._read_cached("open")

    @property
    def stopped(self) -> Stopped | None:
        """Return where production would stop for good: `seq_no`, `flow`, `step` and `reason`; None if it
        does not.

        No later event was processed, by any flow. Of that event, earlier flows and earlier branches were
        processed.
        """
        stopped = self.manifest.get("stopped")
        return None if stopped is None else Stopped(**stopped)

    def to_parquet(
        self, folder: str | os.PathLike[str], *, overwrite: bool = False, progress: Progress = None
    ) -> None:
        """Write the result to a folder, from which `read_result` reads it.

        Parameters
        ----------
        folder
            The folder; it must be new or empty.
        overwrite
            True to replace the result that an earlier call wrote there, once all of this one is written.
        progress
            As in `replay`; counts rows.

        Raises
        ------
        ReplayError
            If the folder is not empty, or holds anything but a result where one is to be replaced, or cannot
            be written.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> from flowdsl import on, read_result, replay
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     replay(on("link.created").map(title="hello").deliver("in-app"), []).to_parquet(
        ...         pathlib.Path(folder) / "result"
        ...     )
        ...     read_result(pathlib.Path(folder) / "result").sinks
        ('in-app',)
        """
        hint = "name a new folder, or replace an earlier result with overwrite=True"
        replaced = flag_of(overwrite, "overwrite", error=ReplayError)
        opened = FolderStore.replacing(folder) if replaced else nullcontext(FolderStore.create(folder, hint))
        try:
            with opened as target:
                self._write(target, progress)
        except OSError as error:
            raise ReplayError(f"the folder {str(folder)!r} cannot be written: {error}") from error

    def _write(self, target: FolderStore, progress: Progress) -> None:
        self._settle(progress)
        tables = {table: sum(part.rows for part in self.store.parts(table)) for table in self.store.tables()}
        with track(progress, sum(tables.values()), "write", "rows") as follower:
            for table in tables:
                for part in self.store.parts(table):
                    target.add(table, part.whole())
                    follower(part.rows)
        if self.state is not None and ENTITIES not in tables:
            _add_entities(target, self.store, self.manifest, self.state)
        target.write_manifest(_as_stored(self.manifest, self.options))

    def entity_names(self, ids: Collection[str]) -> EntityNames:
        """Return the names and types of ids that are entities of the graph at the end of the replay; others
        are left out.

        Parameters
        ----------
        ids
            The ids.

        Returns
        -------
        EntityNames
            `names` and `types`, each by id.

        Examples
        --------
        >>> from flowdsl import EntityGraph, on, replay
        >>> graph = EntityGraph({"user": {"u1": {"name": "Ann"}}})
        >>> flow = on("link.created").map(title="hello").deliver("in-app")
        >>> replay(flow, [], graph).entity_names(["u1", "u2"]).names
        {'u1': 'Ann'}
        """
        ids = texts_of(ids, "ids", error=ReplayError)
        return stored_names(self.store, ids) if self.state is None else names_in(self.state.graph, ids)

    def __repr__(self) -> str:
        from flowdsl.results.summary import summary

        return summary(self.manifest)

    @property
    def _steps(self) -> list[DeliverRow]:
        return self.manifest["delivers"]

    def _settle(self, progress: Progress = None) -> None:
        """Write the rows of failures that are only kept as contexts; this reads their events again."""
        if self.recorder is None or not self.recorder.pending:
            return
        with track(progress, self.recorder.source.count(), "read failures") as follower:
            self.recorder.settle(follower)

    def _following(self, sink: str | None, table: str) -> AbstractContextManager[ProgressReporter]:
        """Report the progress of making a table."""
        rows = None
        self._check_names(sink, table)
        if table == "deliveries":
            rows = sum(d["count"] for d in self.manifest["delivered"] if sink is None or sink == d["sink"])
        elif table == "errors":
            rows = sum(step["failed"] for step in self.manifest["steps"])
        return track(None, rows, table, "rows")

    def _make(
        self, sink: str | None, columns: Sequence[str] | None, table: str, follower: ProgressReporter
    ) -> pl.DataFrame:
        # the rest of the work is joining and sorting the parts
        tick = follower.part(_PARTS)
        if table != "deliveries":
            frame = self._table(table, follower)
        elif sink is None:
            frame = all_deliveries(self.store, self.flows, self._steps, tick=tick)
        else:
            return sink_table(self.store, self.flows, sink, self._steps, columns, tick)
        return frame if columns is None else frame.select(known_columns(frame, columns, table))

    def _check_names(self, sink: object, table: object) -> None:
        """Raise an error for a table or sink that does not exist."""
        known = ("deliveries", *DerivedTables(self.store, self.manifest).makers)
        if not is_text_in(table, known):
            raise ReplayError.unknown(f"a result has no table {short_repr(table, 200)}", table, known)
        if sink is not None and not is_text_in(sink, self.sinks):
            raise ReplayError.unknown(f"no flow delivers to {short_repr(sink, 200)}", sink, self.sinks)
        if sink is not None and table != "deliveries":
            raise ReplayError(f"the table {table!r} is not kept by sink", hint=f"leave out {sink!r}")

    def _table(self, name: str, follower: ProgressReporter) -> pl.DataFrame:
        if name == "errors":
            share = (follower.total or 0) / max(self.manifest["events"], 1)
            self._settle(follower.part(_PARTS * share).advance_to)
        return run_in_background(DerivedTables(self.store, self.manifest).makers[name])

    def _read_cached(self, name: str) -> pd.DataFrame:
        return self._make_once(name, lambda: self.to_pandas(table=name))

    def _make_once(self, name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Return a copy of a frame that is made only once, so that callers may change it; copies share the
        Arrow columns.
        """
        if name not in self._cache:
            self._cache[name] = make()
        return self._cache[name].copy()


def _as_stored(manifest: Manifest, options: Options | None) -> Manifest:
    """Return the manifest to store: for a log without an identity, with digests of its first events."""
    if options is None or manifest["log"] is not None:
        return manifest
    return {**manifest, "beginning": beginning_of(options.source)}


def _add_entities(target: FolderStore, store: Store, manifest: Manifest, state: State) -> None:
    """Write the table of mentioned entities, as a folder has no graph."""
    part = entity_table(store, manifest["delivers"], state.graph)
    if part is not None:
        target.add(ENTITIES, part)


def finish_result(
    plan: Plan, options: Options, store: Store, totals: RunTotals, *, trace: bool
) -> ResultData:
    """Build the result of a finished run; in a folder, also write its manifest."""
    log = getattr(options.source, "identity", None)
    manifest = manifest_of(plan, totals, trace=trace, log=log)
    record_open(plan, store, totals.steps)
    options = replace(options, stopped=totals.stopped)
    result = ResultData(store, manifest, totals.state, options, totals.recorder)
    if isinstance(store, FolderStore):
        if totals.state is not None:
            _add_entities(store, store, manifest, totals.state)
        store.write_manifest(_as_stored(manifest, options))
    check_sums(manifest)
    return result
