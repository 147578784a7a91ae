"""The operators, each as the rule about it says, for one context at a time (rules 10 to 17, 22)."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Protocol

from flowdsl.expressions.conditions import EvaluationError
from flowdsl.expressions.conditions.graph_calls import GraphCall
from flowdsl.expressions.conditions.scalar import row_form
from flowdsl.expressions.templates import Template
from flowdsl.expressions.templates.failures import RenderError
from flowdsl.operators.base import Operator
from flowdsl.operators.deduplicate import Deduplicate
from flowdsl.operators.deliver import Deliver
from flowdsl.operators.fan_out import FanOut
from flowdsl.operators.for_each import ForEach
from flowdsl.operators.map import ConstantNode, Fields, ListNode, Map, Node
from flowdsl.operators.rate_limit import RateLimit
from flowdsl.operators.resolve import Resolve
from flowdsl.operators.where import Where
from flowdsl.values.json_types import MISSING
from oracle.conditions import holds as holds_in
from oracle.events import Event, PlainGraph
from oracle.values import LAST_MOMENT, FailedError, id_of, key_of, look_up


@dataclass
class Context:
    """One event on its way through one flow: its variables, the branch it is, and what released it last.

    `opened_by` is the event, with its branch, that opened the first of the windows that it came out of.
    """

    event: Event
    variables: dict[str, Any]
    branch: tuple[int, ...] = ()
    closed_by: str | None = None
    opened_by: tuple[Event, tuple[int, ...]] | None = None

    @property
    def origin(self) -> tuple[Event, tuple[int, ...]]:
        """The event that it is known by in rule 31, and its branch."""
        if self.opened_by is None:
            return self.event, self.branch
        event, branch = self.opened_by
        return event, branch + self.branch[len(branch) :]

    def having(self, **variables: Any) -> Context:
        """The same context with more variables."""
        return replace(self, variables={**self.variables, **variables})

    def lacking(self, name: str) -> Context:
        """The same context without a variable."""
        return replace(self, variables={k: v for k, v in self.variables.items() if k != name})

    def __getitem__(self, path: Sequence[str]) -> Any:
        return look_up(self.variables, path)


class Place(Protocol):
    """Where a step stands: the moment, the graph as of it, and whom to tell of outcomes."""

    now: int
    graph: PlainGraph
    ending: bool

    def go_on(self, context: Context) -> None: ...
    def drop(self, contexts: Sequence[Context], reason: str) -> None: ...
    def fail(self, context: Context) -> None: ...
    def absorb(self, members: Sequence[Context]) -> None: ...
    def branch_off(self, extra: int) -> None: ...
    def deliver(self, context: Context, payload: Any, recipient: str | None) -> None: ...
    def number(self) -> int: ...
    def at(self, due: int, number: Any, action: Callable[[], None]) -> None: ...


class Step:
    """What one step of one flow does with each context that comes; `held` are those that wait in it."""

    def __init__(self, place: Place, options: Any) -> None:
        self.place = place
        self.options = options

    def take(self, context: Context) -> None:
        """A context has come; a `FailedError` fails it."""
        raise NotImplementedError

    def look_up(self, context: Context) -> Callable[[Any], Any]:
        """What an expression reads of a context, and of the graph as of now (rule 27)."""

        def value(leaf: Any) -> Any:
            return self._asked(leaf, context) if isinstance(leaf, GraphCall) else context[leaf]

        return value

    def _asked(self, call: GraphCall, context: Context) -> Any:
        ids = [_id_or_none(row_form(node).evaluate_at(self.look_up(context))) for node in call.ids]
        graph = self.place.graph
        if call.function == "linked":
            return None not in ids and ids[1] in graph.linked(ids[0], call.link_type, "forward")
        found = [] if ids[0] is None else graph.links_of(ids[0], call.link_type, call.direction)
        if call.function == "count_links":
            return len(found)
        said = found[0].metadata if found else MISSING
        return look_up({"link": said}, ("link", *call.below))

    def held(self) -> int:
        """How many contexts wait here."""
        return 0

    def open(self) -> list[dict[str, int]]:
        """What is open here: how many contexts, since when, until when, and the last one's event."""
        return []


class ResolveStep(Step):
    """Rule 10."""

    def take(self, context: Context) -> None:
        entity = self._entity(context[self.options.from_])
        name = self.options.as_
        self.place.go_on(context.lacking(name) if entity is MISSING else context.having(**{name: entity}))

    def _entity(self, start: Any) -> Any:
        options = self.options
        if not options.required and (start is MISSING or start is None):
            return MISSING
        entity_id = id_of(start)
        if entity_id is None:
            raise FailedError("no id")
        ids = [entity_id]
        if options.via is not None:
            ids = self.place.graph.linked(entity_id, options.via, options.direction)[:1]
        found = self.place.graph.find(ids[0], options.type) if ids else []
        if not found and options.required:
            raise FailedError("no link, or no entity")
        return found[0] if found else MISSING


class FanOutStep(Step):
    """Rule 11."""

    def take(self, context: Context) -> None:
        options, place = self.options, self.place
        start = id_of(context[options.from_])
        if start is None:
            raise FailedError("no id")
        ids = place.graph.linked(start, options.via, options.direction)
        if not ids:
            place.drop([context], "no links")
            return
        place.branch_off(len(ids) - 1)
        for position, linked in enumerate(ids):
            branch = replace(context, branch=(*context.branch, position))
            branch = branch.having(**{options.as_: linked, f"{options.as_}_id": linked})
            try:
                found = place.graph.find(linked, options.type)
            except FailedError:
                place.fail(branch)
                continue
            place.go_on(branch.having(**{options.as_: found[0]}) if found else branch)


class ForEachStep(Step):
    """Rule 22."""

    def take(self, context: Context) -> None:
        options, place = self.options, self.place
        try:
            items = row_form(options.path).evaluate_at(self.look_up(context))
        except EvaluationError as failure:
            raise FailedError from failure
        if items is MISSING or items is None or items == []:
            place.drop([context], "no items")
            return
        if not isinstance(items, list):
            raise FailedError("no list")
        place.branch_off(len(items) - 1)
        for position, item in enumerate(items):
            branch = replace(context, branch=(*context.branch, position))
            place.go_on(branch.having(**{options.as_: item, f"{options.as_}_index": position}))


class WhereStep(Step):
    """Rule 12."""

    def take(self, context: Context) -> None:
        try:
            holds = holds_in(self.options.condition, self.look_up(context), list(context.variables))
        except EvaluationError as failure:
            raise FailedError from failure
        if holds:
            self.place.go_on(context)
        else:
            self.place.drop([context], "filtered")


class DeduplicateStep(Step):
    """Rule 13."""

    def __init__(self, place: Place, options: Any) -> None:
        super().__init__(place, options)
        self.first_seen: dict[str, int] = {}

    def take(self, context: Context) -> None:
        key = key_of_context(context, self.options.key)
        first = self.first_seen.get(key)
        if first is not None and self.place.now < first + self.options.window.microseconds:
            self.place.drop([context], "duplicate")
            return
        self.first_seen[key] = self.place.now
        self.place.go_on(context)


@dataclass
class Waiting:
    """A context in a queue."""

    context: Context
    number: int
    since: int


@dataclass
class Bucket:
    """A token bucket: how many tokens there were at a moment, and who waits for one."""

    tokens: Fraction
    at: int
    queue: deque[Waiting] = field(default_factory=deque)


class RateLimitStep(Step):
    """Rule 15."""

    def __init__(self, place: Place, options: Any) -> None:
        super().__init__(place, options)
        self.buckets: dict[str, Bucket] = {}
        self.most = options.max
        self.per = options.per.microseconds

    def take(self, context: Context) -> None:
        key = key_of_context(context, self.options.key)
        bucket = self.buckets.setdefault(key, Bucket(Fraction(self.most), self.place.now))
        self._fill(bucket)
        if not bucket.queue and (self._unlimited() or bucket.tokens >= 1):
            bucket.tokens -= 1
            self.place.go_on(context)
        elif self.options.strategy == "drop":
            self.place.drop([context], "rate limited")
        elif self._due(bucket, len(bucket.queue)) > LAST_MOMENT:
            raise FailedError("no moment to go on at")
        else:
            bucket.queue.append(Waiting(context, self.place.number(), self.place.now))
            if len(bucket.queue) == 1:
                self._wake_up(bucket)

    def _unlimited(self) -> bool:
        return self.per == 0 and self.most > 0

    def _fill(self, bucket: Bucket) -> None:
        if self.per:
            gained = Fraction((self.place.now - bucket.at) * self.most, self.per)
            bucket.tokens = min(Fraction(self.most), bucket.tokens + gained)
        bucket.at = self.place.now

    def _wake_up(self, bucket: Bucket) -> None:
        """Let the first in the queue go at the first microsecond at which there is a token."""
        self.place.at(self._due(bucket, 0), bucket.queue[0].number, lambda: self._release(bucket))

    def _due(self, bucket: Bucket, before: int) -> int:
        """When there will be a token for who has `before` others before him."""
        lacking = 1 + before - bucket.tokens
        wait = lacking * self.per / self.most
        return bucket.at + max(0, -(-wait.numerator // wait.denominator))

    def _release(self, bucket: Bucket) -> None:
        self._fill(bucket)
        bucket.tokens -= 1
        context = bucket.queue.popleft().context
        if bucket.queue:
            self._wake_up(bucket)
        self.place.go_on(replace(context, closed_by="end") if self.place.ending else context)

    def held(self) -> int:
        return sum(len(bucket.queue) for bucket in self.buckets.values())

    def open(self) -> list[dict[str, int]]:
        rows = [
            (
                waiting.number,
                {
                    "held": 1,
                    "opened_at": waiting.since,
                    "due_at": self._due(bucket, place),
                    "last_seq_no": waiting.context.event.seq_no,
                },
            )
            for bucket in self.buckets.values()
            for place, waiting in enumerate(bucket.queue)
        ]
        return [row for _, row in sorted(rows, key=lambda numbered: numbered[0])]


class MapStep(Step):
    """Rule 16."""

    def take(self, context: Context) -> None:
        self.place.go_on(context.having(_payload=self._rendered(self.options.template, context)))

    def _rendered(self, node: Node, context: Context) -> Any:
        if isinstance(node, ConstantNode):
            return json.loads(node.json)
        if isinstance(node, Fields):
            return {name: self._rendered(value, context) for name, value in node.items}
        if isinstance(node, ListNode):
            return [self._rendered(value, context) for value in node.items]
        try:
            if isinstance(node, Template):
                return node.render_row(context.__getitem__)
            value = row_form(node).evaluate_at(self.look_up(context))
        except (RenderError, EvaluationError) as failure:
            raise FailedError from failure
        if value is MISSING:
            raise FailedError("missing")
        return value


class DeliverStep(Step):
    """Rule 17."""

    def take(self, context: Context) -> None:
        candidates = [
            context[("_payload", "recipient_id")],
            context[("recipient_id",)],
            context[("target_id",)],
        ]
        texts = [value for value in candidates if isinstance(value, str)]
        self.place.deliver(context, context[("_payload",)], texts[0] if texts else None)
        self.place.go_on(context.having(_delivered_to=list(self.options.sinks)))


STEPS: dict[type[Operator], type[Step]] = {
    Resolve: ResolveStep,
    FanOut: FanOutStep,
    ForEach: ForEachStep,
    Where: WhereStep,
    Deduplicate: DeduplicateStep,
    RateLimit: RateLimitStep,
    Map: MapStep,
    Deliver: DeliverStep,
}


def _id_or_none(value: Any) -> str | None:
    """An id, or None for null, missing and empty text; anything else is a mistake."""
    if value is MISSING or value is None or value == "":
        return None
    found = id_of(value)
    if found is None:
        raise EvaluationError("no id")
    return found


def key_of_context(context: Context, paths: Sequence[Sequence[str]]) -> str:
    """The key of a context; it fails where a value is missing or null (rule 33)."""
    values = [context[path] for path in paths]
    if any(value is MISSING or value is None for value in values):
        raise FailedError("the key is missing")
    return key_of(values)
