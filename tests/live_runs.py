"""Live runs in whatever pieces, which stop, crash and go on, and what they delivered beside a replay of their log."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from hypothesis import strategies as st
from oracle import interpret
from strategies import AHEAD, START, Case

import flowdsl as fd
from flowdsl.sinks import Delivery, DurableSink

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass
class Hand:
    """A clock whose hands somebody moves."""

    micros: int = START

    def __call__(self) -> dt.datetime:
        return EPOCH + dt.timedelta(microseconds=self.micros)


@dataclass
class Kept(DurableSink):
    """A durable sink that survives every crash of the runtime, and may itself crash after it has committed."""

    deliveries: list[Delivery] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    crashes: bool = False

    def apply(self, deliveries: Sequence[Delivery], consumer: str, batch: int) -> list[None]:
        if batch > self.numbers.get(consumer, 0):
            self.deliveries += deliveries
            self.numbers[consumer] = batch
        if self.crashes:
            raise Crash
        return [None] * len(deliveries)

    def applied(self, consumer: str) -> int:
        return self.numbers.get(consumer, 0)


class Crash(BaseException):
    """The process ends here."""


def waited(until: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Wait until something is so; False if it takes too long."""
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def said_live(deliveries: Sequence[Delivery]) -> list[tuple[Any, ...]]:
    return [
        (d.seq_no, d.event_id, d.delivered_at, d.closed_by, d.flow, d.step, d.branch, d.recipient, json.dumps(d.payload, sort_keys=True))
        for d in deliveries
    ]  # fmt: skip


def said_by_replay(result: fd.Result, sink: str) -> list[tuple[Any, ...]]:
    frame = result.polars()
    return [
        (
            row["seq_no"], row["event_id"], row["delivered_at"], row["closed_by"], row["flow"], row["step"], row["branch"],
            row["recipient_id"], json.dumps(json.loads(row["payload"]), sort_keys=True),
        )
        for row in frame.rows(named=True)
        if row["sink"] == sink
    ]  # fmt: skip


def failures(frame: Any) -> list[tuple[Any, ...]]:
    rows = frame[["seq_no", "flow", "step", "branch", "error", "variables"]].values.tolist()
    return sorted(
        (r[0], r[1], r[2], str(r[3]), r[4], json.dumps(json.loads(r[5]), sort_keys=True)) for r in rows
    )


def named_apart(case: Case) -> list[fd.Flow]:
    return [flow.named(f"flow {number}") for number, flow in enumerate(case.flows)]


def that_deliver(case: Case) -> Case:
    """A case with two more flows, of which something is delivered nearly always."""
    links = fd.on("link.created")
    plain = links.map(title="{{ source_id }}", n="{{ metadata.n | default(value='none') }}").deliver("plain")
    keyed = links.batch("metadata.n", window="2s").map(title="{{ batch.count }}").deliver("keyed", "plain")
    return replace(case, flows=[*case.flows, plain, keyed])


# so many events, then so much time (in ms) without any; what happens to the runtime after
pieces = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.sampled_from([0, 0, 0, 400, 1000, 1500, 3000, 20_000]),
        st.sampled_from(["on", "on", "restart", "crash"]),
    ),
    max_size=8,
)


class Life:
    """A log that grows, and the runtime over it, which may end in several ways."""

    def __init__(
        self,
        case: Case,
        log: fd.MemoryEventLog | fd.ParquetEventLog,
        sinks: dict[str, Kept] | None = None,
    ) -> None:
        self.case, self.flows, self.caps = case, named_apart(case), case.caps
        self.events: list[dict[str, Any]] = []
        self.graph = fd.EntityGraph(case.world.entities, case.world.links, merge=case.world.merge)
        self.log = log
        self.clock = Hand()
        self.sinks = sinks or {sink: Kept() for flow in self.flows for sink in flow.sinks}
        self.runtime = self.fresh()

    def fresh(self, state: Literal["discard"] | None = None) -> fd.Runtime:
        return fd.Runtime(
            self.flows,
            self.log,
            self.graph,
            self.sinks,
            caps=self.caps,
            state=state,
            clock=self.clock,
            checkpoint_every=0.0,
        )

    def go_on(self, events: list[dict[str, Any]], idle: int, then: str) -> None:
        for event in events:
            self.log.append(event)
            self.events.append(event)
            at = _micros(event["timestamp"])
            # one from the future does not move the wall clock either
            self.clock.micros = max(self.clock.micros, at if at < self.clock.micros + AHEAD // 2 else 0)
        self.clock.micros += idle * 1000
        if then == "crash":
            # what comes next is appended before the runtime is there again
            return self.crash()
        self.runtime.run_until_idle()
        if then == "restart":
            self.runtime = self.fresh()
        return None

    def crash(self) -> None:
        """Each sink commits its next batch, and then the process is gone."""
        for sink in self.sinks.values():
            sink.crashes = True
        with contextlib.suppress(fd.LiveError):
            self.runtime.run_until_idle()
        for sink in self.sinks.values():
            sink.crashes = False
        self.runtime = self.fresh()


def _micros(text: str) -> int:
    return _since_epoch(dt.datetime.fromisoformat(text))


def live(
    case: Case, schedule: list[tuple[int, int, str]], log: Any, sinks: dict[str, Kept] | None = None
) -> Life:
    life = Life(case, log, sinks)
    events = [{k: v for k, v in event.items() if k != "seq_no"} for event in case.world.events]
    for count, idle, then in schedule:
        taken, events = events[:count], events[count:]
        life.go_on(taken, idle, then)
    life.go_on(events, 0, "on")
    return life


def assert_told_the_same(life: Life) -> None:
    result = fd.replay(life.flows, life.log, life.graph, open_windows="keep", caps=life.caps)
    for name, sink in life.sinks.items():
        assert said_live(sink.deliveries) == said_by_replay(result, name), name
    assert failures(life.runtime.dead_letters) == failures(result.errors)
    # rule 35: what was dated far ahead when it came is marked, and moved the clock neither here nor there
    assert result.ahead["seq_no"].tolist() == life.log.ahead_marks()["seq_no"].to_list()
    assert (result.ahead["ahead"] > dt.timedelta(minutes=5)).all()


def told_by_interpreter(life: Life, *, start: int | None = None) -> list[tuple[Any, ...]]:
    """What the plain interpreter tells of the log of a run, from event `start` on; sorted."""
    events = [{**event, "seq_no": number} for number, event in enumerate(life.events, 1)]
    marks = [(row["seq_no"], _since_epoch(row["clock"])) for row in life.log.clock_marks().to_dicts()]
    ahead = {row["seq_no"]: _since_epoch(row["clock"]) for row in life.log.ahead_marks().to_dicts()}
    world = life.case.world
    outcome = interpret(
        life.flows, events, world.entities, world.links,
        merge=world.merge, marks=marks, ahead=ahead, start=start, keep=True, caps=life.caps,
    )  # fmt: skip
    return sorted(
        (d.sink_name, life.flows[d.flow].name, d.seq_no, d.event_id, d.delivered_at, str(d.recipient_id), json.dumps(d.payload, sort_keys=True))
        for d in outcome.deliveries
    )  # fmt: skip


def told_live(sinks: dict[str, Kept]) -> list[tuple[Any, ...]]:
    """What sinks were handed, as the plain interpreter tells it."""
    return sorted(
        (name, d.flow, d.seq_no, d.event_id, _since_epoch(d.delivered_at), str(d.recipient), json.dumps(d.payload, sort_keys=True))
        for name, sink in sinks.items()
        for d in sink.deliveries
    )  # fmt: skip


def _since_epoch(moment: dt.datetime) -> int:
    return (moment - EPOCH) // dt.timedelta(microseconds=1)
