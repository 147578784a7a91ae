"""Workload A by hand: a like is told to the first owner of the post.

Measured on 2 cores with 2 M events: inner joins that keep the left order are the fastest formulation; left joins and
one mask cost a tenth more, the streaming engine with a sort half as much again, DuckDB three times as much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from tests.benchmarks.data.likes import Likes
from tests.benchmarks.outcome import Outcome, counted

SINK = "in-app"


@dataclass(frozen=True)
class Frames:
    """The log and the graph as Polars frames; the log may be a lazy scan of a file."""

    events: pl.LazyFrame
    users: pl.LazyFrame
    links: pl.LazyFrame

    @staticmethod
    def of(data: Likes, log: Path | None = None) -> Frames:
        """Hold the data in memory, or scan the log from Parquet."""
        events = pl.scan_parquet(log) if log else _frame(data.events)
        return Frames(events, _frame(data.graph.users), _frame(data.graph.links))

    def likes(self) -> pl.LazyFrame:
        """Give the events that the trigger takes."""
        return self.events.filter((pl.col("kind") == "link.created") & (pl.col("link_type") == "likes"))

    def owners(self) -> pl.LazyFrame:
        """Give the first owner of each post, where that owner is an entity."""
        owns = self.links.filter(pl.col("link_type") == "owns").unique(
            "target_id", keep="first", maintain_order=False
        )
        known = self.users.select(source_id="id")
        return owns.join(known, on="source_id", how="semi").select("target_id", recipient_id="source_id")

    def titles(self) -> pl.LazyFrame:
        """Render the text once per fan, not once per like."""
        return self.users.select(
            source_id="id", title=pl.concat_str(pl.col("name"), pl.lit(" liked your post"))
        )


def _frame(table: pa.Table) -> pl.LazyFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame.rechunk().lazy()


def joined(frames: Frames, order: str) -> pl.LazyFrame:
    """Join owners and fans to the likes; `order` is what the joins keep."""
    likes = frames.likes().select("seq_no", "timestamp", "source_id", "target_id")
    both = likes.join(frames.owners(), on="target_id", maintain_order=order).join(
        frames.titles(), on="source_id", maintain_order=order
    )
    keep = pl.col("source_id") != pl.col("recipient_id")
    return both.select("seq_no", "timestamp", "recipient_id", "title", keep=keep)


def polars_inner(frames: Frames) -> Outcome:
    """Use inner joins that keep the order."""
    rows = frames.likes().select(pl.len()).collect().item()
    both = joined(frames, "left").collect(engine="in-memory")
    out = both.filter("keep").drop("keep")
    return Outcome({SINK: out}, counted(rows - both.height, both.height - out.height))


def polars_sorted(frames: Frames) -> Outcome:
    """Use inner joins in any order and the streaming engine, then sort."""
    rows = frames.likes().select(pl.len()).collect().item()
    both = joined(frames, "none").collect(engine="streaming")
    out = both.filter("keep").drop("keep").sort("seq_no")
    return Outcome({SINK: out}, counted(rows - both.height, both.height - out.height))


def polars_side_by_side(frames: Frames) -> Outcome:
    """Look owners and fans up side by side with left joins, and filter the columns by one mask."""
    likes = frames.likes().collect(engine="in-memory")
    owners = (
        likes.lazy()
        .select("target_id")
        .join(frames.owners(), on="target_id", how="left", maintain_order="left")
    )
    titles = (
        likes.lazy()
        .select("source_id")
        .join(frames.titles(), on="source_id", how="left", maintain_order="left")
    )
    both = pl.collect_all([owners.select("recipient_id"), titles.select("title")], engine="in-memory")
    recipient, title = both[0]["recipient_id"], both[1]["title"]
    found = recipient.is_not_null() & title.is_not_null()
    keep = found & (recipient != likes["source_id"])
    out = pl.DataFrame([likes["seq_no"], likes["timestamp"], recipient, title]).filter(keep)
    ok = int(found.sum())
    return Outcome({SINK: out}, counted(likes.height - ok, ok - out.height))


SQL = """
with owner as (
  select target_id, arg_min(source_id, position) as id
  from (select *, row_number() over () as position from links where link_type = 'owns') group by target_id
), known as (select target_id, owner.id from owner semi join users on users.id = owner.id),
fan as (select id, name || ' liked your post' as title from users)
select e.seq_no, e.timestamp, known.id as recipient_id, fan.title, e.source_id <> known.id as keep
from events e join known using (target_id) join fan on fan.id = e.source_id
where e.kind = 'link.created' and e.link_type = 'likes' {order}
"""


def connection(data: Likes, log: Path | None = None, *, native: bool = True) -> duckdb.DuckDBPyConnection:
    """Open DuckDB over the data: as its own tables (the default), or over the Arrow tables in place."""
    db = duckdb.connect()
    for name, table in (("users", data.graph.users), ("links", data.graph.links), ("events", data.events)):
        if name == "events" and log:
            db.execute(f"create view events as select * from read_parquet('{log}')")
        elif native:
            db.register("given", table)
            db.execute(f"create table {name} as select * from given")
            db.unregister("given")
        else:
            db.register(name, table)
    return db


def duckdb_query(db: duckdb.DuckDBPyConnection) -> Outcome:
    """Use one SQL query, sorted at the end."""
    counting = "select count(*) from events where kind = 'link.created' and link_type = 'likes'"
    rows = db.sql(counting).fetchall()[0][0]
    both = db.sql(SQL.format(order="order by e.seq_no")).to_arrow_table()
    out = both.filter(both["keep"]).drop_columns("keep")
    return Outcome({SINK: out}, counted(rows - both.num_rows, both.num_rows - out.num_rows))


def duckdb_then_polars(db: duckdb.DuckDBPyConnection) -> Outcome:
    """Use one SQL query in any order, and let Polars sort."""
    counting = "select count(*) from events where kind = 'link.created' and link_type = 'likes'"
    rows = db.sql(counting).fetchall()[0][0]
    both = db.sql(SQL.format(order="")).to_arrow_table()
    frame = pl.from_arrow(both.filter(pc.field("keep")).drop_columns("keep"))
    assert isinstance(frame, pl.DataFrame)
    return Outcome({SINK: frame.sort("seq_no")}, counted(rows - both.num_rows, both.num_rows - frame.height))


def sides(data: Likes, log: Path | None = None) -> dict[str, Callable[[], Outcome]]:
    """Give the hand-written sides over memory, or over a Parquet log."""
    frames, native = Frames.of(data, log), connection(data, log)
    chosen: dict[str, Callable[[], Outcome]] = {
        "polars inner": lambda: polars_inner(frames),
        "polars side by side": lambda: polars_side_by_side(frames),
        "polars sorted": lambda: polars_sorted(frames),
        "duckdb": lambda: duckdb_query(native),
        "duckdb + polars sort": lambda: duckdb_then_polars(native),
    }
    if log is None:
        arrow = connection(data, native=False)
        chosen["duckdb on arrow"] = lambda: duckdb_query(arrow)
    return chosen
