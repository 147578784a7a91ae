#!/usr/bin/env bash
# The defaults that a YAML file shares by "<<" are there for the libraries of Python, and gone for those of JavaScript.
#
# One would guess: `<<: *defaults` takes the fields of another mapping, as in the files of Docker Compose and GitLab. A library
# that does not know it says so, as the alias it stands on was resolved.
#
# What happens (PyYAML 6.0.4 and ruamel.yaml 0.19.1 of PyPI; yaml 2.9.1, js-yaml 4.3.2 and js-yaml 5.5.0 of npm):
# - PyYAML and ruamel.yaml merge. yaml, and js-yaml since version 5, have a field named "<<" instead, with the defaults in it, and
#   no field that was to come from them. js-yaml 4 merged, so that an update of it is enough.
# - Both follow YAML 1.2, which has no merge key, and both can be told to merge: `merge: true`, and a schema with mergeTag.
# - A first line %YAML 1.1 makes yaml merge. js-yaml 5 takes that line and does not.
#
# Why it matters here: flows, rules and templates in YAML share their limits, quiet hours and channels in this way, and are read by
# the service in one language and by checks and editors in another. Without the limit a flow sends all it has. Most schemas
# allow fields that they do not know, so that "<<" passes. Write the values out where more than one language reads them, or
# refuse a field named "<<".
#
# Source: https://eemeli.org/yaml/#document-options (`merge`, false for 1.2); https://github.com/nodeca/js-yaml/issues/646
# (no merge by default since 5); https://yaml.org/type/merge.html (a type of YAML 1.1).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyyaml==6.0.4 ruamel.yaml==0.19.1
npm install --silent --no-audit --no-fund --prefix "$folder" yaml@2.9.1 js-yaml@5.5.0 js-yaml-4@npm:js-yaml@4.3.2
cat >"$folder/read.js" <<'JAVASCRIPT'
const yaml = require("yaml");
const five = require("js-yaml");
const four = require("js-yaml-4");
const readers = {
  yaml: (text) => yaml.parse(text),
  "yaml, merge: true": (text) => yaml.parse(text, { merge: true }),
  "js-yaml 4": (text) => four.load(text),
  "js-yaml 5": (text) => five.load(text),
  "js-yaml 5, mergeTag": (text) => five.load(text, { schema: five.CORE_SCHEMA.withTags(five.mergeTag) }),
};
const readAll = ([name, read]) => [name, JSON.parse(process.argv[2]).map((text) => read(text))];
console.log(JSON.stringify(Object.fromEntries(Object.entries(readers).map(readAll))));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import subprocess
import sys

import yaml
from ruamel.yaml import YAML

TEXT = """\
defaults: &defaults {limit: 5, quiet: true}
flow:
  <<: *defaults
  limit: 9
"""
TEXTS = [TEXT, "%YAML 1.1\n---\n" + TEXT]
MERGED = {"limit": 9, "quiet": True}
KEPT = {"<<": {"limit": 5, "quiet": True}, "limit": 9}
#                            as it is   %YAML 1.1
EXPECTED = {
    "PyYAML":                (MERGED,   MERGED),
    "ruamel.yaml":           (MERGED,   MERGED),
    "js-yaml 4":             (MERGED,   MERGED),
    "js-yaml 5":             (KEPT,     KEPT),
    "js-yaml 5, mergeTag":   (MERGED,   MERGED),
    "yaml":                  (KEPT,     MERGED),
    "yaml, merge: true":     (MERGED,   MERGED),
}
command = ["node", f"{sys.argv[1]}/read.js", json.dumps(TEXTS)]
read = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
read["PyYAML"] = [yaml.safe_load(text) for text in TEXTS]
read["ruamel.yaml"] = [YAML(typ="safe", pure=True).load(text) for text in TEXTS]
wrong = 0
for library, expected in EXPECTED.items():
    seen = tuple(document["flow"] for document in read[library])
    for text, flow in zip(("as it is", "%YAML 1.1"), seen):
        print(f"{library:<20} {text:<12} {flow}")
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
