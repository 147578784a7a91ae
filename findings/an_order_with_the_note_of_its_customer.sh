#!/usr/bin/env bash
# An order without a note shows the note of its customer in Mustache, and in Handlebars each note is printed as "[]".
#
# One would guess: {{#orders}}{{id}}: {{note}}{{/orders}} prints the note of each order, and nothing for one that has none.
# Handlebars is, by its own words, largely compatible with Mustache templates.
#
# What happens (mustache 4.2.0 and handlebars 4.7.10 of npm; chevron 0.14.0, pystache 0.6.8 and pybars3 0.9.7 of PyPI), for a
# customer with a note and a discount, who has four orders, of which the second lacks a note and the third has null:
# - In Mustache a name that an order lacks is looked for outside of it. The second order prints the note of the customer, and a
#   condition {{#note}} on it holds. A discount that only the customer has is taken off each order. Null stays nothing, so that
#   null and missing are two things. All three Mustaches agree, but for pystache, which prints "None" for null.
# - In Handlebars {{#note}}[{{note}}]{{/note}} prints "[]" for "late": the text is the context inside, and has no note. An empty
#   note is a note, and {{#unread}}{{unread}} unread{{/unread}} says " unread" for zero, where Mustache says "all read".
#   pybars agrees about the first two, and about zero with Mustache.
# - With its option `compat` Handlebars looks outside, for null as well, which makes a third kind.
#
# Why it matters here: one template of a notification is rendered by a service in one language and previewed by a page in another,
# and both file names end in .mustache or .hbs by habit. Examples have all fields, and there all agree but for "[]". In
# production the fields that are missing take words from elsewhere, of another person even, if the outer one is the sender.
# flowdsl's templates fail for a missing field. Set each field of a list's entries, to null where there is none.
#
# Source: https://mustache.github.io/mustache.5.html (variables: parent contexts; falsy values);
# https://handlebarsjs.com/guide/ and https://github.com/handlebars-lang/handlebars.js#differences-between-handlebarsjs-and-mustache
# (no recursive lookup; helpers decide about zero); lib/handlebars/helpers/block-helper-missing.js there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check chevron==0.14.0 pystache==0.6.8 pybars3==0.9.7
npm install --silent --no-audit --no-fund --prefix "$folder" mustache@4.2.0 handlebars@4.7.10
cat >"$folder/render.mjs" <<'JAVASCRIPT'
import handlebars from "handlebars";
import mustache from "mustache";

const [templates, data] = JSON.parse(process.argv[2]);
const engines = [
  (text) => mustache.render(text, data),
  (text) => handlebars.compile(text)(data),
  (text) => handlebars.compile(text, { compat: true })(data),
];
console.log(JSON.stringify(templates.map((text) => engines.map((render) => render(text).trim()))));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import subprocess
import sys

import chevron
import pybars
import pystache

ORDERS = [{"id": 1, "note": "late"}, {"id": 2}, {"id": 3, "note": None}, {"id": 4, "note": ""}]
CUSTOMER = {"note": "VIP", "discount": "5 off", "unread": 0, "orders": ORDERS}
NOTE = "{{#orders}}{{id}}:{{note}} {{/orders}}"
IF_NOTE = "{{#orders}}{{id}}{{#note}}[{{note}}]{{/note}} {{/orders}}"
DISCOUNT = "{{#orders}}{{id}} {{#discount}}({{discount}}) {{/discount}}{{/orders}}"
UNREAD = "{{#unread}}{{unread}} unread{{/unread}}{{^unread}}all read{{/unread}}"
OFF = "1 (5 off) 2 (5 off) 3 (5 off) 4 (5 off)"
#     template    Mustache, chevron           pystache                   Handlebars       with compat                pybars
EXPECTED = [
    (NOTE,        "1:late 2:VIP 3: 4:",       "1:late 2:VIP 3:None 4:",  "1:late 2: 3: 4:",  "1:late 2:VIP 3:VIP 4:",  "1:late 2: 3: 4:"),
    (IF_NOTE,     "1[late] 2[VIP] 3 4",       "1[late] 2[VIP] 3 4",      "1[] 2 3 4[]",   "1[late] 2[VIP] 3[VIP] 4[]",  "1[] 2 3 4[]"),
    (DISCOUNT,    OFF,                        OFF,                       "1 2 3 4",       OFF,                       "1 2 3 4"),
    (UNREAD,      "all read",                 "all read",                "unread",        "0 unread",                "all read"),
]
command = ["node", f"{sys.argv[1]}/render.mjs", json.dumps([[template for template, *_ in EXPECTED], CUSTOMER])]
by_javascript = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
wrong = 0
for (template, mustache, *others), (by_mustache, *by_handlebars) in zip(EXPECTED, by_javascript):
    by_chevron = chevron.render(template, CUSTOMER).strip()
    by_pybars = str(pybars.Compiler().compile(template)(CUSTOMER)).strip()
    seen = [pystache.render(template, CUSTOMER).strip(), *by_handlebars, by_pybars]
    print(template)
    names = ["Mustache", "chevron", "pystache", "Handlebars", "with compat", "pybars"]
    print("   ", ", ".join(f"{name} {text!r}" for name, text in zip(names, [by_mustache, by_chevron, *seen])))
    wrong += [by_mustache, by_chevron, *seen] != [mustache, mustache, *others]
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
