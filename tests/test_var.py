"""Conditions built in Python."""

import copy
import enum
import pickle

import numpy as np
import pandas as pd
import pytest

from flowdsl.errors import BuildError
from flowdsl.expressions.conditions import Condition, parse_expression
from flowdsl.expressions.fn import fn
from flowdsl.expressions.var import unwrap, var


@pytest.mark.parametrize(
    ("built", "text"),
    [
        (var.owner.id != var.source_id, "owner.id != source_id"),
        (var.a == 1, "a == 1"),
        (1 == var.a, "a == 1"),  # noqa: SIM300 - Python turns it round
        (1 < var.a, "a > 1"),  # noqa: SIM300
        (var.a <= 2.5, "a <= 2.5"),
        (var.a >= "x", 'a >= "x"'),
        (var.a == None, "a == null"),  # noqa: E711
        (var.a == True, "a == true"),  # noqa: E712
        ((var.a == 1) & (var.b == 2) | ~(var.c == 3), "a == 1 and b == 2 or not c == 3"),
        ((var.a == 1) & ((var.b == 2) | (var.c == 3)), "a == 1 and (b == 2 or c == 3)"),
        (var.flag & var.other, "flag and other"),
        (True & var.flag, "true and flag"),
        (False | var.flag, "false or flag"),
        (var.a + 1 - 2 * var.b > -var.c / 3 % 4, "a + 1 - 2 * b > -c / 3 % 4"),
        (10 - var.a == 10 / var.b, "10 - a == 10 / b"),
        (7 % var.a + 1 > 0, "7 % a + 1 > 0"),
        (fn.exists(var.a.b), "a.b exists"),
        (~fn.exists(var.a.b), "a.b not_exists"),
        (fn.len(var.tags) > 2, "len(tags) > 2"),
        (fn.lower(var.a) == fn.upper(var.b), "lower(a) == upper(b)"),
        (fn.startswith(var.a, "x") | fn.endswith(var.a, var.b), 'startswith(a, "x") or endswith(a, b)'),
        (fn.contains(var.tags, "new"), "contains(tags, 'new')"),
        (fn.is_in(var.kind, ["post", "page"]), "kind in ['post', 'page']"),
        (fn.is_in(var.kind, ("post", 1)), "kind in ['post', 1]"),
        (fn.is_in(var.kind, {"b", "a"}), "kind in ['a', 'b']"),
        (~fn.is_in(var.kind, var.kinds), "kind not in kinds"),
        (fn.is_in("a", var.text), "'a' in text"),
        (var["data"]["odd key"] == 1, 'data["odd key"] == 1'),
        (var["odd root"].x == 1, '$["odd root"].x == 1'),
        (var["a.b"] == 1, '$["a.b"] == 1'),
        (var._batch.count > 1, "_batch.count > 1"),
        (var["and"] == var["len"], '$["and"] == len'),
        (var["__class__"].__x == 1, "__class__.__x == 1"),
    ],
)
def test_what_is_built_equals_what_is_written(built, text):
    assert unwrap(built) == unwrap(var(text)) == parse_expression(text)
    assert repr(var(text)) == repr(built)
    assert Condition.of(built) == Condition.of(text)
    assert hash(Condition.of(built)) == hash(Condition.of(text))


def test_no_path_is_shadowed_by_a_name_of_the_library():
    for name in (
        "node",
        "name",
        "text",
        "paths",
        "kind",
        "exists",
        "same_as",
        "unwrap",
        "_node",
        "self",
        "keys",
    ):
        assert unwrap(getattr(var, name)).path == (name,)
        assert unwrap(getattr(var.a, name)).path == ("a", name)


@pytest.mark.parametrize(
    ("use", "advice"),
    [
        (lambda: bool(var.x == 1), "write & for and"),
        (lambda: var.x == 1 and var.y == 2, "write & for and"),
        (lambda: var.x == 1 or var.y == 2, "| for or"),
        (lambda: not var.x, "~ for not"),
        (lambda: 1 < var.x < 3, "for a chain"),
        (lambda: var.x in [1, 2], "fn.is_in"),
        (lambda: "a" in var.x, "fn.contains"),
        (lambda: len(var.x), "fn.len"),
        (lambda: list(var.x), "fan_out"),
        (lambda: var.x.lower(), "fn.lower(var.x"),
        (lambda: var.x.startswith("a"), "fn.startswith(var.x"),
        (lambda: var(), "fn.exists"),
        (lambda: (var.x + 1).lower, "fn.lower"),
        (lambda: var.x == 1 & var.y == 2, "parentheses"),
    ],
)
def test_what_python_cannot_do_with_it_says_what_can_be_done(use, advice):
    with pytest.raises(BuildError) as caught:
        use()
    assert advice in caught.value.hint


@pytest.mark.parametrize(
    "use",
    [
        lambda: var.x + "a",
        lambda: -(var.x == 1),
        lambda: ~fn.len(var.x),
        lambda: var.x == object(),
        lambda: var.x == {"a": 1},
        lambda: var.x == float("nan"),
        lambda: var.x == "\ud800",
        lambda: var.x == 10**400,
        lambda: fn.is_in(var.x, [var.y]),
        lambda: fn.is_in(var.x, [[1]]),
        lambda: fn.is_in(var.x, 3),
        lambda: fn.exists(var.x + 1),
        lambda: fn.lower(1),
        lambda: var.x[0],
        lambda: var == 1,
        lambda: unwrap(var),
        lambda: Condition.of(var),
        lambda: Condition.of(var.x + 1),
        lambda: Condition.of(fn.lower(var.x)),
        lambda: Condition.of(True),
        lambda: Condition.of(3),
    ],
)
def test_a_mistake_is_an_error_on_its_line(use):
    with pytest.raises(BuildError):
        use()


def test_an_enum_member_counts_as_the_value_it_is_built_on():
    class Kind(enum.StrEnum):
        POST = "post"

    class Level(enum.IntEnum):
        HIGH = 3

    assert unwrap((var.kind == Kind.POST) & (var.level == Level.HIGH)) == parse_expression(
        'kind == "post" and level == 3'
    )


def test_numbers_and_lists_of_numpy_and_pandas_are_constants():
    assert unwrap(np.int64(3) < var.x) == parse_expression("x > 3")
    assert unwrap((var.x == np.float32(0.5)) & (np.bool_(True) == var.y)) == parse_expression(
        "x == 0.5 and y == true"
    )
    assert unwrap(fn.is_in(var.x, np.array([1, 2]))) == parse_expression("x in [1, 2]")
    assert unwrap(fn.is_in(var.x, pd.Series(["a", "b"]))) == parse_expression("x in ['a', 'b']")
    with pytest.raises(BuildError):
        fn.is_in(var.x, np.zeros((2, 2)))


def test_an_integer_beyond_64_bits_is_a_float():
    assert unwrap(var.x == 2**63) == parse_expression("x == 9223372036854775808.0")
    assert unwrap(var.x == -(2**63)) == parse_expression("x == -9223372036854775808")


def test_an_expression_that_grows_too_deep_is_refused_while_it_is_built():
    def grow():
        expression = var.x
        for _ in range(200):
            expression = expression + 1

    with pytest.raises(BuildError, match="nested deeper"):
        grow()


def test_many_alternatives_are_one_flat_expression():
    expression = var.x == 0
    for number in range(1, 500):
        expression = expression | (var.x == number)
    assert unwrap(expression).depth == 3
    assert len(unwrap(expression).operands) == 500


def test_expressions_can_be_copied_and_pickled_and_show_themselves():
    built = (var.a.b == 1) & fn.exists(var.c)
    assert repr(built) == "var('a.b == 1 and exists(c)')"
    assert repr(var) == "var"
    assert pickle.loads(pickle.dumps(Condition.of(built))) == Condition.of(built)
    assert unwrap(copy.deepcopy(built)) == unwrap(built)
    assert unwrap(pickle.loads(pickle.dumps(built))) == unwrap(built)
