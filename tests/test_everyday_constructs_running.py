"""Every construct of rules 22 to 30 in the report of a replay, in a check with a log, and in a live run that ends after each event."""

from __future__ import annotations

import html
import re
import tempfile
from pathlib import Path

import pytest
from everyday_constructs import CONSTRUCTS, ENTITIES, LINKS, LOG, finished, graph_of, whole
from live_runs import Life, assert_told_the_same
from local_clock import micros
from strategies import Case, World

import flowdsl as fd

# in milliseconds
DAY = 86_400_000
EACH = pytest.mark.parametrize("name", CONSTRUCTS)
pytestmark = pytest.mark.filterwarnings("ignore:flow '.*is (always|never) true:flowdsl.errors.FlowWarning")


@EACH
def test_the_report_has_it_with_its_counts(name: str) -> None:
    one, result = CONSTRUCTS[name], whole(name)
    page = result.report().html
    shown = html.unescape(re.sub(r"<[^>]+>", " ", page))
    for number, step in enumerate(one.flow.steps):
        # long ones are clipped
        assert step.text[:30] in shown
        [row] = result.steps[result.steps["step"] == number].to_dict("records")
        assert f"{row['entered']:,}" in shown
    for reason in result.dropped["reason"]:
        assert reason in shown
    assert f"{len(result):,}" in shown


@EACH
def test_a_check_with_its_history_finds_no_slip_in_it(name: str) -> None:
    one = CONSTRUCTS[name]
    found = finished(one.flow).check(log=LOG, graph=graph_of(one))
    slips = {"unknown-type", "unknown-value", "unknown-attribute", "recipient-no-person", "single-braces"}
    assert [finding for finding in found if finding.code in slips or finding.severity == "error"] == []


@EACH
@pytest.mark.parametrize("then", ["restart", "crash"])
def test_a_live_run_goes_on_with_it_from_a_checkpoint_after_each_event(name: str, then: str) -> None:
    one = CONSTRUCTS[name]
    case = Case([finished(one.flow)], World(ENTITIES, LINKS, LOG, one.merge), one.caps)
    with tempfile.TemporaryDirectory() as folder, fd.ParquetEventLog(Path(folder) / "log", "none") as log:
        life = Life(case, log)
        for number, event in enumerate(LOG, 1):
            life.clock.micros = micros(event["timestamp"].removesuffix("Z"))
            run = life.runtime
            life.go_on([event], 0, then)
            if then == "restart":
                # this event only: all before it came with the checkpoint
                assert (run.metrics().events, run.metrics().position) == (1, number)
                assert run.metrics().checkpoints > 0
        life.go_on([], 31 * DAY, "on")
        assert_told_the_same(life)
        # all that waited was told: as much as a replay of the events tells, which ends as if time went on
        assert len(life.sinks["push"].deliveries) == len(whole(name))
