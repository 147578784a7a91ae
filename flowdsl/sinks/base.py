"""Interface of sinks: they take deliveries in batches and report the outcome of each."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import polars as pl

from flowdsl.arguments import flag_of
from flowdsl.errors import FlowError, SinkError
from flowdsl.moments import EPOCH
from flowdsl.operators.options import Option
from flowdsl.text import short_repr
from flowdsl.values.json_texts import storable as storable

if TYPE_CHECKING:
    from typing import Self

    from flowdsl.sinks.database import Database
    from flowdsl.values.json_types import Mask

GENERIC: Final = "generic"
"""The type of a notification whose payload has no `notification_type`."""
LONGEST_FAILURE: Final = 1_000
PROVISIONAL: Final = "-end"
"""What the key of a delivery ends with that may come again, then with more of the log behind it."""
_COMPACT: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
# `_COMPACT.encode` makes one of these at each call, which takes as long as the encoding
_MADE_ONCE: Final = getattr(json.encoder, "c_make_encoder", None)
_ENCODE: Final[Callable[[Any, int], Iterable[str]] | None] = _MADE_ONCE and _MADE_ONCE(
    None, _COMPACT.default, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, False
)


class Delivery(NamedTuple):
    """One payload on its way to one sink.

    Attributes
    ----------
    payload
        The payload, a JSON value.
    recipient
        Whom it is for, or None.
    key
        The idempotency key: the same whenever this delivery is tried again, and different for every other
        delivery.
    sink, flow, step, branch
        Where it comes from: the name of the sink and flow, the number of the step, the branches of fan-outs.
    seq_no, event_id, event_time, entity_type, entity_id
        The event that led to it. `event_time` is in UTC.
    delivered_at
        When the flow delivered it, in UTC.
    closed_by
        What closed the batch it comes from, or None.

    Examples
    --------
    >>> Delivery({"title": "hello"}, "ann").field("title")
    'hello'
    """

    payload: Any
    recipient: str | None = None
    key: str = ""
    sink: str = ""
    flow: str = ""
    step: int = 0
    branch: str | None = None
    seq_no: int = 0
    event_id: str | None = None
    event_time: dt.datetime = EPOCH
    delivered_at: dt.datetime = EPOCH
    closed_by: str | None = None
    entity_type: str | None = None
    entity_id: str | None = None

    def field(self, name: str) -> Any:
        """Return a field of the payload.

        Parameters
        ----------
        name
            The name of the field.

        Returns
        -------
        Any
            The value, or None if the payload has no such field or is not an object.

        Examples
        --------
        >>> Delivery("text").field("title") is None
        True
        """
        return self.payload.get(name) if isinstance(self.payload, dict) and isinstance(name, str) else None


def delivery_key(
    event: str,
    flow: str,
    branch: str | None,
    place: int,
    sink: str,
    *,
    moment: int | None = None,
    provisional: bool = False,
) -> str:
    """Return the key of a delivery: 32 hexadecimal digits, followed by `-end` if it is provisional (rule 31).

    Parameters
    ----------
    event
        What identifies the event in every log; for a window, what identifies the event that opened it.
    flow
        The name of the flow.
    branch
        The branches of fan-outs, or None.
    place
        Which of the flow's deliver steps to this sink made it, counted from 0.
    sink
        The name of the sink.
    moment
        The event's time in µs since 1970, where the time is part of the identity. The key then begins with
        it, so that keys of one period lie together in a store.
    provisional
        True if a window was closed only because the log ended. It may close differently once the log goes on;
        that delivery then has the key without `-end`.

    Returns
    -------
    str
        The key.

    Raises
    ------
    SinkError
        If an argument is of the wrong type.

    Examples
    --------
    >>> (
    ...     delivery_key("e1", "f", None, 0, "in-app"),
    ...     delivery_key("e1", "f", None, 0, "in-app", provisional=True),
    ... )
    ('ada55cca8f1d1100d4ac5ad2781a3fcc', 'ada55cca8f1d1100d4ac5ad2781a3fcc-end')
    """
    try:
        ends = "" if branch is None else branch
        identity = "\0".join((event, flow, ends, str(index(place)), sink))
        key = hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        if moment is not None:
            key = f"{moment // 1000 & 0xFFFFFFFFFFFF:012x}{key[12:]}"
    except TypeError:
        raise SinkError(
            f"no delivery has a key of {short_repr((event, flow, branch, place, sink, moment), 200)}",
            allowed="text for event, flow, branch and sink, whole numbers for place and moment",
        ) from None
    return f"{key}{PROVISIONAL}" if flag_of(provisional, "provisional", error=SinkError) else key


def json_text(value: Any) -> str:
    """Return a JSON value as compact text, in ASCII. Raises `SinkError` if it is not one."""
    try:
        return _COMPACT.encode(value) if _ENCODE is None else "".join(_ENCODE(value, 0))
    except (TypeError, ValueError, RecursionError) as error:
        raise SinkError(
            f"{short_repr(value)} is not JSON: {error}",
            allowed="None, True, False, numbers, text, and lists and dicts of them",
        ) from None


def check_deliveries(deliveries: object) -> Sequence[Delivery]:
    """Return the deliveries given. Raises `SinkError` if they are not a list of `Delivery`."""
    if not isinstance(deliveries, Sequence) or not all(isinstance(one, Delivery) for one in deliveries):
        raise SinkError(
            f"deliveries are {short_repr(deliveries)}",
            allowed="a list of Delivery",
            hint="Delivery(payload, recipient) makes one",
        )
    return deliveries


def flow_labels(names: Iterable[str]) -> list[str]:
    """Return the names of flows, numbered where several flows share one, so that keys differ."""
    given = list(names)
    taken, used = set(given), set[str]()
    numbers: dict[str, int] = {}
    labels: list[str] = []
    for name in given:
        label = name
        while label in used or (label in taken and label != name):
            numbers[name] = numbers.get(name, 1) + 1
            label = f"{name} #{numbers[name]}"
        labels.append(label)
        used.add(label)
    return labels


@dataclass(frozen=True)
class Failure:
    """Reason why a delivery failed.

    Attributes
    ----------
    error
        The message, without secrets. Messages of others are cut to 1,000 characters.
    attempts
        How often the delivery was tried.
    permanent
        True if trying again is useless.

    Examples
    --------
    >>> Failure("HTTP 410", attempts=1, permanent=True).permanent
    True
    """

    error: str
    attempts: int = 1
    permanent: bool = False

    def __post_init__(self) -> None:
        flag_of(self.permanent, "permanent", error=SinkError)
        error = storable(
            self.error if isinstance(self.error, str) else short_repr(self.error, LONGEST_FAILURE + 1)
        )
        object.__setattr__(
            self, "error", error if len(error) <= LONGEST_FAILURE else f"{error[:LONGEST_FAILURE]}…"
        )

    @classmethod
    def of(cls, error: BaseException, attempts: int = 1) -> Self:
        """Build the failure for an exception of any kind.

        Parameters
        ----------
        error
            The exception.
        attempts
            How often the delivery was tried.

        Returns
        -------
        Failure
            The failure, with the type and message of the exception.

        Examples
        --------
        >>> Failure.of(ValueError("no such user")).attempts
        1
        """
        try:
            text = str(error)
        except Exception:
            text = ""
        return cls(f"{type(error).__name__}: {text}" if text else type(error).__name__, attempts)


Outcome = Failure | None


class Sink:
    """Base class of sinks. Subclasses declare their `type` and `options`, and implement `deliver`.

    Examples
    --------
    >>> class Printer(Sink):
    ...     def deliver(self, deliveries):
    ...         return [print(delivery.payload) for delivery in deliveries]
    >>> Printer().deliver([Delivery("hello")])
    hello
    [None]
    """

    type: ClassVar[str]
    """The name of the type in YAML."""
    summary: ClassVar[str] = ""
    portable: ClassVar[bool] = False
    """True if production accepts the type in a file."""
    nearest: ClassVar[str] = "use a webhook, or a custom sink"
    """What to do instead in production, where it lacks the type."""
    implemented: ClassVar[bool] = True
    """False if production accepts the type and delivers nothing to it."""
    options: ClassVar[tuple[Option, ...]] = ()
    """What `config` may hold in YAML; the names are those of the parameters in Python."""
    durable: ClassVar[bool] = False

    def open(self) -> None:
        """Prepare to deliver.

        Raises
        ------
        SinkError
            If something the sink needs is missing.

        Examples
        --------
        >>> from flowdsl.sinks import Frame
        >>> Frame().open()
        """

    def close(self) -> None:
        """Release all resources; the sink may be opened again.

        Examples
        --------
        >>> from flowdsl.sinks import Frame
        >>> Frame().close()
        """

    @property
    def database(self) -> Database | None:
        """The SQLite file that the sink keeps, if any."""
        return getattr(self, "_database", None)

    @property
    def keeps_preferences(self) -> bool:
        """True if the sink knows preferences of recipients."""
        return type(self).accepts is not Sink.accepts

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
        >>> from flowdsl.sinks import Frame
        >>> Frame().accepts(pl.Series(["ann"]), pl.Series(["like"])) is None
        True
        """
        return None

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """Deliver a batch, in order.

        A failure does not stop the others. Preferences are not applied here; see `accepts`.

        Parameters
        ----------
        deliveries
            The deliveries.

        Returns
        -------
        sequence of Failure or None
            One entry per delivery: None, or why it failed.

        Raises
        ------
        NotImplementedError
            If a subclass does not implement it.

        Examples
        --------
        >>> from flowdsl.sinks import Frame
        >>> Frame().deliver([Delivery("hello")])
        [None]
        """
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def open_sinks(sinks: Mapping[str, Sink]) -> None:
    """Open sinks; an exception of one becomes a `SinkError` that names the sink."""
    for name, sink in sinks.items():
        try:
            sink.open()
        except FlowError:
            raise
        except Exception as error:
            raise SinkError(f"the sink {name!r} cannot be opened: {type(error).__name__}: {error}") from error


def missing_sink(name: str, flow: str, sinks: Iterable[object], error: type[FlowError]) -> FlowError:
    """Return the error for a flow that names a sink that was not given."""
    given = list(map(str, sinks))
    return error.unknown(f"there is no sink {name!r}", name, given, flow=flow)


SinkLike = Sink | Callable[[Delivery], object]
"""A sink, or a function that each delivery is handed to."""


def check_outcomes(answer: object, sink: Sink, count: int) -> Sequence[Outcome]:
    """Check what a sink returned for a number of deliveries; raise `SinkError` if it is not a list of
    outcomes.
    """
    if (
        isinstance(answer, (list, tuple))
        and len(answer) == count
        and all(one is None or isinstance(one, Failure) for one in answer)
    ):
        return answer
    raise SinkError(
        f"{type(sink).__name__} answered {short_repr(answer)} to {count} deliveries, and not None or a "
        "Failure for each"
    )


class DurableSink(Sink):
    """Base class of sinks that store deliveries and remember which they have: batches by number, deliveries
    by key.

    Examples
    --------
    >>> from flowdsl.sinks import Feed
    >>> isinstance(Feed(), DurableSink)
    True
    """

    durable: ClassVar[bool] = True

    def apply(self, deliveries: Sequence[Delivery], consumer: str, batch: int) -> Sequence[Outcome]:
        """Store a numbered batch and its number in one transaction.

        Parameters
        ----------
        deliveries
            The deliveries of the batch.
        consumer
            Whose batches are counted.
        batch
            The number of the batch. A number up to the last one applied does nothing.

        Returns
        -------
        sequence of Failure or None
            As of `deliver`, and the same if the batch is applied again.

        Raises
        ------
        NotImplementedError
            If a subclass does not implement it.

        Examples
        --------
        >>> from flowdsl.sinks import Feed
        >>> feed = Feed()
        >>> feed.apply([Delivery("hello", "ann")], "mailer", 1), feed.applied("mailer")
        ([None], 1)
        """
        raise NotImplementedError

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """Store deliveries that belong to no batch, each key once.

        Parameters
        ----------
        deliveries
            The deliveries.

        Returns
        -------
        sequence of Failure or None
            One entry per delivery: None, or why it failed.

        Examples
        --------
        >>> from flowdsl.sinks import Feed
        >>> Feed().deliver([Delivery("hello", "ann")])
        [None]
        """
        return [self.apply([delivery], f"key/{delivery.key}", 1)[0] for delivery in deliveries]

    def applied(self, consumer: str) -> int:
        """Return the number of a consumer's last batch.

        Parameters
        ----------
        consumer
            The name of the consumer.

        Returns
        -------
        int
            The number, or 0 before the first batch.

        Raises
        ------
        NotImplementedError
            If a subclass does not implement it.

        Examples
        --------
        >>> from flowdsl.sinks import Feed
        >>> Feed().applied("mailer")
        0
        """
        raise NotImplementedError
