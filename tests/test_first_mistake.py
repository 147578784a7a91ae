"""The first mistake is found at once: a source without a single event says why, and warnings are not one a row."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import flowdsl as fd
from flowdsl import on

BROKEN = [
    {"kind": "link.created", "timestamp": "yesterday"},
    {"kind": "link.created", "timestamp": "today"},
    {"kind": "like", "timestamp": "2026-01-01T00:00:00Z"},
]
SAID = (
    "none of the 3 rows is an event: 2 rows: timestamp 'yesterday' cannot be read ({place}, row {first}); "
    "1 row: unknown kind 'like'; kinds= may say what it means (None: leave it out) ({place}, row {third})"
)


@pytest.mark.parametrize(
    ("make", "place", "first"),
    [
        (lambda folder: BROKEN, "list", 0),
        (lambda folder: pd.DataFrame(BROKEN), "frame", 0),
        (lambda folder: written(folder / "a.csv"), "{folder}/a.csv", 2),
    ],
)
@pytest.mark.parametrize(
    "read", [fd.read_events, lambda source: fd.convert(source, fd.ParquetEventLog("log"))]
)
def test_a_source_of_broken_rows_only_is_refused_with_the_commonest_reasons(
    read: Callable[[Any], Any], make: Callable[[Path], Any], place: str, first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(fd.DataError) as caught:
        read(make(tmp_path))
    assert caught.value.what == SAID.format(place=place.format(folder=tmp_path), first=first, third=first + 2)
    assert caught.value.hint == "columns= says where the fields of an event are, kinds= what its kinds mean"


def written(path: Path) -> Path:
    pd.DataFrame(BROKEN).to_csv(path, index=False)
    return path


def test_rows_that_are_left_out_on_purpose_are_no_mistake():
    log = fd.read_events(BROKEN, kinds={"link.created": None, "like": None})
    assert (len(log), log.skipped) == (0, 3)
    assert len(fd.read_events([])) == 0


def test_a_source_with_one_event_keeps_its_problems():
    good = {"timestamp": "2026-01-01T00:00:00Z", "event": fd.link_created("likes", "ann", "p1")}
    assert len(fd.read_events([*BROKEN, good]).problems) == 3


NAIVE = [
    {"timestamp": dt.datetime(2026, 1, 1, 0, i), "event": fd.link_created("likes", "ann", "p1")}
    for i in range(5)
]
FLOW = on("link.created").map(a=1).deliver("s")


@pytest.mark.parametrize(
    "use",
    [
        lambda: fd.replay(FLOW, NAIVE),
        lambda: fd.read_events(NAIVE),
        lambda: fd.MemoryEventLog().append(NAIVE),
    ],
    ids=["replay", "read_events", "append"],
)
def test_a_kind_of_problem_is_warned_about_once_and_not_at_every_row(use: Callable[[], Any]):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        use()
    assert len(said) == 1
    assert "timestamps without a zone are taken as UTC" in str(said[0].message)


def test_a_rate_limit_is_described_as_the_bucket_that_it_is():
    limit = FLOW.rate_limit(3, per="24h").steps[-1]
    assert limit.caption == "3 at once, refilled over 24h"
    described = fd.schema()
    assert "token bucket" in str(described)
    assert "in each `per`" not in str(described)
