"""Choice of payload samples: the first and last, the shortest and longest, and those of rare shapes.

A shape is the set of fields that are null. Rows are chosen by number; only chosen ones are built as payloads.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl

from flowdsl.results.store import FIELD, StoredPart, TablePart
from flowdsl.results.tables import payload_json
from flowdsl.values.json_types import Ints
from flowdsl.values.masks import where_present

# most shapes that are counted, and most rare ones among the samples
_SHAPES: Final = 64
_RARE: Final = 2
# fields checked for nulls
_FIELDS: Final = 60


@dataclass(frozen=True)
class PayloadSample:
    """One delivery of a step, and why it was chosen: its place in the log, its recipient, its payload (any
    JSON value).
    """

    why: str
    seq_no: int
    delivered_at: dt.datetime
    recipient: str | None
    payload: Any


@dataclass
class Candidates:
    """The sample candidates of a table: rows as (number of the part, row)."""

    rows: int = 0
    first: tuple[int, int] | None = None
    last: tuple[int, int] | None = None
    shortest: tuple[int, tuple[int, int]] | None = None
    longest: tuple[int, tuple[int, int]] | None = None
    # null fields: their count, and the first such row
    shapes: dict[tuple[str, ...], tuple[int, tuple[int, int]]] = field(default_factory=dict)

    @classmethod
    def of(cls, frame: pl.DataFrame, place: Callable[[int], tuple[int, int]]) -> Candidates:
        """Find the candidates among rows; `place` returns the position of each."""
        if not frame.height:
            return cls()
        payload = [frame[name] for name in frame.columns if is_payload(name)]
        lengths = text_lengths(payload, frame.height)
        short, long = int(lengths.argmin()), int(lengths.argmax())
        return cls(
            frame.height,
            place(0),
            place(frame.height - 1),
            (int(lengths[short]), place(short)),
            (int(lengths[long]), place(long)),
            {names: (count, place(row)) for names, count, row in _shapes(payload, frame.height)},
        )

    def add(self, later: Candidates) -> None:
        """Add the candidates of a later part."""
        self.rows += later.rows
        self.first, self.last = self.first or later.first, later.last or self.last
        # the earlier one of two that are equally long
        self.shortest = min(filter(None, (self.shortest, later.shortest)), key=_length, default=None)
        self.longest = max(filter(None, (self.longest, later.longest)), key=_length, default=None)
        for names, (count, row) in later.shapes.items():
            if names in self.shapes:
                known, first = self.shapes[names]
                self.shapes[names] = known + count, first
            elif len(self.shapes) < _SHAPES:
                self.shapes[names] = count, row

    def choose(self) -> list[tuple[str, tuple[int, int]]]:
        """Return the chosen rows, each once, with the reason."""
        found: list[tuple[str, tuple[int, int] | None]] = [("first", self.first)]
        if self.longest and self.shortest and self.longest[0] > self.shortest[0]:
            found += [("longest", self.longest[1]), ("shortest", self.shortest[1])]
        rare = sorted(self.shapes.items(), key=lambda item: (item[1][0], item[0]))[:-1]
        for names, (count, row) in rare[:_RARE]:
            without = f"without {', '.join(names)}" if names else "with every field"
            found.append((f"{without}: {count:,} of {self.rows:,}", row))
        found.append(("last", self.last))
        reasons: dict[tuple[int, int], list[str]] = {}
        for why, place in found:
            if place is not None:
                reasons.setdefault(place, []).append(why)
        return [(", ".join(why), place) for place, why in reasons.items()]


def _length(known: tuple[int, tuple[int, int]]) -> int:
    return known[0]


def is_payload(column: str) -> bool:
    """Return True if a column of deliveries is a payload field by which samples are chosen.

    The field `recipient_id` is left out: it repeats the column of recipients, and ids are slow to read.
    """
    return column.startswith(FIELD.format("")) and column != FIELD.format("recipient_id")


def text_lengths(payload: Sequence[pl.Series], rows: int) -> Ints:
    """Return the bytes of text in all fields of each payload, those in lists and structs included."""
    total = np.zeros(rows, np.int64)
    for series in payload:
        if series.dtype == pl.String:
            total += series.str.len_bytes().fill_null(0).to_numpy()
        elif isinstance(series.dtype, pl.Struct):
            total += text_lengths(series.struct.unnest().get_columns(), rows)
        elif isinstance(series.dtype, pl.List) and series.dtype.inner == pl.String:
            lengths = series.list.eval(pl.element().str.len_bytes()).list.sum()
            total += lengths.fill_null(0).to_numpy()
    return total


def _shapes(payload: Sequence[pl.Series], rows: int) -> list[tuple[tuple[str, ...], int, int]]:
    """Yield each set of null fields, its count, and its first row."""
    nullable = [series for series in payload[:_FIELDS] if series.null_count()]
    if not nullable:
        return [((), rows, 0)]
    shape = np.zeros(rows, np.int64)
    for bit, series in enumerate(nullable):
        shape |= (~where_present(series)).astype(np.int64) << bit
    found, places, counts = np.unique(shape, return_index=True, return_counts=True)
    names = [series.name.removeprefix(FIELD.format("")) for series in nullable]
    return [
        (tuple(n for bit, n in enumerate(names) if code >> bit & 1), count, row)
        for code, row, count in zip(found.tolist(), places.tolist(), counts.tolist(), strict=True)
    ]


def samples_of(candidates: Candidates, pieces: Sequence[TablePart | StoredPart]) -> tuple[PayloadSample, ...]:
    """Return the chosen deliveries as rendered."""
    found = []
    for why, (piece, row) in candidates.choose():
        part = pieces[piece].row(row)
        seq_no, delivered_at, recipient = part.frame.select("seq_no", "delivered_at", "recipient_id").row(0)
        found.append(PayloadSample(why, seq_no, delivered_at, recipient, json.loads(payload_json(part)[0])))
    return tuple(found)
