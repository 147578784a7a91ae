"""How conditions are written, and what their refusals say."""

import subprocess
import sys

import pytest

from flowdsl.errors import BuildError, ConditionError
from flowdsl.expressions.conditions import Condition, parse_expression


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("owner.id!=source_id", "owner.id != source_id"),
        ("a == 1 and b == 2 or c == 3", "a == 1 and b == 2 or c == 3"),
        ("a == 1 and (b == 2 or c == 3)", "a == 1 and (b == 2 or c == 3)"),
        ("((a) == ((1)))", "a == 1"),
        ("(a and b) and (c and d)", "a and b and c and d"),
        ("not a == b", "not a == b"),
        ("not (a or b)", "not (a or b)"),
        ("not not a", "not not a"),
        ("a == (not b)", "a == (not b)"),
        ("(a < b) == c", "(a < b) == c"),
        ("not (a in b)", "a not in b"),
        ("a not in ['x', \"y\"]", 'a not in ["x", "y"]'),
        ("a in [1, -2, 3.5, true, null, ]", "a in [1, -2, 3.5, true, null]"),
        ("a in []", "a in []"),
        ("a + b * c - (d - e) > 0", "a + b * c - (d - e) > 0"),
        ("(a + b) * c > 0", "(a + b) * c > 0"),
        ("-a.b + --c > - 1", "-a.b + --c > -1"),
        ("-(a + b) > -(5)", "-(a + b) > -5"),
        ("a exists", "exists(a)"),
        ("a.b not_exists and c exists", "not exists(a.b) and exists(c)"),
        ("a == True or b == None or c == False", "a == true or b == null or c == false"),
        ("exists exists", "exists(exists)"),
        ("len == 1 and contains(lower(a), 'x')", 'len == 1 and contains(lower(a), "x")'),
        ("data.in == data.exists", "data.in == data.exists"),
        ('a["b"].c["odd key"] == 1', 'a.b.c["odd key"] == 1'),
        ('$["odd root"] == $["plain"]', '$["odd root"] == plain'),
        ("größe > 1e3", "größe > 1000.0"),
        ("a == 1e5 or a == 1.5E-3 or a == -0.0", "a == 100000.0 or a == 0.0015 or a == -0.0"),
        ("a == -9223372036854775808", "a == -9223372036854775808"),
        ("a == 9223372036854775808", "a == 9.223372036854776e+18"),
        (r"a == 'it\'s \"\u00e9\x41\n\\'", r'a == "it' + "'" + r's \"éA\n\\"'),
        (r"a == '\ud83d\ude00\U0001F600'", 'a == "😀😀"'),
        ("a\n  == 1\n\tand b", "a == 1 and b"),
        ("true", "true"),
    ],
)
def test_a_condition_has_one_canonical_text(written, canonical):
    condition = Condition.of(written)
    assert condition.text == canonical
    assert parse_expression(canonical) == condition.expression


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = 1", ["unexpected '='", "character 3", "equality is =="]),
        ("a === 1", ["equality is =="]),
        ("a && b", ["write 'and'"]),
        ("a || b", ["write 'or'"]),
        ("!a", ["write 'not'"]),
        ("a <> b", ["inequality is !="]),
        ("a => b", [">="]),
        ("a ** 2 == 4", ["powers are not part"]),
        ("9**9**9 == 1", ["powers are not part"]),
        ("a // 2 == 4", ["there is no whole division"]),
        ("{{ a }} == 1", ["without {{ }}"]),
        ("a == “x”", ["quotes are"]),
        ("a == 'x", ["text that does not end"]),
        ("a == 'x\ny'", ["text that does not end", r"\n"]),
        ("a == 'C:\\dir'", [r"unknown escape '\\d'", "a backslash itself"]),
        ("a == '\\ud800'", ["surrogate"]),
        (
            "startwith(a, 'x')",
            ["no function 'startwith'", "did you mean 'startswith'?", "allowed: exists, len"],
        ),
        ("len(a, b) > 1", ["len takes one argument, not 2", "len(data.tags)"]),
        ("contains(a)", ["contains takes two arguments, not 1"]),
        ("exists(a + 1)", ["exists takes a path"]),
        ("a < b < c", ["comparisons in a chain", "a < b and b < c"]),
        ("a == b in c", ["comparisons in a chain"]),
        ("a == not b", ["'not' after an operator", "parentheses"]),
        ("a is null", ["unexpected 'is'", "== null"]),
        ("a == 1 AND b == 2", ["unexpected 'AND'", "write 'and'"]),
        ("tags contains 'x'", ["contains(data.tags"]),
        ("a exsts", ["did you mean 'exists'?"]),
        ("a == ", ["ends too early"]),
        ("and a", ["unexpected 'and'"]),
        ("(a == 1", ["'(' that is never closed", "character 1"]),
        ("a in [1, 2", ["'[' that is never closed"]),
        ("a == 1)", ["never opened"]),
        ("a in [b]", ["a list holds constants only"]),
        ("a in [1 2]", ["unexpected '2'"]),
        ("a in 5", ["'in' needs an array or text, but 5 is a number"]),
        ("a.5 == 1", ["unexpected '5'", "a name"]),
        ("a.user-id == 1", ["user-id can be read in two ways", 'a["user-id"] for the name']),
        ("a[0] == 1", ["unexpected '0'", 'path["odd key"]']),
        ("$.a == 1", ["unexpected '.'"]),
        ("007 == a", ["is not a number", "leading zeros"]),
        ("1_000 == a", ["is not a number"]),
        ("1.e3 == a", ["is not a number"]),
        ("a == 1e999", ["too large"]),
        ("", ["empty", "write true"]),
        ("   ", ["empty"]),
        ("1 + 2", ["1 + 2 is a number, and a condition must be true or false"]),
        ("'x'", ["is text, and a condition must be true or false"]),
        ("lower(a)", ["is text, and a condition"]),
        ("null", ["is null, and a condition"]),
        ("[true]", ["is an array, and a condition"]),
        ("a and 5", ["'and' needs true or false, but 5 is a number"]),
        ("not lower(a)", ["'not' needs true or false, but lower(a) is text"]),
        ("a + 'x' == 1", ["'+' needs numbers, but \"x\" is text"]),
        ("-(a == b)", ["'-' needs numbers, but a == b is a boolean"]),
        ("lower(3) == 'x'", ["lower needs text, but 3 is a number"]),
        ("a == 1 # note", ["unexpected '#'"]),
        ("a if b else c", ["without 'if'"]),
    ],
)
def test_a_refusal_says_what_where_and_what_instead(text, words):
    with pytest.raises(ConditionError) as caught:
        Condition.of(text)
    for word in words:
        assert word in str(caught.value)


def test_a_refusal_in_a_long_text_shows_the_place_only():
    with pytest.raises(ConditionError) as caught:
        Condition.of(" or ".join(["owner.name == 'somebody'"] * 500) + " or a = 1")
    assert "or a ▸= 1" in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "text",
    [
        "(" * 140 + "a" + ")" * 140,
        "not " * 140 + "a",
        "-" * 140 + "a == 1",
        "lower(" * 140 + "a" + ")" * 140,
        "a == (" * 20,
        " + ".join(["a"] * 140) + " == 1",
        "[" * 140,
        "a" * 100_001,
        "'" + "x" * 20,
        "9" * 400 + " == a",
        "'" + "\\" * 19,
    ],
    ids=lambda text: f"{text[:8]}…{len(text)}",
)
def test_text_that_asks_for_too_much_is_refused_in_few_words(text):
    with pytest.raises(ConditionError) as caught:
        Condition.of(text)
    assert len(str(caught.value)) < 500


def test_long_conditions_that_are_no_deeper_than_others_are_fine():
    text = " or ".join(f"a == {n}" for n in range(5_000))
    assert Condition.of(text).text == text
    ids = ", ".join(f'"user-{n}"' for n in range(5_000))
    assert len(Condition.of(f"a in [{ids}]").expression.right.items) == 5_000


def test_constants_of_different_types_are_different_conditions():
    conditions = {
        Condition.of(f"a == {value}") for value in ("1", "1.0", "true", '"1"', "null", "0.0", "-0.0")
    }
    assert len(conditions) == 7


def test_the_paths_of_a_condition_are_known():
    condition = Condition.of(
        'owner.id != source_id and (exists(data["odd key"]) or $["x y"] in tags) and 1 == 1'
    )
    assert condition.paths == {("owner", "id"), ("source_id",), ("data", "odd key"), ("x y",), ("tags",)}


def test_dunder_names_are_paths_like_any_other():
    assert Condition.of("__class__.__bases__ == 1").paths == {("__class__", "__bases__")}


def test_a_condition_is_a_value():
    one, same, other = Condition.of("a==1"), Condition.of("(a == 1)"), Condition.of("a == 2")
    assert one == same
    assert len({one, same, other}) == 2
    assert Condition.of(one) is one
    assert str(one) == "a == 1"
    with pytest.raises(AttributeError):
        one.expression = None


def test_a_condition_cannot_be_just_anything():
    for value in (None, 1, True, ["a"], {"a": 1}):
        with pytest.raises(BuildError, match="a condition cannot be"):
            Condition.of(value)


def test_making_conditions_imports_neither_numpy_nor_polars():
    program = """
import sys
from flowdsl.expressions.conditions import Condition
from flowdsl.expressions.var import var
from flowdsl.expressions.fn import fn
from flowdsl.expressions.durations import parse_duration
Condition.of("a == 1"); Condition.of(fn.exists(var.a)); Condition.of(lambda context: True).text; parse_duration("1h")
heavy = {"numpy", "polars", "pandas", "pyarrow", "simpleeval"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True)
