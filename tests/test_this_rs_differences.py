"""Every place where the target differs from flowdsl, shown by one pair of replays: the same flow, log and graph."""

from __future__ import annotations

from typing import Any

import pytest
from this_rs_runs import (
    ANN,
    BOB,
    POST,
    ZOE,
    documented,
    dropped,
    failed,
    like,
    likes_at,
    log_at,
    said,
    seqs,
    texts,
)

import flowdsl as fd
from flowdsl import on

USERS = {"user": {ANN: {"name": "Ann"}, BOB: {"name": "Bob"}}}


def pair(flow: Any, log: Any, graph: fd.EntityGraph | None = None) -> tuple[fd.Result, fd.Result]:
    """The flow by flowdsl's rules, and by production's."""
    return fd.replay(flow, log, graph), fd.replay(flow, log, graph, target="this-rs")


def flow_of(*steps: Any, **trigger: Any) -> fd.Flow:
    return fd.load(documented(*steps, **trigger)).flows[0]


def test_rule_1_the_target_takes_all_spellings_of_a_uuid_as_one_id() -> None:
    shouted = log_at((0, like(ANN.upper())), (1, like(f"{{{ANN}}}")), (2, like(ANN.replace("-", ""))))
    flow = flow_of({"resolve": {"from": "source_id", "as": "u"}}, *said("{{ u.name }} {{ source_id }}"))
    ours, theirs = pair(flow, shouted, fd.EntityGraph({"user": {f"urn:uuid:{ANN}": {"name": "Ann"}}}))
    assert failed(ours) == [1, 2, 3]
    assert texts(theirs) == [f"Ann {ANN}"] * 3


def test_rule_1_other_ids_stay_what_they_are_under_the_target_too() -> None:
    links = [{"link_type": "follows", "source_id": "ann", "target_id": "bob"}]
    flow = flow_of({"fan_out": {"from": "source_id", "via": "follows", "as": "f"}}, *said("{{ f_id }}"))
    ours, theirs = pair(flow, log_at((0, like("ann")), (1, like("zoe"))), fd.EntityGraph({}, links))
    assert texts(ours) == texts(theirs) == ["bob"]
    assert dropped(ours) == dropped(theirs) == {"no links": 1}


def test_rule_1_a_lookup_from_what_is_no_id_at_all_fails_in_the_target() -> None:
    flow = flow_of({"fan_out": {"from": "link_type", "via": "follows", "as": "f"}}, *said("x"))
    ours, theirs = pair(flow, likes_at(0))
    assert dropped(ours) == {"no links": 1}
    assert failed(theirs) == [1]


def test_rule_1_an_integer_in_data_is_an_id_only_here() -> None:
    flow = flow_of(
        {"resolve": {"from": "data.author", "as": "u"}}, *said("{{ u.name }}"), kind="entity.created"
    )
    event = fd.entity_created("post", POST, {"author": 7})
    ours, theirs = pair(flow, log_at((0, event)), fd.EntityGraph({"user": {7: {"name": "Seven"}}}))
    assert texts(ours) == ["Seven"]
    assert failed(theirs) == [1]


def test_rule_5_an_entity_has_an_id_that_its_data_lacks_only_here() -> None:
    flow = flow_of({"resolve": {"from": "source_id", "as": "u"}}, *said("{{ u.id }}"))
    ours, theirs = pair(flow, likes_at(0), fd.EntityGraph(USERS))
    assert texts(ours) == [ANN]
    assert failed(theirs) == [1]
    with_id = fd.EntityGraph({"user": {ANN: {"id": "other"}}})
    assert [texts(result) for result in pair(flow, likes_at(0), with_id)] == [["other"], ["other"]]


def test_rule_7_an_id_in_two_types_is_the_first_of_them_in_the_target() -> None:
    flow = flow_of({"resolve": {"from": "source_id", "as": "u"}}, *said("{{ u.n }}"))
    log = log_at(
        (0, like()),
        (1, fd.entity_deleted("post", ANN)),
        (2, like()),
        (3, fd.entity_created("tag", ANN, {"n": "tag"})),
        (4, like()),
    )
    ours, theirs = pair(
        flow, log, fd.EntityGraph({"post": {ANN: {"n": "post"}}, "user": {ANN: {"n": "user"}}})
    )
    assert (texts(ours), failed(ours)) == (["user"], [1, 5])
    assert texts(theirs) == ["post", "user", "user"]


def test_rule_9_values_are_compared_as_text_in_the_target() -> None:
    flow = flow_of({"filter": {"condition": "metadata.v == 1"}}, *said("x"))
    log = log_at((0, like(metadata={"v": 1})), (1, like(metadata={"v": 1.0})), (2, like(metadata={"v": "1"})))
    ours, theirs = pair(flow, log)
    assert seqs(ours) == [1, 2]
    assert seqs(theirs) == [1, 3]


VALUED = [(0, like(metadata={"v": 1}))]


@pytest.mark.parametrize("condition", ["metadata.v > 0", "metadata.v in [1]"])
def test_rule_9_other_operators_hold_only_here(condition: str) -> None:
    document = documented({"filter": {"condition": condition}}, *said("x"))
    assert seqs(fd.replay(fd.load(document), log_at(*VALUED))) == [1]
    with pytest.raises(fd.LoadError, match="production cannot read the condition"):
        fd.load(document, target="this-rs")


@pytest.mark.parametrize(
    "condition",
    [
        "len(link_type) == 5",
        "not metadata.v == 2",
        "metadata.v == 0 + 1",
        "metadata.v == 1 or metadata.v == 2",
    ],
)
def test_rule_9_what_stands_beside_an_operator_is_one_path_in_the_target(condition: str) -> None:
    document = documented({"filter": {"condition": condition}}, *said("x"))
    assert seqs(fd.replay(fd.load(document), log_at(*VALUED))) == [1]
    assert seqs(fd.replay(fd.load(document, target="this-rs"), log_at(*VALUED), target="this-rs")) == []


def test_rule_13_keys_are_text_in_the_target() -> None:
    flow = flow_of({"deduplicate": {"key": "metadata.v", "window": "1h"}}, *said("x"))
    log = log_at(*((0, like(metadata={"v": value})) for value in (1, "1", 1.0)))
    ours, theirs = pair(flow, log)
    assert seqs(ours) == [1, 2]
    assert seqs(theirs) == [1, 3]


def test_rule_14_a_batch_of_the_target_waits_for_an_event_and_loses_it() -> None:
    flow = flow_of(
        {"batch": {"key": "target_id", "window": "1s"}}, *said("{{ source_id }} {{ _batch.items }}")
    )
    ours, theirs = pair(flow, log_at((0, like(ANN)), (500, like(BOB)), (1500, like(ZOE))))
    assert texts(ours) == [f"{BOB} [{ANN}, {BOB}]", f"{ZOE} [{ZOE}]"]
    assert texts(theirs) == [f"{ZOE} [{ANN}, {BOB}]"]


def test_rule_14_the_variable_of_a_batch_is_named_batch_only_here() -> None:
    document = documented({"batch": {"key": "target_id", "window": "1s"}}, *said("{{ batch.count }}"))
    ours = fd.replay(fd.load(document), likes_at(0, 2000))
    theirs = fd.replay(fd.load(document, target="this-rs"), likes_at(0, 2000), target="this-rs")
    assert texts(ours) == ["1", "1"]
    assert failed(theirs) == [2]


def test_rule_15_a_queue_of_the_target_drops() -> None:
    flow = flow_of({"rate_limit": {"max": 1, "per": "1s", "strategy": "queue"}}, *said("x"))
    ours, theirs = pair(flow, likes_at(0, 1, 2))
    assert seqs(ours) == [1, 2, 3]
    assert (seqs(theirs), dropped(theirs)) == ([1], {"rate limited": 2})


def test_rule_15_tokens_are_floats_in_the_target() -> None:
    """Ten tenths of a token are one only where tokens are counted exactly."""
    flow = flow_of({"rate_limit": {"max": 1, "per": "1s"}}, *said("x"))
    ours, theirs = pair(flow, likes_at(*range(0, 1001, 100)))
    assert seqs(ours) == [1, 11]
    assert seqs(theirs) == [1]


@pytest.mark.parametrize("text", ["{{ x", "{{ nope }}", "{{ source_id | nofilter }}", "{{ event.id }}"])
def test_rule_16_a_template_that_cannot_work_is_refused_here_and_fails_event_by_event_there(
    text: str,
) -> None:
    document = documented(*said(text))
    if text != "{{ event.id }}":
        with pytest.raises(fd.LoadError):
            fd.load(document)
    result = fd.replay(fd.load(document, target="this-rs"), likes_at(0, 1), target="this-rs")
    assert failed(result) == [1, 2]


def test_rule_17_the_recipient_of_the_target_is_a_variable_before_the_payload() -> None:
    flow = on("link.created", name="f").map(recipient_id="{{ source_id }}").deliver("out")
    ours, theirs = pair(flow, likes_at(0))
    assert ours.deliveries["recipient_id"].tolist() == [ANN]
    assert theirs.deliveries["recipient_id"].tolist() == [POST]


def test_rule_17_deliver_without_a_map_is_refused_here_and_fails_there() -> None:
    document = documented({"deliver": {"sink": "out"}})
    with pytest.raises(fd.LoadError, match="payload"):
        fd.load(document)
    assert failed(fd.replay(fd.load(document, target="this-rs"), likes_at(0), target="this-rs")) == [1]


# -- one path: what runs under the target is what production's YAML says --------------------------------------


def test_a_flow_built_in_python_is_said_in_productions_language_first() -> None:
    flow = (
        on("link.created", name="f")
        .where("source_id != target_id and not (link_type == 'follows')")
        .deduplicate("source_id", window="7d")
        .map(t="{{ source_id }}")
        .deliver("out")
    )
    log = log_at((0, like()), (1, like(POST)), (2, like()), (604_800_000, like()))
    ours, theirs = pair(flow, log)
    assert seqs(ours) == seqs(theirs) == [1, 4]
    assert theirs.steps["operator"].tolist() == ["where", "where", "deduplicate", "map", "deliver"]
    written = fd.load(flow.to_yaml(), target="this-rs")
    again = fd.replay(written, log, target="this-rs")
    assert again.deliveries.equals(theirs.deliveries)


def test_what_production_cannot_say_is_refused_when_it_is_to_run_there() -> None:
    flow = on("link.created").where("link_type > 'a'").map(t="x").deliver("out")
    with pytest.raises(fd.BuildError, match="production"):
        fd.replay(flow, likes_at(0), target="this-rs")


def test_flows_read_by_productions_rules_run_by_flowdsls_when_they_are_asked_to() -> None:
    flows = fd.load(
        documented({"batch": {"key": "target_id", "window": "1s"}}, *said("{{ _batch.count }}")),
        target="this-rs",
    )
    assert texts(fd.replay(flows, likes_at(0))) == ["1"]
    with pytest.raises(fd.LoadError):
        fd.replay(fd.load(documented(*said("{{ x")), target="this-rs"), likes_at(0))


def test_a_state_of_one_set_of_rules_is_none_of_the_other() -> None:
    flow = on("link.created", name="f").deduplicate("target_id", window="1h").map(t="x").deliver("out")
    ours, theirs = pair(flow, likes_at(0))
    for result, target in ((ours, "this-rs"), (theirs, None)):
        with pytest.raises(fd.ReplayError, match="other flows"):
            fd.replay(flow, likes_at(0, 1), state=result.state, target=target)
    assert len(fd.replay(flow, likes_at(0, 1), state=theirs.state, target="this-rs")) == 0


def test_explain_follows_an_event_by_the_rules_of_its_replay() -> None:
    flow = flow_of({"batch": {"key": "target_id", "window": "1s"}}, *said("{{ _batch.count }}"))
    theirs = pair(flow, likes_at(0, 2000))[1]
    assert [step.outcome for step in theirs.explain(1).steps] == ["matched", "absorbed"]
    assert "delivered" in [step.outcome for step in theirs.explain(2).steps]


def test_an_unknown_target_is_refused() -> None:
    flow = on("link.created").map(t="x").deliver("out")
    with pytest.raises(fd.FlowError, match="this-rs"):
        fd.replay(flow, likes_at(0), target="this_rs")
    with pytest.raises(fd.FlowError, match="this-rs"):
        fd.load(documented(), target="that")
