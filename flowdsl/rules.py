"""Rules of a runtime: the single place that defines how production differs from flowdsl.

Operators, graph and engine ask a `Rules` for a behaviour, never for the name of a runtime. `FLOWDSL` are the
rules of `on(…)`, `THIS_RS` those of the production runtime as its engine was seen to behave; `rules_of` finds
them by name. How this-rs reads YAML is in `flowdsl.production`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, cast

from flowdsl.errors import FlowError, did_you_mean
from flowdsl.text import short_repr
from flowdsl.values.paths import Path


@dataclass(frozen=True)
class Rules:
    """Behaviours that differ between runtimes, one field each."""

    name: str
    early_checks: bool
    """Whether documents are read strictly, and a flow that cannot work is refused when it is built; otherwise
    it fails event by event."""
    event_variable: bool
    """Whether contexts have the variable `event` with id, kind, timestamp and seq_no, and on events of
    entities `before`.
    """
    timers: bool
    """Whether windows close, and queued contexts go on, when their time comes; otherwise an event must come
    by, and what finds no token is dropped."""
    batch_names: tuple[str, ...]
    """The variables that a batch becomes."""
    typed_keys: bool
    """Whether keys are compared as typed values; otherwise as the text that JSON has for them."""
    null_keys: bool
    """Whether null is a key like any other; otherwise it fails as a missing one does."""
    exact_tokens: bool
    """Whether tokens are counted in integers; otherwise in 64-bit floats."""
    recipient: tuple[Path, ...]
    """Where the recipient of a delivery is looked for, in this order."""
    uuids: bool
    """Whether ids are UUIDs: their spellings are one, and what is not an id of log or graph is none to start
    from.
    """
    first_type: bool
    """Whether an id that lives in several entity types means the first of them; otherwise it is ambiguous."""
    entity_ids: bool
    """Whether an entity always has an `id`, also where its data lacks it."""
    merges: bool
    """Whether a graph may have its updates change only the fields that they have; otherwise they replace the
    entity.
    """
    crashes: bool
    """Whether a template that makes its engine crash ends the run, and no later event is processed; otherwise
    its context fails like any other."""

    @property
    def target(self) -> Target | None:
        """Return the name as `target=` takes it; None for flowdsl's own rules."""
        return cast("Target", self.name) if self.name in TARGETS else None


FLOWDSL: Final = Rules(
    name="flowdsl",
    early_checks=True,
    event_variable=True,
    timers=True,
    batch_names=("batch", "_batch"),
    typed_keys=True,
    null_keys=False,
    exact_tokens=True,
    recipient=(("_payload", "recipient_id"), ("recipient_id",), ("target_id",)),
    uuids=False,
    first_type=False,
    entity_ids=True,
    merges=True,
    crashes=False,
)
THIS_RS: Final[Rules] = replace(
    FLOWDSL,
    name="this-rs",
    early_checks=False,
    event_variable=False,
    timers=False,
    batch_names=("_batch",),
    typed_keys=False,
    null_keys=True,
    exact_tokens=False,
    # a variable is handed to the sink; only a sink that was handed none looks into the payload
    recipient=(("recipient_id",), ("target_id",), ("_payload", "recipient_id")),
    uuids=True,
    first_type=True,
    entity_ids=False,
    merges=False,
    crashes=True,
)

Target = Literal["this-rs"]
"""A production runtime whose rules can be used."""
WindowsAtEnd = Literal["flush", "keep"]
"""Whether windows and queues close at the end of a replay, as if time went on, or stay open."""
AsOf = Literal["event", "end"]
"""The graph in which a replay looks things up: as it was at each event, or as it is in the end."""
TARGETS: Final[dict[str, Rules]] = {THIS_RS.name: THIS_RS}
"""The rules of the production runtimes, by name."""


def rules_of(target: str | None) -> Rules:
    """Return the rules of a production runtime by name, or flowdsl's own for None.

    >>> rules_of(None).timers, rules_of("this-rs").timers
    (True, False)
    """
    if target is None:
        return FLOWDSL
    if not isinstance(target, str) or target not in TARGETS:
        raise FlowError(
            f"target={short_repr(target)} is not known",
            allowed=f"None, {', '.join(map(repr, TARGETS))}",
            # the first argument of check and others
            hint=did_you_mean(target, TARGETS)
            if isinstance(target, str)
            else "log= and graph= are given by name",
        )
    return TARGETS[target]
