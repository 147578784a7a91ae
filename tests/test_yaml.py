"""Flows from YAML: production's shape, read strictly, with the place of every refusal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import flowdsl as fd
from flowdsl import on
from flowdsl.production.project_spec import Backend, ConsumerOptions, SinkConfig
from flowdsl.production.scalars import plain_scalar

SHARED = Path(__file__).parents[2] / "shared" / "this-rs" / "yaml_verdicts.json"
PROJECT = """
events:
  backend: {type: memory}
  flows:
    - name: notify-like
      description: who liked it
      trigger: {kind: link.created, link_type: likes}
      pipeline:
        - resolve: {from: target_id, via: owns, direction: reverse, as: owner}
        - resolve: {from: source_id, as: fan, via: null}
        - filter: {condition: source_id != owner.id}
        - deduplicate: {key: source_id, window: 1h}
        - batch: {key: target_id, window: 5m, min_count: 2}
        - rate_limit: {max: 100, per: 1m}
        - map: {template: {recipient_id: "{{ owner.id }}", count: "{{ batch.count }}", tags: [a, 1, true, null]}}
        - deliver: {sink: in-app, sinks: [push, in-app]}
    - name: feed
      trigger: {kind: entity.created, entity_type: post}
      pipeline:
        - fan_out: {from: data.author_id, via: follows, direction: reverse, as: follower}
        - map: {template: "{{ follower_id }}"}
        - deliver: {sinks: [feed]}
  consumers:
    - {name: runtime, seek: beginning}
    - {name: other}
sinks:
  - {name: in-app, type: in_app}
  - {name: hook, type: webhook, config: {url: "https://example.org", headers: {a: b}}}
entities: {user: {fields: [name]}}
"""


def refused(text: object) -> list[fd.FlowError]:
    with pytest.raises(fd.LoadError) as caught:
        fd.load(text)  # type: ignore[arg-type]
    assert len(caught.value.problems) > 0
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return list(caught.value.problems)


def flow_with(steps: str, trigger: str = "{kind: link.created}") -> str:
    return f"- name: f\n  trigger: {trigger}\n  pipeline:\n" + "".join(
        f"    - {s}\n" for s in steps.split("\n")
    )


def test_a_project_has_the_flows_that_python_would_build():
    project = fd.load(PROJECT)
    like = (
        on("link.created", link_type="likes", name="notify-like", description="who liked it")
        .resolve("target_id", via="owns", direction="reverse", as_="owner")
        .resolve("source_id", as_="fan")
        .where("source_id != owner.id")
        .deduplicate("source_id", window="1h")
        .batch("target_id", window="5m", min_count=2)
        .rate_limit(100, per="1m")
        .map(recipient_id="{{ owner.id }}", count="{{ batch.count }}", tags=["a", 1, True, None])
        .deliver("in-app", "push")
    )
    feed = (
        on("entity.created", entity_type="post", name="feed")
        .fan_out("data.author_id", via="follows", direction="reverse", as_="follower")
        .map("{{ follower_id }}")
        .deliver("feed")
    )
    assert project.flows == (like, feed)
    assert project["feed"] == feed
    assert project.consumers == (ConsumerOptions("runtime", "beginning"), ConsumerOptions("other", "latest"))
    assert project.backend == Backend("memory")
    assert project.sinks[1] == SinkConfig(
        "hook", "webhook", {"url": "https://example.org", "headers": {"a": "b"}}
    )
    assert project.other == {"entities": {"user": {"fields": ["name"]}}}
    assert project.text == PROJECT


def test_text_a_file_and_mappings_give_the_same(tmp_path: Path):
    path = tmp_path / "flows.yaml"
    path.write_text(PROJECT)
    project = fd.load(PROJECT)
    assert fd.load(path) == fd.load(str(path)) == project
    mapping = {"events": {"flows": [{"name": "f", "trigger": {"kind": "link.created"}, "pipeline": [
        {"map": {"template": {"a": 1.0}}}, {"deliver": {"sink": "s"}}]}]}}  # fmt: skip
    assert fd.load(mapping) == fd.load(json.dumps(mapping))
    flows = mapping["events"]["flows"]
    assert fd.load(flows).flows == fd.load(flows[0]).flows == fd.load(mapping).flows


def test_a_project_replays():
    log = [fd.link_created("follows", "ann", "bob")]
    events = [{"timestamp": "2026-01-01T00:00:00Z", "event": event} for event in log]
    project = fd.load(flow_with("map: {template: {title: hello}}\ndeliver: {sink: s}"))
    assert fd.replay(project, events)["s"]["title"].tolist() == ["hello"]


def test_every_problem_is_told_at_once_and_with_its_place(tmp_path: Path):
    path = tmp_path / "flows.yaml"
    path.write_text("""\
events:
  flows:
    - name: a
      trigger: {kind: link.creatd, link_tpe: x}
      pipeline:
        - resolve: {from: target_id, as: owner, vias: 3}
        - batch: {key: target_id, window: 5, min_count: -1}
        - where: {condition: a}
    - name: b
      trigger: {kind: link.created}
      pipeline:
        - resolve: {from: targt_id, as: owner}
        - filter: {condition: ownr.id == 3}
        - map: {template: {a: "{{ fan.name }}", b: "{{ owner.name }}"}}
        - deliver: {sink: x}
    - {name: c, trigger: {kind: link.created}, pipeline: [{map: {template: {x: ["{{ oops"]}}}]}
  consumer: []
sinks:
  - {name: x, type: pus}
sink: 3
""")
    problems = refused(path)
    found = {problem.place.removeprefix("flows.yaml:"): problem for problem in problems}
    assert list(found) == [
        "4:23", "4:36", "6:49", "7:43", "8:11", "12:27", "13:31", "14:31", "16:81", "17:3", "19:21", "20:1",
    ]  # fmt: skip
    assert found["4:36"].hint == "did you mean 'link_type'?"
    assert found["6:49"].what == "resolve has no option 'vias'"
    assert found["6:49"].step == "0 (resolve)"
    assert found["6:49"].flow == "a"
    assert "30s" in (found["7:43"].allowed or "")
    assert found["8:11"].hint == "did you mean 'filter'?"
    assert found["12:27"].hint == "did you mean 'target_id'?"
    assert found["17:3"].hint == "did you mean 'consumers'?"
    assert found["20:1"].hint == "did you mean 'sinks'?"
    assert str(found["12:27"]).startswith(
        "flows.yaml:12:27, flow 'b', step 0 (resolve): resolve reads 'targt_id'"
    )


def test_a_key_that_stands_twice_is_refused_anywhere():
    (one,) = refused("- name: f\n  name: g\n  trigger: {kind: link.created}\n  pipeline: []\n")
    assert (one.place, one.what, one.hint) == (
        "text:2:3",
        "the key 'name' is given twice",
        "the first is at text:1:3",
    )
    (two,) = refused(flow_with("map: {template: {a: 1, b: {c: 1, c: 2}}}\ndeliver: {sink: s}"))
    assert two.what == "the key 'c' is given twice"


def test_words_that_yaml_1_1_misreads_stay_text():
    text = "%YAML 1.1\n---\n" + flow_with(
        "map: {template: {on: yes, y: no, off: on, time: 12:30:00, code: 010, day: 2026-01-01, n: 1_000}}\ndeliver: {sink: on}"
    ).replace("name: f", "name: on")
    (flow,) = fd.load(text).flows
    assert flow.name == "on"
    assert flow.sinks == ("on",)
    assert flow == on("link.created", name="on").map({
        "on": "yes", "y": "no", "off": "on", "time": "12:30:00", "code": "010", "day": "2026-01-01", "n": "1_000",
    }).deliver("on")  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12), ("-7", -7), ("+3", 3), ("0", 0), ("0x1F", 31), ("0o17", 15), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("tRue", "tRue"), ("1.2.3", "1.2.3"),
        ("00", "00"), ("1h", "1h"), ("-", "-"), (".", "."), ("=", "="), ("99999999999999999999", 1e20),
    ],
)  # fmt: skip
def test_scalars_mean_what_production_reads(text, value):
    found = plain_scalar(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("steps", "what"),
    [
        ("map", "a step is text"),
        ("{map: {template: x}, deliver: {sink: s}}", "a step is a mapping of 2 keys"),
        ("map: x", "the options of map are text"),
        ("map: {}", "map needs 'template'"),
        ("rate_limit: {max: 1.5, per: 1s}", "rate_limit: max is a number"),
        ("rate_limit: {max: true, per: 1s}", "rate_limit: max is true or false"),
        ("batch: {key: target_id, window: -5m}", "'-5m' is not a duration"),
        ("deliver: {sinks: a}", "deliver: sinks is text"),
        ("deliver: {sink: s}", "deliver has no payload"),
        ("filter: {condition: }", "filter needs 'condition'"),
        ("resolve: {from: source_id, as: a b}", "resolve: as_ 'a b' cannot name a variable"),
        ("resolve: {from: source_id, as: a, direction: forwards}", "direction 'forwards' is not known"),
        ("<<: {a: 1}", "there is no operator '<<'"),
    ],
)
def test_a_step_that_is_not_right_is_refused(steps, what):
    (problem,) = refused(flow_with(steps))
    assert what in problem.what
    assert problem.place.startswith("text:4:")


def test_a_mapping_of_python_has_paths_for_places():
    (problem,) = refused({"events": {"flows": [{"name": "f", "trigger": {"kind": "nope"}, "pipeline": []}]}})
    assert problem.place == "events.flows[0].trigger.kind"
    (problem,) = refused(
        [{"name": "f", "trigger": {"kind": "link.created"}, "pipeline": [{"map": {"template": {1}}}]}]
    )
    assert problem.place == "[0].pipeline[0].map.template"


@pytest.mark.parametrize(
    ("source", "what"),
    [
        (3, "an int holds no flows"),
        ("\n", "there is nothing in it"),
        ("# only this\n", "there is nothing in it"),
        ("just: a mapping\n", "there are neither events nor flows"),
        ("- a\n- b\n", "a flow is text"),
        ("a: [1, 2\n", "this is not YAML"),
        ("a: 1\n---\nb: 1\n", "there is a second document"),
        ("1: a\n", "the key 1 is a whole number"),
        ("? [a]\n: b\n", "a key is a list"),
        ("events: {flows: {}}\n", "flows is a mapping"),
        ("events: {consumers: [{name: c, seek: latst}]}\n", "a consumer: seek 'latst' is not known"),
        ("events: {backend: {type: sqlite}}\n", "backend: type 'sqlite' is not known"),
    ],
)
def test_what_is_no_project_is_refused(source, what):
    assert what in refused(source)[0].what


def test_files_that_cannot_be_read_are_refused(tmp_path: Path):
    assert "cannot be read" in refused(tmp_path / "none.yaml")[0].what
    assert "cannot be read" in refused(str(tmp_path))[0].what
    bad = tmp_path / "bad.yaml"
    bad.write_bytes(b"- name: ok\n  description: caf" + b"\xe9\n")
    (problem,) = refused(bad)
    assert (problem.place, problem.what) == ("bad.yaml:2:19", "this is not UTF-8 text")
    bom = tmp_path / "bom.yaml"
    bom.write_bytes(b"\xef\xbb\xbf" + flow_with("map: {template: x}\ndeliver: {sink: s}").encode())
    assert len(fd.load(bom).flows) == 1


def test_anchors_are_read_as_what_they_stand_for():
    text = """
- &first
  name: f
  trigger: &t {kind: link.created}
  pipeline: &p
    - map: {template: {a: 1}}
    - deliver: {sink: s}
- {name: g, trigger: *t, pipeline: *p}
"""
    first, second = fd.load(text).flows
    assert second == first.named("g")
    (problem,) = refused(
        "- {name: f, trigger: {<<: {kind: link.created}, kind: link.created}, pipeline: []}\n"
    )
    assert problem.hint == "production does not merge mappings: write the keys out"


def test_projects_differ_by_what_they_do_not_by_how_they_are_written():
    text = flow_with("map: {template: {a: x}}\ndeliver: {sink: s}")
    assert fd.load(text) == fd.load("# a comment\n" + text)
    with pytest.raises(fd.FlowError, match="there is no flow 'ff'"):
        fd.load(text)["ff"]


# what production takes and flowdsl's own reading refuses, and the other way round
STRICTER = {"rate strategy any", "unknown trigger key", "filter and"}
WIDER = {"batch days"}


@pytest.mark.skipif(not SHARED.exists(), reason="the recorded verdicts of production are not here")
def test_production_and_the_strict_reading_differ_only_where_they_should():
    for verdict in json.loads(SHARED.read_text("utf-8")):
        indented = "".join(f"    {line}\n" for line in verdict["yaml"].splitlines())
        try:
            fd.load(f"events:\n  flows:\n{indented}")
            accepted = True
        except fd.LoadError:
            accepted = False
        expected = (not verdict["errors"] or verdict["name"] in WIDER) and verdict["name"] not in STRICTER
        assert accepted == expected, verdict["name"]


def test_without_libyaml_the_same_is_read_more_slowly(monkeypatch: pytest.MonkeyPatch):
    project = fd.load(PROJECT)
    changed = project.with_flow(project["feed"].rate_limit(3, per="1h"))
    text = changed.to_yaml()
    monkeypatch.delattr(yaml, "CSafeLoader")
    assert fd.load(PROJECT) == project
    assert changed.to_yaml() == text
    (problem,) = refused("- name: f\n  trigger: {kind: link.created}\n  pipeline: [}\n")
    assert problem.place == "text:3:14"
    assert "a character that YAML does not allow" in refused("a: \0\n")[0].what


def test_what_yaml_does_not_take_gets_a_hint():
    assert refused("- name: f\n\ttrigger: {}\n")[0].hint == "indent with spaces, not with tabs"
    text = json.dumps([{"name": "🎉", "trigger": {"kind": "link.created"}, "pipeline": []}])
    assert "ensure_ascii=False" in (refused(text)[0].hint or "")
    assert fd.load(json.dumps(json.loads(text), ensure_ascii=False)).flows[0].name == "🎉"


@pytest.mark.parametrize(
    ("step", "hint"),
    [
        ("map: {template: {title: {{ source_id }}}}", "a template goes in quotes"),
        ("map:\n        template:\n          title: {{ source_id }} likes", "a template goes in quotes"),
        ("map:\n        template:\n          title: {% if a %}x{% endif %}", "a template goes in quotes"),
        ("map: {template: {title: hello: there}}", "goes in quotes"),
        ("map: {template: {title: @x}}", "goes in quotes"),
        ("map: {template: {title: *x}}", "text that begins with * goes in quotes"),
        ('map: {template: {title: "a\\d"}}', "a backslash is written twice"),
        ("filter: {condition: 'it's'}", "goes in quotes"),
        ("filter:\n      condition: source_id != target_id", "indent the options more than filter"),
        ("filter: source_id != target_id", "filter: {condition: …}"),
        ("deliver: s", "deliver: {sink: …}"),
        ("resolve: {from: source_id, as:x}", "a space follows the colon: as: …"),
    ],
)
def test_the_usual_slips_get_a_hint(step, hint):
    text = f"- name: f\n  trigger: {{kind: link.created}}\n  pipeline:\n    - {step}\n"
    assert any(hint in (problem.hint or "") for problem in refused(text))
