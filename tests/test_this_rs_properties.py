"""On random flows of production's language the engine does what its rules say, however the log is cut."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from oracle.comparing import bytes_of, said_by_engine
from oracle.this_rs import ProductionGraph, interpret
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
