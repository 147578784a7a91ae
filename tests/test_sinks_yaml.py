"""Sinks in YAML: read as strictly as flows, and made into real ones by type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flowdsl as fd
from flowdsl.api.project import Project
from flowdsl.production.project_spec import SinkConfig
from flowdsl.sinks import Counter, Custom, Delivery, Feed, Frame, InApp, Push, Recipients, Webhook, WebSocket
from flowdsl.sinks.registry import SINKS

FLOWS = """\
- {name: f, trigger: {kind: link.created}, pipeline: [map: {template: {title: x}}, deliver: {sink: in-app}]}
"""


def project(*sinks: str) -> fd.Project:
    return fd.load(text(*sinks))


def text(*sinks: str) -> str:
    return "events:\n  flows:\n    " + FLOWS + "sinks:\n" + "".join(f"  - {sink}\n" for sink in sinks)


def refused(*sinks: str) -> list[fd.FlowError]:
    with pytest.raises(fd.LoadError) as caught:
        fd.load(text(*sinks))
    return list(caught.value.problems)


EVERY = [
    "{name: in-app, type: in_app, config: {path: notes.sqlite, keep: 10}}",
    "{name: feed, type: feed}",
    "{name: likes, type: counter, config: {field: likes, operation: add}}",
    "{name: push, type: push, config: {token: '{{ env.EXPO }}', timeout: 5s}}",
    "{name: hook, type: webhook, config: {url: 'https://x.org', method: PUT, headers: {a: b}, timeout: 2.5, attempts: 1}}",
    "{name: live, type: web_socket, config: {port: 0, queue: 5}}",
    "{name: audit, type: custom}",
    "{name: shown, type: frame}",
]


def test_every_type_becomes_a_real_sink(tmp_path: Path):
    said: list[Delivery] = []
    sinks = project(*EVERY).build_sinks(tmp_path, custom={"audit": said.append})
    assert {name: type(sink) for name, sink in sinks.items()} == {
        "in-app": InApp, "feed": Feed, "likes": Counter, "push": Push, "hook": Webhook, "live": WebSocket,
        "audit": Custom, "shown": Frame,
    }  # fmt: skip
    # nothing is there before it is used
    assert list(tmp_path.iterdir()) == []
    note = Delivery({"title": "x", "entity_type": "post", "entity_id": "p1"}, "ann")
    for name in ("in-app", "feed", "likes", "audit", "shown", "live"):
        assert list(sinks[name].deliver([note])) == [None]
        sinks[name].close()
    assert sorted(path.name for path in tmp_path.glob("*.sqlite")) == [
        "feed.sqlite",
        "likes.sqlite",
        "notes.sqlite",
    ]
    assert said == [note]
    assert [type(SINKS[kind]) for kind in SINKS] == [type] * len(SINKS)


def test_push_knows_the_devices_of_the_in_app_sink(tmp_path: Path):
    only = project("{name: push, type: push}", "{name: in-app, type: in_app}").build_sinks()
    assert only["push"].recipients is only["in-app"]  # type: ignore[attr-defined]
    two = ["{name: a, type: in_app}", "{name: b, type: in_app}"]
    named = project("{name: push, type: push, config: {recipients: b}}", *two).build_sinks()
    assert named["push"].recipients is named["b"]  # type: ignore[attr-defined]
    alone = project("{name: push, type: push}", *two).build_sinks(tmp_path)["push"]
    assert isinstance(alone, Push)
    assert type(alone.recipients) is Recipients
    alone.recipients.register_device("ann", "t")
    assert [path.name for path in tmp_path.glob("*.sqlite")] == ["push.sqlite"]
    own = project("{name: push, type: push, config: {path: d.sqlite}}", two[0]).build_sinks(tmp_path)["push"]
    assert isinstance(own, Push)
    assert type(own.recipients) is Recipients


def test_the_program_may_hand_over_sinks_and_counters_start_from_the_graph():
    mine = Frame()
    graph = fd.EntityGraph({"post": {"p1": {"likes": 41}}})
    given = project(*EVERY[:3]).build_sinks(custom={"in-app": mine, "feed": print}, graph=graph)
    assert given["in-app"] is mine
    assert isinstance(given["feed"], Custom)
    likes = given["likes"]
    assert isinstance(likes, Counter)
    assert likes.value("post", "p1") == 41


@pytest.mark.parametrize(
    "name", ["../x", "/tmp/x", "..", ".", "a/b", "a\\b", "ü ☃", "x" * 500, "con.txt", "~"]
)
def test_no_name_leads_out_of_the_folder(name: str, tmp_path: Path):
    folder = tmp_path / "inner"
    folder.mkdir()
    sinks = Project(sinks=(SinkConfig(name, "counter", {"field": "n"}),)).build_sinks(folder)
    sinks[name].open()
    sinks[name].close()
    assert [path.parent for path in tmp_path.rglob("*.sqlite")] == [folder]
    assert not any(path.name.startswith(".") for path in folder.iterdir())


@pytest.mark.parametrize(
    ("sink", "what", "place", "more"),
    [
        ("{name: s, type: webhook, config: {urll: 'https://x'}}", "webhook has no key 'urll'", "text:5:39", "did you mean 'url'?"),
        ("{name: s, type: in_app, config: {kept: 5}}", "in_app has no key 'kept'", "text:5:38", "keep"),
        ("{name: s, type: frame, config: {a: 5}}", "frame has no key 'a'", "text:5:37", None),
        ("{name: s, type: in_app, config: {keep: many}}", "in_app: keep is text", "text:5:44", "a whole number"),
        ("{name: s, type: in_app, config: {keep: 0}}", "in_app: keep is 0", "text:5:44", "at least 1"),
        ("{name: s, type: web_socket, config: {port: 70000}}", "web_socket: port is 70000", "text:5:48", "at most 65535"),
        ("{name: s, type: counter, config: {operation: ad}}", "counter: operation 'ad' is not known", "text:5:50", "did you mean 'add'?"),
        ("{name: s, type: webhook, config: {url: 'x.org'}}", "url is not a URL of a web server", "text:5:44", "https://"),
        ("{name: s, type: webhook, config: {url: 'https://x', headers: {A: 5}}}", "webhook: headers 'A' is a whole number", "text:5:70", "text"),
        ("{name: s, type: webhook, config: {url: 'https://x', timeout: soon}}", "webhook: timeout is 'soon'", "text:5:66", "10s"),
        ("{name: s, type: webhook, config: {url: 'https://x/{{ payload.id }}'}}", "url has braces", "text:5:44", "env.NAME"),
        ("{name: s, type: web_socket, config: {host: 0.0.0.0, public: true}}", "anyone could listen", "text:5:41", "tokens"),
        ("{name: s, type: in_ap}", "a sink: type 'in_ap' is not known", "text:5:21", "did you mean 'in_app'?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_where_it_stands(sink: str, what: str, place: str, more: str | None):
    (problem,) = refused(sink)
    assert what in problem.what
    assert problem.place == place
    assert more is None or more in str(problem)


def test_everything_that_is_wrong_is_said_at_once():
    problems = refused(
        "{name: a, type: in_app, config: {kept: 5, keep: x}}", "{name: b, type: webhook, config: {urll: x}}"
    )
    assert [problem.place for problem in problems] == ["text:5:38", "text:5:53", "text:6:39"]


def test_null_is_what_is_not_given():
    sinks = project(
        "{name: hook, type: webhook, config: {url: 'https://x.org', headers: null, attempts: ~}}"
    ).build_sinks()
    assert repr(sinks["hook"]) == "Webhook('https://x.org')"


def test_production_reads_configurations_as_it_always_did():
    given = text("{name: s, type: in_app, config: {anything: 5}}")
    assert fd.load(given, target="this-rs").sinks[0].config == {"anything": 5}
    with pytest.raises(fd.LoadError, match="type 'frame' is not known"):
        fd.load(text("{name: s, type: frame}"), target="this-rs")


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: project("{name: s, type: custom}").build_sinks(), "sink 's': it is custom"),
        (
            lambda: project("{name: s, type: custom}").build_sinks(custom={"t": print}),
            "there is no such sink",
        ),
        (lambda: project("{name: s, type: custom}").build_sinks(custom={"s": 5}), "an int is not a function"),
        (lambda: project("{name: s, type: webhook}").build_sinks(), "sink 's': webhook needs 'url'"),
        (
            lambda: project("{name: p, type: push, config: {recipients: x}}", EVERY[0]).build_sinks(),
            "there is no in_app sink 'x'",
        ),
        (
            lambda: project(
                "{name: p, type: push, config: {recipients: in-app, path: x}}", EVERY[0]
            ).build_sinks(),
            "both recipients and path",
        ),
        (
            lambda: Project(sinks=(SinkConfig("s", "in_app", {"kept": 5}),)).build_sinks(),
            "config.kept: in_app has no key 'kept'",
        ),
    ],
)
def test_what_cannot_be_built_is_said_with_the_sinks_name(build: Callable[[], Any], said: str):
    with pytest.raises(fd.SinkError, match=said):
        build()


def test_a_secret_that_is_written_out_shows_in_no_repr():
    given = project(
        "{name: s, type: webhook, config: {url: 'https://x.org/s3cr3t', headers: {Authorization: s3cr3t}}}"
    )
    for shown in (given, given.sinks, given.build_sinks(), given.build_sinks()["s"]):
        assert "s3cr3t" not in repr(shown)
    # what the author wrote stays in the author's file
    assert "s3cr3t" in given.to_yaml()
