"""Small runs by production's rules, and what came of them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

import flowdsl as fd

BASE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
ANN, BOB, ZOE, POST = (f"00000000-0000-4000-8000-00000000000{digit}" for digit in "abcd")
Step = Mapping[str, Any]


def like(source: str = ANN, target: str = POST, **more: Any) -> dict[str, Any]:
    """A like."""
    return fd.link_created("likes", source, target, **more)


def log_at(*events: tuple[int, Mapping[str, Any]]) -> fd.MemoryEventLog:
    """Events, each at so many milliseconds."""
    log = fd.MemoryEventLog()
    for at, event in events:
        log.append(event, timestamp=BASE + dt.timedelta(milliseconds=at))
    return log


def likes_at(*moments: int) -> fd.MemoryEventLog:
    """The same like at each of these milliseconds."""
    return log_at(*((at, like()) for at in moments))


def documented(*steps: Step, kind: str = "link.created", **trigger: Any) -> dict[str, Any]:
    """A flow as production's YAML has it."""
    return {
        "events": {"flows": [{"name": "f", "trigger": {"kind": kind, **trigger}, "pipeline": list(steps)}]}
    }


def run(
    log: Any, *steps: Step, entities: Mapping[str, Any] | None = None, links: Sequence[Any] = (), kind: str = "link.created",
    trigger: Mapping[str, Any] | None = None, **options: Any,
) -> fd.Result:  # fmt: skip
    """What production does with a flow of these steps."""
    flows = fd.load(documented(*steps, kind=kind, **(trigger or {})), target="this-rs")
    return fd.replay(flows, log, fd.EntityGraph(entities or {}, list(links)), target="this-rs", **options)


def said(text: Any) -> tuple[Step, Step]:
    """A map of one text, and its delivery."""
    return {"map": {"template": {"t": text}}}, {"deliver": {"sink": "out"}}


def payloads(result: fd.Result) -> list[Any]:
    """The payloads in their order."""
    return [json.loads(payload) for payload in result.deliveries["payload"]]


def texts(result: fd.Result) -> list[str]:
    """What `said` printed."""
    return [payload["t"] for payload in payloads(result)]


def seqs(result: fd.Result) -> list[int]:
    """The events that were delivered."""
    return result.deliveries["seq_no"].tolist()


def failed(result: fd.Result) -> list[int]:
    """The events that failed."""
    return result.errors["seq_no"].tolist()


def dropped(result: fd.Result) -> dict[str, int]:
    """How many contexts were dropped for each reason."""
    frame = result.dropped
    return dict(zip(frame["reason"], frame["count"].tolist(), strict=True))
