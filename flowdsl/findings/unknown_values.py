"""Attributes and values in flows that no context of a log has, and comparisons between different types."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.errors import did_you_mean
from flowdsl.events import JSON_COLUMNS
from flowdsl.expressions.conditions.nodes import (
    Compare,
    ConditionLiteral,
    Expression,
    FunctionCall,
    ListOf,
    Reference,
)
from flowdsl.expressions.conditions.typecheck import clip_text
from flowdsl.expressions.conditions.vectorized import evaluate_values
from flowdsl.expressions.templates import Template
from flowdsl.findings.base import Finding, StepFindings
from flowdsl.findings.histories import MANY
from flowdsl.findings.unknown_names import Places, count_text_of
from flowdsl.flow.plan import CompiledStep
from flowdsl.kernels.outcome import StepOutcome
from flowdsl.operators.batch import Batch
from flowdsl.operators.for_each import ForEach
from flowdsl.operators.map import Map, leaves
from flowdsl.operators.where import Where
from flowdsl.text import short_repr
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Tag
from flowdsl.values.orders import distinct
from flowdsl.values.paths import Path, path_text

if TYPE_CHECKING:
    from flowdsl.flow.spec import FlowSpec
    from flowdsl.operators.base import Operator

# distinct values of a path that are kept; a path with more holds ids or free text, which is not misspelled
_MOST_VALUES: Final = 200
# objects whose names are collected for a path without a value
_OBJECTS: Final = 200
# functions that accept a missing value
_TOLERANT: Final = ("exists", "coalesce")
_KINDS: Final = {
    Tag.TEXT: "text",
    Tag.INT: "a number",
    Tag.FLOAT: "a number",
    Tag.BOOL: "true or false",
    Tag.OBJECT: "an object",
    Tag.ARRAY: "a list",
}
_MOST_CONSTANTS: Final = 100
_OTHER_TYPES: Final = "values of different types are never equal"
_READ: Final = {"a number": ("float", "numbers"), "true or false": ("bool", "truth values")}


@dataclass
class _Values:
    """Values of a path that a step compares with constants, and their counts, None if there are too many
    values.
    """

    # the constants; each with all constants of the list that it is in
    wanted: dict[object, Sequence[object]] = field(default_factory=dict)
    contexts: int = 0
    counts: Counter[str] | None = field(default_factory=Counter)
    kinds: set[str] = field(default_factory=set)


@dataclass
class _Path:
    """A path that a step reads: how often it had no value, and the names found at each depth instead."""

    contexts: int = 0
    missing: int = 0
    names: dict[int, Counter[str]] = field(default_factory=dict)


@dataclass
class _Pair:
    """The types that both sides of a comparison had."""

    contexts: int = 0
    left: set[str] = field(default_factory=set)
    right: set[str] = field(default_factory=set)


class SeenValues:
    """Trace reader that collects the values of paths that steps read, and of what conditions compare."""

    def __init__(self) -> None:
        self._values: dict[tuple[int, Path], _Values] = {}
        self._paths: dict[tuple[int, Path], _Path] = {}
        self._pairs: dict[tuple[int, Compare], _Pair] = {}
        self._steps: dict[int, CompiledStep] = {}
        self._read: dict[int, frozenset[Path]] = {}

    def __call__(self, step: CompiledStep, entered: ContextBatch, outcome: StepOutcome) -> None:
        """Record the contexts that entered a step."""
        if not len(entered):
            return
        key, operator = id(step), step.operator
        if key not in self._steps:
            self._steps[key], self._read[key] = step, needed_paths(operator)
        for path in self._read[key]:
            self._record_path(self._paths.setdefault((key, path), _Path()), path, entered)
        if isinstance(operator, Where) and operator.condition.expression is not None:
            for node in operator.condition.expression.walk():
                if isinstance(node, Compare):
                    self._record_comparison(key, node, entered)

    def _record_path(self, found: _Path, path: Path, entered: ContextBatch) -> None:
        if path[0] == "before":
            # only contexts whose entity existed before count
            entered = entered.take(np.flatnonzero(entered.column(path[:1]).is_(Tag.OBJECT)))
        nowhere = int(entered.column(path).is_(Tag.MISSING).sum())
        found.contexts += len(entered)
        found.missing += nowhere
        if found.missing < found.contexts:
            return
        for depth in range(1, len(path)):
            names = found.names.setdefault(depth, Counter())
            names.update(_names_in(entered.column(path[:depth]), _OBJECTS - names.total()))

    def _record_comparison(self, step: int, node: Compare, entered: ContextBatch) -> None:
        compared = _path_and_constants(node)
        if compared is not None:
            path, constants = compared
            self._record_values(self._values.setdefault((step, path), _Values()), path, constants, entered)
        elif node.operator != "in" and node.paths and None in (node.left.kind, node.right.kind):
            pair = self._pairs.setdefault((step, node), _Pair())
            pair.contexts += len(entered)
            for side, kinds in ((node.left, pair.left), (node.right, pair.right)):
                kinds |= _kinds_in(evaluate_values(side, entered)[0])

    def _record_values(
        self, found: _Values, path: Path, constants: Sequence[object], entered: ContextBatch
    ) -> None:
        first = next(iter(found.wanted), constants[0]) is constants[0]
        for constant in constants:
            found.wanted.setdefault(constant, constants)
        if not first:
            # this comparison reads a path that another one of the step has counted
            return
        column = entered.column(path)
        there = np.flatnonzero(~column.is_(Tag.MISSING, Tag.NULL))
        found.contexts += len(entered)
        found.kinds |= _kinds_in(column)
        if found.counts is not None and len(there):
            found.counts.update(dict(column.take(there).to_json().value_counts().iter_rows()))
            if len(found.counts) > _MOST_VALUES:
                found.counts = None

    def nowhere(self) -> set[tuple[int, Path]]:
        """Return pairs of a step's `id()` and a path that had a value in none of many contexts."""
        return {
            key
            for key, found in self._paths.items()
            if found.contexts >= MANY and found.missing == found.contexts
        }

    def findings(self, flows: Sequence[FlowSpec], places: Places) -> Iterator[Finding]:
        """Yield findings for paths without any value, constants that never occur, and types that are never
        equal.
        """
        at, nowhere = StepFindings(flows, places), self.nowhere()
        for step, path in sorted(nowhere, key=lambda key: (self._steps[key[0]].number, key[1])):
            found = _attribute(path, self._paths[step, path])
            yield from at.of("unknown-attribute", self._steps[step], *found)
        for (step, path), values in self._values.items():
            if (step, path) not in nowhere and values.contexts >= MANY:
                for message, hint in _values(path, values):
                    yield from at.of("unknown-value", self._steps[step], message, hint)
        for (step, node), pair in self._pairs.items():
            unlike = _pair(node, pair)
            if unlike is not None:
                hint = f"{_OTHER_TYPES}: {_reading(node, pair) or 'compare values of one type'}"
                yield from at.of("unknown-value", self._steps[step], unlike, hint)


def needed_paths(operator: Operator) -> frozenset[Path]:
    """Return the paths whose values a step needs: keys, ids, lists, and what it compares or prints."""
    if isinstance(operator, Where):
        condition = operator.condition.expression
        found = frozenset() if condition is None else _find_paths(condition)
    elif isinstance(operator, ForEach):
        found = _find_paths(operator.path)
    elif isinstance(operator, Map):
        found = frozenset().union(*map(_needed_by_leaf, leaves(operator.template)))
    elif isinstance(operator, Batch):
        found = operator.key_paths | frozenset(path for _, one in operator.collect for path in one.paths)
    else:
        found = operator.key_paths
    # leave out variables alone, and paths in `before` that are also read in `data`: one finding is enough
    return frozenset(p for p in found if len(p) > 1 and (p[0] != "before" or ("data", *p[1:]) not in found))


def _find_paths(expression: Expression) -> frozenset[Path]:
    if isinstance(expression, FunctionCall) and expression.function in _TOLERANT:
        return frozenset()
    if isinstance(expression, Reference):
        return frozenset((expression.path,))
    return frozenset().union(*map(_find_paths, expression.children))


def _needed_by_leaf(leaf: object) -> frozenset[Path]:
    if isinstance(leaf, Template):
        return leaf.paths - leaf.optional_paths
    return _find_paths(leaf) if isinstance(leaf, Expression) else frozenset()


def _names_in(column: Column, most: int) -> Counter[str]:
    """Count the names in the first `most` objects of a column."""
    rows = np.flatnonzero(column.is_(Tag.OBJECT))[: max(most, 0)]
    found: Counter[str] = Counter()
    for text in column.take(rows).to_json() if len(rows) else ():
        found.update(json.loads(text).keys())
    return found


def _kinds_in(column: Column) -> set[str]:
    tags = {Tag(int(tag)) for tag in distinct(column.tag_array())}
    return {_KINDS[tag] for tag in tags if tag in _KINDS}


def _path_and_constants(node: Compare) -> tuple[Path, list[object]] | None:
    """Return the path and the constants of a comparison of these; None for another comparison."""
    sides = ((node.left, node.right), (node.right, node.left))
    for one, other in sides[:1] if node.operator == "in" else sides:
        if not isinstance(one, Reference) or node.operator not in ("==", "!=", "in"):
            continue
        items = other.items if isinstance(other, ListOf) else (other,)
        values = [item.value for item in items if isinstance(item, ConditionLiteral)]
        if values and len(values) == len(items) and None not in values:
            return one.path, list(values)
    return None


def _attribute(path: Path, found: _Path) -> tuple[str, str | None]:
    """Return message and hint for a path without a value."""
    # the first part of the path that does not exist
    depth = next((d for d, names in sorted(found.names.items()) if path[d] not in names), len(path) - 1)
    names, parent = found.names.get(depth) or Counter(), path_text(path[:depth])
    lost = path_text(path[: depth + 1])
    there = f"{parent} has {count_text_of(names)}" if names else f"{parent} is not an object there"
    message = f"{lost} is missing in all {found.contexts:,} contexts that read {path_text(path)}; {there}"
    rest = path[depth + 1 :]
    if path[depth] == "data" and rest and (rest[0] in names or path[0] == "before"):
        return message, f"an entity has its fields itself: {path_text((*path[:depth], *rest))}"
    return message, did_you_mean(path[depth], names) or "is the name spelled as in the events and entities?"


def _values(path: Path, found: _Values) -> Iterator[tuple[str, str | None]]:
    """Yield message and hint for each constant that a path is never equal to."""
    name = path_text(path)
    for wanted, beside in found.wanted.items():
        if len(beside) > _MOST_CONSTANTS and wanted is not beside[0]:
            # of a long list the first constant stands for all
            continue
        kind = _kind(wanted)
        if found.kinds and kind not in found.kinds:
            there = " or ".join(sorted(found.kinds))
            yield (
                f"{name} is always {there}, and never equal to {short_repr(wanted, 80)}, which is {kind}",
                f"{_OTHER_TYPES}: write the constant in the type of the values",
            )
        elif found.counts is not None and kind == "text" and isinstance(wanted, str):
            values = {json.loads(text): count for text, count in found.counts.items() if text.startswith('"')}
            hint = did_you_mean(wanted, values)
            # a list may contain rare values: without a hint, report only if none of the list occurred
            if values and wanted not in values and (hint or not any(one in values for one in beside)):
                yield f"{name} is never {short_repr(wanted, 80)}; it is {count_text_of(values)}", hint


def _pair(node: Compare, pair: _Pair) -> str | None:
    """Return the message for a comparison whose sides never have the same type; None if they do."""
    if pair.contexts < MANY or not pair.left or not pair.right or pair.left & pair.right:
        return None
    left, right = (" or ".join(sorted(kinds)) for kinds in (pair.left, pair.right))
    outcome = "always" if node.operator == "!=" else "never"
    return f"{node.left} is always {left}, and {node.right} {right}: {clip_text(node)} is {outcome} true"


def _reading(node: Compare, pair: _Pair) -> str | None:
    """Return a hint how to read a text column with the type that it is compared with; None if impossible."""
    sides = ((node.left, pair.left, pair.right), (node.right, pair.right, pair.left))
    side, others = next(((one, more) for one, kinds, more in sides if kinds == {"text"}), (node, {""}))
    name, values = _READ.get(min(others), ("", ""))
    if not name or not isinstance(side, Reference) or side.path[0] not in JSON_COLUMNS:
        return None
    return f"read_events(…, types={{{path_text(side.path[1:])!r}: {name}}}) reads such texts as {values}"


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    return "text" if isinstance(value, str) else "a number"
