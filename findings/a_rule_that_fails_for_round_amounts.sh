#!/usr/bin/env bash
# "event.amount > 4.5" holds for an amount of 5.5 and is an error for one of 5, if the event came as JSON to CEL in Python.
#
# One would guess: JSON has one kind of number, and CEL (rules of Kubernetes, Envoy and protovalidate) is typed, so that a rule
# either fits the field or does not. What was tried on one amount works for the next, and in each language.
#
# What happens (cel-python 0.5.0 and common-expression-language 0.10.0 of PyPI; @bufbuild/cel 0.6.1, @marcbachmann/cel-js 8.0.0 and
# cel-js 0.8.2 of npm), for events that were read by json.loads and JSON.parse:
# - In Python 5 is an int and 5.5 a double, so that the type of a field is a matter of each event. Comparing with 4.5 is
#   refused by cel-python for 5; taking it times 2.0, or less a fee of 0.5, by both; adding 1 by the second for 5.5. Of
#   event.amount / 2 and event.amount / 2.0 the first fails for 5.5 and the second for 5.
# - In JavaScript each number is a double. The first two libraries refuse event.amount + 1, and / 2, for all events.
# - cel-js makes 2.5 of 5 / 2, where Python divides integers and gets 2, and does not divide 5.5 at all.
# - double(event.amount) is right in the four that know it.
#
# Why it matters here: rules are written with an example or two at hand. Prices of examples end in .50 or .99, and the one in
# a hundred that is round is an error, which is easily taken for "no". Or a rule was tried in a page and is refused, for
# each event, by the service. Write double(…) around each number of an event, and numbers with a point beside it.
#
# Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#json-data-conversion and
# https://github.com/cel-expr/cel-spec/wiki/proposal-210 (comparing int and double, which cel-python lacks); json_to_cel in
# https://github.com/cloud-custodian/cel-python/blob/main/src/celpy/adapter.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cel-python==0.5.0 common-expression-language==0.10.0
npm install --silent --no-audit --no-fund --prefix "$folder" \
    @bufbuild/cel@0.6.1 @marcbachmann/cel-js@8.0.0 cel-js@0.8.2
cat >"$folder/judge.mjs" <<'JAVASCRIPT'
import { run } from "@bufbuild/cel";
import { evaluate } from "@marcbachmann/cel-js";
import { evaluate as evaluateByCelJs } from "cel-js";

const [rules, events] = JSON.parse(process.argv[2]);
const judge = (engine, rule, event) => {
  try {
    const said = engine(rule, { event: JSON.parse(event) });
    return said === true ? "yes" : said === false ? "no" : "error";
  } catch {
    return "error";
  }
};
const engines = [run, evaluate, evaluateByCelJs];
console.log(JSON.stringify(rules.map((rule) => events.map((event) => engines.map((engine) => judge(engine, rule, event))))));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import subprocess
import sys

import cel
import celpy

EVENTS = ['{"amount": 5, "fee": 0.5}', '{"amount": 5.5, "fee": 0.5}']
ENVIRONMENT = celpy.Environment()


def by_cel_python(rule: str, event: str) -> bool:
    program = ENVIRONMENT.program(ENVIRONMENT.compile(rule))
    return bool(program.evaluate({"event": celpy.json_to_cel(json.loads(event))}))


def by_common_expression_language(rule: str, event: str) -> bool:
    return cel.evaluate(rule, {"event": json.loads(event)})


def judge(engine, rule: str, event: str) -> str:
    try:
        return "yes" if engine(rule, event) else "no"
    except Exception:
        return "error"


#     rule                                    amount 5                      amount 5.5
#                                             cel-python, common-expression-language, @bufbuild, @marcbachmann, cel-js
EXPECTED = [
    ("event.amount > 4.5",                    "error yes yes yes yes",      "yes yes yes yes yes"),
    ("event.amount > 4",                      "yes yes yes yes yes",        "yes yes yes yes yes"),
    ("event.amount == 5.0",                   "error yes yes yes yes",      "no no no no no"),
    ("event.amount + 1 > 4",                  "yes yes error error yes",    "yes error error error yes"),
    ("event.amount * 2.0 > 9.0",              "error error yes yes yes",    "yes yes yes yes yes"),
    ("event.amount / 2 > 2",                  "no no error error yes",      "error error error error error"),
    ("event.amount / 2.0 > 2.0",              "error error yes yes yes",    "yes yes yes yes error"),
    ("event.amount - event.fee > 1",          "error error yes yes yes",    "yes yes yes yes yes"),
    ("double(event.amount) / 2.0 > 2.0",      "yes yes yes yes error",      "yes yes yes yes error"),
]
command = ["node", f"{sys.argv[1]}/judge.mjs", json.dumps([[rule for rule, *_ in EXPECTED], EVENTS])]
by_javascript = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
wrong = 0
for (rule, *expected), of_rule in zip(EXPECTED, by_javascript):
    seen = []
    for event, javascript in zip(EVENTS, of_rule):
        python = [judge(engine, rule, event) for engine in (by_cel_python, by_common_expression_language)]
        seen.append(" ".join(python + javascript))
    print(f"{rule:<34} 5: {seen[0]:<30} 5.5: {seen[1]}")
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
