"""Workload B by hand: posts fanned out over the follows that are alive at that moment, in their order.

The plain queries join posts with links. The expert ones know that a list of followers per author, made once, can be
exploded after the join; with ends, that lifetimes are found by one sort of hashed pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import duckdb
import polars as pl
import pyarrow as pa

from tests.benchmarks.data.feed import Feed
from tests.benchmarks.outcome import Outcome

SINK = "feed"
FOREVER = 2**62
IN_MEMORY = "in-memory"
COLUMNS = ("seq_no", "timestamp", "recipient_id", "title", "kind")


@dataclass(frozen=True)
class Frames:
    """The log and the snapshot's links."""

    events: pl.LazyFrame
    links: pl.LazyFrame

    @staticmethod
    def of(data: Feed) -> Frames:
        """Hold the data as Polars frames in memory."""
        events, links = pl.from_arrow(data.events), pl.from_arrow(data.links)
        assert isinstance(events, pl.DataFrame)
        assert isinstance(links, pl.DataFrame)
        return Frames(events.rechunk().lazy(), links.rechunk().lazy())

    def posts(self) -> pl.LazyFrame:
        """Give each post with its author and its rendered title: each document is parsed once."""
        fields = pl.Struct({"title": pl.String, "author_id": pl.String})
        taken = self.events.filter((pl.col("kind") == "entity.created") & (pl.col("entity_type") == "post"))
        parsed = taken.select("seq_no", "timestamp", pl.col("data").str.json_decode(fields)).unnest("data")
        title = pl.concat_str(pl.lit("New: "), pl.col("title"))
        return parsed.select("seq_no", "timestamp", author="author_id", title=title)

    def follows(self) -> pl.LazyFrame:
        """Give the snapshot's links in their order."""
        return self.links.filter(pl.col("link_type") == "follows").select(
            author="target_id", recipient_id="source_id"
        )

    def changes(self) -> pl.LazyFrame:
        """Give all links of the snapshot and of the log, with when they come (`up`) or go."""
        before = self.follows().with_columns(start=pl.lit(0, pl.Int64), up=pl.lit(True))
        kinds = pl.col("kind").is_in(["link.created", "link.deleted"])
        later = self.events.filter(kinds & (pl.col("link_type") == "follows")).select(
            author="target_id", recipient_id="source_id", start="seq_no", up=pl.col("kind") == "link.created"
        )
        return pl.concat([before, later])

    def lives_by_window(self) -> pl.LazyFrame:
        """Give each link with its start and stop, by a window function over its pair."""
        stop = pl.col("start").shift(-1).over("author", "recipient_id").fill_null(FOREVER)
        return self.changes().with_columns(stop=stop).filter("up").drop("up")

    def lives_by_sort(self) -> pl.LazyFrame:
        """Give the same by one sort of hashed pairs, which is four times faster."""
        pair = pl.struct("author", "recipient_id").hash(1)
        changes = self.changes().collect(engine=IN_MEMORY)
        ordered = changes.lazy().select("start", "up", pair=pair).with_row_index("at").sort("pair", "at")
        same = pl.col("pair").shift(-1) == pl.col("pair")
        stop = pl.when(same).then(pl.col("start").shift(-1)).otherwise(FOREVER)
        lives = ordered.with_columns(stop=stop).filter("up").sort("at").collect(engine=IN_MEMORY)
        links = changes.select(pl.col("author", "recipient_id").gather(lives["at"]))
        return links.with_columns(lives["start"], lives["stop"]).lazy()


def _outcome(frames: Frames, rows: pl.LazyFrame, posts: pl.LazyFrame) -> Outcome:
    out = rows.select(*COLUMNS[:4], kind=pl.lit("feed")).collect(engine=IN_MEMORY)

    def counts() -> tuple[int, int]:
        reached = out["seq_no"].n_unique()
        return 0, int(posts.select(pl.len()).collect().item()) - reached

    return Outcome({SINK: out}, counts)


def _alive() -> pl.Expr:
    return (pl.col("start") < pl.col("seq_no")) & (pl.col("stop") > pl.col("seq_no"))


def polars_static(frames: Frames) -> Outcome:
    """Join posts with links, in the order of both."""
    posts = frames.posts()
    return _outcome(frames, posts.join(frames.follows(), on="author", maintain_order="left_right"), posts)


def polars_static_expert(frames: Frames) -> Outcome:
    """Gather the followers of each author into a list once, join, and explode."""
    posts = frames.posts()
    lists = frames.follows().group_by("author").agg("recipient_id")
    return _outcome(
        frames, posts.join(lists, on="author", maintain_order="left").explode("recipient_id"), posts
    )


def polars_ends(frames: Frames) -> Outcome:
    """Join posts with all links that ever were, in the order of both, and keep those alive."""
    posts = frames.posts()
    every = posts.join(frames.lives_by_window(), on="author", maintain_order="left_right")
    return _outcome(frames, every.filter(_alive()), posts)


def polars_ends_expert(frames: Frames) -> Outcome:
    """Use lifetimes by one sort, and lists of links per author."""
    posts = frames.posts()
    lists = frames.lives_by_sort().group_by("author").agg("recipient_id", "start", "stop")
    every = posts.join(lists, on="author", maintain_order="left").explode("recipient_id", "start", "stop")
    return _outcome(frames, every.filter(_alive()), posts)


POSTS_SQL = """select seq_no, timestamp, data->>'$.author_id' as author, 'New: ' || (data->>'$.title') as title
from events where kind = 'entity.created' and entity_type = 'post'"""

STATIC_SQL = f"""
with post as ({POSTS_SQL}), follow as (select *, rowid as place from links where link_type = 'follows')
select seq_no, timestamp, source_id as recipient_id, title, 'feed' as kind
from post join follow on target_id = author order by seq_no, place
"""

STATIC_EXPERT_SQL = f"""
with post as ({POSTS_SQL}),
follow as (select target_id, list(source_id order by rowid) as fans from links where link_type = 'follows' group by 1)
select seq_no, timestamp, unnest(fans) as recipient_id, title, 'feed' as kind
from (select * from post join follow on target_id = author order by seq_no)
"""

ENDS_SQL = f"""
with post as ({POSTS_SQL}), change as (
  select source_id, target_id, 0 as start, true as up, rowid as place from links where link_type = 'follows' union all
  select source_id, target_id, seq_no, kind = 'link.created', seq_no + 1000000000
  from events where kind in ('link.created', 'link.deleted') and link_type = 'follows'
), life as (
  select *, coalesce(lead(start) over (partition by source_id, target_id order by start), {FOREVER}) as stop from change
)
select seq_no, timestamp, source_id as recipient_id, title, 'feed' as kind
from post join life on target_id = author and up and start < seq_no and stop > seq_no order by seq_no, place
"""


def duckdb_query(db: duckdb.DuckDBPyConnection, sql: str) -> Outcome:
    """Run one SQL query."""
    return Outcome({SINK: db.sql(sql).to_arrow_table()})


def _connection(data: Feed) -> duckdb.DuckDBPyConnection:
    db = duckdb.connect()
    for name, table in (("events", data.events), ("links", data.links)):
        given: pa.Table = table
        db.register("given", given)
        db.execute(f"create table {name} as select * from given")
        db.unregister("given")
    return db


def sides(
    data: Feed, *, ends: bool
) -> tuple[dict[str, Callable[[], Outcome]], dict[str, Callable[[], Outcome]]]:
    """Give the plain sides and the expert ones."""
    frames, db = Frames.of(data), _connection(data)
    if ends:
        plain = {"polars": lambda: polars_ends(frames), "duckdb": lambda: duckdb_query(db, ENDS_SQL)}
        return plain, {"polars expert": lambda: polars_ends_expert(frames)}
    plain = {"polars": lambda: polars_static(frames), "duckdb": lambda: duckdb_query(db, STATIC_SQL)}
    expert = {
        "polars expert": lambda: polars_static_expert(frames),
        "duckdb expert": lambda: duckdb_query(db, STATIC_EXPERT_SQL),
    }
    return plain, expert
