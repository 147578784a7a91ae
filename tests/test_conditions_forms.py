"""The column form, the row form and a plain reading of the rules agree, in values and in failures."""

import fractions
import hashlib
import math
import operator

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracle.conditions import holds
from oracle.values import FailedError, look_up

from flowdsl.expressions.conditions import Condition, EvaluationError, evaluate, nodes, parse_expression
from flowdsl.expressions.conditions.nodes import (
    And,
    Arithmetic,
    Compare,
    ConditionLiteral,
    FunctionCall,
    ListOf,
    Negative,
    Not,
    Or,
    Reference,
)
from flowdsl.expressions.conditions.scalar import row_form
from flowdsl.expressions.fn import fn
from flowdsl.expressions.var import Var, unwrap, var
from flowdsl.values.columns import Column
from flowdsl.values.interner import Interner
from flowdsl.values.json_types import MISSING


class Table:
    """Rows from mappings; columns that hold nothing but text can be interned, as ids are."""

    def __init__(self, rows, interner=None):
        self.contexts = list(rows)
        self.interner = interner
        self.asked = 0

    @property
    def size(self):
        return len(self.contexts)

    def column(self, path):
        self.asked += self.size
        values = [look_up(context, path) for context in self.contexts]
        if self.interner is not None and values and all(v is MISSING or isinstance(v, str) for v in values):
            texts = pl.Series([None if v is MISSING else v for v in values], dtype=pl.String)
            return Column.from_codes(self.interner.intern(texts), self.interner)
        return Column.of(values)

    def take(self, index):
        return Table([self.contexts[i] for i in index.tolist()], self.interner)


# -- a plain reading of the rules -------------------------------------------------------------------------


def type_of(value):
    names = {
        bool: "boolean",
        int: "number",
        float: "number",
        str: "text",
        list: "array",
        dict: "object",
        type(None): "null",
    }
    return names.get(type(value), "missing")


def same(a, b):
    if type_of(a) != type_of(b) or a is MISSING:
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return set(a) == set(b) and all(same(a[key], b[key]) for key in a)
    return a == b


def plain(node, context):
    match node:
        case ConditionLiteral():
            return node.value
        case ListOf():
            return [item.value for item in node.items]
        case Reference():
            return look_up(context, node.path)
        case Not():
            return not boolean(plain(node.operand, context))
        case And():
            return all(boolean(plain(operand, context)) for operand in node.operands)
        case Or():
            return any(boolean(plain(operand, context)) for operand in node.operands)
        case Compare():
            return plain_comparison(node.operator, plain(node.left, context), plain(node.right, context))
        case Negative():
            value = plain(node.operand, context)
            return value if value is MISSING else bounded(-number(value))
        case Arithmetic():
            return plain_arithmetic(node.operator, plain(node.left, context), plain(node.right, context))
        case FunctionCall():
            return plain_call(node.function, [plain(argument, context) for argument in node.arguments])
    raise AssertionError(node)


def boolean(value):
    if type_of(value) != "boolean":
        raise FailedError
    return value


def number(value):
    if type_of(value) != "number":
        raise FailedError
    return value


def bounded(value):
    return float(value) if isinstance(value, int) and not -(2**63) <= value <= 2**63 - 1 else value


def plain_comparison(sign, left, right):
    if sign == "==":
        return same(left, right)
    if sign == "!=":
        return not same(left, right)
    if sign == "in":
        return plain_call("contains", [right, left])
    if type_of(left) != type_of(right) or type_of(left) not in ("number", "text", "boolean"):
        return False
    return {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[sign](left, right)


def plain_arithmetic(sign, left, right):
    if left is MISSING or right is MISSING:
        return MISSING
    a, b = number(left), number(right)
    if sign in "/%" and b == 0:
        raise FailedError
    return bounded(
        {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "%": operator.mod}[
            sign
        ](a, b)
    )


def plain_call(function, arguments):
    if function == "exists":
        return arguments[0] is not MISSING
    if function == "coalesce":
        there = [a for a in arguments if a is not MISSING and a is not None]
        return there[0] if there else MISSING
    if MISSING in [a for a in arguments if a is MISSING]:
        return False if function in ("startswith", "endswith", "contains") else MISSING
    types = [type_of(argument) for argument in arguments]
    if function in ("abs", "round", "min", "max"):
        return plain_number(function, [number(argument) for argument in arguments])
    if function == "bucket":
        return plain_bucket(*arguments)
    if function == "contains" and types[0] == "array":
        return any(same(item, arguments[1]) for item in arguments[0])
    if function == "len" and types[0] in ("array", "object"):
        return len(arguments[0])
    if types != ["text"] * len(types):
        raise FailedError
    if function == "contains":
        return arguments[1] in arguments[0]
    if function == "trim":
        kept = list(arguments[0])
        while kept and is_white(kept[-1]):
            kept.pop()
        while kept and is_white(kept[0]):
            kept.pop(0)
        return "".join(kept)
    return len(arguments[0]) if function == "len" else getattr(str, function)(*arguments)


def plain_number(function, numbers):
    if not all(math.isfinite(n) for n in numbers):
        raise FailedError
    if function == "round":
        x, digits = numbers
        if digits != int(digits) or not 0 <= digits <= 15:
            raise FailedError
        if isinstance(x, int):
            return x
        scale = 10 ** int(digits)
        exact = abs(fractions.Fraction(x)) * scale
        whole = math.floor(exact + fractions.Fraction(1, 2)) * (1 if x >= 0 else -1)
        return bounded(whole) if digits == 0 else float(fractions.Fraction(whole, scale))
    if function == "abs":
        return bounded(abs(numbers[0]))
    best = numbers[0]
    for n in numbers[1:]:
        best = n if (n < best if function == "min" else n > best) else best
    return best


def plain_bucket(value, count, salt):
    if type_of(value) not in ("text", "number") or type_of(salt) != "text":
        raise FailedError
    if number(count) != count or not math.isfinite(count) or count != int(count) or not 1 <= count < 2**63:
        raise FailedError
    if isinstance(value, float) and math.isfinite(value) and value == int(value) and abs(value) < 2**63:
        value = int(value)
    first = hashlib.sha256(salt.encode() + b"\0" + str(value).encode()).hexdigest()[:16]
    return int(first, 16) % int(count)


def is_white(character):
    return character.isspace() and character not in "\x1c\x1d\x1e\x1f"


# -- random expressions and columns ------------------------------------------------------------------------

PATHS = [("a",), ("b",), ("c",), ("d", "x"), ("d", "odd key"), ("odd root",), ("d",)]
INTEGERS = st.sampled_from(
    [0, 1, -1, 2, 3, 7, -5, 2**53, 2**53 + 1, -(2**53) - 1, 2**62, 2**63 - 1, -(2**63), 3037000500]
)
FINITE = st.sampled_from(
    [
        0.0,
        -0.0,
        0.5,
        -0.5,
        0.49999999999999994,
        2.675,
        -1.05,
        1.0,
        -1.0,
        3.0,
        2.5,
        float(2**53),
        2.0**53 + 2,
        2.0**63,
        -(2.0**63),
        1e308,
        1e-300,
    ]
)
FLOATS = FINITE | st.sampled_from([math.nan, math.inf, -math.inf])
TEXTS = st.sampled_from(
    [
        "",
        "a",
        "b",
        "ab",
        "A",
        "ß",
        "İ",
        "ΑΣ",
        "Σ",
        "ας",
        "é",
        "e\u0301",
        "𝒳",
        "\uffff",
        "ŉ",
        "a'\"\\\n",
        "1",
        " a ",
        "\x1f\u2003b\xa0",
        "\t\x1c\n",
    ]
)
SCALARS = st.none() | st.booleans() | INTEGERS | FINITE | TEXTS
NESTED = st.recursive(
    st.none() | st.booleans() | st.sampled_from([1, 1.0, 2**53 + 1, float(2**53), "a", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abx"), inner, max_size=2),
    max_leaves=4,
)
ARRAYS = st.lists(NESTED, max_size=3)
VALUES = (
    st.just(MISSING)
    | st.none()
    | st.booleans()
    | INTEGERS
    | FLOATS
    | TEXTS
    | ARRAYS
    | st.dictionaries(st.sampled_from("ab"), NESTED, max_size=2)
)
# columns of one type, columns with gaps, and columns of everything
FLAVOURS = [
    INTEGERS, FLOATS, TEXTS, st.booleans(), ARRAYS,
    INTEGERS | FLOATS, TEXTS | st.just(MISSING), st.booleans() | st.just(MISSING), INTEGERS | st.none(), ARRAYS | TEXTS, VALUES,
]  # fmt: skip


@st.composite
def tables(draw, max_size=12):
    size = draw(st.integers(0, max_size))
    contexts = [{} for _ in range(size)]
    for path in (("a",), ("b",), ("c",), ("odd root",), ("d", "x"), ("d", "odd key")):
        flavour = draw(st.sampled_from(FLAVOURS))
        for context in contexts:
            value = draw(flavour)
            if value is not MISSING:
                place = context if len(path) == 1 else context.setdefault("d", {})
                # what NaN is inside an object is not JSON's business
                if len(path) == 1 or not (isinstance(value, float) and not math.isfinite(value)):
                    place[path[-1]] = value
    return contexts


REFERENCES = st.sampled_from(PATHS).map(Reference)
LITERALS = SCALARS.map(ConditionLiteral)
DIGITS = st.sampled_from([(), (0,), (1,), (2,)]).map(
    lambda some: tuple(map(ConditionLiteral, some))
) | st.tuples(REFERENCES)
LISTS = st.lists(LITERALS, max_size=4).map(lambda items: ListOf(tuple(items)))


def numbers_of(level):
    simple = (INTEGERS | FINITE).map(ConditionLiteral) | REFERENCES | REFERENCES
    if level == 0:
        return simple
    inner = st.deferred(lambda: numbers_of(level - 1))
    return (
        simple
        | st.builds(Arithmetic, st.sampled_from("+-*/%"), inner, inner)
        | st.builds(nodes.negative, inner)
        | st.builds(lambda x: FunctionCall("len", (x,)), texts_of(level - 1) | LISTS)
        | st.builds(lambda x: FunctionCall("abs", (x,)), inner)
        | st.builds(lambda x, d: FunctionCall("round", (x, *d)), inner, DIGITS)
        | st.builds(
            lambda f, xs: FunctionCall(f, tuple(xs)),
            st.sampled_from(["min", "max"]),
            st.lists(inner, min_size=2, max_size=3),
        )
        | st.builds(
            lambda x, n, salt: FunctionCall("bucket", (x, n, *salt)),
            texts_of(level - 1) | inner,
            st.sampled_from([1, 2, 10, 3.0]).map(ConditionLiteral) | REFERENCES,
            st.lists(texts_of(level - 1), max_size=1),
        )
    )


def texts_of(level):
    simple = TEXTS.map(ConditionLiteral) | REFERENCES | REFERENCES
    if level == 0:
        return simple
    return simple | st.builds(
        lambda f, x: FunctionCall(f, (x,)), st.sampled_from(["lower", "upper", "trim"]), texts_of(level - 1)
    )


def anything(level):
    return (
        LITERALS
        | REFERENCES
        | LISTS
        | numbers_of(level)
        | texts_of(level)
        | booleans_of(level)
        | st.builds(
            lambda xs: FunctionCall("coalesce", tuple(xs)),
            st.lists(LITERALS | REFERENCES | REFERENCES | LISTS, min_size=1, max_size=3),
        )
    )


def booleans_of(level):
    leaf = (
        st.builds(
            Compare,
            st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
            LITERALS | LISTS | REFERENCES,
            REFERENCES,
        )
        | st.builds(Compare, st.just("in"), LITERALS | REFERENCES, LISTS | REFERENCES)
        | st.builds(lambda x: FunctionCall("exists", (x,)), REFERENCES)
        | st.builds(
            lambda f, x, y: FunctionCall(f, (x, y)),
            st.sampled_from(["startswith", "endswith", "contains"]),
            texts_of(0),
            texts_of(0),
        )
        | st.booleans().map(ConditionLiteral)
    )
    if level == 0:
        return leaf
    inner = st.deferred(lambda: booleans_of(level - 1) | REFERENCES)
    any_ = st.deferred(lambda: anything(level - 1))
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return (
        leaf
        | st.builds(Compare, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), any_, any_)
        | st.builds(Compare, st.just("in"), any_, LISTS | texts_of(level - 1))
        | st.builds(lambda x, y: FunctionCall("contains", (x, y)), LISTS | texts_of(level - 1), any_)
        | st.builds(
            lambda f, x, y: FunctionCall(f, (x, y)),
            st.sampled_from(["startswith", "endswith"]),
            texts_of(level - 1),
            texts_of(level - 1),
        )
        | st.builds(Not, inner)
        | st.builds(And, several)
        | st.builds(Or, several)
    )


# -- agreement ---------------------------------------------------------------------------------------------


def by_rows(node, contexts):
    """(value, message) of each context in the row form."""
    form, found = row_form(node), []
    for context in contexts:
        try:
            found.append((form.evaluate_at(lambda path, context=context: look_up(context, path)), None))
        except EvaluationError as failure:
            found.append((None, str(failure)))
    return found


def by_columns(values, failures):
    return [
        (None, failures.message(row)) if failures is not None and failures.codes[row] else (value, None)
        for row, value in enumerate(values)
    ]


def shown(results):
    # text, so that 1, 1.0 and true differ, -0.0 differs from 0.0, and NaN is itself
    return [(repr(value), message) for value, message in results]


@settings(max_examples=35 * settings().max_examples, deadline=None)
@given(anything(2), tables(), st.sampled_from([None, "interned"]))
@example(parse_expression("min(0, b)"), [{"b": math.nan}], None)
@example(parse_expression("max(b, 0)"), [{"b": math.inf}], None)
def test_values_agree_in_every_form(node, contexts, coding):
    rows = by_rows(node, contexts)
    column, failures = evaluate(node, Table(contexts, coding and Interner()))
    assert len(column) == len(contexts)
    assert shown(by_columns(column.values(), failures)) == shown(rows)
    for context, (value, message) in zip(contexts, rows, strict=True):
        try:
            expected = plain(node, context)
        except FailedError:
            assert message is not None
        else:
            assert message is None
            assert repr(value) == repr(expected)


@settings(max_examples=25 * settings().max_examples, deadline=None)
@given(booleans_of(2) | REFERENCES, tables(20), st.sampled_from([None, "interned"]))
def test_conditions_agree_in_every_form(node, contexts, coding):
    condition = Condition.of(node)
    mask, failures = condition.evaluate(Table(contexts, coding and Interner()))
    assert mask.dtype == np.bool_
    rows = []
    for context in contexts:
        try:
            rows.append((holds(condition, lambda path, context=context: look_up(context, path)), None))
        except EvaluationError as failure:
            rows.append((None, str(failure)))
    assert by_columns(mask.tolist(), failures) == rows
    for context, (value, message) in zip(contexts, rows, strict=True):
        try:
            expected = boolean(plain(node, context))
        except FailedError:
            assert message is not None
        else:
            assert value is expected


@settings(max_examples=25 * settings().max_examples, deadline=None)
@given(anything(3))
def test_the_text_of_an_expression_parses_back_to_it(node):
    parsed = parse_expression(str(node))
    assert parsed == node
    assert hash(parsed) == hash(node)
    assert str(parsed) == str(node)


@settings(max_examples=15 * settings().max_examples, deadline=None)
@given(
    st.lists(st.text(max_size=6), min_size=1, max_size=3).map(lambda parts: Reference(tuple(parts)))
    | st.text().map(ConditionLiteral)
)
def test_any_name_and_any_text_can_be_written(node):
    assert parse_expression(str(node)) == node
    assert parse_expression(f"exists({node})" if isinstance(node, Reference) else f"a == {node}")


def built(node):
    """The same expression, built with var."""
    match node:
        case Reference():
            value = var
            for part in node.path:
                value = value[part]
            return value
        case ConditionLiteral():
            return node.value
        case ListOf():
            return [item.value for item in node.items]
        case Not():
            return ~as_var(node.operand)
        case And() | Or():
            joined = as_var(node.operands[0])
            for operand in node.operands[1:]:
                joined = joined & built(operand) if isinstance(node, And) else joined | built(operand)
            return joined
        case Negative():
            return -as_var(node.operand)
        case FunctionCall():
            given = [built(argument) for name, argument in node.written if name is None]
            named = {name: built(argument) for name, argument in node.written if name is not None}
            return getattr(fn, node.function)(*given, **named)
    if node.operator == "in":
        return fn.is_in(built(node.left), built(node.right))
    signs = {
        "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
        "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "%": operator.mod,
    }  # fmt: skip
    return signs[node.operator](as_var(node.left), built(node.right))


def as_var(node):
    value = built(node)
    return value if isinstance(value, Var) else Var(node)


@settings(max_examples=20 * settings().max_examples, deadline=None)
@given(booleans_of(3))
def test_what_var_builds_equals_what_is_written(node):
    assert unwrap(as_var(node)) == node


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_operands_that_are_rarely_needed_read_few_rows(size):
    table = Table([{"a": n % 10, "b": "x"} for n in range(size)])
    mask, failures = Condition.of("a == 3 and lower(b) == 'x'").evaluate(table)
    assert failures is None
    assert mask.sum() == size // 10
    # the part table counts its own rows
    assert table.asked == size


def test_constants_are_not_spread_out_and_known_once():
    mask, failures = Condition.of("1 + 1 == 2 and 'a' in 'abc'").evaluate(Table([{}] * 3))
    assert (mask.tolist(), failures) == ([True] * 3, None)
    mask, failures = Condition.of("1 / 0 == 1").evaluate(Table([{}] * 3))
    assert failures.messages == ("division by zero: 0 is 0",)
    assert failures.codes.tolist() == [1, 1, 1]


def test_the_mask_is_the_callers_own():
    column = Column.of([True, False])

    class Fixed(Table):
        def column(self, path):
            return column

    mask, _ = Condition.of("a").evaluate(Fixed([{}, {}]))
    mask[:] = False
    assert column.values() == [True, False]


def test_interned_texts_compare_across_interners():
    left, right = Interner(), Interner()
    right.intern(pl.Series(["other", "y"]))
    columns = {
        ("a",): Column.from_codes(left.intern(pl.Series(["x", "y", None, "z"])), left),
        ("b",): Column.from_codes(right.intern(pl.Series(["x", "x", "y", None])), right),
    }

    class Fixed(Table):
        def column(self, path):
            return columns[path]

    assert Condition.of("a == b").evaluate(Fixed([{}] * 4))[0].tolist() == [True, False, False, False]
    assert Condition.of("a != b").evaluate(Fixed([{}] * 4))[0].tolist() == [False, True, True, True]
    assert Condition.of("a < b").evaluate(Fixed([{}] * 4))[0].tolist() == [False, False, False, False]
    assert Condition.of("a == 'never seen'").evaluate(Fixed([{}] * 4))[0].tolist() == [False] * 4
