"""Aggregation of the metrics of a report from a result's tables, part by part, on two threads; no flow is
run.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby
from typing import TYPE_CHECKING, Final

import polars as pl

from flowdsl.progress import ProgressReporter, Tick, run_in_background
from flowdsl.reports.distribution import Distribution, Spans
from flowdsl.reports.metrics import (
    DeliveryMetrics,
    Figures,
    LateMetrics,
    OpenMetrics,
    StepMetrics,
    drops_of,
    fan_outs_of,
    refused_of,
)
from flowdsl.reports.payload_samples import Candidates, is_payload, samples_of
from flowdsl.reports.recipients import (
    WORKERS,
    DailyCounts,
    DailyHashes,
    RecipientCounts,
    RecipientMetrics,
    look_up,
    name_people,
)
from flowdsl.reports.timeline import Timeline
from flowdsl.results.dispatch import UNDELIVERED
from flowdsl.results.error_counts import error_causes
from flowdsl.results.manifest_schema import DeliverRow
from flowdsl.results.store import StoredPart, TablePart

if TYPE_CHECKING:
    from flowdsl.results.result_data import ResultData

# deliveries whose recipients are counted in one pass
_PASS: Final = 1 << 25
# deliver steps with samples: those with the most deliveries
_SAMPLED: Final = 100
_FIXED: Final = ("recipient_id", "delivered_at", "event_time")
# the share of the progress bar for counting rows
_COUNTING: Final = 0.8
# rows measured together: all of a table, or those that the recipient preferences of a sink refused
Rows = tuple[str, str | None]
# weight of rows for a sink: refused ones are subtracted again
Weights = Mapping[Rows, int]
_Group = tuple[tuple[Rows, int], ...]
Piece = TablePart | StoredPart
# parts by their number in the table
Numbered = Sequence[tuple[int, Piece]]
_ROWS: Final = 1 << 17


@dataclass
class _StepTotals:
    """The deliveries of one step."""

    name: str
    pieces: Sequence[Piece]
    latency: Spans = field(default_factory=Spans)
    candidates: Candidates = field(default_factory=Candidates)

    @property
    def rows(self) -> int:
        """The number of deliveries."""
        return sum(piece.rows for piece in self.pieces)


@dataclass
class _Measured:
    """The outcome of one pass over rows, part by part."""

    days: list[DailyHashes] = field(default_factory=list)
    timelines: list[Timeline | None] = field(default_factory=list)


def measure(result: ResultData, follower: ProgressReporter | None = None) -> Figures:
    """Return all metrics of a result; `follower` reports the deliveries counted so far."""
    manifest = result.manifest
    counts = Counter(dict.fromkeys(result.sinks, 0))
    for row in manifest["delivered"]:
        counts[row["sink"]] += row["count"]
    tables = {
        s["table"]: _StepTotals(s["table"], result.store.parts(s["table"])) for s in manifest["delivers"]
    }
    sinks = [*result.sinks, None]
    weights = [_weights(manifest["delivers"], sink) for sink in sinks]
    with ThreadPoolExecutor(1, thread_name_prefix="flowdsl-report") as pool:
        causes = pool.submit(error_causes, result.store, result.flows, result.recorder)
        measured = _measure_tables(tables, weights, len(result), follower or ProgressReporter())
    steps = _steps(result, tables)
    names, types = _find_names(result, [recipients for recipients, _ in measured], steps)
    return Figures(
        flows=result.flows,
        events=manifest["events"],
        span=None if manifest["span"] is None else (manifest["span"][0], manifest["span"][1]),
        deliveries=len(result),
        everyone=measured[-1][0],
        sinks=tuple(
            DeliveryMetrics(sink, counts[sink], timeline, recipients)
            for sink, (recipients, timeline) in zip(result.sinks, measured, strict=False)
        ),
        steps=steps,
        fan_outs=fan_outs_of(manifest),
        drops=drops_of(manifest),
        refused=refused_of(manifest),
        failed=sum(s["failed"] for s in manifest["steps"]),
        causes=tuple(causes.result()),
        late=_count_late(result),
        open=_open(result),
        undelivered=_count_undelivered(result),
        names=names,
        types=types,
    )


def _find_names(
    result: ResultData, metrics: Sequence[RecipientMetrics], steps: Sequence[StepMetrics]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the names and the types, by id, of what the report shows: recipients, and ids in payloads."""
    mentioned = {person.recipient for one in metrics for person in one.top}
    for sample in chain.from_iterable(step.samples for step in steps):
        fields = sample.payload.values() if isinstance(sample.payload, dict) else [sample.payload]
        mentioned |= {text for text in (sample.recipient, *fields) if isinstance(text, str)}
    known = result.entity_names(mentioned)
    return {**known.names}, {one: kind for one, kind in known.types.items() if one in known.names}


def _weights(delivers: Sequence[DeliverRow], sink: str | None) -> Weights:
    """Return the weight of each group of rows for a sink, or for all sinks together."""
    weights: dict[Rows, int] = {}
    for step in delivers:
        for name in step["sinks"]:
            if sink is None or name == sink:
                times = len(step["flows"])
                weights[step["table"], None] = weights.get((step["table"], None), 0) + times
                weights[step["table"], name] = weights.get((step["table"], name), 0) - times
    return weights


def _measure_tables(
    tables: Mapping[str, _StepTotals], groups: Sequence[Weights], rows: int, follower: ProgressReporter
) -> list[tuple[RecipientMetrics, Timeline | None]]:
    """Measure all tables, and the recipients and times of each group of rows."""
    passes = max(1, -(-rows // _PASS))
    # a row counts once for each of its sinks and flows
    read = sum(table.rows for table in tables.values())
    tick = follower.part(_COUNTING * rows / max(read * passes, 1))
    first: dict[Rows, _Measured] = {}
    counts: dict[_Group, list[RecipientCounts]] = {}
    for number in range(passes):
        found = _pass(tables, (number, passes), tick)
        first = first or found
        days = {
            key: run_in_background(partial(DailyCounts.count, measured.days))
            for key, measured in found.items()
        }
        for group in {_without_common_factor(weights, days)[0]: None for weights in groups}:
            counts.setdefault(group, []).append(run_in_background(partial(_count_people, group, days)))
    people = _name_people(counts, tables)
    timelines = {key: Timeline.concat(measured.timelines) for key, measured in first.items()}
    reduced = [_without_common_factor(weights, first) for weights in groups]
    return [
        (people[group].times(factor), _weighted_timeline(group, factor, timelines))
        for group, factor in reduced
    ]


def _name_people(
    counts: Mapping[_Group, Sequence[RecipientCounts]], tables: Mapping[str, _StepTotals]
) -> dict[_Group, RecipientMetrics]:
    top = {code for parts in counts.values() for part in parts for code, *_ in part.first}
    names = look_up(top, _recipients(tables))
    return {group: name_people(parts, names) for group, parts in counts.items()}


def _weighted_timeline(
    group: _Group, factor: int, timelines: Mapping[Rows, Timeline | None]
) -> Timeline | None:
    return Timeline.concat([timelines[key] for key, _ in group], [factor * times for _, times in group])


def _count_people(group: _Group, days: Mapping[Rows, DailyCounts]) -> RecipientCounts:
    return RecipientCounts.of(
        DailyCounts.concat([days[key] for key, _ in group], [times for _, times in group])
    )


def _without_common_factor(group: Weights, there: Container[Rows]) -> tuple[_Group, int]:
    """Return weights divided by their common factor, and the factor, so that sinks with the same deliveries
    are measured once.
    """
    held = [(key, times) for key, times in group.items() if key in there]
    factor = math.gcd(*(times for _, times in held)) or 1
    return tuple((key, times // factor) for key, times in held), factor


def _pass(tables: Mapping[str, _StepTotals], share: tuple[int, int], tick: Tick) -> dict[Rows, _Measured]:
    """Run one pass over all deliveries; the first one measures everything else as well."""
    work = [(table, job) for table in tables.values() for job in jobs(table.pieces)]
    found: dict[Rows, _Measured] = {}
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="flowdsl-report") as pool:
        measured = pool.map(lambda one: _measure_job(one[1], share), work)
        for (table, job), (rows, latency, candidates) in zip(work, measured, strict=True):
            tick(sum(piece.rows for _, piece in job))
            for sink, days, timeline in rows:
                one = found.setdefault((table.name, sink), _Measured())
                one.days.append(days)
                one.timelines.append(timeline)
            if share[0] == 0:
                table.latency.join(latency)
                table.candidates.add(candidates)
    return found


def _measure_job(
    job: Numbered, share: tuple[int, int]
) -> tuple[list[tuple[str | None, DailyHashes, Timeline | None]], Spans, Candidates]:
    """Measure people and times of rows, refused rows separately; the first pass also measures latencies and
    sample candidates.
    """
    first = share[0] == 0
    rows: list[tuple[str | None, DailyHashes, Timeline | None]] = []
    latency, candidates = Spans(), Candidates()

    def count(sink: str | None, frame: pl.DataFrame) -> None:
        times = frame["delivered_at"].to_physical().to_numpy()
        days = DailyHashes.of(frame["recipient_id"], times, share)
        rows.append((sink, days, Timeline.of(times) if first else None))

    for run in read(job, lambda name: name in _FIXED or (first and is_payload(name))):
        count(None, run.frame)
        for sink, column in run.refused.items():
            count(sink, run.frame.filter(pl.col(column)))
        if first:
            latency.add((run.frame["delivered_at"] - run.frame["event_time"]).to_physical().to_numpy())
            candidates.add(Candidates.of(run.frame, run.place))
    return rows, latency, candidates


def _recipients(tables: Mapping[str, _StepTotals]) -> Iterator[pl.Series]:
    for table in tables.values():
        for piece in table.pieces:
            yield piece.read("recipient_id".__eq__)["recipient_id"]


def _steps(result: ResultData, tables: Mapping[str, _StepTotals]) -> tuple[StepMetrics, ...]:
    found, names = [], result.flows
    delivers = result.manifest["delivers"]
    # chosen samples are read again, as a whole
    largest = sorted(delivers, key=lambda step: -tables[step["table"]].rows)[:_SAMPLED]
    sampled = {step["table"] for step in largest}
    for step in delivers:
        table = tables[step["table"]]
        latency = table.latency.distribution()
        samples = samples_of(table.candidates, table.pieces) if step["table"] in sampled else ()
        number = int(step["table"].rpartition("-")[2])
        for flow in step["flows"]:
            name, sinks = names[flow], tuple(step["sinks"])
            found.append((flow, StepMetrics(name, number, sinks, step["timed"], latency, samples)))
    found.sort(key=lambda item: (item[0], item[1].step))
    return tuple(figures for _, figures in found)


def _count_late(result: ResultData) -> LateMetrics:
    lateness, kinds = Spans(), Counter[str]()
    for piece in result.store.parts("late"):
        frame = piece.read(("lateness", "kind").__contains__)
        lateness.add(frame["lateness"].to_physical().to_numpy())
        kinds.update(frame["kind"].cast(pl.String).to_list())
    spans = lateness.distribution() if kinds else Distribution.of([])
    return LateMetrics(result.manifest["late"], spans, tuple(sorted(kinds.items())))


def _open(result: ResultData) -> tuple[OpenMetrics, ...]:
    frames = [part.whole().frame for part in result.store.parts("open")]
    if not frames:
        return ()
    order = {name: number for number, name in enumerate(result.flows)}
    held, due = pl.col("held").sum().alias("all_held"), pl.col("due_at").min().to_physical()
    windows = pl.concat(frames).group_by("flow", "step", "operator").agg(pl.len(), held, due)
    found = [OpenMetrics(*row) for row in windows.iter_rows()]
    return tuple(sorted(found, key=lambda o: (order[o.flow], o.step)))


def _count_undelivered(result: ResultData) -> tuple[tuple[str, str, int], ...]:
    found: Counter[tuple[str, str]] = Counter()
    for piece in result.store.parts(UNDELIVERED):
        found.update(piece.read(("sink", "error").__contains__).select("sink", "error").iter_rows())
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return tuple((sink, error, count) for (sink, error), count in ordered)


# small parts are read together, since each measurement has a cost, and large ones alone
@dataclass(frozen=True)
class PartGroup:
    """Rows of consecutive parts with the same columns; `refused` names the column of a sink's refusals."""

    frame: pl.DataFrame
    refused: dict[str, str]
    numbers: Sequence[int]
    starts: Sequence[int]

    def place(self, row: int) -> tuple[int, int]:
        """Return the part of a row, and its row there."""
        which = bisect_right(self.starts, row) - 1
        return self.numbers[which], row - self.starts[which]


def jobs(pieces: Sequence[Piece]) -> Iterator[Numbered]:
    """Split parts into jobs of about equal size."""
    held: list[tuple[int, Piece]] = []
    rows = 0
    for number, piece in enumerate(pieces):
        held.append((number, piece))
        rows += piece.rows
        if rows >= _ROWS:
            yield held
            held, rows = [], 0
    if held:
        yield held


def _is_read(columns: Container[str], wanted: Callable[[str], bool], name: str) -> bool:
    return name in columns or wanted(name)


def read(job: Numbered, wanted: Callable[[str], bool]) -> Iterator[PartGroup]:
    """Yield the parts of a job, grouped by equal columns; refusals are always read."""
    frames = []
    for number, piece in job:
        refused: dict[str, str] = piece.meta.get("refused", {})
        columns = {*refused.values()}
        frames.append((number, refused, piece.read(partial(_is_read, columns, wanted))))
    for (refused, _), same in groupby(frames, key=lambda item: (item[1], item[2].schema)):
        numbers, parts = [], []
        for number, _, frame in same:
            numbers.append(number)
            parts.append(frame)
        starts = [0]
        for part in parts[:-1]:
            starts.append(starts[-1] + part.height)
        yield PartGroup(pl.concat(parts) if len(parts) > 1 else parts[0], refused, numbers, starts)
