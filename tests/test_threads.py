"""Large chunks are worked on by several threads; nothing of that shows in a result."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl
import pytest

import flowdsl as fd
from flowdsl import on, var
from flowdsl.engine.executor import StepExecutor
from flowdsl.log import open_log

EVENTS = 30_000


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    rng = np.random.default_rng(7)
    posts = rng.random(EVENTS) < 0.3
    follows = ~posts & (rng.random(EVENTS) < 0.2)
    user = [f"u{n}" for n in rng.integers(0, 300, EVENTS)]
    other = [f"u{n}" for n in rng.integers(0, 320, EVENTS)]
    return pl.DataFrame({"n": np.arange(EVENTS), "post": posts, "follow": follows, "user": user, "other": other}).select(
        (pl.col("n") * 1000).cast(pl.Datetime("us", "UTC")).alias("timestamp"),
        pl.when("post").then(pl.lit("entity.created")).when((pl.col("n") % 11 == 0) & pl.col("follow")).then(pl.lit("link.deleted")).otherwise(pl.lit("link.created")).alias("kind"),
        pl.when("post").then(pl.lit("post")).alias("entity_type"),
        pl.when("post").then(pl.format("p{}", "n")).alias("entity_id"),
        pl.when("post").then(pl.lit(None, pl.String)).when("follow").then(pl.lit("follows")).otherwise(pl.lit("likes")).alias("link_type"),
        pl.when("post").then(pl.lit(None, pl.String)).otherwise("user").alias("source_id"),
        pl.when("post").then(pl.lit(None, pl.String)).otherwise("other").alias("target_id"),
        pl.when("post").then(pl.concat_str(pl.lit('{"by":"'), "user", pl.lit('","title":"post '), "n", pl.lit('"}'))).alias("data"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def graph() -> fd.EntityGraph:
    users = pl.DataFrame({"id": [f"u{n}" for n in range(310)], "name": [f"User {n}" for n in range(310)]})
    links = [
        {"link_type": "follows", "source_id": f"u{n}", "target_id": f"u{n * 7 % 300}"} for n in range(300)
    ]
    return fd.EntityGraph({"user": users}, links)


FEED = on("entity.created", entity_type="post", name="feed").fan_out(
    "data.by", via="follows", direction="reverse", as_="follower"
)
FLOWS = [
    FEED.map(recipient_id="{{ follower_id }}", title="{{ data.title }} for {{ follower.name }}").deliver(
        "feed"
    ),
    FEED.named("friends")
    .fan_out("follower_id", via="follows", direction="reverse", as_="friend")
    .where(var.friend_id != var.follower_id)
    .map(recipient_id="{{ friend_id }}", title="{{ friend.name }}")
    .deliver("feed"),
    FEED.named("digest")
    .batch("follower_id", window="2s")
    .map(n=var.batch.count, of="{{ follower_id }}")
    .deliver("mail"),
    on("link.created", link_type="likes", name="likes")
    .resolve("source_id", as_="fan")
    .deduplicate(["source_id", "target_id"], window="5s")
    .rate_limit(40, per="1s", strategy="queue", key="target_id")
    .map(recipient_id="{{ target_id }}", title="{{ fan.name }}")
    .deliver("in-app", "feed"),
]


def test_slices_of_a_stateless_fan_out_run_apart_and_give_the_same(
    events: pl.DataFrame, graph: fd.EntityGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []
    run = StepExecutor.run

    def counted(one: StepExecutor, contexts: Any, *rest: Any) -> Any:
        if one.step.fans_out:
            seen.append((threading.current_thread().name, len(contexts)))
        return run(one, contexts, *rest)

    monkeypatch.setattr(StepExecutor, "run", counted)
    whole = fd.replay(FLOWS[:1], events, graph)
    apart = [contexts for thread, contexts in seen if thread.startswith("flowdsl-run")]
    posts = int((events["kind"] == "entity.created").sum())
    # every post was fanned out once, and most of them on threads of the run
    assert sum(contexts for _, contexts in seen) == posts
    assert sum(apart) > posts / 2
    assert len(apart) >= 4
    one_by_one = fd.replay(FLOWS[:1], events, graph, chunk_size=997)
    assert whole.polars("feed").equals(one_by_one.polars("feed"))
    assert (
        whole.to_polars(table="steps")
        .drop("seconds")
        .equals(one_by_one.to_polars(table="steps").drop("seconds"))
    )


def test_many_small_chunks_and_few_large_ones_give_the_same(
    events: pl.DataFrame, graph: fd.EntityGraph
) -> None:
    # small chunks stay on one thread, a large one is spread over several
    whole, small = fd.replay(FLOWS, events, graph), fd.replay(FLOWS, events, graph, chunk_size=997)
    assert len(whole) > 100_000
    for sink in whole.sinks:
        assert whole.polars(sink).equals(small.polars(sink)), sink
    assert whole.errors.equals(small.errors)
    assert whole.dropped.equals(small.dropped)
    assert whole.steps.drop(columns="seconds").equals(small.steps.drop(columns="seconds"))


def test_the_same_replay_twice_gives_the_same_bytes(
    events: pl.DataFrame, graph: fd.EntityGraph, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folders = [tmp_path_factory.mktemp("result") for _ in range(2)]
    for folder in folders:
        fd.replay(FLOWS, events, graph, out=folder)
    first, second = (sorted(p.relative_to(f) for p in f.rglob("*.parquet")) for f in folders)
    assert first == second
    assert all((folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in first)


def test_one_log_is_replayed_by_several_threads_at_once(events: pl.DataFrame, graph: fd.EntityGraph):
    log = open_log(events.head(4_000))
    flow = on("entity.created").map(title="{{ data.title }}").deliver("feed")
    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(fd.replay, flow, log, graph, chunk_size=300, progress=False) for _ in range(8)]
        counts = {len(result.result()) for result in results}
    assert counts == {(events.head(4_000)["kind"] == "entity.created").sum()}
