"""Sides of one job are checked against each other, then timed in turn: medians and their ratios."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.benchmarks.outcome import Outcome, difference

Run = Callable[[], Outcome]


@dataclass(frozen=True)
class Side:
    """One way of doing the job.

    The kind is `hand-written`, `expert` (knows the trick of the workload), `flowdsl`, `again` (flowdsl over events that it has
    read before), `part` (does less, as a yardstick) or `reference` (checks the others and is not timed).
    """

    name: str
    kind: str
    run: Run


@dataclass(frozen=True)
class Case:
    """One job over one set of data, and the sides that do it; `unit` is what rates count."""

    name: str
    title: str
    events: int
    sides: list[Side]
    unit: str = "events"


@dataclass
class Report:
    """What was measured of one case: times in seconds for each side, and what went wrong."""

    name: str
    title: str
    events: int
    rows: int = 0
    counts: tuple[int, int] | None = None
    kinds: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    processor: dict[str, list[float]] = field(default_factory=dict)
    part: dict[str, list[float]] = field(default_factory=dict)
    unequal: dict[str, str] = field(default_factory=dict)
    unit: str = "events"
    load: float = 0.0  # of the machine after the last round: above its cores, others were at work too

    def median(self, side: str) -> float:
        """Give the median of a side's times."""
        return statistics.median(self.seconds[side])

    def best(self, *kinds: str) -> str | None:
        """Name the fastest side of these kinds."""
        names = [name for name in self.seconds if self.kinds[name] in kinds]
        return min(names, key=self.median, default=None)

    def ratios(self) -> dict[str, float]:
        """Give flowdsl's median over the best of each other kind."""
        own = self.best("flowdsl")
        rivals = {kind: self.best(kind) for kind in ("hand-written", "expert", "part")}
        return {
            kind: self.median(own) / self.median(rival) for kind, rival in rivals.items() if own and rival
        }


def measure(case: Case, rounds: int) -> Report:
    """Check all sides against the first, then run them in turn, as often as `rounds` says.

    The first run of each side warms it up and is not counted; a side with other rows, or an error, is not timed. What a side
    gave back is let go outside its time.
    """
    report = Report(case.name, case.title, case.events, unit=case.unit)
    report.kinds = {side.name: side.kind for side in case.sides}
    _check(case, report)
    timed = [side for side in case.sides if side.kind != "reference" and side.name not in report.unequal]
    for number in range(rounds):
        for side in timed if number % 2 == 0 else reversed(timed):
            gc.collect()
            start, processor = time.perf_counter(), time.process_time()
            outcome = side.run()
            report.processor.setdefault(side.name, []).append(time.process_time() - processor)
            report.seconds.setdefault(side.name, []).append(time.perf_counter() - start)
            if outcome.part is not None:
                report.part.setdefault(side.name, []).append(outcome.part)
            del outcome
    report.load = os.getloadavg()[0]
    return report


def _check(case: Case, report: Report) -> None:
    first, rest = case.sides[0], case.sides[1:]
    expected = first.run()
    report.rows = sum(len(rows) for rows in expected.sinks.values())
    report.counts = expected.counts() if expected.counts else None
    for side in rest:
        try:
            found = difference(expected, side.run(), partial=side.kind == "part")
        except Exception as error:  # a side that cannot do the job is reported, and the others go on
            found = f"raised {type(error).__name__}: {error}"
        if found:
            report.unequal[side.name] = f"{first.name} and {side.name} differ: {found}"


def table(report: Report) -> str:
    """Write a report as a few lines of text."""
    counts = "" if report.counts is None else f", {report.counts[0]:,} failed, {report.counts[1]:,} dropped"
    lines = [
        f"{report.name}: {report.title}",
        f"  {report.events:,} events -> {report.rows:,} deliveries{counts} (load {report.load:.1f})",
    ]
    best = report.best("hand-written")
    for name in sorted(report.seconds, key=report.median):
        median, times = report.median(name), report.seconds[name]
        ratio = f"{median / report.median(best):6.2f} x" if best else ""
        spread = f"{min(times):.3f} .. {max(times):.3f}"
        processor = statistics.median(report.processor[name])
        rate = f"{_rate(report, median)}, by the processor {processor:.3f} s"
        lines.append(f"  {name:26} {report.kinds[name]:12} {median:8.3f} s  {spread:16} {rate} {ratio}")
        if name in report.part:
            step = statistics.median(report.part[name])
            lines.append(f"  {'':26} {'its step':12} {step:8.3f} s  {'':16} {_rate(report, step)}")
    lines += [f"  UNEQUAL: {text}" for text in report.unequal.values()]
    ratios = ", ".join(f"{ratio:.2f} x the best {kind} side" for kind, ratio in report.ratios().items())
    return "\n".join([*lines, *([f"  flowdsl: {ratios}"] if ratios else [])])


def _rate(report: Report, seconds: float) -> str:
    return f"{report.events / seconds / 1e6:6.2f} M {report.unit}/s"
