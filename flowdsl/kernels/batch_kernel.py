"""Runs a batch step: windows by key, closed by timers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flowdsl.batches.buffer import ContextBuffer
from flowdsl.batches.context_batch import ContextBatch
from flowdsl.kernels.batch_run import BatchOptions, BatchRun, incoming
from flowdsl.kernels.held_rows import HeldRows, windows_text
from flowdsl.kernels.kernel import Kernel
from flowdsl.kernels.keys import KeySpace
from flowdsl.kernels.open_windows import OpenWindows
from flowdsl.kernels.outcome import StepOutcome, Until, failed_where
from flowdsl.kernels.timers import LAST_MOMENT
from flowdsl.rules import Rules
from flowdsl.values.interner import Interner
from flowdsl.values.json_types import Ints
from flowdsl.values.state_fields import MOST, ObjectField, WholeField
from flowdsl.values.state_objects import StateReader, keeps


class BatchKernel(Kernel):
    """Holds the last member of each open window whole, and of the others what `batch` says of them."""

    saved = keeps(
        _space=ObjectField(KeySpace),
        windows=ObjectField(OpenWindows),
        _holding=ObjectField(ContextBuffer),
        next_number=WholeField(0, MOST),
    )

    def __init__(self, options: BatchOptions, rules: Rules) -> None:
        self.options, self.rules = options, rules
        self._space = KeySpace(options.key, rules)
        self.windows = OpenWindows()
        self._holding = ContextBuffer()
        # of the next window that opens
        self.next_number = 0

    @property
    def held(self) -> int:
        return self.windows.held

    def keys_held(self) -> list[Ints]:
        return self.windows.keys_held()

    def remembers(self, clock: int) -> str:
        return windows_text(len(self.windows.all()), self.held)

    def members(self, interner: Interner) -> HeldRows:
        windows, members = self.windows.everything()
        return HeldRows.of_windows(windows, members, self._space, interner)

    def check(self, source: StateReader) -> None:
        windows, members = self.windows.everything()
        source.check(self._holding.has(windows.last), "windows of contexts that are not held")
        source.check((windows.due <= LAST_MOMENT).all(), "windows that are never due")
        values = {len(members.collected)} if len(members) else {len(self.options.collect)}
        source.check(values == {len(self.options.collect)}, "without what is collected")

    @property
    def holding(self) -> ContextBuffer:
        return self._holding

    def run(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        came, failures = incoming(self.options, self._space, contexts)
        return BatchRun(self, came, until, failed_where(contexts, failures)).run()

    def next_deadline(self) -> int | None:
        return self.windows.earliest

    def deadlines(self) -> Ints:
        return self.windows.all().due

    def open(self) -> list[dict[str, Any]]:
        windows = self.windows.all()
        columns = (windows.counts, self._holding.seqs(windows.last), windows.opened, windows.due)
        return [
            {"held": held, "last_seq_no": seq_no, "opened_at": opened, "due_at": due}
            for held, seq_no, opened, due in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def opened_by(self) -> list[tuple[int, ...]]:
        _, members = self.windows.everything()
        # windows are numbered in the order of opening
        _, first = np.unique(members.windows, return_index=True)
        columns: list[npt.NDArray[Any]] = [members.seq, *members.branches]
        return list(zip(*(column[first].tolist() for column in columns), strict=True))
