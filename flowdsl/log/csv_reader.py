"""CSV as blocks of rows: Polars reads the lines that are plainly records, Python's reader the others.

A line is plainly a record where it has as many fields as the header, and its quotes open and close whole
fields. All other lines, and those that a quoted field runs into, go record by record through `csv.reader`,
which is strict and has the last word on what is broken.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from flowdsl.errors import DataError
from flowdsl.log.errors import reading
from flowdsl.log.problems import RowProblems
from flowdsl.log.text_lines import bounds_of, in_threads, is_utf8, lines_of, open_file, whole_lines
from flowdsl.log.text_readers import TextBlock
from flowdsl.pluralize import count_text
from flowdsl.values.json_types import Ints, Mask
from flowdsl.values.orders import distinct

_DELIMITERS: Final = ",;\t|"
# fields that are longer are refused by Python's reader
_LONGEST: Final = csv.field_size_limit()
# a byte that is not UTF-8 becomes half a surrogate pair, which marks its row
_AS_TEXT: Final[Any] = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}


def csv_blocks(path: Path, problems: RowProblems, names: Sequence[str] | None = None) -> Iterator[TextBlock]:
    """Read the rows of a CSV file, all values text, empty ones null; rows are lines from 1.

    The first line names the columns, or `names` does where it is not a header. Separators are commas,
    semicolons, tabs or bars, whichever the header has most of. The text is UTF-8, or UTF-16 where its first
    bytes say so.
    """
    place = str(path)
    with reading(place), open_file(path) as file:
        pieces = whole_lines(file)
        first = b""
        while not first.strip(b"\r\n") and (piece := next(pieces, None)):
            first += piece
        line = first[: 1 << 16].partition(b"\n")[0].decode("utf-8", "replace")
        records = _Records(place, _delimiter(line, names), problems)
        header, rest = records.header(first, names)
        form = _Form(header, records.delimiter)
        prepared = in_threads(form.prepare, chain([rest], pieces))
        held = next(prepared)
        for following in prepared:
            yield records.block(held, form)
            held = following
        yield records.block(held, form, last=True)


class _CsvPiece:
    """Whole lines of a file; those that Polars cannot read are replaced by a stray quote, and kept aside."""

    def __init__(self, data: bytes) -> None:
        # what is the end of a line for Python's reader alone
        odd = b"\r" in data and data.count(b"\r") != data.count(b"\r\n")
        self._spoilt: dict[int, str] = {}
        if odd or not is_utf8(data):
            # lines as Python's reader has them
            texts = list(io.TextIOWrapper(io.BytesIO(data), **_AS_TEXT))
            self._spoilt = {i: text for i, text in enumerate(texts) if odd or is_spoilt(text)}
            data = b"".join(b'"\n' if i in self._spoilt else text.encode() for i, text in enumerate(texts))
        self.data = data
        self.bounds = bounds_of(data)

    @cached_property
    def lines(self) -> pl.Series:
        """The lines with their ends."""
        return lines_of(self.data, self.bounds)

    def text(self, i: int) -> str:
        """Return a line with its end."""
        begin, end = self.bounds[i : i + 2]
        return self._spoilt[i] if i in self._spoilt else self.data[begin:end].decode()


@dataclass(frozen=True)
class _Prepared:
    """Lines, masks of those that are plainly records (`clean`) and of blank ones, and the table of the
    former.
    """

    piece: _CsvPiece
    clean: Mask
    blank: Mask
    table: pl.DataFrame


class _Form:
    """The fields of a file and their separator."""

    def __init__(self, header: list[str], delimiter: str) -> None:
        self.header = header
        self._delimiter = delimiter
        plain = f'[^"\\r\\n{delimiter}]'
        cell = f'(?:{plain}*|"(?:[^"]|"")*")'
        only = f'(?:{plain}+|"(?:[^"]|"")*")'
        rest = f"(?:[{delimiter}]{cell}){{{len(header) - 1}}}"
        self._quoted = f"^{cell if len(header) > 1 else only}{rest}\\r?\\n?$"

    def prepare(self, data: bytes) -> _Prepared:
        """Find the lines that are plainly records and read them."""
        piece = _CsvPiece(data)
        clean, blank, quotes = self._judge(piece)
        table = self._table(piece, clean, quotes=quotes)
        if table.height != clean.sum():
            # Polars did not read one record per line: leave all to Python's reader
            clean = np.zeros(len(clean), bool)
            table = self._table(piece, clean, quotes=False)
        return _Prepared(piece, clean, blank, table)

    def table(self, cells: list[list[str]]) -> pl.DataFrame:
        """Return records of Python's reader as a table."""
        columns = zip(*cells, strict=True) if cells else ((),) * len(self.header)
        return pl.DataFrame(
            [
                pl.Series(name, [cell or None for cell in column], dtype=pl.String)
                for name, column in zip(self.header, columns, strict=True)
            ]
        )

    def _judge(self, piece: _CsvPiece) -> tuple[Mask, Mask, bool]:
        """Return masks of the lines that are plainly records and of blank ones, and whether any of the
        records has quotes.
        """
        data = np.frombuffer(piece.data, np.uint8)
        begins, stops = piece.bounds[:-1], piece.bounds[1:].copy()
        for end in b"\n\r":
            stops -= (stops > begins) & (data[stops - 1] == end)
        sizes = stops - begins
        clean = (sizes > 0) & (sizes <= _LONGEST)
        between, wanted = np.flatnonzero(data == ord(self._delimiter)), len(self.header) - 1
        if not _are_even(between, begins, stops, wanted):
            clean &= np.diff(np.searchsorted(between, piece.bounds)) == wanted
        quotes = np.flatnonzero(data == ord('"'))
        lines = distinct(np.searchsorted(begins, quotes, side="right") - 1)
        if len(lines):
            whole = piece.lines.gather(lines).str.contains(self._quoted).to_numpy()
            clean[lines] = whole & (sizes[lines] <= _LONGEST)
        return clean, sizes == 0, bool(clean[lines].any())

    def _table(self, piece: _CsvPiece, clean: Mask, *, quotes: bool) -> pl.DataFrame:
        if not clean.any():
            return self.table([])
        data = piece.data if clean.all() else piece.lines.filter(clean).str.join("")[0].encode()
        table = pl.read_csv(
            data,
            has_header=False,
            new_columns=self.header,
            separator=self._delimiter,
            quote_char='"' if quotes else None,
            infer_schema=False,
            raise_if_empty=False,
        )
        if quotes:
            empty = table.select((pl.all() == "").any()).row(0, named=True)
            table = table.with_columns(
                pl.when(pl.col(name) != "").then(pl.col(name)) for name in table.columns if empty[name]
            )
        return table


class _MoreNeededError(Exception):
    """A record runs beyond the lines that were read."""


@dataclass(frozen=True)
class _Texts:
    """The texts of the rows of a block."""

    lines: Callable[[int], str]
    first: int
    rows: Ints
    records: Mapping[int, str]

    def __getitem__(self, row: int) -> str:
        line = int(self.rows[row])
        return self.records[line] if line in self.records else self.lines(line - self.first).rstrip("\r\n")


class _Records:
    """Takes the records of a file in their order; a quote that is never closed spoils its own line only."""

    def __init__(self, place: str, delimiter: str, problems: RowProblems) -> None:
        self.delimiter = delimiter
        # the lines from the beginning of a record on whose end has not come
        self.pending: list[str] = []
        self._place, self._problems = place, problems
        self._before = 0
        self._width: int | None = None

    def header(self, data: bytes, names: Sequence[str] | None) -> tuple[list[str], bytes]:
        """Return the names of the columns, and what follows them: those of the first record, or `names` if
        it has other fields.
        """
        reader, lines = io.TextIOWrapper(io.BytesIO(data), **_AS_TEXT), list[str]()

        def line(i: int) -> str:
            lines.extend(islice(reader, max(i + 1 - len(lines), 0)))
            if i >= len(lines):
                # it ends the lines of the record
                raise StopIteration
            return lines[i]

        at, header = 0, list[str]()
        try:
            while not header:
                taken, found = self._record(line, at, len(data) + 1, last=True)
                header, at = found or [], at + taken
        except StopIteration:
            pass
        if names is not None and not _is_header(header, names):
            _check_width(header, names, self._place)
            return [*names], data
        self._before = at
        _check_header(header, "".join(lines[:at]), self._place)
        size = sum(len(text.encode("utf-8", "surrogateescape")) for text in lines[:at])
        return header, data[size:]

    def block(self, prepared: _Prepared, form: _Form, *, last: bool = False) -> TextBlock:
        """Return the records that end in a piece."""
        piece, pending, clean = prepared.piece, self.pending, prepared.clean.copy()
        old, end = len(pending), len(pending) + len(clean)
        first = self._before + 1 + old
        numbers: list[int] = []
        cells: list[list[str]] = []
        texts: dict[int, str] = {}
        self.pending = []

        def line(i: int) -> str:
            return pending[i] if i < old else piece.text(i - old)

        stops = np.concatenate([np.arange(old), np.flatnonzero(~(clean | prepared.blank)) + old])
        at = 0
        while (k := np.searchsorted(stops, at)) < len(stops):
            at = int(stops[k])
            try:
                taken, found = self._record(line, at, end, last=last)
            except _MoreNeededError:
                self.pending, taken, found = [line(i) for i in range(at, end)], end - at, None
            clean[max(at - old, 0) : max(at + taken - old, 0)] = False
            if found and self._is_sound(found, at, (text := "".join(map(line, range(at, at + taken)))), form):
                numbers.append(self._before + at + 1)
                cells.append(found)
                texts[numbers[-1]] = text.rstrip("\r\n")
            at += taken
        self._before += end - len(self.pending)
        table = prepared.table.filter(clean[prepared.clean])
        rows = np.flatnonzero(clean) + first
        if numbers:
            rows = np.concatenate([rows, numbers])
            order = np.argsort(rows)
            table, rows = pl.concat([table, form.table(cells)])[order], rows[order]
        return TextBlock(self._place, rows, table, _Texts(piece.text, first, rows, texts))

    def _record(
        self, line: Callable[[int], str], at: int, end: int, *, last: bool
    ) -> tuple[int, list[str] | None]:
        """Return how many lines the record takes that begins at a line, and its fields; None where it is
        broken.
        """

        def lines() -> Iterator[str]:
            yield from map(line, range(at, end))
            if not last:
                raise _MoreNeededError

        reader = csv.reader(lines(), delimiter=self.delimiter, strict=True)
        try:
            fields = next(reader)
        except csv.Error as error:
            why = f"not CSV ({error})"
        else:
            if self._width is None or len(fields) == self._width or reader.line_num == 1:
                self._width = self._width or len(fields) or None
                return reader.line_num, fields
            why = "a quoted field that runs over lines and does not fit the header"
        self._problems.add(
            self._place, self._before + at + 1, "broken", why, _format(line(at).rstrip("\r\n"))
        )
        return 1, None

    def _is_sound(self, fields: list[str], at: int, raw: str, form: _Form) -> bool:
        """Report a record that has more or fewer fields than the header, or is not UTF-8."""
        why = "text that is not UTF-8" if is_spoilt(raw) else None
        if len(fields) != len(form.header):
            why = f"{len(fields)} fields, and the header has {len(form.header)}"
        if why:
            shown = _format(raw.rstrip("\r\n"))
            self._problems.add(self._place, self._before + at + 1, "broken", why, shown)
        return why is None


def is_spoilt(raw: str) -> bool:
    """Return whether there is half a surrogate pair in a text: a byte that is not UTF-8."""
    return not raw.isascii() and any("\ud800" <= letter <= "\udfff" for letter in raw)


def _are_even(between: Ints, begins: Ints, stops: Ints, wanted: int) -> bool:
    """Return whether each line has so many of the places `between`."""
    if len(between) != len(begins) * wanted:
        return False
    places = between.reshape(len(begins), wanted)
    return not wanted or bool((places[:, 0] >= begins).all() and (places[:, -1] < stops).all())


def _delimiter(line: str, names: Sequence[str] | None) -> str:
    """Return the separator of fields: one that gives as many as there are names, else the most frequent."""
    between = len(names or ()) - 1
    fitting = [one for one in _DELIMITERS if 0 < between == line.count(one)]
    return max(fitting or _DELIMITERS, key=line.count)


def _is_header(fields: list[str], names: Sequence[str]) -> bool:
    """Return True if the first line has most of the names, as a line of data does not."""
    return sum(field in names for field in fields) * 2 >= max(min(len(fields), len(names)), 1)


def _check_width(fields: list[str], names: Sequence[str], place: str) -> None:
    if fields and len(fields) != len(names):
        raise DataError(
            f"the first line has {count_text(len(fields), 'field')}, and header= names "
            f"{count_text(len(names), 'column')}",
            place=f"{place}:1",
            hint="name every column of the file, in its order",
        )


def _check_header(header: list[str], raw: str, place: str) -> None:
    if is_spoilt(raw):
        raise DataError(
            "the header is not UTF-8",
            place=f"{place}:1",
            hint="read_events(pandas.read_csv(path, encoding='cp1252'), …) reads other encodings",
        )
    if not header or len(set(header)) < len(header):
        raise DataError(
            "the first line must name the columns, each once",
            place=f"{place}:1",
            hint="add a header to the file, or rename a column",
        )


def _format(raw: str) -> str:
    return raw[:300].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
