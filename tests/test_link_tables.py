"""Links that are forgotten some at a time: whatever is asked is answered as if none had been."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowdsl.graph import link_blocks, links
from flowdsl.graph.links import LinkTable
from flowdsl.graph.sorted_run import ALIVE
from flowdsl.values.json_extraction import Documents
from flowdsl.values.json_types import MISSING, Tag
from flowdsl.values.state_objects import StateReader

IDS = 6
DIRECTIONS = ("forward", "reverse")


class Remembered:
    """Links as a list of which nothing is ever left out: source, target, and between which numbers each lives."""

    def __init__(self) -> None:
        self.links: list[list[int]] = []

    def alive(self, seen: int) -> list[int]:
        return [n for n, (_, _, born, died) in enumerate(self.links) if born <= seen < died]

    def others(self, direction: str, code: int, seen: int) -> list[int]:
        near, far = (0, 1) if direction == "forward" else (1, 0)
        return [self.links[n][far] for n in self.alive(seen) if self.links[n][near] == code]

    def first(self, direction: str, code: int, seen: int) -> int | None:
        near = 0 if direction == "forward" else 1
        return next((n for n in self.alive(seen) if self.links[n][near] == code), None)

    def fork(self) -> Remembered:
        forked = Remembered()
        forked.links = [list(link) for link in self.links]
        return forked


def codes(values: Any) -> Any:
    return np.array(values, np.int32)


def seqs(values: Any) -> Any:
    return np.array(values, np.int64)


def numbered(start: int, count: int) -> Documents:
    """Metadata that says the number of each link."""
    return Documents(
        pl.Series([f'{{"n": {start + i}}}' for i in range(count)], dtype=pl.String), none=Tag.MISSING
    )


def assert_same(table: LinkTable, known: Remembered, moments: range) -> None:
    """All look-ups for all ids, at moments of the last chunk or behind it."""
    ids = codes([code for code in range(IDS) for _ in moments])
    seen = seqs([moment for _ in range(IDS) for moment in moments])
    for direction in DIRECTIONS:
        expected = [known.others(direction, code, moment) for code, moment in zip(ids, seen, strict=True)]
        rows, others = table.expand(direction, ids, seen)
        found: list[list[int]] = [[] for _ in ids]
        for row, other in zip(rows.tolist(), others.tolist(), strict=True):
            found[row].append(other)
        assert found == expected
        assert table.first(direction, ids, seen).tolist() == [(each or [0])[0] for each in expected]
        assert (table.most(direction, ids) >= list(map(len, expected))).all()
        counts = table.counts(direction, ids, seen)
        assert counts.tolist() == list(map(len, expected))
        first = [known.first(direction, code, moment) for code, moment in zip(ids, seen, strict=True)]
        fields = table.first_metadata(direction, ids, seen, ("n",)).values()
        assert fields == [MISSING if n is None else n for n in first]
    asked = [(s, t, moment) for s in range(IDS) for t in range(IDS) for moment in moments]
    linked = table.linked(
        *(codes([each[end] for each in asked]) for end in (0, 1)), seqs([m for *_, m in asked])
    )
    assert linked.tolist() == [t in known.others("forward", s, moment) for s, t, moment in asked]
    now = known.alive(ALIVE - 1)
    pairs = [(source, target) for source in range(IDS) for target in range(IDS)]
    rows, numbers = table.between(codes([s for s, _ in pairs]), codes([t for _, t in pairs]))
    found_between = sorted(
        (pairs[row], number) for row, number in zip(rows.tolist(), numbers.tolist(), strict=True)
    )
    assert found_between == sorted(((known.links[n][0], known.links[n][1]), n) for n in now)
    assert table.alive(np.arange(len(known.links))).tolist() == [n in now for n in range(len(known.links))]
    assert [ends.tolist() for ends in table.ends] == [[known.links[n][end] for n in now] for end in (0, 1)]


def again(table: LinkTable) -> LinkTable:
    """What a state file has of a table."""
    source = StateReader(lambda _: b"", {"interner": range(IDS), "hints": ()})
    restored: LinkTable = LinkTable.from_fields(table.to_fields(), source)
    restored.largest = table.largest
    return restored


@pytest.fixture(autouse=True)
def few_are_many() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(link_blocks, "DEAD_ABOVE", 1)
        yield


@settings(max_examples=25 * settings().max_examples // 20)
@given(
    seed=st.randoms(use_true_random=False),
    before=st.integers(0, 40),
    largest=st.sampled_from([2, 7, 16, links.UNBOUNDED]),
)
def test_a_table_that_forgets_in_steps_answers_as_if_it_remembered_all(
    seed: random.Random, before: int, largest: int
) -> None:
    def ends(count: int) -> Any:
        return codes([seed.randrange(1, IDS) for _ in range(count)])

    table, known, now = LinkTable.of(ends(before), ends(before)), Remembered(), 0
    known.links = [[*pair, -1, ALIVE] for pair in zip(*(each.tolist() for each in table.ends), strict=True)]
    table = table.fork()
    for use in links.USES:
        if use == links.METADATA:
            table.document(numbered(0, before))
        table.prepare(use)
    table.largest = largest
    forks: list[tuple[LinkTable, Remembered, int]] = []
    for _ in range(15):
        start = now
        for _ in range(seed.randrange(4)):
            now += 1
            # some have ended before, and are met again
            chosen = sorted(seed.sample(range(len(known.links)), seed.randrange(len(known.links) // 2 + 1)))
            ended = table.kill(seqs(chosen), np.full(len(chosen), now))
            assert ended.tolist() == [known.links[n][3] == ALIVE for n in chosen]
            for number in np.array(chosen, int)[ended].tolist():
                known.links[number][3] = now
            count = seed.randrange(min(largest, 8))
            made, died = [ends(count), ends(count)], [seed.choice([ALIVE, now + 1]) for _ in range(count)]
            lives = np.full(count, now), seqs(died), numbered(len(known.links), count)
            assert table.add(*made, *lives) == len(known.links)
            known.links += [[*pair, now, end] for *pair, end in zip(*made, died, strict=True)]
            now += 1
        assert_same(table, known, range(start, now + 1))
        table.commit()
        moved = table.moved
        table.tidy()
        assert table.moved - moved <= max(largest // 2, 1)
        assert_same(table, known, range(now, now + 1))
        chance = seed.random()
        if chance < 0.2:
            forks.append((table.fork(), known.fork(), now))
        elif chance < 0.3:
            table = again(table)
    for fork, then, moment in forks:
        assert_same(fork, then, range(moment, moment + 1))


def test_over_ever_new_links_no_step_moves_many_and_blocks_stay_few() -> None:
    """A thousand links live, of which half were there before; each batch has ten new ones, and as many end."""
    rng = np.random.default_rng(1)
    largest, lives, batch = 64, 1000, 10
    table = LinkTable.of(codes(rng.integers(1, IDS, lives)), codes(rng.integers(1, IDS, lives)))
    table.prepare("forward")
    table.largest = largest
    alive, moved = np.arange(lives), 0
    for now in range(1, 1000):
        gone = rng.permutation(len(alive))[:batch]
        assert table.kill(alive[gone], np.full(batch, now)).all()
        made = codes(rng.integers(1, IDS, batch))
        start = table.add(made, made, np.full(batch, now), np.full(batch, ALIVE))
        alive = np.concatenate([np.delete(alive, gone), np.arange(start, start + batch)])
        for step in (table.commit, table.tidy):
            before = table.moved
            step()
            assert table.moved - before <= largest
            moved += table.moved - before
        assert table.alive(alive).all()
        assert table.size < 3 * lives
        assert table.blocks < 6 * lives // largest
    assert table.size < 2 * lives
    assert moved < 20 * batch * 1000


def test_what_ends_at_once_in_a_large_block_is_left_out_over_several_steps() -> None:
    table = LinkTable.of(codes([1] * 40), codes([2] * 40))
    table.largest = 16
    table.kill(np.arange(30), np.full(30, 1))
    table.commit()
    assert table.size == 40
    steps = 0
    while table.tidy():
        steps += 1
    assert steps == 5
    assert table.size == 10
