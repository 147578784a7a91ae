"""Everyday designs under test: what they tell, and what production lacks for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from oracle import interpret
from oracle.comparing import bytes_of, said_by_engine, said_by_oracle

import flowdsl as fd

Told = list[tuple[str, str, str | None, Any]]


def told(
    design: fd.Flow | Sequence[fd.Flow],
    history: Sequence[tuple[str, dict[str, Any]]],
    entities: Mapping[str, Any] | None = None,
    links: Sequence[tuple[str, str, str]] = (),
    *,
    year: str = "2026-",
    merge: Sequence[str] = (),
    caps: Mapping[str, fd.Cap] | None = None,
) -> Told:
    """(when, sink, to whom, title) of every delivery; the plain interpreter, and chunks of one event, say the same."""
    flows = [design] if isinstance(design, fd.Flow) else list(design)
    # a time such as 01-05 09:00
    log = [
        {"id": f"e{n}", "seq_no": n, "timestamp": year + at.replace(" ", "T") + ":00Z", "event": event}
        for n, (at, event) in enumerate(history, 1)
    ]
    joined = [{"link_type": kind, "source_id": a, "target_id": b} for a, kind, b in links]
    graph = fd.EntityGraph(entities or {}, joined, merge=list(merge))
    result = fd.replay(flows, log, graph, caps=caps or {})
    outcome = interpret(flows, log, entities or {}, joined, merge=merge, caps=caps or {})
    found = said_by_engine(result, flows)
    for part, said in said_by_oracle(outcome, flows).items():
        assert found[part] == said, part
    assert bytes_of(fd.replay(flows, log, graph, caps=caps or {}, chunk_size=1)) == bytes_of(result)
    return [
        (f"{row.delivered_at:%m-%d %H:%M}", row.sink, row.recipient_id, _title(json.loads(row.payload)))
        for row in result.deliveries.itertuples()
    ]


def _title(payload: dict[str, Any]) -> Any:
    return payload.get("title", {name: value for name, value in payload.items() if name != "recipient_id"})


def lacks(design: fd.Flow | Sequence[fd.Flow]) -> list[str]:
    """What export says that production lacks, each with a nearest form; a check for production finds as much."""
    said: list[str] = []
    for flow in [design] if isinstance(design, fd.Flow) else design:
        problems = _refused(flow)
        found = [one for one in flow.check(target="this-rs") if one.code == "not-portable"]
        assert bool(found) == bool(problems)
        assert all(problem.hint for problem in problems)
        said += [problem.what for problem in problems if problem.what not in said]
    return said


def _refused(flow: fd.Flow) -> list[fd.FlowError]:
    try:
        flow.to_yaml()
    except fd.ExportError as refused:
        return list(refused.problems)
    return []
