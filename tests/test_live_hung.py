"""A sink that hangs stops only itself: the others go on, checkpoints are made, and what waits for it is bounded in memory."""

from __future__ import annotations

import datetime as dt
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from live_runs import waited

import flowdsl as fd
from flowdsl import Runtime, link_created, on, sinks
from flowdsl.live import dispatcher
from flowdsl.sinks import Delivery

told = (
    on("link.created").map(title="{{ source_id }}", recipient_id="all").deliver("quick", "hung").named("told")
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "WAITING", 20)
    monkeypatch.setattr(dispatcher, "TOGETHER", 10)
    monkeypatch.setattr(dispatcher, "STUCK_AFTER", 0.05)


class Gate:
    """A sink without a memory that hangs until its gate is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.titles: list[str] = []

    def __call__(self, delivery: Delivery) -> None:
        self.open.wait(60)
        self.titles.append(delivery.payload["title"])


class HungInApp(sinks.InApp):
    """An inbox that hangs until its gate is opened."""

    gate: threading.Event

    def apply(self, deliveries: Sequence[Delivery], consumer: str, batch: int) -> Any:
        self.gate.wait(60)
        return super().apply(deliveries, consumer, batch)


def fill(log: Any, runtime: Runtime, count: int, begin: int = 0) -> list[str]:
    """Append events one after the other, each run before the next."""
    names = [f"fan-{begin + i}" for i in range(count)]
    for name in names:
        log.append(link_created("likes", name, "post"))
        assert waited(lambda: runtime.metrics().lag == 0)
    return names


def test_others_go_on_and_memory_is_bounded_and_it_gets_all_in_order_in_the_end(log: Any) -> None:
    hung = Gate()
    to = {"quick": sinks.Frame(), "hung": hung}
    with Runtime(told, log, sinks=to, checkpoint_every=0.05) as runtime:
        begun = dt.datetime.now(dt.UTC)
        names = fill(log, runtime, 100)
        assert waited(lambda: len(to["quick"]) == 100)
        assert waited(lambda: runtime.metrics().checkpoints > 0)
        metrics = next(sink for sink in runtime.metrics().sinks if sink.sink == "hung")
        assert metrics.waiting == 100
        # a full queue, and another that the sink took over whole before it hung
        assert metrics.waiting - metrics.on_disk <= 2 * (dispatcher.WAITING + 1)
        assert metrics.waiting_since is not None
        assert abs(dt.datetime.fromisoformat(metrics.waiting_since) - begun) < dt.timedelta(seconds=60)
        hung.open.set()
        assert waited(lambda: len(hung.titles) == 100)
        names += fill(log, runtime, 50, 100)
    assert hung.titles == names
    done = next(sink for sink in runtime.metrics().sinks if sink.sink == "hung")
    assert (done.waiting, done.on_disk, done.waiting_since, done.delivered) == (0, 0, None, 150)


@pytest.mark.parametrize("edited", [False, True])
def test_what_waited_when_the_process_died_is_delivered_once_by_durable_sinks(
    tmp_path: Path, edited: bool
) -> None:
    def inbox(folder: Path, gate: threading.Event) -> HungInApp:
        hung = HungInApp(folder / "hung.sqlite", keep=1 << 30)
        hung.gate = gate
        return hung

    folder, copy, gate = tmp_path / "here", tmp_path / "copy", threading.Event()
    folder.mkdir()
    with fd.ParquetEventLog(folder / "log", "none") as log:
        to = {"quick": sinks.InApp(folder / "quick.sqlite", keep=1 << 30), "hung": inbox(folder, gate)}
        runtime = Runtime(told, log, sinks=to, checkpoint_every=0.05).start()
        names = fill(log, runtime, 70)
        before = runtime.metrics().checkpoints
        assert waited(lambda: runtime.metrics().checkpoints > before)
        names += fill(log, runtime, 30, 70)
        assert waited(lambda: to["quick"].total("all") == 100)
        # as a crash leaves it
        shutil.copytree(folder, copy)
        gate.set()
        runtime.stop()
        assert [note.title for note in to["hung"].list("all", limit=1000)] == names[::-1]
    gate = threading.Event()
    gate.set()
    flow = (
        told
        if not edited
        else on("link.created").map(title="new", recipient_id="all").deliver("quick", "hung").named("told")
    )
    for lock in copy.rglob("lock"):
        lock.unlink()
    with fd.ParquetEventLog(copy / "log", "none") as log:
        to = {"quick": sinks.InApp(copy / "quick.sqlite", keep=1 << 30), "hung": inbox(copy, gate)}
        for _ in range(2):
            runtime = Runtime(flow, log, sinks=to).run_until_idle("last_acknowledged")
        for sink in to.values():
            shown = [note.title for note in sink.list("all", limit=1000)]
            assert len(shown) == 100
            # of what the old flow did not come to hand over the new one makes its own
            assert all(title in (name, "new") for title, name in zip(shown, names[::-1], strict=True))
            assert edited or "new" not in shown


def test_what_a_sink_that_hangs_has_not_got_at_the_stop_it_gets_from_the_next_run(log: Any) -> None:
    hung = Gate()
    runtime = Runtime(told, log, sinks={"quick": sinks.Frame(), "hung": hung}).start("beginning")
    names = fill(log, runtime, 60)
    runtime.stop(timeout=0.2)
    after = Gate()
    after.open.set()
    names += ["last"]
    log.append(link_created("likes", "last", "post"))
    again = Runtime(told, log, sinks={"quick": sinks.Frame(), "hung": after}).run_until_idle()
    assert after.titles == names
    # the state was kept all the same: the other sink gets only what is new
    assert again.sinks["quick"].frame()["title"].tolist() == ["last"]
    hung.open.set()


def test_what_waits_for_a_sink_that_is_there_no_more_becomes_dead_letters(tmp_path: Path) -> None:
    hung = Gate()
    with fd.ParquetEventLog(tmp_path / "log", "none") as log:
        runtime = Runtime(told, log, sinks={"quick": sinks.Frame(), "hung": hung}).start("beginning")
        fill(log, runtime, 5)
        runtime.stop(timeout=0.2)
        flow = on("link.created").map(title="x").deliver("quick").named("told")
        letters = Runtime(flow, log).run_until_idle().dead_letters
        assert letters["sink"].tolist() == ["hung"] * 5
        assert set(letters["error"]) == {"there is no sink 'hung' any more"}
        hung.open.set()
