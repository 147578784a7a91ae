"""Functions of conditions: how they are declared, and how those run that have no form for columns."""

import json
import sys

import pytest
from event_tables import failures, log_of, sent

import flowdsl as fd
from flowdsl.errors import PluginError
from tests.plugins import install

SOURCE = """
from flowdsl.expressions.conditions.declaration import Function

calls = []


def initials(text):
    calls.append(text)
    if text == "boom":
        raise ValueError("it went off")
    if text == "seven":
        return 7
    return "".join(word[0] for word in text.split())


INITIALS = Function(
    "initials", "The first letters of the words.", "initials(data.name)", {"text": ("text",)}, "text", initials
)
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """What `initials` is called with, a function of another package that has no form for columns."""
    install(tmp_path, monkeypatch, "acme-initials", SOURCE, {"flowdsl.functions:initials": "INITIALS"})
    fd.on("link.created").where("initials(source_id) == 'AB'")
    found = sys.modules["acme_initials"].calls
    found.clear()
    return found


def replayed(condition, names):
    rows = [json.dumps({"n": 1} if name is None else {"name": name}) for name in names]
    table = "".join(f"\n | {number} | {row} |" for number, row in enumerate(rows))
    flow = fd.on("link.created").where(condition).map(name="{{ metadata.name }}").deliver("s")
    return fd.replay(flow, log_of("| at | data |" + table))


def test_a_function_without_a_form_for_columns_is_called_once_for_each_distinct_value(calls):
    names = ["Ann Bell", "Amy Bird", "Cy Dee"] * 100
    assert len(sent(replayed("initials(metadata.name) == 'AB'", names), "name")) == 200
    assert sorted(calls) == ["Amy Bird", "Ann Bell", "Cy Dee"]


def test_it_is_not_called_where_its_argument_is_missing(calls):
    result = replayed("initials(metadata.name) == 'AB'", [None, "Ann Bell", None])
    assert (sent(result, "name"), failures(result)) == ([(1, "Ann Bell")], [])
    assert calls == ["Ann Bell"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("boom", "initials raised ValueError: it went off"),
        ("seven", "initials gave int, not text"),
        (7, "initials needs text, but metadata.name is a number"),
    ],
)
def test_what_fails_in_it_is_a_failure_of_the_event(calls, name, why):
    result = replayed("initials(metadata.name) == 'AB'", [name, "Ann Bell"])
    assert failures(result) == [(1, 0, why)]
    assert why in str(result.explain(1))
    assert sent(result, "name") == [(1, "Ann Bell")]


def test_it_is_a_method_of_fn_and_stands_among_the_others(calls):
    assert repr(fd.fn.initials(fd.var.data.name)) == "var('initials(data.name)')"
    assert "initials" in dir(fd.fn)
    with pytest.raises(AttributeError, match=r"there is no function 'initial'.*did you mean 'initials'"):
        fd.fn.initial(fd.var.data.name)
    with pytest.raises(fd.ConditionError, match="there is no function 'initial'") as refused:
        fd.on("link.created").where("initial(source_id) == 'a'")
    assert refused.value.allowed.startswith("exists, len, lower, upper, ")
    assert refused.value.allowed.endswith(", initials")


def test_production_has_none_of_another_package(calls):
    flow = fd.on("link.created").where("initials(metadata.name) == 'AB'").map(a="b").deliver("s")
    with pytest.raises(fd.ExportError, match=r"there is no initials\(\)"):
        flow.to_yaml()
    assert ("not-portable", 0) in [(found.code, found.step) for found in flow.check(target="this-rs")]


@pytest.mark.parametrize(
    ("source", "names", "what"),
    [
        ("raise RuntimeError('no')", "broken", "cannot be loaded: RuntimeError: no"),
        ("import nowhere_at_all", "broken", "cannot be loaded: ModuleNotFoundError"),
        ("broken = 7", "broken", "is an int, and no Function"),
        (SOURCE.replace("INITIALS =", "broken ="), "broken", "calls itself 'initials'"),
        (SOURCE.replace("INITIALS =", "lower ="), "lower", "flowdsl and acme-broken both declare 'lower'"),
    ],
)
def test_a_broken_plug_in_is_an_error_that_names_its_distribution(tmp_path, monkeypatch, source, names, what):
    install(tmp_path, monkeypatch, "acme-broken", source, {f"flowdsl.functions:{names}": names})
    assert "lower" in str(fd.on("link.created").where("lower(source_id) == 'a'"))
    with pytest.raises(PluginError) as refused:
        fd.on("link.created").where("broken(source_id) == 'a'")
    assert what in str(refused.value)
    assert "acme-broken" in str(refused.value)


PADDED = """
from flowdsl.expressions.conditions.declaration import Function

PADDED = Function(
    "padded", "The text, filled up on its left.", "padded(source_id, 4, fill='0')",
    {"text": ("text",), "size": ("number",), "fill": ("text",)}, "text",
    lambda text, size, fill: text.rjust(int(size), fill), defaults={"fill": " "},
)
"""


@pytest.fixture
def padded(tmp_path, monkeypatch):
    """A function whose last argument has a default."""
    install(tmp_path, monkeypatch, "acme-padded", PADDED, {"flowdsl.functions:padded": "PADDED"})


def test_an_argument_with_a_default_is_given_by_name_or_left_out(padded):
    bare, filled = "padded(source_id, 3) == ' ab'", 'padded(source_id, 3, fill="0") == "0ab"'
    for condition in (bare, filled, fd.fn.padded(fd.var.source_id, 3, fill="0") == "0ab"):
        flow = fd.on("link.created").where(condition).map(a="b").deliver("s")
        assert len(fd.replay(flow, log_of("| at | source |\n | 1 | ab |\n | 2 | c |"))["s"]) == 1
        assert eval(f"fd.{flow.steps[0].text}", {"fd": fd.on("link.created")}).steps == flow.steps[:1]
    whole = fd.on("link.created").where("padded(source_id, 3, fill=' ') == ' ab'")
    assert whole == fd.on("link.created").where(bare.replace("3)", "3, ' ')"))
    assert whole.steps[0].text == """where('padded(source_id, 3) == " ab"')"""


@pytest.mark.parametrize(
    ("condition", "what", "hint"),
    [
        ("padded(source_id, 3, fil='0') == 'a'", "no argument 'fil' that is given by name", "did you mean 'fill'"),
        ("padded(source_id, 3, '1', fill='0') == 'a'", "has the argument 'fill' twice", None),
        ("padded(source_id, 3, fill='1', fill='0') == 'a'", "'fill' is given twice", None),
        ("padded(source_id, fill='1', 3) == 'a'", "an argument without a name behind one with a name", None),
        ("padded(source_id, fill='1') == 'a'", "padded takes two arguments, not 1", None),
        ("lower(source_id = 1) == 'a'", "no argument 'source_id' that is given by name", "equality is =="),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_named_argument_is_said(padded, condition, what, hint):
    with pytest.raises(fd.ConditionError) as refused:
        fd.on("link.created").where(condition)
    assert what in str(refused.value)
    assert hint is None or hint in str(refused.value.hint)
