#!/usr/bin/env bash
# Of two events that are judged at the same time, json-rules-engine leaves out rules for the one that takes longer.
#
# One would guess: engine.run(event) makes a working memory of its own and returns a promise "which resolves when all rules have
# been run", so one engine can judge many events at once. The library's own tests do it, with Promise.all, and say that it
# "treats each run() independently".
#
# What happens (json-rules-engine 7.3.1): whether the engine is running is kept in the engine, not in the run. Whichever run ends
# first sets it to FINISHED, and before the rules of each priority the others look at it:
# - the slower event gets the rules of the highest priority and none below. They are in neither `results` nor
#   `failureResults`, and its promise resolves as usual.
# - engine.stop(), which a rule may call to be the last one for its event, ends all events under way.
# - With rules of one priority, or with one event after the other, everything is right. So it mostly is while no fact has to be
#   fetched, since then all runs take about as many turns of the event loop.
#
# Why it matters here: rules are tried out on a history one event at a time, or with facts from a table in memory. Live, events
# come while a look-up of the one before is still waiting, and it is the event with the slow look-up (a new customer, a cold
# cache) that loses its rules. A replay cannot show it. Await each run, or make an engine for each event.
#
# Source: run and evaluateRules in https://github.com/CacheControl/json-rules-engine/blob/master/src/engine.js (`this.status`);
# https://github.com/CacheControl/json-rules-engine/issues/303 met it with chained rules;
# https://github.com/CacheControl/json-rules-engine/blob/master/docs/engine.md says nothing of runs at the same time.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-audit --no-fund --prefix "$folder" json-rules-engine@7.3.1
cat >"$folder/overlap.js" <<'JAVASCRIPT'
const { Engine } = require("json-rules-engine");
const EVENTS = [
  { customer: "new", amount: 500 },
  { customer: "known", amount: 500 },
];
//   what happens                                        the rules that held for the new and for the known customer
const EXPECTED = [
  ["two priorities, one after the other",              "french, large; french, large"],
  ["two priorities, at once",                          "french; french, large"],
  ["two priorities, at once, an engine each",          "french, large; french, large"],
  ["one priority, at once",                            "french, large; french, large"],
  ["the known one calls stop(), one after the other",  "french, large; french"],
  ["the known one calls stop(), at once",              "french; french"],
];

/** Look up the country of a customer; one who is not known yet takes more turns of the event loop. */
async function country(_, almanac) {
  const turns = (await almanac.factValue("customer")) === "new" ? 200 : 1;
  for (let turn = 0; turn < turns; turn++) await null;
  return "FR";
}

function makeEngine(priority, stopped) {
  const engine = new Engine();
  const french = { all: [{ fact: "country", operator: "equal", value: "FR" }] };
  const large = { all: [{ fact: "amount", operator: "greaterThan", value: 100 }] };
  const onSuccess = async (_, almanac) => {
    if ((await almanac.factValue("customer")) === stopped) engine.stop();
  };
  engine.addFact("country", country);
  engine.addRule({ priority, conditions: french, event: { type: "french" }, onSuccess });
  engine.addRule({ conditions: large, event: { type: "large" } });
  return engine;
}

async function run(what) {
  const arguments_ = [what.startsWith("one") ? 1 : 10, what.includes("stop()") ? "known" : null];
  const shared = makeEngine(...arguments_);
  const judge = (event) => (what.endsWith("an engine each") ? makeEngine(...arguments_) : shared).run(event);
  const results = [];
  for (const event of EVENTS) results.push(what.includes("at once") ? judge(event) : await judge(event));
  const names = (result) => result.events.map((event) => event.type).sort().join(", ");
  return (await Promise.all(results)).map(names).join("; ");
}

async function main() {
  let wrong = 0;
  for (const [what, expected] of EXPECTED) {
    const seen = await run(what);
    console.log(`${what.padEnd(48)} ${seen}`);
    wrong += seen !== expected;
  }
  if (wrong) console.log(`${wrong} of ${EXPECTED.length} are no longer so`);
  process.exit(wrong ? 1 : 0);
}
main();
JAVASCRIPT
node "$folder/overlap.js"
