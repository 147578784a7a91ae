"""The variable `batch`: what a window of contexts was, once it goes on as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.batches.chunk import Chunk
from flowdsl.batches.context_batch import CLOSED_NAMES, ContextBatch
from flowdsl.batches.later import Later
from flowdsl.batches.payload import Payload
from flowdsl.batches.variables import ValueColumnVariable
from flowdsl.kernels.batch_items import BatchItems, window_of
from flowdsl.kernels.collected import CollectedValues
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Index, Ints, Tag
from flowdsl.values.paths import Path
from flowdsl.values.state_columns import COLUMN
from flowdsl.values.state_fields import INTS, ArrayField, DictField, ObjectField
from flowdsl.values.state_objects import StateReader, keeps

Codes = npt.NDArray[np.uint8]
FIELDS: Final = ("count", "key", "items", "first_at", "last_at", "closed_at", "closed_by")
"""The parts that every batch has."""


@dataclass(frozen=True)
class BatchVariable(ValueColumnVariable):
    """`batch` of each context: the `FIELDS`, and what is collected."""

    saved = keeps(
        counts=INTS,
        keys=COLUMN,
        items=ObjectField(BatchItems),
        first_at=INTS,
        last_at=INTS,
        closed_at=INTS,
        closed_by=ArrayField(np.uint8, min(CLOSED_NAMES), max(CLOSED_NAMES)),
        collected=DictField(ObjectField(CollectedValues)),
    )

    counts: Ints
    keys_later: Later[Column]
    items: BatchItems
    first_at: Ints
    last_at: Ints
    closed_at: Ints
    closed_by: Codes
    collected_later: Mapping[str, Later[CollectedValues]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def keys(self) -> Column:
        return self.keys_later.made()

    @property
    def collected(self) -> dict[str, CollectedValues]:
        return {name: part.made() for name, part in self.collected_later.items()}

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> BatchVariable:
        own = {name: len(part) for name, part in fields.items() if name != "collected"}
        source.agree(**own, **{f"collected {name}": len(part) for name, part in fields["collected"].items()})
        source.check(np.isin(fields["closed_by"], list(CLOSED_NAMES)).all(), "closed by nothing")
        collected = {name: Later.of(part) for name, part in fields.pop("collected").items()}
        return cls(keys_later=Later.of(fields.pop("keys")), collected_later=collected, **fields)

    def column(self, below: Path, chunk: Chunk) -> Column:
        """Return the values of a field; the whole object for the empty path."""
        if not below:
            return self._whole(chunk)
        name, rest = below[0], below[1:]
        if name == "key":
            return Payload(self.keys, len(self.counts)).column(rest)
        if name in self.collected_later:
            return Payload(self.collected_later[name].made().column(), len(self.counts)).column(rest)
        if rest:
            return Column(len(self.counts), Tag.MISSING)
        if name == "count":
            return Column(len(self.counts), Tag.INT, ints=self.counts)
        if name == "items":
            return self.items.column()
        if name in ("first_at", "last_at", "closed_at"):
            return Column.from_series(pl.Series(getattr(self, name)).cast(pl.Datetime("us", "UTC")))
        if name == "closed_by":
            return Column(len(self.counts), Tag.TEXT, texts=closed_texts(self.closed_by))
        return Column(len(self.counts), Tag.MISSING)

    def _whole(self, chunk: Chunk) -> Column:
        parts = {name: self.column((name,), chunk) for name in (*FIELDS, *self.collected_later)}
        return with_present_fields(parts, len(self.counts))

    def settle(self) -> None:
        parts: list[Later[Any]] = [self.items.lists, self.keys_later, *self.collected_later.values()]
        for part in parts:
            part.made()

    def take(self, index: Index) -> BatchVariable:
        return BatchVariable(
            self.counts.take(index),
            self.keys_later.take(index),
            self.items.take(index),
            self.first_at.take(index),
            self.last_at.take(index),
            self.closed_at.take(index),
            self.closed_by.take(index),
            {name: part.take(index) for name, part in self.collected_later.items()},
        )

    def concat(self, parts: Sequence[BatchVariable]) -> BatchVariable:
        return BatchVariable(
            np.concatenate([p.counts for p in parts]),
            Later.of(Column.concat([p.keys for p in parts])),
            BatchItems.concat([p.items for p in parts]),
            np.concatenate([p.first_at for p in parts]),
            np.concatenate([p.last_at for p in parts]),
            np.concatenate([p.closed_at for p in parts]),
            np.concatenate([p.closed_by for p in parts]),
            {
                name: Later.of(CollectedValues.concat([p.collected_later[name].made() for p in parts]))
                for name in self.collected_later
            },
        )


def closed_texts(codes: Codes) -> pl.Series:
    """Return what closed windows, as text."""
    return pl.Series(codes).replace_strict(CLOSED_NAMES, return_dtype=pl.String)


def with_present_fields(parts: Mapping[str, Column], size: int) -> Column:
    """Return objects of these fields, without those that are missing."""
    if not any(part.is_(Tag.MISSING).any() for part in parts.values()):
        return Payload(parts, size).column(())
    pieces = [
        pl.concat_str([pl.lit(f'"{name}":'), part.to_json().alias(name)]).alias(name)
        for name, part in parts.items()
    ]
    inside = pl.concat_str(pieces, separator=",", ignore_nulls=True)
    whole = pl.select(pl.concat_str([pl.lit("{"), inside, pl.lit("}")])).to_series()
    return Column(size, Tag.OBJECT, nested=whole)


@dataclass(frozen=True)
class Opened:
    """Of windows: the event that opened each, its branch, and when that was (µs; 0 without a clock)."""

    seq: Ints
    branches: tuple[npt.NDArray[np.int32], ...]
    moments: Ints


def opening_of(contexts: ContextBatch, names: Sequence[str]) -> Opened | None:
    """Return how the last window was opened that each context came out of; None where they came out of
    none.
    """
    variable = window_of(contexts, names)
    if variable is None:
        return None
    items: BatchItems = variable.items  # type: ignore[attr-defined]
    moments = getattr(variable, "first_at", None)
    return Opened(
        items.opened_by, items.opened_in, np.zeros(len(items), np.int64) if moments is None else moments
    )
