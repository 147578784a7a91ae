"""A project's file after a change: what stayed equal stays byte for byte, and several files become one."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from strategies import SLIPS_ARE_LIKELY, flow_lists

import flowdsl as fd
from flowdsl import Flow, on
from flowdsl.api.project import Project
from flowdsl.errors import ExportError
from flowdsl.production.emitter import inline
from flowdsl.production.project_spec import Backend, ConsumerOptions, SinkConfig

pytestmark = SLIPS_ARE_LIKELY

TEXT = """\
# the head

sinks:   # all of them
  - {name: in-app, type: in_app}   # shown in the app
  - name: hook
    type: webhook
    config:
      url: "https://example.org"  # ours

events:
  # the flows
  flows:
    - name: notify   # the first
      # what starts it
      trigger: {kind: link.created,   link_type: likes}
      pipeline:
        - resolve: {from: target_id, via: owns, direction: reverse, as: owner}
        # nobody is told of their own
        - filter:
            condition: "source_id != owner.id"   # by id
        - deduplicate:
            window: 60m     # an hour
            key: source_id
        - map:
            template:
              # who gets it
              recipient_id: '{{ owner.id }}'
              title: >-
                {{ source_id }}
                liked it
              data: {a: 1,   b: [x,  y]}
        - deliver: {sink: in-app}

    # ------------- feed
    - trigger:
        kind: entity.created
      name: feed
      pipeline:
      - fan_out: {from: data.author_id, via: follows, direction: reverse, as: follower}
      - filter: {condition: data.n > 3}
      - map: {template: "{{ follower_id }}"}   # the id only
      - deliver: {sinks: [feed, in-app]}
  consumers:
    - name: runtime
entities:
  user:   {fields: [name]}
# the end
"""
PROJECT = fd.load(TEXT)
NOTIFY, FEED = PROJECT.flows


def changes(project: Project) -> list[str]:
    """The lines that went and those that came."""
    text = project.to_yaml()
    again = fd.load(text)
    assert (again, again.other) == (project, project.other)
    compared = difflib.unified_diff(TEXT.splitlines(), text.splitlines(), lineterm="", n=0)
    return [line for line in compared if not line.startswith(("---", "+++", "@@"))]


def step(make: Any) -> Any:
    return make(on("link.created").resolve("target_id", as_="owner")).steps[-1]


def with_step(flow: Flow, number: int, *steps: Any) -> Flow:
    return replace(flow, steps=(*flow.steps[:number], *steps, *flow.steps[number + 1 :]))


@pytest.mark.parametrize(
    ("flow", "lines"),
    [
        (with_step(NOTIFY, 2, step(lambda f: f.deduplicate("source_id", window="2h"))),
         ["-            window: 60m     # an hour", "+            window: 2h     # an hour"]),
        (with_step(NOTIFY, 1, step(lambda f: f.where("source_id == owner.id"))),
         ['-            condition: "source_id != owner.id"   # by id', "+            condition: source_id == owner.id   # by id"]),
        (with_step(NOTIFY, 1),
         ["-        - filter:", '-            condition: "source_id != owner.id"   # by id']),
        (NOTIFY.deliver("push"), ["+        - deliver:", "+            sink: push"]),
        (with_step(NOTIFY, 3, step(lambda f: f.map(recipient_id="{{ owner.id }}", title="a\n{{ owner.id }}", data={"a": 1, "b": ["x", "z"]}))),
         ["-              title: >-", "-                {{ source_id }}", "-                liked it", "-              data: {a: 1,   b: [x,  y]}",
          "+              title: |-", "+                a", "+                {{ owner.id }}", "+              data: {a: 1,   b: [x,  z]}"]),
        (replace(NOTIFY, description="hi: there"), ['+      description: "hi: there"']),
        (replace(NOTIFY, trigger=replace(NOTIFY.trigger, link_type="loves")),
         ["-      trigger: {kind: link.created,   link_type: likes}", "+      trigger: {kind: link.created,   link_type: loves}"]),
        (on("link.deleted", name="new"),
         ["+    - name: new", "+      trigger:", "+        kind: link.deleted", "+      pipeline: []"]),
        (replace(with_step(FEED, 1), trigger=replace(FEED.trigger, entity_type="post")),
         ["+        entity_type: post", "-      - filter: {condition: data.n > 3}"]),
    ],
)  # fmt: skip
def test_of_a_changed_flow_only_what_differs_is_written_anew(flow, lines):
    assert changes(PROJECT.with_flow(flow)) == lines


@pytest.mark.parametrize(
    ("project", "lines"),
    [
        (PROJECT, []),
        (
            replace(PROJECT, sinks=(*PROJECT.sinks, SinkConfig("z", "push"))),
            ["+  - name: z", "+    type: push"],
        ),
        (replace(PROJECT, consumers=()), ["-    - name: runtime", "+    []"]),
        (replace(PROJECT, consumers=(ConsumerOptions("runtime", "beginning"),)), ["+      seek: beginning"]),
        (replace(PROJECT, backend=Backend("nats")), ["+  backend:", "+    type: nats"]),
        (replace(PROJECT, other={}), ["-entities:", "-  user:   {fields: [name]}"]),
        (replace(PROJECT, other={**PROJECT.other, "links": [1]}), ["+links:", "+  - 1"]),
    ],
)
def test_around_the_flows_only_what_differs_is_written_anew(project, lines):
    assert changes(project) == lines


def test_a_flow_that_production_lacks_stays_while_another_changes():
    assert "data.n > 3" in PROJECT.with_flow(NOTIFY.deliver("push")).to_yaml()
    with pytest.raises(ExportError, match="there is no '>'"):
        PROJECT.with_flow(FEED.deliver("push")).to_yaml()


def test_line_ends_stay_as_they_are():
    text = TEXT.replace("\n", "\r\n")
    changed = fd.load(text).with_flow(NOTIFY.deliver("push")).to_yaml()
    assert changed.replace("\r\n", "\n") == PROJECT.with_flow(NOTIFY.deliver("push")).to_yaml()
    assert changed.count("\n") == changed.count("\r\n")


ODD = """\
# top
events:   # here
  flows:
  -   name: a      # first
      trigger: &likes {kind: link.created, link_type: likes}
      pipeline:
      - map:
          template:
            # a folded one
            title: >-
              {{ source_id }} liked
              it
            "quoted key": 'it''s'
            ? complex
            : "\\u00e9\\n"
            l: [1, 2.0, "3", null, ~, true,
                {a: b}]
      - deliver: {sinks: [s,
                          t]}
  # between
  - name: b   # second
    trigger: *likes
    pipeline: [{map: {template: {t: x}}}, {deliver: {sink: s}}]
  - {name: c, trigger: {kind: link.deleted}, pipeline: [{map: {template: {t: x}}}, {deliver: {sink: s}}]}
sinks:
- name: s
  type: in_app   # keep
- {name: t, type: push}
# end"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("change", "gone"),
    [
        (lambda p: on("link.created", link_type="likes", name="a").map(title="new").deliver("s"), 12),
        (lambda p: p["c"].where("source_id != target_id"), 1),
        (lambda p: on("link.deleted", name="c").map("{{ link_id }}").deliver("t", "s"), 1),
        (lambda p: on("link.deleted", name="d").map(t="y").deliver("s"), 0),
        (lambda p: p["b"].rate_limit(3, per="1h"), 1),
    ],
)
def test_an_oddly_written_file_keeps_everything_around_a_change(newline, change, gone):
    text = newline.join(ODD.split("\n"))
    project = fd.load(text)
    changed = project.with_flow(change(project))
    new = changed.to_yaml()
    assert fd.load(new) == changed
    before, after = ODD.split("\n"), new.split(newline)
    lost = [line for line in before if line not in after]
    assert len(lost) <= gone
    assert not [line for line in lost if "#" in line]


def test_what_other_flows_share_by_an_anchor_is_written_anew_with_a_warning():
    text = "# ours\n- &f {name: f, trigger: &t {kind: link.created}, pipeline: []}\n- {name: g, trigger: *t, pipeline: []}\n"
    project = fd.load(text)
    changed = project.with_flow(on("link.deleted", name="f"))
    with pytest.warns(fd.FlowWarning, match="written anew, without its comments"):
        written = changed.to_yaml()
    assert fd.load(written) == changed
    assert changed.with_flow(project["f"]).to_yaml() == text


@given(before=flow_lists(), after=flow_lists(), short=st.booleans())
def test_however_the_flows_change_the_text_says_the_project(
    before: list[Flow], after: list[Flow], short: bool
) -> None:
    old, new = exportable(before), exportable(after)
    text = replace(Project(old), text=None).to_yaml()
    if short:
        text = f"{inline(yaml.safe_load(text))}\n"
    changed = replace(fd.load(text), flows=(*old[:1], *new, *old[1:]))
    written = changed.to_yaml()
    assert fd.load(written) == changed
    back = replace(fd.load(written), flows=old)
    assert fd.load(back.to_yaml()) == Project(old)


def exportable(flows: list[Flow]) -> tuple[Flow, ...]:
    found = []
    for flow in flows:
        try:
            found.append(flow.portable())
        except ExportError:
            continue
    return tuple(found)


# -- several files --------------------------------------------------------------------------------------


def test_files_are_merged_by_productions_rules():
    other = fd.load("""
events:
  backend: {type: nats}
  flows: [{name: notify, trigger: {kind: link.deleted}, pipeline: []}]
  consumers: [{name: runtime, seek: beginning}]
sinks: [{name: hook, type: push}, {name: mail, type: custom}]
entities: {post: {fields: [title]}}
links: [owns]
""")
    merged = PROJECT.merge(other)
    assert merged.flows == (*PROJECT.flows, *other.flows)
    assert [(sink.name, sink.type) for sink in merged.sinks] == [
        ("in-app", "in_app"), ("hook", "push"), ("mail", "custom"),
    ]  # fmt: skip
    assert merged.consumers == (ConsumerOptions("runtime"), ConsumerOptions("runtime", "beginning"))
    assert merged.backend == Backend("nats")
    assert merged.other == {
        "entities": {"user": {"fields": ["name"]}, "post": {"fields": ["title"]}},
        "links": ["owns"],
    }
    assert merged.merge(fd.load("sinks: []\nlinks: [likes]\n")).backend == Backend("nats")
    assert merged.merge(fd.load("sinks: []\nlinks: [likes]\n")).other["links"] == ["owns", "likes"]
    written = fd.load(merged.to_yaml())
    assert (written, written.other) == (merged, merged.other)
    assert "# nobody is told of their own" in merged.to_yaml()


def test_a_list_of_paths_is_one_project_and_its_problems_come_at_once(tmp_path):
    paths = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for path, text in zip(
        paths, (TEXT, "- {name: g, trigger: {kind: link.created}, pipeline: []}\n"), strict=True
    ):
        path.write_text(text)
    merged = fd.load(paths)
    assert merged == fd.load([str(path) for path in paths]) == fd.load(paths[0]).merge(fd.load(paths[1]))
    assert [flow.name for flow in merged.flows] == ["notify", "feed", "g"]
    for path in paths:
        path.write_text("- {name: g, trigger: {kind: nope}, pipeline: []}\n")
    with pytest.raises(fd.LoadError) as caught:
        fd.load(paths)
    assert [problem.place for problem in caught.value.problems] == ["a.yaml:1:29", "b.yaml:1:29"]


def test_a_project_of_one_flow_equals_that_flow():
    flow = on("link.created", name="f")
    assert Project((flow,)) == flow
    assert flow == Project((flow,))
    assert hash(Project((flow,))) == hash(flow)
    assert Project((flow,), (SinkConfig("a", "push"),)) != flow
    assert Project() != flow
    assert Project((flow, flow)) != flow
    assert Project((flow,)) != "f"
