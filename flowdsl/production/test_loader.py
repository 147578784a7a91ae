"""Strict loader of flow tests in YAML: unknown keys and wrong types are rejected with their place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from flowdsl.errors import BuildError, DataError, FlowError
from flowdsl.events import event_row, timestamp_us
from flowdsl.expressions.durations import parse_duration
from flowdsl.operators.options import DURATION_PATTERN
from flowdsl.production.nodes import Item
from flowdsl.production.schema_validation import ShapeCheck
from flowdsl.production.test_schema import NULL_SAYS, START, TEST

_ZONE: Final = re.compile(r"([Zz]|[+-]\d\d:?\d\d)$")


def check_tests(item: Item, problems: list[FlowError]) -> None:
    """Validate the tests of a document, and append their errors to `problems`"""
    if isinstance(item.value, list):
        for one in item.value:
            read_test(one, problems)
    elif item.value is not None:
        problems.append(FlowError(f"tests is {item.kind}", place=item.place, allowed="a list of tests"))


def read_test(item: Item, problems: list[FlowError]) -> dict[str, Any]:
    """Read one test as a plain mapping without unset keys, and append its errors to `problems`"""
    before = len(problems)
    shape = ShapeCheck(problems, NULL_SAYS)
    shape.check(item, TEST, "a test", parts=False)
    if len(problems) == before:
        _check_meaning(item, shape)
    if isinstance(item.value, dict) and "name" in item.value and isinstance(item.value["name"].value, str):
        for problem in problems[before:]:
            problem.what = f"test {item.value['name'].value!r}: {problem.what}"
    plain: dict[str, Any] = _convert(item, TEST) if isinstance(item.value, dict) else {}
    return plain


def moment(text: str, start: int) -> int:
    """Return the moment, in µs since 1970, of a timestamp or of a duration since the start."""
    if re.match(DURATION_PATTERN, text):
        return start + parse_duration(text).microseconds
    return timestamp_us(text if _ZONE.search(text) else f"{text}Z")


def production_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event of a test as production's JSON, without its envelope."""
    family, action = str(event["kind"]).split(".")
    rest = {name: value for name, value in event.items() if name not in ("at", "id", "kind")}
    return {"kind": family, "action": action, **rest}


def _check_meaning(item: Item, shape: ShapeCheck) -> None:
    """Report invalid moments, and events that lack fields of their kind."""
    start = _moment(item.value.get("start"), 0, shape) or timestamp_us(START)
    for event in item.value["events"].value:
        _moment(event.value.get("at"), start, shape)
        try:
            event_row(production_event(_convert(event, TEST["properties"]["events"]["items"])))
        except DataError as error:
            shape.refuse(event, f"an event: {error.what}", allowed=error.allowed, hint=error.hint)
    for name in ("deliveries", "drops", "failures"):
        listed = item.value.get(name)
        for one in listed.value or () if listed is not None else ():
            _moment(one.value.get("at"), start, shape)


def _moment(item: Item | None, start: int, shape: ShapeCheck) -> int | None:
    if item is None or item.value is None:
        return None
    try:
        return moment(item.value, start)
    except (BuildError, DataError) as error:
        shape.refuse(item, error.what, allowed=error.allowed, hint=error.hint)
        return None


def _convert(item: Item, declared: Mapping[str, Any]) -> Any:
    """Return a declared value as Python types, without null keys that mean nothing."""
    if isinstance(item.value, list) and "items" in declared:
        return [_convert(one, declared["items"]) for one in item.value]
    if not isinstance(item.value, dict) or "properties" not in declared:
        return item.plain()
    return {
        key: _convert(value, declared["properties"].get(key, {}))
        for key, value in item.value.items()
        if value.value is not None or key in NULL_SAYS
    }
