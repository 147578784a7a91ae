"""Functions over values in conditions and templates (rule 28)."""

import json

import pytest
from event_tables import failures, log_of, sent

import flowdsl as fd
from flowdsl import fn, on, var
from flowdsl.expressions.conditions import parse_expression

# by `printf 'spring\0ann' | sha256sum`, the first 16 digits
SPRING_ANN = 0xDA75DBD2F56FD3AC
PLAIN_ANN = 0x5C1FD93220719815


def replayed(rows, **payload):
    table = "".join(f"\n | {n} | {json.dumps(row)} |" for n, row in enumerate(rows))
    return fd.replay(on("link.created").map(**payload).deliver("s"), log_of("| at | data |" + table))


def values_of(expression, rows):
    return [json.loads(payload)["x"] for payload in replayed(rows, x=expression).deliveries["payload"]]


def test_rule_28_bucket_is_what_any_system_computes_of_sha_256():
    rows = [{"id": "ann"}]
    assert values_of(fn.bucket(var.metadata.id, 10, salt="spring"), rows) == [SPRING_ANN % 10]
    assert values_of(fn.bucket(var.metadata.id, 2**63 - 1), rows) == [PLAIN_ANN % (2**63 - 1)]


def test_rule_28_bucket_takes_numbers_by_their_text_and_equal_ones_alike():
    rows = [{"id": 7}, {"id": 7.0}, {"id": "7"}, {"id": 7.5}]
    seven, same, text, other = values_of(fn.bucket(var.metadata.id, 10**9), rows)
    assert seven == same == text != other


def test_rule_28_bucket_splits_people_evenly_and_each_salt_anew():
    rows = [{"id": f"u{n}"} for n in range(4000)]
    one = values_of(fn.bucket(var.metadata.id, 4, salt="a"), rows)
    two = values_of(fn.bucket(var.metadata.id, 4, salt="b"), rows)
    assert all(900 < one.count(bucket) < 1100 for bucket in range(4))
    assert 900 < sum(a == b for a, b in zip(one, two, strict=True)) < 1100


@pytest.mark.parametrize(
    ("expression", "rows", "expected"),
    [
        (
            "coalesce(metadata.a, metadata.b, '-')",
            [{"a": None, "b": 0}, {"b": None}, {"a": [1]}],
            [0, "-", [1]],
        ),
        ("trim(metadata.a)", [{"a": "\u2003 x y\n"}, {"a": "\x1fz"}], ["x y", "\x1fz"]),
        ("abs(metadata.a)", [{"a": -2}, {"a": -0.5}, {"a": -(2**63)}], [2, 0.5, 2.0**63]),
        ("round(metadata.a)", [{"a": 2.5}, {"a": -0.5}, {"a": 0.49999999999999994}, {"a": 7}], [3, -1, 0, 7]),
        ("round(metadata.a, digits=2)", [{"a": 2.675}, {"a": 1.005}, {"a": -1.125}], [2.67, 1.0, -1.13]),
        ("min(metadata.a, 3, metadata.b)", [{"a": 1, "b": 0.5}, {"a": 2**53 + 1, "b": 2.0**53}], [0.5, 3]),
        ("max(metadata.a, metadata.b)", [{"a": 2**53 + 1, "b": 2.0**53}], [2**53 + 1]),
    ],
)
def test_rule_28_functions_give_what_they_say(expression, rows, expected):
    assert values_of(parse_expression(expression), rows) == expected


def test_rule_28_a_missing_argument_makes_the_result_missing_but_for_coalesce():
    result = replayed(
        [{}], x=parse_expression("round(metadata.a)"), y=parse_expression("coalesce(metadata.a, 1)")
    )
    assert failures(result) == [(1, 0, "round(metadata.a) is missing")]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"id": "ann", "n": 0}, "bucket needs a whole number of buckets from 1 on, not 0"),
        ({"id": "ann", "n": 2.5}, "bucket needs a whole number of buckets from 1 on, not 2.5"),
        ({"id": True, "n": 2}, "bucket needs text or numbers, but metadata.id is a boolean"),
    ],
)
def test_rule_28_a_value_that_a_function_does_not_take_fails_that_event_only(row, why):
    result = replayed([row, {"id": "ann", "n": 1}], x=fn.bucket(var.metadata.id, var.metadata.n))
    assert failures(result) == [(1, 0, why)]
    assert sent(result, "x") == [(1, 0)]


@pytest.mark.parametrize(
    ("condition", "what"),
    [
        ("bucket(source_id, 0) == 1", "bucket needs a whole number of buckets from 1 on, not 0"),
        ("round(data.a, digits=16) == 1", "round needs a whole number of digits from 0 to 15, not 16"),
        ("bucket(source_id) == 1", "bucket takes two arguments, not 1"),
        ("bucket(source_id, 2, sald='x') == 1", "bucket has no argument 'sald' that is given by name"),
        ("bucket(source_id, 2, n=3) == 1", "bucket has no argument 'n' that is given by name"),
        ("bucket(source_id, 2, salt='a', salt='b') == 1", "the argument 'salt' is given twice"),
        ("bucket(source_id, salt='a', 2) == 1", "an argument without a name behind one with a name"),
        ("min() == 1", "min takes two arguments or more, not 0"),
        ("min('a', 1) == 1", 'min needs numbers, but "a" is text'),
    ],
)
def test_rule_28_what_could_only_fail_is_refused_when_the_flow_is_built(condition, what):
    with pytest.raises(fd.ConditionError) as refused:
        on("link.created").where(condition)
    assert what in str(refused.value)


def test_rule_28_text_var_yaml_and_python_say_the_same():
    text = (
        'bucket(source_id, 10, salt="spring") < 3 and round(metadata.a, digits=1) == coalesce(metadata.b, 2)'
    )
    flow = on("link.created", name="f").where(text).map(a=fn.max(var.metadata.a, 1)).deliver("s")
    built = (fn.bucket(var.source_id, 10, salt="spring") < 3) & (
        fn.round(var.metadata.a, 1) == fn.coalesce(var.metadata.b, 2)
    )
    assert flow.steps[0] == on("link.created").where(built).steps[0]
    assert flow.steps[0].condition.text == text
    namespace = {"fd": fd, "fn": fn, "on": on, "var": var}
    source = flow.to_python()
    exec(source, namespace)
    assert 'salt="spring"' in source.replace("'", '"')
    assert any(value == flow for value in namespace.values() if isinstance(value, fd.Flow))


def test_rule_28_production_has_none_of_them():
    flow = on("link.created").where("bucket(source_id, 10) < 3").map(a="b").deliver("s")
    with pytest.raises(fd.ExportError, match=r"there is no '<'|there is no bucket\(\)") as refused:
        flow.to_yaml()
    assert "let the events carry the answer along with source_id" in str(refused.value)
    typed = on("link.created").map(a=fn.round(var.metadata.a)).deliver("s")
    with pytest.raises(fd.ExportError):
        typed.to_yaml()
    assert "not-portable" in {found.code for found in typed.check(target="this-rs")}
