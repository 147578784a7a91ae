"""The work behind a replay, counted: what is done once for all must not be done for each event."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

import flowdsl as fd
from flowdsl import on, var
from flowdsl.batches.chunk import Chunk
from flowdsl.engine import local
from flowdsl.expressions.conditions import vectorized
from flowdsl.expressions.templates.vectorized import renderer
from flowdsl.kernels.batch_members import ItemLists
from flowdsl.kernels.bucket_rows import DropRows, QueueRows
from flowdsl.kernels.token_buckets import DropBucket, QueueBucket
from flowdsl.kernels.window_blocks import KeyTable
from flowdsl.kernels.window_rule import RuleReach
from flowdsl.kernels.windows import FixedReach, Groups
from flowdsl.log import document_paths, event_rows, sources, validation
from flowdsl.results import failures, tables
from flowdsl.results.store import StoredPart
from flowdsl.values import columns, json_extraction, local_time
from flowdsl.values.interner import Interner
from flowdsl.values.orders import find_places

EVENTS, MINUTE = 3_000, 60_000_000
START = 1_767_225_600_000_000  # 2026-01-01 00:00 UTC


def likes(*, keys: int, apart: int) -> pl.DataFrame:
    """Likes of so many posts in turn, one every so many µs."""
    numbers = np.arange(EVENTS)
    return pl.DataFrame(
        {
            "timestamp": pl.Series(START + numbers * apart).cast(pl.Datetime("us", "UTC")),
            "kind": "link.created",
            "link_type": "likes",
            "source_id": [f"fan-{number}" for number in numbers.tolist()],
            "target_id": [f"post-{number % keys}" for number in numbers.tolist()],
        }
    )


def counting(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, place: int) -> list[int]:
    """The length of one argument of each call of a function from now on."""
    lengths: list[int] = []
    called = getattr(owner, name)

    def counted(*arguments: Any, **named: Any) -> Any:
        lengths.append(len(arguments[place]))
        return called(*arguments, **named)

    monkeypatch.setattr(owner, name, counted)
    return lengths


def replayed(flow: fd.Flow, log: pl.DataFrame) -> pl.DataFrame:
    """What a flow sends for a log, as a frame."""
    return fd.replay(flow.map(recipient_id="{{ target_id }}", title="a like").deliver("s"), log).polars("s")


@pytest.mark.parametrize("operator", ["batch", "deduplicate"])
def test_windows_that_stand_apart_are_found_without_asking_how_far_each_reaches(
    operator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = counting(monkeypatch, RuleReach if operator == "batch" else FixedReach, "ends", 2)
    start = on("link.created")
    flow = (
        start.batch("target_id", window="5m")
        if operator == "batch"
        else start.deduplicate("target_id", window="5m")
    )
    # each post is liked again after exactly five minutes
    assert replayed(flow, likes(keys=50, apart=5 * MINUTE // 50)).height == EVENTS
    assert sum(asked) == 0


def test_of_windows_with_many_members_only_the_first_one_is_asked_how_far_it_reaches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = counting(monkeypatch, RuleReach, "ends", 2)
    flow = on("link.created").batch("target_id", window="30d", max_count=EVENTS)
    assert replayed(flow, likes(keys=300, apart=MINUTE)).height == 300
    assert sum(asked) == 300


@pytest.mark.parametrize(
    ("step", "opened"),
    [
        (on("link.created").batch("target_id", window="1d"), 600),
        (on("link.created").batch("target_id", every="day", at="00:00", tz="UTC"), 720),
        (on("link.created").deduplicate("target_id", window="1d"), 600),
    ],
    ids=["batch", "digest", "deduplicate"],
)
def test_windows_that_are_long_against_their_events_are_found_without_sorting(
    step: fd.Flow, opened: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sorted_rows = counting(monkeypatch, Groups, "of", 0)
    edges = counting(monkeypatch, KeyTable, "windows", 3)
    assert replayed(step, likes(keys=300, apart=MINUTE)).height == opened
    assert sum(sorted_rows) == 0
    # three days of 1,440 minutes, the last one not whole: in each a post opens no more than one window
    assert edges == [4]


def test_what_a_queue_releases_at_moments_of_its_own_is_not_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counting(monkeypatch, Chunk, "seen_at", 1)
    put_in_order = counting(monkeypatch, tables, "_order", 0)
    sent = replayed(on("link.created").rate_limit(1, per="2m", strategy="queue"), likes(keys=1, apart=MINUTE))
    assert sent["delivered_at"].n_unique() == EVENTS
    assert asked == put_in_order == []


@pytest.mark.parametrize(
    "flow",
    [
        on("link.created").wait(until="09:00", tz="Europe/Berlin"),
        on("link.created").batch("target_id", every="day", at="09:00", tz="Europe/Berlin"),
    ],
    ids=["wait", "batch"],
)
def test_local_moments_are_worked_out_for_each_day_and_not_for_each_event(
    flow: fd.Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = counting(monkeypatch, local_time, "to_utc", 0)
    sent = replayed(flow, likes(keys=EVENTS, apart=MINUTE))
    assert sent.height == EVENTS
    assert sent["delivered_at"].n_unique() == 3
    # of so many days, and of one before and after them, however often it is asked for
    assert moments
    assert max(moments) <= 5


@pytest.mark.parametrize(("strategy", "rows"), [("drop", DropRows), ("queue", QueueRows)])
def test_limits_of_many_keys_answer_one_context_of_each_at_once(
    strategy: str, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = counting(monkeypatch, rows, "take", 1)
    one_by_one = counting(monkeypatch, DropBucket if strategy == "drop" else QueueBucket, "take", 1)
    flow = on("link.created").rate_limit(1, per="1h", key="target_id", strategy=strategy)
    sent = replayed(flow, likes(keys=1_000, apart=1_000))
    assert len(sent) == (1_000 if strategy == "drop" else EVENTS)
    assert together == [1_000] * (EVENTS // 1_000)
    assert one_by_one == []


def orders() -> pl.DataFrame:
    """As many customers as orders, in turn, all documents as JSON text; all orders are of the first customer."""
    numbers = range(EVENTS)
    pairs = [
        (
            ("customer", f"c{n}", f'{{"city": "Köln {n}", "more": [{n}]}}'),
            ("order", f"o{n}", f'{{"amount": {n}, "owner": "c0", "more": [{n}]}}'),
        )
        for n in numbers
    ]
    types, ids, data = zip(*(row for pair in pairs for row in pair), strict=True)
    times = pl.Series(START + np.arange(2 * EVENTS) * MINUTE).cast(pl.Datetime("us", "UTC"))
    columns = {"entity_type": types, "entity_id": ids, "data": data}
    return pl.DataFrame({"timestamp": times, "kind": "entity.created", **columns})


def test_a_document_is_parsed_once_for_all_paths_and_of_entities_where_one_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked = counting(monkeypatch, document_paths, "_read", 0)
    again = counting(monkeypatch, validation, "_invalid", 0)
    taken_apart = counting(monkeypatch, json_extraction, "extract", 0)
    flow = (
        on("entity.created", entity_type="order")
        .where("data.amount >= 1000")
        .resolve("data.owner", as_="owner")
        .map(recipient_id="{{ data.owner }}", title="{{ owner.city }}: {{ data.amount }}")
    )
    sent = fd.replay(flow.deliver("s"), orders()).polars("s")
    assert sent["title"][0] == "Köln 0: 1000"
    assert len(sent) == EVENTS - 1000
    # while it is seen whether they are JSON
    assert sum(checked) == 2 * EVENTS
    assert sum(again) == 0
    assert sum(taken_apart) == 1


def test_documents_of_events_that_no_flow_reads_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = counting(monkeypatch, document_paths, "_parse", 0)
    again = counting(monkeypatch, validation, "_invalid", 0)
    kinds = pl.Series(["entity.created", "entity.updated", "entity.created"] * (2 * EVENTS // 3))
    flow = on("entity.updated").map(recipient_id="{{ entity_id }}", title="{{ data.more }}").deliver("s")
    sent = fd.replay(flow, orders().with_columns(kind=kinds)).polars("s")
    assert sum(parsed) == len(sent) == 2 * EVENTS // 3
    assert sum(again) == 0


def test_documents_over_several_lines_are_seen_to_be_json_without_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_python = counting(monkeypatch, validation, "_is_json", 0)
    pretty = '{\n  "amount": 1,\n  "tags": [\n    "a, b", "c"\n  ]\n}'
    wrong = '{"amount": 1,\n}'
    log = orders()[:4].with_columns(data=pl.Series([pretty, wrong, pretty, pretty]))
    flow = on("entity.created").map(recipient_id="ann", title="{{ data.amount }}").deliver("s")
    with pytest.warns(fd.FlowWarning, match="1 row of the log is not an event"):
        sent = fd.replay(flow, log).polars("s")
    assert sent["title"].to_list() == ["1", "1", "1"]
    assert in_python == [len(wrong)]


def test_a_row_group_of_parquet_is_decoded_once_and_a_large_one_in_equal_parts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = 50 * EVENTS
    log = likes(keys=10, apart=MINUTE)[:1].select(pl.all().repeat_by(rows)).explode(pl.all())
    log.with_row_index("seq_no", offset=1).write_parquet(tmp_path / "log.parquet", row_group_size=rows)
    flow = on("link.created").map(recipient_id="{{ target_id }}", title="a like").deliver("s")
    read = counting(monkeypatch, sources, "_read", 1)
    assert len(fd.replay(flow, tmp_path / "log.parquet").polars("s")) == rows
    # numbers alone, whether they ascend, and all columns
    assert sorted(read) == [1, 6]
    read.clear()
    monkeypatch.setattr(sources, "_BYTES", 1)
    assert len(fd.replay(flow, tmp_path / "log.parquet").polars("s")) == rows
    assert sorted(read) == [1, 6, 6]


@pytest.mark.parametrize(
    ("title", "members"),
    [("{{ batch.count }}", 1), ("{{ batch.items }}", EVENTS), ("{{ batch.fans }}", EVENTS)],
)
def test_members_of_windows_are_put_together_where_they_wait_or_are_asked_for(
    title: str, members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = likes(keys=7, apart=2 * MINUTE)
    taken = counting(monkeypatch, ItemLists, "of_contexts", 1)
    digest = on("link.created").batch("target_id", window="1m", collect={"fans": var.source_id})
    flow = digest.map(recipient_id="ann", title=title)
    titles = fd.replay(flow.deliver("s"), log).polars("s")["title"].to_list()
    assert len(titles) == EVENTS
    assert titles[0] == {1: "1", EVENTS: "[fan-0]"}[members]
    # the last window is still open when the log is over
    assert sum(taken) == members


def test_times_that_windows_collect_are_written_for_those_who_read_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = counting(monkeypatch, columns, "as_text", 0)
    digest = on("link.created").batch("target_id", window="1m", collect={"at": var.event.timestamp})
    log = likes(keys=7, apart=2 * MINUTE)
    fd.replay(digest.map(recipient_id="ann", title="{{ batch.count }}").deliver("s"), log)
    # the last window is still open when the log is over
    assert sum(written) == 1
    fd.replay(digest.map(recipient_id="ann", title="{{ batch.at }}").deliver("s"), log)
    assert sum(written) > EVENTS


def test_ids_that_windows_remember_are_coded_ahead_of_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "LARGE_CHUNK", EVENTS // 10)
    flow = on("link.created").batch("target_id", every="week", on="mon", at="09:00", tz="UTC")
    ahead = counting(monkeypatch, Interner, "intern_all", 1)
    late = counting(monkeypatch, Interner, "intern", 1)
    assert replayed(flow, likes(keys=500, apart=MINUTE)).height == 500
    # the columns of a chunk are prepared while an earlier one is run: what the first one needs is known then
    assert len(late) <= 2
    assert ahead[-1] == 2


def test_a_few_keys_among_many_are_found_without_a_table_of_all() -> None:
    keys, few = np.arange(1_000_000), np.array([5, 999_999])
    tracemalloc.start()
    try:
        assert find_places(keys, few).tolist() == few.tolist()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < keys.nbytes // 100


def test_links_that_have_not_ended_take_few_bytes_each() -> None:
    ids = [f"user-{number}" for number in range(300)]
    links = pl.DataFrame({"source_id": ids}).join(pl.DataFrame({"target_id": ids}), how="cross")
    followers = on("link.created").fan_out("source_id", via="follows", as_="fan").map(title="x").deliver("s")
    # what is imported is held, too
    fd.replay(followers, [], fd.EntityGraph())
    tracemalloc.start()
    try:
        graph = fd.EntityGraph(links=links.with_columns(link_type=pl.lit("follows")))
        fd.replay(followers, [], graph)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # a number, both ends, and the order, keys and other ends of one direction
    assert held < 36 * len(links)


@pytest.mark.parametrize(("keys", "once"), [(2_000, True), (EVENTS, False)])
def test_people_who_get_several_deliveries_are_written_once_in_a_file(
    keys: int, once: bool, tmp_path: Path
) -> None:
    flow = on("link.created").map(title="hello").deliver("s")
    fd.replay(flow, likes(keys=keys, apart=MINUTE), out=tmp_path / "out")
    (file,) = (tmp_path / "out" / "deliveries").rglob("*.parquet")
    group = pq.ParquetFile(file).metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    (recipients,) = (column for column in columns if column.path_in_schema == "recipient_id")
    assert ("RLE_DICTIONARY" in recipients.encodings) == once


def test_texts_of_whole_numbers_that_lie_close_together_are_made_once_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    printed = counting(monkeypatch, renderer, "format_column", 0)
    digest = on("link.created").batch("target_id", window="1m")
    sent = fd.replay(
        digest.map(recipient_id="ann", title="{{ batch.count }} likes").deliver("s"),
        likes(keys=7, apart=2 * MINUTE),
    ).polars("s")
    assert sent["title"].unique().to_list() == ["1 likes"]
    # among the events, and for the last window behind them
    assert printed == [1, 1]


def test_values_are_found_in_lists_and_lists_counted_without_python_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = counting(monkeypatch, vectorized, "_per_distinct", 2)
    tags = pl.Series([f'{{"fans": ["fan-{n}", "fan-{n + n % 2}", {n}]}}' for n in range(EVENTS)])
    flow = on("link.created").where("source_id in metadata.fans and len(metadata.fans) == 3")
    assert replayed(flow, likes(keys=7, apart=MINUTE).with_columns(metadata=tags)).height == EVENTS
    assert asked == []


def test_members_of_windows_that_grow_stay_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = counting(monkeypatch, ItemLists, "at", 1)
    flow = on("link.created").batch("target_id", window="30d").map(recipient_id="ann", title="a like")
    # each of the three windows grows with every batch of events
    sent = fd.replay(flow.deliver("s"), likes(keys=3, apart=MINUTE), chunk_size=EVENTS // 100)
    assert len(sent["s"]) == 3
    # but for blocks of members, which are joined at a geometric pace
    assert sum(moved) < EVENTS * (1 + 100).bit_length()


def test_ids_that_are_printed_as_they_came_are_not_gathered_from_all_ids(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gathered = counting(monkeypatch, Interner, "texts", 1)
    sent = replayed(on("link.created").deduplicate("target_id", window="1s"), likes(keys=40, apart=MINUTE))
    assert sent["recipient_id"].to_list() == [f"post-{number % 40}" for number in range(EVENTS)]
    assert sum(gathered) == 0


def test_texts_that_are_gathered_often_come_to_lie_in_one_piece() -> None:
    interner = Interner()
    codes = np.concatenate(
        [interner.intern(pl.Series([f"{n}" for n in some])) for some in (range(900), [-1])]
    )
    assert len(interner.pieces) > 1
    for _ in range(2):
        assert interner.texts(codes).to_list() == [*map(str, range(900)), "-1"]
    assert len(interner.pieces) == 1


def test_what_is_worked_out_for_all_entities_of_a_graph_serves_the_next_replay_and_no_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fans = fd.EntityGraph({"fan": {f"fan-{number}": {"name": f"Fan {number}"} for number in range(EVENTS)}})
    fan = on("link.created").resolve("source_id", as_="fan")
    greeted, told = (fan.map(recipient_id="ann", title=f"{{{{ fan.name }}}}{end}") for end in ("!", " likes"))
    printed = counting(monkeypatch, renderer, "format_column", 0)

    def prints(flow: fd.Flow) -> int:
        printed.clear()
        titles = fd.replay(flow.deliver("s"), likes(keys=7, apart=MINUTE), fans).polars("s")["title"]
        assert titles.str.starts_with("Fan ").all()
        return sum(printed)

    assert [prints(flow) for flow in (greeted, greeted, told, greeted)] == [EVENTS, 0, EVENTS, EVENTS]


def test_one_database_reads_the_json_of_all_replays_and_conversions(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = (
        on("link.created")
        .where("metadata.score > 1")
        .map(recipient_id="ann", s="{{ metadata.score }}")
        .deliver("in-app")
    )
    log = likes(keys=3, apart=MINUTE).with_columns(
        metadata=pl.Series([f'{{"score": {n}}}' for n in range(1, EVENTS + 1)])
    )
    graph = fd.EntityGraph(
        {}, links=pl.DataFrame({"link_type": "likes", "source_id": "a", "target_id": "b", "metadata": "{}"})
    )
    fd.replay(flow, log, graph)
    opened: list[object] = []
    monkeypatch.setattr(duckdb, "connect", lambda *_, **named: opened.append(named))
    for events in (log, fd.read_events(log.to_pandas())):
        assert len(fd.replay(flow, events, graph)["in-app"]) == EVENTS - 1
    assert not opened


def test_failures_in_a_folder_become_json_when_somebody_reads_them_and_a_report_counts_them_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = on("link.created").resolve("target_id", as_="post").map(title="x").deliver("in-app")
    log = likes(keys=3, apart=MINUTE)
    written = counting(monkeypatch, failures, "joined_json", 1)
    envelopes = counting(monkeypatch, event_rows, "joined_json", 1)
    result = fd.replay(flow, log, out=tmp_path / "r")
    assert (written, envelopes) == ([], [])
    assert result.errors.equals(fd.replay(flow, log).errors)
    assert sum(envelopes)

    reads: list[Any] = []
    read = StoredPart.read
    monkeypatch.setattr(
        StoredPart, "read", lambda part, wanted: (reads.append(part.path), read(part, wanted))[1]
    )
    report = fd.read_result(tmp_path / "r").report()
    assert "3,000" in report.html
    assert sum(path.parent.name == "errors" for path in reads) == len([*(tmp_path / "r/errors").iterdir()])


def test_a_stored_table_is_read_once_and_only_the_columns_that_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = on("link.created").map(title="{{ source_id }}", body="x").deliver("in-app")
    fd.replay(flow, likes(keys=3, apart=MINUTE), out=tmp_path / "r")
    read: list[tuple[str, list[str]]] = []

    def reading(part: StoredPart, wanted: Any) -> pl.DataFrame:
        frame = called(part, wanted)
        read.append((part.path.name, frame.columns))
        return frame

    called = StoredPart.read
    monkeypatch.setattr(StoredPart, "read", reading)
    result = fd.read_result(tmp_path / "r")
    assert result.polars("in-app").height == EVENTS
    assert len({name for name, _ in read}) == len(read)
    read.clear()
    assert result.polars("in-app", ["title"]).columns == ["title"]
    assert {column for _, columns in read for column in columns} == {"seq_no", "payload.title"}
