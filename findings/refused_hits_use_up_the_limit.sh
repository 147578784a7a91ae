#!/usr/bin/env bash
# A request that a fixed window refuses because it is too large shuts out the small ones after it.
#
# One would guess: of ten units an hour, eight are used. A request for five is refused and changes nothing, so that two
# requests for one unit each still pass, whichever strategy of the library counts.
#
# What happens (limits 5.8.0, pyrate-limiter 4.5.1): the fixed window of limits adds the cost to its counter first and
# compares afterwards. The five that were refused stay in the counter, and nothing passes until the window ends. The moving
# window and the sliding window counter of the same library refuse without counting, and so does pyrate-limiter.
# With test() before hit() the counter stays as it is, since no request that is too large reaches hit().
#
# Why it matters here: where a cost is not one (recipients of a message, rows of a batch), the order of events decides how
# many pass. One large event silences the rest of the hour, and the same hour replayed with a moving window lets the small
# ones through. With costs of one all strategies agree, which is what tests use. Ask test(cost=…) before hit(cost=…).
#
# Source: FixedWindowRateLimiter.hit in https://github.com/alisaifee/limits/blob/master/limits/strategies.py; what
# https://limits.readthedocs.io/en/stable/strategies.html says of the strategies leaves out the cost of refused requests.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check limits==5.8.0 pyrate-limiter==4.5.1
"$folder/venv/bin/python" - <<'PYTHON'
from limits import parse, storage, strategies
from pyrate_limiter import Duration, InMemoryBucket, Limiter, Rate

COSTS, TEN_AN_HOUR = (8, 5, 1, 1), parse("10/hour")
#    who counts                      which of the costs pass
EXPECTED = {
    "fixed window":                  [True, False, False, False],
    "fixed window, test() first":    [True, False, True, True],
    "moving window":                 [True, False, True, True],
    "sliding window counter":        [True, False, True, True],
    "pyrate-limiter":                [True, False, True, True],
}


def by_limits(strategy: type[strategies.RateLimiter], test_first: bool = False) -> list[bool]:
    limiter, passed = strategy(storage.MemoryStorage()), []
    for cost in COSTS:
        refused = test_first and not limiter.test(TEN_AN_HOUR, "mail", cost=cost)
        passed.append(not refused and limiter.hit(TEN_AN_HOUR, "mail", cost=cost))
    return passed


pyrate = Limiter(InMemoryBucket([Rate(10, Duration.HOUR)]))
SEEN = {
    "fixed window": by_limits(strategies.FixedWindowRateLimiter),
    "fixed window, test() first": by_limits(strategies.FixedWindowRateLimiter, test_first=True),
    "moving window": by_limits(strategies.MovingWindowRateLimiter),
    "sliding window counter": by_limits(strategies.SlidingWindowCounterRateLimiter),
    "pyrate-limiter": [pyrate.try_acquire("mail", weight=cost, blocking=False) for cost in COSTS],
}
for name, passed in SEEN.items():
    print(f"{name:<27} " + ", ".join(f"{cost} {'passes' if done else 'is refused'}" for cost, done in zip(COSTS, passed)))
wrong = sum(SEEN[name] != expected for name, expected in EXPECTED.items())
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
