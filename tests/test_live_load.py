"""The load of `tests.benchmarks.live` in small: everything arrives, at whatever rate, and ten others read along.

And what a few events cost, however much is held: windows, keys, failures that wait to be spelled out.
"""

from __future__ import annotations

import datetime as dt
import statistics
import time
from pathlib import Path

import polars as pl
import pytest

import flowdsl as fd
from flowdsl import Flow
from tests.benchmarks import live
from tests.benchmarks.data import likes as likes_data
from tests.benchmarks.flowdsl_side import likes_flow, likes_graph


def test_everything_arrives_under_load_and_at_a_tenth_of_it(tmp_path: Path) -> None:
    data = likes_data.likes(1500, scale=0.02)
    graph = likes_graph(data.graph.users, data.graph.posts, data.graph.links)
    events = live.events_of(data.events)
    began = time.process_time()
    with fd.ParquetEventLog(tmp_path / "log") as log:
        sink = live.DurableStopwatch(tmp_path / "in-app.sqlite")
        found = live.measured("small", log, sink, graph, events)
        assert found.deliveries == len(fd.replay(likes_flow(), log, graph))
        assert found.events == log.last_seq_no()
    # those that were appended once the subscribers were there
    watched = len(events) - len(events) * 3 // 4
    assert found.read_by_subscribers == [watched] * live.SUBSCRIBERS
    assert 0 < len(found.watched) <= watched
    assert 0 < len(found.alone) <= found.events - 750 - watched
    assert (found.alone > 0).all()
    assert (found.watched > 0).all()
    # far more than it takes, and far less than something that grows with the log would
    assert time.process_time() - began < 30


BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
likes = fd.on("link.created", link_type="likes")
HOLDING = {
    "batch": likes.batch("target_id", window="1h"),
    "deduplicate": likes.deduplicate("target_id", window="1h"),
    "a rate limit": likes.rate_limit(5, per="1h", key="target_id"),
    "a queue": likes.rate_limit(1, per="1h", key="target_id", strategy="queue"),
}


def cost_of_a_few(flow: Flow, keys: int) -> float:
    """The seconds of processor that twenty events take once there was one of each of so many keys."""
    log = fd.MemoryEventLog()
    targets = [f"post-{i}" for i in range(keys)]
    log.append(
        pl.DataFrame({"kind": "link.created", "timestamp": BEGIN, "link_type": "likes", "source_id": "ann", "target_id": targets})
    )  # fmt: skip
    took = []
    with fd.Runtime(flow, log, clock=lambda: BEGIN).start("beginning") as runtime:
        runtime.run_until_idle()
        for number in range(40):
            events = [fd.link_created("likes", "bob", targets[-i - number]) for i in range(1, 21)]
            began = time.process_time()
            log.append(events, timestamp=BEGIN + dt.timedelta(seconds=number))
            runtime.run_until_idle()
            took.append(time.process_time() - began)
    return statistics.median(took)


@pytest.mark.parametrize("step", HOLDING)
def test_a_few_events_cost_no_more_where_much_is_held(step: str) -> None:
    flow = HOLDING[step].map(title="{{ source_id }}").deliver("in-app")
    few = cost_of_a_few(flow, 100)
    # what goes through all that is held takes seven times as long
    assert cost_of_a_few(flow, 100_000) < 4 * few
