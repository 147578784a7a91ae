"""The engine of a cluster: lays a plan out over Spark's operators, and makes a result of what comes back."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any

from flowdsl.calls import answering
from flowdsl.errors import ReplayError
from flowdsl.flow.inputs import FlowLike, as_flows
from flowdsl.flow.plan import Plan
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.log import open_log
from flowdsl.progress import track
from flowdsl.results.engine import RunRequest, RunTotals
from flowdsl.results.options import Options
from flowdsl.results.store import Store
from flowdsl.spark.outline import explain_plan
from flowdsl.spark.sources import SparkEvents, is_spark_frame, silence_warnings
from flowdsl.text import short_repr

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

from flowdsl.spark.cluster_run import ClusterRun
from flowdsl.spark.refusals import check, check_sendable, translate_failures


@answering
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

    def explain(self, flows: FlowLike, graph: EntityGraph | None = None, log: Any = None) -> str:
        """Return what would run where: stages, shuffles, what goes to all tasks, and what does not scale.

        Parameters
        ----------
        flows
            The flows, as in `replay`.
        graph
            The graph, to say how large it is, and which of its links would be shared out.
        log
            The log, to say how many bytes would be read and shuffled: a few thousand events are read of it.

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
        source = None if log is None else open_log(SparkEvents(log) if is_spark_frame(log) else log)
        most = ClusterRun.most_links, ClusterRun.most_branches
        return explain_plan(Plan.of(tuple(as_flows(flows))), graph, source, *most)

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
        check_sendable(options)
        with (
            silence_warnings(),
            translate_failures(),
            track(request.progress, options.source.count()) as follower,
        ):
            run = ClusterRun(self._spark(), plan, options, self._partitions, self._chunk_rows)
            run.follower = follower
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
        # several for each core: what a shard remembers is less
        "spark.sql.shuffle.partitions": str(4 * (os.cpu_count() or 1)),
    }
    builder = SparkSession.builder.master("local[*]").appName("flowdsl")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()
