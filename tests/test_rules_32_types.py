"""Rule 32: a frame's types follow from all of its values, whatever the chunk size, the engine or the container."""

from __future__ import annotations

import json

import hypothesis.strategies as st
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings

import flowdsl as fd
from flowdsl import on, var

MAIL = (
    on("entity.created", entity_type="order", name="mail")
    .map(title="order", value=var.data.value)
    .deliver("mail")
)


def orders(values):
    return [
        {
            "timestamp": f"2026-01-01T{i // 3600:02}:{i // 60 % 60:02}:{i % 60:02}Z",
            "event": fd.entity_created("order", f"o{i}", {"value": value}),
        }
        for i, value in enumerate(values)
    ]


def column(values, chunk_size=None, flow=MAIL, **options):
    return fd.replay(flow, orders(values), chunk_size=chunk_size, **options).to_polars("mail")["value"]


def live(values, flow=MAIL):
    log, frame = fd.MemoryEventLog(), fd.sinks.Frame()
    with fd.Runtime(flow, log, sinks={"mail": frame}) as runtime:
        runtime.run_until_idle()
        for order in orders(values):
            log.append(order["event"], order["timestamp"])
        runtime.run_until_idle()
    return frame.frame()


@pytest.mark.parametrize("size", [None, 1, 2])
@pytest.mark.parametrize(
    ("values", "dtype", "right"),
    [
        ([100, 20.5, 3], pl.Float64, [100.0, 20.5, 3.0]),
        ([1, None, 2], pl.Int64, [1, None, 2]),
        ([2**53 + 1, 0.5], pl.Float64, [float(2**53), 0.5]),
        ([True, None], pl.Boolean, [True, None]),
        ([[1, 2], [], [0.5]], pl.List(pl.Float64), [[1.0, 2.0], [], [0.5]]),
        ([{"b": 1}, {"a": "x", "b": 2.5}], pl.Struct({"a": pl.String, "b": pl.Float64}), [{"a": None, "b": 1.0}, {"a": "x", "b": 2.5}]),
        ([{"a": [{"b": 1}]}, {"a": None}], pl.Struct({"a": pl.List(pl.Struct({"b": pl.Int64}))}), [{"a": [{"b": 1}]}, {"a": None}]),
        ([1, "1", None, True], pl.String, ["1", '"1"', None, "true"]),
        ([{"a": 1}, {"a": "1"}], pl.Struct({"a": pl.String}), [{"a": "1"}, {"a": '"1"'}]),
        ([[1], {"a": 1}], pl.String, ["[1]", '{"a":1}']),
        ([{}, {}], pl.String, ["{}", "{}"]),
    ],
)  # fmt: skip
def test_rule_32_the_type_of_a_field_follows_from_all_of_its_values(values, dtype, right, size):
    found = column(values, size)
    assert found.dtype == dtype
    assert found.to_list() == right


def test_rule_32_the_payload_as_json_text_keeps_each_number_as_it_is():
    payloads = fd.replay(MAIL, orders([2**53 + 1, 0.5]), chunk_size=1).deliveries["payload"]
    assert [json.loads(payload)["value"] for payload in payloads] == [2**53 + 1, 0.5]


def test_rule_32_an_object_of_more_fields_than_a_frame_should_have_is_json_text():
    values = [{f"user{i}": 1} for i in range(30)] + [{f"other{i}": 1 for i in range(1_000)}]
    assert column(values, 7).dtype == pl.String
    assert column(values[:30], 7).dtype == pl.Struct(
        {f"user{i}": pl.Int64 for i in sorted(range(30), key=str)}
    )


EMPTY = (
    on("entity.created")
    .batch("entity_id", window="1h")
    .map(
        text="{{ entity_id }}", id=var.entity_id, n=var.batch.count, half=var.batch.count / 2, more=var.batch.count + 1,
        there=fd.fn.exists(var.data.x), size=fd.fn.len(var.data.x), one=1, any=var.data.x, nest={"n": var.batch.count},
        items=[1, 2.5],
    )
    .deliver("mail")
)  # fmt: skip


def test_rule_32_an_empty_column_has_the_type_that_its_template_says():
    found = fd.replay(EMPTY, []).to_polars("mail").schema
    assert dict(list(found.items())[2:-7]) == {
        "text": pl.String, "id": pl.String, "n": pl.Int64, "half": pl.Float64, "more": pl.Int64, "there": pl.Boolean,
        "size": pl.Int64, "one": pl.Int64, "any": pl.String, "nest": pl.Struct({"n": pl.Int64}), "items": pl.List(pl.Float64),
    }  # fmt: skip
    full = fd.replay(EMPTY, orders([1])).to_polars("mail").schema
    assert full["n"] == found["n"]


def test_rule_32_an_empty_result_can_be_counted_with():
    frame = fd.replay(EMPTY, [])["mail"]
    assert frame["n"].sum() + 1 == 1
    assert not (frame["n"] > 3).any()


def test_rule_32_flows_of_one_sink_have_one_type_for_a_field():
    rows = orders([1, 2])
    floats = on("entity.created", name="floats").map(value=0.5).deliver("mail")
    texts = on("entity.created", name="texts").map(value="x").deliver("mail")
    assert fd.replay([MAIL, floats], rows).to_polars("mail")["value"].to_list() == [1.0, 0.5, 2.0, 0.5]
    assert fd.replay([MAIL, texts], rows).to_polars("mail")["value"].to_list() == ["1", '"x"', "2", '"x"']


numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False, width=64)
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(st.characters(codec="utf-8"), max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=8, deadline=None)
@given(st.one_of(st.lists(values, max_size=6), st.lists(numbers, max_size=6)), st.integers(1, 4))
def test_rule_32_chunks_and_containers_give_the_same_frame(tmp_path_factory, values, size):
    folder = tmp_path_factory.mktemp("results")
    rows = orders(values)
    whole = fd.replay(MAIL, rows)
    expected = whole.to_arrow("mail")
    chunked = fd.replay(MAIL, rows, chunk_size=size, out=folder / "out")
    assert chunked.to_arrow("mail").equals(expected)
    assert fd.read_result(folder / "out").to_arrow("mail").equals(expected)
    chunked.to_parquet(folder / "copy")
    assert fd.read_result(folder / "copy").to_arrow("mail").equals(expected)
    assert chunked.deliveries.equals(whole.deliveries)


@settings(max_examples=4, deadline=None)
@given(st.lists(values, min_size=1, max_size=5))
def test_rule_32_a_live_frame_is_that_of_the_replay(values):
    replayed = fd.replay(MAIL, orders(values))["mail"]
    found = live(values)
    assert found["value"].dtype == replayed["value"].dtype
    assert pa.array(found["value"]).to_pylist() == pa.array(replayed["value"]).to_pylist()
    fixed = [name for name in replayed.columns if name not in ("title", "value")]
    assert len(fixed) == 9
    assert found.dtypes[fixed].equals(replayed.dtypes[fixed])


@settings(max_examples=4, deadline=None)
@given(st.lists(values, min_size=1, max_size=5))
def test_rule_32_many_rows_have_the_types_of_few(values):
    few = column(values)
    texts = [json.dumps({"value": value}) for value in values] * (2_500 // len(values))
    start = pl.datetime(2026, 1, 1, time_zone="UTC")
    log = pl.DataFrame({"data": texts}).with_columns(
        pl.lit("entity.created").alias("kind"),
        pl.lit("order").alias("entity_type"),
        pl.lit("o").alias("entity_id"),
        start.alias("timestamp"),
    )
    many = fd.replay(MAIL, log).to_polars("mail")["value"]
    assert many.dtype == few.dtype
    assert many[: len(few)].to_list() == few.to_list()


def test_rule_32_an_object_with_the_character_0_in_a_name_is_json_text(tmp_path):
    values = [{"a\0b": 1}, {"x": [{"a\0b": 2}]}]
    flow = MAIL.with_step(0, template={"value": var.data.value, "whole": {"is": var.data}})
    texts = [json.dumps(value, separators=(",", ":")) for value in values]
    for options in ({}, {"chunk_size": 1}, {"out": tmp_path / "out"}):
        found = fd.replay(flow, orders(values), **options)
        assert found["mail"]["value"].tolist() == texts
        assert found.to_arrow("mail")["value"].to_pylist() == texts
    assert fd.read_result(tmp_path / "out")["mail"]["value"].tolist() == texts
    assert live(values, flow)["value"].tolist() == texts
    with pytest.raises(fd.BuildError, match="holds the character 0"):
        on("link.created").map({"a\0b": "x"})


def test_rule_32_a_field_has_a_column_of_its_own_whatever_others_are_called(tmp_path):
    template = {"step": "a", "payload.step": "b", "sink": "c", "payload.sink": "d", "": "e"}
    flow = MAIL.with_step(0, template=template)
    replayed = fd.replay(flow, orders([1]), out=tmp_path / "out")["mail"]
    for frame in (replayed, fd.read_result(tmp_path / "out")["mail"], live([1], flow)):
        columns = ["payload.payload.step", "payload.step", "payload.payload.sink", "payload.sink", ""]
        assert frame[columns].values.tolist() == [list("abcde")]
