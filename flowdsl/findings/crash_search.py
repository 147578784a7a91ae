"""Search for the events of a log that stop production, by replays with production's rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from flowdsl.errors import FlowError, without_warnings
from flowdsl.findings.base import Finding, Violation, finding_of
from flowdsl.flow.plan import may_stop
from flowdsl.production.targets import by_rules
from flowdsl.results.options import options_of
from flowdsl.results.run import run
from flowdsl.results.store import NoStore
from flowdsl.rules import Rules

if TYPE_CHECKING:
    from flowdsl.engine.crashes import Stopped
    from flowdsl.flow.spec import FlowSpec
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.log.source import LogLike

STOPS: Final = "stops-at-event"


def export_flows(flows: Iterable[FlowSpec], target: Rules) -> list[FlowSpec]:
    """Return the flows as a runtime reads them, without those that cannot be exported, which another finding
    reports.
    """
    found: list[FlowSpec] = []
    for flow in flows:
        try:
            found += by_rules((flow,), target)
        except FlowError:
            continue
    return found


def stops_in_log(
    flows: Sequence[FlowSpec], log: LogLike, graph: EntityGraph | None, places: Mapping[tuple[str, int], str]
) -> Iterator[Finding]:
    """Yield a finding for the first event at which each flow stops the runtime for good."""
    for stopped in _stops([flow for flow in flows if may_stop((flow,))], log, graph):
        where = places.get((stopped.flow, stopped.step), f"{stopped.step} {stopped.operator}")
        message = (
            f"production stops at event {stopped.seq_no}: {stopped.reason}; no later event is processed, by "
            "any flow"
        )
        hint = (
            "what stops it has a finding of its own, with what helps: stops-production or can-stop-production"
        )
        yield finding_of(STOPS, Violation(where, message, hint, stopped.step), stopped.flow)


def _stops(flows: list[FlowSpec], log: LogLike, graph: EntityGraph | None) -> Iterator[Stopped]:
    """Yield the stop of each flow, found by replays that end there.

    A replay of several flows finds the first one that stops production; the others are then replayed in two
    halves. So there is one replay if no flow stops production, else about two for each one that does.
    """
    groups = [flows]
    while groups:
        group = groups.pop()
        stopped = _first_stop(group, log, graph) if group else None
        if stopped is not None:
            yield stopped
            left = [flow for flow in group if flow.name != stopped.flow]
            groups += [left[: len(left) // 2], left[len(left) // 2 :]]


def _first_stop(flows: list[FlowSpec], log: LogLike, graph: EntityGraph | None) -> Stopped | None:
    options = options_of(flows, log, graph, target=flows[0].rules.target)
    with without_warnings():
        # the first replay of the log has warned already
        return run(options, NoStore()).stopped
