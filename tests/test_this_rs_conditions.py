"""Conditions as production reads them: one operator with a space on each side, and a comparison of text."""

from __future__ import annotations

import pytest
from oracle.conditions import OneRow
from this_rs_runs import like, log_at, run, said, seqs

import flowdsl as fd
from flowdsl.production.this_rs_conditions import TextCondition
from flowdsl.values.json_types import MISSING

VALUES = [
    10,
    10.0,
    "10",
    1.0,
    1,
    "1.0",
    True,
    "true",
    None,
    "null",
    1e16,
    1.5e16,
    0.00001,
    1e-7,
    -0.0,
    0,
    "x",
    "",
    [1],
    {"a": 1},
]


def holding(condition: str) -> list[object]:
    """Those of the values for which a condition on `metadata.v` holds."""
    events = log_at(*((0, like(metadata={"v": value})) for value in VALUES))
    return [VALUES[seq - 1] for seq in seqs(run(events, {"filter": {"condition": condition}}, *said("x")))]


@pytest.mark.parametrize(
    ("literal", "equal"),
    [
        ("10", [10, "10"]),
        ("10.0", [10.0]),
        ('"10"', [10, "10"]),
        ("1.0", [1.0, "1.0"]),
        ("true", [True, "true"]),
        ("null", [None, "null"]),
        ("'null'", [None, "null"]),
        ("1e16", [1e16]),
        ("1.5e16", [1.5e16]),
        ("10000000000000000", []),
        ("0.00001", [0.00001]),
        ("1e-5", []),
        ("1e-7", [1e-7]),
        ("-0.0", [-0.0]),
        ("0", [0]),
        ("''", [""]),
        ("'[1]'", []),
        ("x", []),
        ("'x'", ["x"]),
    ],
)
def test_values_are_compared_as_the_text_that_json_has_for_them(literal: str, equal: list[object]) -> None:
    assert repr(holding(f"metadata.v == {literal}")) == repr(equal)
    differing = holding(f"metadata.v != {literal}")
    rest = [v for v in VALUES if repr(v) not in map(repr, equal)]
    assert repr(differing) == repr(VALUES if literal == "x" else rest)


def test_a_right_side_without_quotes_is_a_variable() -> None:
    events = log_at(
        (0, like(metadata={"a": "10", "b": 10})),
        (1, like(metadata={"a": 1, "b": 1.0})),
        (2, like(metadata={"a": "x"})),
    )
    assert seqs(run(events, {"filter": {"condition": "metadata.a == metadata.b"}}, *said("x"))) == [1]
    assert seqs(run(events, {"filter": {"condition": "metadata.a != metadata.b"}}, *said("x"))) == [2, 3]


def test_an_object_on_the_left_equals_nothing_and_on_the_right_its_json() -> None:
    events = log_at((0, like(metadata={"o": {"b": 1, "a": [2.0]}, "t": '{"a":[2.0],"b":1}'})))
    assert not len(run(events, {"filter": {"condition": "metadata.o == metadata.o"}}, *said("x")))
    assert seqs(run(events, {"filter": {"condition": "metadata.t == metadata.o"}}, *said("x"))) == [1]


def test_a_missing_side_makes_equal_false_and_unequal_true() -> None:
    events = log_at((0, like()))
    for condition, holds in [("nope == 1", 0), ("nope != 1", 1), ("link_type == nope", 0), ("link_type != nope", 1),
                             ("nope == nope", 0), ("nope != nope", 1), ("nope exists", 0), ("nope not_exists", 1)]:  # fmt: skip
        assert len(run(events, {"filter": {"condition": condition}}, *said("x"))) == holds, condition


@pytest.mark.parametrize(
    ("text", "operator", "left", "literal", "right"),
    [
        ("a == 1 and b == 2", "==", ("a",), None, ("1 and b == 2",)),
        ("a != b == c", "!=", ("a",), None, ("b == c",)),
        ("a == b != c", "!=", ("a == b",), None, ("c",)),
        ("a == b exists", "exists", ("a == b",), None, None),
        ("x not_exists exists", "exists", ("x not_exists",), None, None),
        ("  a.b   ==   c.d  ", "==", ("a", "b"), None, ("c", "d")),
        ('"a" == "b"', "==", ('"a"',), "b", None),
        ("a == 'it\" s'", "==", ("a",), "it\" s", None),
        ("a == \"b'", "==", ("a",), None, ("\"b'",)),
        ("a == .5", "==", ("a",), ".5", None),
        ("a == +1e3", "==", ("a",), "+1e3", None),
        ("a == Infinity", "==", ("a",), "Infinity", None),
        ("a == 1_000", "==", ("a",), None, ("1_000",)),
        ("a == 0x10", "==", ("a",), None, ("0x10",)),
        ("a == True", "==", ("a",), None, ("True",)),
        (" == 1", None, None, None, None),
        ("a b exists", "exists", ("a b",), None, None),
    ],
)  # fmt: skip
def test_the_first_operator_splits_the_text_and_the_rest_is_taken_as_it_is(
    text: str,
    operator: str | None,
    left: tuple[str, ...] | None,
    literal: str | None,
    right: tuple[str, ...] | None,
) -> None:
    if operator is None:
        with pytest.raises(fd.ConditionError):
            TextCondition.parse(text)
        return
    condition = TextCondition.parse(text)
    assert (condition.operator, condition.left, condition.literal, condition.right) == (
        operator,
        left,
        literal,
        right,
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "a",
        "exists",
        "not_exists",
        "a==1",
        "a ==1",
        "a== 1",
        "a == ",
        "a > 1",
        "a in b",
        "a and b",
        "not a",
    ],
)
def test_what_has_no_operator_between_spaces_does_not_compile(text: str) -> None:
    with pytest.raises(fd.ConditionError, match="production"):
        TextCondition.parse(text)


def test_explain_shows_both_sides_of_a_comparison() -> None:
    found = {("v",): 10, ("w",): MISSING}
    assert TextCondition.parse("v == w").operands(found.__getitem__) == [("v", 10), ("w", MISSING)]
    assert TextCondition.parse("v == 10").evaluate(OneRow(found.__getitem__))[0].all()
    assert not TextCondition.parse("w exists").evaluate(OneRow(found.__getitem__))[0].any()
