"""Live runs: events of a growing log go through flows and their deliveries to real sinks, and a crash loses
nothing.

Goes in: what `flowdsl.Runtime` puts together — the worker, checkpoints, dead letters, the dispatcher. Stays
out: the steps themselves, which a replay runs too (`flowdsl.engine`).
"""

from __future__ import annotations

from typing import Final

# how far ahead of the clock an event may be dated by default
MAX_AHEAD: Final = "5m"
