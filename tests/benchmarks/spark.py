"""Replays on Apache Spark beside the local engine, each in a process of its own, over the same Parquet files.

`python -m tests.benchmarks.spark --workload A --events 20000000 local 'local[2]' 'local-cluster[2,1,2048]'` prints a line for
each side: seconds, time of the processor with all its processes, the largest Python worker, and a digest of the
result, which is to be the same for all. `--kill` ends one executor with SIGKILL in the middle of each stage; with `--fail`
the process of a task ends at one event, however often it is tried.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import flowdsl as fd
from flowdsl import fn, on, var
from tests.benchmarks.data import feed as feed_data
from tests.benchmarks.data.ids import constant, take, utc, uuids
from tests.benchmarks.data.likes import graph as likes_graph
from tests.benchmarks.data.likes import write_long_log
from tests.benchmarks.flowdsl_side import likes_flow
from tests.benchmarks.processes import Killer, Watch

SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.session.timeZone": "UTC",
    "spark.driver.memory": "4g",
    "spark.executor.memory": "1g",
    "spark.log.level": "ERROR",
}


# deliveries that are compared in their order
ORDERED = 20_000_000

# -- workloads -------------------------------------------------------------------------------------------


def prepare(folder: Path, workload: str, events: int) -> None:
    """Write the log and the graph of a workload."""
    folder.mkdir(parents=True, exist_ok=True)
    if workload == "B":
        # most events are links that come and go
        posts = min(feed_data.POSTS, max(events // 20, 1))
        data = feed_data.feed(posts, int((events - posts) / 0.79), ends=True)
        pq.write_table(data.users, folder / "users.parquet")
        pq.write_table(data.links, folder / "links.parquet")
        log = data.events.slice(0, events)
        pq.write_table(log, folder / "log.parquet", row_group_size=250_000, compression="zstd")
        return
    if workload in ("key", "windows", "branches"):
        prepare_hard(folder, workload, events)
        return
    of = likes_graph(scale=min(1.0, events / 1_000_000))
    for name in ("users", "posts", "links"):
        pq.write_table(getattr(of, name), folder / f"{name}.parquet")
    write_long_log(of, folder / "log.parquet", events)


def prepare_hard(folder: Path, workload: str, events: int) -> None:
    """Write what is hard to share out: a key with half of all events, as many windows as events, or one fan-out over
    as many links.
    """
    rng = np.random.default_rng(7)
    numbers = np.arange(1, events + 1)
    if workload == "branches":
        names = uuids(events, rng)
        links = {
            "link_type": constant("follows", events),
            "source_id": names,
            "target_id": constant("u", events),
        }
        pq.write_table(pa.table(links), folder / "links.parquet")
        # entities go to every task
        users = names.slice(0, min(events // 10, 300_000))
        pq.write_table(pa.table({"id": users}), folder / "users.parquet")
        log, numbers = posts_among_moves(names, rng), numbers[: events // 10]
    else:
        keys = uuids(events, rng)
        if workload == "key":
            half = rng.random(events) < 0.5
            keys = take(keys, np.where(half, 0, rng.integers(0, events, events)))
        log = {
            "kind": constant("link.created", events),
            "link_type": constant("likes", events),
            "source_id": take(uuids(1000, rng), rng.integers(0, 1000, events)),
            "target_id": keys,
        }
    times = utc(1_767_225_600_000_000 + numbers * 1000)
    table = pa.table({"seq_no": pa.array(numbers), "timestamp": times, **log})
    pq.write_table(table, folder / "log.parquet", row_group_size=250_000, compression="zstd")


def posts_among_moves(names: pa.Array, rng: np.random.Generator) -> dict[str, pa.Array]:
    """Give the columns of twenty posts, one of which reaches everybody, among links of that id that come and go."""
    size = len(names) // 10
    number = np.arange(size)
    # some come again, and some go that never came
    known, new = take(names, rng.integers(0, len(names), size)), uuids(size, rng)
    who = pl.Series(known).zip_with(pl.Series(rng.random(size) < 0.7), pl.Series(new))
    given = {"number": number, "who": who, "comes": rng.random(size) < 0.5}
    post = pl.col("number") % (size // 20) == size // 40
    everybody = pl.col("number") == size // 40 + 10 * (size // 20)
    author = pl.when(everybody).then(pl.lit("u")).otherwise(pl.lit("x"))
    moved = {"link_type": pl.lit("follows"), "source_id": pl.col("who"), "target_id": pl.lit("u")}
    posted = {
        "entity_type": pl.lit("post"),
        "entity_id": pl.format("p{}", "number"),
        "data": pl.concat_str(pl.lit('{"title":"Note","author_id":"'), author, pl.lit('"}')),
    }
    kind = pl.when(post).then(pl.lit("entity.created")).when("comes").then(pl.lit("link.created"))
    frame = pl.DataFrame(given).select(
        kind.otherwise(pl.lit("link.deleted")).alias("kind"),
        *(pl.when(~post).then(value).alias(name) for name, value in moved.items()),
        *(pl.when(post).then(value).alias(name) for name, value in posted.items()),
    )
    return {name: frame[name].to_arrow() for name in frame.columns}


def graph(folder: Path) -> fd.EntityGraph:
    """Read the graph of a workload."""
    names = {"users": "user", "posts": "post"}
    entities = {
        kind: pl.read_parquet(path)
        for name, kind in names.items()
        if (path := folder / f"{name}.parquet").exists()
    }
    links = folder / "links.parquet"
    if not links.exists():
        return fd.EntityGraph(entities)
    file = pq.ParquetFile(links, pre_buffer=False)
    return fd.EntityGraph(
        entities, links=pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches())
    )


def flows(workload: str) -> list[fd.Flow]:
    """Return the flows of a workload; S has windows, limits and what is seen once, over the log of A."""
    if workload in ("B", "branches"):
        posted = on("entity.created", entity_type="post")
        reached = posted.fan_out("data.author_id", via="follows", direction="reverse", as_="follower")
        # nine in ten followers of the one are no entities
        recipient = "{{ follower.id }}" if workload == "B" else "{{ follower_id }}"
        told = reached.map(recipient_id=recipient, title="New: {{ data.title }}", kind="feed")
        return [told.deliver("feed").named("feed")]
    if workload in ("key", "windows"):
        like = on("link.created", link_type="likes")
        window = like.batch("target_id", window="1h", collect={"fans": fn.unique(var.source_id)})
        told = window.map(recipient_id="{{ target_id }}", title="{{ batch.count }} likes")
        return [told.deliver("push").named("windows")]
    if workload == "S":
        like = on("link.created", link_type="likes")
        return [
            like.deduplicate(["source_id", "target_id"], window="1h")
            .batch("target_id", window="1h")
            .resolve("target_id", via="owns", direction="reverse", as_="owner")
            .map(recipient_id="{{ owner.id }}", title="{{ batch.count }} likes")
            .deliver("push")
            .named("digests")
        ]
    return [likes_flow().named("likes")]


# -- one side --------------------------------------------------------------------------------------------


def session(master: str, **more: str) -> Any:
    """Start a session; of Spark Connect for `remote:local[2]`."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    from pyspark.sql import SparkSession

    kind, _, where = master.rpartition(":")
    builder = SparkSession.builder.remote(where) if kind == "remote" else SparkSession.builder.master(master)
    builder = builder.appName("flowdsl benchmark")
    for name, value in {**SETTINGS, **more}.items():
        builder = builder.config(name, value)
    made = builder.getOrCreate()
    # what every session does once
    made.range(10).mapInArrow(lambda batches: batches, "id bigint").count()
    return made


def digest(result: fd.Result, folder: Path) -> str:
    """Return a digest of all deliveries in their order, and of the counts of all steps; of very many deliveries
    without their order, one file after the other.
    """
    import hashlib

    found = hashlib.sha256()
    if sum(len(result.polars(sink, ["seq_no"])) for sink in result.sinks) > ORDERED:
        found.update(str(_sums(folder / "deliveries")).encode())
    else:
        for sink in result.sinks:
            rows = result.polars(sink)
            found.update(f"{sink} {rows.columns} {rows.height}".encode())
            for piece in rows.iter_slices(1 << 20):
                found.update(piece.hash_rows(1).to_numpy().tobytes())
    steps = [{k: v for k, v in step.items() if k != "seconds"} for step in result.manifest["steps"]]
    found.update(json.dumps(steps, sort_keys=True, default=str).encode())
    return found.hexdigest()[:16]


def _sums(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return the number of rows of each table, and the sums of two hashes of them."""
    sums: dict[str, tuple[int, int, int]] = {}
    for path in sorted(folder.rglob("*.parquet")):
        rows = pl.read_parquet(path)
        more = rows.height, *(int(rows.hash_rows(seed).cast(pl.Int128).sum()) for seed in (1, 2))
        before = sums.get(path.parent.name, (0, 0, 0))
        sums[path.parent.name] = tuple(map(sum, zip(before, more, strict=True)))  # type: ignore[assignment]
    return sums


def measure(
    side: str, workload: str, folder: Path, *, partitions: int | None, kill: bool, times: int
) -> Iterator[dict[str, Any]]:
    """Replay a workload on one side, and yield what was measured each time."""
    of, log = graph(folder), str(folder / "log.parquet")
    spark = None if side == "local" else session(side)
    engine = "local" if spark is None else fd.Spark(spark, partitions=partitions)
    for _ in range(times):
        with tempfile.TemporaryDirectory(dir=folder) as out:
            with Watch() as watch:
                killer = Killer(spark) if kill else None
                start = time.perf_counter()
                result = fd.replay(flows(workload), log, of, engine=engine, out=Path(out) / "result")
                seconds = time.perf_counter() - start
                if killer is not None:
                    killer.stop()
            said = {
                "side": side,
                "seconds": round(seconds, 2),
                "processor": round(watch.processor, 2),
                "python": round(watch.python, 2),
                "worker_mb": round(watch.largest_worker / 2**20),
                "rows": sum(len(result.polars(sink, ["seq_no"])) for sink in result.sinks),
                "digest": digest(result, Path(out) / "result"),
            }
        if killer is not None:
            said["killed"] = killer.killed
        yield said
    if spark is not None:
        spark.stop()


def ends_process(context: Any) -> bool:
    """End the process of a task at an event: nothing of it can say why."""
    if context["event"]["seq_no"] == 70_000:
        os._exit(7)
    return True


def measure_failure(side: str, folder: Path) -> dict[str, Any]:
    """Replay a flow whose stage fails for good, and return what is said, and what is left of it."""
    spark, out = session(side), folder / "failed"
    flow = on("link.created").map(a="b").deliver("push").where(ends_process).deliver("in-app").named("ends")
    said: dict[str, Any] = {"side": side}
    try:
        fd.replay(flow, str(folder / "log.parquet"), engine=fd.Spark(spark), out=out)
    except fd.FlowError as error:
        said |= {"error": type(error).__name__, "message": str(error)}
    try:
        fd.read_result(out)
    except fd.FlowError as error:
        said["result"] = type(error).__name__
    said |= {"left": sorted(path.name for path in out.iterdir()), "digest": ""}
    spark.stop()
    return said


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sides", nargs="*", default=["local", "local[2]"])
    parser.add_argument("--workload", choices=["A", "B", "S", "key", "windows", "branches"], default="A")
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--partitions", type=int)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="flowdsl-spark-"))
    if options.one and options.fail:
        print(json.dumps(measure_failure(options.sides[0], folder)))
        return
    if options.one:
        for said in measure(
            options.sides[0],
            options.workload,
            folder,
            partitions=options.partitions,
            kill=options.kill,
            times=options.rounds,
        ):
            print(json.dumps(said), flush=True)
        return
    if not (folder / "log.parquet").exists():
        prepare(folder, options.workload, options.events)
    digests = set()
    try:
        for side in options.sides:
            arguments = [side, "--one", "--folder", str(folder), "--workload", options.workload]
            arguments += ["--rounds", str(options.rounds)]
            arguments += ["--partitions", str(options.partitions)] if options.partitions else []
            arguments += ["--kill"] if options.kill and side.startswith("local-cluster") else []
            arguments += ["--fail"] if options.fail else []
            done = subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.spark", *arguments],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                print(done.stderr[-3000:])
                sys.exit(f"{side} failed")
            lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
            digests.update(json.loads(line)["digest"] for line in lines)
            print("\n".join(lines), flush=True)
        print("equal" if len(digests) == 1 else "UNEQUAL")
    finally:
        if options.folder is None:
            shutil.rmtree(folder)
    sys.exit(len(digests) > 1)


if __name__ == "__main__":
    main()
