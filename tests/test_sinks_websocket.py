"""The WebSocket server with real clients, many and slow ones among them, and strangers at the door."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import flowdsl as fd
from flowdsl.sinks import Delivery, WebSocket
from flowdsl.sinks.listeners import STRANGERS


def messages(recipient: str | None, count: int, size: int = 0) -> list[Delivery]:
    return [
        Delivery({"n": n, "pad": "x" * size}, recipient, f"{recipient}-{n}", "live") for n in range(count)
    ]


async def heard(client: ClientConnection, count: int) -> list[int]:
    return [json.loads(await asyncio.wait_for(client.recv(), 20))["payload"]["n"] for _ in range(count)]


async def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def with_server(
    test: Callable[[WebSocket, str], Coroutine[Any, Any, None]], *, public: bool = True, **options: Any
) -> None:
    with WebSocket(public=public, **options) as server:
        asyncio.run(test(server, f"ws://127.0.0.1:{server.port}"))


def test_listeners_hear_what_is_for_their_recipient_and_for_everybody():
    async def test(server: WebSocket, url: str) -> None:
        async with (
            connect(f"{url}/?recipient=ann") as ann,
            connect(f"{url}/?recipient=bob&recipient=eve%20%26%20co") as both,
            connect(url) as everything,
        ):
            await until(lambda: server.listeners == 3)
            sent = [
                Delivery({"n": n}, recipient)
                for n, recipient in enumerate(["ann", "bob", "eve & co", None, "nobody"])
            ]
            assert await asyncio.to_thread(server.deliver, sent) == [None] * 5
            assert await heard(ann, 2) == [0, 3]
            assert await heard(both, 3) == [1, 2, 3]
            assert await heard(everything, 5) == [0, 1, 2, 3, 4]
        await until(lambda: server.listeners == 0)
        assert server.counts["sent"] == 10

    with_server(test)


def test_a_message_says_where_it_comes_from():
    async def test(server: WebSocket, url: str) -> None:
        async with connect(url) as client:
            await until(lambda: server.listeners == 1)
            server.deliver([Delivery({"t": "☃"}, "ann", "k", "live", "f", 2, None, 7, "e7")])
            assert json.loads(await client.recv()) == {
                "key": "k", "sink": "live", "flow": "f", "seq_no": 7, "event_id": "e7",
                "event_time": "1970-01-01T00:00:00+00:00", "delivered_at": "1970-01-01T00:00:00+00:00",
                "recipient_id": "ann", "payload": {"t": "☃"},
            }  # fmt: skip

    with_server(test)


def test_a_payload_that_is_not_json_fails_and_the_others_are_sent():
    async def test(server: WebSocket, url: str) -> None:
        async with connect(url) as client:
            await until(lambda: server.listeners == 1)
            bad, good = server.deliver([Delivery({"n": float("nan")}), *messages("ann", 1)])
            assert bad is not None
            assert "is not JSON" in bad.error
            assert good is None
            assert await heard(client, 1) == [0]

    with_server(test)


def test_200_clients_of_which_some_are_slow_keep_nobody_waiting():
    clients, slow, count = 200, 20, 150

    async def crawl(url: str) -> tuple[int, str | None]:
        """A client that takes one message and then reads nothing more."""
        async with connect(
            f"{url}/?recipient=slow", max_queue=1, ping_interval=None, close_timeout=0.1
        ) as client:
            await client.recv()
            client.transport.pause_reading()
            await gone.wait()
        return client.close_code or 0, client.close_reason

    async def test(server: WebSocket, url: str) -> None:
        nonlocal gone
        gone = asyncio.Event()
        crawling = [asyncio.ensure_future(crawl(url)) for _ in range(slow)]
        fast = [
            await connect(f"{url}/?recipient=r{n % 10}", ping_interval=None) for n in range(clients - slow)
        ]
        await until(lambda: server.listeners == clients)
        listening = [asyncio.ensure_future(heard(client, count)) for client in fast]
        began, waited = time.monotonic(), []
        for n in range(count):
            batch = [Delivery({"n": n}, f"r{r}") for r in range(10)]
            # large enough that what slow clients do not take fills every buffer on the way
            batch += [Delivery({"n": n, "pad": "x" * 200_000}, "slow")]
            before = time.monotonic()
            await asyncio.to_thread(server.deliver, batch)
            waited.append(time.monotonic() - before)
        for numbers in await asyncio.gather(*listening):
            assert numbers == list(range(count))
        spent = time.monotonic() - began
        await until(lambda: server.listeners == clients - slow)
        assert server.counts["too slow"] == slow
        # nobody waited for the slow ones: the longest hand-over is a small part of the whole
        assert max(waited) < max(5.0, spent / 4)
        gone.set()
        await asyncio.gather(*crawling)
        for client in fast:
            await client.close()

    gone: Any = None
    with_server(test, queue=64)


def test_a_listener_that_cannot_keep_up_is_told_so():
    async def test(server: WebSocket, url: str) -> None:
        async with connect(url, ping_interval=None, max_queue=1) as client:
            await until(lambda: server.listeners == 1)
            client.transport.pause_reading()
            # more than the buffers on the way have room for
            await asyncio.to_thread(server.deliver, messages(None, 100, 500_000))
            await until(lambda: server.listeners == 0)
            client.transport.resume_reading()
            with pytest.raises(ConnectionClosed) as closed:
                await heard(client, 100)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "too slow")
        assert server.counts["too slow"] == 1
        assert server.counts["missed"] > 10

    with_server(test, queue=10)


def test_a_listener_that_keeps_up_stays_however_large_a_batch_is():
    async def test(server: WebSocket, url: str) -> None:
        async with connect(url) as client:
            await until(lambda: server.listeners == 1)
            for _ in range(3):
                handed = asyncio.ensure_future(asyncio.to_thread(server.deliver, messages("ann", 5_000)))
                assert await heard(client, 5_000) == list(range(5_000))
                assert await handed == [None] * 5_000
        assert "too slow" not in server.counts

    with_server(test, queue=10)


def test_what_listeners_say_is_passed_over_and_too_much_of_it_ends_it():
    async def test(server: WebSocket, url: str) -> None:
        async with connect(url) as client:
            await until(lambda: server.listeners == 1)
            await client.send("hello")
            await client.send(b"\0" * 100)
            server.deliver(messages(None, 1))
            assert await heard(client, 1) == [0]
            await client.send("x" * 10_000)
            with pytest.raises(ConnectionClosed):
                await client.recv()
        await until(lambda: server.listeners == 0)

    with_server(test)


def test_pages_of_other_sites_may_not_listen():
    async def test(server: WebSocket, url: str) -> None:
        for origin in ("http://localhost:3000", "http://127.0.0.1", "https://app.example.org"):
            async with connect(url, origin=origin):  # type: ignore[arg-type]
                pass
        for origin in (
            "https://evil.example",
            "http://localhost.evil.example",
            "null",
            "https://app.example.org.evil",
        ):
            with pytest.raises(InvalidStatus) as refused:
                await connect(url, origin=origin)  # type: ignore[arg-type]
            assert refused.value.response.status_code == 403

    with_server(test, origins=["https://app.example.org"])


SECRET = "a secret of the tests, and long enough"


async def refused(url: str, **options: Any) -> int:
    with pytest.raises(InvalidStatus) as error:
        await connect(url, **options)
    return error.value.response.status_code


def test_a_token_hears_its_own_recipients_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("LISTEN", SECRET)

    async def test(server: WebSocket, url: str) -> None:
        ann, both, everything = server.token("ann"), server.token(["ann", "bob"]), server.token_for_all()
        async with (
            connect(f"{url}/?token={ann}") as of_ann,
            connect(url, additional_headers={"Authorization": f"bearer {both}"}) as of_both,
            connect(f"{url}/?token={both}&recipient=bob") as of_bob,
            connect(f"{url}/?token={everything}") as of_all,
        ):
            await until(lambda: server.listeners == 4)
            server.deliver([Delivery({"n": n}, who) for n, who in enumerate(["eve", "ann", "bob", None])])
            assert await heard(of_ann, 2) == [1, 3]
            assert await heard(of_both, 3) == [1, 2, 3]
            assert await heard(of_bob, 2) == [2, 3]
            assert await heard(of_all, 4) == [0, 1, 2, 3]
        assert await refused(f"{url}/?token={ann}&recipient=bob") == 403
        assert await refused(f"{url}/?token={ann}&recipient=") == 403
        assert await refused(f"{url}/?token={ann}&token={both}") == 401
        for path in ("/", "/?token=", f"/?token={ann[:-2]}", "/?token=%F0%28%8C", f"/?token={quote(SECRET)}"):
            assert await refused(url + path) == 401
        assert server.counts["refused"] == 8
        assert SECRET not in repr(server)

    with caplog.at_level(0, "flowdsl"):
        with_server(test, public=False, secret="{{ env.LISTEN }}")
    assert SECRET not in caplog.text


def test_without_a_secret_only_tokens_of_the_sink_itself_are_known():
    async def test(server: WebSocket, url: str) -> None:
        async with connect(f"{url}/?token={server.token('ann')}"):
            pass
        assert await refused(f"{url}/?token={WebSocket().token('ann')}") == 401
        assert await refused(url) == 401

    with_server(test, public=False)


def test_a_connection_ends_with_its_token():
    async def test(server: WebSocket, url: str) -> None:
        token = server.token("ann", lasts="1s")
        async with connect(f"{url}/?token={token}") as client:
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "the token has ended")
        assert await refused(f"{url}/?token={token}") == 401

    with_server(test, public=False)


def test_any_program_that_knows_the_secret_can_make_tokens():
    async def test(server: WebSocket, url: str) -> None:
        end = time.time() + 60
        good = [
            {"recipients": ["ann"]},
            {"all": True},
            {"recipients": []},
            {"sub": "ann", "recipients": ["ann"]},
        ]
        for claims in good:
            token = jwt.encode({"aud": "flowdsl", "exp": end, **claims}, SECRET)
            async with connect(f"{url}/?token={token}"):
                pass
        whole = {"aud": "flowdsl", "exp": end, "recipients": ["ann"]}
        wrong = [
            {**whole, "aud": "others"}, {**whole, "exp": end - 120}, {**whole, "recipients": "ann"},
            {**whole, "recipients": [1]}, {**whole, "recipients": None}, {**whole, "all": True}, {**whole, "all": 1},
            {"aud": "flowdsl", "exp": end}, {"aud": "flowdsl", "recipients": ["ann"]}, {"exp": end, "recipients": ["ann"]},
        ]  # fmt: skip
        for claims in wrong:
            assert await refused(f"{url}/?token={jwt.encode(claims, SECRET)}") == 401, claims
        assert await refused(f"{url}/?token={jwt.encode(whole, 'another secret, also long enough')}") == 401

    with_server(test, public=False, secret=SECRET)


def test_strangers_at_the_door_take_up_little_and_keep_nobody_out():
    async def test(server: WebSocket, url: str) -> None:
        standing = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(400)]
        await until(lambda: server.counts.get("refused", 0) >= 400 - STRANGERS)
        async with connect(url) as client:
            await until(lambda: server.listeners == 1)
            server.deliver(messages(None, 3))
            assert await heard(client, 3) == [0, 1, 2]
        for one in standing:
            one.close()

    with_server(test)


def test_it_closes_at_once_though_some_do_not_answer():
    async def crowd(port: int) -> list[Any]:
        url = f"ws://127.0.0.1:{port}"
        listening: list[Any] = [await connect(url, ping_interval=None) for _ in range(20)]
        for client in listening:
            client.transport.pause_reading()
        return listening + [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]

    loop = asyncio.new_event_loop()
    server = WebSocket(public=True)
    server.open()
    crowd_there = loop.run_until_complete(crowd(server.port))
    began = time.monotonic()
    server.close()
    assert time.monotonic() - began < 5
    for one in crowd_there[20:]:
        one.close()
    for client in crowd_there[:20]:
        client.transport.abort()
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.close()


def test_a_question_that_is_not_understood_hears_nothing():
    async def test(server: WebSocket, url: str) -> None:
        for path in ("/?recipients=ann", "/?user=ann", "/ann", "/?recipient=ann&all=1", "//[ann"):
            with pytest.raises(InvalidStatus) as refused:
                await connect(url + path)
            assert refused.value.response.status_code == 400
        async with connect(f"{url}/?recipient=") as client:
            await until(lambda: server.listeners == 1)
            server.deliver([*messages("ann", 3), Delivery({"n": 9})])
            assert await heard(client, 1) == [9]

    with_server(test)


def test_only_so_many_may_listen():
    async def test(server: WebSocket, url: str) -> None:
        async with connect(url), connect(url):
            await until(lambda: server.listeners == 2)
            with pytest.raises(InvalidStatus) as refused:
                await connect(url)
            assert refused.value.response.status_code == 503

    with_server(test, listeners=2)


def test_it_listens_on_this_machine_only_and_again_after_it_was_closed():
    server = WebSocket(public=True)
    server.open()
    port = server.port
    assert [s.getsockname()[0] for s in server._server.sockets] == ["127.0.0.1"]  # type: ignore[union-attr]
    with pytest.raises(fd.SinkError, match="cannot listen on"):
        WebSocket(port=port).open()
    server.close()
    server.close()
    with WebSocket(port=port) as again:
        assert again.port == port
        assert again.deliver(messages("ann", 3)) == [None] * 3
    with socket.socket() as free, pytest.raises(ConnectionRefusedError):
        free.connect(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: WebSocket("0.0.0.0", public=True), "anyone could listen"),
        (lambda: WebSocket("example.org", public=True), "anyone could listen"),
        (lambda: WebSocket(public=True, secret=SECRET), "no use for a secret"),
        (lambda: WebSocket(public=1), "public is 1"),  # type: ignore[arg-type]
        (lambda: WebSocket(secret="too short"), "secret has 9 bytes"),
        (lambda: WebSocket().token([]), "recipients is"),
        (lambda: WebSocket().token(7), "recipients is 7"),  # type: ignore[arg-type]
        (lambda: WebSocket().token("ann", lasts="soon"), "lasts"),
        (lambda: WebSocket().token("ann", lasts=60), "lasts is 60"),  # type: ignore[arg-type]
        (lambda: WebSocket(port=70_000), "port is 70000"),
        (lambda: WebSocket(origins="https://x"), "origins is text"),
        (lambda: WebSocket(queue=0), "queue is 0"),
        (lambda: WebSocket(secret="{{ env.NOT_THERE_AT_ALL }}").open(), "NOT_THERE_AT_ALL"),
    ],
)
def test_mistakes_are_said_at_once(make: Callable[[], object], said: str):
    with pytest.raises(fd.SinkError, match=said):
        make()
