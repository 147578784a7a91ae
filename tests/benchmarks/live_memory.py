"""Memory of a live run over ever new ids: so many events a second of a simulated clock, in a log of which only the last minute is kept.

`python -m tests.benchmarks.live_memory --minutes 30` prints for each minute what the process holds, and the longest time
that a batch waited for ids to be forgotten, by the clock and in time of the processor. Windows and limits are of 20
seconds, so that in the first minute the run comes to hold what it holds from then on.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import flowdsl as fd
from flowdsl import Flow, on

BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
# events of one id: its user and its post come, a link joins them, is looked up, and both go
LIFE = 10
# seconds whose events are appended together
TOGETHER = 10


class Counting:
    """A sink that counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, delivery: Any) -> None:
        self.count += 1


def flows() -> list[Flow]:
    """Every step that remembers something, or looks something up."""
    viewed = on("link.created", link_type="viewed")
    return [
        viewed.deduplicate("source_id", window="20s").map(n="{{ source_id }}").deliver("count").named("new"),
        viewed.deduplicate(["source_id", "metadata.n"], window="20s")
        .map(n="{{ source_id }}").deliver("count").named("pairs"),
        viewed.batch("target_id", window="20s").map(n="{{ batch.count }}").deliver("count").named("digests"),
        viewed.rate_limit(2, per="20s", key="source_id").map(n="{{ source_id }}").deliver("count").named("limited"),
        viewed.resolve("source_id", as_="user").map(n="{{ user.name }}").deliver("count").named("names"),
        viewed.fan_out("source_id", via="wrote", as_="post").map(n="{{ post_id }}").deliver("count").named("posts"),
    ]  # fmt: skip


def events(second: int, count: int) -> list[dict[str, Any]]:
    """The events of one second: ids that were never there before, and that are gone soon."""
    made: list[dict[str, Any]] = []
    for number in range(count // LIFE):
        name = f"{second}-{number}"
        user, post = f"user-of-some-length-{name}", f"post-of-some-length-{name}"
        wrote = ("wrote", user, post)
        named = f"link-of-some-length-{name}" if number % 2 else None
        made += [
            fd.entity_created("user", user, {"name": name}),
            fd.entity_created("post", post, {"title": name}),
            fd.link_created(*wrote, link_id=named),
            *(fd.link_created("viewed", user, post, metadata={"n": f"{k} of {name}"}) for k in range(3)),
            fd.entity_updated("user", user, {"name": f"{name} again"}),
            fd.link_deleted(*wrote, link_id=named),
            fd.entity_deleted("post", post),
            fd.entity_deleted("user", user),
        ]  # fmt: skip
    at = BEGIN + dt.timedelta(seconds=second)
    return [
        {"id": f"e-{second}-{place}", "timestamp": at.isoformat(), "event": event}
        for place, event in enumerate(made)
    ]


def resident() -> float:
    """What the process holds, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.live_memory", description=__doc__)
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--rate", type=int, default=1000, help="events a second")
    given = parser.parse_args()
    now = [BEGIN]
    sink, held = Counting(), []
    with tempfile.TemporaryDirectory() as folder, fd.ParquetEventLog(Path(folder) / "log", "none") as log:
        runtime = fd.Runtime(
            flows(), log, sinks={"count": sink}, clock=lambda: now[0], checkpoint_every=5.0
        ).start("beginning")
        for second in range(0, given.minutes * 60, TOGETHER):
            seconds = range(second, second + TOGETHER)
            now[0] = BEGIN + dt.timedelta(seconds=seconds[-1])
            last = log.append([event for each in seconds for event in events(each, given.rate)])
            live = runtime._live
            assert live is not None
            while runtime.running and live.place.seq_no < last:
                time.sleep(0.002)
            if (second + TOGETHER) % 60 == 0:
                log.retain(max_age="1m")
                held.append(resident())
                print(
                    f"minute {len(held):>3}: {held[-1]:7.1f} MiB, {sink.count:>9,} delivered, "
                    f"{live.local.graph.interner.table.in_use:>9,} ids, longest pause {live.longest_pause * 1000:.1f} ms "
                    f"(processor {live.longest_work * 1000:.1f} ms)",
                    flush=True,
                )
        runtime.stop()
    print(f"grew by {max(held[1:], default=held[0]) - held[0]:.1f} MiB after the first minute")


if __name__ == "__main__":
    main()
