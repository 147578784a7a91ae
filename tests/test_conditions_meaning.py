"""What conditions mean, sentence by sentence; the forms' agreement is tested beside this."""

import threading

import pytest
from oracle.conditions import holds
from oracle.values import look_up

from flowdsl.errors import BuildError
from flowdsl.expressions.conditions import Condition, EvaluationError, parse_expression
from flowdsl.expressions.conditions.scalar import row_form
from flowdsl.expressions.var import var
from flowdsl.values.columns import Column
from flowdsl.values.json_types import MISSING

CONTEXT = {
    "source_id": "u1",
    "owner": {"id": "u2", "name": "Ann", "email": None, "ΑΣ": "ΟΔΟΣ"},
    "one": 1,
    "one_float": 1.0,
    "one_text": "1",
    "yes": True,
    "no": False,
    "nothing": None,
    "big": 2**53 + 1,
    "big_float": float(2**53),
    "largest": 2**63 - 1,
    "smallest": -(2**63),
    "zero": 0,
    "tags": ["new", 1, [2.0], {"a": None}],
    "data": {"n": {"a": [1, 2]}, "m": {"a": [1.0, 2]}},
}


def at(path):
    return look_up(CONTEXT, path)


class Row:
    """The one context, as columns."""

    size = 1

    def column(self, path):
        return Column.of([at(path)])

    def take(self, index):
        return self

    def roots(self):
        return tuple(CONTEXT)


def verdict(source):
    """What a condition says of the context: true, false, or the words of its failure; the same in both forms."""
    condition = Condition.of(source)
    mask, failures = condition.evaluate(Row())
    try:
        single = holds(condition, at)
    except EvaluationError as failure:
        single = str(failure)
    assert single == (failures.message(0) if failures else mask[0])
    return single


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # numbers as numbers, text as text, booleans as booleans
        ("source_id != owner.id", True),
        ("one == 1.0 and one == one_float", True),
        ("one == '1'", False),
        ("one != one_text", True),
        ("one == true", False),
        ("yes == true and no == False", True),
        ("no < yes", True),
        ("big == big_float", False),
        ("big > big_float and big >= 9007199254740992.0", True),
        ("'a' < 'b' and 'Z' < 'a' and '\\uffff' < '\\U0001F600'", True),
        ("'10' < '9'", True),
        # different types are unequal and unordered
        ("one < '2' or one > '0' or one_text < 2", False),
        ("nothing == null", True),
        ("nothing < null or nothing <= null or nothing > 0", False),
        ("nothing == false or nothing == 0 or nothing == ''", False),
        ("data.n == data.m", True),
        ("data.n == data", False),
        ("data.n < data.m or tags < tags", False),
        ("tags == tags and tags != ['new', 1]", True),
        # missing
        ("gone != 1 and gone != gone and gone != null", True),
        ("gone == 1 or gone == gone or gone == null or gone < 1 or gone >= 1", False),
        ("gone in [1, null]", False),
        ("gone not in [1]", True),
        ("1 in gone", False),
        ("owner.name.first == 1", False),
        ("one.real == 1 or owner.__class__ == 1 or __class__ == 1", False),
        # exists
        ("exists(owner.email) and owner.email exists", True),
        ("owner.phone not_exists and not exists(owner.phone)", True),
        # in and contains
        ("'new' in tags and contains(tags, 1.0) and contains(tags, 2) == false", True),
        ("contains(tags, [2])", True),
        ("[2] in tags", True),
        ("'nn' in owner.name and contains(owner.name, '')", True),
        ("one in [true, '1', 1.0]", True),
        ("yes in [1, 1.0, 'true']", False),
        ("null in [null]", True),
        ("source_id not in ['u1', 'u2']", False),
        ("data.n in tags", False),
        # text
        ("startswith(owner.name, 'A') and endswith(owner.name, 'nn')", True),
        ("startswith(gone, 'A') or endswith(owner.name, gone) or contains(gone, 1)", False),
        ('lower(owner["ΑΣ"]) == "οδος"', True),
        ("upper('ß') == 'SS' and len(lower('İ')) == 2", True),
        ("lower(gone) == lower(gone)", False),
        ("len('e\\u0301😀') == 3 and len(tags) == 4 and len(owner) == 4", True),
        ("len(gone) > 0", False),
        # numbers
        ("one + one * 2 == 3 and -one == 0 - 1", True),
        ("7 / 2 == 3.5 and 6 / 2 == 3", True),
        ("-7 % 3 == 2 and 7 % -3 == -2 and -7.5 % 2 == 0.5", True),
        ("largest + one == 9223372036854775808.0", True),
        ("largest * 2 - 1 == 18446744073709551616.0", True),
        ("-smallest == 9223372036854775808.0 and smallest - 1 == -9223372036854775808.0", True),
        ("largest - 1 == 9223372036854775806", True),
        ("big / 1 == big", False),
        ("gone + 1 == 1 or gone * nothing == 0", False),
        ("gone + 1 != 1", True),
        # booleans
        ("not yes or no or yes and not no", True),
        ("no and nothing", False),
        ("yes or nothing", True),
        ("yes", True),
        ("true", True),
    ],
)
def test_what_holds(text, expected):
    assert verdict(text) is expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nothing + 1 == 1", "'+' needs numbers, but nothing is null"),
        ("one - yes == 0", "'-' needs numbers, but yes is a boolean"),
        ("-one_text == 1", "'-' needs numbers, but one_text is text"),
        ("one * (2 + tags) == 0", "'+' needs numbers, but tags is an array"),
        ("one / zero == 0", "division by zero: zero is 0"),
        ("one % (one - 1) == 0", "division by zero: one - 1 is 0"),
        ("one and yes", "'and' needs true or false, but one is a number"),
        ("no or nothing", "'or' needs true or false, but nothing is null"),
        (
            "yes and gone",
            "'and' needs true or false, but gone is missing; exists(gone) asks whether it is there",
        ),
        ("not gone", "'not' needs true or false, but gone is missing; exists(gone) asks whether it is there"),
        ("one_text", "a condition needs true or false, but one_text is text"),
        (
            "gone",
            "a condition needs true or false, but gone is missing; exists(gone) asks whether it is there",
        ),
        ("len(one) == 1", "len needs text, an array or an object, but one is a number"),
        ("lower(nothing) == 'x'", "lower needs text, but nothing is null"),
        ("startswith(owner.name, one)", "startswith needs text, but one is a number"),
        ("endswith(tags, 'x')", "endswith needs text, but tags is an array"),
        ("contains(owner, 'id')", "contains needs text or an array, but owner is an object"),
        ("contains(owner.name, one)", "contains needs text, but one is a number"),
        ("one in owner.name", "'in' needs text, but one is a number"),
        ("1 in nothing", "'in' needs an array or text, but nothing is null"),
        ("1 not in nothing", "'in' needs an array or text, but nothing is null"),
        ("one + nothing == zero / zero", "'+' needs numbers, but nothing is null"),
    ],
)
def test_what_fails_says_which_value_is_to_blame(text, words):
    assert verdict(text) == words


def test_a_failure_on_a_side_that_is_not_needed_does_not_count():
    assert verdict("zero != 0 and one / zero > 1") is False
    assert verdict("zero == 0 or one / zero > 1") is True
    assert verdict("exists(gone) and gone") is False
    assert verdict("one / zero > 1 and zero != 0") == "division by zero: zero is 0"


def test_a_long_operand_is_cut_short_in_messages():
    message = verdict(f"one / (zero * {' * '.join(['one'] * 60)}) == 1")
    assert len(message) < 120
    assert "…" in message


def test_a_large_document_is_no_trouble():
    deep = []
    for _ in range(300):
        deep = [deep]
    condition = Condition.of("a == b and contains(a, 1) == false")
    assert holds(condition, {("a",): deep, ("b",): deep}.get) is True


def test_the_operands_of_a_condition_have_their_values_in_reading_order():
    condition = Condition.of(
        "source_id != owner.id and (len(tags) > 9 or exists(gone) or gone / one == 1 or one + yes == 2)"
    )
    found = condition.operands(at)
    assert found[:4] == [
        ("source_id != owner.id", True),
        ("source_id", "u1"),
        ("owner.id", "u2"),
        ("len(tags) > 9", False),
    ]
    values = dict(found)
    assert values["len(tags)"] == 4
    assert values["exists(gone)"] is False
    assert values["gone"] is MISSING
    assert str(values["one + yes == 2"]) == "'+' needs numbers, but yes is a boolean"
    assert [text for text, _ in found].count("gone") == 1
    assert Condition.of(lambda context: True).operands(at) == []


def test_rows_are_evaluated_in_threads_beside_each_other():
    form = row_form(parse_expression("a * 2"))
    wrong = []

    def work(number):
        wrong.extend(n for n in range(300) if form.evaluate([number + n]) != 2 * (number + n))

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 4000, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# -- Python functions as conditions --------------------------------------------------------------------------


def is_ann(context):
    return context["owner"]["name"] == "Ann"


def test_a_python_function_gets_the_context_as_a_mapping():
    assert verdict(is_ann) is True
    assert verdict(lambda context: "gone" in context) is False
    assert verdict(lambda context: context.get("gone", 5) == 5 and context["nothing"] is None) is True
    assert Condition.of(is_ann).evaluate(Row())[0].tolist() == [True]


def test_a_function_can_go_through_the_variables_that_are_there():
    seen = {}

    def remember(context):
        seen.update(context)
        return len(context) == len(CONTEXT)

    mask, failures = Condition.of(remember).evaluate(Row())
    assert (mask.tolist(), failures) == ([True], None)
    assert seen == CONTEXT
    assert holds(Condition.of(remember), at, [*CONTEXT, "gone"]) is True


def test_what_a_function_raises_is_the_failure_of_that_row_only():
    class Rows(Row):
        size = 4

        def column(self, path):
            return Column.of([1, 0, 2, "x"])

    mask, failures = Condition.of(lambda context: 2 / context["n"] == 2).evaluate(Rows())
    assert mask[0]
    assert failures.codes.tolist() == [0, 1, 0, 2]
    assert failures.message(1) == "<lambda> raised ZeroDivisionError: division by zero"
    assert failures.message(3).startswith("<lambda> raised TypeError: unsupported operand")


def test_a_function_must_say_true_or_false():
    assert verdict(lambda context: 1) == "<lambda> gave int, not true or false"
    assert verdict(lambda context: None) == "<lambda> gave NoneType, not true or false"
    assert verdict(lambda context: Column.of([True]).bools[0]) is True
    assert verdict(lambda context: context["gone"]) == "<lambda> raised KeyError: 'gone'"
    assert "write & for and" in verdict(lambda context: bool(var.a == 1))


def test_a_context_that_is_kept_stays_that_of_its_row():
    kept = []

    class Rows(Row):
        size = 2

        def column(self, path):
            return Column.of([1, 2])

    Condition.of(lambda context: kept.append(context) is None).evaluate(Rows())
    assert [context["n"] for context in kept] == [1, 2]


def test_a_function_condition_has_a_name_and_a_place_and_no_paths():
    condition = Condition.of(is_ann)
    assert condition.text.startswith("<function is_ann at test_conditions_meaning.py:")
    assert (condition.paths, condition.expression, condition.function) == (None, None, is_ann)
    assert Condition.of(is_ann) == condition
    assert hash(Condition.of(is_ann)) == hash(condition)
    assert Condition.of(lambda context: True) != condition


def test_what_cannot_be_called_with_a_context_is_refused_when_it_is_given():
    async def later(context):
        return True

    for wrong in (lambda: True, lambda a, b: True, later, dict):
        with pytest.raises(BuildError):
            Condition.of(wrong)
    assert holds(Condition.of(lambda context, limit=3: True), at) is True
