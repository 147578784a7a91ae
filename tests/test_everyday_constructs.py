"""Every construct of rules 22 to 30 in every place where a flow is written, run, shown or checked."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from oracle import interpret
from oracle.comparing import bytes_of, said_by_engine, said_by_oracle

import flowdsl as fd
from flowdsl import Flow, fn, on, var
from flowdsl.notebook.design_model import DesignModel
from flowdsl.notebook.design_view import design_view
from flowdsl.notebook.drafts import built, draft_of
from flowdsl.notebook.log_sample import SampledLog
from flowdsl.operators import OPERATORS

ROOT = Path(__file__).parents[1]
LIKED, EDITED = (
    on("link.created", link_type="likes", name="f"),
    on("entity.updated", entity_type="post", name="f"),
)
LINK, POST = {"kind": "link.created", "link_type": "likes"}, {"kind": "entity.updated", "entity_type": "post"}
ENTITIES = {
    "user": {who: {"name": who.title(), "tz": "Asia/Kolkata"} for who in ("ann", "bob", "cem")},
    "post": {"p1": {"status": "draft", "tags": ["a"], "price": 10, "author": "ann"}},
}
LINKS = [{"link_type": "blocks", "source_id": "ann", "target_id": "cem", "metadata": {"why": "noise"}}]


@dataclass(frozen=True)
class Construct:
    """A construct as steps of a flow, and the same as steps of YAML."""

    flow: Flow
    trigger: dict[str, Any]
    yaml: list[dict[str, Any]]
    # the construct in the words of the refusal of export
    refused: str
    # the same written with other means
    other: Flow | None = None
    caps: dict[str, fd.Cap] = field(default_factory=dict)
    merge: tuple[str, ...] = ()


def where(condition: str, other: Any, refused: str, flow: Flow = LIKED) -> Construct:
    trigger = LINK if flow is LIKED else POST
    return Construct(
        flow.where(condition), trigger, [{"filter": {"condition": condition}}], refused, flow.where(other)
    )


CONSTRUCTS = {
    "for_each": Construct(
        EDITED.for_each("data.tags", as_="tag"),
        POST,
        [{"for_each": {"path": "data.tags", "as": "tag"}}],
        "'for_each'",
        EDITED.for_each(var.data.tags, as_="tag"),
    ),
    "for_each of what was added": Construct(
        EDITED.for_each("added(data.tags)", as_="tag"),
        POST,
        [{"for_each": {"path": "added(data.tags)", "as": "tag"}}],
        "'for_each'",
        EDITED.for_each(fn.added(var.data.tags), as_="tag"),
    ),
    "batch by two keys": Construct(
        LIKED.batch(["target_id", "source_id"], window="1h"),
        LINK,
        [{"batch": {"key": ["target_id", "source_id"], "window": "1h"}}],
        "one key",
        LIKED.batch([var.target_id, var.source_id], window=dt.timedelta(hours=1)),
    ),
    "batch with contents": Construct(
        LIKED.resolve("source_id", as_="fan").batch(
            "target_id", window="1h", collect={"names": "fan.name", "count_of": "unique(source_id)"}
        ),
        LINK,
        [
            {"resolve": {"from": "source_id", "as": "fan"}},
            {
                "batch": {
                    "key": "target_id",
                    "window": "1h",
                    "collect": {"names": "fan.name", "count_of": "unique(source_id)"},
                }
            },
        ],
        "'collect'",
        LIKED.resolve("source_id", as_="fan").batch(
            "target_id", window="1h", collect={"names": var.fan.name, "count_of": fn.unique(var.source_id)}
        ),
    ),
    "batch that fills": Construct(
        LIKED.batch("target_id", window="1h", max_count=2),
        LINK,
        [{"batch": {"key": "target_id", "window": "1h", "max_count": 2}}],
        "'max_count'",
    ),
    "batch that pauses": Construct(
        LIKED.batch("target_id", quiet="30m"),
        LINK,
        [{"batch": {"key": "target_id", "quiet": "30m"}}],
        "'quiet'",
    ),
    "batch by the calendar": Construct(
        LIKED.batch("target_id", every="week", on="mon", at="09:00", tz="Europe/Berlin"),
        LINK,
        [{"batch": {"key": "target_id", "every": "week", "on": "mon", "at": "09:00", "tz": "Europe/Berlin"}}],
        "'every'",
    ),
    "batch for as long as data say": Construct(
        LIKED.batch("target_id", window="metadata.delay"),
        LINK,
        [{"batch": {"key": "target_id", "window": "metadata.delay"}}],
        "one window",
        LIKED.batch("target_id", window=var.metadata.delay),
    ),
    "wait so long": Construct(LIKED.wait("1d"), LINK, [{"wait": {"duration": "1d"}}], "'wait'"),
    "wait until": Construct(
        LIKED.wait(until="09:00", on="mon", tz="Europe/Berlin"),
        LINK,
        [{"wait": {"until": "09:00", "on": "mon", "tz": "Europe/Berlin"}}],
        "'wait'",
    ),
    "wait for hours": Construct(
        LIKED.resolve("source_id", as_="fan").wait(hours="08:00-22:00", tz="fan.tz", default_tz="UTC"),
        LINK,
        [
            {"resolve": {"from": "source_id", "as": "fan"}},
            {"wait": {"hours": "08:00-22:00", "tz": "fan.tz", "default_tz": "UTC"}},
        ],
        "'wait'",
        LIKED.resolve("source_id", as_="fan").wait(hours="08:00-22:00", tz=var.fan.tz, default_tz="UTC"),
    ),
    "wait, or drop outside of hours": Construct(
        LIKED.wait(hours="08:00-22:00", outside="drop"),
        LINK,
        [{"wait": {"hours": "08:00-22:00", "outside": "drop"}}],
        "'wait'",
    ),
    "cap": Construct(
        LIKED.cap(1, per="day", key="target_id", tz="Europe/Berlin"),
        LINK,
        [{"cap": {"max": 1, "per": "day", "key": "target_id", "tz": "Europe/Berlin"}}],
        "'cap'",
        LIKED.cap(1, per="day", key=var.target_id, tz="Europe/Berlin"),
    ),
    "cap of a stretch": Construct(LIKED.cap(1, per="1h"), LINK, [{"cap": {"max": 1, "per": "1h"}}], "'cap'"),
    "cap of a sink": Construct(LIKED, LINK, [], "caps of sinks", caps={"push": fd.Cap(1, per="day")}),
    "linked": where(
        'not linked("ann", "blocks", source_id)',
        ~fn.linked("ann", "blocks", var.source_id),
        "there is no linked()",
    ),
    "count_links": where(
        'count_links(target_id, "likes", direction="reverse") == 2',
        fn.count_links(var.target_id, "likes", direction="reverse") == 2,
        "there is no count_links()",
    ),
    "first_link": where(
        'first_link("ann", "blocks").why == "noise"',
        fn.first_link("ann", "blocks").why == "noise",
        "there is no first_link()",
    ),
    "local time": where(
        'hour(event.timestamp, "Asia/Kolkata") >= 8 and minute(event.timestamp) < 59'
        ' and weekday(event.timestamp) <= 5 and date(event.timestamp) != "2026-01-02"',
        (fn.hour(var.event.timestamp, "Asia/Kolkata") >= 8)
        & (fn.minute(var.event.timestamp) < 59)
        & (fn.weekday(var.event.timestamp) <= 5)
        & (fn.date(var.event.timestamp) != "2026-01-02"),
        "there is no date()",
    ),
    "functions of values": where(
        'coalesce(metadata.app, "web") == trim(" web ") and abs(round(1.4)) == min(1, 2) and max(0, 1) == 1',
        (fn.coalesce(var.metadata.app, "web") == fn.trim(" web "))
        & (fn.abs(fn.round(1.4)) == fn.min(1, 2))
        & (fn.max(0, 1) == 1),
        "there is no coalesce()",
    ),
    "bucket": where(
        'bucket(source_id, 2, salt="spring") == 0',
        fn.bucket(var.source_id, 2, salt="spring") == 0,
        "there is no bucket()",
    ),
    "before": where(
        "before.price > data.price", var.before.price > var.data.price, "there is no '>'", EDITED
    ),
    "changed": where("changed(data.status)", fn.changed(var.data.status), "there is no changed()", EDITED),
    "added": where(
        "len(added(data.tags)) > 0", fn.len(fn.added(var.data.tags)) > 0, "there is no '>'", EDITED
    ),
    "merging updates": Construct(
        EDITED.resolve("entity_id", as_="post").where('post.author == "ann"'),
        POST,
        [
            {"resolve": {"from": "entity_id", "as": "post"}},
            {"filter": {"condition": 'post.author == "ann"'}},
        ],
        "replaces the whole entity",
        merge=("post",),
    ),
}
EVENTS = [
    ("05T03:00", fd.link_created("likes", "ann", "p1", metadata={"delay": "30m", "app": "web"})),
    ("05T03:10", fd.link_created("likes", "bob", "p1", metadata={"delay": "30m"})),
    ("05T03:20", fd.link_created("likes", "cem", "p1", metadata={"delay": "2h"})),
    ("05T09:30", fd.link_created("likes", "ann", "p2", metadata={"delay": "soon"})),
    ("05T10:00", fd.entity_updated("post", "p1", {"status": "live", "tags": ["a", "b"], "price": 8})),
    ("05T10:30", fd.entity_updated("post", "p1", {"status": "live", "tags": ["c", "b"], "price": 9})),
    ("06T03:00", fd.link_created("likes", "bob", "p1", metadata={"delay": "1m"})),
    ("14T03:00", fd.link_created("likes", "ann", "p1", metadata={"delay": "1m"})),
]
LOG = [
    {"id": f"e{number}", "seq_no": number, "timestamp": f"2026-01-{at}:00Z", "event": event}
    for number, (at, event) in enumerate(EVENTS, 1)
]
EACH = pytest.mark.parametrize("name", CONSTRUCTS)
pytestmark = pytest.mark.filterwarnings("ignore:flow '.*is (always|never) true:flowdsl.events.FlowWarning")


def finished(flow: Flow) -> Flow:
    return flow.map(recipient_id="ann", title="news").deliver("push")


def graph_of(one: Construct) -> fd.EntityGraph:
    return fd.EntityGraph(ENTITIES, LINKS, merge=one.merge)


def replayed(one: Construct, **options: Any) -> fd.Result:
    return fd.replay(finished(one.flow), LOG, graph_of(one), caps=one.caps, **options)


@cache
def whole(name: str) -> fd.Result:
    return replayed(CONSTRUCTS[name])


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
    for keep in (False, True):
        outcome = interpret(flows, LOG, ENTITIES, LINKS, merge=one.merge, caps=one.caps, keep=keep)
        windows = "keep" if keep else "flush"
        found = said_by_engine(replayed(one, open_windows=windows), flows)
        for part, said in said_by_oracle(outcome, flows).items():
            assert found[part] == said, part
        assert bytes_of(replayed(one, open_windows=windows, chunk_size=1)) == bytes_of(
            replayed(one, open_windows=windows)
        )
        for cut in range(2, len(LOG) + 1):
            first = replayed(one, stop=cut, open_windows="keep")
            second = fd.replay(flows, LOG, state=first.state, caps=one.caps, open_windows=windows)
            both = said_by_engine(first, flows)["deliveries"] + said_by_engine(second, flows)["deliveries"]
            assert both == found["deliveries"]


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
    assert built(draft_of(finished(one.flow))).flow == finished(one.flow)
    model = DesignModel(SampledLog(LOG, graph_of(one)), finished(one.flow))
    view = design_view(model)
    for step in view["steps"][: len(one.flow.steps)]:
        for shown in step["fields"]:
            if not shown["fixed"]:
                model.change("set_option", key=step["key"], name=shown["name"], value=shown["value"])
    assert built(model.draft).flow == finished(one.flow)


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
