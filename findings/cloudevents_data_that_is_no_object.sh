#!/usr/bin/env bash
# A CloudEvent whose data is a list, a number or a truth value is another event after it travelled between two SDKs.
#
# One would guess: data that CloudEvents allows (any JSON value, with `datacontenttype: application/json`) is the same after
# the official SDK of one language sent it and the official SDK of another received it, in binary as in structured mode.
#
# What happens (cloudevents 2.2.0 of PyPI, cloudevents 10.0.0 of npm):
# - Python writes the body of a binary message with str() unless data is a dict: a list becomes "['a', True, None]" and true
#   becomes "True", under the JSON content type. Python itself then reads back texts.
# - JavaScript puts quotes around every binary body that does not begin with [, { or ": the number 7, true and null
#   arrive as texts, from whichever SDK.
# - JavaScript reads a structured message whose data is 0, false or "" as an event without data.
# - Only objects pass everywhere, which is what examples and tests send.
#
# Why it matters here: counters and flags as whole payloads are allowed and small. A condition such as `data == 0` or a sum
# over data holds before the transport and not behind it, and a "null check" drops exactly the zeros. Wrap such values in an
# object where a flow is designed, and replay logs as they were received, not as they were sent.
#
# Source: write_data in https://github.com/cloudevents/sdk-python/blob/main/src/cloudevents/core/formats/json.py;
# JSONParser in https://github.com/cloudevents/sdk-javascript/blob/main/src/parsers.ts and parseStructured in
# .../src/message/http/index.ts; https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md#31-handling-of-data
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cloudevents==2.2.0
npm install --silent --no-audit --no-fund --prefix "$folder" cloudevents@10.0.0
cat >"$folder/receive.js" <<'JAVASCRIPT'
const { HTTP } = require("cloudevents");
const messages = JSON.parse(require("fs").readFileSync(0, "utf8"));
// an event without data shows as the text NO DATA
const seen = messages.map((message) => HTTP.toEvent(message).data ?? "NO DATA");
console.log(JSON.stringify(seen));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import subprocess
import sys

from cloudevents.core.bindings import http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

#     sent by Python      body of the binary message   JavaScript: binary      JavaScript: structured
EXPECTED = [
    ({"n": 0},            '{"n": 0}',                  {"n": 0},               {"n": 0}),
    (["a", True, None],   "['a', True, None]",         "REFUSED",              ["a", True, None]),
    (7,                   "7",                         "7",                    7),
    (True,                "True",                      "True",                 True),
    (0,                   "0",                         "0",                    "NO DATA"),
    (False,               "False",                     "False",                "NO DATA"),
    ("",                  "",                          "",                     "NO DATA"),
]
ATTRIBUTES = {"id": "1", "source": "/orders", "type": "counted", "specversion": "1.0", "datacontenttype": "application/json"}


def received(messages: list) -> list:
    sent = json.dumps([{"headers": message.headers, "body": message.body.decode()} for message in messages])
    run = subprocess.run(["node", f"{sys.argv[1]}/receive.js"], input=sent, capture_output=True, text=True)
    # a body that is no JSON is an error there
    return json.loads(run.stdout) if run.returncode == 0 else ["REFUSED"]


wrong = 0
for data, *expected in EXPECTED:
    event = CloudEvent(ATTRIBUTES, data)
    binary, structured = (to(event, JSONFormat()) for to in (http.to_binary_event, http.to_structured_event))
    seen = [binary.body.decode(), *received([binary]), *received([structured])]
    print(f"{data!r:<20} wire {seen[0]!r:<22} JavaScript, binary {seen[1]!r:<12} JavaScript, structured {seen[2]!r}")
    # repr tells 0 from False
    wrong += repr(seen) != repr(expected)
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
