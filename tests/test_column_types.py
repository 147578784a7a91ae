"""Columns of text that hold numbers or truth values: `types=` and `decimal=` of `read_events`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import flowdsl as fd
from flowdsl.cli.main import main

COLUMNS: dict[str, Any] = {
    "timestamp": "at",
    "kind": fd.literal("entity.created"),
    "entity_type": fd.literal("order"),
    "entity_id": "id",
    "data": {"total": "total"},
}


def order(number: int, total: Any, **more: Any) -> dict[str, Any]:
    return {"at": f"2026-01-01T00:00:{number:02}Z", "id": f"A{number}", "total": total, **more}


def read(source: Any, columns: dict[str, Any] = COLUMNS, **options: Any) -> tuple[list[Any], list[str]]:
    """The `data` of the events, and the reasons of the problems."""
    log = fd.read_events(source, columns, **options)
    data = [json.loads(text) for batch in log.read() for text in batch["data"].to_pylist()]
    return data, log.problems["reason"].tolist()


def csv(folder: Path, *lines: str) -> str:
    path = folder / "orders.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_a_condition_on_an_amount_in_csv_holds_where_its_column_is_a_number(tmp_path: Path):
    path = csv(
        tmp_path,
        "id,at,total",
        "A1,2026-01-01T00:00:00Z,12.50",
        "A2,2026-01-02T00:00:00Z,130",
        "A3,2026-01-03T00:00:00Z,9",
    )
    flow = fd.on("entity.created").where("data.total > 10").map(text="{{ entity_id }}").deliver("mail")
    assert fd.replay(flow, fd.read_events(path, COLUMNS))["mail"].empty
    log = fd.read_events(path, COLUMNS, types={"total": float})
    assert fd.replay(flow, log)["mail"]["text"].tolist() == ["A1", "A2"]


def test_a_decimal_comma_is_read_where_it_is_said(tmp_path: Path):
    path = csv(
        tmp_path,
        "id;at;total",
        "A1;2026-01-01T00:00:00Z;12,50",
        "A2;2026-01-02T00:00:00Z;1.234.567,5",
        "A3;2026-01-03T00:00:00Z;1 000",
    )
    assert read(path, types={"total": float}, decimal=",") == (
        [{"total": 12.5}, {"total": 1234567.5}, {"total": 1000.0}],
        [],
    )


@pytest.mark.parametrize("text", ["12.5", "1.23", "1234.567", "1.2345", "1,2,3", "1..234", "x"])
def test_a_point_that_sets_no_thousands_apart_is_not_passed_over(text: str):
    data, [reason] = read([order(1, text), order(2, ",5")], types={"total": float}, decimal=",")
    assert data == [{"total": 0.5}]
    assert reason.startswith(f"total is {text!r}, not a number")


def test_a_text_that_is_no_number_is_a_problem_of_its_row_and_blanks_are_null(tmp_path: Path):
    path = csv(
        tmp_path,
        "id,at,total",
        "A1,2026-01-01T00:00:00Z,12",
        "A2,2026-01-02T00:00:00Z,n/a",
        "A3,2026-01-03T00:00:00Z,  ",
        "A4,2026-01-04T00:00:00Z,",
    )
    log = fd.read_events(path, {**COLUMNS, "data": dict}, types={"total": int})
    assert log.problems[["place", "row", "reason"]].to_numpy().tolist() == [
        [path, 3, "total is 'n/a', not a whole number of 64 bits"]
    ]
    totals = [json.loads(text)["total"] for batch in log.read() for text in batch["data"].to_pylist()]
    assert totals == [12, None, None]


def test_a_comma_that_nobody_spoke_of_is_told_with_the_way_out():
    data, reasons = read([order(1, "12,5"), order(2, "13.5")], types={"total": float})
    assert data == [{"total": 13.5}]
    assert reasons == ["total is '12,5', not a number; decimal=',' reads a comma as the decimal sign"]


SOURCES: dict[str, Callable[[list[dict[str, Any]], Path], Any]] = {
    "a list": lambda rows, _: rows,
    "pandas": lambda rows, _: pd.DataFrame(rows),
    "Polars": lambda rows, _: pl.DataFrame(rows),
    "JSON lines": lambda rows, folder: lines(folder / "rows.jsonl", rows),
    "Parquet": lambda rows, folder: parquet(folder / "rows.parquet", rows),
}


def lines(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def parquet(path: Path, rows: list[dict[str, Any]]) -> str:
    pl.DataFrame(rows).write_parquet(path)
    return str(path)


@pytest.mark.parametrize("source", SOURCES)
def test_all_sources_read_texts_alike_also_at_dotted_paths(source: str, tmp_path: Path):
    rows = [
        order(1, "7", gift="Yes", lines=[{"price": "1.5"}, {"price": "2"}], more='{"tax": "0.19"}'),
        order(2, "8", gift="no", lines=[{"price": "3"}, {"price": "x"}], more='{"tax": "0.07"}'),
        order(3, "9", gift="", lines=[{"price": "4"}, {"price": " 5 "}], more="{}"),
    ]
    types: Any = {"total": int, "gift": bool, "lines.1.price": float, "more.tax": float}
    columns = {
        **COLUMNS,
        "data": {"total": "total", "gift": "gift", "second": "lines.1.price", "tax": "more.tax"},
    }
    data, reasons = read(SOURCES[source](rows, tmp_path), columns, types=types)
    assert data == [{"total": 7, "gift": True, "second": 2.0, "tax": 0.19}, {"total": 9, "second": 5.0}]
    assert reasons == ["lines.1.price is 'x', not a number"]


def test_items_of_an_exploded_list_are_read_one_by_one():
    rows = [order(1, "7", lines=[{"price": "1.5"}, {"price": "?"}, {"price": "2"}])]
    columns = {**COLUMNS, "data": {"price": "lines.price"}}
    data, reasons = read(rows, columns, explode="lines", types={"lines.price": float})
    assert (data, reasons) == ([{"price": 1.5}, {"price": 2.0}], ["lines.price is '?', not a number"])


def test_values_that_are_no_text_stay_as_they_are():
    data, reasons = read([order(1, 5), order(2, None), order(3, "6"), order(4, [7])], types={"total": float})
    assert (data, reasons) == ([{"total": 5}, {}, {"total": 6.0}, {"total": [7]}], [])


def plain_number(text: str, wanted: type[int] | type[float]) -> Any:
    """The number that a text is, written plainly, in 64 bits; None for any other text."""
    form = r"[+-]?\d+" if wanted is int else r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
    if not re.fullmatch(form, text.strip(), re.ASCII):
        return None
    value = wanted(text)
    return value if math.isfinite(value) and (wanted is float or -(2**63) <= value < 2**63) else None


@given(
    st.lists(st.text("0123456789.,-+eE x ", max_size=8) | st.floats().map(repr), max_size=20),
    st.sampled_from([int, float]),
)
@example(["1e999", "-0", "9" * 20, ".", "1.", ".5", "0x1", "1_000", "١٢", "nan", "5e-324"], float)
def test_a_text_is_a_number_where_python_reads_one_written_plainly(texts: list[str], wanted: Any):
    rows = [order(number, text) for number, text in enumerate([*texts, "1"])]
    numbers = [value for text in texts if (value := plain_number(text, wanted)) is not None]
    others = [text for text in texts if text.strip() and plain_number(text, wanted) is None]
    for source in (rows, pl.DataFrame(rows)):
        data, reasons = read(source, types={"total": wanted})
        assert [one["total"] for one in data if one.get("total") is not None] == [*numbers, wanted(1)]
        assert len(reasons) == len(others)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"types": {"totl": float}}, "types names 'totl', and there is no such column"),
        ({"types": {"total": str}}, "types has 'total': <class 'str'>"),
        ({"types": {"total": "float"}}, "types has 'total': 'float'"),
        ({"types": ["total"]}, "types is ['total']"),
        ({"types": {"total": float}, "decimal": ";"}, "decimal=';'"),
    ],
)
def test_types_that_cannot_be_are_refused(options: Any, message: str):
    with pytest.raises(fd.DataError, match=re.escape(message)) as raised:
        fd.read_events(pl.DataFrame([order(1, "7")]), COLUMNS, **options)
    assert raised.value.allowed


def test_a_guess_names_the_columns_that_hold_amounts_and_leaves_codes_alone(tmp_path: Path):
    path = csv(
        tmp_path,
        "order_id;at;total;pieces;gift;zip;customer",
        "A1;2026-01-01T00:00:00Z;12,50;2;false;10115;c1",
        "A2;2026-01-02T00:00:00Z;1.234,00;0;true;01067;c1",
    )
    guessed = fd.guess(path)
    assert guessed.options["types"] == {"pieces": int, "gift": bool, "total": float}
    assert guessed.options["decimal"] == ","
    assert '    types={\n        "total": float,\n' in guessed.code
    assert json.loads(guessed.events["data"][0]) | {"at": ""} == {
        "order_id": "A1", "at": "", "total": 12.5, "pieces": 2, "gift": False, "zip": "10115", "customer": "c1"
    }  # fmt: skip


def test_a_comparison_with_amounts_in_text_tells_how_they_are_read():
    log = fd.read_events([order(number, "12.5") for number in range(20)], COLUMNS)
    flow = fd.on("entity.created").where("data.total > 10").map(text="x").deliver("mail")
    [found] = [one for one in flow.check(log=log) if one.code == "unknown-value"]
    assert "read_events(…, types={'total': float}) reads such texts as numbers" in str(found)


def test_the_command_line_and_shapes_have_types_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = csv(tmp_path, "id;at;total", "A1;2026-01-01T00:00:00Z;12,50")
    given = ["--column", "timestamp=at", "--column", "entity_id=id", "--column", "data=total"]
    constant = ["--literal", "kind=entity.created", "--literal", "entity_type=order"]
    log = str(tmp_path / "log")
    assert main(["convert", path, log, *given, *constant, "--type", "total=float", "--decimal", ","]) == 0
    shape = fd.Shape({**COLUMNS, "data": "total"}, types={"total": float}, decimal=",")
    assert [batch["data"].to_pylist() for batch in fd.ParquetEventLog(log).read()] == [["12.5"]]
    assert [batch["data"].to_pylist() for batch in fd.read_events(path, shape=shape).read()] == [["12.5"]]
    assert main(["convert", path, log, *given, *constant, "--type", "total=money"]) == 1
    assert "types has 'total': 'money'" in capsys.readouterr().err
