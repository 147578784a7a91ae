"""Runtime: flows that run live over a log, into real sinks."""

from __future__ import annotations

import datetime as dt
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from flowdsl.engine.local import LocalExecutor
from flowdsl.engine.state import State
from flowdsl.errors import LiveError
from flowdsl.flow.inputs import as_flows
from flowdsl.flow.plan import Plan
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.live import MAX_AHEAD
from flowdsl.live.bootstrap import Bootstrap
from flowdsl.live.checkpoints import Checkpoint, Checkpoints
from flowdsl.live.collector import LiveRecorder
from flowdsl.live.consumer_store import UNUSABLE, ConsumerStore
from flowdsl.live.dead_letters import DeadLetter, chosen_letters, letters_frame
from flowdsl.live.dispatcher import Dispatcher, SinkWorker
from flowdsl.live.future_events import AheadOfClock
from flowdsl.live.given_up import given_up_frame
from flowdsl.live.log_cursor import LogCursor, check_cuts
from flowdsl.live.memory_arenas import share_arenas
from flowdsl.live.metrics import Metrics, SinkMetrics, percentiles
from flowdsl.live.spans import Tracer
from flowdsl.live.validation import (
    checked_ahead,
    checked_clock,
    checked_consumer,
    checked_graph,
    checked_log,
    checked_seconds,
    checked_sinks,
    checked_state,
)
from flowdsl.live.worker import PATIENCE, LiveWorker, RunConfig
from flowdsl.log import Position
from flowdsl.log.base import EventLog
from flowdsl.log.errors import reading
from flowdsl.pluralize import count_text
from flowdsl.production.targets import by_rules
from flowdsl.progress import Progress, ProgressReporter, following
from flowdsl.results.delivery_keys import DeliveryKeys
from flowdsl.results.manifest import step_rows
from flowdsl.rules import FLOWDSL
from flowdsl.sinks.base import open_sinks

if TYPE_CHECKING:
    from typing import Self

    import pandas as pd

_LOG: Final = logging.getLogger("flowdsl.live")
_COLUMNS: Final = (
    "event_id", "kind", "entity_type", "entity_id", "link_type", "link_id", "source_id", "target_id", "data", "metadata",
)  # fmt: skip


class Runtime:
    """Runs flows live: events appended to `log` go through the flows as they come, and what comes out to the sinks.

    `flows` is a flow, a list of them or a project; `log` an event log or the folder of one; `graph` the entities and
    links before the first event. `sinks` is a mapping from names to sinks (a function will do); without it the sinks of a
    project are made, and a `Frame` for every other name: `runtime.sinks["in-app"].frame()`. `consumer_name` is what the
    runtime is known by in the log: its position, its checkpoints and its dead letters.

    `start` runs it on a thread, `run_until_idle` here; it is a context manager. Over a log in a folder nothing is lost
    and durable sinks get nothing twice, whenever the process ends; other sinks may get the last batch again, with the
    same keys. Over a log in memory both hold until the program ends.

    `state` goes on from `result.state` of a replay of the same log. Where the flows have changed since the last run,
    `"keep"` refuses to give up what windows, queues and limits of steps that are no more remembered, and `"discard"`
    gives it up (`discarded` lists it). A checkpoint is written every `checkpoint_every` seconds
    and at the end. `clock` says what time it is (a function that gives a datetime with time zone). An event dated more than
    `max_ahead` ahead of that is processed at the clock that the log has and does not move it (None: every event moves it);
    a mark in the log says so to every replay.
    Raises `LiveError`, `DataError`, `BuildError` and `SinkError`.

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
        flows: Any,
        log: EventLog | str | os.PathLike[str],
        graph: EntityGraph | None = None,
        sinks: Mapping[str, Any] | None = None,
        consumer_name: str = "flow-runtime",
        *,
        state: State | str | None = None,
        checkpoint_every: float = 10.0,
        clock: Callable[[], dt.datetime] | None = None,
        max_ahead: str | dt.timedelta | None = MAX_AHEAD,
    ) -> None:
        self.flows = by_rules(as_flows(flows), FLOWDSL)
        self.log = checked_log(log)
        self.graph = checked_graph(graph)
        self.consumer_name = checked_consumer(consumer_name)
        self.sinks = checked_sinks(flows, self.flows, sinks, getattr(self.log, "folder", None))
        self.error: BaseException | None = None
        self._state = checked_state(state)
        self._every = checked_seconds(checkpoint_every, "checkpoint_every")
        self._clock = checked_clock(clock)
        self._ahead = AheadOfClock(self.log, self._now, checked_ahead(max_ahead))
        self._plan = Plan.of(self.flows)
        self._keys = DeliveryKeys(self.flows, self.log)
        self._labels = self._keys.labels
        share_arenas()
        self._consumer = ConsumerStore.of(self.log, self.consumer_name)
        self._tracer = Tracer()
        self._stop = threading.Event()
        self._live: LiveWorker | None = None
        self._thread: threading.Thread | None = None

    # -- running ---------------------------------------------------------------------------------------

    def start(self, position: Position | str | int | None = None, *, progress: Progress = None) -> Self:
        """Run on a thread of its own; gives the runtime itself: `.stop() .join() .running .error`.

        `position` is `"beginning"`, `"latest"` (only events to come), `"last_acknowledged"` (where this consumer
        stopped, or the beginning), or the number of the first event. Without it a consumer goes on where it stopped,
        and a new one begins at `"latest"`. Wherever a run begins, the events before make up the graph and the clock.
        When this returns, every event appended from now on is run. `progress`, of the events before, is as in `replay`.
        """
        with following(progress, None, "start") as follower:
            self._begin(position, Position.LATEST, follower)
        self._thread = threading.Thread(
            target=self._follow, name=f"flowdsl-{self.consumer_name}", daemon=True
        )
        self._thread.start()
        return self

    def stop(self, timeout: float = PATIENCE) -> None:
        """Finish the batch in hand, let the sinks finish, write a checkpoint, and end.

        Sinks have `timeout` seconds; what one is not done with by then it is handed again by the next run. Raises
        `LiveError` where the run had ended with an error.
        """
        patience = checked_seconds(timeout, "timeout")
        if self._live is not None:
            self._live.patience = patience
        self._stop.set()
        self.join()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the run has ended, at most `timeout` seconds; a `LiveError` where it ended with an error."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            # in turns, so that an interrupt from the keyboard is seen
            end = None if timeout is None else time.monotonic() + timeout
            while thread.is_alive() and (end is None or time.monotonic() < end):
                thread.join(0.2 if end is None else min(max(end - time.monotonic(), 0.0), 0.2))
        if self.error is not None:
            raise LiveError(f"the live run ended with an error: {self.error}") from self.error

    @property
    def running(self) -> bool:
        """Whether a run is going on."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def has_run(self) -> bool:
        """Whether this consumer has run before, and can go on where it stopped."""
        return self._consumer.has_run or self.log.position(self.consumer_name) > 0

    def run_until_idle(
        self,
        position: Position | str | int | None = None,
        timeout: float | None = None,
        *,
        progress: Progress = None,
    ) -> Self:
        """Run everything that is in the log, here and now, and fire the timers that are due; gives the runtime.

        Without `position` it goes on where this consumer stopped, a new one begins at the beginning. Where the runtime
        runs on a thread already, this waits until that has nothing left to do, at most `timeout` seconds.
        `progress` is as in `replay`.
        """
        if timeout is not None:
            timeout = checked_seconds(timeout, "timeout")
        if self.running:
            return self._wait_until_idle(timeout, progress)
        with following(progress, None, "run") as follower:
            self._begin(position, Position.BEGINNING, follower)
            live = self._live
            assert live is not None
            follower.total = follower.done + max(self.log.last_seq_no() - live.place.seq_no, 0)
            live.told = follower
            live.patience = threading.TIMEOUT_MAX if timeout is None else timeout
            self._work(until_idle=True)
        self.join()
        return self

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(self, kind: object, *_: object) -> None:
        # what was appended within is run; after an error there is no time to lose
        if kind is None and self.running:
            self._wait_until_idle(None, None)
        self.stop()

    def __repr__(self) -> str:
        doing = "running" if self.running else "stopped"
        flows = count_text(len(self.flows), "flow")
        return f"<Runtime {self.consumer_name!r}, {flows}, {doing}: {self.metrics()}>"

    # -- seeing ----------------------------------------------------------------------------------------

    def metrics(self) -> Metrics:
        """What was done since the start, in numbers: events, lag, deliveries, failures, latencies."""
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
            self.running, live.local.events, live.batches, live.place.seq_no, max(last - live.place.seq_no, 0),
            sum(meter.delivered for meter in meters.values()), live.failures, live.recorder.late_count,
            live.recorder.ahead_count, live.recorder.unmatched_count, letters,
            live.checkpoints, p50, p95, p99,
            tuple(SinkMetrics.of(name, meter) for name, meter in meters.items()),
            tuple(step_rows(self._plan, live.local)),
        )  # fmt: skip

    @property
    def dead_letters(self) -> pd.DataFrame:
        """Contexts that failed and deliveries that could not be made: the event, `flow, step, operator, branch, error,
        variables`, then `sink, recipient_id, payload, attempts, failed_at, key`; `sink` is null where a step failed.

        Of a delivery's event it has the number, the id, the time and the entity; the log has the rest.

        `fd.replay(flows, log, graph, only=runtime.dead_letters)` shows what would come of them now; `retry` delivers it.
        """
        return letters_frame(self._consumer.letters())

    @property
    def discarded(self) -> pd.DataFrame:
        """What was given up with `state="discard"`, or left behind by a run that was begun at a later place of the log.

        One row for each context that a window or queue held, `flow, step, operator, key, branch, seq_no, held_since, what,
        discarded_at` (`what` is `context`). What keys and limits of other flows remembered is one row for each step, without a
        `seq_no`. `fd.replay(flows, log, graph, only=runtime.discarded)` shows what would come of the contexts now, and
        `forget_discarded` empties the list.
        """
        return given_up_frame(self._consumer.given_up())

    def forget_discarded(self) -> int:
        """Empty the list of what was given up, once it has been looked at or run again.

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

    def retry(self, letters: Any = None, *, progress: Progress = None) -> pd.DataFrame:
        """Try dead letters again, all or those of a frame with their `key`; gives the ones that failed again.

        A delivery goes to its sink again, with the key that it had. A context that failed is run again from its event,
        as of its event, and what it now delivers behind the step that failed is delivered. What succeeds is no dead
        letter any more. `progress` is as in `replay`.
        """
        from flowdsl.live.retry import retried

        open_sinks(self.sinks)
        with following(progress, None, "retry") as follower:
            return letters_frame(retried(self, self._consumer, self._labels, self._chosen(letters), follower))

    def discard(self, letters: Any = None) -> int:
        """Give up dead letters, all or those of a frame with their `key`; how many."""
        chosen = self._chosen(letters)
        self._consumer.settle([letter.key for letter in chosen], self.log.last_seq_no())
        return len(chosen)

    def _chosen(self, letters: Any) -> list[DeadLetter]:
        return chosen_letters(self._consumer.letters(), letters)

    # -- inside ----------------------------------------------------------------------------------------

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
        fetchers = {} if self.graph is None else self.graph.fetchers
        checkpoints = Checkpoints(self._consumer, self._plan, fetchers)
        beginning = Bootstrap(
            self.log, self._plan, self.graph, self._consumer, checkpoints, first, follower, self._now, self._ahead
        )  # fmt: skip
        found = beginning.at(position, self._state)
        # it was used: what comes next goes on from what the run remembers
        self._state = None
        setting = RunConfig(
            self.log, self._consumer, checkpoints, self._labels, self._now, self._every, self._tracer, self._ahead
        )  # fmt: skip
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
        told = (self._now, self._tracer, self._lane_failed)
        lanes = {
            name: SinkWorker(name, sink, self._consumer, found.run, found.earlier, found.place.number, *told)
            for name, sink in self.sinks.items()
        }
        return Dispatcher(lanes, self._stop)

    def _lane_failed(self, error: BaseException) -> None:
        self.error = error
        self._stop.set()

    def _now(self) -> int:
        return (self._clock() - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)

    def _follow(self) -> None:
        self._work(until_idle=False)

    def _work(self, *, until_idle: bool) -> None:
        assert self._live is not None
        try:
            self._live.work(self._stop, until_idle=until_idle)
        # whatever it is, whoever asks is told: `error`, `join` and `stop`
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
            with following(progress, max(self.log.last_seq_no() - begun, 0), "run") as follower:
                while self.running and not live.idle:
                    if end is not None and time.monotonic() > end:
                        raise LiveError(f"the runtime was not idle within {timeout} seconds")
                    time.sleep(0.002)
                    follower.heard(live.place.seq_no - begun)
        finally:
            live.awaited = False
        return self
