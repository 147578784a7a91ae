"""Whatever is handed in: a clear error with its place, nothing lost, and no bare traceback of a library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

import flowdsl as fd
from flowdsl import on
from flowdsl.expressions.templates import failures

AT = "2026-01-01T00:00:00Z"
FLOW = on("link.created").map(title="{{ source_id }}").deliver("in-app")


def event(**columns: Any) -> dict[str, Any]:
    whole = {
        "kind": "link.created",
        "timestamp": AT,
        "link_type": "likes",
        "source_id": "a",
        "target_id": "b",
    }
    return {**whole, **columns}


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows))


def refusal(act: Callable[[], object]) -> str:
    """The text of the error, which must be one of flowdsl's own."""
    with pytest.raises(fd.FlowError) as caught:
        act()
    return str(caught.value)


# -- files and tables that are not logs -------------------------------------------------------------------


def test_a_missing_file_is_named() -> None:
    assert "nowhere/events.parquet" in refusal(lambda: fd.replay(FLOW, "nowhere/events.parquet"))


def test_a_folder_without_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("hello")
    assert "no .parquet files" in refusal(lambda: fd.replay(FLOW, str(tmp_path)))


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events.parquet").write_bytes(b"hello")
    assert "events.parquet" in refusal(lambda: fd.replay(FLOW, str(tmp_path / "events.parquet")))


def test_a_column_of_the_wrong_type_is_named_with_what_was_allowed(tmp_path: Path) -> None:
    pl.DataFrame({"kind": [1], "timestamp": [AT]}).write_parquet(tmp_path / "a.parquet")
    said = refusal(lambda: fd.replay(FLOW, str(tmp_path / "a.parquet")))
    assert "a.parquet" in said
    assert "kind" in said
    assert "allowed" in said


def test_a_timestamp_that_is_a_number_is_refused_with_the_way_to_read_it() -> None:
    said = refusal(lambda: fd.replay(FLOW, frame(event(timestamp=1_700_000_000))))
    assert "timestamp" in said
    assert "hint" in said


def test_a_table_without_kind_is_refused() -> None:
    assert "kind" in refusal(lambda: fd.replay(FLOW, pl.DataFrame({"timestamp": [AT]})))


def test_something_that_is_no_log_is_refused() -> None:
    assert "int" in refusal(lambda: fd.replay(FLOW, 7))


# -- rows that are not events -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (event(source_id=None), "source_id"),
        (event(kind=None), "kind"),
        (event(kind="link.updated"), "kind"),
        (event(timestamp=None), "timestamp"),
        (event(target_id=""), "target_id"),
    ],
)
def test_a_row_that_is_no_event_is_reported_and_the_others_are_replayed(
    broken: dict[str, Any], reason: str
) -> None:
    log = fd.read_events(frame(event(), broken, event(source_id="c")))
    with pytest.warns(fd.FlowWarning, match="1 rows? of the log"):
        result = fd.replay(FLOW, log)
    assert result["in-app"].title.tolist() == ["a", "c"]
    problem = log.problems[log.problems.problem == "broken"].iloc[0]
    assert problem.row == 1
    assert reason in problem.reason


def test_data_that_is_not_json_is_reported_with_its_row() -> None:
    rows = [
        {"kind": "entity.created", "timestamp": AT, "entity_type": "user", "entity_id": str(n), "data": data}
        for n, data in enumerate(['{"a": 1}', "{", '{"a": 2}'])
    ]
    log = fd.read_events(frame(*rows))
    flow = on("entity.created").map(a="{{ data.a }}").deliver("in-app")
    with pytest.warns(fd.FlowWarning):
        assert fd.replay(flow, log)["in-app"].a.tolist() == ["1", "2"]
    assert log.problems.row.tolist() == [1]
    assert "JSON" in log.problems.reason[0]


def test_text_that_is_not_utf8_is_reported_with_its_line(tmp_path: Path) -> None:
    good = b'{"kind": "link.created", "timestamp": "2026-01-01T00:00:00Z", "link_type": "l", "source_id": "a", "target_id": "b"}'
    (tmp_path / "events.jsonl").write_bytes(
        good + b"\n" + good.replace(b'"a"', b'"\xff"') + b"\n" + good + b"\n"
    )
    log = fd.read_events(tmp_path / "events.jsonl")
    assert log.problems.row.tolist() == [2]
    with pytest.warns(fd.FlowWarning):
        assert len(fd.replay(FLOW, log)) == 2


def test_timestamps_without_a_zone_are_taken_as_utc_and_said_so(tmp_path: Path) -> None:
    naive = pd.DataFrame([event(timestamp=pd.Timestamp("2026-01-01 00:00:00"))])
    naive.to_parquet(tmp_path / "a.parquet")
    with pytest.warns(fd.FlowWarning, match="UTC"):
        told = fd.replay(FLOW, str(tmp_path / "a.parquet"))["in-app"]
    assert told.event_time[0] == pd.Timestamp(AT)


# -- graphs ----------------------------------------------------------------------------------------------


def test_entities_without_an_id_column_are_refused() -> None:
    said = refusal(lambda: fd.EntityGraph({"user": pd.DataFrame({"ids": ["a"]})}))
    assert "'user'" in said
    assert "'id'" in said


def test_an_entity_without_an_id_is_refused_with_its_row() -> None:
    assert "row 1" in refusal(lambda: fd.EntityGraph({"user": pl.DataFrame({"id": ["a", None]})}))


def test_an_id_given_twice_is_named() -> None:
    assert "'a'" in refusal(lambda: fd.EntityGraph({"user": pl.DataFrame({"id": ["a", "b", "a"]})}))


def test_links_without_their_ends_are_refused() -> None:
    assert "target_id" in refusal(lambda: fd.EntityGraph(links=[{"link_type": "l", "source_id": "a"}]))


def test_an_id_of_another_type_is_refused() -> None:
    assert "float" in refusal(lambda: fd.EntityGraph({"user": pl.DataFrame({"id": [1.5]})})).lower()


# -- flows -----------------------------------------------------------------------------------------------


def test_an_empty_list_of_flows_is_refused() -> None:
    assert "no flow" in refusal(lambda: fd.replay([], [event()]))


@pytest.mark.parametrize(
    "deep",
    [
        lambda: on("link.created").where("(" * 140 + "source_id == 'a'" + ")" * 140),
        lambda: on("link.created").where("not " * 140 + "source_id == 'a'"),
        lambda: on("link.created").map(t="{{ " + "(" * 21 + "1" + ")" * 21 + " }}"),
        lambda: on("link.created").map(t="{% if source_id %}" * 21 + "{% endif %}" * 21),
    ],
    ids=["parentheses", "nots", "template parentheses", "nested ifs"],
)
def test_what_is_nested_deeper_than_anybody_writes_is_refused(deep: Callable[[], object]) -> None:
    assert "nested" in refusal(deep)


def test_a_template_that_loops_too_often_fails_at_its_event_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(failures, "MAX_ITEMS", 100)
    monkeypatch.setattr(failures, "MAX_STEPS", 1_000)
    long = "{% for i in range(end=101) %}x{% endfor %}"
    nested = "{% for i in range(end=50) %}{% for j in range(end=50) %}x{% endfor %}{% endfor %}"
    flows = [
        on("link.created", name=n).map(t=t).deliver("in-app") for n, t in (("one", long), ("two", nested))
    ]
    result = fd.replay([*flows, FLOW], frame(event()))
    assert result.errors.flow.tolist() == ["one", "two"]
    assert result["in-app"].title.dropna().tolist() == ["a"]


@pytest.mark.parametrize("reach", ["source_id.__class__", "__builtins__"])
def test_nothing_a_flow_says_reaches_python(reach: str) -> None:
    refusal(lambda: on("link.created").where(f"{reach} == 'a'"))
    refusal(lambda: on("link.created").map(t="{{ " + reach + " }}"))
