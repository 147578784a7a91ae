"""Workload F: the everyday designs of rules 22 to 30, each operator alone, by flowdsl and by a plain loop that checks it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa

from tests.benchmarks.data.feed import Feed
from tests.benchmarks.flowdsl_side import DELIVERED, in_memory, outcome
from tests.benchmarks.outcome import Outcome, counted
from tests.benchmarks.reference import SINK, clock, codes

ZONE = "Europe/Berlin"
DAY = 86_400_000_000
MOST = 3
MILESTONES = (10, 50, 100, 500)
TITLE = "a like"


@dataclass(frozen=True)
class Design:
    """One design: its step, the title it sends, and the loop that does the same over a table of events."""

    step: Callable[[Any], Any]
    check: Callable[[pa.Table], Outcome]
    title: str = TITLE

    def run(self, events: pa.Table) -> Callable[[], Outcome]:
        """Return flowdsl's side over a table of likes."""
        import flowdsl as fd
        from flowdsl import on

        start = self.step(on("link.created", link_type="likes"))
        flow = start.map(recipient_id="{{ target_id }}", title=self.title).deliver(SINK)
        log = in_memory(events)
        return lambda: _with_step(fd.replay(flow, log()))


def _with_step(result: Any) -> Outcome:
    """Return what the sink got, and the time of the step that the flow is about: neither `map` nor `deliver`."""
    steps = result.steps
    return replace(
        outcome(result, [SINK], DELIVERED),
        part=float(steps["seconds"][~steps["operator"].isin(["map", "deliver"])].sum()),
    )


# -- what lets go later -------------------------------------------------------------------------------------


def later(times: np.ndarray, wanted: Callable[[datetime], datetime]) -> np.ndarray:
    """Return when each moment (µs) is let go: `wanted` is asked once for each hour, of which all moments go alike."""
    hours, where = np.unique(times // 3_600_000_000, return_inverse=True)
    zone = ZoneInfo(ZONE)
    answers = []
    for hour in hours.tolist():
        local = datetime.fromtimestamp(hour * 3600, UTC).astimezone(zone)
        answers.append(int(wanted(local).astimezone(UTC).timestamp()) * 1_000_000)
    return np.array(answers)[where]


def next_morning(local: datetime) -> datetime:
    """Return the next nine o'clock, of a moment within an hour: what is within the ninth hour goes the next day."""
    day = local.date() + timedelta(days=1 if local.hour >= 9 else 0)
    return datetime.combine(day, time(9), local.tzinfo)


def next_monday(local: datetime) -> datetime:
    """Return the next Monday at nine."""
    morning = next_morning(local)
    return morning + timedelta(days=-morning.weekday() % 7)


def wait_a_day(events: pa.Table) -> Outcome:
    """Let each like go a day later."""
    return _waited(events, clock(events) + DAY)


def wait_till_morning(events: pa.Table) -> Outcome:
    """Let each like go at nine in the morning."""
    return _waited(events, later(clock(events), next_morning))


def _waited(events: pa.Table, due: np.ndarray) -> Outcome:
    return _rows(events, np.argsort(due, kind="stable"), np.sort(due, kind="stable"))


def daily(events: pa.Table) -> Outcome:
    """Gather the likes of a post until nine in the morning."""
    return _windows(events, later(clock(events), next_morning))


def weekly(events: pa.Table) -> Outcome:
    """Gather the likes of a post until Monday at nine."""
    return _windows(events, later(clock(events), next_monday))


def _windows(events: pa.Table, due: np.ndarray) -> Outcome:
    windows: dict[tuple[int, int], list[int]] = {}
    for at, window in enumerate(zip(codes(events, "target_id"), due.tolist(), strict=True)):
        found = windows.setdefault(window, [at, 0])
        found[0] = at
        found[1] += 1
    last, counts = (np.array(column) for column in zip(*windows.values(), strict=True))
    closed = np.array([moment for _, moment in windows])
    order = np.lexsort((last, closed))
    titles = pl.Series(counts[order]).cast(pl.String) + " likes"
    return _rows(events, last[order], closed[order], title=titles.to_arrow())


# -- caps ---------------------------------------------------------------------------------------------------


def cap_sliding(events: pa.Table) -> Outcome:
    """Let at most three likes of a post go on in any 24 hours."""
    times = clock(events)
    went: dict[int, deque[int]] = defaultdict(lambda: deque(maxlen=MOST))
    passed = []
    for at, (now, key) in enumerate(zip(times.tolist(), codes(events, "target_id"), strict=True)):
        before = went[key]
        if len(before) < MOST or now - before[0] >= DAY:
            before.append(now)
            passed.append(at)
    return _rows(events, np.array(passed), times[passed], dropped=len(times) - len(passed))


def cap_daily(events: pa.Table) -> Outcome:
    """Let at most three likes of a post go on each local day."""
    times = clock(events)
    midnights = later(times, lambda local: local.replace(hour=0, minute=0)).tolist()
    went: dict[tuple[int, int], int] = defaultdict(int)
    passed = []
    for at, day in enumerate(zip(codes(events, "target_id"), midnights, strict=True)):
        if went[day] < MOST:
            went[day] += 1
            passed.append(at)
    return _rows(events, np.array(passed), times[passed], dropped=len(times) - len(passed))


def _rows(
    events: pa.Table, at: np.ndarray, delivered: np.ndarray, *, dropped: int = 0, title: Any = None
) -> Outcome:
    rows = pa.table(
        {
            "seq_no": events["seq_no"].take(pa.array(at)),
            "delivered_at": pa.array(delivered).cast(pa.timestamp("us", tz="UTC")),
            "recipient_id": events["target_id"].take(pa.array(at)),
            "title": title if title is not None else pa.repeat(TITLE, len(at)),
        }
    )
    return Outcome({SINK: rows}, counted(0, dropped))


DESIGNS = {
    "wait 1d": Design(lambda start: start.wait("1d"), wait_a_day),
    "wait until": Design(lambda start: start.wait(until="09:00", tz=ZONE), wait_till_morning),
    "windows by day": Design(
        lambda start: start.batch("target_id", every="day", at="09:00", tz=ZONE),
        daily,
        "{{ batch.count }} likes",
    ),
    "windows by week": Design(
        lambda start: start.batch("target_id", every="week", on="mon", at="09:00", tz=ZONE),
        weekly,
        "{{ batch.count }} likes",
    ),
    "cap sliding": Design(lambda start: start.cap(MOST, per="24h", key="target_id"), cap_sliding),
    "cap by day": Design(lambda start: start.cap(MOST, per="day", key="target_id", tz=ZONE), cap_daily),
}

# -- lists --------------------------------------------------------------------------------------------------


def mentioned(events: pa.Table) -> Callable[[], Outcome]:
    """Return flowdsl's side: everyone whom a post mentions is told."""
    import flowdsl as fd
    from flowdsl import on

    flow = (
        on("entity.created", entity_type="post")
        .for_each("data.mentions", as_="person")
        .map(recipient_id="{{ person }}", title="A post mentions you")
        .deliver(SINK)
    )
    log = in_memory(events)
    return lambda: _with_step(fd.replay(flow, log()))


def check_mentioned(events: pa.Table, people: pl.Series) -> Outcome:
    """Tell each person, post after post."""
    each = len(people) // events.num_rows
    posts = pl.DataFrame(events.select(["seq_no", "timestamp"])).rename({"timestamp": "delivered_at"})
    rows = posts[np.repeat(np.arange(posts.height), each)].with_columns(
        recipient_id=people, title=pl.lit("A post mentions you")
    )
    return Outcome({SINK: rows}, counted(0, 0))


# -- questions to the graph ---------------------------------------------------------------------------------


def asked(data: Feed, events: pa.Table, name: str, link_type: str) -> Callable[[], Outcome]:
    """Return flowdsl's side of a condition over links, as of the event."""
    import flowdsl as fd
    from flowdsl import on

    condition = {
        "linked": "linked(source_id, 'follows', target_id)",
        "linked back": "linked(target_id, 'follows', source_id)",
        "count_links": f"count_links(target_id, 'follows', direction='reverse') in {list(MILESTONES)}",
    }[name]
    flow = (
        on("link.created", link_type=link_type)
        .where(condition)
        .map(recipient_id="{{ target_id }}", title=TITLE)
        .deliver(SINK)
    )
    graph, log = fd.EntityGraph(entities={"user": data.users}, links=data.links), in_memory(events)

    return lambda: _with_step(fd.replay(flow, log(), graph))


def check_asked(data: Feed, events: pa.Table, name: str, link_type: str) -> Outcome:
    """Answer from a set of links, and how many each id has, event after event."""
    alive = set(zip(data.links["source_id"].to_pylist(), data.links["target_id"].to_pylist(), strict=True))
    counts: dict[str, int] = defaultdict(int)
    for _, target in alive:
        counts[target] += 1
    passed, dropped = [], 0
    columns = [events[column].to_pylist() for column in ("kind", "link_type", "source_id", "target_id")]
    for at, (kind, kind_of_link, source, target) in enumerate(zip(*columns, strict=True)):
        pair = (source, target)
        if kind_of_link == "follows" and kind == "link.created" and pair not in alive:
            alive.add(pair)
            counts[target] += 1
        elif kind_of_link == "follows" and kind == "link.deleted" and pair in alive:
            alive.remove(pair)
            counts[target] -= 1
        if kind != "link.created" or kind_of_link != link_type:
            continue
        yes = {
            "linked": lambda pair=pair: pair in alive,
            "linked back": lambda pair=pair: pair[::-1] in alive,
            "count_links": lambda target=target: counts[target] in MILESTONES,
        }[name]()
        if yes:
            passed.append(at)
        else:
            dropped += 1
    return _rows(events, np.array(passed), clock(events)[passed], dropped=dropped)


# -- what digests collect -----------------------------------------------------------------------------------


def digests(events: pa.Table, collect: str | None) -> Callable[[], Outcome]:
    """Return flowdsl's side of windows of an hour, which collect two values of their members, or none."""
    import flowdsl as fd
    from flowdsl import fn, on, var

    values: dict[str | None, Any] = {
        None: None,
        "lists": {"fans": var.source_id, "at": var.event.timestamp},
        "aggregates": {"first": fn.first(var.source_id), "fans": fn.count(var.source_id)},
        "unique": {"fans": fn.unique(var.source_id), "first": fn.first(var.source_id)},
    }
    flow = (
        on("link.created", link_type="likes")
        .batch("target_id", window="1h", collect=values[collect])
        .map(recipient_id="{{ target_id }}", title="{{ batch.count }} likes")
        .deliver(SINK)
    )
    log = in_memory(events)
    return lambda: _with_step(fd.replay(flow, log()))
