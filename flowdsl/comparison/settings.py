"""Settings of a flow to try: its options with other values, and the unchanged flow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from flowdsl.comparison.grid import Variant, places_of, variants_of
from flowdsl.errors import ReplayError
from flowdsl.flow.spec import FlowSpec
from flowdsl.text import short_repr, type_text

TODAY: Final = "today"


def settings_to_try(flow: FlowSpec, vary: Mapping[str, Iterable[Any]]) -> tuple[list[Variant], int]:
    """Return the settings of a flow, and the index of the one that is the flow as it is; if none is, it is
    added as the first.
    """
    if not isinstance(flow, FlowSpec):
        raise ReplayError(f"{type_text(flow)} is not a flow", allowed="a flow")
    if not isinstance(vary, Mapping) or not vary:
        raise ReplayError(
            f"vary={short_repr(vary)} names no options",
            flow=flow.name,
            allowed="options of steps with the values to try, such as vary={'0.window': ['5m', '1h']}",
        )
    variants = variants_of(flow, vary)
    same = [number for number, variant in enumerate(variants) if variant.flow.steps == flow.steps]
    if same:
        return variants, same[0]
    values = []
    for name, (number, option) in places_of(flow, vary).items():
        step = flow.steps[number]
        value = getattr(step, option)
        values.append((name, None if value is None else step.options()[option].kind.plain(value)))
    return [_Today(flow.named(TODAY), tuple(values)), *variants], 0


class _Today(Variant):
    """The unchanged flow, named `today`."""

    @property
    def name(self) -> str:
        return TODAY


def check_sink(flow: FlowSpec, sink: str | None) -> None:
    """Raise `ReplayError` if a flow does not deliver to this sink, or delivers nothing at all."""
    known = list(dict.fromkeys(name for step in flow.steps for name in getattr(step, "sinks", ())))
    if not known:
        raise ReplayError(
            "the flow delivers nothing that could be measured", flow=flow.name, hint="end it with deliver"
        )
    if sink is not None and sink not in known:
        raise ReplayError.unknown(
            f"the flow does not deliver to {short_repr(sink)}", sink, known, flow=flow.name
        )
