"""The longest steps of a live run that forgets: so many links and entities live, and all of them are replaced by new ones.

`python -m tests.benchmarks.live_pauses --lives 1000000` takes batches through the graph as a live run does, half of the lives
from a snapshot, and prints for each kind of step the longest and the usual time, by the processor and by the clock. Lives
end at random, half of their links under an id; from time to time a state is taken, as for a checkpoint.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl

import flowdsl as fd
from flowdsl import on
from flowdsl.engine.collection import RunForgetting
from flowdsl.engine.local import LocalExecutor
from flowdsl.flow.plan import Plan
from flowdsl.graph.link_keys import LinkKeyTables
from flowdsl.live.collector import LiveRecorder
from flowdsl.results.delivery_keys import DeliveryKeys
from flowdsl.values.interner import Interner

# lives that begin and end in a batch: with four events each it is as long as a batch of a live run may be
BATCH = 1 << 12
# a state is taken after so many batches
TAKEN_EVERY = 25


class Times:
    """How long each call of each kind of step took."""

    def __init__(self) -> None:
        self.taken: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def watch(self, owner: Any, method: str, name: str) -> None:
        """Time a method of an object from now on."""
        called = getattr(owner, method)

        def timed(*arguments: Any, **named: Any) -> Any:
            return self.time(name, lambda: called(*arguments, **named))

        setattr(owner, method, timed)

    def time(self, name: str, call: Callable[[], Any]) -> Any:
        """Time one call."""
        clock, worked = time.perf_counter(), time.thread_time()
        result = call()
        self.taken[name].append((time.thread_time() - worked, time.perf_counter() - clock))
        return result

    def table(self) -> str:
        """A line for each kind of step, in ms."""
        lines = [f"{'':26}{'calls':>7}{'longest':>9}{'by clock':>9}{'99 %':>7}{'half':>7}"]
        for name, taken in self.taken.items():
            worked, clock = ([1000 * each[side] for each in taken] for side in (0, 1))
            usual = sorted(worked)[len(worked) * 99 // 100]
            lines.append(
                f"{name:26}{len(taken):>7}{max(worked):>9.1f}{max(clock):>9.1f}{usual:>7.1f}{statistics.median(worked):>7.1f}"
            )
        return "\n".join(lines)


def flow() -> fd.Flow:
    """Whatever is looked up of links, in both directions; nothing is handed over."""
    return (
        on("link.created", link_type="wrote")
        .resolve("target_id", via="wrote", direction="reverse", as_="author")
        .fan_out("source_id", via="wrote", as_="post")
        .where("author.name == 'nobody'")
        .map(name="{{ author.name }}")
        .deliver("nowhere")
    )


def users(lives: pl.Series) -> pl.Series:
    """The ids of users."""
    return pl.select(pl.format("user-{}", lives)).to_series()


def posts(lives: pl.Series) -> pl.Series:
    """The ids of their posts."""
    return pl.select(pl.format("post-{}", lives)).to_series()


def link_ids(lives: pl.Series) -> pl.Series:
    """The ids of links, which every other one has."""
    number = pl.lit(lives)
    return pl.select(pl.when(number % 2 == 1).then(pl.format("link-{}", number))).to_series()


def graph_of(lives: pl.Series) -> fd.EntityGraph:
    """Lives that are there from the beginning."""
    entities = pl.DataFrame({"id": users(lives)}).with_columns(name=pl.col("id"))
    links = {"source_id": users(lives), "target_id": posts(lives), "link_id": link_ids(lives)}
    return fd.EntityGraph({"user": entities}, pl.DataFrame(links).with_columns(link_type=pl.lit("wrote")))


def events(made: pl.Series, ended: pl.Series, first: int) -> pl.DataFrame:
    """What comes and goes in a batch."""
    entities = [
        pl.DataFrame({"entity_id": users(lives)}).with_columns(
            kind=pl.lit(f"entity.{what}"), entity_type=pl.lit("user"),
            data=pl.concat_str(pl.lit('{"name": "'), "entity_id", pl.lit('"}')) if what == "created" else pl.lit(None, pl.String),
        )
        for what, lives in (("created", made), ("deleted", ended))
    ]  # fmt: skip
    links = [
        pl.DataFrame(
            {"source_id": users(lives), "target_id": posts(lives), "link_id": link_ids(lives)}
        ).with_columns(kind=pl.lit(f"link.{what}"), link_type=pl.lit("wrote"))
        for what, lives in (("created", made), ("deleted", ended))
    ]
    frame = pl.concat([entities[0], *links, entities[1]], how="diagonal").with_row_index("seq_no", first)
    return frame.with_columns(
        pl.col("seq_no").cast(pl.Int64),
        pl.format("e-{}", "seq_no").alias("event_id"),
        pl.from_epoch(pl.col("seq_no").cast(pl.Int64), "s").cast(pl.Datetime("us", "UTC")).alias("timestamp"),
        pl.lit(None, pl.String).alias("metadata"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.live_pauses", description=__doc__)
    parser.add_argument("--lives", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, help="as many as replace all lives twice, unless given")
    given = parser.parse_args()
    rng, times = np.random.default_rng(1), Times()
    interner = Interner()
    interner.private = True
    log, plan = fd.MemoryEventLog(), Plan.of([flow()])
    before = np.arange(given.lives // 2)
    graph = graph_of(pl.Series(before)).over(interner, LinkKeyTables()).start(plan.needs, plan.rules)
    local = LocalExecutor(plan, graph, LiveRecorder(DeliveryKeys((), log)))
    forgetting = RunForgetting(local)
    times.watch(graph, "advance", "taking in a batch")
    times.watch(graph, "commit", "the end of a batch")
    times.watch(local, "_compact", "forgetting versions")
    times.watch(forgetting, "_tidy_links", "forgetting links")
    times.watch(forgetting, "step", "forgetting in all")
    alive, next_life, seq = before, len(before), 1
    growing = (given.lives - len(before)) // BATCH
    batches = given.batches or growing + 2 * given.lives // BATCH
    nothing = pl.DataFrame(schema={"seq_no": pl.Int64, "clock": pl.Datetime("us", "UTC")})
    with ThreadPoolExecutor(2) as pool:
        for number in range(batches):
            ended = np.zeros(len(alive), np.bool_)
            if number >= growing:
                ended[rng.permutation(len(alive))[:BATCH]] = True
            made = np.arange(next_life, next_life + BATCH)
            frame = events(pl.Series(made), pl.Series(alive[ended]), seq)
            alive, next_life, seq = (
                np.concatenate([alive[~ended], made]),
                next_life + BATCH,
                seq + frame.height,
            )
            if number in (1, growing):
                # what is done once for all is not a step
                times.taken.clear()
            local.follow(frame, nothing, nothing, pool)
            local.recorder.keep_failures()
            forgetting.step()
            if number % TAKEN_EVERY == 0:
                state = local.state()
                state.graph = times.time("taking a state", state.graph.fork)
                forgetting.keep(state)
                # as a checkpoint is written beside the run
                threading.Thread(target=state.graph.settle).start()
    table = graph.links["wrote"]
    print(f"{len(alive):,} lives, {seq:,} events, {table.size:,} links in {table.blocks} blocks")
    print(f"{interner.table.in_use:,} ids, {graph.versions.size:,} versions")
    print(times.table())


if __name__ == "__main__":
    main()
