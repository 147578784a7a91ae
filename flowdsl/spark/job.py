"""Job of a replay on Spark, which is sent to its tasks, and the numbers that they return."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from flowdsl.engine.counts import StepCounts
from flowdsl.engine.crashes import Stopped
from flowdsl.engine.range import ReplayRange
from flowdsl.flow.plan import Plan
from flowdsl.flow.spec import FlowSpec
from flowdsl.graph.requirements import GraphRequirements
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.log.sources import FileStretch
from flowdsl.rules import WindowsAtEnd
from flowdsl.spark.layout import Layout
from flowdsl.spark.parted_links import Parted
from flowdsl.spark.rows import decode_frame, without_bad_json
from flowdsl.spark.spread_fans import Heavy, Spread

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# ids, and keys of links, that the parts which a process runs may leave behind: a part makes some hundred
# thousand
MOST_NEW_IDS = 1_000_000


@dataclass(frozen=True)
class Job:
    """Settings and data that all tasks of a replay need; it is pickled and sent to them."""

    token: str
    flows: tuple[FlowSpec, ...]
    caps: Any
    span: ReplayRange
    open_windows: WindowsAtEnd
    trace: bool
    chunk_size: int
    shards: int
    # the clock (µs) before each range, and after the last event
    clocks: tuple[int, ...]
    final_clock: int
    # the number of the last event
    last: int
    marks: pl.DataFrame
    ahead: pl.DataFrame
    # whether text of `data` and `metadata` may be no JSON
    raw: bool
    # the folder that files of tables are written to; None to return tables as bytes
    folder: str | None
    # whether events have all columns of the log, so that tasks can write failures themselves
    whole: bool
    # the first number of each range
    starts: tuple[int, ...] = ()
    # whether ranges are read as they lie in files, and the tasks have to say which range a row is of
    in_place: bool = False
    # where each range lies, if tasks read files themselves
    files: tuple[FileStretch, ...] = ()
    # the events that change the graph, from `encode_frame`; None if they come with the ranges
    changes: bytes | None = None
    # whether flows see the graph after all changes, which are sent along
    final_graph: bool = False
    # the links that are shared out over the shards, and not in the graph
    parted: Parted = field(default_factory=dict)
    # the ids whose branches go on in several tasks
    heavy: Heavy = field(default_factory=dict)
    # the graph, and the shares of links, as `sent_graph` has them
    graph: Any = None
    # schema of the rows that a stage returns
    schema: pa.Schema | None = None

    def plan(self) -> Plan:
        """Return the plan."""
        return Plan.of(self.flows, self.caps)

    def layout(self, plan: Plan) -> Layout:
        """Return where its steps run."""
        return Layout.of(plan, self.parted, self.heavy)

    def start(self) -> EntityGraph:
        """Return the graph before the first event, made once in a process; anew where the parts that were run
        over it have brought very many ids of their own.
        """
        found = _GRAPHS.get(self.token)
        if found is None or found.new_ids > MOST_NEW_IDS:
            found = None
            _GRAPHS.clear()
            _GRAPHS[self.token] = found = _StartedGraph(*_take_apart(self.graph))
        return found.graph

    @property
    def spread(self) -> Spread:
        """Return how the links of ids with very many links are shared out."""
        if self.token not in _GRAPHS:
            self.start()
        return _GRAPHS[self.token].spread

    def changes_before(self, part: int) -> Iterator[pl.DataFrame]:
        """Yield the events before a range that change the graph, where they do not come with the range."""
        if self.changes and not self.final_graph:
            past = self.all_changes()
            before = int(past["seq_no"].search_sorted(self.starts[part], "left"))
            yield from past.head(before).iter_slices(self.chunk_size)

    def all_changes(self) -> pl.DataFrame:
        """Return the events that change the graph, with null for text that is not JSON."""
        assert self.changes is not None
        if self.token not in _CHANGES:
            _CHANGES.clear()
            found = decode_frame(self.changes)
            _CHANGES[self.token] = without_bad_json(found)[0] if self.raw else found
        return _CHANGES[self.token]


@contextmanager
def send_graph(session: SparkSession, graph: tuple[EntityGraph, Spread]) -> Iterator[Any]:
    """Broadcast a graph, and the shares of links, for a while, so that each executor is sent them once, and
    each worker takes them apart once. A session of Spark Connect cannot: it sends them with each task.
    """
    from pyspark.errors import PySparkException

    try:
        context = session.sparkContext
    except PySparkException:
        yield pickle.dumps(graph)
        return
    sent = context.broadcast(graph)
    try:
        yield sent
    finally:
        sent.destroy()


class _StartedGraph:
    def __init__(self, graph: EntityGraph, spread: Spread) -> None:
        self.graph, self.spread = graph, spread
        state = graph.start(GraphRequirements())
        self._interner, self._keys = state.interner, state.tables
        self._own = len(self._interner) + sum(graph.link_counts.values())

    @property
    def new_ids(self) -> int:
        """Return how many ids and keys of links the parts have added to the interner."""
        return len(self._interner) + self._keys.count - self._own


def _take_apart(sent: Any) -> tuple[EntityGraph, Spread]:
    found: tuple[EntityGraph, Spread]
    if isinstance(sent, bytes):
        found = pickle.loads(sent)
    else:
        # its value would stay in the process
        found = sent.value if sent._path is None else sent.load_from_path(sent._path)
    return found


# state that a process made for a job, shared by all tasks that it runs
_GRAPHS: dict[str, _StartedGraph] = {}
_CHANGES: dict[str, pl.DataFrame] = {}


@dataclass(frozen=True)
class PartTotals:
    """The numbers of one task."""

    steps: Sequence[tuple[StepCounts, int, list[tuple[tuple[int, ...], dict[str, Any]]]]]
    """The counts of each step, what it holds, and its open windows, each with what it began with."""
    delivered: Mapping[tuple[int, str], int]
    late: int = 0
    ahead: int = 0
    unmatched: int = 0
    # rows with text that is not JSON
    broken: int = 0
    # of a task that runs the whole log
    events: int = 0
    position: int = 0
    span: tuple[int, int] | None = None
    stopped: Stopped | None = None
    # of a range: its number, how many events of its own it had, and whether they were in the order of the log
    part: int = 0
    taken: int = 0
    ordered: bool = True
