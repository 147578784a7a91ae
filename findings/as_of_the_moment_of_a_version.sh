#!/usr/bin/env bash
# As of the moment at which a Lance table got a version, Lance gives the version before it. Three other formats give that one.
#
# One would guess: the documentation of asof says that it finds the latest version "created on or earlier than" a time. The
# time of the third version, as versions() has it, is then the third version, and the time of the first one is the first.
#
# What happens (pylance 14.0.2, deltalake 1.6.6, pyiceberg 0.12.0, icechunk 1.1.21), for tables of one, two and three rows:
# - Lance compares by "earlier than". As of its own time each version is the one before it, and the first one is an error: the
#   table had no version yet. A microsecond later it is right.
# - Delta, Iceberg and Icechunk give each version as of its own time.
# - The times of versions() have no zone and are the machine's wall clock. So is what asof takes: a time with a zone is
#   refused, and the text 2026-11-30 10:00:00 is another moment, and mostly another version, on a machine in another zone. The
#   same clock reads twice in the night in which the clocks go back.
#
# Why it matters here: a replay of how a table changed goes through its versions by their times, and so do joins with events that
# the same job wrote down with the time of its commit. Each step sees the state before the change that it is about, the last
# change is never seen, and the rows count up as they should. Open versions by number, or add a microsecond.
#
# Source: dataset in https://github.com/lance-format/lance/blob/main/python/python/lance/__init__.py (its docstring, and `<`),
# from https://github.com/lance-format/lance/pull/585; load_with_datetime in
# https://github.com/delta-io/delta-rs/blob/main/crates/core/src/table/mod.rs ("at or before");
# https://py.iceberg.apache.org/reference/pyiceberg/table/ (snapshot_as_of_timestamp, inclusive unless told otherwise).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    pylance==14.0.2 deltalake==1.6.6 'pyiceberg[pyarrow,sql-sqlite]==0.12.0' icechunk==1.1.21 zarr==3.1.6 pyarrow==26.0.1
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import os
import sys
import time
from datetime import datetime, timedelta, timezone

import icechunk
import lance
import pyarrow as pa
import zarr
from deltalake import DeltaTable, write_deltalake
from pyiceberg.catalog.sql import SqlCatalog

folder = sys.argv[1]
ROW = pa.table({"person": ["ada"]})
MOMENT = timedelta(microseconds=1)
catalog = SqlCatalog("shop", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/iceberg")
catalog.create_namespace("shop")
iceberg = catalog.create_table("shop.people", schema=ROW.schema)
chunks = icechunk.Repository.create(icechunk.in_memory_storage())
for rows in (1, 2, 3):
    lance.write_dataset(ROW, f"{folder}/lance", mode="append" if rows > 1 else "create")
    write_deltalake(f"{folder}/delta", ROW, mode="append")
    iceberg.append(ROW)
    session = chunks.writable_session("main")
    zarr.open_group(session.store, mode="a").attrs["rows"] = rows
    session.commit(f"{rows} rows")
    # so that no two versions share a moment
    time.sleep(0.05)
delta = DeltaTable(f"{folder}/delta")


def of_lance(at: datetime) -> int | str:
    try:
        return lance.dataset(f"{folder}/lance", asof=at).count_rows()
    except (TypeError, ValueError) as error:
        return type(error).__name__


def of_delta(milliseconds: int) -> int:
    delta.load_as_version(datetime.fromtimestamp(milliseconds / 1000, timezone.utc))
    return delta.to_pyarrow_table().num_rows


def of_iceberg(milliseconds: int) -> int:
    return iceberg.scan(snapshot_id=iceberg.snapshot_as_of_timestamp(milliseconds).snapshot_id).to_arrow().num_rows


def of_icechunk(at: datetime) -> int:
    return zarr.open_group(chunks.readonly_session("main", as_of=at).store, mode="r").attrs["rows"]


lance_times = [version["timestamp"] for version in lance.dataset(f"{folder}/lance").versions()]
aware = [at.astimezone() for at in lance_times]
delta_times = sorted(commit["timestamp"] for commit in delta.history())
iceberg_times = [entry.timestamp_ms for entry in iceberg.history()]
# the first entry of its history is the empty repository
chunk_times = sorted(commit.written_at for commit in chunks.ancestry(branch="main"))[1:]


def far_away(at: datetime) -> int | str:
    # no real zone is as far east, so that it is later there wherever this runs
    os.environ["TZ"] = "AWAY-23"
    time.tzset()
    return of_lance(at)


#    looked up by                    as of the moments                                rows
CASES = [
    ("Delta",                        map(of_delta, delta_times),                       [1, 2, 3]),
    ("Iceberg",                      map(of_iceberg, iceberg_times),                   [1, 2, 3]),
    ("Icechunk",                     map(of_icechunk, chunk_times),                    [1, 2, 3]),
    ("Lance",                        map(of_lance, lance_times),                       ["ValueError", 1, 2]),
    ("Lance, a microsecond later",   (of_lance(at + MOMENT) for at in lance_times),    [1, 2, 3]),
    ("Lance, with a zone",           map(of_lance, aware),                             ["TypeError"] * 3),
    ("Lance, in another zone",       (far_away(at + MOMENT) for at in lance_times),    ["ValueError"] * 3),
]
wrong = 0
for name, rows, expected in CASES:
    seen = list(rows)
    print(f"{name:<28} {seen}")
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(CASES)} are no longer so" if wrong else 0)
PYTHON
