"""Caps of sinks: at most so many deliveries to a recipient in a time, over all flows together.

Flows run one after the other within a chunk, and caps count in the order in which deliveries are made. So
what goes to such sinks is held back until all flows have run, put in order, counted, and then written down.
What a cap stops changes no later step: no context depends on it.

A window of 0s closes once the next event comes, which may be in another chunk: of what one event delivers at
one moment, the deliveries of windows count last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.batches.context_batch import CLOSED_AT_END, CLOSED_BY_QUIET, CLOSED_BY_TIMER, ContextBatch
from flowdsl.engine.counts import StepCounts
from flowdsl.engine.state import StepState
from flowdsl.flow.plan import CompiledStep, Plan
from flowdsl.kernels.outcome import Deliveries, Dropped, StepOutcome, dropped_rows
from flowdsl.operators.cap import CapKernel
from flowdsl.values.interner import Interner
from flowdsl.values.json_types import Ints, Mask, Tag


class Writes(Protocol):
    """Takes the outcomes of steps."""

    def write(self, step: CompiledStep, entered: ContextBatch, outcome: StepOutcome) -> None: ...


@dataclass(frozen=True)
class _Held:
    """Deliveries of a step that wait to be counted; all of its outcome where there is a trace."""

    step: CompiledStep
    entered: ContextBatch
    outcome: StepOutcome
    delivered: Deliveries

    def place(self) -> tuple[Any, ...]:
        """Return the sort key among the deliveries of its chunk."""
        contexts = self.delivered.contexts
        first = (int(contexts.moment[0]), int(contexts.seq[0])) if len(contexts) else ()
        return self.step.flows, self.step.number, first


@dataclass(frozen=True)
class _Counted:
    """A cap of a sink, as a step, with what it has counted."""

    sink: str
    stage: CompiledStep
    kernel: CapKernel

    def counts(self, step: CompiledStep) -> bool:
        """Return whether it counts what a step delivers."""
        return self.sink in step.sinks and (not self.stage.flows or self.stage.flows == step.flows)


class SinkCaps:
    """The caps of a run, with what each has counted, and the deliveries of the chunk that is run."""

    def __init__(self, plan: Plan, kernels: Sequence[CapKernel]) -> None:
        stages = zip(plan.caps, plan.cap_steps, kernels, strict=True)
        self._caps = [_Counted(one.sink, stage, kernel) for one, stage, kernel in stages]
        self._sinks = frozenset(one.sink for one in plan.caps)
        self._held: list[_Held] = []

    def states(self) -> tuple[StepState, ...]:
        """Return what the caps remember."""
        return tuple(
            StepState(one.stage.fingerprint, (), 0, one.stage.method, f"sink {one.sink!r}", one.kernel.fork())
            for one in self._caps
        )

    @property
    def kernels(self) -> list[CapKernel]:
        """The kernels of the caps."""
        return [one.kernel for one in self._caps]

    def concerns(self, step: CompiledStep) -> bool:
        """Return whether a step delivers to a sink with a cap."""
        return not self._sinks.isdisjoint(step.sinks)

    def hold(self, step: CompiledStep, entered: ContextBatch, outcome: StepOutcome) -> None:
        """Take deliveries, which are written down by `settle`; several threads may call it."""
        assert outcome.delivered is not None
        self._held.append(_Held(step, entered, outcome, outcome.delivered))

    def settle(
        self, interner: Interner, counts: Mapping[int, StepCounts], recorder: Writes, trace: Writes | None
    ) -> None:
        """Count the deliveries held, in their order, and write down which of them reach their sinks; `counts`
        has those of the steps by their `id`.
        """
        held, self._held = self._held, []
        # threads may have brought them in any order
        held.sort(key=_Held.place)
        capped = [_over(one, self._sinks) for one in held]
        for cap in self._caps:
            _count(cap, held, capped, interner)
        for one, masks in zip(held, capped, strict=True):
            stopped = {sink: mask for sink, mask in masks.items() if mask.any()}
            dropped, outcome = _reduce(one, stopped, counts[id(one.step)]) if stopped else ((), one.outcome)
            nothing = one.entered.take(np.zeros(0, np.int64))
            # the rest of the outcome was written down when the step ran
            recorder.write(
                one.step, nothing, StepOutcome(nothing, dropped=dropped, delivered=outcome.delivered)
            )
            if trace is not None:
                trace.write(one.step, one.entered, outcome)


def _count(
    cap: _Counted, held: Sequence[_Held], capped: Sequence[dict[str, Mask]], interner: Interner
) -> None:
    """Mark the deliveries that the cap of a sink stops."""
    parts = [
        _coming(one, cap.sink, place, interner) for place, one in enumerate(held) if cap.counts(one.step)
    ]
    parts = [part for part in parts if len(part.keys)]
    if not parts:
        return
    order = _order(parts)
    keys = np.concatenate([part.keys for part in parts])[order]
    moments = np.concatenate([part.moments for part in parts])[order]
    passing = np.empty(len(keys), np.bool_)
    passing[order] = cap.kernel.count(keys, moments)
    at = 0
    for part in parts:
        capped[part.place][cap.sink][part.rows] = ~passing[at : at + len(part.rows)]
        at += len(part.rows)


@dataclass(frozen=True)
class _Coming:
    """Deliveries of one step to one sink that a cap counts: rows, keys, and what they are ordered by."""

    place: int
    rows: Ints
    keys: Ints
    moments: Ints
    seq: Ints
    closed: Mask
    branches: tuple[npt.NDArray[np.int32], ...]
    flow: int
    step: int
    sink: int


def _over(one: _Held, capped: frozenset[str]) -> dict[str, Mask]:
    """Return an empty mask for each sink with a cap, to be filled by `_count`."""
    return {
        sink: np.zeros(len(one.delivered.contexts), np.bool_) for sink in one.step.sinks if sink in capped
    }


def _coming(one: _Held, sink: str, place: int, interner: Interner) -> _Coming:
    """Return the deliveries to a sink that its cap counts: not those without a recipient, nor those that
    preferences stop.
    """
    delivered, contexts = one.delivered, one.delivered.contexts
    counted = delivered.recipient.is_(Tag.TEXT)
    refused = delivered.refused.get(sink)
    if refused is not None:
        counted = counted & ~refused
    rows = np.flatnonzero(counted)
    texts: pl.Series = delivered.recipient.text_series()
    codes = interner.intern(texts if len(rows) == len(contexts) else texts[rows])
    return _Coming(
        place,
        rows,
        codes.astype(np.int64) * 2,
        contexts.moment[rows],
        contexts.seq[rows],
        _where_closed(contexts)[rows],
        tuple(level[rows] for level in contexts.branches),
        one.step.flows[0],
        one.step.number,
        one.step.sinks.index(sink),
    )


def _reduce(
    one: _Held, capped: Mapping[str, Mask], counts: StepCounts
) -> tuple[tuple[Dropped, ...], StepOutcome]:
    """Return the contexts that end because caps stop all of their deliveries, and the outcome without them.

    Contexts that no sink takes end at the last deliver step, as with preferences.
    """
    outcome, step = one.outcome, one.step
    counts.capped.update({sink: int(np.count_nonzero(mask)) for sink, mask in capped.items()})
    refused = dict(one.delivered.refused)
    for sink, mask in capped.items():
        refused[sink] = mask | refused.get(sink, np.False_)
    delivered = replace(one.delivered, refused=refused, capped=capped)
    nobody = delivered.reach_none(step.sinks)
    rows = np.flatnonzero(~nobody)
    outcome = replace(outcome, delivered=delivered.take(rows) if len(rows) else None)
    if not step.last:
        return (), outcome
    dropped = dropped_rows(delivered.contexts, np.flatnonzero(nobody), "capped")
    if dropped:
        counts.passed -= len(dropped[0])
        counts.dropped["capped"] += len(dropped[0])
    return dropped, replace(outcome, passed=outcome.passed.take(rows), dropped=(*outcome.dropped, *dropped))


def _where_closed(contexts: ContextBatch) -> Mask:
    """Return a mask of the contexts that come out of a window closed by time."""
    if contexts.closed is None:
        return np.zeros(len(contexts), np.bool_)
    return np.isin(contexts.closed, (CLOSED_BY_TIMER, CLOSED_BY_QUIET, CLOSED_AT_END))


def _level(part: _Coming, level: int) -> npt.NDArray[np.int32]:
    """Return the positions at a fan-out, -1 where there was none."""
    if level < len(part.branches):
        return part.branches[level]
    return np.full(len(part.keys), -1, np.int32)


def _order(parts: Sequence[_Coming]) -> Ints:
    """Return the order of deliveries: by moment, event, flow, branch, step and sink, a branch behind what its
    parent delivered.
    """
    depth = max(len(part.branches) for part in parts)
    by = [
        [np.full(len(part.keys), part.sink) for part in parts],
        [np.full(len(part.keys), part.step) for part in parts],
        *([_level(part, level) for part in parts] for level in reversed(range(depth))),
        [np.full(len(part.keys), part.flow) for part in parts],
        *([getattr(part, name) for part in parts] for name in ("closed", "seq", "moments")),
    ]
    return np.lexsort([np.concatenate(column) for column in by])
