"""What a person or a file can hand in as a value ends in a typed error with its place, or as a problem of its own row."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import subprocess
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
from tests.programs import ROOT, own_environment

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
        (lambda: fd.EntityGraph({"user": {10**1_001: {}}}), "id is a number of more than 1,000 digits"),
        (lambda: fd.EntityGraph({"user": {"a": nested(500)}}), "'a' is nested deeper than 128 levels"),
        (lambda: fd.EntityGraph({"user": {"a": nested(2 * sys.getrecursionlimit())}}), "'a' is nested deeper than 128 levels"),
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
@pytest.mark.filterwarnings("ignore::flowdsl.errors.FlowWarning")
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


@pytest.mark.parametrize("seed", [1, 2])
def test_a_file_with_flipped_bits_is_a_typed_error_that_names_it_or_rows(seed: int, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "flipped_files.py"), str(tmp_path), str(seed), "25"],
        capture_output=True, text=True, timeout=300, env=own_environment(), check=False,
    )  # fmt: skip
    if done.returncode < 0:
        pytest.skip(f"a reader of Parquet ended its process with signal {-done.returncode}")
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(outcomes) == 25
    said = [outcome for outcome in outcomes if "rows" not in outcome]
    assert said
    for outcome in said:
        assert outcome["typed"], outcome
        assert "events.parquet" in outcome["says"] or "seq_no" in outcome["says"], outcome


@pytest.mark.parametrize(
    "zone", ["A" * 300, "../../etc/passwd", "/etc/localtime", "Europe/Berlin" + "/x" * 100]
)
def test_a_zone_that_there_is_not_is_a_typed_error_or_the_moments_are_utc_as_they_are_kept(zone: str):
    there = on("link.created").map(t="{{ metadata.x | date(timezone=metadata.z) }}").deliver("s")
    said = fd.replay(there, [event({"x": 0, "z": zone})]).errors["error"]
    assert said.str.startswith("`date` knows no time zone").all()
    assert len(said) == 1
    moments = pa.array([0], pa.timestamp("us", zone))
    graph = fd.EntityGraph({"user": pa.table({"id": ["a"], "x": moments})})
    found = on("link.created").resolve("source_id", as_="u").map(x=var.u.x, y=var.metadata.x).deliver("s")
    log = table(metadata=pa.StructArray.from_arrays([moments], ["x"]))
    assert fd.replay(found, log, graph)["s"][["x", "y"]].values.tolist() == [["1970-01-01T00:00:00Z"] * 2]
    for use in (
        lambda: fd.replay(FLOW, [event({"x": 1})], start=f"2026-01-01T00:00:00{zone}"),
        lambda: fd.read_events([{**event({}), "timestamp": f"2026-01-01T00:00:00[{zone}]"}]),
        lambda: fd.MemoryEventLog().append(event({})["event"], f"2026-01-01T00:00:00 {zone}"),
    ):
        with pytest.raises(fd.FlowError):
            use()


BEYOND = "data.a[1].b holds a number beyond ±1.8e308, which no 64-bit float can hold"
TOO_LARGE = [
    "1" + "0" * 400,
    "1" + "0" * 309,
    str(2**1024 - 2**970),
    "1e400",
    "-1.5E+309",
    "1" * 250 + "e99",
    "1" * 350 + ".5",
]
LARGE = [
    "1" + "0" * 308,
    str(2**1024 - 2**970 - 1),
    "1e308",
    "0." + "1" * 400,
    "1e-400",
    '"1e400"',
    '", 1e400"',
]


def with_number(text: str) -> dict[str, Any]:
    """A row of an event table with a number in its data."""
    return {
        "kind": "entity.created", "timestamp": "2026-01-01T00:00:00Z", "entity_type": "t", "entity_id": "e",
        "data": f'{{"a": [0, {{"b": {text}}}]}}',
    }  # fmt: skip


def told(ways: Path, text: str) -> list[str | None]:
    """What each way into a log says of a number; None where it takes it."""
    row = with_number(text)
    (ways / "events.jsonl").write_text(json.dumps(row))
    (ways / "nested.jsonl").write_text(json.dumps(row).replace(json.dumps(row["data"]), row["data"]))
    parquet = fd.ParquetEventLog(ways / "log")
    said: list[str | None] = []
    for way in (
        lambda: fd.MemoryEventLog().append([row]),
        lambda: parquet.append([row]),
        lambda: parquet.append(pl.DataFrame([row]).with_columns(pl.col("timestamp").str.to_datetime(time_zone="UTC"))),
        lambda: fd.read_events([row]),
        lambda: fd.read_events(ways / "events.jsonl"),
        lambda: fd.read_events(ways / "nested.jsonl"),
        lambda: fd.convert(ways / "events.jsonl", parquet),
    ):  # fmt: skip
        before, known = parquet.count(), len(parquet.problems)
        try:
            done = way()
        except fd.DataError as error:
            said.append(str(error))
            assert parquet.count() == before
        else:
            # the rows of a frame that cannot be events are problems of the log
            problems = getattr(done, "problems", parquet.problems[known:])
            said.append(problems["reason"].iloc[0] if len(problems) else None)
    parquet.close()
    return said


@pytest.mark.parametrize("text", TOO_LARGE)
def test_a_number_that_no_float_holds_is_refused_on_every_way_into_a_log_with_the_path_to_it(
    text: str, tmp_path: Path
):
    said = told(tmp_path, text)
    assert len(said) == 7
    for one in said:
        assert one is not None
        assert BEYOND in one
    if text.isdecimal():
        with pytest.raises(fd.DataError, match=r"metadata\.n holds a number beyond"):
            fd.MemoryEventLog().append({**fd.link_created("l", "a", "b"), "metadata": {"n": int(text)}})


@pytest.mark.parametrize("text", LARGE)
def test_a_number_that_a_float_holds_is_taken_on_every_way_into_a_log(text: str, tmp_path: Path):
    assert told(tmp_path, text) == [None] * 7


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, None), ("", ""), ("\0", "\0"), (2**64 - 1, 2**64 - 1), (-0.0, -0.0), (1e300, 1e300), ("😀" * 100, "😀" * 100),
        ([[[]]], [[[]]]), ({"": {"": None}}, {"": {"": None}}), (HALF, None), (float("inf"), None),
        (nested(500), None), (b"x", None),
    ],
)  # fmt: skip
def test_what_a_live_run_hands_to_sinks_of_json_is_what_was_appended_or_it_was_refused(
    value: Any, kept: Any, tmp_path: Path
):
    flow = (
        on("link.created")
        .map(recipient_id="ann", v=var.metadata.x, t="{{ metadata | json_encode }}")
        .deliver("inbox", "feed")
    )
    sinks: dict[str, Any] = {
        "inbox": fd.sinks.InApp(tmp_path / "inbox.sqlite"), "feed": fd.sinks.Feed(tmp_path / "feed.sqlite")
    }  # fmt: skip
    log = fd.MemoryEventLog()
    with fd.Runtime(flow, log, sinks=sinks) as runtime:
        runtime.run_until_idle()
        refused = kept is None and value is not None
        if refused:
            with pytest.raises(fd.FlowError):
                log.append({**fd.link_created("l", "a", "b"), "metadata": {"x": value}})
        else:
            log.append({**fd.link_created("l", "a", "b"), "metadata": {"x": value}})
        log.append({**fd.link_created("l", "a", "b"), "metadata": {"x": "after it"}})
        runtime.run_until_idle()
        assert runtime.dead_letters.empty
    payloads = [n.payload for n in sinks["inbox"].page("ann").items]
    expected = ["after it"] if refused else ["after it", kept]
    assert [repr(payload["v"]) for payload in payloads] == [repr(v) for v in expected]
    assert [json.loads(payload["t"])["x"] for payload in payloads] == expected
