"""`portable()`: what production can say in other words is lowered, everything else is refused, all at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SLIPS_ARE_LIKELY, Case, World, cases, worlds

import flowdsl as fd
from flowdsl import Flow, fn, on, var
from flowdsl.errors import ExportError

pytestmark = SLIPS_ARE_LIKELY

BEGIN = on("link.created").resolve("source_id", as_="fan")


def conditions_of(flow: Flow) -> list[str]:
    """The filters of the lowered flow, as its YAML has them."""
    steps = flow.to_dict()["events"]["flows"][0]["pipeline"]
    return [step["filter"]["condition"] for step in steps if "filter" in step]


def refusals(flow: Flow) -> list[fd.BuildError]:
    with pytest.raises(ExportError) as caught:
        flow.portable()
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return list(caught.value.problems)


# -- conditions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "filters"),
    [
        ("fan.a == 1", ["fan.a == 1"]),
        ("fan.a == 1 and fan.b != 2 and fan.c exists", ["fan.a == 1", "fan.b != 2", "fan.c exists"]),
        ("not (fan.a == fan.b)", ["fan.a != fan.b"]),
        ("not (fan.a != 'x')", ['fan.a == "x"']),
        ("not not (fan.a == 1)", ["fan.a == 1"]),
        ("exists(fan.a)", ["fan.a exists"]),
        ("not exists(fan.a)", ["fan.a not_exists"]),
        ("fan.a not_exists", ["fan.a not_exists"]),
        ("not (fan.a not_exists)", ["fan.a exists"]),
        ("fan.a in ['x']", ['fan.a == "x"']),
        ("fan.a in ['x', 'x']", ['fan.a == "x"']),
        ("fan.a not in ['x', 1, null]", ['fan.a != "x"', "fan.a != 1", "fan.a != null"]),
        ("'x' == fan.a", ['fan.a == "x"']),
        ("true != fan.a", ["fan.a != true"]),
        ("not (fan.a == 1 or fan.b in [2, 3])", ["fan.a != 1", "fan.b != 2", "fan.b != 3"]),
        ("fan.a == 1 and not (fan.b == 2 or not (fan.c == 3))", ["fan.a == 1", "fan.b != 2", "fan.c == 3"]),
        ("""fan.a == 'say "hi"'""", ["""fan.a == 'say "hi"'"""]),
        ('fan.a == "it\'s"', ['fan.a == "it\'s"']),
        ("fan.a == 1.0", ["fan.a == 1.0"]),
    ],
)
def test_a_condition_becomes_filters_that_together_say_the_same(condition, filters):
    assert conditions_of(BEGIN.where(condition)) == filters


def test_a_condition_built_with_var_becomes_text():
    flow = BEGIN.where((var.fan.a == 1) & ~fn.exists(var.fan.b) & (var.source_id != var.target_id))
    assert conditions_of(flow) == ["fan.a == 1", "fan.b not_exists", "source_id != target_id"]


def over_ten(context: Any) -> bool:
    return bool(context["fan"]["a"] > 10)


@pytest.mark.parametrize(
    ("condition", "what", "hint"),
    [
        (over_ten, "is a Python function", "write the condition as text"),
        ("fan.a < 3", "there is no '<'", "let the events carry the answer along with fan.a"),
        ("not (fan.a >= 3)", "cannot say 'not (fan.a >= 3)'", "data.flag == true"),
        ("fan.a == 1 or fan.b == 2", "there is no 'or'", "one where fan.a == 1; one where not (fan.a == 1), and where fan.b == 2"),
        ("not (fan.a == 1 and fan.b == 2)", "there is no 'or'", "one where not (fan.a == 1); one where fan.a == 1, and where not (fan.b == 2)"),
        ("fan.a in ['x', 'y']", "there is no 'in'", 'a flow for each value: fan.a == "x"; fan.a == "y"'),
        ("fan.a in []", "nothing is in an empty list", "leave the flow out"),
        ("'x' in fan.tags", "there is no 'in'", "let the events carry"),
        ("fan.a + 1 == 2", "there is nothing to compute with", "let the events carry"),
        ("lower(fan.a) == 'x'", "there is no lower()", "let the events carry"),
        ("startswith(fan.a, 'x')", "there is no startswith()", "let the events carry"),
        ("fan.a", "a variable alone is not a condition", "write fan.a == true"),
        ("not fan.a", "a variable alone is not a condition", "write fan.a == false"),
        ("true", "a constant is not a condition", "leave the step out"),
        ("1 == 1", "the left side is always a path", "leave the step out"),
        ("(fan.a == 1) == true", "there is nothing to compute with", "let the events carry"),
        (r"fan.a == 'a\\b'", "a backslash or a line break", "another field"),
        (r"fan.a == 'a\nb'", "a backslash or a line break", "another field"),
        ("""fan.a == 'both \\' and "'""", "both kinds of quotes", "another field"),
        ("fan.a == 'a != b'", "at which production splits", "another field"),
        ('fan["odd key"] == 1', "not a plain name", None),
    ],
)  # fmt: skip
def test_a_condition_that_production_lacks_is_refused_with_what_comes_nearest(condition, what, hint):
    (problem,) = refusals(BEGIN.where(condition))
    assert what in problem.what
    assert problem.allowed
    assert hint is None or hint in (problem.hint or "")
    assert problem.step == "1 (where)"


def test_a_variable_that_production_takes_for_a_constant_is_refused():
    for name in ("nan", "Infinity", "exists", "not_exists"):
        flow = on("link.created").resolve("source_id", as_=name).where(f"target_id == {name}")
        assert "on the right of '=='" in refusals(flow)[0].what
    turned = on("link.created").resolve("source_id", as_="nan").where("nan == target_id")
    assert conditions_of(turned) == ["nan == target_id"]


# -- the other steps ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "portable"),
    [("7d", "168h"), ("1h30m", "90m"), ("2w", "336h"), ("60m", "1h"), ("90s", "90s"), ("1s500ms", "1500ms"), ("0d", "0s")],
)  # fmt: skip
def test_a_duration_has_one_unit_that_production_knows(written, portable):
    flow = on("link.created").deduplicate("source_id", window=written).portable()
    assert flow.steps[0].text == f"deduplicate('source_id', window='{portable}')"


def test_the_batch_has_productions_name():
    flow = (
        on("link.created")
        .batch("target_id", window="1m")
        .where("batch.count != 1")
        .deduplicate("batch.key", window="1h")
        .map(
            title='{{ batch.count }} of {{batch["key"]}}{% for batch_id in batch.items %}{{ batch_id }}{% endfor %} batch',
            raw="{% raw %}{{ batch.count }}{% endraw %}{% if batch is defined and batch.count > 1 %}{{ metadata[batch.key] }}{% endif %}",
        )
    )
    pipeline = flow.to_dict()["events"]["flows"][0]["pipeline"]
    assert pipeline[1:] == [
        {"filter": {"condition": "_batch.count != 1"}},
        {"deduplicate": {"key": "_batch.key", "window": "1h"}},
        {"map": {"template": {
            "title": '{{ _batch.count }} of {{_batch["key"]}}{% for batch_id in _batch.items %}{{ batch_id }}{% endfor %} batch',
            "raw": "{% raw %}{{ batch.count }}{% endraw %}{% if _batch is defined and _batch.count > 1 %}{{ metadata[_batch.key] }}{% endif %}",
        }}},
    ]  # fmt: skip


def test_another_variable_of_that_name_keeps_it():
    flow = on("link.created").resolve("source_id", as_="batch").map(x="{{ batch.name }}")
    assert flow.portable().steps == flow.steps


def test_what_production_does_not_know_of_a_batch_or_an_event_is_refused():
    batched = on("link.created").batch("target_id", window="1m")
    (first,) = refusals(batched.map(x="{{ batch.first_at }}"))
    assert (first.what, first.hint) == (
        "x: production's batch has no 'first_at'",
        "use _batch.count, _batch.key or _batch.items",
    )
    (event,) = refusals(on("link.created").where("event.kind == 'x'"))
    assert event.what.startswith("production has no 'event.kind'")
    assert event.allowed == "link_type, link_id, source_id, target_id, metadata"
    (hidden,) = refusals(batched.map(x="{% set batch = 1 %}{{ batch }}"))
    assert "hides production's _batch" in hidden.what
    (other,) = refusals(batched.resolve("source_id", as_="_batch").where("batch.count == 1"))
    assert "that is another variable" in other.what


@pytest.mark.parametrize(
    ("flow", "what", "hint"),
    [
        (BEGIN.resolve("target_id", as_="x", required=False), "resolve has no option 'required'", "without it: resolve('target_id', as_='x'): then an event fails where there is no entity"),
        (BEGIN.resolve("target_id", as_="x", type="user"), "resolve has no option 'type'", "without it: resolve('target_id', as_='x'): then an id that several types have stands for the first of them"),
        (BEGIN.fan_out("target_id", via="a", as_="x", type="user"), "fan_out has no option 'type'", "without it: fan_out('target_id', via='a', as_='x'): then an id that several types have stands for the first of them"),
        (BEGIN.rate_limit(1, per="1s", key="fan.id"), "rate_limit has no option 'key'", "without it: rate_limit(1, per='1s'): then all keys share one bucket"),
        (BEGIN.deduplicate(["source_id", "target_id"], window="1s"), "deduplicate has one key, and here are 2", "with the first only: deduplicate('source_id', window='1s'): then the others part nothing"),
        (BEGIN.rate_limit(2**32, per="1s"), "rate_limit: max is 4,294,967,296", None),
        (BEGIN.resolve(var.fan["a.b"], as_="x"), "a part that is empty or holds a dot", None),
        (BEGIN.map(n=var.fan.age), "n: fan.age keeps its type", 'write the template "{{ fan.age }}", which gives text'),
        (BEGIN.map(deep=[{"n": fn.len(var.fan.tags)}]), "deep[0].n: len(fan.tags) keeps its type", 'write the template "{{ fan.tags | length }}", which gives text'),
        (BEGIN.map(n=var.fan.age + 1), "n: fan.age + 1 keeps its type", 'write the template "{{ fan.age + 1 }}", which gives text'),
        (BEGIN.map(n=var.fan.age == 1), "n: fan.age == 1 keeps its type", "write a template, which gives text"),
        (BEGIN.batch("fan.id", window="1s").map(n=var.batch.count), "n: batch.count keeps its type", 'write the template "{{ _batch.count }}", which gives text'),
        (on("link.created", link_type="\ud800"), "half of a surrogate pair", None),
    ],
)  # fmt: skip
def test_what_production_lacks_is_refused_with_the_step_without_it(flow, what, hint):
    problems = refusals(flow)
    assert len(problems) == 1
    assert what in problems[0].what
    assert problems[0].hint == hint


def test_values_that_are_surely_text_become_templates():
    flow = BEGIN.fan_out("fan.id", via="follows", as_="one").map(a=var.target_id, b=[var.one_id], c="x")
    assert flow.portable().steps[-1].text == "map(a='{{ target_id }}', b=['{{ one_id }}'], c='x')"


def test_all_problems_of_a_flow_come_at_once_in_their_order():
    flow = (
        BEGIN.resolve("target_id", as_="x", type="user", required=False)
        .where("fan.a < 3 and fan.b > 2")
        .rate_limit(1, per="1s", key="fan.id")
        .map(a=var.fan.n, b="{{ event.id }}")
        .named("f")
    )
    problems = refusals(flow)
    assert [problem.step for problem in problems] == [
        "1 (resolve)", "1 (resolve)", "2 (where)", "2 (where)", "3 (rate_limit)", "4 (map)", "4 (map)",
    ]  # fmt: skip
    assert {problem.flow for problem in problems} == {"f"}


def test_a_portable_flow_has_its_name_and_no_empty_description():
    flow = replace(on("link.created").map(a=1).deliver("s"), description=" ").portable()
    assert (flow.given_name, flow.description) == ("link.created to s", None)
    assert flow.portable() == flow


def test_a_flow_of_the_target_is_portable_as_it_is():
    text = "- name: f\n  trigger: {kind: link.created}\n  pipeline:\n  - filter: {condition: a == b and c == d}\n"
    (flow,) = fd.load(text, target="this-rs").flows
    assert flow.portable() == flow
    assert fd.load(flow.to_yaml(), target="this-rs") == flow


# -- the meaning stays the same -------------------------------------------------------------------------

PATHS = ["source_id", "target_id", "link_type", "metadata", "metadata.n", "metadata.name", "metadata.more.x", "u", "u.n", "u.name", "u.tags"]  # fmt: skip
paths = st.sampled_from(PATHS)
constants = st.sampled_from(["'a'", "'1'", "1", "1.0", "2.5", "true", "false", "null", "'Ann'", "''"])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("not ({})".format, inner),
        st.builds("({}) and ({})".format, inner, inner),
        st.builds("({}) or ({})".format, inner, inner),
    )


simple = st.one_of(
    st.builds("{} {} {}".format, paths, st.sampled_from(["==", "!="]), paths | constants),
    st.builds("{} {} {}".format, constants, st.sampled_from(["==", "!="]), paths),
    st.builds("{} {}".format, paths, st.sampled_from(["exists", "not_exists"])),
    st.builds("{} {} [{}]".format, paths, st.sampled_from(["in", "not in"]), st.lists(constants, min_size=1, max_size=2).map(", ".join)),
)  # fmt: skip
conditions = st.recursive(simple, _grown, max_leaves=4)
SAME = ["seq_no", "event_time", "delivered_at", "closed_by", "branch", "sink", "recipient_id", "payload"]


def said(flow: Flow, world: World) -> tuple[Any, ...]:
    """All that a replay says, but for the numbers of the steps."""
    result = fd.replay(flow, world.events, fd.EntityGraph(world.entities, world.links))
    return (
        result.deliveries[SAME].astype(str).values.tolist(),
        result.errors[["seq_no", "operator", "branch"]].astype(str).values.tolist(),
    )


@given(condition=conditions, world=worlds())
def test_a_lowered_condition_lets_the_same_events_through(condition: str, world: World) -> None:
    flow = (
        on("link.created")
        .resolve("source_id", as_="u", required=False)
        .where(condition)
        .map(a="{{ source_id }}")
        .deliver("s")
    )
    resolve, _, *rest = flow.steps
    try:
        filters = BEGIN.resolve("source_id", as_="u").where(condition).portable().steps[2:]
    except ExportError:
        return
    assert said(flow, world) == said(Flow(flow.trigger, (resolve, *filters, *rest)), world)


@given(case=cases())
def test_a_portable_flow_delivers_what_the_flow_does(case: Case) -> None:
    for flow in case.flows:
        try:
            lowered = flow.portable()
        except ExportError:
            continue
        assert said(flow, case.world) == said(lowered, case.world)
        assert lowered.portable() == lowered
        assert fd.load(flow.to_yaml()) == lowered
