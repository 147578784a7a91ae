"""Live runs: follow a log as it grows and deliver to real sinks.

`runtime.py` is what users meet, `story.py` what is read from the log, `recording.py` what comes out of a batch,
`dispatch.py` how that reaches the sinks, `consumer.py` and `checkpoints.py` what survives a crash.
"""

from __future__ import annotations

from typing import Final

# so far ahead of the clock an event may be dated, if nobody says otherwise
MAX_AHEAD: Final = "5m"
