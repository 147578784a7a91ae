"""`fd.design`: a flow built and changed by what is clicked and typed, tried on a log; without a browser."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from strategies import SLIPS_ARE_LIKELY, flow_lists
from test_explain import LIKE

import flowdsl as fd
from flowdsl import Flow, on
from flowdsl.api.design import Designer
from flowdsl.notebook import log_sample
from flowdsl.notebook.design_model import DesignModel
from flowdsl.notebook.design_view import design_view
from flowdsl.notebook.drafts import Draft, build_draft, draft_of
from flowdsl.notebook.log_sample import SampledLog
from flowdsl.samples import write_sample

pytestmark = SLIPS_ARE_LIKELY

NASTY = '<script>alert("1")</script>'
GRAPH = fd.EntityGraph(
    {"user": {"ann": {"name": "Ann", "address": {"city": "Oslo"}}, "bob": {"name": "Bob"}, "eve": {"name": NASTY}}},
    [{"link_type": "owns", "source_id": "eve", "target_id": "p1"}],
)  # fmt: skip


def like(second: int, user: str, post: str = "p1") -> dict[str, Any]:
    event = fd.link_created("likes", user, post, metadata={"app": "web", "by": {"ключ": "значение"}})
    return {"timestamp": f"2026-01-01T00:00:{second:02}Z", "event": event}


LOG = [
    like(1, "ann"), like(2, "eve"), like(3, "bob"), like(4, "ann"), like(5, "ann", "p2"),
    {"timestamp": "2026-01-01T00:00:06Z", "event": fd.entity_created("post", "p3", {"author_id": "eve", "title": "Tea"})},
]  # fmt: skip
HISTORY = SampledLog(LOG, GRAPH)


@pytest.fixture
def designer() -> Designer:
    return fd.design(LOG, GRAPH)


def view_of(designer: Designer) -> dict[str, Any]:
    assert designer.settle()
    return design_view(designer.model)


def do(designer: Designer, *messages: dict[str, Any]) -> dict[str, Any]:
    for message in messages:
        designer.do(message)
    return view_of(designer)


def trigger(name: str, value: str) -> dict[str, Any]:
    return {"do": "set_trigger", "name": name, "value": value}


def option(key: int, name: str, value: Any) -> dict[str, Any]:
    return {"do": "set_option", "key": key, "name": name, "value": value}


def row(key: int, at: int, name: str, value: str) -> dict[str, Any]:
    return {"do": "set_row", "key": key, "row": at, "name": name, "value": value}


def build(designer: Designer) -> dict[str, Any]:
    """What somebody clicks and types who builds `LIKE`."""
    adds = [
        {"do": "add", "operator": name}
        for name in ("resolve", "filter", "deduplicate", "batch", "map", "deliver")
    ]
    return do(
        designer,
        trigger("kind", "link.created"), trigger("type", "likes"), trigger("name", "like"), *adds,
        option(1, "from", "target_id"), option(1, "as", "owner"), option(1, "via", "owns"),
        option(1, "direction", "reverse"), option(2, "condition", "source_id != owner.id"), option(3, "key", "source_id"),
        option(3, "window", "1h"), option(4, "key", "target_id"), option(4, "window", "1m"),
        row(5, 0, "text", "{{ owner.id }}"), {"do": "add_row", "key": 5}, row(5, 1, "name", "title"),
        row(5, 1, "text", "{{ batch.count }} for {{ owner.name }}"), option(6, "sinks", "in-app, push"),
    )  # fmt: skip


# -- flows and forms ---------------------------------------------------------------------------------------


def test_a_flow_is_built_from_nothing_and_taken_away(designer: Designer, tmp_path: Path):
    build(designer)
    assert designer.flow == LIKE
    assert designer.yaml == LIKE.to_yaml()
    assert designer.python == LIKE.to_python()
    designer.save(str(tmp_path / "flow.yaml"))
    designer.save(str(tmp_path / "flow.py"))
    LIKE.save(tmp_path / "beside.yaml")
    assert (tmp_path / "flow.yaml").read_text() == (tmp_path / "beside.yaml").read_text()
    made: dict[str, Any] = {}
    exec((tmp_path / "flow.py").read_text(), made)
    assert made["flow"] == LIKE


@given(flow_lists(max_flows=1))
def test_an_opened_flow_is_the_same_flow(flows: list[Flow]):
    assert build_draft(draft_of(flows[0])).flow == flows[0]


@given(flow_lists(max_flows=1))
def test_what_the_form_shows_of_a_flow_typed_again_is_the_same_flow(flows: list[Flow]):
    model = DesignModel(HISTORY, flows[0])
    view = design_view(model)
    for name in ("kind", "type"):
        model.change("set_trigger", name=name, value=view["trigger"][name])
    for step in view["steps"]:
        for field in step["fields"]:
            if field["kind"] == "template":
                for at, shown in enumerate(field["rows"]):
                    if shown["mode"] != "fixed":
                        for part in ("name", "mode", "text"):
                            model.change("set_row", key=step["key"], row=at, name=part, value=shown[part])
            elif not field["fixed"]:
                model.change("set_option", key=step["key"], name=field["name"], value=field["value"])
    typed = model.draft
    again = replace(
        typed, steps=tuple(s if fixed(s.options) else replace(s, origin=None) for s in typed.steps)
    )
    assert build_draft(again).flow == flows[0]


def fixed(options: Any) -> bool:
    """Whether an option is a Python function, or holds something that only Python can say."""
    rows = options.get("template", ())
    condition = options.get("condition", "")
    return not isinstance(condition, str) or any(row.mode == "fixed" for row in rows)


def test_every_operator_and_option_has_a_field(designer: Designer):
    view = do(designer, *({"do": "add", "operator": o["name"]} for o in view_of(designer)["operators"]))
    fields = {
        step["method"]: {field["name"]: field["kind"] for field in step["fields"]} for step in view["steps"]
    }
    assert fields == {
        "resolve": {
            "from": "path", "as": "name", "via": "text", "direction": "choice", "type": "text", "required": "flag",
        },
        "fan_out": {"from": "path", "via": "text", "as": "name", "direction": "choice", "type": "text"},
        "for_each": {"path": "text", "as": "name"},
        "where": {"condition": "text"},
        "deduplicate": {"key": "paths", "window": "duration"},
        "batch": {
            "key": "paths", "window": "duration", "min_count": "count", "max_count": "count", "quiet": "duration",
            "every": "choice", "at": "text", "on": "text", "tz": "path", "default_tz": "text", "collect": "expressions",
        },
        "rate_limit": {"max": "count", "per": "duration", "strategy": "choice", "key": "paths"},
        "cap": {"max": "count", "per": "duration", "key": "paths", "tz": "path", "default_tz": "text"},
        "wait": {
            "duration": "duration", "until": "text", "on": "text", "hours": "text", "outside": "choice", "tz": "path",
            "default_tz": "text",
        },
        "map": {"template": "template"},
        "deliver": {"sinks": "list"},
    }  # fmt: skip


def test_steps_are_moved_copied_and_removed(designer: Designer):
    build(designer)
    methods = lambda: [step["method"] for step in view_of(designer)["steps"]]  # noqa: E731
    designer.do({"do": "move", "key": 3, "by": -1})
    assert methods() == ["resolve", "deduplicate", "where", "batch", "map", "deliver"]
    designer.do({"do": "duplicate", "key": 2})
    assert methods() == ["resolve", "deduplicate", "where", "where", "batch", "map", "deliver"]
    designer.do({"do": "remove", "key": 3})
    designer.do({"do": "add", "operator": "rate_limit", "at": 0})
    assert methods() == ["rate_limit", "resolve", "where", "where", "batch", "map", "deliver"]
    designer.do({"do": "move", "key": 6, "by": 99})
    assert methods()[-1] == "deliver"


def test_everything_can_be_undone_and_done_again(designer: Designer):
    before = [designer.model.draft]
    build(designer)
    while designer.model.can_undo:
        before.append(designer.model.draft)
        designer.undo()
    assert designer.model.draft == before[0]
    while designer.model.can_redo:
        designer.redo()
        assert designer.model.draft == before.pop()
    assert designer.flow == LIKE


def test_typing_into_one_field_is_one_change(designer: Designer):
    build(designer)
    for text in ("{", "{{ owner.", "{{ owner.name }}"):
        designer.do(row(5, 0, "text", text))
    designer.undo()
    assert designer.flow == LIKE
    view = view_of(designer)
    assert (view["undo"], view["redo"]) == (True, True)
    designer.do(option(3, "window", "2h"))
    assert not view_of(designer)["redo"]


def test_a_message_about_a_step_that_is_gone_changes_nothing(designer: Designer):
    build(designer)
    do(
        designer,
        {"do": "remove", "key": 99},
        option(99, "from", "x"),
        row(5, 9, "text", "x"),
        row(1, 0, "text", "x"),
    )
    assert designer.flow == LIKE


# -- what is wrong -----------------------------------------------------------------------------------------


def problems(view: dict[str, Any]) -> list[tuple[int, str, bool]]:
    return [
        (place, step["problem"]["what"], step["problem"]["mild"])
        for place, step in enumerate(view["steps"])
        if step["problem"]
    ]


def test_a_new_step_is_not_scolded_for_what_nobody_typed_yet(designer: Designer):
    view = do(designer, {"do": "add", "operator": "resolve"}, {"do": "add", "operator": "map"})
    assert problems(view) == [(0, "not given yet: from, as", True)]
    with pytest.raises(fd.FlowError, match="the flow is not finished: not given yet: from, as"):
        designer.flow  # noqa: B018
    assert "not finished" in view["yaml"]["error"]


def test_errors_stand_at_their_step_and_those_after_it_are_not_blamed(designer: Designer):
    build(designer)
    view = do(
        designer,
        option(1, "via", ""),
        option(1, "direction", "reverse"),
        option(2, "condition", "source_id != ownr.id"),
    )
    assert problems(view) == [
        (1, "the condition 'source_id != ownr.id' reads 'ownr.id', but there is no variable 'ownr' at this step", False)
    ]  # fmt: skip
    assert view["steps"][1]["problem"]["hint"] == "did you mean 'owner'?"
    assert [step["counts"] is None for step in view["steps"]] == [False, True, True, True, True, True]
    view = do(designer, option(1, "from", "nobody"))
    assert [place for place, _, _ in problems(view)] == [0, 1]
    view = do(designer, option(4, "min_count", "many"))
    assert "batch: min_count must be a whole number" in problems(view)[-1][1]
    view = do(designer, row(5, 1, "text", "{{ owner.nam"), option(1, "from", "target_id"))
    assert problems(view)[-1][1].startswith("title: the template ends too early")
    view = do(designer, row(5, 1, "name", "recipient_id"), row(5, 1, "text", "x"))
    assert problems(view)[-1][1] == "the field 'recipient_id' is there twice"
    view = do(designer, row(5, 1, "mode", "json"))
    assert "is not JSON" in problems(view)[-1][1] or "twice" in problems(view)[-1][1]


def test_findings_of_the_library_are_shown(designer: Designer):
    build(designer)
    view = do(designer, {"do": "remove", "key": 6})
    assert [f["code"] for f in view["findings"] if f["severity"] == "warning"] == ["no-deliver"]
    assert [f.code for f in designer.findings] == [f["code"] for f in view["findings"]]


def test_findings_are_sorted_by_weight_then_by_step():
    view = view_of(LIKE.design(LOG, GRAPH, target="this-rs", progress=False))
    found = [(f["severity"], f["step"]) for f in view["findings"]]
    assert [severity for severity, _ in found][:1] == ["error"]
    assert {severity for severity, _ in found} > {"error"}
    weights = [(("error", "warning", "note").index(severity), step) for severity, step in found]
    assert weights == sorted(weights)


def test_marimo_gets_the_widget_itself(designer: Designer):
    import anywidget

    shown = designer._display_()
    assert isinstance(shown, anywidget.AnyWidget)
    assert shown.view["steps"] == []


def test_every_sign_of_the_forms_is_in_common_fonts():
    # the characters of Windows' oldest fonts, and the arrows and the dot that those of Unix and macOS share with them
    for file in (Path(fd.__file__).parent / "notebook").glob("*.js"):
        strange = {sign for sign in file.read_text("utf-8") if ord(sign) > 127 and sign not in "→↑↓●"}
        assert not [sign for sign in strange if not sign.encode("cp1252", "ignore")], file.name


# -- what it does ------------------------------------------------------------------------------------------


def test_counts_and_deliveries_are_those_of_a_replay(designer: Designer):
    view = build(designer)
    result = fd.replay(LIKE, LOG, GRAPH, progress=False)
    counted = [(step["counts"]["entered"], step["counts"]["passed"]) for step in view["steps"]]
    assert counted == [(s.entered, s.passed) for s in result.steps.itertuples()]
    assert view["sample"] == {
        "events": 6, "all": 6, "whole": True, "taken": 5, "delivered": len(result),
    }  # fmt: skip
    assert [out[:2] for out in view["steps"][0]["counts"]["out"]] == [
        ["failed: no 'owns' link to 'target_id'", 1]
    ]
    assert [out[:2] for out in view["steps"][1]["counts"]["out"]] == [["filtered", 1]]
    assert [out[:2] for out in view["steps"][3]["counts"]["out"]] == [["into batches", 1]]


def test_the_values_of_a_condition_are_counted(designer: Designer):
    build(designer)
    values = {o["path"]: o["values"] for o in view_of(designer)["steps"][1]["operands"]}
    assert values == {"owner.id": [['"eve"', 4]], "source_id": [['"ann"', 2], ['"bob"', 1], ['"eve"', 1]]}


def test_one_event_is_shown_on_its_way(designer: Designer):
    view = build(designer)
    assert view["event"] == {"seq_no": 3, "time": "2026-01-01 00:00:03", "ids": "bob → p1"}
    assert [step["outcome"] for step in view["steps"]] == ["passed"] * 5 + ["delivered"]
    assert view["steps"][4]["preview"]["rows"] == [{"text": "eve"}, {"text": f"2 for {NASTY}"}]
    assert view["steps"][1]["preview"]["lines"][0] == {"name": "source_id != owner.id", "text": "true"}
    assert view["steps"][5]["preview"]["lines"] == [{"name": "recipient", "text": f"{NASTY} (user eve)"}]
    view = do(designer, {"do": "choose", "step": 1, "outcome": "dropped", "reason": "filtered"})
    assert view["event"]["seq_no"] == 2
    assert [step["outcome"] for step in view["steps"]] == ["passed", "dropped", None, None, None, None]
    view = do(designer, {"do": "choose", "forward": True})
    assert view["event"]["seq_no"] == 3


def test_a_template_is_rendered_at_once_without_a_replay(designer: Designer):
    build(designer)
    designer.settle()
    model = designer.model
    model.change("set_row", key=5, row=1, name="text", value="{{ owner.name | upper }}!")
    rows = design_view(model)["steps"][4]["preview"]["rows"]
    assert rows[1] == {"text": f"{NASTY.upper()}!"}
    model.change("set_row", key=5, row=1, name="text", value="{{ owner.age }}")
    assert "error" in design_view(model)["steps"][4]["preview"]["rows"][1]
    model.change("set_row", key=5, row=1, name="mode", value="expression")
    model.change("set_row", key=5, row=1, name="text", value="batch.count + 1")
    assert design_view(model)["steps"][4]["preview"]["rows"][1] == {"text": "3"}
    model.change("set_row", key=5, row=1, name="mode", value="json")
    model.change("set_row", key=5, row=1, name="text", value='{"to": ["{{ owner.id }}", 1]}')
    assert json.loads(design_view(model)["steps"][4]["preview"]["rows"][1]["text"]) == {"to": ["eve", 1]}
    assert rows[0] == {"text": "eve"}


# -- what is offered ---------------------------------------------------------------------------------------


def offered(view: dict[str, Any], step: int) -> dict[str, str]:
    offers = view["offers"]
    return {path: example for name in offers["scopes"][step] for path, example in offers["variables"][name]}


def test_paths_types_and_links_are_offered_from_the_data(designer: Designer):
    view = build(designer)
    start, later = offered(view, 0), offered(view, 1)
    assert start["source_id"] == '"ann"'
    assert start["metadata.app"] == '"web"'
    assert start["metadata.by.ключ"] == '"значение"'
    assert "event.timestamp" in start
    assert "owner.name" not in start
    assert later["owner.name"] == json.dumps(NASTY)
    assert "batch.count" in offered(view, 4)
    assert "batch.count" not in offered(view, 3)
    assert view["offers"]["links"] == [["likes", "5 events"], ["owns", "0 events"]]
    assert view["offers"]["entities"] == [["post", "1 events"], ["user", "0 events"]]
    assert view["trigger"]["types"] == [("likes", 5), ("owns", 0)]
    assert dict(map(tuple, view["trigger"]["kinds"]))["link.created"] == 5


def test_paths_that_nothing_can_reach_are_not_offered():
    events = [
        {
            "timestamp": "2026-01-01T00:00:00Z",
            "event": fd.entity_created("post", "p", {"a.b": 1, "": 2, NASTY: {"x": 3}, "ok": None}),
        }
    ]
    designer = fd.design(events)
    designer.do(trigger("kind", "entity.created"))
    data = [path for path in offered(view_of(designer), 0) if path.startswith("data")]
    assert data == ["data", f"data.{NASTY}", f"data.{NASTY}.x", "data.ok"]


# -- long logs ---------------------------------------------------------------------------------------------


@pytest.fixture
def long_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setattr(log_sample, "USUAL", 200)
    monkeypatch.setattr(log_sample, "ENOUGH", 50)
    return write_sample(tmp_path, events=3_000)


def test_a_long_log_is_counted_on_its_beginning_at_once_and_whole_soon(long_log: Any):
    flow = fd.load(long_log.flows).flows[1]
    model = DesignModel(SampledLog(long_log.log, fd.read_graph(long_log.graph)), flow)
    model.rehearse()
    first = design_view(model)["sample"]
    assert (first["events"], first["all"], first["whole"]) == (200, 3_000, False)
    model.count_all(lambda: False, lambda done, total: None)
    whole = design_view(model)["sample"]
    result = fd.replay(flow, long_log.log, fd.read_graph(long_log.graph), progress=False)
    assert (whole["events"], whole["whole"], whole["delivered"]) == (3_000, True, len(result))
    designer = flow.design(long_log.log, fd.read_graph(long_log.graph))
    assert view_of(designer)["sample"] == whole


def test_of_many_changes_the_last_one_is_what_is_shown(long_log: Any):
    designer = fd.design(long_log.log, fd.read_graph(long_log.graph), fd.load(long_log.flows).flows[1])
    key = designer.model.draft.steps[4].key
    for minutes in range(1, 30):
        designer.do(option(key, "window", f"{minutes}m"))
    view = view_of(designer)
    result = fd.replay(designer.flow, long_log.log, fd.read_graph(long_log.graph), progress=False)
    assert view["sample"]["delivered"] == len(result)
    assert not [t for t in threading.enumerate() if t.name == "flowdsl-widget" and t.is_alive()]


def test_a_sample_goes_on_until_it_has_enough_events_of_the_kind(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(log_sample, "USUAL", 10)
    monkeypatch.setattr(log_sample, "ENOUGH", 3)
    kinds = ["entity.deleted"] * 25 + ["link.created"] * 20
    frame = pl.DataFrame(
        {
            "kind": kinds, "timestamp": ["2026-01-01T00:00:00Z"] * 45, "entity_type": ["user"] * 45, "entity_id": ["a"] * 45,
            "link_type": ["likes"] * 45, "source_id": ["a"] * 45, "target_id": ["b"] * 45,
        }
    )  # fmt: skip
    history = SampledLog(frame)
    assert history.sample("link.created", "likes").events == 30
    assert history.sample("entity.deleted", "").events == 10
    assert history.sample("link.created", "other").events == 45


def test_an_empty_log_can_be_designed_on():
    designer = fd.design([], GRAPH)
    view = build(designer)
    assert designer.flow == LIKE
    assert view["event"] is None
    assert view["sample"]["delivered"] == 0


# -- shown as text -----------------------------------------------------------------------------------------


def test_printed_it_says_the_flow_its_counts_and_what_is_wrong(designer: Designer):
    build(designer)
    designer.settle()
    text = str(designer)
    assert text.startswith("fd.design: like\n")
    assert ".deduplicate('source_id', window='1h')" in text
    assert "in-app" in text
    do(designer, option(1, "as", "owner here"))
    assert "step 0 (resolve): resolve: as_ 'owner here' cannot name a variable" in str(designer)


def test_a_draft_without_steps_is_a_flow():
    assert build_draft(Draft("link.created", "likes")).flow == on("link.created", link_type="likes")


def test_a_program_that_ends_while_a_log_is_counted_ends_well(long_log: Any):
    code = (
        "import sys, flowdsl as fd\n"
        "flow = fd.load(sys.argv[1]).flows[1]\n"
        "fd.design(sys.argv[2], fd.read_graph(sys.argv[3]), flow)\n"
    )
    paths = [str(path) for path in (long_log.flows, long_log.log, long_log.graph)]
    ended = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
