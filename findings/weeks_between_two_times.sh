#!/usr/bin/env bash
# DuckDB's date_diff counts the borders crossed for every unit but the week, of which it counts whole ones.
#
# One would guess: date_diff(unit, a, b) counts how often a new unit began between a and b, as its documentation says, and
# date_sub counts the complete ones. From a Sunday to the Monday after it a new week has begun, so the difference is 1.
#
# What happens (DuckDB 2.0.1, pyarrow 26.0.1): one minute over midnight is a day, a day over the end of the month is a month
# and a quarter, but six days from Saturday to Friday are no week, although date_trunc puts both into different weeks. For
# weeks date_diff and date_sub are the same. pyarrow's weeks_between counts Mondays and gives 1.
#
# Why it matters here: "has come every week" and cohorts by week take this difference. Grouping by date_trunc('week') and
# subtracting with date_diff('week') disagree for most pairs of days, so a retention table built with both has holes. What
# is meant are the weeks of the calendar: subtract truncated dates and divide by seven.
#
# Source: https://duckdb.org/docs/stable/sql/functions/date ("the number of partition boundaries"); WeekOperator in
# https://github.com/duckdb/duckdb/blob/main/extension/core_functions/scalar/date/date_diff.cpp;
# https://arrow.apache.org/docs/python/generated/pyarrow.compute.weeks_between.html
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1 pyarrow==26.0.1
"$folder/venv/bin/python" - <<'PYTHON'
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

#     unit       from               to                 DuckDB: date_diff, date_sub   pyarrow
EXPECTED = [
    ("day",     "2026-11-28 23:59", "2026-11-29 00:00", (1, 0), 1),
    ("month",   "2026-11-30 00:00", "2026-12-01 00:00", (1, 0), 1),
    ("quarter", "2026-09-30 00:00", "2026-10-01 00:00", (1, 0), 1),
    ("week",    "2026-11-29 00:00", "2026-11-30 00:00", (0, 0), 1),
    ("week",    "2026-11-28 00:00", "2026-12-04 00:00", (0, 0), 1),
    ("week",    "2026-11-28 00:00", "2026-12-05 00:00", (1, 1), 1),
]
BETWEEN = {"day": pc.days_between, "quarter": pc.quarters_between, "week": pc.weeks_between}
wrong = 0
for unit, begin, end, *expected in EXPECTED:
    truncated = f"date_trunc('{unit}', timestamp '{begin}') <> date_trunc('{unit}', timestamp '{end}')"
    differences = ", ".join(f"date_{name}('{unit}', timestamp '{begin}', timestamp '{end}')" for name in ("diff", "sub"))
    *by_duckdb, apart = duckdb.execute(f"select {differences}, {truncated}").fetchone()
    times = [pa.scalar(datetime.fromisoformat(time)) for time in (begin, end)]
    by_pyarrow = BETWEEN[unit](*times).as_py() if unit in BETWEEN else 1
    print(f"{unit:<8} {begin} to {end}: date_diff {by_duckdb[0]}, date_sub {by_duckdb[1]}, pyarrow {by_pyarrow}, truncated apart {apart}")
    wrong += [tuple(by_duckdb), by_pyarrow] != expected or not apart
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
