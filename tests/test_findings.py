"""Findings: each code has a document that has it and one that comes near; docs, order, places, the command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import flowdsl as fd
from findings import (
    Case,
    codes_in,
    findings_in,
    flow,
    of_flows,
    of_logs,
    of_production,
    of_templates,
    project,
    target_of,
)
from findings.examples import example, with_examples
from flowdsl import on
from flowdsl.cli.main import main
from flowdsl.findings.base import SEVERITIES, rules

CASES: list[Case] = [*of_flows.CASES, *of_templates.CASES, *of_production.CASES, *of_logs.CASES]
DOCS = Path(__file__).parents[1] / "docs" / "findings.md"
EXAMPLES = """
events:
  flows:
    - name: notify-new-follower
      trigger: {kind: link.created, link_type: follows}
      pipeline:
        - resolve: {from: source_id, as: follower}
        - resolve: {from: target_id, as: recipient}
        - map:
            template:
              type: follow
              recipient_id: "{{ recipient.id }}"
              message: "{{ follower.name }} started following you"
        - deliver: {sinks: [push, in-app]}
    - name: notify-like
      trigger: {kind: link.created, link_type: likes}
      pipeline:
        - resolve: {from: target_id, via: owns, direction: reverse, as: owner}
        - filter: {condition: "source_id != owner.id"}
        - deduplicate: {key: source_id, window: 1h}
        - batch: {key: target_id, window: 5m}
        - map:
            template:
              type: like
              recipient_id: "{{ owner.id }}"
              message: "{{ batch.count }} people liked your trace"
        - deliver: {sink: push}
    - name: feed-update
      trigger: {kind: link.created, link_type: owns}
      pipeline:
        - fan_out: {from: source_id, via: follows, direction: reverse, as: follower}
        - map:
            template:
              recipient_id: "{{ follower.id }}"
              post: "{{ target_id }}"
        - deliver: {sink: feed}
sinks:
  - {name: push, type: push}
  - {name: in-app, type: in_app}
  - {name: feed, type: feed}
"""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
def test_a_finding_is_there_where_it_is_due_and_not_where_something_comes_near(case: Case):
    target = target_of(case.code)
    assert case.code in codes_in(case.due, target, case.log)
    assert case.code not in codes_in(case.near, target, case.near_log)


@pytest.mark.parametrize("code", sorted(rules()))
def test_every_code_has_a_case(code: str):
    # a case of those would make other software crash: they have tests of their own, in test_stops.py
    without = {"stops-production", "stops-at-event", "condition-stops-production"}
    assert (code in {case.code for case in CASES}) is (code not in without)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
def test_what_production_does_otherwise_is_said_only_where_it_is_asked_for(case: Case):
    if rules()[case.code].target:
        assert case.code not in codes_in(case.due, None, case.log)
    else:
        assert case.code in codes_in(case.due, None, case.log)


def test_codes_are_words_joined_by_hyphens_and_severities_are_three():
    for rule in rules().values():
        assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)+|refused", rule.code)
        assert rule.severity in SEVERITIES


def test_every_code_has_an_entry_in_the_documentation_and_every_entry_a_code():
    text = DOCS.read_text("utf-8")
    entries = dict(re.findall(r"^### `([^`]+)`\n\n(.+)$", text, re.MULTILINE))
    assert sorted(entries) == sorted(rules())
    for code, line in entries.items():
        rule = rules()[code]
        start = f"**{rule.severity}**{', for this-rs' if rule.target else ''}. "
        assert line.startswith(start), f"{code} begins with {start!r}"


def test_the_examples_in_the_documentation_are_the_cases():
    text = DOCS.read_text("utf-8")
    fresh = with_examples(text) == text
    assert fresh, "run PYTHONPATH=tests python -m findings.examples"
    assert sum(example(code) is not None for code in rules()) > 80


# -- the documented examples of production ------------------------------------------------------------------


def test_in_productions_own_examples_the_recipient_and_the_batch_are_found():
    found = fd.load(EXAMPLES).check(target="this-rs")
    by_flow = {flow.name: {f.code for f in found if f.flow == flow.name} for flow in fd.load(EXAMPLES).flows}
    assert "recipient-ignored" in by_flow["notify-new-follower"]
    assert {"recipient-is-target", "batch-no-timer", "batch-loses-event", "batch-name"} <= by_flow[
        "notify-like"
    ]
    assert {"recipient-is-target", "fan-out-unlimited"} <= by_flow["feed-update"]
    branches = next(f for f in found if f.flow == "feed-update" and f.code == "recipient-is-target")
    assert "every branch" in branches.message
    assert "as: recipient" in str(branches.hint)


def test_what_the_hint_of_a_fan_out_advises_mends_it():
    mended = EXAMPLES.replace("as: follower}\n        - map", "as: recipient}\n        - map").replace(
        "{{ follower.id }}", "{{ recipient_id }}"
    )
    found = [f.code for f in fd.load(mended).check(target="this-rs") if f.flow == "feed-update"]
    assert "recipient-is-target" not in found
    assert "recipient-is-variable" not in found


# -- places, order, forms ------------------------------------------------------------------------------------


def test_a_finding_in_a_file_has_the_place_in_that_file(tmp_path: Path):
    path = tmp_path / "shop.yaml"
    path.write_text(EXAMPLES, "utf-8")
    found = fd.load(path).check("this-rs")
    (taken,) = [f for f in found if f.code == "recipient-is-target" and f.flow == "notify-like"]
    assert taken.where == "shop.yaml:25:29"
    assert taken.step == 4
    places = [tuple(map(int, f.where.split(":")[1:])) for f in found]
    assert places == sorted(places)


def test_a_finding_of_a_flow_written_in_python_stands_at_the_text_of_its_step():
    flow = (
        on("link.created", link_type="likes")
        .batch("target_id", window="5m", min_count=3)
        .map(a="b")
        .deliver("s")
    )
    (finding,) = flow.check()
    assert (finding.code, finding.step, finding.flow) == ("batch-discards", 0, flow.name)
    assert finding.where == "batch('target_id', window='5m', min_count=3)"


def test_a_project_whose_flows_were_changed_has_no_places_of_its_file():
    project = fd.load(EXAMPLES)
    changed = fd.Project(project.flows[:1], project.sinks, text=project.text)
    assert all(not f.where.startswith("text:") for f in changed.check())
    assert {f.flow for f in changed.check() if f.flow} == {"notify-new-follower"}


def test_a_flow_that_was_read_by_productions_rules_is_checked_as_it_stands():
    source = flow("filter: {condition: link_type == 1 and b == 2}", on="{kind: link.created, entity_type: x}")
    loaded = fd.load(source, target="this-rs")
    assert {"condition-and", "filter-of-other-family"} <= {f.code for f in loaded.flows[0].check("this-rs")}
    assert {"condition-and", "filter-of-other-family"} <= {f.code for f in loaded.check("this-rs")}


def test_findings_are_the_same_each_time_and_each_once():
    first = findings_in(EXAMPLES, "this-rs")
    assert first == findings_in(EXAMPLES, "this-rs")
    assert len(set(first)) == len(first)


def test_a_clean_flow_has_no_findings():
    flow = (
        on("link.created", link_type="likes").where("source_id != target_id").map(title="hello").deliver("s")
    )
    assert flow.check() == []
    assert flow.check(target="this-rs") == []


def test_an_unknown_target_is_refused():
    with pytest.raises(fd.FlowError, match="did you mean 'this-rs'"):
        on("link.created").check("this_rs")


def test_hostile_and_odd_documents_are_findings_not_crashes():
    for text in ("", "[", "a: *b", "- 5", "5", "{}", "events: 5", "events: {flows: 5}", "- {name: f, pipeline: [5, {a: 1}]}",
                 "- {name: 5, trigger: 5, pipeline: 5}", flow("map: 5"), flow("map: {template: [[1]]}"),
                 flow("resolve: {from: [1], as: {}}"), flow("deliver: {sinks: [5, {}]}"), flow("batch: {key: '', window: 5}"),
                 flow("filter: {condition: {}}"), flow("filter: {condition: ' == '}"), flow("rate_limit: {max: x, per: []}"),
                 project(sinks="[5, {name: s}]"), project(events="backend: 5\nconsumers: [5]"), flow(on="{kind: 5}")):  # fmt: skip
        for target in (None, "this-rs"):
            codes_in(text, target)


# -- the command ---------------------------------------------------------------------------------------------


def test_the_command_prints_findings_and_its_code_says_whether_one_is_more_than_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "flows.yaml"
    path.write_text(flow("rate_limit: {max: 0, per: 1m}"), "utf-8")
    assert main(["check", str(path)]) == 1
    out = capsys.readouterr()
    assert out.out.startswith(f"{path}:4:25: error: a limit of 0 drops everything")
    assert out.err == "1 error\n"
    path.write_text(flow("rate_limit: {max: 3, per: 1m}"), "utf-8")
    assert main(["check", str(path)]) == 0
    assert "[one-bucket]" in capsys.readouterr().out
    assert main(["check", str(path), "--least", "warning"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["check", str(tmp_path / "none.yaml")]) == 2


def test_the_command_gives_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "flows.yaml"
    path.write_text(EXAMPLES, "utf-8")
    assert main(["check", str(path), "--target", "this-rs", "--json"]) == 1
    listed = json.loads(capsys.readouterr().out)
    assert set(listed[0]) == {"code", "severity", "flow", "step", "where", "message", "hint"}
    assert "recipient-is-target" in {finding["code"] for finding in listed}


def test_the_command_gives_refusals_as_findings_all_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "flows.yaml"
    path.write_bytes(flow("explode: {}", "resolve: {form: source_id, as: x}").encode())
    assert main(["check", str(path), "--json"]) == 1
    listed = json.loads(capsys.readouterr().out)
    assert [f["where"] for f in listed if f["code"] == "refused"] == [
        f"{path}:4:7",
        f"{path}:5:16",
        f"{path}:5:17",
    ]
    path.write_bytes(b"\xff\xfe\x00")
    assert main(["check", str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["code"] == "refused"


def test_the_command_checks_several_files_as_one_project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("flows.yaml").write_text(flow("resolve: {from: source_id, as: source_id}"), "utf-8")
    Path("sinks.yaml").write_text("sinks:\n  - {name: s, type: in_app}\n  - {name: t, type: push}\n", "utf-8")
    assert main(["check", "sinks.yaml", "--target", "this-rs"]) == 0
    assert "sinks.yaml:2:5: note: no flow delivers to the sink 's'" in capsys.readouterr().out
    assert main(["check", "flows.yaml", "sinks.yaml", "--target", "this-rs", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not {"no-sinks", "sink-undefined"} & {finding["code"] for finding in found}
    assert [f["where"] for f in found if f["code"] == "sink-unused"] == ["sinks.yaml:3:5"]
    names = [finding["where"].split(":")[0] for finding in found]
    assert names == sorted(names)
    assert {"flows.yaml", "sinks.yaml"} == set(names)
    Path("sinks.yaml").write_text("sinks: [{name: u, type: in_app}]\n", "utf-8")
    assert main(["check", "flows.yaml", "sinks.yaml"]) == 1
    assert "'f' delivers to 's', and no such sink is defined" in capsys.readouterr().out
    Path("sinks.yaml").write_text("sinks: [\n", "utf-8")
    assert main(["check", "flows.yaml", "sinks.yaml"]) == 1
    out = capsys.readouterr().out
    assert "sinks.yaml:2:1: error: this is not YAML" in out
    assert "shadowed-variable" in out


def test_files_of_one_name_are_told_apart_by_their_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Path(folder, "flows.yaml").write_text(flow(name=folder), "utf-8")
    main(["check", "a/flows.yaml", "b/flows.yaml", "--target", "this-rs"])
    assert "a/flows.yaml:" in capsys.readouterr().out
    assert main(["check", "a"]) == 2
    assert "'a' is a folder, not a file" in capsys.readouterr().err
