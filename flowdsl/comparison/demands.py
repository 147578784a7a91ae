"""Demands on the figures of a setting: `per_person_per_day.p95 <= 3`, `reach >= 0.95 of today`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from flowdsl.arguments import texts_of
from flowdsl.comparison.measures import Figure
from flowdsl.errors import BuildError, ReplayError
from flowdsl.expressions.durations import parse_duration
from flowdsl.text import short_repr

_OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_FORM: Final = re.compile(
    r"\s*(?P<figure>[\w.]+)\s*(?P<operator>[<>=!]+)\s*"
    r"(?P<value>[^\s%]+)\s*(?P<percent>%)?\s*(?P<today>of\s+today)?\s*"
)
_SHAPE: Final = (
    "a measure, <= or >=, and a value: "
    "'per_person_per_day.p95 <= 3', 'delay.p90 <= 1h', 'reach >= 0.95 of today'"
)
# relative difference up to which floats count as equal
_CLOSE: Final = 1e-12


@dataclass(frozen=True)
class Demand:
    """A bound on a figure, as a number or as a share of today's figure."""

    text: str
    figure: Figure
    operator: str
    value: float
    of_today: bool = False

    def bound(self, today: float | None) -> float | None:
        """Return the bound as a number; None if it is a share of a figure that today does not have."""
        if not self.of_today:
            return self.value
        return None if today is None else self.value * today

    def keeps(self, figure: float | None, today: float | None) -> bool:
        """Return True if a figure keeps the demand; without a figure, as nothing was delivered, or without a
        bound, it does.
        """
        bound = self.bound(today)
        if figure is None or bound is None:
            return True
        if self.of_today and "=" in self.operator and abs(figure - bound) <= _CLOSE * abs(bound):
            # as floats, 0.95 × 20 is not exactly 19
            return True
        return _OPERATORS[self.operator](figure, bound)

    def missing(self, figure: float | None, today: float | None) -> float:
        """Return the distance of a figure from the bound, relative to the bound; 0 if it keeps the demand."""
        bound = self.bound(today)
        if figure is None or bound is None or self.keeps(figure, today):
            return 0.0
        return abs(figure - bound) / max(abs(bound), 1.0)


def parse_demands(given: Iterable[str] | str) -> tuple[Demand, ...]:
    """Parse demands; raise `ReplayError` that names the wrong one and says what is wrong."""
    listed = texts_of(given, "subject_to", error=ReplayError)
    return tuple(_parse(text, f"subject_to[{number}]") for number, text in enumerate(listed))


def _parse(text: object, place: str) -> Demand:
    if not isinstance(text, str):
        raise ReplayError(f"a demand is text, not {short_repr(text)}", place=place, allowed=_SHAPE)
    found = _FORM.fullmatch(text)
    if found is None:
        raise ReplayError(f"{short_repr(text)} is not a demand", place=place, allowed=_SHAPE)
    figure = Figure.parse(found["figure"], place)
    if found["operator"] not in _OPERATORS:
        raise ReplayError(
            f"{found['operator']!r} is not a bound", place=place, allowed=" ".join(_OPERATORS), hint=_SHAPE
        )
    return Demand(
        " ".join(text.split()), figure, found["operator"], _value(found, figure, place), bool(found["today"])
    )


def _value(found: re.Match[str], figure: Figure, place: str) -> float:
    text, today = found["value"], found["today"]
    if not today and figure.measure.unit == "seconds":
        return _seconds(text, found, figure, place)
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        what = "a part of today's, such as 0.95 or 95 %" if today else "a number, such as 3"
        raise ReplayError(f"{text!r} is not a value for {figure.name}", place=place, allowed=what)
    if found["percent"] and not today:
        raise ReplayError(
            f"{text} % of what?", place=place, allowed=f"{figure.name} {found['operator']} {text} % of today"
        )
    return number / 100 if found["percent"] else number


def _seconds(text: str, found: re.Match[str], figure: Figure, place: str) -> float:
    try:
        return parse_duration(text if not found["percent"] else f"{text} %").microseconds / 1e6
    except BuildError as error:
        hint = (
            f"write {figure.name} {found['operator']} {text}s for seconds" if text.isdigit() else error.hint
        )
        raise ReplayError(
            f"{text!r} is not a value for {figure.name}",
            place=place,
            allowed="a duration, such as 30s, 5m, 1h or 1d, or a part of today's: 1.5 of today",
            hint=hint,
        ) from None
