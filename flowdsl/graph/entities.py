"""Index of entity versions by id, as of a given event."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flowdsl.graph.past import Copying, Past, Pasts, lacks_room, room
from flowdsl.values.interner import Codes
from flowdsl.values.json_types import Mask
from flowdsl.values.orders import sort_stably
from flowdsl.values.state_fields import VERSIONS, ArrayField, DictField, FlagField, OptionalField, WholeField
from flowdsl.values.state_objects import StateObject, StateReader, keeps

NONE, AMBIGUOUS = -1, -2
# ids renumbered at once: they fit the processor's cache
_RENUMBERED: Final = 1 << 16
Numbers = npt.NDArray[np.int32]


class EntityIndex(StateObject):
    """Current version of each id, with the changes of the current chunk.

    The state before the chunk is one array. Only ids that the chunk changes are searched among its changes,
    which are sorted by (id, position), with one binary search.
    """

    saved = keeps(_current=VERSIONS, _touched=OptionalField(ArrayField(np.bool_)))

    def __init__(self, current: Numbers | None = None, *, track: bool = False) -> None:
        self._array: Numbers | Past = np.full(1, NONE, np.int32) if current is None else current
        # a shared array is copied before it is changed
        self._owned = current is None
        self._pasts = Pasts()
        # for how many ids there was to be room, and the larger array in the making
        self._asked = 0
        self._growing: Copying | None = None
        # the array with other numbers of versions in the making
        self._renumbering: Copying | None = None
        self._changed = np.zeros(1, np.bool_)
        self._keys = np.zeros(0, np.int64)
        self._versions = np.zeros(0, np.int32)
        self._touched: Mask | None = np.zeros(1, np.bool_) if track else None

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> EntityIndex:
        source.check(len(fields["_current"]), "empty")
        index = cls(fields["_current"])
        index._owned, index._touched = True, fields["_touched"]
        return index

    @property
    def _current(self) -> Numbers:
        array = self._array
        return array.read() if isinstance(array, Past) else array

    def to_fields(self) -> dict[str, Any]:
        self.settle()
        return super().to_fields()

    def settle(self) -> None:
        """Copy the array if it is shared; any thread may do this."""
        if isinstance(self._array, Past):
            self._array.settle()

    @property
    def shared(self) -> bool:
        """True if a fork reads the array of this one."""
        return bool(self._pasts.pending)

    def held_codes(self) -> Iterator[Any]:
        # live ids are known from the versions; these are the deleted ones
        if self._touched is not None:
            yield np.flatnonzero(self._touched)

    def fork(self) -> EntityIndex:
        """Return a copy-on-write fork."""
        forked = EntityIndex()
        forked._array = self._pasts.make(self._current) if self._owned else self._array
        forked._owned = False
        forked._touched = None if self._touched is None else self._touched.copy()
        return forked

    def put(self, ids: Codes, positions: Numbers, versions: Numbers) -> None:
        """Set the changes of a chunk, in order: from each position on, the id has this version (`NONE`: no
        entity)
        """
        # positions ascend
        ordered, order = sort_stably(ids.astype(np.int64))
        self._keys, self._versions = ordered << 32 | positions[order], versions[order]
        size = int(ids.max()) + 1
        if size > len(self._changed):
            self._changed = np.zeros(max(size, 2 * len(self._changed)), np.bool_)
        self._changed[ids] = True

    def set_base(self, ids: Codes, versions: Numbers) -> None:
        """Set versions as of before the chunk."""
        if not len(ids):
            return
        self._grow(int(ids.max()) + 1)
        self._write(ids, versions)

    @property
    def changing(self) -> bool:
        """True if the current chunk changes anything."""
        return len(self._keys) > 0

    def where_untouched(self, ids: Codes) -> Mask:
        """Mark the ids that no earlier chunk has changed."""
        assert self._touched is not None
        touched: Mask = _gather(self._touched, ids, fill=False)
        return ~touched

    def reserve(self, size: int) -> None:
        """Make room for codes below `size`, so that `find` need not check for unknown ones."""
        self._asked = max(self._asked, size)
        if size > len(self._current):
            self._grow(size)

    def find(self, ids: Codes, seen: Numbers) -> Numbers:
        """Return the version of each id after the event `seen` of the chunk; `NONE` or `AMBIGUOUS` are
        possible.
        """
        found: Numbers = self._current.take(ids)
        if len(self._keys):
            rows = np.flatnonzero(_gather(self._changed, ids, fill=False))
            if len(rows):
                wanted = ids[rows].astype(np.int64) << 32 | (seen[rows].astype(np.int64) + 1)
                at = np.searchsorted(self._keys, wanted, side="left") - 1
                hit = (at >= 0) & (self._keys[at] >> 32 == ids[rows])
                found[rows[hit]] = self._versions[at[hit]]
        return found

    def commit(self) -> None:
        """Apply the chunk's last changes to the base state."""
        if len(self._keys):
            ids = (self._keys >> 32).astype(np.int32)
            last = np.concatenate([ids[1:] != ids[:-1], [True]])
            self._grow(int(ids[-1]) + 1)
            self._write(ids[last], self._versions[last])
            self._changed[ids] = False
            if self._touched is not None:
                if int(ids[-1]) >= len(self._touched):
                    self._touched = np.concatenate([self._touched, np.zeros(int(ids[-1]) + 1, np.bool_)])
                self._touched[ids] = True
            self._keys, self._versions = self._keys[:0], self._versions[:0]
        self._grow_some()

    def live(self) -> Numbers:
        """Return the current versions; negative numbers are included."""
        return self._current

    def renumber_some(self, mapping: Numbers) -> bool:
        """Look up the new numbers of some ids' versions; return True once all are known, and `renumber` has
        little left to do.
        """
        if self._growing is not None:
            self._grow_some()
            return False
        current = self._current
        if self._renumbering is None:
            size = room(len(current) + 1, len(current)) if lacks_room(self._asked, current) else len(current)
            self._renumbering = Copying(size, current, NONE)
        return self._renumbering.step(current, convert=partial(_renumber, mapping))

    def renumber(self, mapping: Numbers) -> None:
        """Apply new numbers of versions; negative ones stay."""
        if self._renumbering is not None:
            convert = partial(_renumber, mapping)
            self._replace(self._renumbering.finish(self._current, convert))
            return
        self._growing = None
        self._own(anew=self.shared)
        current = self._current
        # few of many ids may be live; write in place, to avoid new memory pages
        for start in range(0, len(current), _RENUMBERED):
            some = current[start : start + _RENUMBERED]
            rows = np.flatnonzero(some >= 0)
            some[rows] = mapping.take(some[rows])

    def currents(self, ids: Codes) -> Numbers:
        """Return the version of each id as of before the chunk."""
        versions: Numbers = _gather(self._current, ids, fill=NONE)
        return versions

    def current(self, code: int) -> int:
        """Return the version of one id between two chunks."""
        return int(self._current[code]) if code < len(self._current) else NONE

    def _write(self, ids: Codes, versions: Numbers) -> None:
        current = self._current
        self._pasts.note(current, ids)
        current[ids] = versions
        for copying in (self._growing, self._renumbering):
            if copying is not None:
                copying.note(ids)

    def _own(self, *, anew: bool = False) -> None:
        if not self._owned or anew:
            self._array, self._owned = self._current.copy(), True
            self._pasts.leave()

    def _grow(self, size: int) -> None:
        self._own()
        self._asked = max(self._asked, size)
        current, growing = self._current, self._growing
        if size > len(current):
            if growing is None or len(growing) < size:
                growing = Copying(room(size, len(current)), current, NONE)
            self._replace(growing.finish(current))

    def _grow_some(self) -> None:
        """Copy some more into the larger array that will be needed soon."""
        if not self._owned:
            return
        current = self._current
        if self._growing is None and self._renumbering is None and lacks_room(self._asked, current):
            self._growing = Copying(room(len(current) + 1, len(current)), current, NONE)
        if self._growing is not None and self._growing.step(current):
            self._replace(self._growing.finish(current))

    def _replace(self, array: Numbers) -> None:
        self._array, self._owned = array, True
        self._growing = self._renumbering = None
        self._pasts.leave()


def _renumber(mapping: Numbers, versions: Numbers) -> Numbers:
    """Return new numbers of versions; negative ones stay."""
    renumbered = versions.copy()
    rows = np.flatnonzero(versions >= 0)
    renumbered[rows] = mapping.take(versions[rows])
    return renumbered


class TypedVersions(StateObject):
    """Versions by type of the few ids that exist, or existed, in more than one entity type.

    An id that lives in several means the `first` of them, or else it is ambiguous.
    """

    saved = keeps(
        of=DictField(
            DictField(WholeField(AMBIGUOUS, lambda source: source.given["versions"] - 1), WholeField(-1)),
            WholeField(0),
        ),
        first=FlagField(),
    )

    def __init__(self, *, first: bool = False) -> None:
        self.of: dict[int, dict[int, int]] = {}
        self.first = first

    def held_codes(self) -> Iterator[Any]:
        yield np.fromiter(self.of, np.int64, len(self.of))

    def forget_dead(self) -> None:
        """Forget ids without a live version; their past does not affect later lookups."""
        for code in [code for code in self.of if self.meaning(code) == NONE]:
            del self.of[code]

    def fork(self, *, first: bool | None = None) -> TypedVersions:
        """Return a copy."""
        forked = TypedVersions(first=self.first if first is None else first)
        forked.of = {code: dict(held) for code, held in self.of.items()}
        return forked

    def apply(self, code: int, kind: int, version: int) -> int:
        """Apply one change, and return the version that the id has after it."""
        self.of[code][kind] = version
        return self.meaning(code)

    def meaning(self, code: int) -> int:
        """Return the version of an id, `NONE` or `AMBIGUOUS`"""
        alive = [version for _, version in sorted(self.of[code].items()) if version != NONE]
        return NONE if not alive else alive[0] if len(alive) == 1 or self.first else AMBIGUOUS

    def live(self) -> Numbers:
        """Return the versions held."""
        return np.array([v for held in self.of.values() for v in held.values() if v >= 0], np.int32)

    def renumber(self, mapping: Numbers) -> None:
        """Apply new numbers of versions."""
        for held in self.of.values():
            for kind, version in held.items():
                if version >= 0:
                    held[kind] = int(mapping[version])


def _gather(array: Any, ids: Codes, fill: object) -> Any:
    """Return `array[ids]`, with `fill` for code 0 and for codes beyond the array."""
    inside = (ids > 0) & (ids < len(array))
    if inside.all():
        return array.take(ids)
    found = array.take(np.where(inside, ids, 0))
    found[~inside] = fill
    return found
