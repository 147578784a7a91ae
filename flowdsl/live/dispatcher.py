"""Dispatch of deliveries to sinks: one worker per sink, so that a slow or broken sink delays no other.

A lane takes batches in order. What waits in it goes to the sink together, as one batch that has the number of
the last: a sink that commits pays for one commit. A lane that is full makes the run wait, as long as its sink
gets on. What comes for a sink that does not waits on disk, until the sink has caught up: it stops only
itself.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from flowdsl.live.backlog import Parcel
from flowdsl.live.checkpoints import Earlier
from flowdsl.live.consumer_store import ConsumerStore
from flowdsl.live.dead_letters import letter_of_delivery
from flowdsl.live.log_cursor import LogPosition
from flowdsl.live.metrics import SinkStats
from flowdsl.live.spans import Tracer
from flowdsl.progress import heartbeat
from flowdsl.sinks.base import Delivery, DurableSink, Failure, Outcome, Sink, check_outcomes

# most deliveries that wait for one sink, and most that it gets at once
WAITING: Final = 1 << 15
TOGETHER: Final = 1 << 14
# seconds to wait for a lane at a time, and in all for a full one that makes no progress
_TURN: Final = 0.1
STUCK_AFTER: Final = 1.0
# seconds before a durable sink that raised an error is tried again
PAUSES: Final = (0.1, 0.5, 2.0)


class SinkWorker:
    """Thread that hands batches to one sink."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        consumer: ConsumerStore,
        run: str,
        earlier: Sequence[Earlier],
        begun: int,
        now: Callable[[], int],
        tracer: Tracer,
        failed: Callable[[BaseException], None],
    ) -> None:
        self.name = name
        self.meter = SinkStats()
        self._sink = sink
        self._consumer = consumer
        self._run = run
        self._now = now
        self._tracer = tracer
        self._failed = failed
        # the last batch that the sink is known to have: a slice of the log has to end there
        self.cut = self._taken(run)
        # up to where it has the deliveries of which flows from runs before
        self._had = [(self._taken(one.run), one.flows) for one in earlier]
        # dead letters of earlier runs, which may be delivered now as they are handed over again
        self._owed = consumer.owed_keys(name)
        self._changed = threading.Condition()
        # what waits: the parcels in hand, then those in memory, then those that are only on disk, behind a
        # place there
        self._hand: list[Parcel] = []
        self._parcels: deque[Parcel] = deque()
        self._waiting = 0
        self._backlog = consumer.backlog
        self._era = self._backlog.era(run)
        self._on_disk, self._disk_since = self._backlog.waiting().get(name, (0, 0))
        self._behind = (0, -1)
        self._cuts = {run: self.cut}
        self._last = begun
        self._handed = 0
        self.dead = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"flowdsl-sink-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def earlier_cuts(self) -> list[int]:
        """Return the last batches the sink has from runs of other flows that this one continues."""
        return [cut for cut, _ in self._had]

    @property
    def done(self) -> int:
        """Last batch of this run up to which the sink has everything."""
        with self._changed:
            first = next(self._pending(), None)
            if first is not None or self._on_disk:
                return self._handed if first is None or first.era != self._era else first.number - 1
            return self._last

    @property
    def safe(self) -> int:
        """Last batch up to which everything is in the sink or on disk."""
        with self._changed:
            first = next((parcel for parcel in self._pending() if not parcel.kept), None)
            return self._last if first is None else first.number - 1

    def _pending(self) -> Iterator[Parcel]:
        """Return what waits in memory, in order."""
        yield from self._hand
        yield from self._parcels

    def _taken(self, run: str) -> int:
        if isinstance(self._sink, DurableSink):
            return self._sink.applied(f"{self._consumer.name}/{run}")
        return self._consumer.progress(run).get(self.name, 0)

    def _without_what_it_had(self, parcel: Parcel) -> Parcel:
        had = {flow for cut, flows in self._had if parcel.number <= cut for flow in flows}
        if not had:
            return parcel
        rows = [n for n, delivery in enumerate(parcel.deliveries) if delivery.flow not in had]
        deliveries, moments = [parcel.deliveries[n] for n in rows], [parcel.moments[n] for n in rows]
        return replace(parcel, deliveries=deliveries, moments=moments)

    def put(self, parcel: Parcel, stop: threading.Event) -> None:
        """Add a batch; it goes to disk if the queue is full and the sink makes no progress."""
        if self._had:
            parcel = self._without_what_it_had(parcel)
        parcel = replace(parcel, run=self._run, era=self._era, since=self._now())
        with self._changed:
            self._last = parcel.number
            if not parcel.deliveries:
                return
            if self._on_disk or not self._has_room(stop):
                self._backlog.put(self.name, [parcel])
                self._on_disk += len(parcel.deliveries)
                self._disk_since = self._disk_since or parcel.since
            else:
                self._parcels.append(parcel)
                self._waiting += len(parcel.deliveries)
            self._notify()

    def _has_room(self, stop: threading.Event) -> bool:
        """Return True once there is room; wait for it as long as the sink makes progress."""
        handed, end = self._handed, time.monotonic() + STUCK_AFTER
        while self._waiting > WAITING and not stop.is_set():
            if self._handed != handed:
                handed, end = self._handed, time.monotonic() + STUCK_AFTER
            if time.monotonic() > end:
                return False
            self._changed.wait(_TURN)
            heartbeat()
        return self._waiting <= WAITING

    def keep(self, number: int) -> None:
        """Write all batches up to a number to disk that the sink does not have."""
        with self._changed:
            unsafe = [parcel for parcel in self._pending() if not parcel.kept and parcel.number <= number]
            if unsafe:
                self._backlog.put(self.name, unsafe)

    def _notify(self) -> None:
        first = next(self._pending(), None)
        in_hand = sum(len(parcel.deliveries) for parcel in self._hand)
        self.meter.waiting, self.meter.on_disk = self._waiting + self._on_disk + in_hand, self._on_disk
        self.meter.waiting_since = first.since if first is not None else self._disk_since or None
        self._changed.notify_all()

    def wait(self, number: int, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the batches up to `number`; return whether they are done."""
        end = time.monotonic() + timeout
        with self._changed:
            while self.done < number and not self.dead and (left := end - time.monotonic()) > 0:
                self._changed.wait(min(left, _TURN))
                heartbeat()
            return self.done >= number

    def stop(self, timeout: float) -> None:
        """Finish the current batch and stop; the next run hands over the rest."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _work(self) -> None:
        try:
            while parcels := self._take():
                self._hand_over(_join_parcels(parcels))
                with self._changed:
                    self._hand = []
                    self._handed = parcels[-1].number if parcels[-1].era == self._era else self._handed
                    self._notify()
                self._backlog.remove(self.name, parcels)
        except _BatchAbandoned:
            return
        # without its own file the lane cannot go on: the run ends, and the next one begins where this one was
        except BaseException as error:
            self._failed(error)
            with self._changed:
                self.dead = True
                self._changed.notify_all()

    def _take(self) -> list[Parcel]:
        """Take what waits, up to a limit, as one batch; nothing once the worker is to stop."""
        with self._changed:
            while not self._parcels and not self._stopping.is_set():
                if self._on_disk:
                    self._fetch()
                else:
                    self._changed.wait()
            if self._stopping.is_set():
                return []
            taken = [self._parcels.popleft()]
            size = len(taken[0].deliveries)
            while self._parcels and self._go_together(taken[-1], self._parcels[0], size):
                taken.append(self._parcels.popleft())
                size += len(taken[-1].deliveries)
            self._waiting -= size
            self._hand, self._behind = taken, taken[-1].place
            self._notify()
            return taken

    def _fetch(self) -> None:
        """Load what waits on disk, as much as is handed over at once."""
        found = self._backlog.after(self.name, self._behind, TOGETHER)
        size = sum(len(parcel.deliveries) for parcel in found)
        self._parcels.extend(found)
        self._on_disk, self._waiting = self._on_disk - size if found else 0, self._waiting + size
        if not self._on_disk:
            self._disk_since = 0

    def _go_together(self, taken: Parcel, more: Parcel, size: int) -> bool:
        # what the sink had before a crash must keep the number that it had
        apart = taken.era != more.era or taken.number <= self._cut(taken.run) < more.number
        return not apart and size + len(more.deliveries) <= TOGETHER

    def _cut(self, run: str) -> int:
        if run not in self._cuts:
            self._cuts[run] = self._taken(run)
        return self._cuts[run]

    def _hand_over(self, parcel: Parcel) -> None:
        durable = isinstance(self._sink, DurableSink)
        if not durable and parcel.number <= self._cut(parcel.run):
            return
        began = time.perf_counter()
        with self._tracer.span("flowdsl.deliver", sink=self.name, deliveries=len(parcel.deliveries)) as span:
            outcomes = self._outcomes(parcel)
            letters = [
                letter_of_delivery(delivery, outcome, self._now())
                for delivery, outcome in zip(parcel.deliveries, outcomes, strict=True)
                if outcome is not None
            ]
            span.set(failed=len(letters))
        if letters or not durable:
            self._consumer.done(self.name, parcel.run, parcel.number, letters, remember=not durable)
        if self._owed:
            self._settle(parcel, outcomes)
        good = np.array([o is None for o in outcomes])
        self.meter.took(
            np.array(parcel.moments)[good], len(letters), self._now(), time.perf_counter() - began
        )

    def _settle(self, parcel: Parcel, outcomes: Sequence[Outcome]) -> None:
        """Settle dead letters that were delivered now, so that they are not retried."""
        made = [d.key for d, o in zip(parcel.deliveries, outcomes, strict=True) if o is None]
        paid = self._owed.intersection(made)
        self._consumer.settle(sorted(paid), parcel.number)
        self._owed -= paid

    def _outcomes(self, parcel: Parcel) -> Sequence[Outcome]:
        for attempt, pause in enumerate((*PAUSES, None), 1):
            try:
                return check_outcomes(self._answer(parcel), self._sink, len(parcel.deliveries))
            # a sink may raise anything, which is the failure of these deliveries
            except Exception as error:
                # only what is done whole or not at all may be tried again here
                if pause is None or not isinstance(self._sink, DurableSink):
                    failure = Failure(f"{type(error).__name__}: {error}", attempt)
                    return [failure] * len(parcel.deliveries)
                if self._stopping.wait(pause):
                    raise _BatchAbandoned from error
        raise AssertionError

    def _answer(self, parcel: Parcel) -> Sequence[Outcome]:
        if isinstance(self._sink, DurableSink):
            return self._sink.apply(parcel.deliveries, f"{self._consumer.name}/{parcel.run}", parcel.number)
        return self._sink.deliver(parcel.deliveries)


class _BatchAbandoned(Exception):  # noqa: N818
    """Raised for a batch that is left to the next run."""


def _join_parcels(parcels: Sequence[Parcel]) -> Parcel:
    """Join parcels of one run under the number of the last."""
    if len(parcels) == 1:
        return parcels[0]
    deliveries = [delivery for parcel in parcels for delivery in parcel.deliveries]
    return replace(
        parcels[-1], deliveries=deliveries, moments=[m for parcel in parcels for m in parcel.moments]
    )


class Dispatcher:
    """Workers of all sinks."""

    def __init__(self, lanes: Mapping[str, SinkWorker], stop: threading.Event) -> None:
        self.lanes = lanes
        self.stopped = False
        self._stop = stop

    def start(self) -> None:
        """Start all workers."""
        for lane in self.lanes.values():
            lane.start()

    def put(self, place: LogPosition, deliveries: Mapping[str, list[tuple[int, Delivery]]]) -> int:
        """Hand over the deliveries of the batch that ends at a position; return their number."""
        for name, lane in self.lanes.items():
            rows = deliveries.get(name, [])
            made, moments = [delivery for _, delivery in rows], [moment for moment, _ in rows]
            lane.put(Parcel(place.number, made, moments, seq_no=place.seq_no), self._stop)
        return sum(map(len, deliveries.values()))

    def kept(self, number: int, timeout: float) -> bool:
        """Write what sinks have not finished after `timeout` seconds to disk; return whether all is done or
        on disk.
        """
        if not self.wait(number, timeout):
            for lane in self.lanes.values():
                lane.keep(number)
        return not any(lane.dead for lane in self.lanes.values())

    def wait(self, number: int, timeout: float) -> bool:
        """Wait up to `timeout` seconds until all sinks have the batches up to `number`; return whether they
        have.
        """
        end = time.monotonic() + timeout
        return all(lane.wait(number, max(end - time.monotonic(), 0.0)) for lane in self.lanes.values())

    @property
    def done(self) -> int:
        """Last batch that all sinks have."""
        return min((lane.done for lane in self.lanes.values()), default=1 << 62)

    @property
    def safe(self) -> int:
        """Last batch that all sinks have, or that is on disk for them."""
        return min((lane.safe for lane in self.lanes.values()), default=1 << 62)

    @property
    def cuts(self) -> list[int]:
        """Return the batches up to which sinks have what this run, or one before it, handed over."""
        return [cut for lane in self.lanes.values() for cut in (lane.cut, *lane.earlier_cuts)]

    @property
    def earlier_until(self) -> int:
        """Return the last batch that a sink has from runs of other flows that this one continues."""
        return max((cut for lane in self.lanes.values() for cut in lane.earlier_cuts), default=0)

    def stop(self, timeout: float) -> None:
        """Finish the current batches and stop."""
        self.stopped = True
        for lane in self.lanes.values():
            lane._stopping.set()
        for lane in self.lanes.values():
            lane.stop(timeout)
