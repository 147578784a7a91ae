"""On random flows, graphs and logs the engine gives what the rules say, however the log is cut and written."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import interpret
from oracle.comparing import branch_text, bytes_of, said_by_engine, said_by_oracle
from oracle.frames import assert_holds
from oracle.values import microseconds, moment_text
from strategies import SECOND, SLIPS_ARE_LIKELY, START, Case, cases

import flowdsl as fd

pytestmark = SLIPS_ARE_LIKELY


def graph_of(case: Case) -> fd.EntityGraph:
    return fd.EntityGraph(case.world.entities, case.world.links, merge=case.world.merge)


def replayed(case: Case, **options: Any) -> fd.Result:
    return fd.replay(case.flows, case.world.events, graph_of(case), caps=case.caps, **options)


def interpreted(case: Case, **options: Any) -> dict[str, Any]:
    world = case.world
    return said_by_oracle(
        interpret(
            case.flows,
            world.events,
            world.entities,
            world.links,
            merge=world.merge,
            caps=case.caps,
            **options,
        ),
        case.flows,
    )


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for part, said in expected.items():
        assert found[part] == said, f"{part} differ"


def windows(keep: bool) -> str:
    return "keep" if keep else "flush"


@settings(max_examples=3 * settings().max_examples)
@given(case=cases(), keep=st.booleans())
def test_the_engine_says_what_the_rules_say(case: Case, keep: bool) -> None:
    assert_same(
        said_by_engine(replayed(case, open_windows=windows(keep)), case.flows), interpreted(case, keep=keep)
    )


@given(
    case=cases(),
    start=st.sampled_from(["0002-01-01T00:00:00Z", "1912-02-29T00:00:00Z", "1969-12-31T23:59:58Z",
                           "2262-04-11T23:47:16Z", "9990-12-31T23:00:00Z"]),
    keep=st.booleans(),
    chunk_size=st.sampled_from([1, 3, None]),
)  # fmt: skip
def test_the_rules_hold_at_any_time(case: Case, start: str, keep: bool, chunk_size: int | None) -> None:
    moved = moved_by(microseconds(start) - START, case)
    result = replayed(moved, open_windows=windows(keep), chunk_size=chunk_size)
    assert_same(said_by_engine(result, case.flows), interpreted(moved, keep=keep))


def moved_by(distance: int, case: Case) -> Case:
    """The same events, so many microseconds later."""
    events = [
        {**event, "timestamp": moment_text(microseconds(event["timestamp"]) + distance)}
        for event in case.world.events
    ]
    return replace(case, world=replace(case.world, events=events))


@given(case=cases(), keep=st.booleans(), chunk_size=st.sampled_from([1, 2, 3, 7]))
def test_rule_20_the_chunk_size_changes_not_a_byte(case: Case, keep: bool, chunk_size: int) -> None:
    whole = bytes_of(replayed(case, open_windows=windows(keep)))
    assert_same(bytes_of(replayed(case, open_windows=windows(keep), chunk_size=chunk_size)), whole)


@given(case=cases(), keep=st.booleans(), place=st.integers(1, 16), chunk_size=st.sampled_from([2, None]))
def test_rule_21_a_log_replayed_in_two_parts_equals_the_whole(
    case: Case, keep: bool, place: int, chunk_size: int | None
) -> None:
    """The state is that before any flush, so it does not matter how the first part ended."""
    cut = case.world.events[min(place, len(case.world.events) - 1)]["seq_no"]
    open_windows = windows(keep)
    first = replayed(case, stop=cut, open_windows=open_windows, chunk_size=chunk_size)
    second = fd.replay(
        case.flows, case.world.events, state=first.state, open_windows=open_windows, caps=case.caps
    )
    whole = interpreted(case, keep=keep)
    start, end = said_by_engine(first, case.flows), said_by_engine(second, case.flows)
    lasting = [delivery for delivery in start["deliveries"] if keep or not ended(delivery)]
    assert sorted_deliveries(lasting + end["deliveries"]) == sorted_deliveries(whole["deliveries"])
    assert start["late"] + end["late"] == whole["late"]
    assert end["open"] == whole["open"]
    if keep:
        assert Counter(start["errors"] + end["errors"]) == Counter(whole["errors"])
        assert summed(first, second) == whole["steps"]


def ended(delivery: tuple[Any, ...]) -> bool:
    return delivery[8] == "end"


def sorted_deliveries(deliveries: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(deliveries, key=repr)


def summed(first: fd.Result, second: fd.Result) -> list[tuple[Any, ...]]:
    """The counts of two parts as those of the whole; what the first held, the second holds at its start."""
    assert first.steps["held"].tolist() == second.steps["held_before"].tolist()
    counts = ["entered", "extra_branches", "passed", "dropped", "failed", "absorbed"]
    both = second.steps.copy()
    both[counts] = first.steps[counts] + second.steps[counts]
    return list(both[["flow", "step", "operator", *counts, "held"]].itertuples(index=False, name=None))


@given(case=cases(), chunk_size=st.sampled_from([1, 3, None]))
def test_rule_32_a_frame_has_the_types_of_all_of_its_values(case: Case, chunk_size: int | None) -> None:
    result = replayed(case, chunk_size=chunk_size)
    world = case.world
    outcome = interpret(
        case.flows, world.events, world.entities, world.links, merge=world.merge, caps=case.caps
    )
    for sink in result.sinks:
        assert_holds(result.to_polars(sink), [d.payload for d in outcome.deliveries if d.sink_name == sink])


@given(case=cases(), place=st.integers(1, 16))
def test_rule_06_later_events_never_change_earlier_results(case: Case, place: int) -> None:
    """What came out before an event, comes out without that event and all later ones."""
    cut = case.world.events[min(place, len(case.world.events) - 1)]["seq_no"]
    before = said_by_engine(replayed(case, stop=cut, open_windows="keep"), case.flows)
    whole = said_by_engine(replayed(case, open_windows="keep"), case.flows)
    for part in ("deliveries", "errors"):
        assert not Counter(before[part]) - Counter(whole[part])
    assert [late for late in whole["late"] if late[0] < cut] == before["late"]


@given(case=cases())
def test_rule_19_failed_events_run_again_as_of_their_place_in_the_log(case: Case) -> None:
    errors = replayed(case).errors
    again = said_by_engine(replayed(case, only=errors), case.flows)
    assert_same(again, interpreted(case, only=set(errors["seq_no"].tolist())))


@given(case=cases(), place=st.integers(0, 16), keep=st.booleans())
def test_rule_21_events_before_the_start_only_change_graph_and_clock(
    case: Case, place: int, keep: bool
) -> None:
    start = case.world.events[min(place, len(case.world.events) - 1)]["seq_no"]
    found = said_by_engine(replayed(case, start=start, open_windows=windows(keep)), case.flows)
    assert_same(found, interpreted(case, start=start, keep=keep))


@given(case=cases())
def test_rule_06_as_of_the_end_is_the_final_graph_for_all(case: Case) -> None:
    assert_same(said_by_engine(replayed(case, as_of="end"), case.flows), interpreted(case, as_of="end"))


@given(case=cases(), keep=st.booleans(), chunk_size=st.sampled_from([2, 5, None]))
def test_rule_20_the_ways_made_for_large_amounts_change_nothing(
    case: Case, keep: bool, chunk_size: int | None
) -> None:
    """Slices of one context, several threads, arrays instead of loops, and the graph tidied up after each chunk."""
    with pytest.MonkeyPatch.context() as patch:
        for name, size in SIZES.items():
            patch.setattr(f"flowdsl.{name}", size)
        result = replayed(case, open_windows=windows(keep), chunk_size=chunk_size)
        assert_same(said_by_engine(result, case.flows), interpreted(case, keep=keep))


SIZES = {
    "engine.executor.STREAMED": 1,
    "engine.scheduler.FEWEST": 1,
    "engine.scheduler.MOST_BRANCHES": 1,
    "engine.scheduler.ALONE_BELOW": 0,
    "graph.state.COMPACT_ABOVE": -1,
    "graph.sorted_run.SEARCHED_BELOW": 0,
    "graph.link_blocks.DEAD_ABOVE": 0,
    "kernels.windows.LOOP_BELOW": 1,
    "kernels.buckets.ARRAYS_FROM": 1,
    "kernels.token_buckets.BLOCK": 2,
    "kernels.token_buckets.LOOPED": 1,
    "kernels.buckets.TOGETHER": 1,
    "kernels.cap_counts.LOOP_BELOW": 1,
    "kernels.key_memory.TOGETHER": 1,
    "kernels.key_memory.LARGEST": 4,
    "operators.deduplicate.TOGETHER": 1,
    "results.tables._SORTED_AT_ONCE": 0,
}


@given(case=cases(), chunk_size=st.sampled_from([2, None]), framed=st.booleans())
def test_rule_20_what_an_earlier_replay_read_of_the_same_events_changes_nothing(
    case: Case, chunk_size: int | None, framed: bool
) -> None:
    numbered = [{**event, "seq_no": number} for number, event in enumerate(case.world.events, 1)]
    case = replace(case, world=replace(case.world, events=numbered))
    graph, log = graph_of(case), fd.MemoryEventLog()
    log.append(numbered)
    events = pl.DataFrame(pa.Table.from_batches(list(log.read()))) if framed and numbered else log
    alone = replace(case, flows=case.flows[:1], caps={})
    for now, as_of in ((case, "event"), (alone, "event"), (case, "end")):
        expected = interpreted(now, as_of=as_of)
        for _ in range(2):
            result = fd.replay(now.flows, events, graph, caps=now.caps, as_of=as_of, chunk_size=chunk_size)
            assert_same(said_by_engine(result, now.flows), expected)


@given(case=cases())
def test_rule_20_a_second_run_changes_not_a_byte(case: Case) -> None:
    """The graph is shared by runs, and none leaves a trace in it."""
    graph = graph_of(case)
    first, second = (
        bytes_of(fd.replay(case.flows, case.world.events, graph, caps=case.caps)) for _ in range(2)
    )
    assert_same(second, first)


@given(
    case=cases(),
    marks=st.lists(st.tuples(st.integers(0, 16), st.integers(0, 40)), max_size=3),
    keep=st.booleans(),
)
def test_rule_03_clock_marks_move_the_clock(case: Case, marks: list[tuple[int, int]], keep: bool) -> None:
    marks = sorted(
        (min(after, len(case.world.events)), START + ticks * SECOND // 4) for after, ticks in marks
    )
    log = fd.MemoryEventLog()
    events = [{**event, "seq_no": number} for number, event in enumerate(case.world.events, 1)]
    for number in range(len(events) + 1):
        if number:
            log.append(events[number - 1])
        for after, clock in marks:
            if after == number:
                log.mark_clock(fd.events.timestamp_text(clock))
    found = said_by_engine(
        fd.replay(case.flows, log, graph_of(case), open_windows=windows(keep), caps=case.caps), case.flows
    )
    world = case.world
    outcome = interpret(
        case.flows,
        events,
        world.entities,
        world.links,
        merge=world.merge,
        marks=marks,
        keep=keep,
        caps=case.caps,
    )
    assert_same(found, said_by_oracle(outcome, case.flows))


@given(case=cases(), ahead=st.dictionaries(st.integers(1, 12), st.integers(-4, 40), max_size=3))
def test_rule_35_marked_events_do_not_move_the_clock(case: Case, ahead: dict[int, int]) -> None:
    events = [{**event, "seq_no": number} for number, event in enumerate(case.world.events, 1)]
    marks = {number: START + ticks * SECOND // 4 for number, ticks in ahead.items() if number <= len(events)}
    log = fd.MemoryEventLog()
    log.append(events)
    for number, clock in marks.items():
        log.mark_ahead([number], fd.events.timestamp_text(clock))
    result = fd.replay(case.flows, log, graph_of(case), chunk_size=3, caps=case.caps)
    world = case.world
    outcome = interpret(
        case.flows, events, world.entities, world.links, merge=world.merge, ahead=marks, caps=case.caps
    )
    assert_same(said_by_engine(result, case.flows), said_by_oracle(outcome, case.flows))
    assert result.ahead["seq_no"].tolist() == sorted(marks)


@given(case=cases())
def test_entities_that_a_function_gives_are_as_good_as_given_ones(case: Case) -> None:
    def fetcher(kind: str) -> Any:
        held = case.world.entities[kind]
        return lambda ids: {i: held[i] for i in ids if i in held}

    graph = fd.EntityGraph(
        {kind: fetcher(kind) for kind in case.world.entities}, case.world.links, merge=case.world.merge
    )
    result = fd.replay(case.flows, case.world.events, graph, chunk_size=3, caps=case.caps)
    found = said_by_engine(result, case.flows)
    expected = interpreted(case)
    # of entities that a function gives nobody knows whether they are there
    del expected["unmatched"]
    assert_same(found, expected)


@given(case=cases())
def test_tables_written_to_a_folder_read_back_the_same(case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        result = replayed(case)
        at_once = replayed(case, out=Path(folder, "out"), chunk_size=4)
        result.to_parquet(Path(folder, "later"))
        for written in (at_once, fd.read_result(Path(folder, "out")), fd.read_result(Path(folder, "later"))):
            assert_same(bytes_of(written), bytes_of(result))


@given(case=cases())
def test_every_form_of_a_log_gives_the_same(case: Case) -> None:
    events = [{**event, "seq_no": number} for number, event in enumerate(case.world.events, 1)]
    log = fd.MemoryEventLog()
    log.append(events)
    frame = pa.Table.from_batches(log.read()).to_pandas()
    with tempfile.TemporaryDirectory() as folder:
        durable = fd.ParquetEventLog(Path(folder, "log"))
        durable.append(events)
        expected = bytes_of(fd.replay(case.flows, log, graph_of(case), caps=case.caps))
        for form in (events, durable, frame):
            assert_same(bytes_of(fd.replay(case.flows, form, graph_of(case), caps=case.caps)), expected)


DOCUMENT = pl.Struct(
    {
        "name": pl.String,
        "n": pl.Int64,
        "author_id": pl.String,
        "more": pl.Struct({"x": pl.Float64}),
        "tags": pl.List(pl.String),
        "delay": pl.String,
        "tz": pl.String,
    }
)
NESTED = {name: DOCUMENT if name in ("data", "metadata") else pl.String for name in fd.events.EVENT_COLUMNS}


@given(case=cases(full=True), chunk_size=st.sampled_from([3, None]))
def test_columns_of_structs_are_as_good_as_json(case: Case, chunk_size: int | None) -> None:
    rows = [
        {**e["event"], "kind": f"{e['event']['kind']}.{e['event']['action']}", "seq_no": e["seq_no"],
         "event_id": e["id"], "timestamp": e["timestamp"]}
        for e in case.world.events
    ]  # fmt: skip
    log = pl.DataFrame(rows, schema={**NESTED, "seq_no": pl.Int64})
    frames = {
        kind: pl.DataFrame(
            [{"id": i, **d} for i, d in held.items()], schema={"id": pl.String, **DOCUMENT.to_schema()}
        )
        for kind, held in case.world.entities.items()
    }
    result = fd.replay(
        case.flows,
        log,
        fd.EntityGraph(frames, case.world.links, merge=case.world.merge),
        chunk_size=chunk_size,
        caps=case.caps,
    )
    assert_same(said_by_engine(result, case.flows), interpreted(_as_structs_have_it(case)))


def _as_structs_have_it(case: Case) -> Case:
    """The case without what structs cannot say: a field that is null (rule 33)."""
    events = [{**envelope, "event": _without_nulls(envelope["event"])} for envelope in case.world.events]
    held = {
        # the fields of an entity are cells of a frame, where null is null
        kind: {
            i: {name: _without_nulls(value) for name, value in data.items()} for i, data in entities.items()
        }
        for kind, entities in case.world.entities.items()
    }
    return replace(case, world=replace(case.world, events=events, entities=held))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


@given(case=cases())
def test_rule_18_a_trace_has_every_dropped_context_once(case: Case) -> None:
    counted = replayed(case)
    traced = replayed(case, trace=True)
    rows = traced.dropped[["flow", "step", "operator", "reason"]].itertuples(index=False, name=None)
    counts = counted.dropped[["flow", "step", "operator", "reason", "count"]].itertuples(
        index=False, name=None
    )
    assert Counter(rows) == Counter({row[:4]: row[4] for row in counts})
    assert bytes_of(traced)["deliveries"] == bytes_of(counted)["deliveries"]


@given(case=cases(), keep=st.booleans())
def test_rule_23_members_go_into_the_batches_that_the_rules_say(case: Case, keep: bool) -> None:
    world, rows = case.world, replayed(case, open_windows=windows(keep)).members.astype(object)
    outcome = interpret(
        case.flows, world.events, world.entities, world.links, merge=world.merge, caps=case.caps, keep=keep
    )
    said = Counter(
        (case.flows[flow].name, step, seq_no, branch_text(branch), into, branch_text(into_branch))
        for flow, step, seq_no, branch, into, into_branch in outcome.members
    )
    found = rows.where(rows.notna(), None).drop(columns=["deliveries", "delivered_at"])
    assert Counter(found.itertuples(index=False, name=None)) == said


@given(case=cases(), limit=st.sampled_from([1, 3, 3600]), keep=st.booleans())
def test_rule_35_events_ahead_of_the_next_do_not_move_the_clock(case: Case, limit: int, keep: bool) -> None:
    times = [microseconds(event["timestamp"]) for event in case.world.events]
    ahead = {case.world.events[at]["seq_no"]: clock for at, clock in ahead_of_next(times, limit * SECOND)}
    found = replayed(case, max_ahead_of_next=f"{limit}s", open_windows=windows(keep))
    assert_same(said_by_engine(found, case.flows), interpreted(case, keep=keep, ahead=ahead))


def ahead_of_next(times: list[int], limit: int) -> list[tuple[int, int]]:
    """The events that most of the next ten contradict, and all good ones before, with the clock at each."""
    good: list[int] = []
    found: list[tuple[int, int | None]] = []
    for at, time in enumerate(times):
        votes = [time - other > limit for other in times[at + 1 : at + 11]]
        if not any(votes) or 2 * sum(votes) < len(votes):
            good.append(time)
        elif not good or time - max(good) > limit:
            found.append((at, max(good, default=None)))
    odd = {at for at, _ in found}
    # where none was good before, the clock begins with the next one that is not ahead
    begins = next((time for at, time in enumerate(times) if at not in odd), 0)
    return [(at, begins if clock is None else clock) for at, clock in found]


@given(case=cases())
def test_the_frame_of_a_sink_holds_its_part_of_all_deliveries(case: Case) -> None:
    result = replayed(case)
    fixed = [
        "seq_no",
        "event_id",
        "event_time",
        "delivered_at",
        "closed_by",
        "flow",
        "step",
        "branch",
        "recipient_id",
    ]
    for sink in result.sinks:
        mine = result.deliveries[result.deliveries["sink"] == sink]
        assert result[sink][fixed].equals(mine[fixed].reset_index(drop=True))
    assert len(result) == len(result.deliveries)


@given(
    case=cases(),
    spoilt=st.lists(st.sampled_from(["data", "metadata"]), max_size=3),
    chunk_size=st.sampled_from([2, None]),
)
@pytest.mark.filterwarnings("ignore::flowdsl.errors.FlowWarning")
def test_what_a_flow_delivers_does_not_depend_on_the_flows_beside_it(
    case: Case, spoilt: list[str], chunk_size: int | None
) -> None:
    log = fd.MemoryEventLog()
    log.append(case.world.events)
    table = pa.concat_tables(
        [pa.Table.from_batches([batch]) for batch in log.read()] or [pl.DataFrame().to_arrow()]
    )
    frame = pl.DataFrame(table)
    for row, name in enumerate(spoilt[: frame.height]):
        frame = frame.with_columns(
            pl.when(pl.int_range(pl.len()) == row)
            .then(pl.lit("{no JSON"))
            .otherwise(pl.col(name))
            .alias(name)
        )
    graph = fd.EntityGraph(case.world.entities, case.world.links, merge=case.world.merge)
    together = fd.replay(case.flows, frame, graph, chunk_size=chunk_size)
    for flow in case.flows:
        alone = fd.replay(flow, frame, graph, chunk_size=chunk_size)
        for table in ("deliveries", "errors"):
            beside = together.to_polars(table=table).filter(pl.col("flow") == flow.name)
            assert beside.equals(alone.to_polars(table=table))
