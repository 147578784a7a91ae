#!/usr/bin/env bash
# As of a time before it was made, a Delta table already has its first rows. An Iceberg table has none.
#
# One would guess: a table as of a moment is what a reader would have found at that moment. Before the first commit that is
# nothing or an error, as after the last commit it is the last version.
#
# What happens (deltalake 1.6.6, pyiceberg 0.12.0): load_as_version of deltalake takes the nearest version it has, so that
# a time one millisecond, or a century, before the first commit gives version 0 with all its rows. There is no error, and
# version() answers 0 as it does for the first commit itself. pyiceberg's snapshot_as_of_timestamp gives None for both.
# From the first commit on the two agree.
#
# Why it matters here: a replay looks up, for each event, the profile or the graph as it was then. Events older than the
# table find its first load, which mostly is an import of all that is known by then, so that they see their own future. The
# replay looks complete, and nothing in its result shows which look-ups were made up. Compare the time with history() first.
#
# Source: load_with_datetime in https://github.com/delta-io/delta-rs/blob/main/crates/core/src/table/mod.rs is documented as
# the latest version "at or before" the time, and takes the lowest one if there is none;
# https://py.iceberg.apache.org/reference/pyiceberg/table/ (snapshot_as_of_timestamp).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    deltalake==1.6.6 "pyiceberg[pyarrow,sql-sqlite]==0.12.0" pyarrow==26.0.1
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
import time
from datetime import datetime, timezone

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from pyiceberg.catalog.sql import SqlCatalog

folder = sys.argv[1]
CENTURY = 100 * 365 * 24 * 3600 * 1000
#     milliseconds from a commit     rows as of then: Delta, Iceberg
EXPECTED = [
    ("first",  -CENTURY,             1,  0),
    ("first",  -1,                   1,  0),
    ("first",  100,                  1,  1),
    ("second", 100,                  2,  2),
]
row = pa.table({"person": ["ada"]})
catalog = SqlCatalog("shop", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/iceberg")
catalog.create_namespace("shop")
iceberg = catalog.create_table("shop.people", schema=row.schema)
for _ in range(2):
    write_deltalake(f"{folder}/delta", row, mode="append")
    iceberg.append(row)
    # longer than the 100 ms below, so that the moments lie between the commits
    time.sleep(0.5)
delta = DeltaTable(f"{folder}/delta")
delta_commits = sorted(commit["timestamp"] for commit in delta.history())
iceberg_commits = [entry.timestamp_ms for entry in iceberg.history()]
wrong = 0
for commit, apart, *expected in EXPECTED:
    place = ("first", "second").index(commit)
    at = datetime.fromtimestamp((delta_commits[place] + apart) / 1000, timezone.utc)
    delta.load_as_version(at)
    snapshot = iceberg.snapshot_as_of_timestamp(iceberg_commits[place] + apart)
    seen = [
        delta.to_pyarrow_table().num_rows,
        iceberg.scan(snapshot_id=snapshot.snapshot_id).to_arrow().num_rows if snapshot else 0,
    ]
    print(f"{apart:>14} ms from the {commit:<6} commit: Delta {seen[0]} (version {delta.version()}), Iceberg {seen[1]}")
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
