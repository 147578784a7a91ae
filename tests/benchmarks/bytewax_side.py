"""Workload A as a bytewax dataflow, in a process of its own: `python -m tests.benchmarks.bytewax_side --events N`.

The events are Python dicts made beforehand and the graph is two Python dicts, so only the dataflow is timed. Written
twice: one operator a step as its users do, and all steps in one operator over batches; the faster one counts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

Event = dict[str, Any]


def measure(events: int, seed: int) -> dict[str, Any]:
    """Run this module in another process, and give what it prints."""
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.bytewax_side",
        "--events",
        str(events),
        "--seed",
        str(seed),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    import pyarrow as pa

    from tests.benchmarks.data.likes import likes
    from tests.benchmarks.outcome import digest
    from tests.benchmarks.queries.likes import Frames, polars_inner

    data = likes(options.events, options.seed)
    users = {user["id"]: user for user in data.graph.users.to_pylist()}
    owners: dict[str, str] = {}
    for link in data.graph.links.to_pylist():
        owners.setdefault(link["target_id"], link["source_id"])
    events = data.events.to_pylist()
    expected = digest(polars_inner(Frames.of(data)).sinks["in-app"])
    found: dict[str, Any] = {"events": options.events}
    for name, build in (("steps", _steps), ("batches", _batches)):
        out: list[Event] = []
        start = time.perf_counter()
        _run(build, events, owners, users, out)
        found[name] = options.events / (time.perf_counter() - start)
        rows = pa.Table.from_pylist(out)
        if digest(rows) != expected:
            raise SystemExit(f"bytewax ({name}) gave other rows than the query: {len(out)}")
    print(json.dumps(found))


def _run(
    build: Any, events: list[Event], owners: dict[str, str], users: dict[str, Event], out: list[Event]
) -> None:
    import bytewax.operators as op
    from bytewax.dataflow import Dataflow
    from bytewax.testing import TestingSink, TestingSource, run_main

    flow = Dataflow("likes")
    stream = op.input("events", flow, TestingSource(events, batch_size=1000))
    op.output("out", build(stream, owners, users), TestingSink(out))
    run_main(flow)


def _steps(stream: Any, owners: dict[str, str], users: dict[str, Event]) -> Any:
    import bytewax.operators as op

    def resolve_owner(event: Event) -> Event | None:
        owner = users.get(owners.get(event["target_id"], ""))
        return {**event, "owner": owner} if owner else None

    def resolve_fan(event: Event) -> Event | None:
        fan = users.get(event["source_id"])
        return {**event, "fan": fan} if fan else None

    likes = op.filter("trigger", stream, lambda e: e["kind"] == "link.created" and e["link_type"] == "likes")
    owned = op.filter_map("owner", likes, resolve_owner)
    known = op.filter_map("fan", owned, resolve_fan)
    others = op.filter("where", known, lambda e: e["source_id"] != e["owner"]["id"])
    return op.map("map", others, lambda e: _payload(e, e["owner"], e["fan"]))


def _batches(stream: Any, owners: dict[str, str], users: dict[str, Event]) -> Any:
    import bytewax.operators as op

    def all_steps(batch: list[Event]) -> list[Event]:
        made = []
        for event in batch:
            if event["kind"] == "link.created" and event["link_type"] == "likes":
                owner, fan = users.get(owners.get(event["target_id"], "")), users.get(event["source_id"])
                if owner and fan and event["source_id"] != owner["id"]:
                    made.append(_payload(event, owner, fan))
        return made

    return op.flat_map_batch("all", stream, all_steps)


def _payload(event: Event, owner: Event, fan: Event) -> Event:
    return {
        "seq_no": event["seq_no"],
        "timestamp": event["timestamp"],
        "recipient_id": owner["id"],
        "title": f"{fan['name']} liked your post",
    }


if __name__ == "__main__":
    _main()
