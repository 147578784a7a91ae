"""Workload C as plain loops: what deduplicate, batch and rate_limit give, to check the engine's results."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pyarrow as pa

from tests.benchmarks.outcome import Outcome, counted

SINK = "in-app"
SECOND = 1_000_000
DEDUPLICATE_WINDOW = 3600 * SECOND
BATCH_WINDOW = 300 * SECOND
LIMIT, PER = 100, 60 * SECOND


def clock(events: pa.Table) -> np.ndarray:
    """Give the log clock (µs) at each event: the greatest timestamp so far."""
    return np.maximum.accumulate(events["timestamp"].cast(pa.int64()).to_numpy())


def codes(events: pa.Table, column: str) -> list[int]:
    """Give small integers for the keys of a column."""
    encoded = events[column].combine_chunks().dictionary_encode()
    return encoded.indices.to_pylist()


def deduplicate(events: pa.Table) -> Outcome:
    """Let the first event of a source pass, and none within an hour of it."""
    times, keys = clock(events), codes(events, "source_id")
    opened: dict[int, int] = {}
    passed = []
    for at, (now, key) in enumerate(zip(times.tolist(), keys, strict=True)):
        start = opened.get(key)
        if start is None or now - start >= DEDUPLICATE_WINDOW:
            opened[key] = now
            passed.append(at)
    return _outcome(events, np.array(passed), times[passed], dropped=len(times) - len(passed))


def batch(events: pa.Table) -> Outcome:
    """Gather the likes of a post for five minutes from the first; the last member's event stands for all."""
    times, keys = clock(events), codes(events, "target_id")
    opened: dict[int, list[int]] = {}
    closed: list[list[int]] = []
    for at, (now, key) in enumerate(zip(times.tolist(), keys, strict=True)):
        window = opened.get(key)
        if window is not None and now < window[0] + BATCH_WINDOW:
            window[1] = at
            window[2] += 1
        else:
            opened[key] = [now, at, 1]
            closed.append(opened[key])
    windows = np.array(closed)
    due = windows[:, 0] + BATCH_WINDOW
    order = np.lexsort((windows[:, 1], due))
    last, due, count = windows[order, 1], due[order], windows[order, 2]
    titles = pl.Series(count).cast(pl.String) + " likes"
    return _outcome(events, last, due, dropped=0, title=titles.to_arrow())


def limit_drop(events: pa.Table) -> Outcome:
    """Let 100 a minute pass, by a token bucket in exact integers; drop the rest."""
    times = clock(events)
    full = LIMIT * PER
    tokens, last, passed = full, int(times[0]), []
    for at, now in enumerate(times.tolist()):
        tokens = min(full, tokens + (now - last) * LIMIT)
        last = now
        if tokens >= PER:
            tokens -= PER
            passed.append(at)
    return _outcome(events, np.array(passed), times[passed], dropped=len(times) - len(passed))


def limit_queue(events: pa.Table) -> Outcome:
    """Let 100 a minute pass; an event that finds no token waits in line for the microsecond at which there is one."""
    times = clock(events)
    full = LIMIT * PER
    tokens, last, delivered = full, int(times[0]), []
    for now in times.tolist():
        at = max(now, last)
        tokens = min(full, tokens + (at - last) * LIMIT)
        if tokens < PER:
            wait = -((tokens - PER) // LIMIT)
            at += wait
            tokens = min(full, tokens + wait * LIMIT)
        tokens -= PER
        last = at
        delivered.append(at)
    return _outcome(events, np.arange(len(times)), np.array(delivered), dropped=0)


def _outcome(
    events: pa.Table, at: np.ndarray, delivered: np.ndarray, *, dropped: int, title: pa.Array | None = None
) -> Outcome:
    rows = pa.table(
        {
            "seq_no": events["seq_no"].take(pa.array(at)),
            "delivered_at": pa.array(delivered).cast(pa.timestamp("us", tz="UTC")),
            "recipient_id": events["target_id"].take(pa.array(at)),
            "title": title if title is not None else pa.repeat("a like", len(at)),
        }
    )
    return Outcome({SINK: rows}, counted(0, dropped))


STEPS: dict[str, Callable[[pa.Table], Outcome]] = {
    "deduplicate": deduplicate,
    "batch": batch,
    "limit drop": limit_drop,
    "limit queue": limit_queue,
}
