"""Where the events of a log make production stop: found by replaying them by production's rules."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from flowdsl.errors import FlowError
from flowdsl.events import FlowWarning
from flowdsl.findings.base import Finding, rules
from flowdsl.plan import may_stop
from flowdsl.replaying import by_rules, options_of, run
from flowdsl.results.store import NoStore
from flowdsl.rules import Rules

if TYPE_CHECKING:
    from flowdsl.flow import Flow
    from flowdsl.graph.snapshot import EntityGraph

STOPS: Final = "stops-at-event"
# flows whose first stop is looked for, one after the other: each takes a replay
_MOST: Final = 10


def exported(flows: Iterable[Flow], target: Rules) -> list[Flow]:
    """The flows as a runtime has them; those that cannot be said there are left out, which is a finding of its own."""
    found: list[Flow] = []
    for flow in flows:
        try:
            found += by_rules((flow,), target)
        except FlowError:
            continue
    return found


def stops_in_log(
    flows: Sequence[Flow], log: Any, graph: EntityGraph | None, places: Mapping[tuple[str, int], str]
) -> Iterator[Finding]:
    """The first event at which each flow, by the runtime's rules that it has, makes it stop for good."""
    left = [flow for flow in flows if may_stop((flow,))]
    for _ in range(_MOST):
        if not left:
            return
        options = options_of(left, log, graph, target=left[0].rules.name)
        with warnings.catch_warnings():
            # the replay that is about the log has warned already
            warnings.simplefilter("ignore", FlowWarning)
            stopped = run(options, NoStore()).stopped
        if stopped is None:
            return
        where = places.get((stopped.flow, stopped.step), f"{stopped.step} {stopped.operator}")
        yield Finding(
            STOPS, rules()[STOPS].severity, stopped.flow, stopped.step, where,
            f"production stops at event {stopped.seq_no}: {stopped.reason}; no later event is processed, by any flow",
            "what stops it has a finding of its own, with what helps: stops-production or can-stop-production",
        )  # fmt: skip
        left = [flow for flow in left if flow.name != stopped.flow]
