"""`result.why`: why an event reached a person or did not, down to the first step that stopped it, and `explain` as a picture."""

from __future__ import annotations

import re
import warnings
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SLIPS_ARE_LIKELY, Case, cases
from test_explain import FEED, LIKE, LOG, history

import flowdsl as fd
from flowdsl import Flow, on, var
from flowdsl.explanation.paths import FlowPath
from flowdsl.explanation.why import DeliveryExplanation
from flowdsl.samples.datasets import write_sample

pytestmark = SLIPS_ARE_LIKELY

EVE = ("ann", "bob", "cat")


def ways(flow: Flow, log: list[dict[str, Any]], seq_no: int, recipient: str, **options: Any) -> FlowPath:
    (way,) = fd.replay(flow, log, progress=False, **options).why(seq_no, recipient=recipient).ways
    return way


def told(flow: Flow, log: list[dict[str, Any]], seq_no: int, recipient: str, **options: Any) -> str:
    return " ".join(ways(flow, log, seq_no, recipient, **options).sentences)


@pytest.fixture(scope="module")
def result() -> fd.Result:
    return fd.replay([LIKE, FEED], LOG, progress=False)


POSTS = history(
    *(
        (0, fd.entity_created("user", user, {"name": user.title()})) for user in ("ann", "bob", "cat", "dan")
    ),  # 1 … 4
    (1, fd.link_created("follows", "ann", "eve")),  # 5
    (2, fd.entity_created("post", "p1", {"author_id": "eve"})),  # 6
    (3, fd.link_created("follows", "bob", "eve")),  # 7
    (4, fd.link_deleted("follows", "ann", "eve")),  # 8
    (5, fd.entity_created("post", "p2", {"author_id": "eve"})),  # 9
    (6, fd.entity_created("post", "p3", {"author_id": "zoe"})),  # 10
    (7, fd.link_created("follows", "ann", "eve")),  # 11
)
FOLLOWERS = (
    on("entity.created", entity_type="post", name="followers")
    .fan_out("data.author_id", via="follows", direction="reverse", as_="follower")
    .map(recipient_id="{{ follower_id }}")
    .deliver("feed")
)


def test_who_was_reached_is_told_when_and_by_what(result: fd.Result):
    why = result.why(13, recipient="eve")
    assert why.reached
    assert why.ways[0].flow == "like"
    assert str(why).splitlines()[:2] == [
        "event 13: link.created likes Bob → p1, 2026-01-01 00:00:11 UTC",
        "Yes: event 13 reached Eve (user eve), by like.",
    ]
    assert why.ways[0].sentences == (
        "At step 3 (batch) it went on for a batch of 2 contexts at 2026-01-01 00:01:10 UTC, when its window closed.",
        "It was delivered to Eve (user eve) through in-app and push at 2026-01-01 00:01:10 UTC.",
    )


def test_what_went_into_a_batch_is_followed_to_what_came_out(result: fd.Result):
    way = result.why(12, recipient="eve").ways[0]
    assert (way.reached, way.outcome, way.step) == (True, "delivered", 5)
    assert way.sentences == (
        'At step 3 (batch) it went into the batch for target_id "p1", which this event opened; that closed at 2026-01-01 00:01:10 UTC with 2 contexts and went on as event 13.',
        "It was delivered to Eve (user eve) through in-app and push at 2026-01-01 00:01:10 UTC.",
    )
    assert [step.outcome for step in way.steps] == [
        "matched",
        *["passed"] * 3,
        "absorbed",
        "passed",
        "delivered",
    ]
    assert way.variables["batch"]["items"] == ["ann", "bob"]


@pytest.mark.parametrize("again", [False, True])
def test_whom_a_batch_reaches_is_said_by_its_last_member_not_by_the_one_asked_about(again: bool):
    flow = on("link.created", name="f").batch("link_type", window="5m")
    flow = flow.batch("event.kind", window="5m") if again else flow
    flow = flow.map(recipient_id="{{ target_id }}").deliver("s")
    log = history((0, fd.link_created("likes", "p", "ann")), (1, fd.link_created("likes", "p", "bob")))
    result = fd.replay(flow, log)
    assert [result.why(1, who).reached for who in ("ann", "bob")] == [False, True]
    sentences = result.why(1, "ann").ways[0].sentences
    assert sentences[0].startswith("At step 0 (batch) it went into the batch for link_type")
    assert sentences[-1] == 'It was delivered to bob, not to ann, for {{ target_id }} is "bob".'


def test_a_batch_that_becomes_many_reaches_all_whom_they_name():
    links = [{"link_type": "follows", "source_id": who, "target_id": "eve"} for who in ("ann", "bob", "cat")]
    flow = (
        on("link.created", name="f")
        .batch("target_id", window="5m")
        .fan_out("target_id", via="follows", direction="reverse", as_="u")
        .batch(["target_id", "u_id"], window="5m")
        .map(to="{{ u_id }}", recipient_id="{{ batch.key }}")
        .deliver("s")
        .map(recipient_id="{{ u_id }}")
        .deliver("t")
    )
    log = history(*((n, fd.link_created("likes", f"p{n}", "eve")) for n in range(3)))
    result = fd.replay(flow, log, fd.EntityGraph({}, links))
    assert [result.why(1, who).reached for who in ("ann", "bob", "cat", "dan")] == [True, True, True, False]


def test_a_filter_is_told_with_its_operands(result: fd.Result):
    why = result.why(14, recipient="eve")
    assert not why.reached
    assert (why.ways[0].outcome, why.ways[0].step) == ("dropped", 1)
    assert why.ways[0].sentences == (
        'It was dropped at step 1 (where): source_id != owner.id is false, for source_id is "eve" and owner.id is "eve".',
    )
    assert why.ways[0].variables["owner"] == {"id": "eve", "name": "Eve"}


def test_a_duplicate_names_the_event_that_was_first(result: fd.Result):
    assert result.why(15, recipient="eve").ways[0].sentences == (
        'It was dropped at step 2 (deduplicate) as a duplicate of event 12, 3s before: both have source_id "ann", and 1h must lie between.',
    )


def test_a_failure_is_told_with_what_was_read(result: fd.Result):
    way = result.why(16, recipient="eve").ways[0]
    assert (way.outcome, way.step) == ("failed", 0)
    assert way.sentences == (
        "It failed at step 0 (resolve): no 'owns' link to 'target_id'; target_id is \"p2\".",
        "That was before it was known for whom it would be.",
    )


def test_it_was_for_somebody_else(result: fd.Result):
    way = result.why(17, recipient="bob").ways[0]
    assert (way.reached, way.outcome) == (False, "not theirs")
    assert way.sentences == (
        'It was delivered to Eve (user eve), not to Bob (user bob), for {{ owner.id }} is "eve".',
    )
    other = (
        on("link.created", name="f")
        .where("source_id == 'nobody'")
        .map(recipient_id="{{ target_id }}")
        .deliver("s")
    )
    assert told(other, LOG, 12, "bob").endswith(
        'It would have been for p1, not for bob, for {{ target_id }} is "p1".'
    )


def test_a_fan_out_that_does_not_decide_who_gets_it_is_not_blamed():
    flow = on("entity.created", entity_type="post", name="f")
    flow = flow.fan_out("data.author_id", via="follows", direction="reverse", as_="follower")
    constant = flow.map(recipient_id="{{ data.author_id }}").deliver("s")
    assert (
        told(constant, POSTS, 6, "ann")
        == 'It was delivered to eve, not to Ann (user ann), for {{ data.author_id }} is "eve".'
    )
    boss = (
        flow.resolve("follower_id", via="reports_to", as_="boss")
        .map(recipient_id="{{ boss.id }}")
        .deliver("s")
    )
    people = [f"u{n}" for n in range(6)]
    log = history(
        *((0, fd.entity_created("user", f"b{n}", {})) for n in range(6)),
        *((0, fd.link_created("reports_to", user, f"b{n}")) for n, user in enumerate(people)),
        *((0, fd.link_created("follows", user, "eve")) for user in people),
        (2, fd.entity_created("post", "p", {"author_id": "eve"})),
    )
    assert (
        told(boss, log, 19, "u1")
        == "It was for user b0, user b1, user b2 and 3 others, and u1 is not among them."
    )
    assert ways(boss, log, 19, "b3").reached


def test_an_event_that_never_matched_says_what_the_flow_is_for(result: fd.Result):
    why = result.why(6, recipient="eve")
    assert [way.outcome for way in why.ways] == ["not matched", "not matched"]
    assert "The flow is not for such events: the trigger wants link_type 'likes', this is 'follows'." in str(
        why
    )
    assert "this replay did not run on it" in told(LIKE, LOG, 12, "eve", start=13).lower()


def test_who_followed_later_was_not_among_the_followers():
    assert ways(FOLLOWERS, POSTS, 6, "bob").sentences == (
        "Step 0 (fan_out) found only Ann (user ann) by 'follows' links to eve.",
        "Bob (user bob) has a 'follows' link to eve only since event 7.",
    )


def test_who_had_followed_was_not_among_the_followers():
    assert told(FOLLOWERS, POSTS, 9, "ann").endswith(
        "Ann (user ann) had a 'follows' link to eve from event 5 until event 8, and again since event 11."
    )


def test_who_never_followed_was_not_among_the_followers():
    assert told(FOLLOWERS, POSTS, 9, "dan").endswith(
        "Neither the graph nor the log ever has a 'follows' link from Dan (user dan) to eve."
    )


def test_links_of_the_graph_count_from_the_start():
    graph = fd.EntityGraph(
        {}, [{"link_type": "follows", "source_id": who, "target_id": "eve"} for who in ("zed", "ann")]
    )
    log = history(
        (1, fd.link_deleted("follows", "zed", "eve")),
        (2, fd.entity_created("post", "p", {"author_id": "eve"})),
    )
    assert told(FOLLOWERS, log, 2, "zed", graph=graph).endswith(
        "zed had a 'follows' link to eve from the start until event 1."
    )


def test_links_with_an_id_end_by_it():
    log = history(
        (0, fd.link_created("follows", "bob", "eve")),
        (0, fd.link_created("follows", "ann", "eve", link_id="L")),
        (1, {"kind": "link", "action": "deleted", "link_type": "follows", "link_id": "L", "source_id": "ann", "target_id": "eve"}),
        (2, fd.entity_created("post", "p", {"author_id": "eve"})),
    )  # fmt: skip
    assert told(FOLLOWERS, log, 4, "ann").endswith(
        "ann had a 'follows' link to eve from event 2 until event 3."
    )


def test_several_links_between_the_same_ends_link_them_until_the_last_ends():
    def bond(action: str, link_id: str) -> dict[str, str]:
        return {"kind": "link", "action": action, "link_type": "follows", "link_id": link_id, "source_id": "ann", "target_id": "eve"}  # fmt: skip

    log = history(
        (0, fd.link_created("follows", "bob", "eve")),  # 1
        (1, bond("created", "long")),
        (2, bond("created", "short")),  # 3
        (3, bond("deleted", "short")),
        (4, bond("deleted", "long")),  # 5
        (5, fd.entity_created("post", "p", {"author_id": "eve"})),
        (6, bond("created", "again")),  # 7
        (7, bond("deleted", "again")),
        (8, fd.entity_created("post", "q", {"author_id": "eve"})),  # 9
    )
    assert told(FOLLOWERS, log, 6, "ann").endswith(
        "ann had a 'follows' link to eve from event 2 until event 5, and again since event 7."
    )
    assert told(FOLLOWERS, log, 9, "ann").endswith(
        "ann had a 'follows' link to eve 2 times, last from event 7 until event 8."
    )


def test_links_deleted_by_their_ends_end_whatever_their_ids():
    log = history(
        (0, fd.link_created("follows", "bob", "eve")),
        (0, fd.link_created("follows", "ann", "eve", link_id="L")),
        (1, fd.link_deleted("follows", "ann", "eve")),
        (2, fd.entity_created("post", "p", {"author_id": "eve"})),
    )
    assert told(FOLLOWERS, log, 4, "ann").endswith(
        "ann had a 'follows' link to eve from event 2 until event 3."
    )


def test_nobody_follows():
    assert ways(FOLLOWERS, POSTS, 10, "ann").sentences == (
        "It was dropped at step 0 (fan_out): there was no 'follows' link to \"zoe\" (data.author_id).",
        "Neither the graph nor the log ever has a 'follows' link from Ann (user ann) to zoe.",
    )


def test_a_forward_fan_out_reads_the_other_way_round():
    flow = on("entity.created", entity_type="post", name="f")
    flow = (
        flow.fan_out("data.author_id", via="follows", as_="idol")
        .map(recipient_id="{{ idol_id }}")
        .deliver("s")
    )
    log = history(
        (0, fd.link_created("follows", "eve", "ann")),
        (1, fd.entity_created("post", "p", {"author_id": "eve"})),
    )
    assert told(flow, log, 2, "bob") == (
        "Step 0 (fan_out) found only ann by 'follows' links from eve. "
        "Neither the graph nor the log ever has a 'follows' link from eve to bob."
    )


def test_the_branch_of_the_recipient_is_followed(result: fd.Result):
    way = result.why(10, recipient="bob").ways[0]
    assert way.sentences == (
        'It was dropped at step 1 (where): follower.name != "Bob" is false, for follower.name is "Bob".',
    )
    assert {step.branch for step in way.steps} == {None, "1"}


def test_a_branch_without_a_recipient_says_so(result: fd.Result):
    way = result.why(10, recipient="ann").ways[0]
    assert not way.reached
    assert (
        way.sentences[-1]
        == "That is the branch of Ann (user ann), but it names no recipient: give the payload a recipient_id."
    )


def test_a_branch_among_very_many_is_found():
    follows = [(1, fd.link_created("follows", f"u{n}", "eve")) for n in range(1_200)]
    log = history(*follows, (2, fd.entity_created("post", "p", {"author_id": "eve"})))
    flow = FOLLOWERS
    assert ways(flow, log, 1_201, "u1199").reached
    stopped = on("entity.created", name="f").fan_out(
        "data.author_id", via="follows", direction="reverse", as_="x"
    )
    stopped = stopped.where("x_id != 'u1100'").map(recipient_id="{{ x_id }}").deliver("s")
    assert ways(stopped, log, 1_201, "u1100").step == 1
    missing = ways(stopped, log, 1_201, "nobody")
    assert (
        missing.sentences[0]
        == "Step 0 (fan_out) found 1,200 by 'follows' links to eve; nobody is not among them."
    )


def test_a_batch_after_a_fan_out_is_that_of_the_recipient():
    flow = (
        on("entity.created", entity_type="post", name="digest")
        .fan_out("data.author_id", via="follows", direction="reverse", as_="follower")
        .batch("follower_id", window="1h")
        .map(recipient_id="{{ follower_id }}", count="{{ batch.count }}")
        .deliver("mail")
    )
    way = ways(flow, POSTS, 6, "ann")
    assert (way.reached, way.outcome) == (True, "delivered")
    assert way.steps[-2].payload == {"recipient_id": "ann", "count": "1"}
    follows = [(0, fd.link_created("follows", user, "eve")) for user in EVE]
    log = history(*follows, *((n, fd.entity_created("post", f"p{n}", {"author_id": "eve"})) for n in (1, 2)))
    assert told(flow, log, 4, "bob").startswith(
        'At step 1 (batch) it went into the batch for follower_id "bob", which this event opened;'
    )
    assert ways(flow, log, 4, "bob").steps[-2].payload == {"recipient_id": "bob", "count": "2"}


def test_a_rate_limit_names_those_that_took_the_tokens():
    flow = (
        on("link.created", link_type="likes", name="f")
        .rate_limit(2, per="1h")
        .map(recipient_id="{{ target_id }}")
        .deliver("s")
    )
    assert ways(flow, LOG, 14, "p1").sentences == (
        "It was dropped at step 0 (rate_limit): there was no token: of 2 tokens, refilled over 1h, the last were taken by events 12 and 13.",
    )
    keyed = (
        on("link.created", link_type="likes", name="f")
        .rate_limit(1, per="1h", key="source_id")
        .map(a=1)
        .deliver("s")
    )
    assert 'of 1 token, refilled over 1h for source_id "ann", the last was taken by event 12' in told(
        keyed, LOG, 15, "p1"
    )
    never = on("link.created", link_type="likes", name="f").rate_limit(0, per="1h").map(a=1).deliver("s")
    assert (
        told(never, LOG, 12, "p1")
        == "It was dropped at step 0 (rate_limit): there was no token (0 tokens, refilled over 1h)."
    )


def test_a_queue_tells_how_long_it_waited():
    flow = (
        on("link.created", link_type="likes", name="f")
        .rate_limit(1, per="10s", strategy="queue")
        .map(a=1)
        .deliver("s")
    )
    assert told(flow, LOG, 13, "p1").startswith(
        "At step 0 (rate_limit) it waited until 2026-01-01 00:00:20 UTC, when there was a token. It was delivered to p1"
    )
    assert "it had no token yet" in told(flow, LOG, 15, "p1", open_windows="keep", stop=16)


def test_a_window_that_was_too_small_or_still_open():
    flow = (
        on("link.created", link_type="likes", name="f")
        .batch("target_id", window="1m", min_count=9)
        .map(a=1)
        .deliver("s")
    )
    assert told(flow, LOG, 13, "p1") == (
        'It was dropped at step 0 (batch): its window for target_id "p1", which event 12 opened, had 4 of at least 9 contexts.'
    )
    assert "its window was still open" in told(flow, LOG, 17, "p1", open_windows="keep")


def test_preferences_are_told_and_drawn():
    inbox = fd.sinks.InApp()
    inbox.mute("p1")
    flow = on("link.created", link_type="likes", name="f").map(title="x").deliver("in-app")
    sinks = {"in-app": inbox, "audit": fd.sinks.Frame()}
    quiet = fd.replay(flow, LOG, sinks=sinks, progress=False)
    way = quiet.why(12, "p1").ways[0]
    assert (way.reached, way.outcome, way.step) == (False, "dropped", 1)
    assert way.sentences == ("The preferences of p1 kept it from in-app.",)
    assert "⊘ 5 preference" in quiet.picture().text
    assert "→ in-app  1" in quiet.picture().text
    both = fd.replay(flow.deliver("audit"), LOG, sinks=sinks, progress=False)
    assert both.why(12, "p1").reached
    assert "The preferences of p1 kept it from in-app. It was delivered to p1 through audit" in str(
        both.why(12, "p1")
    ).replace("\n  ", " ")
    one = on("link.created", link_type="likes", name="f").map(title="x").deliver("in-app", "audit")
    text = fd.replay(one, LOG, sinks=sinks, progress=False).picture().text
    assert "⊘ 5 kept from in-app by preferences" in text
    assert "→ in-app  1\n" in text
    assert "→ audit  6\n" in text


def test_a_delivery_in_the_middle_counts():
    flow = (
        on("link.created", link_type="likes", name="f").map(recipient_id="{{ source_id }}").deliver("first")
    )
    flow = flow.where("source_id == 'nobody'").map(recipient_id="{{ target_id }}").deliver("second")
    way = ways(flow, LOG, 12, "ann")
    assert (way.reached, way.step) == (True, 1)
    assert way.sentences[0] == "It was delivered to ann through first at 2026-01-01 00:00:10 UTC."
    assert not ways(flow, LOG, 12, "p1").reached


def test_a_flow_that_delivers_nothing():
    assert "the flow delivers nothing" in told(
        on("link.created", name="f").where("source_id != 'x'"), LOG, 12, "ann"
    )
    assert "nothing is delivered" in told(on("link.created", name="f"), LOG, 12, "ann")


def test_the_production_target_has_its_own_recipient():
    flow = on("link.created", link_type="likes", name="f").map(recipient_id="{{ source_id }}").deliver("s")
    log = history(
        (
            0,
            fd.link_created(
                "likes", "a" * 8 + "-0000-4000-8000-000000000000", "b" * 8 + "-0000-4000-8000-000000000000"
            ),
        )
    )
    why = fd.replay(flow, log, target="this-rs", progress=False).why(
        1, recipient="b" * 8 + "-0000-4000-8000-000000000000"
    )
    assert why.reached


def test_a_replay_from_a_state_says_why():
    first = fd.replay([LIKE, FEED], LOG, stop=13, open_windows="keep", progress=False)
    second = fd.replay([LIKE, FEED], LOG, state=first.state, progress=False)
    assert second.why(13, recipient="eve").reached
    assert "as a duplicate" in str(second.why(15, recipient="eve"))


def test_a_flow_can_be_named(result: fd.Result):
    assert [way.flow for way in result.why(12, "eve", flow="feed").ways] == ["feed"]
    with pytest.raises(fd.ReplayError, match="there is no flow 'fed'"):
        result.why(12, "eve", flow="fed")


@pytest.mark.parametrize(("seq_no", "recipient"), [(99, "eve"), (12, ""), (12, None), (True, "eve")])
def test_what_is_not_there_is_refused(result: fd.Result, seq_no: Any, recipient: Any):
    with pytest.raises(fd.ReplayError):
        result.why(seq_no, recipient)


def test_a_result_that_was_read_back_cannot_say(result: fd.Result, tmp_path: Any):
    result.to_parquet(tmp_path / "r")
    with pytest.raises(fd.ReplayError, match="cannot say why"):
        fd.read_result(tmp_path / "r").why(12, "eve")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> fd.Result:
    made = write_sample(tmp_path_factory.mktemp("sample"), events=600, seed=5)
    return fd.replay(fd.load(made.flows), made.log, fd.read_graph(made.graph), progress=False, trace=True)


@settings(max_examples=settings.default.max_examples // 3)
@given(data=st.data())
def test_the_answer_agrees_with_the_deliveries(sample: fd.Result, data: st.DataObject):
    """Whoever a delivery of an event without a batch names was reached by it, and nobody else was."""
    delivered = sample.deliveries[sample.deliveries["closed_by"].isna()]
    pairs = set(zip(delivered["seq_no"], delivered["recipient_id"], delivered["flow"], strict=True))
    people = sorted({who for _, who, _ in pairs})
    seq_no = data.draw(st.sampled_from(sorted({seq for seq, _, _ in pairs}) + list(range(1, 600, 7))))
    mine = sorted({who for seq, who, _ in pairs if seq == seq_no})
    recipient = data.draw(
        st.sampled_from(mine) if mine and data.draw(st.booleans()) else st.sampled_from(people)
    )
    why = sample.why(int(seq_no), recipient=recipient)
    for way in why.ways:
        if way.flow != "notify-like":
            assert way.reached == ((seq_no, recipient, way.flow) in pairs), str(why)
        assert way.sentences
        assert all(sentence.endswith(".") for sentence in way.sentences)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(shown: DeliveryExplanation | Any) -> _Tags:
    tags = _Tags()
    tags.feed(re.sub("<style>.*?</style>", "", shown._repr_mimebundle_()["text/html"], flags=re.DOTALL))
    return tags


def test_an_explanation_says_what_decided_then_a_line_for_each_step_and_the_rest_on_demand(result: fd.Result):
    explanation = result.explain(14)
    shown = read(explanation)
    assert {"img", "details", "summary"} <= shown.tags
    lines = [line.strip() for line in shown.text.splitlines() if line.strip()]
    assert lines[0] == (
        'like: dropped at step 1 (where): filtered, source_id != owner.id is false, source_id is "eve",'
        ' owner.id is "eve", at 2026-01-01 00:00:12'
    )
    html = explanation._repr_mimebundle_()["text/html"]
    summaries = re.findall("<summary>(.*?)</summary>", html, re.DOTALL)
    assert len(summaries) == len(explanation.steps) + 1
    # an entity by its name
    assert [" ".join(re.sub("<[^>]*>", " ", text).split()) for text in summaries[1:3]] == [
        "0 resolve passed owner is &#34;Eve&#34;",
        f"1 where dropped {lines[0].partition(': ')[2].partition(': ')[2]}".replace('"', "&#34;"),
    ]
    assert not re.search("<details[^>]* open", html)
    assert explanation._repr_mimebundle_()["text/plain"] == repr(explanation)
    text = explanation.picture().text
    assert re.search(
        r"1  where +source_id != owner.id  ✗ source_id != owner.id is false; source_id is \"eve\"", text
    )
    assert "⊘ 1 filtered" in text
    assert "1 flow did not match" in text


def test_the_branches_of_an_event_are_counted_in_its_picture(result: fd.Result):
    picture = result.explain(10).picture()
    assert [node.into.label for node in picture.diagram.chains[0].nodes] == ["", "1", "4", "3", "3"]
    assert ET.fromstring(picture.svg).get("role") == "img"


def test_very_many_branches_are_counted_but_not_followed():
    follows = [(1, fd.link_created("follows", f"u{n}", "eve")) for n in range(1_500)]
    log = history(*follows, (2, fd.entity_created("post", "p", {"author_id": "eve"})))
    picture = fd.replay(FEED, log, progress=False).explain(1_501).picture()
    assert "+ 500 branches more, not followed" in picture.text


def test_an_event_that_matched_nothing_has_a_picture(result: fd.Result):
    text = result.explain(6).picture().text
    assert "✗ the trigger wants link_type 'likes', this is 'follows'" in text


def test_the_answer_is_shown_with_the_way_marked(result: fd.Result):
    shown = read(result.why(14, "eve"))
    assert shown.text.strip().startswith("No: event 14 did not reach Eve (user eve).")
    assert {"img", "details"} <= shown.tags
    marks = [node.mark.tone for node in result.why(14, "eve").picture().diagram.chains[0].nodes]
    assert marks == ["passed", "passed", "stopped", "faded", "faded", "faded", "faded"]
    missed = fd.replay(FOLLOWERS, POSTS, progress=False).why(6, "bob").picture()
    assert [node.mark.tone for node in missed.diagram.chains[0].nodes] == [
        "passed",
        "stopped",
        "faded",
        "faded",
    ]
    assert "Bob (user bob) has a 'follows' link to eve only since event 7." in "".join(
        ET.fromstring(missed.svg).itertext()
    )


def test_hostile_values_are_shown_as_text():
    bad = "<script>alert(1)</script>\u202e\x00"
    flow = (
        on("link.created", name=bad)
        .where(var.source_id == "x")
        .map(recipient_id="{{ target_id }}", a=bad)
        .deliver("s<b>")
    )
    result = fd.replay(
        flow,
        history((0, fd.link_created(bad, bad, bad)), (1, fd.link_created("l", "x", bad))),
        progress=False,
    )
    for seq_no in (1, 2):
        for shown in (result.explain(seq_no), result.why(seq_no, bad)):
            tags = read(shown)
            assert not tags.tags & {"script", "b"}
            assert "\u202e" not in tags.text
            assert "\x00" not in tags.text


def test_the_way_is_a_frame_too(result: fd.Result):
    frame = result.why(14, "eve").to_pandas()
    assert list(frame["outcome"]) == ["matched", "passed", "dropped", "not matched"]


@given(case=cases(max_events=12), data=st.data())
def test_of_any_event_of_any_history_the_answer_agrees_with_the_deliveries(case: Case, data: st.DataObject):
    """An event reached those whom its deliveries name, or those of the batches that it went into; pictures can be made of it all."""
    graph = fd.EntityGraph(case.world.entities, case.world.links, merge=case.world.merge)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fd.FlowWarning)
        result = fd.replay(case.flows, case.world.events, graph, progress=False, caps=case.caps)
        rows = result.deliveries
        named = sorted({str(who) for who in rows["recipient_id"].dropna()} | {"u1", "nobody"})
        seq_no = data.draw(st.sampled_from([event["seq_no"] for event in case.world.events]))
        recipient = data.draw(st.sampled_from(named))
        why = result.why(seq_no, recipient)
        for way in why.ways:
            assert way.sentences
            assert way.reached == (recipient in reached_by(result, way.flow, seq_no)), str(why)
        for shown in (result.picture(), why.picture(), result.explain(seq_no).picture()):
            assert ET.fromstring(shown.svg).get("role") == "img"
            assert shown.mermaid.startswith("flowchart")


def reached_by(
    result: fd.Result, flow: str, seq_no: int, branch: str | None = None, after: int = -1
) -> set[str]:
    """The recipients of a context behind a step: of its own deliveries, and of the batches that it went into."""

    def is_mine(row: Any) -> bool:
        inside = branch is None or f"{row.branch}.".startswith(f"{branch}.")
        return (row.flow, row.seq_no) == (flow, seq_no) and row.step > after and inside

    deliveries, members = (rows_of(table) for table in (result.deliveries, result.members))
    found = {row.recipient_id for row in deliveries if is_mine(row) and row.recipient_id is not None}
    for row in filter(is_mine, members):
        found |= reached_by(result, flow, row.batch_seq_no, row.batch_branch, row.step)
    return found


def rows_of(table: Any) -> list[Any]:
    return list(table.astype(object).where(table.notna(), None).itertuples(index=False))
