"""What only the events of a log show."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl

import flowdsl as fd
from findings import ENTITY, FAN, Case, flow
from flowdsl import on
from flowdsl.findings.from_log import LARGE_FAN_OUT
from flowdsl.findings.histories import MANY

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
    made = fd.MemoryEventLog()
    link = {"kind": "link.created", "timestamp": "2026-01-01T00:00:00Z", "target_id": "star"}
    fans = pl.select(source_id=pl.format("fan-{}", pl.int_range(count)), link_type=pl.lit("follows"))
    made.append(fans.with_columns(**{name: pl.lit(value) for name, value in link.items()}))
    made.append(fd.link_created("likes", "ann", "star"), timestamp=link["timestamp"])
    return made


def unfollows(count: int, met: int) -> fd.MemoryEventLog:
    """So many deletions of links that nobody made, and some of links that were made."""
    made = [fd.link_created("follows", f"fan-{i}", "star") for i in range(met)]
    ended = [fd.link_deleted("follows", f"fan-{i}", "star") for i in range(met)]
    return log(*made, *ended, *(fd.link_deleted("follows", "ann", f"nobody-{i}") for i in range(count)))


def likes(without: int, others: int) -> fd.MemoryEventLog:
    """Likes without a key, and others with one."""
    keyed = [fd.link_created("likes", "ann", f"post-{i}", metadata={"k": i}) for i in range(others)]
    return log(*[fd.link_created("likes", "ann", "star")] * without, *keyed)


def liked_posts(count: int) -> fd.MemoryEventLog:
    """A person likes a post so often."""
    ends = [fd.entity_created("user", "ann", {}), fd.entity_created("post", "p1", {})]
    return log(*ends, *[fd.link_created("likes", "ann", "p1")] * count)


def dated(*hours: float) -> fd.MemoryEventLog:
    """Likes at so many hours after the beginning of 2026."""
    made = fd.MemoryEventLog()
    begin = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    for hour in hours:
        made.append(fd.link_created("likes", "ann", "star"), timestamp=begin + dt.timedelta(hours=hour))
    return made


LIMITED = on("link.created").rate_limit(1, per="1h", key="metadata.k").map(t="x").deliver("s")
DEDUPLICATED = flow("deduplicate: {key: data.n, window: 1h}", on=ENTITY)
BATCHED = flow("batch: {key: data.n, window: 1h}", on=ENTITY)
EQUAL = flow("filter: {condition: data.n == 10}", on=ENTITY)
UNEQUAL = flow("filter: {condition: 'data.n != \"10\"'}", on=ENTITY)
FANNED = flow(FAN)

OPEN = on("entity.created").where("data.n == 'open'").map(t="x").deliver("s")

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
    Case("keys-null", DEDUPLICATED, DEDUPLICATED, posts(*[None] * MANY), posts(*[None] * (MANY - 1))),
    Case("keys-null", BATCHED, EQUAL, posts(*[None] * MANY, *[1] * 90), posts(*[None] * MANY)),
    Case("keys-null", LIMITED, LIMITED, likes(MANY, 90), likes(MANY, 91)),
    Case("deletions-unmatched", FANNED, FANNED, unfollows(MANY, 0), unfollows(MANY - 1, 0)),
    Case("deletions-unmatched", FANNED, FANNED, unfollows(MANY, 90), unfollows(MANY, 91)),
    # the clock of one event jumps; many old events come after one that is like those before it
    Case("future-event", FANNED, FANNED, dated(0, 9000, *[1] * MANY), dated(0, 9000, *[1] * (MANY - 1))),
    Case("future-event", FANNED, FANNED, dated(5000, *[1] * MANY), dated(4999.5, 5000, *[1] * MANY)),
    # names and values that nothing in log and graph has
    Case(
        "unknown-type",
        on("link.created", link_type="like").map(t="x").deliver("s"),
        on("link.created", link_type="likes").map(t="x").deliver("s"),
        likes(1, 0),
        likes(1, 0),
    ),
    Case(
        "unknown-type",
        on("link.created").fan_out("target_id", via="follow", as_="f").map(t="x").deliver("s"),
        on("link.created").fan_out("target_id", via="follows", as_="f").map(t="x").deliver("s"),
        followers(1),
        followers(1),
    ),
    Case("unknown-value", OPEN, OPEN, posts(*["opened"] * MANY), posts(*["opened"] * (MANY - 1), "open")),
    Case("unknown-value", OPEN, OPEN, posts(*[1] * MANY), posts(*["open"] * MANY)),
    Case(
        "recipient-no-person",
        on("link.created").map(recipient_id="{{ target_id }}").deliver("s"),
        on("link.created").map(recipient_id="{{ source_id }}").deliver("s"),
        liked_posts(MANY),
        liked_posts(MANY),
    ),
    Case(
        "unknown-attribute",
        on("entity.created").where("data.m != 1").map(t="x").deliver("s"),
        on("entity.created").where("data.n != 1").map(t="x").deliver("s"),
        posts(*[1] * MANY),
        posts(*[1] * MANY),
    ),
]
