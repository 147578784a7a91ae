"""Formats of files that cannot be read, each refused by name with a hint at another way."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flowdsl.errors import DataError


@dataclass(frozen=True)
class UnreadFormat:
    """A format that is not read: how its files are called and begin (a regular expression), and what reads
    them.
    """

    name: str
    suffixes: tuple[str, ...]
    hint: str
    begins: bytes = rb"(?!)"

    def refused(self, path: Path) -> DataError:
        """Return the error about a file of this format."""
        return DataError(f"{self.name}, which is not read", place=str(path), hint=self.hint)


_UNPACK: Final = "unpack it and read the files in it"
_DECODE: Final = "decode it, and pass the rows as a list of mappings"
_EXCEL: Final = "read_events(pandas.read_excel(path), …)"
_COPY: Final = "export tables as CSV: COPY table TO 'file.csv' WITH (FORMAT csv, HEADER)"
UNREAD: Final = (
    UnreadFormat(
        "an Excel workbook", (".xlsx", ".xlsm", ".xlsb", ".xls"), _EXCEL, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    ),
    UnreadFormat("an OpenDocument spreadsheet", (".ods",), _EXCEL),
    UnreadFormat("an Avro file", (".avro",), "read_events(polars.read_avro(path), …)", b"Obj\x01"),
    UnreadFormat(
        "an SQLite database",
        (".sqlite", ".sqlite3", ".db"),
        "read_events(pandas.read_sql(query, connection), …)",
        b"SQLite format 3\0",
    ),
    UnreadFormat(
        "a DuckDB database", (".duckdb",), "read_events(duckdb.connect(path).sql(query), …)", b".{8}DUCK"
    ),
    UnreadFormat("a 7-Zip archive", (".7z",), _UNPACK, b"7z\xbc\xaf\x27\x1c"),
    UnreadFormat("a RAR archive", (".rar",), _UNPACK, b"Rar!\x1a\x07"),
    UnreadFormat("a tar archive", (".tar", ".tgz", ".tbz2", ".txz"), _UNPACK, b".{257}ustar"),
    UnreadFormat("a pickle", (".pkl", ".pickle"), "pandas.read_pickle(path), if you trust its author"),
    UnreadFormat("an SQL dump", (".sql",), _COPY),
    UnreadFormat("a PostgreSQL archive", (".dump", ".backup"), _COPY, b"PGDMP"),
    UnreadFormat(
        "an HDF5 file",
        (".h5", ".hdf5", ".hdf"),
        "read_events(pandas.read_hdf(path), …)",
        b"\x89HDF\r\n\x1a\n",
    ),
    UnreadFormat("BSON", (".bson",), "bsondump makes JSON lines of it"),
    UnreadFormat("MessagePack", (".msgpack", ".mpk"), _DECODE),
    UnreadFormat("Protocol Buffers", (".pb", ".protobuf"), _DECODE),
    UnreadFormat(
        "YAML", (".yaml", ".yml"), "read_events(yaml.safe_load(text), …), where it is a list of rows"
    ),
    UnreadFormat("a Stata file", (".dta",), "read_events(pandas.read_stata(path), …)"),
    UnreadFormat("an SPSS file", (".sav", ".zsav"), "read_events(pandas.read_spss(path), …)"),
    UnreadFormat("a SAS file", (".sas7bdat", ".xpt"), "read_events(pandas.read_sas(path), …)"),
    UnreadFormat("data of R", (".rds", ".rda", ".rdata"), "write it as CSV or Parquet in R"),
    UnreadFormat("a file packed with Snappy, LZO or compress", (".snappy", ".sz", ".lzo", ".z"), _UNPACK),
    UnreadFormat("a PDF", (".pdf",), "export the data as CSV or JSON", b"%PDF-"),
    UnreadFormat(
        "a web page",
        (".html", ".htm"),
        "read_events(pandas.read_html(path)[0], …) reads a table",
        b"<!DOCTYPE html",
    ),
    UnreadFormat(
        "a web server's log in the Common or Combined Log Format",
        (),
        "this makes a frame of it, and guess(frame) proposes the rest:\n"
        "lines = pandas.read_csv(path, sep='\\x01', names=['line'], quoting=3)['line']\n"
        r"""frame = lines.str.extract(r'(?P<remote_addr>\S+) .*?\[(?P<time>.+?)\] ')"""
        "\n"
        r"""frame[['method', 'uri', 'status']] = lines.str.extract(r'"(\S+) (\S+).*?" (\d+)')""",
        rb"(\S+ ){3,4}\[\d\d/[A-Z][a-z]{2}/\d{4}:",
    ),
    UnreadFormat(
        "a file with '::' between its fields",
        (),
        "read_events(pandas.read_csv(path, sep='::', engine='python', names=[…]), …)",
        rb"[^,;\t|\n]*::[^,;\t|\n]*::",
    ),
)
# tables in folders, not all of whose files are part of them, by the endings of names in them
_TABLES: Final = {
    "_delta_log": UnreadFormat("a Delta Lake table", (), "read_events(polars.scan_delta(path), …)"),
    ".metadata.json": UnreadFormat("an Iceberg table", (), "read_events(polars.scan_iceberg(…), …)"),
    ".hoodie": UnreadFormat("a Hudi table", (), "export it as Parquet"),
}
# the members of archives that are workbooks
_WORKBOOKS: Final = {"xl/workbook.xml": UNREAD[0], "xl/workbook.bin": UNREAD[0], "content.xml": UNREAD[1]}


def refuse_unread(path: Path, suffixes: tuple[str, ...], begin: bytes) -> None:
    """Raise `DataError` for a file of a format that is known and not read, by its name or how it begins."""
    for known in UNREAD:
        if re.match(known.begins, begin, re.DOTALL) or (suffixes and suffixes[-1] in known.suffixes):
            raise known.refused(path)


def refuse_table(folder: Path, names: Iterable[str]) -> None:
    """Raise `DataError` for a folder with such names in it that it is a table, and more than its files."""
    for name in names:
        for mark, known in _TABLES.items():
            if name.endswith(mark):
                raise known.refused(folder)


def refuse_workbook(path: Path, names: Collection[str]) -> None:
    """Raise `DataError` for an archive whose members are those of a workbook."""
    for name, known in _WORKBOOKS.items():
        if name in names:
            raise known.refused(path)


def refuse_address(path: str) -> None:
    """Raise `DataError` for an address on the network."""
    scheme, found, _ = path.partition("://")
    if found and scheme.isalnum() and scheme != "file":
        raise DataError(
            f"an address ({scheme}://), which is not read",
            place=path,
            allowed="paths of files on this machine",
            hint="download it first"
            if scheme.startswith("http")
            else "copy it first, or pass a frame: polars.scan_parquet(…)",
        )
