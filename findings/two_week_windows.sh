#!/usr/bin/env bash
# A window of two weeks begins in one of three weeks, depending on the engine, and pyarrow can put it after the event.
#
# One would guess: windows of a fixed width are counted from one origin. Where two engines agree on days and on weeks that
# begin on Monday, they agree on two weeks, and on ten days, as well.
#
# What happens (Polars 2.1.0, DuckDB 2.0.1, pyarrow 26.0.1, DataFusion 55.0.0) for Sunday, 29 November 2026:
# - Polars counts pairs of weeks from Monday, 1970-01-05 and DuckDB from Monday, 2000-01-03, an odd number of weeks later, so
#   that their fortnights never fall together. pyarrow, from Monday, 1969-12-29, happens to agree with DuckDB. DataFusion
#   counts days from 1970-01-01 and has fortnights that begin on Thursday.
# - Ten days begin on the 22nd in DuckDB (counted from its Monday) and on the 23rd elsewhere.
# - floor_temporal(2, "week", calendar_based_origin=True) in pyarrow gives Monday the 30th: later than the moment it floors.
# - Everything that divides a day or a week is the same everywhere, so the usual checks find nothing.
#
# Why it matters here: a digest "every two weeks" that is designed in one engine and runs in another goes out in the other
# week. A replay compares windows that share only half of their events. Anchor such windows to a date of your own.
#
# Source: https://duckdb.org/docs/stable/sql/functions/timestamp#time_bucketbucket_width-timestamp-origin (the origin);
# https://docs.pola.rs/api/python/stable/reference/expressions/api/polars.Expr.dt.truncate.html (weeks begin on Monday, no word
# of pairs); https://arrow.apache.org/docs/python/generated/pyarrow.compute.floor_temporal.html;
# https://datafusion.apache.org/user-guide/sql/scalar_functions.html#date-bin
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    duckdb==2.0.1 polars==2.1.0 pyarrow==26.0.1 datafusion==55.0.0
"$folder/venv/bin/python" - <<'PYTHON'
from datetime import datetime

import datafusion
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

AT = datetime(2026, 11, 29, 10)
#     width                             Polars   DuckDB   pyarrow  DataFusion
EXPECTED = [
    ((1, "day"),    "1d",  "1 day",     "11-29", "11-29", "11-29", "11-29"),
    ((2, "week"),   "2w",  "14 days",   "11-23", "11-16", "11-16", "11-19"),
    ((10, "day"),   "10d", "10 days",   "11-23", "11-22", "11-23", "11-23"),
]
wrong = 0
context = datafusion.SessionContext()
for width, short, interval, *expected in EXPECTED:
    binned = context.sql(f"select date_bin(interval '{interval}', timestamp '{AT}') as at").to_pylist()
    begins = [
        pl.Series([AT]).dt.truncate(short).item(),
        duckdb.execute(f"select time_bucket(interval '{interval}', timestamp '{AT}')").fetchone()[0],
        pc.floor_temporal(pa.scalar(AT), *width).as_py(),
        binned[0]["at"],
    ]
    seen = [f"{begin:%m-%d}" for begin in begins]
    print(f"{interval:<8} " + ", ".join(f"{name} {day}" for name, day in zip(("Polars", "DuckDB", "pyarrow", "DataFusion"), seen)))
    wrong += seen != expected
floored = pc.floor_temporal(pa.scalar(AT), 2, "week", calendar_based_origin=True).as_py()
print(f"pyarrow floors {AT} to two weeks with calendar_based_origin: {floored}")
wrong += floored != datetime(2026, 11, 30)
raise SystemExit(f"{wrong} of {len(EXPECTED) + 1} are no longer so" if wrong else 0)
PYTHON
