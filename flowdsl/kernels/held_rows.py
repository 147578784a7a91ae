"""Contexts that a step holds, as rows: one for each context in its windows or its queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flowdsl.batches.buffer import branch_texts
from flowdsl.pluralize import count_text
from flowdsl.values.interner import Interner
from flowdsl.values.json_types import Ints

if TYPE_CHECKING:
    from flowdsl.kernels.batch_members import ItemLists
    from flowdsl.kernels.keys import KeySpace


@dataclass(frozen=True)
class HeldRows:
    """Contexts that are held: their events, branches, since when (µs), and the text of their keys where it is
    known.
    """

    seq: Ints
    branches: list[str | None]
    since: Ints
    keys: list[str | None] | None

    @classmethod
    def none(cls) -> HeldRows:
        """No contexts."""
        return cls(np.zeros(0, np.int64), [], np.zeros(0, np.int64), None)

    @classmethod
    def of_windows(cls, windows: Any, members: ItemLists, space: KeySpace, interner: Interner) -> HeldRows:
        """Return the members of windows, in the order of their events; a window has `numbers`, `keys` and
        `opened`.
        """
        order = np.argsort(windows.numbers)
        of = order[np.searchsorted(windows.numbers[order], members.windows)]
        keys = space.texts(windows.keys, interner)
        branches = branch_texts(members.branches, len(members))
        listed = np.lexsort((np.arange(len(members)), members.seq))
        return cls(
            members.seq[listed],
            [branches[row] for row in listed.tolist()],
            windows.opened[of][listed],
            [keys[window] for window in of[listed].tolist()],
        )


def windows_text(windows: int, members: int) -> str:
    """Return how many windows are open, and with how many contexts, in words."""
    if not windows:
        return ""
    return f"{count_text(windows, 'open window')} with {count_text(members, 'context')}"
