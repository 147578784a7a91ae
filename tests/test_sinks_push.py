"""Push against a real server that speaks Expo's answers: fine, gone, busy, broken, and nonsense."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flowdsl as fd
from flowdsl import on
from flowdsl.sinks import Delivery, InApp, Push, Recipients
from tests.event_tables import drops, log_of
from tests.http_servers import Asked, Say, Served, one_after_the_other, serving

OK = {"status": "ok"}
GONE = {"status": "error", "message": "gone", "details": {"error": "DeviceNotRegistered"}}


def error(code: str) -> dict[str, Any]:
    return {"status": "error", "message": "no", "details": {"error": code}}


def tickets(*given: dict[str, Any]) -> Say:
    return Say(body=json.dumps({"data": given}).encode())


def by_device(**said: dict[str, Any]) -> Callable[[Asked], Say]:
    """A ticket for each message, by its device; fine for those that are not named."""
    return lambda asked: tickets(*[said.get(one["to"], OK) for one in asked.json])


def people(**devices: list[str]) -> Recipients:
    found = Recipients()
    for recipient, tokens in devices.items():
        for token in tokens:
            found.register_device(recipient, token)
    return found


def pushed(
    answer: Callable[[Asked], Say], who: Recipients, *deliveries: Delivery, **more: Any
) -> tuple[list[Any], Served, dict[str, int]]:
    with serving(answer) as server, Push(who, url=server.url, **more) as push:
        return list(push.deliver(deliveries)), server, push.counts


def note(recipient: str | None, **payload: Any) -> Delivery:
    return Delivery({"title": "hello", **payload}, recipient)


def test_every_device_of_the_recipient_gets_a_message():
    who = people(ann=["a1", "a2"], bob=["b1"])
    full = note("ann", body="B", data={"n": 1}, other="x")
    outcomes, server, counts = pushed(by_device(), who, full, note("bob", data=[1]), Delivery("text", "bob"))
    assert outcomes == [None] * 3
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/--/api/v2/push/send")
    assert asked.json == [
        {"to": "a1", "sound": "default", "title": "hello", "body": "B", "data": {"n": 1}},
        {"to": "a2", "sound": "default", "title": "hello", "body": "B", "data": {"n": 1}},
        {"to": "b1", "sound": "default", "title": "hello", "data": {"value": [1]}},
        {"to": "b1", "sound": "default", "body": "text"},
    ]
    assert counts == {"sent": 4, "unregistered": 0, "failed": 0}


def test_at_most_100_messages_go_into_a_request():
    who = people(ann=[f"t{n:03}" for n in range(150)], bob=["b"] * 1)
    outcomes, server, _ = pushed(by_device(), who, note("ann"), note("ann"), note("bob"))
    assert outcomes == [None] * 3
    assert [len(body) for body in server.bodies()] == [100, 100, 100, 1]


def test_devices_that_are_gone_are_forgotten():
    who = people(ann=["a1", "a2"], bob=["b1"])
    outcomes, server, counts = pushed(by_device(a1=GONE, b1=GONE), who, note("ann"), note("bob"))
    assert (who.devices("ann"), who.devices("bob")) == (("a2",), ())
    # ann was reached on another one
    assert outcomes[0] is None
    assert (outcomes[1].error, outcomes[1].permanent) == ("1 of 1 devices: DeviceNotRegistered", True)
    assert len(server.asked) == 1
    assert counts == {"sent": 1, "unregistered": 2, "failed": 0}


def test_who_has_no_device_is_passed_over_and_counted_and_nobody_is_a_failure():
    outcomes, server, counts = pushed(by_device(), people(), note("ann"), note(None))
    assert (outcomes[0], server.asked) == (None, [])
    assert "push needs a recipient" in outcomes[1].error
    assert counts == {"no device": 1}


def test_only_messages_that_did_not_arrive_are_sent_again():
    answers = one_after_the_other(
        tickets(OK, error("MessageRateExceeded"), GONE, error("MessageTooBig")), tickets(OK)
    )
    who = people(ann=["a1", "a2"], bob=["b1"], eve=["e1"])
    outcomes, server, _ = pushed(answers, who, note("ann"), note("bob"), note("eve"))
    assert [[one["to"] for one in body] for body in server.bodies()] == [["a1", "a2", "b1", "e1"], ["a2"]]
    assert outcomes[0] is None
    assert [(one.error, one.permanent) for one in outcomes[1:]] == [
        ("1 of 1 devices: DeviceNotRegistered", True), ("1 of 1 devices: MessageTooBig", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "says", [Say(429, headers={"retry-after": "0"}), Say(500), Say(503), Say(hang_up=True)]
)
def test_a_service_that_is_busy_or_broken_is_tried_again(says: Say):
    outcomes, server, _ = pushed(one_after_the_other(says, tickets(OK)), people(ann=["a1"]), note("ann"))
    assert outcomes == [None]
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"null", b"{}", b'{"data": []}', b'{"data": [1]}', b'{"data": {"status": "what"}}', b"[" * 2_000,
     b'{"data": [{"status": "error"}]}', b'{"data": [{"status": "error", "details": {"error": 5}}]}', b'\xff\xfe'],
)  # fmt: skip
def test_an_answer_that_makes_no_sense_is_a_failure_in_the_end(body: bytes):
    (outcome,), server, _ = pushed(lambda _: Say(body=body), people(ann=["a1"]), note("ann"), attempts=2)
    assert (outcome.attempts, outcome.permanent, len(server.asked)) == (2, False, 2)


def test_what_the_service_refuses_fails_at_once():
    said = {"errors": [{"code": "UNAUTHORIZED", "message": "no"}]}
    (outcome,), server, _ = pushed(lambda _: Say(401), people(ann=["a1"]), note("ann"))
    assert (outcome.permanent, len(server.asked)) == (True, 1)
    (outcome,), server, _ = pushed(
        lambda _: Say(body=json.dumps(said).encode()), people(ann=["a1"]), note("ann")
    )
    assert "UNAUTHORIZED" in outcome.error
    assert (outcome.permanent, len(server.asked)) == (True, 1)


def test_data_that_is_not_json_fails_and_the_others_are_sent():
    (bad, good), server, counts = pushed(
        by_device(), people(ann=["a1"]), note("ann", data={1, 2}), note("ann", data={"n": 1})
    )
    assert "is not JSON" in bad.error
    assert bad.permanent
    assert good is None
    assert [one["data"] for one in server.asked[0].json] == [{"n": 1}]
    assert counts == {"sent": 1, "unregistered": 0, "failed": 1}


def test_one_message_that_makes_a_request_invalid_does_not_keep_the_others_back():
    def answer(asked: Asked) -> Say:
        devices = [one["to"] for one in asked.json]
        return (
            Say(400, b'{"errors": [{"code": "VALIDATION_ERROR"}]}')
            if "t42" in devices
            else tickets(*[OK] * len(devices))
        )

    names = [f"r{n}" for n in range(100)]
    who = people(**{name: [f"t{n}"] for n, name in enumerate(names)})
    outcomes, server, _ = pushed(answer, who, *map(note, names))
    assert [n for n, outcome in enumerate(outcomes) if outcome is not None] == [42]
    assert len(server.asked) < 16


def test_receipts_tell_which_devices_are_gone_and_are_asked_for_once():
    def answer(asked: Asked) -> Say:
        if asked.path.endswith("/send"):
            return tickets(*[{"status": "ok", "id": f"ticket-{one['to']}"} for one in asked.json])
        receipts = {"ticket-a1": GONE, "ticket-b1": OK, "ticket-unknown": GONE}
        return Say(body=json.dumps({"data": receipts}).encode())

    who = people(ann=["a1"], bob=["b1"], eve=["e1"])
    with serving(answer) as server, Push(who, url=server.url) as push:
        push.deliver([note("ann"), note("bob"), note("eve")])
        assert push.check_receipts() == 0
        assert push.check_receipts(after=0) == 1
        assert who.devices("ann") == ()
        # eve's receipt is not there yet, and is asked for again
        push.check_receipts(after=0)
        assert [one.json["ids"] for one in server.asked if "Receipts" in one.path] == [
            ["ticket-a1", "ticket-b1", "ticket-e1"], ["ticket-e1"],
        ]  # fmt: skip
    who.keep_tickets({"old": "e1"}, 0.0)
    with serving(answer) as server, Push(who, url=server.url) as push:
        push.deliver([note("bob")])
        assert [one.path.rsplit("/", 1)[1] for one in server.asked] == ["send", "getReceipts"]
        assert who.tickets(1.0, 10) == {}


def test_the_token_is_sent_and_not_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EXPO", "s3cr3t")
    with (
        serving(by_device()) as server,
        Push(people(ann=["a1"]), url=server.url, token="{{ env.EXPO }}") as push,
    ):
        push.deliver([note("ann")])
        assert server.asked[0].headers["authorization"] == "Bearer s3cr3t"
        assert "s3cr3t" not in repr(push)


def test_push_shares_devices_and_preferences_with_in_app(tmp_path: Path):
    in_app = InApp(tmp_path / "n.sqlite")
    in_app.register_device("bob", "b1")
    in_app.register_device("eve", "e1")
    in_app.mute("eve")
    log = log_of("""
        at | source | target
         0 | ann    | bob
         1 | ann    | eve
    """)  # fmt: skip
    flow = on("link.created").map(title="x").deliver("push")
    with serving(by_device()) as server:
        result = fd.replay(flow, log, sinks={"push": (push := Push(in_app, url=server.url))}, dispatch=True)
        push.close()
    assert [one["to"] for body in server.bodies() for one in body] == ["b1"]
    assert drops(result) == {"preference": 1}
    assert in_app.devices("bob") == ("b1",)


def test_a_ticket_with_a_name_that_cannot_be_kept_is_still_a_message_sent():
    odd = by_device(a1={**OK, "id": "a\ud83d"}, b1={**OK, "id": "x" * 10_000})
    outcomes, _, counts = pushed(odd, people(ann=["a1"], bob=["b1"]), note("ann"), note("bob"))
    assert outcomes == [None, None]
    assert counts == {"sent": 2, "unregistered": 0, "failed": 0}


def test_what_a_service_says_of_a_failure_is_cut():
    said = by_device(a1=error("\ud83d" + "x" * 50_000))
    (outcome,), _, _ = pushed(said, people(ann=["a1"]), note("ann"), attempts=1)
    assert len(outcome.error) < 1_100
    outcome.error.encode()
