"""Rule 33: null and missing, in every container and in every key."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import duckdb
import hypothesis.strategies as st
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings

import flowdsl as fd
from flowdsl import on, var

LIKES = on("link.created", link_type="likes")
STEPS: dict[str, Callable[[fd.Flow], fd.Flow]] = {
    "deduplicate": lambda flow: flow.deduplicate("metadata.k", window="1h"),
    "batch": lambda flow: flow.batch("metadata.k", window="1h"),
    "rate_limit": lambda flow: flow.rate_limit(1, per="1h", key="metadata.k"),
    "queue": lambda flow: flow.rate_limit(1, per="1h", strategy="queue", key="metadata.k"),
}


def log_of(*metadata: Any) -> list[dict[str, Any]]:
    return [
        {
            "timestamp": f"2026-01-01T09:00:{i:02}Z",
            "event": {**fd.link_created("likes", f"u{i}", "post"), **({} if m is None else {"metadata": m})},
        }
        for i, m in enumerate(metadata)
    ]


def live(flow: fd.Flow, events: list[dict[str, Any]]) -> fd.Runtime:
    log = fd.MemoryEventLog()
    runtime = fd.Runtime(flow, log, sinks={"s": fd.sinks.Frame()})
    for event in events:
        log.append(event["event"], event["timestamp"])
    runtime.run_until_idle()
    return runtime


@pytest.mark.parametrize("step", STEPS)
def test_rule_33_a_null_key_fails_as_a_missing_one_does_and_empty_text_is_a_key(step):
    flow = STEPS[step](LIKES).map(t="{{ source_id }}").deliver("s")
    events = log_of({"k": None}, {}, {"k": ""}, {"k": None}, {"k": 0}, {"k": False})
    result = fd.replay(flow, events)
    assert list(zip(result.errors["seq_no"], result.errors["error"], strict=True)) == [
        (1, "the key 'metadata.k' is null"),
        (2, "the key 'metadata.k' is missing"),
        (4, "the key 'metadata.k' is null"),
    ]
    assert sorted(result["s"]["t"]) == ["u2", "u4", "u5"]


def test_rule_33_one_of_several_keys_may_not_be_null_either():
    flow = LIKES.deduplicate(["source_id", "metadata.k"], window="1h").map(t="{{ source_id }}").deliver("s")
    result = fd.replay(flow, log_of({"k": None}, {"k": 1}, {"j": None}))
    assert result["s"]["t"].tolist() == ["u1"]
    assert result.errors["seq_no"].tolist() == [1, 3]


@pytest.mark.parametrize("step", STEPS)
def test_rule_33_a_live_run_fails_at_null_keys_as_a_replay_does(step):
    flow = STEPS[step](LIKES).map(t="{{ source_id }}").deliver("s")
    events = log_of({"k": None}, {"k": "a"}, {}, {"k": None})
    with live(flow, events) as runtime:
        said = runtime.dead_letters[["seq_no", "error"]].values.tolist()
    errors = fd.replay(flow, events).errors
    assert said == errors[["seq_no", "error"]].values.tolist()
    assert len(said) == 3


def test_rule_33_production_groups_all_nulls():
    events = log_of({"k": None}, {"k": "a"}, {}, {"k": None})
    flow = STEPS["deduplicate"](LIKES).map(t="{{ source_id }}").deliver("s")
    result = fd.replay(fd.load(flow.to_yaml(), target="this-rs"), events, target="this-rs")
    assert result["s"]["t"].tolist() == ["u0", "u1"]
    assert result.errors["seq_no"].tolist() == [3]


# -- containers --------------------------------------------------------------------------------------------

METADATA = pa.struct(
    [("id", pa.string()), ("n", pa.float64()), ("in", pa.struct([("x", pa.int64())])), ("l", pa.list_(pa.struct([("y", pa.string())])))]
)  # fmt: skip
READS = [
    LIKES.deduplicate("metadata.id", window="1h"),
    LIKES.where("exists(metadata.id)"),
    LIKES.where("metadata.id == null"),
    LIKES.where("exists(metadata.in.x)"),
    LIKES.where("metadata.n != 1"),
]
FLOWS = [
    flow.map(who="{{ source_id }}", all=var.metadata, text="{{ metadata | json_encode }}")
    .deliver("s")
    .named(f"f{i}")
    for i, flow in enumerate(READS)
]


def table(metadata: Any) -> pa.Table:
    size = len(metadata)
    times = pa.array(pd.date_range("2026-01-01T09:00:00", periods=size, freq="s", tz="UTC").as_unit("us"))
    return pa.table({
        "kind": ["link.created"] * size, "timestamp": times, "link_type": ["likes"] * size,
        "source_id": [f"u{i}" for i in range(size)], "target_id": ["post"] * size, "metadata": metadata,
    })  # fmt: skip


def containers(values: list[Any]) -> dict[str, Any]:
    structs = pa.array(values, METADATA)
    texts = pa.array([None if value is None else json.dumps(value) for value in values], pa.string())
    log = fd.MemoryEventLog()
    log.append(table(structs))
    return {
        "JSON text": table(texts),
        "struct": table(structs),
        "polars": pl.DataFrame(table(structs)),
        "pandas of Arrow types": table(structs).to_pandas(types_mapper=pd.ArrowDtype),
        "pandas of objects": table(texts).to_pandas().assign(metadata=values),
        "duckdb": duckdb.from_arrow(table(structs)),
        "mappings": log_of(*values),
        "appended": log,
        "read_events": fd.read_events(table(structs)),
        "read_events of rows": fd.read_events(log_of(*values)),
    }


def outcome(log: Any, chunk_size: int | None = None) -> tuple[Any, ...]:
    result = fd.replay(FLOWS, log, chunk_size=chunk_size)
    errors = result.errors
    return (
        # a struct has its own order of fields
        [json.loads(payload) for payload in result.deliveries["payload"]],
        [(e.seq_no, e.flow, e.error, json.loads(e.variables)) for e in errors.itertuples()],
        result.to_arrow("s")["all"].to_pylist(),
        result.dropped[["flow", "reason", "count"]].values.tolist(),
    )


inner = st.fixed_dictionaries({}, optional={"x": st.integers(0, 3)})
metadata = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["", "a", "b"]),
        "n": st.sampled_from([1.0, 2.5]),
        "in": inner,
        "l": st.lists(st.fixed_dictionaries({}, optional={"y": st.sampled_from(["", 'q"'])}), max_size=2),
    },
)


@settings(max_examples=3, deadline=None)
@given(st.lists(metadata | st.none(), min_size=3, max_size=10), st.sampled_from([None, 1, 2]))
def test_rule_33_the_same_content_replays_alike_whichever_container_holds_it(values, size):
    logs = containers(values)
    said = {name: outcome(log, size) for name, log in logs.items()}
    assert all(found == said["JSON text"] for found in said.values()), said


def test_rule_33_a_live_run_tells_of_structs_what_a_replay_tells_of_json_text():
    values = [
        {"id": None, "n": 1.0},
        {"id": "", "in": {"x": None}},
        None,
        {"id": "a", "l": [{"y": None}, {"y": "q"}]},
    ]
    bare = [{"n": 1.0}, {"id": "", "in": {}}, None, {"id": "a", "l": [{}, {"y": "q"}]}]
    frames = [fd.sinks.Frame(), fd.sinks.Frame()]
    logs = [
        table(pa.array(values, METADATA)),
        table(pa.array([v and json.dumps(v) for v in bare], pa.string())),
    ]
    for events, frame in zip(logs, frames, strict=True):
        log = fd.MemoryEventLog()
        with fd.Runtime(FLOWS, log, sinks={"s": frame}) as runtime:
            runtime.run_until_idle()
            log.append(events)
            runtime.run_until_idle()
    live_rows = [
        [(d["seq_no"], d["flow"], d["text"]) for d in frame.frame().to_dict("records")] for frame in frames
    ]
    replayed = fd.replay(FLOWS, logs[1])["s"]
    assert [(n, f, json.loads(t)) for n, f, t in live_rows[0]] == [
        (n, f, json.loads(t)) for n, f, t in live_rows[1]
    ]
    assert live_rows[1] == [(r["seq_no"], r["flow"], r["text"]) for r in replayed.to_dict("records")]


def test_rule_33_a_map_says_which_keys_it_has():
    maps = pa.array([[("id", None)], [], [("id", "a")]], pa.map_(pa.string(), pa.string()))
    flow = LIKES.where("metadata.id == null").map(m=var.metadata).deliver("s")
    assert fd.replay(flow, table(maps)).deliveries["payload"].tolist() == ['{"m":{"id":null}}']


# -- the graph ---------------------------------------------------------------------------------------------

FAN = on("link.created").resolve("source_id", as_="fan")
ROWS = [
    {"id": "u0", "city": "x", "more": {"a": 1, "b": None}},
    {"id": "u1", "city": None, "more": None},
    {"id": "u2", "city": "", "more": {"a": None, "b": "q"}},
]


def graphs() -> dict[str, fd.EntityGraph]:
    rows = pa.Table.from_pylist(ROWS, pa.schema([("id", pa.string()), ("city", pa.string()), ("more", pa.struct([("a", pa.int64()), ("b", pa.string())]))]))  # fmt: skip
    bare = [
        {**row, "more": row["more"] and {k: v for k, v in row["more"].items() if v is not None}}
        for row in ROWS
    ]
    frames = {
        "arrow": rows,
        "polars": pl.DataFrame(rows),
        "pandas of Arrow types": rows.to_pandas(types_mapper=pd.ArrowDtype),
        "pandas with None": rows.to_pandas(),
        "pandas with NaN": rows.to_pandas().replace({None: float("nan")}),
        "pandas with NA": rows.to_pandas().replace({None: pd.NA}),
        "mapping": {row["id"]: row for row in bare},
        "fetcher": lambda ids: pl.DataFrame(rows).filter(pl.col("id").is_in(ids)),
        "fetcher of a mapping": lambda ids: {row["id"]: row for row in bare if row["id"] in ids},
    }
    return {name: fd.EntityGraph({"user": frame}) for name, frame in frames.items()}


@pytest.mark.parametrize(
    "condition",
    ["fan.city == null", "exists(fan.city)", "exists(fan.more.a)", "exists(fan.more.b)", "fan.more == null"],
)
def test_rule_33_entities_are_the_same_whatever_holds_them(condition):
    flow = (
        FAN.where(condition)
        .map(who="{{ source_id }}", fan=var.fan, text="{{ fan | json_encode }}")
        .deliver("s")
    )
    events = log_of(None, None, None)
    said = {}
    for name, graph in graphs().items():
        payloads = [json.loads(p) for p in fd.replay(flow, events, graph).deliveries["payload"]]
        said[name] = [{**p, "text": json.loads(p["text"])} for p in payloads]
    assert all(found == said["mapping"] for found in said.values()), said
    assert said["mapping"]


@pytest.mark.parametrize("named", [(), (1,), (0, 1)])
def test_an_event_without_an_id_has_a_null_there(named: tuple[int, ...]):
    log = [
        {"timestamp": "2026-01-01T00:00:00Z", "event": fd.link_created("likes", "ann", "bob")}
        for _ in range(2)
    ]
    for number in named:
        log[number]["id"] = f"e{number}"
    ids = [f"e{number}" if number in named else None for number in range(2)]
    whole = on("link.created", name="whole").map(event=fd.var.event).deliver("p")
    failing = on("link.created", name="failing").resolve("metadata.x", as_="x").map(title="x").deliver("p")
    result = fd.replay([whole, failing], log)
    assert [event["id"] for event in result["p"]["event"]] == ids
    assert [json.loads(variables)["event"]["id"] for variables in result.errors["variables"]] == ids
