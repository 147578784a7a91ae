#!/usr/bin/env bash
# An id that one YAML library writes without quotes is a number, a time or a truth value for the next one.
#
# One would guess: a library that writes the text "12e5" or "22:30" puts quotes around it if it could be read as anything
# else. The rules about `yes` and `no` are known, and writers guard against them.
#
# What happens (PyYAML 6.0.4, ruamel.yaml 0.19.1, yaml 2.9.1 and js-yaml 5.5.0 of npm): each writer guards only against its own
# reader. PyYAML knows no exponent without a point and no 0o, and leaves 12e5, 08 and 0o14 plain: numbers for the three
# others. yaml leaves 2026-11-29, 22:30 and 1_000 plain: a date, the number 1350 and 1000 for PyYAML. ruamel.yaml, which
# keeps to YAML 1.2, leaves 22:30 and on plain as well. js-yaml 5 alone quotes all of these.
#
# Why it matters here: flows and fixtures are written by a program in one language and read in another. Hex ids are made of
# digits and an e once in a while (12e5, 7e10): one event of many gets a number for its key, joins nothing and lands in a
# window of its own. Write ids with forced quotes, and test the pair of libraries rather than each.
#
# Source: the float resolver in https://github.com/yaml/pyyaml/blob/main/lib/yaml/resolver.py (a point is required);
# https://eemeli.org/yaml/#schema-options (`core` writes for YAML 1.2); https://yaml.org/spec/1.2.2/#103-core-schema
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check PyYAML==6.0.4 ruamel.yaml==0.19.1
npm install --silent --no-audit --no-fund --prefix "$folder" yaml@2.9.1 js-yaml@5.5.0
cat >"$folder/yaml.js" <<'JAVASCRIPT'
const [library, action, ...values] = process.argv.slice(2);
const { dump, load } = require("js-yaml");
const { stringify, parse } = require("yaml");
const write = library === "yaml" ? stringify : dump;
const read = library === "yaml" ? parse : load;
const done = values.map((value) => (action === "write" ? write({ id: value }) : typeof read(value).id));
console.log(JSON.stringify(done));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import io
import json
import subprocess
import sys

import yaml
from ruamel.yaml import YAML

IDS = ["12e5", "08", "0o14", "22:30", "on", "2026-11-29", "1_000"]
#    writer          ids that another reader takes for something else
EXPECTED = {
    "PyYAML":      ["12e5", "08", "0o14"],
    "ruamel.yaml": ["22:30", "on"],
    "yaml":        ["22:30", "on", "2026-11-29", "1_000"],
    "js-yaml":     [],
}


def in_javascript(library: str, action: str, values: list[str]) -> list[str]:
    command = ["node", f"{sys.argv[1]}/yaml.js", library, action, *values]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def by_ruamel(text: str) -> str:
    buffer = io.StringIO()
    YAML().dump({"id": text}, buffer)
    return buffer.getvalue()


WRITERS = {
    "PyYAML": [yaml.safe_dump({"id": text}) for text in IDS],
    "ruamel.yaml": [by_ruamel(text) for text in IDS],
    "yaml": in_javascript("yaml", "write", IDS),
    "js-yaml": in_javascript("js-yaml", "write", IDS),
}
wrong = 0
for writer, documents in WRITERS.items():
    kinds = {
        "PyYAML": [type(yaml.safe_load(document)["id"]).__name__ for document in documents],
        "ruamel.yaml": [type(YAML(typ="safe", pure=True).load(document)["id"]).__name__ for document in documents],
        "yaml": in_javascript("yaml", "read", documents),
        "js-yaml": in_javascript("js-yaml", "read", documents),
    }
    changed = []
    for text, *read in zip(IDS, *kinds.values()):
        others = [f"{kind} in {reader}" for reader, kind in zip(kinds, read) if kind not in ("str", "string")]
        if others:
            changed.append(text)
            print(f"written by {writer}: {text} is {', '.join(others)}")
    wrong += changed != EXPECTED[writer]
raise SystemExit(f"{wrong} of {len(EXPECTED)} writers are no longer so" if wrong else 0)
PYTHON
