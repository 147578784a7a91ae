"""What a report is made of and no table holds: sizes of fan-outs, causes of failures, the span of the log."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from strategies import SLIPS_ARE_LIKELY, Case, cases

import flowdsl as fd
from flowdsl import on
from flowdsl.results.error_counts import error_causes

pytestmark = SLIPS_ARE_LIKELY


def replayed(case: Case, **options: object) -> fd.Result:
    graph = fd.EntityGraph(case.world.entities, case.world.links, merge=case.world.merge)
    return fd.replay(case.flows, case.world.events, graph, **options)


def sizes(result: fd.Result) -> list[tuple[int, int, list[list[int]], int, int]]:
    names = ("number", "step", "sizes", "largest", "seq_no")
    return [tuple(fan_out[name] for name in names) for fan_out in result.manifest["fan_outs"]]


def test_the_sizes_of_a_fan_out_are_counted_with_the_first_of_the_largest():
    links = [("ann", "bob"), ("ann", "eve"), ("bob", "eve"), ("eve", "ann"), ("eve", "bob")]
    graph = fd.EntityGraph(
        links=[{"link_type": "follows", "source_id": source, "target_id": target} for source, target in links]
    )
    flow = (
        on("entity.created")
        .fan_out("entity_id", via="follows", as_="who")
        .map(title="{{ who_id }}")
        .deliver("feed")
    )
    log = fd.MemoryEventLog()
    for who in ("bob", "ann", "zoe", "eve", "bob"):
        log.append(fd.entity_created("user", who, {}), timestamp="2026-01-01T00:00:00Z")
    for chunk_size in (None, 1):
        result = fd.replay(flow, log, graph, chunk_size=chunk_size)
        assert sizes(result) == [(0, 0, [[1, 2], [2, 2]], 2, 2)]
        assert result.dropped["reason"].tolist() == ["no links"]


@given(case=cases())
def test_sizes_agree_with_the_counts_of_the_step(case: Case):
    result = replayed(case)
    steps = result.steps
    for number, step, counted, largest, seq_no in sizes(result):
        row = steps[(steps.flow == result.flows[number]) & (steps.step == step)].iloc[0]
        assert sum((size - 1) * times for size, times in counted) == row.extra_branches
        assert largest == max([size for size, _ in counted], default=0)
        assert (seq_no > 0) == (largest > 0)
    assert sizes(replayed(case, chunk_size=2)) == sizes(result)


def test_a_fan_out_larger_than_what_is_counted_in_an_array(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flowdsl.engine.counts._USUAL", 3)
    links = [
        {"link_type": "l", "source_id": f"u{i}", "target_id": f"t{k}"} for i in range(6) for k in range(i)
    ]
    flow = on("entity.created").fan_out("entity_id", via="l", as_="who").map(title="x").deliver("s")
    log = fd.MemoryEventLog()
    for i in (5, 4, 0, 1, 2, 5, 3):
        log.append(fd.entity_created("user", f"u{i}", {}), timestamp="2026-01-01T00:00:00Z")
    found = sizes(fd.replay(flow, log, fd.EntityGraph(links=links)))
    assert found == [(0, 0, [[1, 1], [2, 1], [3, 1], [4, 1], [5, 2]], 5, 1)]


@given(case=cases())
def test_causes_are_the_errors_grouped_each_with_its_first(case: Case):
    result = replayed(case)
    found = error_causes(result.store, result.flows, result.recorder)
    errors = result.errors
    expected = Counter(errors[["flow", "step", "operator", "error"]].itertuples(index=False, name=None))
    assert {(c.flow, c.step, c.operator, c.error): c.count for c in found} == expected
    assert [c.count for c in found] == sorted(expected.values(), reverse=True)
    for cause in found:
        same = errors[
            (errors.flow == cause.flow) & (errors.step == cause.step) & (errors.error == cause.error)
        ]
        first = same.iloc[0]
        for name in ("seq_no", "event_id", "variables", "data", "branch"):
            assert plain(first[name]) == cause.example[name], name


def plain(value: object) -> object:
    return None if value is pd.NA else value


def test_causes_are_the_same_after_errors_were_written(tmp_path: Path):
    flow = on("link.created").resolve("target_id", as_="who").map(title="x").deliver("s")
    log = fd.MemoryEventLog()
    for name in ("ann", "bob", "ann"):
        log.append(fd.link_created("likes", "eve", name), timestamp="2026-01-01T00:00:00Z")
    result = fd.replay(flow, log, fd.EntityGraph({"user": {"bob": {}}}))
    before = error_causes(result.store, result.flows, result.recorder)
    result.to_parquet(tmp_path / "r")
    again = fd.read_result(tmp_path / "r")
    after = error_causes(again.store, again.flows, again.recorder)
    assert [(c.error, c.count, c.example["seq_no"], c.example["variables"]) for c in before] == [
        (c.error, c.count, c.example["seq_no"], c.example["variables"]) for c in after
    ]
    assert before == error_causes(result.store, result.flows, result.recorder)


def test_the_span_of_the_log_is_kept():
    flow = on("link.created").map(title="x").deliver("s")
    log = fd.MemoryEventLog()
    assert fd.replay(flow, log).manifest["span"] is None
    log.append(fd.link_created("likes", "a", "b"), timestamp="2026-01-01T00:00:00Z")
    log.append(fd.link_created("likes", "a", "b"), timestamp="2026-01-01T00:00:02Z")
    assert fd.replay(flow, log, chunk_size=1).manifest["span"] == [1767225600000000, 1767225602000000]
