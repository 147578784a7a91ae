"""Mistakes that type checkers find: an `ignore` that nothing needs is an error, in mypy and in pyright."""

# pyright: reportUnnecessaryTypeIgnoreComment=true
from __future__ import annotations

import flowdsl as fd
from flowdsl import on, sinks

on("link.crated")  # type: ignore[arg-type]
flow = on("link.created")
flow.resolve("target_id", via="owns", direction="revrse", as_="owner")  # type: ignore[arg-type]
flow.fan_out("source_id", via="follows", direction="both", as_="follower")  # type: ignore[arg-type]
flow.rate_limit(1, per="1m", strategy="wait")  # type: ignore[arg-type]
flow.batch("source_id", window=300)  # type: ignore[arg-type]
flow.deduplicate(window="1h")  # type: ignore[call-arg]
flow.resolve("target_id")  # type: ignore[call-arg]
flow.deliver(sinks.Frame())  # type: ignore[arg-type]
flow.check(target="production")  # type: ignore[arg-type]
log = fd.MemoryEventLog()
log.append(fd.link_created("likes", "a", "b"), duplicates="skip")  # type: ignore[arg-type]
fd.replay(flow, log, open_windows="close")  # type: ignore[arg-type]
fd.replay(flow, log, as_of="now")  # type: ignore[arg-type]
fd.replay("flows.yaml", log)  # type: ignore[arg-type]
fd.replay(flow, 3)  # type: ignore[arg-type]
fd.replay(flow, log, graph={"user": {}})  # type: ignore[arg-type]
fd.replay(flow, log, sinks={"in-app": "inbox"})  # type: ignore[dict-item]
fd.read_events("a.csv", time_unit="seconds")  # type: ignore[arg-type]
fd.Runtime(flow, "log", state="forget")  # type: ignore[arg-type]
result: int = fd.replay(flow, log)  # type: ignore[assignment]
