#!/usr/bin/env bash
# On the night the clocks go back, npm's cron runs a job at half past two twice: at half past one, and at half past two.
#
# One would guess: in New York it is the hour from one to two that happens twice. Whoever keeps daily jobs out of that hour is
# safe, and the libraries differ only about jobs inside of it.
#
# What happens (cron 4.4.0, the library behind NestJS' schedules; croner 11.0.1 and cron-parser 5.10.6 agree on one run each):
# - "30 2 * * *" in New York runs at 01:30, in the second of the two hours, and again at 02:30. "30 1 * * *", which does exist
#   twice, runs once. In Berlin, where two to three is repeated, the hour that runs twice is three to four.
# - It came with 4.1.1, which mended jobs that run every minute: the next run is moved back an hour if the hour before looks
#   like a repeated one, whether or not the moved time still fits the expression. 4.1.0 runs once.
# - A monthly job ("0 2 1 * *") runs twice as well, as 1 November 2026 is that night.
#
# Why it matters here: half past two (in America) and three o'clock (in Europe) are where nightly digests and clean-ups are put,
# to be out of the way of the change. Once a year people get two of them, the second made of a single hour. A replay over a
# schedule that another library expanded has one. Schedules in UTC are not affected.
#
# Source: the end of getNextDateFrom in https://github.com/kelektiv/node-cron/blob/main/src/time.ts (hourTestDate), from
# https://github.com/kelektiv/node-cron/pull/966; https://github.com/kelektiv/node-cron/issues/1087 has another effect of it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-audit --no-fund --prefix "$folder" \
    cron@4.4.0 cron-4.1.0@npm:cron@4.1.0 croner@11.0.1 cron-parser@5.10.6
cat >"$folder/night.js" <<'JAVASCRIPT'
const { mock } = require("node:test");
const [START, END, STEP] = [Date.parse("2026-10-20T12:00Z"), Date.parse("2026-11-05T12:00Z"), 15 * 60 * 1000];
mock.timers.enable({ apis: ["setTimeout", "Date"], now: START });
const { Cron } = require("croner");
const { CronExpressionParser } = require("cron-parser");
//  zone                day           expression      runs of cron 4.4.0, of all others, in UTC
const EXPECTED = [
  ["America/New_York", "2026-11-01", "30 1 * * *",    "05:30",         "05:30"],
  ["America/New_York", "2026-11-01", "30 2 * * *",    "06:30 07:30",   "07:30"],
  ["America/New_York", "2026-11-01", "0 2 1 * *",     "06:00 07:00",   "07:00"],
  ["America/New_York", "2026-11-01", "30 3 * * *",    "08:30",         "08:30"],
  ["Europe/Berlin",    "2026-10-25", "0 3 * * *",     "01:00 02:00",   "02:00"],
];
const ran = {};
for (const library of ["cron", "cron-4.1.0"]) {
  const { CronJob } = require(library);
  for (const [timeZone, , cronTime] of EXPECTED) {
    const runs = (ran[[library, timeZone, cronTime]] = []);
    CronJob.from({ cronTime, timeZone, start: true, onTick: () => runs.push(new Date()) });
  }
}
for (let now = START; now < END; now += STEP) mock.timers.tick(STEP);

let wrong = 0;
for (const [zone, day, expression, ...expected] of EXPECTED) {
  const currentDate = new Date(START);
  const bySteps = CronExpressionParser.parse(expression, { currentDate, tz: zone }).take(20);
  const onDay = (runs) => runs.map((run) => run.toISOString()).filter((run) => run.startsWith(day));
  const times = (runs) => onDay(runs).map((run) => run.slice(11, 16)).join(" ");
  const seen = ["cron", "cron-4.1.0"].map((library) => times(ran[[library, zone, expression]]));
  seen.push(times(new Cron(expression, { timezone: zone }).nextRuns(20, currentDate)));
  seen.push(times(bySteps.map((run) => run.toDate())));
  const local = onDay(ran[["cron", zone, expression]]).map((run) => {
    return new Date(run).toLocaleTimeString("en-GB", { timeZone: zone, timeStyle: "short" });
  });
  console.log(`${zone.padEnd(17)} ${expression.padEnd(11)} cron ${seen[0].padEnd(12)} UTC (${local.join(" and ")}), others ${seen[2]}`);
  const [now, others] = expected;
  wrong += JSON.stringify(seen) !== JSON.stringify([now, others, others, others]);
}
if (wrong) console.log(`${wrong} of ${EXPECTED.length} are no longer so`);
process.exit(wrong ? 1 : 0);
JAVASCRIPT
node --no-warnings "$folder/night.js"
