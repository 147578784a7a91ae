"""Every construct of rules 22 to 30 in every place where a flow is written, run, shown or checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from everyday_constructs import (
    CONSTRUCTS,
    EDITED,
    ENTITIES,
    LIKED,
    LINK,
    LINKS,
    LOG,
    Construct,
    finished,
    graph_of,
    replayed,
    whole,
)
from oracle import interpret
from oracle.comparing import bytes_of, said_by_engine, said_by_oracle

import flowdsl as fd
from flowdsl import var
from flowdsl.notebook.design_model import DesignModel
from flowdsl.notebook.design_view import design_view
from flowdsl.notebook.drafts import build_draft, draft_of
from flowdsl.notebook.log_sample import SampledLog
from flowdsl.operators import OPERATORS

ROOT = Path(__file__).parents[1]
EACH = pytest.mark.parametrize("name", CONSTRUCTS)
pytestmark = pytest.mark.filterwarnings("ignore:flow '.*is (always|never) true:flowdsl.errors.FlowWarning")


def document(one: Construct) -> dict[str, Any]:
    end = [
        {"map": {"template": {"recipient_id": "ann", "title": "news"}}},
        {"deliver": {"sink": "push"}},
    ]
    sink: dict[str, Any] = {"name": "push", "type": "push"}
    for cap in one.caps.values():
        sink["cap"] = {"max": cap.max, "per": cap.per}
    flow = {"name": "f", "trigger": one.trigger, "pipeline": [*one.yaml, *end]}
    return {"events": {"flows": [flow]}, "sinks": [sink]}


@EACH
def test_it_does_something_and_every_context_is_accounted_for(name: str) -> None:
    result = whole(name)
    plain = replayed(Construct(LIKED if CONSTRUCTS[name].trigger is LINK else EDITED, {}, [], ""))
    assert bytes_of(result)["deliveries"] != bytes_of(plain)["deliveries"]
    assert len(result) > 0


@EACH
def test_text_and_var_build_the_same_flow(name: str) -> None:
    one = CONSTRUCTS[name]
    if one.other is not None:
        assert one.other == one.flow


@EACH
def test_python_is_written_that_builds_it(name: str) -> None:
    names: dict[str, Any] = {}
    exec(finished(CONSTRUCTS[name].flow).to_python(), names)
    assert names["flow"] == finished(CONSTRUCTS[name].flow)


@EACH
def test_yaml_and_its_schema_have_it(name: str) -> None:
    one = CONSTRUCTS[name]
    jsonschema.Draft202012Validator(fd.schema()).validate(document(one))
    project = fd.load(document(one))
    assert list(project.flows) == [finished(one.flow)]
    assert bytes_of(fd.replay(project, LOG, graph_of(one))) == bytes_of(whole(name))


@EACH
def test_the_plain_interpreter_says_the_same_in_any_chunks_and_parts(name: str) -> None:
    one, flows = CONSTRUCTS[name], [finished(CONSTRUCTS[name].flow)]
    parts = [replayed(one, stop=cut, open_windows="keep") for cut in range(2, len(LOG) + 1)]
    said_before = [said_by_engine(part, flows)["deliveries"] for part in parts]
    for keep in (False, True):
        outcome = interpret(flows, LOG, ENTITIES, LINKS, merge=one.merge, caps=one.caps, keep=keep)
        windows = "keep" if keep else "flush"
        whole_log = replayed(one, open_windows=windows)
        found = said_by_engine(whole_log, flows)
        for part, said in said_by_oracle(outcome, flows).items():
            assert found[part] == said, part
        assert bytes_of(replayed(one, open_windows=windows, chunk_size=1)) == bytes_of(whole_log)
        # how the second part ends has little to do with where it began
        for before, first in list(zip(said_before, parts, strict=True))[:: 3 if keep else 1]:
            second = fd.replay(flows, LOG, state=first.state, caps=one.caps, open_windows=windows)
            assert before + said_by_engine(second, flows)["deliveries"] == found["deliveries"]


@EACH
def test_explain_and_why_tell_of_it(name: str) -> None:
    one, result = CONSTRUCTS[name], whole(name)
    seq_no = int(result.deliveries["seq_no"].iloc[0])
    told, asked = (
        str(result.explain(seq_no)),
        str(result.why(seq_no, result.deliveries["recipient_id"].iloc[0])),
    )
    for step in one.flow.steps:
        # long ones are clipped
        assert step.text[:60] in told
    assert asked.splitlines()[1].startswith(("Yes", "No"))
    assert result.explain(seq_no)._repr_mimebundle_()["text/html"]


@EACH
def test_pictures_show_it(name: str) -> None:
    one, result = CONSTRUCTS[name], whole(name)
    pictures = (finished(one.flow).picture(), result.picture())
    for picture in pictures:
        for step in one.flow.steps:
            assert step.method in picture.mermaid
            assert step.method in picture.text
            assert step.method in picture.svg


@EACH
def test_the_designer_opens_it_and_its_forms_say_the_same(name: str) -> None:
    one = CONSTRUCTS[name]
    assert build_draft(draft_of(finished(one.flow))).flow == finished(one.flow)
    model = DesignModel(SampledLog(LOG, graph_of(one)), finished(one.flow))
    view = design_view(model)
    for step in view["steps"][: len(one.flow.steps)]:
        for shown in step["fields"]:
            if not shown["fixed"]:
                model.change("set_option", key=step["key"], name=shown["name"], value=shown["value"])
    assert build_draft(model.draft).flow == finished(one.flow)


@EACH
def test_export_refuses_it_with_reason_and_nearest_form_and_a_check_finds_it(name: str) -> None:
    one = CONSTRUCTS[name]
    flow, graph = finished(one.flow), graph_of(one)
    if one.caps:
        problems = refusals(lambda: fd.load(document(one)).to_dict())
    elif one.merge:
        # what merges is the graph, which is not exported
        [found] = [f for f in flow.check(target="this-rs", graph=graph) if "merged" in f.message]
        assert found.code == "not-portable"
        with pytest.raises(fd.FlowError, match=one.refused):
            fd.replay(flow.with_step(0, from_="entity_id"), LOG, graph, target="this-rs")
        return
    else:
        problems = refusals(flow.to_yaml)
        found = [f for f in flow.check(target="this-rs") if f.code == "not-portable" and f.step is not None]
        assert found
        assert all(f.hint for f in found)
    [mine] = [problem for problem in problems if one.refused in problem.what][:1]
    assert mine.hint


def refusals(export: Any) -> list[fd.FlowError]:
    with pytest.raises(fd.ExportError) as refused:
        export()
    return list(refused.value.problems)


def test_the_table_of_the_documentation_has_every_construct():
    table = (ROOT / "docs" / "export.md").read_text("utf-8").partition("<!-- lacking")[2]
    functions = "linked count_links first_link hour minute weekday date coalesce trim abs round min max bucket changed added"
    for function in functions.split():
        assert f"| `{function}(" in table
    for operator in ("for_each", "cap", "wait"):
        assert f"| `{operator}` |" in table
    for option in ("max_count", "quiet", "every", "at", "on", "tz", "default_tz", "collect"):
        assert f"| `{option}` of `batch` |" in table
    for row in ("`key` of `batch`, several", "`window` of `batch`, read from", "`before.", "`cap` of a sink"):
        assert row in table


def test_every_operator_takes_its_own_steps_and_examples():
    """`then` refuses what the builder method refuses, and nothing else."""
    # a map reads templates as they are written, and not the parts that it holds
    for operator in (one for one in OPERATORS.own.values() if one.method != "map"):
        start = LIKED.map(a=1)
        # what examples read
        for variable in ("owner", "data", "fan", "person", "post"):
            start = start.resolve("source_id", as_=variable)
        flow = eval(f"start.{operator.example}", {"start": start, "var": var})
        assert start.then(flow.steps[-1]) == flow
