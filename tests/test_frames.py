"""Frames of any library in and out: the same content gives the same replay, byte for byte, whatever holds it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowdsl as fd
from flowdsl import on, var
from flowdsl.log.nested_columns import as_json_text

FLOW = (
    on("link.created")
    .resolve("source_id", as_="fan")
    .fan_out("source_id", via="follows", as_="friend", direction="reverse")
    .map(recipient_id="{{ friend.id }}", fan=var.fan, n=var.metadata.n, all=var.metadata, at=var.fan.born)
    .deliver("s")
)


class Stream:
    """Something that speaks nothing but the Arrow stream protocol."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


class Batch:
    """Something that speaks nothing but the Arrow array protocol."""

    def __init__(self, table: pa.Table) -> None:
        self._batch = one_batch(table)

    def __arrow_c_array__(self, requested_schema: object = None) -> object:
        return self._batch.__arrow_c_array__(requested_schema)


def one_batch(table: pa.Table) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([c.combine_chunks() for c in table.columns], schema=table.schema)


def in_pieces(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table.slice(i, 1) for i in range(table.num_rows)] or [table])


def recoded(table: pa.Table, encode: Callable[[pa.ChunkedArray], pa.ChunkedArray]) -> pa.Table:
    """The table with its text columns encoded otherwise."""
    for i, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            table = table.set_column(i, field.name, encode(table.column(i)))
    return table


def run_ends(column: pa.ChunkedArray) -> pa.ChunkedArray:
    whole = column.combine_chunks()
    ends = pa.array(range(1, len(whole) + 1), pa.int32())
    return pa.chunked_array([pa.RunEndEncodedArray.from_arrays(ends, whole)])


def times_of(table: pa.Table, dtype: pa.DataType) -> pa.Table:
    for i, field in enumerate(table.schema):
        if field.type == pa.timestamp("us", "UTC"):
            table = table.set_column(i, field.name, table.column(i).cast(dtype))
    return table


def list_views(table: pa.Table) -> pa.Table:
    for i, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            values = pa.array(table.column(i).to_pylist(), pa.list_view(field.type.value_type))
            table = table.set_column(i, field.name, values)
    return table


def files(table: pa.Table, folder: Path) -> pads.Dataset:
    path = folder / f"{'-'.join(table.column_names)}.parquet"
    pq.write_table(table, path, row_group_size=2)
    return pads.dataset(path)


# a relation of DuckDB 1 does not keep its connection
CONNECTIONS: list[duckdb.DuckDBPyConnection] = []


def queried(table: pa.Table) -> duckdb.DuckDBPyRelation:
    connection = duckdb.connect()
    CONNECTIONS.append(connection)
    connection.register("history", table)
    return connection.sql("SELECT * FROM history")


FORMS: dict[str, Callable[[pa.Table, Path], Any]] = {
    "pandas": lambda table, folder: table.to_pandas(types_mapper=pd.ArrowDtype),
    "polars": lambda table, folder: pl.DataFrame(table),
    "lazy polars": lambda table, folder: pl.DataFrame(table).lazy(),
    "arrow table": lambda table, folder: table,
    "table of many pieces": lambda table, folder: in_pieces(table),
    "record batch": lambda table, folder: one_batch(table),
    "record batch reader": lambda table, folder: in_pieces(table).to_reader(),
    "dataset": lambda table, folder: pads.dataset(table),
    "dataset of files": files,
    "scanner": lambda table, folder: pads.dataset(table).scanner(),
    "relation": lambda table, folder: duckdb.from_arrow(table),
    "query": lambda table, folder: queried(table),
    "arrow stream": lambda table, folder: Stream(table),
    "arrow array": lambda table, folder: Batch(table),
    "large text": lambda table, folder: recoded(table, lambda c: c.cast(pa.large_string())),
    "text views": lambda table, folder: recoded(table, lambda c: c.cast(pa.string_view())),
    "dictionaries": lambda table, folder: recoded(table, lambda c: c.dictionary_encode()),
    "pandas categories": lambda table, folder: recoded(
        table, lambda c: c.dictionary_encode()
    ).to_pandas(types_mapper=lambda t: None if pa.types.is_dictionary(t) else pd.ArrowDtype(t)),
    "polars categories": lambda table, folder: pl.DataFrame(recoded(table, lambda c: c.dictionary_encode())),
    "run ends": lambda table, folder: recoded(table, run_ends),
    "nanoseconds": lambda table, folder: times_of(table, pa.timestamp("ns", "UTC")),
    "another zone": lambda table, folder: times_of(table, pa.timestamp("us", "Asia/Kathmandu")),
    "list views": lambda table, folder: list_views(table),
}  # fmt: skip

ids = st.sampled_from(["ann", "bob", "eve", "é😀", "7"])
moments = st.datetimes(dt.datetime(1969, 1, 1), dt.datetime(2262, 1, 1)).map(
    lambda t: t.replace(tzinfo=dt.UTC)
)
META = pa.struct(
    [("n", pa.int64()), ("who", pa.struct([("x", pa.float64()), ("on", pa.bool_())])), ("tags", pa.list_(pa.string()))]
)  # fmt: skip
USER = pa.schema(
    [("id", pa.string()), ("name", pa.string()), ("score", pa.float64()), ("born", pa.timestamp("us", "UTC")),
     ("day", pa.date32()), ("tags", pa.list_(pa.int64())), ("at", pa.struct([("city", pa.string())]))]
)  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> dict[str, Any]:
    """Events, entities, links and `only`, as Arrow tables of the plainest types."""
    some = lambda values: st.none() | values  # noqa: E731
    size = draw(st.integers(0, 6))
    column = lambda values: [draw(values) for _ in range(size)]  # noqa: E731
    metadata = st.fixed_dictionaries(
        {
            "n": some(st.integers(-(2**63), 2**63 - 1)),
            "who": some(
                st.fixed_dictionaries({"x": some(st.floats(allow_nan=False)), "on": some(st.booleans())})
            ),
            "tags": some(st.lists(some(st.text(max_size=3)), max_size=2)),
        }
    )
    events = pa.table(
        {
            "kind": pa.array(["link.created"] * size, pa.string()),
            "timestamp": pa.array(column(moments), pa.timestamp("us", "UTC")),
            "link_type": pa.array(column(st.sampled_from(["likes", "follows"])), pa.string()),
            "source_id": pa.array(column(ids), pa.string()),
            "target_id": pa.array(column(ids), pa.string()),
            "metadata": pa.array(column(some(metadata)), META),
        }
    )
    people = draw(st.lists(ids, unique=True))
    user = st.fixed_dictionaries(
        {
            "name": some(st.text(max_size=4)),
            "score": some(st.floats(allow_nan=False)),
            "born": some(moments),
            "day": some(st.dates()),
            "tags": some(st.lists(some(st.integers(-9, 9)), max_size=3)),
            "at": some(st.fixed_dictionaries({"city": some(st.text(max_size=2))})),
        }
    )
    users = pa.Table.from_pylist([{"id": i, **draw(user)} for i in people], USER)
    links = pa.table({"link_type": ["follows"] * 2, "source_id": ["bob", "eve"], "target_id": ["ann", "é😀"]})
    return {
        "events": events,
        "users": users,
        "links": links,
        "only": pa.table({"seq_no": list(range(1, size + 1, 2))}),
    }


def outcome(history: dict[str, Any], only: bool) -> list[bytes]:
    """What a replay gives, each table as the bytes of an Arrow stream, times spent left out."""
    graph = fd.EntityGraph({"user": history["users"]}, history["links"])
    result = fd.replay(FLOW, history["events"], graph, only=history["only"] if only else None)
    tables = [
        result.to_arrow(),
        result.to_arrow("s"),
        # a log keeps data and metadata as JSON text
        _anew(as_json_text(result.to_polars(table="errors"))).to_arrow(),
        result.to_arrow(table="dropped"),
        result.to_arrow(table="steps").drop_columns("seconds"),
    ]
    return [serialized(table) for table in tables]


def _anew(frame: pl.DataFrame) -> pl.DataFrame:
    """The same values, and nothing behind the nulls."""
    return pl.DataFrame(frame.to_dict(as_series=False), schema=frame.schema)


def serialized(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


@pytest.mark.filterwarnings("ignore::flowdsl.errors.FlowWarning")
@given(
    history=histories(),
    forms=st.fixed_dictionaries(
        dict.fromkeys(("events", "users", "links", "only"), st.sampled_from(sorted(FORMS)))
    ),
    only=st.booleans(),
)
def test_the_same_content_in_any_frames_gives_the_same_replay_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, history: dict[str, pa.Table], forms: dict[str, str], only: bool
) -> None:
    handed = {role: FORMS[form](history[role], tmp_path_factory.mktemp(role)) for role, form in forms.items()}
    assert outcome(handed, only) == outcome(history, only)


WHOLE = {
    "events": pa.table(
        {
            "kind": ["link.created"] * 3,
            "timestamp": pa.array([dt.datetime(2026, 1, 1, 0, 0, i, 7, dt.UTC) for i in range(3)]),
            "link_type": ["likes", "follows", "likes"],
            "source_id": ["ann", "é😀", "ann"],
            "target_id": ["bob", "ann", "eve"],
            "metadata": pa.array([{"n": 1, "tags": ["a", None]}, None, {"who": {"x": 0.5, "on": True}}], META),
        }
    ),
    "users": pa.Table.from_pylist(
        [
            {"id": "ann", "name": "Ann", "score": 1.5, "born": dt.datetime(1990, 1, 1, tzinfo=dt.UTC), "day": dt.date(1990, 1, 1)},
            {"id": "bob", "name": None, "tags": [1, None], "at": {"city": "Oslo"}},
            {"id": "eve"}, {"id": "é😀"},
        ],
        USER,
    ),
    "links": pa.table({"link_type": ["follows"] * 3, "source_id": ["bob", "eve", "bob"], "target_id": ["ann", "é😀", "é😀"]}),
    "only": pa.table({"seq_no": [1, 3]}),
}  # fmt: skip


@cache
def whole_outcome(only: bool) -> list[bytes]:
    return outcome(WHOLE, only=only)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_taken_for_events_entities_links_and_only(form: str, tmp_path: Path) -> None:
    handed = {role: FORMS[form](table, tmp_path) for role, table in WHOLE.items() if role != "links"}
    handed["links"] = FORMS[form](WHOLE["links"], tmp_path)
    assert outcome(handed, only=True) == whole_outcome(only=True)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_taken_by_logs_and_by_read_events(form: str, tmp_path: Path) -> None:
    log = fd.MemoryEventLog()
    log.append(FORMS[form](WHOLE["events"], tmp_path))
    assert outcome({**WHOLE, "events": log}, only=False) == whole_outcome(only=False)
    read = fd.read_events(FORMS[form](WHOLE["events"], tmp_path))
    assert outcome({**WHOLE, "events": read}, only=False) == whole_outcome(only=False)


# -- types that JSON or Polars do not have -----------------------------------------------------------------

ONE = UUID(int=0x1234)
EVENT = {
    "kind": ["link.created"],
    "timestamp": ["2026-01-01T00:00:00Z"],
    "link_type": ["likes"],
    "target_id": ["p"],
}


def rendered(entity: Any = None, **columns: Any) -> Any:
    """What a column of events, or of the entity that they name, is in a payload."""
    events = pa.table({**EVENT, "source_id": ["1"], "metadata": ["{}"], **columns})
    graph = fd.EntityGraph(
        {"user": pa.table({"id": pa.array([1]), "x": pa.nulls(1) if entity is None else entity})}
    )
    flow = on("link.created").resolve("source_id", as_="fan").map(x=var.fan.x, m=var.metadata, fan=var.fan)
    result = fd.replay(flow.deliver("s"), events, graph)
    assert result.errors["error"].tolist() == []
    [payload] = map(json.loads, result.deliveries["payload"])
    assert payload["fan"] == {"id": "1", "x": payload["x"]}
    return payload["m"] if entity is None else payload["x"]


NESTED = {
    "day": dt.date(2026, 1, 2),
    "price": Decimal("1.50"),
    "took": dt.timedelta(hours=1.5),
    "raw": b"text",
    "id": ONE,
}
UUIDS = pa.array([ONE.bytes], pa.uuid())
CELLS: dict[str, tuple[pa.Array, Any]] = {
    "a UUID": (UUIDS, str(ONE)),
    "a decimal": (pa.array([Decimal("1.50")]), 1.5),
    "a duration": (pa.array([dt.timedelta(hours=1.5)]), "PT1H30M"),
    "bytes that are text": (pa.array(["é".encode()]), "é"),
    "a boolean of one byte": (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1], pa.int8())), True),
    "a map": (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), {"a": 1}),
    "a map of numbers": (pa.array([[(7, Decimal("1.5"))]], pa.map_(pa.int64(), pa.decimal128(3, 1))), {"7": 1.5}),
    "an array": (pa.array([[1, 2]], pa.list_(pa.int64(), 2)), [1, 2]),
    "half a float": (pa.array(np.array([1.5], np.float16)), 1.5),
    "not a number": (pa.array([float("nan")]), None),
    "nested": (
        pa.StructArray.from_arrays(
            [pa.array([value]) for key, value in NESTED.items() if key != "id"] + [UUIDS], list(NESTED)
        ),
        {"day": "2026-01-02", "price": 1.5, "took": "PT1H30M", "raw": "text", "id": str(ONE)},
    ),
    "a list of those": (pa.array([[dt.datetime(2026, 1, 1, tzinfo=dt.UTC)]]), ["2026-01-01T00:00:00Z"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CELLS)
def test_cells_that_json_does_not_have_are_what_a_reader_of_json_expects(name: str) -> None:
    cells, expected = CELLS[name]
    assert rendered(cells) == expected
    if pa.types.is_nested(cells.type):
        assert rendered(metadata=cells) == expected


def test_python_objects_in_a_pandas_column_are_json_as_in_any_other_frame() -> None:
    spoken = {name: value for name, value in NESTED.items() if name != "raw"}
    values = [spoken, [np.arange(3), np.float32(0.5)], ONE, float("nan"), {"gap": float("nan")}]
    events = pd.DataFrame({"metadata": pd.Series(values, dtype=object)}).assign(
        **{name: column * len(values) for name, column in EVENT.items()}, source_id="ann"
    )
    result = fd.replay(on("link.created").map(m=var.metadata).deliver("s"), events)
    assert [json.loads(payload)["m"] for payload in result.deliveries["payload"]] == [
        {"day": "2026-01-02", "price": 1.5, "took": "PT1H30M", "id": str(ONE)},
        [[0, 1, 2], 0.5],
        str(ONE),
        {"gap": None},
    ]
    assert result.errors["error"].tolist() == ["metadata is missing"]


def test_paths_reach_into_maps() -> None:
    events = pa.table(
        {**EVENT, "source_id": ["ann"], "metadata": pa.array([[("n", 5)]], pa.map_(pa.string(), pa.int64()))}
    )
    flow = (
        on("link.created").where("metadata.n == 5").where("not metadata.other exists").map(n=var.metadata.n)
    )
    assert fd.replay(flow.deliver("s"), events)["s"]["n"].tolist() == [5]


@pytest.mark.parametrize("form", ["frame", "file"])
def test_uuids_are_ids_as_text(form: str, tmp_path: Path) -> None:
    events: Any = pa.table({**EVENT, "source_id": UUIDS})
    if form == "file":
        pq.write_table(events, tmp_path / "events.parquet")
        events = tmp_path / "events.parquet"
    (tmp_path / "entities").mkdir()
    pq.write_table(pa.table({"id": UUIDS, "name": ["Ann"]}), tmp_path / "entities" / "user.parquet")
    flow = (
        on("link.created").resolve("source_id", as_="fan").map(who="{{ fan.id }} {{ fan.name }}").deliver("s")
    )
    result = fd.replay(flow, events, fd.read_graph(tmp_path))
    assert result["s"]["who"].tolist() == [f"{ONE} Ann"]


@pytest.mark.parametrize(
    "ids", [pa.array([Decimal(1)], pa.decimal128(38, 0)), pa.array([1], pa.uint8())], ids=str
)
def test_whole_numbers_of_any_width_are_ids(ids: pa.Array) -> None:
    assert rendered(pa.array(["x"]), source_id=ids) == "x"


REFUSED: dict[str, tuple[Any, str]] = {
    "a union": (
        pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])]),
        "column 'x' is a union",
    ),
    "an interval": (pa.array([(1, 2, 3)], pa.month_day_nano_interval()), "column 'x' is an interval"),
    "an interval inside": (
        pa.StructArray.from_arrays([pa.array([(1, 2, 3)], pa.month_day_nano_interval())], ["y"]),
        "column 'x' is an interval",
    ),
    "bytes": (pa.array([b"\xff"]), "column 'x' holds bytes that are not text"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_cells_that_can_be_no_json_are_refused_with_their_column(name: str) -> None:
    cells, why = REFUSED[name]
    with pytest.raises(fd.DataError, match=f"^entities 'user'.*{why}"):
        rendered(cells)


def test_a_relation_of_odd_types_is_refused_without_a_panic() -> None:
    with pytest.raises(fd.DataError, match="entities 'user': column 'i' is an interval"):
        fd.EntityGraph({"user": duckdb.sql("SELECT 1 AS id, INTERVAL 1 DAY AS i")})


# -- shapes ------------------------------------------------------------------------------------------------

TWICE = pa.table([["a"], ["b"]], ["id", "id"])


@pytest.mark.parametrize("form", ["table", "pandas", "stream"])
def test_a_column_that_stands_twice_is_refused_by_name(form: str) -> None:
    frame = {"table": TWICE, "pandas": TWICE.to_pandas(), "stream": Stream(TWICE)}[form]
    with pytest.raises(fd.DataError, match="entities 'user': column 'id' occurs more than once"):
        fd.EntityGraph({"user": frame})


def test_columns_that_events_do_not_have_may_be_anything() -> None:
    odd = pa.table(
        [["link.created"], ["2026-01-01T00:00:00Z"], ["likes"], ["ann"], ["p"], CELLS["a map"][0], REFUSED["a union"][0], [1]],
        ["kind", "timestamp", "link_type", "source_id", "target_id", "odd", "odd", "more"],
    )  # fmt: skip
    assert len(fd.replay(on("link.created").map(a="x").deliver("s"), odd)) == 1


@pytest.mark.parametrize("form", FORMS)
def test_frames_without_rows_are_logs_and_graphs_without_anything(form: str, tmp_path: Path) -> None:
    if form != "record batch":
        empty = {role: FORMS[form](table.slice(0, 0), tmp_path) for role, table in WHOLE.items()}
        assert (
            len(fd.replay(FLOW, empty["events"], fd.EntityGraph({"user": empty["users"]}, empty["links"])))
            == 0
        )


@pytest.mark.parametrize(
    "frame", [pd.DataFrame(), pl.DataFrame(), pa.table({})], ids=lambda f: type(f).__module__
)
def test_frames_without_columns_are_refused_with_what_they_lack(frame: Any) -> None:
    with pytest.raises(fd.DataError, match="no columns 'kind' and 'timestamp'"):
        fd.replay(FLOW, frame)
    with pytest.raises(fd.DataError, match="no column 'id'"):
        fd.EntityGraph({"user": frame})
    with pytest.raises(fd.DataError, match="no column 'link_type'"):
        fd.EntityGraph({}, frame)
    with pytest.raises(fd.ReplayError, match="no column 'seq_no'"):
        fd.replay(FLOW, [], only=frame)


def test_an_index_of_pandas_with_a_name_is_a_column() -> None:
    events = WHOLE["events"].to_pandas(types_mapper=pd.ArrowDtype).set_index("timestamp")
    users = WHOLE["users"].to_pandas(types_mapper=pd.ArrowDtype).set_index("id")
    assert outcome({**WHOLE, "events": events, "users": users}, only=True) == outcome(WHOLE, only=True)


def test_pandas_columns_of_its_own_types_are_read() -> None:
    users = pd.DataFrame(
        {
            "id": pd.Series([1, 2], dtype="Int64"),
            "month": pd.period_range("2026-01", periods=2, freq="M"),
            "sparse": pd.arrays.SparseArray([0, 5]),
            "sort": pd.Categorical([3, None]),
            "took": pd.to_timedelta(["1s", None]),
            7: ["a name", "that is a number"],
        }
    )
    flow = on("link.created").resolve("source_id", as_="fan").map(fan=var.fan).deliver("s")
    result = fd.replay(flow, pa.table({**EVENT, "source_id": ["1"]}), fd.EntityGraph({"user": users}))
    [payload] = map(json.loads, result.deliveries["payload"])
    assert payload["fan"] == {
        "id": "1",
        "month": "2026-01",
        "sparse": 0,
        "sort": 3,
        "took": "PT1S",
        "7": "a name",
    }


@pytest.mark.parametrize(
    "only", [pl.Series([1, 3]), pd.Series([1, 3]), np.array([1, 3]), pa.array([1, 3]), pa.chunked_array([[1], [3]]), {3, 1}],
    ids=lambda only: f"{type(only).__module__}.{type(only).__name__}",
)  # fmt: skip
def test_only_may_be_a_column_by_itself(only: Any) -> None:
    assert outcome({**WHOLE, "only": only}, only=True) == outcome(WHOLE, only=True)


# -- out ---------------------------------------------------------------------------------------------------


def replayed() -> fd.Result:
    return fd.replay(FLOW, WHOLE["events"], fd.EntityGraph({"user": WHOLE["users"]}, WHOLE["links"]))


TABLES = ("deliveries", "errors", "dropped", "steps", "refused", "undelivered", "late", "open")


@pytest.mark.parametrize("table", TABLES)
def test_every_table_of_a_result_comes_in_each_library(table: str) -> None:
    result = replayed()
    frame = result.to_polars(table=table)
    assert pl.DataFrame(result.to_arrow(table=table)).equals(frame)
    pandas = result.to_pandas(table=table)
    assert pandas.equals(getattr(result, table))
    assert {str(dtype) for dtype in pandas.dtypes} & {"object", "str"} == set()
    for column in frame.select(pl.exclude(pl.Struct)).columns:
        assert len(pandas.sort_values(column)) == len(pandas[column].astype(str)) == frame.height
    column = frame.columns[0]
    assert result.to_arrow(table=table, columns=[column]).column_names == [column]


def test_types_of_a_sink_are_those_of_arrow() -> None:
    frame = replayed().to_pandas("s")
    types = frame.dtypes.map(lambda dtype: str(dtype.pyarrow_dtype)).to_dict()
    assert types["seq_no"] == "int64"
    assert types["delivered_at"] == "timestamp[us, tz=UTC]"
    assert types["recipient_id"] == "large_string"
    assert types["n"] == "int64"
    nested = fd.replay(on("link.created").map(to={"id": "x", "n": 1}, l=["a"]).deliver("s"), WHOLE["events"])
    assert nested["s"]["to"].dtype.pyarrow_dtype == pa.struct([("id", pa.large_string()), ("n", pa.int64())])
    assert nested["s"]["l"].dtype.pyarrow_dtype.value_type == pa.large_string()


def test_whatever_reads_arrow_streams_takes_a_result_as_it_is() -> None:
    result = replayed()
    expected = result.to_polars()
    assert pl.DataFrame(result).equals(expected)
    assert pa.table(result).num_rows == expected.height
    if hasattr(pd.DataFrame, "from_arrow"):  # pandas 3
        assert len(pd.DataFrame.from_arrow(result)) == expected.height
    assert duckdb.sql("SELECT count(*) FROM result").fetchall() == [(expected.height,)]
    count = "SELECT recipient_id, count(*) FROM sink GROUP BY ALL ORDER BY ALL"
    found = duckdb.from_arrow(result.to_arrow("s")).query("sink", count).fetchall()
    assert found == [("bob", 1)]


def test_a_frame_that_is_asked_for_may_be_changed() -> None:
    result = replayed()
    frame = result.to_pandas("s")
    frame["recipient_id"] = "changed"
    assert "changed" not in result["s"]["recipient_id"].tolist()


def test_tables_that_a_result_does_not_have_are_refused() -> None:
    result = replayed()
    with pytest.raises(fd.ReplayError, match="a result has no table 'error'"):
        result.to_arrow(table="error")
    with pytest.raises(fd.ReplayError, match="'errors' is not kept by sink"):
        result.to_polars("s", table="errors")
    with pytest.raises(fd.ReplayError, match="no column 'stepp'"):
        result.to_pandas(columns=["stepp"], table="steps")
