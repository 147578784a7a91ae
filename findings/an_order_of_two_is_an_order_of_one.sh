#!/usr/bin/env bash
# By the hash of its content an order of two books is an order of one for DeepDiff, and "1", 1 and true are one for node-object-hash.
#
# One would guess: a library for the hash of a JSON value gives two values one hash if they are equal: fields in any order, and
# everything else as it is. DeepDiff's hash tells apart what DeepDiff itself calls different.
#
# What happens (deepdiff 9.1.0 of PyPI; node-object-hash 3.1.1, object-hash 3.0.0, ohash 2.0.12, hash-it 7.0.2 and hash-sum 2.0.0
# of npm), for pairs of events:
# - DeepHash takes a list for a set: neither the order of its items nor how often one is there counts, by default. DeepDiff sees a
#   change in both, as there the same two options are off. DeepHash tells 1 and 1.0 apart, which are equal in Python and JSON.
# - node-object-hash sorts lists as well, and turns values into text: 1, "1" and true are one, null and "" are one, and a list
#   is joined by commas, so that ["a,b"] is ["a", "b"]. With {coerce: false, sort: {array: false}} all are apart.
# - The four others tell all of these pairs apart.
#
# Why it matters here: an event without an id is known by its content, and a deduplication by that hash drops the second order: of
# two books instead of one, from Oslo to Bonn instead of back. What is dropped looks like what duplicates look like. Hash the
# JSON text with sorted keys, or try such pairs on the library first. flowdsl's key of several paths compares values with
# their types and lists in their order.
#
# Source: https://zepworks.com/deepdiff/current/deephash.html (ignore_repetition and ignore_iterable_order, both True);
# https://github.com/SkeLLLa/node-object-hash#readme (coerce and sort, both true); https://www.rfc-editor.org/rfc/rfc8785 (JSON
# in one form, for hashes).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check deepdiff==9.1.0
npm install --silent --no-audit --no-fund --prefix "$folder" \
    node-object-hash@3.1.1 object-hash@3.0.0 ohash@2.0.12 hash-it@7.0.2 hash-sum@2.0.0
cat >"$folder/hash.mjs" <<'JAVASCRIPT'
import { hash as byHashIt } from "hash-it";
import byHashSum from "hash-sum";
import { hasher } from "node-object-hash";
import byObjectHash from "object-hash";
import { hash as byOhash } from "ohash";

const strict = hasher({ coerce: false, sort: { array: false, object: true } });
const hashes = [hasher().hash, strict.hash, byObjectHash, byOhash, byHashIt, byHashSum];
const pairs = JSON.parse(process.argv[2]);
console.log(JSON.stringify(pairs.map(([a, b]) => hashes.map((hash) => hash(a) === hash(b)))));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import subprocess
import sys

from deepdiff import DeepDiff, DeepHash

EXACT = {"ignore_repetition": False, "ignore_iterable_order": False}


def hash_deeply(event: dict, **options) -> str:
    return DeepHash(event, **options)[event]


def compare(a: dict, b: dict) -> list[bool]:
    """Whether they are one for DeepDiff, for DeepHash, and for DeepHash when told to be exact."""
    return [not DeepDiff(a, b), hash_deeply(a) == hash_deeply(b), hash_deeply(a, **EXACT) == hash_deeply(b, **EXACT)]


#     two events                                                     one by DeepHash   one by node-object-hash
EXPECTED = [
    ({"books": ["Emma", "Emma"]}, {"books": ["Emma"]},               True,             False),
    ({"route": ["Bonn", "Oslo"]}, {"route": ["Oslo", "Bonn"]},       True,             True),
    ({"books": ["Emma,signed"]}, {"books": ["Emma", "signed"]},      False,            True),
    ({"count": 1}, {"count": "1"},                                   False,            True),
    ({"count": 1}, {"count": True},                                  False,            True),
    ({"note": ""}, {"note": None},                                   False,            True),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1},                             True,             True),
]
pairs = [[a, b] for a, b, *_ in EXPECTED]
command = ["node", f"{sys.argv[1]}/hash.mjs", json.dumps(pairs)]
by_javascript = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
wrong = 0
for (a, b, deep, node), (by_node, *by_others) in zip(EXPECTED, by_javascript):
    by_diff, by_hash, by_exact_hash = compare(a, b)
    equal = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    print(f"{json.dumps(a)} and {json.dumps(b)}: one by DeepHash {by_hash}, by node-object-hash {by_node}")
    wrong += (by_hash, by_node) != (deep, node) or {by_diff, by_exact_hash, *by_others} != {equal}
apart = hash_deeply({"count": 1}) != hash_deeply({"count": 1.0})
print("DeepHash tells 1 and 1.0 apart:", apart)
wrong += not apart
raise SystemExit(f"{wrong} of {len(EXPECTED) + 1} are no longer so" if wrong else 0)
PYTHON
