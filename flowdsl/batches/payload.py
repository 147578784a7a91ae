"""Payloads of many contexts: the shape of the template with a column at each leaf."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import polars as pl

from flowdsl.values.columns import Column
from flowdsl.values.json_types import Index, Tag
from flowdsl.values.paths import Path
from flowdsl.values.state_columns import COLUMN
from flowdsl.values.state_fields import MOST, WholeField
from flowdsl.values.state_objects import FieldKind, StateObject, StateReader, StateWriter, keeps

Node = Column | Mapping[str, Any] | Sequence[Any]


class PayloadShape(FieldKind):
    """Tree of columns of the same length."""

    @property
    def has_codes(self) -> bool:
        return True

    def codes(self, value: Any) -> Iterator[Any]:
        if isinstance(value, Column):
            yield from COLUMN.codes(value)
        else:
            for node in value.values() if isinstance(value, Mapping) else value:
                yield from self.codes(node)

    def write(self, value: Any, to: StateWriter) -> Any:
        if isinstance(value, Column):
            return {"column": COLUMN.write(value, to)}
        if isinstance(value, Mapping):
            return {"fields": [[name, self.write(node, to)] for name, node in value.items()]}
        return {"items": [self.write(node, to) for node in value]}

    def read(self, node: Any, source: StateReader) -> Any:
        if not isinstance(node, dict) or len(node) != 1:
            source.refuse("not a payload")
        ((kind, written),) = node.items()
        if kind == "column":
            return COLUMN.read(written, source)
        if kind not in ("items", "fields") or not isinstance(written, list):
            source.refuse("not a payload")
        if kind == "items":
            return [source.below(place, self, one) for place, one in enumerate(written)]
        fields = {}
        for pair in written:
            source.check(_is_field(pair), "not a list of named fields")
            fields[pair[0]] = source.below(pair[0], self, pair[1])
        return fields


def _is_field(pair: object) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)


@dataclass(frozen=True)
class Payload(StateObject):
    """`size` payloads of one shape; `node` is a column, a mapping of nodes, or a list of nodes."""

    saved = keeps(node=PayloadShape(), size=WholeField(0, MOST))

    node: Any
    size: int

    @classmethod
    def from_fields(cls, fields: dict[str, Any], source: StateReader) -> Payload:
        _map(fields["node"], lambda column: source.agree(size=fields["size"], column=len(column)))
        return cls(**fields)

    def take(self, index: Index) -> Payload:
        """Return the payloads at `index`"""
        return Payload(_map(self.node, lambda column: column.take(index)), len(index))

    @classmethod
    def concat(cls, parts: Sequence[Payload]) -> Payload:
        """Concatenate payloads of the same shape."""
        return cls(_join([p.node for p in parts]), sum(p.size for p in parts))

    def column(self, path: Path) -> Column:
        """Return the values at a path below the payloads."""
        node = self.node
        for depth, part in enumerate(path):
            if isinstance(node, Column):
                return _below(node, path[depth:])
            if not isinstance(node, Mapping) or part not in node:
                return Column(self.size, Tag.MISSING)
            node = node[part]
        if isinstance(node, Column):
            return node
        tag = Tag.OBJECT if isinstance(node, Mapping) else Tag.ARRAY
        return Column(self.size, tag, nested=Payload(node, self.size).json())

    def fields(self) -> Iterator[tuple[str, Column | Payload]]:
        """Return the top-level fields; a payload that is not an object is one field `payload`"""
        if isinstance(self.node, Mapping):
            for name, node in self.node.items():
                yield name, node if isinstance(node, Column) else Payload(node, self.size)
        else:
            yield "payload", self.node if isinstance(self.node, Column) else self

    def json(self) -> pl.Series:
        """Return each payload as compact JSON text."""
        pieces: list[str | pl.Series] = []
        _spell(self.node, pieces)
        if all(isinstance(piece, str) for piece in pieces):
            return pl.Series(["".join(map(str, pieces))]).new_from_index(0, self.size)
        parts: list[pl.Expr] = []
        # texts side by side are one: each part takes its time at every row
        for is_text, run in groupby(pieces, lambda piece: isinstance(piece, str)):
            same = list(run)
            parts += map(pl.lit, ["".join(map(str, same))] if is_text else same)
        return pl.select(pl.concat_str(parts).alias("payload")).to_series()


def _map(node: Any, change: Any) -> Any:
    if isinstance(node, Column):
        return change(node)
    if isinstance(node, Mapping):
        return {key: _map(value, change) for key, value in node.items()}
    return [_map(value, change) for value in node]


def _join(nodes: Sequence[Any]) -> Any:
    first = nodes[0]
    if isinstance(first, Column):
        return Column.concat(nodes)
    if isinstance(first, Mapping):
        return {key: _join([node[key] for node in nodes]) for key in first}
    return [_join(items) for items in zip(*nodes, strict=True)]


def _below(column: Column, path: Path) -> Column:
    from flowdsl.values.json_extraction import Documents

    if column.nested is None:
        return Column(column.size, Tag.MISSING)
    return Documents(
        pl.select(pl.when(pl.Series(column.is_(Tag.OBJECT))).then(column.nested)).to_series()
    ).column(path)


def _spell(node: Any, pieces: list[str | pl.Series]) -> None:
    if isinstance(node, Column):
        # leaves are never missing in a payload; failed ones are null
        pieces.append(node.to_json().fill_null("null"))
    elif isinstance(node, Mapping):
        pieces.append("{")
        for i, (key, value) in enumerate(node.items()):
            pieces.append(("," if i else "") + json.dumps(key, ensure_ascii=False) + ":")
            _spell(value, pieces)
        pieces.append("}")
    else:
        pieces.append("[")
        for i, value in enumerate(node):
            if i:
                pieces.append(",")
            _spell(value, pieces)
        pieces.append("]")
