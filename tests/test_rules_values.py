"""Rules 8 and 9: values and conditions."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

import flowdsl as fd
from flowdsl import on, var


def passes(condition: Any, data: Any) -> bool | str:
    """Whether an event with this data passes a condition, or why it failed."""
    log = fd.MemoryEventLog()
    log.append(fd.entity_created("thing", "t", data), timestamp="2026-01-01T00:00:00Z")
    result = fd.replay(on("entity.created").where(condition).map(t="x").deliver("out"), log)
    return str(result.errors.error[0]) if len(result.errors) else len(result["out"]) == 1


def test_rule_08_missing_is_not_null_and_a_path_steps_through_objects_only() -> None:
    data = {"there": None, "list": [1], "text": "x", "deep": {"er": 1}}
    assert passes("exists(data.there)", data) is True
    assert passes("exists(data.gone)", data) is False
    assert passes("exists(data.deep.er)", data) is True
    assert passes("exists(data.list.first)", data) is False
    assert passes("exists(data.text.x)", data) is False
    assert passes("data.there == null", data) is True
    assert passes("data.gone == null", data) is False


def test_rule_08_a_null_cell_of_a_frame_is_null() -> None:
    users = pl.DataFrame({"id": ["a", "b"], "name": ["Ann", None]})
    flow = (
        on("link.created")
        .resolve("source_id", as_="u")
        .where("u.name == null")
        .map(t="{{ u.id }}")
        .deliver("out")
    )
    log = fd.MemoryEventLog()
    log.append(
        [fd.link_created("l", "a", "x"), fd.link_created("l", "b", "x")], timestamp="2026-01-01T00:00:00Z"
    )
    assert fd.replay(flow, log, fd.EntityGraph({"user": users}))["out"].t.tolist() == ["b"]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("data.n == 1.0", True),
        ("data.n == '1'", False),
        ("data.n == true", False),
        ("data.s < 'b'", True),
        ("data.s < 5", False),
        ("data.s >= 5", False),
        ("data.n < 2 and data.n > 0", True),
        ("data.n + 1 == 2 and data.n * 4 / 2 == 2 and 7 % 4 - 3 == 0", True),
        ("not data.yes", False),
        ("data.no or data.yes", True),
        ("data.s in ['a', 'b']", True),
        ("data.s not in ['a', 'b']", False),
        ("data.n != '1'", True),
        ("len(data.s) == 1 and upper(data.s) == 'A' and lower('A') == data.s", True),
        ("startswith(data.s, 'a') and endswith(data.s, 'a') and contains(data.s, 'a')", True),
        ("contains(data.l, 2)", True),
        ("data.o == data.o and data.l == data.l", True),
        ("data.n exists", True),
        ("data.gone not_exists", True),
        ("True and not False and None == null", True),
    ],
)
def test_rule_09_the_language_of_conditions(condition: str, expected: bool) -> None:
    data = {"n": 1, "s": "a", "yes": True, "no": False, "l": [1, 2], "o": {"a": 1}}
    assert passes(condition, data) is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("data.gone != 1", True),
        ("data.gone == 1", False),
        ("data.gone < 1", False),
        ("data.gone in [1]", False),
        ("data.gone not in [1]", True),
        ("data.gone + 1 == 2", False),
        ("data.gone + 1 != 2", True),
    ],
)
def test_rule_09_a_missing_value_is_unequal_to_everything(condition: str, expected: bool) -> None:
    assert passes(condition, {}) is expected


@pytest.mark.parametrize("condition", ["data.s + 1 == 2", "data.s", "data.n and true", "len(data.n) == 1"])
def test_rule_09_a_wrong_type_fails_at_that_event(condition: str) -> None:
    assert isinstance(passes(condition, {"s": "a", "n": 1}), str)


def test_rule_09_letters_follow_unicode_as_python_has_it() -> None:
    for text in ["STRASSE", "straße", "ΌΣΟΣ", "İ", "ǅ", "ﬁ"]:
        assert passes(f"lower(data.t) == {json.dumps(text.lower(), ensure_ascii=False)}", {"t": text}) is True
        assert passes(f"upper(data.t) == {json.dumps(text.upper(), ensure_ascii=False)}", {"t": text}) is True


def test_rule_09_var_and_a_function_say_the_same_as_text() -> None:
    data = {"n": 3, "s": "a"}
    for condition in (
        "data.n > 2 and not data.s == 'b'",
        (var.data.n > 2) & ~(var.data.s == "b"),
        lambda context: context["data"]["n"] > 2 and context["data"]["s"] != "b",
    ):
        assert passes(condition, data) is True
        assert passes(condition, {"n": 1, "s": "a"}) is False


def test_rule_09_what_a_function_raises_is_a_failure_of_its_event() -> None:
    said = passes(lambda context: context["data"]["gone"] > 1, {})
    assert "KeyError" in str(said)
