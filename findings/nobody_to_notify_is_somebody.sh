#!/usr/bin/env bash
# Apprise sends a message for nobody to those who have no tag, and "ada, ben" is who has one of the two tags, or who has both.
#
# One would guess: notify(body, tag=recipients) with an empty list sends nothing, and says so. Leaving the argument out and
# passing None are the same, and the command line means by a text what the library means by it.
#
# What happens (apprise 2.3.0), for four services, tagged ada, ben, both of them, and not at all:
# - tag=[], tag="" and tag=None each send to the service without a tag, and report success. Leaving tag out sends to all four.
#   None inside of a list and a name that no service has send to nobody, and report no success.
# - On the command line, leaving --tag out sends to the service without a tag.
# - "ada, ben" in the library is who has one of the two: three services. On the command line --tag "ada, ben" is who has both:
#   one. There, --tag ada --tag ben are the three.
# - "all" is everybody, tagged or not, which somebody's name can be too.
#
# Why it matters here: tags are the recipients of an event. Services without one are those from before there were tags, mostly
# a channel that everybody reads. An event whose look-up finds no follower is posted there and counted as sent. Whoever has
# tagged every service sees nothing of it, and so does a test that has one service. Ask whether there are recipients before
# notify(), and never let them be None.
#
# Source: `apprise --help` says what a comma does there, and what no --tag does; the docstrings of notify ("By default, all")
# and find say nothing of empty tags; is_exclusive_match in
# https://github.com/caronc/apprise/blob/master/apprise/utils/logic.py; https://github.com/caronc/apprise/pull/154.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check apprise==2.3.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import apprise

folder, got = sys.argv[1], []


class Service(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        got.append(self.path[1:])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
TAGS = {"channel": None, "of-ada": ["ada"], "of-ben": ["ben"], "of-both": ["ada", "ben"]}
services, lines = apprise.Apprise(), []
for name, tags in TAGS.items():
    url = f"json://127.0.0.1:{server.server_port}/{name}"
    services.add(url, tag=tags)
    lines.append(f"{','.join(tags)}={url}\n" if tags else f"{url}\n")
with open(f"{folder}/services.conf", "w") as file:
    file.writelines(lines)

LEFT_OUT, ALL = object(), set(TAGS)
#    tag                  reached                             success
EXPECTED = [
    (LEFT_OUT,            ALL,                                True),
    ("all",               ALL,                                True),
    (None,                {"channel"},                        True),
    ("",                  {"channel"},                        True),
    ([],                  {"channel"},                        True),
    ([None],              set(),                              False),
    (["cid"],             set(),                              False),
    (["ada"],             {"of-ada", "of-both"},              True),
    ("ada, ben",          {"of-ada", "of-ben", "of-both"},    True),
    ([("ada", "ben")],    {"of-both"},                        True),
]
wrong = 0
for tag, reached, success in EXPECTED:
    got.clear()
    answer = bool(services.notify("hello") if tag is LEFT_OUT else services.notify("hello", tag=tag))
    name = "no tag" if tag is LEFT_OUT else f"tag={tag!r}"
    print(f"{name:<24} {', '.join(sorted(got)) or 'nobody':<40} {'sent' if answer else 'not sent'}")
    wrong += (set(got), answer) != (reached, success) or len(got) != len(reached)
COMMANDS = [
    ([],                                  {"channel"}),
    (["--tag", "ada, ben"],               {"of-both"}),
    (["--tag", "ada", "--tag", "ben"],    {"of-ada", "of-ben", "of-both"}),
]
for options, reached in COMMANDS:
    got.clear()
    command = [f"{folder}/venv/bin/apprise", "--config", f"{folder}/services.conf", "--body", "hello"]
    subprocess.run([*command, *options], check=True, capture_output=True)
    print(f"{'command: ' + (' '.join(options) or 'no --tag'):<34} {', '.join(sorted(got)) or 'nobody'}")
    wrong += set(got) != reached
raise SystemExit(f"{wrong} of {len(EXPECTED) + len(COMMANDS)} are no longer so" if wrong else 0)
PYTHON
