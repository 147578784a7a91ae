#!/usr/bin/env bash
# Time that freezegun has frozen goes on in modules whose names begin with "gi" or "queue": gifts, github_events, queue_worker.
#
# One would guess: within freeze_time(…) all code of a project sees the frozen time. The list of packages that are left alone by
# default names "gi" (GTK's bindings), "queue", "threading" and "multiprocessing", which means those packages.
#
# What happens (freezegun 1.5.5, time-machine 3.6.0): the list is compared with the beginnings of names, so a module of one's own
# called gifts, giving, github_events, queues or queue_worker is left alone as well, and so is what is inside of such a package.
# - There `from datetime import datetime` is the real one, and time.time() is the real time. `import datetime` and
#   datetime.datetime.now() are frozen, so that two modules beside each other, or two lines of one, are years apart.
# - It goes by who called, too: in a module of any name time.time() is the real time if one of the five innermost calls came
#   through such a module. The same function called from elsewhere is frozen.
# - time-machine, which replaces the functions in C, freezes all of them.
#
# Why it matters here: windows, deadlines and "within 7 days" are tested with frozen time. A handler in gifts.py reads today's
# date, so that a test either passes whatever the handler does (an expiry that is always past), or passes now and fails
# after some months. Events that it makes carry real times into a log of frozen ones. Set default_ignore_list in
# freezegun.configure to what is needed, use time-machine, or hand the time to the handler, as a replay does.
#
# Source: DEFAULT_IGNORE_LIST in https://github.com/spulec/freezegun/blob/master/freezegun/config.py; _should_use_real_time and
# start in https://github.com/spulec/freezegun/blob/master/freezegun/api.py (startswith, call_stack_inspection_limit);
# https://github.com/spulec/freezegun#ignore-packages lists them as packages.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check freezegun==1.5.5 time-machine==3.6.0
cd "$folder"
cat >orders.py <<'PYTHON'
import datetime as dt
import time
from datetime import datetime


def by_class():
    return datetime.now().year


def by_module():
    return dt.datetime.now().year


def by_time():
    return datetime.fromtimestamp(time.time()).year


def call(function):
    return function()
PYTHON
for name in gifts github_events queue_worker threading_tools; do cp orders.py "$name.py"; done
"$folder/venv/bin/python" - <<'PYTHON'
import importlib
from datetime import datetime, timezone

import freezegun
import time_machine

import orders

MOMENT = datetime(2020, 1, 1, 12, tzinfo=timezone.utc)
#    module             datetime.now()   dt.datetime.now()   time.time()   time.time() of orders, called from it
EXPECTED = {
    "orders":          ("frozen",        "frozen",           "frozen",     "frozen"),
    "gifts":           ("real",          "frozen",           "real",       "real"),
    "github_events":   ("real",          "frozen",           "real",       "real"),
    "queue_worker":    ("real",          "frozen",           "real",       "real"),
    "threading_tools": ("real",          "frozen",           "real",       "real"),
}
modules = {name: importlib.import_module(name) for name in EXPECTED}


def look(module):
    years = (module.by_class(), module.by_module(), module.by_time(), module.call(orders.by_time))
    return tuple("frozen" if year == MOMENT.year else "real" for year in years)


with freezegun.freeze_time(MOMENT):
    by_freezegun = {name: look(module) for name, module in modules.items()}
with time_machine.travel(MOMENT):
    by_time_machine = {name: look(module) for name, module in modules.items()}
wrong = 0
for name, expected in EXPECTED.items():
    print(f"{name:<16} freezegun {', '.join(by_freezegun[name]):<28} time-machine {', '.join(by_time_machine[name])}")
    wrong += (by_freezegun[name], by_time_machine[name]) != (expected, ("frozen",) * 4)
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
