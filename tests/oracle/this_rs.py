"""An interpreter of production's flows written straight from its rules: one event, one context, one step at a time.

It takes flows as production's YAML has them. Of flowdsl it uses the row form of templates and the text of numbers, which
have tests of their own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flowdsl.errors import FlowError
from flowdsl.expressions.durations import parse_production_duration
from flowdsl.expressions.templates import RenderError, Template
from flowdsl.expressions.templates.failures import RenderCrashError
from flowdsl.log.uuids import uuid_of
from flowdsl.values.canonical_json import value_text
from flowdsl.values.json_types import MISSING
from oracle.events import Event, PlainGraph
from oracle.values import canonical

IDS = ("entity_id", "link_id", "source_id", "target_id")
Path = tuple[str, ...]


class FailedError(Exception):
    """A context that fails."""


class StoppedError(Exception):
    """The engine crashes: at an event, a flow, a step and a branch."""


class DroppedError(Exception):
    """A context that is dropped, for a reason."""


@dataclass
class Context:
    """One run of a flow on one event, or a branch of it."""

    event: Event
    now: int
    variables: dict[str, Any]
    branch: tuple[int, ...] = ()

    def get(self, path: Path) -> Any:
        """What stands at a path."""
        value: Any = self.variables
        for part in path:
            value = value.get(part, MISSING) if isinstance(value, dict) else MISSING
        return value


class ProductionGraph(PlainGraph):
    """The stores: an id in one spelling, an entity without an id that its data lacks, the first type that has an id."""

    def __init__(self, entities: Mapping[str, Mapping[Any, Any]], links: Sequence[Mapping[str, Any]]) -> None:
        super().__init__({}, [spelled_once(link) for link in links])
        self.entities = {
            kind: {spelled(str(key)): data for key, data in held.items()} for kind, held in entities.items()
        }

    def apply(self, event: Event) -> bool:
        """What an event does to the stores; False for a deletion that meets nothing."""
        if not event.kind.startswith("entity"):
            return super().apply(event)
        held = self.entities.setdefault(event.fields["entity_type"], {})
        if event.kind == "entity.deleted":
            return held.pop(event.fields["entity_id"], MISSING) is not MISSING
        held[event.fields["entity_id"]] = event.fields.get("data")
        return True

    def entity(self, entity_id: str) -> Any:
        """The entity with an id; MISSING where there is none."""
        return next((held[entity_id] for held in self.entities.values() if entity_id in held), MISSING)


@dataclass
class Tally:
    """What became of the contexts that entered a step."""

    entered: int = 0
    branches: int = 0
    passed: int = 0
    failed: int = 0
    absorbed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


@dataclass
class Bucket:
    """What waits in a batch."""

    opened: int
    items: list[str]
    seqs: list[int]


class Step:
    """A step of one flow, with what it remembers."""

    def __init__(self, config: Mapping[str, Any], graph: ProductionGraph) -> None:
        ((self.name, self.options),) = config.items()
        self.graph = graph
        self.tally = Tally()
        self.seen: dict[str, int] = {}
        self.buckets: dict[str, Bucket] = {}
        self.tokens: float | None = None
        self.last = 0

    def run(self, context: Context) -> Iterator[Context]:
        """The contexts that go on; raises `FailedError` or `DroppedError`."""
        return iter(getattr(self, self.name)(context))

    def start(self, context: Context) -> str:
        """The id that a look-up starts from."""
        value = context.get(path_of(self.options["from"]))
        if not isinstance(value, str) or not value:
            raise FailedError
        return spelled(value)

    def linked_ids(self, context: Context, start: str) -> list[str]:
        direction = self.options.get("direction", "forward")
        if direction not in ("forward", "reverse"):
            raise FailedError
        return self.linked(start, self.options["via"], direction)

    def linked(self, start: str, via: str, direction: str) -> list[str]:
        return self.graph.linked(start, via, direction)

    # -- the operators ---------------------------------------------------------------------------------

    def resolve(self, context: Context) -> list[Context]:
        found = self.start(context)
        if self.options.get("via") is not None:
            linked = self.linked_ids(context, found)
            if not linked:
                raise FailedError
            found = linked[0]
        entity = self.graph.entity(found)
        if entity is MISSING:
            raise FailedError
        return [having(context, self.options["as"], entity)]

    def fan_out(self, context: Context) -> list[Context]:
        start = self.start(context)
        linked = self.linked_ids(context, start)
        if not linked:
            own = [context.event.fields.get(name) for name in IDS]
            if uuid_of(start) is None and self.graph.entity(start) is MISSING and start not in own:
                raise FailedError
            raise DroppedError("no links")
        self.tally.branches += len(linked) - 1
        name, branches = self.options["as"], []
        for place, other in enumerate(linked):
            entity = self.graph.entity(other)
            branch = having(context, name, other if entity is MISSING else entity)
            branch = having(branch, f"{name}_id", other)
            branches.append(replace(branch, branch=(*context.branch, place)))
        return branches

    def filter(self, context: Context) -> list[Context]:
        if not holds(self.options["condition"], context):
            raise DroppedError("filtered")
        return [context]

    def deduplicate(self, context: Context) -> list[Context]:
        key = self.key(context)
        if key in self.seen and context.now - self.seen[key] < self.window:
            raise DroppedError("duplicate")
        self.seen[key] = context.now
        return [context]

    def batch(self, context: Context) -> list[Context]:
        key = self.key(context)
        item = next((v for n in ("source_id", "entity_id") if (v := context.get((n,))) is not MISSING), "")
        bucket = self.buckets.get(key)
        if bucket is None or context.now - bucket.opened < self.window:
            bucket = self.buckets.setdefault(key, Bucket(context.now, [], []))
            bucket.items.append(value_text(item))
            bucket.seqs.append(context.event.seq_no)
            return []
        del self.buckets[key]
        if len(bucket.items) < self.options.get("min_count", 1):
            self.tally.dropped["batch below min_count"] += len(bucket.items)
            raise DroppedError("in no batch")
        self.tally.absorbed += len(bucket.items)
        return [having(context, "_batch", {"count": len(bucket.items), "key": key, "items": bucket.items})]

    def rate_limit(self, context: Context) -> list[Context]:
        most, per = self.options["max"], parse_production_duration(self.options["per"]).microseconds
        if self.tokens is None:
            self.tokens, self.last = float(most), context.now
        if per == 0:
            self.tokens = float(most)
        else:
            self.tokens = min(
                float(most), self.tokens + seconds(context.now - self.last) * (most / seconds(per))
            )
        self.last = context.now
        if self.tokens < 1:
            raise DroppedError("rate limited")
        self.tokens -= 1
        return [context]

    def map(self, context: Context) -> list[Context]:
        return [having(context, "_payload", rendered(self.options["template"], context))]

    def deliver(self, context: Context) -> list[Context]:
        if "_payload" not in context.variables:
            raise FailedError
        return [having(context, "_delivered_to", self.sinks)]

    @property
    def sinks(self) -> list[str]:
        """The sinks, each once."""
        single = [self.options["sink"]] if self.options.get("sink") is not None else []
        return list(dict.fromkeys([*single, *(self.options.get("sinks") or [])]))

    @property
    def window(self) -> int:
        return parse_production_duration(self.options["window"]).microseconds

    def key(self, context: Context) -> str:
        value = context.get(path_of(self.options["key"]))
        if value is MISSING:
            raise FailedError
        return value_text(value)


def interpret(
    flows: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]], graph: ProductionGraph
) -> dict[str, Any]:
    """What production makes of events, in the form of `said_by_engine`."""
    clock = -(1 << 62)
    running = [[Step(config, graph) for config in flow["pipeline"]] for flow in flows]
    deliveries: list[tuple[Any, ...]] = []
    errors: list[tuple[Any, ...]] = []

    def run(number: int, place: int, context: Context) -> None:
        name, step = flows[number]["name"], running[number][place]
        step.tally.entered += 1
        try:
            out = list(step.run(context))
        except FailedError:
            step.tally.failed += 1
            said = (context.event.seq_no, name, place, branch_text(context))
            errors.append((number, *said, canonical(context.variables)))
            return
        except DroppedError as dropped:
            step.tally.dropped[str(dropped)] += 1
            return
        except RenderCrashError:
            step.tally.dropped["stopped"] += 1
            raise StoppedError(context.event.seq_no, name, place, branch_text(context)) from None
        for count, one in enumerate(out, 1):
            step.tally.passed += 1
            if step.name == "deliver":
                deliveries.extend(delivered(name, place, step.sinks, one))
            if place + 1 < len(running[number]):
                try:
                    run(number, place + 1, one)
                except StoppedError:
                    # the branches that it does not come to any more
                    step.tally.dropped["stopped"] += len(out) - count
                    raise

    stopped: tuple[Any, ...] | None = None
    for envelope in events:
        event = Event.of(envelope)
        event = replace(event, fields=spelled_once(event.fields))
        clock = max(clock, event.timestamp)
        graph.apply(event)
        try:
            for number, flow in enumerate(flows):
                if running[number] and triggers(flow["trigger"], event):
                    variables = event.variables()
                    del variables["event"]
                    run(number, 0, Context(event, clock, variables))
        except StoppedError as error:
            stopped = error.args
            break
    errors.sort(key=lambda e: (e[1], e[0], e[3], [int(p) for p in (e[4] or "").split(".") if p]))
    return {
        "deliveries": deliveries,
        "errors": [error[1:] for error in errors],
        "dropped": sorted(
            (flow["name"], place, reason, count)
            for flow, steps in zip(flows, running, strict=True)
            for place, step in enumerate(steps)
            for reason, count in step.tally.dropped.items()
            if count
        ),
        "steps": [
            (flow["name"], place, {"filter": "where"}.get(step.name, step.name), step.tally.entered, step.tally.branches,
             step.tally.passed, step.tally.dropped.total(), step.tally.failed, step.tally.absorbed, held(step))
            for flow, steps in zip(flows, running, strict=True)
            for place, step in enumerate(steps)
        ],
        "open": [
            (flow["name"], place, len(b.items), b.opened, b.opened + step.window, max(b.seqs))
            for flow, steps in zip(flows, running, strict=True)
            for place, step in enumerate(steps)
            for b in step.buckets.values()
        ],
        "stopped": stopped,
    }  # fmt: skip


def delivered(flow: str, place: int, sinks: Sequence[str], context: Context) -> Iterator[tuple[Any, ...]]:
    """A delivery for each sink."""
    payload = context.variables["_payload"]
    handed = (context.get((name,)) for name in ("recipient_id", "target_id"))
    inside = payload.get("recipient_id") if isinstance(payload, dict) else None
    recipient = next((v for v in (*handed, inside) if isinstance(v, str)), None)
    event = context.event
    for sink in sinks:
        yield (context.now, event.seq_no, flow, branch_text(context), place, sink, event.timestamp, event.event_id,
               None, recipient, canonical(payload))  # fmt: skip


def triggers(trigger: Mapping[str, Any], event: Event) -> bool:
    """Whether a flow with this trigger is for this event; a filter of the other family does nothing."""
    name = f"{event.kind.split('.')[0]}_type"
    return trigger["kind"] == event.kind and trigger.get(name) in (None, event.fields.get(name))


def holds(condition: str, context: Context) -> bool:
    """Whether a condition holds."""
    text = condition.strip()
    for word in (" not_exists", " exists"):
        if text.endswith(word):
            found = context.get(path_of(text[: -len(word)].strip())) is not MISSING
            return found is (word == " exists")
    sign = "!=" if " != " in text else "=="
    left, right = (side.strip() for side in text.split(f" {sign} ", 1))
    return equal(context.get(path_of(left)), right, context) is (sign == "==")


def equal(value: Any, right: str, context: Context) -> bool:
    """Whether a value has the text of a literal or of another value."""
    if right[:1] in "\"'" and right[-1:] == right[:1]:
        text = right[1:-1]
    elif right in ("true", "false", "null") or is_number(right):
        text = right
    else:
        other = context.get(path_of(right))
        if other is MISSING:
            return False
        text = value_text(other)
    return value is not MISSING and not isinstance(value, (dict, list)) and value_text(value) == text


def is_number(text: str) -> bool:
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def rendered(template: Any, context: Context) -> Any:
    """A template with every text in it rendered."""
    if isinstance(template, str):
        try:
            return Template.parse(template, lenient=True).render_row(context.get)
        except RenderCrashError:
            raise
        except (FlowError, RenderError):
            raise FailedError from None
    if isinstance(template, dict):
        made = {key: rendered(template[key], context) for key in sorted(template)}
        return {key: made[key] for key in template}
    return [rendered(value, context) for value in template] if isinstance(template, list) else template


def having(context: Context, name: str, value: Any) -> Context:
    """A context with a variable set."""
    return replace(context, variables={**context.variables, name: json.loads(json.dumps(value))})


def held(step: Step) -> int:
    """How many contexts wait."""
    return sum(len(bucket.items) for bucket in step.buckets.values())


def seconds(microseconds: int) -> float:
    """A span in seconds: whole ones, and nanoseconds."""
    return microseconds // 1_000_000 + microseconds % 1_000_000 * 1000 / 1e9


def path_of(text: str) -> Path:
    """The parts of a path."""
    return tuple(text.split("."))


def branch_text(context: Context) -> str | None:
    """The branch as results have it."""
    return ".".join(map(str, context.branch)) or None


def spelled(text: str) -> str:
    """An id in its one spelling."""
    return uuid_of(text) or text


def spelled_once(fields: Mapping[str, Any]) -> dict[str, Any]:
    """An event or link with its ids in one spelling."""
    return {
        name: spelled(value) if name in IDS and isinstance(value, str) else value
        for name, value in fields.items()
    }
