"""Workload E by hand: several flows over one log, as single queries, as one plan, and over one wide frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import duckdb
import polars as pl

from tests.benchmarks.data.likes import Likes
from tests.benchmarks.outcome import Outcome
from tests.benchmarks.queries import likes

IN_MEMORY = "in-memory"


@dataclass(frozen=True)
class FlowQuery:
    """One flow as SQL expressions over the columns of the event and of what it resolves (`owner_name` …)."""

    sink: str
    needs: tuple[str, ...]
    condition: str
    recipient: str
    title: str


FLOWS = (
    FlowQuery(
        "in-app", ("owner", "fan"), "source_id <> owner_id", "owner_id", "fan_name || ' liked your post'"
    ),
    FlowQuery("country", ("fan",), "fan_country = 'FR'", "target_id", "fan_name || ' from ' || fan_country"),
    FlowQuery("pro", ("owner",), "owner_tier = 'pro'", "owner_id", "'A like for ' || owner_name"),
    FlowQuery("topic", ("post",), "post_topic = 'topic-7'", "source_id", "post_title || ' was liked'"),
    FlowQuery(
        "star",
        ("owner", "fan"),
        "fan_score > 900 and owner_score < 500",
        "owner_id",
        "fan_name || ' noticed ' || owner_name",
    ),
    FlowQuery(
        "near",
        ("owner", "fan"),
        "fan_country = owner_country and source_id <> owner_id",
        "owner_id",
        "fan_name || ' from ' || owner_country",
    ),
    FlowQuery("self", ("owner",), "source_id = owner_id", "owner_id", "owner_name || ' liked an own post'"),
    FlowQuery(
        "digest",
        ("post", "owner"),
        "post_topic = 'topic-11' or post_topic = 'topic-12'",
        "owner_id",
        "owner_name || ': ' || post_title",
    ),
    FlowQuery(
        "plus", ("fan",), "fan_tier = 'plus' and fan_score >= 800", "target_id", "fan_name || ' (plus)'"
    ),
    FlowQuery(
        "prefix",
        ("post",),
        "starts_with(post_title, 'Post number 12')",
        "source_id",
        "post_title || ' again'",
    ),
)


@dataclass(frozen=True)
class Frames:
    """The log and what an event may resolve, each with the key that it is found by."""

    base: likes.Frames
    posts: pl.LazyFrame

    @staticmethod
    def of(data: Likes) -> Frames:
        """Hold the data in memory."""
        posts = pl.from_arrow(data.graph.posts)
        assert isinstance(posts, pl.DataFrame)
        return Frames(likes.Frames.of(data), posts.rechunk().lazy())

    def entity(self, variable: str) -> tuple[str, pl.LazyFrame]:
        """Give the event's column and the frame to join it with."""
        if variable == "fan":
            return "source_id", self.base.users.select(
                pl.col("id").alias("source_id"), pl.all().name.prefix("fan_")
            )
        if variable == "post":
            return "target_id", self.posts.select(
                pl.col("id").alias("target_id"), pl.all().name.prefix("post_")
            )
        owners = self.base.owners().rename({"recipient_id": "owner_id"})
        return "target_id", owners.join(self.base.users.select(pl.all().name.prefix("owner_")), on="owner_id")


def _selected(rows: pl.LazyFrame, flow: FlowQuery) -> pl.LazyFrame:
    recipient, title = pl.sql_expr(flow.recipient), pl.sql_expr(flow.title)
    kept = rows.filter(pl.sql_expr(flow.condition))
    return kept.select("seq_no", "timestamp", recipient.alias("recipient_id"), title.alias("title"))


def _query(frames: Frames, flow: FlowQuery) -> pl.LazyFrame:
    rows = frames.base.likes().select("seq_no", "timestamp", "source_id", "target_id")
    for variable in flow.needs:
        key, entities = frames.entity(variable)
        rows = rows.join(entities, on=key, maintain_order="left")
    return _selected(rows, flow)


def one_by_one(frames: Frames, flows: tuple[FlowQuery, ...]) -> Outcome:
    """Run one query after another."""
    return Outcome({flow.sink: _query(frames, flow).collect(engine=IN_MEMORY) for flow in flows})


def one_plan(frames: Frames, flows: tuple[FlowQuery, ...]) -> Outcome:
    """Give all queries to Polars at once, which shares what they have in common."""
    found = pl.collect_all([_query(frames, flow) for flow in flows], engine=IN_MEMORY)
    return Outcome({flow.sink: rows for flow, rows in zip(flows, found, strict=True)})


def one_wide_frame(frames: Frames, flows: tuple[FlowQuery, ...]) -> Outcome:
    """Join everything once into a wide frame, and take each flow from it."""
    rows = frames.base.likes().select("seq_no", "timestamp", "source_id", "target_id")
    for variable in {v: None for flow in flows for v in flow.needs}:
        key, entities = frames.entity(variable)
        rows = rows.join(entities, on=key, how="left", maintain_order="left")
    wide = rows.collect(engine=IN_MEMORY).lazy()
    plans = []
    for flow in flows:
        found = [pl.col(_mark(variable)).is_not_null() for variable in flow.needs]
        plans.append(_selected(wide.filter(*found), flow))
    return Outcome(
        {f.sink: rows for f, rows in zip(flows, pl.collect_all(plans, engine=IN_MEMORY), strict=True)}
    )


def _mark(variable: str) -> str:
    return "post_title" if variable == "post" else f"{variable}_name"


SQL = """
with link as (select target_id, arg_min(source_id, rowid) as owner_id from links where link_type = 'owns' group by 1),
owner as (select target_id, owner_id, name as owner_name, country as owner_country, tier as owner_tier,
  score as owner_score from link join users on users.id = owner_id),
fan as (select id as source_id, name as fan_name, country as fan_country, tier as fan_tier, score as fan_score from users),
post as (select id as target_id, title as post_title, topic as post_topic from posts)
select seq_no, timestamp, {recipient} as recipient_id, {title} as title from events {joins}
where kind = 'link.created' and link_type = 'likes' and ({condition}) order by seq_no
"""


def duckdb_one_by_one(db: duckdb.DuckDBPyConnection, flows: tuple[FlowQuery, ...]) -> Outcome:
    """Run one SQL query after another."""
    sinks = {}
    for flow in flows:
        joins = " ".join(
            f"join {name} using ({'source_id' if name == 'fan' else 'target_id'})" for name in flow.needs
        )
        sql = SQL.format(recipient=flow.recipient, title=flow.title, joins=joins, condition=flow.condition)
        sinks[flow.sink] = db.sql(sql).to_arrow_table()
    return Outcome(sinks)


def sides(data: Likes, count: int) -> dict[str, Callable[[], Outcome]]:
    """Give the hand-written sides of the first `count` flows."""
    frames, flows, db = Frames.of(data), FLOWS[:count], likes.connection(data)
    db.register("given", data.graph.posts)
    db.execute("create table posts as select * from given")
    return {
        "polars one plan": lambda: one_plan(frames, flows),
        "polars one by one": lambda: one_by_one(frames, flows),
        "polars wide frame": lambda: one_wide_frame(frames, flows),
        "duckdb one by one": lambda: duckdb_one_by_one(db, flows),
    }
