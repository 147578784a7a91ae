#!/usr/bin/env bash
# Monthly from 31 January: in Polars the third bill is of 31 March, in pandas and DuckDB of 28 March, in iCalendar of 31 May.
#
# One would guess: February is short, so that its bill is on the 28th, and March has 31 days again. Engines that agree about
# "31 January and a month" agree about every month from 31 January.
#
# What happens (pandas 3.1.1, Polars 2.1.0, DuckDB 2.0.1, python-dateutil 4.0.0 and pendulum 3.3.0 of PyPI, PostgreSQL in
# pglite 0.5.17 and luxon 3.7.2 of npm), for six times, monthly from 2026-01-31:
# - Polars, pendulum and luxon count from the beginning: 31 January, 28 February, 31 March, 30 April.
# - pandas with DateOffset(months=1), and generate_series and range in DuckDB and PostgreSQL, go on from the last one. After
#   February it is the 28th for ever.
# - FREQ=MONTHLY of iCalendar (rrule) leaves out months without a 31st: January, March, May.
# - Backwards, six months up to 31 January, pandas begins at 31 August and ends at 30 January, which is not the end one named.
# - DuckDB agrees with Polars where the months are added by number: time + interval 1 month * n.
#
# Why it matters here: bills, trials and "every month since you joined" begin on some day, and one in a dozen of those days is
# after the 28th. A replay expands the dates in one engine and the scheduler in another: reminders come up to three days
# early, or not at all in five months of twelve. All start on the same days, and tests with the 1st or the 15th see nothing.
# Count from the beginning, by number.
#
# Source: https://docs.pola.rs/api/python/stable/reference/expressions/api/polars.datetime_range.html;
# https://pandas.pydata.org/docs/reference/api/pandas.date_range.html and generate_range in pandas/core/arrays/datetimes.py;
# https://duckdb.org/docs/stable/sql/functions/list#range-functions; https://www.postgresql.org/docs/current/functions-srf.html;
# https://icalendar.org/iCalendar-RFC-5545/3-3-10-recurrence-rule.html (invalid dates are ignored).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    pandas==3.1.1 polars==2.1.0 duckdb==2.0.1 python-dateutil==4.0.0 pendulum==3.3.0
npm install --silent --no-audit --no-fund --prefix "$folder" @electric-sql/pglite@0.5.17 luxon@3.7.2
cat >"$folder/expand.mjs" <<'JAVASCRIPT'
import { PGlite } from "@electric-sql/pglite";
import { DateTime, Interval } from "luxon";

const series = "generate_series(timestamp '2026-01-31', timestamp '2026-06-30', interval '1 month')";
const { rows } = await new PGlite().query(`select to_char(day, 'MM-DD') as day from ${series} days(day)`);
const half = Interval.fromDateTimes(DateTime.utc(2026, 1, 31), DateTime.utc(2026, 7, 1));
const months = half.splitBy({ months: 1 }).map(({ start }) => start.toFormat("MM-dd"));
console.log(JSON.stringify([rows.map(({ day }) => day), months]));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import subprocess
import sys
from datetime import datetime

import dateutil.rrule
import duckdb
import pandas as pd
import pendulum
import polars as pl

BEGIN, END = datetime(2026, 1, 31), datetime(2026, 6, 30)
MONTH = pd.DateOffset(months=1)


def ask(table: str) -> list[datetime]:
    return [row[0] for row in duckdb.sql(f"select * from {table}").fetchall()]


command = ["node", f"{sys.argv[1]}/expand.mjs"]
postgres, luxon = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
ends = "timestamp '2026-01-31', timestamp '2026-06-30', interval 1 month"
by_number = "(select timestamp '2026-01-31' + interval 1 month * n from range(6) t(n))"
half = pendulum.interval(pendulum.instance(BEGIN), pendulum.instance(END))
COUNTED = "01-31 02-28 03-31 04-30 05-31 06-30"
CHAINED = "01-31 02-28 03-28 04-28 05-28 06-28"
#     engine                          what it gives                                          expected
EXPECTED = [
    ("Polars",                        pl.datetime_range(BEGIN, END, "1mo", eager=True),      COUNTED),
    ("pendulum",                      half.range("months"),                                  COUNTED),
    ("luxon",                         luxon,                                                 COUNTED),
    ("DuckDB, by number",             ask(by_number),                                        COUNTED),
    ("DuckDB, generate_series",       ask(f"generate_series({ends})"),                       CHAINED),
    ("PostgreSQL, generate_series",   postgres,                                              CHAINED),
    ("pandas",                        pd.date_range(BEGIN, periods=6, freq=MONTH),           CHAINED),
    ("pandas, up to 31 January",      pd.date_range(end=BEGIN, periods=6, freq=MONTH),       "08-31 09-30 10-30 11-30 12-30 01-30"),
    ("dateutil, FREQ=MONTHLY",        dateutil.rrule.rrule(dateutil.rrule.MONTHLY, dtstart=BEGIN, count=6),
                                                                                             "01-31 03-31 05-31 07-31 08-31 10-31"),
]
wrong = 0
for engine, days, expected in EXPECTED:
    seen = " ".join(day if isinstance(day, str) else day.strftime("%m-%d") for day in days)
    print(f"{engine:<28} {seen}")
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
