"""Push sink: notifications to the devices of a recipient, through Expo's push service."""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

import polars as pl

from flowdsl.arguments import seconds_of, whole_number
from flowdsl.errors import SinkError
from flowdsl.operators.options import Option, count_schema, text_schema
from flowdsl.sinks.async_runner import Background
from flowdsl.sinks.base import Delivery, Failure, Outcome, Sink, check_deliveries, json_text, storable
from flowdsl.sinks.database import parts_of
from flowdsl.sinks.env import EnvText
from flowdsl.sinks.http_client import (
    ATTEMPTS,
    PermanentError,
    RetryableError,
    accept,
    ask,
    client,
    need,
    send_with_retries,
)
from flowdsl.sinks.recipients import Recipients
from flowdsl.sinks.sqlite_sink import no_recipient
from flowdsl.sinks.webhook import TIMEOUT, origin, seconds, shown_url

if TYPE_CHECKING:
    import httpx

    from flowdsl.values.json_types import Mask

EXPO: Final = "https://exp.host"
_SEND: Final = "/--/api/v2/push/send"
_RECEIPTS: Final = "/--/api/v2/push/getReceipts"
# messages, and tickets, in one request
AT_ONCE: Final = 100
_RECEIPTS_AT_ONCE: Final = 300
# a receipt is there about a quarter of an hour after the message
RECEIPT_AFTER: Final = 900.0
GONE: Final = "DeviceNotRegistered"
# longer names of tickets are not plausible: the message counts as sent, but its receipt is not requested
_LONGEST_TICKET: Final = 200
# what sending again does not change
_FINAL: Final = ("MessageTooBig", "InvalidCredentials", "MismatchSenderId", "DeveloperError")
# how a request is refused when something is wrong with a message in it
_ONE_OF_THEM: Final = (400, 413)
_log: Final = logging.getLogger("flowdsl.sinks.push")


@dataclass
class _Message:
    """One message to one device, and its outcome."""

    delivery: int
    token: str
    content: str
    failure: Failure | None = None
    sent: bool = False
    attempts: int = 0
    tickets: dict[str, str] = field(default_factory=dict)

    @property
    def is_gone(self) -> bool:
        """True if the service no longer knows the device."""
        return self.failure is not None and self.failure.error == GONE

    def answer(self, ticket: dict[str, Any]) -> str | None:
        """Take the service's answer; return an error that may pass."""
        self.attempts += 1
        error = _error_of(ticket)
        if error is None:
            self.sent = True
            if isinstance(ticket.get("id"), str) and len(ticket["id"]) <= _LONGEST_TICKET:
                self.tickets[storable(ticket["id"])] = self.token
        elif error == GONE or error in _FINAL:
            self.failure = Failure(error, self.attempts, permanent=True)
            return None
        return error


class Push(Sink):
    """Send `title`, `body` and `data` of each payload to every device of its recipient.

    Status 429, 5xx, network errors and temporary errors of a message are tried again; messages that arrived
    are not sent again. Devices that the service no longer knows are removed, when they are sent to and by
    `check_receipts`, which also runs automatically. A recipient without a device is skipped, and counted in
    `counts`.

    Parameters
    ----------
    recipients
        Where devices and preferences are stored: an `InApp`, a `Recipients`, or the path of a file; None
        keeps them in memory.
    url
        The server of the push service.
    token
        The access token; `{{ env.NAME }}` is replaced from the environment when the sink opens.
    timeout
        How long a request may take, in seconds or as text such as `"10s"`.
    attempts
        How often a request is tried in all.

    Raises
    ------
    SinkError
        If an option is not valid, or the extra `live` is not installed.

    Examples
    --------
    >>> push = Push()
    >>> push.deliver([Delivery({"title": "hello"}, "ann")]), push.counts["no device"]
    ([None], 1)
    """

    type: ClassVar[str] = "push"
    portable: ClassVar[bool] = True
    summary: ClassVar[str] = "notifications to the devices of a recipient, by Expo's push service"
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            "recipients",
            "the in_app sink that knows devices and preferences; by default the only one, if there is one",
            text_schema("in-app"),
            portable=False,
        ),
        Option(
            "path",
            "the SQLite file of devices and preferences, where no in_app sink knows them",
            text_schema("devices.sqlite"),
            portable=False,
        ),
        Option(
            "url", "the server of the push service", {**text_schema(EXPO), "default": EXPO}, portable=False
        ),
        Option(
            "token",
            "the access token, as {{ env.NAME }}",
            text_schema("{{ env.EXPO_TOKEN }}"),
            portable=False,
        ),
        Option(
            "timeout",
            "how long one request may take, in seconds or as text",
            TIMEOUT,
            portable=False,
        ),
        Option("attempts", "how often it is tried in all", count_schema(ATTEMPTS), portable=False),
    )

    def __init__(
        self,
        recipients: Recipients | str | os.PathLike[str] | None = None,
        *,
        url: str = EXPO,
        token: str | None = None,
        timeout: float | str = 10.0,
        attempts: int = ATTEMPTS,
    ) -> None:
        origin(url, "url")
        self._owns = not isinstance(recipients, Recipients)
        self.recipients = recipients if isinstance(recipients, Recipients) else Recipients(recipients)
        self._url = url.rstrip("/")
        self._shown = shown_url(url)
        self._token = None if token is None else EnvText(token, "token")
        self._timeout = seconds(timeout)
        self._attempts = whole_number(attempts, "attempts", 1, error=SinkError)
        self._background = Background("flowdsl-push")
        self._http: httpx.AsyncClient | None = None
        self._headers: dict[str, bytes] = {}
        self._counts: Counter[str] = Counter()
        self._looked = -RECEIPT_AFTER

    @property
    def counts(self) -> dict[str, int]:
        """Counts of messages so far: `sent`, `failed`, `unregistered`, and deliveries with `no device`."""
        return dict(self._counts)

    def open(self) -> None:
        """Open the store of devices, and read the environment.

        Raises
        ------
        SinkError
            If a variable of the environment is missing.

        Examples
        --------
        >>> push = Push()
        >>> push.open()
        >>> push.close()
        """
        if self._http is not None:
            return
        need("tenacity", "push")
        self.recipients.open()
        self._headers = {"content-type": b"application/json", "accept": b"application/json"}
        if self._token is not None:
            self._headers["authorization"] = f"Bearer {self._token.filled()}".encode()
        self._http = client(self._timeout, 6, "push")

    def close(self) -> None:
        """Close the connections, and the store of devices if it is the sink's own.

        Examples
        --------
        >>> Push().close()
        """
        http, self._http = self._http, None
        self._background.stop(None if http is None else http.aclose)
        if self._owns:
            self.recipients.close()

    def accepts(self, recipients: pl.Series, types: pl.Series) -> Mask | None:
        """Return which deliveries the preferences of their recipients allow.

        Parameters
        ----------
        recipients
            The recipients, one per delivery.
        types
            The notification types, one per delivery.

        Returns
        -------
        mask or None
            True where a delivery is allowed; None if all are.

        Examples
        --------
        >>> import polars as pl
        >>> Push().accepts(pl.Series(["ann"]), pl.Series(["like"])) is None
        True
        """
        return self.recipients.accepts(recipients, types)

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """Send messages, at most 100 per request.

        Parameters
        ----------
        deliveries
            The deliveries, in order.

        Returns
        -------
        sequence of Failure or None
            One entry per delivery: None if it reached a device or there is none, or why it failed.

        Examples
        --------
        >>> Push().deliver([Delivery({"title": "hello"}, "somebody without a device")])
        [None]
        """
        check_deliveries(deliveries)
        self.open()
        outcomes: list[Outcome] = [None if one.recipient else no_recipient("push") for one in deliveries]
        messages = self._messages(deliveries)
        if messages:
            self._background.run(self._all(messages))
            self._settle(messages, outcomes)
        if time.monotonic() - self._looked >= RECEIPT_AFTER:
            self.check_receipts()
        return outcomes

    def check_receipts(self, after: float = RECEIPT_AFTER) -> int:
        """Ask the service about messages that were sent some time ago, and remove devices that are gone.

        Parameters
        ----------
        after
            The least age of the messages, in seconds. Tickets are kept until there is a receipt, or for a
            day.

        Returns
        -------
        int
            How many devices were removed.

        Raises
        ------
        SinkError
            If the service cannot be reached.

        Examples
        --------
        >>> Push().check_receipts()
        0
        """
        after = seconds_of(after, "after", error=SinkError)
        self.open()
        self._looked = time.monotonic()
        now, forgotten = time.time(), 0
        while tickets := self.recipients.tickets(now - after, _RECEIPTS_AT_ONCE):
            receipts = self._background.run(
                send_with_retries(lambda: self._receipts(list(tickets)), self._attempts, self._shown)
            )
            if isinstance(receipts, Failure):
                _log.warning("receipts of push messages: %s", receipts.error)
                return forgotten
            forgotten += self._forget([(tickets[t], receipts[t]) for t in tickets.keys() & receipts])
            old = self.recipients.tickets(now - 86_400, _RECEIPTS_AT_ONCE)
            known = [ticket for ticket in tickets if ticket in receipts or ticket in old]
            self.recipients.forget_tickets(known)
            if not known or len(tickets) < _RECEIPTS_AT_ONCE:
                break
        return forgotten

    def _forget(self, receipts: Sequence[tuple[str, Any]]) -> int:
        """Remove the devices that are gone by their receipts; return how many."""
        gone = [token for token, receipt in receipts if _error_of(receipt) == GONE]
        for token in gone:
            self.recipients.unregister_device(token)
        if gone:
            self._counts["unregistered"] += len(gone)
        return len(gone)

    def __repr__(self) -> str:
        return f"Push({self.recipients!r}, url={self._shown!r})"

    def _messages(self, deliveries: Sequence[Delivery]) -> list[_Message]:
        """Return a message for each device of each recipient."""
        devices = self.recipients.devices_of([one.recipient for one in deliveries if one.recipient])
        messages: list[_Message] = []
        for number, delivery in enumerate(deliveries):
            tokens = devices.get(delivery.recipient or "", ())
            if delivery.recipient and not tokens:
                self._counts["no device"] += 1
            messages += [_message(number, token, delivery) for token in tokens]
        return messages

    async def _all(self, messages: Sequence[_Message]) -> None:
        for some in parts_of(messages, AT_ONCE):
            await self._some(some)

    async def _some(self, messages: Sequence[_Message]) -> None:
        """Send the messages of one request; if the service rejects it as a whole, find the messages at
        fault.
        """
        sent = await send_with_retries(lambda: self._send(messages), self._attempts, self._shown)
        if isinstance(sent, Failure):
            for message in _waiting(messages):
                message.failure = sent
        elif not sent:
            waiting = _waiting(messages)
            await self._some(waiting[: len(waiting) // 2])
            await self._some(waiting[len(waiting) // 2 :])

    async def _send(self, messages: Sequence[_Message]) -> bool:
        """Send the pending messages; return False if one of several makes the service reject them all."""
        waiting = _waiting(messages)
        content = f"[{','.join(message.content for message in waiting)}]".encode()
        try:
            tickets = _list_answers(await self._ask(_SEND, content), len(waiting))
        except PermanentError as error:
            if error.status in _ONE_OF_THEM and len(waiting) > 1:
                return False
            raise
        errors = {message.answer(ticket) for message, ticket in zip(waiting, tickets, strict=True)}
        passing = sorted(error for error in errors if error is not None)
        if passing:
            raise RetryableError(f"the service answered {', '.join(passing)}")
        return True

    async def _receipts(self, tickets: Sequence[str]) -> dict[str, Any]:
        answer = await self._ask(_RECEIPTS, json_text({"ids": tickets}).encode())
        receipts = answer.get("data")
        if not isinstance(receipts, dict):
            raise RetryableError("the service answered without receipts")
        return receipts

    async def _ask(self, path: str, content: bytes) -> dict[str, Any]:
        assert self._http is not None
        answer = accept(
            await ask(self._http, "POST", self._url + path, self._headers, content, self._timeout, body=True)
        )
        try:
            found = json.loads(answer.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise RetryableError("the service answered something else than a JSON object")
        return found

    def _settle(self, messages: Sequence[_Message], outcomes: list[Outcome]) -> None:
        """Set the outcome of each delivery from its messages; remove devices that are gone, and store
        tickets.
        """
        tickets: dict[str, str] = {}
        by_delivery: dict[int, list[_Message]] = {}
        for message in messages:
            tickets |= message.tickets
            by_delivery.setdefault(message.delivery, []).append(message)
            if message.is_gone:
                self.recipients.unregister_device(message.token)
        if tickets:
            self.recipients.keep_tickets(tickets, time.time())
        for number, mine in by_delivery.items():
            outcomes[number] = _outcome(mine)
        sent, gone = sum(message.sent for message in messages), sum(message.is_gone for message in messages)
        self._counts.update({"sent": sent, "unregistered": gone, "failed": len(messages) - sent - gone})


def _waiting(messages: Sequence[_Message]) -> list[_Message]:
    return [message for message in messages if not message.sent and message.failure is None]


def _message(number: int, token: str, delivery: Delivery) -> _Message:
    try:
        return _Message(number, token, json_text(_content(token, delivery)))
    except SinkError as error:
        return _Message(number, token, "", Failure(str(error), permanent=True))


def _content(token: str, delivery: Delivery) -> dict[str, Any]:
    title, body, data = map(delivery.field, ("title", "body", "data"))
    body = delivery.payload if isinstance(delivery.payload, str) else body
    content: dict[str, Any] = {"to": token, "sound": "default"}
    for name, value in (("title", title), ("body", body)):
        if value is not None:
            content[name] = value if isinstance(value, str) else json_text(value)
    if data is not None:
        # the service takes objects only
        content["data"] = data if isinstance(data, dict) else {"value": data}
    return content


def _list_answers(answer: dict[str, Any], size: int) -> list[dict[str, Any]]:
    tickets = answer.get("data")
    if isinstance(tickets, dict) and size == 1:
        tickets = [tickets]
    if (
        not isinstance(tickets, list)
        or len(tickets) != size
        or not all(isinstance(one, dict) for one in tickets)
    ):
        errors = answer.get("errors")
        if isinstance(errors, list) and errors and isinstance(errors[0], dict):
            raise PermanentError(
                f"the service refused all of it: {errors[0].get('code', 'without a reason')}"
            )
        raise RetryableError(f"the service answered something else than {size} tickets")
    return tickets


def _error_of(ticket: Any) -> str | None:
    """Return the error of a ticket or receipt, or None."""
    if not isinstance(ticket, dict) or ticket.get("status") not in ("ok", "error"):
        return "an answer of an unknown form"
    if ticket["status"] == "ok":
        return None
    details = ticket.get("details")
    error = details.get("error") if isinstance(details, dict) else None
    return error[:_LONGEST_TICKET] if isinstance(error, str) else "an error without a name"


def _outcome(messages: Sequence[_Message]) -> Outcome:
    """Return None if a device got the message and no other failed except those that are gone, else the
    failure.
    """
    failures = [message.failure for message in messages if message.failure is not None]
    real = [failure for failure in failures if failure.error != GONE]
    if not real and any(message.sent for message in messages):
        return None
    return _join_failure(real or failures, max(failure.attempts for failure in failures), len(messages))


def _join_failure(failures: Sequence[Failure], attempts: int, devices: int) -> Failure:
    errors = ", ".join(dict.fromkeys(failure.error for failure in failures))
    permanent = all(failure.permanent for failure in failures)
    return Failure(f"{len(failures)} of {devices} devices: {errors}", attempts, permanent=permanent)
