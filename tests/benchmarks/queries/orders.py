"""Workload D by hand: big orders from France, with the city where the customer lives at that moment.

DuckDB takes all paths of a document with one parse, compares JSON unparsed, and parses only the versions that are hit.
Polars parses with a schema; its amounts are floats from then on, and rendered as such.
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from tests.benchmarks.outcome import Outcome, counted

SINK = "in-app"
MIN_AMOUNT = 250
IN_MEMORY = "in-memory"
IS_ORDER = (pl.col("kind") == "entity.created") & (pl.col("entity_type") == "order")


def _by_path(events: pl.LazyFrame) -> pl.LazyFrame:
    path = pl.col("data").str.json_path_match
    fields = {"amount": path("$.amount"), "country": path("$.country"), "owner": path("$.owner_id")}
    return events.filter(IS_ORDER).select("seq_no", "timestamp", **fields)


def _by_schema(events: pl.LazyFrame) -> pl.LazyFrame:
    schema = pl.Struct({"amount": pl.Float64, "country": pl.String, "owner_id": pl.String})
    parsed = events.filter(IS_ORDER).select("seq_no", "timestamp", pl.col("data").str.json_decode(schema))
    return parsed.unnest("data").rename({"owner_id": "owner"})


def polars_query(events: pl.LazyFrame, *, schema: bool) -> Outcome:
    """Filter the orders, and find the customer's last version before each by an as-of join on those hit."""
    orders = _by_schema(events) if schema else _by_path(events)
    wanted = (pl.col("country") == "FR") & (pl.col("amount").cast(pl.Float64) > MIN_AMOUNT)
    hits = orders.filter(wanted).collect(engine=IN_MEMORY)
    total = events.filter(IS_ORDER).select(pl.len()).collect().item()
    versions = events.filter(pl.col("entity_type") == "customer").select("seq_no", "data", owner="entity_id")
    among = versions.filter(pl.col("owner").is_in(hits["owner"].unique().implode())).collect(engine=IN_MEMORY)
    found = hits.join_asof(among, on="seq_no", by="owner", check_sortedness=False).filter(
        pl.col("data").is_not_null()
    )
    amount = pl.col("amount").cast(pl.String).str.strip_suffix(".0") if schema else pl.col("amount")
    city = pl.col("data").str.json_path_match("$.profile.city")
    title = pl.concat_str(city, pl.lit(": "), amount)
    out = found.select("seq_no", "timestamp", recipient_id="owner", title=title)
    return Outcome({SINK: out}, counted(hits.height - out.height, total - hits.height))


SQL = f"""
with parsed as (
  select seq_no, timestamp, json_extract(data, ['$.amount', '$.country', '$.owner_id']) as field
  from events where kind = 'entity.created' and entity_type = 'order'
), hit as materialized (
  select seq_no, timestamp, field[1]::varchar as amount, field[3]->>'$' as owner
  from parsed where field[2]::varchar = '"FR"' and try_cast(field[1]::varchar as double) > {MIN_AMOUNT}
), version as (select seq_no, entity_id, data from events where entity_type = 'customer' {{among}})
select hit.seq_no, hit.timestamp, owner as recipient_id, (data->>'$.profile.city') || ': ' || amount as title,
  data is not null as found
from hit asof left join version on owner = entity_id and hit.seq_no >= version.seq_no order by hit.seq_no
"""
AMONG = "and entity_id in (select owner from hit)"


def duckdb_query(db: duckdb.DuckDBPyConnection, among: str) -> Outcome:
    """Run one SQL query with an as-of join, over all versions or among those of customers that are hit."""
    counting = "select count(*) from events where kind = 'entity.created' and entity_type = 'order'"
    total = db.sql(counting).fetchall()[0][0]
    hits = db.sql(SQL.format(among=among)).to_arrow_table()
    out = hits.filter(pc.field("found")).drop_columns("found")
    return Outcome({SINK: out}, counted(hits.num_rows - out.num_rows, total - hits.num_rows))


def sides(table: pa.Table) -> dict[str, Callable[[], Outcome]]:
    """Give the hand-written sides over the log in memory."""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    events = frame.rechunk().lazy()
    db = duckdb.connect()
    db.register("given", table)
    db.execute("create table events as select * from given")
    db.unregister("given")
    return {
        "duckdb": lambda: duckdb_query(db, ""),
        "duckdb among hits": lambda: duckdb_query(db, AMONG),
        "polars by path": lambda: polars_query(events, schema=False),
        "polars by schema": lambda: polars_query(events, schema=True),
    }
