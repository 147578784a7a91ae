"""deliver: hand the payload to sinks."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np

from flowdsl.batches.context_batch import ContextBatch
from flowdsl.batches.variables import ConstantVariable
from flowdsl.errors import BuildError
from flowdsl.kernels.kernel import Kernel
from flowdsl.kernels.outcome import Deliveries, StepOutcome, Until, fail_all
from flowdsl.operators.base import Kind, Operator
from flowdsl.operators.options import Option, OptionType, check_text, mapping_schema, option, text_schema
from flowdsl.operators.scope import ANY, Scope
from flowdsl.rules import Rules
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Tag
from flowdsl.values.paths import Path


def _read_sinks(value: Any, what: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(check_text(sink, "deliver: a sink") for sink in value))


SINK: Final = OptionType("text", text_schema("in-app", "push"), check_text)
SINKS: Final = OptionType(
    "list",
    {"type": "array", "items": SINK.schema, "minItems": 1, "examples": [["in-app", "push"]]},
    _read_sinks,
    list,
    offers="examples",
)


@dataclass(frozen=True)
class Deliver(Operator):
    """Hand the payload to sinks, and go on."""

    name: ClassVar[str] = "deliver"
    method: ClassVar[str] = "deliver"
    summary: ClassVar[str] = "hand the payload and its recipient to each sink, and go on"
    example: ClassVar[str] = 'deliver("in-app", "push")'
    synonyms: ClassVar[tuple[str, ...]] = (
        "send",
        "sink",
        "emit",
        "output",
        "publish",
        "notify",
        "to",
        "write",
    )
    portable: ClassVar[bool] = True
    option_rules: ClassVar[Mapping[str, Any]] = {
        "anyOf": [mapping_schema("sink", type="string"), mapping_schema("sinks", type="array")],
        "examples": [{"sink": "in-app"}, {"sinks": ["in-app", "push"]}],
    }

    sinks: tuple[str, ...] = option(SINKS, "the sinks, each once", required=False)

    @classmethod
    def build(cls, *sinks: str) -> Deliver:
        """Deliver the payload to sinks, and continue.

        The recipient is the payload's `recipient_id`, else the variable `recipient_id`, else `target_id` if
        that is text, else none.

        Parameters
        ----------
        *sinks
            The names of the sinks.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        BuildError
            If there is no `map` before this step, or no sink.

        Examples
        --------
        >>> from flowdsl import on
        >>> on("link.created").map(title="hello").deliver("in-app", "push").steps[1].text
        "deliver('in-app', 'push')"
        """
        if not sinks:
            raise BuildError("deliver needs at least one sink", allowed="names of sinks: deliver('in-app')")
        return cls.read(sinks=sinks)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Deliver:
        """Return the step from a YAML mapping: `sink`, `sinks` or both, `sink` first."""
        sinks = options.get("sinks", [])
        if not isinstance(sinks, list):
            raise BuildError(
                f"deliver: sinks must be a list, not {sinks!r}", hint="write sink: for a single one"
            )
        single = [options["sink"]] if options.get("sink") is not None else []
        return cls.build(*single, *sinks)

    @classmethod
    def yaml_options(cls) -> dict[str, Option]:
        """As of every operator, with `sink` for a single sink."""
        return {
            "sink": Option("sink", "one sink, before those of `sinks`", SINK.schema, type=SINK),
            **super().yaml_options(),
        }

    @classmethod
    def from_yaml(cls, options: Mapping[str, Any]) -> Operator:
        """As of every operator, with `sink` for a single sink."""
        rest = {key: value for key, value in options.items() if key != "sink"}
        if "sink" in options:
            super().from_yaml(rest or {"sinks": ["-"]})
            return cls.from_options(options)
        return super().from_yaml(options)

    @property
    def kind(self) -> Kind:
        return Kind.SINK

    @functools.cached_property
    def text(self) -> str:
        return f"deliver({', '.join(map(repr, self.sinks))})"

    @property
    def caption(self) -> str:
        return ", ".join(self.sinks)

    def check(self, scope: Scope) -> Scope:
        if "_payload" not in scope:
            raise BuildError("deliver has no payload", hint="put a map(…) before it")
        return scope.having(_delivered_to=ANY)

    def kernel(self, rules: Rules) -> DeliverKernel:
        return DeliverKernel(self, rules)


class DeliverKernel(Kernel):
    """Finds the recipient of each payload; the engine applies the preferences of recipients."""

    def __init__(self, options: Deliver, rules: Rules) -> None:
        self._sinks = list(options.sinks)
        self._recipient = rules.recipient

    def run(self, contexts: ContextBatch, until: Until) -> StepOutcome:
        payload = contexts.payload
        if payload is None:
            # only rules without early checks accept a flow without a `map` before
            return fail_all(contexts, "deliver has no payload: there is no map before it")
        recipient = _recipients(contexts, self._recipient)
        passed = contexts.having({"_delivered_to": ConstantVariable(self._sinks, len(contexts))})
        return StepOutcome(passed, delivered=Deliveries(contexts, payload, recipient))


def _recipients(contexts: ContextBatch, places: Sequence[Path]) -> Column:
    """Return the first of these places that holds text."""
    found = contexts.column(places[0])
    for path in places[1:]:
        if found.all_(Tag.TEXT):
            return found
        if path[0] not in contexts.roots():
            continue
        other = contexts.column(path)
        lacking = ~found.is_(Tag.TEXT) & other.is_(Tag.TEXT)
        if lacking.any():
            found = Column.concat([found, other]).take(
                np.arange(found.size) + np.where(lacking, found.size, 0)
            )
    if found.all_(Tag.TEXT):
        return found
    if not found.is_(Tag.TEXT).any():
        return Column(found.size, Tag.MISSING)
    tags = np.where(found.is_(Tag.TEXT), np.uint8(Tag.TEXT), np.uint8(Tag.MISSING))
    return Column(found.size, tags, texts=found.texts)
