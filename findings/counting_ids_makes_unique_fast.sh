#!/usr/bin/env bash
# numpy.unique of a million integers takes some 30 times as long in NumPy 2.4 as in 2.2, longer than Python's own set;
# asked for their counts as well, which is more work, it is as fast as before.
#
# One would guess: np.unique sorts, as it always has; an update does not make it slower by more than a few percent, and to
# leave out what one does not need (return_counts, return_index) can only save time. Of an array that is in order already
# nothing is left to do.
#
# What happens (NumPy 2.2.6 and 2.4.6 of PyPI): since 2.3 integers without options are looked up in a hash table, and what
# was found is sorted. With few different values that costs little. With many, as ids and sequence numbers have, each look-up
# waits for memory: 16 ms became 470 ms for a million draws out of 500,000, and 800 ms where all differ. set(array.tolist())
# takes 170 ms. sorted=False, the new option that promises to save the sort, saves next to nothing, and an array in order is
# hardly faster. With return_counts=True the sort is still in use, and takes what it took. Milliseconds depend on the machine:
# compared here are the times of one run, and 5 times is asked for where 20 to 50 were seen.
#
# Why it matters here: "which events, which recipients" is asked of every block of a replay, as np.unique(seq_no). It is a line
# that nobody suspects, no result changes, and a profile shows time in a function whose name is as it was. Sort and compare
# neighbours, or ask for the counts and drop them.
#
# Source: "the algorithm was changed to a faster one" in 2.3, of unique_values, which np.unique shares it with:
# https://numpy.org/doc/stable/reference/generated/numpy.unique_values.html; unique_numeric in
# https://github.com/numpy/numpy/blob/main/numpy/_core/src/multiarray/unique.cpp; the wish to choose between the two ways,
# https://github.com/numpy/numpy/issues/30876 (open).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 2.2.6 2.4.6; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "numpy==$version"
done
cat > "$folder/ask.py" <<'PYTHON'
import sys
import time

import numpy as np


def least(work):
    """The least of five times of the processor, in ms."""
    found = []
    for _ in range(5):
        begun = time.process_time()
        work()
        found.append(1000 * (time.process_time() - begun))
    return min(found)


random = np.random.default_rng(1)
ids = random.integers(0, 500_000, 1_000_000)
ordered = np.sort(ids)
assert np.array_equal(np.unique(ids), np.unique(ids, return_counts=True)[0])
times = {
    "np.unique(ids)": least(lambda: np.unique(ids)),
    "np.unique(ids), in order": least(lambda: np.unique(ordered)),
    "np.unique(ids, return_counts=True)": least(lambda: np.unique(ids, return_counts=True)),
    "set(ids.tolist())": least(lambda: set(ids.tolist())),
}
print("NumPy", np.__version__)
for name, took in times.items():
    print(f"  {name:<36} {took:6.0f} ms")
plain, in_order, counted, builtin = times.values()
if sys.argv[1] == "slow":
    assert plain > 5 * counted, "np.unique is fast again"
    assert in_order > 5 * counted, "np.unique sees that an array is in order"
    assert plain > builtin, "np.unique is faster than a set again"
else:
    assert plain < 2 * counted, "np.unique was slow before"
PYTHON
"$folder/2.2.6/bin/python" "$folder/ask.py" fast
"$folder/2.4.6/bin/python" "$folder/ask.py" slow
