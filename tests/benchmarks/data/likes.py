"""Workloads A, C, E, I and M: users like posts; posts have owners, but not all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.data.ids import constant, skewed, take, timestamps, utc, uuids

COUNTRIES = ["FR", "DE", "ES", "IT", "GB", "US", "BR", "JP"]
DAY = 86_400.0


@dataclass(frozen=True)
class LikesGraph:
    """The snapshot before the first event, and the ids that events draw from."""

    users: pa.Table
    posts: pa.Table
    links: pa.Table
    fans: pa.Array
    targets: pa.Array
    owner_of: np.ndarray  # index into fans of each target's first owner, or -1


@dataclass(frozen=True)
class Likes:
    """A graph and a log of likes over it."""

    graph: LikesGraph
    events: pa.Table


def graph(seed: int = 1, scale: float = 1.0) -> LikesGraph:
    """Make 100,000 users, 500,000 posts and 500,000 `owns` links (times `scale`); one post in seven has no owner.

    Some posts have two owners, some owners and some fans are not entities: all of that must be told apart.
    """
    rng = np.random.default_rng(seed)
    n_users, n_posts = int(100_000 * scale), int(500_000 * scale)
    user_ids, post_ids, strangers = (
        uuids(n_users, rng),
        uuids(n_posts, rng),
        uuids(max(n_users // 100, 1), rng),
    )
    people = pa.concat_arrays([user_ids, strangers])
    users = pa.table(
        {
            "id": user_ids,
            "name": _names(n_users, rng),
            "country": take(
                pa.array(COUNTRIES, pa.large_string()), skewed(len(COUNTRIES), n_users, 1.5, rng)
            ),
            "tier": take(pa.array(["free", "plus", "pro"], pa.large_string()), skewed(3, n_users, 2.0, rng)),
            "score": pa.array(rng.integers(0, 1000, n_users)),
        }
    )
    topics = pa.array([f"topic-{i}" for i in range(40)], pa.large_string())
    titles = pa.array([f"Post number {i}" for i in range(n_posts)], pa.large_string())
    posts = pa.table({"id": post_ids, "title": titles, "topic": take(topics, skewed(40, n_posts, 1.5, rng))})
    owned = rng.permutation(n_posts)[: int(n_posts * 0.86)]
    again = rng.choice(owned, n_posts - len(owned))
    link_post = np.concatenate([owned, again])
    link_user = skewed(n_users, n_posts, 1.2, rng)
    link_user[rng.random(n_posts) < 0.004] = n_users  # an owner that is not an entity
    order = rng.permutation(n_posts)
    link_post, link_user = _distinct(link_post[order], link_user[order], n_users)
    links = pa.table(
        {
            "link_type": constant("owns", len(link_post)),
            "source_id": take(people, link_user),
            "target_id": take(post_ids, link_post),
        }
    )
    owner_of = np.full(n_posts, -1)
    owner_of[link_post[::-1]] = link_user[::-1]
    return LikesGraph(users, posts, links, people, post_ids, owner_of)


def events(
    of: LikesGraph, count: int, seed: int = 2, days: float = 14.0, first: int = 1, power: float = 1.4
) -> pa.Table:
    """Make `count` likes in order; 1 % by strangers, about 5 % by the post's owner.

    The greater the power, the more likes go to few posts: at 4, a post in half a million gets 4 % of them.
    """
    rng = np.random.default_rng([seed, first])
    target = skewed(len(of.targets), count, power, rng)
    source = skewed(of.users.num_rows, count, 1.3, rng)
    source = np.where(rng.random(count) < 0.01, of.users.num_rows + rng.integers(0, 10, count), source)
    source = np.minimum(source, len(of.fans) - 1)
    own = (rng.random(count) < 0.06) & (of.owner_of[target] >= 0)
    source = np.where(own, of.owner_of[target], source)
    return pa.table(
        {
            "seq_no": pa.array(np.arange(first, first + count)),
            "timestamp": utc(timestamps(count, days * DAY, rng)),
            "kind": constant("link.created", count),
            "link_type": constant("likes", count),
            "source_id": take(of.fans, source),
            "target_id": take(of.targets, target),
        }
    )


def likes(count: int, seed: int = 1, days: float = 14.0, scale: float = 1.0) -> Likes:
    """Make the graph and `count` events over it."""
    of = graph(seed, scale)
    return Likes(of, events(of, count, seed + 1, days))


def write_long_log(of: LikesGraph, path: Path, count: int, *, seed: int = 3, shuffled: bool = False) -> None:
    """Write a Parquet log in row groups of 250,000 events, never holding more than one of them.

    A shuffled log has no `seq_no` and its timestamps are out of order, within row groups and between them.
    """
    with pq.ParquetWriter(path, next(_groups(of, 1, seed, shuffled)).schema, compression="zstd") as writer:
        for group in _groups(of, count, seed, shuffled):
            writer.write_table(group)


def _groups(of: LikesGraph, count: int, seed: int, shuffled: bool) -> Iterator[pa.Table]:
    size, group_seconds = 250_000, DAY
    rng = np.random.default_rng(seed)
    for number, first in enumerate(range(0, count, size)):
        rows = min(size, count - first)
        table = events(of, rows, seed, days=1.0, first=first + 1)
        shift = int(number * group_seconds * 1e6)
        times = table["timestamp"].cast(pa.int64()).to_numpy() + shift
        if shuffled:
            times = times + rng.integers(-3 * 86_400_000_000, 3 * 86_400_000_000, rows)
            table = table.drop_columns("seq_no")
        yield table.set_column(table.schema.get_field_index("timestamp"), "timestamp", utc(times))


def _distinct(post: np.ndarray, user: np.ndarray, n_users: int) -> tuple[np.ndarray, np.ndarray]:
    """Keep the first link of each (user, post): a second one would be the same link anew."""
    _, first = np.unique(post * (n_users + 1) + user, return_index=True)
    first.sort()
    return post[first], user[first]


def _names(count: int, rng: np.random.Generator) -> pa.Array:
    given = ["Ada", "Zoë", "Émile", "Noor", "Jürgen", "Mei", "Tomás", "Olga", "Sam", "Łucja"]
    draw = rng.integers(0, len(given), count)
    return pa.array([f"{given[d]} {i:06d}" for i, d in enumerate(draw.tolist())], pa.large_string())


def with_late(table: pa.Table, share: float = 0.005, seed: int = 5) -> pa.Table:
    """Set the timestamps of a few events back by up to two minutes, so that the log clock matters."""
    rng = np.random.default_rng(seed)
    times = table["timestamp"].cast(pa.int64()).to_numpy()
    late = np.where(rng.random(len(times)) < share, rng.integers(0, 120_000_000, len(times)), 0)
    return table.set_column(table.schema.get_field_index("timestamp"), "timestamp", utc(times - late))
