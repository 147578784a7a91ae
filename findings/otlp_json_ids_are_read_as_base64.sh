#!/usr/bin/env bash
# A trace that JavaScript wrote as OTLP/JSON has other ids when Python's own OTLP messages read it, and nobody complains.
#
# One would guess: OTLP/JSON is the JSON form of the published protobuf messages, so that opentelemetry-proto with protobuf's
# json_format reads what an exporter wrote. If a field were written in another way, reading it would fail.
#
# What happens (opentelemetry-proto 1.45.2, protobuf 7.36.2, @opentelemetry/otlp-transformer 0.223.1): OTLP/JSON writes ids
# in hex, while the JSON form of protobuf writes bytes in base64. Every hex id is legal base64 (32 and 16 characters, both
# multiples of four), so it is decoded: 16 bytes become 24 other bytes, and 8 become 12. Printed as JSON again the message
# shows the text that came in, so a look at the result, or a test of there and back, finds nothing.
#
# Why it matters here: a log of spans that is kept as JSON and one that came over the wire as protobuf do not join, a filter
# for a trace id in a log line finds nothing, and sampling by id takes other traces. Ids have to be turned into base64
# before json_format.Parse and back after it, or the lengths of ids checked where events are read.
#
# Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding (hex, "not base64-encoded");
# https://protobuf.dev/programming-guides/json/ (bytes); https://github.com/open-telemetry/opentelemetry-proto-go/issues/106
# met the same in Go.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opentelemetry-proto==1.45.2 protobuf==7.36.2
npm install --silent --no-audit --no-fund --prefix "$folder" \
    @opentelemetry/api@1.9.1 @opentelemetry/sdk-trace-base@2.12.1 @opentelemetry/otlp-transformer@0.223.1
cat >"$folder/write.js" <<'JAVASCRIPT'
const { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } = require("@opentelemetry/sdk-trace-base");
const { JsonTraceSerializer, ProtobufTraceSerializer } = require("@opentelemetry/otlp-transformer");
const { writeFileSync } = require("fs");
const [traceId, spanId, folder] = process.argv.slice(2);
const exporter = new InMemorySpanExporter();
const provider = new BasicTracerProvider({
  idGenerator: { generateTraceId: () => traceId, generateSpanId: () => spanId },
  spanProcessors: [new SimpleSpanProcessor(exporter)],
});
provider.getTracer("shop").startSpan("order").end();
const spans = exporter.getFinishedSpans();
writeFileSync(`${folder}/spans.json`, JsonTraceSerializer.serializeRequest(spans));
writeFileSync(`${folder}/spans.bin`, ProtobufTraceSerializer.serializeRequest(spans));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import subprocess
import sys
from pathlib import Path

from google.protobuf import json_format
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
#    read from     bytes of trace and span id   trace id, in hex                                     in JSON again
EXPECTED = {
    "protobuf":  ((16, 8),                     TRACE,                                                "W47/95gDgQPSabYzgT/GDA=="),
    "JSON":      ((24, 12),                    "e5bf1e7df7fbf7cd37f35d37776ebd6fadf7f35ddf73ad1c",   TRACE),
}
folder = Path(sys.argv[1])
subprocess.run(["node", folder / "write.js", TRACE, SPAN, folder], check=True)


def only_span(traces: TracesData) -> Span:
    return traces.resource_spans[0].scope_spans[0].spans[0]


SPANS = {
    "protobuf": only_span(TracesData.FromString((folder / "spans.bin").read_bytes())),
    "JSON": only_span(json_format.Parse((folder / "spans.json").read_text(), TracesData())),
}
wrong = 0
for name, expected in EXPECTED.items():
    span = SPANS[name]
    seen = ((len(span.trace_id), len(span.span_id)), span.trace_id.hex(), json_format.MessageToDict(span)["traceId"])
    print(f"{name:<9} {seen[0][0]} and {seen[0][1]} bytes, trace id {seen[1]}, in JSON again {seen[2]}")
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
