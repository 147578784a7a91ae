"""One batch of contexts going through a batch step: which windows it fills, opens and closes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from flowdsl.batches.buffer import ContextBuffer
from flowdsl.batches.context_batch import (
    CLOSED_AT_END,
    CLOSED_BY_COUNT,
    CLOSED_BY_QUIET,
    CLOSED_BY_TIMER,
    ContextBatch,
)
from flowdsl.batches.payload import Payload
from flowdsl.expressions.aggregates import Collected
from flowdsl.expressions.row_source import Failures, first_failures
from flowdsl.kernels.batch_members import ItemLists
from flowdsl.kernels.batch_variable import BatchVariable
from flowdsl.kernels.collected import CollectedValues, collected, values_of
from flowdsl.kernels.keys import KeySpace
from flowdsl.kernels.open_windows import Open, OpenWindows
from flowdsl.kernels.outcome import (
    FOREVER,
    Absorbed,
    Dropped,
    Failed,
    StepOutcome,
    Until,
    dropped_held,
    failed_where,
)
from flowdsl.kernels.timers import LAST_MOMENT, due
from flowdsl.kernels.window_rule import RuleReach, RuleSpans, WindowRule
from flowdsl.kernels.windows import Groups, Windows
from flowdsl.rules import Rules
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Index, Mask
from flowdsl.values.paths import Path
from flowdsl.values.ranges import ranges

Ints = npt.NDArray[np.int64]
Seen = npt.NDArray[np.int32]
# later in a batch than any of its contexts
_AFTER = FOREVER


@dataclass(frozen=True)
class BatchOptions:
    """Key of a batch step, the rule that closes its windows, their least members, and what they collect."""

    key: tuple[Path, ...]
    rule: WindowRule
    min_count: int
    collect: tuple[tuple[str, Collected], ...] = ()


class Keeper(Protocol):
    """Keeper of windows from batch to batch; `next_number` is that of the next one that opens."""

    options: BatchOptions
    rules: Rules
    windows: OpenWindows
    next_number: int

    @property
    def holding(self) -> ContextBuffer: ...


@dataclass(frozen=True)
class Incoming:
    """Contexts that have come, each with its key, what closes its window, and what is collected of it."""

    contexts: ContextBatch
    keys: Ints
    spans: RuleSpans
    values: tuple[Column, ...]


def incoming(
    options: BatchOptions, space: KeySpace, contexts: ContextBatch
) -> tuple[Incoming, Failures | None]:
    """Return those of contexts that go into windows, and why the others fail."""
    keys, no_key = space.keys(contexts)
    spans, no_span = options.rule.read(contexts)
    values, no_value = values_of(contexts, [one for _, one in options.collect])
    failures = first_failures([no_key, no_span, *no_value])
    if failures is not None:
        good = np.flatnonzero(~failures.mask)
        contexts, keys, spans = contexts.take(good), keys[good], spans.take(good)
        values = tuple(column.take(good) for column in values)
    return Incoming(contexts, keys, spans, values), failures


@dataclass(frozen=True)
class _Touched:
    """Windows that a batch opens or finds due: for each the last event that it saw when it opened, and the
    rows of the batch that are its last member, and that found it due; -1 where there is none.
    """

    windows: Open
    seen: Seen
    last: Ints
    finder: Ints

    def take(self, which: Index) -> _Touched:
        return _Touched(self.windows.take(which), self.seen[which], self.last[which], self.finder[which])


class BatchRun:
    """Takes one batch of contexts through a batch step."""

    def __init__(self, kernel: Keeper, incoming: Incoming, until: Until, failed: tuple[Failed, ...]) -> None:
        self.kernel, self.until, self.failed = kernel, until, failed
        self.contexts, self.values = incoming.contexts, incoming.values
        self.chunk = incoming.contexts.chunk
        self.groups = Groups.of(incoming.keys, incoming.contexts.moment)
        self.spans = incoming.spans.take(self.groups.order)
        self.reach = RuleReach(self.groups, self.spans)
        # those that a context may join or close, and those that are due
        latest = FOREVER if until.ending else max(until.clock, int(incoming.contexts.moment.max(initial=0)))
        self.carried, self.members = kernel.windows.take_out(self.groups.keys, latest)

    def run(self) -> StepOutcome:
        joined = self._end_of_carried()
        found = self._closing_in_time(Windows.find(self.groups, joined, self.reach))
        fresh = self._opened_now(found)
        touched = self._touched(joined, found, fresh)
        windows = touched.windows
        members = self.members.joined(self._joined_members(joined, found, fresh.numbers))
        full = self._full(windows)
        touched = self._found_due(touched, full)
        firing = touched.finder >= 0
        firing |= due(self.chunk, windows.due, windows.last_at, touched.seen, self.until)
        enough = windows.counts >= self.kernel.options.min_count
        going = np.flatnonzero(firing & enough)
        out, absorbed, failed = self._emit(touched.take(going), members, full[going])
        dropped = self._drop(windows.take(np.flatnonzero(firing & ~enough)), members)
        self._keep(touched.take(np.flatnonzero(~firing)), members)
        return StepOutcome(out, (*self.failed, *failed), dropped, absorbed)

    # -- which windows there are -----------------------------------------------------------------------

    def _closing_in_time(self, found: Windows) -> Windows:
        """Return the windows without those that would close after the last moment there is: their contexts
        fail.
        """
        if self.spans.quiet is not None:
            return found
        late = self.reach.limits(found.first) > LAST_MOMENT
        if not late.any():
            return found
        rows = ranges(found.first[late], (found.end - found.first)[late])
        failed = np.zeros(len(self.contexts), np.bool_)
        failed[self.groups.order[rows]] = True
        why = Failures.where(failed, "its window would close after the year 9999")
        self.failed += failed_where(self.contexts, why)
        return found.take(np.flatnonzero(~late))

    @cached_property
    def _group_of_carried(self) -> tuple[Ints, Mask]:
        """For each window carried in the group of its key, and whether there is one."""
        groups, carried = self.groups, self.carried
        if not len(groups.keys):
            return np.zeros(len(carried.keys), np.int64), np.zeros(len(carried.keys), np.bool_)
        at = np.searchsorted(groups.keys, carried.keys).clip(0, len(groups.keys) - 1)
        return at, groups.keys[at] == carried.keys

    def _end_of_carried(self) -> Ints:
        """For each group the first row that does not join the window it carried in."""
        carried, start = self.carried, self.groups.starts.copy()
        at, present = self._group_of_carried
        group, some = at[present], carried.take(np.flatnonzero(present))
        start[group] = self.reach.ends_of_open(group, some.due, some.limit, some.counts)
        return start

    def _grown(self, joined: Ints) -> tuple[Open, Ints]:
        """Return the windows carried in, with what joined them, and the row that is the last member of each;
        -1 where none joined.
        """
        groups, carried = self.groups, self.carried
        at, present = self._group_of_carried
        more = np.zeros(len(carried.keys), np.int64)
        more[present] = (joined - groups.starts)[at[present]]
        last = np.full(len(carried.keys), -1, np.int64)
        last_at, due_at = carried.last_at.copy(), carried.due.copy()
        rows = np.flatnonzero(more)
        ends = joined[at[rows]] - 1
        last[rows], last_at[rows] = groups.order[ends], groups.times[ends]
        due_at[rows] = self.spans.dues(carried.limit[rows], last_at[rows], ends)
        return replace(carried, counts=carried.counts + more, last_at=last_at, due=due_at), last

    def _opened_now(self, found: Windows) -> Open:
        groups = self.groups
        opener = groups.order[found.first]
        numbers = np.empty(len(opener), np.int64)
        # numbers ascend in the order in which windows open: timers due at the same moment fire in that order
        numbers[np.argsort(opener)] = self.kernel.next_number + np.arange(len(opener))
        self.kernel.next_number += len(opener)
        limits, last_at = self.reach.limits(found.first), groups.times[found.end - 1]
        return Open(
            groups.keys[found.group],
            numbers,
            groups.times[found.first],
            found.end - found.first,
            last_at,
            np.full(len(opener), -1, np.int64),
            self.spans.dues(limits, last_at, found.end - 1),
            limits,
        )

    def _touched(self, joined: Ints, found: Windows, fresh: Open) -> _Touched:
        groups = self.groups
        grown, last = self._grown(joined)
        carried = len(grown)
        finder = np.full(carried + len(fresh), -1, np.int64)
        following = found.end < groups.ends[found.group]
        finder[carried:][following] = groups.order[found.end[following]]
        return _Touched(
            grown.joined(fresh),
            np.concatenate(
                [np.full(carried, -1, np.int32), self.contexts.seen.take(groups.order[found.first])]
            ),
            np.concatenate([last, groups.order[found.end - 1]]),
            finder,
        )

    def _joined_members(self, joined: Ints, found: Windows, numbers: Ints) -> ItemLists:
        """Every context of the batch as a member of its window."""
        groups = self.groups
        at, present = self._group_of_carried
        carried = np.flatnonzero(present)
        starts, ends = groups.starts[at[carried]], joined[at[carried]]
        firsts, lasts = np.concatenate([starts, found.first]), np.concatenate([ends, found.end])
        owners = np.concatenate([self.carried.numbers[carried], numbers])
        counts = lasts - firsts
        rows = groups.order[ranges(firsts, counts)]
        names = self.kernel.rules.batch_names
        return ItemLists.of_contexts(self.contexts, rows, np.repeat(owners, counts), names, self.values)

    # -- which of them close ---------------------------------------------------------------------------

    def _full(self, windows: Open) -> Mask:
        most = self.spans.most
        return np.zeros(len(windows), np.bool_) if most is None else windows.counts >= most

    def _found_due(self, touched: _Touched, full: Mask) -> _Touched:
        """Return the windows with the row that closes each: its last member where it is full, and otherwise
        the one of its key that found it due.

        Of those that are due at the moment they open, all that opened before close with it: their timers
        would have fired first.
        """
        windows, finder = touched.windows, np.where(full, touched.last, touched.finder)
        at_once = np.flatnonzero((windows.due <= windows.last_at) & ~full)
        if len(at_once):
            order = at_once[np.argsort(windows.numbers[at_once])]
            rows = np.where(finder[order] >= 0, finder[order], _AFTER)
            earliest = np.minimum.accumulate(rows[::-1])[::-1]
            finder[order] = np.where(earliest < _AFTER, earliest, -1)
        return replace(touched, finder=finder)

    # -- what becomes of them --------------------------------------------------------------------------

    def _emit(
        self, touched: _Touched, members: ItemLists, full: Mask
    ) -> tuple[ContextBatch, Absorbed | None, tuple[Failed, ...]]:
        if not len(full):
            return self.contexts.take(np.zeros(0, np.int64)), None, ()
        moments, sees = self._when(touched, full)
        order = self._order(touched, moments, sees, full)
        touched, moments, sees, full = touched.take(order), moments[order], sees[order], full[order]
        closing = touched.windows
        closed = self._closed_by(closing, full)
        out = self._last_members(closing, touched.last).placed(moments, sees, closed)
        inside, starts = members.grouped(closing.numbers)
        made, failures = self._collected(inside, starts)
        variable = BatchVariable(
            closing.counts,
            _key_column(out, self.kernel.options.key),
            inside.ids(starts, self.chunk.interner),
            closing.opened,
            closing.last_at,
            moments,
            closed,
            made,
        )
        absorbed = Absorbed(int((closing.counts - 1).sum()), out, inside, np.append(starts, len(inside)))
        whole = out.having(dict.fromkeys(self.kernel.rules.batch_names, variable))
        if failures is not None:
            whole = whole.take(np.flatnonzero(~failures.mask))
        return whole, absorbed, failed_where(out, failures)

    def _when(self, touched: _Touched, full: Mask) -> tuple[Ints, Seen]:
        """Return at which clock windows close, and the last event that what comes out of them sees."""
        windows = touched.windows
        moments = np.where(full, windows.last_at, windows.due)
        sees = np.maximum(self.chunk.seen_at(moments), touched.seen)
        if full.any():
            sees[full] = self.contexts.seen[touched.last[full]]
        return moments, sees

    def _order(self, touched: _Touched, moments: Ints, sees: Seen, full: Mask) -> Index:
        """Return the order in which windows close.

        Timers due at the same moment fire as their windows opened, after all that the events before it did.
        """
        windows = touched.windows
        at_once = full | (windows.due <= windows.last_at)
        if not at_once.any():
            return np.lexsort((windows.numbers, moments))
        rows = np.where(at_once & (touched.finder >= 0), touched.finder, _AFTER)
        return np.lexsort((windows.numbers, rows, sees, moments))

    def _closed_by(self, windows: Open, full: Mask) -> npt.NDArray[np.uint8]:
        if self.until.ending:
            return np.full(len(windows), CLOSED_AT_END, np.uint8)
        quiet = np.where(windows.due < windows.limit, np.uint8(CLOSED_BY_QUIET), np.uint8(CLOSED_BY_TIMER))
        return np.where(full, np.uint8(CLOSED_BY_COUNT), quiet)

    def _collected(
        self, inside: ItemLists, starts: Ints
    ) -> tuple[dict[str, CollectedValues], Failures | None]:
        offsets = np.append(starts, len(inside))
        made, failures = {}, []
        for (name, one), values in zip(self.kernel.options.collect, inside.values, strict=True):
            made[name], failed = collected(one, values, offsets)
            failures.append(failed)
        return made, first_failures(failures)

    def _last_members(self, closing: Open, rows: Ints) -> ContextBatch:
        """Return the last member of each window: a context of this batch, or one that was held."""
        now, earlier = np.flatnonzero(rows >= 0), np.flatnonzero(rows < 0)
        parts = [self.contexts.take(rows[now])] if len(now) else []
        held = self.kernel.holding.release(closing.last[earlier], self.chunk)
        if held is not None:
            parts.append(held)
        self.kernel.holding.forget(closing.last[now][closing.last[now] >= 0])
        back = np.empty(len(rows), np.int64)
        back[np.concatenate([now, earlier])] = np.arange(len(rows))
        return ContextBatch.concat(parts).take(back)

    def _drop(self, dropped: Open, members: ItemLists) -> tuple[Dropped, ...]:
        if not len(dropped):
            return ()
        self.kernel.holding.forget(dropped.last[dropped.last >= 0])
        return dropped_held(members.of(dropped.numbers), "batch below min_count")

    def _keep(self, touched: _Touched, members: ItemLists) -> None:
        kept, rows, holding = touched.windows, touched.last, self.kernel.holding
        changed = np.flatnonzero(rows >= 0)
        old = kept.last[changed]
        holding.forget(old[old >= 0])
        last = kept.last.copy()
        last[changed] = holding.put(self.contexts.take(rows[changed]))
        self.kernel.windows.put(replace(kept, last=last), members.of(kept.numbers))


def _key_column(contexts: ContextBatch, paths: Sequence[Path]) -> Column:
    """Return the keys of contexts: a value, or of several paths the list of theirs."""
    columns = [contexts.column(path) for path in paths]
    return columns[0] if len(columns) == 1 else Payload(columns, len(contexts)).column(())
