#!/usr/bin/env bash
# pyiceberg deletes rows that the same filter does not find, and finds rows that it does not delete.
#
# One would guess: scan(row_filter=…) shows what delete(…) with that text will remove. Whether an empty status is "not paid"
# may be either way, as SQL says no and Python yes, but it is so everywhere, and does not depend on the files.
#
# What happens (pyiceberg 0.12.0), for rows 1 (paid), 2 (no status) and 3 (open):
# - scan: `status not in ('paid', 'lost')` finds 2 and 3. `status not in ('paid')` and `status != 'paid'` find 3 alone, as one
#   value in the list turns it into !=, and that is handed to Arrow in another way.
# - delete, rows written together: 3 goes, 2 stays, with each of these filters.
# - delete, row 2 written by an append of its own: 2 and 3 go, with each of them. A file in which no row has a status is taken
#   by its statistics to match as a whole, and is dropped unread.
#
# Why it matters here: an event log of one file an hour has files in which a new or rare field is empty throughout. "Delete all
# but the paid" keeps these events when they came with others and loses them when they came alone, and a scan with the same
# filter looks alike in both cases. After a compaction the same statement removes other rows. Say `and status is not null`
# or `or status is null`: with either, what is found is what is deleted.
#
# Source: https://github.com/apache/iceberg-python/pull/3918 (the first two); NotIn in pyiceberg/expressions/__init__.py,
# visit_not_in and _expression_to_complementary_pyarrow in pyiceberg/io/pyarrow.py, and _StrictMetricsEvaluator in
# https://github.com/apache/iceberg-python/blob/main/pyiceberg/expressions/visitors.py (nulls only: ROWS_MUST_MATCH).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    "pyiceberg[pyarrow,sql-sqlite]==0.12.0" pyarrow==26.0.1
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

STATUS = {1: "paid", 2: None, 3: "open"}
TOGETHER, APART = [[1, 2, 3]], [[1, 3], [2]]
#     filter                            rows of each file   found    deleted
EXPECTED = [
    ("status not in ('paid', 'lost')",  TOGETHER,           [2, 3],  [3]),
    ("status not in ('paid', 'lost')",  APART,              [2, 3],  [2, 3]),
    ("status not in ('paid')",          TOGETHER,           [3],     [3]),
    ("status not in ('paid')",          APART,              [3],     [2, 3]),
    ("status != 'paid'",                TOGETHER,           [3],     [3]),
    ("status != 'paid'",                APART,              [3],     [2, 3]),
    ("status = 'open'",                 APART,              [3],     [3]),
]
SCHEMA = pa.schema([("id", pa.int64()), ("status", pa.string())])
catalog = SqlCatalog("shop", uri=f"sqlite:///{sys.argv[1]}/catalog.db", warehouse=f"file://{sys.argv[1]}/iceberg")
catalog.create_namespace("shop")
wrong = 0
for place, (filter_text, files, *expected) in enumerate(EXPECTED):
    table = catalog.create_table(f"shop.orders{place}", schema=SCHEMA)
    for ids in files:
        table.append(pa.Table.from_pylist([{"id": id, "status": STATUS[id]} for id in ids], schema=SCHEMA))
    found = sorted(table.scan(row_filter=filter_text).to_arrow()["id"].to_pylist())
    table.delete(filter_text)
    left = table.scan().to_arrow()["id"].to_pylist()
    seen = [found, [id for id in STATUS if id not in left]]
    print(f"{filter_text:<32} files {files!s:<17} found {seen[0]!s:<8} deleted {seen[1]}")
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
