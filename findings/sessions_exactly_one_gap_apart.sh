#!/usr/bin/env bash
# Two events that are exactly one gap apart are one session in Bytewax and two in Pathway.
#
# One would guess: with a gap of ten minutes, an event ten minutes after the last one either belongs to its session in every
# stream processor or in none. The word max_gap says that the gap itself is allowed.
#
# What happens (Bytewax 0.21.1, Pathway 0.33.0), for events at 10:00, 10:10 and 10:30: Bytewax allows at most the gap, and has
# the first two in one session. Pathway's session(max_gap=…) asks for less than the gap, and has three. With a second more
# or less the two agree.
#
# Why it matters here: events of schedulers, sensors and jobs come on the minute, and a gap is a round number of minutes, so
# that "exactly" is the ordinary case. What reports every ten minutes is one session in the one engine, which never ends and
# never emits anything, and a session of its own each time in the other. A flow that moves between engines needs a gap that
# no two events have between them, such as ten minutes and a half.
#
# Source: SessionWindower in https://github.com/bytewax/bytewax/blob/main/pysrc/bytewax/operators/windowing.py (its docstring
# leaves the edge open); https://pathway.com/developers/api-docs/temporal/ (session: `b - a < max_gap`).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check bytewax==0.21.1 pathway==0.33.0
"$folder/venv/bin/python" - <<'PYTHON' 2>"$folder/log" || { cat "$folder/log"; exit 1; }
from datetime import datetime, timedelta, timezone

import bytewax.operators as op
import pathway as pw
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, SessionWindower, collect_window
from bytewax.testing import TestingSink, TestingSource, run_main

START, GAP = datetime(2026, 11, 29, 10, tzinfo=timezone.utc), timedelta(minutes=10)
#    seconds after 10:00     sizes of sessions: Bytewax, Pathway
EXPECTED = {
    (0, 599, 1800):          ([1, 2],     [1, 2]),
    (0, 600, 1800):          ([1, 2],     [1, 1, 1]),
    (0, 601, 1800):          ([1, 1, 1],  [1, 1, 1]),
}


def by_bytewax(seconds: tuple[int, ...]) -> list[int]:
    found, flow = [], Dataflow("sessions")
    events = op.input("events", flow, TestingSource([("job", START + timedelta(seconds=second)) for second in seconds]))
    clock = EventClock(ts_getter=lambda time: time, wait_for_system_duration=timedelta(hours=1))
    op.output("found", collect_window("window", events, clock, SessionWindower(gap=GAP)).down, TestingSink(found))
    run_main(flow)
    return sorted(len(times) for _, (_, times) in found)


def by_pathway(seconds: tuple[int, ...]) -> list[int]:
    events = pw.debug.table_from_rows(pw.schema_from_types(at=int), [(second,) for second in seconds])
    windows = events.windowby(events.at, window=pw.temporal.session(max_gap=int(GAP.total_seconds())))
    sizes = windows.reduce(size=pw.reducers.count())
    return sorted(pw.debug.table_to_pandas(sizes)["size"].tolist())


wrong = 0
for seconds, expected in EXPECTED.items():
    seen = tuple(by(seconds) for by in (by_bytewax, by_pathway))
    print(f"{seconds[1]} s apart: " + ", ".join(f"{name} {sizes}" for name, sizes in zip(("Bytewax", "Pathway"), seen)))
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
