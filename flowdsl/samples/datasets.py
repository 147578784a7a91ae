"""Synthetic log of a small product whose users post, follow, like and comment; reproducible for a seed.

Every event is drawn as numbers in columns; texts and ids are spelled out block by block on the way to disk,
so that ten million events need little memory. Links end, posts are edited and deleted, people sign up, some
events come late.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from flowdsl.errors import DataError
from flowdsl.log.table import report_rows
from flowdsl.progress import Progress, run_in_background, track
from flowdsl.samples.words import COMMENT, LINK, POST, USER, comments, json_rows, people, posts, uuids
from flowdsl.values.json_types import Ints, Mask

DAYS: Final = 30
_START: Final = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
_DAY: Final = 86_400_000_000
_BLOCK: Final = 200_000
# share of the work spent on drawing events; the rest is writing them
_DRAWING: Final = 0.3
FLOWS: Final = Path(__file__).with_name("flows.yaml")

LIKE, FOLLOW, COMMENTED, POSTED, OWNS, UNLIKE, UNFOLLOW, EDIT_POST, EDIT_USER, JOIN, DELETE_POST = range(11)
# probability of each kind; impossible ones (a link that exists, or is gone) become comments
_SHARES: Final = {
    LIKE: 0.54,
    FOLLOW: 0.15,
    COMMENTED: 0.14,
    UNLIKE: 0.04,
    UNFOLLOW: 0.03,
    EDIT_POST: 0.04,
    EDIT_USER: 0.02,
    JOIN: 0.03,
    DELETE_POST: 0.01,
}
_KINDS: Final = {
    LIKE: "link.created",
    FOLLOW: "link.created",
    OWNS: "link.created",
    UNLIKE: "link.deleted",
    UNFOLLOW: "link.deleted",
    COMMENTED: "entity.created",
    POSTED: "entity.created",
    JOIN: "entity.created",
    EDIT_POST: "entity.updated",
    EDIT_USER: "entity.updated",
    DELETE_POST: "entity.deleted",
}
_TYPES: Final = {
    LIKE: "likes",
    UNLIKE: "likes",
    FOLLOW: "follows",
    UNFOLLOW: "follows",
    OWNS: "owns",
    COMMENTED: "comment",
    POSTED: "post",
    EDIT_POST: "post",
    DELETE_POST: "post",
    JOIN: "user",
    EDIT_USER: "user",
}


@dataclass(frozen=True)
class Sample:
    """Paths of a sample: the log, the folder of the graph before its first event, and flows to replay."""

    log: Path
    graph: Path
    flows: Path


def write_sample(
    folder: str | os.PathLike[str], events: int = 20_000, seed: int = 1, *, progress: Progress = None
) -> Sample:
    """Write a sample of `events` events into a folder, and the same files for the same numbers every time.

    `events.parquet` is the log, `graph/` holds `entities/user.parquet`, `entities/post.parquet` and
    `links.parquet` as they were before it, `flows.yaml` flows that fit them. `progress` is as in `replay`.
    Raises `DataError` for fewer than 1 event.

    >>> import tempfile, flowdsl
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sample = write_sample(folder, events=500, seed=7)
    ...     result = flowdsl.replay(flowdsl.load(sample.flows), sample.log, flowdsl.read_graph(sample.graph))
    >>> result.sinks
    ('in-app', 'push', 'feed')
    """
    if events < 1:
        raise DataError(f"a sample of {events} events is none", allowed="at least 1 event")
    sample = sample_in(folder)
    (sample.graph / "entities").mkdir(parents=True, exist_ok=True)
    with track(progress, events, "sample") as follower:
        history = run_in_background(lambda: _History(events, np.random.default_rng(seed), np.uint64(seed)))
        drawn, written = follower.part(_DRAWING), follower.part(1 - _DRAWING)
        drawn(events)
        run_in_background(lambda: _write_graph(history, sample.graph))
        _write(report_rows(history.blocks(), written), sample.log)
    sample.flows.write_bytes(FLOWS.read_bytes())
    return sample


def _write_graph(history: _History, folder: Path) -> None:
    for kind in ("user", "post"):
        history.entities(kind).write_parquet(folder / "entities" / f"{kind}.parquet")
    history.links().write_parquet(folder / "links.parquet")


def sample_in(folder: str | os.PathLike[str]) -> Sample:
    """Return the paths of a sample in a folder, whether they exist or not."""
    path = Path(folder)
    return Sample(path / "events.parquet", path / "graph", path / "flows.yaml")


class _History:
    """Generated events as numbers: the kind of each event, the acting user, and the other end.

    Users, posts, comments and links are numbered in order of creation.
    """

    def __init__(self, events: int, rng: np.random.Generator, seed: np.uint64) -> None:
        self._rng, self._seed, self._size = rng, seed, events
        self._users, self._posts, self._follows = (
            max(8, events // 40),
            max(4, events // 60),
            max(8, events // 10),
        )
        self.kind = self._draw_kinds()
        self.users_before = self._users + _count_before(self.kind == JOIN)
        self.posts_before = self._posts + _count_before(self.kind == POSTED)
        self.author = self._draw_skewed(
            np.arange(1, self._posts + 1).clip(self._users // 2, self._users), 1.5
        )
        self.actor = self._draw_skewed(self.users_before, 1.3)
        self.author = np.concatenate([self.author, self.actor[self.kind == POSTED]])
        self.what = np.zeros(events, np.int64)
        self.link = np.full(events, -1, np.int64)
        self.what[self.kind == JOIN] = self.users_before[self.kind == JOIN]
        self.what[self.kind == EDIT_USER] = self.actor[self.kind == EDIT_USER]
        self.what[self.kind == POSTED] = self.posts_before[self.kind == POSTED]
        self._delete_posts()
        self._link(FOLLOW, UNFOLLOW, self._follow_pairs())
        self._link(LIKE, UNLIKE, None)
        self._own()
        self._comment()
        self.times = self._draw_times()

    def _draw_kinds(self) -> Ints:
        kind = self._rng.choice(list(_SHARES), size=self._size, p=list(_SHARES.values()))
        # a post, then the link to its author: at even places, so that pairs do not overlap
        even = np.flatnonzero(self._rng.random(self._size // 2) < 0.1) * 2
        kind[even], kind[even + 1] = POSTED, OWNS
        return kind.astype(np.int64)

    def _draw_times(self) -> Ints:
        even = np.sort(self._rng.random(self._size)) * DAYS
        # more events by day than by night
        days = np.sort(even + 0.8 / (2 * np.pi) * np.sin(2 * np.pi * even))
        times = _START + (days * _DAY).astype(np.int64)
        late = self._rng.random(self._size) < 0.003
        times[late] -= (self._rng.exponential(120e6, int(late.sum()))).astype(np.int64)
        return times

    def _draw_skewed(self, below: Ints, power: float) -> Ints:
        """Draw numbers below each limit, small ones more often."""
        return np.minimum((self._rng.random(len(below)) ** power * below).astype(np.int64), below - 1)

    def _recent_posts(self, rows: Ints) -> Ints:
        """Draw posts, mostly recent ones."""
        there = self.posts_before[rows]
        back = self._rng.exponential(4, len(rows)).astype(np.int64)
        seldom = self._rng.random(len(rows)) < 0.15
        back[seldom] = self._draw_skewed(there[seldom], 2)
        return (there - 1 - back).clip(0)

    def _delete_posts(self) -> None:
        rows = np.flatnonzero(self.kind == DELETE_POST)
        chosen = self._recent_posts(rows)
        first = _first(chosen)
        self.kind[rows[~first]] = COMMENTED
        self.what[rows[first]] = chosen[first]
        self.deleted_at = np.full(int(self.posts_before[-1]) + 2, self._size, np.int64)
        self.deleted_at[chosen[first]] = rows[first]
        edits = np.flatnonzero(self.kind == EDIT_POST)
        self.what[edits] = self._recent_posts(edits)
        self.kind[edits[self.deleted_at[self.what[edits]] < edits]] = COMMENTED

    def _follow_pairs(self) -> tuple[Ints, Ints]:
        """Draw the follows before the first event."""
        everyone = np.full(self._follows, self._users)
        source, target = self._draw_skewed(everyone, 1.1), self._draw_skewed(everyone, 2.2)
        keep = (source != target) & _first(source * self._users + target)
        return source[keep], target[keep]

    def _link(self, made: int, ended: int, before: tuple[Ints, Ints] | None) -> None:
        """Mark creations and deletions that are valid: each link is created once, and deleted once at
        most.
        """
        rows = np.flatnonzero(self.kind == made)
        source = self.actor[rows]
        target = self._draw_skewed(self.users_before[rows], 2.2) if made == FOLLOW else self._draw_likes(rows)
        held_source, held_target = before if before is not None else (rows[:0], rows[:0])
        pairs = np.concatenate([held_source, source]) * (1 << 32) + np.concatenate([held_target, target])
        good = _first(pairs)[len(held_source) :]
        good &= (source != target) if made == FOLLOW else np.True_
        self.kind[rows[~good]] = COMMENTED
        rows, source, target = rows[good], source[good], target[good]
        self.what[rows] = target
        number = len(held_source) + np.arange(len(rows))
        self.link[rows] = number
        if before is not None:
            self.follow_pairs = before
        self._end(ended, rows, np.concatenate([held_source, source]), np.concatenate([held_target, target]))

    def _draw_likes(self, rows: Ints) -> Ints:
        target = self._recent_posts(rows)
        gone = (self.deleted_at[target] < rows) & (self._rng.random(len(rows)) < 0.9)
        return np.where(gone, (target + 1).clip(0, self.posts_before[rows] - 1), target)

    def _end(self, ended: int, made: Ints, source: Ints, target: Ints) -> None:
        rows = np.flatnonzero(self.kind == ended)
        there = len(source) - len(made) + np.searchsorted(made, rows)
        recent = (self._rng.random(len(rows)) ** 0.3 * there).astype(np.int64)
        good = _first(recent) & (there > 0)
        self.kind[rows[~good]] = COMMENTED
        rows, which = rows[good], recent[good]
        self.link[rows], self.actor[rows], self.what[rows] = which, source[which], target[which]

    def _own(self) -> None:
        rows = np.flatnonzero(self.kind == OWNS)
        self.actor[rows], self.what[rows] = self.actor[rows - 1], self.what[rows - 1]
        self.link[rows] = self.what[rows]

    def _comment(self) -> None:
        rows = np.flatnonzero(self.kind == COMMENTED)
        self.what[rows] = np.arange(len(rows))
        self.commented = np.zeros(self._size, np.int64)
        self.commented[rows] = self._draw_likes(rows)

    def entities(self, kind: str) -> pl.DataFrame:
        """Return the users or posts before the first event."""
        if kind == "user":
            return people(np.arange(self._users), self._seed)
        return posts(np.arange(self._posts), self.author[: self._posts], self._seed)

    def links(self) -> pl.DataFrame:
        """Return the links before the first event: owners of posts, and follows."""
        source, target = self.follow_pairs
        owned = np.arange(self._posts)
        number = np.concatenate([_link_number(OWNS, owned), _link_number(FOLLOW, np.arange(len(source)))])
        return pl.DataFrame(
            {
                "link_type": ["owns"] * self._posts + ["follows"] * len(source),
                "link_id": uuids(LINK, number, self._seed),
                "source_id": uuids(USER, np.concatenate([self.author[: self._posts], source]), self._seed),
                "target_id": pl.concat([uuids(POST, owned, self._seed), uuids(USER, target, self._seed)]),
            }
        )

    def blocks(self) -> Iterator[pl.DataFrame]:
        """Yield the events as event tables."""
        for start in range(0, self._size, _BLOCK):
            yield self._block(np.arange(start, min(start + _BLOCK, self._size)))

    def _block(self, rows: Ints) -> pl.DataFrame:
        kind, what, actor, seed = self.kind[rows], self.what[rows], self.actor[rows], self._seed
        links, likes = np.isin(kind, (LIKE, UNLIKE, FOLLOW, UNFOLLOW, OWNS)), np.isin(kind, (LIKE, UNLIKE))
        on_user = np.isin(kind, (JOIN, EDIT_USER, FOLLOW, UNFOLLOW))
        space = np.where(on_user, USER, np.where(kind == COMMENTED, COMMENT, POST))
        number = np.where(likes, LIKE, np.where(kind == OWNS, OWNS, FOLLOW))
        subject = uuids(space, what, seed)
        types = pl.Series(kind).replace_strict(_TYPES, return_dtype=pl.String)
        link = pl.Series(links)
        app = pl.Series(np.where(what % 3 == 0, '{"app":"web"}', '{"app":"phone"}'))
        made = pl.Series(np.isin(kind, (LIKE, FOLLOW)))
        return pl.DataFrame(
            {
                "seq_no": rows + 1,
                "event_id": uuids(9, rows, seed),
                "timestamp": pl.Series(self.times[rows]).cast(pl.Datetime("us", "UTC")),
                "kind": pl.Series(kind).replace_strict(_KINDS, return_dtype=pl.String),
                "entity_type": _where(~link, types),
                "entity_id": _where(~link, subject),
                "link_type": _where(link, types),
                "link_id": _where(link, uuids(LINK, _link_number(number, self.link[rows]), seed)),
                "source_id": _where(link, uuids(USER, actor, seed)),
                "target_id": _where(link, subject),
                "data": self._data(rows),
                "metadata": _where(made, app),
            }
        )

    def _data(self, rows: Ints) -> pl.Series:
        kind, what, seed = self.kind[rows], self.what[rows], self._seed
        user, post = np.isin(kind, (JOIN, EDIT_USER)), np.isin(kind, (POSTED, EDIT_POST))
        parts = [
            (user, people(what[user], seed, edited=kind[user] == EDIT_USER)),
            (post, posts(what[post], self.author[what[post]], seed, edited=kind[post] == EDIT_POST)),
        ]
        comment = kind == COMMENTED
        parts.append(
            (comment, comments(what[comment], self.actor[rows][comment], self.commented[rows][comment], seed))
        )
        found = np.full(len(rows), None, object)
        for mask, frame in parts:
            found[mask] = json_rows(frame.drop("id")).to_list()
        return pl.Series("data", found.tolist(), dtype=pl.String)


def _count_before(mask: Mask) -> Ints:
    """Return the number of True values before each place."""
    return np.cumsum(mask) - mask


def _first(values: Ints) -> Mask:
    """Mark the first occurrence of each value."""
    first = np.zeros(len(values), np.bool_)
    first[np.unique(values, return_index=True)[1]] = True
    return first


def _link_number(kind: int | Ints, number: Ints) -> Ints:
    """Return a unique number for a link of any type."""
    return number * 16 + kind


def _where(mask: pl.Series, values: pl.Series) -> pl.Series:
    return pl.select(pl.when(mask).then(values)).to_series()


def _write(blocks: Iterator[pl.DataFrame], path: Path) -> None:
    import pyarrow.parquet as pq

    writer = None
    try:
        for block in blocks:
            table = block.to_arrow(compat_level=pl.CompatLevel.oldest())
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd", compression_level=1)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
