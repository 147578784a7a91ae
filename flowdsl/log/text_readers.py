"""JSON lines and CSV, plain or compressed, in blocks of rows; a line that cannot be read is reported, the
rest is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import polars as pl

from flowdsl.errors import DataError
from flowdsl.events import json_value
from flowdsl.log.errors import reading
from flowdsl.log.json_lines import JsonLines, JsonRows, documents_in
from flowdsl.log.json_shapes import Request
from flowdsl.log.problems import RowProblems
from flowdsl.log.text_lines import open_file, whole_lines
from flowdsl.values.json_types import Ints

_BLOCK: Final = 20_000
_FIRST: Final = 264
# how the second line of an object begins, by the end of the first one
_GOES_ON: Final = re.compile(rb'[\[:]\s*\n|[{,]\s*\n\s*("(?:[^"\\]|\\.)*"\s*:|\})|[^{}\[:,\s]\s*\n\s*[,}\]]')


class RowTexts(Protocol):
    """The text of each row of a block."""

    def __getitem__(self, row: int, /) -> str: ...


@dataclass(frozen=True)
class JsonPiece:
    """Unparsed lines of JSON; `line` is the number of the first one in its file."""

    reader: JsonLines
    data: bytes
    line: int


@dataclass(frozen=True)
class TextBlock:
    """Some rows of a source: JSON objects, or a table; with the place, the row or line of each, and its
    text.
    """

    place: str
    rows: Sequence[int] | Ints
    content: list[dict[str, Any]] | pl.DataFrame | JsonRows | JsonPiece
    texts: RowTexts | None = None
    # what all rows have in common: columns that folders name, and the names of file and folder
    around: Mapping[str, Any] = field(default_factory=dict)
    # the rows of a source that several rows were made of
    groups: Sequence[int] | None = None
    # the columns that the source has in addition to those that are wanted
    names: Sequence[str] = ()


def beginning(path: Path) -> bytes:
    """Return the first bytes of a file, unpacked."""
    with open_file(path) as file:
        return file.read(_FIRST)


def json_blocks(path: Path, problems: RowProblems) -> Iterator[TextBlock]:
    """Return the objects of a file of JSON lines, of one JSON array, or of documents that run over lines;
    rows are lines from 1 (items of an array from 0).
    """
    place = str(path)
    with reading(place), open_file(path) as file:
        begin = file.peek(64)[:64].removeprefix(b"\xef\xbb\xbf").lstrip()  # type: ignore[attr-defined]
        if begin.startswith(b"["):
            yield from _array_blocks(file.read(), place, problems)
            return
        reader, line = JsonLines(), 1
        pieces = whole_lines(file)
        first = next(pieces, b"")
        if _runs_over_lines(first):
            yield from _document_blocks(b"".join([first, *pieces]), place, problems)
            return
        for data in chain([first] if first else [], pieces):
            yield TextBlock(place, range(0), JsonPiece(reader, data, line))
            line += int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord("\n")))


def _runs_over_lines(data: bytes) -> bool:
    """Return True if text begins with a JSON object that ends on a later line."""
    line, end, rest = data.lstrip().partition(b"\n")
    line = line.rstrip()
    return line.startswith(b"{") and bool(rest.strip() and _GOES_ON.match(line[-1:] + end + rest))


def _document_blocks(content: bytes, place: str, problems: RowProblems) -> Iterator[TextBlock]:
    """Return documents one after the other, wherever lines end; rows are the lines on which they begin."""
    text = content.decode(errors="replace")
    rows: list[int] = []
    found: list[dict[str, Any]] = []
    line, before = 1, 0
    for at, value, why in documents_in(text):
        line += text.count("\n", before, at)
        before = at
        if value is None:
            problems.add(place, line, "broken", why, text[at : at + 300])
        else:
            rows.append(line)
            found.append(value)
    for i in range(0, len(rows), _BLOCK):
        yield TextBlock(place, rows[i : i + _BLOCK], found[i : i + _BLOCK])


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
    return replace(block, rows=found.lines + piece.line, content=found.rows, texts=found.texts)


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
        if not isinstance(item, dict) and item is not None:
            problems.add(place, row, "broken", "an item that is not a JSON object", str(item))
    for begin in range(0, len(rows), _BLOCK):
        some = rows[begin : begin + _BLOCK]
        yield TextBlock(place, some, [items[row] for row in some])
