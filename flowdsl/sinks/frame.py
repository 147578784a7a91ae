"""frame: deliveries as a table, to look at."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from flowdsl.progress import beside, counted, following
from flowdsl.sinks.base import Delivery, Outcome, Sink
from flowdsl.sinks.kept import json_text

if TYPE_CHECKING:
    import pandas as pd

FIXED = (
    "seq_no", "event_id", "event_time", "delivered_at", "closed_by", "flow", "step", "branch", "recipient_id", "key",
)  # fmt: skip


class Frame(Sink):
    """Collects deliveries in memory: `.frame()` has them as `result["name"]` has those of a replay.

    >>> frame = Frame()
    >>> frame.deliver([Delivery({"title": "hello"}, "ann", seq_no=7)])
    [None]
    >>> frame.frame()[["seq_no", "recipient_id", "title"]].values.tolist()
    [[7, 'ann', 'hello']]
    """

    type: ClassVar[str] = "frame"
    summary: ClassVar[str] = "deliveries as a table in memory"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deliveries: list[Delivery] = []

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """Keep deliveries."""
        with self._lock:
            self._deliveries += deliveries
        return [None] * len(deliveries)

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """The deliveries so far, in order."""
        with self._lock:
            return tuple(self._deliveries)

    def frame(self) -> pd.DataFrame:
        """The deliveries so far as a pandas frame: the fixed columns, then the payload's fields.

        A field whose name is taken becomes `payload.<name>`, a payload that is no object is one column `payload`; lists
        and objects are JSON text.
        """
        import pandas as pd

        deliveries = self.deliveries
        with following(None, len(deliveries), "frame", "deliveries") as tick:
            rows = [_row(delivery) for delivery in counted(deliveries, tick)]
            columns = dict.fromkeys(FIXED)
            for row in rows:
                columns.update(dict.fromkeys(row))
            return beside(lambda: pd.DataFrame(rows, columns=list(columns)))

    def clear(self) -> None:
        """Forget what was collected."""
        with self._lock:
            self._deliveries.clear()

    def __len__(self) -> int:
        return len(self._deliveries)

    def __repr__(self) -> str:
        return f"Frame({len(self)} deliveries)"


def _row(delivery: Delivery) -> dict[str, Any]:
    given = delivery._asdict()
    fixed = {name: given["recipient" if name == "recipient_id" else name] for name in FIXED}
    payload = delivery.payload if isinstance(delivery.payload, dict) else {"payload": delivery.payload}
    cells = {
        f"payload.{name}" if name in FIXED else name: json_text(value)
        if isinstance(value, (dict, list))
        else value
        for name, value in payload.items()
    }
    return {**fixed, **cells}
