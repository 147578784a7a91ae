"""On random flows of production's language the engine does what its rules say, however the log is cut."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from oracle.comparing import bytes_of, said_by_engine
from oracle.this_rs import ProductionGraph, interpret
from oracle.values import moment_text
from strategies import START
from this_rs_strategies import ProductionCase, production_cases

import flowdsl as fd


def loaded(case: ProductionCase) -> fd.Project:
    return fd.load({"events": {"flows": case.flows}}, target="this-rs")


def replayed(case: ProductionCase, **options: Any) -> fd.Result:
    graph = None if "state" in options else fd.EntityGraph(case.entities, case.links)
    return fd.replay(loaded(case), case.events, graph, target="this-rs", **options)


def said(result: fd.Result, case: ProductionCase) -> dict[str, Any]:
    found = said_by_engine(result, loaded(case).flows)
    del found["late"]
    return found


@given(case=production_cases())
def test_the_engine_does_what_the_rules_of_production_say(case: ProductionCase) -> None:
    expected = interpret(case.flows, case.events, ProductionGraph(case.entities, case.links))
    found = said(replayed(case), case)
    for part in ("errors", "steps", "dropped", "open", "deliveries"):
        assert found[part] == expected[part], f"{part} differ"


@given(case=production_cases(), chunk_size=st.sampled_from([1, 2, 3, 7]))
def test_the_chunk_size_changes_not_a_byte_under_the_target(case: ProductionCase, chunk_size: int) -> None:
    assert bytes_of(replayed(case, chunk_size=chunk_size)) == bytes_of(replayed(case))


@given(case=production_cases(), place=st.integers(1, 16), chunk_size=st.sampled_from([2, None]))
def test_a_log_replayed_in_two_parts_equals_the_whole_under_the_target(
    case: ProductionCase, place: int, chunk_size: int | None
) -> None:
    cut = case.events[min(place, len(case.events) - 1)]["seq_no"]
    first = replayed(case, stop=cut, chunk_size=chunk_size)
    second = replayed(case, state=first.state)
    whole = said(replayed(case), case)
    start, end = said(first, case), said(second, case)
    assert start["deliveries"] + end["deliveries"] == whole["deliveries"]
    assert start["errors"] + end["errors"] == whole["errors"]
    assert end["open"] == whole["open"]
    dropped: Counter[tuple[str, int, str]] = Counter()
    for flow, step, reason, count in start["dropped"] + end["dropped"]:
        dropped[flow, step, reason] += count
    assert sorted((*key, count) for key, count in dropped.items()) == whole["dropped"]


def test_many_keys_at_once_are_worked_on_as_each_by_itself() -> None:
    """More keys in a chunk than are looped over one by one, and more contexts than one thread takes."""
    chance = random.Random(7)
    users = [str(uuid.UUID(int=number)) for number in range(1, 400)]
    moment, events = START, []
    for seq_no in range(1, 6001):
        moment += chance.choice([0, 1000, 20_000, 150_000])
        inner = fd.link_created(
            "likes", chance.choice(users), chance.choice(users[:90]), link_id=users[seq_no % 300]
        )
        events.append({"id": None, "timestamp": moment_text(moment), "event": inner, "seq_no": seq_no})
    payload = [
        {"map": {"template": {"n": "{{ _batch.count }} {{ _batch.items | join(sep=' ') }}"}}},
        {"deliver": {"sink": "s"}},
    ]
    batches = [
        [{"batch": {"key": "target_id", "window": window, "min_count": least}}, *payload]
        for window, least in [("0s", 1), ("1s", 1), ("20s", 2), ("60s", 4)]
    ]
    others = [{"deduplicate": {"key": "source_id", "window": "3s"}}, {"rate_limit": {"max": 3, "per": "1s"}}]
    pipelines = [*batches, [*others, batches[1][0], *payload]]
    flows = [
        {"name": f"f{number}", "trigger": {"kind": "link.created"}, "pipeline": steps}
        for number, steps in enumerate(pipelines)
    ]
    case = ProductionCase(flows, {}, [], events)
    expected = interpret(case.flows, case.events, ProductionGraph({}, []))
    for options in ({}, {"chunk_size": 1000}):
        found = said(replayed(case, **options), case)
        assert found["steps"] == expected["steps"]
        assert found["deliveries"] == expected["deliveries"]
        assert sorted(found["open"]) == sorted(expected["open"])
