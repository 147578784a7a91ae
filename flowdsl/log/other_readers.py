"""Files of events in columns, XML and event streams, in blocks of rows: Parquet, Arrow, ORC, rows of XML,
SSE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final
from xml.parsers import expat

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from flowdsl.errors import DataError
from flowdsl.events import json_value
from flowdsl.frames import to_polars
from flowdsl.log.errors import reading
from flowdsl.log.problems import RowProblems
from flowdsl.log.sources import needs_pyarrow, read_with_pyarrow
from flowdsl.log.text_lines import open_file
from flowdsl.log.text_readers import TextBlock

Wanted = Callable[[str], bool]
BLOCK: Final = 65_536
_ROWS: Final = 20_000
_CHUNK: Final = 1 << 20


def parquet_blocks(path: Path, problems: RowProblems, wanted: Wanted) -> Iterator[TextBlock]:
    """Return the rows of a Parquet file, with the columns that are wanted."""
    with reading(str(path)):
        metadata = pq.read_metadata(path)
        schema = metadata.schema.to_arrow_schema()
        names = [name for name in schema.names if wanted(name)]
        odd = needs_pyarrow([schema.field(i) for i, name in enumerate(schema.names) if name in names])
        for row in range(0, metadata.num_rows, BLOCK):
            if odd:
                part = read_with_pyarrow(str(path), names, row, BLOCK)
            else:
                part = pl.scan_parquet(path, glob=False).select(names).slice(row, BLOCK).collect()
            height = min(BLOCK, metadata.num_rows - row)
            content = part if names else pl.DataFrame(height=height)
            yield TextBlock(str(path), range(row, row + height), content, names=schema.names)


def parquet_rows(path: Path) -> int:
    """Return the number of rows of a Parquet file."""
    with reading(str(path)):
        return int(pq.read_metadata(path).num_rows)


def arrow_blocks(path: Path, problems: RowProblems, wanted: Wanted) -> Iterator[TextBlock]:
    """Return the rows of a Feather or Arrow file, or of a stream of Arrow batches."""
    with reading(str(path)), pa.memory_map(str(path)) as file:
        if path.stat().st_size and file.read(6) in (b"ARROW1", b"FEA1\0\0"):
            file.seek(0)
            opened_file: Any = pa.ipc.open_file(file)
            batches = map(opened_file.get_batch, range(opened_file.num_record_batches))
        else:
            file.seek(0)
            batches = iter(pa.ipc.open_stream(file))
        yield from _batches(batches, str(path), wanted)


def orc_blocks(path: Path, problems: RowProblems, wanted: Wanted) -> Iterator[TextBlock]:
    """Return the rows of an ORC file."""
    from pyarrow import orc

    with reading(str(path)):
        file = orc.ORCFile(str(path))
        names = [name for name in file.schema.names if wanted(name)]
        stripes = (file.read_stripe(i, columns=names) for i in range(file.nstripes))
        yield from _batches(stripes, str(path), wanted)


def _batches(batches: Iterator[Any], place: str, wanted: Wanted) -> Iterator[TextBlock]:
    row = 0
    for batch in batches:
        frame = to_polars(batch, place, wanted)
        for part in frame.iter_slices(BLOCK):
            yield TextBlock(place, range(row, row + part.height), part, names=batch.schema.names)
            row += part.height


def xml_blocks(path: Path, problems: RowProblems) -> Iterator[TextBlock]:
    """Return the elements below the root of an XML file as rows of texts: their attributes, and the elements
    in them; rows are lines from 1.
    """
    place, rows = str(path), _XmlRows()
    with reading(place), open_file(path) as file:
        try:
            while chunk := file.read(_CHUNK):
                rows.feed(chunk)
                yield from rows.blocks(place, full=True)
            rows.feed(b"", last=True)
        except expat.ExpatError as error:
            yield from rows.blocks(place)
            why = f"not XML ({expat.errors.messages[error.code]}): what follows is not read"
            problems.add(place, error.lineno, "broken", why, None)
            return
        except DataError as error:
            raise error.located(place=place) from None
        yield from rows.blocks(place)


class _XmlRows:
    """Collects rows while XML is parsed."""

    def __init__(self) -> None:
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._depth = self._line = 0
        self._row: dict[str, Any] = {}
        self._name = ""
        self._rows: list[dict[str, Any]] = []
        self._lines: list[int] = []

    def feed(self, chunk: bytes, *, last: bool = False) -> None:
        self._parser.Parse(chunk, last)

    def blocks(self, place: str, *, full: bool = False) -> Iterator[TextBlock]:
        """Return the rows so far, with `full` only as many as a block has."""
        while len(self._rows) > (_ROWS if full else 0):
            yield TextBlock(place, self._lines[:_ROWS], self._rows[:_ROWS])
            del self._rows[:_ROWS], self._lines[:_ROWS]

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 2:
            self._row = dict(attributes)
            self._line = self._parser.CurrentLineNumber
        elif self._depth > 2:
            self._name = name

    def _end(self, name: str) -> None:
        if self._depth == 2:
            self._rows.append(self._row)
            self._lines.append(self._line)
        self._depth -= 1
        self._name = ""

    def _text(self, text: str) -> None:
        if self._name:
            self._row[self._name] = self._row.get(self._name, "") + text

    def _refuse(self, name: str, *_: object) -> None:
        raise DataError("the XML declares a document type", hint="remove the line <!DOCTYPE …>")


def sse_blocks(path: Path, problems: RowProblems) -> Iterator[TextBlock]:
    """Return the messages of a stream of server-sent events that was written to a file: the members of their
    JSON data, next to `event` and `id`; rows are the lines on which they begin.
    """
    place = str(path)
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    with reading(place), open_file(path) as file:
        for line, message in _messages(file):
            try:
                value = json_value(message["data"])
            except (ValueError, RecursionError) as error:
                problems.add(place, line, "broken", f"data that is not JSON ({error})", message["data"])
                continue
            beside: dict[str, Any] = {name: message[name] for name in ("event", "id") if name in message}
            rows.append({**beside, **(value if isinstance(value, dict) else {"data": value})})
            lines.append(line)
            if len(rows) == _ROWS:
                yield TextBlock(place, lines, rows)
                rows, lines = [], []
    if rows:
        yield TextBlock(place, lines, rows)


def _messages(file: BinaryIO) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the messages that have data, each with its line."""
    message: dict[str, str] = {}
    begin = 1
    number = 0
    for number, raw in enumerate(file, 1):
        line = raw.decode(errors="replace").rstrip("\r\n")
        line = line.removeprefix("\ufeff") if number == 1 else line
        if not line:
            if "data" in message:
                yield begin, message
            message = {}
            continue
        name, _, value = line.partition(":")
        if not name:
            # a comment
            continue
        if not message:
            begin = number
        value = value.removeprefix(" ")
        message[name] = f"{message[name]}\n{value}" if name == "data" and "data" in message else value
    if "data" in message:
        yield begin, message
