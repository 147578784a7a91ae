"""The load of `tests.benchmarks.live` in small: everything arrives, at whatever rate, and ten others read along."""

from __future__ import annotations

import time
from pathlib import Path

import flowdsl as fd
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
    paced = found.events - 750 - 20
    assert found.read_by_subscribers == [paced] * live.SUBSCRIBERS
    assert 0 < len(found.latencies) <= paced
    assert (found.latencies > 0).all()
    # far more than it takes, and far less than something that grows with the log would
    assert time.process_time() - began < 30
