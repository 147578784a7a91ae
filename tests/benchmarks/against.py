"""flowdsl beside another checkout of itself: `python -m tests.benchmarks --against FOLDER`.

Each checkout has a process of its own that holds the data and the graph of a case; the two run in turn, one at a time. Both take the
workloads from here, so that only `flowdsl` differs. Where others work on the machine too, the times of the processor say more than those of the clock.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[2]


@dataclass
class Compared:
    """One case in both builds: seconds of each round by the clock and by the processor, and where their rows differ."""

    name: str
    title: str
    clock: dict[str, list[float]] = field(default_factory=lambda: {"here": [], "there": []})
    processor: dict[str, list[float]] = field(default_factory=lambda: {"here": [], "there": []})
    unequal: str | None = None

    def ratios(self) -> dict[str, float]:
        """Give what this build takes over what the other does: medians and, for the processor, the least too."""
        return {
            "clock": _ratio(self.clock, statistics.median),
            "processor": _ratio(self.processor, statistics.median),
            "least": _ratio(self.processor, min),
        }

    def __str__(self) -> str:
        ratios = self.ratios()
        here, there = (statistics.median(self.processor[build]) for build in ("here", "there"))
        said = (
            f"{self.name:22} processor {here:7.3f} s of {there:7.3f} s: {ratios['processor']:.3f} x "
            f"(least {ratios['least']:.3f} x), clock {ratios['clock']:.3f} x"
        )
        return f"{said}\n  UNEQUAL: {self.unequal}" if self.unequal else said


def _ratio(seconds: dict[str, list[float]], of: Any) -> float:
    return float(of(seconds["here"]) / of(seconds["there"]))


class Build:
    """A process that runs the workloads with the flowdsl of one checkout."""

    def __init__(self, folder: Path, workloads: list[str], events: int | None, *, quick: bool) -> None:
        asked = json.dumps({"workloads": workloads, "events": events, "quick": quick})
        command = [sys.executable, "-m", "tests.benchmarks.against", str(folder.resolve()), asked]
        self._process = subprocess.Popen(
            command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, what: str) -> dict[str, Any]:
        """Have it make the next case (`next`) or run the one it has (`run`)."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("a build ended before its workloads did; what went wrong is told above")
        found: dict[str, Any] = json.loads(answer)
        return found

    def close(self) -> None:
        """End its process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def compare(
    folder: Path, workloads: list[str], rounds: int, events: int | None, *, quick: bool
) -> Iterator[Compared]:
    """Run each case in both builds, in turn, after a first round that checks that they give the same rows."""
    builds = {"here": Build(HERE, workloads, events, quick=quick)}
    builds["there"] = Build(folder, workloads, events, quick=quick)
    try:
        while (cases := {name: build.ask("next") for name, build in builds.items()})["here"]:
            case = Compared(cases["here"]["name"], cases["here"]["title"])
            if cases["here"]["outcome"] != cases["there"]["outcome"]:
                case.unequal = f"here {cases['here']['outcome']}, there {cases['there']['outcome']}"
            for number in range(rounds):
                for name in ("here", "there") if number % 2 == 0 else ("there", "here"):
                    times = builds[name].ask("run")
                    case.clock[name].append(times["clock"])
                    case.processor[name].append(times["processor"])
            yield case
    finally:
        for build in builds.values():
            build.close()


def _serve(folder: str, asked: dict[str, Any]) -> None:
    """Do what the lines of the input ask for; each is answered by one line."""
    sys.path.insert(0, folder)  # only for flowdsl: what is measured comes from the checkout of this file
    import flowdsl

    sys.path.remove(folder)
    if not Path(flowdsl.__file__).is_relative_to(folder):
        raise SystemExit(f"{folder} holds no flowdsl: {flowdsl.__file__} was found")
    from tests.benchmarks.cases import FULL, QUICK, WORKLOADS
    from tests.benchmarks.outcome import digest

    quick = asked["quick"]
    cases = (
        (case, side)
        for workload in asked["workloads"]
        for case in WORKLOADS[workload](asked["events"] or (QUICK if quick else FULL)[workload], quick)
        for side in case.sides
        if side.kind == "flowdsl"
    )
    answer: dict[str, Any] | None
    for line in sys.stdin:
        gc.collect()
        if line.strip() == "next":
            case, side = next(cases, (None, None))
            answer = None
            if case and side:
                outcome = side.run()
                rows = {sink: digest(rows) for sink, rows in outcome.sinks.items()}
                counts = outcome.counts() if outcome.counts else None
                answer = {"name": case.name, "title": case.title, "outcome": [rows, counts]}
        else:
            assert side
            clock, processor = time.perf_counter(), time.process_time()
            outcome = side.run()
            answer = {
                "clock": time.perf_counter() - clock,
                "processor": time.process_time() - processor,
                "load": os.getloadavg()[0],
            }
        outcome = None
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], json.loads(sys.argv[2]))
