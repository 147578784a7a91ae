#!/usr/bin/env bash
# 12.50 in an Arrow file is 1250 in JavaScript, and with one more it is "12501".
#
# One would guess: Arrow is one format with one meaning in all languages, and its decimals bring their scale along. The library of
# the Arrow project reads in JavaScript what the library of the Arrow project wrote in Python.
#
# What happens (pyarrow 26.0.1 of PyPI, apache-arrow 21.2.0 and hyparquet 1.33.0 of npm), for a column of decimal128(10, 2):
# - get() gives the digits without their scale: String() of it is "1250", Number() and comparisons take 1250, so that 12.50 is
#   more than 100. The type has the scale, and valueOf(2) uses it. Nothing else does.
# - With + it is a text, which JavaScript appends to: a sum that begins with 0 is "01250-1250100000". In JSON it is a text in
#   quotes of its own, "\"1250\"".
# - Of the shorter decimal64 the texts lack the sign: -12.50 is 18446744073709550366, and -1250 as a number.
# - Where all amounts have one scale all of them are wrong by one factor, so that charts, rankings and shares look right.
# - The same table as a Parquet file, read by hyparquet, is 12.5. Dates, times and integers of the Arrow file are right.
#
# Why it matters here: tables of deliveries go to the front ends of notebooks and to reports as Arrow, since that is what the
# browser reads without a copy. Amounts of money are the columns that somebody made decimals with care. A filter "over 100" in
# the page takes those from 1.01 on, and nobody compares it with the flow. Cast to float or to text before the table leaves Python.
#
# Source: bigNumToNumber and toJSON in https://github.com/apache/arrow-js/blob/main/src/util/bn.ts;
# https://github.com/apache/arrow-js/issues/100 (open since 2021), 77 and 81 (open since 2023).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1
npm install --silent --no-audit --no-fund --prefix "$folder" apache-arrow@21.2.0 hyparquet@1.33.0
cat >"$folder/read.mjs" <<'JAVASCRIPT'
import { readFileSync } from "node:fs";
import { tableFromIPC } from "apache-arrow";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";

const folder = process.argv[2];
const table = tableFromIPC(readFileSync(`${folder}/events.arrow`));
const rows = await parquetReadObjects({ file: await asyncBufferFromFile(`${folder}/events.parquet`) });
const amounts = [...table.getChild("amount")];
const small = [...table.getChild("small")];
const day = table.getChild("day").get(0);
console.log(
  JSON.stringify({
    "as a text": amounts.map(String),
    "as a number": amounts.map(Number),
    "more than 100": amounts.map((amount) => amount > 100),
    "with + 1": amounts.map((amount) => amount + 1),
    "as JSON": amounts.map((amount) => JSON.stringify(amount)),
    "with the scale": amounts.map((amount) => amount.valueOf(table.getChild("amount").type.scale)),
    "sum": amounts.reduce((sum, amount) => sum + amount, 0),
    "decimal64, as a text": small.map(String),
    "decimal64, as a number": small.map(Number),
    "from Parquet": rows.map(({ amount }) => amount),
    "a day": new Date(day).toISOString().slice(0, 10),
  })
);
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import datetime
import json
import subprocess
import sys
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet

folder = sys.argv[1]
amounts = [Decimal("12.50"), Decimal("-12.50"), Decimal("1000.00")]
table = pa.table(
    {
        "amount": pa.array(amounts, pa.decimal128(10, 2)),
        "small": pa.array(amounts, pa.decimal64(12, 2)),
        "day": [datetime.date(2026, 11, 29)] * 3,
    }
)
with pa.OSFile(f"{folder}/events.arrow", "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
    writer.write_table(table)
pyarrow.parquet.write_table(table, f"{folder}/events.parquet")
assert pa.ipc.open_file(f"{folder}/events.arrow").read_all()["amount"].to_pylist() == amounts
EXPECTED = {
    "as a text": ["1250", "-1250", "100000"],
    "as a number": [1250, -1250, 100000],
    "more than 100": [True, False, True],
    "with + 1": ["12501", "-12501", "1000001"],
    "as JSON": ['"\\"1250\\""', '"\\"-1250\\""', '"\\"100000\\""'],
    "with the scale": [12.5, -12.5, 1000],
    "sum": "01250-1250100000",
    "decimal64, as a text": ["1250", "18446744073709550366", "100000"],
    "decimal64, as a number": [1250, -1250, 100000],
    "from Parquet": [12.5, -12.5, 1000],
    "a day": "2026-11-29",
}
command = ["node", f"{folder}/read.mjs", folder]
seen = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
wrong = 0
for name, expected in EXPECTED.items():
    print(f"12.50, -12.50, 1000.00   {name:<24} {seen[name]}")
    wrong += seen[name] != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
