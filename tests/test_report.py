"""The report as a page and as text: what stands in it, that it opens anywhere, and that hostile names stay text."""

from __future__ import annotations

import os
import re
import time
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from event_tables import log_of

import flowdsl as fd
from flowdsl import on
from flowdsl.cli.main import main
from flowdsl.reports.page import render_style
from flowdsl.results.store import MemoryStore, TablePart

GOLDEN = Path(__file__).parent / "golden" / "report"
VOID = {"wbr", "meta", "br", "img", "hr", "link"}
HOSTILE = [
    "<script>window.hacked=1</script>", '"><img src=x onerror="window.hacked=1">', "</style><script>window.hacked=1</script>",
    "x" * 3_000, "\u05e9\u05dc\u05d5\u05dd \u202eturned", "👩‍👩‍👧 é", "a'b&amp;<b>", "]]>--><!--", "\x00\x1b[31m\x85",
]  # fmt: skip


class Page(HTMLParser):
    """A page taken apart: its texts, elements and attributes; tags that do not fit are an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def history() -> list[dict[str, Any]]:
    return log_of("""
        at    | kind           | type    | source | target | id | data
        0     | entity.created | user    | -      | -      | ann | {"name": "Ann"}
        0     | entity.created | user    | -      | -      | bob | {"name": "Bob <b>"}
        1     | link.created   | follows | bob    | ann    | f1 | -
        2     | link.created   | follows | eve    | ann    | f2 | -
        3     | entity.created | post    | -      | -      | p1 | {"author_id": "ann"}
        10    | link.created   | likes   | bob    | p1     | -  | -
        20    | link.created   | likes   | ann    | p1     | -  | -
        90000 | link.created   | likes   | bob    | p1     | -  | -
        90010 | link.created   | likes   | zoe    | p1     | -  | -
        90005 | link.created   | likes   | bob    | p1     | -  | -
    """)


def flows() -> list[fd.Flow]:
    like = (
        on(
            "link.created",
            link_type="likes",
            name="notify-like",
            description="likes of an hour, told together",
        )
        .where("source_id != 'ann'")
        .resolve("source_id", as_="fan", type="user")
        .batch("target_id", window="1h")
        .map(
            recipient_id="ann",
            title="{{ fan.name }} and {{ batch.count - 1 }} more",
            count="{{ batch.count }}",
        )
        .deliver("in-app", "push")
    )
    feed = (
        on("entity.created", entity_type="post", name="feed-update")
        .fan_out("data.author_id", via="follows", direction="reverse", as_="follower")
        .map(recipient_id="{{ follower_id }}", post="{{ entity_id }}")
        .deliver("feed")
    )
    return [like, feed]


@pytest.fixture(scope="module")
def result() -> fd.Result:
    return fd.replay(flows(), history(), progress=False)


def shown(result: fd.Result) -> Page:
    return Page(result.report().html)


# -- what stands in it --------------------------------------------------------------------------------


def test_the_report_says_what_matters_first(result: fd.Result):
    text = shown(result).text
    order = [
        "Replay of notify-like and feed-update", "10 events, 2026-01-01 00:00 to 2026-01-02 01:00 (UTC)",
        "1 context failed at “notify-like”, step 1 (resolve): no entity of type 'user' has the id in 'source_id'",
        "“Ann” gets the most: 4 deliveries", "1 event came late, the latest by 5 s",
        "Flows", "Deliveries over time", "Deliveries per person", "Who gets most", "Latency", "Fan-out sizes",
        "What was not delivered", "Samples of payloads",
    ]  # fmt: skip
    places = [text.index(said) for said in order]
    assert places == sorted(places)


def test_the_picture_with_counts_and_the_charts_are_in_it(result: fd.Result):
    page = shown(result)
    assert result.picture().svg in result.report().html
    charts = [a for tag, a in page.elements if tag == "svg" and a.get("class") == "chart"]
    # each for a wide screen and for a narrow one
    assert [chart["aria-label"] for chart in charts] == [
        title
        for title in (
            *(f"deliveries to {sink} over time" for sink in ("in-app", "push", "feed")),
            "people by the number of deliveries that each gets",
        )
        for _ in range(2)
    ]
    assert [chart["width"] for chart in charts] == ["980", "400"] * 4
    assert {chart["role"] for chart in charts} == {"img"}
    assert "deliveries in each 15 min" in page.text


def test_errors_stand_by_cause_with_an_example(result: fd.Result):
    text = shown(result).text
    assert "no entity of type 'user' has the id in 'source_id' the first: event 9" in text
    assert "source_id zoe" in text
    assert "Failed: 1 context" in text


def test_payloads_stand_as_they_were_rendered(result: fd.Result):
    text = shown(result).text
    assert "Bob <b> and 1 more" in text
    assert "to Ann user ann , 2026-01-02 02:00:00, event 10" in text


def test_the_text_is_short(result: fd.Result):
    lines = result.report().text.splitlines()
    assert lines[0] == "10 events, 2026-01-01 00:00 to 2026-01-02 01:00 UTC: 6 deliveries to 3 people"
    assert lines[2].startswith("! 1 context failed at “notify-like”, step 1 (resolve)")
    figures = {line.split("  ")[0]: line.split()[-5:] for line in lines}
    assert figures["in-app"] == ["2", "2", "2", "2", "1"]
    assert [line.split("  ")[0] for line in lines if "95 of 100" in line] == ["sink", "latency", "fan-out"]
    assert any(re.fullmatch("notify-like +59.9 min +1 h +1 h", line) for line in lines)
    assert str(result.report()) == result.report().text
    assert repr(result.report()) == "<Report of 6 deliveries>"


def test_a_flow_that_delivers_nothing_is_named_with_where_it_ran_dry():
    dry = (
        on("link.created", link_type="likes", name="dry")
        .where("source_id == 'nobody'")
        .map(a="1")
        .deliver("s")
    )
    none = on("entity.deleted", name="none").map(a="1").deliver("s")
    text = fd.replay([dry, none], history()).report().text
    assert "! “dry” delivered nothing: none of 5 contexts passed step 0, where('source_id == \"nobody\"') (5 filtered)" in text  # fmt: skip
    assert "! “none” delivered nothing: no event matched on('entity.deleted')" in text


def test_what_sinks_could_not_take_is_told():
    class Full(fd.sinks.Sink):
        def deliver(self, deliveries: Any) -> Any:
            raise ValueError("the mailbox is full")

    flow = on("link.created", link_type="likes", name="f").map(title="x").deliver("mail")
    result = fd.replay(flow, history(), sinks={"mail": Full()}, dispatch=True)
    assert len(result.undelivered) == 5
    report = result.report()
    assert "! “mail” could not take 5 deliveries: " in report.text
    assert "the mailbox is full" in Page(report.html).text


def test_of_many_flows_only_the_first_are_shown_at_once():
    many = [
        on("link.created", link_type="likes", name=f"flow {n}").where(f"source_id != 'u{n}'").map(title="x").deliver(f"s{n}")
        for n in range(30)
    ]  # fmt: skip
    result = fd.replay(many, history())
    page = Page(result.report().html)
    assert "Replay of 30 flows" in page.text
    assert "the picture of 30 flows with their counts" in page.text
    assert "… and 18 sinks more" in page.text
    assert "29 more steps" in page.text
    assert len(result.report().html) < 400_000


def test_windows_left_open_are_told():
    text = Page(fd.replay(flows(), history(), open_windows="keep").report().html).text
    assert "Left open at the end" in text
    assert "2026-01-02 02:00:00" in text


def test_an_empty_result_has_a_report():
    flow = on("link.created", name="empty").map(title="x").deliver("s")
    report = fd.replay(flow, fd.MemoryEventLog()).report()
    assert "The log has no events." in Page(report.html).text
    assert report.text.splitlines()[0] == "0 events: 0 deliveries to 0 people"


# -- a file that opens anywhere -----------------------------------------------------------------------


def test_the_page_needs_nothing_beside_itself(result: fd.Result):
    html = result.report().html
    page = Page(html)
    assert html.startswith("<!doctype html>")
    assert not {tag for tag, _ in page.elements} & {
        "script",
        "link",
        "iframe",
        "object",
        "embed",
        "form",
        "base",
        "img",
    }
    assert not [
        a for _, attributes in page.elements for a in attributes if a.startswith("on") or a in ("href", "src")
    ]
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", html)
    policy = next(a["content"] for tag, a in page.elements if tag == "meta" and "http-equiv" in a)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_every_id_is_there_once_and_every_svg_is_well_formed(result: fd.Result):
    html = result.report().html
    ids = [a["id"] for _, a in Page(html).elements if "id" in a]
    assert len(ids) == len(set(ids))
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        root = ET.fromstring(svg)
        assert root.findtext("{http://www.w3.org/2000/svg}title")


def test_styles_reach_nothing_but_the_report():
    style = render_style()
    rules = re.findall(r"([^{}@]+)\{[^{}]*\}", re.sub(r"@(media|container)[^{]*\{", "", style))
    assert rules
    for rule in rules:
        for selector in rule.split(","):
            assert ".fd-report.fd-report" in selector or ".fd-view.fd-view" in selector, selector


def test_the_page_is_the_golden_one(result: fd.Result):
    """`FLOWDSL_GOLDEN=write` writes it anew: look at it then. The picture has golden files of its own."""
    report, drawn = result.report(), "<svg><title>the picture</title></svg>"
    made = {
        "small.html": report.html.replace(result.picture().svg, drawn).replace(
            result.picture().narrow, drawn
        ),
        "small.txt": report.text + "\n",
    }
    for name, text in made.items():
        if os.environ.get("FLOWDSL_GOLDEN") == "write":
            GOLDEN.mkdir(parents=True, exist_ok=True)
            (GOLDEN / name).write_text(text, "utf-8")
        assert text == (GOLDEN / name).read_text("utf-8")


def test_the_report_is_written_and_given_back(result: fd.Result, tmp_path: Path):
    report = result.report(tmp_path / "report.html")
    assert report is result.report()
    assert (tmp_path / "report.html").read_bytes() == report.html.encode()


@pytest.mark.parametrize("path", ["none/report.html", ".", "a\0b", "file/report.html"])
def test_a_path_that_cannot_be_written_is_a_data_error(
    result: fd.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(fd.DataError, match="the report cannot be written to"):
        result.report(path)


def test_a_path_that_is_none_is_a_data_error(result: fd.Result):
    with pytest.raises(fd.DataError, match="a path is an int"):
        result.report(7)  # type: ignore[arg-type]


# -- hostile names ------------------------------------------------------------------------------------


def hostile_result() -> fd.Result:
    """Names that are not good as flows, sinks, fields, recipients, values, causes and kinds of links."""
    log = fd.MemoryEventLog()
    for minute in range(6):
        for name in HOSTILE:
            event = fd.link_created(name, name, name, metadata={name: name})
            log.append(event, timestamp=f"2026-01-01T00:{minute:02}:00Z")
    made = [
        on("link.created", link_type=name, name=f"flow {name}", description=name)
        .fan_out("source_id", via=name, as_="other")
        .resolve("target_id", as_="gone", required=False)
        # the name of a field has no character 0
        .map(
            {
                name.replace("\0", ""): "{{ source_id }}",
                "recipient_id": "{{ target_id }}",
                "title": "{{ other_id }}",
            }
        )
        .deliver(f"sink {name}")
        for name in HOSTILE
    ]
    fails = (
        on("link.created", name="<i>fails</i>").resolve("source_id", as_="x").map(a="1").deliver("<u>s</u>")
    )
    return fd.replay([*made, fails], log)


def test_hostile_names_are_shown_as_text():
    html = hostile_result().report().html
    page = Page(html)
    known = {
        "html", "head", "meta", "title", "style", "body", "div", "h1", "h2", "h3", "p", "b", "span", "ul", "li", "section", "svg",
        "desc", "rect", "text", "g", "path", "line", "circle", "table", "thead", "tbody", "tr", "th", "td", "i", "code", "bdi",
        "details", "summary", "dl", "dt", "dd", "ellipse", "polygon", "tspan", "small", "wbr",
    }  # fmt: skip
    assert {tag for tag, _ in page.elements} <= known
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
    for name in HOSTILE[:3]:
        assert name in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\x85\u202e]", html)
    # what is very long is cut, with how long it is
    assert "3,000 characters" in page.text


# -- shown in a notebook ------------------------------------------------------------------------------


def test_a_result_is_shown_as_its_report(result: fd.Result):
    bundle = result._repr_mimebundle_()
    assert bundle["text/plain"] == repr(result)
    assert bundle["text/html"] == result.report()._repr_mimebundle_()["text/html"]
    assert result.report()._repr_mimebundle_()["text/plain"] == result.report().text
    assert bundle["text/html"].startswith("<div class='fd-view fd-report'><style>")
    assert "<html" not in bundle["text/html"]


def test_displaying_runs_no_flow_and_fetches_nothing(monkeypatch: pytest.MonkeyPatch):
    asked: list[Any] = []

    def users(ids: Any) -> Any:
        asked.append(ids)
        return {i: {"name": i} for i in ids}

    flow = (
        on("link.created", link_type="likes", name="f")
        .resolve("source_id", as_="fan", type="user")
        .resolve("link_id", as_="none")
        .map(title="{{ fan.name }}")
        .deliver("s")
    )
    result = fd.replay(flow, history(), fd.EntityGraph({"user": users}))
    before = len(asked)
    monkeypatch.setattr(
        "flowdsl.engine.executor.StepExecutor.run", lambda *_, **__: pytest.fail("a flow was run")
    )
    bundle = result._repr_mimebundle_()
    assert "failed" in bundle["text/html"]
    assert len(asked) == before


def test_what_goes_wrong_while_displaying_is_seen(monkeypatch: pytest.MonkeyPatch):
    result = fd.replay(flows(), history())

    def broken(*_: Any) -> Any:
        raise OSError("the disk is gone")

    monkeypatch.setattr("flowdsl.reports.report.measure", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        result._repr_mimebundle_()


# -- the command --------------------------------------------------------------------------------------


def test_replay_writes_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("flows.yaml").write_text(
        "- name: f\n  trigger: {kind: link.created}\n  pipeline:\n"
        "    - map: {template: {title: '{{ target_id }}'}}\n    - deliver: {sink: in-app}\n"
    )
    Path("events.jsonl").write_text('{"timestamp": "2026-01-01T00:00:00Z", "kind": "link.created", "link_type": "l", "source_id": "a", "target_id": "b"}\n')  # fmt: skip
    arguments = ["replay", "flows.yaml", "--log", "events.jsonl", "--report"]
    assert main([*arguments, "r.html"]) == 0
    assert "report in r.html" in capsys.readouterr().err
    assert "Replay of f" in Page(Path("r.html").read_text("utf-8")).text
    assert main([*arguments, "none/r.html"]) == 2
    assert "there is no folder 'none'" in capsys.readouterr().err
    assert main([*arguments, "."]) == 1
    assert "the report cannot be written to '.'" in capsys.readouterr().err


# -- many deliveries ----------------------------------------------------------------------------------


def test_ten_million_deliveries_are_displayed_in_two_seconds():
    """Of the time of the processor, of which two seconds are spent in less by the clock."""
    links = pl.DataFrame({"source_id": [f"user-{i:06}" for i in range(20_000)]}).with_columns(
        link_type=pl.lit("follows"), target_id=pl.lit("ann")
    )
    flow = (
        on("entity.created", name="feed")
        .fan_out("data.author_id", via="follows", direction="reverse", as_="who")
        .map(recipient_id="{{ who_id }}", title="{{ entity_id }} is there for {{ who_id }}")
        .deliver("feed")
    )
    log = [
        {"timestamp": f"2026-01-01T{hour:02}:{minute:02}:00Z", "event": fd.entity_created("post", f"p{hour}", {"author_id": "ann"})}
        for hour in range(10) for minute in (0, 10, 20, 30, 40)
    ]  # fmt: skip
    once = fd.replay(flow, log, fd.EntityGraph(links=links), progress=False)
    [table] = once.store.tables()
    store = MemoryStore()
    for day in range(10):
        for part in (stored.whole() for stored in once.store.parts(table)):
            moved = part.frame.with_columns(pl.col("event_time", "delivered_at") + pl.duration(days=day))
            store.add(table, TablePart(moved, part.meta))
    many = fd.Result(store, once.manifest)
    assert sum(part.rows for part in store.parts(table)) == 10_000_000
    many.report()._repr_mimebundle_()
    again = fd.Result(store, once.manifest)
    before = time.process_time()
    shown = again._repr_mimebundle_()
    assert time.process_time() - before < 2
    [sink] = again.report().figures.sinks
    assert (sink.recipients.count, sink.recipients.deliveries.p50, sink.recipients.worst_day.max) == (
        20_000,
        500,
        50,
    )
    assert len(shown["text/html"]) < 200_000


def test_people_have_their_names_as_the_graph_has_them_at_the_end(tmp_path: Path):
    flow = on("link.created").resolve("target_id", as_="who").map(recipient_id="{{ who.id }}").deliver("push")
    graph = fd.EntityGraph({"user": {"u1": {"name": "Ann"}, "u2": {"username": "bob"}, "u3": {"age": 3}}})
    log = fd.MemoryEventLog()
    log.append([fd.link_created("likes", "x", person) for person in ("u1", "u1", "u2", "u3")])
    log.append(fd.entity_updated("user", "u1", {"name": "Anna"}))
    result = fd.replay(flow, log, graph)
    assert result.report().figures.names == {"u1": "Anna", "u2": "bob"}
    assert "“Anna” gets the most: 2 deliveries" in result.report().text
    result.to_parquet(tmp_path / "result")
    fd.replay(flow, log, graph, out=tmp_path / "out")
    for folder in ("result", "out"):
        again = fd.read_result(tmp_path / folder)
        assert again.report().html == result.report().html
        assert "“Anna” gets the most: 2 deliveries" in again.report().text
        assert again.entity_names(["u2", "u3", "u4"]).types == {"u2": "user", "u3": "user"}
    again.to_parquet(tmp_path / "copy")
    assert fd.read_result(tmp_path / "copy").report().html == result.report().html


def test_ids_in_payloads_have_their_names_when_a_result_is_read_back(tmp_path: Path):
    flow = on("link.created").map(recipient_id="{{ source_id }}", post="{{ target_id }}").deliver("push")
    graph = fd.EntityGraph({"user": {"u1": {"name": "Ann"}}, "post": {"p1": {"title": "Moss"}}})
    log = fd.MemoryEventLog()
    log.append([fd.link_created("likes", "u1", "p1"), fd.link_created("likes", "nobody", "p1")])
    fd.replay(flow, log, graph, out=tmp_path / "out")
    figures = fd.read_result(tmp_path / "out").report().figures
    assert figures.names == {"u1": "Ann", "p1": "Moss"}
    assert figures.types == {"u1": "user", "p1": "post"}


def test_a_graph_that_is_small_beside_the_deliveries_is_kept_whole(tmp_path: Path):
    flow = on("link.created").map(recipient_id="{{ source_id }}").deliver("push")
    graph = fd.EntityGraph({"user": {"u1": {"name": "Ann"}, "u2": {"name": "Bob"}}})
    for times, kept in ((7, ["u1"]), (8, ["u1", "u2"])):
        fd.replay(flow, logged(*["u1"] * times), graph, out=tmp_path / str(times))
        again = fd.read_result(tmp_path / str(times))
        assert sorted(again.entity_names(["u1", "u2"]).names) == kept
        assert again.report().figures.names == {"u1": "Ann"}


def logged(*who: str, what: str = "p") -> fd.MemoryEventLog:
    log = fd.MemoryEventLog()
    log.append([fd.link_created("likes", one, what) for one in who])
    return log


def test_people_and_things_are_told_apart():
    flow = (
        on("link.created", link_type="likes")
        .map(recipient_id="{{ source_id }}", post="{{ target_id }}", about="{{ link_type }}")
        .deliver("push")
    )
    graph = fd.EntityGraph({"user": {"u1": {"name": "Ann"}}, "post": {"p1": {"title": "On moss"}}})
    report = fd.replay(flow, logged("u1", what="p1"), graph).report()
    assert report.figures.names == {"u1": "Ann", "p1": "On moss"}
    assert report.figures.types == {"u1": "user", "p1": "post"}
    text = Page(report.html).text
    assert "to Ann user u1" in text
    assert "post p1 post On moss" in text


def test_what_goes_without_saying_is_not_said():
    flow = on("link.created").map(recipient_id="{{ source_id }}", title="x").deliver("push")
    same = fd.replay(flow, logged("ann", "bob", "eve")).report()
    assert not [line for line in same.text.splitlines() if line.startswith("-")]
    several = fd.replay(flow, logged("ann", "ann", "ann", "bob", "eve")).report()
    assert "- “ann” gets the most: 3 deliveries" in several.text


def test_words_of_statistics_and_contexts_are_plain_or_explained(result: fd.Result):
    text = shown(result).text
    assert not re.search(r"\bp(50|95)\b", text)
    assert text.index("A context is an event on its way through a flow") < text.index("Failed: 1 context")


def test_long_tables_and_further_samples_are_folded():
    flow = on("link.created")
    for number in range(9):
        flow = flow.where(f"source_id != 'u{number}'")
    flows = [flow.map(title="x").deliver("push").named(name) for name in ("a", "b")]
    html = fd.replay(flows, logged(*(f"u{number}" for number in range(10)))).report().html
    assert "<summary>12 more reasons</summary>" in html
    rows = re.findall("<bdi>filtered</bdi>", html)
    assert len(rows) == 18
