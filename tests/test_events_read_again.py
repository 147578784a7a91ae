"""Replays of the same events in memory: what one has read the next does not read again, and nothing else."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

import flowdsl as fd
from flowdsl import on
from flowdsl.log import document_paths, event_rows, memory, scan_cache
from flowdsl.values import json_extraction


def flow(condition: str) -> fd.Flow:
    return (
        on("entity.created", entity_type="order")
        .where(condition)
        .resolve("data.owner_id", as_="owner")
        .map(recipient_id="{{ owner.id }}", title="{{ owner.name }}: {{ data.amount }}")
        .deliver("in-app")
    )


FLOW = flow("data.amount > 10")


def orders(count: int = 40) -> pl.DataFrame:
    """Orders of two people, every other one above the limit."""
    return pl.DataFrame(
        {
            "timestamp": pl.Series([1_767_225_600_000_000 + n for n in range(count)]).cast(
                pl.Datetime("us", "UTC")
            ),
            "kind": "entity.created",
            "entity_type": "order",
            "entity_id": [f"o{n}" for n in range(count)],
            "data": [f'{{"amount": {n % 2 * 20}, "owner_id": "{"ab"[n % 4 // 2]}"}}' for n in range(count)],
        }
    )


def people() -> fd.EntityGraph:
    return fd.EntityGraph({"user": {"a": {"name": "Ann"}, "b": {"name": "Bo"}}})


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The functions that read documents and ids, and their threads, as they are called."""
    calls: list[str] = []

    def noting(owner: Any, name: str) -> None:
        called = getattr(owner, name)

        def noted(*arguments: Any, **named: Any) -> Any:
            calls.append(f"{name} on {threading.current_thread().name}")
            return called(*arguments, **named)

        monkeypatch.setattr(owner, name, noted)

    noting(document_paths, "check_documents")
    noting(json_extraction, "extract")
    noting(event_rows.EventRows, "prepare")
    return calls


def titles(events: Any, graph: fd.EntityGraph, flow: fd.Flow = FLOW) -> list[str]:
    return fd.replay(flow, events, graph).polars("in-app")["title"].to_list()


def log_of(frame: pl.DataFrame) -> fd.MemoryEventLog:
    return fd.read_events(frame)


@pytest.mark.parametrize(
    "held", [orders, lambda: orders().to_arrow(), lambda: log_of(orders())], ids=["Polars", "Arrow", "log"]
)
def test_a_second_replay_reads_no_document_and_no_id_again(held: Callable[[], Any], work: list[str]) -> None:
    events, graph = held(), people()
    first = titles(events, graph)
    assert len(first) == 20
    assert work
    work.clear()
    assert titles(events, graph) == first
    # another limit asks for the same values
    assert len(titles(events, graph, flow("data.amount >= 0"))) == 40
    assert work == []


def test_a_flow_that_asks_for_other_values_reads_them(work: list[str]) -> None:
    events, graph = orders(), people()
    other = (
        on("entity.created")
        .map(recipient_id="{{ data.owner_id }}", title="{{ entity_id }}")
        .deliver("in-app")
    )
    titles(events, graph)
    assert len(titles(events, graph, other)) == 40
    work.clear()
    # both are kept
    assert len(titles(events, graph)) == 20
    assert len(titles(events, graph, other)) == 40
    assert work == []


def _set_cell(frame: pl.DataFrame) -> None:
    frame[1, "data"] = '{"amount": 1, "owner_id": "a"}'


def _replace_column(frame: pl.DataFrame) -> None:
    texts = ['{"amount": 1, "owner_id": "a"}', *frame["data"].to_list()[1:]]
    frame.replace_column(frame.columns.index("data"), pl.Series("data", texts))


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (_set_cell, 19),
        (_replace_column, 20),
        (lambda frame: frame.extend(orders(4).with_columns(timestamp=frame["timestamp"].max())), 22),
        (lambda frame: frame.drop_in_place("data"), 0),
        (lambda frame: frame.insert_column(0, pl.Series("link_type", [None] * 40, dtype=pl.String)), 20),
    ],
    ids=["cell", "column", "rows", "drop", "insert"],
)
@pytest.mark.filterwarnings("ignore::flowdsl.errors.FlowWarning")
def test_a_frame_that_was_changed_is_read_anew(change: Callable[[pl.DataFrame], Any], left: int) -> None:
    events, graph = orders(), people()
    for _ in range(3):
        titles(events, graph)
    change(events)
    assert titles(events, graph) == titles(events.clone(), people())
    assert len(titles(events, graph)) == left


def test_changes_back_and_forth_are_all_seen() -> None:
    events, graph = orders(), people()
    for amount in (1, 30, 2, 40, 3, 50):
        events[1, "data"] = f'{{"amount": {amount}, "owner_id": "a"}}'
        assert titles(events, graph).count(f"Ann: {amount}") == (amount > 10)


def test_objects_of_python_may_change_and_are_read_each_time() -> None:
    order = {"amount": 20, "owner_id": "a"}
    events = orders(1).with_columns(data=pl.Series([order], dtype=pl.Object))
    graph = people()
    assert titles(events, graph) == ["Ann: 20"]
    order["amount"] = 30
    assert titles(events, graph) == ["Ann: 30"]


def test_columns_of_types_that_arrow_lacks_are_read_each_time() -> None:
    flow = on("entity.created").map(recipient_id="{{ data.owner }}").deliver("in-app")
    owners = pl.DataFrame({"owner": pl.Series([7], dtype=pl.Int128)})
    events = orders(1).with_columns(data=owners.to_struct("data"))
    for _ in range(2):
        assert fd.replay(flow, events).polars("in-app")["recipient_id"].to_list() == ["7"]


def test_what_is_read_of_very_many_events_is_not_kept(
    work: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (scan_cache, memory):
        monkeypatch.setattr(module, "MOST", 39)
    for events in (orders(), log_of(orders())):
        graph = people()
        titles(events, graph)
        work.clear()
        titles(events, graph)
        assert work


def test_events_that_are_appended_to_a_log_are_seen() -> None:
    log, graph = log_of(orders()), people()
    assert len(titles(log, graph)) == 20
    for number in range(3):
        order = fd.events.entity_created("order", f"new-{number}", {"amount": 99, "owner_id": "b"})
        log.append(order, timestamp="2026-01-02T00:00:00Z")
        assert titles(log, graph).count("Bo: 99") == number + 1


def test_another_graph_gives_other_names() -> None:
    events = orders()
    renamed = fd.EntityGraph({"user": {"b": {"name": "Cy"}, "a": {"name": "Di"}}})
    for _ in range(2):
        assert set(titles(events, people())) == {"Ann: 20", "Bo: 20"}
        assert set(titles(events, renamed)) == {"Cy: 20", "Di: 20"}


def rows_held() -> int:
    gc.collect()
    return sum(isinstance(one, event_rows.EventRows) for one in gc.get_objects())


def test_what_was_read_goes_with_the_frame() -> None:
    before = rows_held()
    events, graph = orders(), people()
    titles(events, graph)
    assert rows_held() > before
    del events, graph
    assert rows_held() <= before


def test_rows_that_cannot_be_events_are_counted_each_time() -> None:
    events = orders().with_columns(kind=pl.Series(["no kind", *["entity.created"] * 39]))
    graph = people()
    for _ in range(3):
        with pytest.warns(fd.FlowWarning, match="1 row"):
            assert len(titles(events, graph)) == 20


def test_a_replay_that_ends_early_leaves_nothing_half_read() -> None:
    events, graph = orders(), people()
    assert fd.replay(FLOW, events, graph, stop=5).polars("in-app").height == 2
    assert len(titles(events, graph)) == 20
