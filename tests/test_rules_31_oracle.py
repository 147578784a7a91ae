"""Rule 31 against the plain interpreter: two deliveries have one key just where they are the same delivery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_runs import Kept, live, pieces, that_deliver, told_by_interpreter, told_live
from oracle import interpret
from oracle.identity import identities
from strategies import SLIPS_ARE_LIKELY, Case, World, cases

import flowdsl as fd
from flowdsl import on
from flowdsl.sinks import Custom, Delivery

pytestmark = SLIPS_ARE_LIKELY


def keys_of(case: Case, events: Sequence[dict[str, Any]], chunk_size: int | None) -> list[str]:
    """The keys that a replay hands over, in the total order."""
    told: list[Delivery] = []
    sinks = {sink: Custom(told.append) for flow in case.flows for sink in flow.sinks}
    world = case.world
    graph = fd.EntityGraph(world.entities, world.links, merge=world.merge)
    result = fd.replay(case.flows, events, graph, sinks=sinks, dispatch=True, chunk_size=chunk_size)
    assert len(told) == len(result.deliveries)
    rows = result.deliveries[["seq_no", "flow", "branch", "step", "sink", "delivered_at", "closed_by"]]
    by_place: dict[Any, list[str]] = {}
    for d in told:
        by_place.setdefault((d.seq_no, d.flow, d.branch, d.step, d.sink, d.delivered_at), []).append(d.key)
    return [
        by_place[
            r.seq_no, r.flow, r.branch if isinstance(r.branch, str) else None, r.step, r.sink, r.delivered_at
        ].pop(0)
        for r in rows.itertuples()
    ]


@settings(max_examples=settings().max_examples)
@given(cases(), st.booleans(), st.sampled_from([1, 3, None]), st.integers(0, 20))
def test_rule_31_keys_are_those_of_the_plain_interpreter(
    case: Case, ids: bool, chunk_size: int | None, until: int
):
    whole = [e if ids else {**e, "id": None} for e in case.world.events]
    assert_one_key_each(case, whole, until, chunk_size)


@pytest.mark.parametrize("windows", [1, 2])
@pytest.mark.parametrize("until", range(1, 12))
def test_rule_31_the_key_of_a_window_is_that_of_the_plain_interpreter(windows: int, until: int):
    flow = on("link.created", name="w")
    for n in range(windows):
        flow = flow.batch("target_id", window=f"{1 + 2 * n}h")
    flow = flow.map(recipient_id="b", title="{{ batch.count }}").deliver("in-app")
    events = [
        {"id": None, "timestamp": f"2026-01-01T{n // 3:02}:{n % 3 * 20:02}:00Z", "seq_no": n + 1,
         "event": fd.link_created("likes", f"u{n}", "p")}
        for n in range(12)
    ]  # fmt: skip
    assert_one_key_each(Case([flow], World({}, [], events)), events, until, None)


def assert_one_key_each(case: Case, whole: list[dict[str, Any]], until: int, chunk_size: int | None) -> None:
    """The same deliveries of a part of a file and of all of it have the same keys, and no others do."""
    pairs = set()
    for events in (whole[:until], whole):
        outcome = interpret(case.flows, events, case.world.entities, case.world.links, merge=case.world.merge)
        known = identities(outcome, case.flows, events)
        pairs.update(zip(known, keys_of(case, events, chunk_size), strict=True))
    assert len(pairs) == len({known for known, _ in pairs}) == len({key for _, key in pairs})


@settings(max_examples=max(settings().max_examples // 4, 10))
@given(case=cases(), schedules=st.tuples(pieces, pieces), sides=st.integers(0, 2**20 - 1), ids=st.booleans())
def test_rule_31_two_logs_that_share_their_sinks_are_there_as_the_plain_interpreter_tells_of_each(
    case: Case, schedules: Any, sides: int, ids: bool
):
    """Live, over stops and crashes, beside replays of both logs: all of each is there once, under keys of its own."""
    case = that_deliver(case)
    world = case.world
    sinks = {sink: Kept() for flow in case.flows for sink in flow.sinks}
    lives = []
    for side, schedule in enumerate(schedules):
        mine = [
            event if ids else {**event, "id": None}
            for number, event in enumerate(world.events)
            if (sides >> number & 1) == side
        ]
        half = replace(case, world=replace(world, events=mine))
        lives.append(live(half, schedule, fd.MemoryEventLog(), sinks))
    assert told_live(sinks) == sorted(told for life in lives for told in told_by_interpreter(life))
    keys = [(name, d.key) for name, sink in sinks.items() for d in sink.deliveries]
    assert len(keys) == len(set(keys))
    again: list[Delivery] = []
    for life in lives:
        known = {name: Custom(again.append) for name in sinks}
        fd.replay(
            life.flows, life.log, life.graph, sinks=known, dispatch=True, open_windows="keep", caps=life.caps
        )
    assert sorted(d.key for d in again) == sorted(key for _, key in keys)
