#!/usr/bin/env bash
# Python's Web Push library signs the second subscriber's notification for the push service of the first.
#
# One would guess: webpush(subscription, vapid_claims=CLAIMS) takes the claims as they are, with the address of the sender, and
# adds the push service of each subscription to its own copy, as the library of the same group for JavaScript does.
#
# What happens (pywebpush 2.5.0 of PyPI, web-push 3.6.7 of npm): the first call writes `aud`, the origin of its push
# service, into the caller's dict. Later calls find one there and keep it, whatever their own endpoint is. A dict that was made
# once, as settings are, signs all notifications of a process for the service of whoever came first. In JavaScript
# each has its own.
# - As long as all subscribers have one browser, everything works.
# - A call that says nothing of `ttl` sends TTL: 0, which lets the service drop what it cannot deliver at once. In
#   JavaScript it is four weeks.
#
# Why it matters here: a push service refuses a token made for another, so that after each restart a sink reaches either the
# people with Chrome or those with Firefox, as the first event decides. A replay that counts what a flow sends cannot know
# which. Pass a fresh dict each time, vapid_claims=dict(CLAIMS), and a ttl.
#
# Source: webpush in https://github.com/web-push-libs/pywebpush/blob/main/pywebpush/__init__.py; its README says that the dict
# will be mutated, and https://github.com/web-push-libs/pywebpush/issues/130 that it stays so;
# https://www.rfc-editor.org/rfc/rfc8292#section-2 (aud); https://www.rfc-editor.org/rfc/rfc8030#section-5.2 (TTL).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pywebpush==2.5.0
npm install --silent --no-audit --no-fund --prefix "$folder" web-push@3.6.7
cat >"$folder/push.js" <<'JAVASCRIPT'
const push = require("web-push");
const vapidDetails = { subject: "mailto:shop@example.com", ...push.generateVAPIDKeys() };
const headers = (subscription) => push.generateRequestDetails(subscription, "hello", { vapidDetails }).headers;
const lowerCase = ({ Authorization, TTL }) => ({ authorization: Authorization, ttl: String(TTL) });
console.log(JSON.stringify(JSON.parse(process.argv[2]).map(headers).map(lowerCase)));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import base64
import json
import subprocess
import sys

import requests
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02
from pywebpush import webpush

#     endpoint                                         signed for, and TTL: Python       and JavaScript
EXPECTED = [
    ("https://fcm.googleapis.com/fcm/send/ada",        ("fcm.googleapis.com", "0"),      ("fcm.googleapis.com", "2419200")),
    ("https://updates.push.services.mozilla.com/ben",  ("fcm.googleapis.com", "0"),
     ("updates.push.services.mozilla.com", "2419200")),
    ("https://web.push.apple.com/cleo",                ("fcm.googleapis.com", "0"),      ("web.push.apple.com", "2419200")),
]
CLAIMS = {"sub": "mailto:shop@example.com"}


class Kept(requests.Session):
    """Keeps headers in place of sending them."""

    def post(self, url: str, **options: object) -> requests.Response:
        self.kept, response = options["headers"], requests.Response()
        response.status_code = 201
        return response


def text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def signed_for(headers: dict) -> tuple[str, str]:
    payload = headers["authorization"].split("t=")[1].split(".")[1]
    audience = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["aud"]
    return audience.removeprefix("https://"), headers["ttl"]


key, session = Vapid02(), Kept()
key.generate_keys()
# any point of the curve will do as the key of a subscriber: here the sender's own
point = key.public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
subscriptions = [{"endpoint": case[0], "keys": {"p256dh": text(point), "auth": text(bytes(16))}} for case in EXPECTED]
command = ["node", f"{sys.argv[1]}/push.js", json.dumps(subscriptions)]
by_javascript = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
wrong = 0
for subscription, headers, (endpoint, *expected) in zip(subscriptions, by_javascript, EXPECTED):
    webpush(subscription, "hello", vapid_private_key=key, vapid_claims=CLAIMS, requests_session=session)
    seen = [signed_for(session.kept), signed_for(headers)]
    print(f"{endpoint:<46} signed for, and TTL: Python {seen[0]}, JavaScript {seen[1]}")
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
