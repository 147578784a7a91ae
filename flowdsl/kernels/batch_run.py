"""One batch of contexts going through a batch step: which windows it fills, opens and closes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
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
    Seen,
)
from flowdsl.batches.later import Later
from flowdsl.batches.payload import Payload
from flowdsl.expressions.aggregates import Collected
from flowdsl.expressions.row_source import Failures, first_failures
from flowdsl.kernels.batch_members import ItemLists, Roots, ValuesAt, WindowMembers
from flowdsl.kernels.batch_variable import BatchVariable
from flowdsl.kernels.collected import CollectedValues, can_fail, collect_values, values_of
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
from flowdsl.kernels.struct_of_arrays import Arrays
from flowdsl.kernels.timers import LAST_MOMENT, due
from flowdsl.kernels.window_rule import RuleSpans, WindowRule
from flowdsl.kernels.window_search import find_windows
from flowdsl.rules import Rules
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Index, Ints, Mask
from flowdsl.values.orders import Places, inverse, ranges, sort_stably, stable_order
from flowdsl.values.paths import Path

# a row after all contexts of a batch
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
    values: tuple[ValuesAt, ...]


def incoming(
    options: BatchOptions, space: KeySpace, contexts: ContextBatch
) -> tuple[Incoming, Failures | None]:
    """Return the contexts that go into windows, and the failures of the others."""
    keys, no_key = space.keys(contexts)
    spans, no_span = options.rule.read(contexts)
    values, no_value = values_of(contexts, [one for _, one in options.collect])
    failures = first_failures([no_key, no_span, *no_value])
    if failures is not None:
        good = np.flatnonzero(~failures.mask)
        contexts, keys, spans = contexts.take(good), keys[good], spans.take(good)
        values = tuple(partial(_take, one, good) for one in values)
    return Incoming(contexts, keys, spans, values), failures


def _take(values: ValuesAt, good: Index, rows: Index) -> Column:
    return values(good[rows])


@dataclass(frozen=True)
class _Touched(Arrays):
    """Windows that a batch opens or finds due, those carried in first, each in the order of opening.

    Their place among all of these, the row that opened each and the one that is its last member (-1 for none
    of this batch), when it opened, its members, and when it is due.
    """

    place: Ints
    opener: Ints
    row: Ints
    opened: Ints
    counts: Ints
    due: Ints


class BatchRun:
    """Takes one batch of contexts through a batch step."""

    def __init__(self, kernel: Keeper, came: Incoming, until: Until, failed: tuple[Failed, ...]) -> None:
        self.kernel, self.until, self.failed = kernel, until, failed
        self.contexts, self.keys, self.spans, self.values = came.contexts, came.keys, came.spans, came.values
        self.chunk, self.moments = came.contexts.chunk, came.contexts.moment
        self.latest = int(self.moments.max(initial=until.clock))
        self.found = find_windows(self.keys, self.moments, self.spans, self._carried_in)
        self.carried = self.found.carried
        # numbers ascend in the order in which windows open: timers due at the same moment fire in that order
        fresh = kernel.next_number + np.arange(len(self.found.openers))
        kernel.next_number += len(fresh)
        self.numbers = np.concatenate([self.carried.numbers, fresh])
        self.limits = np.concatenate([self.carried.limit, self.found.limits])
        self.joined = np.bincount(self.found.windows, minlength=len(self.numbers))

    def _carried_in(self, keys: Places) -> Open:
        """Take out the windows that a context may join or close, and those that are due."""
        windows, self.members = self.kernel.windows.take_out(keys, self.latest)
        return windows

    def run(self) -> StepOutcome:
        touched = self._closing_in_time(self._find_touched())
        firing, full = self._closing(touched)
        enough = touched.counts >= self.kernel.options.min_count
        out, absorbed, failed = self._emit(touched, full, np.flatnonzero(firing & enough))
        dropped = self._drop(touched.take(np.flatnonzero(firing & ~enough)))
        self._keep(touched.take(np.flatnonzero(~firing)))
        return StepOutcome(out, (*self.failed, *failed), dropped, absorbed)

    def _find_touched(self) -> _Touched:
        carried, openers = self.carried, self.found.openers
        row = np.full(len(self.numbers), -1, np.int64)
        # of several rows the last one stays
        row[self.found.windows] = np.arange(len(self.contexts))
        counts = self.joined.copy()
        counts[: len(carried)] += carried.counts
        limits, due = self.limits, self.limits
        if self.spans.quiet is not None:
            grown = np.flatnonzero(row >= 0)
            due = np.concatenate([carried.due, limits[len(carried) :]])
            ends = row.take(grown)
            due[grown] = self.spans.dues(limits.take(grown), self.moments.take(ends), ends)
        return _Touched(
            np.arange(len(row)),
            np.concatenate([np.full(len(carried), -1, np.int64), openers]),
            row,
            np.concatenate([carried.opened, self.moments.take(openers)]),
            counts,
            due,
        )

    def _closing_in_time(self, touched: _Touched) -> _Touched:
        """Return the windows without those that would close after the last moment there is: their contexts
        fail.
        """
        late = self.limits > LAST_MOMENT
        if self.spans.quiet is not None or not late.any():
            return touched
        why = Failures.where(late.take(self.found.windows), "its window would close after the year 9999")
        self.failed += failed_where(self.contexts, why)
        return touched.take(np.flatnonzero(~late))

    def _last_at(self, touched: _Touched) -> Ints:
        """Return when the last member of each window came."""
        earlier = np.flatnonzero(touched.row < 0)
        # row -1 is the last one
        last_at: Ints = np.append(self.moments, 0).take(touched.row)
        last_at[earlier] = self.carried.last_at.take(touched.place.take(earlier))
        return last_at

    def _last(self, touched: _Touched) -> Ints:
        """Return the last member that each window had before, as it is held; -1 for none."""
        return np.append(self.carried.last, -1).take(np.minimum(touched.place, len(self.carried)))

    def _members(self, touched: _Touched) -> WindowMembers:
        """Return all members of windows, one window after the other."""
        return WindowMembers(touched.counts, lambda: self._lists(touched))

    def _lists(self, touched: _Touched) -> ItemLists:
        # windows that had members before are mostly the first ones: the others need not be put together
        before = np.flatnonzero(touched.opener < 0)
        if not len(before):
            return self._fresh_members(touched)
        cut = int(before[-1]) + 1
        first = self._put_together(touched.take(np.arange(cut)))
        if cut == len(touched):
            return first
        return first.concat(self._fresh_members(touched.take(np.arange(cut, len(touched)))))

    def _openers(self, touched: _Touched) -> Roots:
        """Return the events that opened windows: of members that they had before, or of the first that came
        now.
        """
        earlier = np.flatnonzero(touched.opener < 0)
        numbers = self.numbers.take(touched.place.take(earlier))
        if len(earlier) == len(touched):
            return self.members.openers(numbers)
        now, rows = Roots.of(self.contexts, self.kernel.rules.batch_names), touched.opener
        if now is None:
            seq = self.chunk.numbers(self.contexts.rows.take(rows))
            found = Roots(seq, tuple(level.take(rows) for level in self.contexts.branches))
        else:
            found = now.take(rows)
        if not len(earlier):
            return found
        which = np.arange(len(found))
        which[earlier] = len(found) + np.arange(len(earlier))
        return found.concat(self.members.openers(numbers)).take(which)

    def _fresh_members(self, touched: _Touched) -> ItemLists:
        """Return the members of windows that came now."""
        asked = np.full(len(self.numbers), -1, np.int64)
        asked[touched.place] = np.arange(len(touched))
        window = asked.take(self.found.windows)
        rows = np.flatnonzero(window >= 0)
        window, order = sort_stably(window.take(rows))
        owners = self.numbers.take(touched.place).take(window)
        names = self.kernel.rules.batch_names
        return ItemLists.of_contexts(self.contexts, rows.take(order), owners, names, self.values)

    def _put_together(self, touched: _Touched) -> ItemLists:
        """Return the members of windows, of each first those that it had before."""
        more = self.joined.take(touched.place)
        earlier = touched.counts - more
        held, fresh = self.members.of(self.numbers.take(touched.place)), self._fresh_members(touched)
        begins = np.stack([np.cumsum(earlier) - earlier, len(held) + np.cumsum(more) - more])
        sizes = np.stack([earlier, more])
        return held.concat(fresh).at(ranges(begins.T.ravel(), sizes.T.ravel()))

    def _closing(self, touched: _Touched) -> tuple[Mask, Mask]:
        """Return which windows close, and which of these because they are full."""
        most = self.spans.most
        full = np.zeros(len(touched), np.bool_) if most is None else touched.counts >= most
        if full.any() or (touched.due <= touched.opened).any():
            finder = self._find_due(touched, full)
            fires = due(self.chunk, touched.due, touched.opened, self._last_seen(touched), self.until)
            return fires | (finder >= 0), full
        return touched.due <= self.latest, full

    def _find_due(self, touched: _Touched, full: Mask) -> Ints:
        """Return the row that closes each window: its last member where it is full, and otherwise the one of
        its key that found it due.

        Of those that are due at the moment they open, all that opened before close with it: their timers
        would have fired first.
        """
        behind = np.concatenate([np.full(len(self.carried), -1, np.int64), self.found.behind()])
        finder: Ints = np.where(full, touched.row, behind.take(touched.place))
        at_once = np.flatnonzero((touched.due <= touched.opened) & ~full)
        order = at_once[np.argsort(touched.place[at_once])]
        rows = np.where(finder[order] >= 0, finder[order], _AFTER)
        earliest = np.minimum.accumulate(rows[::-1])[::-1]
        finder[order] = np.where(earliest < _AFTER, earliest, -1)
        self.finder = np.full(len(self.numbers), -1, np.int64)
        self.finder[touched.place] = finder
        return finder

    def _last_seen(self, touched: _Touched) -> Seen:
        """Return the last event of the batch that windows saw when they opened, -1 if that was earlier."""
        return np.append(self.contexts.seen, np.int32(-1)).take(touched.opener)

    def _emit(
        self, touched: _Touched, full: Mask, going: Index
    ) -> tuple[ContextBatch, Absorbed | None, tuple[Failed, ...]]:
        if not len(going):
            return self.contexts.take(np.zeros(0, np.int64)), None, ()
        touched, full, moments = self._in_order(touched.take(going), full[going])
        closed = self._closed_by(touched, full)
        sees = Later(lambda: self._sees(touched, moments, full))
        out = self._last_members(touched).place(moments, sees, closed)
        inside = self._members(touched)
        made, failures = self._collect(inside)
        variable = BatchVariable(
            touched.counts,
            Later(lambda: _key_column(out, self.kernel.options.key)),
            inside.ids(self._openers(touched), self.chunk.interner),
            touched.opened,
            self._last_at(touched),
            moments,
            closed,
            made,
        )
        absorbed = Absorbed(int(touched.counts.sum()) - len(out), out, inside)
        whole = out.having(dict.fromkeys(self.kernel.rules.batch_names, variable))
        if failures is not None:
            whole = whole.take(np.flatnonzero(~failures.mask))
        return whole, absorbed, failed_where(out, failures)

    def _in_order(self, touched: _Touched, full: Mask) -> tuple[_Touched, Mask, Ints]:
        """Return the windows that close in the order in which they do, and at which clock.

        Timers due at the same moment fire as their windows opened, after all that the events before it did.
        """
        due_at = touched.due
        moments = np.where(full, self._last_at(touched), due_at) if full.any() else due_at
        at_once = full | (due_at <= touched.opened)
        if at_once.any():
            finder = self.finder.take(touched.place)
            rows = np.where(at_once & (finder >= 0), finder, _AFTER)
            order: Index = np.lexsort((rows, self._sees(touched, moments, full), moments))
        elif (moments[1:] >= moments[:-1]).all():
            return touched, full, moments
        else:
            order = stable_order(moments)
        return touched.take(order), full[order], moments[order]

    def _sees(self, touched: _Touched, moments: Ints, full: Mask) -> Seen:
        """Return the last event that what comes out of windows sees."""
        sees: Seen = np.maximum(self.chunk.seen_at(moments), self._last_seen(touched))
        if full.any():
            sees[full] = self.contexts.seen[touched.row[full]]
        return sees

    def _closed_by(self, touched: _Touched, full: Mask) -> npt.NDArray[np.uint8]:
        if self.until.ending:
            return np.full(len(touched), CLOSED_AT_END, np.uint8)
        closed = np.full(len(touched), CLOSED_BY_TIMER, np.uint8)
        if self.spans.quiet is not None:
            closed[touched.due < self.limits.take(touched.place)] = CLOSED_BY_QUIET
        closed[full] = CLOSED_BY_COUNT
        return closed

    def _collect(self, inside: WindowMembers) -> tuple[dict[str, Later[CollectedValues]], Failures | None]:
        """Return what windows collect, made when it is read, and which cannot have it."""
        made: dict[str, Later[CollectedValues]] = {}
        failures = []
        for place, (name, one) in enumerate(self.kernel.options.collect):
            if can_fail(one):
                values, failed = collect_values(one, inside.lists.collected[place].made(), inside.offsets)
                failures.append(failed)
                made[name] = Later.of(values)
            else:
                made[name] = Later(partial(_collect_at, place, one, inside))
        return made, first_failures(failures)

    def _last_members(self, closing: _Touched) -> ContextBatch:
        """Return the last member of each window: a context of this batch, or one that was held."""
        rows, last, holding = closing.row, self._last(closing), self.kernel.holding
        holding.forget(last[(rows >= 0) & (last >= 0)])
        earlier = np.flatnonzero(rows < 0)
        held = holding.release(last[earlier], self.chunk)
        if held is None:
            return self.contexts.take(rows)
        # they are mostly among the first ones: behind them no order is to be found
        cut = int(earlier[-1]) + 1
        now = np.flatnonzero(rows[:cut] >= 0)
        first = ContextBatch.concat([held, self.contexts.take(rows[now])])
        first = first.take(inverse(np.concatenate([earlier, now])))
        return ContextBatch.concat([first, self.contexts.take(rows[cut:])])

    def _drop(self, dropped: _Touched) -> tuple[Dropped, ...]:
        if not len(dropped):
            return ()
        last = self._last(dropped)
        self.kernel.holding.forget(last[last >= 0])
        return dropped_held(self._members(dropped), "batch below min_count")

    def _keep(self, touched: _Touched) -> None:
        if not len(touched):
            return
        last, rows, holding = self._last(touched), touched.row, self.kernel.holding
        changed = np.flatnonzero(rows >= 0)
        old = last[changed]
        holding.forget(old[old >= 0])
        last[changed] = holding.put(self.contexts.take(rows[changed]))
        carried = int(np.count_nonzero(touched.opener < 0))
        before = self.carried.keys.take(touched.place[:carried])
        kept = Open(
            np.concatenate([before, self.keys.take(touched.opener[carried:])]),
            self.numbers.take(touched.place),
            touched.opened,
            touched.counts,
            self._last_at(touched),
            last,
            touched.due,
            self.limits.take(touched.place),
        )
        self.kernel.windows.put(kept, self._fresh_members(touched))


def _collect_at(place: int, one: Collected, inside: WindowMembers) -> CollectedValues:
    """Return what windows collect by the expression at this place, which each of them can have."""
    return collect_values(one, inside.lists.collected[place].made(), inside.offsets)[0]


def _key_column(contexts: ContextBatch, paths: Sequence[Path]) -> Column:
    """Return the keys of contexts: a value, or of several paths the list of theirs."""
    columns = [contexts.column(path) for path in paths]
    return columns[0] if len(columns) == 1 else Payload(columns, len(contexts)).column(())
