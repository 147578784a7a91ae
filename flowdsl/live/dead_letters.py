"""Dead letters: failed contexts and failed deliveries, with all that a retry needs."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from flowdsl.errors import LiveError
from flowdsl.events import EVENT_COLUMNS
from flowdsl.moments import to_micros
from flowdsl.sinks.base import Delivery, Failure, storable
from flowdsl.sinks.frame import MOMENT

if TYPE_CHECKING:
    import pandas as pd


class DeadLetter(NamedTuple):
    """Dead letter. Times are in µs since 1970; `sink` is null if a step failed; `delivery` is JSON."""

    key: str
    seq_no: int
    event_id: str | None
    timestamp: int | None
    kind: str | None
    entity_type: str | None
    entity_id: str | None
    link_type: str | None
    link_id: str | None
    source_id: str | None
    target_id: str | None
    data: str | None
    metadata: str | None
    flow: str
    step: int
    operator: str
    branch: str | None
    error: str
    variables: str | None
    sink: str | None
    recipient_id: str | None
    payload: str | None
    delivery: str | None
    attempts: int
    failed_at: int


_INTEGERS: Final = {"seq_no", "timestamp", "step", "attempts", "failed_at"}
LETTERS: Final = (
    "create table if not exists letters (key text unique not null, "
    + ", ".join(f"{name} {'integer' if name in _INTEGERS else 'text'}" for name in DeadLetter._fields[1:])
    + ", settled integer not null default 0, crc integer not null)",
    "create index if not exists letters_open on letters (settled, seq_no)",
)
COLUMNS: Final = (*(name for name in DeadLetter._fields[1:] if name != "delivery"), "key")
_TYPES: Final[dict[str, Any]] = {
    **{name: pl.Int64 if name in _INTEGERS else pl.String for name in COLUMNS},
    "timestamp": MOMENT,
    "failed_at": MOMENT,
    "step": pl.Int32,
}


def letters_of_failures(errors: pl.DataFrame, now: int) -> list[DeadLetter]:
    """Build letters from rows of the table of errors."""
    rows = errors.with_columns(pl.col("timestamp").to_physical())
    columns: dict[str, Iterable[Any]] = {
        name: rows[name].to_list() if name in rows.columns else repeat(None, len(rows))
        for name in DeadLetter._fields
    }
    columns["key"] = map(_key, *(columns[name] for name in ("flow", "seq_no", "branch", "step")))
    columns["attempts"], columns["failed_at"] = repeat(1, len(rows)), repeat(now, len(rows))
    return list(map(DeadLetter, *columns.values()))


def letter_of_delivery(delivery: Delivery, failure: Failure, now: int) -> DeadLetter:
    """Build a letter from a failed delivery."""
    rest = {
        "event_time": delivery.event_time.isoformat(),
        "delivered_at": delivery.delivered_at.isoformat(),
        "closed_by": delivery.closed_by,
    }
    fields: dict[str, Any] = {
        **dict.fromkeys(EVENT_COLUMNS),
        "key": delivery.key,
        "seq_no": delivery.seq_no,
        "event_id": delivery.event_id,
        "timestamp": to_micros(delivery.event_time),
        "entity_type": delivery.entity_type,
        "entity_id": delivery.entity_id,
        "flow": delivery.flow,
        "step": delivery.step,
        "operator": "deliver",
        "branch": delivery.branch,
        "error": storable(failure.error),
        "variables": None,
        "sink": delivery.sink,
        "recipient_id": None if delivery.recipient is None else storable(delivery.recipient),
        "payload": json.dumps(delivery.payload),
        "delivery": json.dumps(rest),
        "attempts": failure.attempts,
        "failed_at": now,
    }
    return DeadLetter(**fields)


def delivery_of(letter: DeadLetter) -> Delivery:
    """Return the delivery of a letter, with its original key."""
    rest = json.loads(letter.delivery or "{}")
    return Delivery(
        json.loads(letter.payload or "null"),
        letter.recipient_id,
        letter.key,
        letter.sink or "",
        letter.flow,
        letter.step,
        letter.branch,
        letter.seq_no,
        letter.event_id,
        dt.datetime.fromisoformat(rest["event_time"]),
        dt.datetime.fromisoformat(rest["delivered_at"]),
        rest["closed_by"],
        letter.entity_type,
        letter.entity_id,
    )


def letters_frame(letters: Sequence[DeadLetter]) -> pd.DataFrame:
    """Return letters as the table `runtime.dead_letters`."""
    from flowdsl.frames import to_pandas

    columns = {name: [getattr(letter, name) for letter in letters] for name in COLUMNS}
    frame = pl.DataFrame(
        [
            pl.Series(name, columns[name], pl.Int64 if dtype == MOMENT else dtype).cast(dtype)
            for name, dtype in _TYPES.items()
        ]
    )
    return to_pandas(frame)


def choose_letters(held: list[DeadLetter], letters: Any) -> list[DeadLetter]:
    """Return the letters whose `key` is in a frame; all of them for None."""
    if letters is None:
        return held
    from flowdsl.frames import is_frame, to_polars

    frame = to_polars(letters, "letters") if is_frame(letters) else None
    if frame is None or "key" not in frame.columns:
        raise LiveError(
            "letters have no column 'key'", allowed="rows of runtime.dead_letters, or None for all"
        )
    keys = set(frame["key"].to_list())
    return [letter for letter in held if letter.key in keys]


def _key(flow: str, seq_no: int, branch: str | None, step: int) -> str:
    identity = "\0".join(("context", flow, str(seq_no), branch or "", str(step)))
    return hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
