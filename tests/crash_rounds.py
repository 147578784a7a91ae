"""How often the tests that kill processes and fail calls do so: a little every day, much with `make test-crash`."""

from __future__ import annotations

import os

EVERYDAY = 8
ROUNDS = int(os.environ.get("FLOWDSL_CRASH_ROUNDS", EVERYDAY))
MANY = ROUNDS > EVERYDAY
