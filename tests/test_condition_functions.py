"""Functions of conditions: how they are declared, and how those run that have no form for columns."""

import json
import sys

import pytest
from event_tables import failures, log_of, sent

import flowdsl as fd
from flowdsl.errors import PluginError
from tests.plugins import install

SOURCE = """
from flowdsl.expressions.conditions.functions import Function

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
    assert refused.value.allowed == "exists, len, lower, upper, startswith, endswith, contains, initials"


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
        ("broken = 7", "broken", "is a int, and no Function"),
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
