"""Deliveries on their way to sinks: one lane for each sink, so that a slow or broken one holds up no other.

A lane takes batches in order. What waits in it goes to the sink together, as one batch that has the number of the
last: a sink that commits pays for one commit. A lane that is full makes the run wait; nothing is thrown away.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from flowdsl.live.checkpoints import Earlier
from flowdsl.live.consumer import Consumer
from flowdsl.live.dead_letters import letter_of_delivery
from flowdsl.live.metrics import SinkMeter
from flowdsl.live.tracing import Tracer
from flowdsl.progress import beat
from flowdsl.sinks.base import Delivery, DurableSink, Failure, Outcome, Sink, checked_outcomes

# deliveries that wait for one sink at most, and that it is given at once
WAITING: Final = 1 << 15
TOGETHER: Final = 1 << 14
# how long a lane is waited for at a time, in seconds
_TURN: Final = 0.1
# what a durable sink that raises waits before it is asked again, in seconds
PAUSES: Final = (0.1, 0.5, 2.0)


@dataclass
class Parcel:
    """Deliveries of one batch to one sink, each with the moment (µs) at which it was to be made."""

    number: int
    deliveries: list[Delivery] = field(default_factory=list)
    moments: list[int] = field(default_factory=list)


class Lane:
    """The way to one sink: a thread that hands it batch after batch."""

    def __init__(
        self, name: str, sink: Sink, consumer: Consumer, run: str, earlier: Sequence[Earlier], begun: int, now: Callable[[], int], tracer: Tracer,
        failed: Callable[[BaseException], None],
    ) -> None:  # fmt: skip
        self.name = name
        self.done = begun
        self.meter = SinkMeter()
        self._sink = sink
        self._consumer = consumer
        self._run = run
        self._now = now
        self._tracer = tracer
        self._failed = failed
        # the last batch that the sink is known to have: a piece of the log has to end there
        self.cut = self._taken(run)
        # up to where it has the deliveries of which flows from runs before
        self._had = [(self._taken(one.run), one.flows) for one in earlier]
        # what an earlier run could not deliver, and may be delivered now because it is handed over again
        self._owed = consumer.owed(name)
        self._changed = threading.Condition()
        self._parcels: deque[Parcel] = deque()
        self._waiting = 0
        self._busy = self._dead = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"flowdsl-sink-{name}", daemon=True)

    def start(self) -> None:
        """Begin to hand over."""
        self._thread.start()

    @property
    def earlier_cuts(self) -> list[int]:
        """The last batches that the sink has from runs of other flows, which this one goes on from."""
        return [cut for cut, _ in self._had]

    def _taken(self, run: str) -> int:
        if isinstance(self._sink, DurableSink):
            return self._sink.applied(f"{self._consumer.name}/{run}")
        return self._consumer.progress(run).get(self.name, 0)

    def _without_what_it_had(self, parcel: Parcel) -> Parcel:
        had = {flow for cut, flows in self._had if parcel.number <= cut for flow in flows}
        if not had:
            return parcel
        rows = [n for n, delivery in enumerate(parcel.deliveries) if delivery.flow not in had]
        return Parcel(parcel.number, [parcel.deliveries[n] for n in rows], [parcel.moments[n] for n in rows])

    def put(self, parcel: Parcel, stop: threading.Event) -> None:
        """Add a batch; waits while the lane is full, until `stop`."""
        if self._had:
            parcel = self._without_what_it_had(parcel)
        with self._changed:
            while self._waiting > WAITING and not stop.is_set():
                self._changed.wait(_TURN)
                beat()
            if not parcel.deliveries and not self._parcels and not self._busy:
                self.done = parcel.number
                self._changed.notify_all()
                return
            self._parcels.append(parcel)
            self._waiting += len(parcel.deliveries)
            self.meter.waiting = self._waiting
            self._changed.notify_all()

    def wait(self, number: int, timeout: float) -> bool:
        """Wait until the batches up to `number` are done, at most `timeout` seconds; whether they are."""
        end = time.monotonic() + timeout
        with self._changed:
            while self.done < number and not self._dead and (left := end - time.monotonic()) > 0:
                self._changed.wait(min(left, _TURN))
                beat()
            return self.done >= number

    def stop(self, timeout: float) -> None:
        """Finish what is being handed over and leave the rest; it is handed over again by the next run."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    # -- the thread ------------------------------------------------------------------------------------

    @property
    def _named(self) -> str:
        return f"{self._consumer.name}/{self._run}"

    def _work(self) -> None:
        try:
            while (parcel := self._take()) is not None:
                self._hand_over(parcel)
                with self._changed:
                    self.done, self._busy = parcel.number, False
                    self._changed.notify_all()
        except _Left:
            return
        # without its own file the lane cannot go on: the run ends, and the next one begins where this one was
        except BaseException as error:
            self._failed(error)
            with self._changed:
                self._dead = True
                self._changed.notify_all()

    def _take(self) -> Parcel | None:
        """All that waits, up to a limit, as one batch."""
        with self._changed:
            while not self._parcels and not self._stopping.is_set():
                self._changed.wait()
            if self._stopping.is_set():
                return None
            taken = self._parcels.popleft()
            while self._parcels and self._go_together(taken, self._parcels[0]):
                more = self._parcels.popleft()
                taken = Parcel(more.number, taken.deliveries + more.deliveries, taken.moments + more.moments)
            self._waiting -= len(taken.deliveries)
            self.meter.waiting = self._waiting
            self._busy = True
            self._changed.notify_all()
            return taken

    def _go_together(self, taken: Parcel, more: Parcel) -> bool:
        # what the sink had before a crash must keep the number that it had
        apart = taken.number <= self.cut < more.number
        return not apart and len(taken.deliveries) + len(more.deliveries) <= TOGETHER

    def _hand_over(self, parcel: Parcel) -> None:
        durable = isinstance(self._sink, DurableSink)
        if not parcel.deliveries or (parcel.number <= self.cut and not durable):
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
            self._consumer.done(self.name, self._run, parcel.number, letters, remember=not durable)
        if self._owed:
            self._settle(parcel, outcomes)
        good = np.array([o is None for o in outcomes])
        self.meter.took(
            np.array(parcel.moments)[good], len(letters), self._now(), time.perf_counter() - began
        )

    def _settle(self, parcel: Parcel, outcomes: Sequence[Outcome]) -> None:
        """What was a dead letter, and is delivered now, is none any more: nobody is to try it again."""
        made = [d.key for d, o in zip(parcel.deliveries, outcomes, strict=True) if o is None]
        paid = self._owed.intersection(made)
        self._consumer.settle(sorted(paid), parcel.number)
        self._owed -= paid

    def _outcomes(self, parcel: Parcel) -> Sequence[Outcome]:
        for attempt, pause in enumerate((*PAUSES, None), 1):
            try:
                return checked_outcomes(self._answer(parcel), self._sink, len(parcel.deliveries))
            # a sink may be anybody's: whatever it raises is the failure of these deliveries
            except Exception as error:
                # only what is done whole or not at all may be tried again here
                if pause is None or not isinstance(self._sink, DurableSink):
                    return _all(parcel, f"{type(error).__name__}: {error}", attempt)
                if self._stopping.wait(pause):
                    raise _Left from error
        raise AssertionError

    def _answer(self, parcel: Parcel) -> Sequence[Outcome]:
        if isinstance(self._sink, DurableSink):
            return self._sink.apply(parcel.deliveries, self._named, parcel.number)
        return self._sink.deliver(parcel.deliveries)


class _Left(Exception):  # noqa: N818
    """A batch that is left to the next run."""


def _all(parcel: Parcel, error: str, attempts: int) -> Sequence[Outcome]:
    return [Failure(error, attempts)] * len(parcel.deliveries)


class Dispatch:
    """The lanes to all sinks."""

    def __init__(self, lanes: Mapping[str, Lane], stop: threading.Event) -> None:
        self.lanes = lanes
        self.stopped = False
        self._stop = stop

    def start(self) -> None:
        """Begin to hand over."""
        for lane in self.lanes.values():
            lane.start()

    def put(self, number: int, deliveries: Mapping[str, list[tuple[int, Delivery]]]) -> int:
        """Hand over the deliveries of one batch; how many there are."""
        for name, lane in self.lanes.items():
            rows = deliveries.get(name, [])
            lane.put(Parcel(number, [d for _, d in rows], [moment for moment, _ in rows]), self._stop)
        return sum(map(len, deliveries.values()))

    def wait(self, number: int, timeout: float) -> bool:
        """Wait until all sinks have the batches up to `number`, at most `timeout` seconds; whether they have."""
        end = time.monotonic() + timeout
        return all(lane.wait(number, max(end - time.monotonic(), 0.0)) for lane in self.lanes.values())

    @property
    def done(self) -> int:
        """The last batch that all sinks have."""
        return min((lane.done for lane in self.lanes.values()), default=1 << 62)

    def stop(self, timeout: float) -> None:
        """Finish what is being handed over."""
        self.stopped = True
        for lane in self.lanes.values():
            lane._stopping.set()
        for lane in self.lanes.values():
            lane.stop(timeout)
