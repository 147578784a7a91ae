"""Webhook sink: payloads as JSON to a URL."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import SplitResult, urljoin, urlsplit

from flowdsl.arguments import is_text_in, text_of, texts_of, whole_number
from flowdsl.errors import BuildError, SinkError
from flowdsl.expressions.durations import parse_duration
from flowdsl.operators.options import DURATION_PATTERN, Option, count_schema, text_schema
from flowdsl.sinks.async_runner import Background
from flowdsl.sinks.base import Delivery, Failure, Outcome, Sink, check_deliveries, json_text
from flowdsl.sinks.env import EnvText
from flowdsl.sinks.http_client import ATTEMPTS, PermanentError, accept, ask, client, need, send_with_retries
from flowdsl.text import short_repr, type_text

if TYPE_CHECKING:
    import httpx

TIMEOUT: Final = {
    "type": ["number", "string"],
    "pattern": DURATION_PATTERN,
    "errorMessage": "Expected seconds, such as 10, or a duration, such as 10s.",
    "maximum": 3_600,
    "default": 10,
    "examples": [10, "10s"],
}
METHODS: Final = ("POST", "PUT", "PATCH")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# everything, also what is not a URL: what is not taken for the server is not shown
_SERVER: Final = re.compile(r"(?P<scheme>([A-Za-z][A-Za-z0-9+.-]*|\{\{[^{}]*\}\})://)?(?P<server>[^/?#\\]*)")
# they say how a message is cut out of a connection: that is known only when it is sent
_FRAMING: Final = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_PORTS: Final = {"http": 80, "https": 443}
# redirects that are followed, one after the other
_HOPS: Final = 5

Origin = tuple[str, str, int]


class Webhook(Sink):
    """Send each payload as JSON to a URL, with the delivery's key in the header `Idempotency-Key`.

    Status 2xx is success; 4xx fails at once. Status 429, 5xx and time-outs are tried again, after 0.1, 0.5
    and 2 s plus jitter, or when `Retry-After` says. Deliveries to one recipient keep their order. URL and
    headers are never shown in messages.

    Redirects are followed only if they keep the method (307, 308) and lead to the same scheme, host and port,
    or to one of `redirects`, which gets no headers.

    Parameters
    ----------
    url
        The URL; `{{ env.NAME }}` is replaced from the environment when the sink opens, here and in headers.
    method
        The HTTP method: `POST`, `PUT` or `PATCH`.
    headers
        Headers to send.
    timeout
        How long one attempt may take, in seconds or as text such as `"10s"`.
    attempts
        How often a delivery is tried in all.
    connections
        How many recipients are served at once.
    redirects
        Servers that a redirect may lead to, such as `"https://hooks.example.org"`.

    Raises
    ------
    SinkError
        If an option is not valid, or the extra `live` is not installed.

    Examples
    --------
    >>> Webhook(
    ...     "https://example.org/hook?key={{ env.KEY }}", headers={"Authorization": "Bearer {{ env.TOKEN }}"}
    ... )
    Webhook('https://example.org/…', headers=['Authorization'])
    """

    type: ClassVar[str] = "webhook"
    portable: ClassVar[bool] = True
    summary: ClassVar[str] = "each payload as JSON to a URL"
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            "url",
            "where payloads are sent; {{ env.NAME }} for what is secret",
            text_schema("https://example.org/hook"),
            required=True,
        ),
        Option(
            "method", "how they are sent", {"enum": list(METHODS), "default": "POST", "examples": ["PUT"]}
        ),
        Option(
            "headers",
            "what is sent with them; {{ env.NAME }} for what is secret",
            {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "examples": [{"Authorization": "Bearer {{ env.TOKEN }}"}],
            },
        ),
        Option(
            "timeout",
            "how long one attempt may take, in seconds or as text",
            TIMEOUT,
        ),
        Option("attempts", "how often it is tried in all", count_schema(ATTEMPTS), portable=False),
        Option("connections", "how many recipients are served at once", count_schema(8), portable=False),
        Option(
            "redirects",
            "other servers that a redirect may lead to",
            {"type": "array", "items": {"type": "string"}, "examples": [["https://hooks.example.org"]]},
            portable=False,
        ),
    )

    def __init__(
        self,
        url: str,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        timeout: float | str = 10.0,
        attempts: int = ATTEMPTS,
        connections: int = 8,
        redirects: Iterable[str] = (),
    ) -> None:
        self._url = EnvText(url, "url")
        self._shown = shown_url(url)
        if self._url.plain is not None:
            origin(url, "url")
        if not is_text_in(method, METHODS):
            raise SinkError(f"method {short_repr(method, 20)} is not known", allowed=", ".join(METHODS))
        self._method = method
        self._headers = _headers({} if headers is None else headers)
        self._timeout = seconds(timeout)
        self._attempts = whole_number(attempts, "attempts", 1, error=SinkError)
        self._connections = whole_number(connections, "connections", 1, error=SinkError)
        if isinstance(redirects, str):
            raise SinkError(
                "redirects is text", allowed="a list of servers, such as ['https://hooks.example.org']"
            )
        self._redirects = {
            origin(one, "a server of redirects") for one in texts_of(redirects, "redirects", error=SinkError)
        }
        self._background = Background("flowdsl-webhook")
        self._filled: tuple[str, dict[str, bytes]] | None = None
        self._http: httpx.AsyncClient | None = None

    def open(self) -> None:
        """Read the environment.

        Raises
        ------
        SinkError
            If a variable of the environment is missing.

        Examples
        --------
        >>> Webhook("https://example.org/hook").open()
        """
        if self._filled is not None:
            return
        need("tenacity", "webhook")
        url = self._url.filled()
        origin(url, "url")
        self._http = client(self._timeout, self._connections, "webhook")
        self._filled = url, {name.lower(): value.filled().encode() for name, value in self._headers.items()}

    def close(self) -> None:
        """Close the connections.

        Examples
        --------
        >>> Webhook("https://example.org/hook").close()
        """
        http, self._http, self._filled = self._http, None, None
        self._background.stop(None if http is None else http.aclose)

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """Send payloads; those to one recipient one after the other, those to different recipients
        concurrently.

        Parameters
        ----------
        deliveries
            The deliveries, in order.

        Returns
        -------
        sequence of Failure or None
            One entry per delivery: None, or why it failed.

        Examples
        --------
        >>> Webhook("https://example.org/hook").deliver([])
        []
        """
        check_deliveries(deliveries)
        self.open()
        return self._background.run(self._all(deliveries)) if deliveries else []

    def __repr__(self) -> str:
        headers = f", headers={list(self._headers)}" if self._headers else ""
        return f"Webhook({self._shown!r}{headers})"

    async def _all(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        lines: dict[str | None, list[int]] = {}
        for number, delivery in enumerate(deliveries):
            lines.setdefault(delivery.recipient, []).append(number)
        outcomes: list[Outcome] = [None] * len(deliveries)
        free = asyncio.Semaphore(self._connections)

        async def serve(line: Sequence[int]) -> None:
            for number in line:
                async with free:
                    outcomes[number] = await self._one(deliveries[number])

        await asyncio.gather(*map(serve, lines.values()))
        return outcomes

    async def _one(self, delivery: Delivery) -> Outcome:
        try:
            content = json_text(delivery.payload).encode()
        except SinkError as error:
            return Failure(str(error), permanent=True)
        key = delivery.key or uuid.uuid4().hex
        sent = await send_with_retries(lambda: self._send(key, content), self._attempts, self._shown)
        if sent is None:
            return None
        return Failure(f"{self._shown}: {sent.error}", sent.attempts, sent.permanent)

    async def _send(self, key: str, content: bytes) -> None:
        assert self._filled is not None
        assert self._http is not None
        url, given = self._filled
        own = origin(url, "url")
        at = url
        for _ in range(_HOPS + 1):
            # what is secret goes to the server that it is meant for only
            headers = {"content-type": b"application/json", "idempotency-key": key.encode()}
            headers |= given if origin(at, "url") == own else {}
            answer = await ask(self._http, self._method, at, headers, content, self._timeout)
            if not 300 <= answer.status < 400:
                accept(answer)
                return
            at = self._redirect(at, own, answer.status, answer.headers.get("location"))
        raise PermanentError(f"the server redirects more than {_HOPS} times")

    def _redirect(self, url: str, own: Origin, status: int, location: str | None) -> str:
        """Return where a redirect leads, if it may be followed."""
        if status not in (307, 308) or location is None:
            raise PermanentError(
                f"the server answered {status}, a redirect that would not carry the payload on", status
            )
        try:
            target = urljoin(url, location)
            there = origin(target, "the address")
        except (SinkError, ValueError):
            raise PermanentError(
                f"the server answered {status} and redirects to what is not an address", status
            ) from None
        if there != own and there not in self._redirects:
            scheme, host, port = there
            raise PermanentError(
                f"the server redirects ({status}) to {scheme}://{host}:{port}, which `redirects` does not "
                "allow",
                status,
            )
        return target


def origin(url: str, what: str) -> Origin:
    """Return the scheme, host and port of a URL; a `SinkError` where it has none, which does not show it."""
    text_of(url, what, error=SinkError)
    try:
        parts: SplitResult = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise SinkError(f"{what} is not a URL", allowed="such as https://example.org/hook") from None
    if parts.scheme not in _PORTS or not host:
        raise SinkError(f"{what} is not a URL of a web server", allowed="such as https://example.org/hook")
    return parts.scheme, host, port or _PORTS[parts.scheme]


def shown_url(url: Any) -> str:
    """Return a URL as it may be shown: the server alone, for a path may be as secret as a password.

    >>> shown_url("https://ann:pw@hooks.example.org/services/T0/B0?key=x")
    'https://hooks.example.org/…'
    >>> shown_url("{{ env.BASE }}/services/T0/B0")
    '{{ env.BASE }}/…'
    """
    found = _SERVER.match(str(url))
    assert found is not None
    server = found["server"].rpartition("@")[2]
    return f"{found['scheme'] or ''}{server}" + ("/…" if found.end() < len(str(url)) else "")


def seconds(timeout: Any) -> float:
    """Return a time as seconds."""
    if isinstance(timeout, str):
        try:
            timeout = parse_duration(timeout).microseconds / 1e6
        except BuildError as error:
            raise SinkError(f"timeout: {error.what}", allowed="seconds, or text such as '10s'") from error
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout <= 3_600:
        raise SinkError(
            f"timeout is {short_repr(timeout, 40)}",
            allowed="seconds from above 0 to 3600, or text such as '10s'",
        )
    return float(timeout)


def _headers(given: Any) -> dict[str, EnvText]:
    if not isinstance(given, Mapping):
        raise SinkError(f"headers are {type_text(given)}", allowed="a mapping from names to text")
    for name in given:
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise SinkError(
                f"a header cannot have the name {short_repr(name)}", allowed="letters, digits and dashes"
            )
        if name.lower() in _FRAMING:
            raise SinkError(f"the header {name} is set by the connection itself", hint="leave it out")
    return {name: EnvText(value, f"the header {name}") for name, value in given.items()}
