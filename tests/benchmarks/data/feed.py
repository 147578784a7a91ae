"""Workload B: posts reach the followers that their authors have at that moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from tests.benchmarks.data.ids import constant, skewed, take, timestamps, utc, uuids

POSTS = 137_657
LINKS = 3_000_000


@dataclass(frozen=True)
class Feed:
    """The snapshot before the first event, and the log of posts, follows and unfollows."""

    users: pa.Table
    links: pa.Table
    events: pa.Table


@dataclass(frozen=True)
class _Changes:
    """When each link appears in the log and when it goes: -1 for never."""

    start: np.ndarray
    end: np.ndarray


def feed(posts: int = POSTS, links: int = LINKS, *, ends: bool, seed: int = 11, days: float = 30.0) -> Feed:
    """Make a feed of which all links are there from the start, or of which half come and many go in the log.

    Of a hundred links that come in the log a few are links known already: they are replaced and go last.
    """
    rng = np.random.default_rng(seed)
    n_users = max(links // 30, 100)
    user_ids = uuids(n_users, rng)
    users = pa.table(
        {"id": user_ids, "name": pa.array([f"User {i:06d}" for i in range(n_users)], pa.large_string())}
    )
    follower, author = _pairs(n_users, links, rng)
    times = timestamps(posts, days * 86_400.0, rng)
    if not ends:
        snapshot = np.arange(len(follower))
        changes = _Changes(np.full(0, -1), np.full(0, -1))
    else:
        start, end = _lives(len(follower), times[0], times[-1], rng)
        snapshot = np.flatnonzero(start < 0)
        changes = _Changes(start, end)
    events = _log(user_ids, follower, author, changes, times, rng)
    table = pa.table(
        {
            "link_type": constant("follows", len(snapshot)),
            "source_id": take(user_ids, follower[snapshot]),
            "target_id": take(user_ids, author[snapshot]),
        }
    )
    return Feed(users, table, events)


def waves(of: Feed, count: int, *, seed: int = 12, days: float = 30.0) -> pa.Table:
    """Make events of another type of link, half of them along links of the snapshot."""
    rng = np.random.default_rng(seed)
    users, links = of.users["id"].combine_chunks(), of.links
    index = pl.Series(users).cast(pl.String)
    along = rng.integers(0, links.num_rows, count)
    drawn = rng.random(count) < 0.5
    ends = {}
    for name, power in (("source_id", 1.0), ("target_id", 1.9)):
        known = pl.Series(take(links[name].combine_chunks(), along)).cast(pl.String)
        ends[name] = known.zip_with(pl.Series(drawn), index[skewed(len(index), count, power, rng)])
    return pa.table(
        {
            "seq_no": pa.array(np.arange(1, count + 1)),
            "timestamp": utc(timestamps(count, days * 86_400.0, rng)),
            "kind": constant("link.created", count),
            "link_type": constant("waves", count),
            **{name: text.to_arrow().cast(pa.large_string()) for name, text in ends.items()},
        }
    )


def _pairs(n_users: int, links: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw pairs (follower, author), each once, in random order; some authors are much more followed than others."""
    follower = rng.integers(0, n_users, int(links * 1.05))
    author = skewed(n_users, len(follower), 1.9, rng)
    _, first = np.unique(follower * n_users + author, return_index=True)
    keep = np.sort(first[follower[first] != author[first]])[:links]
    return follower[keep], author[keep]


def _lives(count: int, first: int, last: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Let half of the links start within the log, and a third end there."""
    span = last - first
    start = np.where(rng.random(count) < 0.5, -1, first + (rng.random(count) * span).astype(np.int64))
    born = np.maximum(start, first)
    life = (rng.exponential(1.8, count) * span).astype(np.int64) + 1
    end = np.where(born + life < last, born + life, -1)
    return start, end


def _log(
    users: pa.Array,
    follower: np.ndarray,
    author: np.ndarray,
    changes: _Changes,
    times: np.ndarray,
    rng: np.random.Generator,
) -> pa.Table:
    """Merge posts, new links (some of them known already) and ends into one table in order of time."""
    posts = len(times)
    started, ended = np.flatnonzero(changes.start >= 0), np.flatnonzero(changes.end >= 0)
    again = started[rng.random(len(started)) < 0.02]
    again_at = changes.start[again] + rng.integers(1, 86_400_000_000, len(again))
    link = np.concatenate([np.full(posts, -1), started, again, ended])
    at = np.concatenate([times, changes.start[started], again_at, changes.end[ended]])
    what = np.concatenate([np.full(posts, 0), np.full(len(started) + len(again), 1), np.full(len(ended), 2)])
    order = np.argsort(at, kind="stable")
    link, at, what = link[order], at[order], what[order]
    is_post = what == 0
    documents = _documents(users, posts, rng)
    post_number = np.where(is_post, np.cumsum(is_post) - 1, -1)
    index = pa.array(post_number, mask=~is_post)
    link_index = pa.array(np.where(is_post, 0, link), mask=is_post)
    kinds = pa.array(["entity.created", "link.created", "link.deleted"], pa.large_string())
    return pa.table(
        {
            "seq_no": pa.array(np.arange(1, len(at) + 1)),
            "timestamp": utc(at),
            "kind": kinds.take(pa.array(what)),
            "entity_type": pa.array(["post"], pa.large_string()).take(
                pa.array(np.zeros(len(at), np.int64), mask=~is_post)
            ),
            "entity_id": uuids(posts, rng).take(index),
            "link_type": pa.array(["follows"], pa.large_string()).take(
                pa.array(np.zeros(len(at), np.int64), mask=is_post)
            ),
            "source_id": users.take(pa.array(follower)).take(link_index),
            "target_id": users.take(pa.array(author)).take(link_index),
            "data": documents.take(index),
        }
    )


def _documents(users: pa.Array, posts: int, rng: np.random.Generator) -> pa.Array:
    """Give each post's data as JSON text, with its title and its author; a few authors have no followers at all."""
    drawn = skewed(len(users), posts, 2.05, rng)
    authors = take(
        pa.concat_arrays([users, uuids(10, rng)]), np.where(rng.random(posts) < 0.01, len(users), drawn)
    ).to_pylist()
    length = rng.integers(1, 5, posts).tolist()
    words = ["on", "rivers", "été", "maps", "\\u00e9tude", "bread", "time", "日本"]
    rows = [
        f'{{"title": "Note {i} {" ".join(words[(i + k) % 8] for k in range(n))}", "author_id": "{author}", "words": {n * 100}}}'
        for i, (author, n) in enumerate(zip(authors, length, strict=True))
    ]
    return pa.array(rows, pa.large_string())
