#!/usr/bin/env bash
# A compressed log to which a second day was appended is read whole by one function, and ends after the first day in the next.
#
# One would guess: `cat monday.zst tuesday.zst` is a valid .zst file, as it is with gzip, and a library that reads it reads
# both days. If some function cannot, it raises, and all functions of one library do the same.
#
# What happens (zstandard 0.25.0, lz4 4.4.5, backports.zstd 1.8.0, DuckDB 2.0.1 and Polars 2.1.0 of PyPI; fflate 0.8.3 of
# npm), for three days that were compressed one by one and put behind each other:
# - zstandard: decompress() and read_to_iter() give the first day. open(), stream_reader().read() and copy_stream() give all
#   three. In stream_reader() even read_across_frames=False does, which is documented to stop at the first, and in
#   decompress() read_across_frames=True is "not yet implemented". allow_extra_data=False makes decompress() raise.
# - lz4: frame.decompress() gives the first day, frame.open() all three.
# - fflate, gzip: gunzipSync() gives the first day, or as many bytes of it as the last day has. The streaming Gunzip gives all
#   three, as Python's gzip does in each way.
# - backports.zstd (Python's own compression.zstd for older versions), DuckDB and Polars give all three.
#
# Why it matters here: rotated logs are put together like this, and writers that append to a file, or flush an hour at a time,
# leave files of many such frames. A replay of "the month" has one day, whole and without an error, so that counts per day
# look right. A small file that was written at once, which is what a test has, is the same for all. Read with a stream, and
# compare the last event's time with the file's name.
#
# Source: https://datatracker.ietf.org/doc/html/rfc8878#section-3 (frames follow each other);
# https://python-zstandard.readthedocs.io/en/stable/decompressor.html says that extra data is silently ignored by
# decompress(), and https://github.com/indygreg/python-zstandard/issues/59 (open since 2018);
# https://github.com/101arrowz/fflate/pull/287 (open).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    backports.zstd==1.8.0 duckdb==2.0.1 lz4==4.4.5 polars==2.1.0 zstandard==0.25.0
npm install --silent --no-audit --no-fund --prefix "$folder" fflate@0.8.3
cd "$folder"
cat >read.js <<'JAVASCRIPT'
const { Gunzip, gunzipSync, strFromU8 } = require("fflate");
const { readFileSync } = require("fs");
const bytes = readFileSync("log.jsonl.gz");
const streamed = [];
new Gunzip((chunk) => streamed.push(strFromU8(chunk))).push(bytes, true);
const cut = gunzipSync(readFileSync("longest_first.jsonl.gz"));
console.log(JSON.stringify([strFromU8(gunzipSync(bytes)), streamed.join(""), strFromU8(cut)]));
JAVASCRIPT
"$folder/venv/bin/python" - <<'PYTHON'
import gzip
import io
import json
import subprocess

import duckdb
import lz4.frame
import polars as pl
import zstandard
from backports import zstd

DAYS = [b'{"day": "%s"}\n' % day for day in (b"monday", b"tuesday", b"wednesday")]
PACKED = {
    "zst": b"".join(zstandard.ZstdCompressor().compress(day) for day in DAYS),
    "lz4": b"".join(lz4.frame.compress(day) for day in DAYS),
    "gz": b"".join(gzip.compress(day) for day in DAYS),
}
for ending, packed in PACKED.items():
    with open(f"log.jsonl.{ending}", "wb") as file:
        file.write(packed)
with open("longest_first.jsonl.gz", "wb") as file:
    file.write(b"".join(gzip.compress(day) for day in reversed(DAYS)))
ZST = PACKED["zst"]


def copied() -> bytes:
    target = io.BytesIO()
    zstandard.ZstdDecompressor().copy_stream(io.BytesIO(ZST), target)
    return target.getvalue()


def read(file) -> bytes:
    with file:
        return file.read()


def streamed(**options) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(ZST), **options).read()


def at_once(**options) -> bytes:
    try:
        return zstandard.ZstdDecompressor().decompress(ZST, **options)
    except zstandard.ZstdError:
        return b""


command = ["node", "read.js"]
gunzipped, in_chunks, cut = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
#    read by                                        days     what it read
SEEN = [
    ("zstandard, decompress()",                     1, at_once()),
    ("zstandard, decompress(), no extra data",      0, at_once(allow_extra_data=False)),
    ("zstandard, decompress(), across",             0, at_once(read_across_frames=True)),
    ("zstandard, read_to_iter()",                   1, b"".join(zstandard.ZstdDecompressor().read_to_iter(io.BytesIO(ZST)))),
    ("zstandard, open()",                           3, read(zstandard.open("log.jsonl.zst", "rb"))),
    ("zstandard, stream_reader()",                  3, streamed()),
    ("zstandard, stream_reader(), not across",      3, streamed(read_across_frames=False)),
    ("zstandard, copy_stream()",                    3, copied()),
    ("backports.zstd, decompress()",                3, zstd.decompress(ZST)),
    ("lz4, frame.decompress()",                     1, lz4.frame.decompress(PACKED["lz4"])),
    ("lz4, frame.open()",                           3, read(lz4.frame.open("log.jsonl.lz4"))),
    ("fflate, gunzipSync()",                        1, gunzipped.encode()),
    ("fflate, Gunzip",                              3, in_chunks.encode()),
    ("Python's gzip, decompress()",                 3, gzip.decompress(PACKED["gz"])),
    ("Python's gzip, open()",                       3, read(gzip.open("log.jsonl.gz"))),
]
wrong = 0
for name, days, found in SEEN:
    print(f"{name:<40} {found.count(b'{')} of 3 days" if found else f"{name:<40} raises")
    wrong += found != b"".join(DAYS[:days])
engines = {
    "DuckDB": len(duckdb.execute("from read_json('log.jsonl.zst')").fetchall()),
    "Polars": pl.read_ndjson("log.jsonl.zst").height,
}
for name, rows in engines.items():
    print(f"{name:<40} {rows} of 3 days")
    wrong += rows != len(DAYS)
print(f"fflate, gunzipSync(), the longest day first: {cut!r}")
wrong += cut.encode() != DAYS[-1][: len(DAYS[0])]
raise SystemExit(f"{wrong} of {len(SEEN) + len(engines) + 1} are no longer so" if wrong else 0)
PYTHON
