"""`python -m tests.fuzz [FAMILY …]` tries random inputs of all families, and says how to meet a fault again."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
import traceback
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from tests.fuzz import check_of, families, source

# calls of the second turn begin where those of no first turn come to
_TURN = 1 << 30


@dataclass(frozen=True)
class Share:
    """What one process does for one family: every second call, say, until it has tried so many inputs."""

    family: str
    seed: int
    first: int
    step: int
    inputs: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What came of a share."""

    inputs: int
    calls: int
    seconds: float
    fault: str | None = None
    call: int | None = None


def tried(share: Share) -> Outcome:
    """Try the inputs of a share, up to the first fault."""
    warnings.simplefilter("ignore")
    check, inputs, calls, began = check_of(share.family), 0, 0, time.monotonic()
    for call in itertools.count(share.first, share.step):
        if inputs >= share.inputs or time.monotonic() - began > share.seconds:
            break
        try:
            inputs += check(source(share.family, share.seed, call))
        # whatever it is, it is what is looked for
        except BaseException:
            return Outcome(inputs, calls, time.monotonic() - began, traceback.format_exc(), call)
        calls += 1
    return Outcome(inputs, calls, time.monotonic() - began)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "family", nargs="*", help=f"which families; all of them otherwise: {', '.join(families())}"
    )
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many inputs in all")
    parser.add_argument("--seconds", type=float, default=120, help="how long one family may take in a turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--call", type=int, help="this call alone, in this process: a fault again")
    given = parser.parse_args()
    chosen = given.family or families()
    if given.call is not None:
        print(check_of(chosen[0])(source(chosen[0], given.seed, given.call)), "inputs, nothing found")
        return 0
    tried_of: dict[str, int] = {}
    faults = 0
    with ProcessPoolExecutor(given.processes) as pool:
        # a second turn makes up, with the families that are quick, for those whose time was up
        for turn in range(2):
            slow = {family for family, inputs in tried_of.items() if inputs < given.inputs // len(chosen)}
            asked = given.inputs // len(chosen) if not turn else given.inputs - sum(tried_of.values())
            now = [family for family in chosen if family not in slow]
            for family in now if asked > 0 else ():
                each = -(-asked // given.processes // (len(now) if turn else 1))
                shares = [
                    Share(family, given.seed, first + turn * _TURN, given.processes, each, given.seconds)
                    for first in range(given.processes)
                ]
                outcomes = list(pool.map(tried, shares))
                inputs = sum(outcome.inputs for outcome in outcomes)
                tried_of[family] = tried_of.get(family, 0) + inputs
                print(
                    f"{family:<12} {inputs:>9,} inputs in {sum(o.calls for o in outcomes):>9,} calls, "
                    f"{max(o.seconds for o in outcomes):5.0f} s"
                    + (" (the time was up)" if inputs < each * given.processes else ""),
                    flush=True,
                )
                for outcome in outcomes:
                    if outcome.fault is not None:
                        faults += 1
                        again = f"python -m tests.fuzz {family} --seed {given.seed} --call {outcome.call}"
                        print(f"{outcome.fault}again: {again}", flush=True)
    print(f"{sum(tried_of.values()):,} inputs, {f'{faults} faults' if faults else 'nothing found'}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
