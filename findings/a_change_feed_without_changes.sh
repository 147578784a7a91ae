#!/usr/bin/env bash
# An update that changes nothing is in Delta's change feed as everybody deleted and everybody inserted.
#
# One would guess: the feed has a row before and a row after each update, or, of an update to the value that was there, nothing. It
# never says that somebody was deleted whom nobody deleted, and it comes in the order in which things happened.
#
# What happens (deltalake 1.6.6), for a table of ada and ben, who are "open", and cy, who has paid:
# - Setting ada to "open", which she is, gives three rows "delete" and three "insert": all rows of her file, also those that the
#   condition does not meet. The metrics of update() say that one row was updated.
# - Setting ada and cy to "paid" gives ada's change alone, as one would hope. merge() to the same value gives an update of
#   just that row, before and after.
# - The writer compares rows before and after, finds no difference, and writes no file of changes. For a version without
#   such a file the reader takes the files that were removed and added for the changes, as the protocol tells it.
# - Read over several versions the feed is in no order: "after" can stand in front of "before", and version 3 in front of 2,
#   not the same way each time. _commit_version is there to sort by, and within a version nothing is.
#
# Why it matters here: the feed is taken for events: a customer left, a customer came. An update that is tried again after
# a time-out is just such an update, and so is a nightly job that sets what mostly is set. It sends everybody of a file a good-bye
# and a welcome, and counters of "new today" jump by the number of rows. A condition keeps it away: status <> 'open'.
# Sort by version, and take "delete" and "insert" of one key in one version for what they are.
#
# Source: https://github.com/delta-io/delta/blob/master/PROTOCOL.md#add-cdc-file (readers without such files take add and remove);
# CDCTracker in https://github.com/delta-io/delta-rs/blob/main/crates/core/src/operations/cdc.rs and its use in update.rs beside it;
# https://github.com/delta-io/delta/issues/1324 (for Spark, where such an update gave equal rows before and after).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check deltalake==1.6.6 pyarrow==26.0.1
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

PEOPLE = pa.table({"id": ["ada", "ben", "cy"], "status": ["open", "open", "paid"]})
OTHERWISE = "status <> 'open'"


def make(name: str) -> DeltaTable:
    place = f"{sys.argv[1]}/{name}"
    write_deltalake(place, PEOPLE, configuration={"delta.enableChangeDataFeed": "true"})
    return DeltaTable(place)


def read(table: DeltaTable, version: int) -> list[tuple[int, str, str]]:
    rows = pa.table(table.load_cdf(starting_version=version)).to_pylist()
    return [(row["_commit_version"], row["_change_type"], row["id"]) for row in rows]


def update(table: DeltaTable, status: str, predicate: str | None) -> int:
    return table.update(updates={"status": f"'{status}'"}, predicate=predicate)["num_updated_rows"]


def merge(table: DeltaTable, status: str, key: str) -> int:
    source = pa.table({"id": [key], "status": [status]})
    merger = table.merge(source, "t.id = s.id", source_alias="s", target_alias="t")
    return merger.when_matched_update_all().execute()["num_target_rows_updated"]


ALL = {"delete": ["ada", "ben", "cy"], "insert": ["ada", "ben", "cy"]}
ADA = {"update_postimage": ["ada"], "update_preimage": ["ada"]}
#     what is done                                rows that it says were updated   rows of the feed
EXPECTED = [
    (update, "open", "id = 'ada'",                1,                               ALL),
    (update, "open", None,                        3,                               ADA | {name: ["cy"] for name in ADA}),
    (update, "open", "status = 'open'",           2,                               ALL),
    (update, "paid", "id in ('ada', 'cy')",       2,                               ADA),
    (update, "open", f"id = 'ada' and {OTHERWISE}",  0,                            None),
    (merge,  "open", "ada",                       1,                               ADA),
]
wrong = 0
for number, (change, status, condition, updated, expected) in enumerate(EXPECTED):
    table = make(f"table-{number}")
    said = change(table, status, condition)
    seen = None
    if table.version():
        seen = {}
        for _, kind, key in sorted(read(table, 1)):
            seen.setdefault(kind, []).append(key)
    print(f"{change.__name__} to {status!r} where {condition}: {said} updated, feed {seen}")
    wrong += (said, seen) != (updated, expected)
table = make("order")
for status in "abcdefgh":
    update(table, status, "true")
unsorted = 0
for _ in range(10):
    feed = read(table, 0)
    versions = [version for version, *_ in feed]
    unsorted += versions != sorted(versions)
print(f"the feed of 9 versions is out of order in {unsorted} of 10 readings, for example {list(dict.fromkeys(versions))}")
wrong += not unsorted
raise SystemExit(f"{wrong} of {len(EXPECTED) + 1} are no longer so" if wrong else 0)
PYTHON
