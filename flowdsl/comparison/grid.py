"""Grid of flow variants: options of steps with new values, in every combination."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from flowdsl.errors import ReplayError, did_you_mean
from flowdsl.flow.spec import FlowSpec

MOST_VARIANTS: Final = 1_000


@dataclass(frozen=True)
class Variant:
    """A flow with the parameter values that it was made with."""

    flow: FlowSpec
    values: tuple[tuple[str, Any], ...]

    @property
    def name(self) -> str:
        """The name of the variant, such as `window=5m, min_count=2`."""
        return ", ".join(f"{name}={value}" for name, value in self.values)


def variants_of(flow: FlowSpec, parameters: Mapping[str, Iterable[Any]]) -> list[Variant]:
    """Build the flow with every combination of these options; the first parameter changes slowest.

    A parameter is the name of an option (`window`), with the step before it if several steps have it
    (`batch_window`, `step_3_window`, `3.window`).
    """
    places = places_of(flow, parameters)
    given = [[(name, value) for value in _list_values(name, values)] for name, values in parameters.items()]
    count = math.prod(map(len, given))
    if count > MOST_VARIANTS:
        raise ReplayError(
            f"{' × '.join(str(len(values)) for values in given)} values are {count:,} variants",
            flow=flow.name,
            allowed=f"at most {MOST_VARIANTS:,} in one replay",
            hint="begin with a few values that lie far apart, then try more around the best",
        )
    return [_variant(flow, places, values) for values in itertools.product(*given)]


def places_of(flow: FlowSpec, parameters: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Return the step number and the option of each parameter; refuse two parameters for one option."""
    places: dict[str, tuple[int, str]] = {}
    for name in parameters:
        place = _place(flow, name)
        if place in places.values():
            other = next(known for known, taken in places.items() if taken == place)
            raise ReplayError(f"{other!r} and {name!r} are the same option", flow=flow.name)
        places[name] = place
    return places


def _variant(
    flow: FlowSpec, places: Mapping[str, tuple[int, str]], values: tuple[tuple[str, Any], ...]
) -> Variant:
    steps: dict[int, dict[str, Any]] = {}
    for name, value in values:
        number, option = places[name]
        steps.setdefault(number, {})[option] = value
    # all options of a step at once: one alone may be invalid
    for number, options in steps.items():
        flow = flow.with_step(number, **options)
    variant = Variant(flow, values)
    return replace(variant, flow=flow.named(variant.name))


def _list_values(name: str, values: Iterable[Any]) -> list[Any]:
    listed = (
        [] if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable) else list(values)
    )
    if not listed:
        raise ReplayError(f"{name}={values!r} is not a list of values", allowed=f"such as {name}=[…, …]")
    return listed


def _place(flow: FlowSpec, name: str) -> tuple[int, str]:
    """Return the step number and the option of a parameter."""
    places = [
        (number, step.method, option)
        for number, step in enumerate(flow.steps)
        for option, declared in step.options().items()
        if name in _names(number, step.method, option) | _names(number, step.method, declared.yaml)
    ]
    if len(places) == 1:
        return places[0][0], places[0][2]
    if places:
        raise _ambiguous_option(flow, name, places)
    raise _unknown_option(flow, name)


def _unknown_option(flow: FlowSpec, name: str) -> ReplayError:
    numbered = re.fullmatch(r"([0-9]{1,9})\.(.*)", str(name), re.DOTALL)
    if numbered is not None:
        return _unknown_of_step(flow, int(numbered[1]), numbered[2])
    known = sorted({option for step in flow.steps for option in step.options()})
    return ReplayError.unknown(
        f"no step of {flow.name!r} has an option {name!r}", name, known, flow=flow.name
    )


def _unknown_of_step(flow: FlowSpec, number: int, option: str) -> ReplayError:
    if number >= len(flow.steps):
        return ReplayError(
            f"there is no step {number} in {flow.name!r}",
            flow=flow.name,
            allowed=f"0 to {len(flow.steps) - 1}",
        )
    step = flow.steps[number]
    known = [declared.yaml for declared in step.options().values()]
    elsewhere = [
        f"{at}.{option} is that of {other.method}"
        for at, other in enumerate(flow.steps)
        if option in other.yaml_options()
    ]
    return ReplayError(
        f"step {number} of {flow.name!r} is {step.method}, and has no option {option!r}",
        flow=flow.name,
        allowed=", ".join(f"{number}.{one}" for one in known),
        hint="steps are counted from 0: " + ", ".join(elsewhere)
        if elsewhere
        else did_you_mean(option, known),
    )


def _ambiguous_option(flow: FlowSpec, name: str, places: list[tuple[int, str, str]]) -> ReplayError:
    once = len({method for _, method, _ in places}) == len(places)
    several = [f"{method if once else f'step_{number}'}_{option}" for number, method, option in places]
    return ReplayError(
        f"{len(places)} steps of {flow.name!r} have an option {name!r}",
        flow=flow.name,
        allowed=", ".join(several),
        hint="put the step before the name of the option",
    )


def _names(number: int, method: str, option: str) -> set[str]:
    plain = re.sub(r"_$", "", option)
    return {option, plain, f"{method}_{plain}", f"step_{number}_{plain}", f"{number}.{plain}"}
