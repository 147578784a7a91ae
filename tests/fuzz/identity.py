"""Rule 31: deliveries handed over in any way and order against a plain store; names of events in any stretch of a file."""

from __future__ import annotations

import datetime as dt
import json
import random
from typing import Any

import numpy as np
import polars as pl

from flowdsl.log.columns import SCHEMA
from flowdsl.log.event_ids import EventNames
from flowdsl.log.memory import MemoryEventLog
from flowdsl.sinks import Counter, Delivery, Feed, InApp, delivery_key

_BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_BATCHES = 12
_EVENTS = 600


def check(rng: random.Random) -> int:
    """Try some deliveries and some events; how many."""
    return _check_stores(rng) + _check_names(rng)


# -- what stores keep -------------------------------------------------------------------------------------------


def _check_stores(rng: random.Random) -> int:
    stores: list[Any] = [InApp(keep=1 << 40), Feed(), Counter(field="n")]
    # by key: up to when it was known (None: for good), and what is there; what has no key is there each time
    keyed: dict[str, tuple[int | None, int]] = {}
    loose: list[int] = []
    numbers: dict[str, int] = {}
    tried = 0
    for _ in range(_BATCHES):
        batch = [_delivery(rng, tried + n) for n in range(rng.choice([0, 1, 2, 7, 30, 400]))]
        tried += len(batch)
        consumer, number = rng.choice(["a", "b", None]), rng.randrange(1, 7)
        for store in stores:
            answer = store.deliver(batch) if consumer is None else store.apply(batch, consumer, number)
            assert list(answer) == [None] * len(batch)
        known = consumer is not None and number <= numbers.get(consumer, 0)
        if consumer is not None:
            numbers[consumer] = max(number, numbers.get(consumer, 0))
        for delivery in batch:
            _keep(delivery, keyed, loose, known=known)
    there = sorted([value for _, value in keyed.values()] + loose)
    shown = [n.payload["value"] for n in stores[0].list("bob", limit=1 << 40)]
    assert sorted(shown) == there, (shown, there)
    assert [item.payload["value"] for item in stores[1].items("bob")] == shown
    assert stores[2].value("t", "e") == sum(there)
    assert not [wrong for store in stores for wrong in store.verify()]
    return tried


def _keep(
    delivery: Delivery, keyed: dict[str, tuple[int | None, int]], loose: list[int], *, known: bool
) -> None:
    value = delivery.payload["value"]
    if not delivery.key:
        if not known:
            loose.append(value)
        return
    until = int(delivery.event_time.timestamp()) if delivery.key.endswith("-end") else None
    key = delivery.key.removesuffix("-end")
    had = keyed.get(key)
    if had is None or (had[0] is not None and (until is None or until > had[0])):
        keyed[key] = (until, value)


def _delivery(rng: random.Random, value: int) -> Delivery:
    at = _BEGIN + dt.timedelta(seconds=rng.randrange(5))
    moment = rng.choice([None, rng.randrange(-(10**6), 10**15)])
    key = delivery_key(
        f"e{rng.randrange(rng.choice([40, 4000]))}", "f", None, 0, "s", provisional=rng.random() < 0.3
    )
    if moment is not None and rng.random() < 0.3:
        key = delivery_key("late", "f", None, 0, "s", moment=moment)
    payload = {"entity_type": "t", "entity_id": "e", "value": value}
    return Delivery(payload, "bob", key=rng.choice([key, key, key, "", "mine", "\ud800"]), event_time=at)


# -- what events are known by -----------------------------------------------------------------------------------


def _check_names(rng: random.Random) -> int:
    rows = [_row(rng, n) for n in range(rng.randrange(1, _EVENTS))]
    whole = _names(rows, rng.choice([29, 100, 1000]))
    # the same events, written by somebody else, in other chunks, and of a file that begins with the same time
    again = _names([_otherwise(rng, row) for row in rows], rng.choice([71, 1000]))
    assert whole == again
    # of those with an id equal ones have one name; what has none is told apart, by which of several it is
    known: dict[Any, str] = {}
    for n, (row, name) in enumerate(zip(rows, whole, strict=True)):
        said = _said(row) if row["event_id"] is not None else n
        assert known.setdefault(said, name) == name, row
    assert len(set(known.values())) == len(known)
    first = next((n for n, row in enumerate(rows) if row["timestamp"] > rows[0]["timestamp"]), len(rows))
    if first < len(rows):
        assert _names(rows[first:], 97) == whole[first:]
    return len(rows)


def _names(rows: list[dict[str, Any]], size: int) -> list[str]:
    frame = pl.DataFrame(
        rows, schema_overrides={k: v for k, v in SCHEMA.items() if k not in ("seq_no", "kind")}
    )
    names = EventNames(MemoryEventLog.of(frame))
    found: list[str] = []
    for chunk in names.source.chunks(("event_id",), size):
        numbers = chunk["seq_no"].to_numpy()
        found += [name for name, _ in names.of(numbers, np.zeros(len(numbers), np.int64))]
    return found


def _row(rng: random.Random, place: int) -> dict[str, Any]:
    data = rng.choice([None, {}, {"a": rng.randrange(2), "b": [1, {"c": "é"}]}])
    return {
        "event_id": rng.choice([None, None, f"id{rng.randrange(9)}"]), "timestamp": _BEGIN + dt.timedelta(minutes=place // 20),
        "kind": "entity.created", "entity_type": rng.choice(["u", "u:1"]), "entity_id": rng.choice(["1", "11", ":1", "-"]),
        "link_type": None, "link_id": None, "source_id": None, "target_id": None,
        "data": None if data is None else json.dumps(data), "metadata": None,
    }  # fmt: skip


def _otherwise(rng: random.Random, row: dict[str, Any]) -> dict[str, Any]:
    if row["data"] is None:
        return row
    items = list(json.loads(row["data"]).items())
    rng.shuffle(items)
    return {
        **row,
        "data": json.dumps(dict(items), indent=rng.choice([None, 1]), ensure_ascii=rng.random() < 0.5),
    }


def _said(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["event_id"], row["entity_type"], row["entity_id"]
