#!/usr/bin/env bash
# A JSON Patch that fast-json-patch has applied once adds two entries the second time, and gives two people one list.
#
# One would guess: a patch is a value, as the event that brought it. Applied to the same document it gives the same result, and
# `mutateDocument: false` is there for those who want their arguments left alone.
#
# What happens (fast-json-patch 3.1.1 and jsondiffpatch 0.7.7; rfc6902 5.4.0 and immutable-json-patch 6.0.3 of npm, jsonpatch
# 1.48 of PyPI), for a patch that adds an empty list of tags, and then a tag to it:
# - fast-json-patch puts the list of the patch itself into the document, so that the second operation writes into the first one.
#   A second document gets two tags, a third three. `mutateDocument: false` copies the document and not the patch, and
#   changes nothing of this.
# - Two documents that were changed in place by the same patch share the list. A tag that is added to Ada's profile is in Ben's.
# - jsondiffpatch does the same with its own kind of differences, for which its option cloneDiffValues does nothing: it copies
#   when a difference is made, not when it is applied.
# - rfc6902, immutable-json-patch and jsonpatch leave the patch as it was, the first and the last since somebody reported this.
#
# Why it matters here: entities are rebuilt from their patches, and a replay does that again: for another flow, from another
# moment, for the next tenant with the same template. The first run is right, the second has everything twice, and a test that
# parses its patches from text each time finds nothing. Copy the patch first, by deepClone of the library, or parse it anew.
#
# Source: https://github.com/Starcounter-Jack/JSON-Patch#api (applyPatch "modifies" the patch, one sentence; nothing of it at
# mutateDocument); objOps in https://github.com/Starcounter-Jack/JSON-Patch/blob/master/src/core.ts;
# https://github.com/benjamine/jsondiffpatch/issues/377 (open); https://github.com/chbrown/rfc6902/issues/44 and
# https://github.com/stefankoegl/python-json-patch/issues/137 (the same, mended since).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check jsonpatch==1.48
npm install --silent --no-audit --no-fund --prefix "$folder" \
    fast-json-patch@3.1.1 rfc6902@5.4.0 immutable-json-patch@6.0.3 jsondiffpatch@0.7.7
cat >"$folder/apply.mjs" <<'JAVASCRIPT'
import fast from "fast-json-patch";
import { immutableJSONPatch } from "immutable-json-patch";
import { create } from "jsondiffpatch";
import { applyPatch } from "rfc6902";

const makeList = () => ({ op: "add", path: "/tags", value: [] });
const addTag = () => ({ op: "add", path: "/tags/-", value: "vip" });
const patches = {
  "fast-json-patch": (document, patch) => fast.applyPatch(document, patch).newDocument,
  "fast-json-patch, mutateDocument: false": (document, patch) => fast.applyPatch(document, patch, true, false).newDocument,
  "fast-json-patch, deepClone": (document, patch) => fast.applyPatch(document, fast.deepClone(patch)).newDocument,
  rfc6902: (document, patch) => (applyPatch(document, patch), document),
  "immutable-json-patch": (document, patch) => immutableJSONPatch(document, patch),
};
const seen = {};
for (const [name, apply] of Object.entries(patches)) {
  const both = [makeList(), addTag()];
  const three = [1, 2, 3].map(() => apply({}, both).tags.length);
  const list = [makeList()];
  const ada = apply({}, list);
  const ben = apply({}, list);
  apply(ada, [addTag()]);
  seen[name] = [three, ben.tags.length];
}
for (const cloneDiffValues of [false, true]) {
  const differ = create({ cloneDiffValues });
  const list = differ.diff({}, { tags: [] });
  const tag = differ.diff({ tags: [] }, { tags: ["vip"] });
  const three = [1, 2, 3].map(() => differ.patch(differ.patch({}, list), tag).tags.length);
  const fresh = differ.diff({}, { tags: [] });
  const ada = differ.patch({}, fresh);
  const ben = differ.patch({}, fresh);
  differ.patch(ada, tag);
  seen[`jsondiffpatch, cloneDiffValues: ${cloneDiffValues}`] = [three, ben.tags.length];
}
console.log(JSON.stringify(seen));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import subprocess
import sys

import jsonpatch

#     library                                        tags after the patch was used once, twice, three times
#                                                                and tags of Ben after Ada got one
EXPECTED = {
    "fast-json-patch":                               [[1, 2, 3], 1],
    "fast-json-patch, mutateDocument: false":        [[1, 2, 3], 0],
    "fast-json-patch, deepClone":                    [[1, 1, 1], 0],
    "rfc6902":                                       [[1, 1, 1], 0],
    "immutable-json-patch":                          [[1, 1, 1], 0],
    "jsondiffpatch, cloneDiffValues: false":         [[1, 2, 3], 1],
    "jsondiffpatch, cloneDiffValues: true":          [[1, 2, 3], 1],
    "jsonpatch of Python":                           [[1, 1, 1], 0],
}
command = ["node", f"{sys.argv[1]}/apply.mjs"]
seen = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
make_list, add_tag = {"op": "add", "path": "/tags", "value": []}, {"op": "add", "path": "/tags/-", "value": "vip"}
both, one = jsonpatch.JsonPatch([make_list, add_tag]), jsonpatch.JsonPatch([make_list])
three = [len(both.apply({})["tags"]) for _ in range(3)]
ada, ben = one.apply({}), one.apply({})
jsonpatch.apply_patch(ada, [add_tag], in_place=True)
seen["jsonpatch of Python"] = [three, len(ben["tags"])]
wrong = 0
for library, expected in EXPECTED.items():
    used, of_ben = seen[library]
    print(f"{library:<42} tags after each use {used}   of Ben, after Ada got one: {of_ben}")
    wrong += seen[library] != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
