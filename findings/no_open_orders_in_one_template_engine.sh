#!/usr/bin/env bash
# "for order in orders if order.status == 'open'" is a list of no orders in Nunjucks, and selectattr(…, "open") is all of them.
#
# One would guess: Nunjucks is Jinja for JavaScript, by its own words a port of it. What it lacks it refuses, as it does with
# the filters map and unique. What it renders is what Jinja renders.
#
# What happens (nunjucks 3.2.4 of npm; Jinja2 3.1.6 and MiniJinja 3.1.0 of PyPI, which agree on all of it), for four orders, two of
# which are open and one of which has no status:
# - The `if` of a loop is taken for "orders if … else nothing", which is judged once, before there is an order. The loop is
#   over nothing, and its `else` says "nothing is open".
# - selectattr takes no test. What follows the name of the field is dropped, and each order with any status is "open": 3 of
#   4. rejectattr("status", "equalto", "open") is the one order without a status, instead of two. "price", "gt", 4 is all four.
# - An empty list and an empty mapping are true, so that "if refunds" prints its heading over nothing.
# - sum(attribute="price") is NaN, join(", ", attribute="id") is commas, and groupby keeps the order of the orders, where Jinja
#   sorts by day. A total that `set` adds up inside of a loop is 15 here and 0 in Jinja, the one case in which it is Jinja
#   that surprises.
#
# Why it matters here: texts of notifications are written in one engine and sent by another, as the editor with its preview is in
# JavaScript and the sender is not. Nothing is raised, each text is good English, and a digest says that nothing is open to
# somebody with two open orders. Filter in the flow, and give the template lists that it can print as they are.
# @huggingface/jinja 0.5.11 of npm agrees with Jinja on the first three, and refuses sum.
#
# Source: https://mozilla.github.io/nunjucks/templating.html#selectattr-only-the-single-argument-form (the heading says it all);
# https://github.com/mozilla/nunjucks/issues/261 (the loop, open since 2014); parseFor and parseInlineIf in
# https://github.com/mozilla/nunjucks/blob/master/nunjucks/src/parser.js, selectattr and sum in filters.js beside it;
# https://jinja.palletsprojects.com/en/stable/templates/#for.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check jinja2==3.1.6 minijinja==3.1.0
npm install --silent --no-audit --no-fund --prefix "$folder" nunjucks@3.2.4 @huggingface/jinja@0.5.11
cat >"$folder/render.mjs" <<'JAVASCRIPT'
import { Template } from "@huggingface/jinja";
import nunjucks from "nunjucks";

const [templates, data] = JSON.parse(process.argv[2]);
const orRefuse = (render) => {
  try {
    return render();
  } catch {
    return "refused";
  }
};
const engines = [(text) => nunjucks.renderString(text, data), (text) => new Template(text).render(data)];
console.log(JSON.stringify(templates.map((text) => engines.map((render) => orRefuse(() => render(text))))));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import subprocess
import sys

import jinja2
import minijinja

ORDERS = [
    {"id": 1, "status": "open", "price": 5, "day": "Tue"},
    {"id": 2, "status": "paid", "price": 7, "day": "Mon"},
    {"id": 3, "status": "open", "price": 1, "day": "Tue"},
    {"id": 4, "price": 2, "day": "Mon"},
]
DATA = {"orders": ORDERS, "refunds": [], "address": {}}
OPEN = "{% for o in orders if o.status == 'open' %}{{ o.id }} {% else %}nothing is open{% endfor %}"
DAYS = "{% for day, os in orders | groupby('day') %}{{ day }} {% endfor %}"
TOTAL = "{% set total = 0 %}{% for o in orders %}{% set total = total + o.price %}{% endfor %}{{ total }}"
#     template                                                            Jinja and MiniJinja   Nunjucks   @huggingface/jinja
EXPECTED = [
    (OPEN,                                                                "1 3 ",      "nothing is open",  "1 3 "),
    ("{{ orders | selectattr('status', 'equalto', 'open') | list | length }}",  "2",   "3",                "2"),
    ("{{ orders | rejectattr('status', 'equalto', 'open') | list | length }}",  "2",   "1",                "2"),
    ("{{ orders | selectattr('price', 'gt', 4) | list | length }}",       "2",         "4",                "refused"),
    ("{% if refunds %}Refunds:{% endif %}",                               "",          "Refunds:",         ""),
    ("{% if address %}Sent to:{% endif %}",                               "",          "Sent to:",         ""),
    ("{{ orders | sum(attribute='price') }}",                             "15",        "NaN",              "refused"),
    ("{{ orders | join(', ', attribute='id') }}",                         "1, 2, 3, 4",  ", , , ",         None),
    (DAYS,                                                                "Mon Tue ",  "Tue Mon ",         None),
    (TOTAL,                                                               "0",         "15",               None),
    ("{{ orders | map(attribute='id') | join(', ') }}",                   "1, 2, 3, 4",  "refused",        None),
]
templates = [template for template, *_ in EXPECTED]
command = ["node", f"{sys.argv[1]}/render.mjs", json.dumps([templates, DATA])]
by_javascript = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
wrong = 0
for (template, jinja, nunjucks, other), (by_nunjucks, by_other) in zip(EXPECTED, by_javascript):
    by_jinja = jinja2.Environment().from_string(template).render(DATA)
    by_minijinja = minijinja.Environment().render_str(template, **DATA)
    print(template)
    print(f"    Jinja {by_jinja!r}, MiniJinja {by_minijinja!r}, Nunjucks {by_nunjucks!r}", end="")
    print("" if other is None else f", @huggingface/jinja {by_other!r}")
    wrong += (by_jinja, by_minijinja, by_nunjucks) != (jinja, jinja, nunjucks) or other not in (None, by_other)
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
