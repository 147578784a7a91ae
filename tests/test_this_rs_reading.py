"""Reading YAML as production reads it: what it refuses is refused, everything else is let in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from this_rs_runs import documented, likes_at, run, said

import flowdsl as fd
from flowdsl.cli.main import main
from flowdsl.operators.map import Map
from flowdsl.rules import THIS_RS


def flow_text(pipeline: str, head: str = "name: f\n  trigger: {kind: link.created}") -> str:
    return f"- {head}\n  pipeline:\n" + "".join(f"    {line}\n" for line in pipeline.splitlines())


def loaded(pipeline: str, **more: Any) -> fd.Flow:
    return fd.load(flow_text(pipeline, **more), target="this-rs").flows[0]


def refusal(text: str) -> str:
    with pytest.raises(fd.LoadError) as caught:
        fd.load(text, target="this-rs")
    return str(caught.value)


def template(text: str) -> Any:
    step = loaded(f"- map: {{template: {text}}}").steps[0]
    assert isinstance(step, Map)
    return step.plain


def test_flows_that_are_read_by_productions_rules_say_so() -> None:
    assert loaded("- deliver: {sink: s}").rules == THIS_RS
    assert fd.load(documented(*said("x"))).flows[0].rules != THIS_RS


def test_unknown_keys_are_ignored_everywhere() -> None:
    text = """
    bogus: 1
    events:
      bogus: {a: [1, {b: 2}]}
      backend: {type: nats, bogus: 1}
      consumers: [{name: c, bogus: 1}]
      flows:
        - name: f
          bogus: yes
          trigger: {kind: link.created, bogus: 1}
          pipeline: [{filter: {condition: a exists, bogus: 1}}]
    sinks: [{name: s, type: push, bogus: 1}]
    """
    project = fd.load(text, target="this-rs")
    assert [flow.name for flow in project.flows] == ["f"]
    assert project.other == {"bogus": 1}
    assert (project.backend.type, project.consumers[0].seek, project.sinks[0].type) == (
        "nats",
        "latest",
        "push",
    )


def test_a_scalar_is_text_as_it_is_written_where_text_is_wanted() -> None:
    flow = loaded(
        "- deliver: {sinks: [1, 010, true, ~, 1.50, 2026-01-01, 0x1f]}",
        head="name: 007\n  trigger: {kind: link.created}",
    )
    assert flow.name == "007"
    assert flow.sinks == ("1", "010", "true", "~", "1.50", "2026-01-01", "0x1f")


def test_null_is_none_where_that_may_be_and_text_where_text_must_be() -> None:
    flow = loaded("- resolve: {from: null, as: ~, via: null, direction: null}")
    assert flow.steps[0].text == "resolve('null', direction='null', as_='~')"


def test_nothing_at_all_is_an_empty_list_or_mapping_and_a_written_null_is_none() -> None:
    assert (
        fd.load("- name: f\n  trigger: {kind: link.created}\n  pipeline:\n", target="this-rs").flows[0].steps
        == ()
    )
    assert "pipeline is null" in refusal("- name: f\n  trigger: {kind: link.created}\n  pipeline: null\n")
    assert "needs 'kind'" in refusal("- name: f\n  trigger:\n  pipeline: []\n")


@pytest.mark.parametrize("text", ["3", "+3", "! 3", "!!str 3", "0x3", "+0x3", "0o3", "0b11", "4294967295"])
def test_counts_are_written_as_whole_numbers_without_quotes(text: str) -> None:
    loaded(f"- rate_limit: {{max: {text}, per: 1s}}")


@pytest.mark.parametrize(
    "text", ["-0", "-1", "-0x1", "1.0", "1e3", '"3"', "03", "1_000", "4294967296", "true", "null", "[1]", "a"]
)
def test_other_counts_are_refused(text: str) -> None:
    assert "max" in refusal(
        flow_text(f"- rate_limit: {{max: {text}, per: 1s}}")
    ) or "whole number" in refusal(flow_text(f"- rate_limit: {{max: {text}, per: 1s}}"))


def test_of_keys_that_stand_twice_a_known_one_is_refused_and_in_a_template_the_last_counts() -> None:
    assert "'name' is given twice" in refusal(
        "- name: f\n  name: g\n  trigger: {kind: link.created}\n  pipeline: []\n"
    )
    fd.load("- name: f\n  x: 1\n  x: 2\n  trigger: {kind: link.created}\n  pipeline: []\n", target="this-rs")
    assert template("{a: 1, b: 2, a: 3}") == {"a": 3, "b": 2}


def test_keys_of_a_template_are_text_as_they_are_written() -> None:
    assert template("{1: a, true: b, ~: c}") == {"1": "a", "true": "b", "~": "c"}


def test_a_template_takes_any_value_that_json_has() -> None:
    assert template("[1, 1.0, true, null, x, {a: [~]}, .inf, .nan]") == [
        1,
        1.0,
        True,
        None,
        "x",
        {"a": [None]},
        None,
        None,
    ]
    assert template("18446744073709551615") == 18446744073709551615
    assert template("[0b11, -0x1f, +0o17, -0, 00.5, 1., 1e400, 1_000, 010, 1234567890123456789012345678901234567890]") == [
        3, -31, 15, 0, 0.5, 1.0, "1e400", "1_000", "010", 1.2345678901234568e39,
    ]  # fmt: skip
    assert repr(template("[!!float 3, !!int 0b11]")) == "[3.0, 3]"
    assert "64 bits" in refusal(flow_text("- map: {template: 18446744073709551616}"))


def test_a_tag_is_nothing_to_text_and_refused_in_a_template() -> None:
    assert loaded("- deliver: {sink: !mine s}").sinks == ("s",)
    assert "!mine" in refusal(flow_text("- map: {template: !mine s}"))


def test_merge_keys_merge_nothing() -> None:
    text = "- name: f\n  trigger: &t {kind: link.created}\n  pipeline: []\n- name: g\n  trigger: {<<: *t}\n  pipeline: []\n"
    assert "needs 'kind'" in refusal(text)


@pytest.mark.parametrize(
    ("sinks", "message"),
    [
        ("[{name: s}]", "needs 'type'"),
        ("[{name: s, type: mail}]", "'mail'"),
        ("[{type: push}]", "needs 'name'"),
        ("{}", "a list"),
    ],
)
def test_sinks_that_production_does_not_know_are_refused(sinks: str, message: str) -> None:
    assert message in refusal(f"events: {{flows: []}}\nsinks: {sinks}\n")


def test_a_consumer_has_one_of_three_seeks() -> None:
    assert "'now'" in refusal("events: {consumers: [{name: c, seek: now}]}")
    assert (
        fd.load("events: {consumers: [{name: c, seek: beginning}]}", target="this-rs").consumers[0].seek
        == "beginning"
    )


def test_all_refusals_come_at_once_each_with_its_place() -> None:
    text = flow_text(
        "- filter: {}\n- explode: {}\n- {map: {template: x}, deliver: {sink: s}}\n- rate_limit: {max: -1, per: 1s}"
    )
    with pytest.raises(fd.LoadError) as caught:
        fd.load(text, target="this-rs")
    assert [problem.place for problem in caught.value.problems] == [
        "text:4:15",
        "text:5:7",
        "text:6:7",
        "text:7:25",
    ]
    assert all(problem.flow == "f" for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("step", "instead"),
    [
        ("for_each: {path: metadata.tags, as: tag}", "log a link for each element"),
        ("wait: {duration: 1d}", "the sender can send the event later"),
        ("cap: {max: 3, per: day}", "rate_limit with the same max"),
    ],
)
def test_operators_that_production_lacks_are_refused_with_what_comes_nearest(
    step: str, instead: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = flow_text(f"- {step}\n- map: {{template: x}}\n- deliver: {{sink: s}}")
    assert f"no operator {step.partition(':')[0]!r}" in refusal(text)
    assert instead in refusal(text)
    file = tmp_path / "flows.yaml"
    file.write_text(text)
    assert main(["check", str(file), "--target", "this-rs"]) == 1
    assert capsys.readouterr().out.count("no operator") == 1


BAD = flow_text(
    "- filter: {condition: a}\n- batch: {key: k, window: 1d}\n- deliver: {}",
    head="name: bad\n  trigger: {kind: nope}",
)
GOOD = flow_text(
    "- map: {template: x}\n- deliver: {sink: s}", head="name: good\n  trigger: {kind: link.created}"
)


def test_a_flow_that_does_not_compile_says_everything_that_is_wrong_with_it() -> None:
    with pytest.raises(fd.LoadError) as caught:
        fd.load(BAD + GOOD, target="this-rs")
    problems = caught.value.problems
    assert [problem.step for problem in problems] == [None, "0 (filter)", "1 (batch)", "2 (deliver)"]
    assert {problem.flow for problem in problems} == {"bad"}


def test_skip_invalid_keeps_the_flows_that_compile_as_production_does() -> None:
    with pytest.warns(fd.FlowWarning, match="left out"):
        project = fd.load(BAD + GOOD, target="this-rs", skip_invalid=True)
    assert [flow.name for flow in project.flows] == ["good"]
    assert {problem.flow for problem in project.skipped} == {"bad"}
    with pytest.raises(fd.LoadError):
        fd.load(BAD, target="this-rs", skip_invalid=True)


def test_skip_invalid_does_not_help_a_document_of_a_wrong_shape() -> None:
    with pytest.raises(fd.LoadError):
        fd.load(GOOD + flow_text("- explode: {}"), target="this-rs", skip_invalid=True)


def test_skip_invalid_keeps_the_flows_that_flowdsl_accepts_too() -> None:
    with pytest.warns(fd.FlowWarning, match="left out"):
        project = fd.load(BAD + GOOD, skip_invalid=True)
    assert [flow.name for flow in project.flows] == ["good"]
    with pytest.raises(fd.LoadError):
        fd.load(BAD + GOOD)


@pytest.mark.parametrize("window", ["1d", "1.5s", "5 m", "-5m", "s", "5", "", "1h30m"])
def test_durations_are_digits_and_one_unit(window: str) -> None:
    assert "duration" in refusal(flow_text(f'- deduplicate: {{key: k, window: "{window}"}}'))


@pytest.mark.parametrize("window", ["5m", "+5m", " 5m ", "0s", "007ms", "99999999999h"])
def test_production_takes_these_durations(window: str) -> None:
    loaded(f'- deduplicate: {{key: k, window: "{window}"}}')


def test_what_flowdsl_refuses_and_production_takes_loads_and_runs() -> None:
    steps = [
        {"resolve": {"from": "nope", "as": "a b", "via": "", "direction": "sideways"}},
        {"fan_out": {"from": "", "as": "", "via": "x"}},
        {"filter": {"condition": "a == 1 and b == 2"}},
        {"deduplicate": {"key": "", "window": "1s"}},
        {"rate_limit": {"max": 0, "per": "1s", "strategy": "never"}},
        {"deliver": {"sink": ""}},
    ]
    for place, step in enumerate(steps):
        result = run(likes_at(0), step)
        assert result.steps["passed"].tolist() == [0], place


def test_a_flow_of_the_target_takes_no_further_steps() -> None:
    with pytest.raises(fd.BuildError, match="this-rs"):
        loaded("- deliver: {sink: s}").where("a == 1")


def test_an_empty_pipeline_loads_and_does_nothing() -> None:
    assert len(run(likes_at(0))) == 0
