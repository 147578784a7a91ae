"""One batch of contexts going through a batch step: which windows it fills, opens and closes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from flowdsl.kernels.batch_members import ItemLists, Roots, WindowMembers
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
from flowdsl.values.orders import stable_order
from flowdsl.values.paths import Path
from flowdsl.values.ranges import is_everything, ranges

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
    """Windows that a batch opens or finds due, in the order in which they opened: for each the last event
    that it saw when it opened, and the rows of the batch that are its last member, and that found it due; -1
    where there is none.

    `held_from` says where its members begin that it had before, and `row_from` and `row_counts` which rows of
    the sorted batch are its others.
    """

    windows: Open
    seen: Seen
    last: Ints
    finder: Ints
    held_from: Ints
    row_from: Ints
    row_counts: Ints

    def take(self, which: Index) -> _Touched:
        if is_everything(which, len(self.windows)):
            return self
        return _Touched(
            self.windows.take(which),
            self.seen.take(which),
            *(one.take(which) for one in (self.last, self.finder, self.held_from)),
            *(one.take(which) for one in (self.row_from, self.row_counts)),
        )


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
        carried, self.members = kernel.windows.take_out(self.groups.keys, latest)
        order = np.argsort(carried.numbers)
        self.carried = carried.take(order)
        # for each window carried in the group of its key, -1 for none
        self.group_of_carried = self.groups.find(carried.keys).take(order)
        self.held_from = carried.starts.take(order)

    def run(self) -> StepOutcome:
        joined = self._end_of_carried()
        found = self._closing_in_time(Windows.find(self.groups, joined, self.reach))
        touched = self._touched(joined, found.as_they_open(self.groups))
        windows = touched.windows
        full = self._full(windows)
        touched = self._found_due(touched, full)
        firing = touched.finder >= 0
        firing |= due(self.chunk, windows.due, windows.last_at, touched.seen, self.until)
        enough = windows.counts >= self.kernel.options.min_count
        out, absorbed, failed = self._emit(touched, full, np.flatnonzero(firing & enough))
        dropped = self._drop(touched.take(np.flatnonzero(firing & ~enough)))
        self._keep(touched.take(np.flatnonzero(~firing)))
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

    def _end_of_carried(self) -> Ints:
        """For each group the first row that does not join the window it carried in."""
        start = self.groups.starts.copy()
        present = np.flatnonzero(self.group_of_carried >= 0)
        group, some = self.group_of_carried[present], self.carried.take(present)
        start[group] = self.reach.ends_of_open(group, some.due, some.limit, some.counts)
        return start

    def _grown(self, joined: Ints) -> tuple[Open, Ints]:
        """Return the windows carried in, with what joined them, and the row that is the last member of each;
        -1 where none joined.
        """
        groups, carried = self.groups, self.carried
        at = self.group_of_carried
        present = np.flatnonzero(at >= 0)
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
        # numbers ascend in the order in which windows open: timers due at the same moment fire in that order
        numbers = self.kernel.next_number + np.arange(len(found))
        self.kernel.next_number += len(found)
        limits, last_at = self.reach.limits(found.first), groups.times[found.end - 1]
        return Open(
            groups.keys[found.group],
            numbers,
            groups.times[found.first],
            found.end - found.first,
            last_at,
            np.full(len(found), -1, np.int64),
            self.spans.dues(limits, last_at, found.end - 1),
            limits,
        )

    def _touched(self, joined: Ints, found: Windows) -> _Touched:
        groups = self.groups
        grown, last = self._grown(joined)
        at = self.group_of_carried
        present = np.flatnonzero(at >= 0)
        row_from = np.zeros(len(grown), np.int64)
        row_from[present] = groups.starts[at[present]]
        followed = np.flatnonzero(found.end < groups.ends[found.group])
        finder = np.full(len(grown) + len(found), -1, np.int64)
        finder[len(grown) + followed] = groups.order[found.end[followed]]
        seen = self.contexts.seen.take(groups.order[found.first])
        return _Touched(
            grown.joined(self._opened_now(found)),
            np.concatenate([np.full(len(grown), -1, np.int32), seen]),
            np.concatenate([last, groups.order[found.end - 1]]),
            finder,
            np.concatenate([self.held_from, np.zeros(len(found), np.int64)]),
            np.concatenate([row_from, found.first]),
            np.concatenate([grown.counts - self.carried.counts, found.end - found.first]),
        )

    def _members(self, touched: _Touched) -> WindowMembers:
        """Return all members of windows, one window after the other."""
        return WindowMembers(touched.windows.counts, lambda: self._lists(touched))

    def _lists(self, touched: _Touched) -> ItemLists:
        counts = touched.windows.counts
        # windows that had members before are mostly the first ones: the others need not be put together
        before = np.flatnonzero(counts > touched.row_counts)
        if not len(before):
            return self._fresh_members(touched)
        cut = int(before[-1]) + 1
        first = self._put_together(touched.take(np.arange(cut)))
        if cut == len(counts):
            return first
        return first.joined(self._fresh_members(touched.take(np.arange(cut, len(counts)))))

    def _openers(self, touched: _Touched) -> Roots:
        """Return the events that opened windows: of members that they had before, or of the first that came
        now.
        """
        earlier = np.flatnonzero(touched.windows.counts > touched.row_counts)
        if len(earlier) == len(touched.windows):
            return self.members.openers(touched.held_from)
        names = self.kernel.rules.batch_names
        now = Roots.of(self.contexts, names)
        if now is None:
            now = Roots(self.contexts.seq, self.contexts.branches)
        found = now.take(self.groups.order[touched.row_from])
        if not len(earlier):
            return found
        which = np.arange(len(found))
        which[earlier] = len(found) + np.arange(len(earlier))
        return found.joined(self.members.openers(touched.held_from[earlier])).take(which)

    def _fresh_members(self, touched: _Touched) -> ItemLists:
        """Return the members of windows that came now."""
        rows = self.groups.order[ranges(touched.row_from, touched.row_counts)]
        owners = np.repeat(touched.windows.numbers, touched.row_counts)
        names = self.kernel.rules.batch_names
        return ItemLists.of_contexts(self.contexts, rows, owners, names, self.values)

    def _put_together(self, touched: _Touched) -> ItemLists:
        """Return the members of windows, of each first those that it had before."""
        more = touched.row_counts
        earlier = touched.windows.counts - more
        held, fresh = self.members.runs(touched.held_from, earlier), self._fresh_members(touched)
        begins = np.stack([np.cumsum(earlier) - earlier, len(held) + np.cumsum(more) - more])
        sizes = np.stack([earlier, more])
        return held.joined(fresh).at(ranges(begins.T.ravel(), sizes.T.ravel()))

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
        self, touched: _Touched, full: Mask, going: Index
    ) -> tuple[ContextBatch, Absorbed | None, tuple[Failed, ...]]:
        if not len(going):
            return self.contexts.take(np.zeros(0, np.int64)), None, ()
        touched, full, moments, sees = self._in_order(touched, full, going)
        closing = touched.windows
        closed = self._closed_by(closing, full)
        out = self._last_members(closing, touched.last).placed(moments, sees, closed)
        inside = self._members(touched)
        made, failures = self._collected(inside)
        variable = BatchVariable(
            closing.counts,
            _key_column(out, self.kernel.options.key),
            inside.ids(self._openers(touched), self.chunk.interner),
            closing.opened,
            closing.last_at,
            moments,
            closed,
            made,
        )
        absorbed = Absorbed(int((closing.counts - 1).sum()), out, inside)
        whole = out.having(dict.fromkeys(self.kernel.rules.batch_names, variable))
        if failures is not None:
            whole = whole.take(np.flatnonzero(~failures.mask))
        return whole, absorbed, failed_where(out, failures)

    def _in_order(self, touched: _Touched, full: Mask, going: Index) -> tuple[_Touched, Mask, Ints, Seen]:
        """Return the windows that close in the order in which they do: at which clock, and the last event
        that what comes out of them sees.

        Timers due at the same moment fire as their windows opened, after all that the events before it did.
        """
        windows, full = touched.windows, full[going]
        due_at, last_at = windows.due[going], windows.last_at[going]
        moments = np.where(full, last_at, due_at) if full.any() else due_at
        at_once = full | (due_at <= last_at)
        if at_once.any():
            finder = touched.finder[going]
            rows = np.where(at_once & (finder >= 0), finder, _AFTER)
            order: Index | None = np.lexsort((rows, self._sees(touched.take(going), moments, full), moments))
        else:
            order = None if (moments[1:] >= moments[:-1]).all() else stable_order(moments)
        if order is not None:
            going, moments, full = going[order], moments[order], full[order]
        touched = touched.take(going)
        return touched, full, moments, self._sees(touched, moments, full)

    def _sees(self, touched: _Touched, moments: Ints, full: Mask) -> Seen:
        sees = np.maximum(self.chunk.seen_at(moments), touched.seen)
        if full.any():
            sees[full] = self.contexts.seen[touched.last[full]]
        return sees

    def _closed_by(self, windows: Open, full: Mask) -> npt.NDArray[np.uint8]:
        if self.until.ending:
            return np.full(len(windows), CLOSED_AT_END, np.uint8)
        quiet = np.where(windows.due < windows.limit, np.uint8(CLOSED_BY_QUIET), np.uint8(CLOSED_BY_TIMER))
        return np.where(full, np.uint8(CLOSED_BY_COUNT), quiet)

    def _collected(self, inside: WindowMembers) -> tuple[dict[str, CollectedValues], Failures | None]:
        made, failures = {}, []
        for place, (name, one) in enumerate(self.kernel.options.collect):
            made[name], failed = collected(one, inside.lists.values[place], inside.offsets)
            failures.append(failed)
        return made, first_failures(failures)

    def _last_members(self, closing: Open, rows: Ints) -> ContextBatch:
        """Return the last member of each window: a context of this batch, or one that was held."""
        now, earlier = np.flatnonzero(rows >= 0), np.flatnonzero(rows < 0)
        if not len(earlier):
            self.kernel.holding.forget(closing.last[closing.last >= 0])
            return self.contexts.take(rows)
        parts = [self.contexts.take(rows[now])] if len(now) else []
        held = self.kernel.holding.release(closing.last[earlier], self.chunk)
        if held is not None:
            parts.append(held)
        self.kernel.holding.forget(closing.last[now][closing.last[now] >= 0])
        back = np.empty(len(rows), np.int64)
        back[np.concatenate([now, earlier])] = np.arange(len(rows))
        return ContextBatch.concat(parts).take(back)

    def _drop(self, dropped: _Touched) -> tuple[Dropped, ...]:
        last = dropped.windows.last
        if not len(last):
            return ()
        self.kernel.holding.forget(last[last >= 0])
        return dropped_held(self._members(dropped), "batch below min_count")

    def _keep(self, touched: _Touched) -> None:
        kept, rows, holding = touched.windows, touched.last, self.kernel.holding
        if not len(kept):
            return
        changed = np.flatnonzero(rows >= 0)
        old = kept.last[changed]
        holding.forget(old[old >= 0])
        last = kept.last.copy()
        last[changed] = holding.put(self.contexts.take(rows[changed]))
        self.kernel.windows.put(replace(kept, last=last), self._members(touched).lists)


def _key_column(contexts: ContextBatch, paths: Sequence[Path]) -> Column:
    """Return the keys of contexts: a value, or of several paths the list of theirs."""
    columns = [contexts.column(path) for path in paths]
    return columns[0] if len(columns) == 1 else Payload(columns, len(contexts)).column(())
