#!/usr/bin/env bash
# The end of a year, as .NET and Java write it, is the beginning of the next one for half of the libraries that read it.
#
# One would guess: 2026-12-31T23:59:59.9999999Z has a digit more than microseconds have. Whether a reader cuts it or rounds
# makes a difference of 100 nanoseconds, which no flow can tell.
#
# What happens (datetime of Python 3.11, pydantic 2.14.4, PyYAML 6.0.4, luxon 3.7.2 and DuckDB 2.0.1 cut; arrow 1.4.0,
# msgspec 0.23.0, ruamel.yaml 0.19.1, date-fns 4.4.0 and PostgreSQL 18 in pglite 0.5.17 round):
# - Those that round read midnight of 1 January 2027. With up to six digits, which is what Python and most tests write, all ten
#   read 31 December. Of the two YAML libraries for Python, and of the two that check types, one cuts and one rounds.
# - date-fns means to cut to milliseconds. A sum of floats rounds before that, for seven nines and more, and not for six.
# - DuckDB cuts for TIMESTAMP and rounds for TIMESTAMP_MS and TIMESTAMP_S, where half a millisecond or second is enough.
#
# Why it matters here: no clock shows this moment, but programs write it as the end of a day: AddDays(1).AddTicks(-1) in .NET has
# seven nines, LocalTime.MAX in Java nine. It is "valid until" of a subscription, the last moment of a report, and a closing
# event of a day. Rounded, it falls into the window of the next day, month and year: the digest of a day lacks its close, and the
# next one has two, while another service has it right from the same message. Write ends as the next midnight, not
# included, or cut them to microseconds before anything reads them. flowdsl cuts.
#
# Source: _parse_token in https://github.com/arrow-py/arrow/blob/master/arrow/parser.py (seventh_digit);
# https://github.com/msgspec/msgspec/pull/201 (rounds to the nearest microsecond); create_timestamp in ruamel.yaml's util.py;
# https://github.com/date-fns/date-fns/issues/3029 and 3194 (open since 2022);
# https://www.postgresql.org/docs/current/datatype-datetime.html names six digits, and not what becomes of a seventh.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    arrow==1.4.0 duckdb==2.0.1 msgspec==0.23.0 pydantic==2.14.4 PyYAML==6.0.4 ruamel.yaml==0.19.1
npm install --silent --no-audit --no-fund --prefix "$folder" date-fns@4.4.0 luxon@3.7.2 @electric-sql/pglite@0.5.17
cat >"$folder/years.js" <<'JAVASCRIPT'
const { parseISO } = require("date-fns");
const { DateTime } = require("luxon");
const { PGlite } = require("@electric-sql/pglite");
async function main() {
  const postgres = new PGlite();
  const year = "select extract(year from $1::text::timestamptz at time zone 'UTC')::int as year";
  const years = { luxon: [], "date-fns": [], PostgreSQL: [] };
  for (const text of JSON.parse(process.argv[2])) {
    years.luxon.push(DateTime.fromISO(text, { zone: "utc" }).year);
    years["date-fns"].push(parseISO(text).getUTCFullYear());
    years.PostgreSQL.push((await postgres.query(year, [text])).rows[0].year);
  }
  console.log(JSON.stringify(years));
}
main();
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import subprocess
import sys
from datetime import datetime

import arrow
import duckdb
import msgspec
import pydantic
import yaml
from ruamel.yaml import YAML

TEXTS = [f"2026-12-31T23:59:59.{'9' * digits}Z" for digits in (3, 6, 7, 9)]
CUT, ROUNDED = [2026, 2026, 2026, 2026], [2026, 2026, 2027, 2027]
#                            years read from 3, 6, 7 and 9 nines
EXPECTED = {
    "datetime":             CUT,
    "pydantic":             CUT,
    "PyYAML":               CUT,
    "luxon":                CUT,
    "DuckDB TIMESTAMP":     CUT,
    "arrow":                ROUNDED,
    "msgspec":              ROUNDED,
    "ruamel.yaml":          ROUNDED,
    "date-fns":             ROUNDED,
    "PostgreSQL":           ROUNDED,
    "DuckDB TIMESTAMP_MS":  [2026, 2027, 2027, 2027],
    "DuckDB TIMESTAMP_S":   [2027, 2027, 2027, 2027],
}


def by_duckdb(text: str, type_: str) -> int:
    return duckdb.execute(f"select year($1::{type_}::timestamp)", [text]).fetchone()[0]


READERS = {
    "datetime": lambda text: datetime.fromisoformat(text).year,
    "pydantic": lambda text: pydantic.TypeAdapter(datetime).validate_python(text).year,
    "PyYAML": lambda text: yaml.safe_load(text).year,
    "arrow": lambda text: arrow.get(text).year,
    "msgspec": lambda text: msgspec.convert(text, datetime).year,
    "ruamel.yaml": lambda text: YAML(typ="safe", pure=True).load(text).year,
    "DuckDB TIMESTAMP": lambda text: by_duckdb(text, "timestamp"),
    "DuckDB TIMESTAMP_MS": lambda text: by_duckdb(text, "timestamp_ms"),
    "DuckDB TIMESTAMP_S": lambda text: by_duckdb(text, "timestamp_s"),
}
command = ["node", f"{sys.argv[1]}/years.js", json.dumps(TEXTS)]
years = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
years |= {name: [read(text) for text in TEXTS] for name, read in READERS.items()}
wrong = 0
for name, expected in EXPECTED.items():
    shown = "   ".join(f".{'9' * digits} in {year}" for digits, year in zip((3, 6, 7, 9), years[name]))
    print(f"{name:<20} {shown}")
    wrong += years[name] != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
