"""Keys of deliveries, which are the same for a delivery in every replay and live run (rule 31)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from flowdsl.flow.spec import FlowSpec
from flowdsl.log.event_ids import EventName, Names, names_of
from flowdsl.log.source import EventSource
from flowdsl.operators.deliver import Deliver
from flowdsl.sinks.base import delivery_key, flow_labels

END: Final = "end"


class DeliveryKeys:
    """Builder of the keys of deliveries of some flows over one log."""

    def __init__(self, flows: Sequence[FlowSpec], source: EventSource) -> None:
        self.labels = flow_labels(flow.name for flow in flows)
        self._source = source
        self._names: Names | None = None
        # the position among the steps to one sink: unlike the step's number, edits before it do not change it
        self._places: dict[tuple[int, int, str], int] = {}
        for number, flow in enumerate(flows):
            count: Counter[str] = Counter()
            for place, step in enumerate(flow.steps):
                for sink in step.sinks if isinstance(step, Deliver) else ():
                    self._places[number, place, sink] = count[sink]
                    count[sink] += 1

    @property
    def names(self) -> Names:
        """Identities of the events; a log that does not exist yet gets its identity with its first event."""
        if self._names is None:
            self._names = names_of(self._source)
        return self._names

    def key(
        self,
        event: EventName,
        flow: int,
        branch: str | None,
        step: int,
        sink: str,
        closed_by: str | None,
        event_id: str | None,
    ) -> str:
        """Return the key of a delivery of the flow with this number."""
        place = self._places.get((flow, step, sink), 0)
        name, moment = event
        if moment is not None and closed_by is None and event_id is not None:
            name = f"{name}/{event_id}"
        return delivery_key(
            name, self.labels[flow], branch, place, sink, moment=moment, provisional=closed_by == END
        )
