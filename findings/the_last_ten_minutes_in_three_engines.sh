#!/usr/bin/env bash
# How many events the last ten minutes had is another number in pandas, in Polars and in DuckDB.
#
# One would guess: a window of ten minutes behind each row has one meaning. Engines may differ by whether an event counts that
# is exactly ten minutes old, and that is a matter of one option.
#
# What happens (pandas 3.1.1, Polars 2.1.0, DuckDB 2.0.1), for events at 10:00, twice 10:10, and 10:20:
# - The event ten minutes ago counts in DuckDB (`range between … preceding`) and does not in the two others.
# - Of two events of one time, pandas counts only rows up to the current one, so that the first sees one less than the second.
#   In Polars and DuckDB both see both: the first of them sees an event that comes after it in the log.
# - closed="both" moves the edge of pandas and Polars to that of DuckDB, and leaves the ties as they were.
#
# Why it matters here: "at least three in ten minutes" holds for two of these events in DuckDB and for none in the two
# others, as they are. Events that one request or one batch wrote share their time, so that it is the bursts, for which
# such rules are made, that come out differently. An online rule cannot see the later of two ties, so a replay that is to
# agree with it has to number the events and count up to its own number.
#
# Source: https://pandas.pydata.org/docs/reference/api/pandas.DataFrame.rolling.html (`closed`);
# https://docs.pola.rs/api/python/stable/reference/dataframe/api/polars.DataFrame.rolling.html;
# https://duckdb.org/docs/stable/sql/functions/window_functions#framing (peers).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1 polars==2.1.0 pandas==3.1.1
"$folder/venv/bin/python" - <<'PYTHON'
from datetime import datetime

import duckdb
import pandas as pd
import polars as pl

TIMES = [datetime(2026, 11, 29, 10, minute) for minute in (0, 10, 10, 20)]
#     window                           events seen at 10:00, 10:10, 10:10, 10:20
EXPECTED = {
    "pandas":                          [1, 1, 2, 1],
    "pandas, closed='both'":           [1, 2, 3, 3],
    "Polars":                          [1, 2, 2, 1],
    "Polars, closed='both'":           [1, 3, 3, 3],
    "DuckDB":                          [1, 3, 3, 3],
}
in_pandas = pd.DataFrame({"time": TIMES, "one": 1})
in_polars = pl.DataFrame({"time": TIMES}).set_sorted("time")
connection = duckdb.connect()
connection.execute("create table events as select unnest($times) as time", {"times": TIMES})
FRAME = "order by time range between interval 10 minutes preceding and current row"
SEEN = {
    "pandas": in_pandas.rolling("10min", on="time")["one"].sum().tolist(),
    "pandas, closed='both'": in_pandas.rolling("10min", on="time", closed="both")["one"].sum().tolist(),
    "Polars": in_polars.rolling("time", period="10m").agg(pl.len())["len"].to_list(),
    "Polars, closed='both'": in_polars.rolling("time", period="10m", closed="both").agg(pl.len())["len"].to_list(),
    "DuckDB": [n for (n,) in connection.execute(f"select count(*) over ({FRAME}) from events order by time").fetchall()],
}
for name, counts in SEEN.items():
    print(f"{name:<24} " + ", ".join(f"{time:%H:%M} sees {count:.0f}" for time, count in zip(TIMES, counts)))
wrong = sum(SEEN[name] != expected for name, expected in EXPECTED.items())
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
