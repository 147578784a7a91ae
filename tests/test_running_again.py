"""What one does in a notebook: run a cell twice, go to another folder, look at findings."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import flowdsl as fd

FLOW = fd.on("link.created", name="told").map(recipient_id="{{ target_id }}", title="hello").deliver("in-app")
LOG = [
    {"timestamp": f"2026-01-01T00:0{n}:00Z", "event": fd.link_created("follows", f"user-{n}", "ann")}
    for n in range(3)
]
TABLES = [
    "deliveries",
    "errors",
    "dropped",
    "steps",
    "refused",
    "undelivered",
    "late",
    "ahead",
    "unmatched",
    "open",
    "members",
]


@pytest.fixture
def result() -> fd.Result:
    return fd.replay(FLOW, LOG)


def test_a_cell_that_changes_a_frame_of_a_sink_can_run_twice(result: fd.Result):
    for _ in range(2):
        frame = result["in-app"]
        frame["length"] = frame.pop("title").str.len()
        frame.columns = ["person" if name == "recipient_id" else name for name in frame.columns]
        frame.loc[0, "person"] = "bob"
        assert frame["person"].tolist() == ["bob", "ann", "ann"]
        assert frame["length"].tolist() == [5, 5, 5]
    assert result["in-app"]["recipient_id"].tolist() == ["ann", "ann", "ann"]


@pytest.mark.parametrize("table", TABLES)
def test_a_cell_that_changes_any_other_table_can_run_twice(result: fd.Result, table: str):
    columns = list(getattr(result, table).columns)
    for _ in range(2):
        frame = getattr(result, table)
        assert list(frame.columns) == columns
        frame["more"] = 1
        del frame[columns[0]]


def test_a_cell_that_writes_a_result_can_run_twice(result: fd.Result, tmp_path: Path):
    folder = tmp_path / "result"
    for _ in range(2):
        result.to_parquet(folder, overwrite=True)
        assert len(fd.read_result(folder)) == 3
    fd.replay(FLOW, LOG[:1]).to_parquet(folder, overwrite=True)
    assert len(fd.read_result(folder)["in-app"]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_result_is_only_replaced_where_that_is_asked_for(result: fd.Result, tmp_path: Path):
    result.to_parquet(tmp_path / "result")
    with pytest.raises(fd.ReplayError, match="is not empty") as told:
        result.to_parquet(tmp_path / "result")
    assert "overwrite=True" in str(told.value.hint)


def test_what_is_no_result_is_never_replaced(result: fd.Result, tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(fd.ReplayError, match="is not empty") as told:
        result.to_parquet(tmp_path, overwrite=True)
    assert "only a result is replaced" in str(told.value.hint)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_result_that_cannot_be_written_leaves_the_earlier_one(
    result: fd.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "result"
    result.to_parquet(folder)

    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pyarrow.parquet.write_table", full)
        with pytest.raises(fd.ReplayError, match="No space left"):
            fd.replay(FLOW, LOG[:1]).to_parquet(folder, overwrite=True)
    assert len(fd.read_result(folder)["in-app"]) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_result_can_be_read_and_replaced_by_itself(result: fd.Result, tmp_path: Path):
    folder = tmp_path / "result"
    result.to_parquet(folder)
    back = fd.read_result(folder)
    back.to_parquet(folder, overwrite=True)
    assert back["in-app"]["title"].tolist() == ["hello"] * 3


@pytest.mark.parametrize("kind", ["a file", "a log", "a result"])
def test_what_was_opened_by_a_relative_path_is_still_there_in_another_folder(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    log = fd.ParquetEventLog("log")
    for event in LOG:
        log.append(event["event"], event["timestamp"])
    log.close()
    if kind == "a file":
        pd.DataFrame(
            {
                "kind": "link.created",
                "timestamp": ["2026-01-01T00:00:00Z"] * 3,
                "link_type": "follows",
                "source_id": ["a", "b", "c"],
                "target_id": "ann",
            }
        ).to_parquet("events.parquet")
    replayed = fd.replay(FLOW, "events.parquet" if kind == "a file" else "log")
    if kind == "a result":
        replayed.to_parquet("result")
        replayed = fd.read_result("result")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(replayed["in-app"]) == 3
    assert replayed.errors.empty
    if kind != "a result":
        assert replayed.why(2, "ann").reached
        assert len(replayed.members) == 0


def test_findings_are_a_list_that_shows_itself_as_a_table():
    found = fd.on("link.created", name="<b>draft</b>").map(title="hello").check()
    assert isinstance(found, list)
    shown = found._repr_mimebundle_()
    assert shown["text/plain"] == repr(found) == "\n".join(map(str, found))
    assert shown["text/html"].count("<tr>") == 1 + len(found) == 3
    assert all(
        text in shown["text/html"]
        for text in ("! warning", "nothing is delivered", "add a map and a deliver", "no-deliver")
    )
    assert "<b>" not in shown["text/html"]
    assert found.to_pandas()["code"].tolist() == [finding.code for finding in found]


def test_no_findings_say_so():
    found = FLOW.check()
    none = type(found)()
    assert repr(none) == "no findings"
    assert "no findings" in none._repr_mimebundle_()["text/html"]
    assert list(none.to_pandas().columns) == ["code", "severity", "flow", "step", "where", "message", "hint"]
