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
from flowdsl.log.problems import RowProblems
from flowdsl.log.text_lines import opened

_BLOCK: Final = 20_000


class RowTexts(Protocol):
    """The text of each row of a block."""

    def __getitem__(self, row: int, /) -> str: ...


@dataclass(frozen=True)
class TextBlock:
    """Some rows of a source: JSON objects, or a table; with the place, the row or line of each, and its text."""

    place: str
    rows: Sequence[int] | npt.NDArray[np.int64]
    content: list[dict[str, Any]] | pl.DataFrame
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
        rows: list[int] = []
        found: list[dict[str, Any]] = []
        texts: list[str] = []
        for number, line in enumerate(file, 1):
            text = _decoded(
                line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, place, number, problems
            )
            if text is None or not (text := text.strip()):
                continue
            value = _parsed(text, place, number, problems)
            if value is not None:
                rows.append(number)
                found.append(value)
                texts.append(text)
            if len(rows) >= _BLOCK:
                yield TextBlock(place, rows, found, texts)
                rows, found, texts = [], [], []
        yield TextBlock(place, rows, found, texts)


def _array_blocks(content: bytes, place: str, problems: RowProblems) -> Iterator[TextBlock]:
    text = _decoded(content, place, 1, problems)
    try:
        items = json_value(text.lstrip("\ufeff")) if text is not None else []
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


def _decoded(line: bytes, place: str, number: int, problems: RowProblems) -> str | None:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        why = f"text that is not UTF-8, at byte {error.start} of the line"
        problems.add(place, number, "broken", why, line.decode(errors="replace").strip())
        return None


def _parsed(text: str, place: str, number: int, problems: RowProblems) -> dict[str, Any] | None:
    try:
        value = json_value(text)
    except (ValueError, RecursionError) as error:
        problems.add(place, number, "broken", f"a line that is not JSON ({error})", text)
        return None
    if isinstance(value, dict):
        return value
    problems.add(place, number, "broken", "a line that is no JSON object", text)
    return None
