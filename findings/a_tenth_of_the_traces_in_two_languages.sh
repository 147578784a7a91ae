#!/usr/bin/env bash
# Two services that keep a tenth of all traces by their ids, one in Python and one in JavaScript, have a hundredth in common.
#
# One would guess: OpenTelemetry's TraceIdRatioBased decides by the trace id and the ratio alone, and what is kept at a ratio
# is kept at each larger one. So all services with a ratio of 0.1 keep the same traces, and those traces are whole.
#
# What happens (opentelemetry-sdk 1.45.2 of PyPI, @opentelemetry/sdk-trace-base 2.12.1 of npm), for 10,000 trace ids:
# - Each keeps about 1,000. About 100 are kept by both, as if the second had drawn lots: Python compares the last 64 bits of
#   an id with a limit, JavaScript an "exclusive or" of its four parts of 32 bits.
# - In each of them alone the guess is right: what it keeps at 0.05 it keeps at 0.1.
# - From one to the other it is not: of what JavaScript keeps at 0.05, Python at 0.1 has a tenth.
#
# Why it matters here: events that are taken from spans, or a log in which one service samples by `traceidratio`, are joined
# by trace. Of the orders that the shop's front end kept, the back end has every tenth, so that "no payment within a minute"
# holds for nine in ten. Each service's numbers are right by themselves. Let the first service decide
# (parentbased_traceidratio), or compute the choice from the id in one way of your own.
#
# Source: https://opentelemetry.io/docs/specs/otel/trace/sdk/#traceidratiobased long left the algorithm open and recommends it
# for root spans alone; https://github.com/open-telemetry/opentelemetry-specification/issues/1413;
# https://github.com/open-telemetry/opentelemetry-js/issues/6503 (open since March 2026).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opentelemetry-sdk==1.45.2
npm install --silent --no-audit --no-fund --prefix "$folder" @opentelemetry/api@1.9.1 @opentelemetry/sdk-trace-base@2.12.1
cat >"$folder/sample.js" <<'JAVASCRIPT'
const { ROOT_CONTEXT } = require("@opentelemetry/api");
const { SamplingDecision, TraceIdRatioBasedSampler } = require("@opentelemetry/sdk-trace-base");
const [ratio, ids] = JSON.parse(require("fs").readFileSync(0, "utf8"));
const sampler = new TraceIdRatioBasedSampler(ratio);
const kept = (id) => sampler.shouldSample(ROOT_CONTEXT, id).decision === SamplingDecision.RECORD_AND_SAMPLED;
console.log(JSON.stringify(ids.filter(kept)));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import hashlib
import json
import subprocess
import sys

from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

IDS = [hashlib.sha256(str(number).encode()).hexdigest()[:32] for number in range(10_000)]


def in_python(ratio: float) -> set[str]:
    sampler = TraceIdRatioBased(ratio)
    return {id for id in IDS if sampler.should_sample(None, int(id, 16), "order").decision.is_sampled()}


def in_javascript(ratio: float) -> set[str]:
    command = ["node", f"{sys.argv[1]}/sample.js"]
    answer = subprocess.run(command, input=json.dumps([ratio, IDS]), check=True, capture_output=True, text=True)
    return set(json.loads(answer.stdout))


python, javascript = in_python(0.1), in_javascript(0.1)
fewer_python, fewer_javascript = in_python(0.05), in_javascript(0.05)
#    of 10,000 traces                              number  is so
SEEN = [
    ("a tenth, by Python",                         len(python), 900 < len(python) < 1100),
    ("a tenth, by JavaScript",                     len(javascript), 900 < len(javascript) < 1100),
    ("the same tenth, by both",                    len(python & javascript), 50 < len(python & javascript) < 150),
    ("a twentieth, by JavaScript",                 len(fewer_javascript), 400 < len(fewer_javascript) < 600),
    ("of these, within JavaScript's tenth",        len(fewer_javascript & javascript), fewer_javascript <= javascript),
    ("of these, within Python's tenth",            len(fewer_javascript & python), len(fewer_javascript & python) < 100),
    ("a twentieth by Python, beyond its tenth",    len(fewer_python - python), fewer_python <= python),
]
wrong = 0
for name, number, so in SEEN:
    print(f"{name:<42} {number}")
    wrong += not so
raise SystemExit(f"{wrong} of {len(SEEN)} are no longer so" if wrong else 0)
PYTHON
