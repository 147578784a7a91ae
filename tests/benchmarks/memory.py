"""Workload M: the peak of memory over a long Parquet log, each side in a process of its own.

`python -m tests.benchmarks.memory --side flowdsl --folder F` runs one side over the files that `prepare` wrote into F, and
prints one line of JSON: what the process held with the graph loaded, its peak after that, seconds, and a digest.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.data.likes import graph, write_long_log
from tests.benchmarks.outcome import digest

SIDES = ("flowdsl", "polars", "duckdb")
COLUMNS = ("seq_no", "recipient_id", "title")


def prepare(folder: Path, events: int, scale: float = 1.0) -> None:
    """Write the graph, the log in order, and the log without `seq_no` and out of order."""
    folder.mkdir(parents=True, exist_ok=True)
    of = graph(scale=scale)
    for name in ("users", "posts", "links"):
        pq.write_table(getattr(of, name), folder / f"{name}.parquet")
    write_long_log(of, folder / "ordered.parquet", events)
    write_long_log(of, folder / "shuffled.parquet", events, shuffled=True)


def measure(side: str, folder: Path, log: str) -> dict[str, Any]:
    """Run one side over one log in another process, and give what it prints, or its error."""
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.memory",
        "--side",
        side,
        "--folder",
        str(folder),
        "--log",
        log,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"side": side, "log": log, "error": done.stderr.strip().splitlines()[-1:]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(folder: Path, sides: list[str]) -> list[dict[str, Any]]:
    """Run the sides over both logs; a side whose rows differ from the others' is marked."""
    reports = []
    for log in ("ordered", "shuffled"):
        found = [measure(side, folder, log) for side in sides]
        digests = {one["digest"] for one in found if "digest" in one}
        reports += [{**one, "equal": len(digests) <= 1} for one in found]
    return reports


def text(report: dict[str, Any]) -> str:
    """Write one report as a line."""
    name = f"  {report['side']:8} {report['log']:9}"
    if "error" in report:
        return f"{name} failed: {' '.join(report['error'])}"
    beyond, base = report["beyond_mb"], report["graph_mb"]
    equal = "" if report["equal"] else "  UNEQUAL"
    return f"{name} {report['seconds']:7.2f} s  {beyond:7.0f} MB beyond {base:.0f} MB with the graph  {report['rows']:,} rows{equal}"


def _status(key: str) -> float:
    """Read a figure (MB) of this process from the kernel."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise KeyError(key)


def _reset_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak() -> float:
    try:
        return _status("VmHWM")
    except (OSError, KeyError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _flowdsl(folder: Path, log: Path, out: Path) -> tuple[Callable[[], Any], Callable[[], pa.Table]]:
    import flowdsl as fd
    from tests.benchmarks.flowdsl_side import likes_flow, likes_graph

    users, posts, links = (pq.read_table(folder / f"{name}.parquet") for name in ("users", "posts", "links"))
    state = likes_graph(users, posts, links)
    flow = likes_flow()
    return (
        lambda: fd.replay(flow, str(log), state, out=str(out)),
        lambda: fd.read_result(str(out)).arrow("in-app").select(list(COLUMNS)),
    )


def _polars(folder: Path, log: Path, out: Path) -> tuple[Callable[[], Any], Callable[[], pa.Table]]:
    from tests.benchmarks.queries.likes import Frames, joined

    users, links = (pl.read_parquet(folder / f"{name}.parquet").lazy() for name in ("users", "links"))
    events = pl.scan_parquet(log)
    if log.stem == "shuffled":
        events = (
            events.with_row_index("place")
            .sort("timestamp", "place")
            .drop("place")
            .with_row_index("seq_no", 1)
        )
    query = joined(Frames(events, users, links), "none").filter("keep").drop("keep").sort("seq_no")
    file = out.with_suffix(".parquet")
    return lambda: query.sink_parquet(file, engine="streaming"), lambda: pq.read_table(
        file, columns=list(COLUMNS)
    )


def _duckdb(folder: Path, log: Path, out: Path) -> tuple[Callable[[], Any], Callable[[], pa.Table]]:
    import duckdb

    from tests.benchmarks.queries.likes import SQL

    db = duckdb.connect()
    for name in ("users", "links"):
        db.execute(f"create table {name} as select * from read_parquet('{folder / name}.parquet')")
    numbered = "row_number() over (order by timestamp, file_row_number) as seq_no"
    columns = f"*, {numbered}" if log.stem == "shuffled" else "*"
    db.execute(f"create view events as select {columns} from read_parquet('{log}', file_row_number = true)")
    file = out.with_suffix(".parquet")
    query = f"select * exclude (keep) from ({SQL.format(order='')}) where keep order by seq_no"
    return (
        lambda: db.execute(f"copy ({query}) to '{file}' (format parquet, compression zstd)"),
        lambda: pq.read_table(file, columns=list(COLUMNS)),
    )


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", choices=SIDES, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--log", choices=("ordered", "shuffled"), default="ordered")
    options = parser.parse_args()
    out = options.folder / f"out-{options.side}-{options.log}"
    shutil.rmtree(out, ignore_errors=True)
    build = {"flowdsl": _flowdsl, "polars": _polars, "duckdb": _duckdb}[options.side]
    run, read = build(options.folder, options.folder / f"{options.log}.parquet", out)
    base, reset = _status("VmRSS"), _reset_peak()
    start = time.perf_counter()
    run()
    seconds, peak = time.perf_counter() - start, _peak()
    rows = read()
    found = {"side": options.side, "log": options.log, "seconds": seconds, "graph_mb": base, "peak_mb": peak}
    print(
        json.dumps(
            {
                **found,
                "beyond_mb": peak - base,
                "peak_reset": reset,
                "rows": len(rows),
                "digest": digest(rows),
            }
        )
    )


if __name__ == "__main__":
    _main()
