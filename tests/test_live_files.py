"""Files of a live run that are older than the others, removed, or from another run: it is noticed, and nothing is lost or twice
unsaid."""

from __future__ import annotations

import datetime as dt
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flowdsl as fd
from flowdsl import FlowWarning, LiveError, Runtime, link_created, on, sinks
from flowdsl.sinks import Delivery

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
likes = on("link.created", link_type="likes")
FLOWS = [
    likes.map(title="{{ source_id }}", recipient_id="all").deliver("mail", "in-app").named("told"),
    likes.batch("target_id", window="1d").map(title="{{ batch.count }}").deliver("mail").named("digest"),
]


class Place:
    """A log with a run over it, a sink without a memory, and an inbox in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mailed: list[str] = []
        self.count = 0
        self.now = NOW

    @property
    def consumer(self) -> Path:
        return self.folder / "log" / "consumers" / "flow-runtime"

    def log(self) -> fd.ParquetEventLog:
        return fd.ParquetEventLog(self.folder / "log")

    def append(self, count: int = 2, seconds: int = 1, **more: Any) -> None:
        self.now += dt.timedelta(seconds=seconds)
        names = [f"fan-{self.count + n}" for n in range(count)]
        self.count += count
        with self.log() as log:
            log.append(
                [
                    {
                        "event": link_created("likes", name, "post"),
                        **{key: value + name for key, value in more.items()},
                    }
                    for name in names
                ],
                self.now,
            )

    def run(self, flows: Any = FLOWS, position: Any = None, **options: Any) -> Runtime:
        to = {
            "mail": lambda delivery: self.mailed.append(delivery.payload["title"]),
            "in-app": sinks.InApp(self.folder / "in-app.sqlite"),
        }
        with self.log() as log:
            try:
                runtime = Runtime(flows, log, sinks=to, clock=lambda: self.now, **options)
                if position is None:
                    return runtime.run_until_idle()
                with runtime.start(position):
                    return runtime
            finally:
                to["in-app"].close()

    def count_in_log(self) -> int:
        with self.log() as log:
            return log.last_seq_no()

    def mail(self, *arguments: Any, **options: Any) -> list[str]:
        """What is mailed by one run."""
        self.mailed.clear()
        self.run(*arguments, **options)
        return list(self.mailed)

    def shown(self) -> list[str]:
        with sinks.InApp(self.folder / "in-app.sqlite") as in_app:
            return [note.title for note in in_app.list("all")][::-1]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A run that was stopped twice and whose files were kept in between: `then` is what they were."""
    place = Place(tmp_path / "now")
    place.folder.mkdir()
    place.append()
    place.run()
    shutil.copytree(place.folder, tmp_path / "then")
    for _ in range(2):
        place.append()
        place.run()
    return place


def then(place: Place, *patterns: str) -> None:
    """Bring back files as they were."""
    old = place.folder.parent / "then"
    for pattern in patterns:
        for path in place.folder.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in old.glob(pattern):
            target = place.folder / path.relative_to(old)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(path, target) if path.is_dir() else shutil.copy2(path, target)


def waited(until: Callable[[], bool]) -> None:
    while not until():
        time.sleep(0.005)


CONSUMER = "log/consumers/flow-runtime"
LOG = ("log/log.sqlite*", "log/tail.log", "log/*.parquet", "log/writer.lock")
OLDER = {
    "the consumer's file": ((f"{CONSUMER}/consumer.sqlite*",), "consumer.sqlite is older than the last run"),
    "its file and its lock": (
        (f"{CONSUMER}/consumer.sqlite*", f"{CONSUMER}/lock"),
        "the last run reached event 2, and the log says 6",
    ),
    "the checkpoints": ((f"{CONSUMER}/checkpoint-*", f"{CONSUMER}/blob-*"), "its checkpoints are older than its file"),
    "the consumer's folder": ((CONSUMER,), "the last run reached event 2, and the log says 6"),
    "the log": (LOG, "the last run reached event 6, and the log says 2"),
    "the catalog's positions": ((), "the last run reached event 6, and the log says 0"),
}  # fmt: skip


@pytest.fixture(params=list(OLDER))
def older(request: pytest.FixtureRequest, place: Place) -> tuple[Place, str]:
    """Some of the files are older than the others, and what is said of it."""
    patterns, said = OLDER[request.param]
    then(place, *patterns)
    if not patterns:
        (place.folder / "log" / "log.sqlite").unlink()
        with place.log() as log:
            log.verify(repair=True)
    return place, said


def test_files_of_different_times_are_refused_and_stay_as_they_are(older: tuple[Place, str]) -> None:
    place, said = older
    place.mailed.clear()
    for position in (None, "last_acknowledged"):
        with pytest.raises(LiveError, match="of different times") as caught:
            place.run(position=position)
        assert said in str(caught.value)
        assert str(place.consumer) in str(caught.value)
        assert 'state="keep"' in str(caught.value)
    assert not place.mailed


def test_state_keep_goes_on_from_the_checkpoint_and_loses_nothing(older: tuple[Place, str]) -> None:
    place, said = older
    there = len(list(place.consumer.glob("checkpoint-*")))
    with place.log() as log:
        last = log.last_seq_no()
    if "log says 2" in said:
        # of what the checkpoint has the log tells nothing
        with pytest.warns(FlowWarning), pytest.raises(LiveError, match="the checkpoint is one of event 6"):
            place.run(state="keep")
        return
    assert there
    with pytest.warns(FlowWarning, match="of different times"):
        again = place.mail(state="keep")
    # what came after the checkpoint, perhaps again
    assert again in ([], [f"fan-{n}" for n in range(2, last)])
    # the window is as it was
    place.now += dt.timedelta(days=2)
    place.append()
    assert place.mail() == ["2" if last == 2 else "6", f"fan-{place.count - 2}", f"fan-{place.count - 1}"]
    assert place.mail() == []
    assert place.shown() == [f"fan-{n}" for n in range(8)]


def test_state_discard_goes_on_behind_and_tells_nothing_twice(older: tuple[Place, str]) -> None:
    place, _ = older
    with pytest.warns(FlowWarning, match="of different times"):
        assert place.mail(state="discard") == []
    with place.log() as log:
        last = log.last_seq_no()
        given_up = Runtime(FLOWS, log, sinks={"mail": print, "in-app": sinks.InApp()}).discarded
    # what the window held is listed
    assert given_up["seq_no"].dropna().tolist() in ([1, 2], [1, 2, 3, 4, 5, 6])
    place.append()
    count = place.count
    assert place.mail() == [f"fan-{count - 2}", f"fan-{count - 1}"]
    assert set(place.shown()) >= {f"fan-{n}" for n in (*range(last), count - 2, count - 1)}


def test_a_position_says_where_to_go_on(older: tuple[Place, str]) -> None:
    place, _ = older
    with pytest.warns(FlowWarning, match="of different times"):
        assert place.mail(position=2) == [f"fan-{n}" for n in range(1, 6 if place.count_in_log() == 6 else 2)]
    assert place.mail() == []


def test_all_files_of_one_time_are_as_they_were_then(place: Place) -> None:
    then(place, "log", "in-app.sqlite*")
    assert place.mail() == []
    place.append()
    assert place.mail() == ["fan-6", "fan-7"]
    assert place.shown() == ["fan-0", "fan-1", "fan-6", "fan-7"]


@pytest.mark.parametrize("told_by", [{}, {"seconds": -3, "id": "e-"}])
def test_what_an_older_log_goes_on_with_is_not_taken_for_what_a_newer_inbox_has(
    place: Place, told_by: dict[str, Any]
) -> None:
    then(place, "log")
    # a number that an event had that the log has lost, another time or at least another id
    place.append(4, **told_by)
    place.run()
    assert place.shown() == [f"fan-{n}" for n in range(10)]


@pytest.mark.parametrize("gone", [False, True])
def test_a_sinks_file_that_is_older_or_gone_is_named_and_can_be_filled_again(
    place: Place, gone: bool
) -> None:
    if gone:
        (place.folder / "in-app.sqlite").unlink()
    else:
        then(place, "in-app.sqlite*")
    what = "not the file of the last run" if gone else "older than the last run"
    with pytest.warns(FlowWarning, match=rf"'in-app': .*in-app\.sqlite is {what}.*dispatch=True"):
        place.run()
    place.append()
    place.run()
    assert place.shown() == [f"fan-{n}" for n in ([] if gone else [0, 1])] + ["fan-6", "fan-7"]
    with place.log() as log, sinks.InApp(place.folder / "in-app.sqlite") as in_app:
        fd.replay(
            FLOWS[:1],
            log,
            sinks={"in-app": in_app, "mail": sinks.Frame()},
            dispatch=True,
            open_windows="keep",
        )
    assert sorted(place.shown()) == [f"fan-{n}" for n in range(8)]


def test_another_file_for_a_sink_on_purpose_is_fine(place: Place) -> None:
    with place.log() as log:
        Runtime(
            FLOWS, log, sinks={"mail": print, "in-app": sinks.InApp(place.folder / "new.sqlite")}
        ).run_until_idle()


def test_the_files_of_a_run_over_another_log_are_refused(place: Place, tmp_path: Path) -> None:
    other = Place(tmp_path / "other")
    other.folder.mkdir()
    other.append()
    other.run()
    shutil.rmtree(place.consumer)
    shutil.copytree(other.consumer, place.consumer)
    with pytest.raises(LiveError, match="that of a run over another log"):
        place.run()


def test_a_consumers_file_that_is_removed_while_it_runs_ends_the_run(place: Place) -> None:
    with place.log() as log:
        runtime = Runtime(FLOWS, log, sinks={"mail": print, "in-app": sinks.InApp()}).start()
        (place.consumer / "consumer.sqlite").unlink()
        log.append(link_created("likes", "ann", "post"), NOW)
        waited(lambda: not runtime.running)
        with pytest.raises(LiveError, match=r"consumer\.sqlite.* was removed or replaced while it was used"):
            runtime.stop()
    with pytest.raises(LiveError, match=r"consumer\.sqlite of the consumer 'flow-runtime' is missing"):
        place.run()


def test_checkpoints_of_a_consumer_that_is_ahead_do_not_move_another_one(place: Place) -> None:
    """What the other one has seen, and this one has not, is delivered after `state="discard"`."""
    with place.log() as log:
        Runtime(
            FLOWS, log, sinks={"mail": print, "in-app": sinks.InApp()}, consumer_name="other"
        ).run_until_idle()
    place.append()
    place.run()
    other = place.consumer.parent / "other"
    for path in other.glob("checkpoint-*"):
        path.unlink()
    for path in [*place.consumer.glob("checkpoint-*"), *place.consumer.glob("blob-*")]:
        shutil.copy2(path, other)
    in_app = sinks.InApp()
    with place.log() as log, pytest.warns(FlowWarning):
        Runtime(
            FLOWS,
            log,
            sinks={"mail": print, "in-app": in_app},
            consumer_name="other",
            state="discard",
        ).run_until_idle()
    assert [note.title for note in in_app.list("all")][::-1] == ["fan-6", "fan-7"]


@pytest.mark.parametrize("left", ["an empty file", "nothing"])
def test_a_consumer_whose_files_are_gone_is_not_taken_for_a_new_one(place: Place, left: str) -> None:
    for path in place.consumer.iterdir():
        path.unlink()
    if left == "nothing":
        place.consumer.rmdir()
    else:
        (place.consumer / "consumer.sqlite").touch()
    with pytest.raises(LiveError, match="knows of no run, and the log says that one reached event 6"):
        place.run()
    with pytest.warns(FlowWarning), pytest.raises(LiveError, match="there is no checkpoint"):
        place.run(state="keep")
    place.append()
    with pytest.warns(FlowWarning, match="of different times"):
        place.run(state="discard")
    assert place.shown()[-2:] == ["fan-6", "fan-7"]


def test_dead_letters_of_an_older_file_are_not_taken_for_new_ones(place: Place) -> None:
    def fails(_: Delivery) -> None:
        raise OSError("no")

    place.append()
    with place.log() as log:
        runtime = Runtime(
            FLOWS, log, sinks={"mail": fails, "in-app": sinks.InApp(place.folder / "in-app.sqlite")}
        )
        runtime.run_until_idle()
        kept = (place.consumer / "consumer.sqlite").read_bytes()
        assert len(runtime.dead_letters) == runtime.discard() == 3
    (place.consumer / "consumer.sqlite").write_bytes(kept)
    with pytest.raises(LiveError, match="of different times"):
        place.run()


def test_what_waits_for_a_hung_sink_is_in_the_consumers_file(tmp_path: Path) -> None:
    place, gate = Place(tmp_path), threading.Event()
    place.append()

    def hang(_: Delivery) -> None:
        gate.wait(60)

    with place.log() as log:
        runtime = Runtime(FLOWS[0], log, sinks={"mail": hang, "in-app": sinks.Frame()}).start("beginning")
        waited(lambda: runtime.metrics().events == 2)
        runtime.stop(timeout=0.2)
    files = {
        path.name for path in place.consumer.iterdir() if not path.name.startswith(("checkpoint-", "blob-"))
    }
    assert files == {"lock", "consumer.sqlite", "consumer.sqlite-journal"}
    kept = (place.consumer / "consumer.sqlite").read_bytes()
    assert place.mail(FLOWS[0]) == ["fan-0", "fan-1"]
    # as if they had not been mailed yet
    (place.consumer / "consumer.sqlite").write_bytes(kept)
    with pytest.raises(LiveError, match="of different times"):
        place.run(FLOWS[0])
    place.mailed.clear()
    with pytest.warns(FlowWarning, match="of different times"):
        letters = place.run(FLOWS[0], state="discard").dead_letters
    assert not place.mailed
    gate.set()
    assert letters["error"].tolist() == ["whether the sink has it is not known: files of different times"] * 2
