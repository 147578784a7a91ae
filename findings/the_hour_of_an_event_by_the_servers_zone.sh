#!/usr/bin/env bash
# Which hour or day an event falls into is, for a CEL rule in JavaScript, a matter of the server's time zone and of Node's version.
#
# One would guess: in CEL (rules of Kubernetes, Envoy and protovalidate) getHours() is the hour in UTC, and getDate(zone) is the
# day in that zone. No machine has a say in it, and a rule is the same in each language, as that is what CEL is for.
#
# What happens (@bufbuild/cel 0.6.1 and @marcbachmann/cel-js 8.0.0 of npm, cel-python 0.5.0 of PyPI):
# - @bufbuild/cel makes a Date of the machine's zone out of the fields. On a server in Berlin the hour from two to three UTC
#   of 29 March is three, as there is no such hour there. In Node 20, where Intl calls midnight 24, the first hour of each day
#   in a named zone is that of the next day, so that Sunday, 23:30 UTC, is Tuesday in Berlin, and in "UTC" 00:30 is tomorrow.
#   With offsets such as +01:00 it is right, as it is in Node 22.23 and 24.21.
# - getDayOfYear() counts days of 24 hours from 1 January of the machine's zone. From March to October it is a day behind
#   on a server in Berlin, all day with @marcbachmann/cel-js, and for an hour after midnight with @bufbuild/cel.
# - cel-python agrees with the definition on each machine.
#
# Why it matters here: "no messages between 22 and 6", "on weekdays" and "once a day" are such rules, written once and evaluated by
# a service in one language and by a replay in another. A rule is tried on a laptop in Berlin and runs on a server in UTC, and
# a server whose only change is its Node moves the first hour of each day to another digest. Run both with TZ=UTC, and take
# the hour and the day from fields that the event brings along.
#
# Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#timezones and
# https://github.com/cel-expr/cel-spec/issues/369 (UTC unless a zone is named); convertToDate and getDayOfYear in
# https://github.com/bufbuild/cel-es/blob/main/packages/cel/src/std/time.ts;
# https://developer.mozilla.org/en-US/docs/Web/JavaScript/Reference/Global_Objects/Intl/DateTimeFormat/DateTimeFormat (hour12).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cel-python==0.5.0
npm install --silent --no-audit --no-fund --prefix "$folder" \
    @bufbuild/cel@0.6.1 @bufbuild/protobuf@2.17.0 @marcbachmann/cel-js@8.0.0
cat >"$folder/rules.mjs" <<'JAVASCRIPT'
import { run } from "@bufbuild/cel";
import { evaluate } from "@marcbachmann/cel-js";
const rules = JSON.parse(process.argv[2]);
const answers = rules.map(([rule, at]) => [run, evaluate].map((by) => Number(by(rule, { at }))));
console.log(JSON.stringify({ node: parseInt(process.versions.node), answers }));
JAVASCRIPT
cat >"$folder/rules.py" <<'PYTHON'
import json
import sys

import celpy

environment = celpy.Environment()
programs = [(environment.program(environment.compile(rule)), at) for rule, at in json.loads(sys.argv[1])]
print(json.dumps([int(program.evaluate(celpy.json_to_cel({"at": at}))) for program, at in programs]))
PYTHON
python3 - "$folder" <<'PYTHON'
import json
import os
import subprocess
import sys

folder = sys.argv[1]
BERLIN = "Europe/Berlin"
SPRING, SUMMER, NOON, LATE, EARLY = (
    "2026-03-29T02:30:00Z", "2026-07-01T00:30:00Z", "2026-07-01T12:30:00Z", "2026-11-29T23:30:00Z", "2026-11-30T00:30:00Z",
)
#     rule                         at        machine in UTC: cel-python, bufbuild, marcbachmann; and in Berlin
EXPECTED = [
    ("getHours()",                 SPRING,   (2, 2, 2),        (2, 3, 2)),
    ("getDayOfYear()",             SUMMER,   (181, 181, 181),  (181, 180, 180)),
    ("getDayOfYear()",             NOON,     (181, 181, 181),  (181, 181, 180)),
    (f'getDayOfWeek("{BERLIN}")',  LATE,     (1, 1, 1),        (1, 1, 1)),
    (f'getDate("{BERLIN}")',       LATE,     (30, 30, 30),     (30, 30, 30)),
    ('getDate("UTC")',             EARLY,    (30, 30, 30),     (30, 30, 30)),
    ("getDate()",                  EARLY,    (30, 30, 30),     (30, 30, 30)),
]
# what @bufbuild/cel has instead, wherever it runs, before Node 22
NODE_20 = {f'getDayOfWeek("{BERLIN}")': 2, f'getDate("{BERLIN}")': 1, 'getDate("UTC")': 1}
rules = json.dumps([(f"timestamp(at).{rule}", at) for rule, at, *_ in EXPECTED])


def answers(zone: str, *command: str):
    environment = {**os.environ, "TZ": zone}
    ran = subprocess.run([*command, rules], check=True, capture_output=True, text=True, env=environment)
    return json.loads(ran.stdout)


wrong = 0
for place, zone in enumerate(("UTC", BERLIN)):
    python = answers(zone, f"{folder}/venv/bin/python", f"{folder}/rules.py")
    javascript = answers(zone, "node", f"{folder}/rules.mjs")
    for (rule, at, *expected), by_python, by_javascript in zip(EXPECTED, python, javascript["answers"]):
        seen, should = (by_python, *by_javascript), expected[place]
        if javascript["node"] < 22:
            should = (should[0], NODE_20.get(rule, should[1]), should[2])
        print(f"{zone:<14} {at} {rule:<30} python {seen[0]:<4} bufbuild {seen[1]:<4} marcbachmann {seen[2]}")
        wrong += seen != should
raise SystemExit(f"{wrong} of {2 * len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
