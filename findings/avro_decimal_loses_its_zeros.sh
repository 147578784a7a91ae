#!/usr/bin/env bash
# Apache Avro's own Python library writes the price 12.5 as 1.25.
#
# One would guess: a field of the logical type decimal(10, 2) keeps a value that fits. 12.5 comes back as 12.50, whichever
# library writes it; a value that does not fit is refused.
#
# What happens (avro 1.12.2, fastavro 1.13.1): avro writes the digits that the Decimal happens to hold and leaves out their
# exponent. Only values written with exactly two decimals survive: 12.50 stays, 12.5 becomes 1.25, 12 becomes 0.12 and
# 1.2E+3 (what Decimal.normalize() makes of 1200) becomes 0.12 as well. Nothing is raised, and the same holds for decimals
# kept in `fixed`. What has too many decimals is refused, which makes the check look complete. fastavro rescales and is right.
#
# Why it matters here: Decimals lose and gain trailing zeros in any sum or parser, so amounts of one log are wrong by powers
# of ten for some events only. Whoever writes such a log, or replays it against limits on an amount, has to quantize to the
# scale of the schema first, or write with fastavro. No reader can tell afterwards.
#
# Source: write_decimal_bytes and write_decimal_fixed in https://github.com/apache/avro/blob/main/lang/py/avro/io.py use the
# exponent for the refusal alone; https://avro.apache.org/docs/1.12.0/specification/#decimal defines unscaled × 10^-scale.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check avro==1.12.2 fastavro==1.13.1
"$folder/venv/bin/python" - <<'PYTHON'
import io
import json
from decimal import Decimal

import avro.io
import avro.schema
import fastavro

BYTES = {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}
FIXED = {"type": "fixed", "name": "amount", "size": 8, "logicalType": "decimal", "precision": 10, "scale": 2}
#            given     read back from avro
EXPECTED = [
    ("12.50",  "12.50"),
    ("12.5",   "1.25"),
    ("12",     "0.12"),
    ("1.2E+3", "0.12"),
    ("-12.5",  "-1.25"),
]


def by_avro(schema: dict, value: Decimal) -> Decimal:
    parsed, buffer = avro.schema.parse(json.dumps(schema)), io.BytesIO()
    avro.io.DatumWriter(parsed).write(value, avro.io.BinaryEncoder(buffer))
    buffer.seek(0)
    return avro.io.DatumReader(parsed).read(avro.io.BinaryDecoder(buffer))


def by_fastavro(schema: dict, value: Decimal) -> Decimal:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), value)
    buffer.seek(0)
    return fastavro.schemaless_reader(buffer, schema, None)


wrong = 0
for given, expected in EXPECTED:
    value = Decimal(given)
    in_bytes, in_fixed, right = by_avro(BYTES, value), by_avro(FIXED, value), by_fastavro(BYTES, value)
    print(f"{given:<8} avro, bytes {in_bytes!s:<8} avro, fixed {in_fixed!s:<8} fastavro {right}")
    wrong += (str(in_bytes), str(in_fixed), right) != (expected, expected, value)
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
