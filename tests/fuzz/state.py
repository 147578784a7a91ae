"""Checkpoints that are damaged, and flows that are edited between two runs.

A state is written, changed somewhere (bytes, or what its JSON says), and read again: there is a `DataError`, or a state that
runs to an end as any other. A state that flows left is gone on from by edited ones: what they deliver from the steps that
did not change is what one run would have delivered.
"""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import flowdsl as fd
from flowdsl import Flow, on
from flowdsl.errors import DataError
from flowdsl.flow.plan import Plan
from flowdsl.live.state_codec import BlobWriter, SerializedState, read_state, write_state

_DAMAGES = 40
like = on("link.created")


def check(rng: random.Random) -> int:
    """Try damage to one state, and one edit; how many inputs."""
    steps = [_stateful(rng) for _ in range(3)]
    flows = [_delivered(rng, step, n, "old") for n, step in enumerate(steps)]
    events = _events(rng)
    split = rng.randrange(len(events) + 1)
    before = fd.replay(flows, events, stop=split + 1, open_windows="keep")
    _check_damage(rng, before.state, Plan.of(flows))
    _check_edit(rng, steps, flows, events, before)
    return _DAMAGES + 1


# -- damage ----------------------------------------------------------------------------------------------


def _check_damage(rng: random.Random, state: fd.State, plan: Plan) -> None:
    blobs: dict[str, bytes] = {}
    written = write_state(state, BlobWriter(lambda name, content: blobs.update({name: bytes(content)})))
    whole = read_state(written, plan, {}, blobs.__getitem__)
    assert (whole.clock, whole.position, whole.flows) == (state.clock, state.position, state.flows)
    said = json.loads(written.content[: written.json_size])
    for _ in range(_DAMAGES):
        damaged = _with_bytes(rng, written) if rng.random() < 0.4 else _with_node(rng, written, said)
        try:
            found = read_state(damaged, plan, {}, blobs.__getitem__)
        except DataError:
            continue
        assert all(type(step.kernel).saved for step in found.steps)


def _with_bytes(rng: random.Random, written: SerializedState) -> SerializedState:
    content = bytearray(written.content)
    for _ in range(rng.choice([1, 1, 5])):
        content[rng.randrange(len(content))] = rng.randrange(256)
    if rng.random() < 0.2:
        del content[rng.randrange(len(content)) :]
    return SerializedState(written.json_size, bytes(content), written.blobs)


def _with_node(rng: random.Random, written: SerializedState, said: Any) -> SerializedState:
    changed = copy.deepcopy(said)
    node, holder, key = changed, None, None
    while isinstance(node, (dict, list)) and node and (holder is None or rng.random() < 0.9):
        holder, key = node, rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        node = holder[key]
    others = [
        None,
        True,
        -1,
        0,
        1,
        3,
        1 << 70,
        0.5,
        "",
        "x",
        [],
        {},
        [0, 4],
        [0, 8],
        [0, 8, 1],
        [0, 1 << 40],
        [7],
        {"texts": ["1"]},
    ]
    holder[key] = rng.choice(others)
    text = json.dumps(changed).encode()
    return SerializedState(len(text), text + written.content[written.json_size :], written.blobs)


# -- edits -----------------------------------------------------------------------------------------------


def _check_edit(
    rng: random.Random, steps: list[Flow], flows: list[Flow], events: Any, before: fd.Result
) -> None:
    edited = [
        _delivered(rng, step, n, "new") if rng.random() < 0.6 else flows[n] for n, step in enumerate(steps)
    ]
    added = like.map(title="added {{ source_id }}").deliver("s").named("added")
    rng.shuffle(edited)
    after = fd.replay([added, *edited], events, state=before.state, open_windows="keep")
    whole = fd.replay(flows, events, open_windows="keep")
    split = before.state.position
    told = _told(before) + [row for row in _told(after) if row[0] != "added"]
    assert sorted(told) == sorted(_told(whole)), "edited flows did not go on where the others were"
    fresh = [row for row in _told(after) if row[0] == "added"]
    assert len(fresh) == len(events) - split, "an added flow begins where the state ends"


def _told(result: fd.Result) -> list[tuple[str, ...]]:
    frame = result.polars("s")
    if not frame.height:
        return []
    columns = [
        frame["flow"],
        frame["delivered_at"],
        frame["title"].str.strip_prefix("old ").str.strip_prefix("new "),
    ]
    return [tuple(map(str, row)) for row in zip(*(column.to_list() for column in columns), strict=True)]


def _stateful(rng: random.Random) -> Flow:
    key = rng.choice(["target_id", "metadata.k"])
    kind = rng.choice(["batch", "deduplicate", "drop", "queue"])
    window = rng.choice(["10s", "1m", "1h"])
    if kind == "batch":
        return like.batch(key, window=window, min_count=rng.choice([1, 2]))
    if kind == "deduplicate":
        return like.deduplicate(rng.choice([key, ["source_id", key]]), window=window)
    strategy = rng.choice([None, key])
    return like.rate_limit(rng.choice([1, 2]), per=window, strategy=kind, key=strategy)


def _delivered(rng: random.Random, step: Flow, number: int, word: str) -> Flow:
    more = step.where("metadata.n >= 0") if rng.random() < 0.3 else step
    return more.map(title=word + " {{ metadata.n }} {{ source_id }}").deliver("s").named(f"flow {number}")


def _events(rng: random.Random) -> list[dict[str, Any]]:
    time, events = 0, []
    for number in range(rng.choice([0, 5, 30]) + 1):
        time += rng.choice([0, 1, 9, 10, 60, 600])
        metadata = {"n": number, "k": rng.choice(["a", 1, 1.5, True])}
        fan, post = rng.choice(["ann", "bob", "eve"]), rng.choice(["p", "q"])
        stamp = f"2026-01-01T{time // 3600:02}:{time // 60 % 60:02}:{time % 60:02}Z"
        events.append({**fd.link_created("likes", fan, post, metadata=metadata), "timestamp": stamp})
    return events
