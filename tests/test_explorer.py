"""`flow.explore`: pick an event, see what became of it; without a browser."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SLIPS_ARE_LIKELY, Case, cases
from test_explain import FEED

import flowdsl as fd
from flowdsl import on, var
from flowdsl.notebook import outcome_index
from flowdsl.notebook.explorer import Explorer
from flowdsl.notebook.outcome_index import OutcomeIndex

NASTY = '<script>alert("1")</script>'
FLOW = (
    on("link.created", link_type="likes", name="like")
    .resolve("target_id", via="owns", direction="reverse", as_="owner")
    .where(var.source_id != var.owner.id)
    .deduplicate("source_id", window="1h")
    .batch("target_id", window="1m")
    .map(recipient_id="{{ owner.id }}", title="{{ batch.count }} for {{ owner.name }}")
    .deliver("in-app")
)
GRAPH = fd.EntityGraph(
    {"user": {"ann": {"name": "Ann"}, "bob": {"name": "Bob"}, "eve": {"name": NASTY}}},
    [
        {"link_type": "owns", "source_id": "eve", "target_id": "p1"},
        {"link_type": "follows", "source_id": "bob", "target_id": "eve"},
        {"link_type": "follows", "source_id": "ann", "target_id": "eve"},
    ],
)


def like(second: int, user: str, post: str = "p1") -> dict[str, Any]:
    return {"timestamp": f"2026-01-01T00:00:{second:02}Z", "event": fd.link_created("likes", user, post)}


LOG = [
    like(1, "ann"),  # absorbed by 3
    like(2, "eve"),  # her own
    like(3, "bob"),  # goes on
    like(4, "ann"),  # a duplicate
    like(5, "ann", "p2"),  # nobody owns it
    {
        "timestamp": "2026-01-01T00:00:06Z",
        "event": fd.entity_created("post", "p3", {"author_id": "eve", "title": "Tea for Two"}),
    },
]


@pytest.fixture
def explorer() -> Explorer:
    return FLOW.explore(LOG, GRAPH)


def shown(explorer: Explorer) -> dict[str, Any]:
    return explorer.model.view()


def narrowed(explorer: Explorer, **filters: str) -> list[int]:
    for name, value in filters.items():
        explorer.do({"do": "filter", "name": name, "value": value})
    assert explorer.settle()
    return explorer.model.matches.tolist()


def test_it_opens_at_the_first_event_that_was_delivered_and_says_so_when_printed(explorer: Explorer):
    assert explorer.seq_no == 3
    first, _, *way = str(explorer).splitlines()
    assert first == "like: 6 events, 1 delivered, 2 dropped, 1 failed, 1 absorbed, 1 not matched"
    assert way[0].startswith("event 3: link.created likes")
    assert any("delivered" in line for line in way)


def test_the_list_shows_people_by_name_and_others_by_id(explorer: Explorer):
    ends = [[(end["name"], end["id"]) for end in row["ends"]] for row in shown(explorer)["rows"]]
    assert ends[:2] == [[("Ann", "ann"), ("p1", "p1")], [(NASTY, "eve"), ("p1", "p1")]]
    # what an event creates has a name too
    assert ends[-1] == [("Tea for Two", "p3")]
    assert shown(explorer)["detail"]["recipient"] == f"{NASTY} (user eve)"


def test_one_steps_through_the_flow_and_sees_what_is_new(explorer: Explorer):
    explorer.do({"do": "go", "where": "first"})
    seen = []
    for _ in shown(explorer)["path"]:
        view = shown(explorer)
        detail = view["detail"]
        seen.append(
            (view["path"][view["step"]]["outcome"], [v["name"] for v in detail["variables"] if v["new"]])
        )
        explorer.do({"do": "go", "where": "next"})
    assert seen == [
        ("matched", []), ("passed", ["owner"]), ("passed", []), ("passed", []), ("passed", ["batch"]), ("passed", []),
        ("delivered", []),
    ]  # fmt: skip
    explorer.do({"do": "go", "where": "next"})
    assert shown(explorer)["step"] == 6
    assert shown(explorer)["detail"]["sinks"] == ["in-app"]
    explorer.do({"do": "go", "where": "back"})
    assert '"title": "2 for <script>' in shown(explorer)["detail"]["payload"].replace("\n", "")
    explorer.do({"do": "go", "where": 2})
    assert shown(explorer)["detail"]["operands"] == [
        ["source_id != owner.id", "true"], ["source_id", '"bob"'], ["owner.id", '"eve"'],
    ]  # fmt: skip
    explorer.do({"do": "go", "where": "first"})
    explorer.do({"do": "go", "where": "back"})
    assert shown(explorer)["step"] == 0


@pytest.mark.parametrize(
    ("ending", "expected"),
    [("delivered", [3]), ("dropped", [2, 4]), ("failed", [5]), ("absorbed", [1]), ("not matched", [6])],
)
def test_events_are_listed_by_what_became_of_them(explorer: Explorer, ending: str, expected: list[int]):
    assert narrowed(explorer, ending=ending) == expected
    assert explorer.seq_no in expected


def test_endings_at_one_step_can_be_asked_for(explorer: Explorer):
    labels = [ending["label"] for ending in shown(explorer)["endings"]]
    assert labels[:3] == [
        "failed at 0 resolve", "dropped at 1 where: filtered", "dropped at 2 deduplicate: duplicate",
    ]  # fmt: skip
    assert narrowed(explorer, ending="#2") == [4]
    assert narrowed(explorer, ending="") == [1, 2, 3, 4, 5, 6]


def test_the_next_interesting_event_is_found_and_the_end_is_the_end(explorer: Explorer):
    explorer.do({"do": "seek", "forward": True, "ending": "failed"})
    assert explorer.seq_no == 5
    explorer.do({"do": "seek", "forward": True, "ending": "failed"})
    assert explorer.seq_no == 5
    explorer.do({"do": "seek", "forward": False})
    assert explorer.seq_no == 4
    explorer.do({"do": "turn", "pages": -10})
    assert explorer.seq_no == 1


def test_an_absorbed_event_leads_to_the_one_that_goes_on(explorer: Explorer):
    explorer.open(1)
    assert shown(explorer)["path"][-1]["outcome"] == "absorbed"
    assert shown(explorer)["detail"]["goes_on"] == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bob", [3]),
        ("P2", [5]),
        ("tea FOR", [6]),
        ("4", [4]),
        ("nothing like it", []),
        ("  ", [1, 2, 3, 4, 5, 6]),
    ],
)
def test_text_is_looked_for_in_ids_and_data_and_numbers_are_numbers(
    explorer: Explorer, text: str, expected: list[int]
):
    assert narrowed(explorer, text=text) == expected


def test_filters_are_combined(explorer: Explorer):
    assert narrowed(explorer, kind="link.created", type="likes", text="ann") == [1, 4, 5]
    assert narrowed(explorer, ending="dropped") == [4]
    assert narrowed(explorer, kind="entity.created") == []
    assert shown(explorer)["filter"]["type"] is None


def test_a_filter_that_nothing_fits_leaves_the_open_event(explorer: Explorer):
    assert narrowed(explorer, text="no such text") == []
    assert explorer.seq_no == 3
    assert shown(explorer)["rows"] == []


def test_branches_are_followed_one_by_one():
    explorer = FEED.explore(LOG, GRAPH)
    view = shown(explorer)
    assert view["branches"] == [{"name": "1", "end": "delivered"}, {"name": "0", "end": "filtered"}]
    assert [step["outcome"] for step in view["path"]] == [
        "matched",
        "passed",
        "passed",
        "passed",
        "delivered",
    ]
    explorer.do({"do": "follow", "value": "0"})
    assert [step["outcome"] for step in shown(explorer)["path"]] == ["matched", "passed", "dropped"]
    assert shown(explorer)["detail"]["operands"][0] == ['follower.name != "Bob"', "false"]


def test_an_empty_log_is_shown_as_one():
    explorer = FLOW.explore([], GRAPH)
    assert explorer.seq_no is None
    assert shown(explorer)["detail"] is None
    assert str(explorer).startswith("like: 0 events")


def test_an_event_that_is_not_there_is_refused(explorer: Explorer):
    with pytest.raises(fd.ReplayError, match="the log has no event 99"):
        explorer.open(99)
    assert explorer.seq_no == 3


def test_without_ipywidgets_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(fd.FlowError, match=r"pip install 'flowdsl\[notebook\]'"):
        FLOW.explore(LOG)


def test_a_replay_in_stretches_tells_the_same_as_one_from_the_start(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(5)
    size = 4_000
    frame = pl.DataFrame(
        {
            "kind": ["link.created"] * size,
            "timestamp": pl.Series(np.arange(size) * 7_000_000 + 1_767_225_600_000_000).cast(pl.Datetime("us", "UTC")),
            "link_type": ["likes"] * size,
            "source_id": [f"u{n}" for n in rng.integers(0, 900, size)],
            "target_id": [f"p{n}" for n in rng.integers(0, 40, size)],
        }
    )  # fmt: skip
    graph = fd.EntityGraph(
        {"user": {"u1": {"name": "Ann"}}},
        [{"link_type": "owns", "source_id": "u1", "target_id": f"p{n}"} for n in range(39)],
    )
    result = fd.replay(FLOW, frame, graph, trace=True, progress=False)
    monkeypatch.setattr(outcome_index, "SHORTEST", 300)
    cut = OutcomeIndex(FLOW, frame, graph)
    assert len(cut._states) == 7
    counts = {(e.outcome, e.reason): len(seqs) for e, seqs in cut.endings.items()}
    assert counts["delivered", None] == len(result)
    assert counts["dropped", "duplicate"] == (result.dropped["reason"] == "duplicate").sum()
    assert counts["failed", None] == len(result.errors) > 0
    assert counts["absorbed", None] == result.steps["absorbed"].sum()
    for seq_no in rng.choice(size, 5, replace=False) + 1:
        assert str(cut.explain(int(seq_no))) == str(result.explain(int(seq_no)))


def test_an_event_one_branch_of_which_goes_on_for_the_others_is_listed_as_absorbed_too():
    flow = on("entity.created", name="f").fan_out("data.by", via="follows", direction="reverse", as_="u")
    flow = flow.batch("entity_id", window="1m").map(n="{{ batch.count }}").deliver("s")
    index = OutcomeIndex(flow, [{**LOG[5], "event": fd.entity_created("post", "p", {"by": "eve"})}], GRAPH)
    listed = {kind.outcome: seqs.tolist() for kind, seqs in index.endings.items()}
    assert listed == {"absorbed": [1], "delivered": [1]}


@SLIPS_ARE_LIKELY
@settings(max_examples=settings().max_examples // 2)
@given(case=cases(), stretch=st.sampled_from([1, 3]), data=st.data())
def test_events_of_any_history_are_listed_by_what_explanations_say(
    case: Case, stretch: int, data: st.DataObject
):
    flow, events = data.draw(st.sampled_from(case.flows)), case.world.events
    graph = fd.EntityGraph(case.world.entities, case.world.links, merge=case.world.merge)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcome_index, "SHORTEST", stretch)
        index = OutcomeIndex(flow, events, graph)
    seq_no = data.draw(st.sampled_from([event["seq_no"] for event in events]))
    said = index.explain(seq_no)
    ends = {
        (s.step, s.outcome) for s in said.steps if s.step is not None and s.outcome not in ("passed", "held")
    }
    assert {(kind.step, kind.outcome) for kind in index.endings_of(seq_no)} == ends
    assert repr(said) == repr(fd.replay(flow, events, graph).explain(seq_no))
