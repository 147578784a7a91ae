"""Workload A live: how many events a second go through, and how long one takes at a tenth of that, beside each other.

`python -m tests.benchmarks.live [EVENTS]` appends in lists of 500 as fast as it goes, from one thread, while the runtime follows; then a
tenth of the rate that was reached, in lists every 5 ms, first alone and then with ten other subscribers who read every
event. A latency is the time from before `append` until the sink has the delivery (for `InApp`, until it is safe on disk).
The events to come are made beforehand and kept from the collection of garbage, as `flowdsl run` keeps what it has loaded.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import flowdsl as fd
from flowdsl.log.subscription import Subscription
from flowdsl.sinks import Delivery, InApp, Sink
from tests.benchmarks.data import likes as likes_data
from tests.benchmarks.flowdsl_side import likes_flow, likes_graph

BURST = 500
TICK = 0.005
SUBSCRIBERS = 10


@dataclass
class Measured:
    """What one set-up did: events and deliveries, events a second, and latencies in ms."""

    name: str
    events: int
    deliveries: int
    rate: float
    alone: np.ndarray = field(repr=False)
    watched: np.ndarray = field(repr=False)
    read_by_subscribers: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        said = [f"{self.name:31} {self.rate:8,.0f} events/s"]
        for who, latencies in (("alone", self.alone), (f"with {SUBSCRIBERS} subscribers", self.watched)):
            p50, p99, worst = np.percentile(latencies, [50, 99, 100]) if len(latencies) else (0, 0, 0)
            said.append(f"{who}: p50 {p50:5.1f}  p99 {p99:5.1f}  longest {worst:5.1f} ms")
        return "   ".join(said)


class Stopwatch(Sink):
    """Counts deliveries; at a tenth of the load, notes when each event's was there."""

    def __init__(self) -> None:
        self.count = 0
        self.at: list[tuple[list[int], float]] = []

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[None]:
        now = time.perf_counter()
        self.count += len(deliveries)
        self.at.append(([delivery.seq_no for delivery in deliveries], now))
        return [None] * len(deliveries)


class DurableStopwatch(InApp):
    """The same over `InApp`: the time is taken when a batch is safe on disk."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.count = 0
        self.at: list[tuple[list[int], float]] = []

    def apply(self, deliveries: Sequence[Delivery], consumer: str, batch: int) -> Sequence[Any]:
        outcomes = super().apply(deliveries, consumer, batch)
        now = time.perf_counter()
        self.count += len(deliveries)
        self.at.append(([delivery.seq_no for delivery in deliveries], now))
        return outcomes


def events_of(table: Any) -> list[dict[str, Any]]:
    """The likes as events without a time of their own: they happen when they are appended."""
    frame = pl.DataFrame(table).select("link_type", "source_id", "target_id")
    return [{"kind": "link", "action": "created", **row} for row in frame.iter_rows(named=True)]


def measured(
    name: str,
    log: Any,
    sink: Any,
    graph: fd.EntityGraph,
    events: list[dict[str, Any]],
    *,
    patience: float = 600,
) -> Measured:
    """Half of the events as fast as it goes, and then twice as many at a tenth of that rate as five seconds take."""
    half, last = len(events) // 2, len(events) * 3 // 4
    flood, rest = events[:half], events[half:last]
    with fd.Runtime(likes_flow(), log, graph, {"in-app": sink}).start("latest") as runtime:
        for event in rest[:20]:
            log.append(event)
        runtime.run_until_idle(timeout=patience)
        began = time.perf_counter()
        for i in range(0, len(flood), BURST):
            log.append(flood[i : i + BURST])
        runtime.run_until_idle(timeout=patience)
        rate = len(flood) / (time.perf_counter() - began)
        sink.at.clear()
        appended = paced(log, rest[20:], rate / 10)
        runtime.run_until_idle(timeout=patience)
        alone = latencies(appended, sink.at)
        sink.at.clear()
        with subscribers(log) as read:
            appended = paced(log, events[last:], rate / 10)
            runtime.run_until_idle(timeout=patience)
    return Measured(name, log.last_seq_no(), sink.count, rate, alone, latencies(appended, sink.at), read())


def paced(
    log: Any, events: list[dict[str, Any]], rate: float, seconds: float = 5.0
) -> list[tuple[int, float]]:
    """Append at a rate; after each append the last number, and when it began."""
    said = []
    begin = time.perf_counter()
    done = 0
    while (now := time.perf_counter() - begin) < seconds and done < len(events):
        due = min(int(now * rate) + 1, len(events))
        if due > done:
            at = time.perf_counter()
            said.append((log.append(events[done:due]), at))
            done = due
        time.sleep(TICK)
    return said


def latencies(appended: list[tuple[int, float]], delivered: list[tuple[list[int], float]]) -> np.ndarray:
    """In ms, for every delivery, from before its event was appended until the sink had it."""
    numbers, begun = np.array([seq for seq, _ in appended]), np.array([at for _, at in appended])
    found = [(at - begun[np.searchsorted(numbers, seqs)]) * 1000 for seqs, at in delivered]
    return np.concatenate(found) if found else np.zeros(0)


@contextmanager
def subscribers(log: Any) -> Iterator[Callable[[], list[int]]]:
    """Ten threads that read what is appended; gives what each has read."""
    counts = [0] * SUBSCRIBERS
    stop = threading.Event()

    def read(number: int, subscription: Subscription) -> None:
        with subscription:
            while not stop.is_set():
                counts[number] += subscription.take(timeout=0.1).height

    # they begin here, not when their threads do: each is to read everything from now on
    begun = [log.subscribe(f"subscriber-{number}", "latest") for number in range(SUBSCRIBERS)]
    threads = [threading.Thread(target=read, args=one) for one in enumerate(begun)]
    for thread in threads:
        thread.start()
    try:
        yield lambda: counts
        time.sleep(0.2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def run(count: int, scale: float = 1.0) -> list[Measured]:
    """All set-ups, one after the other, over the same events."""
    data = likes_data.likes(count, scale=scale)
    graph = likes_graph(data.graph.users, data.graph.posts, data.graph.links)
    events = events_of(data.events)
    gc.collect()
    gc.freeze()
    found = [measured("memory, a function", fd.MemoryEventLog(), Stopwatch(), graph, events)]
    with tempfile.TemporaryDirectory() as folder:
        for durability in ("commit", "group"):
            place = Path(folder) / durability
            with fd.ParquetEventLog(place / "log", durability) as log:
                found.append(measured(f"folder ({durability}), a function", log, Stopwatch(), graph, events))
        with fd.ParquetEventLog(Path(folder) / "kept" / "log") as log:
            sink = DurableStopwatch(Path(folder) / "in-app.sqlite")
            found.append(measured("folder (commit), InApp on disk", log, sink, graph, events))
    return found


def main() -> int:
    """Run and print."""
    for one in run(int(sys.argv[1]) if len(sys.argv) > 1 else 400_000):
        print(one, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
