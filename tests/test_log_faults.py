"""The k-th write, sync or rename fails, and the disk is full: it is reported, and nothing acknowledged is lost.

The calls of the whole process fail, those of SQLite and pyarrow too: `faults/faulty.c` stands before libc. It also
keeps what a power cut would leave at worst: what was synced, under names that were synced.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from crash_rounds import MANY

from flowdsl.log import ParquetEventLog
from tests.programs import own_environment, printed

HERE = Path(__file__).parent
ROOT = HERE.parent
SYNC = 2


def faulty(folder: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("the calls are caught by a library that needs Linux and a C compiler")
    library = folder / "faulty.so"
    source = HERE / "faults" / "faulty.c"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


def rounds(folder: Path, step: int) -> list[dict[str, Any]]:
    environment = own_environment() | {"LD_PRELOAD": str(faulty(folder)), "TMPDIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.rounds", str(step)],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(reports: list[dict[str, Any]]) -> None:
    for report in reports:
        assert report["as it is"] is None, report
        assert report["after a power cut"] is None, report
        assert not report["retried"], f"a failed sync was tried again on the same file: {report}"
        # SQLite passes over a failed sync of the folder, after which all was there
        assert report["errors"] or report["folders"], f"nothing was said: {report}"
    # so that the rounds are what they say: some lost a part of the cycle, some failed in what could wait
    assert {report["kind"] for report in reports} == {1, 2, 3}
    assert {report["promised"] for report in reports} >= {0, 29}


@pytest.mark.crash
def test_a_call_that_fails_loses_nothing_acknowledged(tmp_path: Path) -> None:
    reports = rounds(tmp_path, 1 if MANY else 11)
    assert len(reports) > (300 if MANY else 30)
    check(reports)


def test_a_full_disk_is_reported_and_appending_goes_on_when_there_is_room(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from flowdsl.errors import DataError
from flowdsl.events import entity_created
from flowdsl.log import ParquetEventLog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
log = ParquetEventLog(sys.argv[1])
acknowledged = 0
try:
    while True:
        acknowledged = log.append([entity_created("user", i, {"text": "x" * 50}) for i in range(100)])
except DataError as error:
    print(error)
assert log.last_seq_no() == acknowledged, acknowledged
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
print(acknowledged, log.append(entity_created("user", "after", {})))
"""
    *said, last = printed(code, tmp_path / "log").splitlines()
    assert "File too large" in said[0]
    assert "cannot be written" in said[0]
    before, after = map(int, last.split())
    assert after == before + 1 > 100
    with ParquetEventLog(tmp_path / "log") as log:
        numbers = [n for batch in log.read() for n in batch.column("seq_no").to_pylist()]
        assert numbers == list(range(1, after + 1))
        assert log.verify().ok
