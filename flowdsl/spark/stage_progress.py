"""Progress of a job of Spark: how far its stages are, asked of Spark while the job runs in another thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flowdsl.progress import ProgressReporter

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

T = TypeVar("T")
# seconds between two questions
_OFTEN: Final = 0.2


def followed(
    session: SparkSession, work: Callable[[], T], stages: int, follower: ProgressReporter, events: int
) -> T:
    """Return what work gives that runs so many stages over so many events; each stage is one share of them.

    Sessions of Spark Connect tell nothing of their stages: there the work is all that is done.
    """
    tracker = _tracker(session)
    if tracker is None:
        return work()
    from pyspark.util import inheritable_thread_target

    seen: dict[int, float] = dict.fromkeys(tracker.getActiveStageIds(), 0.0)
    others = len(seen)
    with ThreadPoolExecutor(1, thread_name_prefix="flowdsl-spark") as pool:
        running = pool.submit(inheritable_thread_target(session)(work))
        while not wait([running], _OFTEN).done:
            _ask(tracker, seen)
            share = sum(list(seen.values())[others:]) / stages
            follower.advance_to(int(events * min(share, 1.0)))
        found: T = running.result()
        return found


def _tracker(session: SparkSession) -> Any:
    """Return what knows of the stages of a session; None where nothing does."""
    from pyspark.errors import PySparkException

    try:
        return session.sparkContext.statusTracker()
    except PySparkException:
        return None


def _ask(tracker: Any, seen: dict[int, float]) -> None:
    """Take down which share of its tasks each stage has done; one that is over has done all."""
    active = set(tracker.getActiveStageIds())
    for stage in active | seen.keys():
        info = tracker.getStageInfo(stage) if stage in active else None
        seen[stage] = info.numCompletedTasks / max(info.numTasks, 1) if info is not None else 1.0
