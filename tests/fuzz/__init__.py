"""Random inputs for what a person, a file or a clock can hand in.

Each module here is a family: its function `check(rng)` makes inputs of one kind, tries them, raises an error where
something is wrong, and returns how many inputs it tried. What it makes follows from `rng` alone, so that a fault can be
met again. `python -m tests.fuzz` tries a million, `make test` a few of each.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
import sys
from collections.abc import Callable
from pathlib import Path

# the plain interpreters that families compare with stand beside this package, as for pytest
if (_TESTS := str(Path(__file__).parents[1])) not in sys.path:
    sys.path.append(_TESTS)

Check = Callable[[random.Random], int]


def families() -> list[str]:
    """The names of all families."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def check_of(family: str) -> Check:
    """The function that tries inputs of a family."""
    check: Check = importlib.import_module(f"{__name__}.{family}").check
    return check


def source(family: str, seed: int, call: int) -> random.Random:
    """What the inputs of one call are made from."""
    return random.Random(f"{family} {seed} {call}")
