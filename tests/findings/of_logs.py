"""What only the events of a log show."""

from __future__ import annotations

from typing import Any

import flowdsl as fd
from findings import ENTITY, FAN, Case, flow
from flowdsl.production.findings.from_log import LARGE_FAN_OUT

A, B = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"


def log(*events: dict[str, Any]) -> fd.MemoryEventLog:
    """A log of these events."""
    made = fd.MemoryEventLog()
    made.append(list(events), timestamp="2026-01-01T00:00:00Z")
    return made


def posts(*numbers: Any) -> fd.MemoryEventLog:
    """A post was created, with `data.n`, for each of these values."""
    return log(*(fd.entity_created("post", A, {"n": number}) for number in numbers))


def followers(count: int) -> fd.MemoryEventLog:
    """Somebody is followed by so many, and then likes something."""
    links = [fd.link_created("follows", f"fan-{i}", "star") for i in range(count)]
    return log(*links, fd.link_created("likes", "ann", "star"))


DEDUPLICATED = flow("deduplicate: {key: data.n, window: 1h}", on=ENTITY)
BATCHED = flow("batch: {key: data.n, window: 1h}", on=ENTITY)
EQUAL = flow("filter: {condition: data.n == 10}", on=ENTITY)
UNEQUAL = flow("filter: {condition: 'data.n != \"10\"'}", on=ENTITY)
FANNED = flow(FAN)

CASES = [
    Case(
        "ids-not-uuid",
        flow(),
        flow(),
        log(fd.link_created("likes", "ann", B)),
        log(fd.link_created("likes", A, B.upper())),
    ),
    Case("keys-collide", DEDUPLICATED, DEDUPLICATED, posts(1, "1"), posts(1, 1.0, "one")),
    Case("keys-collide", BATCHED, BATCHED, posts(True, "true"), posts("1", "2", "1")),
    Case("keys-split", DEDUPLICATED, DEDUPLICATED, posts(1, 1.0), posts(1, 1, "1.0")),
    Case("compared-across-types", EQUAL, EQUAL, posts(10, "10"), posts(10, 11, "eleven")),
    Case("compared-across-types", EQUAL, EQUAL, posts(10.0), posts(10.5)),
    Case("compared-across-types", UNEQUAL, UNEQUAL, posts(10), posts("10", 11)),
    Case("fan-out-large", FANNED, FANNED, followers(LARGE_FAN_OUT + 1), followers(LARGE_FAN_OUT)),
]
