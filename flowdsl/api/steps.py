"""The builder methods of a flow, one an operator. Written by `python -m flowdsl.operators.generate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Never, Self

from flowdsl.api.calls import answered
from flowdsl.api.step_methods import StepMethods
from flowdsl.expressions.aggregates import Aggregate
from flowdsl.expressions.conditions import Condition, Expression
from flowdsl.expressions.durations import DurationLike
from flowdsl.expressions.var import Var
from flowdsl.operators.batch import Batch
from flowdsl.operators.cap import KeyCap
from flowdsl.operators.deduplicate import Deduplicate
from flowdsl.operators.deliver import Deliver
from flowdsl.operators.fan_out import FanOut
from flowdsl.operators.for_each import ForEach
from flowdsl.operators.map import Map
from flowdsl.operators.options import Direction, Strategy
from flowdsl.operators.rate_limit import RateLimit
from flowdsl.operators.resolve import Resolve
from flowdsl.operators.wait import Outside, Wait
from flowdsl.operators.where import Where
from flowdsl.values.local_time import Every


class Steps(StepMethods):
    """Builder methods: the steps that can follow a trigger or another step."""

    __slots__ = ()

    @answered
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
        """Look up an entity as of the event and set it as a variable.

        Parameters
        ----------
        from_
            The path of the id to start from.
        as_
            The name of the variable.
        via
            A link type. The entity is then the one at the other end of the id's earliest link of that type;
            without it, the entity with that id.
        direction
            `"forward"` if the id is the source of the link, `"reverse"` if it is its target.
        type
            The entity type, for ids that exist in several types.
        required
            If there is no entity, the event fails; with False the variable is missing instead.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        BuildError
            If a path cannot exist at this step, or an option is not valid.

        Examples
        --------
        >>> from flowdsl import on
        >>> flow = on("link.created").resolve("target_id", via="owns", direction="reverse", as_="owner")
        >>> flow.steps[0].text
        "resolve('target_id', via='owns', direction='reverse', as_='owner')"
        """
        return self._add(
            Resolve, unknown, from_, as_=as_, via=via, direction=direction, type=type, required=required
        )

    @answered
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
        """Continue once for each link of an id, in the order in which the links were created.

        Each branch has the entity at the other end as the variable `as_` (or its id if there is no such
        entity), and its id as `<as_>_id`. An event without links is dropped as `no links`.

        Parameters
        ----------
        from_
            The path of the id.
        via
            The link type.
        as_
            The name of the variable.
        direction
            `"forward"` if the id is the source of the links, `"reverse"` if it is their target.
        type
            The entity type, for ids that exist in several types.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        BuildError
            If a path cannot exist at this step, or an option is not valid.

        Examples
        --------
        >>> from flowdsl import on
        >>> flow = on("entity.created").fan_out(
        ...     "data.author_id", via="follows", direction="reverse", as_="follower"
        ... )
        >>> flow.steps[0].text
        "fan_out('data.author_id', via='follows', direction='reverse', as_='follower')"
        """
        return self._add(FanOut, unknown, from_, via=via, as_=as_, direction=direction, type=type)

    @answered
    def for_each(self, path: str | Var | Expression, *, as_: str, **unknown: Never) -> Self:
        """Continue once for each element of a list, in the order of the list.

        Each branch has the element, which may be any JSON value, as the variable `as_`, and its position from
        0 as `<as_>_index`. Where the list is empty, null or missing, the context is dropped as `no items`;
        any other value fails.

        Parameters
        ----------
        path
            The path of the list, or an expression that gives one, such as `added(data.mentions)`.
        as_
            The name of the variable.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        ConditionError
            If the expression cannot be parsed.
        BuildError
            If a path cannot exist at this step, or an option is not valid.

        Examples
        --------
        >>> from flowdsl import on
        >>> flow = on("entity.created").for_each("data.mentions", as_="who").resolve("who", as_="person")
        >>> flow.steps[0].text
        "for_each('data.mentions', as_='who')"
        """
        return self._add(ForEach, unknown, path, as_=as_)

    @answered
    def where(
        self,
        condition: str | Var | Expression | Condition | Callable[[Mapping[str, Any]], bool],
        **unknown: Never,
    ) -> Self:
        """Continue only if a condition holds; other contexts are dropped as `filtered`.

        Parameters
        ----------
        condition
            Text, an expression built with `var`, or a function that takes the context as a mapping. A flow
            with a function can be replayed but not exported.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        ConditionError
            If the condition cannot be parsed.
        BuildError
            If a path cannot exist at this step.

        Examples
        --------
        >>> from flowdsl import on, var
        >>> on("link.created").where(var.source_id != var.target_id).steps[0].text
        "where('source_id != target_id')"
        """
        return self._add(Where, unknown, condition)

    @answered
    def deduplicate(
        self, key: str | Var | Sequence[str | Var], *, window: DurationLike, **unknown: Never
    ) -> Self:
        """Let the first context of each key pass, and drop those less than `window` after it as `duplicate`.

        The window starts with the first context and is not extended; at exactly `window` the next one passes.
        A context whose key is missing or null fails.

        Parameters
        ----------
        key
            A path, or several.
        window
            The duration, such as `"1h"`.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        BuildError
            If a path cannot exist at this step, or the duration is not valid.

        Examples
        --------
        >>> from flowdsl import on
        >>> on("link.created").deduplicate("source_id", window="1h").steps[0].text
        "deduplicate('source_id', window='1h')"
        """
        return self._add(Deduplicate, unknown, key, window=window)

    @answered
    def batch(
        self,
        key: str | Var | Sequence[str | Var],
        *,
        window: DurationLike | Var | None = None,
        min_count: int = 1,
        max_count: int | None = None,
        quiet: DurationLike | Var | None = None,
        every: Every | None = None,
        at: str | None = None,
        on: str | int | None = None,
        tz: str | Var | None = None,
        default_tz: str | None = None,
        collect: Mapping[str, str | Var | Expression | Aggregate] | None = None,
        **unknown: Never,
    ) -> Self:
        """Collect the contexts of a key until a window closes, then continue with one context for all.

        The window of a key starts with its first context, and closes at the earliest of what is given. The
        context that continues has the variables of the last member, and `batch` with `count, key, items,
        first_at, last_at, closed_at, closed_by` and what is collected.

        Parameters
        ----------
        key
            The path of the key, or several: what has the same value for each of them belongs together.
        window
            How long a window is open, such as `"5m"`, or the path to a duration: that of its first context.
        min_count
            Windows with fewer members are dropped as `batch below min_count`.
        max_count
            So many members close the window at once.
        quiet
            The window closes when no member came for so long, or the path to a duration: that of its last
            member.
        every
            `"hour"`, `"day"`, `"week"` or `"month"`: the window closes at the first such local moment after
            its first member.
        at
            When in the day that is, such as `"09:00"`; in the hour `"00:15"`.
        on
            The weekday, such as `"mon"`, or the day of the month: the last one where a month is shorter.
        tz
            The time zone, such as `"Europe/Berlin"`, or the path to one; UTC if not given.
        default_tz
            The time zone where the path has none that is known; without it such a context fails.
        collect
            What `batch` has of the members: names, each with an expression, whose values become a list, or
            with an aggregate of one: `fn.sum`, `min`, `max`, `first`, `last`, `unique` or `count`.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        BuildError
            If a path cannot exist at this step, or an option is not valid.

        Examples
        --------
        >>> from flowdsl import fn, on, var
        >>> on("link.created").batch("target_id", window="5m", min_count=2).steps[0].text
        "batch('target_id', window='5m', min_count=2)"
        >>> digest = on("entity.created").batch(
        ...     "data.user_id",
        ...     every="week",
        ...     on="mon",
        ...     at="09:00",
        ...     tz="Europe/Berlin",
        ...     collect={"titles": var.data.title, "total": fn.sum(var.data.amount)},
        ... )
        >>> digest.steps[0].caption
        'by data.user_id, every week on mon at 09:00 in Europe/Berlin, with titles, total'
        """
        return self._add(
            Batch,
            unknown,
            key,
            window=window,
            min_count=min_count,
            max_count=max_count,
            quiet=quiet,
            every=every,
            at=at,
            on=on,
            tz=tz,
            default_tz=default_tz,
            collect=collect,
        )

    @answered
    def rate_limit(
        self,
        max: int,
        *,
        per: DurationLike,
        strategy: Strategy = "drop",
        key: str | Var | Sequence[str | Var] | None = None,
        **unknown: Never,
    ) -> Self:
        """Limit contexts by a token bucket, which is full at the start and refilled evenly.

        Up to `max` contexts pass at once, and up to twice `max` within any `per`: for a hard limit this is
        not the right step.

        Parameters
        ----------
        max
            The size of the bucket.
        per
            The time in which `max` tokens are added, such as `"1m"`.
        strategy
            `"drop"` drops contexts without a token as `rate limited`; `"queue"` lets them wait, in order.
        key
            The path of a key, each value of which has a bucket of its own; None for one bucket.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        BuildError
            If a path cannot exist at this step, or an option is not valid.

        Examples
        --------
        >>> from flowdsl import on
        >>> on("link.created").rate_limit(100, per="1m", key="target_id").steps[0].text
        "rate_limit(100, per='1m', key='target_id')"
        """
        return self._add(RateLimit, unknown, max, per=per, strategy=strategy, key=key)

    @answered
    def cap(
        self,
        max: int,
        *,
        per: DurationLike,
        key: str | Var | Sequence[str | Var] | None = None,
        tz: str | Var | None = None,
        default_tz: str | None = None,
        **unknown: Never,
    ) -> Self:
        """Let at most `max` contexts go on in every stretch of `per`; others are dropped as `capped`.

        Only those that go on are counted. At exactly `per` after the first of them the next one passes.
        A context whose key or time zone is missing or null fails.

        Parameters
        ----------
        max
            How many contexts go on at most.
        per
            A duration, such as `"24h"`; or `"day"`, `"week"` (from Monday) or `"month"` for local ones.
        key
            A path, or several, each value of which is counted apart; None to count all contexts together.
        tz
            The time zone of days, weeks and months, as `"Europe/Berlin"`, or the path to one; UTC by default.
        default_tz
            The time zone where the path has no name of one.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        BuildError
            If a path cannot exist at this step, or an option is not valid.

        Examples
        --------
        >>> from flowdsl import on
        >>> on("link.created").cap(3, per="day", key="target_id", tz="Europe/Berlin").steps[0].text
        "cap(3, per='day', key='target_id', tz='Europe/Berlin')"
        """
        return self._add(KeyCap, unknown, max, per=per, key=key, tz=tz, default_tz=default_tz)

    @answered
    def wait(
        self,
        duration: DurationLike | Var | None = None,
        *,
        until: str | None = None,
        on: str | int | None = None,
        hours: str | None = None,
        outside: Outside = "hold",
        tz: str | Var | None = None,
        default_tz: str | None = None,
        **unknown: Never,
    ) -> Self:
        """Hold each context and let it go on later; the steps after it see the graph as it is then.

        Give one of `duration`, `until` and `hours`. Contexts that need not wait go on at once.

        Parameters
        ----------
        duration
            How long, such as `"1d"`, or the path to such text.
        until
            The local time of day, such as `"09:00"`, whose next occurrence is waited for.
        on
            With `until`: the weekday (`"mon"` to `"sun"`) or day of the month (1 to 31; in shorter months
            the last) of that moment.
        hours
            The local hours, such as `"08:00-22:00"`, outside of which is waited until they begin. They may
            pass midnight.
        outside
            With `hours`: `"hold"`, or `"drop"` to drop what comes outside of them as `outside hours`.
        tz
            The IANA name of the time zone, such as `"Europe/Berlin"`, or the path to one. UTC if not given.
        default_tz
            The zone where the path has no name of a zone; if not given, the context fails.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        BuildError
            If a path cannot exist at this step, or an option is not valid.

        Examples
        --------
        >>> from flowdsl import on
        >>> on("link.created").wait("1d").steps[0].text
        "wait('1d')"
        >>> on("entity.created").wait(hours="08:00-22:00", tz="data.tz", default_tz="UTC").steps[0].text
        "wait(hours='08:00-22:00', tz='data.tz', default_tz='UTC')"
        """
        return self._add(
            Wait,
            unknown,
            duration,
            until=until,
            on=on,
            hours=hours,
            outside=outside,
            tz=tz,
            default_tz=default_tz,
        )

    @answered
    def map(self, template: Any = None, /, **fields: Any) -> Self:
        """Render the payload.

        Every text is a Tera template; expressions built with `var` keep their type. A variable that is
        missing for an event fails that event.

        Parameters
        ----------
        template
            The payload as an object, array or text, nested at will.
        **fields
            The fields of the payload, instead of `template`.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        TemplateError
            If a template cannot be parsed.
        BuildError
            If a variable cannot exist at this step.

        Examples
        --------
        >>> from flowdsl import on
        >>> on("link.created").map(recipient_id="{{ target_id }}", kind="like").steps[0].text
        "map(recipient_id='{{ target_id }}', kind='like')"
        """
        return self._add(Map, (), template, **fields)

    @answered
    def deliver(self, *sinks: str, **unknown: Never) -> Self:
        """Deliver the payload to sinks, and continue.

        The recipient is the payload's `recipient_id`, else the variable `recipient_id`, else `target_id` if
        that is text, else none.

        Parameters
        ----------
        *sinks
            The names of the sinks.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        BuildError
            If there is no `map` before this step, or no sink.

        Examples
        --------
        >>> from flowdsl import on
        >>> on("link.created").map(title="hello").deliver("in-app", "push").steps[1].text
        "deliver('in-app', 'push')"
        """
        return self._add(Deliver, unknown, *sinks)
