"""A replay reads of a log's segments what its flows need, and gives the same as if it read all."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle.comparing import bytes_of
from strategies import SLIPS_ARE_LIKELY, Case, cases

import flowdsl as fd
from flowdsl.errors import DataError
from flowdsl.log.pushdown import ScanFilter
from flowdsl.log.segments import Statistics

pytestmark = SLIPS_ARE_LIKELY

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


ON_LIKES = fd.on("link.created", link_type="likes")
FLOWS = [
    ON_LIKES.map(title="{{ source_id }}").deliver("in-app"),
    ON_LIKES.deduplicate("target_id", window="5m").map(title="x").deliver("in-app"),
    ON_LIKES.fan_out(from_="source_id", via="follows", as_="friend").map(title="x").deliver("in-app"),
    ON_LIKES.resolve("source_id", as_="user").map(title="{{ user.n }}").deliver("in-app"),
    ON_LIKES.batch("target_id", window="5m")
    .resolve("target_id", as_="user")
    .map(title="{{ user.n }}")
    .deliver("in-app"),
    ON_LIKES.batch("target_id", window="5m").map(title="{{ batch.count }}").deliver("in-app"),
    ON_LIKES.rate_limit(1, per="5m", strategy="queue").map(title="x").deliver("in-app"),
    fd.on("link.deleted").map(title="{{ source_id }}").deliver("in-app"),
    fd.on("entity.updated", entity_type="user").map(title="{{ data.n }}").deliver("in-app"),
]
# stretches of a log that are alike: each becomes a segment
STRETCH = st.tuples(
    st.sampled_from(["likes", "likes", "views", "views", "views", "follows", "named", "replaced", "ended", "user", "post"]),
    st.integers(1, 5), st.integers(-2, 9), st.integers(0, 2),
)  # fmt: skip


def event(what: str, i: int) -> dict[str, Any]:
    if what in ("named", "replaced"):
        # one id, whatever the type: each replaces the last
        return fd.link_created("follows" if what == "named" else "views", f"u{i}", "u0", link_id=f"l{i}")
    if what == "ended":
        return fd.link_deleted(link_id=f"l{i}") if i % 2 else fd.link_deleted("follows", f"u{i}", "u1")
    if what in ("user", "post"):
        return fd.entity_updated(what, f"u{i}", {"n": f"{what} {i}"})
    return fd.link_created(what, f"u{i}", f"u{(i + 1) % 3}")


@given(
    stretches=st.lists(STRETCH, min_size=5, max_size=12), flows=st.lists(st.sampled_from(FLOWS), min_size=1, max_size=2),
    span=st.sampled_from([(0, 0), (0, 0), (9, 0), (0, 15), (3, 20), (8, 16)]), times=st.booleans(),
    mark=st.sampled_from([99, 99, 99, 2, 4]),
    chunk_size=st.sampled_from([2, None]),
)  # fmt: skip
def test_what_is_left_out_changes_not_a_byte(
    stretches: list[tuple[str, int, int, int]], flows: list[fd.Flow], span: tuple[int, int], times: bool, mark: int,
    chunk_size: int | None,
) -> None:  # fmt: skip
    flows = [flow.named(f"flow {i}") for i, flow in enumerate(flows)]
    memory, at = fd.MemoryEventLog(), BEGIN
    with tempfile.TemporaryDirectory() as folder:
        durable = fd.ParquetEventLog(Path(folder, "log"), "none")
        for number, (what, count, later, apart) in enumerate(stretches):
            at += timedelta(minutes=later)
            for log in (memory, durable):
                log.append([{"event_id": f"{number}.{i}", "event": event(what, i), "id": f"{number}.{i}",
                             "timestamp": at + i * timedelta(minutes=apart)} for i in range(count)])  # fmt: skip
                if number == mark:
                    log.mark_clock(at + timedelta(hours=1))
            durable.seal()
        options: dict[str, Any] = {"chunk_size": chunk_size}
        for name, place in zip(("start", "stop"), span, strict=True):
            if place:
                options[name] = BEGIN + place * timedelta(minutes=1) if times else place
        found, expected = (fd.replay(flows, log, **options) for log in (durable, memory))
        assert bytes_of(found) == bytes_of(expected)
        assert found.late.equals(expected.late)
        assert found.manifest["events"] == expected.manifest["events"]
        assert found.manifest["span"] == expected.manifest["span"]
        assert (found.state.position, found.state.clock) == (expected.state.position, expected.state.clock)
        durable.close()


@given(case=cases(), rows=st.integers(1, 4))
def test_sealed_logs_of_any_shape_give_what_logs_in_memory_give(case: Case, rows: int) -> None:
    memory = fd.MemoryEventLog()
    with tempfile.TemporaryDirectory() as folder:
        durable = fd.ParquetEventLog(Path(folder, "log"), "none", seal_rows=rows)
        for one in case.world.events:
            memory.append(one)
            durable.append(one)
        graphs = [
            fd.EntityGraph(case.world.entities, case.world.links, merge=case.world.merge) for _ in range(2)
        ]
        found, expected = (
            fd.replay(case.flows, log, graph) for log, graph in zip((durable, memory), graphs, strict=True)
        )
        assert bytes_of(found) == bytes_of(expected)
        durable.close()


def months(folder: Path) -> fd.ParquetEventLog:
    """A log with one segment each of likes, views, users, views, likes, views."""
    log = fd.ParquetEventLog(folder, seal_rows=4)
    for number, kind in enumerate(("likes", "views", "user", "views", "likes", "views")):
        at = BEGIN + number * timedelta(days=30)
        if kind == "user":
            log.append([fd.entity_created("user", i, {"name": f"n{i}"}) for i in range(4)], at)
        else:
            log.append([fd.link_created(kind, i, "post") for i in range(4)], at)
    return log


def spoil(folder: Path, *numbers: int) -> None:
    paths = sorted(folder.glob("*.parquet"))
    for number in numbers:
        paths[number].write_bytes(b"not to be read")


def test_segments_that_neither_trigger_nor_change_what_is_looked_up_are_not_even_opened(
    tmp_path: Path,
) -> None:
    log = months(tmp_path)
    flow = ON_LIKES.map(title="{{ source_id }}").deliver("in-app")
    expected = bytes_of(fd.replay(flow, log))
    log.close()
    spoil(tmp_path, 1, 2, 3, 5)
    result = fd.replay(flow, fd.ParquetEventLog(tmp_path))
    assert bytes_of(result) == expected
    assert result.manifest["events"] == 24


def test_segments_that_a_look_up_may_need_are_read_though_they_trigger_nothing(tmp_path: Path) -> None:
    resolving = ON_LIKES.resolve("source_id", as_="user").map(title="{{ user.name }}").deliver("in-app")
    following = (
        ON_LIKES.fan_out(from_="target_id", via="views", as_="viewer").map(title="x").deliver("in-app")
    )
    log = months(tmp_path)
    assert fd.replay(resolving, log)["in-app"]["title"].tolist()[-4:] == ["n0", "n1", "n2", "n3"]
    log.close()
    spoil(tmp_path, 1, 3, 5)
    assert fd.replay(resolving, fd.ParquetEventLog(tmp_path))["in-app"]["title"].tolist()[-4:] == [
        "n0", "n1", "n2", "n3",
    ]  # fmt: skip
    with pytest.raises(DataError, match="damaged"):
        fd.replay(following, fd.ParquetEventLog(tmp_path))


def sealed(folder: Path, *segments: list[tuple[dict[str, Any], int]]) -> fd.ParquetEventLog:
    """A log of segments of (event, minute)."""
    log = fd.ParquetEventLog(folder, "none")
    for events in segments:
        log.append([{"event": one, "timestamp": BEGIN + timedelta(minutes=minute)} for one, minute in events])
        log.seal()
    return log


VIEWS = [(fd.link_created("views", "ann", "post"), minute) for minute in (1, 2, 7, 9)]
LIKE = fd.link_created("likes", "ann", "post")


def test_a_timer_fires_when_it_is_due_though_little_is_read_of_what_made_it_fire(tmp_path: Path) -> None:
    flow = ON_LIKES.batch("target_id", window="5m").map(title="x").deliver("in-app")
    log = sealed(tmp_path, [(LIKE, 0)], VIEWS)
    memory = fd.MemoryEventLog()
    memory.append(log)
    result = fd.replay(flow, log)
    assert result["in-app"]["delivered_at"].tolist() == [BEGIN + timedelta(minutes=5)]
    assert bytes_of(result) == bytes_of(fd.replay(flow, memory))


def test_a_stop_within_what_is_left_out_stops_there(tmp_path: Path) -> None:
    flow = ON_LIKES.map(title="x").deliver("in-app")
    log = sealed(tmp_path, [(LIKE, 0)], VIEWS)
    for stop in (4, BEGIN + timedelta(minutes=7)):
        result = fd.replay(flow, log, stop=stop)
        assert (result.manifest["events"], result.state.position) == (3, 3)
    assert fd.replay(flow, log, stop=6).manifest["events"] == 5


def test_a_link_of_another_type_ends_one_with_its_id(tmp_path: Path) -> None:
    flow = ON_LIKES.fan_out(from_="source_id", via="follows", as_="friend").map(title="x").deliver("in-app")
    follows = fd.link_created("follows", "ann", "bob", link_id="l")
    views = fd.link_created("views", "ann", "post", link_id="l")
    log = sealed(tmp_path, [(follows, 0), (LIKE, 1)], [(views, minute) for minute in (2, 3, 4)], [(LIKE, 5)])
    assert fd.replay(flow, log)["in-app"]["seq_no"].tolist() == [2]


@pytest.mark.parametrize(
    ("wants", "met"),
    [
        (ScanFilter((("link.created", "likes"),)), True),
        (ScanFilter((("link.created", "views"),)), False),
        (ScanFilter((("link.created", None),)), True),
        (ScanFilter((("link.deleted", "likes"),)), False),
        (ScanFilter((("entity.created", None),)), False),
        (ScanFilter(link_types=frozenset({"follows"})), False),
        (ScanFilter(link_types=frozenset({"likes"})), True),
        (ScanFilter(entities=True), False),
    ],
)
def test_an_interest_is_met_by_kind_and_type(wants: ScanFilter, met: bool) -> None:
    there = Statistics(0, 9, True, ("link.created",), ("likes", "saves"), (), False)
    assert wants.met_by(there) is met
    # a link with an id may replace one of any type, and a list of types that is too long may hold any
    named = Statistics(0, 9, True, ("link.created",), ("likes",), (), True)
    assert ScanFilter(link_types=frozenset({"follows"})).met_by(named)
    many = Statistics(0, 9, True, ("link.created",), None, (), False)
    assert ScanFilter((("link.created", "views"),)).met_by(many)
