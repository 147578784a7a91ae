"""The webhook against a real server that fails, hangs, redirects and asks for patience; and nothing secret comes out."""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import gc
import json
import logging
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import flowdsl as fd
from flowdsl import on
from flowdsl.sinks import Delivery, Webhook, http_client
from tests.event_tables import log_of
from tests.http_servers import Asked, Say, one_after_the_other, serving

SECRET = "s3cr3t-t0k3n"
HELLO = Delivery({"title": "hello", "n": [1, None]}, "ann", "key-1")


@contextlib.contextmanager
def sending(url: str, **more: Any) -> Iterator[Webhook]:
    with Webhook(url, **more) as webhook:
        yield webhook


def sent(answer: Callable[[Asked], Say], *deliveries: Delivery, **more: Any) -> tuple[list[Any], list[Asked]]:
    with serving(answer) as server, sending(server.url + "/hook", **more) as webhook:
        return list(webhook.deliver(deliveries or [HELLO])), server.asked


def always(*args: Any, **more: Any) -> Callable[[Asked], Say]:
    return lambda asked: Say(*args, **more)


# -- delivering --------------------------------------------------------------------------------------------


def test_a_payload_is_posted_as_json_with_its_key():
    outcomes, (asked,) = sent(always(204, b""), headers={"X-Mine": "yes"})
    assert outcomes == [None]
    assert (asked.method, asked.path, asked.json) == ("POST", "/hook", HELLO.payload)
    assert asked.headers["content-type"] == "application/json"
    assert (asked.headers["idempotency-key"], asked.headers["x-mine"]) == ("key-1", "yes")


def test_headers_of_the_user_come_before_those_of_the_library():
    headers = {"Content-Type": "application/vnd.x+json", "idempotency-KEY": "mine", "user-agent": "us"}
    _, (asked,) = sent(always(), headers=headers, method="PUT")
    assert (asked.method, asked.headers["content-type"]) == ("PUT", "application/vnd.x+json")
    assert (asked.headers["idempotency-key"], asked.headers["user-agent"]) == ("mine", "us")


def test_a_recipients_deliveries_keep_their_order_and_others_do_not_wait():
    many = [
        Delivery({"n": n}, recipient, f"{recipient}{n}")
        for n in range(5)
        for recipient in ("ann", "bob", "eve")
    ]

    def answer(asked: Asked) -> Say:
        return Say(wait=2.0 if asked.headers["idempotency-key"] == "ann1" else 0.0)

    outcomes, asked = sent(answer, *many)
    assert outcomes == [None] * 15
    keys = [one.headers["idempotency-key"] for one in asked]
    for recipient in ("ann", "bob", "eve"):
        assert [key for key in keys if key.startswith(recipient)] == [f"{recipient}{n}" for n in range(5)]
    # everybody else is served while ann's second waits
    assert max(keys.index("bob4"), keys.index("eve4")) < keys.index("ann3")


def test_payloads_of_every_shape_arrive_as_they_are():
    payloads = ["text", 7, None, [1, {"a": "☃\ud83d"}], {"deep": {"er": [[[]]]}}, {"": ""}]
    outcomes, asked = sent(always(), *[Delivery(one, "ann") for one in payloads])
    assert outcomes == [None] * len(payloads)
    assert [one.json for one in asked] == payloads
    assert len({one.headers["idempotency-key"] for one in asked}) == len(payloads)


def test_a_payload_that_is_not_json_fails_and_the_others_are_sent():
    (bad, good), asked = sent(always(), Delivery({"a": {1, 2}}, "ann"), Delivery({"a": 1}, "ann"))
    assert "is not JSON" in bad.error
    assert bad.permanent
    assert good is None
    assert [one.json for one in asked] == [{"a": 1}]


def test_a_webhook_works_inside_of_a_running_event_loop_and_opens_again():
    import asyncio

    async def cell() -> list[Any]:
        return list(webhook.deliver([HELLO]))

    with serving(always()) as server:
        webhook = Webhook(server.url)
        assert asyncio.run(cell()) == [None]
        webhook.close()
        webhook.close()
        assert webhook.deliver([HELLO]) == [None]
        webhook.close()
        assert len(server.asked) == 2


# -- failing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_what_the_server_refuses_fails_at_once(status: int):
    (failure,), asked = sent(always(status))
    assert (failure.attempts, failure.permanent, len(asked)) == (1, True, 1)
    assert f"answered {status}" in failure.error


def test_a_passing_trouble_is_tried_again_with_the_same_key_after_growing_waits():
    (outcome,), asked = sent(one_after_the_other(Say(503), Say(500), Say(hang_up=True), Say()))
    assert outcome is None
    assert [one.headers["idempotency-key"] for one in asked] == ["key-1"] * 4
    waits = [later.at - earlier.at for earlier, later in pairwise(asked)]
    assert [wait >= least for wait, least in zip(waits, (0.1, 0.5, 2.0), strict=True)] == [True] * 3


def test_what_goes_on_failing_says_how_often_it_was_tried():
    (failure,), asked = sent(always(502), attempts=2)
    assert (failure.attempts, failure.permanent, len(asked)) == (2, False, 2)
    assert "answered 502" in failure.error


@pytest.mark.parametrize(
    "says",
    [Say(wait=60), Say(trickle=0.1)],
    ids=["says nothing", "says a byte now and then"],
)  # fmt: skip
def test_a_server_that_hangs_is_given_its_time_and_no_more(says: Say):
    began = time.monotonic()
    (failure,), asked = sent(lambda _: says, timeout=1, attempts=2)
    assert "no answer within 1 s" in failure.error
    assert (failure.attempts, len(asked)) == (2, 2)
    # the server would go on for a minute and more
    assert time.monotonic() - began < 15


def test_an_answer_whose_body_never_ends_is_an_answer():
    (outcome,), asked = sent(always(200, b"", {"content-length": "1000"}), timeout=2)
    assert outcome is None
    assert len(asked) == 1


def test_a_server_that_is_not_there_is_a_failure():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with sending(url, attempts=2) as webhook:
        (failure,) = webhook.deliver([HELLO])
    assert failure is not None
    assert (failure.attempts, failure.permanent) == (2, False)
    assert "no connection" in failure.error


def test_one_failure_does_not_stop_the_others():
    def answer(asked: Asked) -> Say:
        return Say(404 if asked.json["n"] == 1 else 200)

    outcomes, _ = sent(answer, *[Delivery({"n": n}, "ann") for n in range(3)])
    assert [outcome is None for outcome in outcomes] == [True, False, True]


# -- patience ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_says_when_to_come_back(status: int):
    (outcome,), asked = sent(one_after_the_other(Say(status, headers={"retry-after": "1"}), Say()))
    assert outcome is None
    assert asked[1].at - asked[0].at >= 1.0


def test_retry_after_may_be_a_date():
    soon = email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=3), usegmt=True)
    (outcome,), asked = sent(one_after_the_other(Say(429, headers={"retry-after": soon}), Say()))
    assert outcome is None
    assert asked[1].at - asked[0].at >= 0.5


def test_a_server_that_asks_for_too_much_patience_is_not_waited_for():
    (failure,), asked = sent(always(429, headers={"retry-after": "3600"}))
    assert len(asked) == 1
    assert "asks to wait 3600 s" in failure.error
    assert not failure.permanent


@pytest.mark.parametrize(
    "text", ["soon", "-5", "", "1.5", "9" * 400, "Wed, 99 Oct 2015 07:28:00 GMT", "\u0663"]
)
def test_a_retry_after_that_cannot_be_read_or_kept_is_no_trouble(text: str):
    found = http_client.retry_after(text)
    assert found is None or found == 1e9


# -- redirects ---------------------------------------------------------------------------------------------


def redirecting(status: int, location: str) -> Callable[[Asked], Say]:
    return lambda asked: Say(status, headers={"location": location}) if asked.path == "/hook" else Say()


@pytest.mark.parametrize("status", [307, 308])
def test_redirects_that_keep_the_payload_are_followed_on_the_same_server(status: int):
    (outcome,), asked = sent(redirecting(status, "/moved?x=1"), headers={"authorization": SECRET})
    assert outcome is None
    assert [(one.method, one.path, one.json) for one in asked] == [
        ("POST", "/hook", HELLO.payload), ("POST", "/moved?x=1", HELLO.payload),
    ]  # fmt: skip
    assert asked[1].headers["authorization"] == SECRET


@pytest.mark.parametrize("status", [301, 302, 303, 300, 304])
def test_redirects_that_would_lose_the_payload_are_failures(status: int):
    (failure,), asked = sent(redirecting(status, "/moved"))
    assert (len(asked), failure.permanent) == (1, True)
    assert f"answered {status}" in failure.error


def test_another_server_gets_nothing_unless_it_is_allowed():
    with serving(always()) as other:
        (failure,), asked = sent(redirecting(307, f"{other.url}/steal"), headers={"authorization": SECRET})
        assert (len(asked), other.asked, failure.permanent) == (1, [], True)
        assert "which `redirects` does not allow" in failure.error
        (outcome,), _ = sent(
            redirecting(307, f"{other.url}/take"), headers={"authorization": SECRET}, redirects=[other.url]
        )
        assert outcome is None
        (taken,) = other.asked
        assert (taken.path, taken.json, taken.headers["idempotency-key"]) == ("/take", HELLO.payload, "key-1")
        assert SECRET not in str(taken.headers)


@pytest.mark.parametrize(
    "location",
    ["https://127.0.0.1/x", "ftp://127.0.0.1/x", "file:///tmp/x", "//example.invalid/x", "javascript:0", "http://127.0.0.1:99999/"],
)  # fmt: skip
def test_redirects_to_other_schemes_hosts_and_nonsense_are_refused(location: str):
    (failure,), asked = sent(redirecting(308, location))
    assert (len(asked), failure.permanent) == (1, True)
    assert "/tmp/x" not in failure.error


def test_a_redirect_to_what_is_no_address_is_a_failure():
    (failure,), asked = sent(redirecting(308, "http://[::1"), attempts=1)
    assert failure is not None
    assert len(asked) == 1


def test_a_server_that_redirects_in_a_circle_is_left():
    (failure,), asked = sent(always(307, headers={"location": "/hook"}))
    assert "more than 5 times" in failure.error
    assert len(asked) == 6


# -- secrets -----------------------------------------------------------------------------------------------


FLOWS = """
events:
  flows:
    - name: f
      trigger: {kind: link.created}
      pipeline:
        - map: {template: {title: x}}
        - deliver: {sink: hook}
sinks:
  - name: hook
    type: webhook
    config:
      url: "http://127.0.0.1:PORT/{{ env.HOOK_PATH }}?key={{ env.HOOK_KEY }}"
      headers: {Authorization: "Bearer {{ env.HOOK_TOKEN }}", X-Api-Key: "{{ env.HOOK_KEY }}"}
      attempts: 2
"""


def everything_shown(shown: list[str], *objects: object) -> None:
    for one in objects:
        shown += [repr(one), str(one)]


@pytest.mark.parametrize(
    "says",
    [Say(500), Say(404), Say(307, headers={"location": "http://127.0.0.1:1/x"}), Say(hang_up=True), Say()],
    ids=["fails", "refuses", "redirects", "hangs up", "takes it"],
)  # fmt: skip
def test_secrets_reach_the_server_and_nothing_else(
    says: Say, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
):  # fmt: skip
    for name in ("HOOK_PATH", "HOOK_KEY", "HOOK_TOKEN"):
        monkeypatch.setenv(name, SECRET + "\n")
    shown: list[str] = []
    with caplog.at_level(logging.DEBUG), serving(lambda _: says) as server:
        project = fd.load(FLOWS.replace("127.0.0.1:PORT", server.url.removeprefix("http://")))
        sinks = project.build_sinks()
        log = log_of("at\n 0")
        result = fd.replay(project, log, sinks=sinks, dispatch=True, out=tmp_path / "r")
        everything_shown(
            shown, project, project.sinks, sinks, sinks["hook"], vars(sinks["hook"])["_headers"], result
        )
        shown += [project.to_yaml(), result.undelivered.to_csv(), json.dumps(project.to_dict())]
        shown += [str(finding) for finding in project.check("this-rs")]
        sinks["hook"].close()
    asked = server.asked[0]
    assert asked.headers["authorization"] == f"Bearer {SECRET}"
    assert asked.path == f"/{SECRET}?key={SECRET}"
    shown += [record.getMessage() + str(record.args) for record in caplog.records]
    shown += [
        str(path) + path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()
    ]
    shown += list(capfd.readouterr())
    assert SECRET not in "\n".join(shown)
    assert (says.status == 200 and not says.hang_up) == result.undelivered.empty


@pytest.mark.parametrize("value", [f"{SECRET}\r\nX-Evil: 1", f"{SECRET}\0", f"{SECRET}\x7f"])
def test_a_secret_that_cannot_be_sent_is_refused_without_being_shown(
    value: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("os.environ", {"TOKEN": value})
    try:
        Webhook("http://127.0.0.1:9/", headers={"X": "{{ env.TOKEN }}"}).open()
    except fd.SinkError:
        shown = traceback.format_exc()
    assert "the variable TOKEN of the environment has a line break" in shown
    assert SECRET not in shown


def test_a_secret_may_have_letters_beyond_ascii(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TOKEN", "geheimniß ☃")
    (outcome,), (asked,) = sent(always(), headers={"X": "{{ env.TOKEN }}"}, attempts=1)
    assert outcome is None
    assert asked.headers["x"].encode("latin-1").decode() == "geheimniß ☃"


def test_a_variable_that_is_not_set_is_said_by_name_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NOT_THERE", raising=False)
    webhook = Webhook("http://127.0.0.1:9/", headers={"X": "{{ env.NOT_THERE }}"})
    with pytest.raises(fd.SinkError, match="the header X needs the variable NOT_THERE"):
        fd.replay(
            on("link.created").map(a="b").deliver("s"), log_of("at\n 0"), sinks={"s": webhook}, dispatch=True
        )


def test_what_the_library_logs_of_others_is_still_logged(caplog: pytest.LogCaptureFixture):
    import httpx

    with caplog.at_level(logging.INFO), serving(always()) as server, sending(server.url) as webhook:
        webhook.deliver([HELLO])
        assert not [record for record in caplog.records if record.name == "httpx"]
        httpx.get(server.url + "/mine")
        assert [record for record in caplog.records if record.name == "httpx"]


# -- mistakes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Webhook("example.org/hook"), "url is not a URL of a web server"),
        (lambda: Webhook("ftp://example.org"), "url is not a URL of a web server"),
        (lambda: Webhook("http://[::1"), "url is not a URL"),
        (lambda: Webhook(7), "url is an int"),
        (lambda: Webhook("http://x/{{ payload.id }}"), "braces that are no"),
        (lambda: Webhook("http://x/", method="GET"), "method 'GET' is not known"),
        (lambda: Webhook("http://x/", headers={"a b": "c"}), "a header cannot have the name"),
        (lambda: Webhook("http://x/", headers={"a": 5}), "the header a is an int"),
        (lambda: Webhook("http://x/", headers={"a": "b\r\nc: d"}), "the header a has a line break"),
        (lambda: Webhook("http://x/", headers=["a"]), "headers are a list"),
        (lambda: Webhook("http://x/", timeout=0), "timeout is 0"),
        (lambda: Webhook("http://x/", timeout="soon"), "timeout: "),
        (lambda: Webhook("http://x/", attempts=0), "attempts is 0"),
        (lambda: Webhook("http://x/", redirects="http://y"), "redirects is text"),
        (lambda: Webhook("http://x/", redirects=["y"]), "a server of redirects is not a URL"),
    ],
)
def test_mistakes_are_said_when_a_webhook_is_made(make: Callable[[], Webhook], said: str):
    with pytest.raises(fd.SinkError, match=said):
        make()


def test_without_the_libraries_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "tenacity", None)
    with pytest.raises(fd.SinkError) as refused:
        Webhook("http://x/").open()
    assert "pip install 'flowdsl[live]'" in str(refused.value)


def test_nothing_is_left_behind_when_it_is_closed():
    import threading

    before = set(threading.enumerate())
    with serving(always()) as server, sending(server.url) as webhook:
        webhook.deliver([HELLO])
    assert set(threading.enumerate()) <= before
    gc.collect()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.org/services/T0/s3cr3t", "https://hooks.example.org/…"),
        ("{{ env.BASE }}/services/s3cr3t", "{{ env.BASE }}/…"),
        ("{{ env.BASE }}/x?to=https://s3cr3t.example.org", "{{ env.BASE }}/…"),
        ("https://{{ env.HOST }}?key=s3cr3t", "https://{{ env.HOST }}/…"),
        ("https://ann:s3cr3t@hooks.example.org", "https://hooks.example.org"),
        ("https://hooks.example.org#s3cr3t", "https://hooks.example.org/…"),
    ],
)
def test_nothing_of_a_url_is_shown_but_its_server(url: str, shown: str):
    assert repr(fd.sinks.Webhook(url)) == f"Webhook({shown!r})"


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Connection"])
def test_headers_that_belong_to_the_request_are_refused(name: str):
    with pytest.raises(fd.SinkError, match=name):
        fd.sinks.Webhook("https://example.org", headers={name: "7"})
