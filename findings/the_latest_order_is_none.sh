#!/usr/bin/env bash
# Asked by JMESPath for the latest order, max_by(orders, &day), three libraries of JavaScript say that there is none.
#
# One would guess: JMESPath has a specification with a suite of tests that its libraries share. A query that finds the orders since
# a day in AWS's command line, which is Python, finds them in a browser or in a Lambda function of JavaScript.
#
# What happens (jmespath 1.1.0 of PyPI; jmespath 0.16.0, @metrichor/jmespath 0.3.1, @jmespath-community/jmespath 1.3.0 and
# @aws-lambda-powertools/jmespath 2.36.0 of npm), for orders with a day as text:
# - max_by and min_by of a text are null in the first three of JavaScript: they begin at -Infinity, and no text is more. Python
#   and Powertools give the order. max(orders[].day) gives the day in all of them, and sort_by(…)[-1] the order.
# - orders[?day > '2026-11-28'] finds two orders in Python and in two of JavaScript, and none in the community's and Powertools'.
#   These follow the specification, which compares numbers only and makes null of the rest, and "not null" is true: with
#   "!" before it, the same condition holds for all orders.
# - An amount that is "10", null or missing is compared as JavaScript does by two: "10" > 5 holds, and null < 6, and a missing one
#   is at least 0. It never holds for the two that follow the specification, and is an error in Python.
#
# Why it matters here: filters of events are written once, tried on AWS's command line or jmespath.org, and run somewhere else.
# Nothing is raised where the answer is null or no rows: "orders since yesterday" is quiet for ever, "since the latest order"
# begins anew each time, and the filter for old orders takes all. Give times as numbers, and take the last one of sort_by.
#
# Source: https://jmespath.org/specification.html#ordering-operators and #max-by (which allows text);
# https://github.com/jmespath/jmespath.js/issues/51; https://github.com/jmespath/jmespath.py/issues/124 (text came back after
# the release that followed the specification); _functionMaxBy in https://github.com/jmespath/jmespath.js/blob/master/jmespath.js.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check jmespath==1.1.0
npm install --silent --no-audit --no-fund --prefix "$folder" jmespath@0.16.0 @metrichor/jmespath@0.3.1 \
    @jmespath-community/jmespath@1.3.0 @aws-lambda-powertools/jmespath@2.36.0
cat >"$folder/search.mjs" <<'JAVASCRIPT'
import { search as byPowertools } from "@aws-lambda-powertools/jmespath";
import { search as byCommunity } from "@jmespath-community/jmespath";
import { search as byMetrichor } from "@metrichor/jmespath";
import jmespath from "jmespath";

const [queries, data] = JSON.parse(process.argv[2]);
const engines = [jmespath.search, byMetrichor, byCommunity, (data, query) => byPowertools(query, data)];
console.log(JSON.stringify(queries.map((query) => engines.map((search) => search(data, query)))));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import subprocess
import sys

import jmespath

DATA = {
    "orders": [
        {"id": 1, "day": "2026-11-28", "amount": 5},
        {"id": 2, "day": "2026-11-30", "amount": 10},
        {"id": 3, "day": "2026-11-29", "amount": 7},
    ],
    "mixed": [{"id": 1, "amount": 5}, {"id": 2, "amount": "10"}, {"id": 3, "amount": None}, {"id": 4}],
}


def by_python(query: str):
    try:
        return jmespath.search(query, DATA)
    except TypeError:
        return "error"


NONE, ALL = [], [1, 2, 3]
#     query                                  Python     jmespath      @metrichor    community   Powertools
EXPECTED = [
    ("max_by(orders, &day).id",              2,         None,         None,         None,       2),
    ("min_by(orders, &day).id",              1,         None,         None,         None,       1),
    ("max_by(orders, &amount).id",           2,         2,            2,            2,          2),
    ("sort_by(orders, &day)[-1].id",         2,         2,            2,            2,          2),
    ("max(orders[].day)",                    "2026-11-30", "2026-11-30", "2026-11-30", "2026-11-30", "2026-11-30"),
    ("orders[?day > '2026-11-28'].id",       [2, 3],    [2, 3],       [2, 3],       NONE,       NONE),
    ("orders[?!(day > '2026-11-28')].id",    [1],       [1],          [1],          ALL,        ALL),
    ("mixed[?amount > `5`].id",              "error",   [2],          [2],          NONE,       NONE),
    ("mixed[?amount < `6`].id",              "error",   [1, 3, 4],    [1, 3, 4],    [1],        [1]),
    ("mixed[?amount >= `0`].id",             "error",   [1, 2, 3, 4], [1, 2, 3, 4], [1],        [1]),
]
command = ["node", f"{sys.argv[1]}/search.mjs", json.dumps([[query for query, *_ in EXPECTED], DATA])]
by_javascript = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
wrong = 0
for (query, *expected), of_query in zip(EXPECTED, by_javascript):
    seen = [by_python(query), *of_query]
    print(f"{query:<35} Python {seen[0]}, jmespath {seen[1]}, @metrichor {seen[2]}, community {seen[3]}, Powertools {seen[4]}")
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
