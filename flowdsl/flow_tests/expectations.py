"""Comparison of expected and actual results: expectations that hold are kept, others are replaced."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowdsl.errors import BuildError
from flowdsl.events import timestamp_text
from flowdsl.expressions.durations import parse_duration
from flowdsl.production.test_loader import moment

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Delivered:
    """Actual delivery; `at` is in µs since 1970."""

    flow: str
    sink: str
    recipient: str | None
    payload: Any
    at: int


@dataclass(frozen=True)
class Counted:
    """Number of contexts dropped or failed at a step for one reason (`text`); `steps` has all names of the
    step.
    """

    flow: str
    steps: tuple[int | str, ...]
    text: str
    count: int


def settle_deliveries(
    expected: Sequence[Entry], came: Sequence[Delivered], start: int, *, several: bool
) -> list[Entry]:
    """Return the expectations, in order, corrected to the actual deliveries; unchanged if all hold.

    With `several` flows, entries name their flow.
    """
    choices = [[i for i, one in enumerate(came) if fits(entry, one, start)] for entry in expected]
    taken = _assign(choices, len(came))
    left = [one for i, one in enumerate(came) if i not in taken.values()]
    entries: list[Entry] = []
    for number, entry in enumerate(expected):
        if number in taken:
            entries.append(entry)
        elif (near := _first_to(left, entry["sink"])) is not None:
            left.remove(near)
            entries.append(_rewritten(entry, near, start))
    entries += [delivery_entry(one, several=several) for one in left]
    return entries


def _first_to(deliveries: Sequence[Delivered], sink: str) -> Delivered | None:
    return next((one for one in deliveries if one.sink == sink), None)


def fits(entry: Entry, one: Delivered, start: int) -> bool:
    """Return True if a delivery meets an expectation."""
    return (
        entry["sink"] == one.sink
        and ("recipient" not in entry or entry["recipient"] == one.recipient)
        and entry.get("flow", one.flow) == one.flow
        and ("at" not in entry or moment(entry["at"], start) == one.at)
        and ("payload" not in entry or _holds(entry["payload"], one.payload, exact=entry.get("exact", False)))
    )


def delivery_entry(one: Delivered, *, several: bool) -> dict[str, Any]:
    """Return a delivery as an entry of a test."""
    entry: dict[str, Any] = {"flow": one.flow} if several else {}
    return {**entry, "sink": one.sink, "recipient": one.recipient, "payload": one.payload}


def same(one: Any, other: Any) -> bool:
    """Return True if two values are the same JSON; in Python, 1 and True are equal."""
    return json.dumps(one) == json.dumps(other)


def _rewritten(entry: Entry, one: Delivered, start: int) -> dict[str, Any]:
    """Return an entry with the same keys and the actual values."""
    exact = entry.get("exact", False)
    now = {
        "recipient": one.recipient,
        "flow": one.flow,
        "at": moment_text(one.at, start),
        "payload": one.payload if exact else _part(entry.get("payload"), one.payload),
    }
    return {key: now.get(key, value) for key, value in entry.items()}


def _holds(wanted: Any, found: Any, *, exact: bool) -> bool:
    if type(wanted) is not type(found):
        # 1 is 1.0, but not true
        return bool not in (type(wanted), type(found)) and bool(wanted == found)
    if isinstance(wanted, dict):
        return _hold(wanted, found, exact=exact)
    if isinstance(wanted, list):
        pairs = zip(wanted, found, strict=False)
        return len(wanted) == len(found) and all(_holds(w, f, exact=True) for w, f in pairs)
    return bool(wanted == found)


def _hold(wanted: dict[str, Any], found: dict[str, Any], *, exact: bool) -> bool:
    """Return True if all fields are there, and with `exact` no others."""
    if not wanted.keys() <= found.keys() or (exact and len(wanted) < len(found)):
        return False
    return all(_holds(value, found[key], exact=exact) for key, value in wanted.items())


def _part(wanted: Any, found: Any) -> Any:
    """Return the fields of an actual value that the expectation names, or all if it names none."""
    if not isinstance(wanted, dict) or not isinstance(found, dict):
        return found
    return {key: _part(value, found[key]) for key, value in wanted.items() if key in found} or found


def moment_text(at: int, start: int) -> str:
    """Return a moment as text: the duration since the start if that is exact, else a timestamp."""
    try:
        return parse_duration(dt.timedelta(microseconds=at - start)).text
    except BuildError:
        # before the start, or finer than durations can be
        return timestamp_text(at)


def _assign(choices: Sequence[Sequence[int]], size: int) -> dict[int, int]:
    """Match as many as possible to one of their choices, each used once (augmenting paths, in order)"""
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
        # most have a free choice, so that no path is searched
        free = next((choice for choice in choices[number] if choice not in holder), None)
        if free is not None:
            holder[free] = number
        elif len(holder) < size:
            give(number, set())
    return {number: choice for choice, number in holder.items()}


def settle_counts(
    expected: Sequence[Entry], came: Sequence[Counted], field: str, *, several: bool
) -> list[Entry]:
    """Return expected drops (`says` is `reason`) or failures (`error`) corrected to the actual ones, matched
    first to first.
    """
    sums = [0] * len(expected)
    entries: list[Entry] = []
    fresh: list[Entry] = []
    for one in came:
        number = next((i for i, entry in enumerate(expected) if _counts(entry, one, field)), None)
        if number is None:
            fresh.append(count_entry(one, field, several=several))
        else:
            sums[number] += one.count
    for entry, total in zip(expected, sums, strict=True):
        if entry.get("count", 1) == total:
            entries.append(entry)
        elif total:
            entries.append({**entry, "count": total})
    return entries + fresh


def _counts(entry: Entry, one: Counted, field: str) -> bool:
    """Return True if an entry is about these contexts: it has the whole reason, or a part of the error."""
    if entry.get("flow", one.flow) != one.flow or entry.get("step", one.steps[0]) not in one.steps:
        return False
    if field not in entry:
        return True
    return bool(entry[field] == one.text) if field == "reason" else entry[field] in one.text


def count_entry(one: Counted, field: str, *, several: bool) -> dict[str, Any]:
    """Return drops or failures as an entry of a test."""
    entry: dict[str, Any] = {"flow": one.flow} if several else {}
    entry |= {"step": one.steps[-1], field: one.text}
    return entry if one.count == 1 else {**entry, "count": one.count}
