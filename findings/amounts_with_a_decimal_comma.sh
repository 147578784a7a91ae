#!/usr/bin/env bash
# Readers that are told that the comma is the decimal sign still take a point for one: 1.234 (more than a thousand) becomes 1.234.
#
# One would guess: where a CSV reader is told that amounts have a decimal comma, "1.234" is either a thousand and more (points
# set thousands apart in such files) or refused. It is never a little more than one, and one option means one thing, whatever
# type, engine or separator stands beside it.
#
# What happens (Polars 2.1.0, pandas 3.1.1, DuckDB 2.0.1, pyarrow 26.0.1) for the amounts "12,50" and "1.234":
# - pyarrow and DuckDB refuse the second one for a column of doubles, as does pandas' C engine for the whole column.
# - Polars, with decimal_comma=True, refuses it for a column of decimals and reads 1.234 for one of floats. Left to infer
#   the type it keeps both as text, so the error comes with the declaration that was to prevent errors.
# - pandas' Python engine, with decimal=",", reads 1.234 as well. It need not be named: sep=None, which looks for the separator,
#   and a separator of several letters choose it.
# - Where an amount such as "1.234,50" keeps that engine from making numbers, the column stays text, but not as it stood in the
#   file: "12,50" has become "12.50".
#
# Why it matters here: a condition such as "orders over 1,000" never holds for round amounts, in a column that reads
# without a warning and whose other amounts are right. A check of the types sees numbers everywhere.
#
# Source: https://docs.pola.rs/api/python/stable/reference/api/polars.read_csv.html (decimal_comma);
# https://pandas.pydata.org/docs/reference/api/pandas.read_csv.html (decimal, engine, sep);
# https://duckdb.org/docs/stable/data/csv/overview#parameters (decimal_separator);
# https://arrow.apache.org/docs/python/generated/pyarrow.csv.ConvertOptions.html (decimal_point)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    duckdb==2.0.1 pandas==3.1.1 polars==2.1.0 pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pc

warnings.simplefilter("ignore")  # pandas says that sep=None chooses an engine


def written(*amounts):
    with open("orders.csv", "w") as file:
        file.writelines(["order;total\n", *(f"A{row};{amount}\n" for row, amount in enumerate(amounts))])


def of_pandas(**options):
    return pd.read_csv("orders.csv", decimal=",", **options)["total"].tolist()


def of_polars(dtype=None):
    types = None if dtype is None else {"total": dtype}
    frame = pl.read_csv("orders.csv", separator=";", decimal_comma=True, schema_overrides=types)
    return frame["total"].to_list()


def of_duckdb():
    options = "delim=';', decimal_separator=',', types={'total': 'DOUBLE'}"
    return [row[0] for row in duckdb.execute(f"select total from read_csv('orders.csv', {options})").fetchall()]


def of_pyarrow():
    convert = pc.ConvertOptions(decimal_point=",", column_types={"total": pa.float64()})
    return pc.read_csv("orders.csv", parse_options=pc.ParseOptions(delimiter=";"), convert_options=convert)["total"].to_pylist()


def seen(read):
    try:
        return read()
    except Exception as error:
        return type(error).__name__


TEXT, SHRUNK = ["12,50", "1.234"], [12.5, 1.234]
CASES = [
    ("pyarrow, double", of_pyarrow, "ArrowInvalid"),
    ("DuckDB, double", of_duckdb, "ConversionException"),
    ("Polars, inferred", of_polars, TEXT),
    ("Polars, decimal", lambda: of_polars(pl.Decimal(10, 2)), "ComputeError"),
    ("Polars, float", lambda: of_polars(pl.Float64), SHRUNK),
    ("pandas, inferred", lambda: of_pandas(sep=";"), TEXT),
    ("pandas, float", lambda: of_pandas(sep=";", dtype={"total": float}), "ValueError"),
    ("pandas, sep=None", lambda: of_pandas(sep=None), SHRUNK),
    ("pandas, sep=None, float", lambda: of_pandas(sep=None, dtype={"total": float}), SHRUNK),
]
changed = 0
written("12,50", "1.234")
for name, read, expected in CASES:
    found = seen(read)
    print(f"{name:24} {found}")
    changed += found != expected
written("12,50", "1.234", "1.234,50")
found = of_pandas(sep=None)
print(f"{'pandas, text that stays':24} {found}")
changed += found != ["12.50", "1.234", "1.234,50"]
raise SystemExit(f"{changed} of {len(CASES) + 1} are no longer so" if changed else 0)
PYTHON
