"""What a person or a file can hand in as a value ends in a typed error with its place, or as a problem of its own row."""

from __future__ import annotations

import datetime as dt
import decimal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import flowdsl as fd
from flowdsl import on, var
from flowdsl.frames import is_foreign

HALF = "\ud83d"
FLOW = on("link.created").map(v=var.metadata.x, t="{{ metadata.x }}").deliver("s")
BASE = {"kind": ["link.created"], "link_type": ["l"], "source_id": ["a"], "target_id": ["b"]}
TIME = pa.array([dt.datetime(2026, 1, 1, tzinfo=dt.UTC)], pa.timestamp("us", "UTC"))


def table(**columns: Any) -> pa.Table:
    return pa.table({**BASE, "timestamp": TIME, **columns})


def event(metadata: Any, **more: Any) -> dict[str, Any]:
    return {
        "timestamp": "2026-01-01T00:00:00Z",
        "event": {**fd.link_created("l", "a", "b"), "metadata": metadata},
        **more,
    }


def nested(depth: int) -> Any:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda: on("link.created").map({"a" + HALF: 1}), "half of a surrogate pair"),
        (lambda: on("link.created").map(a="{{ 'x" + HALF + "' }}"), "half of a surrogate pair"),
        (lambda: on("link.created").map(a=10**400), "a number too large for JSON"),
        (lambda: on("link.created").map(a=10**1_001), "a number too large for JSON"),
        (lambda: fd.link_created("l", 10**1_001, "b"), "source_id is a number of more than 1,000 digits"),
        (lambda: fd.EntityGraph({"user": {10**1_001: {}}}), "a number of more than 1,000 digits is no id"),
        (lambda: fd.EntityGraph({"user": {"a": nested(500)}}), "'a' is nested deeper than 128 levels"),
        (lambda: fd.EntityGraph({"user": {"a": nested(2 * sys.getrecursionlimit())}}), "'a' is not JSON"),
        (lambda: fd.MemoryEventLog().append(event({"x": nested(500)})["event"]), "metadata is nested deeper than 128 levels"),
        (lambda: fd.read_events(pl.DataFrame({"kind": [["a"]], "timestamp": ["2026-01-01"]})), "kind is of type List"),
        (lambda: fd.read_events([event({}, seq_no=2**63)]), "seq_no is 9223372036854775808"),
        (lambda: fd.read_events([{**event({}), "timestamp": 10**30}], time_unit="s"), "timestamp is 1000000"),
        (lambda: fd.read_events(table(metadata=pa.array([{"x": 2**30}]).cast(pa.struct([("x", pa.int32())])).cast(pa.struct([("x", pa.date32())])))), "out-of-range date"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_a_typed_error_that_names_it(use: Callable[[], Any], said: str):
    with pytest.raises(fd.FlowError) as caught:
        use()
    assert said in str(caught.value)


@pytest.mark.parametrize("number", [10**30, 2**63, -(10**30)])
def test_a_replay_stops_before_any_number_however_large(number: int):
    assert len(fd.replay(FLOW, [event({"x": 1})], stop=number)) == (number > 0)


@pytest.mark.parametrize("depth", [126, 127, 500])
@pytest.mark.filterwarnings("ignore::flowdsl.events.FlowWarning")
def test_deep_json_is_a_problem_of_its_own_row(depth: int):
    texts = ['{"x":' + "[" * depth + "]" * depth + "}", '{"x":"[[[' + "[" * 500 + '"}']
    two = pa.concat_tables([table(metadata=[text]) for text in texts])
    read = (
        on("link.created")
        .deduplicate("metadata.x", window="1s")
        .map(t="{{ metadata | json_encode }}")
        .deliver("s")
    )
    good = depth <= 127
    assert len(fd.replay(read, two)) == 1 + good
    assert fd.read_events(two).last_seq_no() == 1 + good
    log = fd.MemoryEventLog()
    log.append(two)
    assert (log.last_seq_no(), len(log.problems)) == (1 + good, 1 - good)


@pytest.mark.parametrize(
    ("column", "right"),
    [
        ({"timestamp": pa.array([0], pa.timestamp("us", "+05:30"))}, "1970-01-01T00:00:00Z"),
        ({"timestamp": pa.array([0], pa.timestamp("us", "A" * 300))}, "1970-01-01T00:00:00Z"),
        ({"metadata": pa.array([{"x": 0}], pa.struct([("x", pa.timestamp("us", "-02:00"))]))}, "1970-01-01T00:00:00Z"),
        ({"metadata": pa.array([{"x": decimal.Decimal("1.5")}], pa.struct([("x", pa.decimal256(60, 2))]))}, 1.5),
    ],
)  # fmt: skip
def test_types_that_polars_lacks_are_read_from_files_and_tables(
    column: dict[str, Any], right: Any, tmp_path: Path
):
    given = table(**{"metadata": pa.array([{"x": 0}]), **column})
    pq.write_table(given, tmp_path / "events.parquet")
    value = var.event.timestamp if "timestamp" in column else var.metadata.x
    flow = on("link.created").map(v=value).deliver("s")
    log = fd.MemoryEventLog()
    log.append(given)
    for source in (given, tmp_path / "events.parquet", fd.read_events(tmp_path / "events.parquet"), log):
        assert fd.replay(flow, source)["s"]["v"].tolist() == [right]


def test_integers_of_128_bits_are_the_nearest_double():
    wide = pl.DataFrame({"x": pl.Series([2**100], dtype=pl.Int128)}).to_struct("metadata")
    log = pl.DataFrame(table()).with_columns(wide)
    assert fd.replay(FLOW, log)["s"]["v"].tolist() == [2.0**100]


def test_a_filter_section_with_default_and_a_cut_beyond_all_texts_are_no_tracebacks():
    section = (
        on("link.created")
        .map(t="{% filter default(value='x') %}{{ metadata.x }}{% endfilter %}")
        .deliver("s")
    )
    assert (
        fd.replay(section, [event({"x": 1})]).errors["error"].str.contains("unknown filter `default`").all()
    )
    cut = on("link.created").map(t="{{ metadata.x | truncate(length=4294967296) }}").deliver("s")
    assert fd.replay(cut, [event({"x": "abc"})])["s"]["t"].tolist() == ["abc"]


def test_what_ends_a_program_is_never_taken_for_an_error_of_a_library():
    panic = pl.exceptions.PanicException("a reader gave up")
    assert is_foreign(panic)
    assert not any(
        is_foreign(error) for error in (KeyboardInterrupt(), SystemExit(), GeneratorExit(), KeyError("own"))
    )
