"""Replays of Parquet files with flipped bits, in a process of their own: `python flipped_files.py FOLDER SEED COUNT`.

It prints a line for each file: how many rows came, or the error.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import sys
import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import flowdsl as fd
from flowdsl import on, var

ROWS = 40
FLOW = on("link.created").map(who=var.source_id, n=var.metadata.n, tags=var.metadata.tags).deliver("s")


def events() -> pa.Table:
    """Links with all that a file of events can hold: text, moments, structs and lists."""
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return pa.table(
        {
            "seq_no": list(range(1, ROWS + 1)),
            "kind": pa.array(["link.created"] * ROWS).dictionary_encode(),
            "timestamp": pa.array([start + dt.timedelta(seconds=i) for i in range(ROWS)], pa.timestamp("us", "UTC")),
            "link_type": ["likes"] * ROWS,
            "source_id": [f"user-{i}" for i in range(ROWS)],
            "target_id": ["post"] * ROWS,
            "metadata": [{"n": i / 2, "tags": ["a"] * (i % 3)} for i in range(ROWS)],
        }
    )  # fmt: skip


def outcome(path: Path) -> dict[str, Any]:
    """What comes of a file: rows, or an error."""
    try:
        result = fd.replay(FLOW, path, chunk_size=16)
        return {"rows": len(result["s"])}
    except fd.FlowError as error:
        return {"typed": True, "says": str(error)}
    # whatever a reader raises, panics too
    except BaseException as error:
        return {"typed": False, "says": f"{type(error).__name__}: {error}"}


def main(folder: Path, seed: int, count: int) -> None:
    """Flip some bits, anywhere in the file or in what describes it at its end, replay, and tell."""
    warnings.simplefilter("ignore")
    rng = random.Random(seed)
    pq.write_table(events(), folder / "whole.parquet", compression=rng.choice(["none", "snappy", "zstd"]))
    whole = (folder / "whole.parquet").read_bytes()
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    path = folder / "events.parquet"
    for _ in range(count):
        spoilt = bytearray(whole)
        first = rng.choice([0, len(whole) - footer])
        for _ in range(rng.choice([1, 1, 3])):
            spoilt[rng.randrange(first, len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(spoilt)
        print(json.dumps(outcome(path)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
