"""Runtime: flows that run live over a log, into real sinks."""

from __future__ import annotations

import datetime as dt
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal

from flowdsl.calls import answering
from flowdsl.engine.local import LocalExecutor
from flowdsl.engine.state import State
from flowdsl.errors import LiveError
from flowdsl.flow.caps import caps_of
from flowdsl.flow.inputs import as_flows
from flowdsl.flow.plan import Plan
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.live import MAX_AHEAD
from flowdsl.live.bootstrap import Bootstrap
from flowdsl.live.checkpoints import Checkpoint, Checkpoints
from flowdsl.live.collector import LiveRecorder
from flowdsl.live.consumer_store import UNUSABLE, ConsumerStore
from flowdsl.live.dead_letters import DeadLetter, choose_letters, letters_frame
from flowdsl.live.dispatcher import Dispatcher, SinkWorker
from flowdsl.live.future_events import AheadOfClock
from flowdsl.live.given_up import given_up_frame
from flowdsl.live.log_cursor import LogCursor, check_cuts
from flowdsl.live.memory_arenas import share_arenas
from flowdsl.live.metrics import Metrics, SinkMetrics, percentiles
from flowdsl.live.spans import Tracer
from flowdsl.live.validation import (
    check_ahead,
    check_clock,
    check_consumer,
    check_graph,
    check_log,
    check_seconds,
    check_sinks,
    check_state,
)
from flowdsl.live.worker import PATIENCE, LiveWorker, RunConfig
from flowdsl.log import Position
from flowdsl.log.base import EventLog
from flowdsl.log.errors import reading
from flowdsl.moments import to_micros
from flowdsl.pluralize import count_text
from flowdsl.production.targets import by_rules
from flowdsl.progress import Progress, ProgressReporter, track
from flowdsl.results.delivery_keys import DeliveryKeys
from flowdsl.results.manifest import step_rows
from flowdsl.rules import FLOWDSL
from flowdsl.sinks.base import open_sinks

if TYPE_CHECKING:
    from typing import Self

    import pandas as pd

    from flowdsl.flow.inputs import FlowLike
    from flowdsl.flow.sink_cap import Cap
    from flowdsl.frames import FrameLike
    from flowdsl.sinks.base import SinkLike

_LOG: Final = logging.getLogger("flowdsl.live")
_COLUMNS: Final = (
    "event_id",
    "kind",
    "entity_type",
    "entity_id",
    "link_type",
    "link_id",
    "source_id",
    "target_id",
    "data",
    "metadata",
)


@answering
class Runtime:
    """Run flows live: events appended to a log go through the flows as they come, and deliveries to real
    sinks.

    `start` runs on a thread, `run_until_idle` in this one; a runtime is a context manager. Over a log in a
    folder nothing is lost and durable sinks get nothing twice, even if the process is killed at any moment;
    other sinks may get the last batch again, with the same keys. Over a log in memory both hold until the
    program ends.

    Parameters
    ----------
    flows
        A flow, a list of flows, or a project.
    log
        An event log, or the folder of one.
    graph
        The entities and links before the first event.
    sinks
        Sinks, or functions, by name. By default the sinks of a project, and a `Frame` for every other name:
        `runtime.sinks["in-app"].frame()`.
    consumer_name
        The name under which position, checkpoints and dead letters are stored with the log.
    caps
        Caps of sinks, as in `replay`.
    state
        `result.state` of a replay of the same log to continue from. If the flows changed since the last run,
        state of steps that are gone is discarded with `"discard"` (listed by `discarded`), and the run is
        refused otherwise. If the log and the consumer's files are of different times, as after a backup of
        some of them was brought back, the run is refused unless `"keep"` says to continue from the last
        checkpoint (other than durable sinks may receive deliveries again), or `"discard"` to continue after
        it without its windows, queues and limits.
    checkpoint_every
        The time between two checkpoints, in seconds.
    clock
        A function that returns the time as a datetime with a time zone.
    max_ahead
        Events dated further ahead of the clock than this do not move the log clock, and are marked in the log
        for every replay; None lets every event move it.

    Raises
    ------
    LiveError
        If an option is not valid.
    DataError
        If the log cannot be opened.
    BuildError
        If a flow cannot be run.
    SinkError
        If a sink is missing or not valid.

    Examples
    --------
    >>> from flowdsl import MemoryEventLog, Runtime, link_created, on
    >>> flow = on("link.created").map(title="{{ source_id }} follows you").deliver("in-app")
    >>> log = MemoryEventLog()
    >>> with Runtime(flow, log) as runtime:
    ...     _ = log.append(link_created("follows", "ann", "bob"))
    >>> runtime.sinks["in-app"].frame()[["recipient_id", "title"]].values.tolist()
    [['bob', 'ann follows you']]
    """

    def __init__(
        self,
        flows: FlowLike,
        log: EventLog | str | os.PathLike[str],
        graph: EntityGraph | None = None,
        sinks: Mapping[str, SinkLike] | None = None,
        consumer_name: str = "flow-runtime",
        *,
        caps: Mapping[str, Cap] | None = None,
        state: State | Literal["keep", "discard"] | None = None,
        checkpoint_every: float = 10.0,
        clock: Callable[[], dt.datetime] | None = None,
        max_ahead: str | dt.timedelta | None = MAX_AHEAD,
    ) -> None:
        self.flows = by_rules(as_flows(flows), FLOWDSL)
        self.log = check_log(log)
        self.graph = check_graph(graph)
        self.consumer_name = check_consumer(consumer_name)
        self.sinks = check_sinks(flows, self.flows, sinks, getattr(self.log, "folder", None))
        self.error: BaseException | None = None
        self._state = check_state(state)
        self._every = check_seconds(checkpoint_every, "checkpoint_every")
        self._clock = check_clock(clock)
        self._ahead = AheadOfClock(self.log, self._now, check_ahead(max_ahead))
        self._plan = Plan.of(self.flows, caps_of(flows, self.flows, caps, LiveError))
        self._keys = DeliveryKeys(self.flows, self.log)
        self._labels = self._keys.labels
        share_arenas()
        self._consumer = ConsumerStore.of(self.log, self.consumer_name)
        self._tracer = Tracer()
        self._stop = threading.Event()
        self._live: LiveWorker | None = None
        self._thread: threading.Thread | None = None

    def start(self, position: Position | str | int | None = None, *, progress: Progress = None) -> Self:
        """Start the run on a thread of its own.

        Every event appended after this returns is run. Events before the start position make up the graph and
        the clock.

        Parameters
        ----------
        position
            `"beginning"`, `"latest"` (only events to come), `"last_acknowledged"` (where this consumer
            stopped, or the beginning), or the number of the first event. By default a consumer continues
            where it stopped, and a new one starts at `"latest"`.
        progress
            As in `replay`, for the events before.

        Returns
        -------
        Runtime
            The runtime itself.

        Raises
        ------
        LiveError
            If it is running already, or the consumer is in use.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, Runtime, on
        >>> runtime = Runtime(
        ...     on("link.created").map(title="hello").deliver("in-app"), MemoryEventLog()
        ... ).start()
        >>> runtime.stop()
        """
        with track(progress, None, "start") as follower:
            self._begin(position, Position.LATEST, follower)
        self._thread = threading.Thread(
            target=self._follow, name=f"flowdsl-{self.consumer_name}", daemon=True
        )
        self._thread.start()
        return self

    def stop(self, timeout: float = PATIENCE) -> None:
        """Stop the run: finish the current batch, let the sinks finish, and write a checkpoint.

        Parameters
        ----------
        timeout
            How long sinks may take, in seconds; the next run hands them what is left.

        Raises
        ------
        LiveError
            If the run had ended with an error.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, Runtime, on
        >>> Runtime(on("link.created").map(title="hello").deliver("in-app"), MemoryEventLog()).start().stop()
        """
        patience = check_seconds(timeout, "timeout")
        if self._live is not None:
            self._live.patience = patience
        self._stop.set()
        self.join()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the run has ended.

        Parameters
        ----------
        timeout
            The longest time to wait, in seconds.

        Raises
        ------
        LiveError
            If the run ended with an error.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, Runtime, on
        >>> Runtime(on("link.created").map(title="hello").deliver("in-app"), MemoryEventLog()).join(timeout=0)
        """
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            # wait for short times, so that an interrupt from the keyboard is noticed
            end = None if timeout is None else time.monotonic() + check_seconds(timeout, "timeout")
            while thread.is_alive() and (end is None or time.monotonic() < end):
                thread.join(0.2 if end is None else min(max(end - time.monotonic(), 0.0), 0.2))
        if self.error is not None:
            raise LiveError(f"the live run ended with an error: {self.error}") from self.error

    @property
    def running(self) -> bool:
        """True while a run is going on."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def has_run(self) -> bool:
        """True if this consumer has run before and can continue."""
        return self._consumer.has_run or self.log.position(self.consumer_name) > 0

    def run_until_idle(
        self,
        position: Position | str | int | None = None,
        timeout: float | None = None,
        *,
        progress: Progress = None,
    ) -> Self:
        """Run everything in the log now, and fire the timers that are due.

        If the runtime is running on a thread, wait until it has nothing left to do.

        Parameters
        ----------
        position
            As in `start`; by default a consumer continues where it stopped, and a new one starts at the
            beginning.
        timeout
            The longest time to wait for a running thread, in seconds.
        progress
            As in `replay`.

        Returns
        -------
        Runtime
            The runtime itself.

        Raises
        ------
        LiveError
            If the run ends with an error, or the time is up.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, Runtime, link_created, on
        >>> log = MemoryEventLog()
        >>> _ = log.append(link_created("follows", "ann", "bob"))
        >>> Runtime(
        ...     on("link.created").map(title="hello").deliver("in-app"), log
        ... ).run_until_idle().metrics().events
        1
        """
        if timeout is not None:
            timeout = check_seconds(timeout, "timeout")
        if self.running:
            return self._wait_until_idle(timeout, progress)
        with track(progress, None, "run") as follower:
            self._begin(position, Position.BEGINNING, follower)
            live = self._live
            assert live is not None
            follower.total = follower.done + max(self.log.last_seq_no() - live.place.seq_no, 0)
            live.on_progress = follower
            live.patience = threading.TIMEOUT_MAX if timeout is None else timeout
            self._work(until_idle=True)
        self.join()
        return self

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(self, kind: object, *_: object) -> None:
        # run the events that were appended in the block; after an exception stop at once
        if kind is None and self.running:
            self._wait_until_idle(None, None)
        self.stop()

    def __repr__(self) -> str:
        doing = "running" if self.running else "stopped"
        flows = count_text(len(self.flows), "flow")
        return f"<Runtime {self.consumer_name!r}, {flows}, {doing}: {self.metrics()}>"

    def metrics(self) -> Metrics:
        """Return the metrics since the start.

        Returns
        -------
        Metrics
            Events, lag, deliveries, failures and latencies.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, Runtime, on
        >>> Runtime(
        ...     on("link.created").map(title="hello").deliver("in-app"), MemoryEventLog()
        ... ).metrics().events
        0
        """
        live = self._live
        last, letters = self.log.last_seq_no(), self._consumer.count_letters()
        if live is None:
            position = self.log.position(self.consumer_name)
            return Metrics(
                False, 0, 0, position, last - position, 0, 0, 0, 0, 0, letters, 0, None, None, None
            )
        meters = {name: lane.meter for name, lane in live.dispatch.lanes.items()}
        p50, p95, p99 = percentiles(meters.values())
        return Metrics(
            self.running,
            live.local.events,
            live.batches,
            live.place.seq_no,
            max(last - live.place.seq_no, 0),
            sum(meter.delivered for meter in meters.values()),
            live.failures,
            live.recorder.late_count,
            live.recorder.ahead_count,
            live.recorder.unmatched_count,
            letters,
            live.checkpoints,
            p50,
            p95,
            p99,
            tuple(SinkMetrics.of(name, meter) for name, meter in meters.items()),
            tuple(step_rows(self._plan, live.local.totals(with_open=False))),
        )

    @property
    def dead_letters(self) -> pd.DataFrame:
        """Failed contexts and failed deliveries, as a table.

        Columns: the event, `flow, step, operator, branch, error, variables`, then `sink, recipient_id,
        payload, attempts, failed_at, key`; `sink` is null if a step failed. Rows of failed deliveries only
        have the number, id, time and entity of the event.

        `fd.replay(flows, log, graph, only=runtime.dead_letters)` shows their results with the current flows;
        `retry` delivers them.
        """
        return letters_frame(self._consumer.letters())

    @property
    def discarded(self) -> pd.DataFrame:
        """State that was discarded with `state="discard"`, or left behind by a run started at a later
        position, as a table.

        One row for each context that a window or queue held: `flow, step, operator, key, branch, seq_no,
        held_since, what, discarded_at`, where `what` is `context`. Keys and limits that other flows
        remembered are one row per step, without `seq_no`. `fd.replay(flows, log, graph,
        only=runtime.discarded)` shows the results of the contexts with the current flows.
        """
        return given_up_frame(self._consumer.given_up())

    def forget_discarded(self) -> int:
        """Clear the list of discarded state.

        Returns
        -------
        int
            How many rows `discarded` had.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, Runtime, link_created, on
        >>> log = MemoryEventLog()
        >>> _ = log.append(link_created("follows", "ann", "bob"))
        >>> follows = on("link.created", name="follows")
        >>> digest = follows.batch("target_id", window="1h").map(title="{{ batch.count }}").deliver("in-app")
        >>> _ = Runtime(digest, log).run_until_idle()
        >>> at_once = follows.map(title="{{ source_id }} follows you").deliver("in-app")
        >>> runtime = Runtime(at_once, log, state="discard").run_until_idle()
        >>> len(runtime.discarded), runtime.forget_discarded(), len(runtime.discarded)
        (1, 1, 0)
        """
        return self._consumer.forget_given_up()

    def retry(self, letters: FrameLike | None = None, *, progress: Progress = None) -> pd.DataFrame:
        """Retry dead letters.

        A delivery goes to its sink again, with its original key. A failed context is run again from its
        event, as of its event, and what it now delivers after the failed step is delivered; caps of sinks do
        not count it. What succeeds is removed from the dead letters.

        Parameters
        ----------
        letters
            A frame with the `key` of the letters; all by default.
        progress
            As in `replay`.

        Returns
        -------
        pandas.DataFrame
            The letters that failed again.

        Raises
        ------
        LiveError
            If the frame has no `key`.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, Runtime, on
        >>> len(Runtime(on("link.created").map(title="hello").deliver("in-app"), MemoryEventLog()).retry())
        0
        """
        from flowdsl.live.retry import Retry, retry_letters

        open_sinks(self.sinks)
        job = Retry(self.flows, self.log, self.graph, self.sinks)
        with track(progress, None, "retry") as follower:
            return letters_frame(
                retry_letters(job, self._consumer, self._labels, self._choose(letters), follower)
            )

    def discard(self, letters: FrameLike | None = None) -> int:
        """Remove dead letters without retrying them.

        Parameters
        ----------
        letters
            A frame with the `key` of the letters; all by default.

        Returns
        -------
        int
            How many were removed.

        Raises
        ------
        LiveError
            If the frame has no `key`.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, Runtime, on
        >>> Runtime(on("link.created").map(title="hello").deliver("in-app"), MemoryEventLog()).discard()
        0
        """
        chosen = self._choose(letters)
        self._consumer.settle([letter.key for letter in chosen], self.log.last_seq_no())
        return len(chosen)

    def _choose(self, letters: FrameLike | None) -> list[DeadLetter]:
        return choose_letters(self._consumer.letters(), letters)

    def _begin(
        self, position: Position | str | int | None, first: Position, follower: ProgressReporter
    ) -> None:
        if self.running:
            raise LiveError("the runtime is running already", hint="stop() it first")
        self._consumer.acquire()
        try:
            open_sinks(self.sinks)
            with reading(f"the consumer {self.consumer_name!r}", UNUSABLE, "the run cannot begin"):
                self._live = self._run_from(position, first, follower)
        except BaseException:
            self._consumer.release()
            raise
        self.error = None

    def _run_from(
        self, position: Position | str | int | None, first: Position, follower: ProgressReporter
    ) -> LiveWorker:
        self._consumer.check_whose(self.log.identity)
        self._consumer.check_sinks(self.sinks)
        fetchers = {} if self.graph is None else self.graph.fetchers
        checkpoints = Checkpoints(self._consumer, self._plan, fetchers, self.sinks)
        beginning = Bootstrap(
            self.log,
            self._plan,
            self.graph,
            self._consumer,
            checkpoints,
            first,
            follower,
            self._now,
            self._ahead,
        )
        found = beginning.at(position, self._state)
        # used only once: the next start continues from the checkpoint
        self._state = None
        setting = RunConfig(
            self.log,
            self._consumer,
            checkpoints,
            self._labels,
            self._now,
            self._every,
            self._tracer,
            self._ahead,
        )
        if found.place.seq_no:
            self._keys.names.catch_up(self.log, found.place.seq_no)
        recorder = LiveRecorder(self._keys)
        local = LocalExecutor(
            self._plan, found.state.graph, recorder, steps=found.state.steps, gates=self.sinks, spares=True
        )
        local.clock, local.position = found.state.clock, found.state.position
        self._stop.clear()
        dispatch = self._dispatch(found)
        check_cuts(self.log, found.place, dispatch.cuts)
        story = LogCursor(self.log, found.place, _COLUMNS, dispatch.cuts)
        return LiveWorker(setting, found, local, recorder, story, dispatch)

    def _dispatch(self, found: Checkpoint) -> Dispatcher:
        self._consumer.bury_without_sink(self.sinks, self._now())
        shared = (self._now, self._tracer, self._lane_failed)
        lanes = {
            name: SinkWorker(
                name, sink, self._consumer, found.run, found.earlier, found.place.number, *shared
            )
            for name, sink in self.sinks.items()
        }
        return Dispatcher(lanes, self._stop)

    def _lane_failed(self, error: BaseException) -> None:
        self.error = error
        self._stop.set()

    def _now(self) -> int:
        return to_micros(self._clock())

    def _follow(self) -> None:
        self._work(until_idle=False)

    def _work(self, *, until_idle: bool) -> None:
        assert self._live is not None
        try:
            self._live.work(self._stop, until_idle=until_idle)
        # any error is kept for `error`, `join` and `stop`
        except BaseException as error:
            self.error = error
            _LOG.error("the live run %r ended with an error: %s", self.consumer_name, error)
            if not isinstance(error, Exception) and until_idle:
                raise
        finally:
            self._consumer.release()

    def _wait_until_idle(self, timeout: float | None, progress: Progress) -> Self:
        live = self._live
        assert live is not None
        end = None if timeout is None else time.monotonic() + timeout
        live.awaited = True
        begun = live.place.seq_no
        try:
            with track(progress, max(self.log.last_seq_no() - begun, 0), "run") as follower:
                while self.running and not live.idle:
                    if end is not None and time.monotonic() > end:
                        raise LiveError(f"the runtime was not idle within {timeout} seconds")
                    time.sleep(0.002)
                    follower.advance_to(live.place.seq_no - begun)
        finally:
            live.awaited = False
        return self
