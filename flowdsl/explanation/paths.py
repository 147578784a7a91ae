"""The steps that an event went through, as data: all of them, or those towards one recipient."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flowdsl.flow.spec import FlowSpec


@dataclass(frozen=True)
class ExplainedStep:
    """What became of an event, or of one branch of it, at one step.

    `step` is None for the trigger. `outcome` is `matched` or `not matched` there, and else `passed`, `delivered`, `dropped`,
    `failed`, `absorbed` or `held`; `reason` says why, `at` is the log clock. `operands` has what the step read,
    `variables` what there was after it.
    """

    flow: str
    step: int | None
    operator: str
    text: str
    branch: str | None
    outcome: str
    reason: str | None
    at: dt.datetime | None
    operands: tuple[tuple[str, Any], ...]
    variables: Mapping[str, Any]
    payload: Any
    sinks: tuple[str, ...]
    recipient_id: str | None


@dataclass(frozen=True, repr=False)
class EventSteps:
    """The steps of one event in flows, and the number of branches that were not followed, by flow."""

    event: Mapping[str, Any]
    steps: tuple[ExplainedStep, ...]
    more: Mapping[str, int]
    flows: tuple[FlowSpec, ...] = ()


@dataclass(frozen=True)
class FlowPath:
    """The path of an event through one flow towards a recipient, and its end.

    Attributes
    ----------
    flow : str
        The name of the flow.
    reached : bool
        Whether the recipient got a delivery.
    outcome : str
        `delivered`, `dropped`, `failed`, `absorbed`, `held`, `not matched`, `not theirs` (it went to others)
        or `nobody` (nothing was delivered).
    step : int or None
        The step at which the path ended.
    sentences : tuple of str
        The story of the path.
    variables : Mapping
        The variables at its end.
    steps : tuple of ExplainedStep
        The path step by step. If a batch absorbed the event, the steps of the event that it went on as
        follow.
    """

    flow: str
    reached: bool
    outcome: str
    step: int | None
    sentences: tuple[str, ...]
    variables: Mapping[str, Any]
    steps: tuple[ExplainedStep, ...]


@dataclass(frozen=True, repr=False)
class RecipientPaths:
    """The paths of one event towards a recipient, one a flow."""

    event: Mapping[str, Any]
    recipient: str
    ways: tuple[FlowPath, ...]
    flows: tuple[FlowSpec, ...]

    @property
    def reached(self) -> bool:
        """Whether a flow delivered the event to the recipient."""
        return any(way.reached for way in self.ways)
