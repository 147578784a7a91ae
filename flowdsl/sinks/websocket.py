"""WebSocket sink: a server that streams deliveries to listeners."""

from __future__ import annotations

import asyncio
import functools
import http
import ipaddress
import logging
import math
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast
from urllib.parse import parse_qs, urlsplit

from flowdsl.arguments import flag_of, texts_of, whole_number
from flowdsl.errors import SinkError
from flowdsl.operators.options import Option, count_schema, text_schema
from flowdsl.sinks.async_runner import Background
from flowdsl.sinks.base import Delivery, Failure, Outcome, Sink, check_deliveries, json_text
from flowdsl.sinks.env import EnvText
from flowdsl.sinks.http_client import need
from flowdsl.sinks.tokens import Grant, Tokens, check_recipients, check_secret
from flowdsl.text import short_repr

if TYPE_CHECKING:
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response

    from flowdsl.sinks.listeners import Door, Guest, Listener, Listeners

# pages of this machine, in a browser; what is not a browser names no origin
_LOCAL_PAGES: Final = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?")
_BEARER: Final = re.compile("^Bearer +", re.IGNORECASE)
_TOO_SLOW: Final = 1013
_NOT_ALLOWED: Final = 1008
# how long a handshake may take, and a good-bye, in seconds
_GREETING: Final = 5
_GOODBYE: Final = 0.5
# deliveries handed out before those who listen are sent to
_AT_ONCE: Final = 64
# a listener has nothing to say; so much is let in and passed over
_MOST_HEARD: Final = 1 << 12
_log: Final = logging.getLogger("flowdsl.sinks.web_socket")


class WebSocket(Sink):
    """Serve deliveries at `ws://host:port/` to connected listeners.

    A listener authenticates with a token, as `Authorization: Bearer …` or as `token=…` in the address. A
    token is signed with `secret`, names the recipients whose deliveries its holder may receive, and expires,
    which also ends the connection. A token for several recipients receives all of them, or some:
    `/?recipient=ann&recipient=bob`. A delivery without a recipient goes to everybody. Messages are JSON
    objects with `key, sink, flow, seq_no, event_id, event_time, delivered_at, recipient_id, payload`.

    A listener whose queue is still full two seconds after a batch is disconnected (code 1013).

    Parameters
    ----------
    host
        The address to listen on.
    port
        The port to listen on; 0 chooses a free one, see `port`.
    secret
        What tokens are signed with; `{{ env.NAME }}` is replaced from the environment. None makes a secret of
        this sink's own.
    public
        Let anyone on this machine receive everything, without a token.
    origins
        Sites whose pages may connect. Other pages in a browser are refused.
    queue
        How many deliveries may wait for one listener.
    listeners
        How many listeners may be connected at once; never more than half of the files that the process may
        open.

    Raises
    ------
    SinkError
        If an option is not valid, or the extra `live` is not installed.

    Examples
    --------
    >>> server = WebSocket(secret="a secret that is long enough for it")
    >>> server.token("ann", lasts="1h").count(".")
    2
    """

    type: ClassVar[str] = "web_socket"
    portable: ClassVar[bool] = True
    summary: ClassVar[str] = "a server that streams deliveries to its listeners"
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            "host",
            "the address that it listens on",
            {**text_schema("127.0.0.1"), "default": "127.0.0.1"},
            portable=False,
        ),
        Option(
            "port",
            "the port that it listens on; 0 for any free one",
            {"type": "integer", "minimum": 0, "maximum": 65535, "default": 0, "examples": [8765]},
            portable=False,
        ),
        Option(
            "secret",
            "what listeners' tokens are signed with, as {{ env.NAME }}",
            text_schema("{{ env.LISTEN_SECRET }}"),
            portable=False,
        ),
        Option(
            "public",
            "whether anyone on this machine may listen to everything, without a token",
            {"type": "boolean", "default": False, "examples": [True]},
            portable=False,
        ),
        Option(
            "origins",
            "the sites whose pages may listen",
            {"type": "array", "items": {"type": "string"}, "examples": [["https://app.example.org"]]},
            portable=False,
        ),
        Option(
            "queue",
            "how many deliveries wait for one listener from one batch to the next",
            count_schema(256),
            portable=False,
        ),
        Option("listeners", "how many may listen at once", count_schema(1_000), portable=False),
    )

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        secret: str | None = None,
        public: bool = False,
        origins: Iterable[str] = (),
        queue: int = 256,
        listeners: int = 1_000,
    ) -> None:
        if not isinstance(host, str) or not host:
            raise SinkError(f"host is {short_repr(host)}", allowed="an address, such as '127.0.0.1'")
        port = whole_number(port, "port", 0, 65_535, error=SinkError)
        if isinstance(origins, str):
            raise SinkError("origins is text", allowed="a list of sites, such as ['https://app.example.org']")
        public = flag_of(public, "public", error=SinkError)
        if public:
            _check_public(host, secret)
        self._host = host
        self._asked_port = port
        self._secret = None if secret is None else EnvText(secret, "secret")
        if self._secret is not None and self._secret.plain is not None:
            # what the environment holds is seen when it is opened
            check_secret(self._secret.plain)
        self._public = public
        self._origins = tuple(texts_of(origins, "origins", error=SinkError))
        self._asked_most = whole_number(listeners, "listeners", 1, error=SinkError)
        self._queue = whole_number(queue, "queue", 1, error=SinkError)
        self._most = self._asked_most
        self._known_tokens: Tokens | None = None
        self._background = Background("flowdsl-websocket")
        self._server: Server | None = None
        self._door: Door | None = None
        self._listeners: Listeners | None = None
        self._counts: Counter[str] = Counter()

    @property
    def port(self) -> int:
        """The port that the server listens on, once it is open."""
        if self._server is None:
            return self._asked_port
        found: int = next(iter(self._server.sockets)).getsockname()[1]
        return found

    @property
    def listeners(self) -> int:
        """The number of connected listeners."""
        return 0 if self._listeners is None else len(self._listeners)

    @property
    def counts(self) -> dict[str, int]:
        """Counts so far: messages `sent`, connections `refused`, listeners that were `too slow`, and messages
        they `missed`.
        """
        return dict(self._counts)

    def token(self, recipients: str | Iterable[str], *, lasts: str = "1h") -> str:
        """Make a token for one recipient, or several.

        Parameters
        ----------
        recipients
            The id of a recipient, or several ids.
        lasts
            How long it is good, such as `"1h"`; a connection that it opened ends then as well.

        Returns
        -------
        str
            A JSON Web Token, signed with the sink's secret (HS256).

        Raises
        ------
        SinkError
            If there is no such recipient or duration, or the secret's variable is not set.

        Examples
        --------
        >>> WebSocket().token(["ann", "bob"], lasts="10m").count(".")
        2
        """
        return self._tokens().made(check_recipients(recipients), lasts)

    def token_for_all(self, *, lasts: str = "1h") -> str:
        """Make a token for the deliveries of all recipients.

        Parameters
        ----------
        lasts
            How long it is valid, such as `"1h"`; the connection it opened ends then too.

        Returns
        -------
        str
            A JSON Web Token, signed with the sink's secret (HS256).

        Raises
        ------
        SinkError
            If there is no such duration, or the secret's variable is not set.

        Examples
        --------
        >>> WebSocket().token_for_all().count(".")
        2
        """
        return self._tokens().made(None, lasts)

    def open(self) -> None:
        """Start the server.

        Raises
        ------
        SinkError
            If the address is in use, or a variable of the environment is missing.

        Examples
        --------
        >>> server = WebSocket()
        >>> server.open()
        >>> server.port > 0
        True
        >>> server.close()
        """
        if self._server is not None:
            return
        need("websockets", "web_socket")
        from flowdsl.sinks.listeners import Door, Listeners, most_connections

        self._tokens()
        self._most = min(self._asked_most, most_connections())
        self._listeners = Listeners(self._queue)
        self._door = Door(lambda: self._counts.update(refused=1))
        try:
            self._server = self._background.run(self._serve())
        except OSError as error:
            self._background.stop()
            raise SinkError(
                f"web_socket cannot listen on {self._host}:{self._asked_port}: {error.strerror or error}"
            ) from error

    def close(self) -> None:
        """Disconnect all listeners and stop the server.

        Examples
        --------
        >>> WebSocket().close()
        """
        server, self._server = self._server, None
        self._background.stop(None if server is None else lambda: self._say_goodbye(server))
        self._door = self._listeners = None

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """Queue deliveries for the connected listeners; wait for those that keep up.

        Parameters
        ----------
        deliveries
            The deliveries, in order.

        Returns
        -------
        sequence of Failure or None
            One entry per delivery: None, or why it could not be sent. A listener that is gone is not a
            failure.

        Examples
        --------
        >>> server = WebSocket()
        >>> server.open()
        >>> server.deliver([Delivery("hello", "ann")])
        [None]
        >>> server.close()
        """
        check_deliveries(deliveries)
        self.open()
        return self._background.run(self._hand_out(deliveries))

    def __repr__(self) -> str:
        return f"WebSocket({self._host!r}, {self.port}, {self.listeners} listeners)"

    def _tokens(self) -> Tokens:
        if self._known_tokens is None:
            self._known_tokens = Tokens(None if self._secret is None else self._secret.filled())
        return self._known_tokens

    async def _serve(self) -> Server:
        from websockets.asyncio.server import serve

        from flowdsl.sinks.listeners import Guest

        assert self._door is not None
        # the library would log addresses, tokens and all
        silent = logging.Logger("flowdsl.sinks.web_socket.connections")
        silent.addHandler(logging.NullHandler())
        return await serve(
            self._listen,
            self._host,
            self._asked_port,
            create_connection=functools.partial(Guest, door=self._door),  # type: ignore[arg-type]
            origins=[None, _LOCAL_PAGES, *self._origins],  # type: ignore[list-item]
            process_request=self._judge,
            compression=None,
            server_header=None,
            open_timeout=_GREETING,
            close_timeout=1,
            max_size=_MOST_HEARD,
            logger=silent,
        )

    def _judge(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse clients that may not listen, and unknown addresses."""
        guest = cast("Guest", connection)
        try:
            address = urlsplit(request.path)
        except ValueError as error:
            return self._refuse(guest, http.HTTPStatus.BAD_REQUEST, str(error))
        asked = parse_qs(address.query, keep_blank_values=True)
        grant = self._grant(request, asked)
        if grant is None:
            return self._refuse(guest, http.HTTPStatus.UNAUTHORIZED, "a token is needed")
        # a misspelt question must not be taken for one about everything
        if address.path not in ("", "/") or not asked.keys() <= {"recipient", "token"}:
            return self._refuse(guest, http.HTTPStatus.BAD_REQUEST, "listen at /?recipient=… or at /")
        wanted = frozenset(asked["recipient"]) if "recipient" in asked else grant.recipients
        if grant.recipients is not None and not (wanted or frozenset()) <= grant.recipients:
            return self._refuse(guest, http.HTTPStatus.FORBIDDEN, "the token is for another recipient")
        if self.listeners >= self._most:
            return self._refuse(guest, http.HTTPStatus.SERVICE_UNAVAILABLE, "too many listen already")
        guest.grant = Grant(wanted, grant.end)
        return None

    def _grant(self, request: Request, asked: Mapping[str, Sequence[str]]) -> Grant | None:
        if self._public:
            return Grant(None, math.inf)
        given = [_BEARER.sub("", text) for text in request.headers.get_all("Authorization")]
        given += asked.get("token", [])
        # several are ambiguous
        return self._tokens().read(given[0]) if len(given) == 1 else None

    def _refuse(self, guest: Guest, status: http.HTTPStatus, reason: str) -> Response:
        self._counts["refused"] += 1
        return guest.respond(status, f"{reason}\n")

    async def _listen(self, connection: ServerConnection) -> None:
        from flowdsl.sinks.listeners import Listener

        guest = cast("Guest", connection)
        listeners, door, grant = self._listeners, self._door, guest.grant
        assert listeners is not None
        assert door is not None
        assert grant is not None
        if len(listeners) >= self._most:
            # they were let in at the same time
            self._counts["refused"] += 1
            await guest.close(_TOO_SLOW, "too many listen already")
            return
        listener = Listener(grant.recipients)
        door.entered(guest)
        listeners.add(listener)
        tasks = [
            asyncio.ensure_future(work)
            for work in (
                self._send(guest, listener),
                _pass_over(guest),
                listener.slow.wait(),
                _wait_for_end(grant),
            )
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            listeners.remove(listener)
            ended = tasks[-1].done()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if listener.slow.is_set():
            self._counts["too slow"] += 1
            self._counts["missed"] += listener.waiting.qsize()
            _log.warning("a listener did not keep up and is sent away")
            await guest.close(_TOO_SLOW, "too slow")
        elif ended:
            await guest.close(_NOT_ALLOWED, "the token has ended")

    async def _send(self, connection: ServerConnection, listener: Listener) -> None:
        while True:
            await connection.send(await listener.waiting.get())
            self._counts["sent"] += 1

    async def _hand_out(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        listeners = self._listeners
        outcomes: list[Outcome] = [None] * len(deliveries)
        assert listeners is not None
        reached: set[Listener] = set()
        for number, delivery in enumerate(deliveries):
            wanted = listeners.of(delivery.recipient)
            if not wanted:
                continue
            try:
                text = _message(delivery)
            except SinkError as error:
                outcomes[number] = Failure(str(error), permanent=True)
                continue
            for listener in wanted:
                listener.waiting.put_nowait(text)
            reached.update(wanted)
            if number % _AT_ONCE == _AT_ONCE - 1:
                # those who listen are sent to meanwhile
                await asyncio.sleep(0)
        await listeners.caught_up(reached)
        return outcomes

    async def _say_goodbye(self, server: Server) -> None:
        """End those connections that do not answer at once."""
        door = self._door
        assert door is not None
        door.turn_away(strangers_only=True)
        server.close()
        try:
            await asyncio.wait_for(server.wait_closed(), _GOODBYE)
        except TimeoutError:
            door.turn_away(strangers_only=False)
            await server.wait_closed()


async def _pass_over(connection: ServerConnection) -> None:
    """Read what a listener says, until it goes."""
    async for _ in connection:
        pass


async def _wait_for_end(grant: Grant) -> None:
    """Wait until a grant has ended."""
    while (left := grant.end - time.time()) > 0:
        # the wall clock may be set meanwhile
        await asyncio.sleep(min(left, 60))


def _message(delivery: Delivery) -> str:
    message: dict[str, Any] = {
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
    return json_text(message)


def _check_public(host: str, secret: str | None) -> None:
    if secret is not None:
        raise SinkError("a public server asks for no token, and has no use for a secret")
    if not _is_here(host):
        raise SinkError(
            f"on {host} anyone could listen to all deliveries",
            hint="leave public out, and give listeners tokens: sink.token('ann')",
        )


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
