#!/usr/bin/env bash
# Over a history Apache Beam's Deduplicate(event_time_duration=600) keeps one event a key for ever. Live it keeps one in ten minutes.
#
# One would guess: Beam's promise is one program for live and for history. Ten minutes of event time are ten minutes between the
# times of two events, however fast they are read.
#
# What happens (Apache Beam 2.77.0, direct runner), for five events of one key, after 0 and 1 minutes, 12 minutes, an hour and a day:
# - As a stream, whose watermark follows the events, all but the second are kept.
# - As a collection of known size, only the first is kept: what was seen is forgotten by a timer, and a batch has no watermark
#   between its beginning and its end. All timers fire after the last event.
# - It is the first in the order of reading. Read backwards it is the event of the last day.
# - With processing_time_duration a history keeps one as well, as ten minutes have not passed while it was read.
# - With fixed windows of ten minutes in front of it four are kept, as a key is forgotten with its window. But then two events a
#   second apart, on both sides of a border, are no duplicates.
#
# Why it matters here: a rule "not twice within ten minutes" is tried on history, to see how many messages it will send, or history
# is run again after a fault. The rule says one per customer and year, and nothing is raised. In flowdsl the window is counted
# by the times of events, and live and replay agree.
#
# Source: DeduplicatePerKey, whose timer clears the state, in
# https://github.com/apache/beam/blob/master/sdks/python/apache_beam/transforms/deduplicate.py;
# https://beam.apache.org/releases/pydoc/current/apache_beam.transforms.deduplicate.html ("guaranteed with respect of time
# domain and duration"); https://beam.apache.org/documentation/basics/#watermarks.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check apache-beam==2.77.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import logging
import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.deduplicate import Deduplicate
from apache_beam.transforms.window import FixedWindows, TimestampedValue

logging.disable(logging.CRITICAL)
TIMES = [0, 60, 720, 3600, 86400]
KEPT = f"{sys.argv[1]}/kept"


def note(key: str, time=beam.DoFn.TimestampParam) -> None:
    with open(KEPT, "a") as file:
        file.write(f"{int(time)} ")


def follow_with_watermark(times: list[int]) -> TestStream:
    stream = TestStream()
    for time in times:
        stream = stream.advance_watermark_to(time).add_elements([TimestampedValue("ada", time)])
    return stream.advance_watermark_to_infinity()


def run(times: list[int], live: bool, windows: int | None, **duration: int) -> str:
    """The times of the events that are kept."""
    options = PipelineOptions(["--streaming"] if live else [])
    with open(KEPT, "w"), beam.Pipeline(runner="BundleBasedDirectRunner", options=options) as pipeline:
        if live:
            events = pipeline | follow_with_watermark(times)
        else:
            events = pipeline | beam.Create([TimestampedValue("ada", time) for time in times])
            events |= "their times" >> beam.Map(lambda event: event)
        events |= "as text" >> beam.Map(lambda key: key).with_output_types(str)
        if windows:
            events |= beam.WindowInto(FixedWindows(windows))
        events | Deduplicate(**duration) | "note" >> beam.Map(note)
    with open(KEPT) as file:
        return file.read().strip()


EVENT, PROCESSING = {"event_time_duration": 600}, {"processing_time_duration": 600}
#     events in order    live    windows   duration      times of the events that are kept
EXPECTED = [
    (TIMES,              True,   None,     EVENT,        "0 720 3600 86400"),
    (TIMES,              False,  None,     EVENT,        "0"),
    (TIMES[::-1],        False,  None,     EVENT,        "86400"),
    (TIMES,              False,  None,     PROCESSING,   "0"),
    (TIMES,              False,  600,      EVENT,        "0 720 3600 86400"),
    ([599, 600],         False,  600,      EVENT,        "599 600"),
]
wrong = 0
for times, live, windows, duration, expected in EXPECTED:
    seen = run(times, live, windows, **duration)
    print(f"{'live' if live else 'history':<8} {times}, windows {windows}, {duration}: {seen}")
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
