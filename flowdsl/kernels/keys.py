"""The keys of stateful steps as integers: the same number for the same typed value, as long as the step
lives.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.expressions.row_source import Failures, first_failures
from flowdsl.rules import Rules
from flowdsl.values.canonical_json import spell
from flowdsl.values.columns import Column, DictionaryColumn
from flowdsl.values.float_parser import as_read
from flowdsl.values.interner import GONE, Hashes, HashTable, Interner, insert_pairs
from flowdsl.values.json_types import Tag
from flowdsl.values.key_collection import Inside
from flowdsl.values.paths import Path, path_text
from flowdsl.values.python_values import with_leaves
from flowdsl.values.state_fields import ListField, ObjectField
from flowdsl.values.state_objects import StateObject, StateReader, keeps

Keys = npt.NDArray[np.int64]
# keys in use
Held = Keys | list[int]


class KeySpace(StateObject):
    """Numbers for the values of one or several paths: text by itself, numbers as numbers, all types apart.

    By rules without typed keys values are the same if their text is: 1 and "1", but not 1 and 1.0. Null is a
    key only by rules with null keys.
    """

    saved = keeps(_others=ObjectField(Interner), _pairs=ListField(ObjectField(HashTable)))

    def __init__(self, paths: Sequence[Path], rules: Rules) -> None:
        self._paths = paths
        self._typed = rules.typed_keys
        self._nulls = rules.null_keys
        self._others = Interner()
        self._pairs: list[HashTable] = [HashTable() for _ in paths[1:]]

    @classmethod
    def of(cls, paths: Sequence[Path], rules: Rules) -> KeySpace | None:
        """Return the numbers of the values of paths; None without paths, where all contexts have one key."""
        return cls(paths, rules) if paths else None

    def held_codes(self) -> Iterator[Keys]:
        # what its tables know is of use only where a key is
        return iter(())

    def goes_on_for(self, step: KeySpace, source: StateReader) -> KeySpace:
        """Return the same numbers, for the paths of a step's own space."""
        source.agree(paths=len(step._paths), pairs=len(self._pairs) + 1)
        self._paths, self._typed, self._nulls = step._paths, step._typed, step._nulls
        return self

    def texts(self, keys: Keys, interner: Interner) -> list[str | None]:
        """Return the values that numbers stand for, as text; None for keys of several paths."""
        if self._pairs:
            return [None] * len(keys)
        codes = keys >> 1
        found = interner.texts(np.where(keys & 1, 0, codes)).to_list()
        others = self._others.texts(np.where(keys & 1, codes, 0)).to_list()
        return [other if text is None else text for text, other in zip(found, others, strict=True)]

    @property
    def tables(self) -> list[HashTable]:
        """The tables of what is not text, then of the first two paths together, then of these and the
        third …
        """
        return [self._others.table, *self._pairs]

    def forget(self, table: int, codes: Keys) -> None:
        """Forget the unreferenced entries of one of the tables."""
        if table:
            self._pairs[table - 1].forget(codes)
        else:
            self._others.forget(codes + 1)

    def held_in(self, table: int, keys: Iterable[Held]) -> Iterator[Inside]:
        """Return the codes of one of the tables that keys refer to."""
        if table == 0:
            yield from self._read(keys, lambda n: (n[n & 1 == 1] >> 1) - 1)
        elif table == len(self._pairs):
            yield from (Inside(some, lambda n: n) for some in keys)
        else:
            yield Inside(self._pairs[table].words[1], lambda words: _halves(words)[0])

    def codes_in(self, keys: Iterable[Held]) -> Iterator[Inside]:
        """Return the codes of texts that keys refer to."""
        return self._read(keys, lambda n: n[n & 1 == 0] >> 1)

    def _read(self, keys: Iterable[Held], read: Callable[[Keys], Keys]) -> Iterator[Inside]:
        """Return what is read of the numbers of single values that keys are made of: of several paths all
        that are in the tables.
        """
        if not self._pairs:
            yield from (Inside(some, read) for some in keys)
        for number, table in enumerate(self._pairs):
            # numbers of pairs are not numbers of values: only of the first two paths both are
            yield Inside(
                table.words[1],
                (lambda words: read(_halves(words)[1]))
                if number
                else (lambda words: read(np.concatenate(_halves(words)))),
            )

    def keys(self, contexts: ContextBatch) -> tuple[Keys, Failures | None]:
        """Return the key of each context; it fails where a value is missing or null."""
        parts, failures = [], []
        for path in self._paths:
            column = contexts.column(path)
            failures.append(
                Failures.where(column.is_(Tag.MISSING), f"the key {path_text(path)!r} is missing")
            )
            if not self._nulls:
                failures.append(Failures.where(column.is_(Tag.NULL), f"the key {path_text(path)!r} is null"))
            parts.append(self._numbers(column, contexts))
        keys = parts[0]
        for table, part in zip(self._pairs, parts[1:], strict=True):
            keys = insert_pairs(table, keys.astype(np.uint64), part.astype(np.uint64)).astype(np.int64)
        return keys, first_failures(failures)

    def _numbers(self, column: Column, contexts: ContextBatch) -> Keys:
        interner = contexts.chunk.interner
        if (
            isinstance(column.texts, DictionaryColumn)
            and column.texts.interner is interner
            and column.all_(Tag.TEXT)
        ):
            return column.texts.codes.astype(np.int64) * 2
        if not self._typed:
            return interner.intern(spell(as_read(column))).astype(np.int64) * 2
        numbers = np.zeros(column.size, np.int64)
        text = np.flatnonzero(column.is_(Tag.TEXT))
        if len(text):
            # through the graph's interner: a text has one number, whether it came as a code or not
            numbers[text] = interner.intern(column.text_series()[text]).astype(np.int64) * 2
        rest = np.flatnonzero(~column.is_(Tag.TEXT, Tag.MISSING))
        if len(rest):
            numbers[rest] = self._others.intern(typed_spelling(column.take(rest))).astype(np.int64) * 2 + 1
        return numbers


def _halves(words: Hashes) -> tuple[Keys, Keys]:
    """Return the two numbers that each pair is made of, where it is one."""
    words = words[words != GONE]
    return (words >> np.uint64(32)).astype(np.int64), (words & np.uint64(0xFFFF_FFFF)).astype(np.int64)


def typed_spelling(column: Column) -> pl.Series:
    """Values that are not text, spelled so that equal ones are spelled alike: 1 and 1.0, but not 1 and
    true.
    """
    texts = column.to_json()
    floats = np.flatnonzero(column.is_(Tag.FLOAT))
    if len(floats) and column.floats is not None:
        texts = texts.scatter(floats, [_number(x) for x in column.floats[floats].tolist()])
    nested = np.flatnonzero(column.is_(Tag.ARRAY, Tag.OBJECT))
    if len(nested):
        texts = texts.scatter(nested, [_canonical(json.loads(t)) for t in texts[nested].to_list()])
    return texts


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _canonical(value: object) -> str:
    plain = with_leaves(value, lambda x: int(x) if isinstance(x, float) and x.is_integer() else x)
    return json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
