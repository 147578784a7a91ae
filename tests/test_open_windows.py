"""The open windows of a batch step are what a dictionary of them would be, whatever is put in, taken out and forked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flowdsl.kernels.batch_members import ItemLists
from flowdsl.kernels.open_windows import Open, OpenWindows
from flowdsl.values.orders import Places


class Window(NamedTuple):
    key: int
    number: int
    opened: int
    members: list[int]


def ints(values: Sequence[int]) -> Any:
    return np.array(values, np.int64)


def put(windows: OpenWindows, new: list[Window]) -> None:
    pairs = [(w.number, member) for w in new for member in w.members]
    owners, members = ints([owner for owner, _ in pairs]), ints([member for _, member in pairs])
    codes = members.astype(np.int32)
    keys, numbers, opened = (ints([w[i] for w in new]) for i in range(3))
    counts = ints([len(w.members) for w in new])
    windows.put(
        Open(keys, numbers, opened, counts, opened, numbers, opened, opened),
        ItemLists(owners, codes, members, (codes,)),
    )


def assert_same(windows: OpenWindows, model: dict[int, Window]) -> None:
    assert windows.held == sum(len(w.members) for w in model.values())
    assert windows.earliest == min((w.opened for w in model.values()), default=None)
    found = windows.all()
    rows = zip(*(a.tolist() for a in (found.keys, found.numbers, found.opened, found.counts)), strict=True)
    by_number = sorted(model.values(), key=lambda w: w.number)
    assert list(rows) == [(w.key, w.number, w.opened, len(w.members)) for w in by_number]


def take_out(windows: OpenWindows, model: dict[int, Window], keys: set[int], clock: int) -> None:
    taken, members = windows.take_out(Places(ints(sorted(keys))), clock)
    expected = [model[k] for k in sorted(model) if k in keys or model[k].opened <= clock]
    assert sorted(taken.numbers.tolist()) == sorted(w.number for w in expected)
    assert members.windows.tolist() == np.repeat(taken.numbers, taken.counts).tolist()
    assert len(members) == sum(len(w.members) for w in expected)
    for window in expected:
        mine = members.windows == window.number
        assert members.items[mine].tolist() == window.members
        assert members.branches[0][mine].tolist() == window.members
        del model[window.key]


# opening times in any order: windows behind a timer are not opened in the order of their numbers
opened = st.tuples(st.integers(0, 12), st.integers(-50, 50), st.integers(1, 3))
actions = st.lists(
    st.lists(opened, max_size=6, unique_by=lambda w: w[0])
    | st.tuples(st.sets(st.integers(0, 12), max_size=4), st.integers(-60, 60))
    | st.just("fork"),
    min_size=4,
    max_size=25,
)


@given(actions)
def test_open_windows_are_those_that_were_put_in_and_not_taken_out(actions: list[Any]) -> None:
    windows, model, left_behind, numbers, members = OpenWindows(), dict[int, Window](), [], 0, 0
    for action in actions:
        if action == "fork":
            left_behind.append((windows, dict(model)))
            windows = windows.fork()
        elif isinstance(action, tuple):
            take_out(windows, model, *action)
        else:
            new = []
            for key, clock, count in action:
                if key not in model:
                    model[key] = Window(key, numbers, clock, list(range(members, members + count)))
                    numbers, members = numbers + 1, members + count
                    new.append(model[key])
            put(windows, new)
    for forked, expected in [*left_behind, (windows, model)]:
        assert_same(forked, expected)
