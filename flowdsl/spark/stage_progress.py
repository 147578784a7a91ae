"""Progress of a job on Spark: the share of the tasks of its stages that are done."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flowdsl.progress import ProgressReporter

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# seconds between two looks at the stages
_POLL: Final = 0.2
T = TypeVar("T")


def follow_stages(
    session: SparkSession, work: Callable[[], T], stages: int, follower: ProgressReporter, events: int
) -> T:
    """Call `work`, which runs so many stages over so many events, and report progress until it returns.

    Each stage counts for an equal share of the events. Sessions of Spark Connect do not report their stages:
    there the work runs without progress.
    """
    tracker = _tracker(session)
    if tracker is None:
        return work()
    from pyspark.util import inheritable_thread_target

    shares: dict[int, float] = dict.fromkeys(tracker.getActiveStageIds(), 0.0)
    others = len(shares)
    with ThreadPoolExecutor(1, thread_name_prefix="flowdsl-spark") as pool:
        running = pool.submit(inheritable_thread_target(session)(work))
        while not wait([running], _POLL).done:
            _update_shares(tracker, shares)
            share = sum(list(shares.values())[others:]) / stages
            follower.advance_to(int(events * min(share, 1.0)))
        found: T = running.result()
        return found


def _tracker(session: SparkSession) -> Any:
    """Return the status tracker of a session; None with Spark Connect."""
    from pyspark.errors import PySparkException

    try:
        return session.sparkContext.statusTracker()
    except PySparkException:
        return None


def _update_shares(tracker: Any, shares: dict[int, float]) -> None:
    """Update the share of its tasks that each stage has completed, 1.0 once it is over."""
    active = set(tracker.getActiveStageIds())
    for stage in active | shares.keys():
        info = tracker.getStageInfo(stage) if stage in active else None
        shares[stage] = info.numCompletedTasks / max(info.numTasks, 1) if info is not None else 1.0
