"""What a folder says of a result, changed at any place: a typed error that names it, or a result that can be looked at."""

from __future__ import annotations

import copy
import functools
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import flowdsl as fd
from flowdsl import on

ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    5,
    2**70,
    0.5,
    "",
    "x",
    "../x",
    "deliveries/0-9",
    "text",
    [],
    [1],
    ["a"],
    {},
    {"a": 1},
]


@functools.cache
def written() -> tuple[Path, dict[str, Any]]:
    flow = (
        on("link.created", name="n")
        .fan_out("source_id", via="l", as_="x")
        .batch("target_id", window="1h")
        .map(title="{{ source_id }}", o={"a": "{{ batch.count }}"})
        .deliver("s", "t")
    )
    log = [
        {"timestamp": f"2026-01-01T09:0{n}:00Z", "event": fd.link_created("l", f"u{n}", "p")}
        for n in range(3)
    ]
    folder = Path(tempfile.mkdtemp()) / "result"
    fd.replay(flow, log).to_parquet(folder)
    return folder, json.loads((folder / "result.json").read_text("utf-8"))


def check(rng: random.Random) -> int:
    folder, said = written()
    for _ in range(10):
        text = json.dumps(_changed(copy.deepcopy(said), rng))
        if rng.random() < 0.2:
            text = text[: rng.randrange(len(text))]
        (folder / "result.json").write_text(text)
        try:
            result = fd.read_result(folder)
            str(result)
            _ = len(result), result.steps, result.dropped, result.errors, result.late, result.open
            for sink in result.sinks:
                result[sink]
        except fd.FlowError:
            continue
    return 10


def _changed(node: Any, rng: random.Random) -> Any:
    """The same with one value somewhere in it another one, away, or twice."""
    way: Any = node
    while True:
        places = [*way] if isinstance(way, dict) else [*range(len(way))]
        if not places:
            return node
        at = rng.choice(places)
        if isinstance(way[at], (dict, list)) and way[at] and rng.random() < 0.8:
            way = way[at]
            continue
        match rng.randrange(4):
            case 0:
                del way[at]
            case 1 if isinstance(way, list):
                way.append(way[at])
            case 2 if isinstance(way[at], int):
                way[at] += rng.choice([-1, 1, 7])
            case _:
                way[at] = rng.choice(ODD)
        return node
