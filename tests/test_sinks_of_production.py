"""What production's sinks make of deliveries: recorded runs of the real engine, and the rules that they follow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from this_rs_runs import ANN, BOB, log_at

import flowdsl as fd
from flowdsl.production.sinks_there import CounterThere, InAppThere

RECORDED = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "this-rs-edges" / "sinks.jsonl")
    .read_text("utf-8")
    .splitlines()
]


def made(
    config: dict[str, Any], template: Any, *data: Any, graph: fd.EntityGraph | None = None, **trigger: Any
) -> tuple[Any, fd.Result]:
    """One sink of production's, and the replay that handed it this payload for each of these events."""
    trigger = trigger or {"kind": "entity.created"}
    flow = {
        "name": "f",
        "trigger": trigger,
        "pipeline": [{"map": {"template": template}}, {"deliver": {"sink": "n"}}],
    }
    project = fd.load({"events": {"flows": [flow]}, "sinks": [{"name": "n", **config}]}, target="this-rs")
    events = [fd.entity_created("post", ANN, one) for one in data or ({},)]
    if trigger["kind"] == "link.created":
        events = [fd.link_created("likes", BOB, ANN)]
    sinks = project.build_sinks(target="this-rs", graph=graph)
    log = log_at(*enumerate(events))
    result = fd.replay(project, log, graph, target="this-rs", sinks=sinks, dispatch=True)
    return sinks["n"], result


@pytest.mark.parametrize("scenario", RECORDED, ids=lambda scenario: scenario["name"])
def test_a_recorded_run_shows_and_counts_what_the_real_sinks_did(scenario: dict[str, Any]):
    given, seen = scenario["given"], scenario["seen"]["sinks"]
    project = fd.load({"events": {"flows": given["flows"]}, "sinks": given["sinks"]}, target="this-rs")
    log = log_at(*((e["at_ms"], e["event"]) for e in given["events"] if "event" in e))
    sinks = project.build_sinks(target="this-rs")
    graph = fd.EntityGraph(given["entities"], given["links"])
    result = fd.replay(project, log, graph, target="this-rs", sinks=sinks, dispatch=True)
    assert result.undelivered.empty
    counters = [one for one in sinks.values() if isinstance(one, CounterThere)]
    assert [[list(key), number] for one in counters for key, number in one.values().items()] == seen[
        "counters"
    ]
    shown = [one for one in sinks.values() if isinstance(one, InAppThere)]
    for person in given["people"]:
        assert [row for one in shown for row in one.notifications(person)] == seen["in_app"][person]


def test_a_counter_takes_numbers_only_and_its_own_options_for_what_is_no_text():
    of_post = {"entity_type": "post", "entity_id": "p", "value": 2}
    counter, _ = made({"type": "counter", "config": {"field": "n"}}, of_post, {}, {}, {})
    assert counter.values() == {("post", "p", "n"): 6.0}
    counter, _ = made(
        {"type": "counter", "config": {"field": "n"}}, {**of_post, "operation": 1, "field": None}
    )
    assert counter.values() == {("post", "p", "n"): 2.0}
    counter, _ = made(
        {"type": "counter", "config": {"field": "n", "operation": "dec"}}, {**of_post, "value": True}
    )
    assert counter.values() == {("post", "p", "n"): 0.0}


def test_a_counter_counts_the_entity_of_the_event_where_the_payload_names_none():
    counter, _ = made({"type": "counter", "config": {"field": "n"}}, {"a": 1})
    assert counter.values() == {("post", ANN, "n"): 1.0}
    counter, result = made({"type": "counter", "config": {"field": "n"}}, {"a": 1}, kind="link.created")
    assert result.undelivered["error"].tolist() == ["counter has no entity_type"]


def test_a_counter_fails_at_an_operation_that_it_does_not_know_and_without_a_field():
    payload = {"entity_type": "post", "entity_id": "p", "operation": "halve"}
    _, result = made({"type": "counter", "config": {"field": "n"}}, payload)
    assert "halve" in result.undelivered["error"][0]
    _, result = made({"type": "counter"}, {"entity_type": "post", "entity_id": "p"})
    assert result.undelivered["error"].tolist() == ["counter has no field"]


def test_a_counter_starts_from_the_graph_and_stops_at_nought():
    graph = fd.EntityGraph({"post": {ANN: {"n": 2}}})
    payload = {"entity_type": "post", "entity_id": ANN, "operation": "decrement", "value": 1.5}
    counter, _ = made({"type": "counter", "config": {"field": "n"}}, payload, {}, {}, graph=graph)
    assert [call["value"] for call in counter.calls] == [0.5, 0.0]


def test_in_app_shows_a_default_for_what_is_no_text_and_needs_a_recipient():
    payload = {"recipient_id": "ann", "title": None, "body": ["x"], "notification_type": 5, "data": 7}
    sink, _ = made({"type": "in_app"}, payload)
    assert sink.notifications("ann") == [
        {
            "recipient_id": "ann",
            "notification_type": "generic",
            "title": "Notification",
            "body": "",
            "data": 7,
            "read": False,
        }
    ]
    _, result = made({"type": "in_app"}, {"title": "hello"})
    assert result.undelivered["error"].tolist() == ["in_app has no recipient"]


def test_a_recipient_sees_the_newest_thousand_first():
    sink, _ = made(
        {"type": "in_app"},
        {"recipient_id": "ann", "title": "{{ data.n }}"},
        *({"n": n} for n in range(1_003)),
    )
    shown = [row["title"] for row in sink.notifications("ann")]
    assert (len(shown), shown[0], shown[-1]) == (1_000, "1002", "3")


def test_push_always_has_a_title_and_a_body_and_takes_data_as_it_is():
    sink, _ = made({"type": "push"}, {"recipient_id": "ann"})
    assert sink.calls == [{"recipient_id": "ann", "title": "Notification", "body": "", "sound": "default"}]
    sink, _ = made({"type": "push"}, {"recipient_id": "ann", "title": "a", "body": "b", "data": [1]})
    assert sink.calls == [{"recipient_id": "ann", "title": "a", "body": "b", "data": [1], "sound": "default"}]
    sink, _ = made({"type": "push"}, "a payload that is text", kind="link.created")
    assert sink.calls == [{"recipient_id": ANN, "title": "Notification", "body": "", "sound": "default"}]


def test_web_sockets_of_a_recipient_get_the_payload_and_all_do_where_there_is_none():
    sink, _ = made({"type": "web_socket"}, {"title": "hello"})
    assert sink.calls == [{"recipient_id": None, "payload": {"title": "hello"}}]
    sink, _ = made({"type": "web_socket"}, {"title": "hello"}, kind="link.created")
    assert sink.calls[0]["recipient_id"] == ANN


def test_a_webhook_is_asked_with_the_payload_and_fails_without_a_url():
    sink, _ = made({"type": "webhook", "config": {"url": "https://example.org/hook"}}, {"a": 1})
    assert sink.calls == [{"method": "POST", "url": "https://example.org/hook", "body": {"a": 1}}]
    _, result = made({"type": "webhook"}, {"a": 1})
    assert result.undelivered["error"].tolist() == ["webhook has no url"]


def test_feeds_and_sinks_that_are_not_defined_take_nothing():
    _, result = made({"type": "feed"}, {"recipient_id": "ann"})
    assert "production has no sink" in result.undelivered["error"][0]
    flow = {
        "name": "f",
        "trigger": {"kind": "entity.created"},
        "pipeline": [{"map": {"template": "x"}}, {"deliver": {"sink": "nowhere"}}],
    }
    project = fd.load({"events": {"flows": [flow]}}, target="this-rs")
    sinks = project.build_sinks(target="this-rs")
    log = log_at((0, fd.entity_created("post", ANN, {})))
    result = fd.replay(project, log, target="this-rs", sinks=sinks, dispatch=True)
    assert result.undelivered["error"].tolist() == ["production has no sink 'nowhere'"]


def test_custom_sinks_are_the_programs_own():
    got: list[Any] = []
    flow = {
        "name": "f",
        "trigger": {"kind": "entity.created"},
        "pipeline": [{"map": {"template": "x"}}, {"deliver": {"sink": "mine"}}],
    }
    project = fd.load(
        {"events": {"flows": [flow]}, "sinks": [{"name": "mine", "type": "custom"}]}, target="this-rs"
    )
    sinks = project.build_sinks(
        target="this-rs", custom={"mine": lambda delivery: got.append(delivery.payload)}
    )
    log = log_at((0, fd.entity_created("post", ANN, {})))
    fd.replay(project, log, target="this-rs", sinks=sinks, dispatch=True)
    assert got == ["x"]


def test_calls_are_a_frame_too():
    sink, _ = made({"type": "push"}, {"recipient_id": "ann", "title": "{{ data.n }}"}, {"n": 1}, {"n": 2})
    assert sink.frame()["title"].tolist() == ["1", "2"]
    assert repr(sink) == "PushThere(2 calls)"
