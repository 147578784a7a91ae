#!/usr/bin/env bash
# In Ibis an as-of join with a tolerance has more rows than there are events, or finds nothing, by the name of a column.
#
# One would guess: an as-of join has one row for each row on the left, with the last version before it or with nulls. A
# tolerance takes away versions that are too old, and nothing else. What the columns are called is a matter of taste.
#
# What happens (Ibis 12.0.0 with DuckDB 1.4.5 and with Polars 2.1.0), for four events, two of which ada made at one moment:
# - Without a tolerance there are four rows. With ten minutes there are six: each of the two events is there twice. Three at one
#   moment are nine rows, ten are a hundred.
# - If the time has another name in the table of versions, on=events.at >= versions.since, there are four rows with a tolerance
#   too, and no version in any of them, not even in those that are minutes old.
# - The engines are not to blame, and pandas 3.1.1 and Polars themselves have four rows with three versions. Ibis writes the join,
#   drops what is too old, and then joins the rest back to the events, by the time and the key that both sides had.
#
# Why it matters here: a look-up "as of the event, at most a day old" is this join. Sums and counts after it are too large
# by just those events that came together, which are the bursts of which limits and digests are made. A test with distinct
# times sees nothing, and duplicates that are dropped afterwards take real repetitions with them. Join without the tolerance, and
# blank what is too old in a column of its own.
#
# Source: asof_join in https://github.com/ibis-project/ibis/blob/main/ibis/expr/types/joins.py, the second join since
# https://github.com/ibis-project/ibis/pull/7881; https://github.com/ibis-project/ibis/issues/11780 (the names; open);
# https://ibis-project.org/reference/expression-tables#ibis.expr.types.relations.Table.asof_join ("similar to a left join").
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    'ibis-framework[duckdb,polars]==12.0.0' duckdb==1.4.5 pandas==3.1.1 polars==2.1.0 sqlglot==28.10.1
"$folder/venv/bin/python" - <<'PYTHON'
import warnings
from datetime import datetime, timedelta

import ibis
import pandas as pd
import polars as pl

warnings.simplefilter("ignore")  # Polars cannot check the order within groups


def at(minutes: int) -> datetime:
    return datetime(2026, 11, 30, 10) + timedelta(minutes=minutes)


EVENTS = pd.DataFrame({"event": [1, 2, 3, 4], "user": ["ada", "ada", "ben", "ada"], "at": [at(0), at(0), at(0), at(30)]})
VERSIONS = pd.DataFrame({"user": ["ada", "ben"], "at": [at(-5), at(-3)], "plan": ["free", "pro"]})
TOLERANCE = timedelta(minutes=10)


def found(frame: pd.DataFrame) -> list[tuple]:
    frame = frame[["event", "plan"]].sort_values("event")
    return [(event, None if pd.isna(plan) else plan) for event, plan in frame.itertuples(index=False)]


def by_pandas() -> list[tuple]:
    return found(pd.merge_asof(EVENTS, VERSIONS, on="at", by="user", tolerance=TOLERANCE))


def by_polars() -> list[tuple]:
    left, right = pl.from_pandas(EVENTS), pl.from_pandas(VERSIONS)
    return found(left.join_asof(right, on="at", by="user", tolerance=TOLERANCE).to_pandas())


def by_ibis(engine: str, name: str, tolerance: timedelta | None) -> list[tuple]:
    ibis.set_backend(getattr(ibis, engine).connect())
    events, versions = ibis.memtable(EVENTS), ibis.memtable(VERSIONS.rename(columns={"at": name}))
    on = events.at >= versions[name] if name != "at" else "at"
    return found(events.asof_join(versions, on=on, predicates="user", tolerance=tolerance).execute())


ALL = [(1, "free"), (2, "free"), (3, "pro"), (4, "free")]
RIGHT = [(1, "free"), (2, "free"), (3, "pro"), (4, None)]
TWICE = [(1, "free"), (1, "free"), (2, "free"), (2, "free"), (3, "pro"), (4, None)]
NONE = [(1, None), (2, None), (3, None), (4, None)]
CASES = [("pandas, ten minutes", by_pandas(), RIGHT), ("Polars, ten minutes", by_polars(), RIGHT)]
for engine in ("duckdb", "polars"):
    CASES += [
        (f"Ibis with {engine}", by_ibis(engine, "at", None), ALL),
        (f"Ibis with {engine}, ten minutes", by_ibis(engine, "at", TOLERANCE), TWICE),
        (f"Ibis with {engine}, since", by_ibis(engine, "since", None), ALL),
        (f"Ibis with {engine}, since, ten minutes", by_ibis(engine, "since", TOLERANCE), NONE),
    ]
wrong = 0
for name, seen, expected in CASES:
    print(f"{name:<38} {len(seen)} rows: " + ", ".join(f"{event} {plan}" for event, plan in seen))
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(CASES)} are no longer so" if wrong else 0)
PYTHON
