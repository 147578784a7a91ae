#!/usr/bin/env bash
# Half past two on the night the clocks go back is another moment for luxon and Day.js in winter than it was in summer.
#
# One would guess: a text without an offset is ambiguous in the hour that happens twice, and each library takes the first or
# the second of the two. Whichever it is, the same text in the same zone is the same moment for ever.
#
# What happens (luxon 3.7.2, dayjs 1.11.23, moment-timezone 0.6.6, date-fns-tz 3.2.0 and @js-temporal/polyfill 0.5.1 of npm):
# - luxon and Day.js try the offset that the zone has today, by the clock of whoever reads. A program that runs in July reads
#   the first of the two hours in "2026-10-25 02:30" (Berlin), one that runs in December the second. Ten years back or ahead,
#   in a zone on the other side of the world: it is always the season of the reader there that decides.
# - For date-fns-tz it is the zone of the server: the second hour on one in UTC or Berlin, the first on one in New York.
# - moment-timezone and Temporal take the first one, in each season and on each server.
#
# Why it matters here: opening hours, receipts and exports of shops have such times. A history that was read in September and is
# read again in December has the events of that night an hour later, and in another order among those that had an offset. The
# replay of a fixed log changes with the calendar, on one day for all machines, so that two runs of the same day agree. A
# test that was written in summer fails in winter, or never, as few tests have that night. Store the offset or UTC, or read
# such times with Temporal, where it is an option with a name.
#
# Source: https://moment.github.io/luxon/#/zones?id=ambiguous-times (no guarantee which one); https://github.com/moment/luxon/issues/1665
# (open since 2024); objToTS and fixOffset in https://github.com/moment/luxon/blob/master/src/datetime.js; `previousOffset`
# in https://github.com/iamkun/dayjs/blob/dev/src/plugin/timezone/index.js.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-audit --no-fund --prefix "$folder" luxon@3.7.2 dayjs@1.11.23 moment-timezone@0.6.6 \
    date-fns-tz@3.2.0 date-fns@4.4.0 @js-temporal/polyfill@0.5.1
cat >"$folder/read.js" <<'JAVASCRIPT'
// the clock of the reader; with arguments, a date is what it always is
const today = Date.parse(process.argv[2]);
globalThis.Date = class extends Date {
  constructor(...parts) {
    super(...(parts.length ? parts : [today]));
  }
  static now() {
    return today;
  }
};
const dayjs = require("dayjs");
dayjs.extend(require("dayjs/plugin/utc"));
dayjs.extend(require("dayjs/plugin/timezone"));
const { DateTime } = require("luxon");
const moment = require("moment-timezone");
const { fromZonedTime } = require("date-fns-tz");
const { Temporal } = require("@js-temporal/polyfill");
const readers = {
  luxon: (text, zone) => DateTime.fromISO(text, { zone }).toMillis(),
  dayjs: (text, zone) => dayjs.tz(text, zone).valueOf(),
  "date-fns-tz": (text, zone) => fromZonedTime(text, zone).getTime(),
  moment: (text, zone) => moment.tz(text, zone).valueOf(),
  Temporal: (text, zone) => Temporal.PlainDateTime.from(text).toZonedDateTime(zone).epochMilliseconds,
};
const cases = [
  ["2026-10-25T02:30:00", "Europe/Berlin"],
  ["2016-11-06T01:30:00", "America/New_York"],
  ["2027-04-04T02:30:00", "Australia/Sydney"],
  ["2026-10-25T01:30:00", "Europe/Berlin"],
];
const read = ([text, zone]) => Object.values(readers).map((how) => new Date(how(text, zone)).toISOString().slice(11, 16));
console.log(JSON.stringify(cases.map(read)));
JAVASCRIPT
python3 - "$folder" <<'PYTHON'
import json
import os
import subprocess
import sys

# the hour in UTC, for luxon, dayjs, date-fns-tz, moment and Temporal
BERLIN, NEW_YORK, SYDNEY, ONCE = range(4)
#    who reads: day, zone of the server     what is read    the hour in UTC
EXPECTED = [
    ("2026-07-01", "Europe/Berlin",         BERLIN,         "00:30 00:30 01:30 00:30 00:30"),
    ("2026-12-01", "Europe/Berlin",         BERLIN,         "01:30 01:30 01:30 00:30 00:30"),
    ("2036-07-01", "Europe/Berlin",         BERLIN,         "00:30 00:30 01:30 00:30 00:30"),
    ("2036-12-01", "Europe/Berlin",         BERLIN,         "01:30 01:30 01:30 00:30 00:30"),
    ("2026-12-01", "UTC",                   BERLIN,         "01:30 01:30 01:30 00:30 00:30"),
    ("2026-12-01", "America/New_York",      BERLIN,         "01:30 01:30 00:30 00:30 00:30"),
    ("2026-07-01", "UTC",                   NEW_YORK,       "05:30 05:30 05:30 05:30 05:30"),
    ("2026-12-01", "UTC",                   NEW_YORK,       "06:30 06:30 05:30 05:30 05:30"),
    ("2026-07-01", "UTC",                   SYDNEY,         "16:30 16:30 16:30 15:30 15:30"),
    ("2026-12-01", "UTC",                   SYDNEY,         "15:30 15:30 16:30 15:30 15:30"),
    ("2026-07-01", "UTC",                   ONCE,           "23:30 23:30 23:30 23:30 23:30"),
    ("2026-12-01", "UTC",                   ONCE,           "23:30 23:30 23:30 23:30 23:30"),
]
wrong = 0
for day, zone, case, expected in EXPECTED:
    command = ["node", f"{sys.argv[1]}/read.js", f"{day}T12:00:00Z"]
    printed = subprocess.run(command, env=os.environ | {"TZ": zone}, capture_output=True, text=True, check=True).stdout
    seen = " ".join(json.loads(printed)[case])
    name = ("Berlin", "New York", "Sydney", "Berlin, an hour that is there once")[case]
    print(f"on {day}, server in {zone:<16} luxon, dayjs, date-fns-tz, moment, Temporal: {seen}   {name}")
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
