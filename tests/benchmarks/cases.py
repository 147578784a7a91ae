"""The cases of workloads A to E and I: their data, and all sides that do them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from tests.benchmarks import flowdsl_side as own
from tests.benchmarks.data import feed as feed_data
from tests.benchmarks.data import likes as likes_data
from tests.benchmarks.data import orders as orders_data
from tests.benchmarks.harness import Case, Run, Side
from tests.benchmarks.queries import feed, likes, many, orders
from tests.benchmarks.reference import STEPS

FULL = {"A": 2_000_000, "B": feed_data.POSTS, "C": 2_000_000, "D": 2_000_000, "E": 2_000_000, "I": 10_000}
QUICK = {"A": 100_000, "B": 5_000, "C": 100_000, "D": 100_000, "E": 100_000, "I": 10_000}


def _sides(kind: str, runs: dict[str, Run]) -> list[Side]:
    return [Side(name, kind, run) for name, run in runs.items()]


def _flowdsl(make: Callable[[], Run], name: str = "flowdsl", kind: str = "flowdsl") -> list[Side]:
    return [Side(name, kind, make())] if own.available() else []


def _scale(quick: bool) -> float:
    return 0.1 if quick else 1.0


def workload_a(count: int, quick: bool) -> Iterator[Case]:
    """A like is told to the owner of the post, from memory and from Parquet."""
    data = likes_data.likes(count, scale=_scale(quick))
    sides = _sides("hand-written", likes.sides(data)) + _flowdsl(lambda: own.likes(data))
    yield Case("A", "likes told to owners, from memory", count, sides)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "likes.parquet"
        pq.write_table(data.events, log, row_group_size=250_000, compression="zstd")
        sides = _sides("hand-written", likes.sides(data, log)) + _flowdsl(lambda: own.likes(data, log))
        yield Case("A parquet", "likes told to owners, from Parquet", count, sides)


def workload_b(count: int, quick: bool) -> Iterator[Case]:
    """Posts reach followers: all links there from the start, and links that come and go."""
    links = feed_data.LINKS // 20 if quick else feed_data.LINKS
    for name, ends in (("B static", False), ("B ends", True)):
        data = feed_data.feed(count, links, ends=ends)
        plain, expert = feed.sides(data, ends=ends)
        sides = (
            _sides("hand-written", plain)
            + _sides("expert", expert)
            + _flowdsl(lambda data=data: own.feed(data))
        )
        title = (
            "posts fanned out over links that come and go" if ends else "posts fanned out over static links"
        )
        yield Case(name, title, data.events.num_rows, sides)


def workload_c(count: int, quick: bool) -> Iterator[Case]:
    """Each stateful step alone, over two weeks and over six hours."""
    graph = likes_data.graph(scale=_scale(quick))
    for span, days in (("14 days", 14.0), ("6 hours", 0.25)):
        days = days * (0.05 if quick else 1)
        events = likes_data.with_late(likes_data.events(graph, count, days=days, power=4.0))
        for name, reference in STEPS.items():
            check = Side("loop", "reference", lambda reference=reference, events=events: reference(events))
            sides = [check, *_flowdsl(lambda name=name, events=events: own.step(name, events))]
            yield Case(f"C {name}, {span}", f"{name} alone, {count:,} events over {span}", count, sides)


def workload_d(count: int, quick: bool) -> Iterator[Case]:
    """Conditions and templates over JSON text."""
    events = orders_data.orders(count, count * 3 // 10)
    sides = _sides("hand-written", orders.sides(events)) + _flowdsl(lambda: own.orders(events))
    yield Case("D", "conditions and templates over JSON text", events.num_rows, sides)


def workload_e(count: int, quick: bool) -> Iterator[Case]:
    """Five and ten flows over one log; one of them alone as a yardstick."""
    data = likes_data.likes(count, scale=_scale(quick))
    for flows in (5, 10):
        sides = _sides("hand-written", many.sides(data, flows))
        sides += _flowdsl(lambda flows=flows: own.many(data, flows))
        sides += _flowdsl(lambda: own.many(data, 1), "flowdsl, one flow", "part")
        yield Case(f"E {flows}", f"{flows} flows over one log", count, sides)


def workload_i(count: int, quick: bool) -> Iterator[Case]:
    """A small log over the whole graph, as someone who plays with a flow replays it."""
    data = likes_data.likes(count, days=1.0)
    kept = {"polars inner": likes.sides(data)["polars inner"]}
    yield Case(
        "I",
        "10,000 events over the graph of A",
        count,
        _sides("hand-written", kept) + _flowdsl(lambda: own.likes(data)),
    )


WORKLOADS: dict[str, Callable[[int, bool], Iterator[Case]]] = {
    "A": workload_a,
    "B": workload_b,
    "C": workload_c,
    "D": workload_d,
    "E": workload_e,
    "I": workload_i,
}
