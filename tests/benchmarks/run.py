"""Run the benchmarks: `python -m tests.benchmarks --workload A,B --rounds 5 --json report.json`, or `--quick`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks import against, bytewax_side, flowdsl_side, memory
from tests.benchmarks.cases import FULL, QUICK, WORKLOADS
from tests.benchmarks.harness import Case, Report, measure, table

MEMORY_EVENTS, MEMORY_QUICK = 20_000_000, 500_000
BYTEWAX_EVENTS = 200_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the workloads that are asked for; exit with 1 if any two sides gave different rows."""
    options = _options(arguments)
    if options.against:
        return _against(options)
    found: dict[str, Any] = {"machine": _machine(), "cases": []}
    unequal = False
    for workload in options.workload:
        if workload == "M":
            reports = _memory(options)
            found["memory"] = reports
            unequal |= not all(report["equal"] for report in reports)
            continue
        if workload == "bytewax":
            found["bytewax"] = _bytewax(options)
            continue
        for report in _workload(workload, options):
            found["cases"].append({**asdict(report), "ratios": report.ratios()})
            unequal |= bool(report.unequal)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    return 1 if unequal else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    known = [*WORKLOADS, "M", "bytewax"]
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument(
        "--workload", type=lambda text: text.split(","), default=known, help=f"of {','.join(known)}"
    )
    parser.add_argument("--events", type=int, help="events of each workload (posts for B, orders for D)")
    parser.add_argument("--rounds", type=int, help="times that each side runs (I: at least 20)")
    parser.add_argument("--side", help="only sides whose name contains this, and the first for comparison")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    parser.add_argument("--folder", type=Path, help="keep M's files here, and use those that are there")
    parser.add_argument(
        "--against", type=Path, help="another checkout: only flowdsl's sides of A to F and I, there and here"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes: a check of all sides in seconds")
    options = parser.parse_args(arguments)
    wrong = sorted(set(options.workload) - set(known))
    if wrong:
        parser.error(f"unknown workload {', '.join(wrong)}; known are {', '.join(known)}")
    options.rounds = options.rounds or (1 if options.quick else 5)
    return options


def _against(options: argparse.Namespace) -> int:
    workloads = [workload for workload in options.workload if workload in WORKLOADS]
    cases = []
    compared = against.compare(
        options.against, workloads, options.rounds, options.events, quick=options.quick
    )
    for case in compared:
        print(case, flush=True)
        cases.append({**asdict(case), "ratios": case.ratios()})
    if options.json:
        options.json.write_text(json.dumps({"machine": _machine(), "against": cases}, indent=1))
    return 1 if any(case["unequal"] for case in cases) else 0


def _workload(workload: str, options: argparse.Namespace) -> list[Report]:
    events = options.events or (QUICK if options.quick else FULL)[workload]
    reports = []
    for case in WORKLOADS[workload](events, options.quick):
        rounds = options.rounds if workload != "I" or options.quick else max(options.rounds, 20)
        report = measure(_chosen(case, options.side), rounds)
        print(table(report), flush=True)
        reports.append(report)
    return reports


def _chosen(case: Case, text: str | None) -> Case:
    if text is None:
        return case
    return replace(case, sides=[case.sides[0], *(side for side in case.sides[1:] if text in side.name)])


def _memory(options: argparse.Namespace) -> list[dict[str, Any]]:
    events = options.events or (MEMORY_QUICK if options.quick else MEMORY_EVENTS)
    sides = [side for side in memory.SIDES if side != "flowdsl" or flowdsl_side.available()]
    sides = [side for side in sides if options.side is None or options.side in side]
    print(f"M: {events:,} events from Parquet to Parquet, each side in its own process")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "shuffled.parquet").exists():
            memory.prepare(folder, events, 0.1 if options.quick else 1.0)
        reports = memory.compare(folder, sides)
    print("\n".join(memory.text(report) for report in reports), flush=True)
    return reports


def _bytewax(options: argparse.Namespace) -> dict[str, Any]:
    found = bytewax_side.measure(options.events or (20_000 if options.quick else BYTEWAX_EVENTS), seed=1)
    print(
        f"A by bytewax: {found['events']:,} events, {found['steps']:,.0f} events/s with an operator a step, "
        f"{found['batches']:,.0f} with all steps in one",
        flush=True,
    )
    return found


def _machine() -> dict[str, Any]:
    packages = {name: version(name) for name in ("polars", "duckdb", "pyarrow", "numpy")}
    return {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg(), **packages}


if __name__ == "__main__":
    sys.exit(main())
