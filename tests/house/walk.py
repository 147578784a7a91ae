"""Follow one event from the log to its delivery: `python -m tests.house.walk [--list]`.

Counted are the calls of named functions of flowdsl during a replay that ran once before, and how often a call is
in another module or package than the call before it in the same thread. Generators count once per resumption.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import flowdsl as fd

ROOT = Path(fd.__file__).parent
PAIR_COUNT = 20


class Walk:
    """Calls by function, and the turns between modules, in order of the calls of each thread."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.modules: Counter[tuple[str, str]] = Counter()
        self.packages: Counter[tuple[str, str]] = Counter()
        self._last = threading.local()

    def follow(self, work: Callable[[], object]) -> None:
        """Count what is called while something is done, also in threads that it starts."""
        threading.setprofile(self._meet)
        sys.setprofile(self._meet)
        try:
            work()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _meet(self, frame: FrameType, event: str, _: Any) -> None:
        path, name = Path(frame.f_code.co_filename), frame.f_code.co_name
        # comprehensions and lambdas stand where they are read
        if event != "call" or ROOT not in path.parents or name.startswith("<"):
            return
        module = str(path.relative_to(ROOT).with_suffix(""))
        self.calls[f"{module}: {frame.f_code.co_qualname}"] += 1
        before = getattr(self._last, "module", module)
        self._last.module = module
        if module != before:
            self.modules[before, module] += 1
        if (package := module.partition("/")[0]) != (earlier := before.partition("/")[0]):
            self.packages[earlier, package] += 1


def replay_of_one_event(folder: str) -> Callable[[], object]:
    """Return the replay of a flow with lookups, a condition, a window and a delivery over one event."""
    log = fd.ParquetEventLog(folder)
    log.append(fd.link_created("likes", "ann", "post"), timestamp="2026-01-01T00:00:00Z")
    graph = fd.EntityGraph(
        entities={"user": {"bob": {"name": "Bob"}}, "post": {"post": {"title": "Hello"}}},
        links=[{"link_type": "wrote", "source_id": "bob", "target_id": "post"}],
    )
    flow = (
        fd.on("link.created", link_type="likes")
        .resolve("target_id", type="post", as_="post")
        .resolve("target_id", via="wrote", direction="reverse", as_="owner")
        .where("source_id != owner.id")
        .batch("target_id", window="5m")
        .map(recipient_id="{{ owner.id }}", title="{{ batch.count }} like it")
        .deliver("push")
    )
    return lambda: fd.replay(flow, log, graph)["push"].to_dict()


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.house.walk", description=__doc__)
    parser.add_argument("--list", action="store_true", help="print every function that is called")
    chosen = parser.parse_args()
    walk = Walk()
    with tempfile.TemporaryDirectory() as folder:
        work = replay_of_one_event(folder)
        work()
        walk.follow(work)
    print(f"{walk.calls.total():,} calls of {len(walk.calls)} functions")
    print(f"{walk.modules.total():,} changes of module, {walk.packages.total():,} of package")
    print("\ncommonest changes of module")
    for (before, after), count in walk.modules.most_common(PAIR_COUNT):
        print(f"{count:6}  {before} -> {after}")
    for name, count in walk.calls.most_common() if chosen.list else ():
        print(f"{count:6}  {name}")


if __name__ == "__main__":
    main()
