"""The engine of a cluster: lays a plan out over Spark's operators, and makes a result of what comes back."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import re
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from flowdsl.engine.counts import StepCounts, StepTotals
from flowdsl.engine.range import BEGINNING, CHUNK
from flowdsl.errors import DataError, FlowError, ReplayError
from flowdsl.events import warn
from flowdsl.flow.inputs import FlowLike, as_flows
from flowdsl.flow.plan import Plan
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.progress import track
from flowdsl.results.engine import RunRequest, RunTotals
from flowdsl.results.options import Options
from flowdsl.results.store import FolderStore, Store, TablePart
from flowdsl.spark.events import (
    Ranges,
    RunEvents,
    changes_graph,
    open_events,
    quiet,
)
from flowdsl.spark.failures import spelled_out
from flowdsl.spark.layout import Layout
from flowdsl.spark.tasks import (
    TOTALS,
    Job,
    PartTotals,
    RangeStage,
    ShardStage,
    WholeStage,
    decoded,
)
from flowdsl.text import short_repr

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# events that a partition has at least, where there are so many, and at most
LEAST_ROWS: Final = 20_000
MOST_ROWS: Final = 2_000_000
_OUT: Final = (
    "part int, stage int, origin int, ordinal int, name string, meta string, content binary, place string"
)
_RAISED: Final = re.compile(r"[\w.]*(Error|Exception): ")
# more events than these through one partition are worth a word
_MANY: Final = 1_000_000


class Spark:
    """Engine that runs a replay on Apache Spark, with the same result as on one machine.

    Needs the extra `spark` here, and flowdsl in the same version where the executors run.

    Parameters
    ----------
    session
        A session, also one of Spark Connect. By default the active one, or a new local one.
    partitions
        The number of ranges that the log is cut into, and of shards of what steps remember. By default as
        `spark.sql.shuffle.partitions` says, fewer for short logs.
    chunk_rows
        The number of rows that a task holds at a time.

    Raises
    ------
    ReplayError
        If pyspark is not installed, or a number is wrong.

    Examples
    --------
    >>> import flowdsl as fd
    >>> flow = fd.on("link.created").batch("target_id", window="1h").map(n=fd.var.batch.count).deliver("push")
    >>> print(fd.Spark().explain(flow))  # doctest: +ELLIPSIS
    ranges of the log: nothing but the trigger
      the graph: not read
    shards by target_id: batch('target_id', window='1h'), map(n=...), deliver('push')
    """

    def __init__(
        self, session: Any = None, *, partitions: int | None = None, chunk_rows: int | None = None
    ) -> None:
        for name, value in (("partitions", partitions), ("chunk_rows", chunk_rows)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ReplayError(
                    f"{name} is {short_repr(value)}", allowed="a whole number of at least 1, or None"
                )
        self._session = session
        self._partitions = partitions
        self._chunk_rows = chunk_rows

    def __repr__(self) -> str:
        return f"Spark(partitions={self._partitions})"

    # -- what will run ---------------------------------------------------------------------------------

    def explain(self, flows: FlowLike, graph: EntityGraph | None = None) -> str:
        """Return what would run where: stages, shuffles, what goes to all tasks, and what does not scale.

        Parameters
        ----------
        flows
            The flows, as in `replay`.
        graph
            The graph, to say how large it is.

        Returns
        -------
        str
            A few lines for each stage.

        Raises
        ------
        BuildError
            If there is no flow, or two have the same name.

        Examples
        --------
        >>> import flowdsl as fd
        >>> print(fd.Spark().explain(fd.on("link.created").map(title="hello").deliver("push")))
        ranges of the log: map(title='hello'), deliver('push')
          the graph: not read
        """
        return explained(Plan.of(tuple(as_flows(flows))), graph)

    # -- running it ------------------------------------------------------------------------------------

    def run(self, plan: Plan, options: Options, store: Store, request: RunRequest) -> RunTotals:
        """Run a plan on the cluster, write the tables of its result to a store, and return its totals.

        Parameters
        ----------
        plan
            The flows, checked and compiled.
        options
            The log, the graph, and the range of events.
        store
            Where the tables go.
        request
            What else the run does.

        Returns
        -------
        RunTotals
            The numbers of the run.

        Raises
        ------
        ReplayError
            If something cannot run on a cluster, before anything starts; or if the job failed, and then
            nothing of it is taken for a result.
        DataError
            If rows of the log have no order.

        Examples
        --------
        >>> import flowdsl as fd
        >>> fd.replay(fd.on("link.created").map(n="1").deliver("s"), [], engine=fd.Spark(), state=object())
        Traceback (most recent call last):
        flowdsl.errors.ReplayError: state= does not go to a cluster
          hint: leave engine= out to go on from a state, or replay the log from its beginning
        """
        check(options, request)
        _need_pyspark()
        pickled = sendable(options)
        with quiet(), _failures(), track(request.progress, options.source.count()) as follower:
            run = ClusterRun(self._spark(), plan, options, pickled, self._partitions, self._chunk_rows)
            totals = run.collected(store, trace=request.trace)
            follower.advance_to(totals.events)
        return totals

    def _spark(self) -> SparkSession:
        if self._session is not None:
            return self._session
        from pyspark.sql import SparkSession

        return SparkSession.getActiveSession() or local_session()


def _need_pyspark() -> None:
    if importlib.util.find_spec("pyspark") is None:
        raise ReplayError("the engine 'spark' needs pyspark", hint="pip install 'flowdsl[spark]'")


def local_session() -> SparkSession:
    """Return a session of this machine, whose tasks run on all its cores."""
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.maxResultSize": "0",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(os.cpu_count() or 1),
    }
    builder = SparkSession.builder.master("local[*]").appName("flowdsl")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def check(options: Options, request: RunRequest) -> None:
    """Refuse what cannot run on a cluster."""
    here = "leave engine= out: it runs on this machine"
    if options.state is not None:
        raise ReplayError(
            "state= does not go to a cluster",
            hint="leave engine= out to go on from a state, or replay the log from its beginning",
        )
    if request.dispatch:
        raise ReplayError("dispatch=True does not go to a cluster: sinks are open on this machine", hint=here)
    if options.gates:
        names = ", ".join(map(repr, options.gates))
        raise ReplayError(f"the preferences of {names} do not go to a cluster", hint=here)
    if options.as_of == "end":
        raise ReplayError("as_of='end' does not run on a cluster yet", allowed="as_of='event'", hint=here)
    if request.outcomes is not None:
        raise ReplayError("explanations run on this machine", hint=here)
    if options.graph is not None and options.graph.fetchers:
        names = ", ".join(map(repr, options.graph.fetchers))
        raise ReplayError(
            f"functions supply the entities of type {names}, and are asked on this machine",
            allowed="frames and mappings",
            hint=here,
        )


def sendable(options: Options) -> bytes:
    """Return the graph as bytes. Raises `ReplayError` for flows that cannot be sent to another process."""
    from pyspark import cloudpickle

    for flow in options.flows:
        try:
            cloudpickle.dumps(flow)
        except Exception as error:
            raise ReplayError(
                f"it has a function that cannot be sent to other processes: {type(error).__name__}: {error}",
                flow=flow.name,
                hint="use a function of a module, or one that holds no open file, lock or connection",
            ) from error
    return pickle.dumps(options.graph or EntityGraph())


@contextmanager
def _failures() -> Iterator[None]:
    """Turn what Spark says of a job that failed into an error of flowdsl."""
    from pyspark.errors import PySparkException

    try:
        yield
    except FlowError:
        raise
    except PySparkException as error:
        raise _said(str(error)) from error
    except Exception as error:
        if type(error).__module__.startswith(("py4j", "pyspark", "grpc")):
            raise _said(str(error)) from error
        raise


def _said(text: str) -> FlowError:
    """Return the error of a task where it was one of flowdsl, or that the job failed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        name, _, what = line.partition(": ")
        if name == "flowdsl.errors.DataError":
            return DataError(what)
    told = next((line for line in reversed(lines) if _RAISED.match(line)), lines[0] if lines else "")
    return ReplayError(
        f"the Spark job failed: {told[:500]}",
        hint="the error that this one came from has all that Spark says; no part of its output is a result",
    )


class ClusterRun:
    """One replay on a cluster."""

    def __init__(
        self,
        session: SparkSession,
        plan: Plan,
        options: Options,
        graph: bytes,
        partitions: int | None,
        chunk_rows: int | None,
    ) -> None:
        self._session, self.plan, self._options, self._graph = session, plan, options, graph
        self.layout = Layout.of(plan)
        self._most = partitions or int(session.conf.get("spark.sql.shuffle.partitions") or 200)
        self._least_rows = 1 if partitions else LEAST_ROWS
        self._chunk = options.chunk_size or chunk_rows or CHUNK
        self._marks = options.source.clock_marks()
        self._ahead = options.source.ahead_marks()

    def collected(self, store: Store, *, trace: bool) -> RunTotals:
        """Run the job, and return its totals with the tables in the store."""
        options = self._options
        events = open_events(self._session, options.source, options.span, self.plan.event_columns)
        ranges = events.ranges(self._marks, self._ahead, self._most, self._least_rows)
        if ranges is None:
            return RunTotals(0, 0, None, self._totals([]), {})
        self._tell(ranges)
        with _staged(store) as folder:
            job = self._job(events, ranges, trace=trace, folder=None if folder is None else str(folder))
            rows = self.outputs(events, ranges, job)
            rows.sort(key=lambda row: (row["stage"], row["origin"], row["ordinal"]))
            totals = [pickle.loads(row["content"]) for row in rows if row["name"] == TOTALS]
            self._keep(rows, store, folder, events)
        if events.raw:
            # what a log read here says of itself
            options.source.broken = events.broken + sum(part.broken for part in totals)  # type: ignore[misc]
        return self._summed(totals, ranges, job.final_clock)

    # -- the job ---------------------------------------------------------------------------------------

    def _job(self, events: RunEvents, ranges: Ranges, *, trace: bool, folder: str | None) -> Job:
        options, behind = self._options, events.behind
        marks = self._marks
        inside = marks.filter(pl.col("seq_no") < (behind if behind is not None else 1 << 62))
        final: Any = inside["clock"].cast(pl.Int64).max()
        return Job(
            uuid.uuid4().hex,
            options.flows,
            options.caps,
            self._graph,
            options.span,
            options.open_windows,
            trace,
            self._chunk,
            self._shards(ranges),
            ranges.clocks,
            max(ranges.end, BEGINNING if final is None else int(final)),
            inside,
            self._ahead,
            events.raw,
            folder,
        )

    def _shards(self, ranges: Ranges) -> int:
        if all(gate.single for gate in self.layout.gates.values()):
            return 1
        return max(1, min(self._most, -(-ranges.events // self._least_rows)))

    def outputs(self, source: RunEvents, ranges: Ranges, job: Job) -> list[dict[str, Any]]:
        """Run the tasks, and return what they give back."""
        return self._lazily(source, ranges, job).toArrow().to_pylist()  # type: ignore[no-any-return]

    def _lazily(self, source: RunEvents, ranges: Ranges, job: Job) -> DataFrame:
        from pyspark.sql import functions as F  # noqa: N812

        events = source.frame()
        if self.layout.whole is not None:
            rows = events.select(F.lit(0).alias("part"), "*").repartitionById(1, "part")
            return rows.sortWithinPartitions("seq_no").mapInArrow(WholeStage(self._with(job, _OUT)), _OUT)
        yes, no = F.lit(True), F.lit(False)
        changes = changes_graph(self.plan)
        own = events.select(ranges.number().alias("part"), yes.alias("own"), changes.alias("changes"), "*")
        rows = own
        if ranges.count > 1 and (self.plan.needs.entities or self.plan.needs.links):
            later = F.explode(F.sequence(F.col("part") + 1, F.lit(ranges.count - 1))).alias("part")
            past = own.filter(F.col("changes") & (F.col("part") < ranges.count - 1))
            rows = own.unionByName(past.select(later, no.alias("own"), "changes", *events.columns))
        rows = rows.repartitionById(ranges.count, "part").sortWithinPartitions("part", "seq_no")
        if not self.layout.gates:
            return rows.mapInArrow(RangeStage(self._with(job, _OUT)), _OUT)
        between = f"own boolean, changes boolean, clock bigint, {_ddl(events)}, {_OUT}"
        sent = rows.mapInArrow(RangeStage(self._with(job, between)), between)
        shards = sent.repartitionById(job.shards, "part").sortWithinPartitions(
            F.col("part"), F.col("seq_no").asc_nulls_first(), F.col("own").desc()
        )
        return shards.mapInArrow(ShardStage(self._with(job, _OUT)), _OUT)

    def _with(self, job: Job, ddl: str) -> Job:
        from dataclasses import replace

        from pyspark.sql.pandas.types import to_arrow_schema
        from pyspark.sql.types import StructType

        return replace(job, schema=to_arrow_schema(StructType.fromDDL(ddl), timezone="UTC"))

    def _tell(self, ranges: Ranges) -> None:
        if ranges.events > _MANY:
            for finding in self.layout.findings:
                warn(f"{finding}; {ranges.events:,} events")

    # -- what came back --------------------------------------------------------------------------------

    def _keep(
        self, rows: Sequence[Mapping[str, Any]], store: Store, folder: Path | None, events: RunEvents
    ) -> None:
        """Put the parts of tables into the store."""
        failed: list[TablePart] = []
        for row in rows:
            if row["name"] == TOTALS:
                continue
            if row["place"] is not None:
                assert isinstance(store, FolderStore)
                assert folder is not None
                store.adopt(row["name"], folder / row["place"])
                continue
            part = TablePart(decoded(row["content"]), json.loads(row["meta"]))
            if row["name"] == "errors":
                failed.append(part)
            else:
                store.add(row["name"], part)
        for part in spelled_out(failed, events):
            store.add("errors", part)

    def _summed(self, found: Sequence[PartTotals], ranges: Ranges, clock: int) -> RunTotals:
        delivered: dict[tuple[int, str], int] = {}
        for part in found:
            for place, count in part.delivered.items():
                delivered[place] = delivered.get(place, 0) + count
        whole = next((part for part in found if self.layout.whole is not None), None)
        return RunTotals(
            events=ranges.events if whole is None else whole.events,
            position=ranges.last if whole is None else whole.position,
            span=(ranges.begin, clock) if whole is None else whole.span,
            steps=self._totals(found),
            delivered=delivered,
            late=sum(part.late for part in found),
            ahead=sum(part.ahead for part in found),
            unmatched=sum(part.unmatched for part in found),
            stopped=None if whole is None else whole.stopped,
        )

    def _totals(self, found: Sequence[PartTotals]) -> list[StepTotals]:
        totals = []
        for place, step in enumerate(self.plan.steps):
            counts, held, rows = StepCounts(), 0, []
            for part in found:
                more, waiting, opened = part.steps[place]
                counts.add(more)
                held += waiting
                rows += opened
            rows.sort(key=lambda row: (row[1]["opened_at"], row[0]))
            totals.append(StepTotals(step, counts, held, [row for _, row in rows]))
        return totals


@contextmanager
def _staged(store: Store) -> Iterator[Path | None]:
    """Make a folder beside the tables of a result for files that are not yet part of it."""
    if not isinstance(store, FolderStore):
        yield None
        return
    folder = store.folder / f"_staged-{uuid.uuid4().hex}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ddl(events: DataFrame) -> str:
    return ", ".join(f"`{name}` {kind}" for name, kind in events.dtypes)


def explained(plan: Plan, graph: EntityGraph | None) -> str:
    """Return where the parts of a plan run, in words."""
    layout = Layout.of(plan)
    lines: list[str] = []
    told = {place: step.operator.text for place, step in enumerate(plan.steps)}
    if layout.whole is not None:
        lines.append("one ordered partition: every step")
    else:
        first = [
            text for place, text in told.items() if place not in layout.gates and place not in layout.behind
        ]
        lines.append(f"ranges of the log: {', '.join(first) or 'nothing but the trigger'}")
    lines.append(f"  the graph: {_graph_text(plan, graph)}")
    if layout.whole is None:
        for place, gate in layout.gates.items():
            size = _size_of(plan, place)
            lines.append(f"shards by {gate.text}: {', '.join(told[place + n] for n in range(size))}")
    return "\n".join([*lines, *(f"finding: {one}" for one in layout.findings)])


def _size_of(plan: Plan, place: int) -> int:
    return plan.steps[place].size


def _graph_text(plan: Plan, graph: EntityGraph | None) -> str:
    needs = plan.needs
    links = sorted({name for name, _ in needs.links})
    read = [*(["entities"] if needs.entities else []), *(f"links {name!r}" for name in links)]
    if not read:
        return "not read"
    size = "" if graph is None else f" ({len(pickle.dumps(graph)):,} bytes)"
    changes = "events that change it go to every later partition"
    return f"{' and '.join(read)}, sent whole to every task{size}; {changes}"
