"""Validation of a stored result: every field of `result.json`, and their consistency."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, cast

from flowdsl.errors import DataError
from flowdsl.results.manifest_schema import Manifest
from flowdsl.values import kinds
from flowdsl.values.state_fields import (
    FlagField,
    ListField,
    NamedField,
    NumberField,
    OptionalField,
    RecordField,
    TextField,
    WholeField,
)
from flowdsl.values.state_objects import FieldKind, StateReader

_COUNT: Final = WholeField(0)
_TEXTS: Final = ListField(TextField())
_COUNTS: Final = NamedField(_COUNT)
# a table's name must be a folder within that of the result
_TABLE: Final = re.compile(r"deliveries/[0-9]{1,9}-[0-9]{1,9}")


class _TableName(FieldKind):
    """Name of a table of deliveries."""

    def read(self, node: Any, source: StateReader) -> str:
        if not isinstance(node, str) or not _TABLE.fullmatch(node):
            source.refuse("not a name of a table of deliveries")
        return node


class _Hint(FieldKind):
    """Kind of a payload field: a word, `[kind]` or `{name: kind}`."""

    def read(self, node: Any, source: StateReader) -> Any:
        if isinstance(node, dict):
            return {name: source.below(name, self, inner) for name, inner in node.items()}
        if isinstance(node, list) and len(node) == 1:
            return [source.below(0, self, node[0])]
        source.check(isinstance(node, str) and node in kinds.WORDS, "not a kind of value")
        return node


_STEP: Final = RecordField(
    number=_COUNT,
    flow=TextField(),
    step=_COUNT,
    operator=TextField(),
    text=TextField(),
    caption=TextField(),
    sinks=_TEXTS,
    held_before=_COUNT,
    entered=_COUNT,
    extra_branches=_COUNT,
    passed=_COUNT,
    dropped=_COUNT,
    failed=_COUNT,
    absorbed=_COUNT,
    held=_COUNT,
    seconds=NumberField(),
    reasons=_COUNTS,
    refused=_COUNTS,
    capped=_COUNTS,
)
_DELIVER: Final = RecordField(
    table=_TableName(), flows=ListField(_COUNT), sinks=_TEXTS, timed=FlagField(), fields=NamedField(_Hint())
)
_FAN_OUT: Final = RecordField(
    number=_COUNT, step=_COUNT, sizes=ListField(ListField(_COUNT)), largest=_COUNT, seq_no=_COUNT
)
_STOPPED: Final = RecordField(
    seq_no=_COUNT,
    flow=TextField(),
    step=_COUNT,
    operator=TextField(),
    branch=OptionalField(TextField()),
    reason=TextField(),
)
_MANIFEST: Final = RecordField(
    flows=_TEXTS,
    text=_TEXTS,
    triggers=_TEXTS,
    captions=_TEXTS,
    descriptions=ListField(OptionalField(TextField())),
    events=_COUNT,
    span=OptionalField(ListField(WholeField())),
    position=_COUNT,
    late=_COUNT,
    ahead=_COUNT,
    unmatched=_COUNT,
    trace=FlagField(),
    steps=ListField(_STEP),
    delivers=ListField(_DELIVER),
    fan_outs=ListField(_FAN_OUT),
    delivered=ListField(RecordField(flow=TextField(), sink=TextField(), count=_COUNT)),
    undelivered=_COUNT,
    stopped=OptionalField(_STOPPED),
    log=OptionalField(TextField()),
    beginning=_TEXTS,
    tzdata=TextField(),
)
# metadata that every part of a table has; deliveries, errors and drops have more
_PART: Final[Mapping[str, FieldKind]] = {
    "flows": ListField(_COUNT),
    "step": _COUNT,
    "operator": TextField(),
    "reason": TextField(),
    "variables": _TEXTS,
    "copies": NamedField(TextField()),
    "fields": _TEXTS,
    "json": _TEXTS,
    "whole": FlagField(),
    "unordered": FlagField(),
    "refused": NamedField(TextField()),
}


def check_manifest(text: str | bytes, place: str) -> Manifest:
    """Read the manifest of a stored result; raise `DataError` for an invalid field."""
    source = StateReader()
    try:
        manifest = cast("Manifest", _MANIFEST.read(_parse(text), source))
        _check_whole(manifest, source)
    except DataError as error:
        raise DataError(
            f"{error.what}: it was damaged, or another version of flowdsl wrote it", place=place, hint=_HINT
        ) from None
    return manifest


def check_meta(text: bytes, place: str) -> dict[str, Any]:
    """Read the metadata of a part's columns; raise `DataError` with the file if it is invalid."""
    source = StateReader()
    try:
        node = _parse(text)
        if not isinstance(node, dict) or not node.keys() <= _PART.keys():
            source.refuse("not a part of a result")
        return {name: source.below(name, _PART[name], value) for name, value in node.items()}
    except DataError as error:
        raise DataError(f"{error.what}: it was damaged", place=place, hint=_HINT) from None


_HINT: Final = "replay(…, out=folder) or result.to_parquet(folder) writes it anew"


def _parse(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise DataError("it is not JSON") from None


def _check_whole(manifest: Manifest, source: StateReader) -> None:
    """Raise an error if fields of the manifest contradict each other."""
    names = manifest["flows"]
    for name in ("text", "triggers", "captions", "descriptions"):
        source.check(len(manifest[name]) == len(names), f"not of one length: {name} and flows")
    span = [0, 0] if manifest["span"] is None else manifest["span"]
    source.check(len(span) == 2 and span[0] <= span[1], "not a span of time: span")
    places = set()
    for step in manifest["steps"]:
        source.check(
            step["number"] < len(names) and names[step["number"]] == step["flow"],
            "not a step of a flow: steps",
        )
        places.add((step["number"], step["step"]))
    source.check(len(places) == len(manifest["steps"]), "with a step twice: steps")
    for deliver in manifest["delivers"]:
        number = int(deliver["table"].rpartition("-")[2])
        source.check(deliver["flows"], "without a flow: delivers")
        steps = {(flow, number) for flow in deliver["flows"]}
        source.check(steps <= places, "not a step of a flow: delivers")
    for fan_out in manifest["fan_outs"]:
        source.check((fan_out["number"], fan_out["step"]) in places, "not a step of a flow: fan_outs")
        source.check(set(map(len, fan_out["sizes"])) <= {2}, "not a list of pairs: fan_outs")
    for row in manifest["delivered"]:
        source.check(row["flow"] in names, "of no flow: delivered")
