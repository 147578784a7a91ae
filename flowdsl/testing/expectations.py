"""What was to come beside what came: the expectations that hold stay, the others become what came."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowdsl.errors import BuildError
from flowdsl.events import timestamp_text
from flowdsl.expressions.durations import parse_duration
from flowdsl.production.test_loader import moment

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Delivered:
    """One delivery that came: `at` in µs since 1970."""

    flow: str
    sink: str
    recipient: str | None
    payload: Any
    at: int


@dataclass(frozen=True)
class Counted:
    """Contexts that a step dropped or that failed there, and why; `steps` has every way to name the step."""

    flow: str
    steps: tuple[int | str, ...]
    text: str
    count: int


# -- deliveries --------------------------------------------------------------------------------------------


def settled_deliveries(
    expected: Sequence[Entry], came: Sequence[Delivered], start: int, *, several: bool
) -> list[Entry]:
    """The expectations, in their order, as they would have to be for what came; equal where all of them hold.

    `several` says whether it must be told which flow a delivery is from.
    """
    taken = _assigned([[i for i, one in enumerate(came) if fits(e, one, start)] for e in expected], len(came))
    left = [i for i in range(len(came)) if i not in taken.values()]
    entries: list[Entry] = []
    for number, entry in enumerate(expected):
        if number in taken:
            entries.append(entry)
            continue
        near = next((i for i in left if came[i].sink == entry["sink"]), None)
        if near is not None:
            left.remove(near)
            entries.append(_rewritten(entry, came[near], start))
    return entries + [delivery_entry(came[i], several=several) for i in left]


def fits(entry: Entry, one: Delivered, start: int) -> bool:
    """Whether a delivery is as it was to be."""
    return (
        entry["sink"] == one.sink
        and ("recipient" not in entry or entry["recipient"] == one.recipient)
        and entry.get("flow", one.flow) == one.flow
        and ("at" not in entry or moment(entry["at"], start) == one.at)
        and ("payload" not in entry or _holds(entry["payload"], one.payload, exact=entry.get("exact", False)))
    )


def delivery_entry(one: Delivered, *, several: bool) -> dict[str, Any]:
    """A delivery as tests write it."""
    entry: dict[str, Any] = {"flow": one.flow} if several else {}
    return {**entry, "sink": one.sink, "recipient": one.recipient, "payload": one.payload}


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: for Python 1 and True are equal."""
    return json.dumps(one) == json.dumps(other)


def _rewritten(entry: Entry, one: Delivered, start: int) -> dict[str, Any]:
    """The same keys with what came."""
    exact = entry.get("exact", False)
    now = {
        "recipient": one.recipient,
        "flow": one.flow,
        "at": moment_text(one.at, start),
        "payload": one.payload if exact else _part(entry.get("payload"), one.payload),
    }
    return {key: now.get(key, value) for key, value in entry.items()}


def _holds(wanted: Any, found: Any, *, exact: bool) -> bool:
    if isinstance(wanted, dict) and isinstance(found, dict):
        if exact and set(wanted) != set(found):
            return False
        return all(key in found and _holds(value, found[key], exact=exact) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(
            _holds(w, f, exact=True) for w, f in zip(wanted, found, strict=True)
        )
    return isinstance(wanted, bool) == isinstance(found, bool) and bool(wanted == found)


def _part(wanted: Any, found: Any) -> Any:
    """Of what came what was named; all of it where that is nothing."""
    if not isinstance(wanted, dict) or not isinstance(found, dict):
        return found
    return {key: _part(value, found[key]) for key, value in wanted.items() if key in found} or found


def moment_text(at: int, start: int) -> str:
    """A moment as tests write it: the time after the start where that says it exactly, else a timestamp."""
    try:
        return parse_duration(dt.timedelta(microseconds=at - start)).text
    except BuildError:
        # before the start, or finer than durations are
        return timestamp_text(at)


def _assigned(choices: Sequence[Sequence[int]], size: int) -> dict[int, int]:
    """For as many as possible one of their choices, each given once: augmenting paths, first come first
    served.
    """
    holder: dict[int, int] = {}

    def give(number: int, seen: set[int]) -> bool:
        for choice in choices[number]:
            if choice not in seen:
                seen.add(choice)
                if choice not in holder or give(holder[choice], seen):
                    holder[choice] = number
                    return True
        return False

    for number in range(len(choices)):
        # most find one that nobody has: no path need be looked for
        free = next((choice for choice in choices[number] if choice not in holder), None)
        if free is not None:
            holder[free] = number
        elif len(holder) < size:
            give(number, set())
    return {number: choice for choice, number in holder.items()}


# -- drops and failures ------------------------------------------------------------------------------------


def settled_counts(
    expected: Sequence[Entry], came: Sequence[Counted], says: str, *, several: bool
) -> list[Entry]:
    """As `settled_deliveries`, for drops (`says` is `reason`) and failures (`error`): what came belongs to
    the first entry that it fits.
    """
    holds: Callable[[str, str], bool] = (
        str.__eq__ if says == "reason" else lambda wanted, text: wanted in text
    )
    sums = [0] * len(expected)
    entries: list[Entry] = []
    fresh: list[Entry] = []
    for one in came:
        for number, entry in enumerate(expected):
            if (
                entry.get("flow", one.flow) == one.flow
                and entry.get("step", one.steps[0]) in one.steps
                and (says not in entry or holds(entry[says], one.text))
            ):
                sums[number] += one.count
                break
        else:
            fresh.append(count_entry(one, says, several=several))
    for entry, total in zip(expected, sums, strict=True):
        if entry.get("count", 1) == total:
            entries.append(entry)
        elif total:
            entries.append({**entry, "count": total})
    return entries + fresh


def count_entry(one: Counted, says: str, *, several: bool) -> dict[str, Any]:
    """Drops or failures as tests write them."""
    entry: dict[str, Any] = {"flow": one.flow} if several else {}
    entry |= {"step": one.steps[-1], says: one.text}
    return entry if one.count == 1 else {**entry, "count": one.count}
