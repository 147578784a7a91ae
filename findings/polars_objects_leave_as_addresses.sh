#!/usr/bin/env bash
# Polars hands a column of Python objects to Arrow as the addresses of the objects in memory, without a word.
#
# One would guess: UUIDs that were put into a Polars frame leave it as UUIDs, as text, or as an error that says why not.
# The frame's own writers do refuse them, and to_pandas() gives the UUIDs back.
#
# What happens (Polars 2.1.0, pyarrow 26.0.1): a list of UUIDs makes a column of type Object. to_arrow() turns it into one of
# fixed_size_binary[8], and so does pyarrow.table(frame). The eight bytes are where the objects lie in memory, id() in Python:
# - three rows with two different UUIDs have three different values; joins and counts of them find nothing that is equal.
# - the values are those of one run. A Parquet file of that table is written and read without a warning, and nothing in it
#   leads back to an id.
# - write_parquet, write_ipc, write_csv and write_json of the same frame raise. DuckDB looks at the types first and refuses.
#
# Why it matters here: databases give ids as UUIDs, and frames go from one engine to the next as Arrow. Ids that became addresses are
# bytes of a plain type, so that a check of types passes; flowdsl reads such columns of a Polars frame by their objects instead.
#
# Source: https://docs.pola.rs/api/python/stable/reference/dataframe/api/polars.DataFrame.to_arrow.html ("This operation
# is mostly zero copy. Data types that do copy: CategoricalType"); https://docs.pola.rs/api/python/stable/reference/datatypes.html (Object)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    duckdb==2.0.1 pandas==3.1.1 polars==2.1.0 pyarrow==26.0.1
cd "$folder"
cat > addresses.py <<'PYTHON'
import io
import uuid

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

orders = [uuid.UUID(int=7), uuid.UUID(int=7), uuid.UUID(int=9)]
frame = pl.DataFrame({"order": orders})
column = frame.to_arrow()["order"]
pq.write_table(frame.to_arrow(), "orders.parquet")


def raises(act):
    try:
        act()
    except Exception as error:
        return type(error).__name__
    return "nothing"


FOUND = {
    "type in Polars": str(frame.schema["order"]),
    "type in Arrow": str(column.type),
    "through pyarrow.table": str(pa.table(frame)["order"].type),
    "are the addresses": [int.from_bytes(value, "little") for value in column.to_pylist()] == [id(one) for one in orders],
    "different ids, before": len(set(orders)),
    "different ids, after": len(set(column.to_pylist())),
    "read from Parquet": str(pl.read_parquet("orders.parquet").schema["order"]),
    "back in pandas": frame.to_pandas()["order"].tolist() == orders,
    "write_parquet": raises(lambda: frame.write_parquet(io.BytesIO())),
    "write_csv": raises(frame.write_csv),
    "write_json": raises(frame.write_json),
    "DuckDB": raises(lambda: duckdb.sql("select * from frame")),
}
EXPECTED = {
    "type in Polars": "Object",
    "type in Arrow": "fixed_size_binary[8]",
    "through pyarrow.table": "fixed_size_binary[8]",
    "are the addresses": True,
    "different ids, before": 2,
    "different ids, after": 3,
    "read from Parquet": "Binary",
    "back in pandas": True,
    "write_parquet": "ComputeError",
    "write_csv": "ComputeError",
    "write_json": "ComputeError",
    "DuckDB": "InvalidInputException",
}
for name, found in FOUND.items():
    print(f"{name:22} {found}")
changed = [name for name in EXPECTED if FOUND[name] != EXPECTED[name]]
raise SystemExit(f"no longer so: {', '.join(changed)}" if changed else 0)
PYTHON
"$folder/venv/bin/python" addresses.py
