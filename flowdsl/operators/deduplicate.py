"""deduplicate: of the contexts with the same key, only the first in a window goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.expressions.durations import Duration, DurationLike
from flowdsl.expressions.var import Var
from flowdsl.kernels.kernel import Kernel, split_keyed
from flowdsl.kernels.key_memory import merge_keys
from flowdsl.kernels.keys import Keys, KeySpace
from flowdsl.kernels.outcome import StepOutcome, Until, keep_where
from flowdsl.kernels.window_blocks import KeyTable, block_edges
from flowdsl.kernels.windows import FixedReach, Groups, Windows
from flowdsl.operators.base import Kind, Operator
from flowdsl.operators.options import DURATION, PATHS, option
from flowdsl.pluralize import count_text
from flowdsl.rules import Rules
from flowdsl.values.json_types import Mask
from flowdsl.values.orders import find_places
from flowdsl.values.paths import Path, path_text
from flowdsl.values.state_fields import INTS, ArrayField, ListField, ObjectField
from flowdsl.values.state_objects import StateObject, StateReader, keeps


@dataclass(frozen=True)
class Deduplicate(Operator):
    """Let the first context of each key go on, and no other within a window from it."""

    name: ClassVar[str] = "deduplicate"
    method: ClassVar[str] = "deduplicate"
    summary: ClassVar[str] = "of contexts with the same key let only the first in each window go on"
    example: ClassVar[str] = 'deduplicate("source_id", window="1h")'
    synonyms: ClassVar[tuple[str, ...]] = ("dedupe", "dedup", "distinct", "unique", "drop_duplicates")
    portable: ClassVar[bool] = True

    key: tuple[Path, ...] = option(
        PATHS, "the path, or list of paths, that says what is the same", key=True, synonyms=("by", "keys")
    )
    window: Duration = option(
        DURATION,
        "how long after the first sighting others are dropped",
        synonyms=("per", "within", "ttl", "interval"),
    )

    @classmethod
    def build(cls, key: str | Var | Sequence[str | Var], *, window: DurationLike) -> Deduplicate:
        """Let the first context of each key pass, and drop those less than `window` after it as `duplicate`.

        The window starts with the first context and is not extended; at exactly `window` the next one passes.
        A context whose key is missing or null fails.

        Parameters
        ----------
        key
            A path, or several.
        window
            The duration, such as `"1h"`.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        BuildError
            If a path cannot exist at this step, or the duration is not valid.

        Examples
        --------
        >>> from flowdsl import on
        >>> on("link.created").deduplicate("source_id", window="1h").steps[0].text
        "deduplicate('source_id', window='1h')"
        """
        return cls.read(key=key, window=window)

    @property
    def kind(self) -> Kind:
        return Kind.PER_KEY

    @property
    def caption(self) -> str:
        return f"same {', '.join(map(path_text, self.key))} within {self.window.text}"

    def kernel(self, rules: Rules) -> DeduplicateKernel:
        return DeduplicateKernel(self, rules)


# least number of keys that are moved to the large table together
TOGETHER = 1 << 12
# most keys of a large table
LARGEST = 1 << 18


@dataclass(frozen=True)
class _Sightings(StateObject):
    """Times (µs) at which the windows of keys opened; sorted by key."""

    saved = keeps(keys=ArrayField(np.int64, ascending=True), opened=INTS)

    keys: Keys
    opened: Keys

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> _Sightings:
        source.agree(keys=len(fields["keys"]), opened=len(fields["opened"]))
        return cls(**fields)

    @classmethod
    def none(cls) -> _Sightings:
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, keys: Keys) -> tuple[Keys, Keys]:
        """Return the rows of the keys that are present, and when their windows opened."""
        if not len(self):
            return np.zeros(0, np.int64), self.opened
        at = find_places(self.keys, keys)
        known = np.flatnonzero(at >= 0)
        return known, self.opened[at[known]]

    def between(self, low: int, high: int) -> _Sightings:
        """Return the sightings of a range of keys."""
        mine = slice(*np.searchsorted(self.keys, (low, high + 1)).tolist())
        return _Sightings(self.keys[mine], self.opened[mine])

    def since(self, expired: int) -> list[int]:
        """Return the keys whose windows are open."""
        return self.keys[self.opened > expired].tolist()  # type: ignore[no-any-return]

    def updated(self, newer: _Sightings, expired: int) -> _Sightings:
        """With newer sightings, and without those that no event can fall to any more."""
        keys, where = merge_keys(newer.keys, self.keys)
        opened = np.concatenate([newer.opened, self.opened])[where]
        alive = opened > expired
        return _Sightings(keys[alive], opened[alive])


class DeduplicateKernel(Kernel):
    """Remembers for each key when its window opened, while that matters.

    What is new is in a small table behind the large ones, so that a batch of one event costs no more where
    there are a million keys; and the large ones, oldest first, are no larger than what takes no time to go
    through.
    """

    saved = keeps(
        _space=ObjectField(KeySpace),
        _older=ListField(ObjectField(_Sightings), tuple),
        _recent=ObjectField(_Sightings),
    )

    def __init__(self, options: Deduplicate, rules: Rules) -> None:
        self._window = options.window
        self._space = KeySpace(options.key, rules)
        self._older: tuple[_Sightings, ...] = ()
        self._recent = _Sightings.none()

    @property
    def _tables(self) -> tuple[_Sightings, ...]:
        return (*self._older, self._recent)

    def keys_held(self) -> list[Keys]:
        return [sightings.keys for sightings in self._tables]

    def remembers(self, clock: int) -> str:
        expired = clock - self._window.microseconds
        alive = {key for sightings in self._tables for key in sightings.since(expired)}
        return f"{count_text(len(alive), 'key')} seen within {self._window.text}" if alive else ""

    def run(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        contexts, keys, failed = split_keyed(self._space, contexts)
        window = self._window.microseconds
        if window == 0 or not len(contexts):
            return StepOutcome(contexts, failed)
        moments = contexts.moment
        passing, fresh = self._passing(keys, moments, window)
        self._remember(fresh, int(moments[-1]) - window)
        return keep_where(contexts, passing, "duplicate", failed=failed)

    def _passing(self, keys: Keys, moments: Keys, window: int) -> tuple[Mask, _Sightings]:
        """Return a mask of the contexts that open a window, and when the last window of each key opened."""
        limits = moments + window
        edges = block_edges(keys, moments, limits)
        if edges is not None:
            table = KeyTable(keys)
            # of a key that is in several the newest sighting counts
            for sightings in self._tables:
                mine = sightings.between(table.low, table.high)
                table.hold(mine.keys, mine.opened + window)
            windows = table.windows(moments, limits, edges)
            opened, rows = table.last_opened()
            return windows == np.arange(table.held, table.held + len(keys)), _Sightings(opened, moments[rows])
        groups = Groups.of(keys, moments)
        found = Windows.find(groups, self._first_outside(groups, window), FixedReach(groups, window))
        passing = np.zeros(len(keys), np.bool_)
        passing[groups.order[found.first]] = True
        opened = groups.row_keys[found.first]
        # the windows of a key are found in their order
        last = found.first[np.append(opened[1:] != opened[:-1], True)[: len(opened)]]
        return passing, _Sightings(groups.row_keys[last], groups.times[last])

    def _first_outside(self, groups: Groups, window: int) -> Keys:
        """Return where in each group the window that is open from earlier ends."""
        start = groups.starts.copy()
        # of a key that is in several the newest sighting counts
        for sightings in self._tables:
            known, opened = sightings.find(groups.keys)
            start[known] = groups.first_at_or_after(groups.ends[known], opened + window)
        return start

    def _remember(self, fresh: _Sightings, expired: int) -> None:
        self._recent = self._recent.updated(fresh, expired)
        large = self._older[-1] if self._older else _Sightings.none()
        if len(self._recent) > max(TOGETHER, len(large) >> 3):
            older = [table for table in self._older[:-1] if int(table.opened.max(initial=expired)) > expired]
            if len(large) + len(self._recent) > LARGEST:
                older.append(large)
                large = _Sightings.none()
            self._older = (*older, large.updated(self._recent, expired))
            self._recent = _Sightings.none()
