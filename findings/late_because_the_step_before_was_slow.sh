#!/usr/bin/env bash
# Events that are in order, in a window that is open, are late for Bytewax if the step before takes longer than they took to happen.
#
# One would guess: an event is late by its own time: it comes after one that is newer, by more than one has said to wait. A stream
# that is in order needs no waiting, whatever the speed at which it is read, and as long as its window is open an event counts.
#
# What happens (Bytewax 0.21.1), for 20 events that are a millisecond apart, a step that takes 20 ms for each, and one window of
# ten seconds around them all:
# - With wait_for_system_duration of zero one event is in the window, and 19 are late. The watermark goes on by the clock of
#   the machine after each event, and an event behind the watermark is late although the window has 9.98 seconds to go.
# - If the source hands out ten events at once, ten are in the window, and with twenty all are: a batch is judged at one moment.
#   So the result of a flow is a matter of how its source cuts the stream.
# - A second apart, or with ten seconds of waiting, all are in the window. Nothing is late in tests, whose steps cost nothing.
# - Late events go to a stream of their own. Who does not ask for it hears nothing of them.
#
# Why it matters here: a burst (an import, a sale, what piled up while a consumer was down) has its events close together, and the
# step before the window asks a service about each. So it is the bursts that are cut down to their first event, more so on a
# slower machine, and a replay of the same log keeps others than the run before. The documentation takes replays for the
# harmless case, as they are faster than the events were. Wait for as long as the whole backlog may take, look at `late`,
# and put slow steps behind the window.
#
# Source: EventClock ("plus the system time duration that has elapsed since") and on_batch in
# https://github.com/bytewax/bytewax/blob/main/pysrc/bytewax/operators/windowing.py;
# https://github.com/bytewax/bytewax/blob/main/docs/guide/concepts/windowing.md (event time and watermarks).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check bytewax==0.21.1
"$folder/venv/bin/python" - <<'PYTHON'
import time
from datetime import datetime, timedelta, timezone

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators import windowing
from bytewax.testing import TestingSink, TestingSource, run_main

BEGIN = datetime(2026, 11, 29, 10, tzinfo=timezone.utc)
SECOND, MILLISECOND = timedelta(seconds=1), timedelta(milliseconds=1)


def run(apart: timedelta, at_once: int, wait: timedelta, length: timedelta) -> tuple[int, int]:
    """The events in windows, and those that are late."""
    events = [BEGIN + number * apart for number in range(20)]
    windows, late = [], []
    flow = Dataflow("flow")
    step = op.input("events", flow, TestingSource(events, batch_size=at_once))
    step = op.map("ask a service", step, lambda event: time.sleep(0.02) or event)
    step = op.key_on("one key", step, lambda event: "ada")
    clock = windowing.EventClock(ts_getter=lambda event: event, wait_for_system_duration=wait)
    windower = windowing.TumblingWindower(length=length, align_to=BEGIN)
    out = windowing.collect_window("window", step, clock, windower)
    op.output("windows", out.down, TestingSink(windows))
    op.output("late", out.late, TestingSink(late))
    run_main(flow)
    return sum(len(collected) for _, (_, collected) in windows), len(late)


#     apart         at once   wait           length of the window    in the window, late
EXPECTED = [
    (MILLISECOND,   1,        0 * SECOND,    10 * SECOND,            (1, 19)),
    (MILLISECOND,   10,       0 * SECOND,    10 * SECOND,            (10, 10)),
    (MILLISECOND,   20,       0 * SECOND,    10 * SECOND,            (20, 0)),
    (MILLISECOND,   1,        10 * SECOND,   10 * SECOND,            (20, 0)),
    (SECOND,        1,        0 * SECOND,    60 * SECOND,            (20, 0)),
]
wrong = 0
for *case, expected in EXPECTED:
    seen = run(*case)
    apart, at_once, wait, length = case
    print(f"{apart} apart, {at_once:>2} at once, wait {wait}, window {length}: {seen[0]:>2} in it, {seen[1]:>2} late")
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
