#!/usr/bin/env bash
# "Every 20th Monday of the year", an example of the iCalendar standard, is every Monday in ical.js.
#
# One would guess: the library of Thunderbird's calendar expands the rules that the standard itself gives as examples, or
# refuses those that it does not implement.
#
# What happens (ical.js 2.2.1 of npm, python-dateutil 4.0.0 of PyPI):
# - FREQ=YEARLY;BYDAY=20MO gives every Monday, from the start that the standard has for it, and so does BYWEEKNO=20;BYDAY=MO,
#   which leaves out the start itself. There is no error, and BYDAY=1MO is right.
# - A yearly rule from 29 February gives 1 March in other years, and one from 31 January gives 1 May for the 31 April. Days
#   that do not exist are to be left out, as a monthly rule of ical.js does it.
# - dateutil agrees with the standard in all of these.
#
# Why it matters here: events of a schedule (reminders, reports, renewals) are often designed in a browser, with one library,
# and sent by a server with another. A reminder once a year goes out every week, and the test with the first Monday passed.
# A replay that joins by the day finds no occurrence for 1 March. Expand each kind of rule in both libraries over some
# years before people get its events.
#
# Source: https://www.rfc-editor.org/rfc/rfc5545#section-3.8.5.3 (the examples) and #section-3.3.10 (an invalid date "MUST be
# ignored"); RecurIterator in https://github.com/kewisch/ical.js/blob/main/lib/ical/recur_iterator.js, and for the same with
# weekly rules https://github.com/kewisch/ical.js/issues/360.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check python-dateutil==4.0.0
npm install --silent --no-audit --no-fund --prefix "$folder" ical.js@2.2.1
cat >"$folder/expand.js" <<'JAVASCRIPT'
const { default: ICAL = require("ical.js") } = require("ical.js");
const expand = ([start, rule]) => {
  const days = ICAL.Recur.fromString(rule).iterator(ICAL.Time.fromDateTimeString(`${start}T09:00:00`));
  return [1, 2, 3].map(() => days.next().toString().slice(0, 10));
};
console.log(JSON.stringify(JSON.parse(process.argv[2]).map(expand)));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import subprocess
import sys
from datetime import datetime
from itertools import islice

from dateutil.rrule import rrulestr

#     start         rule                                  the first three days in dateutil and in ical.js
EXPECTED = [
    ("1997-05-19", "FREQ=YEARLY;BYDAY=20MO",             "1997-05-19 1998-05-18 1999-05-17", "1997-05-19 1997-05-26 1997-06-02"),
    ("1997-05-12", "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO",   "1997-05-12 1998-05-11 1999-05-17", "1997-05-19 1997-05-26 1997-06-02"),
    ("2024-02-29", "FREQ=YEARLY",                        "2024-02-29 2028-02-29 2032-02-29", "2024-02-29 2025-03-01 2026-03-01"),
    ("2026-01-31", "FREQ=YEARLY;BYMONTH=1,4,5",          "2026-01-31 2026-05-31 2027-01-31", "2026-01-31 2026-05-01 2026-05-31"),
    ("2026-01-05", "FREQ=YEARLY;BYDAY=1MO",              "2026-01-05 2027-01-04 2028-01-03", "2026-01-05 2027-01-04 2028-01-03"),
    ("2026-01-31", "FREQ=MONTHLY",                       "2026-01-31 2026-03-31 2026-05-31", "2026-01-31 2026-03-31 2026-05-31"),
]
rules = json.dumps([case[:2] for case in EXPECTED])
command = ["node", f"{sys.argv[1]}/expand.js", rules]
by_ical = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
wrong = 0
for (start, rule, *expected), days in zip(EXPECTED, by_ical):
    occurrences = islice(rrulestr(rule, dtstart=datetime.fromisoformat(start)), 3)
    seen = [" ".join(f"{day:%Y-%m-%d}" for day in occurrences), " ".join(days)]
    print(f"{rule:<34} dateutil {seen[0]}   ical.js {seen[1]}")
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
