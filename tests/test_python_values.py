"""Values of Python, NumPy and pandas inside events, frames and graphs are the JSON values that they stand for."""

from __future__ import annotations

import datetime as dt
import enum
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pytest

import flowdsl as fd
from flowdsl import on

TIME = pd.Timestamp("2026-01-01", tz="UTC")


class Colour(enum.Enum):
    RED = "red"
    DEEP = Decimal("0.5")


class Size(enum.IntEnum):
    SMALL = 1


VALUES: dict[str, tuple[Any, str]] = {
    "a decimal": (Decimal("1.50"), "1.5"),
    "a whole decimal": (Decimal(12), "12"),
    "a decimal that is none": (Decimal("NaN"), ""),
    "a decimal that signals": (Decimal("sNaN"), ""),
    "a UUID": (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    "a date": (dt.date(2026, 1, 2), "2026-01-02"),
    "a time in a zone": (dt.datetime(2026, 1, 2, 3, 4, 5, 600_000, dt.UTC), "2026-01-02T03:04:05.600Z"),
    "a pandas time": (pd.Timestamp("2026-01-02 03:04", tz="Europe/Berlin"), "2026-01-02T02:04:00Z"),
    "a duration": (dt.timedelta(days=1, seconds=5), "P1DT5S"),
    "an enum": (Colour.RED, "red"),
    "an enum of decimals": (Colour.DEEP, "0.5"),
    "an enum of numbers": (Size.SMALL, "1"),
    "a NumPy integer": (np.int64(3), "3"),
    "a NumPy float": (np.float32(1.5), "1.5"),
    "a NumPy boolean": (np.bool_(True), "true"),
    "a NumPy array": (np.array([1, 2]), "[1, 2]"),
    "a NumPy time": (np.datetime64("2026-01-02T03:04:05.123456000"), "2026-01-02T03:04:05.123456"),
    "a NumPy duration": (np.timedelta64(90_000_000_000, "ns"), "PT1M30S"),
    "a NumPy NaT": (np.datetime64("NaT", "ns"), ""),
    "an array of times": (np.array(["2026-01-02"], "datetime64[ns]"), "[2026-01-02T00:00:00]"),
    "a tuple": ((1, Decimal("2.5")), "[1, 2.5]"),
    "NaN": (float("nan"), ""),
    "NaT": (pd.NaT, ""),
    "NA": (pd.NA, ""),
}
REFUSED: dict[str, tuple[Any, str]] = {
    "bytes": (b"x", "data.list[1].v holds bytes; decode them to text"),
    "a set": ({1}, "data.list[1].v holds a set, which has no order; make it a list"),
    "an object": (object(), "data.list[1].v holds a value of type object, which has no JSON form"),
    "a far time": (
        np.datetime64("12000-01-01"),
        "data.list[1].v holds a value of type datetime64, which has no JSON form",
    ),
    "months": (
        np.timedelta64(3, "M"),
        "data.list[1].v holds a value of type timedelta64, which has no JSON form",
    ),
    "an infinite decimal": (Decimal("Infinity"), "data.list[1].v holds Infinity, which has no JSON form"),
}
SHOWN = on("entity.created").map(text="{{ data.v }}").deliver("out")


def shown(log: Any) -> str:
    text: str = fd.replay(SHOWN, log)["out"]["text"].item()
    return text


def from_an_event(value: Any) -> str:
    log = fd.MemoryEventLog()
    log.append(fd.entity_created("thing", "t", {"v": value}), timestamp=TIME)
    return shown(log)


def from_a_frame(value: Any) -> str:
    row = {"timestamp": TIME, "kind": "entity.created", "entity_type": "thing", "entity_id": "t"}
    return shown(pd.DataFrame([row]).assign(data=pd.Series([{"v": value}], dtype=object)))


THING: Any = {
    "timestamp": "at",
    "kind": fd.literal("entity.created"),
    "entity_type": fd.literal("thing"),
    "entity_id": fd.literal("t"),
}


def from_columns(value: Any) -> Any:
    columns = {**THING, "data": {"v": "v", "more": "more"}}
    frame = pd.DataFrame({"at": [TIME], "v": pd.Series([value], dtype=object)})
    return fd.read_events(frame.assign(more=pd.Series([{"in": [value]}], dtype=object)), columns)


def from_an_object_column(value: Any) -> str:
    return shown(from_columns(value))


def from_a_function_of_rows(value: Any) -> str:
    columns = {**THING, "data": lambda row: {"v": value}}
    return shown(fd.read_events(pd.DataFrame({"at": [TIME]}), columns=columns))


def from_entities(entities: Any) -> str:
    flow = on("link.created").resolve("source_id", as_="thing").map(text="{{ thing.v }}").deliver("out")
    log = fd.MemoryEventLog()
    log.append(fd.link_created("l", "t", "x"), timestamp=TIME)
    text: str = fd.replay(flow, log, fd.EntityGraph({"thing": entities}))["out"]["text"].item()
    return text


def from_a_mapping_of_entities(value: Any) -> str:
    return from_entities({"t": {"v": value}})


def from_a_frame_of_entities_of_many_types(value: Any) -> str:
    others = [{"a": 1}, "text", 5]
    frame = pd.DataFrame({"id": ["t", "a", "b", "c"]})
    return from_entities(frame.assign(v=pd.Series([value, *others], dtype=object)))


WAYS: list[Callable[[Any], str]] = [
    from_an_event,
    from_a_frame,
    from_an_object_column,
    from_a_function_of_rows,
    from_a_mapping_of_entities,
    from_a_frame_of_entities_of_many_types,
]


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_value_is_the_same_data_from_whatever_holds_it(way: Callable[[Any], str], name: str):
    value, text = VALUES[name]
    if way is from_an_object_column and text == "":
        # a null in a column says that the row has no such field
        assert next(iter(from_columns(value).read()))["data"].to_pylist()[0].startswith("{")
        with pytest.raises(ValueError, match="size 1"):
            way(value)
    else:
        assert way(value) == text


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_json_form_is_refused_with_its_path(name: str):
    value, reason = REFUSED[name]
    with pytest.raises(fd.DataError) as error:
        fd.MemoryEventLog().append(fd.entity_created("thing", "t", {"list": [0, {"v": value}]}))
    assert reason in str(error.value)


@pytest.mark.parametrize("name", ["bytes", "a set"])
def test_what_has_no_json_form_is_refused_in_columns_too(name: str):
    value, reason = REFUSED[name]
    with pytest.raises(fd.DataError, match=re.escape(reason.replace("data.list[1].v", "data.v"))):
        from_columns(value)


def test_objects_in_a_polars_frame_are_what_they_are_in_a_pandas_one():
    columns = {"timestamp": "at", "kind": fd.literal("entity.created"), "entity_type": fd.literal("thing")}
    enums = pl.Series("v", [Colour.RED, Size.SMALL], dtype=pl.Object)
    frame = pl.DataFrame({"at": [TIME] * 2, "id": [UUID(int=7), UUID(int=8)], "v": enums})
    assert frame.dtypes[1:] == [pl.Object, pl.Object]
    log = fd.read_events(frame, {**columns, "entity_id": "id", "data": {"v": "v", "id": "id"}})
    [batch] = log.read()
    assert batch["entity_id"].to_pylist() == [str(UUID(int=7)), str(UUID(int=8))]
    assert batch["data"].to_pylist()[0] == f'{{"v":"red","id":"{UUID(int=7)}"}}'
    graph = fd.EntityGraph({"thing": frame.drop("at")})
    assert graph.counts_of_types([str(UUID(int=7))]) == {"thing": 1}
    sets = frame.with_columns(pl.Series("v", [{1}, {2}], dtype=pl.Object))
    with pytest.raises(fd.DataError, match=r"data.v holds a set, which has no order; make it a list"):
        fd.read_events(sets.lazy(), {**columns, "entity_id": "id", "data": {"v": "v"}})


IDS: dict[str, tuple[Any, str]] = {
    "an enum": (Colour.RED, "red"),
    "an enum of numbers": (Size.SMALL, "1"),
    "a UUID": (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    "a NumPy integer": (np.uint64(2**64 - 1), "18446744073709551615"),
    "a whole decimal": (Decimal(12), "12"),
    "a decimal of thousands": (Decimal("1E3"), "1000"),
}


@pytest.mark.parametrize(("value", "text"), IDS.values(), ids=IDS)
def test_ids_of_events_and_graphs_are_what_they_stand_for(value: Any, text: str):
    log = fd.MemoryEventLog()
    log.append(fd.link_created("likes", value, value), timestamp=TIME)
    columns = {"kind": fd.literal("link.created"), "link_type": fd.literal("likes"), "timestamp": "at"}
    read = fd.read_events([{"at": TIME, "who": value}], {**columns, "source_id": "who", "target_id": "who"})
    for one in (log, read):
        [batch] = one.read()
        assert batch.select(["source_id", "target_id"]).to_pylist() == [
            {"source_id": text, "target_id": text}
        ]
    flow = on("link.created").fan_out("source_id", via="knows", as_="u").map(id="{{ u.id }}").deliver("out")
    link = {"link_type": "knows", "source_id": value, "target_id": value}
    mixed = pd.DataFrame({"id": [value, "other"], "x": [{"y": 1}, 5]})
    for entities in ({value: {}}, [{"id": value}], mixed, lambda ids: {value: {}}):
        graph = fd.EntityGraph({"thing": entities}, [link])
        assert fd.replay(flow, log, graph)["out"]["id"].tolist() == [text]


@pytest.mark.parametrize("nothing", [float("nan"), pd.NA, pd.NaT, Decimal("NaN"), None])
def test_an_id_that_is_missing_in_pandas_is_null(nothing: Any):
    log = fd.MemoryEventLog()
    log.append(fd.link_created("likes", "ann", "p1", link_id=nothing), timestamp=TIME)
    link = {"link_type": "likes", "source_id": "ann", "target_id": "p1", "link_id": nothing}
    assert not fd.EntityGraph(links=[link]).has_link_ids("likes")
    [batch] = log.read()
    assert batch["link_id"].to_pylist() == [None]
    with pytest.raises(fd.DataError, match="row 0 has no id"):
        fd.EntityGraph({"user": {nothing: {}}})


@pytest.mark.parametrize(("ids", "said"), [(["a", "a"], "more than once: 'a'"), (["a", None], "1 has no id")])
def test_ids_beside_mixed_values_are_looked_at_too(ids: list[Any], said: str):
    with pytest.raises(fd.DataError, match=said):
        fd.EntityGraph({"user": pd.DataFrame({"id": ids, "x": [{"y": 1}, 5]})})


def test_numbers_beside_text_in_a_column_stay_numbers():
    columns = {
        "timestamp": "at",
        "kind": fd.literal("entity.created"),
        "entity_type": fd.literal("thing"),
        "entity_id": "v",
        "data": {"v": "v"},
    }
    log = fd.read_events(pd.DataFrame({"at": [TIME, TIME], "v": [1, "a"]}), columns)
    [batch] = log.read()
    assert batch["entity_id"].to_pylist() == ["1", "a"]
    assert batch["data"].to_pylist() == ['{"v":1}', '{"v":"a"}']


def test_times_in_lists_in_structs_are_text():
    nested = {"n": {"x": [TIME.to_pydatetime()], "y": None}, "d": [Decimal("1.5")]}
    frame = pl.DataFrame({"at": [TIME.to_pydatetime()] * 2, "id": ["a", "b"], "v": [nested, None]})
    columns = {"timestamp": "at", "kind": fd.literal("entity.created"), "entity_type": fd.literal("thing")}
    log = fd.read_events(frame, {**columns, "entity_id": "id", "data": {"v": "v"}})
    [batch] = log.read()
    assert batch["data"].to_pylist() == ['{"v":{"n":{"x":["2026-01-01T00:00:00Z"]},"d":[1.5]}}', "{}"]


def test_keys_that_are_no_text_are_refused_by_their_place():
    with pytest.raises(fd.DataError, match=r"data.v has a key that is a tuple, not text"):
        fd.MemoryEventLog().append(fd.entity_created("thing", "t", {"v": {(1, 2): 3}}))


def test_a_frame_of_mixed_values_keeps_the_types_of_its_other_columns():
    frame = pd.DataFrame({"id": [1, 2], "n": [3, 4], "v": [{"a": 1}, 5]})
    graph = fd.EntityGraph({"thing": frame})
    flow = (
        on("link.created")
        .resolve("source_id", as_="t")
        .where("t.n == 4 and t.v == 5")
        .map(n="{{ t.n }}")
        .deliver("out")
    )
    log = fd.MemoryEventLog()
    log.append([fd.link_created("l", one, "x") for one in ("1", "2")])
    assert fd.replay(flow, log, graph)["out"]["seq_no"].tolist() == [2]
