"""web_socket: a server that hands deliveries on to whoever listens."""

from __future__ import annotations

import asyncio
import hmac
import http
import ipaddress
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import parse_qs, urlsplit

from flowdsl.errors import SinkError
from flowdsl.operators.base import Option, text_schema
from flowdsl.sinks.background import Background
from flowdsl.sinks.base import Delivery, Outcome, Sink
from flowdsl.sinks.environment import EnvText
from flowdsl.sinks.requesting import need
from flowdsl.sinks.webhook import whole

if TYPE_CHECKING:
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response

# pages of this machine, in a browser; what is no browser names no origin
_LOCAL_PAGES: Final = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?")
_TOO_SLOW: Final = 1013
# a listener has nothing to say; so much is let in and passed over
_MOST_HEARD: Final = 1 << 12
_log: Final = logging.getLogger("flowdsl.sinks.web_socket")


class _Listener:
    """One connection: whom it listens for, and what waits to be sent to it."""

    def __init__(self, recipients: frozenset[str] | None, queue: int) -> None:
        self.recipients = recipients
        self.waiting: asyncio.Queue[str] = asyncio.Queue(queue)
        self.slow = asyncio.Event()


class WebSocket(Sink):
    """Serves deliveries at `ws://host:port/`, to those who listen while they come.

    `/?recipient=ann&recipient=bob` listens for some recipients, `/` for all. A delivery goes to those who listen for its
    recipient, or to everybody where it has none, as a JSON object with `key, sink, flow, seq_no, event_id, event_time,
    delivered_at, recipient_id, payload`. For each listener up to `queue` deliveries wait; one that does not keep up is
    sent away (code 1013), and keeps nobody else waiting.

    Anybody on this machine may listen, pages of other sites in a browser may not, unless they are among `origins`. With
    `token` a listener has to send it, as `Authorization: Bearer …` or as `token=…` in the address. Another `host` than
    this machine needs a token. `port=0` takes any free port, which `.port` tells.
    """

    type: ClassVar[str] = "web_socket"
    summary: ClassVar[str] = "a server that hands deliveries on to whoever listens"
    options: ClassVar[tuple[Option, ...]] = (
        Option("host", "the address that it listens on", {**text_schema("127.0.0.1"), "default": "127.0.0.1"}, portable=False),
        Option(
            "port", "the port that it listens on; 0 for any free one",
            {"type": "integer", "minimum": 0, "maximum": 65535, "default": 0, "examples": [8765]}, portable=False,
        ),
        Option("token", "what listeners have to send, as {{ env.NAME }}", text_schema("{{ env.LISTEN_TOKEN }}"), portable=False),
        Option(
            "origins", "the sites whose pages may listen",
            {"type": "array", "items": {"type": "string"}, "examples": [["https://app.example.org"]]}, portable=False,
        ),
        Option(
            "queue", "how many deliveries wait for one listener",
            {"type": "integer", "minimum": 1, "default": 256, "examples": [256]}, portable=False,
        ),
        Option(
            "listeners", "how many may listen at once",
            {"type": "integer", "minimum": 1, "default": 1_000, "examples": [1_000]}, portable=False,
        ),
    )  # fmt: skip

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        token: str | None = None,
        origins: Iterable[str] = (),
        queue: int = 256,
        listeners: int = 1_000,
    ) -> None:
        if not isinstance(host, str) or not host:
            raise SinkError(f"host is {host!r:.60}", allowed="an address, such as '127.0.0.1'")
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 1 << 16:
            raise SinkError(f"port is {port!r:.20}", allowed="a whole number from 0 to 65535")
        if isinstance(origins, str):
            raise SinkError("origins is text", allowed="a list of sites, such as ['https://app.example.org']")
        if token is None and not _is_here(host):
            raise SinkError(
                f"on {host} anybody could listen to everybody's deliveries",
                hint="give it a token, '{{ env.NAME }}', or leave it on 127.0.0.1",
            )
        self._host = host
        self._asked_port = port
        self._token = None if token is None else EnvText(token, "token")
        self._origins = tuple(origins)
        self._queue = whole("queue", queue)
        self._most = whole("listeners", listeners)
        self._secret: bytes | None = None
        self._background = Background("flowdsl-websocket")
        self._server: Server | None = None
        self._for: dict[str | None, set[_Listener]] = {}
        self._everybody: set[_Listener] = set()
        self._counts: Counter[str] = Counter()

    @property
    def port(self) -> int:
        """The port that it listens on, once it is open."""
        if self._server is None:
            return self._asked_port
        found: int = next(iter(self._server.sockets)).getsockname()[1]
        return found

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._everybody)

    @property
    def counts(self) -> dict[str, int]:
        """So far: messages `sent`, listeners that were `too slow`, and connections `refused`."""
        return dict(self._counts)

    def open(self) -> None:
        """Start the server."""
        if self._server is not None:
            return
        need("websockets", "web_socket")
        self._secret = None if self._token is None else self._token.filled().encode()
        if self._secret is not None and not self._secret:
            raise SinkError("token is empty", hint="set its variable to a long random text")
        try:
            self._server = self._background.run(self._serve())
        except OSError as error:
            self._background.stop()
            raise SinkError(
                f"web_socket cannot listen on {self._host}:{self._asked_port}: {error.strerror or error}"
            ) from error

    def close(self) -> None:
        """Send everybody away, and end the server."""
        server, self._server = self._server, None
        if server is not None:
            self._background.run(_closed(server))
        self._background.stop()
        self._everybody.clear()
        self._for.clear()

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """Put deliveries in the queues of those who listen; it does not wait for them."""
        self.open()
        self._background.run(self._hand_out(deliveries))
        return [None] * len(deliveries)

    def __repr__(self) -> str:
        return f"WebSocket({self._host!r}, {self.port}, {self.listeners} listeners)"

    # -- inside: all of it runs in the sink's own event loop -------------------------------------------

    async def _serve(self) -> Server:
        from websockets.asyncio.server import serve

        # the library would log addresses, tokens and all
        silent = logging.Logger("flowdsl.sinks.web_socket.connections")
        silent.addHandler(logging.NullHandler())
        return await serve(
            self._listen,
            self._host,
            self._asked_port,
            origins=[None, _LOCAL_PAGES, *self._origins],  # type: ignore[list-item]
            process_request=self._judge,
            compression=None,
            server_header=None,
            close_timeout=3,
            max_size=_MOST_HEARD,
            logger=silent,
        )

    def _judge(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse whoever may not listen, and addresses that ask for what is not there."""
        address = urlsplit(request.path)
        asked = parse_qs(address.query, keep_blank_values=True)
        if self._secret is not None:
            header = request.headers.get_all("Authorization")
            given = [text.removeprefix("Bearer ") for text in header]
            given += asked.get("token", [])
            if not any(hmac.compare_digest(one.encode("utf-8", "replace"), self._secret) for one in given):
                self._counts["refused"] += 1
                return connection.respond(http.HTTPStatus.UNAUTHORIZED, "a token is needed\n")
        # a misspelt question must not be taken for one about everything
        if address.path not in ("", "/") or not asked.keys() <= {"recipient", "token"}:
            return connection.respond(http.HTTPStatus.BAD_REQUEST, "listen at /?recipient=… or at /\n")
        if len(self._everybody) >= self._most:
            self._counts["refused"] += 1
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "too many listen already\n")
        return None

    async def _listen(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        asked = parse_qs(urlsplit(connection.request.path).query, keep_blank_values=True).get("recipient")
        listener = _Listener(frozenset(asked) if asked else None, self._queue)
        self._add(listener)
        tasks = [
            asyncio.ensure_future(work)
            for work in (self._send(connection, listener), _pass_over(connection), listener.slow.wait())
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._remove(listener)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if listener.slow.is_set():
            self._counts["too slow"] += 1
            _log.warning("a listener did not keep up and is sent away")
            await connection.close(_TOO_SLOW, "too slow")

    async def _send(self, connection: ServerConnection, listener: _Listener) -> None:
        while True:
            await connection.send(await listener.waiting.get())
            self._counts["sent"] += 1

    async def _hand_out(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if delivery.recipient is None:
                wanted = self._everybody
            else:
                wanted = self._for.get(delivery.recipient, set()) | self._for.get(None, set())
            if not wanted:
                continue
            text = _message(delivery)
            for listener in wanted:
                try:
                    listener.waiting.put_nowait(text)
                except asyncio.QueueFull:
                    listener.slow.set()

    def _add(self, listener: _Listener) -> None:
        self._everybody.add(listener)
        for recipient in listener.recipients or (None,):
            self._for.setdefault(recipient, set()).add(listener)

    def _remove(self, listener: _Listener) -> None:
        self._everybody.discard(listener)
        for recipient in listener.recipients or (None,):
            listening = self._for.get(recipient, set())
            listening.discard(listener)
            if not listening:
                self._for.pop(recipient, None)


async def _pass_over(connection: ServerConnection) -> None:
    """Read what a listener says, until it goes."""
    async for _ in connection:
        pass


async def _closed(server: Server) -> None:
    server.close()
    await server.wait_closed()


def _message(delivery: Delivery) -> str:
    said: dict[str, Any] = {
        "key": delivery.key,
        "sink": delivery.sink,
        "flow": delivery.flow,
        "seq_no": delivery.seq_no,
        "event_id": delivery.event_id,
        "event_time": delivery.event_time.isoformat(),
        "delivered_at": delivery.delivered_at.isoformat(),
        "recipient_id": delivery.recipient,
        "payload": delivery.payload,
    }
    return json.dumps(said, separators=(",", ":"))


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
