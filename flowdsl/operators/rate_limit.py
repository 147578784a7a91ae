"""rate_limit: no more than so many contexts in a time; the others are dropped, or wait their turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.errors import BuildError
from flowdsl.expressions.durations import Duration, DurationLike
from flowdsl.expressions.row_source import Failures
from flowdsl.expressions.var import Var
from flowdsl.kernels.buckets import Buckets
from flowdsl.kernels.kernel import Kernel, split_keyed
from flowdsl.kernels.keys import KeySpace
from flowdsl.kernels.outcome import Failed, StepOutcome, Until, keep_where
from flowdsl.kernels.release_queue import ReleaseQueue, WaitingKernel
from flowdsl.kernels.token_buckets import NEVER, DropBucket, FloatBucket, QueueBucket
from flowdsl.operators.base import Kind, Operator
from flowdsl.operators.options import (
    DURATION,
    PATHS,
    STRATEGY,
    Strategy,
    count,
    holding,
    mapping_schema,
    option,
)
from flowdsl.pluralize import count_text
from flowdsl.rules import Rules
from flowdsl.values.json_types import Ints
from flowdsl.values.paths import Path, path_text
from flowdsl.values.state_fields import ObjectField, OptionalField
from flowdsl.values.state_objects import keeps


@dataclass(frozen=True)
class RateLimit(Operator):
    """Take a token of a bucket for each context."""

    name: ClassVar[str] = "rate_limit"
    method: ClassVar[str] = "rate_limit"
    summary: ClassVar[str] = (
        "a token bucket: up to `max` contexts go on at once, and it refills evenly over `per`; "
        "the others are dropped, or wait"
    )
    example: ClassVar[str] = 'rate_limit(100, per="1m", strategy="drop")'
    synonyms: ClassVar[tuple[str, ...]] = ("throttle", "limit_rate", "token_bucket")
    portable: ClassVar[bool] = True
    without: ClassVar[Mapping[str, str]] = {"key": "all keys share one bucket"}
    held_because: ClassVar[str] = "it had no token yet"
    released_when: ClassVar[str] = "when there was a token"
    option_rules: ClassVar[Mapping[str, Any]] = {
        "if": mapping_schema("strategy", const="queue"),
        "then": holding("max", minimum=1),
    }

    max: int = option(
        count(0, 10, 100),
        "how many tokens the bucket holds: so many contexts may go on at once",
        synonyms=("limit", "count", "rate"),
    )
    per: Duration = option(
        DURATION,
        "how long an empty bucket takes to fill, evenly; over any such stretch up to twice `max` may go on",
        synonyms=("window", "interval", "every"),
    )
    strategy: str = option(
        STRATEGY,
        "what happens without a token: `drop`, or `queue` (wait, in order)",
        default="drop",
    )
    key: tuple[Path, ...] = option(
        PATHS,
        "the path, or list of paths, that has a bucket of its own for each value",
        portable=False,
        key=True,
        default=(),
        synonyms=("by", "keys"),
    )

    @classmethod
    def build(
        cls,
        max: int,
        *,
        per: DurationLike,
        strategy: Strategy = "drop",
        key: str | Var | Sequence[str | Var] | None = None,
    ) -> RateLimit:
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
        return cls.read(max=max, per=per, strategy=strategy, key=key)

    def check_options(self) -> None:
        if self.strategy == "queue" and self.max == 0:
            raise BuildError(
                "rate_limit: a queue with max=0 never lets anything out",
                hint="use strategy='drop', or a max of at least 1",
            )

    @property
    def kind(self) -> Kind:
        return Kind.PER_KEY if self.key else Kind.WHOLE

    @property
    def times(self) -> bool:
        return self.strategy == "queue"

    @property
    def caption(self) -> str:
        each = f" for each {', '.join(map(path_text, self.key))}" if self.key else ""
        waiting = ", others wait" if self.strategy == "queue" else ""
        return f"{self.max} at once, refilled over {self.per.text}{each}{waiting}"

    def kernel(self, rules: Rules) -> Kernel:
        if self.per.microseconds == 0 and self.max > 0:
            # a bucket that refills at once never runs dry
            return NoLimitKernel(self, rules)
        # without timers nothing would release a queue
        queues = self.strategy == "queue" and rules.timers
        return QueueKernel(self, rules) if queues else DropKernel(self, rules)


class NoLimitKernel(Kernel):
    """Passes all contexts that have a key."""

    def __init__(self, options: RateLimit, rules: Rules) -> None:
        self._space = KeySpace.of(options.key, rules)

    def run(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        contexts, _, failed = split_keyed(self._space, contexts)
        return StepOutcome(contexts, failed)


class DropKernel(Kernel):
    """Drops contexts for which there is no token."""

    saved = keeps(_space=OptionalField(ObjectField(KeySpace)), _buckets=ObjectField(Buckets))

    def __init__(self, options: RateLimit, rules: Rules) -> None:
        self._space = KeySpace.of(options.key, rules)
        kind = DropBucket if rules.exact_tokens else FloatBucket
        self._buckets = Buckets(kind, options.max, max(options.per.microseconds, 1))

    def keys_held(self) -> list[Ints]:
        return [self._buckets.keys_held()]

    def remembers(self, clock: int) -> str:
        used = self._buckets.used(clock)
        return f"{count_text(used, 'limit')} in use" if used else ""

    def run(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        contexts, keys, failed = split_keyed(self._space, contexts)
        if not len(contexts):
            return StepOutcome(contexts, failed)
        passing = self._buckets.take(keys, contexts.moment).astype(np.bool_)
        return keep_where(contexts, passing, "rate limited", failed=failed)


class QueueKernel(WaitingKernel):
    """Holds contexts until there is a token, a moment that is known as soon as a context comes."""

    saved = keeps(
        _space=OptionalField(ObjectField(KeySpace)),
        _buckets=ObjectField(Buckets),
        _waiting=ObjectField(ReleaseQueue),
    )

    def __init__(self, options: RateLimit, rules: Rules) -> None:
        self._space = KeySpace.of(options.key, rules)
        self._buckets = Buckets(QueueBucket, options.max, options.per.microseconds)
        self._waiting = ReleaseQueue()

    def keys_held(self) -> list[Ints]:
        return [self._buckets.keys_held()]

    def remembers(self, clock: int) -> str:
        used = self._buckets.used(clock)
        limits = f"{count_text(used, 'limit')} in use" if used else ""
        queued = f"{count_text(self.held, 'context')} in its queue" if self.held else ""
        return " and ".join(filter(None, (queued, limits)))

    def run(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        contexts, keys, failed = split_keyed(self._space, contexts)
        moments = self._buckets.take(keys, contexts.moment)
        never = Failures.where(moments == NEVER, "its turn in the queue comes after the year 9999")
        if never is not None:
            failed += (Failed(contexts, never),)
            good = np.flatnonzero(~never.mask)
            contexts, moments = contexts.take(good), moments[good]
        return StepOutcome(self._waiting.run(contexts, moments, None, until), failed)
