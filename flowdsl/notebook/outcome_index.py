"""Index of the outcomes of every event at every step of a flow, as columns of sequence numbers."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.engine.trace import Trace
from flowdsl.errors import FlowWarning
from flowdsl.explanation.explain import Explanation, explain
from flowdsl.log.nested_columns import as_json_text
from flowdsl.log.source import LogLike
from flowdsl.notebook.outcome_kinds import (
    OutcomeKind,
    Seqs,
    endings_of,
    entered_events,
    holds,
    keeps_endings,
    sorted_seqs,
)
from flowdsl.progress import Progress, ProgressReporter, Tick, track
from flowdsl.results.options import whole_log
from flowdsl.results.run import run
from flowdsl.results.store import NoStore

if TYPE_CHECKING:
    from flowdsl.engine.state import State
    from flowdsl.flow.spec import FlowSpec
    from flowdsl.graph.names import EntityNames
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.results.result_data import ResultData

# sections of a replay: explaining one event replays one section, and only one state is kept for each
STRETCHES: Final = 8
SHORTEST: Final = 1 << 16
_BATCH: Final = 1 << 17
_NEAR: Final = 1_000
# share of the work spent on reading the kinds of all events
_READING: Final = 0.2
_SEARCHED: Final = ("event_id", "entity_id", "link_id", "source_id", "target_id", "data", "metadata")
_BRIEF: Final = ("kind", "entity_type", "entity_id", "link_type", "source_id", "target_id")


class OutcomeIndex:
    """Replay of a flow over a log, indexed by outcome, that explains any event quickly.

    `endings` has, in the order of the steps, the sequence numbers of the events with each outcome, ascending
    (an event may have several, one for each branch); `entered` has those that the trigger matched.
    """

    def __init__(
        self, flow: FlowSpec, log: LogLike, graph: EntityGraph | None = None, progress: Progress = None
    ) -> None:
        self.flow = flow
        self.options = whole_log(flow, log, graph)
        self._states: list[State] = []
        self._explained = functools.lru_cache(32)(self._explain)
        trace = Trace(keeps_endings)
        with track(progress, self.options.source.count(), "explore") as follower:
            replaying, reading = follower.part(1 - _READING), follower.part(_READING)
            self._result = self._replay(trace, replaying)
            self.entered, self.endings = entered_events(trace), endings_of(trace)
            self.seqs, self._kinds, self.kinds = self._read_kinds(reading)

    def of_kind(self, kind: str | None, type_: str | None) -> Seqs:
        """Return the events of a kind and of a link or entity type; None matches any."""
        if kind is None and type_ is None:
            return self.seqs
        wanted = [
            code
            for code, (own, own_type) in enumerate(self.kinds)
            if kind in (None, own) and type_ in (None, own_type)
        ]
        return self.seqs[np.isin(self._kinds, np.array(wanted, np.int16))]

    def search(self, text: str, among: Seqs, cancelled: Callable[[], bool] = lambda: False) -> Seqs:
        """Return the events whose ids, `data` or `metadata` contain a text, ignoring case."""
        found: list[Seqs] = []
        wanted = text.lower()
        for chunk in self.options.source.chunks(_SEARCHED, _BATCH):
            if cancelled():
                break
            numbers = chunk["seq_no"].to_numpy()
            inside = among[np.searchsorted(among, numbers[0]) : np.searchsorted(among, numbers[-1], "right")]
            if not len(inside):
                continue
            rows = as_json_text(chunk[np.searchsorted(numbers, inside)])
            has = [
                pl.col(name).str.to_lowercase().str.contains(wanted, literal=True).fill_null(value=False)
                for name in _SEARCHED
                if rows.schema.get(name) == pl.String
            ]
            if has:
                found.append(inside[rows.select(pl.any_horizontal(has)).to_series().to_numpy()])
        return sorted_seqs(found)

    def events(self, seqs: Seqs) -> list[dict[str, Any]]:
        """Return the fields of events shown in a list: number, time, kind, type and ids."""
        rows: list[dict[str, Any]] = []
        numbers = seqs.tolist()
        while numbers:
            # read events that lie close together at once
            near = [n for n in numbers if n < numbers[0] + _NEAR]
            chunk = next(iter(self.options.source.chunks(_BRIEF, _NEAR, numbers[0] - 1)))
            found = chunk.filter(pl.col("seq_no").is_in(near))
            rows += found.iter_rows(named=True)
            # sources may return smaller chunks than requested
            numbers = numbers[max(found.height, 1) :]
        return rows

    def names(self, ids: Collection[str]) -> EntityNames:
        """Return the names and types of ids that are entities at the end of the log; others are left out."""
        return self._result.entity_names(ids)

    def endings_of(self, seq_no: int) -> list[OutcomeKind]:
        """Return the outcomes of an event."""
        return [ending for ending, seqs in self.endings.items() if holds(seqs, seq_no)]

    def explain(self, seq_no: int) -> Explanation:
        """Explain one event step by step, replaying from the last state kept before it."""
        return self._explained(seq_no)

    def _replay(self, trace: Trace, follower: ProgressReporter) -> ResultData:
        stretch = max(SHORTEST, (self.options.source.count() or 0) // STRETCHES)
        options, events = self.options, 0
        for stop in self._stops(stretch):
            span = dataclasses.replace(options.span, stop=stop)
            windows = options.open_windows if stop is None else "keep"
            part = dataclasses.replace(options, span=span, open_windows=windows)
            with warnings.catch_warnings():
                if stop is not None:
                    # warn about rows of the log once, at the end
                    warnings.simplefilter("ignore", FlowWarning)
                result = run(part, NoStore(), progress=_from(events, follower), outcomes=trace)
            if stop is None:
                return result
            events += result.manifest["events"]
            if result.state is not None:
                self._states.append(result.state)
                options = dataclasses.replace(options, state=result.state, graph=None)
        raise AssertionError("the last stretch has no end")

    def _stops(self, stretch: int) -> Iterator[int | None]:
        """Return the end of each section: the first event of the next one, or None for the end of the log."""
        met = 0
        for chunk in self.options.source.chunks((), _BATCH):
            for place in range(-met % stretch, chunk.height, stretch):
                if met + place:
                    yield int(chunk["seq_no"][place])
            met += chunk.height
        yield None

    def _explain(self, seq_no: int) -> Explanation:
        before = [state for state in self._states if state.position < seq_no]
        if not before:
            return explain(self.options, seq_no, progress=False)
        options = dataclasses.replace(self.options, state=before[-1], graph=None)
        return explain(options, seq_no, progress=False)

    def _read_kinds(self, tick: Tick) -> tuple[Seqs, npt.NDArray[np.int16], list[tuple[str, str | None]]]:
        """Return each event's number with a code for its kind and type, and the table of codes."""
        codes: dict[tuple[str, str | None], int] = {}
        seqs, kinds = [], []
        for chunk in self.options.source.chunks(("kind", "link_type", "entity_type"), _BATCH):
            pairs = chunk.select(
                pl.col("kind").cast(pl.String), pl.coalesce("link_type", "entity_type").alias("type")
            ).to_struct("pair")
            distinct = pairs.unique(maintain_order=True)
            numbers = [codes.setdefault((p["kind"], p["type"]), len(codes)) for p in distinct.to_list()]
            seqs.append(chunk["seq_no"].to_numpy())
            place = pl.DataFrame({"pair": distinct, "code": pl.Series(numbers, dtype=pl.Int16)})
            found = pl.DataFrame({"pair": pairs}).join(
                place, on="pair", how="left", maintain_order="left", nulls_equal=True
            )
            kinds.append(found["code"].to_numpy())
            tick(chunk.height)
        if not seqs:
            return np.zeros(0, np.int64), np.zeros(0, np.int16), []
        return np.concatenate(seqs), np.concatenate(kinds), list(codes)


def _from(begun: int, follower: ProgressReporter) -> Callable[[int, int | None], None]:
    """Return the progress callback of a replay that continues after some events."""
    # a section reports the rest of the log as done when it ends
    return lambda done, total: follower.advance_to(begun + done) if done != total else None
