"""Random histories: deletions with and without ids, split rows, stamps from the future and beyond all years, against plain loops."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import polars as pl
from oracle.interpreter import interpret

import flowdsl as fd
from flowdsl import on
from flowdsl.events import timestamp_text
from flowdsl.log.future_events import NEXT, ahead_of_next

_START = 1_767_225_600_000_000
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
_FANS = (
    on("link.created", link_type="ask")
    .fan_out("target_id", via="likes", direction="reverse", as_="fan")
    .map(fan="{{ fan_id }}")
    .deliver("s")
)
_PLAIN = on("link.created").map(who="{{ source_id }}").deliver("s")
_SPLIT: Any = {
    "u": [{"kind": "link.deleted", "source_id": "old"}, {"kind": "link.created", "source_id": "new"}]
}


def check(rng: random.Random) -> int:
    """Try one history of each sort; how many events they had."""
    return _deletions(rng) + sum(_stamps(rng) for _ in range(100)) + _far(rng) + _split(rng)


def _deletions(rng: random.Random) -> int:
    graph = [_link(rng) for _ in range(rng.randrange(8))]
    events, clock, ahead = [], _START, {}
    for number in range(1, (size := rng.choice([5, 40, 400])) + 1):
        clock += rng.choice([0, 1, 1000, -2_000_000])
        events.append({"seq_no": number, "timestamp": timestamp_text(clock), "event": _event(rng)})
        if rng.random() < 0.05:
            events[-1]["timestamp"], ahead[number] = "2099-01-01T00:00:00Z", _START
    log = fd.MemoryEventLog()
    log.append(events)
    log.mark_ahead(list(ahead), timestamp_text(_START))
    found = fd.replay(
        _FANS, log, fd.EntityGraph(links=graph), chunk_size=rng.choice([size // 20 + 1, size // 6 + 1, None])
    )
    plain = interpret([_FANS], events, {}, graph, ahead=ahead)
    assert found.unmatched["seq_no"].tolist() == plain.unmatched, (graph, events)
    assert found.late["seq_no"].tolist() == plain.late, (graph, events)
    assert found.ahead["seq_no"].tolist() == list(ahead), (graph, events)
    told = found.to_polars("s").select("seq_no", "fan", pl.col("delivered_at").to_physical()).rows()
    expected = [(d.seq_no, d.payload["fan"], d.delivered_at) for d in plain.deliveries]
    assert told == expected, (graph, events)
    return len(events)


def _link(rng: random.Random) -> dict[str, str]:
    link = {
        "link_type": rng.choice(["likes", "likes", "owns"]),
        "source_id": rng.choice("ab"),
        "target_id": rng.choice("pq"),
    }
    return {**link, "link_id": rng.choice(["l1", "l2", "l3"])} if rng.random() < 0.5 else link


def _event(rng: random.Random) -> dict[str, Any]:
    sort = rng.random()
    if sort < 0.15:
        return fd.link_created("ask", "x", rng.choice("pq"))
    link = _link(rng)
    if sort < 0.6:
        return {"kind": "link", "action": "created", **link}
    if sort < 0.7:
        return {"kind": "entity", "action": rng.choice(["deleted", "created"]), "entity_type": rng.choice(["u", "v"]), "entity_id": rng.choice("ab")}  # fmt: skip
    if "link_id" in link and rng.random() < 0.5:
        return {"kind": "link", "action": "deleted", "link_id": link["link_id"]}
    return {"kind": "link", "action": "deleted", **link}


def _stamps(rng: random.Random) -> int:
    size, limit = rng.choice([0, 1, 2, 5, 30]), rng.choice([0, 5, 1000])
    times, at = [], 0
    for _ in range(size):
        at += rng.choice([0, 1, 2, 6])
        times.append(at + rng.choice([0, 0, 0, 0, -7, 50, 3000, 10**12]))
    found, clock = ahead_of_next(np.array(times, np.int64), limit)
    contradicted = []
    for i, time in enumerate(times):
        following = times[i + 1 : i + 1 + NEXT]
        later = sum(time - other > limit for other in following)
        contradicted.append(later > 0 and 2 * later >= len(following))
    earlier = [
        [t for t, not_so in zip(times[:i], contradicted[:i], strict=True) if not not_so] for i in range(size)
    ]
    expected = [
        c and all(t - e > limit for e in before)
        for t, c, before in zip(times, contradicted, earlier, strict=True)
    ]
    assert found.tolist() == expected, (times, limit)
    for i in np.flatnonzero(found).tolist():
        first = next(t for t, is_ahead in zip(times[i:], expected[i:], strict=True) if not is_ahead)
        assert clock[i] == (max(earlier[i]) if earlier[i] else first), (times, limit)
    return size


def _far(rng: random.Random) -> int:
    size, unit = rng.choice([1, 20, 300]), rng.choice(["ms", "us"])
    edges = [_FIRST, _FIRST - 1, _LAST, _LAST + 1, (1 << 63) - 1, -(1 << 63) + 1, 0, _START]
    counts = [rng.choice([rng.choice(edges), _START + number]) for number in range(size)]
    stored = counts if unit == "us" else [count // 1000 for count in counts]
    if unit == "ms" and rng.random() < 0.3:
        stored = [rng.choice([count, 1 << 62]) for count in stored]
    per = 1 if unit == "us" else 1000
    frame = pl.DataFrame(
        {
            "seq_no": range(1, size + 1),
            "timestamp": pl.Series(stored, dtype=pl.Int64).cast(pl.Datetime(unit, "UTC")),
            "source_id": [str(number) for number in range(size)],
        }
    ).with_columns(pl.lit("link.created").alias("kind"), link_type=pl.lit("l"), target_id=pl.lit("t"))
    good = [str(n) for n, count in enumerate(stored) if _FIRST <= count * per <= _LAST]
    log = fd.log.open_log(frame) if rng.random() < 0.5 else fd.MemoryEventLog()
    if isinstance(log, fd.MemoryEventLog):
        log.append(frame)
    assert fd.replay(_PLAIN, log).to_polars("s")["who"].to_list() == good, (unit, stored)
    assert log.problems["row"].tolist() == [n for n in range(size) if str(n) not in good], (unit, stored)
    return size


def _split(rng: random.Random) -> int:
    rows, expected, broken = [], [], []
    for number in range(rng.choice([1, 30, 300])):
        old, new = (rng.choice([None, "", "a", "b"]) for _ in range(2))
        op = rng.choice("ucx")
        rows.append({"ts": number, "op": op, "old": old, "new": new, "post": "p"})
        if op == "x":
            continue
        parts = [("link.deleted", old)] if op == "u" and old else []
        parts += [("link.created", new)] if new else []
        broken += [] if parts else [number]
        expected += parts
    columns = {"timestamp": "ts", "kind": "op", "link_type": fd.literal("owns"), "source_id": "new", "target_id": "post"}  # fmt: skip
    source = (
        pl.DataFrame(rows, schema_overrides={"old": pl.String, "new": pl.String})
        if rng.random() < 0.5
        else rows
    )
    kinds = {"c": "link.created", "x": None}
    try:
        log = fd.read_events(source, columns, kinds, _SPLIT, time_unit="s")
    except fd.DataError:
        # nothing but broken rows
        assert not expected, rows
        return len(rows)
    found = [tuple(row.values()) for b in log.read() for row in b.select(["kind", "source_id"]).to_pylist()]
    assert found == expected, rows
    assert sorted(log.problems["row"]) == broken, rows
    return len(rows)
