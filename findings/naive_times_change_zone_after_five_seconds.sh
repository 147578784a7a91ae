#!/usr/bin/env bash
# Segment's Python library takes a time without zone for local time while it is young, and for UTC when it is older.
#
# One would guess: `timestamp=` without a time zone means one thing, local time or UTC, for every event.
#
# What happens (segment-analytics-python 2.4.0, rudder-sdk-python 2.1.9, posthog 7.91.1): the library compares the value with
# the clock of the machine. Less than five seconds old is local time, anything older is UTC. In Tokyo an event that is
# handed over at once is right; handed over six seconds later (a queue, a retry, an import) the same value is nine hours
# off. Times in the future count as local in Segment and RudderStack and as UTC in PostHog, which has the same function.
#
# Why it matters here: a test or a demonstration always takes the young branch, a backfill of history always the other, and
# a slow producer mixes both in one log. Order, windows and "within" conditions then depend on how busy the sender was.
# Times get their zone before they reach a tracker; in a log from such a tracker, jumps by the sender's offset are a sign.
#
# Source: guess_timezone in https://github.com/segmentio/analytics-python/blob/master/segment/analytics/utils.py, and in
# https://github.com/PostHog/posthog-python/blob/master/posthog/utils.py; the documentation of `timestamp` does not say it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    segment-analytics-python==2.4.0 rudder-sdk-python==2.1.9 posthog==7.91.1
TZ=Asia/Tokyo "$folder/venv/bin/python" - <<'PYTHON'
import datetime

import posthog.utils
import rudderstack.analytics.utils
import segment.analytics.utils

JAPAN, UTC = datetime.timedelta(hours=9), datetime.timedelta(0)
#            seconds ago   Segment  RudderStack  PostHog
EXPECTED = [
    (1,        JAPAN,   JAPAN,       JAPAN),
    (60,       UTC,     UTC,         UTC),
    (-60,      JAPAN,   JAPAN,       UTC),
]
GUESS = {
    "Segment": segment.analytics.utils.guess_timezone,
    "RudderStack": rudderstack.analytics.utils.guess_timezone,
    "PostHog": posthog.utils.guess_timezone,
}
wrong = 0
for ago, *expected in EXPECTED:
    given = datetime.datetime.now() - datetime.timedelta(seconds=ago)
    seen = []
    for guess in GUESS.values():
        # how far the instant lies from the same digits read as UTC
        meant = guess(given).astimezone(datetime.timezone.utc)
        seen.append(given.replace(tzinfo=datetime.timezone.utc) - meant)
    print(f"{ago:>4} s ago: " + ", ".join(f"{name} {shift} from UTC" for name, shift in zip(GUESS, seen)))
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
