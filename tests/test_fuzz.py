"""A few random inputs of every family each time; `make fuzz` tries a million."""

from __future__ import annotations

import itertools

import pytest

from tests.fuzz import check_of, families, source

INPUTS = 100
# each of which is a whole live run
FEWER = {"consumers": 10, "command_line": 50}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", families())
def test_nothing_is_wrong_with_random_inputs_of(family: str):
    check, tried, most = check_of(family), 0, FEWER.get(family, INPUTS)
    for call in itertools.count():
        tried += check(source(family, 1, call))
        if tried >= most or call >= most:
            break
