"""flowdsl's side of every workload, through its public names only.

Timed is `fd.replay(...)` and the Polars frame of each sink, as the Polars sides end with one; graphs are built before. flowdsl is imported only when a
side is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from tests.benchmarks.data.feed import Feed
from tests.benchmarks.data.likes import Likes
from tests.benchmarks.outcome import Outcome

Run = Callable[[], Outcome]
COLUMNS = {"seq_no": "seq_no", "event_time": "timestamp", "recipient_id": "recipient_id", "title": "title"}
DELIVERED = {
    "seq_no": "seq_no",
    "delivered_at": "delivered_at",
    "recipient_id": "recipient_id",
    "title": "title",
}


def available() -> bool:
    """Say whether this checkout of flowdsl can replay."""
    try:
        import flowdsl as fd
    except ImportError:
        return False
    return hasattr(fd, "replay") and hasattr(fd, "EntityGraph")


def in_memory(events: pa.Table, again: bool = False) -> Callable[[], Any]:
    """Give the log as the Polars sides have it before the clock starts, a Polars frame: with `again` the same each time, of which
    flowdsl keeps what it has read; else one that it has not seen.
    """
    frame = pl.DataFrame(events)
    return (lambda: frame) if again else frame.clone


def likes_graph(users: pa.Table, posts: pa.Table, links: pa.Table) -> Any:
    """Build the graph of workload A."""
    import flowdsl as fd

    return fd.EntityGraph(entities={"user": users, "post": posts}, links=links)


def _graph_of(data: Likes) -> Any:
    return likes_graph(data.graph.users, data.graph.posts, data.graph.links)


def likes_flow() -> Any:
    """Give the flow of workload A."""
    from flowdsl import on, var

    return (
        on("link.created", link_type="likes")
        .resolve("target_id", via="owns", direction="reverse", as_="owner")
        .resolve("source_id", as_="fan")
        .where(var.source_id != var.owner.id)
        .map(recipient_id="{{ owner.id }}", title="{{ fan.name }} liked your post")
        .deliver("in-app")
    )


def outcome(result: Any, sinks: Sequence[str], columns: dict[str, str]) -> Outcome:
    """Take the frame of each sink, with the columns that the other sides have, named as they name them."""
    tables = {sink: result.polars(sink, list(columns)).rename(columns) for sink in sinks}

    def counts() -> tuple[int, int]:
        steps = result.steps
        return int(steps["failed"].sum()), int(steps["dropped"].sum())

    return Outcome(tables, counts)


def likes(data: Likes, log: Path | None = None, again: bool = False) -> Run:
    """Workload A, over memory or over a Parquet file."""
    import flowdsl as fd

    flow, graph = likes_flow(), _graph_of(data)
    source = (lambda: str(log)) if log else in_memory(data.events, again)
    return lambda: outcome(fd.replay(flow, source(), graph), ["in-app"], COLUMNS)


def feed(data: Feed, again: bool = False) -> Run:
    """Workload B."""
    import flowdsl as fd
    from flowdsl import on

    flow = (
        on("entity.created", entity_type="post")
        .fan_out("data.author_id", via="follows", direction="reverse", as_="follower")
        .map(recipient_id="{{ follower.id }}", title="New: {{ data.title }}", kind="feed")
        .deliver("feed")
    )
    graph = fd.EntityGraph(entities={"user": data.users}, links=data.links)
    events = in_memory(data.events, again)
    return lambda: outcome(fd.replay(flow, events(), graph), ["feed"], {**COLUMNS, "kind": "kind"})


def step(name: str, events: pa.Table) -> Run:
    """Workload C: one stateful step alone."""
    import flowdsl as fd
    from flowdsl import on

    start = on("link.created", link_type="likes")
    steps = {
        "deduplicate": lambda: start.deduplicate("source_id", window="1h"),
        "batch": lambda: start.batch("target_id", window="5m"),
        "limit drop": lambda: start.rate_limit(100, per="1m", strategy="drop"),
        "limit queue": lambda: start.rate_limit(100, per="1m", strategy="queue"),
    }
    title = "{{ batch.count }} likes" if name == "batch" else "a like"
    flow = steps[name]().map(recipient_id="{{ target_id }}", title=title).deliver("in-app")
    log = in_memory(events)
    return lambda: outcome(fd.replay(flow, log()), ["in-app"], DELIVERED)


def orders(events: pa.Table, again: bool = False) -> Run:
    """Workload D."""
    import flowdsl as fd
    from flowdsl import on

    flow = (
        on("entity.created", entity_type="order")
        .where("data.amount > 250 and data.country == 'FR'")
        .resolve("data.owner_id", as_="owner")
        .map(recipient_id="{{ owner.id }}", title="{{ owner.profile.city }}: {{ data.amount }}")
        .deliver("in-app")
    )
    log = in_memory(events, again)
    return lambda: outcome(fd.replay(flow, log()), ["in-app"], COLUMNS)


def many_flows(count: int) -> list[Any]:
    """Give the first flows of workload E, in the order of `queries.many.FLOWS`."""
    from flowdsl import on

    like = on("link.created", link_type="likes")
    fan, post = like.resolve("source_id", as_="fan"), like.resolve("target_id", as_="post")
    owner = like.resolve("target_id", via="owns", direction="reverse", as_="owner")
    both, own_post = (
        owner.resolve("source_id", as_="fan"),
        post.resolve("target_id", via="owns", direction="reverse", as_="owner"),
    )
    to_owner, to_target, to_source = "{{ owner.id }}", "{{ target_id }}", "{{ source_id }}"
    made = [
        (both, "source_id != owner.id", to_owner, "{{ fan.name }} liked your post", "in-app"),
        (fan, "fan.country == 'FR'", to_target, "{{ fan.name }} from {{ fan.country }}", "country"),
        (owner, "owner.tier == 'pro'", to_owner, "A like for {{ owner.name }}", "pro"),
        (post, "post.topic == 'topic-7'", to_source, "{{ post.title }} was liked", "topic"),
        (
            both,
            "fan.score > 900 and owner.score < 500",
            to_owner,
            "{{ fan.name }} noticed {{ owner.name }}",
            "star",
        ),
        (
            both,
            "fan.country == owner.country and source_id != owner.id",
            to_owner,
            "{{ fan.name }} from {{ owner.country }}",
            "near",
        ),
        (owner, "source_id == owner.id", to_owner, "{{ owner.name }} liked an own post", "self"),
        (
            own_post,
            "post.topic in ['topic-11', 'topic-12']",
            to_owner,
            "{{ owner.name }}: {{ post.title }}",
            "digest",
        ),
        (fan, "fan.tier == 'plus' and fan.score >= 800", to_target, "{{ fan.name }} (plus)", "plus"),
        (post, "startswith(post.title, 'Post number 12')", to_source, "{{ post.title }} again", "prefix"),
    ]
    return [
        start.where(condition).map(recipient_id=recipient, title=title).deliver(sink)
        for start, condition, recipient, title, sink in made[:count]
    ]


def many(data: Likes, count: int) -> Run:
    """Workload E: the first `count` flows in one replay."""
    import flowdsl as fd
    from tests.benchmarks.queries.many import FLOWS

    flows, graph = many_flows(count), _graph_of(data)
    sinks, log = [flow.sink for flow in FLOWS[:count]], in_memory(data.events)
    return lambda: outcome(fd.replay(flows, log(), graph), sinks, COLUMNS)
