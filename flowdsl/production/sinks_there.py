"""Production's sinks, simulated in memory; nothing leaves the machine.

Production reads single fields of a payload, takes each only if it has the right type, and has a default for
what it does not take: a title that is a number is not a title there. So what a sink shows, counts or sends
can differ from what it is handed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from flowdsl.arguments import is_number
from flowdsl.graph.snapshot_lookup import entities_of
from flowdsl.production.project_spec import SinkConfig
from flowdsl.sinks.base import GENERIC, Delivery, Failure, Outcome, Sink
from flowdsl.sinks.counter import DECREMENT, INCREMENT, OPERATIONS, SET
from flowdsl.sinks.custom import Custom
from flowdsl.text import short_repr

if TYPE_CHECKING:
    import pandas as pd

    from flowdsl.graph.snapshot import EntityGraph

TITLE: Final = "Notification"
"""The title of a notification whose payload has none that is text."""
MOST: Final = 1_000
"""Notifications that a recipient has at most; the oldest go."""

CounterKey = tuple[str, str, str]


def sinks_there(
    configs: Iterable[SinkConfig],
    named: Iterable[str],
    custom: Mapping[str, Any],
    graph: EntityGraph | None = None,
) -> dict[str, Sink]:
    """Return production's sinks by name; any name without a configuration gets a sink that rejects
    everything.

    Of several configurations of one name the last counts. `custom` has functions, or sinks, of the program.
    Counters start from what `graph` has.
    """
    types: dict[str, type[SinkThere]] = {
        kind.type: kind for kind in (InAppThere, PushThere, WebhookThere, WebSocketThere)
    }
    sinks: dict[str, Sink] = {}
    for config in configs:
        if config.type == "counter":
            sinks[config.name] = CounterThere(config.config, graph)
        else:
            sinks[config.name] = types.get(config.type, NothingThere)(config.config)
    sinks |= {name: one if isinstance(one, Sink) else Custom(one) for name, one in custom.items()}
    for name in named:
        sinks.setdefault(name, NothingThere({}))
    return sinks


class SinkThere(Sink):
    """Simulated sink of production; `calls` lists what it showed or sent, in order."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = dict(config)
        self.calls: list[dict[str, Any]] = []

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """Deliver like production: a failure is logged and never tried again."""
        return [self._take(delivery) for delivery in deliveries]

    def frame(self) -> pd.DataFrame:
        """Return `calls` as a table, one row per call."""
        import pandas as pd

        return pd.DataFrame(self.calls)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.calls)} calls)"

    def _take(self, delivery: Delivery) -> Outcome:
        raise NotImplementedError


class InAppThere(SinkThere):
    """Notifications that recipients see.

    >>> sink = InAppThere({})
    >>> sink.deliver([Delivery({"title": 5, "body": "hello"}, "ann")])
    [None]
    >>> sink.notifications("ann")[0]["title"], sink.notifications("ann")[0]["body"]
    ('Notification', 'hello')
    """

    type: ClassVar[str] = "in_app"

    def notifications(self, recipient: str) -> list[dict[str, Any]]:
        """Return the notifications of one recipient, newest first."""
        mine = [call for call in self.calls if call["recipient_id"] == recipient]
        return mine[: -MOST - 1 : -1]

    def _take(self, delivery: Delivery) -> Outcome:
        if delivery.recipient is None:
            return _fails("in_app has no recipient")
        kind = _text(delivery, "notification_type")
        self.calls.append(
            {
                "recipient_id": delivery.recipient,
                "notification_type": GENERIC if kind is None else kind,
                **_title_and_body(delivery),
                "data": delivery.field("data"),
                "read": False,
            }
        )
        return None


class PushThere(SinkThere):
    """Messages to each device of a recipient: always with title and body, `data` unchanged."""

    type: ClassVar[str] = "push"

    def _take(self, delivery: Delivery) -> Outcome:
        if delivery.recipient is None:
            return _fails("push has no recipient")
        data = delivery.field("data")
        content = {
            **_title_and_body(delivery),
            **({} if data is None else {"data": data}),
            "sound": "default",
        }
        self.calls.append({"recipient_id": delivery.recipient, **content})
        return None


class WebhookThere(SinkThere):
    """Requests with the payload as their body."""

    type: ClassVar[str] = "webhook"

    def _take(self, delivery: Delivery) -> Outcome:
        url = self.config.get("url")
        if not isinstance(url, str) or not url:
            return _fails("webhook has no url")
        self.calls.append({"method": self.config.get("method", "POST"), "url": url, "body": delivery.payload})
        return None


class WebSocketThere(SinkThere):
    """Payloads for the connections of a recipient, or for all if there is none."""

    type: ClassVar[str] = "web_socket"

    def _take(self, delivery: Delivery) -> Outcome:
        self.calls.append({"recipient_id": delivery.recipient, "payload": delivery.payload})
        return None


class CounterThere(SinkThere):
    """Counters by entity type, entity id and field, all of them 64-bit floats.

    >>> likes = CounterThere({"field": "likes"}, None)
    >>> likes.deliver([Delivery({"entity_type": "post", "entity_id": "p1", "value": "5"})])
    [None]
    >>> likes.value("post", "p1", "likes")
    1.0
    """

    type: ClassVar[str] = "counter"

    def __init__(self, config: Mapping[str, Any], graph: EntityGraph | None = None) -> None:
        super().__init__(config)
        self._graph = graph
        self._values: dict[CounterKey, float] = {}

    def value(self, entity_type: str, entity_id: str, field: str) -> float:
        """Return the current value of a counter."""
        key = (entity_type, entity_id, field)
        return self._values[key] if key in self._values else self._start(key)

    def values(self) -> dict[CounterKey, float]:
        """Return all changed counters by key."""
        return dict(sorted(self._values.items()))

    def _take(self, delivery: Delivery) -> Outcome:
        names = {
            "entity_type": _text(delivery, "entity_type", delivery.entity_type),
            "entity_id": _text(delivery, "entity_id", delivery.entity_id),
            "field": _text(delivery, "field", self.config.get("field")),
        }
        for name, given in names.items():
            if not isinstance(given, str):
                return _fails(f"counter has no {name}")
        name = _text(delivery, "operation", self.config.get("operation", INCREMENT))
        if name not in OPERATIONS:
            return _fails(f"counter has no operation {short_repr(name)}")
        key = (str(names["entity_type"]), str(names["entity_id"]), str(names["field"]))
        amount, current = _number(delivery.field("value")), self.value(*key)
        operation = OPERATIONS[name]
        if operation == SET:
            new = amount
        elif operation == DECREMENT:
            new = max(current - amount, 0.0)
        else:
            new = current + amount
        self._values[key] = new
        self.calls.append(
            {**names, "operation": operation, "amount": amount, "value": new},
        )
        return None

    def _start(self, key: CounterKey) -> float:
        """Return where a counter starts: at the graph's number, or at 0."""
        if self._graph is None:
            return 0.0
        entity_type, entity_id, field = key
        found = entities_of(self._graph, [entity_id]).get(entity_id, {}).get(entity_type, {}).get(field)
        return _number(found, 0.0)


class NothingThere(SinkThere):
    """Sink that production does not have: every delivery to it fails."""

    type: ClassVar[str] = "feed"

    def _take(self, delivery: Delivery) -> Outcome:
        return _fails(f"production has no sink {short_repr(delivery.sink)}")


def _fails(why: str) -> Failure:
    return Failure(why, permanent=True)


def _text(delivery: Delivery, name: str, otherwise: Any = None) -> Any:
    """Return a field of the payload if it is text, or else the default."""
    given = delivery.field(name)
    return given if isinstance(given, str) else otherwise


def _number(value: Any, otherwise: float = 1.0) -> float:
    """Return a number as a 64-bit float, or the default for anything else."""
    return float(value) if is_number(value) else otherwise


def _title_and_body(delivery: Delivery) -> dict[str, str]:
    return {"title": _text(delivery, "title", TITLE), "body": _text(delivery, "body", "")}
