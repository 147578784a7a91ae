"""What every sink is: it takes deliveries in batches and says of each whether it could.

Who runs flows (a live run, or a replay with `dispatch=True`) talks to sinks in this way, and in no other::

    sink.open()                                  # ready, or a FlowError that says what is missing
    mask = sink.accepts(recipients, types)       # whom preferences let through; None for everybody
    failures = sink.deliver(deliveries)          # one entry a delivery: None, or why it could not be delivered
    sink.close()

A durable sink keeps what it got in a file of its own, together with the number of the last batch of each consumer::

    failures = sink.apply(deliveries, consumer="flow-runtime", batch=17)

A batch that was applied before does nothing, so that it may be handed over again after a crash, and neither does a
delivery whose key the sink has, whichever way it comes. Whoever makes a sink closes it; `open` and `close` may be called
more than once.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import polars as pl

from flowdsl.errors import FlowError, SinkError
from flowdsl.operators.base import Option
from flowdsl.values.json_texts import storable as storable

if TYPE_CHECKING:
    from typing import Self

    from flowdsl.values.json_types import Mask

GENERIC: Final = "generic"
"""The type of a notification whose payload has no `notification_type`."""
LONGEST_FAILURE: Final = 1_000
PROVISIONAL: Final = "-end"
"""What the key of a delivery ends with that may come again, then with more of the log behind it."""
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Delivery(NamedTuple):
    """One payload on its way to one sink.

    `payload` is a JSON value; `recipient` whom it is for, None where that is nobody in particular. `key` is the same
    whenever the same delivery is tried again, and no other delivery has it. Times are UTC; `entity_type` and
    `entity_id` are those of the event, where it has any; `closed_by` says what released a batch.
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
    event_time: dt.datetime = _EPOCH
    delivered_at: dt.datetime = _EPOCH
    closed_by: str | None = None
    entity_type: str | None = None
    entity_id: str | None = None

    def field(self, name: str) -> Any:
        """A field of the payload; None where the payload has no such field, or is no object."""
        return self.payload.get(name) if isinstance(self.payload, dict) else None


def delivery_key(
    event: str, flow: str, branch: str | None, place: int, sink: str, *, moment: int | None = None, provisional: bool = False
) -> str:  # fmt: skip
    """The key of a delivery (rule 31): 32 hexadecimal digits, and `-end` behind them where it is provisional.

    `event` is what the event is known by in all logs, of a window what the event is known by that opened it; `place` is
    which of the flow's deliver steps to the sink it was, from 0. `moment` (µs) is given where an event is known by its time,
    too: the key begins with it, so that keys which come together lie together in a store. A window that closed only
    because the log ended may close otherwise when there is more of the log: what comes out then has the key without `-end`.

    >>> delivery_key("e1", "f", None, 0, "in-app"), delivery_key("e1", "f", None, 0, "in-app", provisional=True)
    ('ada55cca8f1d1100d4ac5ad2781a3fcc', 'ada55cca8f1d1100d4ac5ad2781a3fcc-end')
    """
    said = "\0".join((event, flow, branch or "", str(place), sink))
    key = hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    if moment is not None:
        key = f"{moment // 1000 & 0xFFFFFFFFFFFF:012x}{key[12:]}"
    return f"{key}{PROVISIONAL}" if provisional else key


def flow_labels(names: Iterable[str]) -> list[str]:
    """The names of flows, each once: of several with one name the later ones with a number, so that keys differ.

    >>> flow_labels(["f", "f", "g", "f #2"])
    ['f', 'f #3', 'g', 'f #2']
    """
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
    """Why a delivery could not be made.

    `error` holds no secrets; `attempts` is how often it was tried; `permanent` says that trying again is of no use. What
    others have said is cut to 1,000 letters: it is kept with every delivery that failed for it.
    """

    error: str
    attempts: int = 1
    permanent: bool = False

    def __post_init__(self) -> None:
        error = storable(str(self.error))
        object.__setattr__(
            self, "error", error if len(error) <= LONGEST_FAILURE else f"{error[:LONGEST_FAILURE]}…"
        )

    @classmethod
    def of(cls, error: BaseException, attempts: int = 1) -> Self:
        """Make the failure that an error of anybody's is, whatever its message does."""
        try:
            said = str(error)
        except Exception:
            said = ""
        return cls(f"{type(error).__name__}: {said}" if said else type(error).__name__, attempts)


Outcome = Failure | None


class Sink:
    """Takes deliveries. Subclasses name their type and its configuration, and deliver."""

    type: ClassVar[str]
    """The name of the type in YAML."""
    summary: ClassVar[str]
    options: ClassVar[tuple[Option, ...]] = ()
    """What `config` may hold in YAML; the names are those of the parameters in Python."""
    durable: ClassVar[bool] = False

    def open(self) -> None:
        """Get ready to deliver; a `FlowError` says what is missing."""

    def close(self) -> None:
        """Let go of everything; `open` may follow."""

    @property
    def keeps_preferences(self) -> bool:
        """Whether it is worth asking whom it accepts."""
        return type(self).accepts is not Sink.accepts

    def accepts(self, recipients: pl.Series, types: pl.Series) -> Mask | None:
        """Whom preferences let through: a mask over recipients and notification types; None for everybody."""
        return None

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """Deliver a batch, in order; one entry for each, None where it was delivered.

        One that fails does not stop the others. Preferences are not asked here: that is `accepts`.
        """
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def open_sinks(sinks: Mapping[str, Sink]) -> None:
    """Open sinks of anybody's; what one raises is a `SinkError` that names it."""
    for name, sink in sinks.items():
        try:
            sink.open()
        except FlowError:
            raise
        except Exception as error:
            raise SinkError(f"the sink {name!r} cannot be opened: {type(error).__name__}: {error}") from error


def checked_outcomes(answer: object, sink: Sink, count: int) -> Sequence[Outcome]:
    """What a sink of anybody's answered to so many deliveries; a `SinkError` where that is no answer."""
    if (
        isinstance(answer, (list, tuple))
        and len(answer) == count
        and all(one is None or isinstance(one, Failure) for one in answer)
    ):
        return answer
    raise SinkError(
        f"{type(sink).__name__} answered {answer!r:.60} to {count} deliveries, and not None or a Failure for each"
    )


class DurableSink(Sink):
    """A sink that keeps deliveries in a file of its own, and remembers what it has: batches by number, deliveries by key."""

    durable: ClassVar[bool] = True

    def apply(self, deliveries: Sequence[Delivery], consumer: str, batch: int) -> Sequence[Outcome]:
        """Keep a numbered batch, and its number, in one transaction; a batch up to the last applied does nothing.

        The answer is that of `deliver`, and is the same when the batch is handed over again.
        """
        raise NotImplementedError

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """Keep deliveries of no batch, each once for its key."""
        return [self.apply([delivery], f"key/{delivery.key}", 1)[0] for delivery in deliveries]

    def applied(self, consumer: str) -> int:
        """The number of the last batch of a consumer; 0 before any."""
        raise NotImplementedError
