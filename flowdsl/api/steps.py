"""The builder methods of a flow, one an operator. Written by `python -m flowdsl.operators.generate`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Never, Self

from flowdsl.expressions.conditions import Condition, Expression
from flowdsl.expressions.durations import DurationLike
from flowdsl.expressions.var import Var
from flowdsl.operators.base import Direction, Operator, Strategy, refuse_unknown


class Steps:
    """What can be put after a trigger or another step."""

    __slots__ = ()

    @abstractmethod
    def _then(self, step: Operator) -> Self:
        """The flow with one step more."""

    def resolve(
        self,
        from_: str | Var,
        *,
        as_: str,
        via: str | None = None,
        direction: Direction = "forward",
        type: str | None = None,
        required: bool = True,
        **unknown: Never,
    ) -> Self:
        """Look up an entity as of the event and keep it as the variable `as_`.

        Without `via` it is the entity whose id stands at `from_`; with it, the other end of the earliest link of
        that type (`direction="reverse"`: the id is the link's target). Where there is none the event fails, or
        with `required=False` the variable is missing. `type` says which entity type an id means that lives in
        several.

        >>> from flowdsl import on
        >>> on("link.created").resolve("target_id", via="owns", direction="reverse", as_="owner").steps[0].text
        "resolve('target_id', via='owns', direction='reverse', as_='owner')"
        """
        from flowdsl.operators.resolve import Resolve

        refuse_unknown("resolve", unknown, ("as_", "via", "direction", "type", "required"))
        return self._then(
            Resolve.build(from_, as_=as_, via=via, direction=direction, type=type, required=required)
        )

    def fan_out(
        self,
        from_: str | Var,
        *,
        via: str,
        as_: str,
        direction: Direction = "forward",
        type: str | None = None,
        **unknown: Never,
    ) -> Self:
        """Go on once for each link of type `via` from the id at `from_`, in the order in which links were created.

        Each branch has the entity at the other end as the variable `as_` (its id where there is no such entity)
        and its id as `<as_>_id`. Without a link the event is dropped as `no links`.

        >>> from flowdsl import on
        >>> flow = on("entity.created").fan_out("data.author_id", via="follows", direction="reverse", as_="follower")
        >>> flow.steps[0].text
        "fan_out('data.author_id', via='follows', direction='reverse', as_='follower')"
        """
        from flowdsl.operators.fan_out import FanOut

        refuse_unknown("fan_out", unknown, ("via", "as_", "direction", "type"))
        return self._then(FanOut.build(from_, via=via, as_=as_, direction=direction, type=type))

    def where(
        self,
        condition: str | Var | Expression | Condition | Callable[[Mapping[str, Any]], bool],
        **unknown: Never,
    ) -> Self:
        """Go on only where a condition holds; what it is not true for is dropped as `filtered`.

        `condition` is text, an expression built with `var`, or a function that gets the context as a mapping
        (such a flow replays but does not export). Raises `ConditionError` where it does not parse.

        >>> from flowdsl import on, var
        >>> on("link.created").where(var.source_id != var.target_id).steps[0].text
        "where('source_id != target_id')"
        """
        from flowdsl.operators.where import Where

        refuse_unknown("where", unknown, ())
        return self._then(Where.build(condition))

    def deduplicate(
        self, key: str | Var | Sequence[str | Var], *, window: DurationLike, **unknown: Never
    ) -> Self:
        """Let the first context of each key go on; those less than `window` after it are dropped as `duplicate`.

        The window runs from the first sighting and is not extended; at exactly `window` the next one passes. A
        key that is missing or null fails. `key` may be a list of paths.

        >>> from flowdsl import on
        >>> on("link.created").deduplicate("source_id", window="1h").steps[0].text
        "deduplicate('source_id', window='1h')"
        """
        from flowdsl.operators.deduplicate import Deduplicate

        refuse_unknown("deduplicate", unknown, ("window",))
        return self._then(Deduplicate.build(key, window=window))

    def batch(self, key: str | Var, *, window: DurationLike, min_count: int = 1, **unknown: Never) -> Self:
        """Gather the contexts of a key for `window` from the first one, then go on as one context.

        It has the last member's variables and `batch` with `count, key, items, first_at, last_at, closed_at`. A
        window with fewer than `min_count` members is dropped as `batch below min_count`.

        >>> from flowdsl import on
        >>> on("link.created").batch("target_id", window="5m", min_count=2).steps[0].text
        "batch('target_id', window='5m', min_count=2)"
        """
        from flowdsl.operators.batch import Batch

        refuse_unknown("batch", unknown, ("window", "min_count"))
        return self._then(Batch.build(key, window=window, min_count=min_count))

    def rate_limit(
        self,
        max: int,
        *,
        per: DurationLike,
        strategy: Strategy = "drop",
        key: str | Var | Sequence[str | Var] | None = None,
        **unknown: Never,
    ) -> Self:
        """Take a token for each context from a bucket of `max` tokens, full at the start and refilled evenly over `per`.

        So up to `max` go on at once, and over any stretch of `per` up to twice `max`. Without a token a context is
        dropped as `rate limited`, or with `strategy="queue"` waits until there is one, in order. One bucket serves the whole step, or with `key` each value its own.

        >>> from flowdsl import on
        >>> on("link.created").rate_limit(100, per="1m", key="target_id").steps[0].text
        "rate_limit(100, per='1m', key='target_id')"
        """
        from flowdsl.operators.rate_limit import RateLimit

        refuse_unknown("rate_limit", unknown, ("per", "strategy", "key"))
        return self._then(RateLimit.build(max, per=per, strategy=strategy, key=key))

    def map(self, template: Any = None, /, **fields: Any) -> Self:
        """Render the payload: `template` (an object, array or text, nested at will) or its fields by name.

        Every text is a Tera template; what is built with `var` keeps its type. An unknown variable at an event
        fails there; one that cannot exist at this step, or a template that does not parse, is refused here.

        >>> from flowdsl import on
        >>> on("link.created").map(recipient_id="{{ target_id }}", kind="like").steps[0].text
        "map(recipient_id='{{ target_id }}', kind='like')"
        """
        from flowdsl.operators.map import Map

        return self._then(Map.build(template, **fields))

    def deliver(self, *sinks: str, **unknown: Never) -> Self:
        """Hand the payload to each of the named sinks, and go on.

        The recipient is the payload's `recipient_id`, else the variable `recipient_id`, else `target_id` (text
        only), else none. Refused without a `map` before it.

        >>> from flowdsl import on
        >>> on("link.created").map(title="hello").deliver("in-app", "push").steps[1].text
        "deliver('in-app', 'push')"
        """
        from flowdsl.operators.deliver import Deliver

        refuse_unknown("deliver", unknown, ())
        return self._then(Deliver.build(*sinks))
