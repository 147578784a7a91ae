"""Recognition of rows: known shapes by their marks, and lists of rows within documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, Final

from flowdsl.arguments import is_text_in
from flowdsl.events import KINDS
from flowdsl.log.file_places import fits
from flowdsl.log.json_lines import LineTexts
from flowdsl.log.nested_rows import rows_of
from flowdsl.log.origins import Paths, texts_of
from flowdsl.log.row_formats import ROW_FORMATS
from flowdsl.log.shape import RowShape, Shape
from flowdsl.log.shapes import SHAPES
from flowdsl.log.text_readers import TextBlock

Rows = Sequence[Mapping[str, Any]]
_LOOKED_AT: Final = 200
# documents may hold a row or two of another sort
_MOST: Final = 0.8
_DEEP: Final = 3


def needs_no_shape(rows: Rows) -> str | None:
    """Return the name of what rows are if `read_events` takes them as they are; None if it does not."""
    if all(is_text_in(row.get("kind"), KINDS) and "timestamp" in row for row in rows):
        return "event table"
    names = [name for name, known in ROW_FORMATS.items() if all(known.matches(dict(row)) for row in rows)]
    # CloudEvents whose types are not kinds need `kinds=`
    if names[:1] == ["cloudevents"] and not all(row["type"] in KINDS for row in rows):
        return None
    return next(iter(names), None)


def recognise_shape(rows: Rows, around: Mapping[str, Any] | None = None) -> str | None:
    """Return the name of the shape whose marks rows have; None if there is none.

    >>> recognise_shape([{"userId": 1, "movieId": 10, "rating": 4.0, "timestamp": 964982703}])
    'movielens'
    """
    paths = Paths(around)
    for name, shape in SHAPES.items():
        # a glob without an ending only chooses among the files of a folder
        form = shape.files if shape.files and PurePosixPath(shape.files).suffix else None
        if around and not fits(PurePosixPath(around["@folder"], around["@file"]), form):
            continue
        if shape.marks and sum(_has(paths, row, shape) for row in rows) >= max(_MOST * len(rows), 1):
            return name
    return None


def path_of_records(rows: Rows) -> str | None:
    """Return the path of the list that holds the most objects; None if they are fewer than the rows.

    >>> path_of_records([{"ok": True, "data": {"items": [{"id": 1}, {"id": 2}]}}])
    'data.items'
    """
    if not 0 < len(rows) <= _LOOKED_AT:
        return None
    sizes: Counter[str] = Counter()
    for row in rows:
        sizes.update(dict(_lists(row)))
    return next((path for path, size in sizes.most_common(1) if size >= len(rows)), None)


def hint_for(block: TextBlock, shape: RowShape) -> str | None:
    """Return a hint for an error about rows that are read without a shape, or lie deeper than it says; None
    where nothing helps.
    """
    if shape.records:
        return None
    rows: list[Mapping[str, Any]] = []
    if isinstance(block.texts, LineTexts):
        # of lines that are read fast, only the fields of events were read
        rows.extend(block.texts.objects(_LOOKED_AT))
    elif isinstance(block.content, list) or hasattr(block.content, "iter_rows"):
        rows.extend(map(dict, islice(rows_of(block), _LOOKED_AT)))
    return _hint_of_rows(rows, block, shape) if rows else None


def _hint_of_rows(rows: Rows, block: TextBlock, shape: RowShape) -> str | None:
    named = {text.partition(".")[0] for _, origin in shape.origins() for text in texts_of(origin)}
    if not any(map(named.intersection, rows)):
        name = None if named else recognise_shape(rows, block.around)
        if name is not None:
            return f"the rows look like {name}: read_events(…, shape={name!r})"
        path = path_of_records(rows)
        if path is not None:
            return f"there is a list of objects in it: read_events(…, records={path!r}, columns=…)"
    return None


def _has(paths: Paths, row: Mapping[str, Any], shape: Shape) -> bool:
    try:
        return all(paths.value(row, mark) is not None for mark in shape.marks)
    except ValueError:
        return False


def _lists(row: Mapping[str, Any], above: str = "", depth: int = 1) -> Iterator[tuple[str, int]]:
    """Yield the paths of lists of objects with their sizes."""
    for name, value in row.items():
        path = f"{above}{name}"
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            yield path, len(value)
        elif isinstance(value, Mapping) and depth < _DEEP:
            yield from _lists(value, f"{path}.", depth + 1)
