"""One batch of contexts going through a batch step: which windows it fills, opens and closes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Protocol

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
from flowdsl.batches.later import Later
from flowdsl.batches.payload import Payload
from flowdsl.expressions.aggregates import Collected
from flowdsl.expressions.row_source import Failures, first_failures
from flowdsl.kernels.batch_members import ItemLists, Roots, ValuesAt, WindowMembers
from flowdsl.kernels.batch_variable import BatchVariable
from flowdsl.kernels.collected import CollectedValues, can_fail, collected, values_of
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
    values: tuple[ValuesAt, ...]


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
        values = tuple(partial(_taken, one, good) for one in values)
    return Incoming(contexts, keys, spans, values), failures


def _taken(values: ValuesAt, good: Index, rows: Index) -> Column:
    return values(good[rows])


class _Touched:
    """Windows that a batch opens or finds due, in the order in which they opened: a column for each field of
    `Open`, and

    - `seen`: the last event of the batch that it saw when it opened, -1 if that was earlier
    - `row`: the row of the batch that is its last member, -1 for none
    - `finder`: the row that found it due, -1 for none; `followed` says that there is one
    - `row_from`, `row_counts`: which rows of the sorted batch are its members, but for those it had before
    """

    def __init__(self, size: int, columns: Mapping[str, Later[Any]]) -> None:
        self._size, self._columns = size, columns

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, name: str) -> Any:
        return self._columns[name].made()

    def take(self, which: Index) -> _Touched:
        if is_everything(which, self._size):
            return self
        return _Touched(len(which), {name: column.take(which) for name, column in self._columns.items()})

    def having(self, **changed: Any) -> _Touched:
        made = {name: Later.of(column) for name, column in changed.items()}
        return _Touched(self._size, {**self._columns, **made})

    def as_open(self) -> Open:
        return Open(*(self[field.name] for field in fields(Open)))


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
        latest = max(until.clock, int(incoming.contexts.moment.max(initial=0)))
        self.carried, self.members = kernel.windows.take_out(self.groups.places, latest)
        group_of_carried = self.groups.places.of(self.carried.keys)
        # the windows carried in that contexts may join, and the groups of these
        self.growing = np.flatnonzero(group_of_carried >= 0)
        self.joining = group_of_carried.take(self.growing)

    def run(self) -> StepOutcome:
        joined = self._end_of_carried()
        found = Windows.find(self.groups, joined, self.reach).as_they_open(self.groups)
        touched, firing, full = self._closing(self._touched(joined, self._closing_in_time(found)))
        enough = touched["counts"] >= self.kernel.options.min_count
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
        start, carried = self.groups.starts.copy(), self.carried
        due, limits = carried.due.take(self.growing), carried.limit.take(self.growing)
        counts = carried.counts.take(self.growing)
        start[self.joining] = self.reach.ends_of_open(self.joining, due, limits, counts)
        return start

    def _grown(self, joined: Ints) -> tuple[Open, Ints]:
        """Return the windows carried in, with what joined them, and the row that is the last member of each;
        -1 where none joined.
        """
        groups, carried = self.groups, self.carried
        ends = joined.take(self.joining)
        sizes = ends - groups.starts.take(self.joining)
        grows = np.flatnonzero(sizes)
        rows, ends = self.growing.take(grows), ends.take(grows) - 1
        more = np.zeros(len(carried.keys), np.int64)
        more[self.growing] = sizes
        last = np.full(len(carried.keys), -1, np.int64)
        last_at, due_at = carried.last_at.copy(), carried.due.copy()
        last[rows], last_at[rows] = groups.order.take(ends), groups.times.take(ends)
        due_at[rows] = self.spans.dues(carried.limit.take(rows), lambda: last_at.take(rows), ends)
        return replace(carried, counts=carried.counts + more, last_at=last_at, due=due_at), last

    def _touched(self, joined: Ints, found: Windows) -> _Touched:
        groups, first, end = self.groups, found.first, found.end
        grown, last = self._grown(joined)
        row_from = np.zeros(len(grown), np.int64)
        row_from[self.growing] = groups.starts.take(self.joining)
        # numbers ascend in the order in which windows open: timers due at the same moment fire in that order
        numbers = self.kernel.next_number + np.arange(len(found))
        self.kernel.next_number += len(found)
        none, sizes = np.full(len(grown), -1, np.int64), end - first
        # the row behind each, at the end one of no key
        followed = ~np.append(groups.begins, np.True_).take(end)
        last_at = Later(lambda: groups.times.take(end - 1))

        def finders() -> Ints:
            return np.where(followed, groups.order.take(np.where(followed, end, 0)), -1)

        parts: dict[str, tuple[npt.NDArray[Any], Callable[[], npt.NDArray[Any]]]] = {
            "keys": (grown.keys, lambda: groups.row_keys.take(first)),
            "numbers": (grown.numbers, lambda: numbers),
            "opened": (grown.opened, lambda: groups.times.take(first)),
            "counts": (grown.counts, lambda: sizes),
            "last_at": (grown.last_at, last_at.made),
            "last": (grown.last, lambda: np.full(len(found), -1, np.int64)),
            "due": (grown.due, lambda: self.spans.dues(self.reach.limits(first), last_at.made, end - 1)),
            "limit": (grown.limit, lambda: self.reach.limits(first)),
            "seen": (none.astype(np.int32), lambda: self.contexts.seen.take(groups.order.take(first))),
            "row": (last, lambda: groups.order.take(end - 1)),
            "followed": (none >= 0, lambda: followed),
            "finder": (none, finders),
            "row_from": (row_from, lambda: first),
            "row_counts": (grown.counts - self.carried.counts, lambda: sizes),
        }
        columns = {name: Later(partial(_joined, *part)) for name, part in parts.items()}
        return _Touched(len(grown) + len(found), columns)

    def _members(self, touched: _Touched) -> WindowMembers:
        """Return all members of windows, one window after the other."""
        return WindowMembers(touched["counts"], lambda: self._lists(touched))

    def _lists(self, touched: _Touched) -> ItemLists:
        counts = touched["counts"]
        # windows that had members before are mostly the first ones: the others need not be put together
        before = np.flatnonzero(counts > touched["row_counts"])
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
        earlier = np.flatnonzero(touched["counts"] > touched["row_counts"])
        if len(earlier) == len(touched):
            return self.members.openers(touched["numbers"])
        names = self.kernel.rules.batch_names
        now = Roots.of(self.contexts, names)
        if now is None:
            now = Roots(self.contexts.seq, self.contexts.branches)
        found = now.take(self.groups.order.take(touched["row_from"]))
        if not len(earlier):
            return found
        which = np.arange(len(found))
        which[earlier] = len(found) + np.arange(len(earlier))
        return found.joined(self.members.openers(touched["numbers"][earlier])).take(which)

    def _fresh_members(self, touched: _Touched) -> ItemLists:
        """Return the members of windows that came now."""
        counts = touched["row_counts"]
        rows = self.groups.order.take(ranges(touched["row_from"], counts))
        owners = np.repeat(touched["numbers"], counts)
        names = self.kernel.rules.batch_names
        return ItemLists.of_contexts(self.contexts, rows, owners, names, self.values)

    def _put_together(self, touched: _Touched) -> ItemLists:
        """Return the members of windows, of each first those that it had before."""
        more = touched["row_counts"]
        earlier = touched["counts"] - more
        held, fresh = self.members.of(touched["numbers"]), self._fresh_members(touched)
        begins = np.stack([np.cumsum(earlier) - earlier, len(held) + np.cumsum(more) - more])
        sizes = np.stack([earlier, more])
        return held.joined(fresh).at(ranges(begins.T.ravel(), sizes.T.ravel()))

    # -- which of them close ---------------------------------------------------------------------------

    def _closing(self, touched: _Touched) -> tuple[_Touched, Mask, Mask]:
        """Return the windows, which of them close, and which of these because they are full."""
        most, opened, due_at = self.spans.most, touched["opened"], touched["due"]
        full = np.zeros(len(touched), np.bool_) if most is None else touched["counts"] >= most
        if full.any() or (due_at <= opened).any():
            touched = touched.having(finder=self._found_due(touched, full))
            fires = due(self.chunk, due_at, opened, touched["seen"], self.until)
            return touched, fires | (touched["finder"] >= 0), full
        return touched, (due_at <= self.until.clock) | touched["followed"], full

    def _found_due(self, touched: _Touched, full: Mask) -> Ints:
        """Return the row that closes each window: its last member where it is full, and otherwise the one of
        its key that found it due.

        Of those that are due at the moment they open, all that opened before close with it: their timers
        would have fired first.
        """
        finder: Ints = np.where(full, touched["row"], touched["finder"])
        at_once = np.flatnonzero((touched["due"] <= touched["opened"]) & ~full)
        order = at_once[np.argsort(touched["numbers"][at_once])]
        rows = np.where(finder[order] >= 0, finder[order], _AFTER)
        earliest = np.minimum.accumulate(rows[::-1])[::-1]
        finder[order] = np.where(earliest < _AFTER, earliest, -1)
        return finder

    # -- what becomes of them --------------------------------------------------------------------------

    def _emit(
        self, touched: _Touched, full: Mask, going: Index
    ) -> tuple[ContextBatch, Absorbed | None, tuple[Failed, ...]]:
        if not len(going):
            return self.contexts.take(np.zeros(0, np.int64)), None, ()
        touched, full, moments = self._in_order(touched.take(going), full[going])
        closed = self._closed_by(touched, full)
        sees = Later(lambda: self._sees(touched, moments, full))
        out = self._last_members(touched).placed(moments, sees, closed)
        inside = self._members(touched)
        made, failures = self._collected(inside)
        variable = BatchVariable(
            touched["counts"],
            Later(lambda: _key_column(out, self.kernel.options.key)),
            inside.ids(self._openers(touched), self.chunk.interner),
            touched["opened"],
            touched["last_at"],
            moments,
            closed,
            made,
        )
        absorbed = Absorbed(int(touched["counts"].sum()) - len(out), out, inside)
        whole = out.having(dict.fromkeys(self.kernel.rules.batch_names, variable))
        if failures is not None:
            whole = whole.take(np.flatnonzero(~failures.mask))
        return whole, absorbed, failed_where(out, failures)

    def _in_order(self, touched: _Touched, full: Mask) -> tuple[_Touched, Mask, Ints]:
        """Return the windows that close in the order in which they do, and at which clock.

        Timers due at the same moment fire as their windows opened, after all that the events before it did.
        """
        due_at = touched["due"]
        moments = np.where(full, touched["last_at"], due_at) if full.any() else due_at
        at_once = full | (due_at <= touched["opened"])
        if at_once.any():
            finder = touched["finder"]
            rows = np.where(at_once & (finder >= 0), finder, _AFTER)
            order: Index = np.lexsort((rows, self._sees(touched, moments, full), moments))
        elif (moments[1:] >= moments[:-1]).all():
            return touched, full, moments
        else:
            order = stable_order(moments)
        return touched.take(order), full[order], moments[order]

    def _sees(self, touched: _Touched, moments: Ints, full: Mask) -> Seen:
        """Return the last event that what comes out of windows sees."""
        sees: Seen = np.maximum(self.chunk.seen_at(moments), touched["seen"])
        if full.any():
            sees[full] = self.contexts.seen[touched["row"][full]]
        return sees

    def _closed_by(self, touched: _Touched, full: Mask) -> npt.NDArray[np.uint8]:
        if self.until.ending:
            return np.full(len(touched), CLOSED_AT_END, np.uint8)
        closed = np.full(len(touched), CLOSED_BY_TIMER, np.uint8)
        if self.spans.quiet is not None:
            closed[touched["due"] < touched["limit"]] = CLOSED_BY_QUIET
        closed[full] = CLOSED_BY_COUNT
        return closed

    def _collected(self, inside: WindowMembers) -> tuple[dict[str, Later[CollectedValues]], Failures | None]:
        """Return what windows collect, made when it is read, and which cannot have it."""
        made: dict[str, Later[CollectedValues]] = {}
        failures = []
        for place, (name, one) in enumerate(self.kernel.options.collect):
            if can_fail(one):
                values, failed = collected(one, inside.lists.collected[place].made(), inside.offsets)
                failures.append(failed)
                made[name] = Later.of(values)
            else:
                made[name] = Later(partial(_collected_at, place, one, inside))
        return made, first_failures(failures)

    def _last_members(self, closing: _Touched) -> ContextBatch:
        """Return the last member of each window: a context of this batch, or one that was held."""
        rows, last, holding = closing["row"], closing["last"], self.kernel.holding
        earlier = np.flatnonzero(rows < 0)
        if not len(earlier):
            holding.forget(last[last >= 0])
            return self.contexts.take(rows)
        now = np.flatnonzero(rows >= 0)
        parts = [self.contexts.take(rows[now])] if len(now) else []
        held = holding.release(last[earlier], self.chunk)
        if held is not None:
            parts.append(held)
        replaced = last[now]
        holding.forget(replaced[replaced >= 0])
        back = np.empty(len(rows), np.int64)
        back[np.concatenate([now, earlier])] = np.arange(len(rows))
        return ContextBatch.concat(parts).take(back)

    def _drop(self, dropped: _Touched) -> tuple[Dropped, ...]:
        if not len(dropped):
            return ()
        last = dropped["last"]
        self.kernel.holding.forget(last[last >= 0])
        return dropped_held(self._members(dropped), "batch below min_count")

    def _keep(self, touched: _Touched) -> None:
        if not len(touched):
            return
        kept, rows, holding = touched.as_open(), touched["row"], self.kernel.holding
        changed = np.flatnonzero(rows >= 0)
        old = kept.last[changed]
        holding.forget(old[old >= 0])
        last = kept.last.copy()
        last[changed] = holding.put(self.contexts.take(rows[changed]))
        self.kernel.windows.put(replace(kept, last=last), self._fresh_members(touched))


def _joined(before: npt.NDArray[Any], now: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return a column of the windows from before, then of those that opened now."""
    return np.concatenate([before, now()]) if len(before) else now()


def _collected_at(place: int, one: Collected, inside: WindowMembers) -> CollectedValues:
    """Return what windows collect by the expression at this place, which each of them can have."""
    return collected(one, inside.lists.collected[place].made(), inside.offsets)[0]


def _key_column(contexts: ContextBatch, paths: Sequence[Path]) -> Column:
    """Return the keys of contexts: a value, or of several paths the list of theirs."""
    columns = [contexts.column(path) for path in paths]
    return columns[0] if len(columns) == 1 else Payload(columns, len(contexts)).column(())
