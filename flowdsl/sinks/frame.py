"""Frame sink: deliveries as a table in memory."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence
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
# the columns of tables of deliveries, which no field of a payload has
TAKEN: Final = frozenset((*FIXED, "sink"))


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
    columns = {
        name: pl.Series(
            [getattr(d, "recipient" if name == "recipient_id" else name) for d in deliveries], dtype=dtype
        )
        for name, dtype in _OWN.items()
    }
    fields = field_columns(
        (name for name, kind in kinds.items() if not repeats_recipient(name, kind)), {*TAKEN, "key"}
    )
    for column, name in fields.items():
        columns[column] = column_of_kind([row.get(name) for row in rows], complete(kinds[name], NOTHING))
    return to_pandas(pl.DataFrame(columns).select(*in_reading_order(fields), "key"))


def field_columns(fields: Iterable[str], taken: Collection[str] = TAKEN) -> dict[str, str]:
    """Return the columns of a payload's fields: each has its name, or `payload.<name>` where that is taken.

    >>> field_columns(["title", "step", "payload.step"])
    {'title': 'title', 'payload.payload.step': 'step', 'payload.step': 'payload.step'}
    """
    fields, found = dict.fromkeys(fields), dict[str, str]()
    for name in fields:
        # what no column can have in its name is replaced
        column = storable(name).replace("\0", "�")
        while column in taken or column in found or (column != name and column in fields):
            column = f"payload.{column}"
        found[column] = name
    return found


def in_reading_order(payload: Iterable[str]) -> list[str]:
    """Return the columns of a table of deliveries in the order in which people read them."""
    return list(dict.fromkeys([*_LEADING, *payload, *FIXED]))


def repeats_recipient(name: str, kind: Kind) -> bool:
    """Return True if a payload's field would have the same values as the column `recipient_id`."""
    return name == "recipient_id" and kind == TEXT
