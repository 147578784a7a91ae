"""`result.explain`: what happened to one event, step by step."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SLIPS_ARE_LIKELY, Case, cases

import flowdsl as fd
from flowdsl import Flow, on, var
from flowdsl.explanation.paths import ExplainedStep
from flowdsl.values.json_types import MISSING


def history(*events: tuple[int, dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"timestamp": f"2026-01-01T00:{t // 60:02}:{t % 60:02}Z", "event": event} for t, event in events]


PEOPLE = ("ann", "bob", "cat", "dan")
LOG = history(
    *((0, fd.entity_created("user", user, {"name": user.title()})) for user in (*PEOPLE, "eve")),  # 1 … 5
    *((1, fd.link_created("follows", user, "eve")) for user in PEOPLE),  # 6 … 9
    (2, fd.entity_created("post", "p1", {"author_id": "eve"})),  # 10
    (2, fd.link_created("owns", "eve", "p1")),  # 11
    (10, fd.link_created("likes", "ann", "p1")),  # 12
    (11, fd.link_created("likes", "bob", "p1")),  # 13
    (12, fd.link_created("likes", "eve", "p1")),  # 14
    (13, fd.link_created("likes", "ann", "p1")),  # 15
    (20, fd.link_created("likes", "ann", "p2")),  # 16
    (99, fd.link_created("likes", "cat", "p1")),  # 17
)
LIKE = (
    on("link.created", link_type="likes", name="like")
    .resolve("target_id", via="owns", direction="reverse", as_="owner")
    .where(var.source_id != var.owner.id)
    .deduplicate("source_id", window="1h")
    .batch("target_id", window="1m")
    .map(recipient_id="{{ owner.id }}", title="{{ batch.count }} for {{ owner.name }}")
    .deliver("in-app", "push")
)
FEED = (
    on("entity.created", entity_type="post", name="feed")
    .fan_out("data.author_id", via="follows", direction="reverse", as_="follower")
    .where("follower.name != 'Bob'")
    .map(to="{{ follower.id }}")
    .deliver("feed")
)


def steps_of(seq_no: int, flow: str = "like", **options: Any) -> list[ExplainedStep]:
    explanation = fd.replay([LIKE, FEED], LOG, progress=False, **options).explain(seq_no, flow)
    assert [s.flow for s in explanation.steps] == [flow] * len(explanation.steps)
    return list(explanation.steps)


def outcomes(steps: list[ExplainedStep]) -> list[tuple[str, str, str | None]]:
    return [(s.operator, s.outcome, s.reason) for s in steps]


CHUNKS = pytest.mark.parametrize("chunk_size", [None, 1, 3])


@CHUNKS
def test_a_delivery_is_explained_to_its_end(chunk_size):
    steps = steps_of(17, chunk_size=chunk_size)
    assert [s.outcome for s in steps] == ["matched", *["passed"] * 5, "delivered"]
    batch, deliver = steps[4], steps[6]
    assert batch.reason == "at the end of the log, as if time went on"
    assert f"{batch.at:%H:%M:%S}" == "00:02:39"
    assert batch.variables["batch"]["count"] == 1
    assert deliver.sinks == ("in-app", "push")
    assert deliver.recipient_id == "eve"
    assert steps[5].payload == {"recipient_id": "eve", "title": "1 for Eve"}


@CHUNKS
def test_what_went_into_a_batch_says_which_event_went_on(chunk_size):
    first, last = steps_of(12, chunk_size=chunk_size), steps_of(13, chunk_size=chunk_size)
    assert outcomes(first)[-1] == ("batch", "absorbed", "into the batch that goes on as event 13")
    assert f"{first[-1].at:%H:%M:%S}" == "00:01:10"
    assert last[4].reason == "when its window closed"
    assert last[5].payload["title"] == "2 for Eve"
    assert last[4].variables["batch"]["items"] == ["ann", "bob"]


@CHUNKS
def test_a_drop_shows_the_operands_of_its_condition(chunk_size):
    steps = steps_of(14, chunk_size=chunk_size)
    assert outcomes(steps)[-1] == ("where", "dropped", "filtered")
    assert steps[-1].operands == (("source_id != owner.id", False), ("source_id", "eve"), ("owner.id", "eve"))
    assert steps[-1].variables["owner"] == {"id": "eve", "name": "Eve"}
    assert outcomes(steps_of(15, chunk_size=chunk_size))[-1] == ("deduplicate", "dropped", "duplicate")


def test_a_failure_shows_its_error_and_what_was_read():
    steps = steps_of(16)
    assert outcomes(steps)[-1] == ("resolve", "failed", "no 'owns' link to 'target_id'")
    assert steps[-1].operands == (("target_id", "p2"),)
    assert steps[-1].variables["source_id"] == "ann"


@CHUNKS
def test_branches_are_told_apart(chunk_size):
    steps = steps_of(10, "feed", chunk_size=chunk_size)
    ends = {s.branch: s for s in steps if s.step is not None}
    assert {branch: (s.outcome, s.recipient_id) for branch, s in ends.items()} == {
        "0": ("delivered", None), "1": ("dropped", None), "2": ("delivered", None), "3": ("delivered", None),
    }  # fmt: skip
    assert ends["2"].variables["follower"]["name"] == "Cat"
    assert steps[1].operands == (("data.author_id", "eve"),)
    assert steps[1].variables["follower_id"] == "ann"


def test_a_trigger_that_does_not_match_says_what_it_wants():
    (feed,) = steps_of(12, "feed")
    assert (feed.outcome, feed.reason) == (
        "not matched",
        "the trigger wants entity.created, this is link.created",
    )
    (like,) = steps_of(6)
    assert like.reason == "the trigger wants link_type 'likes', this is 'follows'"


def test_an_event_that_still_waits_is_held():
    steps = steps_of(17, open_windows="keep")
    assert outcomes(steps)[-1] == ("batch", "held", None)


def test_a_queue_lets_its_event_go_later():
    flow = (
        on("link.created", link_type="likes").rate_limit(1, per="10s", strategy="queue").map(a=1).deliver("s")
    )
    steps = fd.replay(flow, LOG, progress=False).explain(13).steps
    assert [s.outcome for s in steps] == ["matched", "passed", "passed", "delivered"]
    assert steps[1].reason == "when there was a token"
    assert f"{steps[1].at:%H:%M:%S}" == "00:00:20"
    assert fd.replay(flow, LOG, progress=False).explain(12).steps[1].reason is None


def test_an_event_outside_of_the_replay_was_not_run():
    (trigger,) = steps_of(12, start=13)
    assert trigger.outcome == "not matched"
    assert trigger.reason == "this replay did not run on it: see start, stop, only and state"
    assert len(steps_of(13, start=13)) > 1
    assert len(steps_of(10, "feed", only=[10])) > 1


def test_a_replay_from_a_state_explains_its_own_events():
    first = fd.replay([LIKE, FEED], LOG, stop=13, progress=False)
    second = fd.replay([LIKE, FEED], LOG, state=first.state, progress=False)
    steps = second.explain(13, "like").steps
    assert steps[5].payload["title"] == "2 for Eve"


def test_the_final_graph_is_looked_up_when_that_was_asked_for():
    log = history(
        (0, fd.link_created("f", "ann", "bob")), (1, fd.entity_created("user", "ann", {"name": "Ann"}))
    )
    flow = on("link.created").resolve("source_id", as_="fan").map(t="{{ fan.name }}").deliver("s")
    assert fd.replay(flow, log, progress=False).explain(1).steps[-1].outcome == "failed"
    assert fd.replay(flow, log, as_of="end", progress=False).explain(1).steps[-1].outcome == "delivered"


def test_events_and_flows_that_are_not_there_are_refused():
    result = fd.replay([LIKE, FEED], LOG, progress=False)
    for number in (0, 18, -1):
        with pytest.raises(fd.ReplayError, match=f"the log has no event {number}"):
            result.explain(number)
    with pytest.raises(fd.ReplayError, match="there is no flow 'lik'") as caught:
        result.explain(12, "lik")
    assert caught.value.hint == "did you mean 'like'?"
    with pytest.raises(fd.ReplayError, match="seq_no is 'x'"):
        result.explain("x")  # type: ignore[arg-type]


def test_only_some_of_very_many_branches_are_followed():
    many = [(0, fd.link_created("follows", f"u{i}", "eve")) for i in range(1500)]
    log = history(*many, (1, fd.entity_created("post", "p", {"author_id": "eve"})))
    flow = on("entity.created", name="feed").fan_out(
        "data.author_id", via="follows", direction="reverse", as_="f"
    )
    explanation = fd.replay(flow.map(a="{{ f }}").deliver("s"), log, progress=False).explain(1501)
    assert explanation.more == {"feed": 500}
    assert sum(s.outcome == "delivered" for s in explanation.steps) == 1000
    assert "… and 1,497 branches more: 997 delivered, 500 not followed" in repr(explanation)


def test_it_prints_as_text():
    text = repr(fd.replay([LIKE, FEED], LOG, progress=False).explain(14))
    assert (
        text
        == """\
event 14: link.created likes at 2026-01-01 00:00:12 UTC
  source_id: "eve"
  target_id: "p1"

like
      matched    on('link.created', link_type='likes')
   0  passed     resolve('target_id', via='owns', direction='reverse', as_='owner')
                 target_id is "p1"
                 → owner = {"id": "eve", "name": "Eve"}
   1  dropped    where('source_id != owner.id')
                 filtered, at 2026-01-01 00:00:12
                 source_id != owner.id is false
                 source_id is "eve"
                 owner.id is "eve"

feed
      not matched  on('entity.created', entity_type='post')
                 the trigger wants entity.created, this is link.created"""
    )


def test_it_is_a_frame_as_well():
    frame = fd.replay([LIKE, FEED], LOG, progress=False).explain(13, "like").to_pandas()
    assert frame["operator"].tolist() == ["on", "resolve", "where", "deduplicate", "batch", "map", "deliver"]
    assert frame["step"].isna().tolist() == [True] + [False] * 6
    assert json.loads(frame["operands"][2]) == {
        "source_id != owner.id": True,
        "source_id": "bob",
        "owner.id": "eve",
    }
    assert json.loads(frame["payload"][5])["title"] == "2 for Eve"
    assert json.loads(frame["variables"][1])["owner"] == {"id": "eve", "name": "Eve"}
    assert frame["sinks"][6] == "in-app, push"


def test_a_missing_operand_is_shown_as_missing():
    flow: Flow = on("link.created", name="f").where("metadata.weight > 3").map(a=1).deliver("s")
    explanation = fd.replay(flow, LOG, progress=False).explain(12)
    assert ("metadata.weight", MISSING) in explanation.steps[1].operands
    assert "metadata.weight is missing" in repr(explanation)
    assert "metadata.weight" not in json.loads(explanation.to_pandas()["operands"][1])


@SLIPS_ARE_LIKELY
@given(case=cases(), keep=st.booleans(), data=st.data())
def test_of_any_event_of_any_history_the_outcomes_are_those_of_the_tables(
    case: Case, keep: bool, data: st.DataObject
):
    graph = fd.EntityGraph(case.world.entities, case.world.links, merge=case.world.merge)
    result = fd.replay(
        case.flows,
        case.world.events,
        graph,
        caps=case.caps,
        open_windows="keep" if keep else "flush",
        trace=True,
        progress=False,
    )
    seq_no = data.draw(st.sampled_from([event["seq_no"] for event in case.world.events]))
    steps = result.explain(seq_no).steps
    for outcome, table in [("delivered", "deliveries"), ("failed", "errors"), ("dropped", "dropped")]:
        rows = result.to_polars(table=table).filter(seq_no=seq_no).select("flow", "step", "branch").rows()
        assert {(s.flow, s.step, s.branch) for s in steps if s.outcome == outcome} == set(rows), outcome
