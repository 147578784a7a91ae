"""Rules 8 and 9: values, paths, conditions. What conditions mean in every detail, test_conditions_* say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest
from event_tables import drops, failures, log_of, sent

import flowdsl as fd
from flowdsl import fn, on, var


def holds(condition: Any, **data: Any) -> bool | str:
    """Whether a condition holds for an event with this metadata, or the error that it fails with."""
    log = log_of(f"at | data\n 0 | {json.dumps(data)}")
    result = fd.replay(on("link.created").where(condition).map(x="x").deliver("s"), log)
    return failures(result)[0][2] if len(result.errors) else len(result) == 1


# -- rule 8: values and paths ------------------------------------------------------------------------------


def test_rule_08_a_dotted_path_steps_through_objects() -> None:
    assert holds("metadata.a.b.c == 1", a={"b": {"c": 1}}) is True


@pytest.mark.parametrize("value", [["x"], "text", 5, None])
def test_rule_08_a_path_through_anything_else_is_missing(value: Any) -> None:
    assert holds("metadata.a.b not_exists", a=value) is True


def test_rule_08_missing_is_not_null() -> None:
    assert holds("metadata.a exists", a=None) is True
    assert holds("metadata.a == null", a=None) is True
    assert holds("metadata.a exists") is False
    assert holds("metadata.a == null") is False


def test_rule_08_a_null_cell_of_a_frame_is_null() -> None:
    users = pd.DataFrame({"id": ["ann", "bob"], "city": ["Ulm", None]})
    flow = (
        on("link.created")
        .resolve("source_id", as_="fan")
        .where("fan.city == null")
        .map(who="{{ fan.id }}")
        .deliver("s")
    )
    log = log_of("at | source\n 0 | ann\n 1 | bob")
    assert sent(fd.replay(flow, log, fd.EntityGraph({"user": users})), "who") == [(1, "bob")]


@pytest.mark.parametrize("value", [0, 1, -7, 2**53 + 1, 1.0, 2.5, 1e300, True, False, None, "", "é\"\\\n", [1, [None]], {"b": {"c": 1.0}}])  # fmt: skip
def test_rule_08_every_json_value_goes_through_unchanged(value: Any) -> None:
    flow = on("link.created").map(x=var.metadata.x).deliver("s")
    log = log_of("at | data\n 0 | {}")
    log[0]["event"]["metadata"] = {"x": value}
    payload = fd.replay(flow, log).deliveries["payload"][0]
    assert json.dumps(json.loads(payload)["x"]) == json.dumps(value)


# -- rule 9: conditions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["metadata.a == true", "metadata.a == True", "not (metadata.a == false)"])
def test_rule_09_literals_may_be_written_as_in_json_or_in_python(text: str) -> None:
    assert holds(text, a=True) is True


def test_rule_09_null_may_be_written_as_none() -> None:
    assert holds("metadata.a == None", a=None) is True


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("metadata.n + 1 == 4 and metadata.n - 1 < metadata.n", True),
        ("metadata.n * 2 >= 6 and metadata.n / 2 == 1.5 and metadata.n % 2 == 1", True),
        ("metadata.n in [1, 2, 3]", True),
        ("metadata.n not in [1, 2, 3]", False),
        ("metadata.n > 5 or (metadata.n == 3 and not metadata.n == 4)", True),
        ("exists(metadata.n) and len(metadata.t) == 3", True),
        ("lower(metadata.t) == 'abc' and upper(metadata.t) == 'ABC'", True),
        ("startswith(metadata.t, 'Ab') and endswith(metadata.t, 'C') and contains(metadata.t, 'b')", True),
    ],
)
def test_rule_09_all_operators_and_functions(condition: str, expected: bool) -> None:
    assert holds(condition, n=3, t="AbC") is expected


@pytest.mark.parametrize("built", [
    (var.metadata.n > 2) & ~(var.metadata.n == 5),
    (var.metadata.n == 3) | (var.metadata.t == 1),
    fn.exists(var.metadata.n),
])  # fmt: skip
def test_rule_09_the_same_can_be_written_in_python(built: Any) -> None:
    assert holds(built, n=3) is True
    assert on("link.created").where(built) == on("link.created").where(
        on("link.created").where(built).steps[0].condition.text
    )


def test_rule_09_values_of_different_types_are_unequal_and_unordered() -> None:
    assert holds("metadata.a == 1", a="1") is False
    assert holds("metadata.a != 1", a="1") is True
    assert holds("metadata.a < 2", a="1") is False
    assert holds("metadata.a >= 2", a="1") is False
    assert holds("metadata.a == 1", a=True) is False


def test_rule_09_numbers_compare_as_numbers_and_text_as_text() -> None:
    assert holds("metadata.a == 1", a=1.0) is True
    assert holds("metadata.a < 10", a=9) is True
    assert holds("metadata.a < '10'", a="9") is False


def test_rule_09_with_a_missing_value_only_unequal_is_true() -> None:
    assert [sign for sign in ("==", "!=", "<", "<=", ">", ">=") if holds(f"metadata.a {sign} 1")] == ["!="]
    assert holds("metadata.a in [1]") is False
    assert holds("metadata.a not in [1]") is True


def test_rule_09_arithmetic_on_a_missing_value_is_missing_and_on_a_wrong_type_fails() -> None:
    assert holds("metadata.a + 1 == 2") is False
    assert "text" in str(holds("metadata.a + 1 == 2", a="1"))


def test_rule_09_the_whole_must_be_boolean() -> None:
    assert holds("metadata.a", a=True) is True
    assert "a condition" in str(holds("metadata.a", a=1))
    with pytest.raises(fd.ConditionError):
        on("link.created").where("source_id + 1")


def test_rule_09_letters_follow_unicode() -> None:
    assert holds("upper(metadata.t) == 'STRASSE'", t="straße") is True
    assert holds("lower(metadata.t) == 'ὀδυσσεύς'", t="ὈΔΥΣΣΕΎΣ") is True


def test_rule_09_a_python_function_gets_the_context_as_a_mapping() -> None:
    def generous(context: Mapping[str, Any]) -> bool:
        return context["metadata"]["stars"] > 3 and "link_id" not in context

    assert holds(generous, stars=5) is True
    assert holds(generous, stars=1) is False
    assert "KeyError" in str(holds(generous, other=1))


def test_rule_09_a_condition_that_is_not_true_drops() -> None:
    result = fd.replay(
        on("link.created").where("source_id == 'bob'").map(x="x").deliver("s"), log_of("at\n 0")
    )
    assert drops(result) == {"filtered": 1}
