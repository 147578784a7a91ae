#!/usr/bin/env bash
# "0 9 */2 * MON" is every other day and all Mondays, or only some Mondays, depending on the cron library.
#
# One would guess: whoever restricts the day of the month and the day of the week gets both, joined by "or". It is what
# crontab(5) says, and */2 is a short form of 1-31/2.
#
# What happens (croniter 7.0.0, cronsim 2.8, APScheduler 3.11.3, croner 11.0.1 and cron-parser 5.10.6 of npm):
# - cronsim, which sets out to match Debian's cron, joins by "and" if one of the two fields begins with a star. With */2 that
#   leaves the Mondays on odd days, while 1-31/2 means all odd days and all Mondays.
# - croniter, croner and cron-parser join by "or" in both forms. In croniter the other rule is named implement_cron_bug.
# - APScheduler always joins by "and", also for the 13th and FRI.
#
# Why it matters here: a schedule moves as one line of text between a page that shows the next runs, a planner and cron
# itself. The page shows 18 digests in December, and cron sends two. A replay with the events of such a schedule is
# right only with the library that runs it. Restrict one of the two fields only.
#
# Source: https://github.com/cuu508/cronsim/releases/tag/2.2 (the star); https://crontab.guru/cron-bug.html (where it is from);
# https://github.com/pallets-eco/croniter#vixie-cron-bug-compatibility;
# https://apscheduler.readthedocs.io/en/3.x/modules/triggers/cron.html (conditions in every field).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check croniter==7.0.0 cronsim==2.8 apscheduler==3.11.3
npm install --silent --no-audit --no-fund --prefix "$folder" croner@11.0.1 cron-parser@5.10.6
cat >"$folder/december.js" <<'JAVASCRIPT'
const { Cron } = require("croner");
const { CronExpressionParser } = require("cron-parser");
const [start, end] = [new Date("2026-11-30T23:59:00Z"), new Date("2027-01-01T00:00:00Z")];
const inDecember = (days) => days.filter((day) => day < end).map((day) => day.getUTCDate());
const parsed = (text) => CronExpressionParser.parse(text, { currentDate: start, tz: "UTC" });
const byCroner = (text) => inDecember(new Cron(text, { timezone: "UTC" }).nextRuns(32, start));
const byParser = (text) => inDecember(parsed(text).take(32).map((day) => day.toDate()));
console.log(JSON.stringify(JSON.parse(process.argv[2]).map((text) => [byCroner(text), byParser(text)])));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import subprocess
import sys
from datetime import datetime, timezone
from itertools import islice, takewhile

from apscheduler.triggers.cron import CronTrigger
from croniter import croniter
from cronsim import CronSim

START, END = datetime(2026, 11, 30, 23, 59, tzinfo=timezone.utc), datetime(2027, 1, 1, tzinfo=timezone.utc)
ODD_AND_MONDAYS = [1, 3, 5, 7, 9, 11, 13, 14, 15, 17, 19, 21, 23, 25, 27, 28, 29, 31]
FRIDAYS_AND_13 = [4, 11, 13, 18, 25]
#     days of December 2026   croniter, croner, cron-parser   cronsim           APScheduler
EXPECTED = [
    ("0 9 */2 * MON",         ODD_AND_MONDAYS,                [7, 21],          [7, 21]),
    ("0 9 1-31/2 * MON",      ODD_AND_MONDAYS,                ODD_AND_MONDAYS,  [7, 21]),
    ("0 9 13 * FRI",          FRIDAYS_AND_13,                 FRIDAYS_AND_13,   []),
    ("0 9 * * MON",           [7, 14, 21, 28],                [7, 14, 21, 28],  [7, 14, 21, 28]),
]


def by_apscheduler(text: str):
    trigger, at = CronTrigger.from_crontab(text, timezone="UTC"), None
    while True:
        at = trigger.get_next_fire_time(at, at or START)
        yield at


command = ["node", f"{sys.argv[1]}/december.js", json.dumps([case[0] for case in EXPECTED])]
by_javascript = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
wrong = 0
for (text, alike, *others), javascript in zip(EXPECTED, by_javascript):
    times = [croniter(text, START, datetime), CronSim(text, START), by_apscheduler(text)]
    croni, sim, scheduler = [[at.day for at in takewhile(lambda at: at < END, islice(every, 32))] for every in times]
    print(text)
    for name, days in zip(("croniter", "croner", "cron-parser", "cronsim", "APScheduler"), (croni, *javascript, sim, scheduler)):
        print(f"    {name:<12} {days}")
    wrong += [croni, *javascript, sim, scheduler] != [alike, alike, alike, *others]
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
