"""Tests of flows as they stand in YAML, read strictly: what is unknown or of a wrong type is refused with its place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from flowdsl.errors import BuildError, DataError, FlowError, did_you_mean
from flowdsl.events import event_row, timestamp_us
from flowdsl.language.durations import parse_duration
from flowdsl.operators.base import DURATION_PATTERN
from flowdsl.production.document import Item
from flowdsl.testing.declared import NULL_SAYS, START, TEST

_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}
_WORDS: Final = {
    "string": "text", "integer": "a whole number", "boolean": "true or false", "array": "a list", "object": "a mapping",
    "null": "null",
}  # fmt: skip
_ZONE: Final = re.compile(r"([Zz]|[+-]\d\d:?\d\d)$")
Refuse = Callable[..., None]


def check_tests(item: Item, problems: list[FlowError]) -> None:
    """What is wrong with the tests of a document goes to `problems`."""
    if isinstance(item.value, list):
        for one in item.value:
            read_test(one, problems)
    elif item.value is not None:
        problems.append(FlowError(f"tests is {item.kind}", place=item.place, allowed="a list of tests"))


def read_test(item: Item, problems: list[FlowError]) -> dict[str, Any]:
    """One test as a plain mapping without what is not given; what is wrong with it goes to `problems`."""
    before = len(problems)

    def refuse(where: Item, what: str, **more: Any) -> None:
        problems.append(FlowError(what, **{"place": where.place, **more}))

    _check(item, TEST, "a test", refuse)
    if len(problems) == before:
        _check_meaning(item, refuse)
    if isinstance(item.value, dict) and "name" in item.value and isinstance(item.value["name"].value, str):
        for problem in problems[before:]:
            problem.what = f"test {item.value['name'].value!r}: {problem.what}"
    plain: dict[str, Any] = _given(item, TEST) if isinstance(item.value, dict) else {}
    return plain


def moment(text: str, start: int) -> int:
    """The moment, in µs since 1970, that a time after a start or a timestamp says."""
    if re.match(DURATION_PATTERN, text):
        return start + parse_duration(text).microseconds
    return timestamp_us(text if _ZONE.search(text) else f"{text}Z")


def production_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event of a test in production's JSON form, without its envelope."""
    family, action = str(event["kind"]).split(".")
    rest = {name: value for name, value in event.items() if name not in ("at", "id", "kind")}
    return {"kind": family, "action": action, **rest}


# -- the shape ---------------------------------------------------------------------------------------------


def _check(item: Item, declared: Mapping[str, Any], what: str, refuse: Refuse) -> None:
    value = item.value
    if "enum" in declared:
        if value not in declared["enum"]:
            hint = did_you_mean(str(value), declared["enum"]) if isinstance(value, str) else None
            shown = repr(value) if not isinstance(value, (dict, list)) else item.kind
            refuse(
                item, f"{what} {shown} is not known", allowed=", ".join(map(str, declared["enum"])), hint=hint
            )
        return
    types = declared.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(_TYPES[name](value) for name in types):
        such = f", such as {json.dumps(declared['examples'][0])}" if declared.get("examples") else ""
        refuse(item, f"{what} is {item.kind}", allowed=" or ".join(_WORDS[name] for name in types) + such)
    elif isinstance(value, str):
        if len(value) < declared.get("minLength", 0) or not re.search(declared.get("pattern", ""), value):
            such = ", ".join(map(str, declared["examples"]))
            refuse(item, f"{what} is {value!r:.60}", allowed=f"text such as {such}")
    elif isinstance(value, int) and not isinstance(value, bool):
        if value < declared.get("minimum", value):
            refuse(item, f"{what} is {value}", allowed=f"at least {declared['minimum']}")
    elif isinstance(value, list) and "items" in declared:
        if len(value) < declared.get("minItems", 0):
            refuse(item, f"{what} is an empty list", allowed="one or more, or leave it out")
        for one in value:
            _check(one, declared["items"], _one_of(what), refuse)
    elif isinstance(value, dict):
        _check_mapping(item, declared, what, refuse)


def _check_mapping(item: Item, declared: Mapping[str, Any], what: str, refuse: Refuse) -> None:
    known, others = declared.get("properties", {}), declared.get("additionalProperties")
    for key, value in item.value.items():
        if key in known:
            if value.value is not None or key in NULL_SAYS:
                _check(value, known[key], key if what == "a test" else f"{what}: {key}", refuse)
        elif others is False:
            refuse(
                item, f"{what} has no key {key!r}", place=item.keys[key],
                allowed=", ".join(known), hint=did_you_mean(key, known),
            )  # fmt: skip
        elif others:
            _check(value, others, f"{what} {key!r}", refuse)
    missing = [
        key for key in declared.get("required", ()) if key not in item.value or item.value[key].value is None
    ]
    if missing:
        refuse(item, f"{what} needs {' and '.join(map(repr, missing))}", allowed=", ".join(known))


def _one_of(what: str) -> str:
    """`a delivery` for one of `deliveries`."""
    word = what.rpartition(" ")[2]
    single = word.removesuffix("ies") + "y" if word.endswith("ies") else word.removesuffix("s")
    return f"{'an' if single[0] in 'aeiou' else 'a'} {single}"


# -- what takes more than the shape ------------------------------------------------------------------------


def _check_meaning(item: Item, refuse: Refuse) -> None:
    """Moments that are none, and events that lack what their kind needs."""
    start = _moment(item.value.get("start"), 0, refuse) or timestamp_us(START)
    for event in item.value["events"].value:
        _moment(event.value.get("at"), start, refuse)
        try:
            event_row(production_event(_given(event, TEST["properties"]["events"]["items"])))
        except DataError as error:
            refuse(event, f"an event: {error.what}", allowed=error.allowed, hint=error.hint)
    for name in ("deliveries", "drops", "failures"):
        listed = item.value.get(name)
        for one in listed.value or () if listed is not None else ():
            _moment(one.value.get("at"), start, refuse)


def _moment(item: Item | None, start: int, refuse: Refuse) -> int | None:
    if item is None or item.value is None:
        return None
    try:
        return moment(item.value, start)
    except (BuildError, DataError) as error:
        refuse(item, error.what, allowed=error.allowed, hint=error.hint)
        return None


def _given(item: Item, declared: Mapping[str, Any]) -> Any:
    """A declared value in Python's own types, without the keys that are null and mean nothing by it."""
    if isinstance(item.value, list) and "items" in declared:
        return [_given(one, declared["items"]) for one in item.value]
    if not isinstance(item.value, dict) or "properties" not in declared:
        return item.plain()
    return {
        key: _given(value, declared["properties"].get(key, {}))
        for key, value in item.value.items()
        if value.value is not None or key in NULL_SAYS
    }
