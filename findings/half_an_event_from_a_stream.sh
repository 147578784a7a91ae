#!/usr/bin/env bash
# Three clients read three lists of events from one stream of server-sent events, and one of them hands out half of a number.
#
# One would guess: the format is small and standardised, so that all clients read the same events from the same bytes. An
# event without an id has none, one that is cut off is not handed out, and a comment that keeps the connection open is no
# event.
#
# What happens (httpx-sse 0.4.3 and sseclient-py 1.9.0 of PyPI, eventsource-parser 3.1.1 of npm), for a response that ends in
# the middle of the amount 4750, as one does whose server is stopped:
# - sseclient-py hands out what it has at the end of the stream as an event: the amount 47, under the id of the whole one. The
#   standard drops an event without the blank line behind it, and the two others do.
# - httpx-sse gives an event without an id the id of the one before. It is the standard's "last event ID", which is sent when
#   the client connects again. The two others say None and undefined.
# - httpx-sse makes an event without data, under that id again, of each comment (": ping") once an id has been seen, and not
#   before. The standard and the two others make none.
#
# Why it matters here: deduplication by id takes the second of two events from httpx-sse for a repetition of the first, and
# not from the others. With sseclient-py half of 4750 is a valid number and its id is used up: when the client connects again,
# the whole event is dropped as known, or not sent at all by a server that was asked for what follows this id. Nothing is
# raised if the response has no length and ends by closing. Put ids into the data, and let the data show that it is whole, as
# an object of JSON does.
#
# Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation (incomplete events and
# those with empty data are not dispatched; the last event ID stays); _read in
# https://github.com/mpetazzoni/sseclient/blob/master/sseclient/__init__.py (what is left is yielded);
# https://github.com/florimondmanca/httpx-sse/pull/46 (open; the comments).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check httpx==0.28.1 httpx-sse==0.4.3 sseclient-py==1.9.0
npm install --silent --no-audit --no-fund --prefix "$folder" eventsource-parser@3.1.1
cat >"$folder/read.mjs" <<'JAVASCRIPT'
import { createParser } from "eventsource-parser";
const [events, decoder] = [[], new TextDecoder()];
const parser = createParser({ onEvent: ({ id, data }) => events.push([id ?? null, data]) });
const response = await fetch(process.argv[2]);
for await (const chunk of response.body) parser.feed(decoder.decode(chunk, { stream: true }));
console.log(JSON.stringify(events));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import httpx_sse
import sseclient

STREAM = ": ping\n\nid: 7\ndata: 1250\n\n: ping\n\ndata: 300\n\nid: 9\ndata: 47"


class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        # and close, without the rest
        self.wfile.write(STREAM.encode())

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Shop)
threading.Thread(target=server.serve_forever, daemon=True).start()
ADDRESS = f"http://127.0.0.1:{server.server_port}/"


def by_httpx_sse() -> list[tuple]:
    with httpx.Client() as client, httpx_sse.connect_sse(client, "GET", ADDRESS) as source:
        return [(event.id, event.data) for event in source.iter_sse()]


def by_sseclient() -> list[tuple]:
    with httpx.stream("GET", ADDRESS) as response:
        return [(event.id, event.data) for event in sseclient.SSEClient(response.iter_bytes()).events()]


def by_eventsource_parser() -> list[tuple]:
    command = ["node", f"{sys.argv[1]}/read.mjs", ADDRESS]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return [tuple(event) for event in json.loads(answer.stdout)]


#    read by                   (id, data)
EXPECTED = [
    (by_httpx_sse,             [("7", "1250"), ("7", ""), ("7", "300")]),
    (by_sseclient,             [("7", "1250"), (None, "300"), ("9", "47")]),
    (by_eventsource_parser,    [("7", "1250"), (None, "300")]),
]
wrong = 0
for read, expected in EXPECTED:
    found = read()
    print(f"{read.__name__:<24} " + ", ".join(f"{data or 'nothing'} (id {id})" for id, data in found))
    wrong += found != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
