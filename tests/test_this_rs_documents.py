"""Whole documents: what production loads and what it refuses, and what it reads in those that it loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from this_rs_runs import documented, said

import flowdsl as fd
from flowdsl.operators.deliver import Deliver
from flowdsl.operators.map import Map

DOCUMENTS = json.loads(
    (Path(__file__).parent / "data" / "this-rs-edges" / "documents.json").read_text(encoding="utf-8")
)
ENTITY = "{singular: user, plural: users}"
LINK = "{link_type: l, source_type: a, target_type: b, forward_route_name: f, reverse_route_name: r}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document["name"].replace(" ", "-"))
def test_a_document_is_read_as_the_engine_read_it(document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(document["yaml"], "utf-8")
    if document["errors"]:
        with pytest.raises(fd.LoadError):
            fd.load(path, target="this-rs")
        return
    (flow,) = fd.load(path, target="this-rs").flows
    (read,) = document["engine_reads"]["flows"]
    assert [step.name for step in flow.steps] == [next(iter(step)) for step in read["pipeline"]]
    for step, one in zip(flow.steps, read["pipeline"], strict=True):
        ((_, options),) = one.items()
        if isinstance(step, Map):
            assert step.plain == options["template"]
        elif isinstance(step, Deliver):
            assert step.sinks == (options["sink"],)
        else:
            assert {key: getattr(step, key) for key in options if key in ("via", "max")} == {
                key: value for key, value in options.items() if key in ("via", "max")
            }


def whole(entities: str = "[]", links: str = "[]", more: str = "") -> str:
    return f"entities: {entities}\nlinks: {links}\nevents: {{flows: []}}\n{more}"


@pytest.mark.parametrize(
    "text",
    [
        whole(f"[{ENTITY}]", f"[{LINK}]"),
        whole("", ""),
        whole("[{singular: 1, plural: !x y, auth: {list: admin, other: [1]}, bogus: {[a]: b}}]"),
        whole("[]", f"[{LINK[:-1]}, description: null, required_fields: [x], auth: {{get: x}}}}]"),
        whole(more="validation_rules: {l: [{source: a, targets: [b]}]}\n"),
        whole(more="validation_rules: ~\nother: {{a: 1}: [*x]}\n".replace("*x", "1")),
    ],
)
def test_entities_links_and_rules_of_the_right_shape_are_kept(text: str) -> None:
    project = fd.load(text, target="this-rs")
    assert {"entities", "links"} <= project.other.keys()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("entities: []\nevents: {flows: []}\n", "needs 'links'"),
        ("links: []\nevents: {flows: []}\n", "needs 'entities'"),
        (whole("~"), "entities is null"),
        (whole("[{singular: a}]"), "needs 'plural'"),
        (whole("[{singular: a, plural: [b]}]"), "there is a list"),
        (whole("[{singular: a, plural: b, auth: ~}]"), "auth is null"),
        (whole("[{singular: a, plural: b, singular: c}]"), "'singular' is given twice"),
        (whole("[{singular: a, plural: b, [c]: d}]"), "a key is a list or a mapping"),
        (whole("[]", "[{link_type: l}]"), "needs 'source_type'"),
        (whole(more="validation_rules: []\n"), "validation_rules is a list"),
        (whole(more="validation_rules: {l: {source: a}}\n"), "rules is a mapping"),
        (whole(more="validation_rules: {l: [{source: a}]}\n"), "needs 'targets'"),
        (whole(more="links: []\n"), "'links' is given twice"),
    ],
)
def test_those_of_another_shape_refuse_the_whole_document(text: str, why: str) -> None:
    with pytest.raises(fd.LoadError, match=why):
        fd.load(text, target="this-rs")


@pytest.mark.parametrize(
    ("type_", "read"),
    [("!push", "push"), ("!push ~", "push"), ("!!int in_app", "in_app"), ('"feed"', "feed")],
)
def test_a_tag_is_a_choice(type_: str, read: str) -> None:
    text = whole(more=f"sinks: [{{name: s, type: {type_} }}]\n")
    assert [sink.type for sink in fd.load(text, target="this-rs").sinks] == [read]


@pytest.mark.parametrize("type_", ["!push x", "!push ''", "!push []", "! push", "!other"])
def test_nothing_stands_behind_a_choice(type_: str) -> None:
    with pytest.raises(fd.LoadError):
        fd.load(whole(more=f"sinks: [{{name: s, type: {type_} }}]\n"), target="this-rs")


@pytest.mark.parametrize(
    "value", ["!x 1", "!x [1]", "! {a: 1}", "{a: !x 1, a: 2}", "{[a]: 1}", "&a [*a]", "!!int x"]
)
def test_values_with_tags_of_their_own_keys_that_are_lists_and_endless_ones_are_refused(value: str) -> None:
    text = f"- {{name: f, trigger: {{kind: link.created}}, pipeline: [{{map: {{template: {{t: {value} }}}}}}]}}\n"
    with pytest.raises(fd.LoadError):
        fd.load(text, target="this-rs")


# -- saving ----------------------------------------------------------------------------------------------------

FLOW = fd.on("link.created", name="f").map(t="x").deliver("s")


def test_a_new_file_is_a_whole_document_that_production_loads(tmp_path: Path) -> None:
    path = tmp_path / "flows.yaml"
    FLOW.save(path)
    assert fd.load(path, target="this-rs").other == {"entities": [], "links": []}
    assert fd.load(path) == FLOW
    fd.load([path], target="this-rs")


def test_a_part_of_a_file_says_that_it_is_one() -> None:
    assert "# a part of a file: production wants `entities` and `links`" in FLOW.to_yaml()
    assert fd.load(FLOW.to_yaml()) == FLOW


def test_a_flow_comes_into_a_file_that_is_there_and_the_rest_of_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "this.yaml"
    path.write_text(f"# ours\nentities: [{ENTITY}]  # all\nlinks: []\n")
    FLOW.save(path)
    fd.on("link.deleted", name="g").map(t="y").deliver("s").save(path)
    fd.on("link.created", name="f").map(t="z").deliver("s").save(path)
    text = path.read_text()
    assert text.startswith(f"# ours\nentities: [{ENTITY}]  # all\nlinks: []\n")
    assert [flow.name for flow in fd.load(path, target="this-rs").flows] == ["f", "g"]
    assert "t: z" in text
    assert "t: x" not in text


@pytest.mark.parametrize("there", ["print('hello')\n", "a: 1\n", "- 1\n", "\0", "x: [\n"])
def test_a_file_that_holds_no_flows_is_never_written_over_unasked(there: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(there)
    with pytest.raises(fd.ExportError, match="overwrite=True"):
        FLOW.save(path)
    assert path.read_text() == there
    FLOW.save(path, overwrite=True)
    assert fd.load(path) == FLOW


def test_a_project_goes_back_into_its_own_file_and_into_no_other(tmp_path: Path) -> None:
    path, other = tmp_path / "flows.yaml", tmp_path / "others.yaml"
    FLOW.save(path)
    fd.on("link.deleted", name="o").map(t="x").deliver("s").save(other)
    project = fd.load(path).with_flow(fd.on("link.deleted", name="g").map(t="y").deliver("s"))
    with pytest.raises(fd.ExportError, match="not the one that the project was read from"):
        project.save(other)
    project.save(path)
    project.save(path)
    project.save(tmp_path / "copy.yaml")
    assert (tmp_path / "copy.yaml").read_text() == path.read_text()
    path.write_text(path.read_text() + "# somebody else\n")
    with pytest.raises(fd.ExportError, match="has changed since"):
        project.save(path)


SKIPPED = """# head
events:
  flows:
    - {name: bad0, trigger: {kind: nope}, pipeline: []}  # first
    - name: bad1
      trigger: {kind: nope}  # why
      pipeline: []
    - name: a  # keep
      trigger: {kind: link.created}
      pipeline: [{map: {template: x}}, {deliver: {sink: s}}]
    - name: bad2
      trigger: {kind: link.created, x: 1}  # more
      pipeline: [{boom: 1}]
    - name: b
      trigger: {kind: link.created}
      pipeline: [{map: {template: x}}, {deliver: {sink: s}}]
x: {a: .inf, b: 0b11}
"""


def test_flows_that_were_left_out_stay_in_the_file_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "flows.yaml"
    path.write_text(SKIPPED)
    with pytest.warns(fd.FlowWarning):
        project = fd.load(path, skip_invalid=True)
    new = fd.on("link.deleted", name="c").map(t="y").deliver("s")
    changed = project.with_flow(new).with_flow(fd.on("link.deleted", name="a").map("x").deliver("s"))
    changed.save(path)
    text = path.read_text()
    expected = SKIPPED.replace(
        "# keep\n      trigger: {kind: link.created}", "# keep\n      trigger: {kind: link.deleted}"
    )
    head, tail = expected.split("x: {a: .inf")
    assert text.startswith(head)
    assert text.endswith(f"x: {{a: .inf{tail}")
    with pytest.warns(fd.FlowWarning):
        assert fd.load(path, skip_invalid=True) == changed


def test_numbers_that_are_not_finite_stay_numbers_when_a_file_is_written_anew() -> None:
    other = {"x": {"a": float("inf"), "b": -float("inf")}}
    assert fd.load(fd.Project((FLOW,), other=other).to_yaml()).other == other


# -- names, steps and paths ----------------------------------------------------------------------------------


def test_no_name_leaves_the_line_that_it_stands_in() -> None:
    name = "likes\nimport os\r\x1b[31m\u2028\x00"
    flow = fd.on("link.created", name=name, link_type="l\nimport os").map(t="x").deliver("s\nimport os")
    log = fd.MemoryEventLog()
    log.append(fd.link_created("l\nimport os", "u", "p"))
    result = fd.replay(fd.Project((flow,)), log)
    pictures = flow.picture()
    for text in (
        str(fd.Project((flow,))), str(flow), flow.to_python(), str(result), str(result.explain(1)),
        str(fd.compare(result, fd.replay(fd.on("link.deleted", name="x").map(t="x").deliver("s"), log))),
        pictures.text, pictures.mermaid, pictures.svg,
    ):  # fmt: skip
        assert not any(line.lstrip(" #").startswith("import os") for line in text.splitlines())
        assert all(c.isprintable() or c == "\n" for c in text)


def test_a_flow_has_at_most_128_steps() -> None:
    steps = [{"filter": {"condition": "link_type == 'l'"}}] * 400
    for target in (None, "this-rs"):
        with pytest.raises(fd.LoadError, match="a flow has 402 steps"):
            fd.load(documented(*steps, *said("x")), target=target)
    flow = fd.on("link.created")
    for _ in range(128):
        flow = flow.where("link_type == 'l'")
    with pytest.raises(fd.BuildError, match="a flow has 129 steps"):
        flow.where("link_type == 'l'")
    log = fd.MemoryEventLog()
    log.append(fd.link_created("l", "u", "p"))
    longest = fd.load(documented(*steps[:126], *said("x")))
    assert len(fd.replay(longest, log).deliveries) == 1


@pytest.mark.parametrize("target", [None, "this-rs"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kind: link.created", "kind: [link.created]"),
        ("kind: link.created", "kind: link.created, link_type: [a]"),
        ("sink: s", "sinks: [[a]]"),
        ("sink: s", "sinks: [a, {b: c}]"),
        ("sink: s", "sink: [a]"),
    ],
)
def test_a_list_where_a_word_belongs_is_refused_in_its_place(old: str, new: str, target: str | None) -> None:
    text = "- name: f\n  trigger: {kind: link.created}\n  pipeline: [{map: {template: {t: x}}}, {deliver: {sink: s}}]\n"
    with pytest.raises(fd.LoadError, match=r"text:[23]:\d+, flow 'f'") as caught:
        fd.load(text.replace(old, new), target=target)
    assert "Item(" not in str(caught.value)


@pytest.mark.parametrize(
    "path", ["/tmp/x.sqlite", "../x.sqlite", "a/../../x", "C:\\x", "\\x", "a\\..\\..\\x", "~/../x"]
)
def test_the_path_of_a_sink_stays_in_the_folder(path: str) -> None:
    text = f"events: {{flows: []}}\nsinks:\n  - {{name: s, type: in_app, config: {{path: '{path}'}}}}\n"
    with pytest.raises(fd.LoadError, match=r"text:3:\d+: in_app: path .* leads out of the folder"):
        fd.load(text)


def test_nor_does_a_link_lead_out_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "out").symlink_to(tmp_path)
    (folder / "named.sqlite").symlink_to(tmp_path / "x.sqlite")
    for config in ("{name: s, type: in_app, config: {path: out/x.sqlite}}", "{name: named, type: feed}"):
        project = fd.load(f"events: {{flows: []}}\nsinks:\n  - {config}\n")
        with pytest.raises(fd.SinkError, match="leads out of the folder"):
            project.build_sinks(folder)


def test_messages_can_be_printed_whatever_is_in_them() -> None:
    with pytest.raises(fd.FlowError) as caught:
        fd.on("link.created").where("source_id == '\ud800'")
    str(caught.value).encode()


def test_a_file_with_one_anchor_for_two_things_is_written_anew() -> None:
    project = fd.load(FLOW.to_yaml() + "other: {a: &x 1, b: *x, c: &x 2}\n")
    with pytest.warns(fd.FlowWarning, match="written anew"):
        text = project.with_flow(fd.on("link.deleted", name="g").map(t="y").deliver("s")).to_yaml()
    assert fd.load(text).other == {"other": {"a": 1, "b": 1, "c": 2}}
