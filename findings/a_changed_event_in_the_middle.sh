#!/usr/bin/env bash
# Of a Polars frame of a hundred events, Streamlit's cache looks at the first ten and the last ten: eighty may change unseen.
#
# One would guess: st.cache_data computes a result anew if an argument is another one than before. From 50,000 rows on it hashes a
# sample of them, for speed; a small frame is hashed whole.
#
# What happens (Streamlit 1.67.0 with Polars 2.1.0, PyArrow 26.0.1 and pandas 3.1.1), for a cached sum of amounts, where the amount
# of one event after the other is changed:
# - Up to 21 rows each change gives a new sum. Of 22 rows two can change and the sum of before is returned, of 30 rows ten, of
#   100 rows eighty. A Series of Polars likewise.
# - With the same events in pandas every change is seen.
# - The hash of each row is right. They are put together by to_arrow().to_string(), which is for people to read: PyArrow prints
#   ten values, "...", and ten values. PyArrow and Polars are not at fault.
#
# Why it matters here: a page that replays flows caches by events, as a replay takes time and each click runs the page anew. Most
# changes of a log are in its middle: an amount that was mended, a filter that takes others, the same number of rows of another
# day between two fixed ones. The page then shows deliveries of the events before, and the table of events beside it is
# the new one. Where rows come at the end, as in a growing log, all is well, and so it is in tests of five rows. Give a hash of
# your own, `hash_funcs={pl.DataFrame: lambda frame: frame.hash_rows().to_list()}`, or pass what the events were read from.
#
# Source: the hashing of polars in https://github.com/streamlit/streamlit/blob/develop/lib/streamlit/runtime/caching/hashing.py,
# as it came with https://github.com/streamlit/streamlit/pull/10408;
# https://arrow.apache.org/docs/python/generated/pyarrow.Array.html#pyarrow.Array.to_string (container_window);
# https://docs.streamlit.io/develop/concepts/architecture/caching (hashing, and hash_funcs).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check streamlit==1.67.0 polars==2.1.0 pyarrow==26.0.1 pandas==3.1.1
"$folder/venv/bin/python" - <<'PYTHON'
import logging

import pandas as pd
import polars as pl
import streamlit

logging.disable(logging.WARNING)  # it says that there is no page


def make(amounts: list[int], kind: str):
    events = {"id": list(range(len(amounts))), "amount": amounts}
    if kind == "pandas":
        return pd.DataFrame(events)
    frame = pl.DataFrame(events)
    return frame["amount"] if kind == "Series" else frame


def count_unseen(rows: int, kind: str, **options) -> int:
    """How many of the rows can be changed without a new sum."""

    @streamlit.cache_data(show_spinner=False, **options)
    def add(events) -> int:
        return int((events if kind == "Series" else events["amount"]).sum())

    before = add(make([1] * rows, kind))
    changed = [[5 if row == number else 1 for row in range(rows)] for number in range(rows)]
    return sum(add(make(amounts, kind)) == before for amounts in changed)


OWN = {"hash_funcs": {pl.DataFrame: lambda frame: frame.hash_rows().to_list()}}
#     rows   kind       options   rows that can change unseen
EXPECTED = [
    (15,     "Polars",  {},       0),
    (21,     "Polars",  {},       0),
    (22,     "Polars",  {},       2),
    (30,     "Polars",  {},       10),
    (100,    "Polars",  {},       80),
    (100,    "Series",  {},       80),
    (100,    "pandas",  {},       0),
    (100,    "Polars",  OWN,      0),
]
wrong = 0
for rows, kind, options, expected in EXPECTED:
    seen = count_unseen(rows, kind, **options)
    print(f"{kind}, {rows} rows{' with a hash of its own' if options else ''}: {seen} can change without a new sum")
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
