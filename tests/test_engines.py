"""A replay runs on an engine: the local one, or an object with the same method."""

from __future__ import annotations

import dataclasses

import pytest

import flowdsl as fd
from flowdsl.flow.plan import Plan
from flowdsl.results.engine import RunRequest, RunTotals
from flowdsl.results.local_engine import LocalEngine
from flowdsl.results.options import Options
from flowdsl.results.store import Store

FLOW = fd.on("link.created").batch("target_id", window="1m").map(n=fd.var.batch.count).deliver("s")
LOG = [
    {
        "timestamp": f"2026-01-01T00:{n:02}:00Z",
        "event": fd.link_created("likes", f"u{n}", f"p{n % 3}"),
    }
    for n in range(30)
]


class OneByOne:
    """Runs events one by one."""

    def __init__(self) -> None:
        self.asked: list[RunRequest] = []

    def run(self, plan: Plan, options: Options, store: Store, request: RunRequest) -> RunTotals:
        self.asked.append(request)
        return LocalEngine().run(plan, dataclasses.replace(options, chunk_size=1), store, request)


def test_the_local_engine_is_the_default() -> None:
    assert fd.replay(FLOW, LOG, engine="local")["s"].equals(fd.replay(FLOW, LOG)["s"])


def test_an_engine_of_ones_own_runs_the_plan_and_fills_the_tables() -> None:
    engine = OneByOne()
    result = fd.replay(FLOW, LOG, engine=engine, trace=True)
    local = fd.replay(FLOW, LOG, trace=True)
    assert [request.trace for request in engine.asked] == [True]
    assert len(result) == 30
    assert result.deliveries.equals(local.deliveries)
    assert (
        result.to_polars(table="steps").drop("seconds").equals(local.to_polars(table="steps").drop("seconds"))
    )
    assert repr(result) == repr(local)


def test_explanations_run_locally_whatever_the_engine() -> None:
    engine = OneByOne()
    result = fd.replay(FLOW, LOG, engine=engine)
    assert repr(result.explain(3)) == repr(fd.replay(FLOW, LOG).explain(3))
    assert len(engine.asked) == 1


@pytest.mark.parametrize("engine", ["locl", "sparc", None, 3, OneByOne, object()])
def test_an_unknown_engine_is_refused(engine: object) -> None:
    with pytest.raises(fd.ReplayError, match=r"engine=.* is not known") as refused:
        fd.replay(FLOW, LOG, engine=engine)  # type: ignore[arg-type]
    assert "'local' or 'spark', or an engine" in str(refused.value)


def test_a_misspelt_engine_is_told_from_what_was_meant() -> None:
    with pytest.raises(fd.ReplayError, match="local"):
        fd.replay(FLOW, LOG, engine="locl")  # type: ignore[arg-type]
