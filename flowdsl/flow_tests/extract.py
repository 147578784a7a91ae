"""Extraction of a test from a real event, with only the events and graph that determine its result."""

from __future__ import annotations

import bisect
import dataclasses
import datetime as dt
import itertools
import json
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from flowdsl.arguments import text_of
from flowdsl.engine.event_reading import EventReading, FollowedReading
from flowdsl.errors import ReplayError
from flowdsl.events import EVENT_COLUMNS, JSON_COLUMNS, timestamp_text, timestamp_us
from flowdsl.explanation.explain import explain, trace_event
from flowdsl.explanation.window_peers import Beside, WindowPeers, takers, windows
from flowdsl.flow_tests.cases import FlowTestSpec
from flowdsl.flow_tests.expectations import moment_text, same
from flowdsl.flow_tests.graph_history import Row, numbered_rows
from flowdsl.flow_tests.graph_reads import GraphRead, GraphReads
from flowdsl.flow_tests.graph_slice import GraphSlice, surroundings
from flowdsl.flow_tests.runner import RunOutcome, run
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.operators.base import Operator
from flowdsl.operators.deduplicate import Deduplicate
from flowdsl.operators.rate_limit import RateLimit
from flowdsl.progress import Progress, ProgressReporter, track

if TYPE_CHECKING:
    from flowdsl.explanation.explain import Explanation
    from flowdsl.flow.spec import FlowSpec
    from flowdsl.results.options import Options

MOST: Final = 500
_LAST: Final = 1 << 30


def as_test(
    options: Options, seq_no: int, name: str | None = None, progress: Progress = None
) -> FlowTestSpec:
    """Build a test of one event's results in the flows that it concerns.

    Raises `ReplayError` if no flow ran on the event, if more than 500 events or entities and links would be
    needed, or if they do not lead to the same results as the whole log (if a message has the sequence number,
    for example).
    """
    if options.as_of == "end" or options.state is not None:
        raise ReplayError(
            "a test starts from a graph and its events, and this replay did not",
            hint="replay the whole log without state= and as_of='end'",
        )
    if name is not None:
        text_of(name, "name", error=ReplayError)
    with track(progress, options.source.count(), "as_test") as follower:
        return _cut_down(options, seq_no, name, follower)


def _cut_down(options: Options, seq_no: int, name: str | None, follower: ProgressReporter) -> FlowTestSpec:
    rules = options.flows[0].rules
    peers, came = WindowPeers(seq_no, rules), FollowedReading(seq_no)
    explaining, making = follower.part(0.5), follower.part(0.5)
    explanation = explain(options, seq_no, readings=[peers], progress=explaining.advance_to, traced=came)
    flows = _matched_flows(options.flows, explanation)
    if not flows:
        raise ReplayError(f"no flow ran on event {seq_no}", hint="result.explain says why")
    ours, whole = dataclasses.replace(options, flows=flows), _comparable(came)
    if options.open_windows != "flush" and not came.waiting:
        # in the test, its end releases the contexts that a later event of the log released
        ours = dataclasses.replace(ours, open_windows="flush")
        peers = WindowPeers(seq_no, rules)
        trace_event(ours, FollowedReading(seq_no), [peers], explaining.advance_to)
    releasing = _releasing(ours, seq_no, came)
    for reach, later in itertools.product(SliceExtent, [set(), releasing] if releasing else [set()]):
        needed = needed_events(peers, reach) | later
        made = _build(ours, seq_no, name or _name(explanation), needed, reach, making)
        if made is None:
            break
        settled = _with_outcome(*made, ours, whole)
        if settled is not None:
            return settled
    raise ReplayError(
        f"what came of event {seq_no} does not come of any part of the log that is small enough for a test",
        hint=(
            "flows that say event.seq_no, those in which very many events share a window, and what caps of "
            "sinks stopped cannot be cut down"
        ),
    )


def _matched_flows(flows: Sequence[FlowSpec], explanation: Explanation) -> tuple[FlowSpec, ...]:
    """Return the flows that ran on the event."""
    names = {step.flow for step in explanation.steps if step.outcome == "matched"}
    return tuple(flow for flow in flows if flow.name in names)


def _with_outcome(
    test: FlowTestSpec, number: int, options: Options, whole: Sequence[tuple[Any, ...]]
) -> FlowTestSpec | None:
    """Return the test with its results as expectations, or None if its event has other results than in the
    log. The results must be the same with the caps of a project as without.
    """
    names = {*itertools.chain.from_iterable(flow.sinks for flow in options.flows)}
    caps = tuple(cap for cap in options.caps if cap.sink in names)
    outcomes = [run(test, options.flows, counted) for counted in dict.fromkeys(((), caps))]
    settled = [dataclasses.replace(one.settled, drops=one.settled.drops or None) for one in outcomes]
    alike = same(settled[0].to_dict(), settled[-1].to_dict())
    return settled[0] if alike and all(_repeats(one, number, whole) for one in outcomes) else None


def _repeats(outcome: RunOutcome, number: int, whole: Sequence[tuple[Any, ...]]) -> bool:
    """Return True if the event has the same results in the run of a test as in the log."""
    came = FollowedReading(number)
    assert outcome.result is not None
    assert outcome.result.options is not None
    explain(outcome.result.options, number, traced=came)
    return _comparable(came) == whole


def _build(
    options: Options, seq_no: int, name: str, needed: set[int], reach: SliceExtent, follower: ProgressReporter
) -> tuple[FlowTestSpec, int] | None:
    """Build a test without expectations; return it with the event's number in it, or None if it would be too
    large.
    """
    reads, graph = _reads(options, seq_no, needed, follower), options.graph or EntityGraph()
    around, events = GraphSlice({}, [], needed), set[int]()
    # repeated, as changes of the graph may be late, and the events that set the clock change the graph too
    while around.events != events and len(around.events) <= MOST:
        events = _with_clock_setters(options, around.events)
        if reach is SliceExtent.LOOKUPS:
            reads = _reads(options, seq_no, events, follower)
        around = surroundings(options.source, graph, reads, events)
    size = sum(map(len, around.entities.values())) + len(around.links)
    if max(size, len(around.events)) > MOST:
        return None
    rows = numbered_rows(options.source, sorted(around.events))
    return _test(name, options, graph, around, rows), [row["seq_no"] for row in rows].index(seq_no) + 1


def _reads(
    options: Options, seq_no: int, events: set[int], follower: ProgressReporter
) -> Iterable[GraphRead]:
    """Return the lookups of some events."""
    reads = GraphReads(options.flows[0].rules)
    only = dataclasses.replace(options.span, only=np.array(sorted(events)))
    trace_event(
        dataclasses.replace(options, span=only), FollowedReading(seq_no), [reads], follower.advance_to
    )
    return reads.found


def _test(
    name: str, options: Options, whole: EntityGraph, around: GraphSlice, rows: list[Row]
) -> FlowTestSpec:
    start = timestamp_us(rows[0]["timestamp"])
    ids = any(
        step.paths is None or not step.paths.isdisjoint({("event", "id"), ("event",)})
        for flow in options.flows
        for step in flow.steps
    )
    parts = (("entities", around.entities), ("links", around.links), ("merge", sorted(whole.merge)))
    graph = {key: value for key, value in parts if value}
    return FlowTestSpec(
        name=name,
        flows=[flow.name for flow in options.flows],
        target=options.flows[0].rules.target,
        open_windows=options.open_windows,
        graph=graph or None,
        start=timestamp_text(start),
        events=list(_events(rows, start, with_ids=ids)),
        drops=[],
    )


def _events(rows: Iterable[Row], start: int, *, with_ids: bool) -> Iterable[dict[str, Any]]:
    before = start
    for row in rows:
        at = timestamp_us(row["timestamp"])
        event: dict[str, Any] = {} if at == before else {"at": moment_text(at, start)}
        if with_ids and row["event_id"] is not None:
            event["id"] = row["event_id"]
        event["kind"] = row["kind"]
        for field in EVENT_COLUMNS[4:]:
            value = row[field]
            if value is not None:
                event[field] = json.loads(value) if field in JSON_COLUMNS else value
        before = at
        yield event


def _with_clock_setters(options: Options, events: set[int]) -> set[int]:
    """Return the events and, for each late one, the event that had set the clock."""
    found, clock, setter = set(events), -1 << 62, 0
    for frame in options.source.chunks((), 1 << 16):
        times, seqs = frame["timestamp"].to_physical().to_numpy(), frame["seq_no"].to_numpy()
        running = np.maximum.accumulate(np.maximum(times, clock))
        first = np.searchsorted(running, running)
        setters = np.where(times[first] == running, seqs[first], setter)
        found.update(setters[np.isin(seqs, list(events)) & (times < running)].tolist())
        clock, setter = int(running[-1]), int(setters[-1])
        if seqs[-1] >= max(events):
            break
    return found


def _releasing(options: Options, seq_no: int, came: EventReading) -> set[int]:
    """Return the last event that released a context of an event; none if the end of the log released all.

    The test needs this event if a flow reads what closed a window.
    """
    moments = sorted({seen.at for seen in came.traces() if seen.at is not None})
    found, clock = set[int](), dt.datetime.min.replace(tzinfo=dt.UTC)
    for frame in options.source.chunks((), 1 << 16):
        clocks = pl.select(pl.max_horizontal(frame["timestamp"].cum_max(), clock)).to_series()
        clock = clocks[-1]
        reached = moments[: bisect.bisect_right(moments, clock)]
        after = frame.filter((frame["seq_no"] > seq_no) & (clocks >= max(reached, default=clock)))
        if reached and after.height:
            found, moments = {int(after["seq_no"][0])}, moments[len(reached) :]
    return found


def _name(explanation: Explanation) -> str:
    event = explanation.event
    kind = event.get("link_type") or event.get("entity_type")
    return f"event {event['seq_no']}: {event['kind']}{f' {kind}' if kind else ''}"


def _comparable(came: EventReading) -> list[tuple[Any, ...]]:
    """Return the results that the test must repeat: outcomes, reasons, payloads, sinks and recipients."""
    return sorted(
        (
            seen.stage.fingerprint,
            seen.branch,
            seen.outcome,
            seen.sinks,
            str(seen.recipient_id),
            repr(seen.payload),
            str(seen.reason) if seen.outcome in ("dropped", "failed") else "",
        )
        for seen in came.traces()
    )


class SliceExtent(Enum):
    """Levels of how many other events a test includes, tried from the smallest on."""

    FEW = "those that must come to the step at which they matter"
    MORE = "those that matter to these at later steps too"
    ALL = "all that share a key"
    LOOKUPS = "these, and what other events of the test look up"


def needed_events(peers: WindowPeers, reach: SliceExtent) -> set[int]:
    """Return the sequence numbers of the event and of those that influence it."""
    found: dict[int, int] = {peers.seq_no: _LAST}
    waiting = [peers.seq_no]
    steps = peers.arrivals()
    while waiting:
        seq_no = waiting.pop()
        for arrivals in steps:
            if arrivals.number >= found[seq_no]:
                continue
            upto = arrivals.number if reach is SliceExtent.FEW else _LAST
            for beside in arrivals.beside(seq_no):
                rows: Iterable[int] = range(len(beside.seqs))
                if reach in (SliceExtent.FEW, SliceExtent.MORE):
                    rows = _rows(arrivals.step, beside, timers=peers.rules.timers)
                for other in {beside.seqs[row] for row in rows}:
                    if found.get(other, -1) < upto:
                        found[other] = upto
                        waiting.append(other)
    return set(found)


def _rows(step: Operator, beside: Beside, *, timers: bool) -> Iterable[int]:
    moments, own = beside.moments, beside.own
    if isinstance(step, Deduplicate):
        starts = windows(moments, step.window.microseconds)
        return {starts[row] for row in own}
    if beside.openers:
        return np.flatnonzero(np.isin(beside.openers, np.take(beside.openers, own))).tolist()
    if isinstance(step, RateLimit):
        queue = step.strategy == "queue" and timers
        return {before for row in own for before in takers(step, moments, row, queue=queue)}
    return range(len(moments))
