#!/usr/bin/env bash
# The ids that PyPI's package uuid7 makes today are of the year 2203 for everybody else, and come after all others.
#
# One would guess: a UUID of version 7 begins with its time, so that ids from any library sort by time beside each other, and
# any library tells the time from an id. A package of that name makes such ids.
#
# What happens (uuid7 0.1.0, uuid-utils 1.2.0 and DuckDB 2.0.1 of PyPI; uuid 14.0.3 of npm): uuid7 implements a draft of 2021,
# with 36 bits of seconds and then fractions. The standard that came of it has 48 bits of milliseconds in that place. Both say
# version 7, and each kind is sorted by time among its own.
# - Read by the standard, an id of 29 November 2026 has a time in February 2203. DuckDB's uuid_extract_timestamp says so.
# - The other way round uuid7's own uuid_to_datetime reads an id of the standard as one of 1983.
# - Two such ids that are 1000 seconds apart are 4096 seconds apart to a reader of the standard. Every id of uuid7 sorts
#   behind every one of the standard, whichever came first.
# - uuid-utils and npm's uuid follow the standard, and DuckDB reads the right day from both.
#
# Why it matters here: ids of this version are chosen so that the order of ids is the order of events. With one producer that
# uses this package, "the latest event" is always one of its own, a cursor that has read up to one of its ids never reads the
# others again, and a look-back by id finds nothing or everything. A log of that producer alone looks right.
#
# Source: the description of uuid7 0.1.0 (the layout of the draft); https://www.rfc-editor.org/rfc/rfc9562#section-5.7;
# https://github.com/stevesimmons/uuid7/issues/1 (open since 2023).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1 uuid7==0.1.0 uuid-utils==1.2.0
npm install --silent --no-audit --no-fund --prefix "$folder" uuid@14.0.3
cat >"$folder/make.mjs" <<'JAVASCRIPT'
import { v7 } from "uuid";
console.log(v7({ msecs: Number(process.argv[2]) }));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import subprocess
import sys
import uuid
from datetime import datetime, timedelta, timezone

import duckdb
import uuid_extensions
import uuid_utils

AT = datetime(2026, 11, 29, 10, tzinfo=timezone.utc)


def by_uuid7(at: datetime) -> uuid.UUID:
    return uuid_extensions.uuid7(int(at.timestamp()) * 10**9)


def by_uuid_utils(at: datetime) -> uuid.UUID:
    return uuid.UUID(str(uuid_utils.uuid7(nanoseconds=int(at.timestamp()) * 10**9)))


def by_npm(at: datetime) -> uuid.UUID:
    command = ["node", f"{sys.argv[1]}/make.mjs", str(int(at.timestamp()) * 1000)]
    return uuid.UUID(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


def time_by_duckdb(made: uuid.UUID) -> datetime:
    (milliseconds,) = duckdb.execute("select epoch_ms(uuid_extract_timestamp(?::uuid))", [str(made)]).fetchone()
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)


wrong = 0
#    made by         version, by DuckDB,  by uuid7 itself
EXPECTED = [
    (by_uuid7,       7, "2203-02-10", "2026-11-29"),
    (by_uuid_utils,  7, "2026-11-29", "1983-11-23"),
    (by_npm,         7, "2026-11-29", "1983-11-23"),
]
for make, *expected in EXPECTED:
    made = make(AT)
    found = [made.version, f"{time_by_duckdb(made):%Y-%m-%d}", f"{uuid_extensions.uuid_to_datetime(made):%Y-%m-%d}"]
    print(f"{make.__name__:<14} {made} version {found[0]}, of {found[1]} by DuckDB, of {found[2]} by uuid7")
    wrong += found != expected
day_after = AT + timedelta(days=1)
events = {
    "first, uuid7": by_uuid7(AT),
    "second, npm": by_npm(day_after),
    "third, uuid-utils": by_uuid_utils(day_after + timedelta(days=1)),
    "fourth, uuid7": by_uuid7(day_after + timedelta(days=2)),
}
order = sorted(events, key=events.get)
print("sorted by id:", "; ".join(order))
wrong += order != ["second, npm", "third, uuid-utils", "first, uuid7", "fourth, uuid7"]
apart = (time_by_duckdb(by_uuid7(AT + timedelta(seconds=1000))) - time_by_duckdb(by_uuid7(AT))).total_seconds()
print(f"two ids of uuid7, 1000 seconds apart: {apart:.0f} seconds by DuckDB")
wrong += apart != 4096
raise SystemExit(f"{wrong} of {len(EXPECTED) + 2} are no longer so" if wrong else 0)
PYTHON
