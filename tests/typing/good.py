"""What a user writes, as both type checkers are to take it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl

import flowdsl as fd
from flowdsl import on, sinks, testing, var

likes = (
    on("link.created", link_type="likes", name="notify-like", description="likes of posts")
    .resolve("target_id", via="owns", direction="reverse", as_="owner")
    .resolve("source_id", as_="fan", required=False)
    .where(var.source_id != var.owner.id)
    .where("fan.age >= 18 and not is_null(fan.name)")
    .where(lambda context: bool(context["fan"]))
    .deduplicate(["source_id", "target_id"], window="1h")
    .batch("target_id", window=dt.timedelta(minutes=5), min_count=1)
    .rate_limit(100, per="1m", strategy="queue", key=var.owner.id)
    .map(recipient_id="{{ owner.id }}", title="{{ fan.name }}", count=var.batch.count)
    .deliver("in-app", "push")
)
feed = (
    on("entity.created", entity_type="post")
    .fan_out("data.author_id", via="follows", as_="follower")
    .map({"a": 1})
)

users: dict[str, dict[str, Any]] = {"ann": {"name": "Ann"}}
graph = fd.EntityGraph(
    {"user": users, "post": pl.DataFrame({"id": ["p"]})},
    [{"link_type": "owns", "source_id": "ann", "target_id": "p"}],
)
event = fd.link_created("likes", "bob", "p")
log = fd.MemoryEventLog()
number: int = log.append(event, timestamp="2026-01-01T00:00:00Z")
log.append([event, fd.entity_deleted("user", "ann")], duplicates="drop")
log.append(pl.DataFrame({"kind": ["link.created"]}), dt.datetime.now(dt.UTC))

result: fd.Result = fd.replay(likes, log, graph, open_windows="keep", as_of="end", target="this-rs")
for source in (log, "events/*.parquet", Path("events.parquet"), pl.DataFrame(), pd.DataFrame(), [event]):
    fd.replay([likes, feed], source, start=3, stop="2026-02-01", progress=lambda done, of: None)
project: fd.Project = fd.load("flows.yaml")
again = fd.replay(
    project, log, state=result.state, only=result.errors, sinks={"in-app": sinks.InApp("inbox.sqlite")}
)
frame: pd.DataFrame = result["in-app"]
frames: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame] = (result.deliveries, result.errors, result.dropped)
polars: pl.DataFrame = result.to_polars("in-app")
text: str = likes.to_yaml()
codes: list[str] = [finding.code for finding in likes.check(target="this-rs", log=log)]
comparison: fd.Comparison = fd.compare(result, again)
tried: fd.Sweep = fd.sweep(likes, log, graph, window=["1m", "5m"])
tuned: fd.Tuning = fd.tune(likes, log, graph, vary={"0.window": ["1m", "5m"]}, subject_to=["delay.p90 <= 1h"])
chosen: fd.Flow | None = tuned.best
bigger: fd.Flow = likes.with_step(5, window="6h").named("slower")
test: testing.FlowTest = result.as_test(1)
passed: bool = test.run(likes).passed


def deliver(delivery: sinks.Delivery) -> None:
    print(delivery.payload)


read = fd.read_events("orders.csv", {"kind": fd.literal("link.created")}, time_unit="s", duplicates="drop")
runtime = fd.Runtime(
    project, fd.ParquetEventLog("log"), graph, {"in-app": deliver, "push": sinks.Frame()}, state="keep"
)
handle = runtime.start("latest")
handle.stop()
