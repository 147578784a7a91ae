#!/usr/bin/env bash
# Looked up in Feast's local store, an order by somebody unknown stays, and an order by somebody whose profile is too old is gone.
#
# One would guess: get_historical_features has a row for each row that was asked for, with the newest version before its time.
# Where there is none, or it is older than the ttl, the features are null. The store for trying out and the one for more data
# give the same.
#
# What happens (Feast 0.67.0, with its stores "dask", the default, and "duckdb"), for five orders:
# - duckdb has five rows, with nulls where nothing is known. dask has two.
# - dask joins each order with all versions and drops what is too old or from later. An order with no other version goes
#   with them. One by a user without any version was joined with a null, which is kept. A fresh version in a second feature
#   view does not bring the order back.
# - Of two orders by one user at one moment dask keeps the one that was asked for last, whatever other columns they have.
#
# Why it matters here: it is the look-up "as of the event" that a replay makes. What is lost are orders by people who have just
# signed up (their profile comes a moment later), by those who were away longer than the ttl, and the bursts. So the rest
# looks healthier than it was: hardly an event lacks its profile. Rates per event are wrong, and no sum tells, as no row is
# there to count. Join the result back to the events by an id of their own, and compare the number of rows first.
#
# Source: _filter_ttl, which is careful not to drop rows without a version, and _drop_duplicates in
# https://github.com/feast-dev/feast/blob/master/sdk/python/feast/infra/offline_stores/dask.py;
# https://github.com/feast-dev/feast/issues/6787 (rows of one moment; open since August 2026);
# https://docs.feast.dev/getting-started/concepts/point-in-time-joins.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    'feast[duckdb]==0.67.0' dask==2026.8.0 duckdb==2.0.1 ibis-framework==12.0.0 pandas==2.3.3 pyarrow==26.0.1
export FEAST_USAGE=False
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import logging
import sys
import warnings
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import String
from feast.value_type import ValueType

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)


def at(minutes: int) -> datetime:
    return datetime(2026, 11, 30, 10, tzinfo=timezone.utc) + timedelta(minutes=minutes)


ORDERS = pd.DataFrame({
    "order": [1, 2, 3, 4, 5],
    "user": ["ada", "ada", "ben", "cem", "dan"],
    "event_timestamp": [at(0)] * 5,
})
#            user   since      plan
PLANS = [
    ("ada", at(-5), "pro"),
    ("ben", at(-90), "free"),  # older than the ttl
    ("cem", at(1), "free"),  # from later
]
CITIES = [(user, at(-1), "Bern") for user in ("ada", "ben", "cem")]
USER = Entity(name="user", join_keys=["user"], value_type=ValueType.STRING)
folder = Path(sys.argv[1])


def view(name: str, rows: list[tuple]) -> FeatureView:
    pd.DataFrame(rows, columns=["user", "since", name]).to_parquet(folder / f"{name}.parquet")
    source = FileSource(name=name, path=str(folder / f"{name}.parquet"), timestamp_field="since")
    schema = [Field(name=name, dtype=String)]
    return FeatureView(name=f"of_{name}", entities=[USER], ttl=timedelta(hours=1), schema=schema, source=source)


VIEWS = [view("plan", PLANS), view("city", CITIES)]


def look_up(offline: str, *features: str) -> list[tuple]:
    config = RepoConfig(
        project="shop", provider="local", registry=str(folder / f"{offline}.db"), offline_store={"type": offline},
        online_store={"type": "sqlite", "path": str(folder / "online.db")}, entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    store.apply([USER, *VIEWS])
    names = [f"of_{feature}:{feature}" for feature in features]
    frame = store.get_historical_features(entity_df=ORDERS, features=names).to_df().sort_values("order")
    rows = frame[["order", *features]].itertuples(index=False)
    return [tuple(None if pd.isna(value) else value for value in row) for row in rows]


#    store     features            rows
EXPECTED = [
    ("duckdb", ("plan",),          [(1, "pro"), (2, "pro"), (3, None), (4, None), (5, None)]),
    ("dask",   ("plan",),          [(2, "pro"), (5, None)]),
    ("duckdb", ("city",),          [(1, "Bern"), (2, "Bern"), (3, "Bern"), (4, "Bern"), (5, None)]),
    ("dask",   ("city",),          [(2, "Bern"), (3, "Bern"), (4, "Bern"), (5, None)]),
    ("dask",   ("plan", "city"),   [(2, "pro", "Bern"), (5, None, None)]),
]
wrong = 0
for offline, features, expected in EXPECTED:
    seen = look_up(offline, *features)
    rows = ", ".join(" ".join(map(str, row)) for row in seen)
    print(f"{offline:<7} {' and '.join(features):<14} {len(seen)} of {len(ORDERS)} orders: {rows}")
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
