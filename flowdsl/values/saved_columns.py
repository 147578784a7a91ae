"""Columns of JSON values in a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from flowdsl.values.columns import Coded, Column
from flowdsl.values.saved import CODES, INTS, MOST, TEXTS, Array, OneOrEach, Optional, Whole
from flowdsl.values.saving import Kind, Source, Writing, keeps
from flowdsl.values.tags import Tag

_FIELDS: Final = keeps(
    size=Whole(0, MOST),
    tags=OneOrEach(Whole(0, max(Tag)), Array(np.uint8, 0, max(Tag))),
    texts=Optional(TEXTS),
    codes=Optional(CODES),
    ints=Optional(INTS),
    floats=Optional(Array(np.float64)),
    bools=Optional(Array(np.bool_)),
    nested=Optional(TEXTS),
    wide=Optional(TEXTS),
)


class ColumnKind(Kind):
    """A column; its texts may be codes of the one interner."""

    @property
    def has_codes(self) -> bool:
        return True

    def codes(self, value: Column) -> Iterator[Any]:
        if isinstance(value.texts, Coded):
            yield value.texts.codes

    def write(self, value: Column, to: Writing) -> Any:
        said = {name: getattr(value, name) for name in Column.__slots__}
        coded = isinstance(value.texts, Coded)
        said |= {"texts": None, "codes": said["texts"].codes} if coded else {"codes": None}
        return {name: kind.write(said[name], to) for name, kind in _FIELDS.items()}

    def read(self, node: Any, source: Source) -> Column:
        if not isinstance(node, dict) or node.keys() != _FIELDS.keys():
            source.refuse("no column")
        said = {name: source.below(name, kind, node[name]) for name, kind in _FIELDS.items()}
        stored = {name: len(values) for name, values in said.items() if hasattr(values, "__len__")}
        source.agree(size=said["size"], **stored)
        codes, tags = said.pop("codes"), said["tags"]
        source.check(codes is None or said["texts"] is None, "text twice")
        if codes is not None:
            said["texts"] = Coded(codes, source.given["interner"])
        column = Column(**said | {"tags": tags if isinstance(tags, np.ndarray) else Tag(tags)})
        nested = column.nested
        for tag, there in (
            (Tag.BOOL, column.bools),
            (Tag.INT, column.ints),
            (Tag.FLOAT, column.floats),
            (Tag.TEXT, column.texts),
            (Tag.ARRAY, nested),
            (Tag.OBJECT, nested),
        ):
            source.check(there is not None or not column.is_(tag).any(), f"without values of type {tag.name}")
        return column


COLUMN: Final = ColumnKind()
