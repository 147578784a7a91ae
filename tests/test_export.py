"""Flows and projects as YAML, mappings and Python: exact, stable, and changed only where something changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from strategies import SLIPS_ARE_LIKELY, Case, cases, flow_lists

import flowdsl as fd
from flowdsl import Flow, fn, on, var
from flowdsl.api.project import Project
from flowdsl.errors import ExportError
from flowdsl.production.emitter import block_lines, inline
from flowdsl.production.export import PART_LINE, SCHEMA_LINE
from flowdsl.production.nodes import read_text

pytestmark = SLIPS_ARE_LIKELY

IDENTITY = Path(__file__).parent / "identity"
EXACT = ("conditions", "flows", "names", "operators", "templates")


def documents(name: str) -> list[str]:
    text = (IDENTITY / f"{name}.yaml").read_bytes().decode()
    return [document if document.endswith("\n") else f"{document}\n" for document in text.split("\n---\n")]


CASES = [(name, number) for name in EXACT for number in range(len(documents(name)))]
FORMS = range(len(documents("forms")))


def exact(value: object) -> str:
    """A value with its types and the order of its keys."""
    return repr(value)


# -- the identity corpus --------------------------------------------------------------------------------


def test_the_corpus_is_as_large_as_promised():
    assert len(CASES) + len(FORMS) >= 150


@pytest.mark.parametrize(("name", "number"), CASES)
def test_a_flow_of_the_corpus_loads_and_saves_to_the_same_bytes(name, number, tmp_path):
    text = documents(name)[number]
    (flow,) = fd.load(text).flows
    assert flow.portable() == flow
    assert flow.to_yaml() == text
    assert fd.load(text) == flow
    assert fd.load(flow.to_dict()) == flow
    path = tmp_path / "flows.yaml"
    flow.save(path)
    whole = text.replace(f"{PART_LINE}\n", "entities: []\nlinks: []\n")
    assert path.read_bytes() == whole.encode()
    assert fd.load(path) == flow
    flow.save(path)
    assert path.read_bytes() == whole.encode()
    assert Project((flow,)).to_yaml() == text


@pytest.mark.parametrize(("name", "number"), CASES)
def test_every_reader_of_yaml_reads_a_flow_of_the_corpus_the_same(name, number):
    text = documents(name)[number]
    said = exact(fd.load(text).flows[0].to_dict())
    assert exact(yaml.safe_load(text)) == said
    assert exact(YAML(typ="safe", pure=True).load(text)) == said


@pytest.mark.parametrize(("name", "number"), CASES)
def test_a_flow_of_the_corpus_as_python_builds_an_equal_flow(name, number):
    (flow,) = fd.load(documents(name)[number]).flows
    assert built(flow) == flow


@pytest.mark.parametrize("number", FORMS)
def test_other_ways_to_write_a_project_are_kept_and_mean_the_same(number):
    text = documents("forms")[number]
    project = fd.load(text)
    assert project.to_yaml() == text
    fresh = replace(project, text=None).to_yaml()
    again = fd.load(fresh)
    assert fresh.startswith(f"{SCHEMA_LINE}\n")
    assert again == replace(project, flows=tuple(flow.portable() for flow in project.flows))
    assert again.other == project.other
    assert replace(again, text=None).to_yaml() == fresh
    assert exact(yaml.safe_load(fresh)) == exact(project.to_dict())


# -- text -----------------------------------------------------------------------------------------------

PIECES = [
    "on", "yes", "y", "1:30", "0x1", "1e3", "null", "~", "<<", "=", "2026-01-01", "010", "1_000", ".5", "+1", "a: b", " #c",
    "- x", "? x", "{", "}", "[", "*a", "&a", "!t", "%T", "@", "`", "|", ">", "'", '"', "\\", "\n", "\n\n", "\t", "\r", "\x85",
    "\u2028", "\ufeff", "\ufffe", "\x00", " ", "  ", "é", "😀", "{{ x }}", "---", "...", ",", "#", "a", "x == 1", "\xa0", "\u200b",
    "%" + "a" * 1000, "5m", "1.", "_1", "0o7", ".inf", ".nan",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES) | st.characters(exclude_categories=["Cs"]), max_size=6).map("".join)
scalars = st.one_of(
    texts,
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(value=values)
def test_whatever_is_written_every_reader_reads_back(value: Any) -> None:
    document = {"a": value, "b": [value, value]}
    for text in ("\n".join([*block_lines(document), ""]), f"{inline(document)}\n"):
        assert exact(yaml.safe_load(text)) == exact(document)
        assert exact(YAML(typ="safe", pure=True).load(text)) == exact(document)
        item, problems = read_text(text, "text")
        assert not problems
        assert exact(item.plain()) == exact(document)


@given(flows=flow_lists())
def test_equal_flows_give_the_same_bytes_and_the_text_gives_the_flow_back(flows: list[Flow]) -> None:
    for flow in flows:
        try:
            text = flow.to_yaml()
        except ExportError:
            continue
        assert fd.load(text) == flow.portable()
        assert fd.load(text).flows[0].to_yaml() == text
        assert exact(yaml.safe_load(text)) == exact(flow.to_dict())
        json.dumps(flow.to_dict())


def test_durations_written_in_two_ways_are_the_same_bytes():
    hour, minutes = (
        on("link.created", name="f").deduplicate("source_id", window=window) for window in ("1h", "60m")
    )
    assert hour == minutes
    assert hour.to_yaml() == minutes.to_yaml()


def test_a_refusal_leaves_the_file_as_it_was(tmp_path: Path):
    path = tmp_path / "flows.yaml"
    path.write_text("as it was")
    with pytest.raises(ExportError):
        on("link.created").where("source_id < target_id").save(path)
    assert path.read_text() == "as it was"


def test_the_problems_of_all_flows_of_a_project_come_at_once():
    flows = tuple(on("link.created", name=name).where("source_id < target_id") for name in ("a", "b"))
    with pytest.raises(ExportError) as caught:
        Project(flows).to_yaml()
    assert [problem.flow for problem in caught.value.problems] == ["a", "b"]


# -- Python ---------------------------------------------------------------------------------------------


def pasted(flow: Flow) -> Flow:
    """What the text of a flow is as code; it does not say its name."""
    found: Flow = eval(f"({flow})", {"on": on, "var": var, "fn": fn})
    return found


def built(flow: Flow) -> Flow:
    names: dict[str, Any] = {}
    exec(flow.to_python(), names)
    found: Flow = names["flow"]
    return found


@given(case=cases())
def test_python_builds_an_equal_flow(case: Case) -> None:
    for flow in case.flows:
        try:
            source = flow.to_python()
        except ExportError as error:
            assert "Python function" in str(error) or "null" in str(error)  # noqa: PT017
            continue
        assert built(flow) == flow, source
        assert (pasted(flow).trigger, pasted(flow).steps) == (flow.trigger, flow.steps)
        assert built(flow).to_python() == source


@pytest.mark.parametrize(
    "condition",
    [
        "1 < source_id", "'a' == source_id", "1 + 2 == source_id", "true and false", "not true", "true and source_id == 1",
        "(source_id == 1) == (target_id == 2)", "source_id - (1 - metadata.n) * -metadata.x % 3 > 0", "--metadata.n == 1",
        "source_id in ['a', 1, null] or not (metadata.a and metadata.b)", "metadata['class'] == 1 and metadata['a b'] == metadata.__x__",
        "metadata.größe == 1", "len(lower(source_id)) == 1 and contains(metadata.t, 'x')", "'a' in metadata.t", "1 in [1, 2]",
        "not (source_id == 1 and (target_id == 2 or link_id exists))", "((metadata.a or metadata.b) and metadata.c) == true",
        "1 - metadata.n == 2", "metadata.n == -1", "metadata.a == [1, 2]", "'it\\'s \"so\"\\\\' == link_type",
    ],
)  # fmt: skip
def test_every_expression_has_python_that_carries_it(condition):
    flow = on("link.created").where(condition)
    assert built(flow) == flow
    typed = on("link.created").map(value=var(condition), parts=[1, {"class": var(condition)}])
    assert built(typed) == typed == pasted(typed)
    keyword = on("link.created").map({"class": var(condition)})
    assert built(keyword) == keyword == pasted(keyword)


def test_python_reads_as_one_would_write_it():
    flow = (
        on("link.created", link_type="likes", name="notify", description="who liked it")
        .resolve("target_id", via="owns", direction="reverse", as_="owner")
        .where((var.source_id != var.owner.id) & ~fn.exists(var.owner.muted) | (var.owner.age > 3))
        .deduplicate(["source_id", "target_id"], window="1d")
        .map(
            recipient_id="{{ owner.id }}", title='say "hi"', count=var.owner.count + 1, data={"a": [1, None]}
        )
        .deliver("in-app", "push")
    )
    assert (
        flow.to_python()
        == """\
from flowdsl import fn, on, var

flow = (
    on("link.created", link_type="likes", name="notify", description="who liked it")
    .resolve("target_id", as_="owner", via="owns", direction="reverse")
    .where((var.source_id != var.owner.id) & ~fn.exists(var.owner.muted) | (var.owner.age > 3))
    .deduplicate(["source_id", "target_id"], window="1d")
    .map(
        recipient_id="{{ owner.id }}",
        title='say "hi"',
        count=var.owner.count + 1,
        data={"a": [1, None]},
    )
    .deliver("in-app", "push")
)
"""
    )


def test_a_python_function_cannot_be_written_and_says_where_it_stands():
    flow = on("link.created", name="f").where(len).map(a=1).where(len)
    with pytest.raises(ExportError) as caught:
        flow.to_python()
    assert [(p.flow, p.step) for p in caught.value.problems] == [("f", "0 (where)"), ("f", "2 (where)")]
