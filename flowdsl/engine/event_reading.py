"""Outcomes of one event at each step, with its variables: taken out of a run by its trace, for `explain`."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from flowdsl.batches.chunk import Chunk
from flowdsl.batches.context_batch import CLOSED_AT_END, CLOSED_BY_COUNT, CLOSED_BY_QUIET, ContextBatch
from flowdsl.batches.variables import EntityVariable
from flowdsl.expressions.conditions import EvaluationError
from flowdsl.expressions.conditions.condition import list_values
from flowdsl.expressions.conditions.graph_calls import GraphCall
from flowdsl.flow.plan import CompiledStep
from flowdsl.graph.state import GraphState
from flowdsl.kernels.outcome import Absorbed, Deliveries, Dropped, Failed, StepOutcome
from flowdsl.moments import to_moment
from flowdsl.values.json_types import MISSING, Index
from flowdsl.values.paths import Path

Branch = tuple[int, ...]
# branches of one fan-out that are followed; the others are only counted
FOLLOWED: Final = 1_000
FULL: Final = "when its window was full"
PAUSED: Final = "when no more came for so long"
# what released a context, where the operator's own text does not fit
_RELEASED: Final = {
    CLOSED_BY_QUIET: PAUSED,
    CLOSED_BY_COUNT: FULL,
    CLOSED_AT_END: "at the end of the log, as if time went on",
}

Choice = Callable[[CompiledStep, ContextBatch, Index], list[int]]


@dataclass
class StepTrace:
    """Outcome of one context of the event at one step."""

    stage: CompiledStep
    branch: Branch
    outcome: str
    reason: str | None = None
    at: dt.datetime | None = None
    operands: list[tuple[str, Any]] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)
    payload: Any = MISSING
    recipient_id: str | None = None
    refused_by: tuple[str, ...] = ()
    capped_by: tuple[str, ...] = ()
    """Those of `refused_by` whose cap it was."""
    into: tuple[int, Branch] | None = None
    """The event and branch as which the batch goes on that took it in."""

    @property
    def sinks(self) -> tuple[str, ...]:
        """Return the sinks that took it."""
        gone = self.outcome == "delivered"
        return tuple(sink for sink in self.stage.sinks if gone and sink not in self.refused_by)

    def is_after(self, step: int, branch: Branch) -> bool:
        """Return True if it is of a branch, or of one that came of it, behind a step."""
        return self.stage.number > step and self.branch[: len(branch)] == branch


class EventReading:
    """A reading of a trace: the steps of one event.

    `position` is the last event that went through the flows; `stages` has for each stage, by its `id`, what
    became of each branch; `triggered` what each flow began with; `more` how many branches of a flow were not
    followed. `choose` says which of too many branches are followed, as places in the rows given; the first
    ones by default.
    """

    def __init__(self, seq_no: int, choose: Choice | None = None) -> None:
        self.position = 0
        self.stages: dict[int, dict[Branch, StepTrace]] = {}
        self.triggered: dict[int, dict[str, Any]] = {}
        self.more: dict[int, int] = {}
        self.seq_no = seq_no
        # where the names of entities are looked up
        self.graph: GraphState | None = None
        self._choose = choose or (lambda *_: list(range(FOLLOWED)))
        self._entities: tuple[Chunk | None, dict[int, Any]] = (None, {})
        self._followed: dict[int, dict[int, set[Branch]]] = {}

    @property
    def waiting(self) -> bool:
        """Return True if a context of the event is held in a window or a queue."""
        return any(seen.outcome == "held" for seen in self.traces())

    def traces(self) -> list[StepTrace]:
        """Return all that was seen of the event."""
        return self.own_traces()

    def own_traces(self) -> list[StepTrace]:
        """Return all that was seen of the event itself."""
        return [seen for stage in self.stages.values() for seen in stage.values()]

    def of_flow(self, number: int) -> list[StepTrace]:
        """Return all that was seen of the event in one flow, branch by branch."""
        seen = [one for one in self.own_traces() if number in one.stage.flows]
        return sorted(seen, key=lambda one: (one.branch, one.stage.number))

    def __call__(self, stage: CompiledStep, entered: ContextBatch, outcome: StepOutcome) -> None:
        """Record the outcomes of the event's contexts; what entered and did not come out is held."""
        for failed in outcome.failed:
            self._read_failed(stage, failed)
        for dropped in outcome.dropped:
            self._read_dropped(stage, dropped)
        if outcome.absorbed is not None:
            self._read_absorbed(stage, outcome.absorbed)
        if outcome.delivered is not None:
            self._read_delivered(stage, outcome.delivered)
        self._read_passed(stage, entered, outcome.passed)

    def _read_passed(self, stage: CompiledStep, entered: ContextBatch, passed: ContextBatch) -> None:
        if entered.chunk.fresh:
            self.position = max(self.position, int(entered.chunk.seq[-1]))
        self.graph = entered.chunk.graph
        came, went = self._mine(stage, entered), self._mine(stage, passed, bound=True)
        before = dict(came.variables())
        if stage.number == 0:
            for variables in before.values():
                self.triggered.update(dict.fromkeys(stage.flows, variables))
        arrived = dict(zip(came.branches, came.moments, strict=True))
        for i, (branch, variables) in enumerate(went.variables()):
            seen = self._put(stage, branch, "passed", moment=went.moments[i], keep=True)
            seen.variables, seen.payload = variables, went.payload(i)
            waited = arrived.get(branch) != went.moments[i] or went.closed[i] == CLOSED_BY_COUNT
            if stage.operator.times and waited:
                seen.reason = _RELEASED.get(went.closed[i], stage.operator.released_when)
        out = {branch[: len(entered.branches)] for branch in self.stages.get(id(stage), {})}
        for branch, moment in arrived.items():
            if branch not in out:
                self._put(stage, branch, "held", moment=moment)
        asked = came.answers(stage.operator.graph_calls)
        for branch, variables in before.items():
            self._complete(stage, branch, variables, asked.get(branch, {}))

    def _read_dropped(self, stage: CompiledStep, dropped: Dropped) -> None:
        contexts = dropped.contexts
        if isinstance(contexts, ContextBatch):
            mine = self._mine(stage, contexts, dropped.rows)
            for i, branch in enumerate(mine.branches):
                self._put(stage, branch, "dropped", dropped.reason, mine.moments[i])
            return
        for row in np.flatnonzero(contexts.seq == self.seq_no).tolist():
            self._put(stage, _branch(contexts.branches, row), "dropped", dropped.reason)

    def _read_failed(self, stage: CompiledStep, failed: Failed) -> None:
        mine = self._mine(stage, failed.contexts, failed.rows)
        for i, branch in enumerate(mine.branches):
            error = failed.failures.message(int(mine.rows[i]))
            self._put(stage, branch, "failed", error, mine.moments[i])

    def _read_absorbed(self, stage: CompiledStep, absorbed: Absorbed) -> None:
        batches, (members, which) = absorbed.batches, absorbed.members()
        for row in np.flatnonzero(members.seq == self.seq_no).tolist():
            branch, batch = _branch(members.branches, row), int(which[row])
            last = int(batches.seq[batch])
            if last == self.seq_no and _branch(batches.branches, batch) == branch:
                continue
            how = {CLOSED_BY_COUNT: f", {FULL}", CLOSED_BY_QUIET: f", {PAUSED}"}
            closed = 0 if batches.closed is None else int(batches.closed[batch])
            reason = f"into the batch that goes on as event {last}{how.get(closed, '')}"
            seen = self._put(stage, branch, "absorbed", reason, batches.moment[batch])
            seen.into = last, _branch(batches.branches, batch)

    def _read_delivered(self, stage: CompiledStep, delivered: Deliveries) -> None:
        mine = self._mine(stage, delivered.contexts)
        texts = delivered.recipient.take(mine.rows).values()
        for i, branch in enumerate(mine.branches):
            seen = self._put(stage, branch, "delivered", moment=mine.moments[i])
            seen.recipient_id = texts[i] if isinstance(texts[i], str) else None
            seen.refused_by = tuple(sink for sink, mask in delivered.refused.items() if mask[mine.rows[i]])
            seen.capped_by = tuple(sink for sink, mask in delivered.capped.items() if mask[mine.rows[i]])

    def _mine(
        self, stage: CompiledStep, contexts: ContextBatch, rows: Index | None = None, *, bound: bool = False
    ) -> _TracedRows:
        """Return the event's contexts among these, as far as its branches are followed."""
        inside = contexts.seq == self.seq_no
        found = np.flatnonzero(inside) if rows is None else rows[inside[rows]]
        branches = [_branch(contexts.branches, row) for row in found.tolist()]
        for followed in self._followed.get(stage.flows[0], {}).items():
            keep = [i for i, one in enumerate(branches) if _is_followed(one, *followed)]
            found, branches = found[keep], [branches[i] for i in keep]
        if bound and len(branches) > FOLLOWED:
            keep = self._choose(stage, contexts, found)
            for flow in stage.flows:
                depth = len(contexts.branches)
                self._followed.setdefault(flow, {})[depth] = {branches[i] for i in keep}
                self.more[flow] = self.more.get(flow, 0) + len(branches) - len(keep)
            found, branches = found[keep], [branches[i] for i in keep]
        if self._entities[0] is not contexts.chunk:
            # the versions of entities have other numbers in another chunk
            self._entities = (contexts.chunk, {})
        return _TracedRows(contexts, found, branches, self._entities[1])

    def _put(
        self,
        stage: CompiledStep,
        branch: Branch,
        outcome: str,
        reason: str | None = None,
        moment: Any = None,
        keep: bool = False,
    ) -> StepTrace:
        """Record an outcome, replacing an earlier one; with `keep`, `delivered` stays."""
        seen = self.stages.setdefault(id(stage), {}).setdefault(branch, StepTrace(stage, branch, outcome))
        if not (keep and seen.outcome == "delivered"):
            seen.outcome, seen.reason = outcome, reason
        if moment is not None:
            seen.at = to_moment(int(moment))
        return seen

    def _complete(
        self, stage: CompiledStep, branch: Branch, before: dict[str, Any], answers: Mapping[GraphCall, Any]
    ) -> None:
        """Record the operands that the step read, for every outcome of a context that entered it."""

        def lookup(leaf: Any) -> Any:
            value = answers[leaf] if isinstance(leaf, GraphCall) else value_at(before, leaf)
            if isinstance(value, EvaluationError):
                raise value
            return value

        operands = stage.operator.operands(lookup)
        mine = self.stages[id(stage)]
        for own in (
            [own for own in mine if own[: len(branch)] == branch] if stage.operator.branches else [branch]
        ):
            seen = mine.get(own)
            if seen is not None:
                seen.operands = operands
                if not seen.variables:
                    seen.variables = before


class FollowedReading(EventReading):
    """A reading of a trace: the steps of one event, and those of the batches that took it in."""

    def __init__(self, seq_no: int) -> None:
        super().__init__(seq_no)
        self._absorbed: dict[int, tuple[StepTrace, Branch, EventReading]] = {}
        self._batches: dict[int, EventReading] = {}

    def __call__(self, stage: CompiledStep, entered: ContextBatch, outcome: StepOutcome) -> None:
        """Record the outcomes of the event's contexts, and of the batches that they went into."""
        super().__call__(stage, entered, outcome)
        for reading in self._batches.values():
            reading(stage, entered, outcome)
        for seen in self.traces() if outcome.absorbed is not None else ():
            if seen.into is not None:
                seq_no, branch = seen.into
                reading = self._batches.setdefault(seq_no, EventReading(seq_no))
                self._absorbed[id(seen)] = seen, branch, reading

    def traces(self) -> list[StepTrace]:
        """Return all that was seen of the event, and of the batches after the steps that made them."""
        found = self.own_traces()
        for absorbed, branch, reading in self._absorbed.values():
            step, flows = absorbed.stage.number, set(absorbed.stage.flows)
            batch = [one for one in reading.traces() if one.is_after(step, branch)]
            found += [one for one in batch if flows.intersection(one.stage.flows)]
        return found


@dataclass
class _TracedRows:
    """Some rows of a batch of contexts, read when asked for."""

    contexts: ContextBatch
    rows: Index
    branches: list[Branch]
    entities: dict[int, Any]
    """Entities by their version, as far as they were read."""

    def __post_init__(self) -> None:
        self._taken = self.contexts.take(self.rows) if len(self.rows) else None
        taken = self._taken
        self.moments: list[int] = [] if taken is None else taken.moment.tolist()
        closed = None if taken is None else taken.closed
        self.closed: list[int] = [0] * len(self.rows) if closed is None else closed.tolist()
        payload = None if taken is None else taken.payload
        self._payloads = None if payload is None else payload.json().to_list()

    def payload(self, i: int) -> Any:
        """Return the payload of a context, `MISSING` before any."""
        return MISSING if self._payloads is None else json.loads(self._payloads[i])

    def variables(self) -> Iterator[tuple[Branch, dict[str, Any]]]:
        """Each context's branch and variables, those that are missing left out."""
        if self._taken is None:
            return
        columns = {name: self._values(self._taken, name) for name in self._taken.roots()}
        for i, branch in enumerate(self.branches):
            yield branch, {name: values[i] for name, values in columns.items() if values[i] is not MISSING}

    def answers(self, calls: Iterable[GraphCall]) -> dict[Branch, dict[GraphCall, Any]]:
        """Return what calls that ask the graph give in each context, as of its moment."""
        if self._taken is None:
            return {}
        listings = {call: list_values(call, self._taken) for call in calls}
        return {
            branch: {call: values[i] for call, values in listings.items()}
            for i, branch in enumerate(self.branches)
        }

    def _values(self, taken: ContextBatch, name: str) -> list[Any]:
        variable = taken.variable(name)
        if not isinstance(variable, EntityVariable) or (variable.versions < 0).any():
            return taken.column((name,)).values()
        versions = variable.versions.tolist()
        new = sorted(set(versions) - self.entities.keys())
        if new:
            read = EntityVariable(np.array(new, np.int32)).column((), taken.chunk).values()
            self.entities.update(zip(new, read, strict=True))
        return [self.entities[version] for version in versions]


def value_at(variables: Mapping[str, Any], path: Path) -> Any:
    """Return the value at a path, `MISSING` where there is none."""
    value: Any = variables
    for part in path:
        if not isinstance(value, Mapping):
            return MISSING
        value = value.get(part, MISSING)
    return value


def _branch(levels: tuple[Any, ...], row: int) -> Branch:
    return tuple(int(level[row]) for level in levels)


def _is_followed(branch: Branch, depth: int, followed: set[Branch]) -> bool:
    """Return True if a branch is not as deep as those that were chosen, or below one of them."""
    return len(branch) < depth or branch[:depth] in followed
