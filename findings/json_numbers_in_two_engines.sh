#!/usr/bin/env bash
# The text of a JSON number depends on which engine takes it out of its document.
#
# One would guess: taking a number out of JSON text gives the number as it was written, or at least the same text in
# DuckDB and in Polars, so that a key such as `data.amount` means the same whichever of them reads an event log.
#
# What happens (DuckDB 2.0.0, Polars 2.1.0):
# - DuckDB's json_extract loses the sign of -0, which it takes for an integer; Polars' json_path_match gives -0.0.
#   A cast of the whole document to text keeps it as written, so only extraction changes it.
# - An integer of more than 64 bits keeps all its digits in DuckDB (which calls its type DOUBLE) and is a rounded float in Polars.
# - A number beyond the floats is its own text in DuckDB and null in Polars: a value there, and none here.
# - Only a number with a fraction is written anew by both, in the same way.
#
# Why it matters here: windows, limits and digests go by keys, and a key that is a number counts by its text or by its
# value. A log that one job reads through DuckDB and another through Polars falls into other windows, silently.
# What has to be compared should come from one engine, or be compared before it becomes text.
#
# Source: https://duckdb.org/docs/stable/data/json/json_functions (extraction "as JSON" says nothing of numbers written anew);
# https://docs.pola.rs/api/python/stable/reference/series/api/polars.Series.str.json_path_match.html
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.0 polars==2.1.0
"$folder/venv/bin/python" - <<'PYTHON'
import duckdb
import polars as pl

#            written                   DuckDB                    Polars
EXPECTED = [
    ("-0",                    "0",                      "-0.0"),
    ("18446744073709551616",  "18446744073709551616",   "1.8446744073709552e+19"),
    ("1E400",                 "1E400",                  None),
    ("1.50",                  "1.5",                    "1.5"),
]
wrong = 0
for written, by_duckdb, by_polars in EXPECTED:
    document = f'{{"n": {written}}}'
    extracted, whole = duckdb.execute("select json_extract($d, '$.n')::varchar, ($d::json)::varchar", {"d": document}).fetchone()
    matched = pl.Series([document]).str.json_path_match("$.n")[0]
    print(f"{written:<22} DuckDB {extracted!r:<24} Polars {matched!r:<26} whole document in DuckDB {whole}")
    wrong += (extracted, matched, whole) != (by_duckdb, by_polars, document)
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
