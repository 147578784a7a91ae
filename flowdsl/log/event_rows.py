"""Rows of the event table, with each column read once, when it is first used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.events import EVENT_COLUMNS, KINDS, TEXT_COLUMNS
from flowdsl.log.columns import KIND, TIME
from flowdsl.text import short_repr
from flowdsl.values.columns import Column
from flowdsl.values.interner import Codes, Interner
from flowdsl.values.json_extraction import Documents
from flowdsl.values.json_texts import joined_json, only
from flowdsl.values.json_types import Index, Mask, Tag
from flowdsl.values.masks import where_equal, where_present
from flowdsl.values.paths import Path
from flowdsl.values.state_fields import INTERNER, CellsField, DictField, SharedField
from flowdsl.values.state_objects import StateObject, StateReader, keeps

_TEXT_TYPES = (pl.String, pl.Categorical, pl.Enum, pl.Null)
_TYPES: dict[str, tuple[Any, ...]] = {
    "seq_no": (pl.Int64,),
    "timestamp": (TIME,),
    **dict.fromkeys(("kind", *TEXT_COLUMNS), _TEXT_TYPES),
}
DOCUMENT_COLUMNS = {"data": Tag.NULL, "metadata": Tag.MISSING}
# expensive to compute: objects, and the time as text
_EXPENSIVE = {("event",), ("event", "timestamp"), *((name,) for name in DOCUMENT_COLUMNS)}


class EventRows(StateObject):
    """Rows of the event table; each column is read once, when it is first used."""

    saved = keeps(columns=DictField(CellsField()), _interner=INTERNER, _hints=SharedField("event_paths"))

    def __init__(self, frame: pl.DataFrame, interner: Interner, hints: Iterable[Path] = ()) -> None:
        self.frame = frame
        self._interner = interner
        self._hints = tuple(hints)
        self._codes: dict[str, Codes] = {}
        # by column, the number of rows whose codes were requested
        self._asked: Counter[str] = Counter()
        self._of_types: dict[tuple[str, str], Mask] = {}
        self._kinds: npt.NDArray[np.uint8] | None = None
        self._columns: dict[Path, Column] = {}
        self._documents: dict[str, Documents] = {}
        # mask of the events whose documents are read; None for all
        self._read_of: Mask | None = None

    def __len__(self) -> int:
        return self.frame.height

    def fork(self) -> EventRows:
        """Return the same rows, with what was read of them; what the fork reads is its own."""
        forked = copy(self)
        for name in ("_codes", "_of_types", "_columns"):
            setattr(forked, name, dict(getattr(self, name)))
        forked._asked = Counter()
        forked._documents = {name: documents.fork() for name, documents in self._documents.items()}
        return forked

    def held_codes(self) -> Iterator[Codes]:
        return iter(self._codes.values())

    def to_fields(self) -> dict[str, Any]:
        columns = {series.name: series for series in self.frame.get_columns()}
        return {"columns": columns, "_interner": None, "_hints": None}

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> EventRows:
        columns = fields["columns"]
        source.agree(**{name: len(series) for name, series in columns.items()})
        for name, series in columns.items():
            source.check(name in EVENT_COLUMNS, f"with a column {short_repr(name)}, which events have not")
            wanted = _TYPES.get(name)
            source.check(wanted is None or series.dtype in wanted, f"with {name} as {series.dtype}")
        source.check({"seq_no", "timestamp", "kind"} <= columns.keys(), "without the columns of every event")
        for name in ("seq_no", "timestamp", "kind"):
            source.check(not columns[name].null_count(), f"with an event without {name}")
        kinds = columns["kind"].unique().cast(pl.String).is_in(list(KINDS))
        source.check(kinds.all(), "with an unknown kind of event")
        frame = pl.DataFrame([series.alias(name) for name, series in columns.items()])
        return cls(frame, fields["_interner"], fields["_hints"])

    def codes(self, name: str) -> Codes:
        """Return a text column as codes of the interner; 0 where it is null or absent."""
        if name not in self._codes:
            self._codes[name] = (
                self._interner.intern(self.frame[name])
                if name in self.frame.columns
                else np.zeros(len(self), np.int32)
            )
        return self._codes[name]

    def codes_at(self, name: str, rows: Index) -> Codes:
        """Return the codes of a text column at some rows; if they are few the others are not interned."""
        self._asked[name] += len(rows)
        if name in self._codes or name not in self.frame.columns or self.is_most(len(rows)):
            return self.codes(name).take(rows)
        return self._interner.intern(self.frame[name][rows])

    def is_most(self, count: int) -> bool:
        """Return True for more than half of the events: then reading a whole column costs no more."""
        return 2 * count > len(self)

    @property
    def mostly_coded(self) -> Iterator[str]:
        """Text columns of which most rows were requested as codes."""
        return (name for name, rows in self._asked.items() if self.is_most(rows))

    def of_type(self, column: str, name: str) -> Mask:
        """Return a mask of the events with this entity or link type; `column` says which of the two."""
        key = column, name
        if key not in self._of_types:
            self._of_types[key] = where_equal(self.frame[column], name)
        return self._of_types[key]

    def of_kinds(self, *kinds: str) -> Mask:
        """Return a mask of the events of these kinds."""
        if self._kinds is None:
            # the five kinds as small integers: comparing texts takes ten times as long
            column = self.frame["kind"]
            column = column if column.dtype == KIND else column.cast(KIND)
            self._kinds = column.to_physical().to_numpy()
        mask: Mask = self._kinds == KINDS.index(kinds[0])
        for kind in kinds[1:]:
            mask = mask | (self._kinds == KINDS.index(kind))
        return mask

    def prepare(self, names: Collection[str]) -> None:
        """Intern these text columns together, which costs less than one after the other."""
        wanted = [name for name in self.frame.columns if name in names and name not in self._codes]
        if wanted:
            codes = self._interner.intern_all([self.frame[name] for name in wanted])
            self._codes.update(zip(wanted, codes, strict=True))

    def narrow(self, mask: Mask) -> None:
        """Mark the events whose documents the flows may read: those of the others are not parsed."""
        if not mask.all():
            self._read_of = mask

    def column(self, path: Path) -> Column:
        """Return the values at a path of the variables that every context starts with; undefined in
        the documents of events that `narrow` left out.
        """
        if path not in self._columns:
            self._columns[path] = self._read(path)
        return self._columns[path]

    def column_at(self, path: Path, rows: Index) -> Column:
        """Return the values at some rows; expensive columns are computed for these rows only."""
        if path in _EXPENSIVE and path not in self._columns and not self.is_most(len(rows)):
            return self.gather(rows).column(path)
        if path[0] in DOCUMENT_COLUMNS and not self._are_read(rows):
            return self.gather(rows).column(path)
        return self.column(path).take(rows)

    def documents_at(self, name: str, rows: Index) -> Documents:
        """Return the JSON objects of some events, including those that `narrow` left out."""
        return (
            self.documents(name).gather(rows) if self._are_read(rows) else self.gather(rows).documents(name)
        )

    def _are_read(self, rows: Index) -> bool:
        return self._read_of is None or bool(self._read_of.take(rows).all())

    def replace(self, frame: pl.DataFrame) -> EventRows:
        """Return the same events with other columns."""
        return EventRows(frame, self._interner, self._hints)

    def gather(self, rows: Index) -> EventRows:
        """Copy some rows, to be kept beyond the chunk."""
        kept = EventRows(self.frame[rows], self._interner, self._hints)
        kept._codes = {name: codes.take(rows) for name, codes in self._codes.items()}
        return kept

    @classmethod
    def concat(cls, parts: Sequence[EventRows]) -> EventRows:
        """Concatenate rows, keeping the codes that all have."""
        first, frames = parts[0], [part.frame for part in parts]
        same = all(frame.columns == frames[0].columns for frame in frames)
        whole = cls(
            pl.concat(frames, how="vertical" if same else "diagonal", rechunk=True),
            first._interner,
            first._hints,
        )
        for name in first._codes:
            if all(name in part._codes for part in parts):
                whole._codes[name] = np.concatenate([part._codes[name] for part in parts])
        return whole

    def _read(self, path: Path) -> Column:
        root = path[0]
        if root == "event":
            return self._read_envelope(path[1:])
        if root in DOCUMENT_COLUMNS and root in self.frame.columns:
            return self.documents(root).column(path[1:])
        if len(path) > 1 or root not in self.frame.columns:
            return Column(len(self), Tag.MISSING)
        if root in self._codes:
            texts = self.frame[root]
            read = texts if texts.dtype == pl.String else None
            return Column.from_codes(self._codes[root], self._interner, read=read)
        return _absent_is_missing(self.frame[root])

    def _read_envelope(self, below: Path) -> Column:
        names = {"id": "event_id", "kind": "kind", "timestamp": "timestamp", "seq_no": "seq_no"}
        if not below:
            parts = {key: self._read_envelope((key,)) for key, name in names.items() if name in self.frame}
            texts = {key: part.to_json() for key, part in parts.items()}
            return Column(len(self), Tag.OBJECT, nested=joined_json(len(self), texts))
        if below == ("timestamp_us",):
            return Column(len(self), Tag.INT, ints=self.frame["timestamp"].cast(pl.Int64).to_numpy())
        name = names.get(below[0])
        if len(below) > 1 or name is None or name not in self.frame.columns:
            return Column(len(self), Tag.MISSING)
        return Column.from_series(self.frame[name])

    def documents(self, name: str) -> Documents:
        """Return the JSON objects of `data` or `metadata`."""
        if name not in self._documents:
            hints = [h[1:] for h in self._hints if h[0] == name]
            none = pl.Series([None]).new_from_index(0, len(self))
            held = self.frame[name] if name in self.frame.columns else none
            if self._read_of is not None and held.dtype == pl.String:
                held = only(held, self._read_of)
            self._documents[name] = Documents(held, none=DOCUMENT_COLUMNS[name], hints=hints)
        return self._documents[name]


def _absent_is_missing(series: pl.Series) -> Column:
    absent = series.null_count()
    if absent == len(series):
        return Column(len(series), Tag.MISSING)
    column = Column.from_series(series)
    if absent:
        column.tags = np.where(where_present(series), column.tag_array(), np.uint8(Tag.MISSING))
    return column
