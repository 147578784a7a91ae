"""Layouts: which steps of a plan run where on Spark.

The events are cut into ranges of the log. Everything that judges each context by itself runs there, in order,
with the graph as of each event. A step that remembers something is a *gate*: the events whose contexts reach
it are sent to shards, each of which has some of its keys and sees them in the order of the log; there the
steps before the gate run again, silently, and the gate and all behind it run as they do on one machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.flow.plan import Branch, CompiledStep, Plan
from flowdsl.kernels.keys import typed_spelling
from flowdsl.operators.base import Kind
from flowdsl.pluralize import count_text
from flowdsl.spark.parted_links import ENDS, Parted, one_ended, reads, shards_of_ids
from flowdsl.spark.spread_fans import NONE_HEAVY, Heavy, HeavyIds, end_of
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Tag
from flowdsl.values.paths import Path, path_text

Shards = npt.NDArray[np.int64]
# of the hashes of keys: all tasks of a run have the same version of Polars, and with it the same hashes
_SEED = 0x51
_FACTOR = np.uint64(0x9E37_79B9_7F4A_7C15)


@dataclass(frozen=True)
class Gate:
    """The way in which the contexts that come to a step are shared out: by the values at some paths that all
    keys from there on have in common, by their events where each waits by itself, or else not at all.
    """

    step: CompiledStep
    paths: tuple[Path, ...] = ()
    spread: bool = False
    ids: bool = False
    """Whether the value at the one path is an id, whose links are in its shard."""

    looks: frozenset[str] = frozenset()
    """The link types that are shared out, and read from here on."""
    heavy: HeavyIds = field(default_factory=dict)
    """The ids whose branches go on in several shards, where the step is a fan-out."""

    @property
    def end(self) -> tuple[str, str]:
        """Return the link type that a fan-out reads, and the end of the id that it starts from."""
        ((name, use),) = self.step.links
        return name, ENDS[use]

    @property
    def single(self) -> bool:
        """True if all contexts go through one shard."""
        return not self.paths and not self.spread

    @property
    def text(self) -> str:
        """Describe how contexts are shared out, in words."""
        if self.single:
            return "one ordered shard"
        text = "the event" if self.spread else ", ".join(map(path_text, self.paths))
        return f"{text}, branches of {count_text(len(self.heavy), 'id')} over several" if self.heavy else text

    def heavy_at(self, contexts: ContextBatch) -> Shards:
        """Return which of the heavy ids each context has, by its place among them; -1 for none."""
        found: Shards = np.full(len(contexts), -1)
        if self.heavy and self.step.link_path is not None:
            codes = contexts.id_codes(self.step.link_path)
            known = contexts.chunk.interner.find(pl.Series([*self.heavy], dtype=pl.String))
            for place, code in enumerate(known):
                found[(codes == code) & (codes > 0)] = place
        return found

    def tasks(self, contexts: ContextBatch) -> Shards:
        """Return how many shards each context goes to, counted from its own one."""
        return np.array([*self.heavy.values(), 1])[self.heavy_at(contexts)]

    def shards(self, contexts: ContextBatch, count: int) -> Shards:
        """Return the shard of each context; one without a key fails in any shard."""
        if self.single or count == 1:
            return np.zeros(len(contexts), np.int64)
        if self.spread:
            return contexts.seq % count
        if self.ids:
            codes = contexts.id_codes(self.paths[0])
            return shards_of_ids(contexts.chunk.interner.texts(np.maximum(codes, 0)), count)
        hashes = np.zeros(len(contexts), np.uint64)
        for path in self.paths:
            hashes = hashes * _FACTOR + _hashes(contexts.column(path))
        # the lower bits of a product say little
        return ((hashes ^ (hashes >> np.uint64(32))) % np.uint64(count)).astype(np.int64)


@dataclass(frozen=True)
class Layout:
    """The places of the steps of a plan, by their number in `plan.steps`."""

    plan: Plan
    gates: Mapping[int, Gate]
    behind: frozenset[int]
    """Steps behind a gate."""
    feeding: frozenset[int]
    """Steps before a gate."""
    parted: Parted = field(default_factory=dict)
    """The links that are shared out over the shards."""
    heavy: Heavy = field(default_factory=dict)
    """The ids whose branches go on in several shards."""

    @classmethod
    def of(cls, plan: Plan, parted: Parted | None = None, heavy: Heavy = NONE_HEAVY) -> Layout:
        """Lay out a plan, with links of some types shared out, and branches of some ids in several shards."""
        parted = parted or {}
        gates: dict[int, Gate] = {}
        behind: set[int] = set()
        feeding: set[int] = set()
        first = 0
        for branch in (branch for entry in plan.entries for branch in entry.branches):
            for place, step in enumerate(branch):
                above = first + step.after
                if step.after >= 0 and (above in gates or above in behind):
                    behind.add(first + place)
                elif not step.stateless or reads(step, parted) or end_of(branch, place) in heavy:
                    gates[first + place] = _gate(branch, place, parted, heavy)
                    feeding.update(first + one for one in _steps_above(branch, place))
            first += len(branch)
        return cls(plan, gates, frozenset(behind), frozenset(feeding), parted, heavy)

    @classmethod
    def partable(cls, plan: Plan) -> Parted:
        """Return the link types that can be shared out."""
        parted = dict(one_ended(plan))
        while parted:
            gates = cls.of(plan, parted).gates.values()
            refused = {name for gate in gates for name in gate.looks if not gate.ids}
            if not refused:
                break
            parted = {name: end for name, end in parted.items() if name not in refused}
        return parted

    @cached_property
    def whole(self) -> str | None:
        """Return why the whole plan has to run in one ordered partition; None where it can be cut."""
        if self.plan.caps:
            return "caps of sinks count over all flows in the order of deliveries"
        if self.plan.may_stop:
            return "production may stop at any event, and no later event is processed"
        if self.gates and not self.plan.rules.timers:
            return "what production remembers depends on the order of all events"
        return None

    @property
    def findings(self) -> Iterator[str]:
        """Describe the parts of the plan that do not scale."""
        if self.whole is not None:
            yield f"everything runs in one ordered partition: {self.whole}"
            return
        for gate in self.gates.values():
            if gate.single:
                names = ", ".join(repr(self.plan.flows[flow].name) for flow in gate.step.flows)
                place = f"step {gate.step.number} ({gate.step.operator.text})"
                why = _why_single(gate.step)
                yield f"flow {names}: {place} and all behind it run in one ordered partition: {why}"


def _why_single(step: CompiledStep) -> str:
    if step.kind is Kind.WHOLE:
        return "it has no key"
    return "it and the steps behind it that remember something have no key in common"


def _steps_above(branch: Branch, place: int) -> Iterator[int]:
    """Yield the steps that a step comes after, nearest first."""
    while (place := branch[place].after) >= 0:
        yield place


def _gate(branch: Branch, place: int, parted: Parted, heavy: Heavy) -> Gate:
    """Return how the contexts that come to a step are shared out, so that it and all behind it that remember
    something find all contexts of a key together.
    """
    below = range(place, place + branch[place].size)
    end = end_of(branch, place)
    ids = {} if end is None else heavy.get(end, {})
    looks = frozenset(name for number in below for name in reads(branch[number], parted))
    kept = []
    for number in below:
        paths = _paths_of(branch[number], parted)
        if paths is not None:
            made = _made_between(branch, place, number)
            kept.append(frozenset(path for path in paths if path[0] not in made))
    if not kept:
        return Gate(branch[place], spread=True, heavy=ids)
    common = frozenset.intersection(*kept)
    of_ids = bool(looks and common)
    return Gate(branch[place], tuple(sorted(common)), ids=of_ids, looks=looks, heavy=ids if of_ids else {})


def _paths_of(step: CompiledStep, parted: Parted) -> tuple[Path, ...] | None:
    """Return the paths by which the contexts of a step may be shared out; None where by any."""
    if reads(step, parted):
        return () if step.link_path is None else (step.link_path,)
    if step.stateless or step.kind is Kind.HELD:
        return None
    return tuple(path for path in _keys(step) if not path[0].startswith("_"))


def _keys(step: CompiledStep) -> tuple[Path, ...]:
    """Return the paths whose values are the key of a step; none where it has none that is known."""
    keys = getattr(step.operator, "key", ())
    if step.kind is not Kind.PER_KEY or not isinstance(keys, tuple):
        return ()
    return keys if all(isinstance(path, tuple) for path in keys) else ()


def _made_between(branch: Branch, first: int, last: int) -> frozenset[str]:
    """Return the variables that the steps from the one on set before the other."""
    made: set[str] = set()
    for place in _steps_above(branch, last):
        if place < first:
            break
        step = branch[place]
        made.update(step.operator.variables)
        if step.kind is Kind.PER_KEY:
            # windows go on with variables of their own
            made.update(step.rules.batch_names)
    return frozenset(made)


def _hashes(column: Column) -> npt.NDArray[np.uint64]:
    """Return a hash for each value, equal for values that are the same key."""
    hashes = np.zeros(column.size, np.uint64)
    text = np.flatnonzero(column.is_(Tag.TEXT))
    if len(text):
        hashes[text] = _hashes_of(column.text_series()[text])
    rest = np.flatnonzero(~column.is_(Tag.TEXT, Tag.MISSING, Tag.NULL))
    if len(rest):
        hashes[rest] = _hashes_of(typed_spelling(column.take(rest)))
    return hashes


def _hashes_of(texts: pl.Series) -> npt.NDArray[np.uint64]:
    hashes: Any = texts.hash(_SEED).to_numpy()
    return hashes  # type: ignore[no-any-return]
