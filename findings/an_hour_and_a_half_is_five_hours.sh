#!/usr/bin/env bash
# PT1.5H, an hour and a half, is five hours and a second in pandas. P1M, a month, is a minute there and nothing in isodate.
#
# One would guess: a library that reads durations of ISO 8601 reads them or refuses them. For a month, which has no fixed
# length, it refuses, takes 30 days, or wants a date to count from.
#
# What happens (pandas 3.1.1, isodate 0.7.2, aniso8601 10.0.1 and pydantic 2.13.5 of PyPI; luxon 3.7.2 of npm):
# - pandas takes what stands before a point for whole seconds, and what stands behind it for the number of its letter. PT1.5H
#   is 5 hours and 1 second, PT2.25H is 25 hours and 2 seconds, P1.5D is 5 days and a second. Only seconds with a fraction are
#   read rightly. luxon writes PT1.5H for an hour and a half, and the three others read it as that.
# - M is minutes in pandas, before the T as well as behind it: P1M is one minute, and P1M1D is a day and a minute. A year is
#   refused.
# - isodate reads P1M as an object with months of its own. It hands what it lacks to the days and seconds beside the months,
#   so that total_seconds() is 0.0 and days is 0; P1Y2D has the seconds of two days. Subtracted from a date it is right.
# - aniso8601 and pydantic take 30 days for a month and 365 for a year.
# - An hour and 30 minutes (PT1H30M) is the same in all four, and so pandas reads what it writes (P0DT1H30M0S).
#
# Why it matters here: widths of windows, limits and "within" conditions stand in files as such texts. A window of no length
# holds nothing, a limit per month becomes one per minute, and half an hour becomes five hours. Nothing is raised, and each of
# them is a plausible number of seconds. Write whole numbers, and days for months.
#
# Source: parse_iso_format_string in https://github.com/pandas-dev/pandas/blob/main/pandas/_libs/tslibs/timedeltas.pyx;
# https://github.com/pandas-dev/pandas/issues/51882 (open since 2023); __getattr__ in
# https://github.com/gweis/isodate/blob/master/src/isodate/duration.py and https://github.com/gweis/isodate/issues/44 (2017).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    aniso8601==10.0.1 isodate==0.7.2 pandas==3.1.1 pydantic==2.13.5
npm install --silent --no-audit --no-fund --prefix "$folder" luxon@3.7.2
cd "$folder"
half=$(node -p 'require("luxon").Duration.fromObject({ hours: 1.5 }).toISO()')
"$folder/venv/bin/python" - "$half" <<'PYTHON'
import sys
from datetime import date, timedelta

import aniso8601
import isodate
import pandas as pd
from pydantic import TypeAdapter

HOUR, DAY = 3600, 86400
#    text          seconds in pandas, isodate, aniso8601 and pydantic
EXPECTED = [
    ("PT1.5H",     5 * HOUR + 1,        1.5 * HOUR, 1.5 * HOUR, 1.5 * HOUR),
    ("PT0.5H",     5 * HOUR,            0.5 * HOUR, 0.5 * HOUR, 0.5 * HOUR),
    ("PT2.25H",    DAY + HOUR + 2,      2.25 * HOUR, 2.25 * HOUR, 2.25 * HOUR),
    ("P1.5D",      5 * DAY + 1,         1.5 * DAY, 1.5 * DAY, 1.5 * DAY),
    ("P1M",        60,                  0, 30 * DAY, 30 * DAY),
    ("P1M1D",      DAY + 60,            DAY, 31 * DAY, 31 * DAY),
    ("P1Y2D",      "refused",           2 * DAY, 367 * DAY, 367 * DAY),
    ("PT1.5S",     1.5,                 1.5, 1.5, 1.5),
    ("PT1H30M",    1.5 * HOUR,          1.5 * HOUR, 1.5 * HOUR, 1.5 * HOUR),
]
READERS = {
    "pandas": pd.Timedelta,
    "isodate": isodate.parse_duration,
    "aniso8601": aniso8601.parse_duration,
    "pydantic": TypeAdapter(timedelta).validate_python,
}


def seconds(read, text: str):
    try:
        return read(text).total_seconds()
    except ValueError:
        return "refused"


wrong = 0
for text, *expected in EXPECTED:
    found = [seconds(read, text) for read in READERS.values()]
    print(f"{text:<8} " + ", ".join(f"{name} {answer}" for name, answer in zip(READERS, found)))
    wrong += found != expected
month = isodate.parse_duration("P1M")
others = [
    ("luxon writes an hour and a half as", sys.argv[1], "PT1.5H"),
    ("isodate: a month before 30 November", date(2026, 11, 30) - month, date(2026, 10, 30)),
    ("isodate: days of a month", month.days, 0),
    ("pandas, a column of them", pd.Series(["PT1.5H"]).astype("timedelta64[ns]").item(), timedelta(hours=5, seconds=1)),
    ("pandas writes", pd.Timedelta(hours=1.5).isoformat(), "P0DT1H30M0S"),
    ("and reads that as", pd.Timedelta("P0DT1H30M0S").total_seconds(), 1.5 * HOUR),
]
for name, answer, expected in others:
    print(f"{name}: {answer}")
    wrong += answer != expected
raise SystemExit(f"{wrong} of {len(EXPECTED) + len(others)} are no longer so" if wrong else 0)
PYTHON
