"""Dispatch of a replay's deliveries to real sinks, in total order, and a record of failed ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from flowdsl.errors import FlowError, ReplayError
from flowdsl.flow.plan import Plan
from flowdsl.flow.spec import FlowSpec
from flowdsl.log.source import EventSource
from flowdsl.results.delivery_keys import DeliveryKeys
from flowdsl.results.manifest import delivers_of
from flowdsl.results.manifest_schema import DeliverRow
from flowdsl.results.store import MemoryStore, StoredPart, TablePart
from flowdsl.results.table_writer import EVENT, ORIGIN, TableRecorder
from flowdsl.results.tables import all_deliveries
from flowdsl.sinks.base import Delivery, Failure, Outcome, Sink, SinkLike, check_outcomes, open_sinks
from flowdsl.sinks.frame import FIXED
from flowdsl.text import type_text

if TYPE_CHECKING:
    from flowdsl.engine.local import LocalExecutor

# fields of the event that sinks get in addition to its id and time
EVENT_COLUMNS: Final = ("entity_type", "entity_id")
_TOLD: Final[dict[str, Any]] = {**{EVENT.format(name): pl.String for name in EVENT_COLUMNS}, **ORIGIN}
UNDELIVERED: Final = "undelivered"
UNDELIVERED_SCHEMA: Final[dict[str, Any]] = {
    **FIXED,
    "sink": pl.String,
    "payload": pl.String,
    "key": pl.String,
    "error": pl.String,
    "attempts": pl.Int64,
    "permanent": pl.Boolean,
}
# deliveries handed over at once
BATCH: Final = 1_000


def opened_sinks(flows: Sequence[FlowSpec], sinks: Mapping[str, SinkLike] | None) -> dict[str, Sink]:
    """Open the sinks that flows deliver to, before anything runs."""
    if sinks is None:
        raise ReplayError(
            "dispatch=True without sinks",
            hint="sinks={'in-app': flowdsl.sinks.InApp(path)} says where deliveries go",
        )
    named: dict[str, Sink] = {}
    for name in dict.fromkeys(name for flow in flows for name in flow.sinks):
        sink = sinks[name]
        if not isinstance(sink, Sink):
            raise ReplayError(
                f"the sink {name!r} is {type_text(sink)}",
                allowed="a sink of flowdsl.sinks, or one derived from flowdsl.sinks.Sink",
                hint="flowdsl.sinks.Custom(function) makes a sink of a function" if callable(sink) else None,
            )
        named[name] = sink
    open_sinks(named)
    return named


class Dispatching:
    """Holds the deliveries of a replay until they are handed over.

    The replay reads `source` instead of its log, which records the identities of events for delivery keys;
    `earlier` are the logs of earlier replays whose events may still be held in windows and queues.
    """

    def __init__(
        self,
        plan: Plan,
        local: LocalExecutor,
        recorder: TableRecorder,
        sinks: Mapping[str, Sink],
        source: EventSource,
        earlier: Sequence[EventSource] = (),
    ) -> None:
        self._keys = DeliveryKeys(plan.flows, source)
        for before in earlier:
            self._keys.names.catch_up(before, local.position)
        self._local = local
        self._timed = plan.timed
        self._store = DispatchingStore(recorder, sinks, self._keys, delivers_of(plan))
        recorder.store, recorder.event_columns = self._store, EVENT_COLUMNS
        self.source = self._keys.names.source

    def hand_over(self) -> None:
        """Hand over the deliveries that are held, and forget identities that are no longer needed."""
        self._store.hand_over()
        # a window or a queue may release an event later
        self._keys.names.leave(self._local.position, keep=self._timed)


class DispatchingStore:
    """Store that forwards to another one and holds deliveries until they are handed over.

    In the total order, deliveries of a chunk of events come before those of the next chunk, because all due
    timers have fired by its end. `steps` are the deliver steps as in the manifest.
    """

    def __init__(
        self,
        recorder: TableRecorder,
        sinks: Mapping[str, Sink],
        keys: DeliveryKeys,
        steps: Sequence[DeliverRow],
    ) -> None:
        self.inner = recorder.store
        self._recorder = recorder
        self._sinks = sinks
        self._keys = keys
        self._flow_numbers = {label: number for number, label in enumerate(keys.labels)}
        self._steps = steps
        self._waiting = MemoryStore()

    def add(self, table: str, part: TablePart) -> None:
        """Add rows to a table."""
        if table.startswith("deliveries/"):
            self._waiting.add(table, part)
            part = TablePart(part.frame.drop(_TOLD, strict=False), part.meta)
        self.inner.add(table, part)

    def parts(self, table: str) -> Sequence[TablePart | StoredPart]:
        """Return the parts of a table, to be read when they are used."""
        return self.inner.parts(table)

    def tables(self) -> list[str]:
        """Return the names of the tables with rows."""
        return self.inner.tables()

    def hand_over(self) -> None:
        """Hand over the deliveries that are held, and record failed ones in a table."""
        waiting, self._waiting = self._waiting, MemoryStore()
        if not waiting.tables():
            return
        frame = all_deliveries(waiting, self._keys.labels, self._steps, _TOLD)
        for rows in frame.iter_slices(BATCH):
            some = list(self._deliveries_of(rows))
            failed = [
                _make_undelivered(delivery, failure)
                for name in dict.fromkeys(delivery.sink for delivery in some)
                for delivery, failure in hand_over(self._sinks[name], [d for d in some if d.sink == name])
                if failure is not None
            ]
            self._recorder.undelivered_count += len(failed)
            if failed:
                self.inner.add(
                    UNDELIVERED, TablePart(pl.DataFrame(failed, schema=UNDELIVERED_SCHEMA, orient="row"))
                )

    def _deliveries_of(self, frame: pl.DataFrame) -> Iterator[Delivery]:
        """Yield a delivery for each row of `all_deliveries` that includes columns of the event and of its
        origin.
        """
        seqs, moments = (frame[name].to_numpy() for name in list(ORIGIN)[:2])
        events = self._keys.names.of(seqs, moments)
        for event, row in zip(events, frame.iter_rows(named=True), strict=True):
            flow = self._flow_numbers[row["flow"]]
            yield Delivery(
                payload=json.loads(row["payload"]),
                recipient=row["recipient_id"],
                key=self._keys.key(
                    event,
                    flow,
                    row["origin.branch"],
                    row["step"],
                    row["sink"],
                    row["closed_by"],
                    row["event_id"],
                ),
                **{name: row[name] for name in FIXED if name != "recipient_id"},
                sink=row["sink"],
                **{name: row[EVENT.format(name)] for name in EVENT_COLUMNS},
            )


def hand_over(sink: Sink, deliveries: Sequence[Delivery]) -> Iterator[tuple[Delivery, Outcome]]:
    """Return each delivery with its outcome; if the sink itself fails, all of them count as failed."""
    try:
        outcomes = check_outcomes(sink.deliver(deliveries), sink, len(deliveries))
    except FlowError as error:
        outcomes = [Failure(error.what)] * len(deliveries)
    # a sink of the user may raise anything, which must not stop the other sinks
    except Exception as error:
        outcomes = [Failure.of(error)] * len(deliveries)
    return zip(deliveries, outcomes, strict=True)


def _make_undelivered(delivery: Delivery, failure: Failure) -> dict[str, Any]:
    given = delivery._asdict()
    return {
        **{name: given[name] for name in FIXED if name != "recipient_id"},
        "recipient_id": delivery.recipient,
        "sink": delivery.sink,
        "payload": json.dumps(delivery.payload, ensure_ascii=False, separators=(",", ":")),
        "key": delivery.key,
        "error": failure.error,
        "attempts": failure.attempts,
        "permanent": failure.permanent,
    }
