"""A process that appends events and runs flows over them, and is there to be killed. Started by `test_live_crash`.

It imports once, and then gives birth to one child after the other: importing takes longer than most of them live.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import flowdsl as fd
from flowdsl import Flow, on, sinks
from flowdsl.events import entity_updated, link_created

like = on("link.created")


def flows(edit: int = 0) -> list[Flow]:
    """The flows after so many edits: another wording, another name, another order, and one that comes and goes."""
    told = (
        like.resolve("target_id", as_="owner")
        .map(recipient_id="{{ target_id }}", title="{{ source_id }} {{ owner.version }}")
        .deliver("in-app", "told")
    )
    first = (
        like.deduplicate("target_id", window="80ms")
        .map(recipient_id="{{ target_id }}", title="first")
        .deliver("in-app")
    )
    together = like.batch("target_id", window="50ms").map(
        recipient_id="{{ target_id }}",
        title="{{ batch.count }}: {% for i in batch.items %}{{ i }},{% endfor %}" + " reworded" * (edit % 3),
    )
    counted = like.rate_limit(30, per="100ms", strategy="queue").map(
        entity_type="user", entity_id="{{ target_id }}", field="likes"
    )
    listed = [
        told.named("each"),
        first.named("first" if edit % 2 else "the first"),
        together.deliver("in-app").named("together"),
        counted.deliver("count").named("counted"),
        like.map(title="{{ metadata.note }}").deliver("in-app").named("fails at every third"),
    ]
    if edit % 4 > 1:
        sometimes = like.map(recipient_id="sometimes", title="{{ source_id }}").deliver("in-app")
        listed.append(sometimes.named("sometimes"))
    random.Random(edit).shuffle(listed)
    return listed


USERS = [f"u{i}" for i in range(7)]
# two logs whose runs share their sinks
LOGS = ("one", "two")
SHARED = [
    like.map(recipient_id="{{ target_id }}", title="{{ source_id }}", entity_type="user", entity_id="{{ target_id }}", field="likes")
    .deliver("in-app", "feed", "count")
    .named("each"),
    like.batch("target_id", window="50ms")
    .map(recipient_id="{{ target_id }}", title="{{ batch.count }}: {% for i in batch.items %}{{ i }},{% endfor %}",
         entity_type="user", entity_id="{{ target_id }}", field="digests")
    .deliver("in-app", "feed", "count")
    .named("together"),
]  # fmt: skip


class Told(sinks.Custom):
    """A sink without a memory: each key on a line of a file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        super().__init__(lambda delivery: os.write(self._file, f"{delivery.key}\n".encode()) and None)


def runtime(
    folder: Path, log: fd.ParquetEventLog, checkpoint_every: float = 0.05, edit: int = 0
) -> fd.Runtime:
    """The runtime over a log, with its sinks beside it."""
    to = {
        "in-app": sinks.InApp(folder / "in-app.sqlite", keep=1 << 40),
        "count": sinks.Counter(folder / "count.sqlite"),
        "told": Told(folder / "told"),
    }
    return fd.Runtime(flows(edit), log, sinks=to, checkpoint_every=checkpoint_every)


def shared_sinks(folder: Path) -> dict[str, sinks.Sink]:
    """What the runs of several logs deliver to."""
    return {
        "in-app": sinks.InApp(folder / "in-app.sqlite", keep=1 << 40),
        "feed": sinks.Feed(folder / "feed.sqlite"),
        "count": sinks.Counter(folder / "count.sqlite"),
    }


def live_together(folder: Path, life: int) -> None:
    """Append to two logs and run the same flows over both, into the same sinks, until killed."""
    to = shared_sinks(folder)
    os.write(1, b"ready\n")
    for name in LOGS:
        log = fd.ParquetEventLog(folder / name, seal_rows=200)
        running = fd.Runtime(SHARED, log, sinks=to, checkpoint_every=(0.03, 0.3, 3.0)[life % 3])
        running.start("last_acknowledged")
        threading.Thread(target=_append_to, args=(log, running, name, life), daemon=True).start()
    threading.Event().wait()


def _append_to(log: fd.ParquetEventLog, running: fd.Runtime, name: str, life: int) -> None:
    # both logs number alike, and their events have the same ids
    numbers = itertools.count(1)
    while running.running:
        mine = [f"{life}-{next(numbers)}" for _ in range(3)]
        os.write(1, f"try {' '.join(f'{name}/{one}' for one in mine)}\n".encode())
        log.append([_event(one) for one in mine])
        os.write(1, f"done {' '.join(f'{name}/{one}' for one in mine)}\n".encode())
        time.sleep(0.004 if time.monotonic() % 0.5 < 0.3 else 0.2)
    os.write(1, f"ended {running.error!r}\n".encode())


def live(folder: Path, life: int) -> None:
    """Append and run until killed; each line printed is an append that begins, or that returned."""
    log = fd.ParquetEventLog(folder / "log", seal_rows=300)
    running = runtime(folder, log, (0.03, 0.3, 3.0)[life % 3], life).start("last_acknowledged")
    numbers = itertools.count()

    def append(size: int) -> None:
        while running.running:
            mine = [f"{life}-{next(numbers)}" for _ in range(size)]
            os.write(1, f"try {' '.join(mine)}\n".encode())
            log.append([_event(name) for name in mine])
            os.write(1, f"done {' '.join(mine)}\n".encode())
            # all pause together now and then, so that timers fire by the clock as well
            time.sleep(0.002 if time.monotonic() % 0.5 < 0.3 else 0.2)
        os.write(1, f"ended {running.error!r}\n".encode())

    os.write(1, b"ready\n")
    for size in (1, 1, 5):
        threading.Thread(target=append, args=(size,), daemon=True).start()
    threading.Event().wait()


def _event(name: str) -> dict[str, object]:
    number = int(name.partition("-")[2])
    user = USERS[number % len(USERS)]
    if number % 10 == 0:
        return {"id": name, "event": entity_updated("user", user, {"version": name})}
    metadata = {"note": name} if number % 3 else None
    return {"id": name, "event": link_created("likes", f"fan-{name}", user, metadata=metadata)}


def nursery(folder: Path, live: Callable[[Path, int], None]) -> None:
    """For every line on standard input a child, whose number is told; its end is told too."""
    for life, _ in enumerate(sys.stdin):
        child = os.fork()
        if child == 0:
            try:
                live(folder, life)
            finally:
                os._exit(9)
        os.write(1, f"born {child}\n".encode())
        os.waitpid(child, 0)
        os.write(1, b"gone\n")


if __name__ == "__main__":
    nursery(Path(sys.argv[1]), live_together if sys.argv[2:] == ["together"] else live)
