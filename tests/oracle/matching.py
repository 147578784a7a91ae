"""Which delivery of one run is which of another, as plainly as it can be said."""

from __future__ import annotations

from typing import Any

COMMON = (
    ("origin", "place", "recipient_id", "payload"),
    ("origin", "place", "recipient_id"),
    ("origin", "place", "branch"),
)


def changes(
    before: list[dict[str, Any]], after: list[dict[str, Any]], *, timed: bool
) -> list[tuple[str, Any, Any]]:
    """What became of each delivery: the change, and the `seq_no` before and after, sorted."""
    left, right, pairs = list(before), list(after), []
    for keys in (*COMMON, *([("place", "recipient_id", "payload")] if timed else [])):
        for one in list(left):
            for other in list(right):
                if all(one[key] == other[key] for key in keys):
                    pairs.append((one, other))
                    left.remove(one)
                    right.remove(other)
                    break
    found = [("removed", one["seq_no"], None) for one in left] + [
        ("added", None, one["seq_no"]) for one in right
    ]
    for one, other in pairs:
        if one["recipient_id"] != other["recipient_id"]:
            change = "readdressed"
        elif one["payload"] != other["payload"]:
            change = "changed"
        elif one["delivered_at"] != other["delivered_at"]:
            change = "moved"
        else:
            change = "same"
        found.append((change, one["seq_no"], other["seq_no"]))
    return sorted(found, key=repr)
