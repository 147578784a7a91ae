#!/usr/bin/env bash
# Standard Webhooks' Python library signs the wall clock of a time zone, not the moment that it shows.
#
# One would guess: sign(msg_id, timestamp, data) takes an aware datetime, so the same moment gives the same signature,
# whichever zone it is written in. The library returns a signature only; whoever sends writes the header
# webhook-timestamp from the same datetime, by timestamp().
#
# What happens (standardwebhooks 1.1.0, and svix 2.9.1, which calls it): sign() replaces the zone by UTC instead of
# converting to it. 09:00 in Berlin is signed as 09:00 UTC, while the header names the true moment, an hour or two earlier:
# the library's own verify() finds no matching signature. A naive datetime is taken for UTC, not for local time as
# timestamp() does. Tests that sign datetime.now(timezone.utc) pass, and so does a server whose zone is UTC.
#
# Why it matters here: events that carry a time zone are what notifications by the reader's own clock are made of. Who
# signs with the moment of a delivery as it is, has every webhook of that zone refused, and the receiver's log says that the
# secret is wrong. Convert with astimezone(timezone.utc) before signing.
#
# Source: Webhook.sign in https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/python/standardwebhooks/webhooks.py
# calls timestamp.replace(tzinfo=timezone.utc); the scheme is in
# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#webhook-headers-sending-metadata-to-consumers
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check standardwebhooks==1.1.0 svix==2.9.1 tzdata==2025.2
"$folder/venv/bin/python" - <<'PYTHON'
import base64
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import standardwebhooks
import svix.webhooks

SECRET = "whsec_" + base64.b64encode(b"the secret of this example").decode()
#            zone of the datetime     what verify() says
EXPECTED = [
    ("UTC",              "verified"),
    ("Europe/Berlin",    "No matching signature found"),
    ("America/New_York", "No matching signature found"),
    ("Asia/Kolkata",     "No matching signature found"),
]


def answer(library, zone: str) -> str:
    moment = datetime.now(timezone.utc).astimezone(ZoneInfo(zone))
    webhook = library.Webhook(SECRET)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": webhook.sign("msg_1", moment, "{}"),
    }
    try:
        webhook.verify("{}", headers)
    except library.WebhookVerificationError as error:
        return str(error)
    return "verified"


wrong = 0
for zone, expected in EXPECTED:
    found = [answer(library, zone) for library in (standardwebhooks, svix.webhooks)]
    print(f"{zone:<18} standardwebhooks: {found[0]:<28} svix: {found[1]}")
    wrong += found != [expected, expected]
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
