#!/usr/bin/env bash
# Which of two equally old rows an as-of join finds in DuckDB depends on how many rows ask.
#
# One would guess: when two versions of a profile have the same time, an as-of join takes the later written one, or the
# earlier one, but always by the same rule, and in the same way in DuckDB, Polars and pandas.
#
# What happens (DuckDB 2.0.1, Polars 2.1.0, pandas 3.1.1):
# - With fewer than 64 rows on the left DuckDB runs a nested loop and takes the first of the two. From 64 rows on it
#   sorts and merges, and takes the last. Nothing in the query or in its result shows which of the two it was.
# - Polars and pandas take the last of equal times when they look back, and the first when they look forward.
# - Between an older and a newer row at the same distance, "nearest" is the older one in pandas and the newer in Polars.
#
# Why it matters here: look-ups "as of the event" are as-of joins, and changes that one transaction wrote share their time. A
# unit test with ten events passes with one version of the profile, the replay of a month takes the other. Times that can
# tie need a second key before the join (keep one row a time), in every engine.
#
# Source: `asof_loop_join_threshold` in https://duckdb.org/docs/stable/configuration/overview names the limit, not the effect;
# https://github.com/duckdb/duckdb/issues/25536 calls ties expected behaviour;
# https://docs.pola.rs/api/python/stable/reference/dataframe/api/polars.DataFrame.join_asof.html
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1 polars==2.1.0 pandas==3.1.1
"$folder/venv/bin/python" - <<'PYTHON'
import duckdb
import pandas as pd
import polars as pl

# a profile with two versions at second 5 and one at second 15
VERSIONS = {"time": [5, 5, 15], "version": ["first", "second", "later"]}
#     events, at second 10, look      DuckDB       Polars       pandas
EXPECTED = [
    (1,  "backward", ["first"],  ["second"], ["second"]),
    (63, "backward", ["first"],  ["second"], ["second"]),
    (64, "backward", ["second"], ["second"], ["second"]),
    (64, "nearest",  None,       ["later"],  ["second"]),
]
versions, frame = pl.DataFrame(VERSIONS).set_sorted("time"), pd.DataFrame(VERSIONS)
connection = duckdb.connect()
connection.execute("create table versions as select * from (values (5, 'first'), (5, 'second'), (15, 'later')) v(time, version)")
wrong = 0
for count, look, *expected in EXPECTED:
    connection.execute(f"create or replace table events as select 10 as time from range({count})")
    by_duckdb = None
    if look == "backward":
        query = "select distinct version from events asof join versions on events.time >= versions.time"
        by_duckdb = [version for (version,) in connection.execute(query).fetchall()]
    events = pl.DataFrame({"time": [10] * count}).set_sorted("time")
    by_polars = events.join_asof(versions, on="time", strategy=look)["version"].unique().to_list()
    by_pandas = list(pd.merge_asof(pd.DataFrame({"time": [10] * count}), frame, on="time", direction=look).version.unique())
    seen = [by_duckdb, by_polars, by_pandas]
    print(f"{count:>3} events, {look:<9} DuckDB {by_duckdb}, Polars {by_polars}, pandas {by_pandas}")
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
