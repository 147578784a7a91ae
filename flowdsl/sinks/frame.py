"""Frame sink: deliveries as a table in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import polars as pl

from flowdsl.frames import to_pandas
from flowdsl.progress import count_items, run_in_background, track
from flowdsl.sinks.base import Delivery, Outcome, Sink, check_deliveries
from flowdsl.values.json_decoder import column_of_kind
from flowdsl.values.json_texts import storable
from flowdsl.values.kinds import NOTHING, TEXT, Kind, complete, join_kinds, kind_of

if TYPE_CHECKING:
    import pandas as pd

MOMENT: Final = pl.Datetime("us", "UTC")
CLOSED: Final = pl.Enum(["timer", "end", "count", "quiet"])
# the columns that every delivery has: those that one looks for, before its payload, and where it comes from
_LEADING: Final[dict[str, Any]] = {"delivered_at": MOMENT, "recipient_id": pl.String}
FIXED: Final[dict[str, Any]] = {
    **_LEADING,
    "flow": pl.String,
    "step": pl.Int32,
    "branch": pl.String,
    "closed_by": CLOSED,
    "seq_no": pl.Int64,
    "event_id": pl.String,
    "event_time": MOMENT,
}
_OWN: Final = {**FIXED, "key": pl.String}


class Frame(Sink):
    """Collect deliveries in memory.

    Examples
    --------
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
        """Collect deliveries.

        Parameters
        ----------
        deliveries
            The deliveries, in order.

        Returns
        -------
        list of None
            One entry per delivery.

        Examples
        --------
        >>> Frame().deliver([Delivery("hello")])
        [None]
        """
        check_deliveries(deliveries)
        with self._lock:
            self._deliveries += deliveries
        return [None] * len(deliveries)

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """The deliveries so far, in order."""
        with self._lock:
            return tuple(self._deliveries)

    def frame(self) -> pd.DataFrame:
        """Return the deliveries so far as a table, like `result["name"]` of a replay.

        Returns
        -------
        pandas.DataFrame
            One row per delivery, with Arrow types: when and to whom, the fields of the payloads, and where it
            comes from. A field whose name is taken becomes `payload.<name>`; a payload that is not an object
            is a single column `payload`.

        Examples
        --------
        >>> len(Frame().frame())
        0
        """
        deliveries = self.deliveries
        kinds: dict[str, Kind] = {}
        rows: list[dict[str, Any]] = []
        with track(None, len(deliveries), "frame", "deliveries") as tick:
            for delivery in count_items(deliveries, tick):
                rows.append(
                    delivery.payload if isinstance(delivery.payload, dict) else {"payload": delivery.payload}
                )
                for name, value in rows[-1].items():
                    kinds[name] = join_kinds(kinds.get(name, NOTHING), kind_of(value))
            return run_in_background(lambda: _frame(deliveries, rows, kinds))

    def clear(self) -> None:
        """Discard the collected deliveries.

        Examples
        --------
        >>> Frame().clear()
        """
        with self._lock:
            self._deliveries.clear()

    def __len__(self) -> int:
        return len(self._deliveries)

    def __repr__(self) -> str:
        return f"Frame({len(self)} deliveries)"


def _frame(
    deliveries: Sequence[Delivery], rows: Sequence[dict[str, Any]], kinds: dict[str, Kind]
) -> pd.DataFrame:
    columns = [
        pl.Series(
            name,
            [getattr(d, "recipient" if name == "recipient_id" else name) for d in deliveries],
            dtype=dtype,
        )
        for name, dtype in _OWN.items()
    ]
    for name, kind in kinds.items():
        if repeats_recipient(name, kind):
            continue
        column = column_of_kind([row.get(name) for row in rows], complete(kind, NOTHING))
        columns.append(column.alias(storable(f"payload.{name}" if name in _OWN else name)))
    frame = pl.DataFrame(columns)
    payload = [name for name in frame.columns if name not in _OWN]
    return to_pandas(frame.select(*in_reading_order(payload), "key"))


def in_reading_order(payload: Iterable[str]) -> list[str]:
    """Return the columns of a table of deliveries in the order in which people read them."""
    return list(dict.fromkeys([*_LEADING, *payload, *FIXED]))


def repeats_recipient(name: str, kind: Kind) -> bool:
    """Return True if a payload's field would have the same values as the column `recipient_id`."""
    return name == "recipient_id" and kind == TEXT
