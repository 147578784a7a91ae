"""Two executor processes, one of which is killed in every stage: the result is that of one machine.

FLOWDSL_SPARK_EVENTS says how many events a log has; `make test-spark` runs a short form.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from spark_session import why_not

pytestmark = [
    pytest.mark.spark,
    pytest.mark.slow,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.xdist_group("spark"),
]
ROOT = Path(__file__).parent.parent
EVENTS = os.environ.get("FLOWDSL_SPARK_EVENTS", "400000")
CLUSTER = "local-cluster[2,1,2048]"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.spark", *arguments],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip


def sides(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("workload", ["A", "B", "S"])
def test_an_executor_that_is_killed_in_each_stage_changes_nothing(workload: str) -> None:
    done = run("--workload", workload, "--events", EVENTS, "--kill", "local", CLUSTER)
    assert done.returncode == 0, done.stdout + done.stderr
    here, there = sides(done)
    assert here["rows"] > 0
    assert there["digest"] == here["digest"]
    assert there["killed"]


@pytest.mark.parametrize(
    ("workload", "events"),
    [
        # a key that has half of all events, as many open windows as events, one fan-out over as many links
        ("key", 5_000_000),
        ("windows", 5_000_000),
        ("branches", 3_000_000),
    ],
)
def test_no_python_worker_ever_holds_a_gibibyte(workload: str, events: int) -> None:
    done = run("--workload", workload, "--events", str(events), "local", "local[2]")
    assert done.returncode == 0, done.stdout + done.stderr
    here, there = sides(done)
    assert there["digest"] == here["digest"]
    assert 100 < there["worker_mb"] < 1024


@pytest.mark.skipif(importlib.util.find_spec("grpc") is None, reason="pip install 'pyspark[connect]'")
@pytest.mark.parametrize("workload", ["A", "S"])
def test_a_session_of_spark_connect_gives_the_same_result(workload: str) -> None:
    done = run("--workload", workload, "--events", "100000", "local", "remote:local[2]")
    assert done.returncode == 0, done.stdout + done.stderr
    here, there = sides(done)
    assert here["rows"] > 0
    assert there["digest"] == here["digest"]


def test_a_stage_that_fails_for_good_is_a_typed_error_and_leaves_no_result(tmp_path: Path) -> None:
    done = run("--workload", "A", "--events", "100000", "--fail", "--folder", str(tmp_path / "f"), CLUSTER)
    assert done.returncode == 0, done.stdout + done.stderr
    (said,) = sides(done)
    assert said["error"] == "ReplayError"
    assert "the Spark job failed" in said["message"]
    assert said["result"] == "DataError"
    assert said["left"] == []
