"""Worker of a live run: takes slices of the log through the flows, fires timers, and writes checkpoints."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import polars as pl

from flowdsl.engine.collection import RunForgetting
from flowdsl.engine.local import LocalExecutor
from flowdsl.engine.scheduler import WORKERS
from flowdsl.live.checkpoints import Checkpoint, Checkpoints
from flowdsl.live.collector import LiveRecorder
from flowdsl.live.consumer_store import ConsumerStore
from flowdsl.live.dead_letters import letters_of_failures
from flowdsl.live.dispatcher import Dispatcher
from flowdsl.live.future_events import AheadOfClock
from flowdsl.live.log_cursor import LogCursor, LogPosition, LogSlice
from flowdsl.live.spans import Tracer
from flowdsl.log.base import EventLog
from flowdsl.moments import to_moment
from flowdsl.progress import Tick, noop
from flowdsl.values.json_extraction import Documents

# how long a run sleeps at most, in seconds: so soon it sees that it is to stop, and clock marks of other runs
_NAP: Final = 0.1
# seconds between two reports of the consumer's position to the log
_ACK_EVERY: Final = 1.0
# failures that are put aside before they are spelled out, and for how long, in seconds
_UNSPELLED: Final = 1 << 12
_SPELL_AFTER: Final = 1.0
# letters that are written at once, and how long others have their turn then, in seconds
_AT_ONCE: Final = 128
_TURN: Final = 0.001
# how long a checkpoint waits for sinks before it has what they lack on disk, in seconds
SETTLING: Final = 1.0
# how long sinks have to finish at the end by default, in seconds
PATIENCE: Final = 30.0


@dataclass(frozen=True)
class RunConfig:
    """Everything a live run works with."""

    log: EventLog
    consumer: ConsumerStore
    checkpoints: Checkpoints
    flows: list[str]
    now: Callable[[], int]
    every: float
    tracer: Tracer
    ahead: AheadOfClock


class LiveWorker:
    """One run of a consumer, from a checkpoint on."""

    def __init__(
        self,
        setting: RunConfig,
        begun: Checkpoint,
        local: LocalExecutor,
        recorder: LiveRecorder,
        story: LogCursor,
        dispatch: Dispatcher,
    ) -> None:
        self.local = local
        self.recorder = recorder
        self.dispatch = dispatch
        self.batches = self.failures = self.checkpoints = 0
        self.patience = PATIENCE
        # whether a caller waits until the run is idle
        self.awaited = False
        # while the run sleeps: its next deadline, one value for each sleep
        self._sleep_until: tuple[int | None] | None = None
        # who hears of the events that are run, on the thread of the run
        self.on_progress: Tick = noop
        self._setting = setting
        self._run = begun.run
        self._earlier = begun.earlier
        self._story = story
        # how far the run is: everything up to here was handed to the lanes
        self.place = story.place
        self._unacked: deque[LogPosition] = deque()
        self._acked = setting.log.position(setting.consumer.name)
        self._saved = story.place
        self._saving: threading.Thread | None = None
        self._problem: BaseException | None = None
        # what may wait is written on a thread of its own, in order
        self._clerk = ThreadPoolExecutor(1, thread_name_prefix="flowdsl-clerk")
        self._written: Future[None] | None = None
        self._next_ack = self._next_save = self._last_spelling = 0.0
        # what others have codes of is not for this run to forget
        self._forgetting = RunForgetting(local) if local.graph.interner.private else None
        if self._forgetting is not None and setting.consumer.kept is not None:
            self._forgetting.keep(setting.consumer.kept.state)
        # the longest time (s) that this took between two batches, and how much of it this thread was at work
        self.longest_pause = self.longest_work = 0.0

    @property
    def idle(self) -> bool:
        """True if the run sleeps, no timer is due, and all that is in the log has reached the sinks or is
        among the dead letters.
        """
        asleep = self._sleep_until
        return (
            asleep is not None
            and (asleep[0] is None or asleep[0] > self._setting.now())
            and self.place.seq_no >= self._setting.log.last_seq_no()
            and self.dispatch.done >= self.place.number
            and not self.recorder.unspelled
            and (self._written is None or self._written.done())
            # it did not wake up meanwhile
            and self._sleep_until is asleep
        )

    def work(self, stop: threading.Event, *, until_idle: bool) -> None:
        """Follow the log until `stop` is set; with `until_idle` only to its present end.

        At the end it waits `patience` seconds at most for sinks to be done: what they are not done with, the
        next run hands over again.
        """
        self._next_save = time.monotonic() + self._setting.every
        warm_up()
        self._queue(warm_up)
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="flowdsl-live") as pool:
            self.dispatch.start()
            try:
                while not stop.is_set():
                    piece = self._story.next()
                    if piece is not None:
                        self._process(piece, pool)
                        self._forget()
                        self._upkeep()
                        self.on_progress(0 if piece.events is None else piece.events.height)
                    elif not self._fire():
                        if until_idle:
                            break
                        self._upkeep()
                        self._sleep()
                self._finish()
            finally:
                # a sink that hangs had its time
                done = self.dispatch.done >= self.place.number
                self.dispatch.stop(self.patience if done else 0.0)
                self._clerk.shutdown()
                if self._saving is not None:
                    self._saving.join()

    def _process(self, piece: LogSlice, pool: ThreadPoolExecutor) -> None:
        setting = self._setting
        events = 0 if piece.events is None else piece.events.height
        with setting.tracer.span(
            "flowdsl.batch", consumer=setting.consumer.name, events=events, last_seq_no=piece.after.seq_no
        ) as span:
            if piece.events is not None and piece.marks is not None:
                self.recorder.note(piece.events)
                # on disk before the events are processed: a second reading has the same clock
                ahead = setting.ahead(piece.events, self.local.clock)
                self.local.follow(piece.events, piece.marks, ahead, pool)
            elif piece.clock is not None:
                self.local.move_clock(piece.clock)
            failures = self.recorder.keep_failures()
            delivered = self.dispatch.put(piece.after, self.recorder.take_deliveries())
            if piece.after.seq_no:
                self.recorder.leave(piece.after.seq_no, keep=self.local.plan.timed)
            span.set(deliveries=delivered, failures=failures)
        self.place = piece.after
        self.batches += 1
        self.failures += failures
        if not self._unacked or self._unacked[-1].seq_no < piece.after.seq_no:
            self._unacked.append(piece.after)

    def _fire(self) -> bool:
        """Write a clock mark to the log if timers are due; return whether they were. The next slice is that
        mark.
        """
        due = self.local.last_deadline(self._setting.now())
        if due is None:
            return False
        # a window of no length at all is due at the clock as it is: only a later one makes it close
        self._setting.log.mark_clock(to_moment(max(due, self.local.clock + 1)))
        return True

    def _sleep(self) -> None:
        nap = _NAP
        deadline = self.local.next_deadline()
        if deadline is not None:
            nap = min(nap, max((deadline - self._setting.now()) / 1e6, 0.0))
        self._sleep_until = (deadline,)
        self._setting.log.wait(self.place.seq_no, nap)
        self._sleep_until = None

    def _forget(self) -> None:
        """Do some of the garbage collection of ids, keys and links."""
        if self._forgetting is not None and not self._is_saving():
            began, worked = time.perf_counter(), time.thread_time()
            self._forgetting.step()
            self.longest_pause = max(self.longest_pause, time.perf_counter() - began)
            self.longest_work = max(self.longest_work, time.thread_time() - worked)

    def _upkeep(self) -> None:
        if self._problem is not None:
            raise self._problem
        now = time.monotonic()
        unspelled = self.recorder.unspelled
        soon = self.awaited or unspelled > _UNSPELLED or now >= self._last_spelling + _SPELL_AFTER
        if unspelled and soon:
            self._spell_failures()
            self._last_spelling = now
        if now >= self._next_ack and self._unacked:
            self._ack()
            self._next_ack = now + _ACK_EVERY
        if now >= self._next_save and self.place != self._saved and not self._is_saving():
            self._begin_saving()
            self._next_save = time.monotonic() + self._setting.every

    def _queue(self, job: Callable[[], None]) -> None:
        """Queue work for the clerk thread."""

        def done() -> None:
            try:
                job()
            # it is raised where the run goes on
            except BaseException as error:
                self._problem = error

        self._written = self._clerk.submit(done)

    def _spell_failures(self) -> None:
        """Write failures that were put aside to the dead letters."""
        if not self.recorder.unspelled:
            return
        failed, chunk = self.recorder.take_failures(), self.local.chunk_apart()
        if self._forgetting is not None:
            self._forgetting.wait_for(failed)
        setting = self._setting

        def spell() -> None:
            errors = failed.table(chunk, setting.flows)
            for some in errors.iter_slices(_AT_ONCE):
                setting.consumer.put(letters_of_failures(some, setting.now()))
                # what runs flows and hands over waits for the same interpreter and the same file: now it has
                # its turn
                time.sleep(_TURN)

        self._queue(spell)

    def _ack(self) -> None:
        """Tell the log what all sinks have, or what is on disk for them."""
        done, last = self.dispatch.safe, None
        while self._unacked and self._unacked[0].number <= done:
            last = self._unacked.popleft().seq_no
        if last is None or last == self._acked:
            return
        before, self._acked, setting = self._acked, last, self._setting

        self._queue(lambda: setting.consumer.acknowledge(setting.log, before, last))

    def _is_saving(self) -> bool:
        return self._saving is not None and self._saving.is_alive()

    def _begin_saving(self) -> None:
        """Write a checkpoint of this position on another thread once the sinks have reached it or what they
        lack is on disk.
        """
        self._spell_failures()
        place, written = self.place, self._written
        checkpoint = self._checkpoint(place)

        def save() -> None:
            if written is not None:
                written.result()
            try:
                kept = self.dispatch.kept(place.number, SETTLING)
            except BaseException as error:
                self._problem = error
                return
            if kept and not self.dispatch.stopped:
                self._save(checkpoint)

        self._saving = threading.Thread(target=save, name="flowdsl-checkpoint", daemon=True)
        self._saving.start()

    def _checkpoint(self, place: LogPosition) -> Checkpoint:
        state = self.local.state()
        state.graph = state.graph.fork()
        if self._forgetting is not None:
            self._forgetting.keep(state)
        # once all is handed over that earlier runs had, they are no matter any more
        earlier = self._earlier if place.number < self.dispatch.earlier_until else ()
        return Checkpoint(self._run, place, state, earlier)

    def _save(self, checkpoint: Checkpoint) -> None:
        if self._problem is not None:
            # dead letters may be missing: only the checkpoint before this one tells of them again
            return
        try:
            self._setting.checkpoints.save(checkpoint)
            # the checkpoint before this one is kept, too, and may be what the next run goes on from
            self._setting.consumer.forget_settled(self._saved.seq_no)
            self._saved = checkpoint.place
            self.checkpoints += 1
        # it is raised where the run goes on: a run that cannot keep its state must not seem well
        except BaseException as error:
            self._problem = error

    def _finish(self) -> None:
        self._spell_failures()
        finished = self.dispatch.kept(self.place.number, self.patience)
        self._ack()
        if self._written is not None:
            self._written.result()
        if self._saving is not None and finished:
            self._saving.join()
        if self._problem is None and finished and self.place != self._saved:
            self._save(self._checkpoint(self.place))
        if self._problem is not None:
            raise self._problem


def warm_up() -> None:
    """Load what would delay the first event: DuckDB, and this thread's connection to it."""
    Documents(pl.Series(["{}"])).column(("warm",))


def new_run() -> str:
    """Return a unique name for a run."""
    return uuid.uuid4().hex[:16]
