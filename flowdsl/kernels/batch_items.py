"""The lists of ids that windows have of their members: `batch.items`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.later import Later
from flowdsl.batches.variables import Variable
from flowdsl.values.columns import Column
from flowdsl.values.interner import Codes, Interner
from flowdsl.values.json_lists import join_texts
from flowdsl.values.json_texts import quote_texts
from flowdsl.values.json_types import Index, Ints, Tag
from flowdsl.values.orders import ranges
from flowdsl.values.state_fields import CODES, INTERNER, INTS, ArrayField, ListField
from flowdsl.values.state_objects import StateObject, StateReader, keeps


@dataclass(frozen=True)
class CodeLists:
    """Lists of codes side by side: `codes[offsets[i] … offsets[i + 1]-1]`."""

    codes: Codes
    offsets: Ints

    def take(self, index: Index) -> CodeLists:
        """Return the lists at `index`."""
        starts, counts = self.offsets[index], self.offsets[index + 1] - self.offsets[index]
        return CodeLists(self.codes[ranges(starts, counts)], np.concatenate([[0], np.cumsum(counts)]))


@dataclass(frozen=True)
class BatchItems(StateObject):
    """A list of ids for each context.

    `opened_by` is the event that it begins with, of windows of what came out of windows that of the first of
    these; `opened_in` is the branch of it.
    """

    saved = keeps(
        codes=CODES,
        offsets=INTS,
        interner=INTERNER,
        opened_by=INTS,
        opened_in=ListField(ArrayField(np.int32, 0), tuple),
    )

    lists: Later[CodeLists]
    interner: Interner
    opened_by: Ints
    opened_in: tuple[npt.NDArray[np.int32], ...] = ()

    @property
    def codes(self) -> Codes:
        return self.lists.made().codes

    @property
    def offsets(self) -> Ints:
        return self.lists.made().offsets

    def __len__(self) -> int:
        return len(self.opened_by)

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> BatchItems:
        offsets = fields["offsets"]
        source.check_lists(offsets, len(fields["codes"]))
        levels = {f"opened_in {level}": len(numbers) for level, numbers in enumerate(fields["opened_in"])}
        source.agree(lists=len(offsets) - 1, opened_by=len(fields["opened_by"]), **levels)
        return cls(Later.of(CodeLists(fields.pop("codes"), fields.pop("offsets"))), **fields)

    def take(self, index: Index) -> BatchItems:
        """Return the lists at `index`."""
        opened_in = tuple(level[index] for level in self.opened_in)
        return BatchItems(self.lists.take(index), self.interner, self.opened_by[index], opened_in)

    @classmethod
    def concat(cls, parts: Sequence[BatchItems]) -> BatchItems:
        """Return the lists of several parts, one part after the other."""
        made = [p.lists.made() for p in parts]
        shifts = np.cumsum([0, *(int(lists.offsets[-1]) for lists in made[:-1])])
        ends = [lists.offsets[1:] + shift for lists, shift in zip(made, shifts, strict=True)]
        whole = CodeLists(np.concatenate([lists.codes for lists in made]), np.concatenate([[0], *ends]))
        return cls(
            Later.of(whole),
            parts[0].interner,
            np.concatenate([p.opened_by for p in parts]),
            tuple(map(np.concatenate, zip(*(p.opened_in for p in parts), strict=True))),
        )

    def column(self) -> Column:
        """Return the lists as JSON arrays; an event without an id counts as empty text."""
        texts = quote_texts(self.interner.texts(self.codes)).fill_null('""')
        return json_lists(texts, self.offsets)


def json_lists(texts: pl.Series, offsets: Ints) -> Column:
    """Return lists side by side as JSON arrays, from the JSON texts of their items."""
    arrays = "[" + join_texts(texts, np.diff(offsets), ",") + "]"
    return Column(len(arrays), Tag.ARRAY, nested=arrays)


def window_of(contexts: ContextBatch, names: Sequence[str]) -> Variable | None:
    """Return the variable of the last window that contexts came out of."""
    found = map(contexts.variable, names)
    return next((v for v in found if isinstance(getattr(v, "items", None), BatchItems)), None)
