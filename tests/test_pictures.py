"""Pictures of flows, projects and results: what is drawn, that it can be read by everybody, and that it is always the same."""

from __future__ import annotations

import itertools
import os
import re
import xml.etree.ElementTree as ET
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowdsl as fd
from flowdsl import Flow, on, var
from flowdsl.diagrams.crossings import order_nodes
from flowdsl.diagrams.diagram import Annotation, Diagram, FlowDiagram, Outflow
from flowdsl.diagrams.flows import flow_chain, flow_diagram
from flowdsl.diagrams.lane_layout import draw_lanes
from flowdsl.diagrams.palette import DARK, FAMILIES, LEAVES, LIGHT, TONES
from flowdsl.diagrams.picture import Picture
from flowdsl.diagrams.text_width import elide_text, printable, width, wrap_text
from tests.contrast import contrast

GOLDEN = Path(__file__).parent / "golden" / "pictures"
SVG = "{http://www.w3.org/2000/svg}"
LIKE = (
    on("link.created", link_type="likes", name="notify-like", description="tell authors about likes")
    .resolve("target_id", via="owns", direction="reverse", as_="owner")
    .where(var.source_id != var.owner.id)
    .deduplicate("source_id", window="1h")
    .batch("target_id", window="5m")
    .map(recipient_id="{{ owner.id }}", title="{{ batch.count }} liked it")
    .deliver("in-app", "push")
)
FEED = (
    on("entity.created", entity_type="post", name="feed-update")
    .fan_out("data.author_id", via="follows", direction="reverse", as_="follower")
    .rate_limit(100, per="1m", key="follower_id")
    .map(recipient_id="{{ follower_id }}")
    .deliver("feed")
)
HOSTILE = [
    "<script>alert(1)</script>", '"quoted" & \'quoted\'', "x" * 5_000, "\u05e9\u05dc\u05d5\u05dd \u202eturned\u202c",
    "👩‍👩‍👧 family 🎉", "a\x00b\x1b[31m\x7f\x85", "line\nbreak\ttab", "]]> --> %%{init: {}}%%", "\ud800 \ufffe \ufdd0",
    "`tick` $x$ #35; &lt;", " ", "end", "日本語" * 40, "é" + "\u0301" * 500,
]  # fmt: skip


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in parsed(svg).iter(f"{SVG}text")]


def groups(svg: str, name: str) -> list[str]:
    """The titles of the groups of a kind."""
    return [
        group.findtext(f"{SVG}title", "") for group in parsed(svg).iter(f"{SVG}g") if name in group.get("class", "").split()
    ]  # fmt: skip


def history(*events: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"timestamp": f"2026-01-01T00:00:{t:02}Z", "event": event} for t, event in enumerate(events)]


@pytest.fixture(scope="module")
def result() -> fd.Result:
    likes = [fd.link_created("likes", user, "p1") for user in ("ann", "bob", "eve", "ann")]
    nowhere = [fd.link_created("likes", "ann", "p2")]
    posts = [
        fd.entity_created("post", "p1", {"author_id": "eve"}),
        fd.entity_created("post", "p3", {"author_id": "x"}),
    ]
    follows = [fd.link_created("follows", user, "eve") for user in ("ann", "bob")]
    owner = [fd.entity_created("user", "eve", {}), fd.link_created("owns", "eve", "p1")]
    return fd.replay([LIKE, FEED], history(*owner, *follows, *posts, *likes, *nowhere), progress=False)


def test_a_flow_is_drawn_with_every_step_and_its_sinks():
    svg = LIKE.picture().svg
    assert groups(svg, "trigger") == ["trigger: on('link.created', link_type='likes')"]
    assert groups(svg, "step") == [f"step {number}: {step.text}" for number, step in enumerate(LIKE.steps)]
    assert groups(svg, "sink") == ["sink in-app", "sink push"]
    assert {
        "notify-like",
        "tell authors about likes",
        "target_id ←owns– owner",
        "source_id != owner.id",
    } <= set(texts(svg))


def test_a_project_is_drawn_with_each_shared_sink_once():
    project = fd.Project((LIKE, FEED, LIKE.named("again")), ())
    svg = project.picture().svg
    assert groups(svg, "flow") == [
        "notify-like: tell authors about likes",
        "feed-update",
        "again: tell authors about likes",
    ]
    assert sorted(groups(svg, "sink")) == ["sink feed", "sink in-app", "sink push"]
    assert sorted(groups(svg, "edge")) == ["to feed", *["to in-app"] * 2, *["to push"] * 2]


def test_a_sink_says_its_type_where_the_project_knows_it():
    project = fd.load("""
events:
  flows:
    - {name: f, trigger: {kind: link.created}, pipeline: [{map: {template: {a: b}}}, {deliver: {sink: in-app}}]}
sinks: [{name: in-app, type: in_app}]
""")
    assert "in_app" in texts(project.picture().svg)


def test_a_result_is_drawn_with_the_counts_of_its_steps(result: fd.Result):
    svg = result.picture().svg
    assert set(groups(svg, "exit")) == {
        "1 contexts dropped: filtered", "1 contexts dropped: duplicate", "1 contexts absorbed: into batches",
        "1 contexts failed: no 'owns' link to 'target_id'", "1 contexts dropped: no links",
        "1 contexts more contexts: more by branching",
    }  # fmt: skip
    # every count that is written is one of the table of steps, and the other way round
    written = {int(text) for text in texts(svg) if re.fullmatch(r"\d+", text)}
    steps = result.steps
    assert written >= {*steps["entered"], *result.deliveries.groupby("sink").size()}


def test_edges_are_as_wide_as_their_volume():
    flow = on("link.created", name="f").where(var.source_id == "ann").map(a=1).deliver("s")
    events = history(*(fd.link_created("likes", user, "p") for user in ["ann"] * 4 + ["bob"] * 12))
    svg = fd.replay(flow, events, progress=False).picture().svg
    widths = [
        float(path.get("stroke-width", 0)) for path in parsed(svg).iter(f"{SVG}path") if "s-band" in path.get("class", "")
    ]  # fmt: skip
    # 16 entered, then 4: by the root that is half of what a thread of nothing leaves
    assert widths[0] == 13
    assert widths[1] == pytest.approx(1.5 + 11.5 / 2, abs=0.06)


def test_a_result_that_was_read_back_has_the_same_picture(result: fd.Result, tmp_path: Path):
    result.to_parquet(tmp_path / "result")
    assert fd.read_result(tmp_path / "result").picture().svg == result.picture().svg


def test_many_causes_of_failures_are_told_together():
    flow = on("link.created", name="f").map(a="{{ metadata.x | int }}").deliver("s")
    words = ["a", "b", "c", "d", "e", "e", "e", "f"]
    events = history(*(fd.link_created("l", "a", "b", metadata={"x": [w, {w: w}]}) for w in words))
    picture = fd.replay(flow, events, progress=False).picture()
    failed = [
        way.mark.label
        for node in picture.diagram.chains[0].nodes
        for way in node.exits
        if way.leave == "failed"
    ]
    assert sum(map(int, failed)) == 8
    assert len(failed) <= 4


def test_a_picture_is_the_same_every_time(result: fd.Result):
    for made in (LIKE.picture, fd.Project((LIKE, FEED)).picture, result.picture):
        assert (made().svg, made().mermaid, made().text) == (made().svg, made().mermaid, made().text)


@pytest.mark.parametrize("name", ["flow", "project", "result", "result-of-one"])
def test_pictures_are_the_golden_ones(name: str, result: fd.Result):
    """`FLOWDSL_GOLDEN=write` writes them anew: look at them then."""
    project = fd.load(GOLDEN.parents[2] / "data" / "flows.yaml")
    made = {
        "flow": lambda: project["notify-like"].picture(),
        "project": project.picture,
        "result": result.picture,
        "result-of-one": lambda: fd.replay(LIKE, result.options.source, progress=False).picture(),
    }[name]()
    for ending in ("svg", "mmd", "txt"):
        file = GOLDEN / f"{name}.{ending}"
        if os.environ.get("FLOWDSL_GOLDEN") == "write":
            GOLDEN.mkdir(parents=True, exist_ok=True)
            made.save(file)
        assert getattr(made, {"mmd": "mermaid", "txt": "text"}.get(ending, ending)) == file.read_text("utf-8")


def test_pictures_have_text_alternatives_and_names_of_their_own():
    roots = [parsed(flow.picture().svg) for flow in (LIKE, FEED)]
    seen: list[str] = []
    for root in roots:
        assert root.get("role") == "img"
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        assert root.get("aria-labelledby") == " ".join(filter(None, ids))
        seen += filter(None, ids)
        style = root.findtext(f"{SVG}style", "")
        # no rule reaches what stands around the picture
        rules = re.findall(
            r"([^{}]+)\{[^{}]*\}", style.replace("@media screen and (prefers-color-scheme:dark){", "")
        )
        assert all(rule.startswith(f".{root.get('class')} ") for rule in rules)
    assert len(set(seen)) == len(seen) == 4
    assert roots[0].findtext(f"{SVG}title") == "Flow notify-like"
    assert "source_id != owner.id" in roots[0].findtext(f"{SVG}desc", "")


def test_nothing_in_a_picture_runs_or_is_fetched(result: fd.Result):
    for svg in (LIKE.picture().svg, result.picture().svg):
        root = parsed(svg)
        tags = {element.tag.removeprefix(SVG) for element in root.iter()}
        assert tags <= {"svg", "title", "desc", "style", "g", "rect", "path", "text"}
        names = {name for element in root.iter() for name in element.attrib}
        assert not {name for name in names if name.startswith("on") or "href" in name}
        assert "url(" not in svg
        assert "@import" not in svg
        assert "http" not in svg.replace('xmlns="http://www.w3.org/2000/svg"', "")


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_shown_as_text(name: str):
    chain = flow_chain(LIKE)
    marked = chain.marked(
        exits={1: [Outflow("failed", name, Annotation("1", 1))]},
        targets={(5, "in-app"): Annotation(name, 2)},
        into={2: Annotation(name, 2)},
    )
    flows = [
        Diagram(name, (marked,)),
        flow_diagram(
            [Flow(LIKE.trigger, LIKE.steps, name, name), FEED.deliver(name if name.strip() else "x")],
            {name: name},
        ),
    ]
    for diagram in flows:
        picture = Picture(diagram)
        root = parsed(picture.svg)
        assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
            "svg", "title", "desc", "style", "g", "rect", "path", "text"
        }  # fmt: skip
        assert float(root.get("width", 0)) <= 1_100
        for text in (picture.svg, picture.mermaid, picture.text):
            text.encode()
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
        assert "<script" not in picture.svg
        assert "<script" not in picture.mermaid
        assert "%%{" not in picture.mermaid
        assert len(picture.text) < 20_000
        assert 'alt="' in picture.html
        assert "<script" not in picture.html


@given(st.text(max_size=80), st.floats(20, 300))
def test_what_is_cut_fits_its_room(text: str, room: float):
    for mono in (True, False):
        cut = elide_text(text, room, 11, mono=mono)
        assert width(cut, 11, mono=mono) <= room
        assert cut == printable(text) or cut.endswith("…")
    lines = wrap_text(text, room, 11, 2, mono=True)
    assert len(lines) <= 2
    assert all(width(line, 11, mono=True) <= room for line in lines)


def boxes(svg: str) -> list[tuple[float, float, float, float]]:
    """The cards of a picture, as left, top, right, bottom."""
    found = []
    for rect in parsed(svg).iter(f"{SVG}rect"):
        if "card" in rect.get("class", "").split():
            x, y, wide, tall = (float(rect.get(name, 0)) for name in ("x", "y", "width", "height"))
            found.append((x, y, x + wide, y + tall))
    return found


def long_flow(steps: int, name: str = "long") -> Flow:
    flow = on("link.created", name=name)
    for number in range(steps - 2):
        flow = flow.where(f"metadata.field_{number} != 'something that is rather long, {number}'")
    return flow.map(title="x").deliver("in-app")


@pytest.mark.parametrize(
    "picture",
    [
        lambda: long_flow(40).picture(),
        lambda: fd.Project(tuple(long_flow(3 + n % 9, f"flow {n}") for n in range(30))).picture(),
        lambda: fd.Project((long_flow(40), FEED, LIKE)).picture(),
        lambda: Picture(
            flow_diagram(
                [on("link.created", name="wide").map(a=1).deliver(*(f"sink {n}" for n in range(12)))]
            )
        ),
    ],
    ids=["40 steps", "30 flows", "40 steps beside others", "12 sinks"],
)
def test_no_cards_overlap_and_none_leaves_the_picture(picture):
    svg = picture().svg
    root = parsed(svg)
    wide, tall = float(root.get("width", 0)), float(root.get("height", 0))
    cards = boxes(svg)
    for left, top, right, bottom in cards:
        assert left >= 0
        assert top >= 0
        assert right <= wide
        assert bottom <= tall
    for (l1, t1, r1, b1), (l2, t2, r2, b2) in itertools.combinations(cards, 2):
        assert r1 <= l2 or r2 <= l1 or b1 <= t2 or b2 <= t1
    # it fits the width of a notebook, at the size of text that it was drawn for
    assert wide <= 1_100


def crowded() -> FlowDiagram:
    ways = [Outflow("failed", f"cause {n}", Annotation("7", 7)) for n in range(6)]
    marks = {number: Annotation("1,000", 1_000) for number in range(6)}
    return flow_chain(LIKE).marked(exits=dict.fromkeys(range(5), ways), into=marks)


def test_no_two_ways_out_stand_on_one_another():
    for diagram in (Diagram("column", (crowded(),)), Diagram("lanes", (crowded(), crowded()))):
        root = parsed(Picture(diagram).svg)
        reasons = [text for text in root.iter(f"{SVG}text") if (text.text or "").startswith("cause")]
        assert len(reasons) == 30 * len(diagram.chains)
        places = [
            (float(text.get("x", 0)), float(text.get("y", 0)), width(text.text or "", 11.5))
            for text in reasons
        ]
        for (x1, y1, w1), (x2, y2, w2) in itertools.combinations(places, 2):
            assert abs(y1 - y2) >= 16 or x1 + w1 <= x2 or x2 + w2 <= x1


def test_texts_stay_inside_of_the_picture(result: fd.Result):
    several = fd.Project((LIKE, FEED)).picture()
    for svg in (long_flow(40).picture().svg, result.picture().svg, several.svg, several.narrow):
        root = parsed(svg)
        for text in root.iter(f"{SVG}text"):
            mono = "m" in text.get("class", "").split()
            bold = "b" in text.get("class", "").split()
            size = float(text.get("font-size", 0))
            room = width(text.text or "", size, mono=mono, bold=bold)
            start = float(text.get("x", 0)) - {"middle": room / 2, "end": room}.get(
                text.get("text-anchor", ""), 0
            )
            assert start >= 0
            assert start + room <= float(root.get("width", 0))


def test_sinks_are_ordered_so_that_few_edges_cross():
    flows = [
        on("link.created", name=str(n)).map(a=1).deliver(s) for n, s in enumerate(["c", "b", "a", "b", "c"])
    ]
    diagram = flow_diagram(flows)
    graph = diagram.graph()
    givers = [(flow, 2) for flow in range(5)]
    written = [("sink", sink.name) for sink in diagram.sinks]
    order = order_nodes(graph, givers, written)

    def crossings(order):
        ends = [(givers.index(giver), order.index(sink)) for giver, sink in graph.edges if sink in order]
        return sum(a < c and b > d for (a, b), (c, d) in itertools.permutations(ends, 2))

    assert crossings(order) == min(map(crossings, itertools.permutations(written)))
    assert draw_lanes(diagram)[1] > 0


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_can_be_told_from_their_ground(scheme: dict[str, str]):
    for ground in ("paper", "lane", "card"):
        for ink in ("ink", "soft", *LEAVES, *TONES):
            assert contrast(scheme[ink], scheme[ground]) >= 4.5, (ink, ground)
        assert contrast(scheme["band"], scheme[ground]) >= 3, ground
    for family in FAMILIES:
        assert contrast(scheme[family], scheme["card"]) >= 4.5, family


def test_print_is_light():
    assert "@media screen and (prefers-color-scheme:dark)" in LIKE.picture().svg
    assert LIKE.picture().svg.count("@media") == 1


def test_mermaid_has_the_nodes_and_edges(result: fd.Result):
    text = LIKE.picture().mermaid
    assert text.startswith("flowchart TD\n")
    assert 'f0s1{{"where<br/>source_id != owner.id"}}' in text
    assert "f0s5 --> sink0" in text
    assert '-->|"5"|' in result.picture().mermaid


def test_a_picture_is_saved_by_the_ending_of_its_name(tmp_path: Path):
    picture = LIKE.picture()
    for name, text in (("a.svg", picture.svg), ("a.mmd", picture.mermaid), ("a.txt", picture.text)):
        picture.save(tmp_path / name)
        assert (tmp_path / name).read_text("utf-8") == text
    with pytest.raises(fd.DataError, match=r"cannot be written as '\.png'"):
        picture.save(tmp_path / "a.png")


def test_a_notebook_shows_the_picture_and_the_text():
    project = fd.Project((LIKE, FEED))
    for shown, text in ((LIKE, str(LIKE)), (project, str(project)), (LIKE.picture(), LIKE.picture().text)):
        bundle = shown._repr_mimebundle_()
        # Mermaid would win over the picture in JupyterLab
        assert set(bundle) == {"text/plain", "image/svg+xml", "text/html"}
        assert bundle["text/plain"] == text
        data = re.search(
            r'<img class="fd-image" alt="[^"]*" src="data:image/svg\+xml;base64,([^"]*)"[^<>]*>',
            bundle["text/html"],
        )
        assert data is not None
        assert b64decode(data[1]).decode() == bundle["image/svg+xml"]


def test_a_narrow_screen_shows_several_flows_below_one_another(result: fd.Result):
    picture = fd.Project((LIKE, FEED)).picture()
    assert LIKE.picture().narrow is None
    assert picture.narrow is not None
    assert float(parsed(picture.narrow).get("width", 0)) <= 640
    assert [
        title.text for title in parsed(picture.narrow).iterfind(f".//{SVG}g[@class='flow']/{SVG}title")
    ] == [
        title.text.partition(":")[0]
        for title in parsed(picture.svg).iterfind(f".//{SVG}g[@class='flow']/{SVG}title")
    ]
    source = re.search(
        r'<picture><source media="\(max-width: 640px\)" srcset="data:image/svg\+xml;base64,([^"]*)"><img',
        picture.html,
    )
    assert source is not None
    assert b64decode(source[1]).decode() == picture.narrow


def test_a_narrow_screen_shows_what_leaves_a_step_below_it(result: fd.Result):
    picture = fd.replay(LIKE, result.options.source, progress=False).picture()
    assert picture.narrow is not None
    assert float(parsed(picture.narrow).get("width", 0)) <= 400 < float(parsed(picture.svg).get("width", 0))
    # nothing is left out or cut
    assert " ".join(texts(picture.narrow)).split() == " ".join(texts(picture.svg)).split()


def test_what_cannot_be_drawn_is_not_hidden(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flowdsl.diagrams.flows.operator_graph", lambda flow: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        LIKE._repr_mimebundle_()


def test_a_project_without_flows_has_a_picture():
    picture = fd.Project(()).picture()
    assert parsed(picture.svg).get("role") == "img"
    assert picture.text == "0 flows"


def test_others_can_write_what_they_like_at_nodes_and_edges():
    chain = flow_chain(LIKE).marked(
        into={1: Annotation("12 → 15", 15, "changed")},
        nodes={2: Annotation("new", tone="added")},
        targets={(5, "in-app"): Annotation("3 → 0", 3, "removed")},
        exits={1: [Outflow("dropped", "filtered", Annotation("4 → 1", 4, "changed"))]},
    )
    for diagram in (Diagram("two versions", (chain,)), Diagram("two versions", (chain, chain))):
        picture = Picture(diagram)
        assert {"12 → 15", "new", "3 → 0", "4 → 1"} <= set(texts(picture.svg))
        assert "12 → 15" in picture.mermaid
        assert "⊘ 4 → 1 filtered" in picture.text
