"""JSON lines and CSV read line by line in plain Python: what the fast readers have to agree with."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from flowdsl.events import json_value
from flowdsl.log.problems import RowProblems
from flowdsl.log.text_readers import TextBlock


def file_blocks(path: Path, problems: RowProblems, *_: object) -> Iterator[TextBlock]:
    """Read a file as one block."""
    return (csv_block if path.suffix == ".csv" else json_block)(path, problems)


def json_block(path: Path, problems: RowProblems) -> Iterator[TextBlock]:
    """Read the objects of a file of JSON lines, as one block."""
    rows: list[int] = []
    found: list[dict[str, Any]] = []
    texts: list[str] = []
    for number, line in enumerate(io.BytesIO(path.read_bytes()), 1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            text = line.decode().strip()
        except UnicodeDecodeError as error:
            why = f"text that is not UTF-8, at byte {error.start} of the line"
            problems.add(str(path), number, "broken", why, line.decode(errors="replace").strip())
            continue
        for value, why, own in _values(text):
            if why:
                problems.add(str(path), number, "broken", why, own)
            elif value is not None:
                rows.append(number)
                found.append(value)
                texts.append(own)
    yield TextBlock(str(path), rows, found, texts)


def _values(text: str) -> Iterator[tuple[Any, str, str]]:
    """Return the value of a line, or those of a line that holds several, with what is wrong and the text of each."""
    if not text:
        return
    try:
        yield _judged(json_value(text), "line", text)
        return
    except (ValueError, RecursionError) as error:
        if not re.search(r"}\s*{", text):
            yield None, f"a line that is not JSON ({error})", text
            return
    at, decode = 0, json.JSONDecoder(parse_constant=_no_constant).raw_decode
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        own = text[at : at + 300]
        try:
            value, at = decode(text, at)
            yield _judged(value, "document", own)
        except (ValueError, RecursionError) as error:
            yield None, f"a document that is not JSON ({error})", own
            at = text.find("}{", at) + 1 or len(text)


def _judged(value: Any, what: str, text: str) -> tuple[Any, str, str]:
    why = "" if value is None or isinstance(value, dict) else f"a {what} that is not a JSON object"
    return value, why, text


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def csv_block(path: Path, problems: RowProblems) -> Iterator[TextBlock]:
    """Read the rows of a CSV file with a header, as one block."""
    content = path.read_bytes()
    wide = content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    text = content.decode("utf-16", "replace") if wide else content.decode("utf-8-sig", "surrogateescape")
    first = text.partition("\n")[0]
    records = _records(
        list(io.StringIO(text, newline="")), max(",;\t|", key=first.count), str(path), problems
    )
    _, header, _ = next(records)
    rows: list[int] = []
    cells: list[list[str | None]] = []
    texts: list[str] = []
    for line, fields, raw in records:
        spoilt = any("\ud800" <= letter <= "\udfff" for letter in raw)
        if len(fields) != len(header) or spoilt:
            why = (
                "text that is not UTF-8"
                if len(fields) == len(header)
                else f"{len(fields)} fields, and the header has {len(header)}"
            )
            problems.add(str(path), line, "broken", why, _shown(raw))
            continue
        rows.append(line)
        cells.append([field or None for field in fields])
        texts.append(raw)
    columns = zip(*cells, strict=True) if cells else ((),) * len(header)
    table = pl.DataFrame(
        [pl.Series(name, values, dtype=pl.String) for name, values in zip(header, columns, strict=True)]
    )
    yield TextBlock(str(path), rows, table, texts)


def _records(
    lines: list[str], delimiter: str, place: str, problems: RowProblems
) -> Iterator[tuple[int, list[str], str]]:
    """Return (first line, fields, text) of each record; a quote that is never closed spoils its own line only."""
    begin, width = 0, None
    while begin < len(lines):
        reader = csv.reader(lines[begin:], delimiter=delimiter, strict=True)
        try:
            fields = next(reader)
        except csv.Error as error:
            problems.add(
                place, begin + 1, "broken", f"not CSV ({error})", _shown(lines[begin].rstrip("\r\n"))
            )
            begin += 1
            continue
        taken = reader.line_num
        if width is not None and len(fields) != width and taken > 1:
            why = "a quoted field that runs over lines and does not fit the header"
            problems.add(place, begin + 1, "broken", why, _shown(lines[begin].rstrip("\r\n")))
            begin += 1
            continue
        if fields:
            width = width or len(fields)
            yield begin + 1, fields, "".join(lines[begin : begin + taken]).rstrip("\r\n")
        begin += taken


def _shown(raw: str) -> str:
    return raw[:300].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
