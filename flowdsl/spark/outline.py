"""Outlines of a plan on Spark: where each part would run, and how many bytes to expect."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Final

from flowdsl.flow.plan import Plan
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.log import EventSource
from flowdsl.spark.layout import Layout
from flowdsl.spark.parted_links import Parted
from flowdsl.spark.spread_fans import heavy_in, heavy_of

# events whose bytes are counted
_SAMPLE: Final = 10_000


def explain_plan(
    plan: Plan, graph: EntityGraph | None, source: EventSource | None, most_links: int, most_branches: int
) -> str:
    """Describe where the parts of a plan run, and what goes over the network."""
    layout = Layout.of(plan)
    if graph is not None and layout.whole is None:
        parted = _find_parted(plan, graph, most_links)
        counts = heavy_in(graph, plan, parted, most_branches) if plan.rules.timers else {}
        layout = Layout.of(plan, parted, heavy_of(counts, most_branches))
    size = None if source is None else _size(plan, source)
    return "\n".join(
        [
            *_log_lines(size),
            *_range_lines(layout, size),
            *_graph_lines(layout, graph),
            *_shard_lines(layout, size),
            *(f"finding: {one}" for one in layout.findings),
        ]
    )


def _find_parted(plan: Plan, graph: EntityGraph, most_links: int) -> Parted:
    """Return the links of a graph that would be shared out."""
    counts = graph.link_counts
    return {
        name: end
        for name, end in Layout.partable(plan).items()
        if counts.get(name, 0) > most_links and not graph.has_link_ids(name)
    }


def _log_lines(size: tuple[int, int] | None) -> list[str]:
    if size is None:
        return []
    return [f"the log: {size[0]:,} events of {size[1]} bytes each as they are read, {_bytes(*size)} in all"]


def _range_lines(layout: Layout, size: tuple[int, int] | None) -> list[str]:
    moved = [] if size is None else [f"  {_shuffle_text(layout, size)}"]
    if layout.whole is not None:
        return ["one ordered partition: every step", *moved]
    steps = enumerate(layout.plan.steps)
    first = [
        s.operator.text for place, s in steps if place not in layout.gates and place not in layout.behind
    ]
    return [f"ranges of the log: {', '.join(first) or 'nothing but the trigger'}", *moved]


def _shard_lines(layout: Layout, size: tuple[int, int] | None) -> Iterator[str]:
    steps = layout.plan.steps
    for place, gate in layout.gates.items() if layout.whole is None else ():
        behind = steps[place : place + steps[place].size]
        yield f"shards by {gate.text}: {', '.join(step.operator.text for step in behind)}"
        if size is not None:
            yield f"  shuffled: the events that come so far, at most {_bytes(*size)}"


def _shuffle_text(layout: Layout, size: tuple[int, int]) -> str:
    if layout.whole is not None:
        return f"shuffled to one partition: {_bytes(*size)}"
    return f"read in place where files are in the order of the log, or else shuffled: {_bytes(*size)}"


def _size(plan: Plan, source: EventSource) -> tuple[int, int] | None:
    """Return the number of events, and the bytes per event in the columns that are read."""
    count = source.count()
    head = next(iter(source.chunks(plan.event_columns, _SAMPLE)), None)
    if count is None or head is None or not head.height:
        return None
    return count, round(head.estimated_size() / head.height)


def _bytes(events: int, each: int) -> str:
    total = float(events * each)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if total < 1000 or unit == "TB":
            break
        total /= 1000
    return f"{total:,.0f} {unit}" if total >= 10 or unit == "bytes" else f"{total:.1f} {unit}"


def _pickle_text(graph: EntityGraph) -> str:
    return f" ({len(pickle.dumps(graph)):,} bytes)"


def _graph_lines(layout: Layout, graph: EntityGraph | None) -> Iterator[str]:
    needs = layout.plan.needs
    links = sorted({name for name, _ in needs.links} - {*layout.parted})
    read = [*(["entities"] if needs.entities else []), *(f"links {name!r}" for name in links)]
    if not read and not layout.parted:
        yield "  the graph: not read"
    if read:
        size = "" if graph is None else _pickle_text(graph.with_links(without=layout.parted))
        changes = "events that change it go to every later partition"
        yield f"  the graph: {' and '.join(read)}, sent whole to every task{size}; {changes}"
    for name, end in layout.parted.items():
        count = "" if graph is None else f"{graph.link_counts[name]:,} "
        yield f"  the graph: {count}links {name!r}, with their events, shared out over the shards by {end}"
