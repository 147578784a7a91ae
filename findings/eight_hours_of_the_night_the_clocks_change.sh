#!/usr/bin/env bash
# A shift of eight hours ends at six in three calendar libraries and at seven in one, and that one has a day end at one o'clock.
#
# One would guess: DURATION:PT8H is eight hours and DURATION:P1D a day, which is what iCalendar says: hours are exact, days go by
# the calendar, and in the night in which the clocks are changed the two come apart. A library either knows that or refuses.
#
# What happens (icalendar 7.3.2 and ics 0.7.3 of PyPI, ical.js 2.2.1 and node-ical 0.26.1 of npm), in Berlin, where the clocks go
# from two to three on 29 March:
# - From ten in the evening, eight hours end at seven. node-ical says so, icalendar, ics and ical.js say six.
# - A day from Saturday noon ends on Sunday at noon for these three, as it should, and at one for node-ical.
# - So each library has one kind of duration: PT24H and P1D are the same for all four. Three go by the clock on the wall with
#   both, one by the time that has passed.
# - An alarm "12 hours before" Sunday noon is at midnight in icalendar, 11 hours before. In October it is 13 hours.
# - In Python the shift from icalendar has end - start == 8 hours all the same, as both are of one zone.
#
# Why it matters here: calendars are where on-call shifts, quiet hours and reminders come from. Whoever is notified between six and
# seven is somebody else in the service than in the replay, or two people, or nobody, on one morning in spring. Checks by
# the length of a shift find nothing. Convert the start to UTC before hours are added, and add days before that.
#
# Source: https://www.rfc-editor.org/rfc/rfc5545#section-3.3.6 (nominal and exact durations); addDuration in
# https://github.com/kewisch/ical.js/blob/main/lib/ical/time.js; icalendar and ics add a timedelta to a time of a zone, which in
# Python goes by the wall; https://github.com/libical/libical/issues/630 (one kind of duration in the C library as well, open).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check icalendar==7.3.2 ics==0.7.3
npm install --silent --no-audit --no-fund --prefix "$folder" ical.js@2.2.1 node-ical@0.26.1
cat >"$folder/read.mjs" <<'JAVASCRIPT'
import { readFileSync } from "node:fs";
import ICAL from "ical.js";
import nodeIcal from "node-ical";

const file = `${process.argv[2]}/shifts.ics`;
const calendar = new ICAL.Component(ICAL.parse(readFileSync(file, "utf8")));
ICAL.TimezoneService.register(calendar.getFirstSubcomponent("vtimezone"));
const events = calendar.getAllSubcomponents("vevent").map((component) => new ICAL.Event(component));
const byIcalJs = events.map(({ summary, endDate }) => [summary, endDate.toJSDate().toISOString()]);
const byNodeIcal = Object.values(nodeIcal.sync.parseFile(file))
  .filter(({ type }) => type === "VEVENT")
  .map(({ summary, end }) => [summary, new Date(end).toISOString()]);
console.log(JSON.stringify([byIcalJs, byNodeIcal].map(Object.fromEntries)));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import icalendar
import ics

BERLIN = ZoneInfo("Europe/Berlin")
ZONE = """\
BEGIN:VTIMEZONE
TZID:Europe/Berlin
BEGIN:DAYLIGHT
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
TZNAME:CEST
DTSTART:19810329T020000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
END:DAYLIGHT
BEGIN:STANDARD
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
TZNAME:CET
DTSTART:19961027T030000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
END:STANDARD
END:VTIMEZONE
"""
ALARM = "BEGIN:VALARM\nACTION:DISPLAY\nDESCRIPTION:soon\nTRIGGER:-PT12H\nEND:VALARM\n"
#     name           begin              duration   the end in Berlin: as it should be, icalendar, ical.js, node-ical, ics
EXPECTED = [
    ("a shift",      "20260328T220000", "PT8H",    "07:00 06:00 06:00 07:00 06:00"),
    ("24 hours",     "20260328T120000", "PT24H",   "13:00 12:00 12:00 13:00 12:00"),
    ("a day",        "20260328T120000", "P1D",     "12:00 12:00 12:00 13:00 12:00"),
    ("in October",   "20261024T220000", "PT8H",    "05:00 06:00 06:00 05:00 06:00"),
    ("in May",       "20260509T220000", "PT8H",    "06:00 06:00 06:00 06:00 06:00"),
    ("in spring",    "20260329T120000", "PT1H",    "13:00 13:00 13:00 13:00 13:00"),
    ("in autumn",    "20261025T120000", "PT1H",    "13:00 13:00 13:00 13:00 13:00"),
]
ALARMS = {"in spring": 11, "in autumn": 13}
text = "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:shifts\n" + ZONE
for name, begin, duration, _ in EXPECTED:
    text += f"BEGIN:VEVENT\nUID:{name}\nSUMMARY:{name}\nDTSTAMP:20260101T000000Z\nDTSTART;TZID=Europe/Berlin:{begin}\n"
    text += f"DURATION:{duration}\n{ALARM}END:VEVENT\n"
text = (text + "END:VCALENDAR\n").replace("\n", "\r\n")
Path(f"{sys.argv[1]}/shifts.ics").write_text(text, newline="")
command = ["node", f"{sys.argv[1]}/read.mjs", sys.argv[1]]
by_ical_js, by_node_ical = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
by_icalendar = {str(event["SUMMARY"]): event for event in icalendar.Calendar.from_ical(text).events}
by_ics = {event.name: event for event in ics.Calendar(text).events}


def show(moment: datetime) -> str:
    return moment.astimezone(BERLIN).strftime("%H:%M")


wrong = 0
for name, begin, duration, expected in EXPECTED:
    start = datetime.strptime(begin, "%Y%m%dT%H%M%S").replace(tzinfo=BERLIN)
    length = {"PT1H": 1, "PT8H": 8, "PT24H": 24}.get(duration)
    # hours by the moment, days by the calendar
    right = start + timedelta(days=1)
    if length:
        right = datetime.fromtimestamp(start.timestamp() + 3600 * length, BERLIN)
    event = by_icalendar[name]
    ends = [right, event.end, *(datetime.fromisoformat(by[name]) for by in (by_ical_js, by_node_ical)), by_ics[name].end.datetime]
    seen = " ".join(show(end) for end in ends)
    print(f"{name:<12} {duration:<6} should end {seen[:5]}   icalendar, ical.js, node-ical, ics: {seen[6:]}")
    wrong += seen != expected or event.end - event.start != timedelta(hours=length or 24)
for name, expected in ALARMS.items():
    event = by_icalendar[name]
    (alarm,) = event.alarms.times
    hours = (event.start.timestamp() - alarm.trigger.timestamp()) / 3600
    print(f"{name:<12} alarm 12 hours before noon, by icalendar: {hours:g} hours before")
    wrong += hours != expected
raise SystemExit(f"{wrong} of {len(EXPECTED) + len(ALARMS)} are no longer so" if wrong else 0)
PYTHON
