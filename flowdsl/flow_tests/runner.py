"""Runner of flow tests: replays their events, and compares the results with the expectations."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flowdsl.errors import FlowError, ReplayError
from flowdsl.events import timestamp_text, timestamp_us
from flowdsl.flow.caps import caps_of
from flowdsl.flow.inputs import as_flows
from flowdsl.flow.plan import Caps
from flowdsl.flow.spec import FlowSpec
from flowdsl.flow_tests.cases import EXPECTATIONS, FlowTestSpec
from flowdsl.flow_tests.expectations import Counted, Delivered, same, settle_counts, settle_deliveries
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.log import MemoryEventLog
from flowdsl.production.emitter import block_lines
from flowdsl.production.project_spec import ProjectSpec
from flowdsl.production.test_loader import moment, production_event
from flowdsl.production.yaml import load_source
from flowdsl.results.result_data import ResultData
from flowdsl.results.run import replay_with
from flowdsl.rules import FLOWDSL


@dataclass(frozen=True)
class RunOutcome:
    """A run of a test: `settled` is the test with corrected expectations, `error` why there is no result."""

    test: FlowTestSpec
    settled: FlowTestSpec
    result: ResultData | None = None
    error: FlowError | None = None

    @property
    def passed(self) -> bool:
        """True if the results are exactly as expected."""
        return self.error is None and same(self.settled.to_dict(), self.test.to_dict())

    @property
    def diff(self) -> str:
        """Unified diff, in YAML, of expected and actual results; the reason if the test did not run; empty if
        it passed.
        """
        if self.error is not None:
            return str(self.error)
        before, after = _expected_lines(self.test), _expected_lines(self.settled)
        return "\n".join(difflib.unified_diff(before, after, "expected", "came", n=4, lineterm=""))

    def __repr__(self) -> str:
        return f"<Outcome of {self.test.name!r}: {'passed' if self.passed else 'failed'}>"


def read_tests(source: Any) -> list[Mapping[str, Any]]:
    """Return the entries of `tests:` in a project, or in anything that `load` accepts, as written."""
    project = source if isinstance(source, ProjectSpec) else load_source(source, FLOWDSL)
    return list(project.other.get("tests") or ())


def run(test: FlowTestSpec, flows: Any, caps: Caps = ()) -> RunOutcome:
    """Run a test with these flows, and with the caps of the sinks of a project. Raises `FlowError` if it
    cannot run.
    """
    chosen = _choose(test, as_flows(flows))
    start = timestamp_us(test.start)
    log = MemoryEventLog()
    log.append(_events(test, start))
    graph = EntityGraph(**{name: given for name, given in (test.graph or {}).items() if given is not None})
    more: dict[str, Any] = {"target": test.target}
    if test.target is None:
        counted = caps or caps_of(flows, chosen, None, ReplayError)
        more = {"caps": {sink: cap for sink, cap, _ in counted}}
    result = replay_with(chosen, log, graph, open_windows=test.open_windows, progress=False, **more)
    several = len(chosen) > 1
    settled: dict[str, Any] = {
        "deliveries": settle_deliveries(test.deliveries, read_deliveries(result), start, several=several),
        "failures": settle_counts(test.failures, count_failures(result, chosen), "error", several=several),
    }
    if test.drops is not None:
        settled["drops"] = settle_counts(test.drops, count_drops(result, chosen), "reason", several=several)
    return RunOutcome(test, replace(test, **settled), result)


def read_deliveries(result: ResultData) -> list[Delivered]:
    """Return the deliveries of a replay, in order."""
    frame = result.polars(columns=["flow", "sink", "recipient_id", "payload", "delivered_at"])
    moments = frame["delivered_at"].to_physical().to_list()
    return [
        Delivered(flow, sink, recipient, json.loads(payload), at)
        for (flow, sink, recipient, payload, _), at in zip(frame.iter_rows(), moments, strict=True)
    ]


def count_failures(result: ResultData, flows: Iterable[FlowSpec]) -> list[Counted]:
    """Return the failures of a replay, counted by message."""
    errors = result.errors
    rows = zip(errors["flow"], errors["step"], errors["error"], strict=True)
    named = {flow.name: flow for flow in flows}
    return [
        Counted(flow, _ways(named[flow], int(step)), error, count)
        for (flow, step, error), count in Counter(rows).items()
    ]


def count_drops(result: ResultData, flows: Iterable[FlowSpec]) -> list[Counted]:
    """Return the drops of a replay, counted by flow, step and reason."""
    named = {flow.name: flow for flow in flows}
    return [
        Counted(step["flow"], _ways(named[step["flow"]], step["step"]), reason, count)
        for step in result.manifest["steps"]
        for reason, count in step["reasons"].items()
    ]


def _ways(flow: FlowSpec, number: int) -> tuple[int | str, ...]:
    """Return the names of a step: its number and its operator, the preferred one last."""
    step = flow.steps[number]
    alone = sum(other.name == step.name for other in flow.steps) == 1
    return (number, step.method, step.name) if alone else (step.method, step.name, number)


def _choose(test: FlowTestSpec, flows: tuple[FlowSpec, ...]) -> tuple[FlowSpec, ...]:
    names = [flow.name for flow in flows]
    for name in test.flows or ():
        if name not in names:
            raise ReplayError.unknown(f"test {test.name!r}: there is no flow {name!r}", name, names)
    return tuple(flow for flow in flows if test.flows is None or flow.name in test.flows)


def _events(test: FlowTestSpec, start: int) -> list[dict[str, Any]]:
    """Return the events as a log takes them."""
    at = start
    events = []
    for event in test.events:
        at = moment(event["at"], start) if event.get("at") is not None else at
        around = {"timestamp": timestamp_text(at), "event": production_event(event)}
        events.append(around if event.get("id") is None else {"id": event["id"], **around})
    return events


def _expected_lines(test: FlowTestSpec) -> list[str]:
    given = test.to_dict()
    return list(block_lines({name: given[name] for name in EXPECTATIONS if name in given}))
