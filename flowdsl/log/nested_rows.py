"""Rows within rows: the records of a JSON document, and a row for each item of a list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from flowdsl.errors import DataError
from flowdsl.events import json_value
from flowdsl.log.origins import Paths
from flowdsl.log.problems import RowProblems
from flowdsl.log.text_readers import RowTexts, TextBlock
from flowdsl.text import short_repr


def records_of(block: TextBlock, path: str, problems: RowProblems) -> TextBlock:
    """Return the items of the list at a path of each row, in place of the row; what has no such list is
    broken.
    """
    paths, rows, numbers = Paths(), list[dict[str, Any]](), list[int]()
    for row, content in zip(block.rows, rows_of(block), strict=True):
        found = value_at_path(paths, content, path)
        if isinstance(found, Mapping):
            found = [found]
        if not isinstance(found, Sequence) or isinstance(found, str):
            problems.add(
                block.place, row, "broken", _no_list(path, found, content), short_repr(dict(content), 300)
            )
            continue
        for item in found:
            if isinstance(item, Mapping):
                rows.append(dict(item))
                numbers.append(int(row))
            else:
                problems.add(
                    block.place,
                    row,
                    "broken",
                    f"an item of {path} is not an object: {short_repr(item, 60)}",
                    None,
                )
    return replace(block, rows=numbers, content=rows, texts=None)


def explode_lists(block: TextBlock, path: str) -> tuple[TextBlock, int]:
    """Return a row for each item of the list at a path, the item standing in the place of the list; and how
    many rows had none. A value that is not a list is one item.
    """
    content = block.content
    if isinstance(content, pl.DataFrame):
        check_path("explode", path, block.place, content.columns)
        if path in content.columns and isinstance(content.schema[path], (pl.List, pl.Array)):
            return _explode_table(block, content, path)
    paths, rows, at = Paths(), list[dict[str, Any]](), list[int]()
    for place, row in enumerate(rows_of(block)):
        items = _items(paths, row, path)
        rows += [with_value(row, path, item) for item in items]
        at += [place] * len(items)
    return replace(replace_content(block, rows, at), groups=at), len(block.rows) - len(set(at))


def check_path(option: str, path: str, place: str, columns: Sequence[str]) -> None:
    """Refuse a path that begins with no column of a table."""
    if path not in columns and path.partition(".")[0] not in columns:
        raise DataError.unknown(
            f"{option} names {path!r}, and there is no such column", path, columns, place=place
        )


def columns_around(block: TextBlock) -> dict[str, Any]:
    """Return the columns that the folders of a file name."""
    return {name: value for name, value in block.around.items() if not name.startswith("@")}


def rows_of(block: TextBlock) -> Iterable[Mapping[str, Any]]:
    """Return the rows of a block as they are in Python."""
    content = block.content
    if isinstance(content, pl.DataFrame):
        return content.iter_rows(named=True)
    assert isinstance(content, list), "rows are read whole where they are looked into"
    return content


def replace_content(block: TextBlock, content: Any, at: Sequence[int]) -> TextBlock:
    """Return a block with other content, whose rows were made of the rows `at` of the block."""
    numbers = np.asarray(block.rows)[np.asarray(at, np.int64)] if at else np.zeros(0, np.int64)
    texts = None if block.texts is None else _TakenTexts(block.texts, at)
    groups = None if block.groups is None else [block.groups[i] for i in at]
    return replace(block, rows=numbers, content=content, texts=texts, groups=groups)


def with_value(row: Mapping[str, Any], path: str, item: Any) -> dict[str, Any]:
    """Return a row with another value at a path."""
    if path in row or "." not in path:
        return {**row, path: item}
    first, _, rest = path.partition(".")
    # a path that goes through JSON text was read on the way here
    inner = json_value(row[first]) if isinstance(row[first], str) else row[first]
    if isinstance(inner, list):
        place = rest.partition(".")[0]
        made = with_value({place: inner[int(place)]}, rest, item)
        return {**row, first: [*inner[: int(place)], made[place], *inner[int(place) + 1 :]]}
    return {**row, first: with_value(inner, rest, item)}


def value_at_path(paths: Paths, row: Mapping[str, Any], path: str) -> Any:
    """Return what is at a path in a row; None also where the path leads into text."""
    try:
        return paths.at(row, path)
    except ValueError:
        return None


@dataclass(frozen=True)
class _TakenTexts:
    """The texts of some rows of a block."""

    texts: RowTexts
    at: Sequence[int]

    def __getitem__(self, row: int) -> str:
        return self.texts[self.at[row]]


def _explode_table(block: TextBlock, table: pl.DataFrame, path: str) -> tuple[TextBlock, int]:
    counts = table[path].list.len() if isinstance(table.schema[path], pl.List) else table[path].arr.len()
    there = counts.fill_null(0) > 0
    rows = table.filter(there)
    found = rows.with_columns(pl.int_range(pl.len()).alias("__at")).explode(path)
    at = there.arg_true().gather(found["__at"]).to_list()
    return replace(replace_content(block, found.drop("__at"), at), groups=at), table.height - rows.height


def _items(paths: Paths, row: Mapping[str, Any], path: str) -> list[Any]:
    found = value_at_path(paths, row, path)
    if isinstance(found, str) and found.lstrip()[:1] == "[":
        # text that only begins like a list is one item
        with suppress(ValueError, RecursionError):
            found = json_value(found)
    if isinstance(found, (list, tuple)):
        return list(found)
    return [] if found is None or found == "" else [found]


def _no_list(path: str, found: Any, row: Mapping[str, Any]) -> str:
    lists = [name for name, value in row.items() if isinstance(value, list)]
    there = f"; lists are at {', '.join(lists)}" if lists else ""
    what = "nothing" if found is None else f"{type(found).__name__} {short_repr(found, 40)}"
    return f"records={path!r}: there is {what}, no list{there}"
