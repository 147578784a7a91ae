"""Tests of flows: read strictly, run by the engine, shown as differences, rewritten in place, made from real events."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime as dt
import io
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SLIPS_ARE_LIKELY, Case, cases

import flowdsl as fd
from flowdsl import on, var
from flowdsl.cli.main import main
from flowdsl.flow_tests.snapshot import update_text
from flowdsl.production.test_schema import TEST
from flowdsl.testing import FlowTest, Outcome, read_tests, run_tests

pytestmark = SLIPS_ARE_LIKELY

FLOWS = """\
# what people hear of
events:
  flows:
    - name: like   # told to the owner
      trigger: {kind: link.created,   link_type: likes}
      pipeline:
        - resolve: {from: target_id, via: owns, direction: reverse, as: owner}
        - filter: {condition: source_id != owner.id}
        - deduplicate: {key: source_id, window: 1h}
        - map: {template: {recipient_id: "{{ owner.id }}", title: "{{ source_id }} liked it", about: {post: "{{ target_id }}", n: 1}}}
        - deliver: {sink: in-app}
    - name: post
      trigger: {kind: entity.created, entity_type: post}
      pipeline:
        - map: {template: {title: "{{ data.title }}"}}
        - deliver: {sinks: [feed]}
"""
TESTS = """\
tests:
  # the first one
  - name: a like is told to the owner
    flows: [like]
    graph:
      entities: {user: {eve: {name: Eve}}}
      links:
        - {link_type: owns, source_id: eve, target_id: p1}
    events:
      - {kind: link.created, link_type: likes, source_id: ann, target_id: p1}
      - {at: 5m, kind: link.created, link_type: likes, source_id: ann, target_id: p1}
      - {at: 6m, kind: link.created, link_type: likes, source_id: eve, target_id: p1}
      - {at: 7m, kind: link.created, link_type: likes, source_id: bob, target_id: p2}
    deliveries:
      - {sink: in-app, recipient: eve, payload: {title: ann liked it}}   # the only one
    drops:
      - {step: deduplicate, reason: duplicate}
      - {step: 1, count: 1}
    failures:
      - {step: resolve, error: no 'owns' link}
"""


def outcome_of(tests: str, flows: str = FLOWS) -> Outcome:
    (outcome,) = run_tests(fd.load(flows + tests))
    return outcome


def changed(old: str, new: str) -> str:
    assert old in TESTS
    return TESTS.replace(old, new)


def refused(tests: str) -> list[fd.FlowError]:
    with pytest.raises(fd.LoadError) as caught:
        fd.load(FLOWS + tests)
    return list(caught.value.problems)


PAGE = (
    "name", "description", "flows", "graph", "start", "events", "open_windows", "target", "deliveries", "drops", "failures",
)  # fmt: skip


# -- what holds, and what does not ------------------------------------------------------------------------


def test_a_test_holds_where_all_comes_as_it_was_to_come():
    outcome = outcome_of(TESTS)
    assert outcome.passed
    assert outcome.diff == ""
    assert outcome.result is not None
    assert len(outcome.result) == 1
    assert repr(outcome) == "<Outcome of 'a like is told to the owner': passed>"


def test_a_difference_is_shown_as_a_diff_of_yaml():
    outcome = outcome_of(changed("title: ann liked it", "title: ann loved it"))
    assert not outcome.passed
    assert outcome.diff.splitlines()[:2] == ["--- expected", "+++ came"]
    lines = [line for line in outcome.diff.splitlines()[3:] if line[0] in "+-"]
    assert lines == ["-      title: ann loved it", "+      title: ann liked it"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("recipient: eve", "recipient: ann"),
        ("recipient: eve", "recipient: null"),
        ("sink: in-app", "sink: push"),
        ("sink: in-app, recipient", "sink: in-app, flow: post, recipient"),
        ("sink: in-app, recipient", "sink: in-app, at: 1m, recipient"),
        ("payload: {title: ann liked it}", "payload: {title: ann liked it, more: 1}"),
        ("payload: {title: ann liked it}", "payload: {title: ann liked it}, exact: true"),
        ("payload: {title: ann liked it}", "payload: {about: {post: p1, n: true}}"),
        ("payload: {title: ann liked it}", "payload: {about: {post: p1}}, exact: true"),
        ("payload: {title: ann liked it}", "payload: text"),
        ("   # the only one\n", "\n      - {sink: in-app, recipient: eve}\n"),
        ("reason: duplicate", "reason: filtered"),
        ("step: 1, count: 1", "step: 1, count: 2"),
        ("step: 1, count: 1", "step: 0"),
        ("      - {step: 1, count: 1}\n", ""),
        ("error: no 'owns' link", "error: no entity"),
        ("step: resolve, error", "step: 2, error"),
        ("step: resolve, error", "flow: post, error"),
        ("    failures:\n      - {step: resolve, error: no 'owns' link}\n", ""),
        ("flows: [like]", "flows: [post]"),
        (
            "source_id: ann, target_id: p1}\n      - {at: 5m",
            "source_id: eve, target_id: p1}\n      - {at: 5m",
        ),
    ],
)
def test_each_of_these_is_a_difference(old: str, new: str):
    outcome = outcome_of(changed(old, new))
    assert not outcome.passed
    assert outcome.error is None
    assert outcome.diff
    assert outcome.settled.run(fd.load(FLOWS)).passed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("recipient: eve, ", ""),
        ("recipient: eve", "recipient: eve, flow: like, at: 0s"),
        ("recipient: eve", 'recipient: eve, at: "2026-01-01T00:00:00Z"'),
        ("payload: {title: ann liked it}", "payload: {about: {n: 1.0}}"),
        (
            "payload: {title: ann liked it}",
            "payload: {recipient_id: eve, title: ann liked it, about: {post: p1, n: 1}}, exact: true",
        ),
        ("step: deduplicate, reason: duplicate", "step: 2"),
        ("step: 1, count: 1", "step: where, reason: filtered"),
        ("- {step: deduplicate, reason: duplicate}\n      - {step: 1, count: 1}", "- {count: 2}"),
        (
            "    drops:\n      - {step: deduplicate, reason: duplicate}\n      - {step: 1, count: 1}\n",
            "    drops: null\n",
        ),
        ("step: resolve, error: no 'owns' link", "flow: like"),
        ("at: 5m", 'at: "2026-01-01T00:05:00+00:00"'),
        ("at: 5m", 'at: "2026-01-01 00:05:00"'),
        ("flows: [like]", "description: said otherwise"),
        ("flows: [like]", "flows: [like, post]"),
        ("flows: [like]", "start: 2020-02-02T02:02:02Z"),
    ],
)
def test_each_of_these_says_the_same(old: str, new: str):
    outcome = outcome_of(changed(old, new))
    assert outcome.diff == ""
    assert outcome.passed


def test_deliveries_are_expected_in_any_order_each_once():
    flow = on("link.created").map(a="{{ source_id }}", b="{{ target_id }}").deliver("s")
    events = [fd.link_created("x", "1", "1"), fd.link_created("x", "1", "2")]
    wide, narrow = {"sink": "s", "payload": {"a": "1"}}, {"sink": "s", "payload": {"b": "1"}}
    for deliveries in ([wide, narrow], [narrow, wide]):
        assert FlowTest(name="both", events=events, deliveries=deliveries).run(flow).passed
    assert not FlowTest(name="twice", events=events, deliveries=[narrow, narrow]).run(flow).passed


def test_windows_close_or_stay_open_as_the_test_says():
    flow = on("link.created").batch("target_id", window="5m").map(n="{{ batch.count }}").deliver("s")
    events = [{"at": "1m", **fd.link_created("x", "a", "b")}]
    events[0]["kind"] = "link.created"
    del events[0]["action"]
    closed = FlowTest(name="closed", events=events, deliveries=[{"sink": "s", "at": "6m"}])
    assert closed.run(flow).passed
    assert FlowTest(name="open", events=events, open_windows="keep").run(flow).passed


def test_a_test_of_a_target_replays_what_the_target_does():
    flow = on("link.created").batch("target_id", window="5m").map(n="{{ batch.count }}").deliver("s")
    events = [fd.link_created("x", "a", "b")]
    assert FlowTest(name="lost", events=events, target="this-rs").run(flow).passed
    assert FlowTest(name="kept", events=events, deliveries=[{"sink": "s"}]).run(flow).passed


def test_a_flow_that_is_not_there_is_an_outcome_with_its_error():
    outcome = outcome_of(changed("flows: [like]", "flows: [likes]"))
    assert not outcome.passed
    assert outcome.error is not None
    assert outcome.error.hint == "did you mean 'like'?"
    assert "there is no flow 'likes'" in outcome.diff


# -- read strictly -----------------------------------------------------------------------------------------


def test_what_no_test_can_say_is_refused_with_its_place():
    tests = (
        TESTS.replace("recipient: eve", "recipent: eve")
        .replace("at: 5m", "at: soon")
        .replace("reason", "why")
    )
    problems = {problem.place: problem for problem in refused(tests)}
    line = (FLOWS + TESTS).count("\n", 0, (FLOWS + TESTS).index("deliveries")) + 2
    assert list(problems) == [f"text:{line - 4}:14", f"text:{line}:24", f"text:{line + 2}:29"]
    assert problems[f"text:{line}:24"].hint == "did you mean 'recipient'?"
    assert "test 'a like is told to the owner': a delivery has no key 'recipent'" in str(
        problems[f"text:{line}:24"]
    )


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("name: a like is told to the owner", "nam: x", "needs 'name'"),
        ("    events:", "    event:", "has no key 'event'"),
        ("kind: link.created, link_type: likes, source_id: ann", "kind: link.created, source_id: ann", "without link_type"),
        ("kind: link.created", "kind: link.creatd", "'link.creatd' is not known"),
        ("at: 5m", 'at: "2026-13-01T00:00:00Z"', "is not RFC 3339"),
        ("{name: Eve}", "Eve", "graph: entities 'user' 'eve' is text"),
        ("{step: 1, count: 1}", "{step: 1, count: -1}", "count is -1"),
        ("flows: [like]", "flows: []", "an empty list"),
        ("flows: [like]", "target: this-ts", "did you mean 'this-rs'?"),
        ("flows: [like]", "tests: []", "has no key 'tests'"),
    ],
)  # fmt: skip
def test_each_of_these_is_refused(old: str, new: str, what: str):
    assert any(what in str(problem) for problem in refused(changed(old, new)))


def test_tests_that_are_no_list_and_a_misspelling_of_them_are_refused():
    assert "tests is text" in str(refused("tests: some\n")[0])
    assert "a test is text" in str(refused("tests: [x]\n")[0])
    (problem,) = refused("test: []\n")
    assert problem.hint == "did you mean 'tests'?"


def test_python_refuses_the_same():
    with pytest.raises(fd.LoadError, match="a delivery has no key 'to'"):
        FlowTest(name="x", events=[], deliveries=[{"sink": "a", "to": "b"}])
    with pytest.raises(fd.LoadError, match=r"an event: link\.created without target_id"):
        FlowTest(name="x", events=[{"kind": "link.created", "link_type": "a", "source_id": "b"}])
    with pytest.raises(fd.LoadError, match="name is ''"):
        FlowTest(name="", events=[])


# -- in Python ---------------------------------------------------------------------------------------------


def test_events_are_taken_in_every_form_that_python_has():
    made = fd.link_created("likes", "ann", "p1")
    row = {"kind": "link.created", "link_type": "likes", "source_id": "ann", "target_id": "p1"}
    moment = dt.datetime(2026, 1, 1, 0, 5, tzinfo=dt.UTC)
    test = FlowTest(name="x", events=[
        made, row, ("5m", made), (dt.timedelta(minutes=5), row), {"at": moment, **row},
        {"id": "e", "timestamp": "2026-01-01T00:05:00Z", "event": made},
    ])  # fmt: skip
    assert test.events == [
        row, row, {"at": "5m", **row}, {"at": "5m", **row}, {"at": "2026-01-01T00:05:00+00:00", **row},
        {"at": "2026-01-01T00:05:00Z", "id": "e", **row},
    ]  # fmt: skip


def test_check_is_for_pytest():
    (test,) = fd.testing.read_tests(FLOWS + TESTS)
    test.check(fd.load(FLOWS))
    assert str(test) == "a like is told to the owner"
    (wrong,) = read_tests(FLOWS + changed("recipient: eve", "recipient: bob"))
    with pytest.raises(
        AssertionError, match=r"(?s)a like is told.*-    recipient: bob\n\+    recipient: eve"
    ):
        wrong.check(fd.load(FLOWS))


def test_a_test_as_text_reads_back_equal():
    (test,) = read_tests(FLOWS + TESTS)
    text = "tests:\n" + "".join(f"  {line}\n" for line in test.to_yaml().splitlines())
    assert read_tests(FLOWS + text) == (test,)
    assert FlowTest.of(test.to_dict()) == test


def test_the_page_about_tests_tells_of_every_key():
    page = (Path(__file__).parents[1] / "docs" / "tests.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert [key.strip("` ,") for row in rows for key in row.split(",")] == list(PAGE)
    assert set(PAGE) == set(TEST["properties"])
    assert set(PAGE) == {field.name for field in dataclasses.fields(FlowTest)}


# -- rewritten in place ------------------------------------------------------------------------------------


def test_an_update_changes_only_what_does_not_hold():
    before = FLOWS + changed("title: ann liked it", "title: ann loved it").replace("count: 1", "count: 3")
    outcomes = dict(enumerate(run_tests(fd.load(before))))
    after = update_text(before, outcomes)
    assert after == before.replace("ann loved it", "ann liked it").replace("count: 3", "count: 1")
    assert all(outcome.passed for outcome in run_tests(fd.load(after)))
    assert update_text(after, dict(enumerate(run_tests(fd.load(after))))) == after


def test_an_update_writes_down_what_nobody_expected():
    bare = TESTS[: TESTS.index("    deliveries:")] + "    drops: []\n"
    before = FLOWS + bare
    after = update_text(before, dict(enumerate(run_tests(fd.load(before)))))
    assert after.startswith(before.removesuffix("    drops: []\n"))
    (test,) = read_tests(after)
    assert test.deliveries == [
        {"sink": "in-app", "recipient": "eve", "payload": {
            "recipient_id": "eve", "title": "ann liked it", "about": {"post": "p1", "n": 1}}},
    ]  # fmt: skip
    assert test.drops == [
        {"step": "filter", "reason": "filtered"}, {"step": "deduplicate", "reason": "duplicate"}
    ]  # fmt: skip
    assert test.failures == [{"step": "resolve", "error": "no 'owns' link to 'target_id'"}]
    assert test.run(fd.load(FLOWS)).passed


def test_an_update_by_way_of_aliases_still_says_the_same():
    before = FLOWS + changed(
        "recipient: eve, payload: {title: ann liked it}", "recipient: eve, payload: &p {title: no}"
    )
    before += "  - name: again\n    events: []\n    deliveries: [{sink: in-app, payload: *p}]\n"
    after = update_text(before, dict(enumerate(run_tests(fd.load(before)))))
    assert all(outcome.passed for outcome in run_tests(fd.load(after)))
    assert "# the first one" in after


@pytest.mark.parametrize(
    "tests",
    [
        "- &t {name: one, events: [{event}], deliveries: [{wrong}]}\n- *t\n",
        "- {name: one, events: &e [{event}], deliveries: &d [{wrong}]}  # both\n- {name: two, events: *e, deliveries: *d}\n",
        "- name: one\n  events: [&e {event}, *e]\n  deliveries: [&d {wrong}, *d]\n",
    ],
)
def test_what_an_alias_stands_for_is_written_out_where_it_changes(tests: str):
    event = "{kind: entity.created, entity_type: post, entity_id: p, data: {title: t}}"
    tests = tests.replace("{event}", event).replace("{wrong}", "{sink: feed, recipient: nobody}")
    before = f"{FLOWS}tests:\n{tests}"
    after = update_text(before, dict(enumerate(run_tests(fd.load(before)))))
    assert after.startswith(FLOWS)
    assert "nobody" not in after
    assert len(run_tests(fd.load(after))) == len(run_tests(fd.load(before)))
    assert all(outcome.passed for outcome in run_tests(fd.load(after)))


@settings(max_examples=settings().max_examples // 2)
@given(st.data())
def test_whatever_is_expected_an_update_makes_it_hold(data: st.DataObject):
    """Expectations are taken out, doubled and falsified; the update holds, and the rest of the file is as it was."""
    (test,) = read_tests(FLOWS + TESTS)
    given_ = test.to_dict()
    for name in ("deliveries", "drops", "failures"):
        entries = []
        for entry in given_[name]:
            for _ in range(data.draw(st.integers(0, 2))):
                new = copy.deepcopy(entry)
                new.pop(data.draw(st.sampled_from([*sorted(set(new) - {"sink"}), "none"])), None)
                entries.append({**new, "flow": data.draw(st.sampled_from(["like", "post"]))})
        given_[name] = entries
    text = "tests:\n" + "".join(f"  {line}\n" for line in FlowTest.of(given_).to_yaml().splitlines())
    after = update_text(FLOWS + text, dict(enumerate(run_tests(fd.load(FLOWS + text)))))
    assert after.startswith(FLOWS)
    assert all(outcome.passed for outcome in run_tests(fd.load(after)))


# -- the command -------------------------------------------------------------------------------------------


def flowdsl(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "flows.yaml"
    path.write_text(FLOWS + TESTS)
    return path


def test_the_command_says_which_tests_hold(file: Path, capsys: pytest.CaptureFixture[str]):
    assert flowdsl(capsys, "test", file) == (0, "ok      a like is told to the owner\n", "1 test passed\n")


def test_the_command_shows_differences_and_ends_with_1(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch
):
    file.write_text(FLOWS + changed("recipient: eve", "recipient: bob"))
    code, out, err = flowdsl(capsys, "test", file)
    assert (code, err) == (1, "1 test, 1 failed\n")
    assert out.startswith("failed  a like is told to the owner\n        --- expected\n        +++ came\n")
    assert "        -    recipient: bob\n        +    recipient: eve\n" in out
    assert "\x1b" not in out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[31m-    recipient: bob\x1b[0m\n" in flowdsl(capsys, "test", file)[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert flowdsl(capsys, "test", file)[1] == out


def test_the_command_rewrites_expectations_when_told_to(file: Path, capsys: pytest.CaptureFixture[str]):
    file.write_bytes((FLOWS + changed("recipient: eve", "recipient: bob")).replace("\n", "\r\n").encode())
    code, out, err = flowdsl(capsys, "test", file, "--update")
    assert (code, err) == (0, "1 test, 1 updated\n")
    assert out.startswith("updated a like")
    assert file.read_bytes() == (FLOWS + TESTS).replace("\n", "\r\n").encode()
    assert [path.name for path in file.parent.iterdir()] == ["flows.yaml"]
    assert flowdsl(capsys, "test", file)[0] == 0


def test_the_command_speaks_json(file: Path, capsys: pytest.CaptureFixture[str]):
    file.write_text(FLOWS + changed("recipient: eve", "recipient: bob"))
    code, out, _ = flowdsl(capsys, "test", file, "--json")
    (said,) = json.loads(out)
    assert code == 1
    assert said["name"] == "a like is told to the owner"
    assert said["passed"] is False
    assert said["expected"]["deliveries"][0]["recipient"] == "bob"
    assert said["came"]["deliveries"][0]["recipient"] == "eve"
    assert said["error"] is None


def test_the_command_runs_several_files_and_some_tests(file: Path, capsys: pytest.CaptureFixture[str]):
    other = file.with_name("other.yaml")
    other.write_text(f"{FLOWS}{TESTS}  - {{name: nothing, events: []}}\n")
    code, out, err = flowdsl(capsys, "test", file, other)
    assert (code, err) == (0, "3 tests passed\n")
    assert f"ok      {other}: nothing\n" in out
    assert flowdsl(capsys, "test", other, "--name", "noth")[1:] == ("ok      nothing\n", "1 test passed\n")


CAPPED = FLOWS + "sinks:\n  - {name: in-app, type: in_app, cap: {max: 1, per: 1h}}\n"


def test_the_caps_of_a_project_hold_in_its_tests():
    project = fd.load(CAPPED)
    links = [{"link_type": "owns", "source_id": "eve", "target_id": "p1"}]
    test = FlowTest(
        name="one an hour",
        graph={"entities": {"user": {"eve": {}}}, "links": links},
        events=[event["event"] for event in events(*likes((0, "ann"), (0, "bob")))],
        deliveries=[{"sink": "in-app", "recipient": "eve", "payload": {"title": "ann liked it"}}],
        drops=[{"step": "deliver", "reason": "capped"}],
    )
    test.check(project)
    # production passes over caps
    assert dataclasses.replace(test, target="this-rs", drops=None).run(project).error is None


def test_a_test_of_a_real_event_holds_with_the_caps_of_a_project_and_without():
    project = fd.load(CAPPED)
    log = events(*likes((0, "ann"), (1, "bob"), (7200, "kim")))
    result = fd.replay(project, log, OWNED)
    result.as_test(3).check(project)
    result.as_test(3).check(project.flows)
    with pytest.raises(fd.ReplayError, match="caps of sinks stopped"):
        result.as_test(2)


def test_the_command_reads_from_stdin(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((FLOWS + TESTS).encode())))
    assert flowdsl(capsys, "test", "-")[0] == 0


def test_wrong_use_ends_with_2(file: Path, capsys: pytest.CaptureFixture[str]):
    assert flowdsl(capsys, "test", file, "--name", "other")[0] == 2
    assert flowdsl(capsys, "test", "-", "--update")[0] == 2
    assert flowdsl(capsys, "test", file.with_name("none.yaml"))[0] == 2
    file.write_text(FLOWS)
    code, out, err = flowdsl(capsys, "test", file)
    assert (code, out) == (2, "")
    assert "there are no tests in" in err
    assert flowdsl(capsys, "test")[0] == 2


def test_what_cannot_run_fails_and_is_not_rewritten(file: Path, capsys: pytest.CaptureFixture[str]):
    text = FLOWS + changed("flows: [like]", "flows: [lik]")
    file.write_text(text)
    code, out, _ = flowdsl(capsys, "test", file, "--update")
    assert code == 1
    assert "there is no flow 'lik'" in out
    assert file.read_text() == text


# -- made from real events ---------------------------------------------------------------------------------


def events(*made: tuple[int, dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"timestamp": f"2026-01-01T0{t // 3600}:{t // 60 % 60:02}:{t % 60:02}Z", "event": event}
        for t, event in made
    ]


def likes(*who: tuple[int, str]) -> list[tuple[int, dict[str, Any]]]:
    return [(t, fd.link_created("likes", one, "p1")) for t, one in who]


OWNED = fd.EntityGraph(
    {"user": {"eve": {"name": "Eve"}, "bob": {"name": "Bob"}}, "post": {"p1": {"title": "Tea"}, "p2": {}}},
    [{"link_type": "owns", "source_id": "eve", "target_id": "p1"}, {"link_type": "owns", "source_id": "bob", "target_id": "p2"}],
)  # fmt: skip
OWNER = on("link.created", link_type="likes", name="like").resolve(
    "target_id", via="owns", direction="reverse", as_="owner"
)


def made_from(flow: Any, log: Any, seq_no: int, graph: fd.EntityGraph = OWNED, **options: Any) -> FlowTest:
    test = fd.replay(flow, log, graph, progress=False, **options).as_test(seq_no)
    outcome = test.run(flow)
    assert outcome.passed, outcome.diff
    return test


def test_a_test_of_an_event_has_just_the_graph_that_it_reads():
    flow = OWNER.map(recipient_id="{{ owner.id }}", title="{{ owner.name }}").deliver("in-app")
    log = events(
        (0, fd.entity_created("user", "zoe", {})), (1, fd.entity_updated("user", "eve", {"name": "Eva"})), *likes((9, "ann")),
        (10, fd.entity_updated("user", "eve", {"name": "Later"})),
    )  # fmt: skip
    test = made_from(flow, log, 3)
    assert test.to_dict() == {
        "name": "event 3: link.created likes",
        "flows": ["like"],
        "graph": {
            "entities": {"user": {"eve": {"name": "Eva"}}},
            "links": [{"link_type": "owns", "source_id": "eve", "target_id": "p1"}],
        },
        "start": "2026-01-01T00:00:09Z",
        "events": [{"kind": "link.created", "link_type": "likes", "source_id": "ann", "target_id": "p1"}],
        "deliveries": [
            {"sink": "in-app", "recipient": "eve", "payload": {"recipient_id": "eve", "title": "Eva"}}
        ],
    }
    assert fd.replay(flow, log, OWNED).as_test(3, name="mine").name == "mine"


def test_an_event_that_failed_or_was_dropped_is_a_test_too():
    flow = OWNER.where("source_id != owner.id").map(a="b").deliver("s")
    log = events(*likes((1, "eve")), (2, fd.link_created("likes", "ann", "p9")))
    assert made_from(flow, log, 1).drops == [{"step": "filter", "reason": "filtered"}]
    failed = made_from(flow, log, 2)
    assert failed.failures == [{"step": "resolve", "error": "no 'owns' link to 'target_id'"}]
    assert (failed.graph, failed.drops) == (None, None)


def test_earlier_events_are_in_it_where_they_matter_to_a_window_or_a_limit():
    log = events(
        *likes((0, "ann"), (1, "bob"), (2, "cat"), (60, "ann"), (61, "bob"), (62, "ann"), (4000, "ann"))
    )
    same = on("link.created", name="d").deduplicate("source_id", window="1h").map(a="b").deliver("s")
    assert [len(made_from(same, log, n).events) for n in (1, 4, 5, 7)] == [1, 2, 2, 1]
    limit = on("link.created", name="l").rate_limit(2, per="1m").map(a="b").deliver("s")
    assert [len(made_from(limit, log, n).events) for n in (2, 3, 4, 6)] == [1, 3, 1, 3]
    queue = on("link.created", name="q").rate_limit(1, per="10s", strategy="queue").map(a="b").deliver("s")
    assert [len(made_from(queue, log, n).events) for n in (1, 3, 4)] == [1, 3, 1]
    batch = (
        on("link.created", name="b").batch("target_id", window="1m").map(n="{{ batch.count }}").deliver("s")
    )
    assert [len(made_from(batch, log, n).events) for n in (1, 3, 4, 7)] == [3, 3, 3, 1]
    assert made_from(batch, log, 2).deliveries[0]["payload"] == {"n": "3"}


def test_a_change_between_two_readings_is_an_event_of_the_test():
    flow = (
        OWNER.batch("target_id", window="1m")
        .resolve("owner.id", as_="now")
        .map(a="{{ now.name }} {{ owner.name }}")
        .deliver("s")
    )
    log = events(
        *likes((0, "ann")), (20, fd.entity_updated("user", "eve", {"name": "Eva"})), *likes((40, "bob"))
    )
    test = made_from(flow, log, 1)
    assert [event["kind"] for event in test.events] == ["link.created", "entity.updated", "link.created"]
    assert test.graph is not None
    assert test.graph["entities"] == {"user": {"eve": {"name": "Eve"}}}
    assert test.deliveries[0]["payload"] == {"a": "Eva Eva"}


def test_a_fan_out_has_all_its_links_in_order_and_a_resolve_the_first():
    links = [{"link_type": "follows", "source_id": f"u{n}", "target_id": "eve"} for n in range(4)]
    graph = fd.EntityGraph({"user": {f"u{n}": {"n": n} for n in range(3)}}, links)
    log = events(
        (0, fd.link_deleted("follows", "u1", "eve")), (1, fd.entity_created("post", "p", {"by": "eve"}))
    )
    fan = (
        on("entity.created")
        .fan_out("data.by", via="follows", direction="reverse", as_="f")
        .map(a="{{ f_id }}")
        .deliver("s")
    )
    test = made_from(fan, log, 2, graph)
    assert test.graph is not None
    assert [link["source_id"] for link in test.graph["links"]] == ["u0", "u2", "u3"]
    assert test.graph["entities"] == {"user": {"u0": {"n": 0}, "u2": {"n": 2}}}
    first = (
        on("entity.created")
        .resolve("data.by", via="follows", direction="reverse", as_="f")
        .map(a="{{ f.n }}")
        .deliver("s")
    )
    assert [link["source_id"] for link in made_from(first, log, 2, graph).graph["links"]] == ["u0"]  # type: ignore[index]


def test_the_links_that_functions_ask_for_are_in_it():
    links = [
        {"link_type": "follows", "source_id": one, "target_id": "ann", "metadata": {"n": n}}
        for n, one in enumerate(["zoe", "bob"])
    ]
    flow = (
        on("link.created", link_type="likes", name="l")
        .where("linked(source_id, 'follows', target_id) and not linked(target_id, 'mutes', source_id)")
        .map(
            n=fd.fn.count_links(var.target_id, "follows", direction="reverse"),
            first=fd.fn.first_link(var.target_id, "follows", direction="reverse").n,
        )
        .deliver("s")
    )
    log = events((0, fd.link_created("follows", "cat", "ann")), (1, fd.link_created("likes", "bob", "ann")))
    test = made_from(flow, log, 2, fd.EntityGraph({}, [*links, {**links[0], "target_id": "eve"}]))
    assert test.graph is not None
    assert [link["source_id"] for link in test.graph["links"]] == ["zoe", "bob", "cat"]
    assert test.deliveries[0]["payload"] == {"n": 3, "first": 0}


def test_of_links_that_are_read_both_ways_the_first_is_the_first_of_the_graph():
    ends = [("bob", "eve"), ("ann", "eve"), ("ann", "zoe")]
    links = [{"link_type": "owns", "source_id": one, "target_id": other} for one, other in ends]
    flow = (
        on("link.created")
        .fan_out("source_id", via="owns", as_="p")
        .fan_out("p_id", via="owns", direction="reverse", as_="u")
        .map(a="{{ u_id }}")
        .deliver("s")
    )
    test = made_from(flow, events(*likes((0, "ann"))), 1, fd.EntityGraph({}, links))
    assert [delivery["payload"]["a"] for delivery in test.deliveries] == ["bob", "ann", "ann"]


def test_a_link_deleted_by_its_ends_is_not_in_it_whatever_its_id():
    log = events(
        (0, fd.link_created("owns", "ann", "p1", link_id="l1")), (1, fd.link_deleted("owns", "ann", "p1")),
        (2, fd.link_created("owns", "bob", "p1")), *likes((3, "zoe")),
    )  # fmt: skip
    flow = OWNER.map(a="{{ owner.id }}").deliver("s")
    test = made_from(flow, log, 4, fd.EntityGraph({"user": {"ann": {}, "bob": {}}}))
    assert test.deliveries[0]["payload"] == {"a": "bob"}


def test_a_link_that_takes_the_place_of_another_is_an_event_of_the_test():
    links = [{"link_type": "owns", "source_id": "ann", "target_id": "p1", "link_id": "l1"}]
    flow = (
        on("link.created", link_type="likes", name="l")
        .where("linked('ann', 'owns', target_id)")
        .batch("target_id", window="1m")
        .map(n=fd.fn.count_links("bob", "owns"))
        .deliver("s")
    )
    log = events(*likes((0, "zoe")), (20, fd.link_created("owns", "bob", "p2", link_id="l1")))
    assert made_from(flow, log, 1, fd.EntityGraph({}, links)).deliveries[0]["payload"] == {"n": 1}


def test_a_link_that_ended_before_another_look_at_it_is_ended_in_the_test():
    links = [{"link_type": "owns", "source_id": "ann", "target_id": "p1"}]
    flow = (
        on("link.created", link_type="likes", name="l")
        .fan_out("source_id", via="owns", as_="p")
        .batch("p_id", window="1m")
        .map(n=fd.fn.count_links(fd.var.p_id, "owns", direction="reverse"))
        .deliver("s")
    )
    log = events(*likes((0, "ann")), (20, fd.link_deleted("owns", "ann", "p1")))
    assert made_from(flow, log, 1, fd.EntityGraph({}, links)).deliveries[0]["payload"] == {"n": 0}


@pytest.mark.parametrize("open_windows", ["flush", "keep"])
def test_what_closed_a_window_is_what_closed_it(open_windows: str):
    flow = on("link.created", name="l").batch("target_id", window="1m")
    flow = flow.where("batch.closed_by == 'timer'").map(a="{{ batch.count }}").deliver("s")
    log = events(*likes((0, "ann")), (60, fd.entity_created("user", "x", {})))
    test = made_from(flow, log, 1, open_windows=open_windows)
    assert [event["kind"] for event in test.events] == ["link.created", "entity.created"]
    assert test.deliveries[0]["payload"] == {"a": "1"}


def test_a_late_event_brings_the_event_that_set_the_clock():
    flow = (
        on("link.created", name="l")
        .batch("target_id", window="1m")
        .map(a="{{ batch.first_at }}")
        .deliver("s")
    )
    log = events(*likes((0, "ann")), (600, fd.entity_created("user", "x", {})), *likes((30, "late")))
    in_order = fd.MemoryEventLog()
    in_order.append(log)
    test = made_from(flow, in_order, 3)
    assert [event["kind"] for event in test.events] == ["entity.created", "link.created"]


def test_a_late_change_of_the_graph_brings_the_event_that_set_the_clock():
    flow = (
        on("link.created", link_type="likes", name="l")
        .batch("target_id", window="10s")
        .resolve("target_id", as_="p")
        .batch("target_id", window="1h", collect={"titles": "p.title"})
        .map(a="{{ batch.titles }}")
        .deliver("s")
    )
    log = fd.MemoryEventLog()
    log.append(events(*likes((0, "ann")), (100, fd.entity_created("user", "x", {}))))
    log.append(events((5, fd.entity_updated("post", "p1", {"title": "Milk"})), *likes((101, "bob"))))
    test = made_from(flow, log, 4)
    assert [event["kind"] for event in test.events[1:3]] == ["entity.created", "entity.updated"]
    assert test.deliveries[0]["payload"] == {"a": "[Tea, Milk]"}


@pytest.mark.parametrize("seq_no", [1, 3])
def test_a_change_that_starts_the_flow_too_has_what_it_looks_up(seq_no: int):
    """The batch of events 1 and 3, which event 2 is kept out of, is that of the test of either."""
    flow = (
        on("link.created", name="l")
        .where("not linked(source_id, 'blocks', target_id)")
        .where(fd.fn.count_links(fd.var.target_id, "follows", direction="reverse") < 5)
        .batch("target_id", window="10s")
        .map(
            n="{{ batch.count }}",
            followers=fd.fn.count_links(fd.var.target_id, "follows", direction="reverse"),
        )
        .deliver("s")
    )
    blocked = fd.EntityGraph({}, [{"link_type": "blocks", "source_id": "zoe", "target_id": "p1"}])
    log = events(*likes((0, "ann")), (5, fd.link_created("follows", "zoe", "p1")), *likes((9, "bob")))
    test = made_from(flow, log, seq_no, blocked)
    assert [delivery["payload"] for delivery in test.deliveries] == [{"n": "2", "followers": 1}]


def test_what_closed_a_window_is_what_closed_it_where_the_end_of_the_log_came_later():
    flow = (
        on("link.created", link_type="likes", name="l")
        .batch("target_id", window="1m")
        .wait("1d")
        .map(a="{{ batch.closed_by }}")
        .deliver("s")
    )
    log = events(*likes((0, "ann")), (60, fd.entity_created("user", "x", {})))
    assert made_from(flow, log, 1).deliveries[0]["payload"] == {"a": "timer"}


def test_an_event_that_waits_is_a_test_with_its_window_open():
    flow = on("link.created", name="l").batch("target_id", window="1h").map(a="b").deliver("s")
    assert made_from(flow, events(*likes((0, "a"))), 1, open_windows="keep").open_windows == "keep"
    closed = made_from(flow, events(*likes((0, "a"), (3700, "b"))), 1, open_windows="keep")
    assert (closed.open_windows, len(closed.deliveries)) == ("flush", 1)


def test_a_graph_that_is_asked_for_has_what_it_answered():
    graph = fd.EntityGraph({"user": lambda ids: {one: {"name": one.upper()} for one in ids}})
    flow = on("link.created").resolve("source_id", as_="u").map(a="{{ u.name }}").deliver("s")
    test = made_from(flow, events(*likes((0, "ann"))), 1, graph)
    assert test.graph == {"entities": {"user": {"ann": {"name": "ANN"}}}}


def test_a_test_made_from_a_replay_of_a_target_names_the_target():
    one, two = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
    flow = (
        on("link.created", name="b").batch("target_id", window="1m").map(n="{{ _batch.count }}").deliver("s")
    )
    log = events(*((t, fd.link_created("likes", one, two)) for t in (0, 10, 70)))
    result = fd.replay(flow, log, target="this-rs")
    test = result.as_test(3)
    assert test.target == "this-rs"
    assert test.run(flow).passed


def test_what_cannot_be_a_test_says_why(tmp_path: Path):
    flow = on("link.created", name="l").map(n="{{ event.seq_no }}").deliver("s")
    log = events((0, fd.entity_created("user", "x", {})), *likes((1, "ann")))
    result = fd.replay(flow, log)
    with pytest.raises(fd.ReplayError, match="no flow ran on event 1"):
        result.as_test(1)
    with pytest.raises(fd.ReplayError, match="does not come of any part"):
        result.as_test(2)
    with pytest.raises(fd.ReplayError, match="no event 7"):
        result.as_test(7)
    with pytest.raises(fd.ReplayError, match="as_of"):
        fd.replay(flow, log, as_of="end").as_test(2)
    with pytest.raises(fd.ReplayError, match="this replay did not"):
        fd.replay(flow, [], state=result.state).as_test(2)
    result.to_parquet(tmp_path / "r")
    with pytest.raises(fd.ReplayError, match="read back"):
        fd.read_result(tmp_path / "r").as_test(2)
    crowd = (
        on("link.created", name="c").batch("target_id", window="1h").map(n="{{ batch.count }}").deliver("s")
    )
    with pytest.raises(fd.ReplayError, match="small enough"):
        fd.replay(crowd, events(*likes(*((n % 60, f"u{n}") for n in range(600))))).as_test(600)


@settings(max_examples=settings().max_examples // 2)
@given(case=cases(max_events=12), keep=st.booleans(), data=st.data())
def test_of_any_event_of_any_history_a_test_can_be_made_that_holds(
    case: Case, keep: bool, data: st.DataObject
):
    """But where flows say the sequence number, which is another one in the test."""
    graph = fd.EntityGraph(case.world.entities, case.world.links, merge=case.world.merge)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fd.FlowWarning)
        options = {"open_windows": "keep" if keep else "flush", "progress": False}
        result = fd.replay(case.flows, case.world.events, graph, trace=True, **options)
        ran = {*result.deliveries["seq_no"], *result.errors["seq_no"], *result.dropped["seq_no"]}
        if not ran:
            return
        seq_no = int(data.draw(st.sampled_from(sorted(ran))))
        if any("seq_no" in str(flow) for flow in case.flows) or has_bare_entities(case):
            with contextlib.suppress(fd.ReplayError):
                assert result.as_test(seq_no).run(case.flows).passed
            return
        test = result.as_test(seq_no)
        assert test.run(case.flows).passed
        assert FlowTest.of(json.loads(json.dumps(test.to_dict()))) == test


def has_bare_entities(case: Case) -> bool:
    """Whether the graph has entities that are not objects, which no test can say."""
    return any(not isinstance(data, dict) for held in case.world.entities.values() for data in held.values())
