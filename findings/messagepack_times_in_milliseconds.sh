#!/usr/bin/env bash
# A time in milliseconds that msgpackr of JavaScript wrote is a float in Python, and a BigInt on its way back.
#
# One would guess: MessagePack has integers of 64 bits, so 1764428400000 is an integer for each library. Seconds and
# milliseconds differ by nothing but their size, and both are far below 2^53.
#
# What happens (msgpackr 2.1.4 and @msgpack/msgpack 3.1.3 of npm, msgpack 1.2.4 of PyPI): msgpackr writes whole numbers as
# integers only if they fit into 32 bits, and all others as doubles. Seconds arrive in Python as int, milliseconds as float.
# What Python writes as an integer of 64 bits, msgpackr reads as a BigInt, which is equal to the number by == and not by ===,
# and cannot be added to one. @msgpack/msgpack keeps a number and an integer in both directions. Between two programs with
# msgpackr, or two in Python, nothing is seen.
#
# Why it matters here: an id or a time becomes a key by str(), and "1764428400000.0" is not the key that the JSON export of the
# same event has: deduplication and look-ups find nothing. A column of ids has integers up to the first large one,
# and floats from there on. In the other direction a filter such as `event.at === since` is never true. Agree on seconds, on
# text or on MessagePack's own timestamp, or make a BigInt of the number before msgpackr packs it.
#
# Source: pack in https://github.com/kriszyp/msgpackr/blob/master/pack.js (`value >>> 0 === value`, else setFloat64);
# https://github.com/kriszyp/msgpackr#options says that non-integers are written as doubles, and of int64AsType that bigint is
# its default; https://github.com/msgpack/msgpack/blob/master/spec.md#int-format-family.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check msgpack==1.2.4
npm install --silent --no-audit --no-fund --prefix "$folder" msgpackr@2.1.4 @msgpack/msgpack@3.1.3
cat >"$folder/pack.js" <<'JAVASCRIPT'
const { pack, unpack } = require("msgpackr");
const { encode, decode } = require("@msgpack/msgpack");
const cases = JSON.parse(process.argv[2]);
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const both = ([value, written]) => ({
  written: [pack, encode].map((write) => hex(write(value))),
  read: [unpack, decode].map((read) => typeof read(Buffer.from(written, "hex"))),
});
console.log(JSON.stringify(cases.map(both)));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import subprocess
import sys

import msgpack

#     value               from JavaScript to Python: msgpackr, @msgpack    from Python to JavaScript: msgpackr, @msgpack
EXPECTED = [
    (1764428400,          "1764428400",          "1764428400",             "number",  "number"),
    (4294967295,          "4294967295",          "4294967295",             "number",  "number"),
    (4294967296,          "4294967296.0",        "4294967296",             "bigint",  "number"),
    (1764428400000,       "1764428400000.0",     "1764428400000",          "bigint",  "number"),
    (-2147483649,         "-2147483649.0",       "-2147483649",            "bigint",  "number"),
]
cases = json.dumps([[value, msgpack.packb(value).hex()] for value, *_ in EXPECTED])
command = ["node", f"{sys.argv[1]}/pack.js", cases]
by_javascript = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
wrong = 0
for (value, *expected), javascript in zip(EXPECTED, by_javascript):
    in_python = [str(msgpack.unpackb(bytes.fromhex(written))) for written in javascript["written"]]
    seen = [*in_python, *javascript["read"]]
    print(f"{value:<14} in Python: msgpackr {seen[0]:<16} @msgpack {seen[1]:<14} back: msgpackr {seen[2]}, @msgpack {seen[3]}")
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
