"""The WebSocket server with real clients, many and slow ones among them, and strangers at the door."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import flowdsl as fd
from flowdsl.sinks import Delivery, WebSocket


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


def with_server(test: Callable[[WebSocket, str], Coroutine[Any, Any, None]], **options: Any) -> None:
    with WebSocket(**options) as server:
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
        async with connect(url, ping_interval=None) as client:
            await until(lambda: server.listeners == 1)
            # handed over at once: more than the queue has room for
            server.deliver(messages(None, 50))
            with pytest.raises(ConnectionClosed) as closed:
                await heard(client, 50)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "too slow")

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


def test_with_a_token_only_who_sends_it_may_listen(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("LISTEN", "s3cr3t")

    async def test(server: WebSocket, url: str) -> None:
        async with connect(f"{url}/?token=s3cr3t&recipient=ann"):
            pass
        async with connect(url, additional_headers={"Authorization": "Bearer s3cr3t"}):
            pass
        for path in ("/", "/?token=", "/?token=s3cr3", "/?token=%F0%28%8C", "/?token=s3cr3t%00"):
            with pytest.raises(InvalidStatus) as refused:
                await connect(url + path)
            assert refused.value.response.status_code == 401
        assert server.counts["refused"] == 5
        assert "s3cr3t" not in repr(server)

    with caplog.at_level(0, "flowdsl"):
        with_server(test, token="{{ env.LISTEN }}")
    assert "s3cr3t" not in caplog.text


def test_a_question_that_is_not_understood_hears_nothing():
    async def test(server: WebSocket, url: str) -> None:
        for path in ("/?recipients=ann", "/?user=ann", "/ann", "/?recipient=ann&all=1"):
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
    server = WebSocket()
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
        (lambda: WebSocket("0.0.0.0"), "anybody could listen"),
        (lambda: WebSocket("example.org"), "anybody could listen"),
        (lambda: WebSocket(port=70_000), "port is 70000"),
        (lambda: WebSocket(origins="https://x"), "origins is text"),
        (lambda: WebSocket(queue=0), "queue is 0"),
        (lambda: WebSocket(token="{{ env.NOT_THERE_AT_ALL }}").open(), "NOT_THERE_AT_ALL"),
    ],
)
def test_mistakes_are_said_at_once(make: Callable[[], object], said: str):
    with pytest.raises(fd.SinkError, match=said):
        make()
