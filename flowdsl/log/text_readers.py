"""JSON lines and CSV, plain or compressed, in blocks of rows; a line that cannot be read is reported, the
rest is read.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import polars as pl
import pyarrow as pa

from flowdsl.errors import DataError
from flowdsl.events import json_value
from flowdsl.log.errors import reading
from flowdsl.log.problems import RowProblems

_BLOCK: Final = 20_000


@dataclass(frozen=True)
class TextBlock:
    """Some rows of a source: JSON objects, or a table; with the place, the row or line of each, and its text."""

    place: str
    rows: Sequence[int]
    content: list[dict[str, Any]] | pl.DataFrame
    texts: Sequence[str] | None = None


def beginning(path: Path) -> bytes:
    """Return the first bytes of a file, unpacked, without a mark of the encoding and white space."""
    with _opened(path) as file:
        return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()


def json_blocks(path: Path, problems: RowProblems) -> Iterator[TextBlock]:
    """The objects of a file of JSON lines, or of one JSON array; rows are lines from 1 (items of an array
    from 0).
    """
    place = str(path)
    with reading(place), _opened(path) as file:
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


def csv_blocks(path: Path, problems: RowProblems) -> Iterator[TextBlock]:
    """The rows of a CSV file with a header, all values text, empty ones null; rows are lines from 1.

    Fields stand between commas, semicolons, tabs or bars, whichever the header has most of. The text is
    UTF-8, or UTF-16 where its first bytes say so.
    """
    place = str(path)
    with reading(place), _opened(path) as file:
        begin: bytes = file.peek(1 << 16)  # type: ignore[attr-defined]
        encoding = "utf-16" if begin[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
        first = begin.decode(encoding, "replace").partition("\n")[0]
        # a byte that is no UTF-8 becomes half a surrogate pair, so that its row can be told from the others
        errors = "surrogateescape" if encoding == "utf-8-sig" else "replace"
        text = io.TextIOWrapper(file, encoding=encoding, errors=errors, newline="")
        records = _records(text, max(",;\t|", key=first.count), place, problems)
        _, header, raw = next(records, (1, [], ""))
        _check_header(header, raw, place)
        rows: list[int] = []
        cells: list[list[str | None]] = []
        texts: list[str] = []
        for line, fields, raw in records:
            why = _fault(fields, header, raw)
            if why:
                problems.add(place, line, "broken", why, _shown(raw))
                continue
            rows.append(line)
            cells.append([field or None for field in fields])
            texts.append(raw)
            if len(rows) >= _BLOCK:
                yield TextBlock(place, rows, _table(header, cells), texts)
                rows, cells, texts = [], [], []
        yield TextBlock(place, rows, _table(header, cells), texts)


def _check_header(header: list[str], raw: str, place: str) -> None:
    if _is_spoilt(raw):
        raise DataError(
            "the header is not UTF-8", place=f"{place}:1",
            hint="read_events(pandas.read_csv(path, encoding='cp1252'), …) reads other encodings",
        )  # fmt: skip
    if not header or len(set(header)) < len(header):
        raise DataError(
            "the first line must name the columns, each once", place=f"{place}:1",
            hint="add a header to the file, or rename a column",
        )  # fmt: skip


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic[:2] == b"\x1f\x8b":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if magic == b"\x28\xb5\x2f\xfd":
        return io.BufferedReader(pa.input_stream(str(path), compression="zstd"))
    return path.open("rb")


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


class _Lines:
    """The lines of a text that can be given back, which a parser is fed from."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._back: list[str] = []
        self.taken: list[str] = []
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._back.pop() if self._back else next(self._text)
        self.taken.append(line)
        return line

    def keep(self, lines: int) -> str:
        """Be done with that many of the lines taken, and give the others back; the text of those kept."""
        kept, rest = self.taken[:lines], self.taken[lines:]
        self._back += reversed(rest)
        self.taken = []
        self.number += len(kept)
        return "".join(kept).rstrip("\r\n")


def _records(
    text: io.TextIOWrapper, delimiter: str, place: str, problems: RowProblems
) -> Iterator[tuple[int, list[str], str]]:
    """(first line, fields, text) of each record; a quote that is never closed spoils its own line only."""
    lines = _Lines(text)
    width: int | None = None
    while True:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            for fields in reader:
                begin = lines.number + 1
                if width is not None and len(fields) != width and len(lines.taken) > 1:
                    break
                raw = lines.keep(len(lines.taken))
                if fields:
                    width = width or len(fields)
                    yield begin, fields, raw
            else:
                return
            why = "a quoted field that runs over lines and does not fit the header"
        except csv.Error as error:
            why = f"not CSV ({error})"
        begin = lines.number + 1
        problems.add(place, begin, "broken", why, _shown(lines.keep(1)))


def _fault(fields: list[str], header: list[str], raw: str) -> str | None:
    if len(fields) != len(header):
        return f"{len(fields)} fields, and the header has {len(header)}"
    return "text that is not UTF-8" if _is_spoilt(raw) else None


def _is_spoilt(raw: str) -> bool:
    """Whether there is half a surrogate pair in it: a byte that is no UTF-8."""
    return not raw.isascii() and any("\ud800" <= letter <= "\udfff" for letter in raw)


def _shown(raw: str) -> str:
    return raw[:300].encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _table(header: list[str], cells: list[list[str | None]]) -> pl.DataFrame:
    columns = zip(*cells, strict=True) if cells else ((),) * len(header)
    return pl.DataFrame(
        [pl.Series(name, values, dtype=pl.String) for name, values in zip(header, columns, strict=True)]
    )
