"""batch: contexts with the same key wait for a window to close, and go on as one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from flowdsl.batches.buffer import ContextBuffer
from flowdsl.batches.chunk import Chunk
from flowdsl.batches.context_batch import CLOSED_AT_END, CLOSED_BY_TIMER, ContextBatch
from flowdsl.batches.variables import Versions
from flowdsl.expressions.durations import Duration, DurationLike
from flowdsl.expressions.row_source import Failures
from flowdsl.expressions.var import Var
from flowdsl.kernels.batch_variable import BatchVariable, ItemLists
from flowdsl.kernels.batch_without_timers import UntimedBatchKernel
from flowdsl.kernels.held_rows import HeldRows, windows_text
from flowdsl.kernels.kernel import Kernel
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
from flowdsl.kernels.windows import Groups, Windows
from flowdsl.operators.base import Kind, Operator
from flowdsl.operators.options import DURATION, PATH, count, option
from flowdsl.rules import Rules
from flowdsl.scope import ANY, NUMBER, TEXT, Scope, ValueShape
from flowdsl.values.interner import Interner
from flowdsl.values.json_types import Index
from flowdsl.values.paths import Path, path_text
from flowdsl.values.ranges import ranges
from flowdsl.values.state_fields import MOST, ObjectField, WholeField
from flowdsl.values.state_objects import StateReader, keeps

BATCH = ValueShape(
    "a batch",
    {
        "count": NUMBER,
        "key": ANY,
        "items": ValueShape("a list", scalar=True),
        "first_at": TEXT,
        "last_at": TEXT,
        "closed_at": TEXT,
    },
)
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch(Operator):
    """Gather the contexts of a key for a time, then go on as one."""

    name: ClassVar[str] = "batch"
    method: ClassVar[str] = "batch"
    summary: ClassVar[str] = "gather the contexts of a key until a window closes, then go on as one"
    example: ClassVar[str] = 'batch("target_id", window="5m")'
    synonyms: ClassVar[tuple[str, ...]] = (
        "digest",
        "group_by",
        "groupby",
        "reduce",
        "aggregate",
        "window",
        "collect",
        "debounce",
        "session",
    )
    portable: ClassVar[bool] = True
    held_because: ClassVar[str] = "its window was still open"
    released_when: ClassVar[str] = "when its window closed"

    key: Path = option(PATH, "the path that says what belongs together", key=True)
    window: Duration = option(DURATION, "how long a window is open")
    min_count: int = option(count(0, 1, 3), "the least contexts a window must have to go on", default=1)

    @classmethod
    def build(cls, key: str | Var, *, window: DurationLike, min_count: int = 1) -> Batch:
        """Collect the contexts of a key for a duration, then continue with one context for all of them.

        The window of a key starts with its first context. The context that continues has the variables of the
        last member, and `batch` with `count, key, items, first_at, last_at, closed_at`.

        Parameters
        ----------
        key
            The path of the key.
        window
            The duration, such as `"5m"`.
        min_count
            Windows with fewer members are dropped as `batch below min_count`.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        BuildError
            If a path cannot exist at this step, or an option is not valid.

        Examples
        --------
        >>> from flowdsl import on
        >>> on("link.created").batch("target_id", window="5m", min_count=2).steps[0].text
        "batch('target_id', window='5m', min_count=2)"
        """
        return cls.read(key=key, window=window, min_count=min_count)

    @property
    def kind(self) -> Kind:
        return Kind.PER_KEY

    @property
    def times(self) -> bool:
        return True

    @property
    def caption(self) -> str:
        least = f", at least {self.min_count}" if self.min_count > 1 else ""
        return f"by {path_text(self.key)} for {self.window.text}{least}"

    def check(self, scope: Scope) -> Scope:
        scope.check({self.key}, "batch")
        return scope.having(**dict.fromkeys(scope.rules.batch_names, BATCH))

    def kernel(self, rules: Rules) -> Kernel:
        if rules.timers:
            return BatchKernel(self, rules)
        return UntimedBatchKernel(self.key, self.window.microseconds, self.min_count, rules)


class BatchKernel(Kernel):
    """Holds the last member of each open window whole, and of the others what `batch` says of them."""

    saved = keeps(
        _space=ObjectField(KeySpace),
        _windows=ObjectField(OpenWindows),
        _holding=ObjectField(ContextBuffer),
        _next=WholeField(0, MOST),
    )

    def __init__(self, options: Batch, rules: Rules) -> None:
        self._options, self._rules = options, rules
        self._space = KeySpace((options.key,), typed=rules.typed_keys, nulls=rules.null_keys)
        self._windows = OpenWindows()
        self._holding = ContextBuffer()
        self._next = 0

    @property
    def held(self) -> int:
        return self._windows.held

    def fork(self) -> BatchKernel:
        forked = BatchKernel(self._options, self._rules)
        forked._space, forked._windows = self._space, self._windows.fork()
        forked._holding, forked._next = self._holding.fork(), self._next
        return forked

    def keys_held(self) -> list[Ints]:
        return self._windows.keys_held()

    def remembers(self, clock: int) -> str:
        return windows_text(len(self._windows.all()), self.held)

    def members(self, interner: Interner) -> HeldRows:
        windows, members = self._windows.everything()
        return HeldRows.of_windows(windows, members, self._space, interner)

    def check(self, source: StateReader) -> None:
        source.check(self._holding.has(self._windows.all().last), "windows of contexts that are not held")

    @property
    def holding(self) -> ContextBuffer:
        return self._holding

    def held_versions(self) -> Iterable[Versions]:
        return self._holding.versions()

    def renumber(self, mapping: Versions) -> None:
        self._holding.renumber(mapping)

    def run(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        keys, failures = self._space.keys(contexts)
        failed = failed_where(contexts, failures)
        if failures is not None:
            good = np.flatnonzero(~failures.mask)
            contexts, keys = contexts.take(good), keys[good]
        return _Batching(self, contexts, keys, until, failed).run()

    def next_deadline(self) -> int | None:
        earliest = self._windows.earliest
        return None if earliest is None else earliest + self._options.window.microseconds

    def deadlines(self) -> Ints:
        return self._windows.all().opened + self._options.window.microseconds

    def open(self) -> list[dict[str, Any]]:
        windows, length = self._windows.all(), self._options.window.microseconds
        columns = (windows.counts, self._holding.seqs(windows.last), windows.opened)
        return [
            {"held": held, "last_seq_no": seq_no, "opened_at": opened, "due_at": opened + length}
            for held, seq_no, opened in zip(*(column.tolist() for column in columns), strict=True)
        ]


class _Batching:
    """One batch of contexts going through a batch step."""

    def __init__(
        self,
        kernel: BatchKernel,
        contexts: ContextBatch,
        keys: Ints,
        until: Until,
        failed: tuple[Failed, ...],
    ) -> None:
        self.kernel = kernel
        self.contexts = contexts
        self.until = until
        self.failed = failed
        self.chunk: Chunk = contexts.chunk
        self.window = kernel._options.window.microseconds
        self.groups = Groups.of(keys, contexts.moment)
        # those that a context may join or close, and those that are due
        latest = FOREVER if until.ending else max(until.clock, int(contexts.moment.max(initial=0)))
        self.carried, self.members = kernel._windows.take_out(self.groups.keys, latest - self.window)

    def run(self) -> StepOutcome:
        kernel, groups, carried = self.kernel, self.groups, self.carried
        joined = self._end_of_carried()
        found = self._closing_in_time(Windows.find(groups, joined, self.window))
        fresh = self._opened_now(found)
        grown = self._grown(joined)
        windows = grown.joined(fresh)
        seen = np.concatenate(
            [np.full(len(carried.keys), -1, np.int32), self.contexts.seen.take(groups.order[found.first])]
        )
        row_of_last = np.concatenate([self._rows_of_last(joined), groups.order[found.end - 1]])
        members = self.members.joined(self._joined_members(joined, found, fresh.numbers))
        firing = due(self.chunk, windows.opened + self.window, windows.opened, seen, self.until)
        firing |= windows.numbers <= self._last_closed_on_arrival(found, fresh.numbers)
        enough = windows.counts >= kernel._options.min_count
        out, absorbed = self._emit(windows, seen, row_of_last, members, np.flatnonzero(firing & enough))
        dropped = self._drop(windows, members, np.flatnonzero(firing & ~enough))
        self._keep(windows, row_of_last, members, np.flatnonzero(~firing))
        return StepOutcome(out, self.failed, dropped, absorbed)

    # -- which windows there are -----------------------------------------------------------------------

    def _closing_in_time(self, found: Windows) -> Windows:
        """Return the windows without those that would close after the last moment there is: their contexts
        fail.
        """
        late = self.groups.times[found.first] > LAST_MOMENT - self.window
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
        groups, carried = self.groups, self.carried
        start = groups.starts.copy()
        if len(carried.keys) and len(groups.keys):
            at = np.searchsorted(carried.keys, groups.keys).clip(0, len(carried.keys) - 1)
            known = np.flatnonzero(carried.keys[at] == groups.keys)
            start[known] = groups.first_at_or_after(known, carried.opened[at[known]] + self.window)
        return start

    def _group_of_carried(self) -> tuple[Ints, npt.NDArray[np.bool_]]:
        groups, carried = self.groups, self.carried
        if not len(groups.keys):
            return np.zeros(len(carried.keys), np.int64), np.zeros(len(carried.keys), np.bool_)
        at = np.searchsorted(groups.keys, carried.keys).clip(0, len(groups.keys) - 1)
        return at, groups.keys[at] == carried.keys

    def _grown(self, joined: Ints) -> Open:
        """Return the windows carried in, with what joined them in this batch."""
        groups, carried = self.groups, self.carried
        at, present = self._group_of_carried()
        more = np.zeros(len(carried.keys), np.int64)
        more[present] = (joined - groups.starts)[at[present]]
        last_at = carried.last_at.copy()
        rows = np.flatnonzero(more)
        last_at[rows] = groups.times[joined[at[rows]] - 1]
        return Open(
            carried.keys, carried.numbers, carried.opened, carried.counts + more, last_at, carried.last
        )

    def _rows_of_last(self, joined: Ints) -> Ints:
        """Return the row of this batch that is the last member of each window carried in; -1 where none
        joined.
        """
        groups = self.groups
        at, present = self._group_of_carried()
        rows = np.full(len(self.carried.keys), -1, np.int64)
        grew = np.flatnonzero(present)
        grew = grew[(joined > groups.starts)[at[grew]]]
        rows[grew] = groups.order[joined[at[grew]] - 1]
        return rows

    def _opened_now(self, found: Windows) -> Open:
        groups = self.groups
        opener = groups.order[found.first]
        numbers = np.empty(len(opener), np.int64)
        # numbers ascend in the order in which windows open: timers due at the same moment fire in that order
        numbers[np.argsort(opener)] = self.kernel._next + np.arange(len(opener))
        self.kernel._next += len(opener)
        return Open(
            groups.keys[found.group],
            numbers,
            groups.times[found.first],
            found.end - found.first,
            groups.times[found.end - 1],
            np.full(len(opener), -1, np.int64),
        )

    def _joined_members(self, joined: Ints, found: Windows, numbers: Ints) -> ItemLists:
        """Every context of the batch as a member of its window."""
        groups = self.groups
        at, present = self._group_of_carried()
        carried = np.flatnonzero(present)
        starts, ends = groups.starts[at[carried]], joined[at[carried]]
        firsts, lasts = np.concatenate([starts, found.first]), np.concatenate([ends, found.end])
        owners = np.concatenate([self.carried.numbers[carried], numbers])
        counts = lasts - firsts
        rows = groups.order[ranges(firsts, counts)]
        return ItemLists.of_contexts(
            self.contexts, rows, np.repeat(owners, counts), self.kernel._rules.batch_names
        )

    def _last_closed_on_arrival(self, found: Windows, numbers: Ints) -> int:
        """Return the last window that a context of its key closed by coming when it was due; it and all
        before it fire.
        """
        latest = np.zeros(len(self.groups.keys), np.int64)
        np.maximum.at(latest, found.group, found.first)
        return int(numbers[found.first < latest[found.group]].max(initial=-1))

    # -- what becomes of them --------------------------------------------------------------------------

    def _emit(
        self, windows: Open, seen: npt.NDArray[np.int32], rows: Ints, members: ItemLists, which: Index
    ) -> tuple[ContextBatch, Absorbed | None]:
        if not len(which):
            return self.contexts.take(np.zeros(0, np.int64)), None
        deadlines = windows.opened[which] + self.window
        which = which[np.lexsort((windows.numbers[which], deadlines))]
        closing = windows.take(which)
        out = self._last_members(closing, rows[which])
        closed = CLOSED_AT_END if self.until.ending else CLOSED_BY_TIMER
        moments = closing.opened + self.window
        sees = np.maximum(self.chunk.seen_at(moments), seen[which])
        out = out.placed(moments, sees, np.full(len(out), closed, np.uint8))
        keys = out.column(self.kernel._options.key)
        items = members.lists(closing.numbers, self.chunk.interner)
        variable = BatchVariable(closing.counts, keys, items, closing.opened, closing.last_at, moments)
        out = out.having(dict.fromkeys(self.kernel._rules.batch_names, variable))
        return out, Absorbed(int((closing.counts - 1).sum()), out, closing.numbers, members)

    def _last_members(self, closing: Open, rows: Ints) -> ContextBatch:
        """Return the last member of each window: a context of this batch, or one that was held."""
        now, earlier = np.flatnonzero(rows >= 0), np.flatnonzero(rows < 0)
        parts = [self.contexts.take(rows[now])] if len(now) else []
        held = self.kernel._holding.release(closing.last[earlier], self.chunk)
        if held is not None:
            parts.append(held)
        self.kernel._holding.forget(closing.last[now][closing.last[now] >= 0])
        back = np.empty(len(rows), np.int64)
        back[np.concatenate([now, earlier])] = np.arange(len(rows))
        return ContextBatch.concat(parts).take(back)

    def _drop(self, windows: Open, members: ItemLists, which: Index) -> tuple[Dropped, ...]:
        if not len(which):
            return ()
        dropped = windows.take(which)
        self.kernel._holding.forget(dropped.last[dropped.last >= 0])
        return dropped_held(members.of(dropped.numbers), "batch below min_count")

    def _keep(self, windows: Open, rows: Ints, members: ItemLists, which: Index) -> None:
        kernel = self.kernel
        kept, rows = windows.take(which), rows[which]
        changed = np.flatnonzero(rows >= 0)
        old = kept.last[changed]
        kernel._holding.forget(old[old >= 0])
        last = kept.last.copy()
        last[changed] = kernel._holding.put(self.contexts.take(rows[changed]))
        kept = replace(kept, last=last)
        kernel._windows.put(kept, members.of(kept.numbers))
