"""HTTP client of sinks: with time-outs and retries, and without secrets in messages."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import email.utils
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flowdsl.errors import SinkError
from flowdsl.sinks.base import Failure

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
# seconds before the second, third and fourth attempt, as in production; up to half as much is added by chance
WAITS: Final = (0.1, 0.5, 2.0)
ATTEMPTS: Final = 4
# a server that asks for more patience is not waited for
PATIENCE: Final = 60.0
MOST_BYTES: Final = 1 << 20
# of an unused body so much is read, and for so many seconds
DRAINED, DRAINING = 1 << 16, 0.5
_LOGGERS: Final = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy")
_ours: ContextVar[bool] = ContextVar("flowdsl_request", default=False)
_log: Final = logging.getLogger("flowdsl.sinks")


class RetryableError(Exception):
    """Raised if a request may succeed later; `wait` is the delay the server asks for, in seconds."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class PermanentError(Exception):
    """Raised if a request failed for good; `status` is the server's."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class HttpResponse:
    """Response of a server; a body beyond `MOST_BYTES` is cut off."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def need(module: str, sink: str) -> Any:
    """Import a library of the extra `live` when it is first needed."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SinkError(
            f"{sink} needs {module.partition('.')[0]}", hint="pip install 'flowdsl[live]'"
        ) from error


def client(timeout: float, connections: int, sink: str) -> httpx.AsyncClient:
    """Return a client that follows no redirects and whose library logs none of our requests."""
    library = need("httpx", sink)
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_not_ours)
    made: httpx.AsyncClient = library.AsyncClient(
        timeout=timeout,
        follow_redirects=False,
        headers={"User-Agent": "flowdsl", "Accept-Encoding": "identity"},
        limits=library.Limits(max_connections=connections, max_keepalive_connections=connections),
    )
    return made


def _not_ours(record: logging.LogRecord) -> bool:
    # the library's records have whole URLs in them, and those may hold secrets
    return not _ours.get()


async def ask(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    headers: Mapping[str, bytes],
    content: bytes,
    timeout: float,
    *,
    body: bool = False,
) -> HttpResponse:
    """Send a request and return the response within `timeout` seconds, however slowly the server sends; read
    the body only if asked.
    """
    library = need("httpx", "this sink")
    token = _ours.set(True)
    try:
        async with asyncio.timeout(timeout):
            lines = [(name.encode(), value) for name, value in headers.items()]
            response = await http.send(
                http.build_request(method, url, headers=lines, content=content), stream=True
            )
        try:
            if body:
                async with asyncio.timeout(timeout):
                    return HttpResponse(
                        response.status_code, response.headers, await _body(response, MOST_BYTES)
                    )
            # the answer is known: what is read of the body only lets the connection be used again
            with contextlib.suppress(TimeoutError, library.HTTPError):
                async with asyncio.timeout(DRAINING):
                    await _body(response, DRAINED)
            return HttpResponse(response.status_code, response.headers, b"")
        finally:
            await response.aclose()
    except TimeoutError:
        raise RetryableError(f"no answer within {timeout:g} s") from None
    except library.TimeoutException as error:
        raise RetryableError(f"no answer within {timeout:g} s ({type(error).__name__})") from None
    except library.TransportError as error:
        raise RetryableError(f"no connection ({type(error).__name__})") from None
    # other errors of the library may hold secrets: only their type is shown
    except (library.HTTPError, library.InvalidURL, TypeError, ValueError) as error:
        raise PermanentError(f"no request can be made ({type(error).__name__})") from None
    finally:
        _ours.reset(token)


async def _body(response: httpx.Response, most: int) -> bytes:
    found = bytearray()
    async for piece in response.aiter_raw():
        found += piece
        if len(found) > most:
            break
    return bytes(found[:most])


def accept(answer: HttpResponse) -> HttpResponse:
    """Return a response with status 2xx; raise `RetryableError` for 429 and 5xx, and `PermanentError` for any
    other.
    """
    if 200 <= answer.status < 300:
        return answer
    message = f"the server answered {answer.status}"
    if answer.status == 429 or answer.status >= 500:
        raise RetryableError(message, retry_after(answer.headers.get("retry-after")))
    raise PermanentError(message, answer.status)


def retry_after(text: str | None) -> float | None:
    """Return the delay in a `Retry-After` header, in seconds; None if it cannot be read."""
    if text is None:
        return None
    if text.strip().isascii() and text.strip().isdigit():
        return min(float(text), 1e9)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return max((moment - dt.datetime.now(dt.UTC)).total_seconds(), 0.0)


async def send_with_retries(request: Callable[[], Awaitable[T]], attempts: int, what: str) -> T | Failure:
    """Send a request until it succeeds or all attempts failed; `what` names it in the log."""
    tenacity = need("tenacity", "this sink")

    def again(error: BaseException) -> bool:
        return isinstance(error, RetryableError) and (error.wait or 0) <= PATIENCE

    def log_retry(state: Any) -> None:
        _log.info(
            "%s: attempt %d failed, %s; again in %.2f s",
            what,
            state.attempt_number,
            state.outcome.exception(),
            state.next_action.sleep,
        )

    async def attempt() -> T:
        return await request()

    retrying = tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(attempts),
        wait=_wait,
        retry=tenacity.retry_if_exception(again),
        before_sleep=log_retry,
        reraise=True,
    )
    try:
        given: T = await retrying(attempt)
    except RetryableError as error:
        made = retrying.statistics["attempt_number"]
        asked = f", and asks to wait {error.wait:g} s" if error.wait else ""
        return Failure(f"{error}{asked}", made)
    except PermanentError as error:
        return Failure(str(error), retrying.statistics["attempt_number"], permanent=True)
    return given


def _wait(state: Any) -> float:
    error = state.outcome.exception()
    if isinstance(error, RetryableError) and error.wait is not None:
        # so that clients with the same answer do not all come back at once
        return error.wait + random.uniform(0, WAITS[0])
    wait = WAITS[min(state.attempt_number, len(WAITS)) - 1]
    return wait + random.uniform(0, wait / 2)
