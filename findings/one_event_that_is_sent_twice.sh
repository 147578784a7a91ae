#!/usr/bin/env bash
# Debounced at both edges, a single event is sent twice by debounce-fn, and the last one of a burst is never sent by perfect-debounce.
#
# One would guess: "leading and trailing" sends the first event at once and the last one when it is quiet again. An event that is
# first and last is sent once. That is what lodash does.
#
# What happens (lodash 4.18.1, es-toolkit 1.53.2, debounce-promise 3.1.2, remeda 2.62.2, debounce-fn 6.0.0, perfect-debounce 2.1.0
# and @tanstack/pacer 0.22.0 of npm), with a wait of 0.4 s, for a single event, for four within 0.2 s, and for two and a third after
# a pause:
# - The first four agree with the guess.
# - debounce-fn sends each single event twice, the same one.
# - perfect-debounce sends the first of a burst only. Its timer for the trailing edge runs, and where there was a leading one it
#   returns the result of that again, also as the result of the calls that were not made. Without `leading` it is right.
# - AsyncDebouncer of TanStack Pacer sends the last one, unless the function that was called for the first one ends while the last
#   one waits: its end forgets the arguments that are kept for later. A function of 0.3 s loses the last event.
#
# Why it matters here: this is how a page shows a change at once and the last state later, and how a service sends one message for
# a burst. A lost last event is a page that shows four of five likes until the next one, or a counter one too low; and it is
# lost only in bursts, or only when the network takes so long and no longer. And two messages about one thing are what
# one debounces to avoid. A flow's batch and deduplicate count each event that does not go on, with its reason.
#
# Source: https://github.com/unjs/perfect-debounce/issues/43 (open) and src/index.ts there; https://lodash.com/docs/#debounce (the
# note on both options); https://github.com/sindresorhus/debounce-fn/blob/main/index.js;
# https://tanstack.com/pacer/latest/docs/guides/async-debouncing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-audit --no-fund --prefix "$folder" lodash@4.18.1 es-toolkit@1.53.2 debounce-promise@3.1.2 \
    remeda@2.62.2 debounce-fn@6.0.0 perfect-debounce@2.1.0 @tanstack/pacer@0.22.0
cat >"$folder/debounce.mjs" <<'JAVASCRIPT'
import { setTimeout as sleep } from "node:timers/promises";
import { AsyncDebouncer } from "@tanstack/pacer";
import debounceFn from "debounce-fn";
import debouncePromise from "debounce-promise";
import { debounce as byToolkit } from "es-toolkit";
import lodash from "lodash";
import { debounce as byPerfect } from "perfect-debounce";
import { funnel } from "remeda";

const BOTH = { leading: true, trailing: true };
const LAST = { minQuietPeriodMs: 400, triggerAt: "both", reducer: (_, event) => event };

async function run(debounce, times, work) {
  const sent = [];
  const send = debounce(async (event) => {
    sent.push(event);
    await sleep(work);
  });
  const begin = Date.now();
  for (const [number, time] of times.entries()) {
    await sleep(Math.max(0, begin + time - Date.now()));
    send("abcd"[number]);
  }
  await sleep(1600);
  return sent.join("");
}

const pacer = (send) => {
  const debouncer = new AsyncDebouncer(send, { wait: 400, ...BOTH });
  return (event) => debouncer.maybeExecute(event);
};
const [ONE, BURST, PAUSE] = [[0], [0, 60, 120, 180], [0, 60, 1500]];
//  library               debounced at both edges                                     work    one, a burst, a pause
const EXPECTED = [
  ["lodash",              (send) => lodash.debounce(send, 400, BOTH),                 0,      "a ad abc"],
  ["es-toolkit",          (send) => byToolkit(send, 400, { edges: ["leading", "trailing"] }), 0, "a ad abc"],
  ["debounce-promise",    (send) => debouncePromise(send, 400, { leading: true }),    0,      "a ad abc"],
  ["remeda",              (send) => funnel(send, LAST).call,                          0,      "a ad abc"],
  ["debounce-fn",         (send) => debounceFn(send, { wait: 400, before: true }),    0,      "aa ad abcc"],
  ["perfect-debounce",    (send) => byPerfect(send, 400, BOTH),                       0,      "a a ac"],
  ["the same, trailing",  (send) => byPerfect(send, 400),                             0,      "a d bc"],
  ["@tanstack/pacer",     pacer,                                                      0,      "a ad abc"],
  ["@tanstack/pacer",     pacer,                                                      300,    "a a ac"],
  ["lodash",              (send) => lodash.debounce(send, 400, BOTH),                 300,    "a ad abc"],
];
let wrong = 0;
const runAll = (debounce, work) => Promise.all([ONE, BURST, PAUSE].map((times) => run(debounce, times, work)));
const all = await Promise.all(EXPECTED.map(([, debounce, work]) => runAll(debounce, work)));
for (const [number, [name, , work, expected]] of EXPECTED.entries()) {
  const seen = all[number].join(" ");
  console.log(`${name}, a function of ${work} ms: of "a", "abcd" and "ab c" it sends ${seen}`);
  wrong += seen !== expected;
}
if (wrong) console.log(`${wrong} of ${EXPECTED.length} are no longer so`);
process.exit(wrong ? 1 : 0);
JAVASCRIPT
node "$folder/debounce.mjs"
