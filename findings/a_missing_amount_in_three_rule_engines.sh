#!/usr/bin/env bash
# A JSONLogic rule about a field that an event lacks holds in one engine and fails in the next.
#
# One would guess: JSONLogic is chosen because the same rule runs in the browser and on the server. An event without an
# amount meets no condition on it, or meets the same one everywhere.
#
# What happens (json-logic-js 2.0.5 of npm, panzi-json-logic 1.0.1 and json-logic-qubit 0.9.1 of PyPI): `var` gives null for
# a missing field, and then each engine compares by rules of its own. JavaScript's own operators say that null is less than 5, at
# most 0 and at least 0, and still not equal to 0. panzi-json-logic turns null into 0 for all of them, so that `== 0` holds as
# well. json-logic-qubit says no to all four, so that a rule and its negation by the opposite operator both fail. The
# remainder of a negative number has JavaScript's sign in the first and Python's in the other two. Nothing is raised anywhere,
# and where the field is there all three agree.
#
# Why it matters here: events lack fields, of one kind or from before some release. A rule such as "amount < 5" that is
# tried on a history in one language and shipped to another changes who is notified, and only for those events. Say what a
# missing field means in the rule itself: {"and": [{"!=": [{"var": "amount"}, null]}, …]} is the same in all three.
#
# Source: https://jsonlogic.com/operations.html says that `var` of what is not there is null, and nothing of how null compares;
# operations in https://github.com/jwadhams/json-logic-js/blob/master/logic.js; to_number and what calls it in
# https://github.com/panzi/panzi-json-logic/blob/main/json_logic/builtins.py; _less_than and _equal_to in
# https://github.com/qubitproducts/json-logic-py/blob/master/json_logic/__init__.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-audit --no-fund --prefix "$folder" json-logic-js@2.0.5
cat >"$folder/apply.js" <<'JAVASCRIPT'
const { apply } = require("json-logic-js");
console.log(JSON.stringify(JSON.parse(process.argv[2]).map(([rule, event]) => apply(rule, event))));
JAVASCRIPT
cat >"$folder/apply.py" <<'PYTHON'
import json
import sys

from json_logic import jsonLogic

print(json.dumps([jsonLogic(rule, event) for rule, event in json.loads(sys.argv[1])]))
PYTHON
for package in panzi-json-logic==1.0.1 json-logic-qubit==0.9.1; do
  python3 -m venv "$folder/${package%==*}"
  "$folder/${package%==*}/bin/pip" install --quiet --disable-pip-version-check "$package"
done
python3 - "$folder" <<'PYTHON'
import json
import subprocess
import sys

AMOUNT, THERE, LACKING = {"var": "amount"}, {"amount": 3}, {}
#     rule                              event     js     panzi  qubit
EXPECTED = [
    ({"<": [AMOUNT, 5]},                THERE,   (True,  True,  True)),
    ({"<": [AMOUNT, 5]},                LACKING, (True,  True,  False)),
    ({"<=": [AMOUNT, 0]},               LACKING, (True,  True,  False)),
    ({">=": [AMOUNT, 0]},               LACKING, (True,  True,  False)),
    ({"==": [AMOUNT, 0]},               LACKING, (False, True,  False)),
    ({"!=": [AMOUNT, None]},            LACKING, (False, False, False)),
    ({"%": [-7, 3]},                    THERE,   (-1,    2,     2)),
]


def answers(*command: str) -> list:
    rules = json.dumps([[rule, event] for rule, event, _ in EXPECTED])
    return json.loads(subprocess.run([*command, rules], check=True, capture_output=True, text=True).stdout)


folder = sys.argv[1]
found = zip(
    answers("node", f"{folder}/apply.js"),
    answers(f"{folder}/panzi-json-logic/bin/python", f"{folder}/apply.py"),
    answers(f"{folder}/json-logic-qubit/bin/python", f"{folder}/apply.py"),
)
wrong = 0
for (rule, event, expected), answer in zip(EXPECTED, found):
    print(f"{json.dumps(rule):<32} {json.dumps(event):<14} js {answer[0]!s:<6} panzi {answer[1]!s:<6} qubit {answer[2]}")
    wrong += answer != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
