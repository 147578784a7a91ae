"""A moment beyond the years 1 to 9999 is a problem of its own row, and of no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

import flowdsl as fd
from flowdsl import on
from flowdsl.log import columns as event_columns
from flowdsl.log.origins import literal

GOOD = 1_767_225_600_000_000
FAR = [253_402_300_800_000_000, -62_135_596_800_000_001, (1 << 63) - 1, -(1 << 62)]
pytestmark = pytest.mark.filterwarnings("ignore:.*of the log (is|are) not")
FLOW = on("link.created").map(who="{{ source_id }}", at="{{ event.timestamp }}").deliver("s")


def table(unit: str = "us", far: int = FAR[0]) -> pl.DataFrame:
    counts = [GOOD, far, GOOD + 1_000_000]
    times = pl.Series([c // 1000 for c in counts] if unit == "ms" else counts).cast(pl.Datetime(unit, "UTC"))
    ids = {"link_type": "likes", "target_id": "p", "kind": "link.created"}
    return pl.DataFrame({"timestamp": times, "source_id": ["a", "b", "c"]}).with_columns(
        pl.lit(value).alias(name) for name, value in ids.items()
    )


def who(result: fd.Result) -> list[str]:
    return list(result["s"]["who"])


FORMS: dict[str, Callable[[pl.DataFrame, Path], Any]] = {
    "polars": lambda frame, _: frame,
    "numbered": lambda frame, _: frame.with_row_index("seq_no", 1),
    "arrow": lambda frame, _: frame.to_arrow(),
    "pandas": lambda frame, _: frame.to_arrow().to_pandas(types_mapper=pd.ArrowDtype),
    "parquet": lambda frame, folder: frame.write_parquet(folder / "a.parquet") or folder / "a.parquet",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("unit", ["us", "ms"])
def test_the_neighbours_of_a_far_row_are_replayed(form: str, unit: str, tmp_path: Path) -> None:
    for far in FAR if form == "numbered" else FAR[:2]:
        log = fd.log.open_log(FORMS[form](table(unit, far), tmp_path))
        assert who(fd.replay(FLOW, log)) == ["a", "c"]
        reasons = log.problems["reason"].tolist()
        assert len(reasons) == 1
        assert "timestamp is beyond the years 1 to 9999" in reasons[0]


@pytest.mark.parametrize("parquet", [False, True])
def test_a_far_row_of_a_frame_that_is_appended_is_a_problem(parquet: bool, tmp_path: Path) -> None:
    log = fd.ParquetEventLog(tmp_path / "log") if parquet else fd.MemoryEventLog()
    log.append(table())
    assert who(fd.replay(FLOW, log)) == ["a", "c"]
    assert log.problems["row"].tolist() == [1]


def test_far_counts_of_other_shapes_are_problems_of_their_rows(tmp_path: Path) -> None:
    columns = {
        "timestamp": "at",
        "kind": literal("link.created"),
        "link_type": literal("likes"),
        "target_id": literal("p"),
    }
    for unit, size in (("s", 10**15), ("ms", 10**18), ("us", 10**18), ("ns", 1 << 62)):
        rows = [{"at": 0, "source_id": "a"}, {"at": size, "source_id": "b"}, {"at": 5, "source_id": "c"}]
        for source in (rows, pd.DataFrame(rows)):
            log = fd.read_events(source, columns=columns, time_unit=unit)
            expected = ["a", "c"] if unit != "ns" else ["a", "c", "b"]
            assert who(fd.replay(FLOW, log)) == expected, unit
    frame = table().rename({"timestamp": "at"})
    with_function = {**columns, "source_id": lambda row: row["source_id"]}
    log = fd.read_events(frame, columns={k: v for k, v in with_function.items() if k != "kind"})
    assert who(fd.replay(FLOW, log)) == ["a", "c"]
    assert log.problems["row"].tolist() == [1]
    (tmp_path / "a.jsonl").write_text(
        "\n".join(
            json.dumps(
                {
                    "timestamp": at,
                    "kind": "link.created",
                    "link_type": "l",
                    "source_id": at[:4],
                    "target_id": "p",
                }
            )
            for at in (
                "2026-01-01T00:00:00Z",
                "9999-12-31T23:59:59-14:00",
                "0001-01-01T00:00:00+14:00",
                "2026-01-02T00:00:00Z",
            )
        )
    )
    log = fd.read_events(tmp_path / "a.jsonl")
    assert who(fd.replay(FLOW, log)) == ["2026", "2026"]
    assert log.problems["row"].tolist() == [2, 3]


@pytest.mark.parametrize(
    "at", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "0000-01-01T00:00:00Z"]
)
def test_a_far_event_is_refused_by_name(at: str) -> None:
    log = fd.MemoryEventLog()
    event = {"timestamp": at, "event": fd.link_created("likes", "a", "p")}
    with pytest.raises(fd.DataError, match="event 1: timestamp"):
        log.append([{"timestamp": "2026-01-01T00:00:00Z", "event": event["event"]}, event])
    assert log.last_seq_no() == 0
    with pytest.raises(fd.DataError, match="timestamp"):
        fd.replay(FLOW, [event])


@pytest.mark.parametrize("sealed", [False, True])
def test_a_log_that_holds_a_far_row_works_without_it(
    sealed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "log"
    failing = FLOW.map(x="{{ link_id }}").deliver("t")
    with monkeypatch.context() as earlier, fd.ParquetEventLog(folder) as log:
        # as a version that did not look let it in
        earlier.setattr(event_columns, "LAST_SECOND", 1 << 42)
        log.append(table())
        log.append(table().tail(2).head(1))
        if sealed:
            log.seal()
    log = fd.ParquetEventLog(folder)
    assert log.last_seq_no() == 4
    assert [row["source_id"] for batch in log.read() for row in batch.to_pylist()] == ["a", "c"]
    assert log.subscribe("s", "beginning").take()["source_id"].to_list() == ["a", "c"]
    subscription = log.subscribe("s", "beginning")
    assert [next(subscription)["seq_no"] for _ in range(2)] == [1, 3]
    assert log.problems["row"].tolist() == [2, 4]
    result = fd.replay(failing, log)
    assert who(result) == ["a", "c"]
    assert result.errors["seq_no"].tolist() == [1, 3]
    assert "event 3" in str(result.explain(3))
    with pytest.raises(fd.ReplayError):
        result.explain(2)
    runtime = fd.Runtime(failing, log)
    runtime.run_until_idle()
    assert runtime.sinks["s"].frame()["who"].tolist() == ["a", "c"]
    assert len(runtime.dead_letters) == 2
    assert len(runtime.retry()) == 2
    memory = fd.MemoryEventLog()
    memory.append(log)
    assert memory.last_seq_no() == 2
    assert memory.problems["row"].tolist() == [2, 4]
    log.compact()
    assert log.verify().ok
