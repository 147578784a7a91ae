"""What a live run delivers is what a replay of its log says: in whatever pieces it ran, stopped, crashed and went on."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from live_runs import assert_told_the_same, live, pieces
from strategies import SLIPS_ARE_LIKELY, Case, cases

import flowdsl as fd

pytestmark = SLIPS_ARE_LIKELY


@settings(max_examples=2 * settings().max_examples)
@given(case=cases(), schedule=pieces)
def test_a_live_run_in_memory_tells_what_a_replay_of_its_log_tells(case: Case, schedule: Any) -> None:
    assert_told_the_same(live(case, schedule, fd.MemoryEventLog()))


@settings(max_examples=max(settings().max_examples // 2, 10))
@given(case=cases(), schedule=pieces)
def test_a_live_run_over_a_folder_tells_what_a_replay_of_its_log_tells(case: Case, schedule: Any) -> None:
    with tempfile.TemporaryDirectory() as folder, fd.ParquetEventLog(Path(folder) / "log", "none") as log:
        assert_told_the_same(live(case, schedule, log))
