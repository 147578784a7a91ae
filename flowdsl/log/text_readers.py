"""JSON lines and CSV, plain or compressed, in blocks of rows; a line that cannot be read is reported, the
rest is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.errors import DataError
from flowdsl.events import json_value
from flowdsl.log.errors import reading
from flowdsl.log.json_lines import JsonLines, JsonRows
from flowdsl.log.json_shapes import Request
from flowdsl.log.problems import RowProblems
from flowdsl.log.text_lines import opened, whole_lines

_BLOCK: Final = 20_000


class RowTexts(Protocol):
    """The text of each row of a block."""

    def __getitem__(self, row: int, /) -> str: ...


@dataclass(frozen=True)
class JsonPiece:
    """Lines of JSON that were not looked at yet, the first of them the line `line` of its file."""

    reader: JsonLines
    data: bytes
    line: int


@dataclass(frozen=True)
class TextBlock:
    """Some rows of a source: JSON objects, or a table; with the place, the row or line of each, and its
    text.
    """

    place: str
    rows: Sequence[int] | npt.NDArray[np.int64]
    content: list[dict[str, Any]] | pl.DataFrame | JsonRows | JsonPiece
    texts: RowTexts | None = None


def beginning(path: Path) -> bytes:
    """Return the first bytes of a file, unpacked, without a mark of the encoding and white space."""
    with opened(path) as file:
        return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()


def json_blocks(path: Path, problems: RowProblems) -> Iterator[TextBlock]:
    """Return the objects of a file of JSON lines, or of one JSON array; rows are lines from 1 (items of an
    array
    from 0).
    """
    place = str(path)
    with reading(place), opened(path) as file:
        begin = file.peek(64)[:64].removeprefix(b"\xef\xbb\xbf").lstrip()  # type: ignore[attr-defined]
        if begin.startswith(b"["):
            yield from _array_blocks(file.read(), place, problems)
            return
        reader, line = JsonLines(), 1
        for data in whole_lines(file):
            yield TextBlock(place, range(0), JsonPiece(reader, data, line))
            line += data.count(b"\n")


def with_objects(block: TextBlock, requests: list[Request] | None, problems: RowProblems) -> TextBlock:
    """Return a block of JSON lines with what they hold: fields, or whole objects where there are no
    requests.
    """
    piece = block.content
    if not isinstance(piece, JsonPiece):
        return block
    found = piece.reader.read(piece.data, requests)
    for line, why, text in found.broken:
        problems.add(block.place, piece.line + line, "broken", why, text)
    return TextBlock(block.place, found.lines + piece.line, found.rows, found.texts)


def _array_blocks(content: bytes, place: str, problems: RowProblems) -> Iterator[TextBlock]:
    try:
        items = json_value(content.decode().lstrip("\ufeff"))
    except UnicodeDecodeError as error:
        why = f"text that is not UTF-8, at byte {error.start} of the line"
        problems.add(place, 1, "broken", why, content.decode(errors="replace").strip())
        return
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"a JSON array that is not JSON: {error}", place=place, hint="write one object a line"
        ) from error
    rows = [row for row, item in enumerate(items) if isinstance(item, dict)]
    for row, item in enumerate(items):
        if not isinstance(item, dict):
            problems.add(place, row, "broken", "an item that is no JSON object", str(item))
    for begin in range(0, len(rows), _BLOCK):
        some = rows[begin : begin + _BLOCK]
        yield TextBlock(place, some, [items[row] for row in some])
