"""A live run forgets ids, keys and links that nothing refers to any more, and nothing that comes of it changes."""

from __future__ import annotations

import datetime as dt
import random
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from benchmarks import live_memory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_runs import assert_told_the_same, live, pieces
from strategies import SLIPS_ARE_LIKELY, Case, cases

import flowdsl as fd
from flowdsl.engine import collection
from flowdsl.graph import link_blocks, past, state
from flowdsl.graph.entities import EntityIndex
from flowdsl.graph.link_keys import LinkKeys, LinkKeyTables
from flowdsl.graph.versions import Compaction, VersionStore
from flowdsl.kernels import key_memory
from flowdsl.kernels.buckets import Buckets
from flowdsl.kernels.token_buckets import DropBucket
from flowdsl.live import log_cursor
from flowdsl.operators import deduplicate
from flowdsl.values import key_collection
from flowdsl.values.interner import Interner
from flowdsl.values.json_extraction import Documents
from flowdsl.values.key_collection import Forgetting
from flowdsl.values.state_objects import StateReader

pytestmark = SLIPS_ARE_LIKELY

ENDLESS = 1 << 40
same_fixture = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=[2])
def everything_is_forgotten(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of one or three events, and after each whatever can be forgotten is."""
    monkeypatch.setattr(log_cursor, "MOST", request.param)
    monkeypatch.setattr(key_collection, "LEAST", 0)
    monkeypatch.setattr(key_collection, "FEWEST", ENDLESS)
    monkeypatch.setattr(key_collection, "MOST", ENDLESS)
    monkeypatch.setattr(link_blocks, "DEAD_ABOVE", 0)
    monkeypatch.setattr(link_blocks, "FAR_APART", 0)
    monkeypatch.setattr(collection, "LARGEST", 4)
    monkeypatch.setattr(state, "COMPACT_ABOVE", 0)
    monkeypatch.setattr(past, "LARGE", 0)
    monkeypatch.setattr(past, "COPIED", 3)
    monkeypatch.setattr(key_memory, "TOGETHER", 2)
    monkeypatch.setattr(key_memory, "LARGEST", 4)
    monkeypatch.setattr(deduplicate, "TOGETHER", 2)
    monkeypatch.setattr(deduplicate, "LARGEST", 4)


@settings(same_fixture, max_examples=3)
@given(case=cases(), schedule=pieces)
def test_a_run_that_forgets_after_each_batch_tells_what_a_replay_tells(
    everything_is_forgotten: None, case: Case, schedule: Any
) -> None:
    assert_told_the_same(live(case, schedule, fd.MemoryEventLog()))


@settings(same_fixture, max_examples=1)
@given(case=cases(), schedule=pieces)
def test_its_checkpoints_are_whole(everything_is_forgotten: None, case: Case, schedule: Any) -> None:
    with tempfile.TemporaryDirectory() as folder, fd.ParquetEventLog(Path(folder) / "log", "none") as log:
        assert_told_the_same(live(case, schedule, log))


def test_over_ever_new_ids_a_run_keeps_only_what_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_cursor, "MOST", 500)
    monkeypatch.setattr(key_collection, "LEAST", 1 << 8)
    monkeypatch.setattr(state, "COMPACT_ABOVE", 1 << 8)
    log = fd.MemoryEventLog()
    for second in range(0, 600, 10):
        log.append(live_memory.events(second, 200))
    now = live_memory.BEGIN + dt.timedelta(seconds=600)
    sinks = {"count": live_memory.Counting()}
    # while a checkpoint is written nothing is forgotten
    runtime = fd.Runtime(live_memory.flows(), log, sinks=sinks, clock=lambda: now, checkpoint_every=3600)
    run = runtime.run_until_idle()._live
    assert run is not None
    assert sinks["count"].count > 5_000
    graph, lives = run.local.graph, 1200
    # of 20 seconds, which is what windows and limits remember, there are 60 lives
    assert graph.interner.table.in_use < 5 * lives // 3
    assert len(graph.interner) < 5 * lives // 3
    assert graph.tables.ids.table.in_use < lives // 4
    assert graph.tables.pairs["wrote"].in_use < lives // 4
    assert graph.links["wrote"].size < lives // 4
    for one in run.local.steps:
        space = one.kernel.space
        assert space is None or all(table.in_use < lives for table in space.tables)


@pytest.mark.parametrize("seed", range(4))
def test_codes_that_are_held_keep_their_texts(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts come and go at random; a code is given anew only where nobody has it."""
    rng = random.Random(seed)
    monkeypatch.setattr(key_collection, "LEAST", rng.choice([0, 10, 100]))
    monkeypatch.setattr(key_collection, "FEWEST", rng.choice([1, 7, 50, ENDLESS]))
    interner, held, newest = Interner(), {}, 0
    rounds = Forgetting(
        interner.table, lambda: [np.array(list(held.values()), np.int32)], interner.forget, first=1
    )
    for step in range(120):
        texts = [f"text {rng.randrange(newest + 50)}" for _ in range(rng.choice([1, 3, 40, 400]))]
        newest += rng.choice([0, 1, 20])
        codes = interner.intern(pl.Series([*texts, None], dtype=pl.String)).tolist()
        assert codes.pop() == 0
        assert all(held.get(text, code) == code for text, code in zip(texts, codes, strict=True))
        held.update(pair for pair in zip(texts, codes, strict=True) if rng.random() < 0.5)
        held = {text: code for text, code in held.items() if rng.random() < 0.9}
        rounds.step()
        if held:
            assert interner.texts(np.array(list(held.values()))).to_list() == list(held)
            assert interner.find(pl.Series(list(held))).tolist() == list(held.values())
        if step % 40 == 39:
            again = Interner.from_fields({"pieces": interner.pieces}, StateReader(lambda _: b""))
            assert again.texts(np.arange(len(again))).equals(pl.concat(interner.pieces))
            assert again.table.in_use == interner.table.in_use
    assert rounds.rounds


@settings(max_examples=6)
@given(seed=st.randoms(use_true_random=False), most=st.integers(1, 9))
def test_versions_are_moved_some_at_a_time_while_others_come(seed: random.Random, most: int) -> None:
    """A store that forgets in steps reads as one that forgets nothing, and no step moves more than it may."""
    interner = Interner()
    store, whole = VersionStore(interner), VersionStore(interner)
    store.largest = 8
    # the versions in use: what each is in the store that forgets nothing
    held: dict[int, int] = {}
    compaction: Compaction | None = None

    def add(count: int) -> None:
        documents = pl.Series([f'{{"n": {whole.size + place}}}' for place in range(count)])
        codes = interner.intern(pl.Series([f"id {seed.randrange(20)}" for _ in range(count)]))
        start, number = store.add(Documents(documents), codes), whole.add(Documents(documents), codes)
        held.update({start + place: number + place for place in range(count)})

    def in_use() -> list[Any]:
        return [np.array([*held], np.int32)]

    def current(known: list[int]) -> Iterator[Any]:
        # what has gone when its turn comes is not said
        for start in range(0, len(known), 3):
            some = [version for version in known[start : start + 3] if version in held]
            yield np.array([*some, -1, -2], np.int32)

    for _ in range(12):
        add(seed.randrange(1, 9))
        held = {new: old for new, old in held.items() if seed.random() < 0.8}
        compaction = compaction or store.compaction(current([*held]), in_use)
        before = compaction.gathered
        done = compaction.step(most)
        assert compaction.gathered - before <= most
        if done:
            mapping, compaction = compaction.finish(), None
            assert mapping[[-1, -2]].tolist() == [-1, -2]
            held = {int(mapping[new]): old for new, old in held.items()}
        if held:
            found, expected = (np.array(list(each), np.int32) for each in (held, held.values()))
            assert store.column(("n",), found).values() == whole.column(("n",), expected).values()
            assert store.column(("id",), found).values() == whole.column(("id",), expected).values()
        assert all(len(block) <= 8 for block in store._blocks)


@pytest.fixture
def copied_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays of any size are copied ahead of need, three rows at a time."""
    monkeypatch.setattr(past, "LARGE", 0)
    monkeypatch.setattr(past, "COPIED", 3)


@settings(same_fixture, max_examples=3 * settings().max_examples)
@given(seed=st.randoms(use_true_random=False))
def test_a_copy_that_is_put_off_is_what_the_index_was_whatever_becomes_of_it(
    copied_in_pieces: None, seed: random.Random
) -> None:
    index, known = EntityIndex(), {0: -1}
    forks: list[tuple[EntityIndex, dict[int, int]]] = []
    mapping, coming = np.arange(9, dtype=np.int32)[::-1].copy(), False

    def said(one: EntityIndex) -> dict[int, int]:
        return {code: one.current(code) for code in range(70) if one.current(code) >= 0}

    for number in range(10, 40):
        # there are more and more ids
        ids = np.array(sorted(seed.sample(range(1, number + 30), seed.randrange(1, 6))), np.int32)
        versions = np.array([seed.choice([-1, *range(9)]) for _ in ids], np.int32)
        what = seed.random()
        target, state = seed.choice(forks) if forks and what < 0.2 else (index, known)
        if what > 0.9:
            # all that is put off is made before numbers change
            for fork, _ in forks:
                threads = [threading.Thread(target=fork.settle) for _ in range(2)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            assert not index.shared
            coming = True
        elif what > 0.75:
            forks.append((index.fork(), dict(known)))
        else:
            if seed.random() < 0.5:
                target.set_base(ids, versions)
            else:
                target.put(ids, np.zeros(len(ids), np.int32), versions)
                target.commit()
            state.update(zip(ids.tolist(), versions.tolist(), strict=True))
        # numbers change some at a time, while others change, or all at once
        if coming and (seed.random() < 0.2 or index.renumber_some(mapping)) and not index.shared:
            index.renumber(mapping)
            known.update({code: 8 - version for code, version in known.items() if version >= 0})
            coming = False
        for one, expected in [(index, known), *forks]:
            assert said(one) == {code: version for code, version in expected.items() if version >= 0}


@settings(same_fixture, max_examples=3 * settings().max_examples)
@given(seed=st.randoms(use_true_random=False))
def test_copies_of_the_keys_of_links_are_what_those_were(copied_in_pieces: None, seed: random.Random) -> None:
    kinds = ["likes", "owns"]
    tables = LinkKeyTables()
    keys, known = LinkKeys(tables, kinds), dict[int, tuple[int, int]]()
    forks: list[tuple[LinkKeys, dict[int, tuple[int, int]]]] = []
    for number in range(1, 40):
        target, state = seed.choice(forks) if forks and seed.random() < 0.2 else (keys, known)
        rows = range(seed.randrange(1, 6))
        kind = np.array([seed.randrange(2) for _ in rows])
        sources, targets = (np.array([seed.randrange(1, 3 + number) for _ in rows], np.int32) for _ in "st")
        ids = pl.Series([seed.choice([None, f"l{seed.randrange(number)}"]) for _ in rows], dtype=pl.String)
        identities = tables.numbers(kinds, kind, sources, targets, ids)
        # makes room for new ones
        target.holders(identities)
        links = np.array([seed.choice([-1, number]) for _ in rows])
        once = np.unique(identities, return_index=True)[1]
        target.hold(identities[once], links[once], kind[once])
        for row in once.tolist():
            held = (int(links[row]), int(kind[row]) if links[row] >= 0 else -1)
            state[int(identities[row])] = held
        if seed.random() < 0.2:
            forks.append((keys.fork(), dict(known)))
        if forks and seed.random() < 0.3:
            threading.Thread(target=forks[-1][0].settle).start()
    for one, expected in [(keys, known), *forks]:
        asked = np.array(list(expected), np.int64)
        found, of = one.holders(asked)
        held = [(link, k if link >= 0 else -1) for link, k in zip(found.tolist(), of.tolist(), strict=True)]
        assert held == list(expected.values())


def test_limits_that_are_full_again_are_forgotten_as_others_come() -> None:
    buckets = Buckets(DropBucket, 1, 10)
    for now in range(0, 100_000, 100):
        buckets.take(np.arange(now, now + 20), np.full(20, now))
        assert len(buckets.keys_held()) == 20
