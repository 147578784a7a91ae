"""Whatever a user hands over as a log is read in place, in order, and what is wrong with it is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowdsl.errors import DataError, FlowWarning
from flowdsl.events import EVENT_COLUMNS, JSON_COLUMNS, TEXT_COLUMNS, entity_deleted
from flowdsl.log import MemoryEventLog, external_sort, open_log, validation
from flowdsl.log.columns import KIND, TIME
from flowdsl.log.sources import ParquetFiles
from flowdsl.log.table import EventTable

T0 = datetime(2024, 1, 1, tzinfo=UTC)


def links(count: int, **columns: Any) -> pl.DataFrame:
    """A frame of `count` links, one a second; `columns` are put in or over."""
    return pl.DataFrame({
        "timestamp": [T0 + timedelta(seconds=i) for i in range(count)],
        "kind": ["link.created"] * count,
        "link_type": ["likes"] * count,
        "source_id": [f"s{i}" for i in range(count)],
        "target_id": [f"t{i % 3}" for i in range(count)],
    }).with_columns(**{name: pl.Series(values) for name, values in columns.items()})  # fmt: skip


def events(log: Any, columns: Any = EVENT_COLUMNS, size: int = 1000, after: int = 0) -> pl.DataFrame:
    chunks = list(open_log(log).chunks(columns, size, after))
    assert all(0 < chunk.height <= size for chunk in chunks)
    frame = pl.concat(chunks, how="vertical_relaxed") if chunks else pl.DataFrame(schema={"seq_no": pl.Int64})
    assert (frame["seq_no"].diff().drop_nulls() > 0).all()
    return frame


FRAMES = {
    "polars": lambda frame, folder: frame,
    "lazy": lambda frame, folder: frame.lazy(),
    "pandas": lambda frame, folder: frame.to_pandas(),
    "arrow": lambda frame, folder: frame.to_arrow(),
    "arrow stream": lambda frame, folder: pa.RecordBatchReader.from_stream(frame.to_arrow()),
    "record batch": lambda frame, folder: frame.to_arrow().combine_chunks().to_batches()[0],
    "relation": lambda frame, folder: duckdb.from_arrow(frame.to_arrow()),
    "file": lambda frame, folder: written(frame, folder / "events.parquet"),
    "folder": lambda frame, folder: written(frame, folder / "year=2024" / "events.parquet").parent.parent,
    "glob": lambda frame, folder: str(written(frame, folder / "events.parquet").parent / "*.parquet"),
    "mappings": lambda frame, folder: frame.to_dicts(),
}


def written(frame: pl.DataFrame, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(frame.to_arrow(), path, **options)
    return path


@pytest.mark.parametrize("form", FRAMES)
@pytest.mark.parametrize("order", ["in order", "out of order"])
def test_every_form_of_a_log_gives_the_same_events(form: str, order: str, tmp_path: Path) -> None:
    frame = links(20)
    handed = frame if order == "in order" else frame.sort("source_id", descending=True)
    got = events(FRAMES[form](handed, tmp_path), size=7)
    assert got["source_id"].to_list() == frame["source_id"].to_list()
    assert got["seq_no"].to_list() == list(range(1, 21))
    assert got["timestamp"].to_list() == frame["timestamp"].to_list()
    assert got.columns == list(EVENT_COLUMNS)


def test_a_log_and_a_source_are_read_as_they_are() -> None:
    log = MemoryEventLog()
    assert open_log(log) is log
    source = open_log(links(2))
    assert open_log(source) is source


def test_absent_and_null_columns_come_as_null_text_and_other_columns_do_no_harm() -> None:
    frame = links(2).with_columns(pl.lit(None).alias("link_id"), pl.lit([1.5]).alias("clock_mark"))
    got = events(frame)
    assert {name: got.schema[name] for name in (*TEXT_COLUMNS, "data")} == dict.fromkeys(
        (*TEXT_COLUMNS, "data"), pl.String
    )
    assert (got.schema["seq_no"], got.schema["timestamp"], got.schema["kind"]) == (pl.Int64, TIME, KIND)
    assert got["link_id"].null_count() == got["data"].null_count() == 2
    assert events(frame, ["link_type"]).columns == ["seq_no", "timestamp", "kind", "link_type"]


def test_dictionary_encoded_text_and_integer_ids_become_text(tmp_path: Path) -> None:
    frame = links(3, source_id=[1, 2**63, 3]).with_columns(pl.col("kind", "link_type").cast(pl.Categorical))
    for log in (frame, written(frame, tmp_path / "a.parquet"), frame.to_pandas()):
        got = events(log)
        assert got["source_id"].to_list() == ["1", str(2**63), "3"]
        assert got.schema["link_type"] == pl.String


def test_nested_data_stays_nested() -> None:
    frame = links(2, data=[{"a": 1, "b": ["x"]}, None])
    assert events(frame).schema["data"] == frame.schema["data"]
    assert events(frame.sort("timestamp", descending=True))["data"].to_list() == [{"a": 1, "b": ["x"]}, None]


def test_objects_in_a_pandas_column_become_json_text_that_keeps_what_is_missing() -> None:
    frame = links(3).to_pandas()
    frame["data"] = [{"a": 1}, {"b": None}, None]
    assert events(frame)["data"].to_list() == ['{"a":1}', '{"b":null}', None]


@pytest.mark.parametrize(
    ("stamps", "warned"),
    [
        (pl.Series([0, 999, 1_999]).cast(pl.Datetime("ns", "UTC")), False),
        (
            pl.Series([0, 0, 1_000]).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone("Europe/Berlin"),
            False,
        ),
        (
            pl.Series(
                ["1970-01-01T01:00:00+01:00", "1970-01-01T00:00:00.0000009Z", "1970-01-01 00:00:00.000001Z"]
            ),
            False,
        ),
        (pl.Series([0, 0, 1]).cast(pl.Datetime("us")), True),
        (pl.Series(["1970-01-01T00:00:00", "1970-01-01 00:00:00Z", "1970-01-01 00:00:00.000001"]), True),
    ],
)
def test_timestamps_of_every_sort_become_utc_microseconds(stamps: pl.Series, warned: bool) -> None:
    frame = links(3, timestamp=stamps)
    if warned:
        with pytest.warns(FlowWarning, match="without a zone") as said:
            got = events(frame, size=1)
        assert len(said) == 1
    else:
        got = events(frame)
    assert got["timestamp"].to_physical().to_list() == [0, 0, 1]


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("kind", [1, 2], "'kind' is Int64"),
        ("timestamp", [1, 2], "(?s)'timestamp' is Int64.*time_unit"),
        ("timestamp", ["monday", "tuesday"], "not RFC 3339: 'monday'"),
        ("source_id", [1.0, 2.0], "(?s)'source_id' is Float64.*allowed: text"),
        ("data", [1, 2], "(?s)'data' is Int64.*allowed: JSON text"),
        ("seq_no", ["1", "2"], "'seq_no' is String"),
    ],
)
def test_a_column_of_a_wrong_type_is_refused_with_file_column_and_types(
    column: str, values: list[Any], said: str, tmp_path: Path
) -> None:
    path = written(links(2, **{column: values}), tmp_path / "wrong.parquet")
    with pytest.raises(DataError, match=said) as caught:
        events(path)
    assert caught.value.place == str(path)
    assert caught.value.allowed


def test_a_table_without_kind_is_refused_with_its_columns() -> None:
    with pytest.raises(DataError, match=r"(?s)no column 'kind'.*'source_id'.*read_events"):
        open_log(links(1).drop("kind"))


def test_paths_that_lead_nowhere_are_refused_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "events.jsonl").write_text("{}\n")
    (tmp_path / "fake.parquet").write_text("not parquet")
    whole = written(links(9), tmp_path / "folder" / "whole.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    for name, said in {
        "missing.parquet": "no such file", "empty": "no .parquet files", "*.arrow": "no file matches",
        "events.jsonl": "not replayed in place", "fake.parquet": "cannot be read", "cut.parquet": "cannot be read",
    }.items():  # fmt: skip
        with pytest.raises(DataError, match=said) as caught:
            open_log(tmp_path / name)
        assert caught.value.hint, name
    with pytest.raises(DataError, match="int is not an event log"):
        open_log(7)


BAD_ROWS = [
    ("kind", None, "kind is null"),
    ("kind", "link.made", "unknown kind 'link.made'"),
    ("timestamp", None, "timestamp is null"),
    ("source_id", None, "source_id is null, and link.created needs"),
    ("target_id", "", "target_id is empty"),
    ("link_type", None, "link_type is null"),
    ("link_id", "", "link_id is empty"),
    ("data", "{'a': 1}", "data is text that is not JSON"),
    ("metadata", '{"a": NaN}', "metadata is text that is not JSON"),
    ("data", '{"a": nan}', "data is text that is not JSON"),
    ("data", "[1,-inf]", "data is text that is not JSON"),
    ("data", "Infinity", "data is text that is not JSON"),
    ("metadata", '{"a": 1, }', "metadata is text that is not JSON"),
]


@pytest.mark.parametrize(("column", "value", "why"), BAD_ROWS)
def test_rows_that_cannot_be_events_are_left_out_counted_and_named(
    column: str, value: Any, why: str, tmp_path: Path
) -> None:
    frame = links(5, data=["1"] * 5, metadata=[None, "{}", '"a, }"', None, None], link_id=["l"] * 5)
    spoilt = frame.with_columns(
        pl.when(pl.int_range(pl.len()) == 2)
        .then(pl.lit(value, frame.schema[column]))
        .otherwise(column)
        .alias(column)
    )
    path = written(spoilt, tmp_path / "events.parquet", row_group_size=2)
    for log, place in ((path, str(path)), (spoilt, "frame")):
        source = open_log(log)
        if column in JSON_COLUMNS:
            # the event stays without it: flows that do not read it must not depend on flows that do
            assert events(source)[column].is_null()[2]
            assert events(source)["source_id"].to_list() == ["s0", "s1", "s2", "s3", "s4"]
        else:
            assert events(source)["source_id"].to_list() == ["s0", "s1", "s3", "s4"]
        assert source.broken == 1
        problem = source.problems.iloc[0]
        assert (problem.place, problem.row, problem.problem) == (place, 2, "broken")
        assert why in problem.reason
        assert "s2" in problem.text or column == "source_id"
        assert source.count() == 5


@pytest.mark.parametrize("column", ["kind", "timestamp", "source_id"])
def test_a_column_with_nothing_in_it_makes_every_row_a_problem(column: str, tmp_path: Path) -> None:
    frame = links(2).with_columns(pl.lit(None).alias(column))
    for log in (frame, written(frame, tmp_path / "a.parquet")):
        source = open_log(log)
        assert list(source.chunks(EVENT_COLUMNS, 10)) == []
        assert source.broken == 2
        assert source.problems.reason.str.startswith(f"{column} is null").all()


@pytest.mark.parametrize(("column", "value", "why"), BAD_ROWS)
def test_which_rows_are_events_does_not_depend_on_the_columns_asked_for(
    column: str, value: Any, why: str, tmp_path: Path
) -> None:
    frame = links(6, link_id=["l"] * 6, data=["1"] * 6, metadata=["{}"] * 6)
    row = pl.int_range(pl.len()) == 3
    spoilt = frame.with_columns(
        pl.when(row).then(pl.lit(value, frame.schema[column])).otherwise(column).alias(column)
    )
    for groups in (1, 3, 100):
        path = written(spoilt, tmp_path / "events.parquet", row_group_size=groups)
        assert events(path, [])["timestamp"].to_list() == events(path)["timestamp"].to_list()
        assert events(path, [])["seq_no"].to_list() == list(range(1, 7 if column in JSON_COLUMNS else 6))


def test_a_deletion_needs_its_link_id_or_its_type_and_both_ends(tmp_path: Path) -> None:
    frame = pl.DataFrame({
        "timestamp": [T0] * 4, "kind": ["link.deleted"] * 4, "link_id": ["l", None, None, "l"],
        "link_type": ["likes", "likes", None, None], "source_id": ["a", "a", "a", None], "target_id": ["b", "b", "b", None],
    })  # fmt: skip
    for log in (frame, written(frame, tmp_path / "a.parquet")):
        for columns in (EVENT_COLUMNS, ["source_id"]):
            source = open_log(log)
            assert sum(chunk.height for chunk in source.chunks(columns, 10)) == 3
            assert source.problems.row.tolist() == [2]


def test_bytes_that_are_not_utf8_spoil_their_row_only(tmp_path: Path) -> None:
    names = pa.array([b"a", b"\xff\xfe", None, b"d"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 4, names.buffers())
    table = links(4).to_arrow().append_column("event_id", text)
    pq.write_table(table, tmp_path / "text.parquet")
    pq.write_table(table.set_column(5, "event_id", names), tmp_path / "bytes.parquet")
    for name in ("text.parquet", "bytes.parquet"):
        source = open_log(tmp_path / name)
        assert events(source)["event_id"].to_list() == ["a", None, "d"]
        assert source.problems[["row", "reason"]].values.tolist() == [[1, "text that is not UTF-8"]]


def test_duplicates_and_rows_out_of_order_are_reported_and_kept() -> None:
    frame = links(4, event_id=["a", "b", "a", None])[[0, 2, 1, 3]]
    source = open_log(frame)
    assert events(source)["source_id"].to_list() == ["s0", "s1", "s2", "s3"]
    assert source.problems[["row", "problem"]].values.tolist() == [[1, "duplicate"], [2, "out of order"]]
    assert source.broken == 0


def test_numbered_rows_keep_their_numbers_and_are_put_in_their_order(tmp_path: Path) -> None:
    frame = links(4, seq_no=[10, 30, 20, 40])
    got = events(written(frame, tmp_path / "a.parquet"))
    assert got["seq_no"].to_list() == [10, 20, 30, 40]
    assert got["source_id"].to_list() == ["s0", "s2", "s1", "s3"]
    assert events(frame, after=20)["seq_no"].to_list() == [30, 40]


@pytest.mark.parametrize("numbers", [[1, 2, 2, 3], [3, 2, 2, 1]])
def test_a_number_that_stands_twice_is_refused_by_name(numbers: list[int]) -> None:
    with pytest.raises(DataError, match="more than once: 2"):
        events(links(4, seq_no=numbers))


def test_numbers_below_one_or_missing_are_broken_rows() -> None:
    source = open_log(links(4, seq_no=[0, None, 1, 2]))
    assert events(source)["seq_no"].to_list() == [1, 2]
    assert source.problems.row.tolist() == [0, 1]


def test_numbers_in_some_files_only_are_refused(tmp_path: Path) -> None:
    written(links(2, seq_no=[1, 2]), tmp_path / "a.parquet")
    written(links(2), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="number all files or none"):
        open_log(tmp_path)


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("b", "a")])
def test_files_that_lack_or_encode_columns_differently_are_one_log(
    first: str, second: str, tmp_path: Path
) -> None:
    early = links(2).with_columns(pl.col("link_type").cast(pl.Categorical))
    written(early, tmp_path / f"{first}.parquet")
    written(links(4, event_id=[1, 2, 3, 4])[2:], tmp_path / f"{second}.parquet")
    assert events(tmp_path)["event_id"].to_list() == [None, None, "3", "4"]


def test_a_column_of_a_type_that_polars_lacks_does_no_harm_beside_the_others(tmp_path: Path) -> None:
    odd = pa.array([1, 2], pa.decimal256(50, 0))
    pq.write_table(links(2).to_arrow().append_column("odd", odd), tmp_path / "a.parquet")
    assert events(tmp_path / "a.parquet")["source_id"].to_list() == ["s0", "s1"]


def test_the_errors_of_a_result_are_a_log_though_an_event_failed_twice() -> None:
    errors = links(2, seq_no=[7, 7]).with_columns(
        flow=pl.lit("f"), step=0, operator=pl.lit("map"), error=pl.lit("e"), source_id=pl.lit("s")
    )
    assert events(errors)["seq_no"].to_list() == [7]


def test_listed_events_need_a_time_and_keep_numbers_they_have() -> None:
    with pytest.raises(DataError, match="event 0: an event without timestamp"):
        open_log([entity_deleted("user", "a")])
    envelope = {"timestamp": T0, "event": entity_deleted("user", "a")}
    assert events([{**envelope, "seq_no": 9}, {**envelope, "seq_no": 4}])["seq_no"].to_list() == [4, 9]
    assert events([]).height == 0


def test_a_table_without_rows_is_an_empty_log(tmp_path: Path) -> None:
    for log in (links(0), written(links(0), tmp_path / "a.parquet")):
        source = open_log(log)
        assert list(source.chunks(EVENT_COLUMNS, 10)) == []
        assert source.count() == 0
        assert source.problems.empty
        assert source.clock_marks().columns == ["seq_no", "clock"]


def test_chunks_of_a_frame_are_slices_of_it() -> None:
    frame = links(1000)
    chunk = next(iter(open_log(frame).chunks(["source_id"], 100, after=500)))
    assert chunk["source_id"][0] == "s500"


def test_only_text_that_may_not_be_json_is_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    query = validation.query
    monkeypatch.setattr(validation, "query", lambda sql, **frames: asked.append(sql) or query(sql, **frames))
    texts = links(1000, data=["{}"] * 1000)
    assert sum(chunk.height for chunk in open_log(texts).chunks(["source_id"], 100)) == 1000
    assert not asked
    assert sum(chunk.height for chunk in open_log(texts).chunks(["data"], 100)) == 1000
    assert asked


@st.composite
def histories(draw: st.DrawFn) -> pl.DataFrame:
    """Events with few distinct times, in any order, some of them broken."""
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, 6), st.sampled_from(["link.created"] * 5 + ["?", None])), max_size=40
        )
    )
    return links(len(rows)).with_columns(
        pl.Series("timestamp", [T0 + timedelta(seconds=second) for second, _ in rows], dtype=TIME),
        pl.Series("kind", [kind for _, kind in rows], dtype=pl.String),
    )


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorting outside memory with files of a few rows, so that small histories take the long way."""
    monkeypatch.setattr(external_sort, "ROWS_A_FILE", 5)
    monkeypatch.setattr(external_sort.KeySample, "STEP", 2)


@settings(max_examples=3 * settings().max_examples, deadline=None)
@given(histories(), st.integers(1, 50), st.integers(1, 50), st.integers(0, 45))
def test_any_chunk_size_and_any_row_groups_give_the_order_of_time_and_position(
    tmp_path_factory: pytest.TempPathFactory, frame: pl.DataFrame, size: int, groups: int, after: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(external_sort, "ROWS_A_FILE", 5)
        patch.setattr(external_sort.KeySample, "STEP", 2)
        good = frame.filter(pl.col("kind") == "link.created").sort("timestamp", maintain_order=True)
        path = written(frame, tmp_path_factory.mktemp("h") / "a.parquet", row_group_size=groups)
        for log in (frame, path):
            got = events(log, ["source_id"], size, after)
            assert got["seq_no"].to_list() == list(range(after + 1, good.height + 1))
            if got.height:
                assert got["source_id"].to_list() == good["source_id"].to_list()[after:]


def test_sorting_outside_memory_keeps_every_nested_type_and_leaves_no_file_behind(
    tmp_path: Path, small_files: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    count = 60
    data = pa.array([[("k", {"n": i, "t": [None, str(i)]})] for i in range(count)],
                    pa.map_(pa.string(), pa.struct([("n", pa.int16()), ("t", pa.list_(pa.string()))])))  # fmt: skip
    table = links(count).to_arrow().append_column("data", data)
    shuffled = table.take(pa.array(np.random.default_rng(1).permutation(count)))
    pq.write_table(shuffled, tmp_path / "a.parquet", row_group_size=7)
    source = EventTable(ParquetFiles([tmp_path / "a.parquet"]))
    got = pl.concat(source.chunks(EVENT_COLUMNS, 13))
    whole = pl.DataFrame(table)["data"]
    assert (got.schema["data"], got["data"].to_list()) == (whole.dtype, whole.to_list())
    again = pl.concat(source.chunks(["source_id"], 1000))
    assert again["source_id"].to_list() == got["source_id"].to_list()
    assert any(path.is_dir() for path in tmp_path.iterdir())
    del source
    assert not any(path.is_dir() for path in tmp_path.iterdir())


def test_a_reader_that_stops_early_leaves_nothing_running(tmp_path: Path) -> None:
    chunks = open_log(written(links(100), tmp_path / "a.parquet", row_group_size=10)).chunks([], 10)
    assert next(chunks).height == 10
    chunks.close()  # type: ignore[attr-defined]


def test_pandas_columns_of_several_types_are_refused_by_name() -> None:
    frame = links(2).to_pandas()
    frame["source_id"] = pd.Series([1, "a"], dtype=object)
    assert events(frame)["source_id"].to_list() == ["1", "a"]
    frame["source_id"] = pd.Series([1.5, "a"], dtype=object)
    with pytest.raises(DataError, match="'source_id' holds values that have no one type"):
        open_log(frame)
