"""Columns of JSON values in a state file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from flowdsl.values.columns import Column, DictionaryColumn
from flowdsl.values.json_types import Tag
from flowdsl.values.state_fields import (
    CODES,
    INTS,
    MOST,
    TEXTS,
    ArrayField,
    OneOrEachField,
    OptionalField,
    WholeField,
)
from flowdsl.values.state_objects import FieldKind, StateReader, StateWriter, keeps

_FIELDS: Final = keeps(
    size=WholeField(0, MOST),
    tags=OneOrEachField(WholeField(0, max(Tag)), ArrayField(np.uint8, 0, max(Tag))),
    texts=OptionalField(TEXTS),
    codes=OptionalField(CODES),
    ints=OptionalField(INTS),
    floats=OptionalField(ArrayField(np.float64)),
    bools=OptionalField(ArrayField(np.bool_)),
    nested=OptionalField(TEXTS),
    wide=OptionalField(TEXTS),
)


class ColumnKind(FieldKind):
    """Column whose texts may be codes of the shared interner."""

    @property
    def has_codes(self) -> bool:
        return True

    def codes(self, value: Column) -> Iterator[Any]:
        if isinstance(value.texts, DictionaryColumn):
            yield value.texts.codes

    def write(self, value: Column, to: StateWriter) -> Any:
        fields = {name: getattr(value, name) for name in Column.__slots__}
        coded = isinstance(value.texts, DictionaryColumn)
        fields |= {"texts": None, "codes": fields["texts"].codes} if coded else {"codes": None}
        return {name: kind.write(fields[name], to) for name, kind in _FIELDS.items()}

    def read(self, node: Any, source: StateReader) -> Column:
        if not isinstance(node, dict) or node.keys() != _FIELDS.keys():
            source.refuse("not a column")
        fields: dict[str, Any] = {
            name: source.below(name, kind, node[name]) for name, kind in _FIELDS.items()
        }
        stored = {name: len(values) for name, values in fields.items() if hasattr(values, "__len__")}
        source.agree(size=fields["size"], **stored)
        codes, tags = fields.pop("codes"), fields["tags"]
        source.check(codes is None or fields["texts"] is None, "text twice")
        if codes is not None:
            fields["texts"] = DictionaryColumn(codes, source.given["interner"])
        fields["tags"] = tags if isinstance(tags, np.ndarray) else Tag(tags)
        column = Column(**fields)
        for tag, there in column.storages().items():
            source.check(there is not None or not column.is_(tag).any(), f"without values of type {tag.name}")
        return column


COLUMN: Final = ColumnKind()
