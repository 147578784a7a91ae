"""The cases of workloads A to F and I: their data, and all sides that do them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from tests.benchmarks import everyday
from tests.benchmarks import flowdsl_side as own
from tests.benchmarks.data import feed as feed_data
from tests.benchmarks.data import likes as likes_data
from tests.benchmarks.data import mentions as mentions_data
from tests.benchmarks.data import orders as orders_data
from tests.benchmarks.harness import Case, Run, Side
from tests.benchmarks.queries import feed, likes, many, orders
from tests.benchmarks.reference import STEPS

FULL = {
    "A": 2_000_000,
    "B": feed_data.POSTS,
    "C": 2_000_000,
    "D": 2_000_000,
    "E": 2_000_000,
    "F": 2_000_000,
    "I": 10_000,
}
QUICK = {"A": 100_000, "B": 5_000, "C": 100_000, "D": 100_000, "E": 100_000, "F": 100_000, "I": 10_000}


def _sides(kind: str, runs: dict[str, Run]) -> list[Side]:
    return [Side(name, kind, run) for name, run in runs.items()]


def _flowdsl(make: Callable[[], Run], name: str = "flowdsl", kind: str = "flowdsl") -> list[Side]:
    return [Side(name, kind, make())] if own.available() else []


def _again(make: Callable[[], Run]) -> list[Side]:
    """Give the side that replays the same frame each time."""
    return _flowdsl(make, "flowdsl, again", "again")


def _scale(quick: bool) -> float:
    return 0.1 if quick else 1.0


def workload_a(count: int, quick: bool) -> Iterator[Case]:
    """A like is told to the owner of the post, from memory and from Parquet."""
    data = likes_data.likes(count, scale=_scale(quick))
    sides = _sides("hand-written", likes.sides(data)) + _flowdsl(lambda: own.likes(data))
    sides += _again(lambda: own.likes(data, again=True))
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
            + _again(lambda data=data: own.feed(data, again=True))
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
    sides += _again(lambda: own.orders(events, again=True))
    yield Case("D", "conditions and templates over JSON text", events.num_rows, sides)


def workload_e(count: int, quick: bool) -> Iterator[Case]:
    """Five and ten flows over one log; one of them alone as a yardstick."""
    data = likes_data.likes(count, scale=_scale(quick))
    for flows in (5, 10):
        sides = _sides("hand-written", many.sides(data, flows))
        sides += _flowdsl(lambda flows=flows: own.many(data, flows))
        sides += _flowdsl(lambda: own.many(data, 1), "flowdsl, one flow", "part")
        yield Case(f"E {flows}", f"{flows} flows over one log", count, sides)


def workload_f(count: int, quick: bool) -> Iterator[Case]:
    """The operators and functions of everyday designs, each alone."""
    yield from _lists(count // 2)
    graph = likes_data.graph(scale=_scale(quick))
    days = 14.0 * (0.2 if quick else 1)
    events = likes_data.with_late(likes_data.events(graph, count, days=days, power=4.0))
    for name, design in everyday.DESIGNS.items():
        check = Side("loop", "reference", lambda design=design: design.check(events))
        sides = [check, *_flowdsl(lambda design=design: design.run(events))]
        yield Case(f"F {name}", f"{name} alone, {count:,} events over {days:g} days", count, sides)
    for collect in ("lists", "aggregates", "unique"):
        sides = [
            *_flowdsl(lambda: everyday.digests(events, None), "without collect", "part"),
            *_flowdsl(lambda collect=collect: everyday.digests(events, collect), "with collect"),
        ]
        yield Case(f"F collect {collect}", "windows of an hour with two collected values", count, sides)
    yield from _questions(count, quick)


def _lists(posts: int) -> Iterator[Case]:
    """Lists of five in each event."""
    events, people = mentions_data.mentions(posts)
    check = Side("plain", "reference", lambda: everyday.check_mentioned(events, people))
    sides = [check, *_flowdsl(lambda: everyday.mentioned(events))]
    yield Case("F for_each", f"{posts:,} lists of five in JSON text", len(people), sides, "branches")


def _questions(count: int, quick: bool) -> Iterator[Case]:
    """Conditions over links: of a snapshot, and of those that come and go in the log."""
    links = feed_data.LINKS // 20 if quick else feed_data.LINKS
    still, moving = feed_data.feed(1, links, ends=False), feed_data.feed(1_000, links, ends=True)
    waves = feed_data.waves(still, count)
    cases = [
        ("linked", "of a snapshot", still, waves, "waves"),
        ("count_links", "of a snapshot", still, waves, "waves"),
        ("linked back", "that come and go", moving, moving.events, "follows"),
        ("count_links", "that come and go", moving, moving.events, "follows"),
    ]
    for name, of, data, events, kind in cases:
        arguments = (data, events, name, kind)
        check = Side("loop", "reference", lambda a=arguments: everyday.check_asked(*a))
        sides = [check, *_flowdsl(lambda a=arguments: everyday.asked(*a))]
        asking = pl.DataFrame(events.select(["kind", "link_type"]))
        asked = asking.filter(pl.col("kind") == "link.created", pl.col("link_type") == kind).height
        yield Case(f"F {name}, {of}", f"{name} over {links:,} links {of}", asked, sides, "questions")


def workload_i(count: int, quick: bool) -> Iterator[Case]:
    """A small log over the whole graph, as someone who plays with a flow replays it."""
    data = likes_data.likes(count, days=1.0)
    kept = {"polars inner": likes.sides(data)["polars inner"]}
    sides = _sides("hand-written", kept) + _flowdsl(lambda: own.likes(data))
    sides += _again(lambda: own.likes(data, again=True))
    yield Case("I", "10,000 events over the graph of A", count, sides)


WORKLOADS: dict[str, Callable[[int, bool], Iterator[Case]]] = {
    "A": workload_a,
    "B": workload_b,
    "C": workload_c,
    "D": workload_d,
    "E": workload_e,
    "F": workload_f,
    "I": workload_i,
}
